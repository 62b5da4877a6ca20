//! A realm's `keys`, `networks`, `until` and two secrets, for every request that it signs.

use clock::Clock;
use serde_json::{Value, json};
use wechat::signature;

use crate::support::app::{
    APP, REALM, REALM_SECRET, Response, TestApp, now_ms, signed_v1, signed_v2,
};
use crate::support::visitor::signed;

async fn realm(fields: Value) -> TestApp {
    let mut realm = json!({ "key": REALM, "secret": REALM_SECRET });
    crate::support::app::lay(&mut realm, fields);
    let sources = json!({ "x": { "url": "http://127.0.0.1:1/", "expires": "expires_in" } });
    let callers = json!({ "allow": ["0.0.0.0/0", "::/0"], "realm": REALM });
    TestApp::with(
        json!({ "realms": [realm], "wetoken": callers, "tokenboy": callers, "sources": sources }),
    )
    .await
}

/// Every route that accepts a realm's signature, signed with version 2.
fn every_address() -> Vec<String> {
    let mut all = vec![signed_v2("GET", APP, &[("key", "ticket")])];
    let paths = [
        format!("/users/{APP}/o1"),
        format!("/oauth/{APP}/user"),
        format!("/{APP}/wechat/token/get"),
        format!("/wx/{APP}/ticket/query"),
    ];
    all.extend(paths.iter().map(|path| signed("GET", path, &[])));
    all
}

async fn from(app: &TestApp, path: &str, address: &str) -> Response {
    app.send(
        app.request(reqwest::Method::GET, path)
            .header("x-forwarded-for", address),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_returns_only_what_keys_lists() {
    let app = realm(json!({ "keys": ["ticket"] })).await;
    for path in [
        signed_v2("GET", APP, &[("key", "ticket")]),
        signed_v1(APP, "key=ticket&"),
    ] {
        assert_eq!(app.get(&path).await.json()["key"], "ticket");
    }
    for path in [
        signed_v2("GET", APP, &[("key", "token")]),
        signed_v2("GET", APP, &[]),
        signed_v2("GET", APP, &[("key", "card_ticket")]),
        signed_v2("GET", APP, &[("key", "token"), ("rotate", "x")]),
        signed_v1(APP, ""),
        signed_v1(APP, "k%65y=tok%65n&"),
    ] {
        let problem = app.get(&path).await.problem(403, "realm_not_allowed");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("keys")),
            "{path}: {problem}"
        );
    }
    // Without permission for a credential, the caller learns nothing about accounts either.
    app.get(&signed_v2("GET", "wxunknown", &[("key", "token")]))
        .await
        .problem(403, "realm_not_allowed");
    app.get(&signed_v2("GET", APP, &[("key", "nonsense")]))
        .await
        .problem(400, "unknown_key");
    assert_eq!(
        realm(json!({ "keys": [] }))
            .await
            .query("ticket")
            .await
            .status,
        403
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_apply_to_wetokens_routes_too() {
    let app = realm(json!({ "keys": ["ticket"] })).await;
    for (path, errcode) in [
        (format!("/{APP}/wechat/ticket/get"), 0),
        (format!("/{APP}/wechat/token/get"), 403),
        (format!("/wx/{APP}/token/get"), 403),
        (format!("/wx/{APP}/token/query"), 403),
        (format!("/wx/{APP}/token/refresh"), 403),
    ] {
        assert_eq!(
            app.get(&signed("GET", &path, &[])).await.json()["errcode"],
            errcode,
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_requests_from_outside_the_networks_are_refused() {
    let app = realm(json!({ "networks": ["10.0.0.0/8", "2001:db8::/32"] })).await;
    for inside in ["10.1.2.3", "2001:db8::1", "8.8.8.8, 2001:db8::7"] {
        from(&app, &signed_v2("GET", APP, &[]), inside).await.json();
        from(&app, &signed_v1(APP, ""), inside).await.json();
    }
    for outside in ["8.8.8.8", "10.1.2.3, 8.8.8.8", "2001:db9::1", "unknown", ""] {
        from(&app, &signed_v1(APP, ""), outside)
            .await
            .problem(403, "realm_not_allowed");
        for path in every_address() {
            let answer = from(&app, &path, outside).await;
            let refused = answer.status == 403 || answer.body.contains("\"errcode\":403");
            assert!(refused, "{path} from {outside:?}: {answer:?}");
        }
    }
    // TokenBoy's route has its own form, with the same status.
    let token = signed("GET", "/token", &[("name", "x")]);
    assert_eq!(from(&app, &token, "8.8.8.8").await.status, 403);
    assert_ne!(from(&app, &token, "10.1.2.3").await.status, 403);
    assert_eq!(
        from(&app, &token.replace("nonce=n-1", "nonce=n-2"), "8.8.8.8")
            .await
            .status,
        401
    );
    // A direct client is identified by its connection, whatever headers it sends.
    let direct = app
        .request(reqwest::Method::GET, &signed_v2("GET", APP, &[]))
        .header("x-real-ip", "10.1.2.3");
    app.send(direct).await.problem(403, "realm_not_allowed");
    app.get(&signed_v2("GET", APP, &[]))
        .await
        .problem(403, "realm_not_allowed");
    // A wrong signature reveals nothing about networks.
    app.get(&signed_v2("GET", APP, &[]).replace("nonce=n-1", "nonce=n-2"))
        .await
        .problem(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_realm_is_unauthorized() {
    let app = realm(json!({ "until": "2020-01-01" })).await;
    for path in every_address() {
        let answer = app.get(&path).await;
        assert!(
            answer.status == 401 || answer.body.contains("\"errcode\":403"),
            "{path}: {answer:?}"
        );
    }
    assert_eq!(
        app.get(&signed("GET", "/token", &[("name", "x")]))
            .await
            .status,
        401
    );
    let problem = app
        .get(&signed_v1(APP, ""))
        .await
        .problem(401, "unauthorized");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("until")),
        "{problem}"
    );
    let last = Clock::system().wall().seconds().0 / 86400 * 86400;
    let today = chrono::DateTime::from_timestamp(i64::try_from(last).unwrap(), 0)
        .unwrap()
        .format("%Y-%m-%d")
        .to_string();
    realm(json!({ "until": today }))
        .await
        .query("token")
        .await
        .json();
}

#[tokio::test(flavor = "multi_thread")]
async fn either_of_two_secrets_signs_every_request() {
    for list in [
        json!([REALM_SECRET, "newer-secret"]),
        json!(["newer-secret", REALM_SECRET]),
    ] {
        let app = realm(json!({ "secret": list })).await;
        app.query("token").await.json();
        app.get(&signed_v1(APP, "")).await.json();
        let (path, ts) = (format!("/jsapi/{APP}/query"), now_ms());
        let query =
            signature::canonical_query([("realm", REALM), ("nonce", "n"), ("ts", ts.as_str())]);
        let with = |secret: &str| {
            format!(
                "{path}?{query}&sign={}",
                signature::realm_v2(secret, "GET", &path, &query, b"").text()
            )
        };
        app.get(&with("newer-secret")).await.json();
        app.get(&with("another-secret"))
            .await
            .problem(401, "unauthorized");
    }
}
