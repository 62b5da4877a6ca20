//! A visitor's login through WeChat: what the site gets in either mode, and what its back end gets
//! for the ticket.

use std::time::Duration;

use clock::{Clock, UnixMillis};
use sandbox::{Answer, Fault};
use serde_json::{Value, json};

use crate::support::app::{APP, APP_SECRET, TestApp, signed_v1};
use crate::support::visitor::{Browser, parameter, returned, signed};

pub(crate) const EXCHANGE: &str = "/sns/oauth2/access_token";
pub(crate) const SITE: &str = "https%3A%2F%2Fshop.example.com%2Fin%3Fa%3D1%23top";

/// Settings of an app that lets visitors return to one site.
pub(crate) fn one_site() -> Value {
    json!({ "apps": [{ "key": APP, "secret": APP_SECRET, "oauth": { "redirects": ["https://shop.example.com/"] } }] })
}

/// The signed URL that redeems `ticket`.
pub(crate) fn redeeming(ticket: &str) -> String {
    signed("GET", &format!("/oauth/{APP}/user"), &[("ticket", ticket)])
}

#[tokio::test]
async fn a_visitor_returns_to_the_site_with_a_ticket() {
    let app = TestApp::with(one_site()).await;
    let browser = Browser::new(&app);
    let begun = browser
        .open(&format!("/oauth/{APP}?redirect={SITE}&state=own%20state"))
        .await;
    assert_eq!(
        (begun.status.as_u16(), begun.header("cache-control")),
        (302, "no-store")
    );
    let id = parameter(begun.header("location"), "state").expect("a state");
    assert!(
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id}"
    );
    let callback = format!(
        "{}%2Foauth%2F{APP}%2Fcallback",
        app.url.replace(':', "%3A").replace('/', "%2F")
    );
    assert_eq!(
        begun.header("location"),
        format!(
            "{}/connect/oauth2/authorize?appid={APP}&redirect_uri={callback}&response_type=code&scope=snsapi_base&state={id}#wechat_redirect",
            app.sandbox.url()
        )
    );

    let callback = app
        .sandbox
        .visit(begun.header("location"), "Alice", Answer::Agree)
        .unwrap();
    let back = browser.open(&callback).await;
    assert_eq!(
        (back.status.as_u16(), back.header("cache-control")),
        (302, "no-store")
    );
    let ticket = returned(&back, "ticket").expect("a ticket");
    assert_eq!(
        back.header("location"),
        format!("https://shop.example.com/in?a=1&ticket={ticket}&state=own+state#top")
    );

    let user = app.get(&redeeming(&ticket)).await;
    assert_eq!(user.header("cache-control"), "no-store");
    assert_eq!(
        user.json(),
        json!({ "openid": app.sandbox.follow(APP, "Alice", false).unwrap() }),
        "snsapi_base gives no more"
    );
    app.get(&redeeming(&ticket))
        .await
        .problem(404, "unknown_ticket");
    assert_eq!(app.sandbox.calls(EXCHANGE), 1);
}

#[tokio::test]
async fn a_visitor_who_agrees_shows_their_profile() {
    let app = TestApp::with(one_site()).await;
    let back = Browser::new(&app)
        .trip(
            APP,
            &format!("redirect={SITE}&scope=snsapi_userinfo"),
            "小明",
            Answer::Agree,
        )
        .await;
    assert_eq!(
        returned(&back, "state"),
        None,
        "no state was given, so none comes back"
    );
    let user = app
        .get(&redeeming(&returned(&back, "ticket").unwrap()))
        .await
        .json();
    assert_eq!(
        (user["nickname"].as_str(), user["sex"].as_i64()),
        (Some("小明"), Some(0))
    );
    assert!(
        user["openid"].is_string() && user["unionid"].is_string() && user["headimgurl"].is_string(),
        "{user}"
    );
    assert!(
        user.get("access_token").is_none() && user.get("refresh_token").is_none(),
        "{user}"
    );
}

#[tokio::test]
async fn the_apps_scope_is_the_default() {
    let mut settings = one_site();
    settings["apps"][0]["oauth"]["scope"] = json!("snsapi_userinfo");
    let app = TestApp::with(settings).await;
    let begun = Browser::new(&app)
        .open(&format!("/oauth/{APP}?redirect={SITE}"))
        .await;
    assert_eq!(
        returned(&begun, "scope").as_deref(),
        Some("snsapi_userinfo")
    );
    let begun = Browser::new(&app)
        .open(&format!("/oauth/{APP}?redirect={SITE}&scope=snsapi_base"))
        .await;
    assert_eq!(returned(&begun, "scope").as_deref(), Some("snsapi_base"));
}

#[tokio::test]
async fn a_relay_returns_wechats_code_without_a_call() {
    let app = TestApp::with(one_site()).await;
    let browser = Browser::new(&app);
    let callback = browser
        .at_wechat(
            APP,
            &format!("redirect={SITE}&mode=relay&state=s1"),
            "Alice",
            Answer::Agree,
        )
        .await;
    let back = browser.open(&callback).await;
    let code = parameter(&callback, "code").unwrap();
    assert_eq!(
        back.header("location"),
        format!("https://shop.example.com/in?a=1&code={code}&state=s1#top")
    );
    assert_eq!(app.sandbox.calls(EXCHANGE), 0);
    let theirs = format!(
        "{}{EXCHANGE}?appid={APP}&secret={APP_SECRET}&code={code}&grant_type=authorization_code",
        app.sandbox.url()
    );
    let grant = reqwest::get(theirs).await.unwrap().text().await.unwrap();
    assert!(grant.contains("\"openid\""), "the code is unused: {grant}");
}

#[tokio::test]
async fn a_refusal_and_a_snapshot_are_errors_for_the_site() {
    let app = TestApp::with(one_site()).await;
    for mode in ["login", "relay"] {
        let query = format!("redirect={SITE}&state=s1&mode={mode}");
        let back = Browser::new(&app)
            .trip(APP, &query, "Alice", Answer::Refuse)
            .await;
        assert_eq!(
            back.header("location"),
            "https://shop.example.com/in?a=1&error=access_denied&state=s1#top"
        );
    }
    for scope in ["snsapi_base", "snsapi_userinfo"] {
        let query = format!("redirect={SITE}&state=s1&scope={scope}");
        let back = Browser::new(&app)
            .trip(APP, &query, "Alice", Answer::Snapshot)
            .await;
        assert_eq!(
            back.header("location"),
            "https://shop.example.com/in?a=1&error=snapshot_user&state=s1#top"
        );
    }
    assert_eq!(
        app.sandbox.calls("/sns/userinfo"),
        0,
        "a snapshot is known by its grant"
    );
    // Sometimes WeChat does not mark one; such a visitor cannot read their own profile.
    app.sandbox
        .fault(Fault::errcode(48001, "api unauthorized").on("/sns/userinfo"));
    let query = format!("redirect={SITE}&state=s1&scope=snsapi_userinfo");
    let back = Browser::new(&app)
        .trip(APP, &query, "Alice", Answer::Agree)
        .await;
    assert_eq!(
        back.header("location"),
        "https://shop.example.com/in?a=1&error=snapshot_user&state=s1#top"
    );
}

#[tokio::test]
async fn our_parameters_in_a_redirect_are_removed() {
    let app = TestApp::with(one_site()).await;
    let evil =
        "https%3A%2F%2Fshop.example.com%2F%3Fticket%3Devil%26state%3Devil%26error%3Devil%26x%3D1";
    let back = Browser::new(&app)
        .trip(APP, &format!("redirect={evil}"), "Alice", Answer::Agree)
        .await;
    let ticket = returned(&back, "ticket").unwrap();
    assert_eq!(
        back.header("location"),
        format!("https://shop.example.com/?x=1&ticket={ticket}")
    );
}

#[tokio::test]
async fn a_ticket_is_redeemed_once_within_a_minute() {
    let clock = Clock::manual(UnixMillis(Clock::system().wall().0));
    let mut settings = one_site();
    settings["apps"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "key": "wxother", "secret": "s" }));
    let app = TestApp::build(settings)
        .clock(clock.clone())
        .sandbox(|options| options.clock = clock.clone())
        .start()
        .await;
    let ticket = async || {
        let back = Browser::new(&app)
            .trip(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
            .await;
        returned(&back, "ticket").unwrap()
    };

    let first = ticket().await;
    let elsewhere = signed("GET", "/oauth/wxother/user", &[("ticket", &first)]);
    app.get(&elsewhere).await.problem(404, "unknown_ticket");
    let look = app.request(
        reqwest::Method::HEAD,
        &signed("HEAD", &format!("/oauth/{APP}/user"), &[("ticket", &first)]),
    );
    assert_eq!(app.send(look).await.status, 200);
    clock.advance(Duration::from_secs(59));
    assert!(
        app.get(&redeeming(&first)).await.json()["openid"].is_string(),
        "neither used anything up"
    );

    let late = ticket().await;
    clock.advance(Duration::from_secs(61));
    app.get(&redeeming(&late))
        .await
        .problem(404, "unknown_ticket");
    for nonsense in ["", "x", &"0".repeat(32), "../../x"] {
        app.get(&redeeming(nonsense))
            .await
            .problem(404, "unknown_ticket");
    }
}

#[tokio::test]
async fn only_a_realm_that_signs_with_version_2_redeems() {
    let app = TestApp::with(one_site()).await;
    let back = Browser::new(&app)
        .trip(APP, &format!("redirect={SITE}"), "Alice", Answer::Agree)
        .await;
    let ticket = returned(&back, "ticket").unwrap();
    let path = format!("/oauth/{APP}/user");
    app.get(&format!("{path}?ticket={ticket}"))
        .await
        .problem(401, "unauthorized");
    let v1 = signed_v1(APP, &format!("ticket={ticket}&"));
    app.get(&format!("{path}?{}", v1.split_once('?').unwrap().1))
        .await
        .problem(401, "unauthorized");
    let query_of_another = signed(
        "GET",
        &format!("/jsapi/{APP}/query"),
        &[("ticket", &ticket)],
    );
    app.get(&format!(
        "{path}?{}",
        query_of_another.split_once('?').unwrap().1
    ))
    .await
    .problem(401, "unauthorized");
    let mine = redeeming(&ticket);
    app.get(&mine.replace(&ticket, &"0".repeat(32)))
        .await
        .problem(401, "unauthorized");
    let post = app.request(reqwest::Method::POST, &mine);
    assert_eq!(
        app.send(post).await.problem(405, "method_not_allowed")["status"],
        405
    );
    assert!(
        app.get(&mine).await.json()["openid"].is_string(),
        "none of them used the ticket up"
    );
}
