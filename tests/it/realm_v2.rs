//! Signatures of version 2: what they cover, and what may still differ.

use reqwest::Method;
use serde_json::json;
use wechat::signature;

use crate::support::app::{APP, REALM, REALM_SECRET, TestApp, now_ms, signed_v1, signed_v2};

#[tokio::test(flavor = "multi_thread")]
async fn a_version_two_realm_refuses_version_one() {
    let app = TestApp::with(
        json!({ "realms": [{ "key": REALM, "secret": REALM_SECRET, "algorithm": "hmac-sha256" }] }),
    )
    .await;
    let refused = app.get(&signed_v1(APP, "")).await;
    refused.problem(401, "unauthorized");
    assert_eq!(
        refused.body,
        app.get(&format!("/jsapi/{APP}/query")).await.body
    );
    app.query("token").await.json();
}

#[tokio::test(flavor = "multi_thread")]
async fn version_two_binds_method_path_and_every_pair() {
    let app = TestApp::start().await;
    let good = signed_v2("GET", APP, &[("key", "token")]);
    app.get(&good).await.json();
    for altered in [
        good.replace("key=token", "key=ticket"),
        good.replace("key=token", "key=token&extra="),
        good.replace("key=token&", ""),
        good.replace(APP, "wx-second"),
        good.replace("/query", "/query/"),
        good.replace("wx01", "wx%301"),
        good.replace("nonce=n-1", "nonce=n-2"),
    ] {
        assert_ne!(altered, good);
        app.get(&altered).await.problem(401, "unauthorized");
    }
    // The encoding and order of pairs are not covered, nor is the case of the signature's digits.
    let (head, query) = good.split_once('?').unwrap();
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.reverse();
    let sign = pairs[0].trim_start_matches("sign=");
    let rewritten = format!("{head}?{}", pairs.join("&"))
        .replace("key=token", "k%65y=tok%65n&")
        .replace(sign, &sign.to_uppercase());
    app.get(&rewritten).await.json();
    // A path is signed as sent.
    let path = "/jsapi/wx012345678%39abcdef/query";
    let (ts, head) = (now_ms(), [("realm", REALM), ("nonce", "n")]);
    let query = signature::canonical_query(head.into_iter().chain([("ts", ts.as_str())]));
    let sign = signature::realm_v2(REALM_SECRET, "GET", path, &query, b"").text();
    app.get(&format!("{path}?{query}&sign={sign}")).await.json();
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_signed_as_head() {
    let app = TestApp::start().await;
    let head = async |path: String| app.send(app.request(Method::HEAD, &path)).await;
    let good = head(signed_v2("HEAD", APP, &[])).await;
    assert_eq!(
        (
            good.status.as_u16(),
            good.body.as_str(),
            good.header("cache-control")
        ),
        (200, "", "no-store")
    );
    assert_ne!(good.header("credential-expires-in"), "");
    assert_eq!(head(signed_v2("GET", APP, &[])).await.status, 401);
    assert_eq!(head(signed_v1(APP, "")).await.status, 200);
    app.get(&signed_v2("HEAD", APP, &[]))
        .await
        .problem(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_with_special_characters_are_signed() {
    let app = TestApp::start().await;
    for value in [
        "a&key=ticket",
        "a=b",
        "微 信",
        "%26",
        "+",
        "a;b",
        "~-._",
        "\"",
        "\u{0}",
    ] {
        let path = signed_v2("GET", APP, &[("extra", value)]);
        app.get(&path).await.json();
        if path.contains("%26") {
            app.get(&path.replacen("%26", "&", 1))
                .await
                .problem(401, "unauthorized");
        }
    }
}
