//! `jsdkd.scan` of `static/jsdkd.js` in a real browser: its code can be scanned, transient errors
//! are retried, and permanent ones are reported.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::Instant;

use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use sandbox::Answer;
use serde_json::{Value, json};

use crate::support::app::{APP, TestApp, config_of};
use crate::support::devtools::{Devtools, Tab};
use crate::support::page::{HELPER, Serving, site};

/// A page's script that scans with `options` and records its callbacks.
fn scanning(options: &str) -> String {
    format!(
        "document.body.appendChild(document.createElement('p')).id = 'qr';
         var heard = [], outcome;
         var login = jsdkd.scan({{ element: '#qr', onstate: function (state, more) {{ heard.push(state + (more ? ' ' + more.app_id : '')); }}, {options} }});
         login.then(function (got) {{ outcome = {{ got: got }}; }}, function (e) {{ outcome = {{ code: e.code, message: e.message }}; }});"
    )
}

async fn outcome(tab: &Tab<'_>) -> Value {
    tab.until("window.outcome").await
}

/// The picture, once it is loaded.
const SHOWN: &str = "(function (picture) { return picture && picture.complete && picture.naturalWidth > 0 && picture.src; })\
                     (document.querySelector('#qr img'))";

/// Reads the code in a screenshot as a phone does.
fn read(screen: &[u8]) -> String {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(screen));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a small picture")];
    let info = reader.next_frame(&mut pixels).expect("a whole PNG");
    let (width, height, samples) = (
        info.width as usize,
        info.height as usize,
        info.color_type.samples(),
    );
    let mut picture = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
        pixels[(y * width + x) * samples]
    });
    let codes = picture.detect_grids();
    assert_eq!(codes.len(), 1, "codes on the screen");
    codes[0].decode().expect("a code that can be read").1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_scans_the_code_of_another_origins_page() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let app = TestApp::with(json!({ "cors": ["example\\.com"] })).await;
    let (port, _serving) = site(
        &format!("{}/jsdkd.js", app.url),
        &scanning(&format!("appid: '{APP}'")),
    );
    let tab = browser.tab().await;
    tab.go(&format!("http://shop.example.com:{port}/")).await;
    tab.until(SHOWN).await;
    let picture = tab.value("(function (p) { return [p.alt, p.width, p.height]; })(document.querySelector('#qr img'))").await;
    assert_eq!(
        picture,
        json!(["微信扫码登录 Scan with WeChat to log in", 240, 240])
    );

    let authorize = read(&tab.picture("#qr img").await);
    // The person who scanned has to confirm, because a page began the login.
    let phone = browser.tab().await;
    phone
        .go(&app
            .sandbox
            .visit(&authorize, "小红", Answer::Agree)
            .unwrap())
        .await;
    let named = phone
        .until("document.querySelector('h1 bdi') && document.querySelector('h1 bdi').innerText")
        .await;
    assert_eq!(named, format!("http://shop.example.com:{port}"));
    phone.press("button[value=yes]").await;
    let came = outcome(&tab).await;
    assert_eq!(
        (&came["got"]["user"]["nickname"], &came["got"]["app_id"]),
        (&json!("小红"), &json!(APP)),
        "{came}"
    );
    assert_eq!(came["got"]["uuid"].as_str().map(str::len), Some(32));
    assert_eq!(
        tab.value("heard").await,
        json!(["loading", format!("waiting {APP}")])
    );
    assert_eq!(
        tab.value("document.querySelector('#qr').innerHTML").await,
        "",
        "an old code invites nobody"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn permanent_errors_reject_with_the_servers_message() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let app = TestApp::with(json!({ "login": { "confirm": true } })).await;
    let tab = browser.tab().await;
    let (port, _serving) = site(
        &format!("{}/jsdkd.js", app.url),
        &scanning("appid: 'wxnobody'"),
    );
    tab.go(&format!("http://localhost:{port}/")).await;
    let came = outcome(&tab).await;
    assert_eq!(came["code"], "unknown_app");
    assert!(
        came["message"]
            .as_str()
            .is_some_and(|message| message.contains("no app of this appid")),
        "{came}"
    );

    // Without an account the first one is used.
    let (port, _serving) = site(
        &format!("{}/jsdkd.js", app.url),
        &scanning("size: 300, alt: 'QR'"),
    );
    tab.go(&format!("http://localhost:{port}/")).await;
    tab.until(SHOWN).await;
    assert_eq!(
        tab.value("document.querySelector('#qr img').alt").await,
        "QR"
    );
    let authorize = read(&tab.picture("#qr img").await);
    let phone = browser.tab().await;
    phone
        .go(&app
            .sandbox
            .visit(&authorize, "Alice", Answer::Agree)
            .unwrap())
        .await;
    phone.press("button[value=no]").await;
    assert_eq!(outcome(&tab).await["code"], "login_declined");

    let (port, _serving) = site(
        &format!("{}/jsdkd.js", app.url),
        &scanning("element: '#elsewhere'"),
    );
    tab.go(&format!("http://localhost:{port}/")).await;
    assert_eq!(outcome(&tab).await["code"], "no_element");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unlisted_sites_page_shows_no_code() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let app = TestApp::start().await;
    let (port, _serving) = site(&format!("{}/jsdkd.js", app.url), &scanning(""));
    let tab = browser.tab().await;
    tab.go(&format!("http://shop.example.com:{port}/")).await;
    let came = outcome(&tab).await;
    assert_eq!(came["code"], "origin_not_allowed");
    assert!(
        came["message"]
            .as_str()
            .is_some_and(|message| message.contains("login.sites")),
        "{came}"
    );
    // A form does its harm without a readable answer.
    tab.value(&format!("var f = document.createElement('form'); f.method = 'post'; f.action = '{}/login'; document.body.appendChild(f); f.submit()", app.url)).await;
    let told = tab
        .until("location.pathname === '/login' && document.body.innerText")
        .await;
    assert!(
        told.as_str()
            .is_some_and(|told| told.contains("origin_not_allowed")),
        "{told}"
    );

    let listed = json!({ "login": { "sites": [format!("http://shop.example.com:{port}")] }, "cors": ["other\\.example\\.com"] });
    app.reloader.apply(config_of(&app.sandbox, listed));
    tab.go(&format!("http://shop.example.com:{port}/")).await;
    tab.until(SHOWN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_errors_are_retried_and_old_codes_replaced() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let desk = Desk::serve(vec![
        (429, "2", r#"{"code":"too_many_logins"}"#),
        (500, "", "<h1>Oops</h1>"),
        (201, "", "first"),
        (503, "1", r#"{"code":"store_unavailable"}"#),
        (404, "", r#"{"code":"not_scanned_yet"}"#),
        (404, "", r#"{"code":"unknown_login"}"#),
        (201, "", "second"),
        (200, "", "<h1>Welcome to this station's network</h1>"),
        (200, "", r#"{"user":{"nickname":"小明"},"uuid":"second"}"#),
    ]);
    let tab = browser.tab().await;
    tab.go(&desk.home).await;
    assert_eq!(outcome(&tab).await["got"]["uuid"], "second");
    let heard =
        "loading retrying loading retrying loading waiting retrying loading waiting retrying";
    assert_eq!(
        tab.value("heard.map(function (state) { return state.split(' ')[0]; }).join(' ')")
            .await,
        heard
    );

    let asked = desk.told.asked.lock().unwrap();
    let paths: Vec<&str> = asked.iter().map(|(path, _)| path.as_str()).collect();
    let (post, first, second) = (
        "POST /desk/login",
        "GET /desk/login/first?wait=25s",
        "GET /desk/login/second?wait=25s",
    );
    assert_eq!(
        paths,
        [post, post, post, first, first, first, post, second, second]
    );
    let pauses: Vec<u64> = asked
        .windows(2)
        .map(|two| two[1].1.duration_since(two[0].1).as_secs())
        .collect();
    assert!(pauses[0] >= 2, "Retry-After counts: {pauses:?}");
    assert!(
        pauses[1] >= 1 && pauses[3] >= 1 && pauses[5] >= 1 && pauses[7] >= 1,
        "nobody is asked without a pause: {pauses:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_may_cancel() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let desk = Desk::serve(vec![(201, "", "first")]);
    let tab = browser.tab().await;
    tab.go(&desk.home).await;
    tab.until(SHOWN).await;
    tab.value("login.cancel()").await;
    assert_eq!(outcome(&tab).await["code"], "cancelled");
    assert_eq!(
        tab.value("document.querySelector('#qr').innerHTML").await,
        ""
    );
}

/// A server beside a page that gives prepared answers in order and records the requests.
struct Desk {
    home: String,
    told: Data<Told>,
    _serving: Serving,
}

struct Told {
    answers: Mutex<VecDeque<Answering>>,
    asked: Mutex<Vec<(String, Instant)>>,
    pictures: Mutex<usize>,
}

/// Status, `Retry-After`, and the body; for a new login only its uuid.
type Answering = (u16, &'static str, &'static str);

impl Desk {
    fn serve(answers: Vec<Answering>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let home = format!(
            "http://desk.example.com:{}/",
            listener.local_addr().unwrap().port()
        );
        let told = Data::new(Told {
            answers: Mutex::new(answers.into()),
            asked: Mutex::default(),
            pictures: Mutex::default(),
        });
        let shared = told.clone();
        let app = move || {
            App::new()
                .app_data(shared.clone())
                .default_service(web::to(answer))
        };
        let server = HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .listen(listener)
            .unwrap()
            .run();
        let serving = Serving(server.handle());
        tokio::spawn(server);
        Self {
            home,
            told,
            _serving: serving,
        }
    }
}

async fn answer(request: HttpRequest, told: Data<Told>) -> HttpResponse {
    let path = request.path();
    if path.starts_with("/desk/qrcode/") {
        let mut pictures = told.pictures.lock().unwrap();
        *pictures += 1;
        // The first one is lost.
        if *pictures == 1 {
            return HttpResponse::BadGateway().finish();
        }
        let picture = r#"<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0h9v9z"/></svg>"#;
        return HttpResponse::Ok()
            .content_type("image/svg+xml")
            .body(picture);
    }
    if !path.starts_with("/desk/") {
        let script = scanning("server: '/desk/'");
        let page = format!(
            "<!doctype html><meta charset=utf-8><body><script>{HELPER}</script><script>{script}</script>"
        );
        return HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .body(page);
    }
    told.asked.lock().unwrap().push((
        format!("{} {}", request.method(), request.uri()),
        Instant::now(),
    ));
    let next = told.answers.lock().unwrap().pop_front();
    let Some((status, retry_after, body)) = next else {
        return std::future::pending().await;
    };
    let mut response = HttpResponse::build(status.try_into().unwrap());
    if !retry_after.is_empty() {
        response.insert_header(("retry-after", retry_after));
    }
    if status == 201 {
        let (query, qrcode) = (
            format!("/desk/login/{body}"),
            format!("/desk/qrcode/{body}?unescape=true"),
        );
        return response.json(json!({ "uuid": body, "query_url": query, "qrcode_url": qrcode }));
    }
    response.body(body)
}
