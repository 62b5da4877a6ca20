//! `/metrics`: every promised name is there, the numbers are exact, and nothing secret is in it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::support::app::{APP, APP_SECRET, REALM_SECRET, TestApp, config_of, signed_v2};
use crate::support::gateway;
use crate::support::keepers::dead_address;
use crate::support::scrape::{promtool_accepts, scrape, value};
use jsdkd::status::NAMES;
use sandbox::Fault;

/// The names that the specification gives.
const PROMISED: [&str; 24] = [
    "jsdkd_build_info",
    "jsdkd_credential_expiry_timestamp_seconds",
    "jsdkd_credential_renewal_timestamp_seconds",
    "jsdkd_credential_ready",
    "jsdkd_renewals_total",
    "jsdkd_failure_errcode",
    "jsdkd_foreign_refreshes_total",
    "jsdkd_budget_used",
    "jsdkd_budget_limit",
    "jsdkd_reserve_seconds",
    "jsdkd_upstream_requests_total",
    "jsdkd_upstream_request_duration_seconds",
    "jsdkd_store_up",
    "jsdkd_store_operation_duration_seconds",
    "jsdkd_http_requests_total",
    "jsdkd_http_request_duration_seconds",
    "jsdkd_waiting",
    "jsdkd_overloads_total",
    "jsdkd_gateway_requests_total",
    "jsdkd_gateway_bytes_total",
    "jsdkd_push_messages_total",
    "jsdkd_forward_failures_total",
    "jsdkd_clock_offset_seconds",
    "jsdkd_log_lines_lost_total",
];

fn with_admin() -> serde_json::Value {
    json!({ "server": { "admin": "127.0.0.1:0" } })
}

/// The names in `# TYPE` lines.
fn names(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    lines
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promised_name_is_there_from_the_start() {
    let app = TestApp::with(with_admin()).await;
    let text = scrape(&app).await;
    let names = names(&text);
    for name in PROMISED {
        assert!(names.contains(name), "{name}");
    }
    assert!(names.iter().any(|name| name.starts_with("process_")));
    let table: BTreeSet<_> = NAMES.iter().map(|one| one.name.to_owned()).collect();
    assert_eq!(names, table, "the table and the text");
    for kind in ["token", "ticket", "card_ticket"] {
        let ready = format!("jsdkd_credential_ready{{appid=\"{APP}\",kind=\"{kind}\"}}");
        assert_eq!(value(&text, &ready), Some(0.0), "{kind}");
    }
    let foreign = format!("jsdkd_foreign_refreshes_total{{appid=\"{APP}\"}}");
    assert_eq!(value(&text, &foreign), Some(0.0));
    let failures = format!("jsdkd_forward_failures_total{{appid=\"{APP}\"}}");
    assert_eq!(value(&text, &failures), Some(0.0));
    let refused = format!(
        "jsdkd_renewals_total{{appid=\"{APP}\",kind=\"token\",why=\"ahead\",result=\"refused\"}}"
    );
    assert_eq!(value(&text, &refused), Some(0.0));
    assert_eq!(value(&text, "jsdkd_store_up"), Some(1.0));
    assert_eq!(value(&text, "jsdkd_reserve_seconds"), Some(f64::INFINITY));
    let version = format!(
        "jsdkd_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(value(&text, &version), Some(1.0));
    app.stop().await;
}

#[test]
fn the_pages_describe_every_metric() {
    for page in ["docs/metrics.md", "docs/metrics.zh-CN.md"] {
        let path = format!("{}/{page}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let rows = text
            .lines()
            .filter(|line| line.starts_with("| `jsdkd_") || line.starts_with("| `process_"));
        let described: Vec<_> = rows
            .map(|row| {
                let cells: Vec<_> = row.split('|').map(str::trim).collect();
                let labels = cells[3].split('`').skip(1).step_by(2).map(str::to_owned);
                let kind = cells[2].to_owned();
                (cells[1].replace('`', ""), kind, labels.collect::<Vec<_>>())
            })
            .collect();
        let table: Vec<_> = NAMES
            .iter()
            .map(|one| {
                let labels = one.labels.iter().map(|label| (*label).to_owned());
                let kind = format!("{:?}", one.kind).to_lowercase();
                (one.name.to_owned(), kind, labels.collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(described, table, "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_exact() {
    let settings = json!({ "server": { "admin": "127.0.0.1:0", "workers": 2 } });
    let app = TestApp::with(settings).await;
    for number in 0..7 {
        let body = json!({ "url": format!("https://a.example/{number}") });
        assert_eq!(app.config(body).await.status, 200);
    }
    for _ in 0..3 {
        assert_eq!(app.query("token").await.status, 200);
    }
    let unsigned = app
        .get(&format!("/jsapi/{APP}/query?secret=marker-77"))
        .await;
    assert_eq!(unsigned.status, 401);
    for path in ["/nothing/marker-78", "/nothing/marker-79"] {
        assert_eq!(app.get(path).await.status, 404);
    }
    let text = scrape(&app).await;
    let requests = |route: &str, status: u16| {
        let series = format!("jsdkd_http_requests_total{{route=\"{route}\",status=\"{status}\"}}");
        value(&text, &series)
    };
    assert_eq!(requests("/jsapi/{appid}/config", 200), Some(7.0));
    assert_eq!(requests("/jsapi/{appid}/query", 200), Some(3.0));
    assert_eq!(requests("/jsapi/{appid}/query", 401), Some(1.0));
    assert_eq!(requests("-", 404), Some(2.0));
    let durations = "jsdkd_http_request_duration_seconds";
    let count = format!("{durations}_count{{route=\"/jsapi/{{appid}}/config\"}}");
    let last = format!("{durations}_bucket{{le=\"+Inf\",route=\"/jsapi/{{appid}}/config\"}}");
    assert_eq!(
        (value(&text, &count), value(&text, &last)),
        (Some(7.0), Some(7.0))
    );

    let granted = |kind: &str| {
        let series = format!(
            "jsdkd_renewals_total{{appid=\"{APP}\",kind=\"{kind}\",why=\"missing\",result=\"granted\"}}"
        );
        value(&text, &series)
    };
    assert_eq!(
        (granted("token"), granted("ticket")),
        (Some(1.0), Some(1.0))
    );
    let host = app.sandbox.url().replace("http://", "");
    let host = host.trim_end_matches('/');
    for call in ["token", "ticket"] {
        let series = format!(
            "jsdkd_upstream_requests_total{{host=\"{host}\",call=\"{call}\",outcome=\"ok\"}}"
        );
        assert_eq!(value(&text, &series), Some(1.0), "{call}: {text}");
    }
    let calls = "jsdkd_upstream_request_duration_seconds_count";
    assert_eq!(value(&text, calls), Some(2.0));
    let commits = "jsdkd_store_operation_duration_seconds_count{operation=\"commit\"}";
    assert_eq!(value(&text, commits), Some(2.0));
    let ready = format!("jsdkd_credential_ready{{appid=\"{APP}\",kind=\"token\"}}");
    assert_eq!(value(&text, &ready), Some(1.0));
    let reserve = value(&text, "jsdkd_reserve_seconds").unwrap();
    assert!((7000.0..7200.1).contains(&reserve), "{reserve}");
    let offset = value(&text, "jsdkd_clock_offset_seconds").unwrap();
    assert!(offset.abs() < 5.0, "{offset}");

    // Nothing secret, whatever was asked.
    let token = app.value("token").await;
    let text = scrape(&app).await;
    let ticket = app.value("ticket").await;
    for secret in [
        &token[..],
        &ticket,
        APP_SECRET,
        REALM_SECRET,
        "marker-7",
        "sign=",
        "nonce",
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_shown_until_it_is_over() {
    let app = TestApp::with(with_admin()).await;
    app.sandbox
        .fault(Fault::errcode(40164, "invalid ip").on("/cgi-bin/token"));
    assert_eq!(app.query("token").await.status, 502);
    let series =
        format!("jsdkd_failure_errcode{{appid=\"{APP}\",kind=\"token\",errcode=\"40164\"}}");
    let text = scrape(&app).await;
    assert_eq!(value(&text, &series), Some(1.0), "{text}");
    let expiry =
        format!("jsdkd_credential_expiry_timestamp_seconds{{appid=\"{APP}\",kind=\"token\"}}");
    assert_eq!(
        value(&text, &expiry),
        Some(0.0),
        "it is wanted and not there"
    );
    assert_eq!(value(&text, "jsdkd_reserve_seconds"), Some(0.0));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_refresh_and_the_budget_are_shown() {
    let app = TestApp::with(with_admin()).await;
    let token = app.value("token").await;
    let text = scrape(&app).await;
    let of = |text: &str, name: &str| {
        let budget = if name.starts_with("budget") {
            ",budget=\"token\""
        } else {
            ""
        };
        value(text, &format!("jsdkd_{name}{{appid=\"{APP}\"{budget}}}"))
    };
    assert_eq!(of(&text, "budget_used"), Some(1.0));
    assert_eq!(of(&text, "budget_limit"), Some(2000.0));
    assert_eq!(of(&text, "foreign_refreshes_total"), Some(0.0));
    app.sandbox.void_token(APP);
    assert_eq!(app.rotate("token", &token).await.status, 200);
    let text = scrape(&app).await;
    assert_eq!(of(&text, "budget_used"), Some(2.0));
    assert_eq!(of(&text, "foreign_refreshes_total"), Some(1.0));
    let status = app.admin("/status.json").await.json();
    let finding = &status["findings"][0];
    assert_eq!(
        (&finding["code"], &finding["appid"]),
        (&json!("foreign_refresh"), &json!(APP))
    );
    assert_eq!(
        (&finding["times"], &finding["intervals"]),
        (&json!(1), &json!([]))
    );
    assert!(finding["after"].as_u64() <= finding["before"].as_u64());
    assert_eq!(finding["advice"].as_array().unwrap().len(), 4);
    let sentence = status["sentence"].as_str().unwrap();
    assert!(
        sentence.contains("another program fetches tokens of"),
        "{sentence}"
    );
    let page = app.admin("/status").await.body;
    assert!(
        page.contains("Another program fetched a token between"),
        "{page}"
    );
    assert!(page.contains("2 / 2000"), "{page}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_to_complain_of() {
    let app = TestApp::with(with_admin()).await;
    app.config(json!({ "url": "https://a.example/" }))
        .await
        .json();
    promtool_accepts(&scrape(&app).await);
    app.stop().await;
}

/// A server with 1,200 accounts, and their appids.
async fn twelve_hundred(keep: &str) -> (Vec<String>, TestApp) {
    let accounts: Vec<_> = (0..1200).map(|number| format!("wx{number:016}")).collect();
    let app = TestApp::build(json!({ "keep": keep, "server": { "admin": "127.0.0.1:0" } }))
        .accounts(&accounts)
        .start()
        .await;
    (accounts, app)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_accounts_only_those_in_use_have_series() {
    let (accounts, app) = twelve_hundred("active").await;
    let asked = app
        .get(&signed_v2("GET", &accounts[7], &[("key", "token")]))
        .await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    let text = scrape(&app).await;
    let ready = |number: usize| {
        let app_id = &accounts[number];
        value(
            &text,
            &format!("jsdkd_credential_ready{{appid=\"{app_id}\",kind=\"token\"}}"),
        )
    };
    assert_eq!((ready(7), ready(8)), (Some(1.0), None));
    assert_eq!(text.matches("jsdkd_credential_ready{").count(), 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_make_no_series() {
    let settings = gateway::settings(json!({ "gateway": ["read"] }), with_admin());
    let app = TestApp::with(settings).await;
    let ask = async |round: usize| {
        let (get, odd) = (Method::GET, format!("marker-{round}"));
        for path in [
            format!("/{odd}/{odd}"),
            format!("/jsapi/wx{odd}/query?realm={odd}&nonce=n&ts=1&sign={odd}"),
            format!("/jsapi/wx{odd}/config?url=https://{odd}.example/"),
            format!("/cgi-bin/{odd}?access_token={odd}"),
            format!("/cgi-bin/token?grant_type=client_credential&appid=wx{odd}&secret={odd}"),
            format!("/wechat/wx{odd}?signature={odd}&timestamp=1&nonce=n"),
            format!("/token?name={odd}"),
        ] {
            let mut request = app.request(get.clone(), &path);
            request = request
                .header("user-agent", &odd)
                .header("x-request-id", &odd);
            drop(app.send(request).await);
            let method = Method::from_bytes(b"MARKER").unwrap();
            drop(app.send(app.request(method, &path)).await);
        }
    };
    ask(0).await;
    let names = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        lines.map(|(series, _)| series.to_owned()).collect()
    };
    let before = scrape(&app).await;
    for round in 1..9 {
        ask(round).await;
    }
    let after = scrape(&app).await;
    // The scrape itself is a request.
    let new: Vec<_> = names(&after).difference(&names(&before)).cloned().collect();
    assert!(
        new.iter()
            .all(|series| series.contains("route=\"/metrics\"")),
        "{new:?}"
    );
    assert!(!after.contains("marker"), "{after}");
    promtool_accepts(&after);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_come_and_go_with_the_settings() {
    let app = TestApp::with(with_admin()).await;
    let token = format!(
        "jsdkd_renewals_total{{appid=\"{APP}\",kind=\"token\",why=\"missing\",result=\"granted\"}}"
    );
    app.value("token").await;
    let other = "wxfedcba9876543210";
    let reload = |apps: serde_json::Value| {
        let mut settings = with_admin();
        settings["apps"] = apps;
        app.reloader.apply(config_of(&app.sandbox, settings));
    };
    let (own, added) = (
        json!({ "key": APP, "secret": APP_SECRET }),
        json!({ "key": other, "secret": "s" }),
    );
    reload(json!([own, added]));
    let text = scrape(&app).await;
    assert_eq!(value(&text, &token), Some(1.0), "{text}");
    let ready = format!("jsdkd_credential_ready{{appid=\"{other}\",kind=\"token\"}}");
    assert_eq!(value(&text, &ready), Some(0.0));
    reload(json!([added]));
    let text = scrape(&app).await;
    assert!(
        !text.contains(APP) && value(&text, &ready) == Some(0.0),
        "{text}"
    );
    // A counter that comes back goes on where it was.
    reload(json!([own]));
    let text = scrape(&app).await;
    assert_eq!(value(&text, &token), Some(1.0), "{text}");
    promtool_accepts(&text);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_hundred_accounts_in_use_are_written_quickly() {
    let (_, app) = twelve_hundred("always").await;
    let begun = Instant::now();
    while app.admin("/ready").await.status != 200 {
        assert!(
            begun.elapsed() < Duration::from_secs(180),
            "still not ready"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let text = scrape(&app).await;
    assert_eq!(text.matches("jsdkd_credential_ready{").count(), 3600);
    let mut times = Vec::new();
    for _ in 0..15 {
        let begun = Instant::now();
        scrape(&app).await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let (best, middle) = (times[0], times[7]);
    eprintln!("/metrics with 1200 accounts in use: {middle:?}, at best {best:?}");
    assert!(best < Duration::from_millis(50), "{times:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_reading_methods_are_answered() {
    let app = TestApp::with(with_admin()).await;
    let ask = |method: Method, path: &str| {
        let request = reqwest::Client::builder().no_proxy().build().unwrap();
        request
            .request(method, format!("{}{path}", app.admin))
            .send()
    };
    for path in [
        "/metrics",
        "/status",
        "/status.json",
        "/status.css",
        "/ready",
        "/ping",
    ] {
        assert_eq!(
            ask(Method::GET, path).await.unwrap().status(),
            200,
            "{path}"
        );
        let head = ask(Method::HEAD, path).await.unwrap();
        assert_eq!(head.status(), 200, "{path}");
        assert!(head.bytes().await.unwrap().is_empty(), "{path}");
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let answer = ask(method.clone(), path).await.unwrap();
            assert_eq!(
                (
                    answer.status().as_u16(),
                    answer.headers()["allow"].to_str().unwrap()
                ),
                (405, "GET, HEAD, OPTIONS"),
                "{method} {path}"
            );
        }
        let preflight = ask(Method::OPTIONS, path).await.unwrap();
        assert_eq!(preflight.status(), 204);
        assert!(
            preflight
                .headers()
                .get("access-control-allow-origin")
                .is_none()
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_counts_by_realm_area_and_outcome() {
    let settings = gateway::settings(json!({ "gateway": ["messages", "read"] }), with_admin());
    let app = TestApp::with(settings).await;
    let text = scrape(&app).await;
    let out = "jsdkd_gateway_bytes_total{realm=\"shop\",direction=\"out\"}";
    assert_eq!(value(&text, out), Some(0.0), "from the start");
    let token = gateway::token(&app).await;
    let call = async |path: &str, token: &str| {
        let path = format!("{path}?access_token={token}");
        app.get(&path).await.body
    };
    call("/cgi-bin/getcallbackip", &token).await;
    call("/cgi-bin/menu/delete", &token).await;
    call("/cgi-bin/getcallbackip", "jsdkd-none").await;
    app.sandbox.void_token(APP);
    call("/cgi-bin/getcallbackip", &token).await;
    let text = scrape(&app).await;
    let count = |realm: &str, appid: &str, outcome: &str| {
        let rest = format!("{{realm=\"{realm}\",appid=\"{appid}\"");
        let lines = text.lines().filter(|line| {
            line.starts_with(&format!("jsdkd_gateway_requests_total{rest}"))
                && line.contains(&format!("outcome=\"{outcome}\""))
        });
        lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum::<u64>()
    };
    assert_eq!(count("shop", APP, "scope"), 1, "{text}");
    assert_eq!(count("shop", APP, "healed"), 1, "{text}");
    // The token itself, and the call.
    assert_eq!(count("shop", APP, "ok"), 2, "{text}");
    assert_eq!(count("-", "-", "denied"), 1, "{text}");
    assert!(value(&text, out).unwrap() > 0.0);
    assert!(text.contains("call=\"gateway\"") && text.contains("call=\"probe\""));
    assert!(
        !text.contains(&token) && !text.contains("/cgi-bin/"),
        "{text}"
    );
    let status = app.admin("/status.json").await.json();
    assert_eq!(status["realms"][0]["calls_today"], 4);
    assert_eq!(status["realms"][0]["refused_today"], 1);
    let events = status["events"].as_array().unwrap();
    assert!(events.iter().any(|event| event["event"] == "healed"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_counted_by_outcome() {
    let dead = dead_address();
    let settings = json!({
        "apps": [{
            "key": APP,
            "secret": APP_SECRET,
            "token": "push-token",
            "messages": [
                { "on": "text", "match": "^hi", "reply": { "text": "hello" } },
                { "on": "text", "forward": format!("{dead}/") },
            ],
        }],
        "server": { "admin": "127.0.0.1:0" },
    });
    let app = TestApp::with(settings).await;
    let push = async |signed: bool, content: &str| {
        let now = jsdkd_clock_seconds();
        let message = format!(
            "<xml><ToUserName>me</ToUserName><FromUserName>secret-openid</FromUserName>\
             <CreateTime>{now}</CreateTime><MsgType>text</MsgType><Content>{content}</Content>\
             <MsgId>{now}{}</MsgId></xml>",
            content.len()
        );
        let timestamp = now.to_string();
        let sign = wechat::signature::push("push-token", &timestamp, "n").text();
        let sign = if signed { sign } else { "0".repeat(40) };
        let path = format!("/wechat/{APP}?signature={sign}&timestamp={timestamp}&nonce=n");
        let request = app.request(Method::POST, &path);
        app.send(request.body(message)).await.status.as_u16()
    };
    assert_eq!(push(true, "hi").await, 200);
    assert_eq!(push(true, "forwarded").await, 200);
    assert_eq!(push(false, "hi").await, 401);
    let text = scrape(&app).await;
    let outcome = |outcome: &str| {
        let series = format!("jsdkd_push_messages_total{{appid=\"{APP}\",outcome=\"{outcome}\"}}");
        value(&text, &series)
    };
    assert_eq!(outcome("replied"), Some(1.0), "{text}");
    assert_eq!(outcome("accepted"), Some(1.0));
    assert_eq!(outcome("refused"), Some(1.0));
    assert_eq!(outcome("overloaded"), Some(0.0));
    let failures = format!("jsdkd_forward_failures_total{{appid=\"{APP}\"}}");
    assert_eq!(value(&text, &failures), Some(1.0));
    assert!(!text.contains("secret-openid"));
    app.stop().await;
}

fn jsdkd_clock_seconds() -> u64 {
    clock::Clock::system().wall().seconds().0
}
