//! The settings of callers: realms with `gateway`, and the section `gateway`.

use std::net::IpAddr;
use std::time::Duration;

use clock::UnixSeconds;
use jsdkd::realm::Realm;
use wechat::credential::CredentialKind;

use crate::settings::{faults, good};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const APPS: &str =
    "apps: [{ key: 'wx1', secret: 'app-secret' }, { key: 'wx2', secret: 'app-secret-2' }]";
const WECOM: &str = "wecom: [{ corpid: 'ww1', agentid: 1000002, secret: 'corp-secret' }]";

fn text(realms: &str) -> String {
    format!("{{ {APPS}, {WECOM},\n realms: [{realms}] }}")
}

/// The realm `shop` with `fields`, and all warnings.
#[track_caller]
fn shop(fields: &str) -> (Realm, Vec<String>) {
    let loaded = good(&text(&format!(
        "{{ key: 'shop', secret: '{SECRET}', {fields} }}"
    )));
    (
        loaded.config.realms.get("shop").expect("the realm").clone(),
        loaded.warnings,
    )
}

#[track_caller]
fn check(fields: &str, fault: &str) {
    let told = faults(&text(&format!(
        "{{ key: 'shop', secret: '{SECRET}', {fields} }}"
    )));
    assert!(told.contains(fault), "{fields}: {told}");
    assert!(
        told.starts_with("jsdkd.json:2:"),
        "the place is told: {told}"
    );
}

#[track_caller]
fn check_warning(fields: &str, warning: &str) {
    let (_, warnings) = shop(fields);
    assert!(
        warnings.iter().any(|told| told.contains(warning)),
        "{fields}: {warnings:?}"
    );
}

#[test]
fn a_realm_says_what_it_may_call_and_query() {
    let (realm, warnings) = shop(
        "apps: ['wx1', 'ww1/1000002'], gateway: ['read', 'messages', '/wxa/business/*'], deny: ['/cgi-bin/message/template/*'],
         keys: ['ticket'], perMinute: 600, networks: ['10.0.0.0/8'], until: '2127-01-01'",
    );
    assert_eq!(warnings, [""; 0]);
    let scope = realm.gateway.as_ref().expect("a scope");
    assert!(scope.allows("/cgi-bin/message/custom/send") && scope.allows("/wxa/business/x"));
    assert!(
        !scope.allows("/cgi-bin/message/template/send") && !scope.allows("/cgi-bin/media/upload")
    );
    assert!(realm.may_ask("wx1") && !realm.may_ask("wx2") && !realm.may_ask("ww1"));
    assert!(realm.may_ask_agent("ww1", "1000002") && !realm.may_ask_agent("ww1", "1000003"));
    assert!(
        realm.may_have(CredentialKind::JsapiTicket) && !realm.may_have(CredentialKind::AccessToken)
    );
    assert_eq!(realm.per_minute, Some(600));
    let from = |address: &str| realm.admits(address.parse::<IpAddr>().ok());
    assert!(from("10.1.2.3") && !from("11.1.2.3") && !from("unknown"));
    // 2127-01-01 has its last second in it.
    let end = UnixSeconds(4_954_521_600);
    assert!(
        !realm.is_over(UnixSeconds(end.0 - 1)) && realm.is_over(end),
        "{:?}",
        realm.until
    );
}

#[test]
fn a_realm_without_these_settings_is_as_free_as_before() {
    let (realm, warnings) = shop("");
    assert_eq!(warnings, [""; 0]);
    assert!(
        realm.gateway.is_none()
            && realm.may_ask("wx1")
            && realm.admits(None)
            && !realm.is_over(UnixSeconds(u64::MAX))
    );
    assert!(
        CredentialKind::ALL
            .into_iter()
            .all(|kind| realm.may_have(kind))
    );
    let (silent, _) = shop("keys: []");
    assert!(
        !CredentialKind::ALL
            .into_iter()
            .any(|kind| silent.may_have(kind))
    );
}

#[test]
fn a_gateway_needs_the_accounts_that_it_is_for() {
    check(
        "gateway: ['read']",
        "realms[0].gateway: a realm with gateway needs apps: the accounts that it may call, such as apps: [\"wx…\"]",
    );
    check("gateway: ['read'], apps: []", "realms[0].apps: is empty");
    check(
        "gateway: ['read'], apps: ['wx11']",
        "realms[0].apps[0]: no app wx11 is configured; did you mean \"wx1\"?",
    );
    check(
        "gateway: ['read'], apps: ['ww1/1000003']",
        "no application ww1/1000003 is configured; did you mean \"ww1/1000002\"?",
    );
    check(
        "gateway: ['read'], apps: ['ww1']",
        "is a corp of WeCom; write one of its applications, such as \"ww1/1000002\"",
    );
    check("apps: ['wx 1']", "realms[0].apps[0]: found \"wx 1\"");
    // Who only queries may name an app that is about to come.
    check_warning("apps: ['wx9', 'ww9/1']", "no app wx9 is configured");
}

#[test]
fn an_unknown_preset_or_a_bad_path_is_a_fault_with_its_cure() {
    let gateway = |rules: &str| format!("apps: ['wx1'], gateway: {rules}");
    check(
        &gateway("['messages', 'mesages']"),
        "gateway[1]: found \"mesages\", and no preset has this name; expected one of read, messages, media, codes, menu, login, tickets, pages, notify, all, or a path; did you mean \"messages\"?",
    );
    check(
        &gateway("['cgi-bin/user/info']"),
        "expected a path that begins with a slash, such as \"/cgi-bin/user/info\"",
    );
    for bad in [
        "/", "/a/", "/a*", "/*/a", "/a/../b", "/a//b", "/a%20b", "/a b",
    ] {
        check(
            &gateway(&format!("['{bad}']")),
            "a path is made of segments of A-Z",
        );
    }
    check(
        &gateway("[5]"),
        "gateway[0]: found 5, expected a preset such as \"read\"",
    );
    check(
        "apps: ['wx1'], gateway: ['read'], deny: ['reed']",
        "deny[0]: found \"reed\"",
    );
    check_warning(
        &gateway("['/cgi-bin/user/*']"),
        "does not contain /cgi-bin/user/get, /cgi-bin/user/info/batchget",
    );
    check_warning(&gateway("[]"), "gets tokens that open nothing");
    check_warning("deny: ['read']", "this realm has no gateway");
    let one = shop(&gateway("'all'")).0.gateway.expect("a scope");
    assert!(one.allows("/anything/else") && !one.allows("/cgi-bin/menu/delete"));
}

#[test]
fn two_realms_may_not_share_a_secret_if_one_of_them_calls() {
    let pair = |first: &str, second: &str| {
        text(&format!(
            "{{ key: 'a', {first} }},\n{{ key: 'b', {second} }}"
        ))
    };
    let (plain, caller) = (
        format!("secret: '{SECRET}'"),
        format!("secret: '{SECRET}', apps: ['wx1'], gateway: ['read']"),
    );
    let shared = "realms[1].secret: realms[0] has the same secret, but the gateway identifies realms by their secrets; jsdkd realm new prints another";
    for (first, second) in [(&plain, &caller), (&caller, &plain), (&caller, &caller)] {
        let told = faults(&pair(first, second));
        assert!(
            told.contains(shared) && told.starts_with("jsdkd.json:3:"),
            "{told}"
        );
        assert!(!told.contains(SECRET), "{told}");
    }
    let old = format!(
        "secret: ['{}', '{SECRET}'], apps: ['wx1'], gateway: ['read']",
        "f".repeat(32)
    );
    assert!(
        faults(&pair(&plain, &old)).contains(shared),
        "also a secret that is being changed"
    );
    good(&pair(&plain, &plain));
}

#[test]
fn a_secret_may_be_a_list_of_the_new_and_the_old_one() {
    let secrets = |list: &str| text(&format!("{{ key: 'shop', secret: {list} }}"));
    let two = good(&secrets("['new', 'old']")).config;
    assert_eq!(two.realms.get("shop").expect("the realm").secrets.len(), 2);
    for (list, found) in [
        ("[]", "found a list of 0"),
        ("['a', 'b', 'c']", "found a list of 3"),
    ] {
        assert!(
            faults(&secrets(list)).contains(&format!(
                "realms[0].secret: {found}, expected one secret, or two while"
            )),
            "{list}"
        );
    }
    assert!(faults(&secrets("['a', 5]")).contains("realms[0].secret[1]: found a number"));
    assert!(
        faults(&secrets("['a', { env: 'NOT_SET_ANYWHERE' }]"))
            .contains("the variable NOT_SET_ANYWHERE is not set")
    );
    assert_eq!(
        good(&secrets("['a', '']"))
            .config
            .realms
            .get("shop")
            .expect("the realm")
            .secrets
            .len(),
        1
    );
    assert!(good(&secrets("['a', 'a']")).warnings[0].contains("both secrets are the same"));
}

#[test]
fn a_weak_virtual_secret_is_a_warning_and_an_appsecret_a_fault() {
    let of = |secret: &str| {
        text(&format!(
            "{{ key: 'shop', secret: '{secret}', apps: ['wx1'], gateway: ['read'] }}"
        ))
    };
    assert!(
        good(&of("short")).warnings[0].contains("realms[0].secret: is shorter than 32 characters")
    );
    assert!(
        faults(&of("app-secret-2"))
            .contains("realms[0].secret: is the AppSecret of one of the apps")
    );
    assert_eq!(good(&of(SECRET)).warnings, [""; 0]);
}

#[test]
fn days_networks_keys_and_shares_are_checked() {
    for bad in [
        "'soon'",
        "'2027-1-1'",
        "'2027-02-30'",
        "'2027-01-01T00:00:00Z'",
        "20270101",
        "'20270101'",
    ] {
        check(
            &format!("until: {bad}"),
            "expected the last day by UTC, such as \"2027-01-01\"",
        );
    }
    check_warning("until: '2020-01-01'", "realms[0].until: is over");
    check(
        "networks: ['10.0.0.0/33']",
        "realms[0].networks[0]: found \"10.0.0.0/33\", expected \"loopback\", \"private\", an address or a network",
    );
    check("networks: ['*']", "for every address write");
    check_warning("networks: []", "is refused everywhere");
    check(
        "keys: ['tokens']",
        "realms[0].keys[0]: found \"tokens\", expected \"token\" or \"ticket\" or \"card_ticket\"; did you mean \"token\"?",
    );
    for bad in ["0", "-1", "1.5", "'600'"] {
        check(
            &format!("apps: ['wx1'], gateway: ['read'], perMinute: {bad}"),
            "expected a whole number from 1",
        );
    }
    check_warning(
        "perMinute: 5",
        "counts calls through the gateway, which is closed to this realm",
    );
    let told = faults(&text(&format!(
        "{{ key: 'shop', secret: '{SECRET}', gatway: ['read'], algorithm: 'md5' }}"
    )));
    assert!(told.contains("algorithm"), "{told}");
    assert!(
        good(&text(&format!(
            "{{ key: 'shop', secret: '{SECRET}', gatway: ['read'] }}"
        )))
        .warnings[0]
            .contains("did you mean \"gateway\"?")
    );
}

#[test]
fn the_section_gateway_has_defaults_and_bounds() {
    let usual = good(&format!("{{ {APPS} }}")).config;
    let gateway = &usual.gateway;
    assert_eq!(
        (gateway.prefix.as_str(), gateway.timeout),
        ("", Duration::from_secs(60))
    );
    assert_eq!(
        (gateway.body_limit, gateway.keep_whole, gateway.memory),
        (25 << 20, 1 << 20, 64 << 20)
    );
    assert!(
        gateway.anonymous.contains([10, 1, 1, 1].into())
            && !gateway.anonymous.contains([8, 8, 8, 8].into())
    );
    assert_eq!(usual.wechat.mp.as_str(), "https://mp.weixin.qq.com/");
    let section = |fields: &str| format!("{{ {APPS},\n gateway: {{ {fields} }} }}");
    for (written, meant) in [
        ("''", ""),
        ("'/'", ""),
        ("'/wx'", "/wx"),
        ("'/wx/'", "/wx"),
        ("'/a/b-1'", "/a/b-1"),
    ] {
        assert_eq!(
            good(&section(&format!("prefix: {written}")))
                .config
                .gateway
                .prefix,
            meant
        );
    }
    for (bad, fault) in [
        (
            "prefix: 'wx'",
            "gateway.prefix: found \"wx\", expected a path such as \"/wx\"",
        ),
        ("prefix: '/a//b'", "expected a path such as"),
        ("prefix: '/a/..'", "expected a path such as"),
        ("prefix: '/微'", "expected a path such as"),
        (
            "anonymous: ['publik']",
            "gateway.anonymous[0]: found \"publik\"",
        ),
        (
            "timeout: '0s'",
            "gateway.timeout: found \"0s\", expected a time from 1s to 10m",
        ),
        ("timeout: 60", "expected a time with its unit"),
        (
            "bodyLimit: 0",
            "gateway.bodyLimit: found 0, expected a size",
        ),
        (
            "keepWhole: 'x'",
            "gateway.keepWhole: found \"x\", expected a size",
        ),
        (
            "memory: '1tb'",
            "gateway.memory: found \"1tb\", expected a size",
        ),
    ] {
        let told = faults(&section(bad));
        assert!(
            told.contains(fault) && told.starts_with("jsdkd.json:2:"),
            "{bad}: {told}"
        );
    }
    assert!(
        good(&section("keepWhole: '2mb', memory: '1mb'")).warnings[0]
            .contains("no body of this size is kept")
    );
}
