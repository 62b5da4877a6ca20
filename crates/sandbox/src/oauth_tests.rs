//! The rules for visitors under a clock that a test moves by hand.

use std::time::Duration;

use super::*;
use crate::SandboxOptions;
use clock::Clock;

const APP: &str = "wx1234567890abcdef";
const OTHER: &str = "wx2";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn world() -> (World, Clock) {
    let clock = Clock::manual(UnixMillis(1_700_000_000_000));
    let accounts = [APP, OTHER]
        .map(|app_id| (app_id.to_owned(), SECRET.to_owned()))
        .to_vec();
    let options = SandboxOptions {
        accounts,
        clock: clock.clone(),
        ..SandboxOptions::default()
    };
    (World::new(&options), clock)
}

fn pass(clock: &Clock, seconds: u64) {
    clock.advance(Duration::from_secs(seconds));
}

fn link(app_id: &str, scope: &str) -> String {
    format!(
        "appid={app_id}&redirect_uri=https%3A%2F%2Fwww.qq.com%2Fcb&response_type=code&scope={scope}&state=s1"
    )
}

/// The code that a visit brings.
fn code(world: &mut World, app_id: &str, scope: &str, visitor: &str, answer: Answer) -> String {
    let asked = world.asked(&link(app_id, scope)).expect("a good link");
    let callback = world.visit(&asked, visitor, answer);
    let code = callback
        .strip_prefix("https://www.qq.com/cb?code=")
        .and_then(|rest| rest.strip_suffix("&state=s1"));
    code.expect("a code and the state").to_owned()
}

fn login(world: &mut World, scope: &str, visitor: &str) -> Login {
    let code = code(world, APP, scope, visitor, Answer::Agree);
    world.exchange(APP, SECRET, &code).expect("a login")
}

#[test]
fn a_code_works_once_within_five_minutes_for_its_account() {
    let (mut world, clock) = world();
    let mut fresh = || code(&mut world, APP, "snsapi_base", "Alice", Answer::Agree);
    let [one, two] = [fresh(), fresh()];
    assert!(
        one != two && one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{one}"
    );
    let mut refused = |app_id, secret, code: &str| world.exchange(app_id, secret, code).err();
    assert_eq!(refused("wx0", SECRET, &one), Some(Refusal::UNKNOWN_APPID));
    assert_eq!(refused(APP, "no", &one), Some(Refusal::WRONG_SECRET));
    assert_eq!(refused(OTHER, SECRET, &one), Some(Refusal::UNKNOWN_CODE));
    assert_eq!(
        refused(APP, SECRET, "nobody's"),
        Some(Refusal::UNKNOWN_CODE)
    );
    assert_eq!(refused(APP, SECRET, &one), None);
    assert_eq!(refused(APP, SECRET, &one), Some(Refusal::USED_CODE));
    pass(&clock, 299);
    let late = code(&mut world, APP, "snsapi_base", "Alice", Answer::Agree);
    pass(&clock, 1);
    assert_eq!(
        world.exchange(APP, SECRET, &two).err(),
        Some(Refusal::EXPIRED_CODE)
    );
    assert!(world.exchange(APP, SECRET, &late).is_ok());
}

#[test]
fn openids_differ_per_account_and_the_unionid_does_not() {
    let (mut world, _) = world();
    let alice = login(&mut world, "snsapi_userinfo", "Alice");
    let openid = alice.session.pass.openid.clone();
    assert!(openid.len() == 28 && openid.starts_with('o'), "{openid}");
    assert_eq!(
        login(&mut world, "snsapi_base", "Alice")
            .session
            .pass
            .openid,
        openid
    );
    assert_ne!(
        login(&mut world, "snsapi_base", "小明").session.pass.openid,
        openid
    );
    let code = code(&mut world, OTHER, "snsapi_userinfo", "Alice", Answer::Agree);
    let elsewhere = world.exchange(OTHER, SECRET, &code).expect("a login");
    assert_ne!(elsewhere.session.pass.openid, openid);
    assert!(
        alice
            .unionid
            .as_ref()
            .is_some_and(|unionid| unionid.len() == 28)
            && elsewhere.unionid == alice.unionid
    );
    assert_eq!(login(&mut world, "snsapi_base", "Alice").unionid, None);
    world.account_mut(APP).expect("an account").bound = false;
    let unbound = login(&mut world, "snsapi_userinfo", "Alice");
    assert_eq!(unbound.unionid, None);
    assert_eq!(
        world
            .profile(&unbound.session.access, &openid)
            .expect("a profile")
            .1,
        None
    );
}

#[test]
fn a_thousand_visitors_are_a_thousand_people() {
    let (mut world, _) = world();
    let names: Vec<_> = (0..1000)
        .map(|number| format!("visitor {number}"))
        .collect();
    let mut openids: Vec<_> = names
        .iter()
        .map(|name| {
            login(&mut world, "snsapi_base", name)
                .session
                .pass
                .openid
                .clone()
        })
        .collect();
    openids.sort();
    openids.dedup();
    assert_eq!(
        (openids.len(), world.visitors.tally(APP).logins),
        (1000, 1000)
    );
}

#[test]
fn a_profile_needs_a_valid_token_with_its_scope() {
    let (mut world, clock) = world();
    let alice = login(&mut world, "snsapi_userinfo", "Alice").session;
    let base = login(&mut world, "snsapi_base", "Alice").session;
    let openid = alice.pass.openid.as_str();
    assert_eq!(
        world
            .profile(&alice.access, openid)
            .map(|(pass, _)| pass.name.as_str()),
        Ok("Alice")
    );
    assert_eq!(world.profile("", openid).err(), Some(Refusal::NO_TOKEN));
    assert_eq!(
        world.profile("90_nobody", openid).err(),
        Some(Refusal::NOT_LATEST)
    );
    assert_eq!(
        world.profile(&alice.access, "o1").err(),
        Some(Refusal::WRONG_OPENID)
    );
    assert_eq!(
        world.profile(&base.access, openid).err(),
        Some(Refusal::NOT_ALLOWED)
    );
    assert!(world.pass(&base.access, openid).is_ok());
    // Neither kind of token passes for the other.
    let app_level = world.basic_token(APP, SECRET).expect("a token").value;
    assert_eq!(
        world.pass(&app_level, openid).err(),
        Some(Refusal::NOT_LATEST)
    );
    assert_eq!(world.admit(&alice.access), Err(Refusal::UNKNOWN_TOKEN));
    pass(&clock, 7199);
    assert!(world.pass(&alice.access, openid).is_ok());
    pass(&clock, 1);
    assert_eq!(
        world.pass(&alice.access, openid).err(),
        Some(Refusal::EXPIRED)
    );
}

#[test]
fn a_refresh_extends_or_replaces_a_token_for_thirty_days() {
    let (mut world, clock) = world();
    let first = login(&mut world, "snsapi_userinfo", "Alice");
    let (refresh, openid) = (
        first.session.refresh.clone(),
        first.session.pass.openid.clone(),
    );
    pass(&clock, 7000);
    let renewed = world.renew(APP, &refresh).expect("a renewal");
    assert_eq!(
        (&renewed.access.value, renewed.access.expires_in),
        (&first.access.value, 7200)
    );
    pass(&clock, 7200);
    let replaced = world.renew(APP, &refresh).expect("a renewal");
    assert_ne!(replaced.access.value, first.access.value);
    assert_eq!(replaced.session.refresh, refresh);
    assert_eq!(
        world.pass(&first.access.value, &openid).err(),
        Some(Refusal::EXPIRED)
    );
    assert!(world.profile(&replaced.access.value, &openid).is_ok());
    assert_eq!(
        world.renew(OTHER, &refresh).err(),
        Some(Refusal::UNKNOWN_REFRESH)
    );
    assert_eq!(
        world.renew("wx0", &refresh).err(),
        Some(Refusal::UNKNOWN_APPID)
    );
    assert_eq!(
        world.renew(APP, "nobody's").err(),
        Some(Refusal::UNKNOWN_REFRESH)
    );
    pass(&clock, 30 * 86_400 - 7000 - 7200 - 1);
    assert!(world.renew(APP, &refresh).is_ok());
    pass(&clock, 1);
    assert_eq!(
        world.renew(APP, &refresh).err(),
        Some(Refusal::EXPIRED_REFRESH)
    );
}

#[test]
fn a_snapshot_visitor_has_no_profile() {
    let (mut world, _) = world();
    let mut visit = || {
        let code = code(
            &mut world,
            APP,
            "snsapi_userinfo",
            "Alice",
            Answer::Snapshot,
        );
        world.exchange(APP, SECRET, &code).expect("a login").session
    };
    let [one, two] = [visit(), visit()];
    assert!(one.pass.is_virtual && one.pass.openid != two.pass.openid);
    assert_ne!(
        one.pass.openid,
        login(&mut world, "snsapi_userinfo", "Alice")
            .session
            .pass
            .openid
    );
    assert_eq!(
        world.profile(&one.access, &one.pass.openid).err(),
        Some(Refusal::NOT_ALLOWED)
    );
    let token = world.basic_token(APP, SECRET).expect("a token").value;
    assert_eq!(
        world.user(&token, &one.pass.openid).err(),
        Some(Refusal::WRONG_OPENID)
    );
}

#[test]
fn a_refusal_returns_only_the_state() {
    let (mut world, _) = world();
    let asked = world
        .asked(&link(APP, "snsapi_userinfo"))
        .expect("a good link");
    assert_eq!(
        world.visit(&asked, "Alice", Answer::Refuse),
        "https://www.qq.com/cb?state=s1"
    );
    let tally = world.visitors.tally(APP);
    assert_eq!((tally.visits, tally.codes, tally.logins), (1, 0, 0));
}

#[test]
fn the_oauth_domain_is_compared_as_a_whole_host() {
    let (mut world, _) = world();
    for (domain, wrong) in [
        ("www.qq.com", None),
        ("WWW.QQ.com", None),
        ("qq.com", Some(10003)),
        ("pay.qq.com", Some(10003)),
    ] {
        world.account_mut(APP).expect("an account").oauth_domain =
            Some(url::Host::parse(domain).expect("a host"));
        assert_eq!(
            world
                .asked(&link(APP, "snsapi_base"))
                .err()
                .and_then(|wrong| wrong.code),
            wrong,
            "{domain}"
        );
    }
    let trick =
        link(APP, "snsapi_base").replace("www.qq.com", "pay.qq.com%40www.qq.com.evil.example");
    assert_eq!(
        world.asked(&trick).expect_err("an error page").code,
        Some(10003)
    );
    assert_eq!(
        world
            .asked(&link("wx0", "snsapi_base"))
            .expect_err("an error page")
            .code,
        Some(40013)
    );
}

#[test]
fn an_account_knows_its_visitors_and_followers() {
    let (mut world, clock) = world();
    let token = world.basic_token(APP, SECRET).expect("a token").value;
    let openid = mint::openid(APP, "Alice");
    let since = |world: &World| world.user(&token, &openid).map(|(_, since, _)| since);
    assert_eq!(since(&world), Err(Refusal::WRONG_OPENID));
    login(&mut world, "snsapi_base", "Alice");
    assert_eq!(since(&world), Ok(None));
    let began = world.time.now();
    world.visitors.people.follow(APP, "Alice", true, began);
    pass(&clock, 5);
    let now = world.time.now();
    world.visitors.people.follow(APP, "Alice", true, now);
    assert_eq!(since(&world), Ok(Some(began)));
    world.visitors.people.follow(APP, "Alice", false, now);
    assert_eq!(since(&world), Ok(None));
    let elsewhere = world.visitors.people.meet(OTHER, "Alice");
    assert_eq!(
        world.user(&token, &elsewhere).err(),
        Some(Refusal::WRONG_OPENID)
    );
}

#[test]
fn a_short_lifetime_scales_codes_and_refresh_tokens() {
    let (mut world, clock) = world();
    world.lifetime = Duration::from_secs(240);
    let late = code(&mut world, APP, "snsapi_base", "Alice", Answer::Agree);
    let session = login(&mut world, "snsapi_base", "Alice").session;
    pass(&clock, 10);
    assert_eq!(
        world.exchange(APP, SECRET, &late).err(),
        Some(Refusal::EXPIRED_CODE)
    );
    pass(&clock, 86_400 - 11);
    assert!(world.renew(APP, &session.refresh).is_ok());
    pass(&clock, 1);
    assert_eq!(
        world.renew(APP, &session.refresh).err(),
        Some(Refusal::EXPIRED_REFRESH)
    );
}
