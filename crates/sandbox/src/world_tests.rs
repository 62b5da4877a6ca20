//! The world's rules under a clock that a test moves by hand.

use super::*;
use clock::Clock;

const APP: &str = "wx1234567890abcdef";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn world() -> (World, Clock) {
    // Noon in China, so that no test of a few hours crosses its midnight.
    let clock = Clock::manual(UnixMillis(
        1_700_020_800_000 - 1_700_020_800_000 % 86_400_000 + 4 * 3_600_000,
    ));
    let options = SandboxOptions {
        accounts: vec![(APP.to_owned(), SECRET.to_owned())],
        clock: clock.clone(),
        ..SandboxOptions::default()
    };
    (World::new(&options), clock)
}

fn pass(clock: &Clock, seconds: u64) {
    clock.advance(Duration::from_secs(seconds));
}

#[test]
fn a_wrong_appid_and_a_wrong_secret_differ() {
    let (mut world, _) = world();
    assert_eq!(
        world.basic_token("wx0", SECRET),
        Err(Refusal::UNKNOWN_APPID)
    );
    assert_eq!(world.basic_token(APP, "no"), Err(Refusal::WRONG_SECRET));
    assert_eq!(
        world.stable_token(APP, "no", false),
        Err(Refusal::WRONG_SECRET)
    );
}

#[test]
fn tokens_look_like_wechats_and_never_repeat() {
    let (mut world, _) = world();
    let mut seen: Vec<_> = (0..200)
        .map(|_| world.basic_token(APP, SECRET).expect("a token").value)
        .collect();
    for value in &seen {
        assert!(
            (136..=157).contains(&value.len()) && value.starts_with("90_"),
            "{value}"
        );
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 200);
}

#[test]
fn a_new_basic_token_retires_the_old_one_after_five_minutes() {
    let (mut world, clock) = world();
    let old = world.basic_token(APP, SECRET).expect("a token");
    assert_eq!(old.expires_in, 7200);
    pass(&clock, 10);
    let new = world.basic_token(APP, SECRET).expect("a token");
    assert_ne!(old.value, new.value);
    pass(&clock, 299);
    assert_eq!(world.admit(&old.value), Ok(APP));
    pass(&clock, 1);
    assert_eq!(world.admit(&old.value), Err(Refusal::NOT_LATEST));
    assert_eq!(world.admit(&new.value), Ok(APP));
}

#[test]
fn an_unreplaced_token_expires_and_an_unknown_one_is_invalid() {
    let (mut world, clock) = world();
    let token = world.basic_token(APP, SECRET).expect("a token").value;
    pass(&clock, 7199);
    assert_eq!(world.admit(&token), Ok(APP));
    pass(&clock, 1);
    assert_eq!(world.admit(&token), Err(Refusal::EXPIRED));
    assert_eq!(world.admit("90_nobody"), Err(Refusal::UNKNOWN_TOKEN));
    assert_eq!(world.admit(""), Err(Refusal::NO_TOKEN));
}

#[test]
fn the_daily_quota_resets_at_midnight_in_china() {
    let (mut world, clock) = world();
    world.daily_quota = 2;
    assert!(world.basic_token(APP, SECRET).is_ok() && world.basic_token(APP, SECRET).is_ok());
    assert_eq!(world.basic_token(APP, SECRET), Err(Refusal::QUOTA_SPENT));
    pass(&clock, 12 * 3600 - 1);
    assert_eq!(world.basic_token(APP, SECRET), Err(Refusal::QUOTA_SPENT));
    pass(&clock, 1);
    assert!(world.basic_token(APP, SECRET).is_ok());
}

#[test]
fn a_stable_token_stays_the_same_until_its_last_five_minutes() {
    let (mut world, clock) = world();
    let first = world.stable_token(APP, SECRET, false).expect("a token");
    pass(&clock, 6899);
    let again = world.stable_token(APP, SECRET, false).expect("a token");
    assert_eq!(
        again,
        Grant {
            value: first.value.clone(),
            expires_in: 301
        }
    );
    pass(&clock, 1);
    let next = world.stable_token(APP, SECRET, false).expect("a token");
    assert_ne!(next.value, first.value);
    assert_eq!(next.expires_in, 7200);
    pass(&clock, 299);
    assert_eq!(world.admit(&first.value), Ok(APP));
    pass(&clock, 1);
    assert_eq!(world.admit(&first.value), Err(Refusal::EXPIRED));
}

#[test]
fn force_voids_the_stable_token_once_in_thirty_seconds() {
    let (mut world, clock) = world();
    let first = world
        .stable_token(APP, SECRET, false)
        .expect("a token")
        .value;
    let forced = world
        .stable_token(APP, SECRET, true)
        .expect("a token")
        .value;
    assert_eq!(world.admit(&first), Err(Refusal::NOT_LATEST));
    pass(&clock, 29);
    assert_eq!(
        world
            .stable_token(APP, SECRET, true)
            .expect("a token")
            .value,
        forced
    );
    pass(&clock, 1);
    assert_ne!(
        world
            .stable_token(APP, SECRET, true)
            .expect("a token")
            .value,
        forced
    );
    assert_eq!(world.admit(&forced), Err(Refusal::NOT_LATEST));
}

#[test]
fn force_is_allowed_twenty_times_a_day() {
    let (mut world, clock) = world();
    for _ in 0..20 {
        assert!(world.stable_token(APP, SECRET, true).is_ok());
        pass(&clock, 30);
    }
    assert_eq!(
        world.stable_token(APP, SECRET, true),
        Err(Refusal::QUOTA_SPENT)
    );
    assert!(world.stable_token(APP, SECRET, false).is_ok());
    assert_eq!(world.spent_today(APP), (0, 20));
}

#[test]
fn basic_and_stable_tokens_live_side_by_side() {
    let (mut world, clock) = world();
    let basic = world.basic_token(APP, SECRET).expect("a token").value;
    let stable = world
        .stable_token(APP, SECRET, true)
        .expect("a token")
        .value;
    pass(&clock, 600);
    assert_eq!(
        (world.admit(&basic), world.admit(&stable)),
        (Ok(APP), Ok(APP))
    );
    assert_eq!(world.newest_token(APP), Some(stable.as_str()));
    assert!(world.void(APP, TokenKind::Stable));
    assert!(!world.void(APP, TokenKind::Stable));
    assert_eq!(world.admit(&stable), Err(Refusal::NOT_LATEST));
    assert_eq!(world.newest_token(APP), Some(basic.as_str()));
}

#[test]
fn a_ticket_is_reused_until_its_last_five_minutes() {
    let (mut world, clock) = world();
    let token = world
        .stable_token(APP, SECRET, false)
        .expect("a token")
        .value;
    let ticket = world.ticket(&token, TicketKind::Jsapi).expect("a ticket");
    assert_ne!(
        world
            .ticket(&token, TicketKind::Card)
            .expect("a ticket")
            .value,
        ticket.value
    );
    pass(&clock, 100);
    let again = world.ticket(&token, TicketKind::Jsapi).expect("a ticket");
    assert_eq!(
        again,
        Grant {
            value: ticket.value.clone(),
            expires_in: 7100
        }
    );
    world.void(APP, TokenKind::Stable);
    assert_eq!(
        world.ticket(&token, TicketKind::Jsapi),
        Err(Refusal::NOT_LATEST)
    );
    assert_eq!(
        world
            .current_ticket(APP, TicketKind::Jsapi)
            .map(|(value, _)| value),
        Some(ticket.value.as_str())
    );
    pass(&clock, 6800);
    let token = world
        .stable_token(APP, SECRET, false)
        .expect("a token")
        .value;
    assert_ne!(
        world
            .ticket(&token, TicketKind::Jsapi)
            .expect("a ticket")
            .value,
        ticket.value
    );
}

#[test]
fn without_reuse_every_fetch_gives_a_new_ticket() {
    let (mut world, _) = world();
    world.ticket_reuse = false;
    let token = world.basic_token(APP, SECRET).expect("a token").value;
    let [one, two] = [(); 2].map(|()| {
        world
            .ticket(&token, TicketKind::Jsapi)
            .expect("a ticket")
            .value
    });
    assert_ne!(one, two);
}

#[test]
fn a_short_lifetime_shrinks_the_overlap_in_proportion() {
    let (mut world, clock) = world();
    world.lifetime = Duration::from_secs(240);
    let old = world.basic_token(APP, SECRET).expect("a token").value;
    world.basic_token(APP, SECRET).expect("a token");
    pass(&clock, 9);
    assert_eq!(world.admit(&old), Ok(APP));
    pass(&clock, 1);
    assert_eq!(world.admit(&old), Err(Refusal::NOT_LATEST));
}

#[test]
fn tokens_long_expired_are_removed() {
    let (mut world, clock) = world();
    let first = world
        .stable_token(APP, SECRET, false)
        .expect("a token")
        .value;
    world.daily_quota = 5000;
    pass(&clock, 7200 + 86_400);
    for _ in 0..1100 {
        world.basic_token(APP, SECRET).expect("a token");
    }
    assert_eq!(world.admit(&first), Err(Refusal::UNKNOWN_TOKEN));
    assert!(world.tokens.len() <= 1100);
}

#[test]
fn a_new_token_has_its_full_lifetime() {
    let options = SandboxOptions {
        accounts: vec![(APP.to_owned(), SECRET.to_owned())],
        ..SandboxOptions::default()
    };
    let mut world = World::new(&options);
    for _ in 0..2000 {
        assert_eq!(
            world.basic_token(APP, SECRET).expect("a token").expires_in,
            7200
        );
    }
}
