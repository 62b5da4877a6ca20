//! The status page in a real browser: on a phone, in the dark, without scripts, in two languages.

use serde_json::{Value, json};

use crate::support::app::{APP_SECRET, REALM_SECRET, TestApp, signed_v2};
use crate::support::devtools::{Devtools, Tab};
use crate::support::process::{Process, folder};
use sandbox::Fault;

/// A server with ten accounts in use, one of them in trouble.
async fn busy() -> TestApp {
    let accounts: Vec<_> = (0..10)
        .map(|number| format!("wx5f0c9e8d7b6a{number:04}"))
        .collect();
    let realms = json!([{ "key": "R123", "secret": REALM_SECRET }, { "key": "a<b>&\"c", "secret": "other-secret" }]);
    let app = TestApp::build(json!({ "realms": realms, "server": { "admin": "127.0.0.1:0" } }))
        .accounts(&accounts)
        .start()
        .await;
    for key in &accounts[1..] {
        for kind in ["ticket", "card_ticket"] {
            let asked = app.get(&signed_v2("GET", key, &[("key", kind)])).await;
            assert_eq!(asked.status, 200, "{}", asked.body);
        }
    }
    app.sandbox
        .fault(Fault::errcode(40164, "invalid ip 192.0.2.1").on("/cgi-bin/token"));
    let path = signed_v2("GET", &accounts[0], &[("key", "token")]);
    assert_eq!(app.get(&path).await.status, 502);
    app
}

async fn show(tab: &Tab<'_>, app: &TestApp) {
    tab.go(&format!("{}/status", app.admin)).await;
    tab.until("document.readyState === 'complete' && !!document.querySelector('h1')")
        .await;
}

async fn colour(tab: &Tab<'_>) -> Value {
    tab.value("getComputedStyle(document.body).backgroundColor")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_accounts_fit_into_twenty_kilobytes() {
    let app = busy().await;
    let page = app.admin("/status").await;
    assert!(page.body.len() < 20_000, "{} bytes", page.body.len());
    eprintln!("the page of ten accounts has {} bytes", page.body.len());
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(page.header("cache-control"), "no-store");
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let html = page.body.to_ascii_lowercase();
    for word in [
        "<script",
        "javascript:",
        "onclick",
        "onload",
        "style=",
        "<style",
        "src=",
        "http://",
        "https://",
        APP_SECRET,
        "sign=",
    ] {
        assert!(!html.contains(word), "{word}");
    }
    assert!(page.body.contains("wx5f0c9e8d7b6a0000 is not served"));
    assert!(page.body.contains("40164"), "{}", page.body);
    assert!(!page.body.contains("a<b>") && page.body.contains("a&#60;b&#62;"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_needs_no_sideways_scrolling() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let app = busy().await;
    let tab = browser.tab().await;
    for width in [320, 360, 768, 1280] {
        tab.resize(width, 700).await;
        show(&tab, &app).await;
        let widths = tab
            .value("[document.documentElement.scrollWidth, innerWidth, document.body.scrollWidth]")
            .await;
        let width_of = |index: usize| widths[index].as_u64().unwrap();
        assert!(width_of(0) <= u64::from(width), "{widths} at {width}");
        assert!(width_of(2) <= u64::from(width), "{widths} at {width}");
        // Nothing sticks out of its box either.
        let outside = tab
            .value("[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length")
            .await;
        assert_eq!(outside, 0, "at {width}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dark_and_light_differ_and_both_are_readable() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let app = busy().await;
    let tab = browser.tab().await;
    tab.prefer("light").await;
    show(&tab, &app).await;
    let light = colour(&tab).await;
    tab.prefer("dark").await;
    show(&tab, &app).await;
    let dark = colour(&tab).await;
    assert_eq!(
        (light, dark),
        (json!("rgb(244, 246, 245)"), json!("rgb(16, 21, 19)"))
    );
    let ink = tab.value("getComputedStyle(document.body).color").await;
    assert_eq!(ink, "rgb(230, 236, 233)");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_works_without_scripts_and_in_chinese() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let app = busy().await;
    let tab = browser.tab().await;
    tab.disable_scripts().await;
    tab.speak("zh-CN,zh;q=0.9,en;q=0.8").await;
    show(&tab, &app).await;
    assert_eq!(tab.value("document.documentElement.lang").await, "zh-CN");
    let text = tab.value("document.body.innerText").await;
    let text = text.as_str().unwrap();
    assert!(
        text.contains("没有可用的凭据") && text.contains("IP 白名单"),
        "{text}"
    );
    let bars = tab.value("[...document.querySelectorAll('progress')].filter(e => e.getBoundingClientRect().width > 20).length");
    assert!(bars.await.as_u64().unwrap() >= 18);
    tab.speak("en-GB,en;q=0.9").await;
    show(&tab, &app).await;
    let text = tab.value("document.body.innerText").await;
    assert!(text.as_str().unwrap().contains("is not served"), "{text}");
    app.stop().await;
}

/// `cargo test --test it the_picture -- --ignored`, after a change of the page.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes into docs/"]
async fn the_picture_of_the_status_page_is_taken() {
    let browser = Devtools::start().await.expect("Chromium");
    let folder = folder();
    let mut demo = Process::start(folder.path(), &["demo", "--port", "0"], &[]);
    let open = demo.said("/demo.html").await;
    demo.url = open
        .trim_start_matches("Open")
        .trim()
        .trim_end_matches("/demo.html")
        .to_owned();
    let status = demo.said("/status").await;
    demo.said("Ctrl-C").await;
    let address = status.trim_start_matches("Status").trim().to_owned();
    let app = "wxdemo0000000001";
    for url in [
        "https://shop.example.com/?id=7",
        "https://shop.example.com/",
    ] {
        let path = format!("/jsapi/{app}/config");
        let request = demo.request(reqwest::Method::POST, &path);
        let request = request.header("content-type", "application/json");
        let body = json!({ "url": url }).to_string();
        assert_eq!(request.body(body).send().await.unwrap().status(), 200);
    }
    let secret = "d3305ec7e7d3305ec7e7d3305ec7e701";
    let path = format!("/cgi-bin/token?grant_type=client_credential&appid={app}&secret={secret}");
    let issued = demo.get(&path).await.json();
    let token = issued["access_token"].as_str().unwrap();
    for _ in 0..41 {
        let path = format!("/cgi-bin/getcallbackip?access_token={token}");
        demo.get(&path).await.json();
    }
    let tab = browser.tab().await;
    tab.speak("en").await;
    tab.prefer("light").await;
    tab.go(&address).await;
    tab.until("document.readyState === 'complete' && !!document.querySelector('h1')")
        .await;
    tab.value("document.documentElement.style.scrollbarWidth = 'none'")
        .await;
    let png = tab.window_picture(900, 800).await;
    let path = format!("{}/docs/status.png", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(path, png).unwrap();
}
