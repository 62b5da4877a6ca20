//! Starting a login: where a visitor may return to, the cookie, and the rate limit.

use reqwest::Method;
use sandbox::Answer;
use serde_json::json;

use crate::oauth::{SITE, one_site};
use crate::support::app::{APP, APP_SECRET, TestApp, config_of};
use crate::support::visitor::{Browser, returned};

#[tokio::test]
async fn an_unlisted_site_is_refused_with_advice() {
    let app = TestApp::with(one_site()).await;
    for address in [
        "https://shop.example.com.evil.org/",
        "https://evil.org/",
        "http://shop.example.com/",
        "https://shop.example.com:8443/",
        "https://evil.org/?https://shop.example.com/",
    ] {
        let encoded: String = url_encoded(address);
        let problem = app
            .get(&format!("/oauth/{APP}?redirect={encoded}"))
            .await
            .problem(400, "redirect_not_allowed");
        assert!(
            problem["detail"].as_str().unwrap().contains("add \""),
            "{problem}"
        );
    }
    let none = TestApp::start().await;
    let problem = none
        .get(&format!("/oauth/{APP}?redirect={SITE}"))
        .await
        .problem(400, "redirect_not_allowed");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains(r#"oauth: { redirects: ["https://shop.example.com/"] }"#),
        "{problem}"
    );
}

#[tokio::test]
async fn ambiguous_redirect_addresses_are_refused() {
    let app = TestApp::with(one_site()).await;
    for address in [
        "https://shop.example.com@evil.org/",
        "https://evil.org\\@shop.example.com/",
        "https://shop.example.com\\.evil.org/",
        "https://shop.example.com/a/../b",
        "https://shop.example.com/%2e%2e/b",
        "https://shop.example.com/a%2fb",
        "https://shop.example.com/\r\nSet-Cookie: a=b",
        "//shop.example.com/",
        "javascript:alert(1)",
        "/in",
    ] {
        let refused = app
            .get(&format!("/oauth/{APP}?redirect={}", url_encoded(address)))
            .await;
        assert_eq!(refused.header("set-cookie"), "");
        refused.problem(400, "invalid_redirect");
    }
}

#[tokio::test]
async fn other_mistakes_are_named() {
    let app = TestApp::with(one_site()).await;
    for query in [
        String::new(),
        "redirect=".to_owned(),
        format!("redirect={SITE}&scope=snsapi_login"),
        format!("redirect={SITE}&mode=other"),
        format!("redirect={SITE}&redirect={SITE}"),
        format!("redirect={SITE}&state={}", "s".repeat(513)),
    ] {
        app.get(&format!("/oauth/{APP}?{query}"))
            .await
            .problem(400, "malformed_query");
    }
    app.get(&format!("/oauth/wxunknown?redirect={SITE}"))
        .await
        .problem(404, "unknown_app");
    let post = app.request(Method::POST, &format!("/oauth/{APP}?redirect={SITE}"));
    assert_eq!(app.send(post).await.header("allow"), "GET, HEAD, OPTIONS");
}

#[tokio::test]
async fn the_cookie_is_http_only_and_secure_on_https() {
    let app = TestApp::with(one_site()).await;
    let path = format!("/oauth/{APP}?redirect={SITE}");
    let plain = app.get(&path).await;
    let cookie = plain.header("set-cookie");
    assert!(
        cookie.starts_with("jsdkd=")
            && cookie.contains("; HttpOnly")
            && cookie.contains("; SameSite=Lax"),
        "{cookie}"
    );
    assert!(
        cookie.contains("; Path=/")
            && cookie.contains("; Max-Age=600")
            && !cookie.contains("Secure"),
        "{cookie}"
    );

    let behind = |request: reqwest::RequestBuilder| {
        request
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "wx.example.com")
    };
    let proxied = app.send(behind(app.request(Method::GET, &path))).await;
    let cookie = proxied.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-jsdkd=")
            && cookie.contains("; Secure")
            && cookie.contains("; HttpOnly"),
        "{cookie}"
    );
    assert_eq!(
        returned(&proxied, "redirect_uri"),
        Some(format!("https://wx.example.com/oauth/{APP}/callback"))
    );

    let mut settings = one_site();
    settings["server"] = json!({ "publicUrl": "https://public.example.com/wx", "trustedProxies": ["203.0.113.0/24"] });
    let public = TestApp::with(settings).await;
    let begun = public
        .send(behind(public.request(Method::GET, &path)))
        .await;
    assert!(begun.header("set-cookie").starts_with("__Host-jsdkd="));
    assert_eq!(
        returned(&begun, "redirect_uri"),
        Some(format!(
            "https://public.example.com/wx/oauth/{APP}/callback"
        ))
    );
}

#[tokio::test]
async fn an_untrusted_peer_cannot_set_the_public_address() {
    let mut settings = one_site();
    settings["server"] = json!({ "trustedProxies": ["203.0.113.0/24"] });
    let app = TestApp::with(settings).await;
    let request = app.request(Method::GET, &format!("/oauth/{APP}?redirect={SITE}"));
    let begun = app
        .send(
            request
                .header("x-forwarded-proto", "https")
                .header("x-forwarded-host", "evil.org"),
        )
        .await;
    assert_eq!(
        returned(&begun, "redirect_uri"),
        Some(format!("{}/oauth/{APP}/callback", app.url))
    );
}

#[tokio::test]
async fn two_tabs_of_one_browser_do_not_disturb_each_other() {
    let app = TestApp::with(one_site()).await;
    let browser = Browser::new(&app);
    let first = browser
        .at_wechat(
            APP,
            &format!("redirect={SITE}&state=one"),
            "Alice",
            Answer::Agree,
        )
        .await;
    let second = browser
        .at_wechat(
            APP,
            &format!("redirect={SITE}&state=two"),
            "Alice",
            Answer::Agree,
        )
        .await;
    assert_eq!(
        returned(&browser.open(&first).await, "state").as_deref(),
        Some("one")
    );
    assert_eq!(
        returned(&browser.open(&second).await, "state").as_deref(),
        Some("two")
    );
}

#[tokio::test]
async fn a_foreign_cookie_value_is_replaced() {
    let app = TestApp::with(one_site()).await;
    for planted in [
        "jsdkd=x",
        "jsdkd=",
        "jsdkd=ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ",
    ] {
        let request = app
            .request(Method::GET, &format!("/oauth/{APP}?redirect={SITE}"))
            .header("cookie", planted);
        let begun = app.send(request).await;
        let given = begun.header("set-cookie").split(';').next().unwrap();
        assert!(
            given.len() == "jsdkd=".len() + 32 && given != planted,
            "{given}"
        );
    }
}

#[tokio::test]
async fn head_stores_nothing() {
    let app = TestApp::with(one_site()).await;
    let browser = Browser::new(&app);
    let looked = browser
        .send(Method::HEAD, &format!("/oauth/{APP}?redirect={SITE}"))
        .await;
    assert_eq!(
        (looked.status.as_u16(), looked.header("set-cookie")),
        (302, "")
    );
    let callback = app
        .sandbox
        .visit(looked.header("location"), "Alice", Answer::Agree)
        .unwrap();
    assert_eq!(browser.open(&callback).await.status, 400);
}

#[tokio::test]
async fn a_public_address_may_begin_600_logins_a_minute() {
    let app = TestApp::with(one_site()).await;
    let path = format!("/oauth/{APP}?redirect={SITE}");
    let from = async |address: &str| {
        app.send(
            app.request(Method::GET, &path)
                .header("x-forwarded-for", address),
        )
        .await
    };
    for _ in 0..600 {
        assert_eq!(from("203.0.113.7").await.status, 302);
    }
    let refused = from("203.0.113.7").await;
    refused.problem(429, "too_many_logins");
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    assert_eq!(
        (
            from("203.0.113.8").await.status.as_u16(),
            from("10.0.0.1").await.status.as_u16()
        ),
        (302, 302)
    );
    for _ in 0..50 {
        assert_eq!(from("10.0.0.1").await.status, 302);
    }
}

#[tokio::test]
async fn check_files_are_served_beside_oauth_routes() {
    let app = TestApp::with(one_site()).await;
    for path in [
        "/oauth/MP_verify_abc.txt",
        "/login/MP_verify_abc.txt",
        "/users/wx1/MP_verify_abc.txt",
        "/oauth/x/WW_verify_abc.txt",
    ] {
        let text = app.get(path).await;
        assert_eq!(
            (text.status.as_u16(), text.body.as_str()),
            (200, "abc"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_reload_of_redirects_applies_to_running_logins() {
    let app = TestApp::with(one_site()).await;
    let browser = Browser::new(&app);
    let callback = browser
        .at_wechat(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
        .await;
    let other = json!({ "apps": [{ "key": APP, "secret": APP_SECRET, "oauth": { "redirects": "https://new.example.com/" } }] });
    app.reloader.apply(config_of(&app.sandbox, other));
    assert_eq!(browser.open(&callback).await.status, 400);
    app.get(&format!("/oauth/{APP}?redirect={SITE}"))
        .await
        .problem(400, "redirect_not_allowed");
    app.reloader.apply(config_of(&app.sandbox, one_site()));
    assert_eq!(
        browser.open(&callback).await.status,
        302,
        "nothing was used up meanwhile"
    );
}

fn url_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
