//! The settings of callers: realms with `gateway`, and the section `gateway`.

use std::net::IpAddr;
use std::time::Duration;

use clock::UnixSeconds;
use jsdkd::realm::Realm;
use wechat::credential::CredentialKind;

use crate::settings::{faults, fits, good};

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

/// Whether the message is about line `line` and has the setting and the words of `expected`, as
/// for [`fits`].
fn fits_line(told: &str, line: usize, expected: &str) -> bool {
    let place = format!("jsdkd.json:{line}:");
    told.strip_prefix(&place)
        .and_then(|rest| rest.split_once(' '))
        .is_some_and(|(_column, told)| fits(told, expected))
}

/// Asserts the first fault of the realm `shop` with `fields`: its setting and its words.
#[track_caller]
fn check(fields: &str, expected: &str) {
    let told = faults(&text(&format!(
        "{{ key: 'shop', secret: '{SECRET}', {fields} }}"
    )));
    assert!(fits_line(&told, 2, expected), "{fields}: {told}");
    assert!(!told.contains(SECRET), "{told}");
}

/// Asserts a warning about the realm `shop` with `fields`.
#[track_caller]
fn check_warning(fields: &str, expected: &str) {
    let (_, warnings) = shop(fields);
    assert!(
        warnings.iter().any(|told| fits_line(told, 2, expected)),
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
        "realms[0].gateway: needs apps … accounts",
    );
    check("gateway: ['read'], apps: []", "realms[0].apps: empty");
    check(
        "gateway: ['read'], apps: ['wx11']",
        "realms[0].apps[0]: wx11 … \"wx1\"",
    );
    check(
        "gateway: ['read'], apps: ['ww1/1000003']",
        "realms[0].apps[0]: ww1/1000003 … \"ww1/1000002\"",
    );
    check(
        "gateway: ['read'], apps: ['ww1']",
        "realms[0].apps[0]: WeCom … application … \"ww1/1000002\"",
    );
    check("apps: ['wx 1']", "realms[0].apps[0]: \"wx 1\"");
    // Who only queries may name an app that is about to come.
    check_warning("apps: ['wx9', 'ww9/1']", "realms[0].apps[0]: wx9");
}

#[test]
fn an_unknown_preset_or_a_bad_path_is_a_fault_with_its_cure() {
    let gateway = |rules: &str| format!("apps: ['wx1'], gateway: {rules}");
    check(
        &gateway("['messages', 'mesages']"),
        "realms[0].gateway[1]: \"mesages\" … read, messages, media, codes, menu, login, tickets, pages, notify, all … path … \"messages\"",
    );
    check(
        &gateway("['cgi-bin/user/info']"),
        "realms[0].gateway[0]: slash … \"/cgi-bin/user/info\"",
    );
    for bad in [
        "/", "/a/", "/a*", "/*/a", "/a/../b", "/a//b", "/a%20b", "/a b",
    ] {
        check(
            &gateway(&format!("['{bad}']")),
            "realms[0].gateway[0]: path",
        );
    }
    check(
        &gateway("[5]"),
        "realms[0].gateway[0]: 5 … preset … \"read\"",
    );
    check(
        "apps: ['wx1'], gateway: ['read'], deny: ['reed']",
        "realms[0].deny[0]: \"reed\"",
    );
    check_warning(
        &gateway("['/cgi-bin/user/*']"),
        "realms[0].gateway[0]: /cgi-bin/user/get, /cgi-bin/user/info/batchget",
    );
    check_warning(&gateway("[]"), "realms[0].gateway: virtual tokens");
    check_warning("deny: ['read']", "realms[0].deny: no gateway");
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
    let shared = "realms[1].secret: realms[0] … same secret … jsdkd realm new";
    for (first, second) in [(&plain, &caller), (&caller, &plain), (&caller, &caller)] {
        let told = faults(&pair(first, second));
        assert!(fits_line(&told, 3, shared), "{told}");
        assert!(!told.contains(SECRET), "{told}");
    }
    let old = format!(
        "secret: ['{}', '{SECRET}'], apps: ['wx1'], gateway: ['read']",
        "f".repeat(32)
    );
    assert!(
        fits_line(&faults(&pair(&plain, &old)), 3, shared),
        "also a secret that is being changed"
    );
    good(&pair(&plain, &plain));
}

#[test]
fn a_secret_may_be_a_list_of_the_new_and_the_old_one() {
    let secrets = |list: &str| text(&format!("{{ key: 'shop', secret: {list} }}"));
    let two = good(&secrets("['new', 'old']")).config;
    assert_eq!(two.realms.get("shop").expect("the realm").secrets.len(), 2);
    for (list, expected) in [
        ("[]", "realms[0].secret: list of 0 … two"),
        ("['a', 'b', 'c']", "realms[0].secret: list of 3 … two"),
        ("['a', 5]", "realms[0].secret[1]: number"),
        (
            "['a', { env: 'NOT_SET_ANYWHERE' }]",
            "realms[0].secret[1]: NOT_SET_ANYWHERE … not set",
        ),
    ] {
        let told = faults(&secrets(list));
        assert!(fits_line(&told, 2, expected), "{list}: {told}");
    }
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
    assert!(good(&secrets("['a', 'a']")).warnings[0].contains("realms[0].secret"));
}

#[test]
fn a_weak_virtual_secret_is_a_warning_and_an_appsecret_a_fault() {
    let of = |secret: &str| {
        text(&format!(
            "{{ key: 'shop', secret: '{secret}', apps: ['wx1'], gateway: ['read'] }}"
        ))
    };
    let weak = &good(&of("short")).warnings[0];
    assert!(
        fits_line(weak, 2, "realms[0].secret: 32 characters"),
        "{weak}"
    );
    let shared = faults(&of("app-secret-2"));
    assert!(
        fits_line(&shared, 2, "realms[0].secret: AppSecret … apps"),
        "{shared}"
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
            "realms[0].until: UTC … \"2027-01-01\"",
        );
    }
    check_warning("until: '2020-01-01'", "realms[0].until: over");
    check(
        "networks: ['10.0.0.0/33']",
        "realms[0].networks[0]: \"10.0.0.0/33\" … \"loopback\", \"private\"",
    );
    check("networks: ['*']", "realms[0].networks[0]: \"0.0.0.0/0\"");
    check_warning("networks: []", "realms[0].networks: refused");
    check(
        "keys: ['tokens']",
        "realms[0].keys[0]: \"tokens\" … \"token\" or \"ticket\" or \"card_ticket\"",
    );
    for bad in ["0", "-1", "1.5", "'600'"] {
        check(
            &format!("apps: ['wx1'], gateway: ['read'], perMinute: {bad}"),
            "realms[0].perMinute: whole number from 1",
        );
    }
    check_warning("perMinute: 5", "realms[0].perMinute: gateway");
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
        ("prefix: 'wx'", "gateway.prefix: \"wx\" … path … \"/wx\""),
        ("prefix: '/a//b'", "gateway.prefix: path"),
        ("prefix: '/a/..'", "gateway.prefix: path"),
        ("prefix: '/微'", "gateway.prefix: path"),
        ("anonymous: ['publik']", "gateway.anonymous[0]: \"publik\""),
        ("timeout: '0s'", "gateway.timeout: \"0s\" … 1s to 10m"),
        ("timeout: 60", "gateway.timeout: unit"),
        ("bodyLimit: 0", "gateway.bodyLimit: 0 … size"),
        ("keepWhole: 'x'", "gateway.keepWhole: \"x\" … size"),
        ("memory: '1tb'", "gateway.memory: \"1tb\" … size"),
    ] {
        let told = faults(&section(bad));
        assert!(fits_line(&told, 2, fault), "{bad}: {told}");
    }
    let useless = &good(&section("keepWhole: '2mb', memory: '1mb'")).warnings[0];
    assert!(
        fits_line(useless, 2, "gateway.keepWhole: memory"),
        "{useless}"
    );
}
