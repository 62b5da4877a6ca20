//! Login by scanning: what the desktop gets, what the phone sees, and that one person logs in.

use std::time::{Duration, Instant};

use clock::{Clock, UnixMillis};
use futures_util::future::join_all;
use reqwest::{Method, Url};
use sandbox::{Answer, Fault};
use serde_json::{Value, json};

use crate::oauth::EXCHANGE;
use crate::support::app::{APP, Response, TestApp};
use crate::support::redis::RedisServer;
use crate::support::visitor::{Browser, parameter};

/// The answer to `POST /login`.
pub(crate) struct Login {
    pub(crate) uuid: String,
    /// The public id in the QR code.
    pub(crate) picture: String,
    /// The path of `query_url`.
    pub(crate) query: String,
    /// The URL in the QR code.
    pub(crate) at_wechat: String,
}

/// Starts a login and checks the form of the answer.
pub(crate) async fn begin(app: &TestApp) -> Login {
    begin_from(app, None).await
}

/// The same by a page of `origin`, or by a back end.
pub(crate) async fn begin_from(app: &TestApp, origin: Option<&str>) -> Login {
    let request = app.request(Method::POST, "/login");
    let begun = app
        .send(
            origin
                .into_iter()
                .fold(request, |request, origin| request.header("origin", origin)),
        )
        .await;
    assert_eq!(
        (begun.status.as_u16(), begun.header("cache-control")),
        (201, "no-store"),
        "{}",
        begun.body
    );
    let answer: Value = serde_json::from_str(&begun.body).unwrap();
    let text = |name: &str| {
        answer[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name} in {answer}"))
            .to_owned()
    };
    assert_eq!(
        (text("app_id").as_str(), answer.as_object().unwrap().len()),
        (APP, 4)
    );
    let uuid = text("uuid");
    assert!(
        uuid.len() == 32 && uuid.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{uuid}"
    );
    assert_eq!(text("query_url"), format!("{}/login/{uuid}", app.url));
    let at_wechat = behind_qrcode(&text("qrcode_url"));
    let picture = parameter(&at_wechat, "state").expect("a state");
    assert!(
        picture.len() == 32
            && picture.bytes().all(|byte| byte.is_ascii_hexdigit())
            && picture != uuid,
        "{picture}"
    );
    assert!(
        !begun
            .body
            .replace(&format!("/login/{uuid}"), "")
            .replacen(&uuid, "", 1)
            .contains(&uuid),
        "the picture holds the uuid"
    );
    Login {
        query: format!("/login/{uuid}"),
        uuid,
        picture,
        at_wechat,
    }
}

/// The text in a QR code's URL: the path decoded once by HTTP, and once more for `unescape=true`.
pub(crate) fn behind_qrcode(address: &str) -> String {
    let url: Url = address.parse().unwrap();
    assert_eq!(url.query(), Some("unescape=true"));
    let once = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8()
            .unwrap()
            .into_owned()
    };
    once(&once(
        url.path()
            .strip_prefix("/qrcode/")
            .expect("a QR code's address"),
    ))
}

/// A phone scans and its person answers WeChat; returns the page that the phone ends at.
pub(crate) async fn scan(app: &TestApp, login: &Login, visitor: &str, answer: Answer) -> Response {
    let callback = app
        .sandbox
        .visit(&login.at_wechat, visitor, answer)
        .expect("WeChat takes the address");
    Browser::new(app).open(&callback).await
}

#[track_caller]
pub(crate) fn is_page(page: &Response, status: u16, words: &str) {
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (status, "text/html; charset=utf-8"),
        "{}",
        page.body
    );
    assert!(page.body.contains(words), "{words:?} in {}", page.body);
    assert!(!page.body.contains("<script") && page.header("cache-control") == "no-store");
}

#[tokio::test]
async fn a_phone_logs_a_desktop_in() {
    let app = TestApp::start().await;
    let login = begin(&app).await;
    let callback =
        url::form_urlencoded::byte_serialize(format!("{}/wechat/weblogin", app.url).as_bytes())
            .collect::<String>();
    assert_eq!(
        login.at_wechat,
        format!(
            "{}/connect/oauth2/authorize?appid={APP}&redirect_uri={callback}&response_type=code&scope=snsapi_userinfo&state={}#wechat_redirect",
            app.sandbox.url(),
            login.picture
        )
    );
    app.get(&login.query).await.problem(404, "not_scanned_yet");
    is_page(
        &scan(&app, &login, "小明", Answer::Agree).await,
        200,
        "logged in",
    );

    let told = app.get(&login.query).await;
    assert_eq!(told.header("cache-control"), "no-store");
    let told = told.json();
    assert_eq!(
        (told["uuid"].as_str(), told["app_id"].as_str()),
        (Some(login.uuid.as_str()), Some(APP))
    );
    let user = &told["user"];
    assert_eq!(
        (
            user["nickname"].as_str(),
            user["subscribe"].as_i64(),
            user["groupid"].as_i64()
        ),
        (Some("小明"), Some(0), Some(0))
    );
    for field in [
        "openid",
        "city",
        "country",
        "province",
        "language",
        "headimgurl",
        "unionid",
        "remark",
    ] {
        assert!(user[field].is_string(), "{field} in {user}");
    }
    assert_eq!(
        app.get(&login.query).await.json(),
        told,
        "it may be asked again"
    );
    let head = app.send(app.request(Method::HEAD, &login.query)).await;
    assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn unknown_and_waiting_logins_have_different_codes() {
    let app = TestApp::start().await;
    for path in [
        "/login/x",
        "/login/00000000000000000000000000000000",
        "/login/00000000-0000-0000-0000-000000000000",
    ] {
        app.get(path).await.problem(404, "unknown_login");
        app.get(&format!("{path}?wait=20s"))
            .await
            .problem(404, "unknown_login");
    }
    let login = begin(&app).await;
    app.get(&format!("{}?wait=soon", login.query))
        .await
        .problem(400, "malformed_query");
    app.send(app.request(Method::POST, "/login?appid=wxunknown"))
        .await
        .problem(404, "unknown_app");
    assert_eq!(
        app.send(app.request(Method::GET, "/login"))
            .await
            .header("allow"),
        "POST, OPTIONS"
    );
}

#[tokio::test]
async fn a_login_is_for_the_first_app_by_default() {
    let app = TestApp::build(
        json!({ "apps": [{ "key": APP, "secret": "s" }, { "key": "wxsecond", "secret": "s2" }] }),
    );
    let app = app.sandbox(|options| {
        options.accounts = vec![
            (APP.to_owned(), "s".to_owned()),
            ("wxsecond".to_owned(), "s2".to_owned()),
        ]
    });
    let app = app.start().await;
    assert_eq!(begin(&app).await.at_wechat.matches(APP).count(), 1);
    let begun = app
        .send(app.request(Method::POST, "/login?appid=wxsecond"))
        .await;
    let answer: Value = serde_json::from_str(&begun.body).unwrap();
    assert_eq!(answer["app_id"], "wxsecond");
    let at_wechat = behind_qrcode(answer["qrcode_url"].as_str().unwrap());
    let callback = app
        .sandbox
        .visit(&at_wechat, "Alice", Answer::Agree)
        .unwrap();
    is_page(&Browser::new(&app).open(&callback).await, 200, "logged in");
    let told = app
        .get(&format!("/login/{}", answer["uuid"].as_str().unwrap()))
        .await
        .json();
    assert_eq!(told["app_id"], "wxsecond");
}

#[tokio::test]
async fn urls_use_the_public_address() {
    let app = TestApp::start().await;
    let request = app
        .request(Method::POST, "/login")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "wx.example.com");
    let answer: Value = serde_json::from_str(&app.send(request).await.body).unwrap();
    for name in ["query_url", "qrcode_url"] {
        assert!(
            answer[name]
                .as_str()
                .unwrap()
                .starts_with("https://wx.example.com/"),
            "{answer}"
        );
    }
    let public =
        TestApp::with(json!({ "server": { "publicUrl": "https://public.example.com/wx" } })).await;
    let answer: Value = serde_json::from_str(
        &public
            .send(public.request(Method::POST, "/login"))
            .await
            .body,
    )
    .unwrap();
    assert!(
        answer["query_url"]
            .as_str()
            .unwrap()
            .starts_with("https://public.example.com/wx/login/"),
        "{answer}"
    );
    assert!(
        answer["qrcode_url"]
            .as_str()
            .unwrap()
            .contains("public.example.com%25"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_second_person_is_refused() {
    let app = TestApp::start().await;
    let login = begin(&app).await;
    is_page(
        &scan(&app, &login, "Alice", Answer::Agree).await,
        200,
        "logged in",
    );
    let before = app.get(&login.query).await.json();
    is_page(
        &scan(&app, &login, "Mallory", Answer::Agree).await,
        400,
        "already",
    );
    is_page(
        &scan(&app, &login, "Alice", Answer::Agree).await,
        200,
        "logged in",
    );
    assert_eq!(app.get(&login.query).await.json(), before);
}

#[tokio::test]
async fn of_many_simultaneous_scans_one_logs_in() {
    let app = TestApp::start().await;
    let login = begin(&app).await;
    let names: Vec<String> = (0..20).map(|number| format!("visitor {number}")).collect();
    let pages = join_all(
        names
            .iter()
            .map(|name| scan(&app, &login, name, Answer::Agree)),
    )
    .await;
    let done: Vec<usize> = (0..20).filter(|at| pages[*at].status == 200).collect();
    assert_eq!(done.len(), 1);
    assert_eq!(pages.iter().filter(|page| page.status == 400).count(), 19);
    assert_eq!(
        app.get(&login.query).await.json()["user"]["nickname"].as_str(),
        Some(names[done[0]].as_str())
    );
}

#[tokio::test]
async fn a_repeated_scan_calls_wechat_once() {
    let app = TestApp::start().await;
    let login = begin(&app).await;
    app.sandbox
        .fault(Fault::delay(Duration::from_millis(200)).on(EXCHANGE));
    let callback = app
        .sandbox
        .visit(&login.at_wechat, "Alice", Answer::Agree)
        .unwrap();
    let phone = Browser::new(&app);
    let (first, second) = tokio::join!(phone.open(&callback), phone.open(&callback));
    is_page(&first, 200, "logged in");
    is_page(&second, 200, "logged in");
    is_page(&phone.open(&callback).await, 200, "logged in");
    assert_eq!(app.sandbox.calls(EXCHANGE), 1);
}

#[tokio::test]
async fn an_unknown_login_is_a_page_and_the_desktop_still_waits() {
    let app = TestApp::start().await;
    let login = begin(&app).await;
    is_page(
        &scan(&app, &login, "Alice", Answer::Refuse).await,
        400,
        "href",
    );
    is_page(
        &scan(&app, &login, "Alice", Answer::Snapshot).await,
        403,
        "snapshot",
    );
    assert!(
        scan(&app, &login, "Alice", Answer::Snapshot)
            .await
            .body
            .contains("使用完整服务")
    );
    for (fault, status) in [
        (Fault::errcode(40029, "invalid code"), 400),
        (Fault::errcode(-1, "system error"), 502),
        (Fault::reset(), 502),
    ] {
        app.sandbox.fault(fault.on(EXCHANGE).times(1));
        assert_eq!(
            scan(&app, &login, "Alice", Answer::Agree)
                .await
                .status
                .as_u16(),
            status
        );
    }
    let phone = Browser::new(&app);
    for path in [
        "/wechat/weblogin",
        "/wechat/weblogin?code=x",
        "/wechat/weblogin?state=00000000000000000000000000000000&code=x",
    ] {
        is_page(&phone.open(path).await, 400, "<h1>");
    }
    let callback = app
        .sandbox
        .visit(&login.at_wechat, "Alice", Answer::Agree)
        .unwrap();
    assert_eq!(
        phone.send(Method::HEAD, &callback).await.status,
        200,
        "a look logs nobody in"
    );
    app.get(&login.query).await.problem(404, "not_scanned_yet");
    is_page(&phone.open(&callback).await, 200, "logged in");
}

#[tokio::test]
async fn a_login_ends_after_an_hour() {
    let clock = Clock::manual(UnixMillis(Clock::system().wall().0));
    let app = TestApp::build(json!({})).clock(clock.clone()).start().await;
    let (early, late) = (begin(&app).await, begin(&app).await);
    clock.advance(Duration::from_secs(3590));
    is_page(
        &scan(&app, &early, "Alice", Answer::Agree).await,
        200,
        "logged in",
    );
    assert!(app.get(&early.query).await.json()["user"].is_object());
    clock.advance(Duration::from_secs(11));
    app.get(&early.query).await.problem(404, "unknown_login");
    is_page(
        &scan(&app, &late, "Alice", Answer::Agree).await,
        400,
        "<h1>",
    );
}

#[tokio::test]
async fn a_held_poll_is_answered_by_the_scan() {
    let app = TestApp::start().await;
    let login = begin(&app).await;
    let path = format!("{}?wait=25s", login.query);
    let begun = Instant::now();
    let (told, page) = tokio::join!(app.get(&path), async {
        app.get("/ping").await.json();
        scan(&app, &login, "Alice", Answer::Agree).await
    });
    is_page(&page, 200, "logged in");
    assert_eq!(told.json()["user"]["nickname"].as_str(), Some("Alice"));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        app.get(&path).await.json()["user"].is_object(),
        "and at once when it has happened"
    );
}

#[tokio::test]
async fn a_held_poll_times_out() {
    let app = TestApp::start().await;
    let login = begin(&app).await;
    let begun = Instant::now();
    app.get(&format!("{}?wait=300ms", login.query))
        .await
        .problem(404, "not_scanned_yet");
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(290) && took < Duration::from_secs(3),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_scan_at_one_instance_answers_the_poll_at_another() {
    let redis = RedisServer::start();
    let first = TestApp::with(json!({ "cache": { "redis": redis.url() } })).await;
    let same_wechat = json!({ "api": [first.sandbox.url()], "open": first.sandbox.url() });
    let second =
        TestApp::with(json!({ "cache": { "redis": redis.url() }, "wechat": same_wechat })).await;
    let login = begin(&first).await;
    let path = format!("{}?wait=25s", login.query);
    let begun = Instant::now();
    let (told, page) = tokio::join!(
        second.get(&path),
        scan(&first, &login, "Alice", Answer::Agree)
    );
    is_page(&page, 200, "logged in");
    assert_eq!(told.json()["user"]["nickname"].as_str(), Some("Alice"));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_stopping_server_ends_its_polls() {
    let app = TestApp::with(json!({ "server": { "shutdownGrace": "10s" } })).await;
    let login = begin(&app).await;
    let request = app.request(Method::GET, &format!("{}?wait=25s", login.query));
    let poll = tokio::spawn(async move { Response::of(request.send().await.unwrap()).await });
    // The poll has arrived as soon as requests of later connections are answered, on each worker.
    for _ in 0..20 {
        let ping = app
            .request(Method::GET, "/ping")
            .header("connection", "close");
        assert_eq!(ping.send().await.unwrap().status(), 200);
    }
    let begun = Instant::now();
    app.stop().await;
    poll.await.unwrap().problem(404, "not_scanned_yet");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}
