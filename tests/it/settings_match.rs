//! Settings with a value that would never match: each is either normalised or reported with advice.

use std::net::IpAddr;

use jsdkd::settings::{Environment, Loaded, Source, load};
use reqwest::Method;
use serde_json::{Value, json};

use crate::oauth::one_site;
use crate::settings::good;
use crate::support::app::{APP, TestApp, lay};

const APPS: &str = "apps: [{ key: 'wx1', secret: 's' }]";

fn read(section: &str, value: &Value) -> Result<Loaded, String> {
    let text = format!("{{ {APPS}, {section}: {value} }}");
    load(&Source::text("jsdkd.json", text), &Environment::default())
        .map_err(|fault| fault.to_string())
}

/// Asserts that `cors` with this value allows these origins and refuses those, without a warning.
#[track_caller]
fn cors_is(value: Value, allowed: &[&str], refused: &[&str]) {
    let loaded = read("cors", &value).unwrap_or_else(|fault| panic!("{value}: {fault}"));
    assert!(loaded.warnings.is_empty(), "{value}: {:?}", loaded.warnings);
    for origin in allowed {
        assert!(
            loaded.config.origins.allows(origin),
            "{value} should let {origin} in"
        );
    }
    for origin in refused.iter().chain(&[
        "https://evil.org",
        "https://shop.example.com.evil.org",
        "https://evil.org/shop.example.com",
    ]) {
        assert!(
            !loaded.config.origins.allows(origin),
            "{value} should refuse {origin}"
        );
    }
}

#[test]
fn common_spellings_of_an_origin_are_accepted() {
    let shop = "https://shop.example.com";
    let others = [
        "http://shop.example.com",
        "https://notshop.example.com",
        "https://example.com",
    ];
    for text in [
        "https://shop.example.com/",
        "https://shop.example.com//",
        "HTTPS://Shop.Example.com/",
        "^https://shop\\.example\\.com/$",
        "^https://shop\\.example\\.com\\/$",
        "^https://shop.example.com:443$",
        "https://shop.example.com:443/",
        " https://shop.example.com ",
        "https://shop.example.com,",
        "https://shop.example.com/, https://other.example.org/",
        "https://other.example.org https://shop.example.com",
    ] {
        cors_is(json!(text), &[shop], &others);
        cors_is(
            json!([text, "x\\.example"]),
            &[shop, "http://x.example"],
            &others,
        );
    }
    cors_is(
        json!("http://shop.example.com:80/"),
        &["http://shop.example.com"],
        &["https://shop.example.com"],
    );
    cors_is(
        json!("example.com/"),
        &["http://example.com", "https://www.example.com:8443"],
        &["https://notexample.com"],
    );
    cors_is(
        json!("https://shop.example.com:8443/"),
        &["https://shop.example.com:8443"],
        &[shop],
    );
    cors_is(
        json!("https://商店.example"),
        &["https://xn--czrs0t.example"],
        &["https://xn--czrs0t.example.org"],
    );
    cors_is(
        json!("商店\\.example\\.com$"),
        &["https://www.xn--czrs0t.example.com"],
        &["https://x.example.com"],
    );
    // And valid values are unchanged.
    cors_is(
        json!("^https://(shop|club)\\.example\\.com$"),
        &[shop, "https://club.example.com"],
        &["https://x.example.com"],
    );
    cors_is(
        json!("[a-z]{1,5}\\.example\\.com"),
        &[shop, "http://a.example.com"],
        &["https://toolong9.example.com"],
    );
    cors_is(
        json!("\\.example\\.com$|example\\.com$"),
        &["https://example.com", "https://a.example.com"],
        &[],
    );
    cors_is(
        json!("example\\.com:8443"),
        &["https://example.com:8443"],
        &["https://example.com"],
    );
    cors_is(
        json!("capacitor://localhost"),
        &["capacitor://localhost"],
        &[],
    );
}

#[test]
fn a_pattern_that_no_origin_matches_is_a_fault() {
    for (text, cure) in [
        (
            "https://shop.example.com/app",
            r#"write "^https://shop\\.example\\.com$""#,
        ),
        (
            "https://shop.example.com/app/",
            r#"write "^https://shop\\.example\\.com$""#,
        ),
        (
            "^https://shop\\.example\\.com:8443/app$",
            r#"write "^https://shop\\.example\\.com:8443$""#,
        ),
        ("example.com/app", r#"write "example\\.com""#),
        ("example.com:443", r#"write "example\\.com""#),
        (
            "https://user@shop.example.com",
            r#"write "^https://shop\\.example\\.com$""#,
        ),
        (
            "https://shop\\.example\\.com\\.",
            "no origin can match this",
        ),
        ("https:shop.example.com", "no origin can match this"),
        ("https:/shop.example.com", "no origin can match this"),
        ("//shop.example.com/x", "no origin can match this"),
        ("\\.com", "no origin can match this"),
        ("null", "send null"),
        ("[商店]\\.example", "xn--"),
        ("*.example.com", r#"write "example\\.com""#),
        ("*.example.com/", r#"write "example\\.com""#),
        (
            "https://*.example.com",
            r#"write "^https://[a-z0-9-]+\\.example\\.com$""#,
        ),
        (
            "https://*.example.com/",
            r#"write "^https://[a-z0-9-]+\\.example\\.com$""#,
        ),
        ("https://*", r#"write "^https://.*""#),
        ("*://shop.example.com", "repetition operator"),
        (" , ", "a regular expression such as"),
        ("/", "empty pattern"),
    ] {
        let fault = read("cors", &json!(["good\\.example", text]))
            .map(|loaded| loaded.warnings)
            .expect_err(text);
        assert!(
            fault.contains(cure) && fault.contains("cors[1]: "),
            "{text}: {fault}"
        );
        assert!(fault.starts_with("jsdkd.json:1:"), "{fault}");
    }
    // The original accepts this as well, and it matches nothing.
    let loaded = read("cors", &json!(["^example.com"])).unwrap();
    assert!(
        loaded.warnings[0].contains(" cors[0]: ")
            && loaded.warnings[0].contains(r#"write "example\\.com""#)
    );
}

#[test]
fn many_and_large_patterns_are_accepted() {
    let many: Vec<String> = (0..300)
        .map(|n| format!("site{n}\\.example\\.com"))
        .collect();
    assert!(read("cors", &json!(many)).is_ok());
    for text in [
        "(a{1,50}){1,50}\\.com",
        "\\w+\\.example\\.com",
        "(\\p{L}|[0-9-])+\\.example\\.com",
        "(?x) a \\. b",
        ".*",
        "\\bexample\\.com",
    ] {
        assert!(read("cors", &json!(text)).is_ok(), "{text}");
    }
}

#[test]
fn common_spellings_of_networks_are_accepted() {
    for section in ["server", "tokenboy", "wetoken"] {
        let name = if section == "server" {
            "trustedProxies"
        } else {
            "allow"
        };
        let read = |value: Value| read(section, &json!({ name: value }));
        for value in [
            json!("203.0.113.9/8"),
            json!([" 203.0.0.0/8 "]),
            json!("203.0.113.0/24, 9.9.9.9"),
            json!(["::ffff:203.0.113.0/120"]),
        ] {
            let config = read(value.clone())
                .unwrap_or_else(|fault| panic!("{value}: {fault}"))
                .config;
            let callers = match section {
                "server" => &config.server.trusted_proxies,
                "tokenboy" => &config.tokenboy.allow,
                _ => &config.wetoken.as_ref().unwrap().allow,
            };
            assert!(
                callers.contains("203.0.113.9".parse::<IpAddr>().unwrap()),
                "{section} {value}"
            );
        }
        for value in ["0.0.0.0", "::", "*"] {
            let fault = read(json!([value]))
                .map(|loaded| loaded.warnings)
                .expect_err(value);
            assert!(
                fault.contains(r#"for every address write "0.0.0.0/0""#)
                    && fault.contains(&format!("{section}.{name}[0]")),
                "{fault}"
            );
        }
        for value in [
            "10.0.0.1:80",
            "http://10.0.0.1",
            "10.0.0.0/33",
            "10.0.0.0/255.0.0.0",
            "",
        ] {
            assert!(read(json!([value])).is_err(), "{section} {value}");
        }
    }
}

#[test]
fn addresses_of_wechat_may_have_the_path_of_its_calls() {
    let text = format!(
        "{{ {APPS}, wechat: {{ api: ['https://a.example/cgi-bin', 'https://b.example/wx/cgi-bin/', 'https://c.example'], open: 'https://o.example/connect/oauth2/authorize' }} }}"
    );
    let wechat = good(&text).config.wechat;
    let api: Vec<&str> = wechat.api.iter().map(reqwest::Url::as_str).collect();
    assert_eq!(
        (api, wechat.open.as_str()),
        (
            vec![
                "https://a.example/",
                "https://b.example/wx/",
                "https://c.example/"
            ],
            "https://o.example/"
        )
    );
}

#[test]
fn a_missing_folder_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let of = |path: &str| read("server", &json!({ "static": path })).unwrap().warnings;
    assert_eq!(of(&folder.path().display().to_string()), [""; 0]);
    assert_eq!(of("static"), [""; 0]);
    assert!(of("/nowhere/static")[0].contains(" server.static: the folder \"/nowhere/static\""));
}

#[test]
fn an_unreachable_rule_is_reported() {
    let warnings = |rules: &str| {
        good(&format!(
            "{{ apps: [{{ key: 'wx1', secret: 's', token: 't', messages: [{rules}] }}] }}"
        ))
        .warnings
    };
    let reply = "reply: { text: 'x' }";
    for (rules, told) in [
        (
            format!("{{ on: '*', {reply} }}, {{ on: 'text', {reply} }}"),
            Some("messages[1]: never applies"),
        ),
        (
            format!("{{ on: 'event', {reply} }}, {{ on: 'event:subscribe', {reply} }}"),
            Some("messages[1]"),
        ),
        (
            format!("{{ on: 'event:A', {reply} }}, {{ on: 'event:a', {reply} }}"),
            Some("messages[1]"),
        ),
        (
            format!("{{ on: 'image', match: 'cat', {reply} }}"),
            Some("messages[0].match: never matches"),
        ),
        (
            format!("{{ on: '*', match: 'x', {reply} }}, {{ on: 'text', {reply} }}"),
            None,
        ),
        (
            format!(
                "{{ on: 'event: subscribe', {reply} }}, {{ on: 'event', {reply} }}, {{ on: '*', {reply} }}"
            ),
            None,
        ),
        (
            format!(
                "{{ on: 'text', match: 'a', {reply} }}, {{ on: 'text', match: 'b', {reply} }}, {{ on: 'text', {reply} }}"
            ),
            None,
        ),
    ] {
        let found = warnings(&rules);
        match told {
            Some(told) => assert!(
                found.len() == 1 && found[0].contains(told),
                "{rules}: {found:?}"
            ),
            None => assert!(found.is_empty(), "{rules}: {found:?}"),
        }
    }
}

#[test]
fn an_unusable_return_site_is_a_fault() {
    let of = |redirects: Value| {
        let text = format!(
            "{{ apps: [{{ key: 'wx1', secret: 's', oauth: {{ redirects: {redirects} }} }}] }}"
        );
        load(&Source::text("jsdkd.json", text), &Environment::default())
            .map_err(|fault| fault.to_string())
    };
    for text in [
        "https://shop-*.example.com/",
        "https://*.com.cn/",
        "https://*/",
        "*",
        "*.example.com",
        "shop.example.com",
        "//shop.example.com/",
        "https://a.example/*/b",
        "https://a.example./",
        "https://a.example/?x",
        "https://a b.example/",
        ",",
    ] {
        let fault = of(json!(["https://good.example/", text]))
            .map(|loaded| loaded.warnings)
            .expect_err(text);
        assert!(
            fault.contains("apps[0].oauth.redirects[1]: ")
                && fault.contains("https://shop.example.com/"),
            "{text}: {fault}"
        );
    }
}

#[tokio::test]
async fn return_sites_match_as_written() {
    for (redirects, admitted, refused) in [
        (
            json!(["https://*.example.com/"]),
            vec!["https://a.example.com/in"],
            vec![
                "https://example.com/",
                "https://a.b.example.com/",
                "https://a.example.com.evil.org/",
                "https://a.example.com@evil.org/",
            ],
        ),
        (
            json!("https://a.example.com/, https://b.example.com/in/*,"),
            vec!["https://a.example.com/x", "https://b.example.com/in/x"],
            vec!["https://b.example.com/out"],
        ),
        (
            json!([" https://SHOP.example.com:443/ "]),
            vec!["https://shop.example.com/"],
            vec!["http://shop.example.com/"],
        ),
        (
            json!("https://商店.example/商"),
            vec!["https://xn--czrs0t.example/%e5%95%86"],
            vec!["https://xn--czrs0t.example/x"],
        ),
    ] {
        let mut settings = one_site();
        lay(
            &mut settings,
            json!({ "apps": [{ "key": APP, "secret": "s", "oauth": { "redirects": redirects } }] }),
        );
        let app = TestApp::with(settings).await;
        let begin = async |redirect: &str| {
            let redirect: String =
                url::form_urlencoded::byte_serialize(redirect.as_bytes()).collect();
            app.send(app.request(Method::GET, &format!("/oauth/{APP}?redirect={redirect}")))
                .await
        };
        for redirect in admitted {
            assert_eq!(
                begin(redirect).await.status,
                302,
                "{redirects} should admit {redirect}"
            );
        }
        for redirect in refused {
            assert_eq!(
                begin(redirect).await.status,
                400,
                "{redirects} should refuse {redirect}"
            );
        }
    }
}
