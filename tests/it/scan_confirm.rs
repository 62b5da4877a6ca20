//! `login: { confirm: true }`: the person who scanned has to confirm on a page that names the site.
//! Also the limits of scans.

use reqwest::Method;
use sandbox::Answer;
use serde_json::json;

use crate::scan_login::{Login, begin, begin_from, scan};
use crate::support::app::{Response, TestApp};

async fn asking() -> TestApp {
    TestApp::with(json!({ "login": { "confirm": true }, "cors": ["shop\\.example\\.com"] })).await
}

/// The value of a hidden field of the page's form.
pub(crate) fn field(page: &Response, name: &str) -> String {
    let input = page
        .body
        .split('<')
        .find(|tag| tag.starts_with("input") && tag.contains(&format!("name=\"{name}\"")));
    let input = input.unwrap_or_else(|| panic!("no field {name}: {}", page.body));
    input
        .split("value=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a value")
        .to_owned()
}

/// Submits the page's form as a browser does: without a referrer its origin is `null`.
pub(crate) async fn say(app: &TestApp, picture: &str, token: &str, answer: &str) -> Response {
    let request = app
        .request(Method::POST, "/wechat/weblogin")
        .header("origin", "null")
        .header("accept-language", "en");
    let form = format!("state={picture}&token={token}&answer={answer}");
    app.send(
        request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form),
    )
    .await
}

async fn scanned(app: &TestApp) -> (Login, Response) {
    let login = begin(app).await;
    let page = scan(app, &login, "Alice", Answer::Agree).await;
    assert_eq!(page.status, 200);
    (login, page)
}

#[tokio::test]
async fn yes_logs_in_and_no_does_not() {
    let app = asking().await;
    let (login, page) = scanned(&app).await;
    assert!(
        page.body.contains("127.0.0.1"),
        "the site is named: {}",
        page.body
    );
    app.get(&login.query).await.problem(404, "not_scanned_yet");
    assert_eq!(
        say(&app, &login.picture, &field(&page, "token"), "yes")
            .await
            .status,
        200
    );
    assert_eq!(
        app.get(&login.query).await.json()["user"]["nickname"].as_str(),
        Some("Alice")
    );
    assert_eq!(
        say(&app, &login.picture, &field(&page, "token"), "no")
            .await
            .status,
        200,
        "too late"
    );
    assert_eq!(app.get(&login.query).await.status, 200);

    let (login, page) = scanned(&app).await;
    let path = format!("{}?wait=20s", login.query);
    let token = field(&page, "token");
    let (told, said) = tokio::join!(app.get(&path), say(&app, &login.picture, &token, "no"));
    assert_eq!(said.status, 200);
    told.problem(404, "login_declined");
}

#[tokio::test]
async fn only_the_confirmation_page_can_answer() {
    let app = asking().await;
    let (login, page) = scanned(&app).await;
    for (picture, token) in [
        (login.picture.as_str(), ""),
        (login.uuid.as_str(), field(&page, "token").as_str()),
        (login.picture.as_str(), "00000000000000000000000000000000"),
        (
            "00000000000000000000000000000000",
            field(&page, "token").as_str(),
        ),
        (
            begin(&app).await.picture.as_str(),
            field(&page, "token").as_str(),
        ),
    ] {
        assert_eq!(say(&app, picture, token, "yes").await.status, 400);
    }
    for body in ["", "state=x", "{}"] {
        let request = app
            .request(Method::POST, "/wechat/weblogin")
            .header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(app.send(request.body(body)).await.status, 400, "{body}");
    }
    app.get(&login.query).await.problem(404, "not_scanned_yet");
}

#[tokio::test]
async fn the_confirmation_names_the_requesting_site() {
    let app = asking().await;
    let login = begin_from(&app, Some("https://shop.example.com")).await;
    let page = scan(&app, &login, "Alice", Answer::Agree).await;
    assert!(
        page.body.contains("<bdi>https://shop.example.com</bdi>")
            && !page.body.contains(&login.uuid),
        "{}",
        page.body
    );
    assert_eq!(field(&page, "state"), login.picture);
    let evil = app
        .send(
            app.request(Method::POST, "/login")
                .header("origin", "https://evil.org"),
        )
        .await;
    evil.problem(403, "origin_not_allowed");
}

#[tokio::test]
async fn the_confirmation_depends_on_the_requester_by_default() {
    let page = Some("https://shop.example.com");
    for (confirm, by_page, by_back_end) in [
        (json!(null), true, false),
        (json!(true), true, true),
        (json!(false), false, false),
    ] {
        let app = TestApp::with(json!({ "login": { "confirm": confirm, "sites": page } })).await;
        for (origin, asks) in [
            (page, by_page),
            (Some("http://192.168.1.5:8080"), by_page),
            (None, by_back_end),
        ] {
            let login = begin_from(&app, origin).await;
            let seen = scan(&app, &login, "Alice", Answer::Agree).await;
            assert_eq!(
                (seen.status.as_u16(), seen.body.contains("<form")),
                (200, asks),
                "{confirm} {origin:?}"
            );
            assert_eq!(
                app.get(&login.query).await.status.as_u16(),
                if asks { 404 } else { 200 }
            );
            if asks {
                assert!(
                    seen.body.contains(origin.unwrap_or("127.0.0.1")),
                    "{}",
                    seen.body
                );
                assert_eq!(
                    say(&app, &login.picture, &field(&seen, "token"), "yes")
                        .await
                        .status,
                    200
                );
                assert_eq!(
                    app.get(&login.query).await.json()["user"]["nickname"],
                    "Alice"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_second_phone_is_refused_while_the_first_is_asked() {
    let app = asking().await;
    let (login, page) = scanned(&app).await;
    assert_eq!(
        scan(&app, &login, "Mallory", Answer::Agree).await.status,
        400
    );
    let again = scan(&app, &login, "Alice", Answer::Agree).await;
    assert_eq!(
        field(&again, "token"),
        field(&page, "token"),
        "the same person is asked the same"
    );
}

#[tokio::test]
async fn one_public_address_may_begin_600_scans_a_minute() {
    let app = TestApp::start().await;
    let from = async |address: &str| {
        app.send(
            app.request(Method::POST, "/login")
                .header("x-forwarded-for", address),
        )
        .await
    };
    for _ in 0..600 {
        assert_eq!(from("198.51.100.7").await.status, 201);
    }
    let refused = from("198.51.100.7").await;
    assert!(!refused.header("retry-after").is_empty());
    refused.problem(429, "too_many_logins");
    assert_eq!(
        (
            from("198.51.100.8").await.status.as_u16(),
            from("192.168.0.1").await.status.as_u16()
        ),
        (201, 201)
    );
}
