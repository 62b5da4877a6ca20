//! The sandbox over a real socket, as a client in any language meets it.

#![allow(
    clippy::disallowed_methods,
    reason = "a test measures how long a call took"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use reqwest::Client;
use serde_json::{Value, json};

use super::*;

#[path = "message_tests.rs"]
mod message;
#[path = "visit_tests.rs"]
mod visit;

const APP: &str = "wx1234567890abcdef";
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const TOKEN: &str = "/cgi-bin/token";
const STABLE: &str = "/cgi-bin/stable_token";
const TICKET: &str = "/cgi-bin/ticket/getticket";
const PROBE: &str = "/cgi-bin/getcallbackip";

struct Bench {
    sandbox: Sandbox,
    running: RunningSandbox,
    client: Client,
}

async fn bench() -> Bench {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let options = SandboxOptions {
        accounts: vec![(APP.to_owned(), SECRET.to_owned())],
        ..SandboxOptions::default()
    };
    let (sandbox, running) = Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .expect("a free port");
    let client = Client::builder()
        .timeout(Duration::from_secs(5))
        .build()
        .expect("a client");
    Bench {
        sandbox,
        running,
        client,
    }
}

impl Bench {
    async fn get(&self, path_and_query: &str) -> Value {
        let response = self
            .client
            .get(self.sandbox.url() + path_and_query)
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200, "{path_and_query}");
        json_of(&response.bytes().await.expect("a body"))
    }

    async fn token(&self) -> Value {
        self.get(&token_query()).await
    }

    async fn post(&self, path: &str, body: impl Into<String>) -> (u16, Value) {
        let response = self
            .client
            .post(self.sandbox.url() + path)
            .body(body.into())
            .send()
            .await
            .expect("an answer");
        (
            response.status().as_u16(),
            json_of(&response.bytes().await.expect("a body")),
        )
    }

    async fn stable(&self, force: bool) -> Value {
        let body = json!({"grant_type": "client_credential", "appid": APP, "secret": SECRET, "force_refresh": force});
        self.post(STABLE, body.to_string()).await.1
    }

    /// The status, content type and bytes of a token call under `fault`, or the client's error.
    async fn spoiled(&self, fault: Fault) -> reqwest::Result<(u16, String, Vec<u8>)> {
        self.sandbox.clear_faults();
        self.sandbox.fault(fault.on(TOKEN).of(APP));
        let response = self
            .client
            .get(self.sandbox.url() + &token_query())
            .send()
            .await?;
        let kind = response.headers()["content-type"]
            .to_str()
            .expect("ASCII")
            .to_owned();
        Ok((
            response.status().as_u16(),
            kind,
            response.bytes().await?.to_vec(),
        ))
    }
}

fn token_query() -> String {
    format!("{TOKEN}?grant_type=client_credential&appid={APP}&secret={SECRET}")
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {answer}"))
}

#[tokio::test]
async fn tokens_and_tickets_are_issued_and_calls_counted() {
    let bench = bench().await;
    let token = bench.token().await;
    assert_eq!(
        (token["expires_in"].as_u64(), token.get("errcode")),
        (Some(7200), None)
    );
    let token = text(&token, "access_token");
    assert_eq!(bench.sandbox.current_token(APP).as_deref(), Some(token));
    let ticket = bench
        .get(&format!("{TICKET}?access_token={token}&type=jsapi"))
        .await;
    assert_eq!(
        (&ticket["errcode"], &ticket["errmsg"]),
        (&json!(0), &json!("ok"))
    );
    assert_eq!(
        bench.sandbox.current_ticket(APP).as_deref(),
        Some(text(&ticket, "ticket"))
    );
    assert!(bench.get(&format!("{PROBE}?access_token={token}")).await["ip_list"].is_array());
    let stable = bench.stable(false).await;
    assert_eq!(
        bench.stable(false).await["access_token"],
        stable["access_token"]
    );
    assert_ne!(
        bench.stable(true).await["access_token"],
        stable["access_token"]
    );
    assert!(!bench.sandbox.accepts(text(&stable, "access_token")) && bench.sandbox.accepts(token));
    let counts = [TOKEN, STABLE, TICKET, PROBE]
        .map(|path| (bench.sandbox.calls(path), bench.sandbox.calls_of(APP, path)));
    assert_eq!(counts, [(1, 1), (3, 3), (1, 1), (1, 1)]);
}

#[tokio::test]
async fn every_refusal_has_a_code_a_trace_and_http_200() {
    let bench = bench().await;
    let credential = "grant_type=client_credential";
    for (query, code) in [
        (TOKEN.to_owned(), 41002),
        (format!("{TOKEN}?{credential}&appid={APP}"), 41004),
        (
            format!("{TOKEN}?grant_type=x&appid={APP}&secret={SECRET}"),
            40002,
        ),
        (
            format!("{TOKEN}?{credential}&appid=wx0&secret={SECRET}"),
            40013,
        ),
        (format!("{TOKEN}?{credential}&appid={APP}&secret=x"), 40125),
        (STABLE.to_owned(), 43002),
        (PROBE.to_owned(), 41001),
        (format!("{TICKET}?access_token=x&type=jsapi"), 40014),
        ("/cgi-bin/tokens".to_owned(), 40066),
    ] {
        let answer = bench.get(&query).await;
        assert_eq!(answer["errcode"], code, "{query}");
        let (_, rid) = text(&answer, "errmsg")
            .split_once(" rid: ")
            .expect("a trace");
        assert!(
            rid.split('-').all(|part| part.len() == 8) && rid.len() == 26,
            "{rid}"
        );
    }
    for (body, code) in [
        ("", 44002),
        ("not JSON", 47001),
        ("{}", 41002),
        (r#"{"appid":7}"#, 47001),
    ] {
        assert_eq!(bench.post(STABLE, body).await.1["errcode"], code, "{body}");
    }
    let token = bench.token().await;
    let token = text(&token, "access_token");
    assert_eq!(
        bench
            .get(&format!("{TICKET}?access_token={token}&type=agent_config"))
            .await["errcode"],
        40097
    );
    bench.sandbox.advance(Duration::from_secs(7200));
    assert_eq!(
        bench.get(&format!("{PROBE}?access_token={token}")).await["errcode"],
        42001
    );
    assert_eq!(bench.post(TOKEN, "").await.1["errcode"], 43001);
}

#[tokio::test]
async fn faults_change_only_what_they_name() {
    let bench = bench().await;
    let (status, kind, body) = bench.spoiled(Fault::text_plain()).await.expect("an answer");
    assert_eq!(
        (status, kind.as_str(), json_of(&body)["expires_in"].as_u64()),
        (200, "text/plain", Some(7200))
    );
    assert_eq!(
        json_of(&bench.spoiled(Fault::strings()).await.expect("an answer").2)["expires_in"],
        "7200"
    );
    assert_eq!(
        json_of(
            &bench
                .spoiled(Fault::expires_in(-5))
                .await
                .expect("an answer")
                .2
        )["expires_in"],
        -5
    );
    assert_eq!(
        json_of(
            &bench
                .spoiled(Fault::empty_token())
                .await
                .expect("an answer")
                .2
        )["access_token"],
        ""
    );
    let (_, _, body) = bench
        .spoiled(Fault::control_chars())
        .await
        .expect("an answer");
    assert!(body.contains(&1) && serde_json::from_slice::<Value>(&body).is_err());
    let (status, _, body) = bench
        .spoiled(Fault::status(500, -1))
        .await
        .expect("an answer");
    assert_eq!((status, &json_of(&body)["errcode"]), (500, &json!(-1)));
    assert!(text(&json_of(&body), "errmsg").starts_with("system error rid: "));
    let (status, kind, body) = bench.spoiled(Fault::html(502)).await.expect("an answer");
    assert_eq!(
        (status, kind.as_str(), body.starts_with(b"<html>")),
        (502, "text/html", true)
    );
    let (_, _, body) = bench.spoiled(Fault::garbage()).await.expect("an answer");
    assert!(std::str::from_utf8(&body).is_err());
}

#[tokio::test]
async fn connection_faults_reach_the_client() {
    let bench = bench().await;
    let began = Instant::now();
    bench
        .spoiled(Fault::delay(Duration::from_millis(80)))
        .await
        .expect("an answer");
    assert!(began.elapsed() >= Duration::from_millis(80));
    let before = bench.sandbox.current_token(APP);
    let error = bench.spoiled(Fault::reset()).await.expect_err("no answer");
    assert!(error.is_request(), "{error:?}");
    assert_eq!(
        (bench.sandbox.current_token(APP), bench.sandbox.calls(TOKEN)),
        (before.clone(), 2)
    );
    let error = bench
        .spoiled(Fault::half_body())
        .await
        .expect_err("half an answer");
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    assert_ne!(bench.sandbox.current_token(APP), before);
    bench.sandbox.clear_faults();
    bench.sandbox.fault(Fault::hang().times(1));
    let slow = bench
        .client
        .get(bench.sandbox.url() + &token_query())
        .timeout(Duration::from_millis(100));
    assert!(slow.send().await.expect_err("no answer").is_timeout());
    assert_eq!(bench.token().await["expires_in"], 7200);
}

#[tokio::test]
async fn a_reset_sends_rst_and_half_a_body_is_sent() {
    let bench = bench().await;
    let raw = |fault: Fault| {
        bench.sandbox.clear_faults();
        bench.sandbox.fault(fault);
        let mut stream = TcpStream::connect(bench.sandbox.address()).expect("a connection");
        stream
            .write_all(format!("GET {PROBE} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .expect("sent");
        let mut received = Vec::new();
        let end = stream
            .read_to_end(&mut received)
            .map_err(|error| error.kind());
        (end.err(), received)
    };
    assert_eq!(
        raw(Fault::reset()),
        (Some(ErrorKind::ConnectionReset), Vec::new())
    );
    let (_, received) = raw(Fault::half_body());
    let received = String::from_utf8(received).expect("UTF-8");
    let (head, body) = received.split_once("\r\n\r\n").expect("a head");
    let announced = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .expect("a length");
    assert_eq!(
        body.len(),
        announced.parse::<usize>().expect("a number") / 2
    );
    assert!(body.starts_with("{\"errcode\":41001,"), "{body}");
}

#[tokio::test]
async fn the_control_route_matches_the_handle() {
    let bench = bench().await;
    let ok = (200, json!({"ok": true}));
    let script =
        json!({"path": TOKEN, "times": 1, "fault": {"errcode": 45011, "errmsg": "slow down"}});
    assert_eq!(bench.post("/sandbox/faults", script.to_string()).await, ok);
    assert!(text(&bench.token().await, "errmsg").starts_with("slow down rid: "));
    let token = bench.token().await;
    let token = text(&token, "access_token");
    assert_eq!(
        bench
            .post("/sandbox/accounts", r#"{"appid":"wx2","secret":"s"}"#)
            .await,
        ok
    );
    assert_eq!(
        bench
            .post(
                "/sandbox/tuning",
                r#"{"lifetime":60,"daily_quota":1,"time_scale":2}"#
            )
            .await,
        ok
    );
    let second = format!("{TOKEN}?grant_type=client_credential&appid=wx2&secret=s");
    assert_eq!(bench.get(&second).await["expires_in"], 30);
    assert_eq!(bench.get(&second).await["errcode"], 45009);
    assert_eq!(
        bench.post("/sandbox/advance", r#"{"seconds":60}"#).await,
        ok
    );
    assert_eq!(bench.sandbox.current_token("wx2"), None);
    let state = bench.get("/sandbox/state").await;
    assert_eq!(state["accounts"][APP]["calls"][TOKEN], 2);
    assert_eq!(state["accounts"]["wx2"]["tokens_today"], 1);
    assert!(state["accounts"][APP]["token"]["fingerprint"].is_string());
    assert!(!state.to_string().contains(token) && !state.to_string().contains(SECRET));
    assert_eq!(
        bench
            .post(
                "/sandbox/void",
                json!({"appid": APP, "what": "token"}).to_string()
            )
            .await,
        ok
    );
    assert_eq!(
        bench.get(&format!("{PROBE}?access_token={token}")).await["errcode"],
        40001
    );
    assert_eq!(bench.post("/sandbox/reset", "").await, ok);
    assert_eq!(
        (
            bench.sandbox.calls(TOKEN),
            bench.get(&second).await["errcode"].as_i64()
        ),
        (0, Some(40013))
    );
}

#[tokio::test]
async fn mistakes_on_the_control_route_say_what_is_accepted() {
    let bench = bench().await;
    for (path, body, hint) in [
        (
            "/sandbox/faults",
            r#"{"path":"/cgi-bin/tokn","fault":{"hang":true}}"#,
            "accepted: /cgi-bin/token, ",
        ),
        (
            "/sandbox/faults",
            r#"{"fault":{"hand":true}}"#,
            "unknown field `hand`",
        ),
        ("/sandbox/advance", "{}", r#"expected {"seconds":300}"#),
        (
            "/sandbox/void",
            r#"{"appid":"wx0","what":"all"}"#,
            "`token` or `stable`",
        ),
        (
            "/sandbox/void",
            r#"{"appid":"wx0","what":"token"}"#,
            "no current token",
        ),
        ("/sandbox/tuning", r#"{"time_scale":0}"#, "1 to 3600"),
        (
            "/sandbox/accounts",
            r#"{"appid":"","secret":""}"#,
            "must not be empty",
        ),
    ] {
        let (status, answer) = bench.post(path, body).await;
        assert_eq!(status, 400, "{path} {body}");
        assert!(text(&answer, "error").contains(hint), "{answer}");
    }
    let (status, answer) = bench.post("/sandbox/fault", "").await;
    assert!(
        status == 404 && text(&answer, "error").contains("POST /sandbox/faults"),
        "{status} {answer}"
    );
    let (status, answer) = bench.post("/sandbox/state", "").await;
    assert!(
        status == 404 && text(&answer, "error").contains("GET /sandbox/state"),
        "{status} {answer}"
    );
}

#[tokio::test]
async fn stopping_frees_the_port_even_while_a_call_hangs() {
    let bench = bench().await;
    bench.sandbox.fault(Fault::hang());
    let hanging = bench.client.get(bench.sandbox.url() + PROBE).send();
    let (address, sandbox) = (bench.sandbox.address(), bench.sandbox.clone());
    let stop = async {
        while sandbox.calls(PROBE) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let began = Instant::now();
        bench.running.stop().await;
        began.elapsed()
    };
    let (answer, took) = tokio::join!(hanging, stop);
    assert!(answer.is_err() && took < Duration::from_secs(2), "{took:?}");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_blocking_test_can_use_it_and_dropping_stops_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let (sandbox, running) = runtime
        .block_on(Sandbox::start(
            ([127, 0, 0, 1], 0).into(),
            SandboxOptions::default(),
        ))
        .expect("a free port");
    drop(runtime);
    let mut stream = TcpStream::connect(sandbox.address()).expect("a connection");
    stream
        .write_all(
            format!("GET {PROBE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .expect("sent");
    let mut received = String::new();
    stream.read_to_string(&mut received).expect("an answer");
    assert!(received.contains("\"errcode\":41001"), "{received}");
    drop(running);
    assert!(TcpStream::connect(sandbox.address()).is_err());
}
