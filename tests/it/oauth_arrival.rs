//! Callbacks: repeated, late, from another browser, with a code that WeChat refuses, or while
//! WeChat is down.

use std::time::{Duration, Instant};

use clock::{Clock, UnixMillis};
use futures_util::future::join_all;
use reqwest::Method;
use sandbox::{Answer, Fault};

use crate::oauth::{EXCHANGE, SITE, one_site, redeeming};
use crate::support::app::{APP, APP_SECRET, Response, TestApp};
use crate::support::visitor::{Browser, returned};

/// A page in English with this status, and no cookie, script or ticket in it.
#[track_caller]
fn is_page(response: &Response, status: u16) {
    assert_eq!(response.status.as_u16(), status, "{}", response.body);
    assert_eq!(
        (
            response.header("content-type"),
            response.header("content-language")
        ),
        ("text/html; charset=utf-8", "en")
    );
    assert_eq!(
        (
            response.header("cache-control"),
            response.header("location"),
            response.header("set-cookie")
        ),
        ("no-store", "", "")
    );
    assert!(
        !response.body.contains("<script") && !response.body.contains(APP_SECRET),
        "{}",
        response.body
    );
}

#[tokio::test]
async fn a_repeated_callback_gets_the_same_answer() {
    let app = TestApp::with(one_site()).await;
    let browser = Browser::new(&app);
    let callback = browser
        .at_wechat(
            APP,
            &format!("redirect={SITE}&state=s"),
            "Alice",
            Answer::Agree,
        )
        .await;
    let all = join_all((0..10).map(|_| browser.open(&callback))).await;
    let later = browser.open(&callback).await;
    for back in &all {
        assert_eq!(
            (back.status.as_u16(), back.header("location")),
            (302, later.header("location"))
        );
    }
    assert_eq!(app.sandbox.calls(EXCHANGE), 1);
    assert!(
        app.get(&redeeming(&returned(&later, "ticket").unwrap()))
            .await
            .json()["openid"]
            .is_string()
    );
}

#[tokio::test]
async fn the_same_state_with_another_code_gets_nothing() {
    let app = TestApp::with(one_site()).await;
    let browser = Browser::new(&app);
    let begun = browser.open(&format!("/oauth/{APP}?redirect={SITE}")).await;
    let visit = |visitor| {
        app.sandbox
            .visit(begun.header("location"), visitor, Answer::Agree)
            .unwrap()
    };
    let (alices, malloris) = (visit("Alice"), visit("Mallory"));
    assert_eq!(browser.open(&alices).await.status, 302);
    is_page(&browser.open(&malloris).await, 400);
    assert_eq!(app.sandbox.calls(EXCHANGE), 1);
}

#[tokio::test]
async fn another_browser_gets_nothing_and_consumes_nothing() {
    let app = TestApp::with(one_site()).await;
    let browser = Browser::new(&app);
    let callback = browser
        .at_wechat(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
        .await;
    let thief = Browser::new(&app);
    is_page(&thief.open(&callback).await, 400);
    // A browser with its own login, and so its own cookie.
    thief
        .open(&format!("/oauth/{APP}?redirect={SITE}"))
        .await
        .status
        .as_u16();
    is_page(&thief.open(&callback).await, 400);
    assert_eq!(app.sandbox.calls(EXCHANGE), 0);
    assert!(returned(&browser.open(&callback).await, "ticket").is_some());
    is_page(&thief.open(&callback).await, 400);
}

#[tokio::test]
async fn head_and_a_callback_without_state_consume_nothing() {
    let app = TestApp::with(one_site()).await;
    let browser = Browser::new(&app);
    let callback = browser
        .at_wechat(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
        .await;
    let looked = browser.send(Method::HEAD, &callback).await;
    assert_eq!(
        (
            looked.status.as_u16(),
            looked.body.as_str(),
            looked.header("location")
        ),
        (200, "", "")
    );
    assert_eq!(
        Browser::new(&app)
            .send(Method::HEAD, &callback)
            .await
            .status,
        400
    );
    let path = callback.split('?').next().unwrap().to_owned();
    for query in [
        "",
        "?code=x",
        "?state=",
        "?state=x&code=y",
        "?state=a&state=b",
    ] {
        is_page(&browser.open(&format!("{path}{query}")).await, 400);
    }
    assert_eq!(app.sandbox.calls(EXCHANGE), 0);
    assert_eq!(browser.open(&callback).await.status, 302);
}

#[tokio::test]
async fn a_login_expires_after_ten_minutes() {
    let clock = Clock::manual(UnixMillis(Clock::system().wall().0));
    let app = TestApp::build(one_site())
        .clock(clock.clone())
        .start()
        .await;
    let browser = Browser::new(&app);
    let slow = browser
        .at_wechat(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
        .await;
    let quick = browser
        .at_wechat(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
        .await;
    clock.advance(Duration::from_secs(9 * 60));
    assert_eq!(browser.open(&quick).await.status, 302);
    clock.advance(Duration::from_secs(59));
    assert_eq!(browser.open(&quick).await.status, 302);
    clock.advance(Duration::from_secs(2));
    is_page(&browser.open(&quick).await, 400);
    is_page(&browser.open(&slow).await, 400);
}

#[tokio::test]
async fn a_refused_code_is_a_page_with_a_restart_link() {
    let app = TestApp::with(one_site()).await;
    for code in [40029, 40163, 42003] {
        app.sandbox
            .fault(Fault::errcode(code, "invalid code").on(EXCHANGE).times(1));
        let browser = Browser::new(&app);
        let callback = browser
            .at_wechat(
                APP,
                &format!("redirect={SITE}&state=s%261&mode=login"),
                "Alice",
                Answer::Agree,
            )
            .await;
        let page = browser.open(&callback).await;
        is_page(&page, 400);
        let again = page
            .body
            .split("href=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("a link");
        let begun = browser
            .open(&again.replace("&#38;", "&").replace("&amp;", "&"))
            .await;
        let callback = app
            .sandbox
            .visit(begun.header("location"), "Alice", Answer::Agree)
            .unwrap();
        assert_eq!(
            returned(&browser.open(&callback).await, "state").as_deref(),
            Some("s&1")
        );
    }
    // A visitor's error does not concern the account: there is no back-off.
    assert_eq!(app.query("token").await.status, 200);
}

#[tokio::test]
async fn a_failed_exchange_leaves_no_session_and_is_not_repeated() {
    let app = TestApp::with(one_site()).await;
    for (fault, status) in [
        (Fault::errcode(-1, "system error"), 502),
        (Fault::errcode(40125, "invalid appsecret"), 502),
        (Fault::garbage(), 502),
        (Fault::reset(), 502),
        (Fault::half_body(), 502),
    ] {
        let before = app.sandbox.calls(EXCHANGE);
        app.sandbox.fault(fault.on(EXCHANGE).times(1));
        let browser = Browser::new(&app);
        let callback = browser
            .at_wechat(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
            .await;
        is_page(&browser.open(&callback).await, status);
        is_page(&browser.open(&callback).await, status);
        assert_eq!(app.sandbox.calls(EXCHANGE), before + 1);
    }
    app.sandbox.fault(
        Fault::errcode(-1, "system error")
            .on("/sns/userinfo")
            .times(1),
    );
    let browser = Browser::new(&app);
    let callback = browser
        .at_wechat(
            APP,
            &format!("redirect={SITE}&scope=snsapi_userinfo"),
            "Alice",
            Answer::Agree,
        )
        .await;
    is_page(&browser.open(&callback).await, 502);
}

#[tokio::test]
async fn a_hanging_wechat_is_a_page_within_its_timeout() {
    let app = TestApp::with(one_site()).await;
    app.sandbox.fault(Fault::hang().on("/sns/userinfo"));
    let browser = Browser::new(&app);
    let callback = browser
        .at_wechat(
            APP,
            &format!("redirect={SITE}&scope=snsapi_userinfo"),
            "Alice",
            Answer::Agree,
        )
        .await;
    let begun = Instant::now();
    let (first, second) = tokio::join!(browser.open(&callback), browser.open(&callback));
    is_page(&first, 504);
    assert!(matches!(second.status.as_u16(), 400 | 504), "{second:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(app.sandbox.calls(EXCHANGE), 1);
}

#[tokio::test]
async fn a_login_survives_a_dropped_connection() {
    let app = TestApp::with(one_site()).await;
    app.sandbox
        .fault(Fault::delay(Duration::from_millis(500)).on(EXCHANGE));
    let browser = Browser::new(&app);
    let callback = browser
        .at_wechat(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
        .await;
    tokio::time::timeout(Duration::from_millis(200), browser.open(&callback))
        .await
        .expect_err("the exchange takes longer");
    assert!(returned(&browser.open(&callback).await, "ticket").is_some());
    assert_eq!(app.sandbox.calls(EXCHANGE), 1);
}
