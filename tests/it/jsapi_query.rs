//! `GET /jsapi/{appid}/query`: credentials for callers that sign with a realm's secret, and for
//! nobody else.

use std::time::Duration;

use clock::{Clock, UnixMillis};
use proptest::prelude::*;
use serde_json::json;
use wechat::signature;

use crate::support::app::{
    APP, APP_SECRET, REALM, REALM_SECRET, Response, TestApp, now_ms, signed_v1, signed_v2,
};

const PATH: &str = "/jsapi/wx0123456789abcdef/query";

/// The query that the original's page shows, signed with its sample secret.
const SAMPLE: &str =
    "realm=R123&nonce=caa3c9d793b&ts=1589203758&sign=782ab722a4efaecade8d3bba953f9c5d";

/// A version 1 query of any realm, time and nonce, none of them encoded.
fn v1(realm: &str, secret: &str, nonce: &str, ts: &str) -> String {
    let sign = signature::realm_v1(realm, nonce, ts, secret).text();
    format!("{PATH}?realm={realm}&nonce={nonce}&ts={ts}&sign={sign}")
}

/// The same in version 2.
fn v2(realm: &str, secret: &str, app: &str, ts: &str) -> String {
    let path = format!("/jsapi/{app}/query");
    let query = signature::canonical_query([("realm", realm), ("nonce", "n"), ("ts", ts)]);
    format!(
        "{path}?{query}&sign={}",
        signature::realm_v2(secret, "GET", &path, &query, b"").text()
    )
}

fn shifted(by_ms: i64) -> String {
    now_ms()
        .parse::<u64>()
        .unwrap()
        .checked_add_signed(by_ms)
        .unwrap()
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_has_key_value_and_an_expiry_header() {
    let app = TestApp::start().await;
    for key in ["token", "ticket", "card_ticket"] {
        let answer = app.query(key).await;
        let value = answer.json()["value"].as_str().unwrap().to_owned();
        assert_eq!(
            answer.body,
            format!(r#"{{"key":"{key}","value":"{value}"}}"#)
        );
        assert_eq!(
            (
                answer.header("cache-control"),
                answer.header("content-type")
            ),
            ("no-store", "application/json; charset=utf-8")
        );
        let left: u64 = answer.header("credential-expires-in").parse().unwrap();
        assert!((6000..=7200).contains(&left), "{left}");
    }
    assert_eq!(
        app.value("token").await,
        app.sandbox.current_token(APP).unwrap()
    );
    assert_eq!(
        app.value("ticket").await,
        app.sandbox.current_ticket(APP).unwrap()
    );
    assert_ne!(app.value("ticket").await, app.value("card_ticket").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_left_runs_down() {
    let clock = Clock::manual(UnixMillis(1_589_203_758_000));
    let app = TestApp::build(json!({ "realms": [{ "key": "R123", "secret": "realm_secret" }] }));
    let app = app
        .clock(clock.clone())
        .sandbox(|sandbox| sandbox.clock = clock.clone())
        .start()
        .await;
    let ask = async || app.get(&format!("{PATH}?{SAMPLE}")).await;
    let first = ask().await;
    clock.advance(Duration::from_secs(100));
    let later = ask().await;
    assert_eq!(first.body, later.body);
    let left = |answer: &Response| {
        answer
            .header("credential-expires-in")
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(left(&first) - left(&later), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_originals_sample_is_accepted_at_its_time() {
    let clock = Clock::manual(UnixMillis(1_589_203_758_000));
    let realms = json!([{ "key": "R123", "secret": "realm_secret" }]);
    let app = TestApp::build(json!({ "realms": realms }))
        .clock(clock.clone())
        .sandbox(|sandbox| sandbox.clock = clock.clone())
        .start()
        .await;
    let ask = async || app.get(&format!("{PATH}?{SAMPLE}")).await;
    ask().await.json();
    // Hex digits of either case; without a key the token is returned.
    let capitals = SAMPLE.replace(
        "782ab722a4efaecade8d3bba953f9c5d",
        "782AB722A4EFAECADE8D3BBA953F9C5D",
    );
    assert_eq!(
        app.get(&format!("{PATH}?{capitals}")).await.json()["key"],
        "token"
    );
    clock.advance(Duration::from_mins(5));
    ask().await.json();
    clock.advance(Duration::from_millis(1));
    let late = ask().await.problem(401, "timestamp_out_of_range");
    assert!(
        late["detail"].as_str().unwrap().contains("1589204058001"),
        "{late}"
    );
    clock.set_wall(UnixMillis(1_589_203_758_000 - 300_000));
    ask().await.json();
    clock.set_wall(UnixMillis(1_589_203_758_000 - 300_001));
    ask().await.problem(401, "timestamp_out_of_range");
}

#[tokio::test(flavor = "multi_thread")]
async fn version_one_matches_the_originals_clients() {
    let app = TestApp::start().await;
    for key in ["token", "ticket", "card_ticket"] {
        assert_eq!(
            app.get(&signed_v1(APP, &format!("key={key}&")))
                .await
                .json()["key"],
            key
        );
    }
    // Ten digits are seconds; pairs may be in any order and mixed with others.
    let seconds = (now_ms().parse::<u64>().unwrap() / 1000).to_string();
    app.get(&v1(REALM, REALM_SECRET, "n", &seconds))
        .await
        .json();
    let (ts, other) = (now_ms(), "extra=1");
    let sign = signature::realm_v1(REALM, "n", &ts, REALM_SECRET).text();
    app.get(&format!(
        "{PATH}?{other}&sign={sign}&&ts={ts}&nonce=n&realm={REALM}&"
    ))
    .await
    .json();
}

#[tokio::test(flavor = "multi_thread")]
async fn version_one_is_computed_over_decoded_values() {
    let realm = json!({ "key": "R 1+微", "secret": "s&=.密" });
    let app = TestApp::with(json!({ "realms": [realm] })).await;
    let ts = now_ms();
    let sign = signature::realm_v1("R 1+微", "a b+c&d=e", &ts, "s&=.密").text();
    for (name, nonce) in [
        ("R+1%2B%E5%BE%AE", "a+b%2bc%26d%3De"),
        ("R%201%2b%e5%be%ae", "a%20b%2Bc%26d=e"),
    ] {
        app.get(&format!(
            "{PATH}?realm={name}&nonce={nonce}&ts={ts}&sign={sign}"
        ))
        .await
        .json();
    }
    app.get(&format!(
        "{PATH}?realm=R+1%2B%E5%BE%AE&nonce=a+b+c%26d%3De&ts={ts}&sign={sign}"
    ))
    .await
    .problem(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_realms_and_wrong_signatures_look_the_same() {
    let app = TestApp::start().await;
    let ts = now_ms();
    let old = shifted(-3_600_000);
    let good = v1(REALM, REALM_SECRET, "n", &ts);
    let asked = [
        v1("R124", REALM_SECRET, "n", &ts),
        v1(REALM, "wrong", "n", &ts),
        v1("R124", "wrong", "n", &old),
        v1(REALM, "wrong", "n", &old),
        v1("R124", "no realm has this secret", "n", &ts),
        v1("r123", REALM_SECRET, "n", &ts),
        v2("R124", REALM_SECRET, APP, &ts),
        v2(REALM, "wrong", APP, &ts),
        v2(REALM, "wrong", "wx-unknown", &ts),
        good.replace(&ts, &shifted(1)),
        good.replace("nonce=n", "nonce=m"),
        good.replace("&sign=", "&sing="),
        good.replace("realm=", "Realm="),
        good.split("&ts=").next().unwrap().to_owned(),
        good[..good.len() - 1].to_owned(),
        format!("{good}0"),
        format!("{good}%00"),
        PATH.to_owned(),
        format!("{PATH}?realm=&nonce=&ts=&sign="),
        format!(
            "{PATH}?realm={REALM}&nonce=n&ts={ts}&sign={}",
            "0".repeat(64)
        ),
        format!(
            "{PATH}?realm={REALM}&nonce=n&ts={ts}&sign={}",
            "%C3%A9".repeat(16)
        ),
        format!("{PATH}?key=nonsense"),
        "/jsapi/wx-unknown/query".to_owned(),
    ];
    let first = app.get(&asked[0]).await;
    first.problem(401, "unauthorized");
    assert_ne!(first.header("www-authenticate"), "");
    for path in &asked {
        let answer = app.get(path).await;
        let names = |answer: &Response| {
            answer
                .headers()
                .keys()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (answer.status, &answer.body),
            (first.status, &first.body),
            "{path}"
        );
        assert_eq!(names(&answer), names(&first), "{path}");
    }
    assert_eq!(app.sandbox.calls("/cgi-bin/token"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_ts_with_a_valid_signature_gets_our_time() {
    let app = TestApp::start().await;
    for by in [-301_000, 303_000, -86_400_000] {
        for path in [
            v1(REALM, REALM_SECRET, "n", &shifted(by)),
            v2(REALM, REALM_SECRET, APP, &shifted(by)),
        ] {
            let before: u64 = now_ms().parse().unwrap();
            let problem = app.get(&path).await.problem(401, "timestamp_out_of_range");
            let detail = problem["detail"].as_str().unwrap();
            let told = detail
                .split_whitespace()
                .find_map(|word| {
                    word.parse::<u64>()
                        .ok()
                        .filter(|number| *number > 1_000_000_000_000)
                })
                .unwrap();
            assert!((before..=before + 10_000).contains(&told), "{detail}");
        }
    }
    for by in [-290_000, 290_000] {
        app.get(&v1(REALM, REALM_SECRET, "n", &shifted(by)))
            .await
            .json();
    }
    for odd in [
        "",
        "abc",
        "-1",
        "1e12",
        "0x18f",
        "99999999999999999999999",
        "1589203758.0",
    ] {
        app.get(&v1(REALM, REALM_SECRET, "n", odd))
            .await
            .problem(401, "timestamp_out_of_range");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_valid_signature_reveals_unknown_apps_and_keys() {
    let app = TestApp::start().await;
    app.get(&signed_v1("wx-unknown", ""))
        .await
        .problem(404, "unknown_app");
    app.get(&signed_v2("GET", "wx-unknown", &[]))
        .await
        .problem(404, "unknown_app");
    for key in ["", "tokens", "TOKEN", "secret", "access_token", "ticket%00"] {
        app.get(&signed_v1(APP, &format!("key={key}&")))
            .await
            .problem(400, "unknown_key");
        app.get(&signed_v2("GET", APP, &[("key", key)]))
            .await
            .problem(400, "unknown_key");
    }
    for name in ["realm", "nonce", "ts", "sign", "key", "rotate"] {
        let twice = format!("{}&{name}=x&{name}=y", signed_v1(APP, ""));
        app.get(&twice).await.problem(400, "malformed_query");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_with_apps_may_query_only_those() {
    let realms = json!([{ "key": REALM, "secret": REALM_SECRET, "apps": ["wx-second"] }]);
    let apps =
        json!([{ "key": APP, "secret": APP_SECRET }, { "key": "wx-second", "secret": "s-2" }]);
    let app = TestApp::build(json!({ "realms": realms, "apps": apps }));
    let app = app
        .sandbox(|sandbox| {
            sandbox
                .accounts
                .push(("wx-second".to_owned(), "s-2".to_owned()))
        })
        .start()
        .await;
    app.query("token").await.problem(403, "realm_not_allowed");
    app.get(&signed_v1(APP, ""))
        .await
        .problem(403, "realm_not_allowed");
    app.get(&signed_v1("wx-unknown", ""))
        .await
        .problem(403, "realm_not_allowed");
    app.get(&v1(REALM, "wrong", "n", &now_ms()))
        .await
        .problem(401, "unauthorized");
    app.get(&signed_v2("GET", "wx-second", &[])).await.json();
    assert_eq!(app.sandbox.calls_of(APP, "/cgi-bin/token"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotate_renews_only_the_current_value() {
    let app = TestApp::start().await;
    let first = app.value("token").await;
    let other = app.rotate("token", "some-old-value").await;
    assert_eq!(other.json()["value"], first);
    let second = app.get(&signed_v1(APP, &format!("rotate={first}&"))).await;
    assert_eq!(
        (
            second.header("cache-control"),
            second.json()["value"] == first
        ),
        ("no-store", false)
    );
    assert_eq!(
        app.rotate("token", &first).await.json()["value"],
        second.json()["value"]
    );
    assert_eq!(app.sandbox.calls("/cgi-bin/token"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_queries_are_refused() {
    let app = TestApp::start().await;
    let (mut runner, runtime) = (
        proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300)),
        tokio::runtime::Handle::current(),
    );
    let piece = "[a-z0-9%&=+.~é-]{0,12}";
    tokio::task::block_in_place(|| {
        runner.run(
            &(piece, piece, "[0-9a-f]{32}|[0-9a-f]{64}|[0-9a-f]{0,70}"),
            |(before, nonce, sign)| {
                let path = format!(
                    "{PATH}?{before}&realm={REALM}&nonce={nonce}&ts={}&sign={sign}",
                    now_ms()
                );
                let answer = runtime.block_on(app.get(&path));
                prop_assert!(
                    matches!(answer.status.as_u16(), 400 | 401),
                    "{} {:?}",
                    path,
                    answer
                );
                Ok(())
            },
        )
    })
    .unwrap();
}
