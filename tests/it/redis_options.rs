//! Options of common Redis clients, against real servers, and what `jsdkd check` says about them.

use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use credentials::store::{Store, StoreConfig, open};
use jsdkd::settings::{self, Environment, Loaded, Source};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::redis_news::hears;
use crate::store_contract::{record, value};
use crate::support::process::{folder, run};
use crate::support::redis::RedisServer;

const APPS: &str = "apps: [{ key: 'wx1', secret: 's' }]";
const HOUR: Duration = Duration::from_secs(3600);

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let env: Environment = variables.iter().copied().collect();
    settings::load(&Source::text("jsdkd.json", text), &env).map_err(|fault| fault.to_string())
}

/// The store for these options.
async fn store(options: Value) -> Arc<dyn Store> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let loaded = load(&format!("{{ cache: {{ redis: {options} }}, {APPS} }}"), &[]).unwrap();
    open(&loaded.config.store, &Clock::system()).await.unwrap()
}

async fn works(store: &dyn Store) {
    store.put("wx1.token", &record("abc", HOUR)).await.unwrap();
    assert_eq!(
        value(store.get("wx1.token").await.unwrap()).as_deref(),
        Some("abc")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_and_texts_are_accepted_as_options() {
    let server = RedisServer::with_password("123456");
    let port = server.port().to_string();
    works(&*store(json!({ "port": port, "password": 123456, "user": "", "db": "2", "keyPrefix": "site:" })).await).await;
    assert_eq!(server.cli(&["-n", "2", "GET", "site:wx1.token"]), "\"abc\"");
    works(
        &*store(json!({ "socket": { "host": "127.0.0.1", "port": server.port() }, "username": "default", "password": "123456" }))
            .await,
    )
    .await;
    let open = RedisServer::start();
    works(
        &*store(json!({ "host": "127.0.0.1", "port": open.port(), "password": "", "user": "", "lazyConnect": true, "ttl": 60 }))
            .await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ioredis_sentinels_have_their_own_password() {
    let master = RedisServer::with_password("s3cret");
    let sentinel = RedisServer::sentinel_with_passwords(master.port(), "s3cret", "other");
    let options = |own: &str| {
        let sentinels = [json!({ "host": "127.0.0.1", "port": sentinel.port() })];
        json!({ "sentinels": sentinels, "name": "mymaster", "password": "s3cret", "sentinelPassword": own })
    };
    works(&*store(options("other")).await).await;
    let refused = store(options("wr0ng"))
        .await
        .get("wx1.token")
        .await
        .unwrap_err();
    assert!(
        refused.cause.contains("password") && !refused.cause.contains("wr0ng"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_may_have_another_name() {
    let server = RedisServer::with_tls_for("DNS:redis.internal", false);
    let (port, ca) = (server.port(), server.ca().display().to_string());
    let named = |name: &str| json!({ "host": "127.0.0.1", "port": port, "tls": { "servername": name, "ca": ca } });
    let (one, other) = (
        store(named("redis.internal")).await,
        store(named("redis.internal")).await,
    );
    works(&*one).await;
    let mut news = one.changes().unwrap();
    assert!(
        hears(&mut news, &*other, "wx2.token").await,
        "the listener checks the same name"
    );
    works(
        &*store(json!({ "socket": { "host": "127.0.0.1", "port": port, "tls": true, "servername": "redis.internal", "ca": ca } }))
            .await,
    )
    .await;
    for wrong in [
        named("redis.external"),
        json!({ "host": "127.0.0.1", "port": port, "tls": { "ca": ca } }),
        json!({ "host": "127.0.0.1", "port": port, "tls": { "servername": "redis.internal" } }),
    ] {
        let refused = store(wrong.clone())
            .await
            .get("wx1.token")
            .await
            .unwrap_err();
        assert!(
            refused.cause.to_lowercase().contains("certificate"),
            "{wrong}: {refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_name_is_sent_as_sni() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = json!({ "port": listener.local_addr().unwrap().port(), "tls": { "servername": "redis.internal" } });
    let store = store(options).await;
    let asked = tokio::spawn(async move { store.get("wx1.token").await.map(drop) });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut hello = vec![0; 4096];
    let read = stream.read(&mut hello).await.unwrap();
    let name = b"redis.internal";
    assert!(
        hello[..read].windows(name.len()).any(|part| part == name),
        "the name is in the greeting"
    );
    asked.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_require_a_client_certificate() {
    let server = RedisServer::with_tls_for("DNS:localhost", true);
    let (cert, key) = server.pair();
    let tls = json!({ "ca": server.ca(), "cert": cert, "key": { "file": key } });
    let options = |tls: &Value| json!({ "host": "localhost", "port": server.port(), "tls": tls });
    works(&*store(options(&tls)).await).await;
    let mut named = tls.clone();
    named["servername"] = json!("localhost");
    works(&*store(json!({ "host": "127.0.0.1", "port": server.port(), "tls": named })).await).await;
    assert!(
        store(options(&json!({ "ca": server.ca() })))
            .await
            .get("wx1.token")
            .await
            .is_err()
    );
}

#[test]
fn an_option_without_effect_is_a_warning_at_its_place() {
    let text = format!(
        "{{ {APPS},\n cache: {{ redis: {{ host: 'h',\n  retry_strategy: 'x', password: '',\n  tls: {{ minVersion: 'TLSv1' }}, odd: 1 }} }} }}"
    );
    let warnings = load(&text, &[]).unwrap().warnings;
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(
        warnings[0].starts_with("jsdkd.json:3:3 cache.redis.retry_strategy: ")
            && warnings[0].contains("no effect"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].starts_with("jsdkd.json:4:3 cache.redis.tls: tls.minVersion "),
        "{warnings:?}"
    );
    assert!(
        warnings[2].starts_with("jsdkd.json:4:33 cache.redis.odd: "),
        "{warnings:?}"
    );
    let strict = Source::text("jsdkd.json", &text).strict(true);
    let fault = settings::load(&strict, &Environment::default())
        .unwrap_err()
        .to_string();
    assert!(
        fault.contains("odd") && !fault.contains("retry_strategy"),
        "{fault}"
    );
    let fault = load(
        &format!("{{ {APPS}, cache: {{ redis: {{ tls: {{ rejectUnauthorized: false }} }} }} }}"),
        &[],
    )
    .unwrap_err();
    assert!(
        fault.contains(" cache.redis.tls: ") && fault.contains("`rejectUnauthorized`"),
        "{fault}"
    );
    let nodes = load(
        &format!(
            "{{ {APPS}, cache: {{ redis: [{{ host: 'h1', port: 7000 }}, 'redis://h2:7001'] }} }}"
        ),
        &[],
    )
    .unwrap();
    assert!(matches!(nodes.config.store, StoreConfig::Redis(_)));
}

#[test]
fn an_optional_secret_that_is_empty_is_absent() {
    let read = |app: &str, cache: &str| {
        load(
            &format!("{{ cache: {{ {cache} }}, apps: [{{ key: 'wx1', secret: 's', {app} }}] }}"),
            &[("BLANK", ""), ("SET", "value")],
        )
    };
    for app in [
        "token: ''",
        "token: { env: 'BLANK' }",
        "token: '', aesKey: ''",
        "aesKey: { env: 'BLANK' }",
        "aesKey: ['']",
        "aesKey: ['', { env: 'BLANK' }]",
    ] {
        let loaded = read(app, "memo: {}").unwrap_or_else(|fault| panic!("{app}: {fault}"));
        assert!(loaded.config.accounts[0].push_token.is_none(), "{app}");
        assert!(loaded.warnings.is_empty(), "{app}: {:?}", loaded.warnings);
    }
    let token = read("token: { env: 'SET' }", "memo: {}")
        .unwrap()
        .config
        .accounts[0]
        .push_token
        .clone();
    assert_eq!(token.unwrap().expose_secret(), "value");
    for cache in [
        "redis: { password: { env: 'BLANK' } }",
        "redis: { password: '', user: { env: 'BLANK' } }",
        "sql: { url: 'postgres://u@h/d', password: '' }",
        "sql: { url: 'mysql://u@h/d', password: { env: 'BLANK' } }",
        "sql: { url: 'mysql://u@h/d', password: 123456 }",
    ] {
        read("token: ''", cache).unwrap_or_else(|fault| panic!("{cache}: {fault}"));
    }
    assert!(
        read("token: { env: 'MISSPELT' }", "memo: {}")
            .unwrap_err()
            .contains("MISSPELT")
    );
    assert!(
        read("token: ''", "redis: { password: { env: 'MISSPELT' } }")
            .unwrap_err()
            .contains("MISSPELT")
    );
    assert!(
        load("{ apps: [{ key: 'wx1', secret: '' }] }", &[]).is_err(),
        "the AppSecret is not optional"
    );
}

#[tokio::test]
async fn check_names_options_without_effect() {
    let folder = folder();
    let text = format!(
        "{{ {APPS}, cache: {{ redis: {{ password: 123456, keyPrefix: 'p:', ttl: 60, tls: {{ servername: 'n' }} }} }} }}"
    );
    std::fs::write(folder.path().join("jsdkd.json"), text).unwrap();
    let ended = run(folder.path(), &["check"], &[]).await;
    let said = format!("{}{}", ended.out, ended.err);
    assert_eq!(ended.code, Some(0), "{said}");
    assert!(
        said.contains(" cache.redis.ttl: ") && said.contains("no effect"),
        "{said}"
    );
}
