//! `sources` and `tokenboy` in the settings: what is accepted, and what is refused with which
//! message.

use std::time::Duration;

use jsdkd::settings::{Environment, Source, load};

use crate::settings::{check_faults, faults, fits, good};

#[test]
fn sources_alone_are_enough() {
    let loaded = good("{ sources: { a: { url: 'http://x/' } } }");
    assert_eq!(
        (
            loaded.config.accounts.len(),
            loaded.config.sources.len(),
            loaded.warnings.len()
        ),
        (0, 1, 0)
    );
    assert!(
        loaded.config.tokenboy.allow.contains([127, 0, 0, 1].into())
            && loaded.config.tokenboy.allow.contains([10, 0, 0, 1].into())
    );
    assert!(!loaded.config.tokenboy.allow.contains([8, 8, 8, 8].into()));
    for nothing in [
        "{ sources: {} }",
        "{ sources: null, token_sources: {} }",
        "{ sources: {}, apps: [] }",
    ] {
        assert!(faults(nothing).contains("nothing to serve"), "{nothing}");
    }
    assert!(
        good("{ apps: [{ key: 'wx1', secret: 's' }] }")
            .config
            .sources
            .is_empty()
    );
}

#[test]
fn tokenboys_own_settings_load_under_their_own_names() {
    let text = "{
      bind_ip: '127.0.0.1', bind_port: 8888,
      token_sources: {
        weixin: { 'url': 'https://api.weixin.qq.com/cgi-bin/token', 'method': 'GET',
                  'args': { 'grant_type': 'client_credential', 'appid': 'wx1', 'secret': 's' } },
        weixin_jsticket: { 'url': 'https://api.weixin.qq.com/cgi-bin/ticket/getticket', 'method': 'GET',
                  'args': { 'type': 'jsapi', 'access_token': '{{results.weixin.access_token}}' } },
      },
    }";
    let strict = load(
        &Source::text("jsdkd.json", text).strict(true),
        &Environment::default(),
    )
    .expect("it holds");
    assert_eq!(
        (
            strict.config.server.bind.as_str(),
            strict.config.server.port
        ),
        ("127.0.0.1", 8888)
    );
    assert_eq!((strict.config.sources.len(), strict.warnings.len()), (2, 0));
    let stale: Vec<_> = strict
        .config
        .sources
        .into_iter()
        .map(|(_, source)| source.stale)
        .collect();
    assert_eq!(stale, [vec![], vec![40001, 40014, 42001]]);
    let moved = load(
        &Source::text("jsdkd.json", text),
        &[("PORT", "9999")].into_iter().collect(),
    )
    .expect("it holds");
    assert_eq!(moved.config.server.port, 9999, "a variable wins");
}

#[test]
fn a_cycle_of_sources_is_a_fault() {
    let text = "{ sources: {
  a: { url: 'http://x/', args: { t: '{{results.b.t}}' } },
  b: { url: 'http://x/', headers: { t: '{{results.c.t}}' } },
  c: { url: 'http://x/', method: 'POST', body: { t: ['{{results.a.t}}'] } },
  d: { preset: 'wecom_jsapi_ticket', token: 'd' },
} }";
    check_faults(
        text,
        &[
            "jsdkd.json:2:3 sources.a: a -> b -> c -> a",
            "jsdkd.json:5:3 sources.d: d -> d",
        ],
    );
}

#[test]
fn every_fault_has_its_place_and_no_secret() {
    let text = r#"{ sources: {
  "a.b": { url: "http://x/" },
  b: { args: { t: "{{results.weixn.t}}", u: "{{secret-1", v: "{{secret.2}}" } },
  c: { url: "secret-3", method: "GE T", headers: { "a b": "x" }, expires: 0, ok: 5, stale: "x", reserve: 7 },
  d: { preset: "wecon" },
  e: { preset: "wecom", corpid: "ww1", secret: "x" },
  f: { preset: "wecom_jsapi_ticket", token: "wexin" },
  g: { url: "http://x/", body: {}, form: { a: { env: "NO_SUCH" } } },
  weixin: "http://x/",
}, tokenboy: { allow: ["lan"] } }"#;
    let found = faults(text);
    let expected = [
        "jsdkd.json:2:3 sources[\"a.b\"]: name … 1 to 64 characters",
        "jsdkd.json:3:3 sources.b.url: missing … \"https://api.example.com/token\"",
        "jsdkd.json:3:16 sources.b.args.t: \"weixn\" … \"weixin\"",
        "jsdkd.json:3:42 sources.b.args.u: {{ … }}",
        "jsdkd.json:3:59 sources.b.args.v: {{results.NAME.FIELD}}",
        "jsdkd.json:4:8 sources.c.url: \"https://api.example.com/token\"",
        "jsdkd.json:4:25 sources.c.method: \"GE T\" … \"GET\"",
        "jsdkd.json:4:41 sources.c.headers: \"a b\" … header name",
        "jsdkd.json:4:66 sources.c.expires: 0 … field",
        "jsdkd.json:4:78 sources.c.ok: 5 … field",
        "jsdkd.json:4:85 sources.c.stale: \"x\" … code",
        "jsdkd.json:4:97 sources.c.reserve: 7 … unit",
        "jsdkd.json:5:8 sources.d.preset: \"wecon\" … \"wecom\"",
        "jsdkd.json:6:3 sources.e.corpsecret: missing … preset",
        "jsdkd.json:7:38 sources.f.token: \"wexin\" … \"weixin\"",
        "jsdkd.json:8:26 sources.g.body: body or form",
        "jsdkd.json:8:44 sources.g.form.a: NO_SUCH",
        "jsdkd.json:9:3 sources.weixin: text … object",
        "jsdkd.json:10:24 tokenboy.allow[0]: \"lan\"",
    ];
    for expected in expected {
        assert!(
            found.lines().any(|line| fits(line, expected)),
            "{expected}\nis not in\n{found}"
        );
    }
    assert!(
        !found.contains("secret-1") && !found.contains("secret.2") && !found.contains("secret-3"),
        "{found}"
    );
}

#[test]
fn an_expiry_is_a_field_or_a_duration() {
    let expires = |text: &str| {
        let loaded = good(&format!(
            "{{ sources: {{ a: {{ url: 'http://x/', expires: {text} }} }} }}"
        ));
        loaded
            .config
            .sources
            .into_iter()
            .next()
            .expect("one source")
            .1
            .expires
    };
    use credentials::sources::Expires::{Field, Fixed};
    assert_eq!(expires("'2h'"), Fixed(Duration::from_secs(7200)));
    assert_eq!(expires("7000"), Fixed(Duration::from_secs(7000)));
    assert_eq!(
        expires("'data.ttl'"),
        Field(vec!["data".to_owned(), "ttl".to_owned()])
    );
}

#[test]
fn the_stable_token_is_renewed_inside_its_last_five_minutes() {
    let text = "{ sources: { a: { preset: 'wechat_stable_token', appid: 'wx1', secret: 's' }, b: { url: 'http://x/', reserve: '30m' } } }";
    let reserves: Vec<_> = good(text)
        .config
        .sources
        .into_iter()
        .map(|(_, source)| source.reserve.as_secs())
        .collect();
    assert_eq!(reserves, [300, 1800]);
}
