//! `wetoken` in the settings, and a store of apps as the only source of accounts.

use jsdkd::settings::{Environment, Source, load};

use crate::settings::{check_faults, faults, good};

const APPS: &str = "apps: [{ key: 'wx1', secret: 's' }]";
const SQL: &str = "cache: { sql: 'mysql://u:p@db/wetoken' }";

#[test]
fn its_routes_exist_with_an_empty_section() {
    assert!(good(&format!("{{ {APPS} }}")).config.wetoken.is_none());
    assert!(
        good(&format!("{{ {APPS}, wetoken: null }}"))
            .config
            .wetoken
            .is_none()
    );
    assert!(
        good(&format!("{{ {APPS}, cache: {{ file: 'f' }} }}"))
            .config
            .wetoken
            .is_none()
    );
    let database = good(&format!("{{ {APPS}, {SQL} }}"));
    assert!(
        database.config.wetoken.is_none() && database.warnings.is_empty(),
        "a database opens nothing by itself"
    );
    for text in [
        "wetoken: {}",
        "wetoken: { allow: null }",
        "wetoken: { realm: null }",
    ] {
        let allow = good(&format!("{{ {APPS}, {text} }}"))
            .config
            .wetoken
            .unwrap_or_else(|| panic!("{text}"))
            .allow;
        assert!(
            allow.contains([127, 0, 0, 1].into()) && allow.contains([192, 168, 5, 71].into()),
            "{text}"
        );
        assert!(!allow.contains([8, 8, 8, 8].into()), "{text}");
    }
    let allow = good(&format!(
        "{{ {SQL}, wetoken: {{ allow: ['203.0.113.0/24'] }} }}"
    ))
    .config
    .wetoken
    .expect("it is on")
    .allow;
    assert!(allow.contains([203, 0, 113, 9].into()) && !allow.contains([127, 0, 0, 1].into()));
    let nobody = good("{ wetoken: { allow: [] } }")
        .config
        .wetoken
        .expect("it is on")
        .allow;
    assert!(!nobody.contains([127, 0, 0, 1].into()));
}

#[test]
fn a_variable_enables_them_too() {
    let env: Environment = [("JSDKD__WETOKEN__ALLOW", "loopback,10.1.0.0/16")]
        .into_iter()
        .collect();
    let allow = load(&Source::text("jsdkd.json", "{}"), &env)
        .expect("it holds")
        .config
        .wetoken
        .expect("it is on")
        .allow;
    assert!(allow.contains([10, 1, 2, 3].into()) && !allow.contains([10, 2, 0, 1].into()));
}

#[test]
fn a_store_with_apps_is_enough() {
    for text in [
        "{ wetoken: {} }",
        &format!("{{ {SQL} }}"),
        &format!("{{ {SQL}, apps: [] }}"),
    ] {
        let loaded = good(text);
        assert_eq!(
            (loaded.config.accounts.len(), loaded.warnings.len()),
            (0, 0),
            "{text}"
        );
        assert!(loaded.config.serves_stored_apps, "{text}");
    }
    let env: Environment = [("JSDKD__CACHE__SQL", "postgres://u@db/wetoken")]
        .into_iter()
        .collect();
    assert!(
        load(&Source::default(), &env).is_ok(),
        "a database in a variable suffices"
    );
    for nothing in [
        "{ cache: { redis: 'redis://h' } }",
        "{ cache: { file: 'f', sql: 'sqlite:///x' } }",
        "{ wetoken: null }",
    ] {
        assert!(faults(nothing).contains("nothing to serve"), "{nothing}");
    }
}

#[test]
fn a_realm_may_name_a_stored_app() {
    let realm = "realms: [{ key: 'R', secret: 's', apps: ['wx9'] }]";
    assert!(
        good(&format!("{{ {APPS}, wetoken: {{}}, {realm} }}"))
            .warnings
            .is_empty()
    );
    assert_eq!(good(&format!("{{ {APPS}, {realm} }}")).warnings.len(), 1);
}

#[test]
fn the_hub_may_name_a_stored_app() {
    let hub = |text: &str| {
        good(&format!(
            "{{ wetoken: {{}}, hub: {{ keys: {{ k: '{}' }} {text} }} }}",
            "x".repeat(32)
        ))
    };
    let app = hub(", app: 'wx9'").config.hub.expect("it is served").app;
    assert_eq!(app.as_str(), "wx9");
    let unsaid = hub("");
    assert!(
        unsaid.config.hub.is_none() && unsaid.warnings.len() == 1,
        "{:?}",
        unsaid.warnings
    );
}

#[test]
fn its_faults_have_their_places() {
    check_faults(
        "{ wetoken: { allow: ['lan'] } }",
        &["jsdkd.json:1:22 wetoken.allow[0]: \"lan\" … \"private\" … \"203.0.113.0/24\""],
    );
    check_faults(
        "{ wetoken: 5 }",
        &["jsdkd.json:1:3 wetoken: number … object"],
    );
    let near = good("{ wetoken: { alow: [] } }").warnings;
    assert!(
        near.len() == 1 && near[0].contains("did you mean \"allow\""),
        "{near:?}"
    );
}

#[test]
fn a_faulty_database_is_the_only_fault() {
    let told = faults("{ cache: { sql: 'oracle://u:secret-marker@db/wetoken' } }");
    assert!(
        told.lines().count() == 1 && !told.contains("secret-marker"),
        "{told}"
    );
}

#[test]
fn a_realm_must_be_one_of_the_settings() {
    let realms = "realms: [{ key: 'R123', secret: 's' }, { key: 'R2', secret: 's' }]";
    let config = good(&format!(
        "{{ {APPS}, {realms}, wetoken: {{ realm: 'R123' }}, tokenboy: {{ realm: 'R2' }} }}"
    ))
    .config;
    let wetoken = config.wetoken.expect("it is on");
    assert_eq!(
        (wetoken.realm.as_deref(), config.tokenboy.realm.as_deref()),
        (Some("R123"), Some("R2"))
    );
    assert!(
        wetoken.allow.contains([10, 0, 0, 1].into())
            && !wetoken.allow.contains([8, 8, 8, 8].into()),
        "the networks still count"
    );
    check_faults(
        &format!("{{ {realms}, wetoken: {{ realm: 'R12' }} }}"),
        &["jsdkd.json:1:82 wetoken.realm: \"R12\" … realm … \"R123\""],
    );
    check_faults(
        "{ wetoken: {}, tokenboy: { realm: 'R9' } }",
        &["jsdkd.json:1:28 tokenboy.realm: \"R9\" … realm"],
    );
    for bad in ["''", "5", "['R123']"] {
        assert!(
            faults(&format!("{{ {realms}, wetoken: {{ realm: {bad} }} }}"))
                .contains(":82 wetoken.realm: "),
            "{bad}"
        );
    }
    let env: Environment = [("JSDKD__WETOKEN__REALM", "R9")].into_iter().collect();
    let told = load(&Source::text("jsdkd.json", "{}"), &env)
        .expect_err("there is no such realm")
        .to_string();
    assert!(
        told.starts_with("JSDKD__WETOKEN__REALM wetoken.realm: "),
        "{told}"
    );
}

#[test]
fn host_names_are_only_names() {
    let hosts = |hosts: &str| {
        good(&format!("{{ {APPS}, server: {{ hosts: {hosts} }} }}"))
            .config
            .server
            .hosts
    };
    assert_eq!(
        hosts("['Tokens.Example.COM.', 'wx.例子.com', 'a_b.example']"),
        ["tokens.example.com", "wx.xn--fsqu00a.com", "a_b.example"]
    );
    assert_eq!(hosts("'tokens.example.com'"), ["tokens.example.com"]);
    assert!(hosts("[]").is_empty() && hosts("null").is_empty());
    for bad in [
        "https://a.example",
        "a.example:80",
        "a.example/",
        "*.example",
        "*",
        "",
        "a b",
        "a%2eb",
        "a,b",
    ] {
        let told = faults(&format!("{{ {APPS}, server: {{ hosts: ['{bad}'] }} }}"));
        assert!(
            told.contains("server.hosts[0]: found") && told.contains("host name"),
            "{bad}: {told}"
        );
    }
    let env: Environment = [("JSDKD__SERVER__HOSTS", "a.example, b.example")]
        .into_iter()
        .collect();
    let loaded =
        load(&Source::text("jsdkd.json", format!("{{ {APPS} }}")), &env).expect("it holds");
    assert_eq!(loaded.config.server.hosts, ["a.example", "b.example"]);
}
