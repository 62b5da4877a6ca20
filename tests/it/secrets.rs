//! Plants marker secrets, causes every failure, and asserts that no output contains a marker,
//! except for the one answer that is a credential.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use clock::Clock;
use credentials::store::{FileStore, MemoryStore, Record, Records};
use reqwest::Method;
use sandbox::{Answer, Effect, Fault};
use secrecy::SecretString;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;
use wechat::account::TokenApi;

use crate::support::app::{APP, REALM, Response, TestApp, config_of, now_ms, signed_v1, signed_v2};
use crate::support::backend::Backend;
use crate::support::deliveries;
use crate::support::keepers::{World, account, client, dead_address, eventually};
use crate::support::process;
use crate::support::service::Service;
use crate::support::visitor::{Browser, parameter, returned, signed};
use crate::{hub, scan_login};

/// Markers of this file only, so that other tests' values are not mistaken for them.
const APP_MARKER: &str = "marker-app-secret-77f1";
const REALM_MARKER: &str = crate::support::app::REALM_SECRET;
const PUSH_MARKER: &str = "marker-push-token-77f2";
const TOKEN_MARKER: &str = "marker-access-token-77f3";
const TICKET_MARKER: &str = "marker-jsapi-ticket-77f4";
const REFUSED_MARKER: &str = "marker-refused-value-77f5";

/// Everything logged in this process, by any test, at any level of ours and at `debug` of the
/// libraries.
fn logs() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        let filter = tracing_subscriber::EnvFilter::new("debug,jsdkd=trace");
        let lines = tracing_subscriber::fmt()
            .json()
            .with_env_filter(filter)
            .with_writer(log.clone())
            .finish();
        tracing::subscriber::set_global_default(lines).expect("no other test listens to the logs");
        log
    })
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Asserts that `text` contains no secret; `values` are credentials that WeChat granted meanwhile.
#[track_caller]
fn assert_silent(place: &str, text: &str, values: &[String]) {
    let markers = [
        APP_MARKER,
        REALM_MARKER,
        PUSH_MARKER,
        TOKEN_MARKER,
        TICKET_MARKER,
        REFUSED_MARKER,
    ];
    for secret in markers.into_iter().chain(values.iter().map(String::as_str)) {
        if let Some(at) = text.find(secret) {
            let (from, to) = (
                text.floor_char_boundary(at.saturating_sub(300)),
                text.ceil_char_boundary((at + 300).min(text.len())),
            );
            panic!("{place} shows {secret}: …{}…", &text[from..to]);
        }
    }
}

/// Asserts that an answer without a credential has no secret in its head or body.
#[track_caller]
fn assert_answer_silent(place: &str, answer: &Response, values: &[String]) {
    assert_silent(
        place,
        &format!("{:?}\n{}", answer.headers(), answer.body),
        values,
    );
}

fn settings() -> Value {
    json!({
        "apps": [{ "key": APP, "secret": APP_MARKER, "token": PUSH_MARKER }],
        "server": { "accessLog": true },
        "wechat": { "timeout": "1s" },
    })
}

async fn start(over: Value) -> TestApp {
    logs();
    let mut settings = settings();
    for (name, value) in over.as_object().cloned().unwrap_or_default() {
        settings[name] = value;
    }
    TestApp::build(settings)
        .sandbox(|sandbox| sandbox.accounts[0].1 = APP_MARKER.to_owned())
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wechat_error_shows_a_secret() {
    let echo = |secret: &str| {
        Fault::errcode(
            40125,
            &format!("invalid appsecret {secret} for https://x/?secret={secret}&a=b"),
        )
    };
    let faults = vec![
        Fault::errcode(-1, "system error"),
        Fault::hang(),
        Fault::reset(),
        Fault::garbage(),
        Fault::html(502),
        Fault::half_body(),
        Fault::empty_token(),
        Fault::expires_in(-1),
        Effect {
            status: Some(500),
            errcode: Some(40164),
            ..Effect::default()
        }
        .into(),
    ];
    for path in ["/cgi-bin/token", "/cgi-bin/ticket/getticket"] {
        // Only the token's call sends the app's secret.
        let echoed = (path == "/cgi-bin/token").then(|| echo(APP_MARKER));
        for fault in faults.iter().chain(&echoed) {
            let app = start(json!({})).await;
            app.sandbox.fault(fault.clone().on(path));
            let place = format!("{fault:?} on {path}");
            for answer in [
                app.query("ticket").await,
                app.query("ticket").await,
                app.config(json!({ "url": format!("https://example.com/?s={}", "x") }))
                    .await,
                app.query("card_ticket").await,
            ] {
                assert!(answer.status.is_server_error(), "{place}: {}", answer.body);
                let token = app.sandbox.current_token(APP);
                assert_answer_silent(&place, &answer, &token.into_iter().collect::<Vec<_>>());
            }
            let granted: Vec<_> = app
                .sandbox
                .current_token(APP)
                .into_iter()
                .chain(app.sandbox.current_ticket(APP))
                .collect();
            app.stop().await;
            assert_silent(&place, &logs().text(), &granted);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_tickets_refusal_is_removed() {
    let end = Clock::system().wall().seconds().0 + 3600;
    let memo =
        json!({ "memo": { format!("{APP}.token"): { "value": TOKEN_MARKER, "__expires": end } } });
    let app = start(json!({ "cache": memo })).await;
    app.sandbox.fault(
        Fault::errcode(
            48001,
            &format!("api unauthorized, access_token={TOKEN_MARKER}"),
        )
        .on("/cgi-bin/ticket/getticket"),
    );
    let answer = app.query("ticket").await;
    answer.problem(502, "upstream_refused");
    assert_answer_silent("a refusal", &answer, &[]);
    assert_answer_silent("a remembered refusal", &app.query("ticket").await, &[]);
    app.stop().await;
    assert_silent("the log", &logs().text(), &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_query_answers_have_a_credential() {
    let app = start(json!({})).await;
    let (token, ticket) = (app.value("token").await, app.value("ticket").await);
    let card = app.value("card_ticket").await;
    let rotated = app.rotate("token", &token).await.json()["value"]
        .as_str()
        .expect("a value")
        .to_owned();
    app.rotate("token", REFUSED_MARKER).await.json();
    let secrets = [token.clone(), ticket, card, rotated];
    let query = app.query("token").await;
    assert_eq!(query.header("cache-control"), "no-store");
    assert_silent(
        "the head of a query's answer",
        &format!("{:?}", query.headers()),
        &secrets,
    );
    for answer in [
        app.config(json!({ "url": "https://example.com/", "debug": true }))
            .await,
        app.config_text("not json").await,
        app.get("/").await,
        app.get("/ping").await,
        app.get("/no/such/page").await,
        app.get(&format!(
            "/jsapi/{APP}/config?url=https%3A%2F%2Fexample.com%2F"
        ))
        .await,
    ] {
        assert_answer_silent("an answer without a credential", &answer, &secrets);
    }
    app.stop().await;
    assert_silent("the log", &logs().text(), &secrets);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_refused_query_shows_a_valid_signature() {
    let app = start(json!({})).await;
    let token = app.value("token").await;
    let spoiled = signed_v2("GET", APP, &[("rotate", REFUSED_MARKER)]).replace("n-1", "n-2");
    let old = format!("/jsapi/{APP}/query?realm={REALM}&nonce=n-1&ts=1589203758000&sign=");
    let old_sign = wechat::signature::realm_v1(REALM, "n-1", "1589203758000", REALM_MARKER).text();
    let right_sign = wechat::signature::realm_v1(REALM, "n-9", &now_ms(), REALM_MARKER).text();
    let posted = app.request(Method::POST, &signed_v1(APP, "key=token&"));
    for answer in [
        app.get(&spoiled).await,
        app.get(&format!("{old}{old_sign}")).await,
        app.get(&format!("{old}{right_sign}")).await,
        app.get(&signed_v1("wx-unknown-app", "")).await,
        app.get(&signed_v1(APP, "key=nonsense&")).await,
        app.get(&format!("/jsapi/{APP}/query")).await,
        app.get(&format!(
            "/jsapi/{APP}/query?rotate={REFUSED_MARKER}&secret={APP_MARKER}"
        ))
        .await,
        app.send(posted).await,
    ] {
        assert!(answer.status.is_client_error(), "{}", answer.body);
        assert_answer_silent("a refusal", &answer, std::slice::from_ref(&token));
    }
    app.stop().await;
    assert_silent("the log", &logs().text(), &[token]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_shows_no_keys_and_no_tokens() {
    let key = "marker-hub-key-of-at-least-32-bytes-77f9";
    let app = start(json!({ "hub": { "keys": { "k1": key } } })).await;
    let token = hub::made(
        &json!({ "alg": "HS256", "kid": "k1" }),
        &json!({ "aud": "wechat-token-hub" }),
        key,
    );
    let value = hub::ask(&app, "/access-token", &token).await;
    let carried = [key.to_owned(), token.clone(), value.body.clone()];
    assert_silent(
        "the head of an answer",
        &format!("{:?}", value.headers()),
        &carried,
    );
    app.sandbox
        .fault(Fault::errcode(-1, &format!("no {}", value.body)).on("/cgi-bin/ticket/getticket"));
    let spoiled = format!("{token}x");
    for (path, token) in [
        ("/access-token", &spoiled),
        ("/ticket?type=jsapi", &token),
        ("/ticket?type=jsapi", &token),
        (&format!("/ticket?type={REFUSED_MARKER}"), &token),
        (
            &format!("/access-token?rotate_token={REFUSED_MARKER}&rotate_token=b"),
            &token,
        ),
        ("/hub/wx-unknown/ticket", &token),
    ] {
        let answer = hub::ask(&app, path, token).await;
        assert!(!answer.status.is_success(), "{path}: {}", answer.body);
        assert_answer_silent(path, &answer, &carried);
    }
    assert_eq!(
        hub::ask(
            &app,
            &format!("/access-token?rotate_token={REFUSED_MARKER}"),
            &token
        )
        .await
        .body,
        value.body
    );
    app.stop().await;
    assert_silent("the log", &logs().text(), &carried);
}

/// The virtual secret of a realm that may call through the gateway.
const VIRTUAL_MARKER: &str = "marker-virtual-secret-of-32-77f6";

/// What callers send in queries and bodies, which no log line may have.
const VISITOR_MARKER: &str = "marker-openid-77f7";

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_shows_no_secret_and_no_token_but_its_own() {
    let all = ["all", "/cgi-bin/clear_quota/v2"];
    let realm = json!({ "key": "shop", "secret": VIRTUAL_MARKER, "apps": [APP], "gateway": all });
    let over = json!({ "realms": [realm], "gateway": { "timeout": "1s", "keepWhole": "1kb" } });
    let app = start(over).await;
    let ask = format!("/cgi-bin/token?grant_type=client_credential&appid={APP}");
    let answer = app.get(&format!("{ask}&secret={VIRTUAL_MARKER}")).await;
    let virtual_token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_silent("a token", &answer.body, &[VIRTUAL_MARKER.to_owned()]);
    let call = format!("/cgi-bin/user/info?openid={VISITOR_MARKER}&access_token={virtual_token}");
    app.get(&call).await.json();
    let real = app.sandbox.current_token(APP).expect("a real token");
    let hidden = [VIRTUAL_MARKER, VISITOR_MARKER, &virtual_token, &real].map(str::to_owned);

    let swap = format!("/sns/jscode2session?appid={APP}&js_code={VISITOR_MARKER}");
    for path in [
        format!("{ask}&secret={VIRTUAL_MARKER}x"),
        format!("{ask}&secret={APP_MARKER}"),
        format!("{ask}x&secret={VIRTUAL_MARKER}"),
        format!("/cgi-bin/token?appid={APP}&secret={VIRTUAL_MARKER}"),
        format!("/cgi-bin/gettoken?corpid={APP}&corpsecret={VIRTUAL_MARKER}"),
        format!("/cgi-bin/user/info?access_token={virtual_token}x"),
        format!("/cgi-bin/user/info?access_token={real}"),
        format!("/cgi-bin/user/info?access_token={real}&access_token={virtual_token}"),
        format!("/cgi-bin/menu/delete?access_token={virtual_token}"),
        format!("/cgi-bin/%2e/x?access_token={virtual_token}"),
        format!("/sns/userinfo?access_token={virtual_token}&openid={VISITOR_MARKER}"),
        format!("{swap}&secret={VIRTUAL_MARKER}"),
        format!("{swap}&secret={APP_MARKER}"),
        format!("{swap}&secret={VIRTUAL_MARKER}&access_token={virtual_token}"),
    ] {
        let answer = app.get(&path).await;
        assert_answer_silent("an answer", &answer, &hidden);
    }
    let quota = json!({ "appid": APP, "appsecret": VIRTUAL_MARKER });
    let nested = json!({ "appid": APP, "appsecret": VIRTUAL_MARKER, "x": [VIRTUAL_MARKER] });
    for body in [
        quota,
        nested,
        json!({ "appid": APP, "appsecret": APP_MARKER }),
    ] {
        let request = app.request(Method::POST, "/cgi-bin/clear_quota/v2");
        let answer = app.send(request.body(body.to_string())).await;
        assert_answer_silent("an answer", &answer, &hidden);
    }

    let echo = format!("for https://x/?access_token={real}&secret={APP_MARKER}");
    for fault in [
        Fault::errcode(40001, &echo),
        Fault::errcode(40164, &format!("invalid ip 203.0.113.9 {echo}")),
        Fault::errcode(48001, &format!("{echo} rid: 1-2-3")),
        Fault::hang(),
        Fault::reset(),
        Fault::garbage(),
        Fault::half_body(),
        Fault::html(502),
    ] {
        for path in ["/cgi-bin/user/info", "/sns/jscode2session"] {
            app.sandbox.clear_faults();
            app.sandbox.fault(fault.clone().on(path));
            let place = format!("{fault:?} on {path}");
            let asked = match path {
                "/sns/jscode2session" => format!("{swap}&secret={VIRTUAL_MARKER}"),
                _ => call.clone(),
            };
            assert_answer_silent(&place, &app.get(&asked).await, &hidden);
        }
        let upload = format!("/cgi-bin/media/upload?type=image&access_token={virtual_token}");
        app.sandbox.fault(fault.on("/cgi-bin/media/upload"));
        let body = VISITOR_MARKER.repeat(1000);
        let answer = app
            .send(app.request(Method::POST, &upload).body(body))
            .await;
        assert_answer_silent("an upload", &answer, &hidden);
    }
    let current = app.sandbox.current_token(APP).expect("a real token");
    app.stop().await;
    let log = logs().text();
    assert!(log.contains("jsdkd::audit") && log.contains("leaked to this caller"));
    assert_silent("the log", &log, &[&hidden[..], &[current]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn checking_the_settings_of_the_gateway_shows_no_secret() {
    let folder = process::folder();
    let realm = |secret: &str, gateway: Value| json!({ "key": "shop", "secret": secret, "apps": [APP], "gateway": gateway });
    let twin =
        json!({ "key": "twin", "secret": VIRTUAL_MARKER, "apps": [APP], "gateway": ["read"] });
    for realms in [
        json!([realm(VIRTUAL_MARKER, json!(["read", "messages"]))]),
        json!([realm(VIRTUAL_MARKER, json!(["nonsense"])), twin]),
        json!([realm(APP_MARKER, json!(["read"]))]),
        json!([realm("marker-short-77f8", json!(["/cgi-bin/*"]))]),
    ] {
        let mut settings = process::settings("http://127.0.0.1:9", json!({ "realms": realms }));
        settings["apps"][0]["secret"] = json!(APP_MARKER);
        process::write_settings(folder.path(), &settings);
        for arguments in [&["check"][..], &["check", "--strict"]] {
            let ended = process::run(folder.path(), arguments, &[]).await;
            let said = ended.out + &ended.err;
            assert!(said.contains("shop") || said.contains("realms["), "{said}");
            let more = [VIRTUAL_MARKER, "marker-short-77f8"].map(str::to_owned);
            assert_silent("jsdkd check", &said, &more);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_store_error_shows_a_secret() {
    let directory = tempfile::tempdir().expect("a folder");
    let folder = directory.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("cache.json");
    // A damaged file full of secrets is moved aside and reported.
    std::fs::write(
        &path,
        format!("{{\"{APP}.token\":{{\"value\":\"{TOKEN_MARKER}\",\"__exp: {TICKET_MARKER}"),
    )
    .unwrap();
    let app = start(json!({ "cache": { "file": path } })).await;
    std::fs::remove_dir_all(&folder).unwrap();
    let token = app.value("token").await;
    let answer = app.config(json!({ "url": "https://example.com/" })).await;
    assert_answer_silent(
        "served without the file",
        &answer,
        std::slice::from_ref(&token),
    );
    app.stop().await;
    let log = logs().text();
    assert!(
        log.contains("moved aside") && log.contains("the store fails"),
        "both were reported"
    );
    assert_silent("the log", &log, &[token]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_debug_output_shows_a_secret() {
    logs();
    let world = World::new(Clock::system()).await;
    let mut marked = account(TokenApi::Basic);
    marked.secret = SecretString::from(APP_MARKER);
    marked.push_token = Some(SecretString::from(PUSH_MARKER));
    let record = Record {
        value: SecretString::from(TOKEN_MARKER),
        expires_at: world.clock.wall().plus(Duration::from_secs(60)),
    };
    let memory = MemoryStore::new(
        BTreeMap::from([(format!("{APP}.token"), record.clone())]),
        Clock::system(),
    );
    let directory = tempfile::tempdir().expect("a folder");
    let file =
        FileStore::open(&directory.path().join("cache.json"), Clock::system()).expect("a file");
    file.put(&format!("{APP}.token"), &record)
        .await
        .expect("written");
    let config = config_of(&world.sandbox, settings());
    let instance = world.instance_of(Arc::new(memory), marked.clone(), Default::default());
    let credentials = instance.keeper.credentials(APP).expect("the usual account");
    let cached = credentials
        .credential(wechat::credential::CredentialKind::AccessToken)
        .get()
        .await
        .expect("held");
    let refused = client(&[&dead_address()])
        .access_token(&marked, false)
        .await
        .expect_err("nobody listens");
    let another = MemoryStore::new(
        BTreeMap::from([("k".to_owned(), record.clone())]),
        Clock::system(),
    );
    for (place, shown) in [
        ("an account", format!("{marked:?}")),
        ("a record", format!("{record:?}")),
        ("a memory store", format!("{another:?}")),
        ("a file store", format!("{file:?}")),
        ("a config", format!("{config:?} {config:#?}")),
        ("a cached copy", format!("{cached:?}")),
        (
            "an account's credentials",
            format!("{credentials:?} {:#?}", credentials),
        ),
        ("an error", format!("{refused:?} {refused}")),
        ("a sandbox", format!("{:?}", world.sandbox)),
    ] {
        assert_silent(place, &shown, &[]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_and_failures_are_logged_by_account_and_kind() {
    let app = start(json!({})).await;
    app.sandbox
        .fault(Fault::errcode(-1, "system error").times(1));
    app.query("card_ticket")
        .await
        .problem(502, "upstream_refused");
    eventually("it comes", async || {
        app.query("card_ticket").await.status == 200
    })
    .await;
    app.stop().await;
    let log = logs().text();
    let line = |message: &str, kind: &str| {
        let kind = format!("\"credential.kind\":\"{kind}\"");
        log.lines()
            .any(|line| line.contains(message) && line.contains(&kind) && line.contains(APP))
    };
    assert!(
        line("a renewal failed", "token"),
        "renewals and refusals are logged always"
    );
    assert!(line("renewed", "token") && line("renewed", "card_ticket"));
    assert_silent("the log", &log, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_login_shows_its_values() {
    let oauth = json!({ "redirects": ["https://shop.example.com/"] });
    let apps = json!([{ "key": APP, "secret": APP_MARKER, "token": PUSH_MARKER, "oauth": oauth }]);
    let app = start(json!({ "apps": apps })).await;
    let mut carried = Vec::new();
    let query = "redirect=https%3A%2F%2Fshop.example.com%2F&scope=snsapi_userinfo";
    let exchange = "/sns/oauth2/access_token";
    for fault in [
        Fault::errcode(40125, &format!("invalid appsecret {APP_MARKER}")).on(exchange),
        Fault::errcode(40029, "invalid code").on(exchange),
        Fault::hang().on(exchange),
        Fault::html(502).on("/sns/userinfo"),
        Fault::reset().on("/sns/userinfo"),
    ] {
        app.sandbox.fault(fault.times(1));
        let browser = Browser::new(&app);
        let callback = browser.at_wechat(APP, query, "Alice", Answer::Agree).await;
        carried.extend([
            parameter(&callback, "code").unwrap(),
            parameter(&callback, "state").unwrap(),
        ]);
        carried.push(
            browser
                .cookie()
                .unwrap()
                .split_once('=')
                .unwrap()
                .1
                .to_owned(),
        );
        let page = browser.open(&callback).await;
        assert!(
            !page.status.is_success() && !page.status.is_redirection(),
            "{}",
            page.body
        );
        assert_answer_silent("a page", &page, &carried);
        assert_answer_silent(
            "another browser's page",
            &Browser::new(&app).open(&callback).await,
            &carried,
        );
    }
    let done = Browser::new(&app)
        .trip(APP, query, "Alice", Answer::Agree)
        .await;
    carried.push(returned(&done, "ticket").unwrap());
    app.get(&signed(
        "GET",
        &format!("/oauth/{APP}/user"),
        &[("ticket", "x")],
    ))
    .await
    .problem(404, "unknown_ticket");

    let login = scan_login::begin(&app).await;
    carried.push(login.uuid.clone());
    app.sandbox
        .fault(Fault::errcode(-1, "system error").on(exchange).times(1));
    let page = scan_login::scan(&app, &login, "Alice", Answer::Agree).await;
    assert_answer_silent("a phone's page", &page, &carried);
    assert_answer_silent("a poll", &app.get(&login.query).await, &carried);
    app.get(&format!("/qrcode/{}%", login.uuid))
        .await
        .problem(400, "invalid_text");
    app.stop().await;
    assert_silent("the log", &logs().text(), &carried);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_source_shows_its_secrets() {
    let secrets = [
        "marker-url-key-77f9",
        "marker-args-secret-77fa",
        "marker-header-77fb",
        "marker-body-77fc",
        "marker-granted-77fd",
    ];
    let [url_key, args, header, body, granted] = secrets;
    let grant = json!({ "access_token": granted, "expires_in": 7200 }).to_string();
    let service = Service::start(move |_, _| (200, grant.clone()));
    let sources = json!({
        "good": { "url": format!("{}/?key={url_key}", service.url), "args": { "secret": args } },
        "bad": { "url": format!("{}/?key={url_key}", service.url), "method": "POST", "headers": { "x-key": header },
                 "args": { "secret": args, "token": "{{results.good.access_token}}" }, "body": { "deep": [body] } },
        "away": { "url": format!("{}/?key={url_key}", dead_address()), "args": { "secret": args } },
        "broken": { "url": service.url, "headers": { "x-key": format!("{header}\n") } },
    });
    let app = start(json!({ "sources": sources })).await;
    let silent = secrets.map(str::to_owned);
    let good = app.get("/token?name=good").await;
    assert!(good.json()["access_token"] == granted);
    assert_silent("a head", &format!("{:?}", good.headers()), &silent);
    assert_answer_silent("no connection", &app.get("/token?name=away").await, &silent);
    assert_answer_silent(
        "a bad header",
        &app.get("/token?name=broken").await,
        &silent,
    );
    let echo = format!("{url_key} is {args} {header} {body} {granted}");
    for answer in [
        json!({ "errcode": 40013, "errmsg": echo }),
        json!({ "errcode": echo }),
        json!({ "error": echo }),
        json!([echo]),
    ] {
        service.order(move |_, _| (200, answer.to_string()));
        app.reloader
            .apply(config_of(&app.sandbox, json!({ "sources": sources })));
        for _ in 0..2 {
            let answer = app.get("/token?name=bad").await;
            assert!(answer.status.is_server_error(), "{}", answer.body);
            assert_answer_silent("a refusal", &answer, &silent);
        }
    }
    let config = config_of(&app.sandbox, json!({ "sources": sources }));
    assert_silent("a config", &format!("{config:?} {config:#?}"), &silent);
    app.stop().await;
    assert_silent("the log", &logs().text(), &silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_created_app_shows_its_secrets() {
    let silent = [
        "marker-new-secret-77fe",
        "marker-new-token-77ff",
        "marker-code-7700",
        "marker-user-7701",
        deliveries::AES_KEY,
    ];
    let [secret, token, code, user, aes_key] = silent;
    let silent = silent.map(str::to_owned);
    let folder = tempfile::tempdir().unwrap();
    let app =
        start(json!({ "wetoken": {}, "cache": { "file": folder.path().join("cache.json") } }))
            .await;
    let create = |more: &str| {
        format!(
            "/wechat/app/create?secret={secret}&token={token}&aesKey={aes_key}&wcode_template_id=T1&appid=wx-made{more}"
        )
    };
    for more in [
        "",
        "",
        "&appid=x",
        "%20",
        &format!("&aesKey={aes_key}"),
        "&secret=x",
    ] {
        assert_answer_silent("a new app", &app.get(&create(more)).await, &silent);
    }
    let send = format!("/wx/wx-made/wxcode/send?user_name={user}&system_name=s&code={code}");
    for fault in [
        Fault::errcode(40013, &format!("invalid appid {secret}")),
        Fault::garbage(),
        Fault::reset(),
        Fault::html(502),
    ] {
        app.sandbox.fault(fault.times(1));
        app.reloader
            .apply(config_of(&app.sandbox, json!({ "wetoken": {} })));
        for path in [
            "/wx/wx-made/token/get",
            "/wx-made/wechat/ticket/get",
            "/wx/wx-made/token/refresh",
            &send,
        ] {
            assert_answer_silent("a refusal", &app.get(path).await, &silent);
        }
    }
    app.sandbox.add_account("wx-made", secret);
    app.sandbox.clear_faults();
    app.reloader
        .apply(config_of(&app.sandbox, json!({ "wetoken": {} })));
    assert_answer_silent("a code that was not sent", &app.get(&send).await, &silent);
    let openid = app.sandbox.follow("wx-made", "Alice", true).unwrap();
    assert!(
        app.get(&send.replace(user, &openid))
            .await
            .body
            .contains("success")
    );
    app.stop().await;
    assert_silent("the log", &logs().text(), &silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_shows_its_keys_or_text() {
    let said = "marker-words-of-a-follower-77f6";
    let backend = Backend::answering("<html>broken</html>");
    let forward = format!(
        "{}&key=marker-backend-key-77f7",
        backend
            .url
            .replace("http://", "http://user:marker-backend-password-77f8@")
    );
    let rules = json!([{ "on": "text", "forward": forward, "late": "push" }, { "on": "event", "reply": { "text": "{absent}" } }]);
    let apps = json!([{ "key": APP, "secret": APP_MARKER, "token": deliveries::TOKEN, "aesKey": deliveries::AES_KEY, "mode": "plain", "messages": rules }]);
    let app = start(json!({ "apps": apps })).await;
    let silent = [
        said,
        deliveries::TOKEN,
        deliveries::AES_KEY,
        "marker-backend-key-77f7",
        "marker-backend-password-77f8",
    ]
    .map(str::to_owned);
    for status in [200, 302, 500] {
        backend.order(|orders| orders.status = status);
        let answer = deliveries::push(&app, &deliveries::text(said, status.into())).await;
        assert_eq!(answer.body, "success");
    }
    let dead = deliveries::push(&app, &deliveries::event("CLICK", said)).await;
    assert_answer_silent("an empty reply", &dead, &silent);
    let (query, body) = deliveries::sealed(said, APP, "n-1");
    assert_answer_silent(
        "a refusal",
        &deliveries::deliver(&app, "/wechat", &query, &body).await,
        &silent,
    );
    assert_answer_silent("a refusal", &deliveries::push(&app, said).await, &silent);
    app.stop().await;
    assert_silent("the log", &logs().text(), &silent);
}
