//! Every page that a visitor may end at has a way on: a button that restarts the login if the
//! record still has its site, else the site's name. No button leads to a site that the settings do
//! not list.

use std::time::Duration;

use clock::{Clock, UnixMillis};
use reqwest::Method;
use sandbox::{Answer, Fault};
use serde_json::{Value, json};

use crate::oauth::{EXCHANGE, SITE, one_site};
use crate::scan_confirm::{field, say};
use crate::scan_login::{begin, begin_from, is_page, scan};
use crate::support::app::{APP, APP_SECRET, Response, TestApp, config_of};
use crate::support::visitor::{Browser, returned};

/// The target of the page's button.
fn button(page: &Response) -> Option<String> {
    let button = page.body.split("<a class=\"button\" href=\"").nth(1)?;
    Some(
        button
            .split('"')
            .next()
            .expect("an end")
            .replace("&#38;", "&"),
    )
}

fn sites(listed: &[&str]) -> Value {
    json!({ "apps": [{ "key": APP, "secret": APP_SECRET, "oauth": { "redirects": listed } }] })
}

/// Follows a page's button to the site, as a browser does.
async fn begins_again(app: &TestApp, browser: &Browser<'_>, page: &Response) -> Response {
    let begun = browser
        .open(&button(page).unwrap_or_else(|| panic!("no button: {}", page.body)))
        .await;
    let callback = app
        .sandbox
        .visit(begun.header("location"), "Alice", Answer::Agree)
        .unwrap();
    browser.open(&callback).await
}

#[tokio::test]
async fn a_lost_cookie_restarts_without_the_sites_state() {
    let app = TestApp::with(one_site()).await;
    for query in [
        format!("redirect={SITE}&state=own-1&scope=snsapi_userinfo"),
        format!("redirect={SITE}&state=own-1&mode=relay"),
    ] {
        let callback = Browser::new(&app)
            .at_wechat(APP, &query, "Alice", Answer::Agree)
            .await;
        let other = Browser::new(&app);
        for _ in 0..2 {
            let page = other.open(&callback).await;
            is_page(&page, 400, "another browser");
            assert!(!page.body.contains("own-1"), "{}", page.body);
            let back = begins_again(&app, &other, &page).await;
            let word = if query.contains("relay") {
                "code"
            } else {
                "ticket"
            };
            assert!(
                back.header("location")
                    .starts_with("https://shop.example.com/in?a=1&")
                    && returned(&back, word).is_some()
            );
            assert_eq!(returned(&back, "state"), None);
        }
    }
}

#[tokio::test]
async fn the_same_browser_restarts_with_its_state() {
    let app = TestApp::with(one_site()).await;
    let browser = Browser::new(&app);
    let begun = browser
        .open(&format!("/oauth/{APP}?redirect={SITE}&state=own-1"))
        .await;
    let visit = |visitor| {
        app.sandbox
            .visit(begun.header("location"), visitor, Answer::Agree)
            .unwrap()
    };
    let (first, second) = (visit("Alice"), visit("Alice"));
    assert_eq!(browser.open(&first).await.status, 302);
    let page = browser.open(&second).await;
    is_page(&page, 400, "Try again");
    assert_eq!(
        returned(&begins_again(&app, &browser, &page).await, "state").as_deref(),
        Some("own-1")
    );
}

#[tokio::test]
async fn an_old_link_names_the_site() {
    let clock = Clock::manual(UnixMillis(Clock::system().wall().0));
    let app = TestApp::build(one_site())
        .clock(clock.clone())
        .start()
        .await;
    let callback = Browser::new(&app)
        .at_wechat(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
        .await;
    clock.advance(Duration::from_secs(601));
    let path = format!("/oauth/{APP}/callback");
    let addresses = [
        callback,
        path.clone(),
        format!("{path}?code=x"),
        format!("{path}?state=a&state=b&code=x"),
        format!("{path}?state=x&code=y"),
    ];
    for address in &addresses {
        let page = Browser::new(&app).open(address).await;
        is_page(&page, 400, "Go back to <bdi>shop.example.com</bdi>");
        assert_eq!(
            button(&page).as_deref(),
            Some("https://shop.example.com/"),
            "{address}"
        );
    }
    for listed in [&[][..], &["https://a.example/", "https://b.example/"]] {
        app.reloader.apply(config_of(&app.sandbox, sites(listed)));
        for address in &addresses {
            let page = Browser::new(&app).open(address).await;
            is_page(&page, 400, "<bdi>127.0.0.1</bdi>");
            assert_eq!(
                button(&page),
                None,
                "nothing says which site was meant: {address}"
            );
        }
    }
}

#[tokio::test]
async fn no_button_leads_to_a_removed_site() {
    let app = TestApp::with(one_site()).await;
    let browser = Browser::new(&app);
    let callback = browser
        .at_wechat(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
        .await;
    app.reloader.apply(config_of(
        &app.sandbox,
        sites(&["https://new.example.com/in"]),
    ));
    for browser in [&browser, &Browser::new(&app)] {
        let page = browser.open(&callback).await;
        is_page(&page, 400, "new.example.com");
        assert_eq!(button(&page).as_deref(), Some("https://new.example.com/in"));
        assert!(!page.body.contains("shop.example.com"), "{}", page.body);
    }
}

#[tokio::test]
async fn a_link_cannot_plant_an_address_in_a_page() {
    let app = TestApp::with(one_site()).await;
    let evil = "redirect=https%3A%2F%2Fevil.org%2F&again=https%3A%2F%2Fevil.org%2F&site=evil.org&state=x&code=javascript%3Aevil.org";
    for path in [
        format!("/oauth/{APP}/callback?{evil}"),
        format!("/wechat/weblogin?{evil}"),
    ] {
        let page = Browser::new(&app).open(&path).await;
        assert_eq!(page.status, 400);
        assert!(!page.body.contains("evil.org"), "{}", page.body);
    }
}

#[tokio::test]
async fn a_failed_scan_restarts_at_wechat() {
    let app = TestApp::start().await;
    for (answer, fault) in [
        (Answer::Snapshot, None),
        (Answer::Refuse, None),
        (Answer::Agree, Some(Fault::errcode(40029, "invalid code"))),
        (Answer::Agree, Some(Fault::errcode(-1, "system error"))),
        (Answer::Agree, Some(Fault::reset())),
    ] {
        let login = begin(&app).await;
        if let Some(fault) = fault {
            app.sandbox.fault(fault.on(EXCHANGE).times(1));
        }
        let callback = app
            .sandbox
            .visit(&login.at_wechat, "Alice", answer)
            .unwrap();
        // The second answer is a cached refusal.
        for _ in 0..2 {
            let page = Browser::new(&app).open(&callback).await;
            assert!(
                page.status.is_client_error() || page.status.is_server_error(),
                "{page:?}"
            );
            assert_eq!(
                button(&page).as_deref(),
                Some(login.at_wechat.as_str()),
                "{}",
                page.body
            );
        }
        let callback = app
            .sandbox
            .visit(&login.at_wechat, "Alice", Answer::Agree)
            .unwrap();
        is_page(&Browser::new(&app).open(&callback).await, 200, "logged in");
    }
}

#[tokio::test]
async fn a_code_that_another_has_scanned_names_the_site() {
    let app = TestApp::with(json!({ "login": { "sites": ["https://shop.example.com"] } })).await;
    for (origin, name) in [
        (Some("https://shop.example.com"), "https://shop.example.com"),
        (None, "127.0.0.1"),
    ] {
        let login = begin_from(&app, origin).await;
        assert_eq!(scan(&app, &login, "Alice", Answer::Agree).await.status, 200);
        let page = scan(&app, &login, "Mallory", Answer::Agree).await;
        is_page(&page, 400, "used already");
        assert!(page.body.contains(&format!("<bdi>{name}")), "{}", page.body);
    }
}

#[tokio::test]
async fn a_scan_of_an_old_code_names_the_site() {
    let app = TestApp::start().await;
    let id = "0".repeat(32);
    for page in [
        Browser::new(&app)
            .open(&format!("/wechat/weblogin?state={id}&code=x"))
            .await,
        Browser::new(&app).open("/wechat/weblogin").await,
        say(&app, &id, &id, "yes").await,
    ] {
        is_page(&page, 400, "This page is from <bdi>127.0.0.1</bdi>");
    }
}

#[tokio::test]
async fn a_visitor_of_a_removed_app_sees_a_page() {
    let app = TestApp::with(one_site()).await;
    let browser = Browser::new(&app);
    let callback = browser
        .at_wechat(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
        .await;
    app.reloader.apply(config_of(
        &app.sandbox,
        json!({ "apps": [{ "key": "wxother", "secret": "s" }] }),
    ));
    is_page(
        &browser.open(&callback).await,
        400,
        "This page is from <bdi>127.0.0.1</bdi>",
    );
}

#[tokio::test]
async fn chinese_pages_have_the_same_links() {
    let app = TestApp::with(one_site()).await;
    let login = begin(&app).await;
    let callback = app
        .sandbox
        .visit(&login.at_wechat, "Alice", Answer::Snapshot)
        .unwrap();
    let zh = async |path: &str| {
        app.send(
            app.request(Method::GET, path)
                .header("accept-language", "zh-CN"),
        )
        .await
    };
    let page = zh(callback.strip_prefix(&app.url).unwrap()).await;
    assert!(
        page.body.contains("使用完整服务") && page.body.contains(">再试一次</a>"),
        "{}",
        page.body
    );
    let page = zh(&format!("/oauth/{APP}/callback")).await;
    assert!(
        page.body.contains("请回到 <bdi>shop.example.com</bdi>")
            && page.body.contains(">回到网站</a>"),
        "{}",
        page.body
    );
}

#[tokio::test]
async fn the_confirmation_is_shown_again_after_a_new_scan() {
    let app = TestApp::with(json!({ "login": { "confirm": true } })).await;
    let login = begin(&app).await;
    let page = scan(&app, &login, "Alice", Answer::Agree).await;
    let again = scan(&app, &login, "Alice", Answer::Agree).await;
    assert_eq!(field(&page, "token"), field(&again, "token"));
    is_page(
        &say(&app, &login.picture, &field(&again, "token"), "yes").await,
        200,
        "logged in",
    );
}
