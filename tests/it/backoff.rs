//! WeChat's errors: what callers get, when WeChat is called again, and what is not affected.

use std::time::Duration;

use futures_util::future::join_all;
use sandbox::Fault;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::app::{APP, Response, TestApp, config_of};
use crate::support::keepers::{dead_address, eventually};

const TOKEN: &str = "/cgi-bin/token";
const TICKET: &str = "/cgi-bin/ticket/getticket";

fn retry_after(answer: &Response) -> u64 {
    answer
        .header("retry-after")
        .parse()
        .expect("a Retry-After in seconds")
}

fn now() -> u64 {
    clock::Clock::system().wall().seconds().0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_errcode_decides_whatever_the_http_status_says() {
    for fault in [
        Fault::errcode(40125, "invalid appsecret"),
        Fault::status(500, 40125),
        Fault::status(403, 40125),
        Fault {
            fault: sandbox::Effect {
                strings: true,
                ..Fault::status(500, 40125).fault
            },
            ..Fault::status(500, 40125)
        },
    ] {
        let app = TestApp::start().await;
        app.sandbox.fault(fault.clone());
        let problem = app.query("token").await.problem(502, "upstream_refused");
        assert_eq!(problem["errcode"], 40125, "{fault:?}: {problem}");
        assert!(problem["errmsg"].is_string(), "{problem}");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("AppSecret")),
            "it says what to do: {problem}"
        );
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_accepted_in_every_notation() {
    for effect in [
        Fault::strings(),
        Fault::text_plain(),
        Fault::control_chars(),
    ] {
        let app = TestApp::start().await;
        app.sandbox.fault(effect.clone());
        assert_eq!(
            app.config(json!({ "url": "https://example.com/" }))
                .await
                .json()["appId"],
            APP,
            "{effect:?}"
        );
        app.stop().await;
    }
    let app = TestApp::start().await;
    app.sandbox.fault(
        sandbox::Effect {
            status: Some(500),
            ..Default::default()
        }
        .into(),
    );
    assert!(
        app.sandbox.accepts(&app.value("token").await),
        "HTTP 500 with a token and no errcode"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_remembered_without_another_call() {
    let app = TestApp::start().await;
    app.sandbox.fault(Fault::errcode(
        40164,
        "invalid ip 203.0.113.7, not in whitelist",
    ));
    let first = app.query("token").await.problem(502, "upstream_refused");
    assert_eq!(first["errcode"], 40164);
    for answer in join_all((0..30).map(|_| app.query("token"))).await {
        let problem = answer.problem(503, "cooling_down");
        assert_eq!(
            (&problem["errcode"], &problem["errmsg"]),
            (&first["errcode"], &first["errmsg"])
        );
        assert!(retry_after(&answer) >= 1);
    }
    let config = app.config(json!({ "url": "https://example.com/" })).await;
    assert_eq!(
        config.problem(503, "cooling_down")["errcode"],
        40164,
        "a ticket needs the token, so its cause is the same"
    );
    assert_eq!(
        (app.sandbox.calls(TOKEN), app.sandbox.calls(TICKET)),
        (1, 0)
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_errcode_on_a_renewal_backs_off() {
    let app = TestApp::start().await;
    app.sandbox.fault(Fault::errcode(40029, "invalid code"));
    app.query("token").await.problem(502, "upstream_refused");
    let answers = join_all((0..20).map(|_| app.query("token"))).await;
    assert!(
        answers.iter().all(|answer| answer.status == 503),
        "{answers:?}"
    );
    assert_eq!(app.sandbox.calls(TOKEN), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn permanent_failures_back_off_longer_than_temporary_ones() {
    // On the token endpoint, 40001 means a wrong secret.
    for code in [40001, 40013, 40125, 40164, 45009, 48001] {
        let app = TestApp::start().await;
        app.sandbox.fault(Fault::errcode(code, "as the test says"));
        assert_eq!(
            app.query("token").await.problem(502, "upstream_refused")["errcode"],
            code
        );
        let again = app.query("token").await;
        assert_eq!(again.problem(503, "cooling_down")["errcode"], code);
        assert!(
            (6..=15).contains(&retry_after(&again)),
            "{code}: {}",
            retry_after(&again)
        );
        assert_eq!(app.sandbox.calls(TOKEN), 1, "{code}");
        app.stop().await;
    }
    for code in [-1, 45011] {
        let app = TestApp::start().await;
        app.sandbox.fault(Fault::errcode(code, "as the test says"));
        // On a slow machine the first back-off may have passed before the second query.
        let again = loop {
            let answer = app.query("token").await;
            if answer.status == 503 {
                break answer;
            }
            assert_eq!(answer.problem(502, "upstream_refused")["errcode"], code);
        };
        assert_eq!(again.problem(503, "cooling_down")["errcode"], code);
        let longest = 1 << (app.sandbox.calls(TOKEN) - 1);
        assert!(
            (1..=longest).contains(&retry_after(&again)),
            "{code}: {} s, {longest} s at most",
            retry_after(&again)
        );
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_recovers_after_the_pause() {
    let app = TestApp::start().await;
    app.sandbox
        .fault(Fault::errcode(-1, "system error").times(1));
    app.query("token").await.problem(502, "upstream_refused");
    eventually("the token comes", async || {
        app.query("token").await.status == 200
    })
    .await;
    assert_eq!(app.sandbox.calls(TOKEN), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_grow_while_the_failure_lasts() {
    let app = TestApp::start().await;
    app.sandbox.fault(Fault::errcode(-1, "system error"));
    let polling = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            assert!(app.query("token").await.status.is_server_error());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(polling.await.is_err());
    // At 0 s, 1 s, 1.75 to 3 s, then 3 s or more later.
    let calls = app.sandbox.calls(TOKEN);
    assert!(
        (2..=4).contains(&calls),
        "{calls} calls in five seconds of steady asking"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_forgets_failures() {
    let app = TestApp::start().await;
    app.sandbox.add_account(APP, "another-secret-now");
    assert_eq!(
        app.query("token").await.problem(502, "upstream_refused")["errcode"],
        40125
    );
    app.query("token").await.problem(503, "cooling_down");
    app.reloader.apply(config_of(
        &app.sandbox,
        json!({ "apps": [{ "key": APP, "secret": "another-secret-now" }] }),
    ));
    assert!(
        app.sandbox.accepts(&app.value("token").await),
        "mended and reloaded: asked again at once"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_retries_what_is_kept_always() {
    let app = TestApp::build(json!({ "keep": "always" }))
        .sandbox(|sandbox| sandbox.accounts[0].1 = "another-secret-now".to_owned());
    let app = app.start().await;
    eventually("the fault is met", async || app.sandbox.calls(TOKEN) >= 1).await;
    // By now the ticket, which depends on the token, is backing off too.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(app.sandbox.calls(TOKEN), 1);
    let mended =
        json!({ "keep": "always", "apps": [{ "key": APP, "secret": "another-secret-now" }] });
    app.reloader.apply(config_of(&app.sandbox, mended));
    // The pause after a wrong secret is at least 11 s, and nobody asks.
    let patience = tokio::time::timeout(Duration::from_secs(6), async {
        while app.sandbox.current_ticket(APP).is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(
        patience.await.is_ok(),
        "renewed at once, not at the end of the old pause"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_ticket_does_not_stop_tokens() {
    let app = TestApp::start().await;
    app.sandbox
        .fault(Fault::errcode(48001, "api unauthorized").on(TICKET));
    assert_eq!(
        app.query("ticket").await.problem(502, "upstream_refused")["errcode"],
        48001
    );
    assert!(app.sandbox.accepts(&app.value("token").await));
    app.query("ticket").await.problem(503, "cooling_down");
    assert!(app.sandbox.accepts(&app.value("token").await));
    // The other ticket is a separate credential and is fetched on its own.
    app.query("card_ticket")
        .await
        .problem(502, "upstream_refused");
    assert_eq!(
        (app.sandbox.calls(TOKEN), app.sandbox.calls(TICKET)),
        (1, 2)
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_token_does_not_stop_a_cached_ticket() {
    let memo =
        json!({ format!("{APP}.ticket"): { "value": "held-ticket", "__expires": now() + 3600 } });
    let app = TestApp::with(json!({ "cache": { "memo": memo } })).await;
    app.sandbox
        .fault(Fault::errcode(40125, "invalid appsecret").on(TOKEN));
    app.query("token").await.problem(502, "upstream_refused");
    assert_eq!(app.value("ticket").await, "held-ticket");
    assert_eq!(
        app.config(json!({ "url": "https://example.com/" }))
            .await
            .json()["appId"],
        APP
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_token_is_renewed_once_for_the_ticket() {
    for (api, path) in [("basic", TOKEN), ("stable", "/cgi-bin/stable_token")] {
        let app =
            TestApp::with(json!({ "apps": [{ "key": APP, "secret": crate::support::app::APP_SECRET, "tokenApi": api }] })).await;
        let token = app.value("token").await;
        app.sandbox.void_token(APP);
        let tickets = join_all((0..20).map(|_| app.value("ticket"))).await;
        assert!(
            tickets
                .iter()
                .all(|ticket| app.sandbox.current_ticket(APP).as_deref() == Some(ticket.as_str()))
        );
        assert_eq!(
            (app.sandbox.calls(path), app.sandbox.calls(TICKET)),
            (2, 2),
            "{api}"
        );
        let renewed = app.value("token").await;
        assert!(renewed != token && app.sandbox.accepts(&renewed), "{api}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_of_stale_tokens_use_the_rotation_quota() {
    let app = TestApp::start().await;
    for (code, times) in [(40001, 1), (40014, 1), (42001, 1)] {
        app.sandbox.fault(
            Fault::errcode(code, "a dead token, WeChat says")
                .on(TICKET)
                .times(times),
        );
    }
    assert_eq!(
        app.query("ticket").await.problem(502, "upstream_refused")["errcode"],
        40014
    );
    assert_eq!(
        (app.sandbox.calls(TOKEN), app.sandbox.calls(TICKET)),
        (2, 2),
        "one renewal, one more try"
    );
    // The next attempt meets the last fault; within 30 s the token is not renewed for it again.
    eventually("the ticket comes", async || {
        app.query("ticket").await.status == 200
    })
    .await;
    assert_eq!(
        (app.sandbox.calls(TOKEN), app.sandbox.calls(TICKET)),
        (2, 4)
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_answer_is_reported_and_temporary() {
    let cases = [
        (Fault::garbage(), "upstream_unreadable"),
        (Fault::html(502), "upstream_unreadable"),
        (Fault::html(200), "upstream_unreadable"),
        (Fault::empty_token(), "upstream_unreadable"),
        (Fault::expires_in(0), "upstream_unreadable"),
        (Fault::expires_in(-5), "upstream_unreadable"),
        (Fault::half_body(), "upstream_unreachable"),
        (Fault::reset(), "upstream_unreachable"),
    ];
    let both = cases
        .iter()
        .flat_map(|case| [(case, TOKEN, "token"), (case, TICKET, "ticket")]);
    join_all(both.map(|((fault, code), path, key)| async move {
        let app = TestApp::start().await;
        app.sandbox.fault(fault.clone().on(path).times(1));
        app.query(key).await.problem(502, code);
        assert_eq!(
            app.sandbox.calls(path),
            1,
            "{fault:?}: a call that may have arrived is not repeated"
        );
        eventually("it passes", async || app.query(key).await.status == 200).await;
        app.stop().await;
    }))
    .await;
}

/// A peer that answers every request with these bytes and closes.
async fn peer(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // One read returns a whole small request.
            if stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                stream.write_all(answer).await.ok();
            }
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_from_wechat_is_an_error() {
    let of = |answer| async move { peer(answer).await };
    for (api, code) in [
        (of(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await, "upstream_unreadable"),
        (of(b"HTTP/1.1 204 No Content\r\n\r\n").await, "upstream_unreadable"),
        (of(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await, "upstream_unreadable"),
        (of(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"access_token\":\"T\"}").await, "upstream_unreadable"),
        (
            of(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"errcode\":null,\"access_token\":\"T\",\"expires_in\":7200}").await,
            "upstream_unreadable",
        ),
        (of(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n[]").await, "upstream_unreadable"),
        (of(b"not HTTP at all\r\n\r\n").await, "upstream_unreachable"),
        (of(b"").await, "upstream_unreachable"),
        (dead_address(), "upstream_unreachable"),
    ] {
        let app = TestApp::with(json!({ "wechat": { "api": [api] } })).await;
        app.query("token").await.problem(502, code);
        app.stop().await;
    }
}
