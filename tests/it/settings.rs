//! Settings: what is accepted, what is refused with which message, and which layer wins.

use std::time::Duration;

use credentials::store::{RedisTopology, StoreConfig};
use jsdkd::oauth::Scope;
use jsdkd::realm::Algorithm;
use jsdkd::settings::{Environment, Loaded, SettingsError, Source, load};
use proptest::prelude::*;
use secrecy::ExposeSecret;
use wechat::account::Keep;
use wechat::account::TokenApi;

const APPS: &str = "apps: [{ key: 'wx1', secret: 's1' }]";

fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, SettingsError> {
    load(
        &Source::text("jsdkd.json", text),
        &variables.iter().copied().collect(),
    )
}

#[track_caller]
pub(crate) fn good(text: &str) -> Loaded {
    load_with(text, &[]).unwrap_or_else(|fault| panic!("{text}\n{fault}"))
}

#[track_caller]
fn good_with(text: &str, variables: &[(&str, &str)]) -> Loaded {
    load_with(text, variables).unwrap_or_else(|fault| panic!("{text}\n{fault}"))
}

fn variables_alone(variables: &[(&str, &str)]) -> Result<Loaded, SettingsError> {
    load(&Source::file(None), &variables.iter().copied().collect())
}

/// All faults of `text`, one a line.
#[track_caller]
pub(crate) fn faults(text: &str) -> String {
    load_with(text, &[])
        .map(|loaded| loaded.warnings)
        .expect_err("the settings are faulty")
        .to_string()
}

/// Whether a message has the expected place and words: `jsdkd.json:4:5 realms: text … list` is
/// the place with the setting's name, then words of the message in their order.
pub(crate) fn fits(line: &str, expected: &str) -> bool {
    let (place, words) = expected.rsplit_once(": ").expect("a place and words");
    let mut rest = line
        .strip_prefix(place)
        .and_then(|rest| rest.strip_prefix(": "));
    for word in words.split(" … ") {
        rest = rest.and_then(|rest| Some(rest.split_once(word)?.1));
    }
    rest.is_some()
}

/// Asserts that each line fits its expectation, and that there are as many.
#[track_caller]
pub(crate) fn check_lines(lines: &[impl AsRef<str>], expected: &[&str]) {
    let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.into_iter().zip(expected) {
        assert!(fits(line, expected), "expected {expected:?} in {line:?}");
    }
}

/// Asserts the faults of `text` in order, each as for [`fits`].
#[track_caller]
pub(crate) fn check_faults(text: &str, expected: &[&str]) {
    check_lines(&faults(text).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn one_app_is_enough_and_everything_else_has_its_default() {
    let Loaded {
        config,
        warnings,
        file,
    } = good("{\"apps\":[{\"key\":\"wx1\",\"secret\":\"s1\"}]}");
    assert_eq!((warnings.len(), file), (0, None));
    let account = &config.accounts[0];
    assert_eq!(
        (account.app_id.as_str(), account.secret.expose_secret()),
        ("wx1", "s1")
    );
    assert_eq!(
        (
            account.token_api,
            account.reserve,
            account.rotations_per_day
        ),
        (TokenApi::Basic, Duration::from_secs(600), 1000)
    );
    assert!(
        account.push_token.is_none() && config.realms.is_empty() && config.origins.allows_any()
    );
    assert!(matches!(&config.store, StoreConfig::Memory(records) if records.is_empty()));
    assert_eq!(config.keep, Keep::Active);
    let server = &config.server;
    assert_eq!(
        (
            server.bind.as_str(),
            server.port,
            server.workers,
            server.body_limit
        ),
        ("0.0.0.0", 3030, 0, 102_400)
    );
    assert_eq!(
        (server.shutdown_grace, server.access_log),
        (Duration::from_secs(10), false)
    );
    assert_eq!(
        (server.max_connections, server.max_waiting),
        (25_000, 20_000)
    );
    assert!(server.public_url.is_none() && server.static_dir.as_os_str() == "static");
    assert!(
        server.trusted_proxies.contains([127, 0, 0, 1].into())
            && !server.trusted_proxies.contains([8, 8, 8, 8].into())
    );
    assert_eq!(config.wechat.api[0].as_str(), "https://api.weixin.qq.com/");
    assert_eq!(
        (config.wechat.open.as_str(), config.wechat.timeout),
        ("https://open.weixin.qq.com/", Duration::from_secs(5))
    );
}

#[test]
fn the_example_file_loads_without_a_warning() {
    let loaded = load(
        &Source::file(Some("jsdkd.example.json".into())).strict(true),
        &Environment::default(),
    )
    .expect("the example holds");
    assert_eq!(loaded.warnings, [""; 0]);
    assert_eq!(loaded.file.as_deref(), Some("jsdkd.example.json".as_ref()));
    assert_eq!(
        (loaded.config.accounts.len(), loaded.config.realms.len()),
        (2, 2)
    );
    assert_eq!(loaded.config.wechat.api.len(), 2);
}

#[test]
fn the_originals_sample_loads_with_realms_as_a_list() {
    let sample = "\u{feff}{
        //可选, 跨域白名单
        cors: [ \"example\\\\.com\" ],
        cache: { file: 'cache_file.json' },
        realms: [ {key: \"realm key\", secret: \"realm secret\"} ],
        apps: [ {key: 'app_ID', secret: 'app secret'}, ]
    }";
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("jsdkd.json");
    std::fs::write(&path, sample).expect("the sample is written");
    let config = load(&Source::file(Some(path)), &Environment::default())
        .expect("the sample holds")
        .config;
    assert!(
        matches!(&config.store, StoreConfig::File(path) if path.as_os_str() == "cache_file.json")
    );
    assert!(
        config.origins.allows("https://www.example.com")
            && !config.origins.allows("https://evil.org")
    );
    assert_eq!(
        config.realms.get("realm key").map(|realm| realm.algorithm),
        Some(Algorithm::Any)
    );
    let escaped = good(
        r#"{"cors": ["example\.com"], "realms": {}, "apps": [{"key": "wx1", "secret": "s"}]}"#,
    );
    assert!(
        escaped.config.origins.allows("https://example.com") && escaped.config.realms.is_empty()
    );
    let original =
        "{\n  //可选\n  realms: {\n    {key: \"realm key\", secret: \"realm secret\"}\n  },\n}";
    check_faults(original, &["jsdkd.json:4:5 realms: expected a list"]);
    check_faults(
        &format!("{{ realms: {{ key: 'R', secret: 'S' }}, {APPS} }}"),
        &["jsdkd.json:1:3 realms: expected a list"],
    );
}

#[test]
fn every_fault_is_reported_at_once_in_the_order_of_the_file() {
    let text = r#"{
  cors: ["a(b", "example\\.com"],
  realms: [
    { key: "R1", secret: "very-secret" },
    { key: "R1", secret: "" },
    { key: "", secret: 12345678 },
    "R4",
  ],
  apps: [
    { key: "wx 1", secret: "s" },
    { key: "weblogin", secret: "s" },
    { key: "wx2" },
    { key: "wx3", secret: "s", tokenApi: "stabel" },
    { key: "wx3", secret: "s", rotationsPerDay: -1 },
    { key: "wx4", secret: "s", tokenApi: "stable", rotationsPerDay: 21 },
  ],
  server: { port: 65536, bodyLimit: "lots", shutdownGrace: 10, publicUrl: "wx.example.com", trustedProxies: ["lan"] },
  reserve: "61m", keep: "allways",
  wechat: { api: "ftp://x", timeout: "0s" },
  cache: { fiel: "x" },
}"#;
    check_faults(
        text,
        &[
            r#"jsdkd.json:2:10 cors[0]: regular expression"#,
            r#"jsdkd.json:5:5 realms[1]: R1"#,
            r#"jsdkd.json:5:18 realms[1].secret: text"#,
            r#"jsdkd.json:6:7 realms[2].key: realm's name"#,
            r#"jsdkd.json:6:16 realms[2].secret: text"#,
            r#"jsdkd.json:7:5 realms[3]: object {…}"#,
            r#"jsdkd.json:10:7 apps[0].key: 2 to 64"#,
            r#"jsdkd.json:11:7 apps[1].key: weblogin"#,
            r#"jsdkd.json:12:5 apps[2].secret: account's AppSecret"#,
            r#"jsdkd.json:13:32 apps[3].tokenApi: stable"#,
            r#"jsdkd.json:14:5 apps[4]: the app wx3"#,
            r#"jsdkd.json:14:32 apps[4].rotationsPerDay: whole number"#,
            r#"jsdkd.json:15:52 apps[5].rotationsPerDay: whole number"#,
            r#"jsdkd.json:17:13 server.port: whole number"#,
            r#"jsdkd.json:17:26 server.bodyLimit: size from"#,
            r#"jsdkd.json:17:45 server.shutdownGrace: time with"#,
            r#"jsdkd.json:17:64 server.publicUrl: full address"#,
            r#"jsdkd.json:17:110 server.trustedProxies[0]: "loopback""#,
            r#"jsdkd.json:18:3 reserve: time from"#,
            r#"jsdkd.json:18:19 keep: always"#,
            r#"jsdkd.json:19:13 wechat.api: full address"#,
            r#"jsdkd.json:19:29 wechat.timeout: time from"#,
            r#"jsdkd.json:20:12 cache.fiel: file"#,
        ],
    );
}

#[test]
fn invalid_json_is_refused_with_its_position() {
    let cases = [
        (
            "{\n  apps: [{ key: 'a' secret: 'b' }] }",
            "2:21: 's' … comma … missing",
        ),
        ("{ apps: [", "1:9: '[' … never closed"),
        ("{ cors: “x” }", "1:9: '“' … typographic … \""),
        ("{ cors: x }", "1:9: 'x' … value … quotation marks"),
        ("{ a-b: 1 }", "1:4: '-' … colon"),
        ("{ cors: 'x\n' }", "1:11: line … quotation mark"),
        ("{} }", "1:4: '}' … end … bracket"),
        ("", "1:1: ends … { apps"),
    ];
    for (text, expected) in cases {
        check_faults(text, &[&format!("jsdkd.json:{expected}")]);
    }
    check_faults("[]", &["jsdkd.json: object"]);
    assert!(faults(&"[".repeat(100_000)).contains("nested deeper"));
}

#[test]
fn a_misspelt_name_is_reported_with_the_missing_one() {
    check_faults(
        "{ apps: [{ key: 'wx1', secrt: 's' }] }",
        &[
            "jsdkd.json:1:10 apps[0].secret: account's AppSecret",
            "warning: jsdkd.json:1:24 apps[0].secrt: secret",
        ],
    );
}

#[test]
fn unknown_settings_are_warnings_and_faults_when_strict() {
    let text = format!("{{ {APPS}, realm: [], 'a.b[0]': 1,\n server: {{ prot: 1 }} }}");
    let expected = [
        r#"jsdkd.json:1:41 realm: unknown … "realms""#,
        r#"jsdkd.json:1:52 ["a.b[0]"]: unknown"#,
        r#"jsdkd.json:2:12 server.prot: unknown … "port""#,
    ];
    check_lines(&good(&text).warnings, &expected);
    let strict = load(
        &Source::text("jsdkd.json", text).strict(true),
        &Environment::default(),
    )
    .expect_err("strict");
    check_lines(&strict.to_string().lines().collect::<Vec<_>>(), &expected);
    let twice = good(&format!(
        "{{ cors: 'a\\\\.com', {APPS}, cors: 'b\\\\.com' }}"
    ));
    check_lines(
        &twice.warnings,
        &[r#"jsdkd.json:1:58: "cors" … more than once … last"#],
    );
    assert!(
        twice.config.origins.allows("http://b.com") && !twice.config.origins.allows("http://a.com")
    );
}

#[test]
fn empty_settings_are_a_fault() {
    check_faults("{}", &["jsdkd.json: nothing to serve … apps"]);
    check_faults(
        "{ apps: [] }",
        &["jsdkd.json:1:3 apps: nothing to serve … apps"],
    );
    let nothing = variables_alone(&[]).expect_err("no app").to_string();
    assert!(fits(&nothing, "nothing to serve: app"), "{nothing}");
    check_faults(
        "{ apps: { key: 'wx1' } }",
        &["jsdkd.json:1:3 apps: expected a list"],
    );
}

#[test]
fn secrets_may_be_in_variables_and_files() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("the secret is written");
        path.to_str().expect("a plain path").to_owned()
    };
    let (one, empty) = (file("one", "from file\r\n"), file("empty", "\n"));
    let text = format!(
        "{{ apps: [{{ key: 'wx1', secret: {{ file: '{one}' }}, token: {{ env: 'TOKEN' }} }}] }}"
    );
    let loaded = good_with(&text, &[("TOKEN", "from variable")]);
    let account = &loaded.config.accounts[0];
    assert_eq!(account.secret.expose_secret(), "from file");
    assert_eq!(
        account
            .push_token
            .as_ref()
            .map(|token| token.expose_secret()),
        Some("from variable")
    );
    let shown = format!("{loaded:?}");
    assert!(
        !shown.contains("from file") && !shown.contains("from variable"),
        "{shown}"
    );
    check_faults(
        &format!(
            "{{ apps: [{{ key: 'wx1', secret: {{ file: '{empty}' }}, token: {{ env: 'TOKEN' }} }}] }}"
        ),
        &[
            &format!("jsdkd.json:1:24 apps[0].secret: the file {empty}"),
            &format!(
                "jsdkd.json:1:{} apps[0].token: variable TOKEN … not set",
                46 + empty.len()
            ),
        ],
    );
    let absent = faults("{ apps: [{ key: 'wx1', secret: { file: '/nowhere/x' } }] }");
    assert!(
        fits(&absent, "jsdkd.json:1:24 apps[0].secret: /nowhere/x … read"),
        "{absent}"
    );
}

#[test]
fn no_fault_shows_a_secret() {
    let faulty = [
        "apps: 'MARKER'",
        "apps: ['MARKER']",
        "apps: [{ key: 'wx1', secret: ['MARKER'] }]",
        "apps: [{ key: 'wx1', secret: { evn: 'MARKER' } }]",
        "apps: [{ key: 'wx1', secret: { env: 'NONE', or: 'MARKER' } }]",
        "apps: [{ key: 'wx1', secret: '', token: { a: 'MARKER' }, aesKey: 'MARKER' }]",
        "realms: 'MARKER'",
        "realms: ['MARKER']",
        "realms: [{ key: 'R', secret: { value: 'MARKER' } }]",
        "realms: { R: { secret: 'MARKER' } }",
        "cache: 'redis://:MARKER@h'",
        "cache: { redis: ['redis://:MARKER@h:x', {}] }",
        "cache: { redis: { password: ['MARKER'] } }",
        "cache: { redis: 'http://:MARKER@h' }",
        "cache: { sql: 'mysql://u:MARKER@h' }",
        "cache: { sql: 'MARKER' }",
        "cache: { sql: ['MARKER'] }",
        "cache: { sql: { password: 'MARKER' } }",
        "cache: { sql: { url: 'mysql://u:MARKER@h/d', password: ['MARKER'], timeout: 5 } }",
        "cache: { memo: 'MARKER' }",
        "cache: { memo: { 'wx1.token': 'MARKER' } }",
        "cache: { memo: { 'wx1.token': { value: ['MARKER'], __expires: 1 } } }",
        "server: { publicUrl: 'https://u:MARKER@h' }",
        "wechat: { api: ['https://u:MARKER@h'] }",
        "realms: [{ key: 'R', secret: 'MARKER' 'x' }]",
    ];
    for text in faulty {
        let fault = load_with(&format!("{{ {text} }}"), &[]).expect_err(text);
        assert!(
            !fault.to_string().contains("MARKER") && !format!("{fault:?}").contains("MARKER"),
            "{text}: {fault}"
        );
    }
}

#[test]
fn of_two_caches_the_first_is_used() {
    let loaded = good(&format!(
        "{{ cache: {{ redis: 'redis://h:1', file: 'f' }}, {APPS} }}"
    ));
    assert!(
        matches!(&loaded.config.store, StoreConfig::Redis(redis) if redis.topology == RedisTopology::Standalone("h".into(), 1))
    );
    let warning = r#"jsdkd.json:1:3 cache: one cache … "redis" … "file" is ignored"#;
    check_lines(&loaded.warnings, &[warning]);
    let loaded = good(&format!(
        "{{ cache: {{ file: 'f', redis: 'redis://h:1' }}, {APPS} }}"
    ));
    assert!(matches!(&loaded.config.store, StoreConfig::File(_)));
    for none in ["null", "{}", "{ memo: null }", "{ memo: {} }"] {
        let config = good(&format!("{{ cache: {none}, {APPS} }}")).config;
        assert!(
            matches!(&config.store, StoreConfig::Memory(records) if records.is_empty()),
            "{none}"
        );
    }
}

#[test]
fn memory_may_have_initial_records_with_dots() {
    let config =
        good(&format!("{{ cache: {{ memo: {{ 'wx1.token': {{ value: 'T', __expires: 1589353732 }} }} }}, {APPS} }}")).config;
    let StoreConfig::Memory(records) = &config.store else {
        panic!("memory was chosen")
    };
    let record = &records["wx1.token"];
    assert_eq!(
        (record.value.expose_secret(), record.expires_at.0),
        ("T", 1_589_353_732_000)
    );
    check_faults(
        &format!(
            "{{ {APPS}, cache: {{ memo: {{ 'wx1.token': {{ value: '', __expires: 'soon' }} }} }} }}"
        ),
        &[
            r#"jsdkd.json:1:73 cache.memo["wx1.token"].value: text"#,
            r#"jsdkd.json:1:84 cache.memo["wx1.token"].__expires: unix seconds"#,
        ],
    );
}

#[test]
fn a_faulty_cache_is_refused() {
    let sql = "jsdkd.json:1:12 cache.sql: name of a database … host";
    check_faults(
        &format!("{{ cache: {{ sql: 'mysql://u:pw@h' }}, {APPS} }}"),
        &[sql],
    );
    check_faults(
        &format!("{{ cache: {{ file: '' }}, {APPS} }}"),
        &["jsdkd.json:1:12 cache.file: path of"],
    );
    let whole = "jsdkd.json:1:3 cache: text … object … { file";
    check_faults(&format!("{{ cache: 'redis://:pw@h', {APPS} }}"), &[whole]);
}

#[test]
fn a_database_may_be_a_url_or_an_object() {
    let shown = |text: &str, variables: &[(&str, &str)]| {
        let config = load_with(&format!("{{ {text} {APPS} }}"), variables)
            .expect(text)
            .config;
        let StoreConfig::Sql(sql) = &config.store else {
            panic!("{text}: a database was chosen")
        };
        assert!(!format!("{config:?}").contains("MARKER"), "{config:?}");
        format!("{sql:?}")
    };
    let address = shown("cache: { sql: 'mysql://u:MARKER@h/d' },", &[]);
    assert!(
        address.contains("mysql at h:3306") && address.contains("5s"),
        "{address}"
    );
    let apart =
        "cache: { sql: { url: 'postgres://u@h/d', password: { env: 'PW' }, timeout: '800ms' } },";
    let apart = shown(apart, &[("PW", "MARKER")]);
    assert!(
        apart.contains("postgres at h:5432") && apart.contains("800ms"),
        "{apart}"
    );
    assert!(
        shown(
            "cache: { sql: { env: 'URL' } },",
            &[("URL", "sqlite:///a/b.db")]
        )
        .contains("sqlite at /a/b.db")
    );
    let variable = shown(
        "cache: { file: 'f' },",
        &[("JSDKD__CACHE__SQL", "mariadb://u:MARKER@h:1/d?timeout=1s")],
    );
    assert!(
        variable.contains("mysql at h:1") && variable.contains("1s"),
        "{variable}"
    );
    let missing = "jsdkd.json:1:12 cache.sql.url: missing … \"mysql://";
    check_faults(
        &format!("{{ cache: {{ sql: {{ password: 'p' }} }}, {APPS} }}"),
        &[missing],
    );
}

#[test]
fn redis_may_be_a_url_or_the_originals_object() {
    let store = |cache: &str| {
        good_with(
            &format!("{{ cache: {{ redis: {cache} }}, {APPS} }}"),
            &[("REDIS", "redis://v:3")],
        )
        .config
        .store
    };
    let cases = [
        ("'redis://a'", "a", 6379),
        ("{ host: 'b', port: 2 }", "b", 2),
        ("{ env: 'REDIS' }", "v", 3),
        ("{}", "127.0.0.1", 6379),
    ];
    for (cache, host, port) in cases {
        let topology = RedisTopology::Standalone(host.to_owned(), port);
        assert!(
            matches!(store(cache), StoreConfig::Redis(redis) if redis.topology == topology),
            "{cache}"
        );
    }
}

#[test]
fn redis_options_and_their_faults_are_read() {
    let text = format!(
        "{{ {APPS}, cache: {{ redis: {{ host: 'h', port: 1, db: 2, prefix: 'p:', password: {{ env: 'PW' }} }} }} }}"
    );
    let StoreConfig::Redis(redis) = good_with(&text, &[("PW", "secret")]).config.store else {
        panic!("redis was chosen")
    };
    assert_eq!(
        (
            redis.db,
            redis.prefix.as_str(),
            redis.password.as_ref().map(|pw| pw.expose_secret())
        ),
        (2, "p:", Some("secret"))
    );
    let StoreConfig::Redis(redis) = good_with(
        &format!("{{ {APPS} }}"),
        &[("REDIS_SERVER_ADDRESS", ":6380")],
    )
    .config
    .store
    else {
        panic!("redis was chosen")
    };
    assert!(matches!(redis.topology, RedisTopology::Standalone(_, 6380)));
    let fault = faults(&format!(
        "{{ {APPS},\n cache: {{ redis: {{ port: 'MARKER', password: 'MARKER' }} }} }}"
    ));
    assert!(
        fault.starts_with("jsdkd.json:2:20 cache.redis.port: ") && !fault.contains("MARKER"),
        "{fault}"
    );
    let fault = load_with(
        &format!("{{ {APPS} }}"),
        &[("REDIS_SERVER_ADDRESS", "h:MARKER")],
    )
    .expect_err("no port")
    .to_string();
    assert!(
        fault.starts_with("REDIS_SERVER_ADDRESS cache.redis: ") && !fault.contains("MARKER"),
        "{fault}"
    );
}

#[test]
fn later_layers_win() {
    let text = format!("{{ server: {{ port: 1, workers: 2 }}, cache: {{ file: 'f' }}, {APPS} }}");
    let port = |variables: &[(&str, &str)]| good_with(&text, variables).config.server.port;
    assert_eq!(port(&[]), 1);
    assert_eq!(port(&[("JSDKD__SERVER__PORT", "2")]), 2);
    assert_eq!(port(&[("JSDKD__SERVER__PORT", "2"), ("PORT", "3")]), 3);
    assert_eq!(
        port(&[
            ("PORT", "3"),
            ("SERVER_PORT", "4"),
            ("JSDKD__SERVER__PORT", "")
        ]),
        4
    );
    assert_eq!(port(&[("SERVER_PORT", "tcp://10.0.0.1:80")]), 1);
    let variables = [
        ("JSDKD__SERVER__BODY_LIMIT", "2mb"),
        ("JSDKD__SERVER__ACCESS_LOG", "true"),
        ("JSDKD__SERVER__MAX_CONNECTIONS", "7"),
        ("JSDKD__SERVER__MAX_WAITING", "5"),
        ("JSDKD__SERVER__TRUSTED_PROXIES", "loopback, 8.8.8.8"),
        ("JSDKD__CORS", "a\\.com,b\\.com"),
        ("JSDKD__RESERVE", "20m"),
        ("JSDKD__KEEP", "always"),
        ("JSDKD__CACHE__REDIS", "redis://h"),
        (
            "JSDKD__WECHAT__API",
            "http://127.0.0.1:1,http://127.0.0.1:2/x",
        ),
    ];
    let Loaded {
        config, warnings, ..
    } = good_with(&text, &variables);
    assert_eq!(warnings, [""; 0]);
    assert_eq!(
        (
            config.server.body_limit,
            config.server.access_log,
            config.server.workers
        ),
        (2 << 20, true, 2)
    );
    assert_eq!(
        (config.server.max_connections, config.server.max_waiting),
        (7, 5)
    );
    assert!(
        config.server.trusted_proxies.contains([8, 8, 8, 8].into())
            && !config.server.trusted_proxies.contains([10, 0, 0, 1].into())
    );
    assert!(config.origins.allows("http://b.com") && !config.origins.allows("http://c.com"));
    assert_eq!(
        (config.keep, config.accounts[0].reserve),
        (Keep::Always, Duration::from_secs(1200))
    );
    assert!(
        matches!(config.store, StoreConfig::Redis(_)),
        "the environment replaces the file's choice"
    );
    assert_eq!(
        config
            .wechat
            .api
            .iter()
            .map(|url| url.as_str())
            .collect::<Vec<_>>(),
        ["http://127.0.0.1:1/", "http://127.0.0.1:2/x/"]
    );
}

#[test]
fn faults_in_variables_name_the_variable() {
    let variables = [
        ("SERVER_PORT", "eighty"),
        ("JSDKD__CORS", "ok,a(b"),
        ("JSDKD__APPS", "[]"),
        ("JSDKD__SERVER__BODYLIMIT", "1"),
        ("APPID", "no appid"),
        ("APPSECRET", "s"),
    ];
    let source = Source::text("jsdkd.json", format!("{{ {APPS} }}")).strict(true);
    let mut lines: Vec<String> = load(&source, &variables.into_iter().collect())
        .expect_err("faulty")
        .to_string()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    check_lines(
        &lines,
        &[
            r#"APPID: "no appid" … 2 to 64 characters"#,
            r#"JSDKD__APPS: apps and realms … file … env"#,
            r#"JSDKD__CORS cors[1]: "a(b" … regular expression"#,
            r#"JSDKD__SERVER__BODYLIMIT: unknown … "JSDKD__SERVER__BODY_LIMIT""#,
            r#"SERVER_PORT server.port: "eighty" … whole number … 0 to 65535"#,
        ],
    );
}

#[test]
fn the_hubs_variables_suffice() {
    let hub = [
        ("APPID", "wx1"),
        ("APPSECRET", "s"),
        ("WECHAT_API_ROOT", "https://api.weixin.qq.com"),
        ("JWT_KEY_a", "k"),
    ];
    let loaded = variables_alone(&hub).expect("the hub starts");
    assert_eq!(
        (loaded.config.server.port, loaded.config.accounts.len()),
        (8567, 1)
    );
    assert_eq!(loaded.warnings, [format!("JWT_KEY_a: {SHORT_KEY}")]);
    let served = loaded.config.hub.expect("the hub is served");
    assert_eq!(
        (
            served.app.as_str(),
            served.keys["a"].expose_secret(),
            served.keys.len()
        ),
        ("wx1", "k", 1)
    );
    let with_port =
        variables_alone(&[&hub[..], &[("PORT", "80")]].concat()).expect("the hub starts");
    assert_eq!(with_port.config.server.port, 80);
    let half = variables_alone(&hub[..1])
        .expect_err("no secret")
        .to_string();
    assert!(
        half.starts_with("APPID: has no effect without APPSECRET, which is not set\n"),
        "{half}"
    );
    let beside_a_file = good_with(&format!("{{ {APPS} }}"), &hub[..1]);
    assert_eq!(
        beside_a_file.warnings,
        ["APPID: has no effect without APPSECRET, which is not set"]
    );
}

const SHORT_KEY: &str =
    "this key is shorter than 32 bytes; anyone who sees a token signed with it can try to guess it";

#[test]
fn the_hub_has_keys_and_an_app() {
    let long = "k".repeat(32);
    let apps = "apps: [{ key: 'wx1', secret: 's' }, { key: 'wx2', secret: 's' }]";
    let hub = |text: &str, variables: &[(&str, &str)]| {
        good_with(&format!("{{ {apps}{text} }}"), variables)
    };
    assert!(hub("", &[]).config.hub.is_none());
    let idle = hub(", hub: { app: 'wx2' }", &[]);
    assert_eq!(
        idle.warnings,
        [
            "jsdkd.json:1:69 hub: no key is set, so its routes are not served; write keys: { KID: \"…\" } or set JWT_KEY_KID"
        ]
    );
    assert!(idle.config.hub.is_none());
    let from_all = hub(
        &format!(
            ", hub: {{ keys: {{ Both: 'old', 'file-1': {{ env: 'F' }}, Z_9: '{long}' }}, app: 'wx2' }}"
        ),
        &[
            ("F", "from elsewhere"),
            ("JWT_KEY_Both", &long),
            ("JWT_KEY_more", &long),
            ("JWT_KEY_empty", ""),
        ],
    );
    assert_eq!(
        from_all.warnings,
        [
            format!("jsdkd.json:1:84 hub.keys.Both: {SHORT_KEY}"),
            format!("jsdkd.json:1:97 hub.keys.file-1: {SHORT_KEY}")
        ]
    );
    let served = from_all.config.hub.expect("the hub is served");
    let mut keys: Vec<_> = served
        .keys
        .iter()
        .map(|(kid, key)| (kid.as_str(), key.expose_secret()))
        .collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            ("Both", &*long),
            ("Z_9", &long),
            ("file-1", "from elsewhere"),
            ("more", &long)
        ]
    );
    assert!(!format!("{served:?}").contains(&long));
    assert_eq!(served.app.as_str(), "wx2");
    // By default it is the app of the hub's own variables, else the first one.
    let app = |variables: &[(&str, &str)]| {
        hub("", variables)
            .config
            .hub
            .expect("the hub is served")
            .app
    };
    assert_eq!(app(&[("JWT_KEY_a", &long)]).as_str(), "wx1");
    assert_eq!(
        app(&[("JWT_KEY_a", &long), ("APPID", "wx2"), ("APPSECRET", "s")]).as_str(),
        "wx2"
    );
    assert_eq!(
        app(&[("JWT_KEY_a", &long), ("JSDKD__HUB__APP", "wx2")]).as_str(),
        "wx2"
    );
}

#[test]
fn the_hubs_faults_are_named() {
    let text = format!(
        "{{ {APPS}, hub: {{ keys: {{ a: '', 'b.c': 'k', d: 5 }}, app: 'wx9', kyes: {{}} }} }}"
    );
    check_faults(
        &text,
        &[
            "jsdkd.json:1:56 hub.keys.a: text",
            "jsdkd.json:1:63 hub.keys[\"b.c\"]: kid … 1 to 64 characters",
            "jsdkd.json:1:75 hub.keys.d: text",
            "jsdkd.json:1:83 hub.app: wx9",
            "warning: jsdkd.json:1:95 hub.kyes: keys",
        ],
    );
    check_faults(
        &format!("{{ {APPS}, hub: {{ keys: ['k'] }} }}"),
        &["jsdkd.json:1:48 hub.keys: expected an object"],
    );
    check_faults(
        &format!("{{ {APPS}, hub: 'k' }}"),
        &["jsdkd.json:1:41 hub: object {…}"],
    );
    let variables = [
        ("APPID", "wx1"),
        ("APPSECRET", "s"),
        ("JWT_KEY_a.b", "k"),
        ("JWT_KEY_", "k"),
    ];
    let faults = variables_alone(&variables)
        .expect_err("no kids")
        .to_string();
    let mut lines: Vec<_> = faults.lines().collect();
    lines.sort_unstable();
    check_lines(
        &lines,
        &[
            "JWT_KEY_: kid … 1 to 64 characters",
            "JWT_KEY_a.b: kid … 1 to 64 characters",
        ],
    );
}

#[test]
fn wechat_servers_variables_suffice() {
    let variables = [
        ("WECHAT_APP_ID", "wx1"),
        ("WECHAT_APP_SECRET", "s"),
        ("WECHAT_APP_TOKEN", "t"),
        ("REDIS_SERVER_ADDRESS", "redis.local:6380"),
    ];
    let config = variables_alone(&variables)
        .expect("wechat-server starts")
        .config;
    assert_eq!(config.server.port, 8080);
    assert_eq!(
        config.accounts[0]
            .push_token
            .as_ref()
            .map(|token| token.expose_secret()),
        Some("t")
    );
    let topology = RedisTopology::Standalone("redis.local".to_owned(), 6380);
    assert!(matches!(&config.store, StoreConfig::Redis(redis) if redis.topology == topology));
    let text = "{ apps: [{ key: 'wx1', secret: 'old', tokenApi: 'stable' }, { key: 'wx2', secret: 's2' }] }";
    let config = good_with(text, &variables).config;
    assert_eq!((config.accounts.len(), config.server.port), (2, 3030));
    assert_eq!(
        (
            config.accounts[0].secret.expose_secret(),
            config.accounts[0].token_api
        ),
        ("s", TokenApi::Stable)
    );
}

#[test]
fn a_stable_account_reserves_at_most_five_minutes() {
    let config =
        good("{ apps: [{ key: 'wx1', secret: 's', tokenApi: 'stable' }, { key: 'wx2', secret: 's' }], reserve: '1h' }").config;
    assert_eq!(
        config
            .accounts
            .iter()
            .map(|account| account.reserve.as_secs())
            .collect::<Vec<_>>(),
        [300, 3600]
    );
    assert_eq!(config.accounts[0].rotations_per_day, 20);
}

#[test]
fn an_app_lists_its_return_sites() {
    let config = good("{ apps: [{ key: 'wx1', secret: 's', oauth: { redirects: 'https://a.example/', scope: 'snsapi_userinfo' } }, { key: 'wx2', secret: 's' }] }").config;
    assert!(
        config.oauth.of("wx1").admit("https://a.example/x").is_ok()
            && config.oauth.of("wx2").admit("https://a.example/x").is_err()
    );
    assert_eq!(
        (config.oauth.of("wx1").scope, config.oauth.of("wx2").scope),
        (Scope::UserInfo, Scope::Base)
    );
    let confirm = |text: &str| {
        good(&format!("{{ {APPS}, login: {text} }}"))
            .config
            .login
            .confirm
    };
    assert_eq!(
        (
            config.login.confirm,
            confirm("{ confirm: true }"),
            confirm("{ confirm: false }"),
            confirm("{}")
        ),
        (None, Some(true), Some(false), None)
    );
    check_faults(
        "{ apps: [{ key: 'wx1', secret: 's', oauth: { redirects: ['https://a.example/../', 'b.example', 5], scope: 'snsapi_userinf' } }], login: { confirm: 1 } }",
        &[
            "jsdkd.json:1:58 apps[0].oauth.redirects[0]: \"https://a.example/../\" … \"https://shop.example.com/\" … dot segment",
            "jsdkd.json:1:83 apps[0].oauth.redirects[1]: \"b.example\" … \"https://shop.example.com/\" … begin with https://",
            "jsdkd.json:1:96 apps[0].oauth.redirects[2]: 5 … \"https://shop.example.com/\"",
            "jsdkd.json:1:100 apps[0].oauth.scope: \"snsapi_userinf\" … \"snsapi_base\" … did you mean \"snsapi_userinfo\"",
            "jsdkd.json:1:139 login.confirm: 1 … true or false",
        ],
    );
}

#[test]
fn login_sites_are_origins() {
    let config = good(&format!(
        "{{ {APPS}, login: {{ sites: ['https://Shop.example.com/', 'http://10.0.0.1:8080'] }} }}"
    ))
    .config;
    assert!(
        config.login.sites.contains("https://shop.example.com")
            && config.login.sites.contains("http://10.0.0.1:8080")
    );
    assert!(
        !config.login.sites.contains("http://shop.example.com")
            && !config.login.sites.contains("null")
    );
    let one = load_with(
        &format!("{{ {APPS} }}"),
        &[("JSDKD__LOGIN__SITES", "https://a.example,https://b.example")],
    )
    .expect("good")
    .config;
    assert!(
        one.login.sites.contains("https://b.example")
            && !one.login.sites.contains("https://c.example")
    );
    check_faults(
        &format!(
            "{{ {APPS}, login: {{ sites: ['*', 'https://*.example.com', 'https://a.example/in', 5, 'a.example'] }} }}"
        ),
        &[
            "jsdkd.json:1:58 login.sites[0]: \"*\" … origin … begin with https://",
            "jsdkd.json:1:63 login.sites[1]: \"https://*.example.com\" … origin … wildcard",
            "jsdkd.json:1:88 login.sites[2]: \"https://a.example/in\" … origin … host and the port",
            "jsdkd.json:1:112 login.sites[3]: 5 … origin",
            "jsdkd.json:1:115 login.sites[4]: \"a.example\" … origin … begin with https://",
        ],
    );
    let told = load_with(
        &format!("{{ {APPS}, server: {{ publicUrl: 'https://wx.example.com:80' }} }}"),
        &[],
    )
    .expect("good")
    .warnings;
    assert!(
        told.len() == 1 && told[0].contains("server.publicUrl") && told[0].contains("port"),
        "{told:?}"
    );
    assert!(
        faults(&format!(
            "{{ {APPS}, server: {{ publicUrl: 'https://wx.example.com/{}' }} }}",
            "a".repeat(500)
        ))
        .contains("QR code")
    );
}

#[test]
fn a_directory_in_place_of_the_file_is_explained() {
    let dir = tempfile::tempdir().expect("a folder");
    let fault = load(
        &Source::file(Some(dir.path().to_owned())),
        &Environment::default(),
    )
    .expect_err("a directory")
    .to_string();
    assert!(
        fault.contains("found a directory") && fault.contains("docker"),
        "{fault}"
    );
    let absent = load(
        &Source::file(Some(dir.path().join("none.json"))),
        &Environment::default(),
    )
    .expect_err("absent")
    .to_string();
    assert!(absent.contains("none.json: "), "{absent}");
}

proptest! {
    #[test]
    fn no_text_panics(text in r#"(\{|\[|apps|realms|cors|cache|:|,|"|'|\}|\]|//|/\*|\\u|[0-9]|null|-|e|\PC){0,40}"#) {
        drop(load_with(&text, &[]));
    }

    #[test]
    fn no_value_in_any_place_panics(
        name in "cors|cache|realms|apps|server|wechat|reserve|keep|login|sources|wecom",
        value in r#"(1|-1|1e999|0x10|NaN|null|true|''|'x'|\[\]|\{\}|\[1\]|\['x'\]|\[\{\}\]|\{a: 1\}|\[null\]|\{ redis: \[\] \}|\{ memo: 1 \})"#,
    ) {
        drop(load_with(&format!("{{ {name}: {value} }}"), &[]));
    }

    #[test]
    fn the_order_of_sections_never_matters(sections in Just(vec![
        "cors: ['a\\\\.com']", "cache: { file: 'f' }", "realms: [{ key: 'R', secret: 'S' }]", APPS, "server: { port: 5 }",
        "wechat: { timeout: '1s' }", "reserve: '1m'", "keep: 'always'",
    ]).prop_shuffle()) {
        let config = load_with(&format!("{{ {} }}", sections.join(", ")), &[]).expect("the settings hold").config;
        let accounts: Vec<&str> = config.accounts.iter().map(|account| account.app_id.as_str()).collect();
        prop_assert_eq!(accounts, ["wx1"]);
        prop_assert!(config.realms.get("R").is_some() && !config.origins.allows("http://b.com"));
        prop_assert!(matches!(&config.store, StoreConfig::File(_)));
        prop_assert_eq!((config.server.port, config.keep, config.accounts[0].reserve.as_secs()), (5, Keep::Always, 60));
        prop_assert_eq!(config.wechat.timeout, Duration::from_secs(1));
    }
}
