//! Complete logins over https through the sample configuration for nginx: the server trusts the
//! proxy's headers, and no log contains a login's secrets.

use reqwest::Url;
use sandbox::Answer;
use serde_json::{Value, json};

use crate::nginx::client;
use crate::oauth::{SITE, one_site, redeeming};
use crate::scan_login::behind_qrcode;
use crate::support::app::{APP, Response, TestApp};
use crate::support::nginx::Nginx;
use crate::support::process::until;
use crate::support::visitor::{parameter, returned};

/// The browser of a phone or a desktop behind nginx.
struct Browser {
    client: reqwest::Client,
    port: u16,
}

impl Browser {
    fn new(nginx: &Nginx) -> Self {
        Self {
            client: client(nginx),
            port: nginx.https.port(),
        }
    }

    /// Opens a path, or a URL of `https://example.com`, which is nginx here.
    async fn send(&self, method: reqwest::Method, address: &str, cookie: &str) -> Response {
        let path = address
            .strip_prefix("https://example.com")
            .unwrap_or(address);
        assert!(path.starts_with('/'), "not the public address: {address}");
        let url = format!("https://example.com:{}{path}", self.port);
        Response::of(
            self.client
                .request(method, url)
                .header("cookie", cookie)
                .send()
                .await
                .unwrap(),
        )
        .await
    }

    async fn get(&self, address: &str, cookie: &str) -> Response {
        self.send(reqwest::Method::GET, address, cookie).await
    }
}

/// Waits until nginx has logged `line`, and asserts that no log contains any of `words`.
async fn no_log_holds(nginx: &Nginx, line: &str, words: &[&str]) {
    until(|| nginx.logs().contains(line).then_some(()))
        .await
        .unwrap_or_else(|| panic!("{line}: {}", nginx.logs()));
    let logs = nginx.logs();
    for word in words {
        assert!(!logs.contains(word), "{word} in {logs}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_logs_in_over_https_with_a_host_cookie() {
    let app = TestApp::with(one_site()).await;
    let Some(nginx) = Nginx::start(app.address()).await else {
        return;
    };
    let browser = Browser::new(&nginx);
    let begun = browser
        .get(
            &format!("/oauth/{APP}?redirect={SITE}&state=s1&scope=snsapi_userinfo"),
            "",
        )
        .await;
    assert_eq!(
        returned(&begun, "redirect_uri"),
        Some(format!("https://example.com/oauth/{APP}/callback"))
    );
    let given = begun.header("set-cookie").to_owned();
    assert!(
        given.starts_with("__Host-jsdkd=")
            && given.contains("; Secure")
            && given.contains("; HttpOnly"),
        "{given}"
    );
    assert!(
        given.contains("; Path=/") && !given.contains("Domain"),
        "{given}"
    );
    let cookie = given.split(';').next().unwrap();

    let callback = app
        .sandbox
        .visit(begun.header("location"), "小明", Answer::Agree)
        .unwrap();
    assert!(
        callback.starts_with(&format!("https://example.com/oauth/{APP}/callback?code=")),
        "{callback}"
    );
    for stranger in [
        "",
        "__Host-jsdkd=0123456789abcdef0123456789abcdef",
        &cookie.replace("__Host-", ""),
    ] {
        let refused = browser.get(&callback, stranger).await;
        assert_eq!(
            (refused.status.as_u16(), refused.header("content-type")),
            (400, "text/html; charset=utf-8"),
            "{stranger}"
        );
    }
    let back = browser.get(&callback, cookie).await;
    let ticket = returned(&back, "ticket").expect("a ticket");
    assert_eq!(
        back.header("location"),
        format!("https://shop.example.com/in?a=1&ticket={ticket}&state=s1#top")
    );
    assert_eq!(
        browser.get(&redeeming(&ticket), "").await.json()["nickname"],
        "小明"
    );

    let code = parameter(&callback, "code").unwrap();
    let trip = parameter(&callback, "state").unwrap();
    no_log_holds(
        &nginx,
        &format!("\"GET /oauth/{APP}/user HTTP/1.1\" 200"),
        &[&ticket, &code, &trip],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desktop_waits_for_a_scan_over_https() {
    let app = TestApp::start().await;
    let Some(nginx) = Nginx::start(app.address()).await else {
        return;
    };
    let browser = Browser::new(&nginx);
    let begun = browser.send(reqwest::Method::POST, "/login", "").await;
    assert_eq!(begun.status, 201, "{}", begun.body);
    let login: Value = serde_json::from_str(&begun.body).unwrap();
    let (query, picture) = (
        login["query_url"].as_str().unwrap(),
        login["qrcode_url"].as_str().unwrap(),
    );
    let shown = browser.get(&picture.replace('?', ".svg?"), "").await;
    assert_eq!(
        (shown.status.as_u16(), shown.header("content-type")),
        (200, "image/svg+xml")
    );
    let authorize = behind_qrcode(picture);
    let uri: Url = parameter(&authorize, "redirect_uri")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(uri.as_str(), "https://example.com/wechat/weblogin");

    let held = format!("{query}?wait=25s");
    let scan = async {
        let callback = app
            .sandbox
            .visit(&authorize, "Alice", Answer::Agree)
            .unwrap();
        browser.get(&callback, "").await
    };
    let (told, page) = tokio::join!(browser.get(&held, ""), scan);
    assert_eq!(
        (
            page.status.as_u16(),
            told.json()["user"]["nickname"].clone()
        ),
        (200, json!("Alice"))
    );
    let uuid = login["uuid"].as_str().unwrap();
    no_log_holds(&nginx, "\"GET /wechat/weblogin HTTP/1.1\" 200", &[uuid]).await;
}
