//! More callers than permits, slow clients, and accounts with problems: what is refused, what is
//! closed, and that others are not affected.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use reqwest::Method;
use sandbox::Fault;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::hub;
use crate::support::app::{APP, APP_SECRET, Response, TestApp, signed_v2};
use crate::support::backend::Backend;
use crate::support::deliveries::{self, push, text};
use crate::support::keepers::eventually;
use crate::support::process::{Process, folder, settings, write_settings};
use crate::support::service::Service;

const OTHER: &str = "wxfedcba9876543210";
const TOKEN: &str = "/cgi-bin/token";

/// A server with two accounts; `APP` is the one with problems.
async fn two(server: Value) -> TestApp {
    let apps = json!([{ "key": APP, "secret": APP_SECRET }, { "key": OTHER, "secret": "s" }]);
    let app =
        TestApp::build(json!({ "apps": apps, "server": server, "wechat": { "timeout": "10s" } }));
    app.sandbox(|sandbox| sandbox.accounts.push((OTHER.to_owned(), "s".to_owned())))
        .start()
        .await
}

async fn query(app: &TestApp, account: &str) -> Response {
    app.get(&signed_v2("GET", account, &[("key", "token")]))
        .await
}

async fn config(app: &TestApp, account: &str) -> Response {
    app.get(&format!("/jsapi/{account}/config?url=https://example.com/"))
        .await
}

#[track_caller]
fn overloaded(answer: &Response) {
    answer.problem(503, "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_gets_a_tenth_of_the_permits_then_retry_after() {
    let app = two(json!({ "maxWaiting": 20 })).await;
    app.sandbox
        .fault(Fault::delay(Duration::from_secs(1)).of(APP));
    let answers = join_all((0..10).map(|_| query(&app, APP))).await;
    let (served, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((served.len(), refused.len()), (2, 8));
    refused.into_iter().for_each(overloaded);
    assert_eq!(app.sandbox.calls(TOKEN), 1);
    assert_eq!(
        query(&app, APP).await.status,
        200,
        "the places are free again"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_credentials_need_no_permit() {
    let app = two(json!({ "maxWaiting": 1 })).await;
    let token = app.value("token").await;
    app.sandbox
        .fault(Fault::delay(Duration::from_secs(2)).of(APP));
    let crowd = async {
        eventually("the place is taken", async || app.sandbox.calls(TOKEN) == 2).await;
        overloaded(&app.rotate("token", &token).await);
        overloaded(&query(&app, OTHER).await);
        assert_eq!(app.value("token").await, token);
    };
    let (rotated, ()) = tokio::join!(app.rotate("token", &token), crowd);
    assert_ne!(rotated.json()["value"], *token);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_report_overload_in_their_own_form() {
    let service = Service::start(|_, _| (200, r#"{"expires_in":7200}"#.to_owned()));
    let over = json!({
        "server": { "maxWaiting": 1 }, "wetoken": {}, "hub": { "keys": { "key1": hub::KEY } },
        "apps": [{ "key": APP, "secret": APP_SECRET, "token": deliveries::TOKEN, "messages": "echo" }],
        "wechatServer": { "token": "wechat-server-token" },
        "sources": { "corp": { "url": service.url, "method": "GET" } },
    });
    let app = TestApp::with(over).await;
    app.sandbox.fault(Fault::delay(Duration::from_secs(1)));
    let told = async {
        eventually("the place is taken", async || app.sandbox.calls(TOKEN) == 1).await;
        let answer = hub::ask(&app, "/access-token", &hub::good()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            (503, "1"),
            "{}",
            answer.body
        );
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert!(
            answer.body.starts_with("too many requests"),
            "{}",
            answer.body
        );
        let answer = app.get(&format!("/wx/{APP}/token/get")).await;
        assert!(
            answer
                .body
                .starts_with(r#"{"errcode":400,"errmsg":"too many requests"#),
            "{}",
            answer.body
        );
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            (200, "1")
        );
        let asked = app.request(Method::GET, "/api/wechat/access_token");
        let answer = app
            .send(asked.header("authorization", "wechat-server-token"))
            .await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["success"]),
            (200, &json!(false))
        );
        let answer = app.get("/token?name=corp").await;
        assert!(
            answer.body.starts_with(r#"{"error":"too many requests"#),
            "{}",
            answer.body
        );
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            (503, "1")
        );
    };
    let (served, ()) = tokio::join!(app.query("token"), told);
    assert_eq!(served.status, 200);
    app.stop().await;
}

#[tokio::test]
async fn a_hanging_back_end_holds_bounded_messages() {
    let backend = Backend::answering("success");
    backend.order(|orders| orders.after = Duration::from_secs(1));
    let rules = json!([{ "on": "text", "match": "^rule", "reply": { "text": "at once" } }, { "on": "*", "forward": backend.url }]);
    let apps = json!([{ "key": APP, "secret": APP_SECRET, "token": deliveries::TOKEN, "messages": rules }]);
    let app = TestApp::with(json!({ "apps": apps, "server": { "maxWaiting": 1 } })).await;
    let refused = async {
        eventually("the first is with the back end", async || {
            backend.received().len() == 1
        })
        .await;
        overloaded(&push(&app, &text("second", 2)).await);
        assert_eq!(
            deliveries::said(&push(&app, &text("rule", 3)).await),
            "at once"
        );
    };
    let first = text("first", 1);
    let (first, ()) = tokio::join!(push(&app, &first), refused);
    assert_eq!(
        (first.status.as_u16(), first.body.as_str()),
        (200, "success")
    );
    eventually("WeChat's next try is taken", async || {
        push(&app, &text("second", 2)).await.status == 200
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_upstream_delays_no_other_account() {
    let app = two(json!({ "workers": 2, "maxWaiting": 10_000 })).await;
    assert_eq!(
        (
            query(&app, OTHER).await.status,
            config(&app, OTHER).await.status
        ),
        (200.try_into().unwrap(), 200.try_into().unwrap())
    );
    app.sandbox.fault(Fault::hang().of(APP));
    let waiting = join_all((0..2000).map(|_| query(&app, APP)));
    let others = async {
        eventually("the account hangs", async || {
            app.sandbox.calls_of(APP, TOKEN) == 1
        })
        .await;
        for _ in 0..100 {
            let (query, config) = tokio::join!(query(&app, OTHER), config(&app, OTHER));
            assert_eq!((query.status.as_u16(), config.status.as_u16()), (200, 200));
        }
        // Neither cached nor the account with problems: this query calls WeChat, ahead of all who
        // wait.
        let card = app
            .get(&signed_v2("GET", OTHER, &[("key", "card_ticket")]))
            .await;
        assert_eq!(card.status, 200, "{}", card.body);
        app.sandbox.calls_of(APP, TOKEN)
    };
    let (answers, calls) = tokio::join!(waiting, others);
    assert_eq!(calls, 1, "all this while the account hung");
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 503)
        .collect();
    refused.iter().for_each(|answer| overloaded(answer));
    assert_eq!(refused.len(), 1000, "a thousand waited, as they may");
    answers
        .iter()
        .filter(|answer| answer.status != 503)
        .for_each(|answer| drop(answer.problem(504, "upstream_timeout")));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_keeps_rotating_delays_nobody_else() {
    let app = two(json!({ "workers": 2 })).await;
    assert_eq!(query(&app, OTHER).await.status, 200);
    let (token, done) = (
        app.value("token").await,
        tokio::sync::watch::channel(false).0,
    );
    let rotating = join_all((0..50).map(|_| async {
        let mut turns = 0;
        let mut current = token.clone();
        while !*done.borrow() {
            current = app.rotate("token", &current).await.json()["value"]
                .as_str()
                .expect("a value")
                .to_owned();
            turns += 1;
        }
        turns
    }));
    let others = async {
        for _ in 0..200 {
            assert_eq!(query(&app, OTHER).await.status, 200);
        }
        let card = app
            .get(&signed_v2("GET", OTHER, &[("key", "card_ticket")]))
            .await;
        assert_eq!(card.status, 200, "{}", card.body);
        done.send_replace(true);
    };
    let (turns, ()) = tokio::join!(rotating, others);
    assert!(turns.iter().sum::<u32>() > 50, "{turns:?}");
    assert_eq!(
        app.sandbox.calls_of(APP, TOKEN),
        2,
        "the limit holds, and WeChat notices nothing"
    );
    app.stop().await;
}

/// A connection that has sent only `bytes`.
pub(crate) async fn began(server: SocketAddr, bytes: &str) -> TcpStream {
    let mut connection = TcpStream::connect(server)
        .await
        .expect("the server listens");
    connection
        .write_all(bytes.as_bytes())
        .await
        .expect("a fresh connection");
    connection
}

/// Everything until the server closes.
async fn rest(mut connection: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset ends it as well as a close.
    drop(connection.read_to_end(&mut answer).await);
    String::from_utf8(answer).expect("our answers are text")
}

/// The first bytes of an answer.
async fn first(connection: &mut TcpStream) -> String {
    let mut answer = [0; 4096];
    let length = connection.read(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// The head of a `POST` with a body of 100 bytes, and the first of them.
pub(crate) fn half_a_post(path: &str, content_type: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: {content_type}\r\ncontent-length: 100\r\n\r\n{{"
    )
}

#[tokio::test]
async fn slow_clients_are_dropped() {
    let app = TestApp::start().await;
    let form = "application/x-www-form-urlencoded";
    let posts = [
        (format!("/jsapi/{APP}/config"), "application/json"),
        (format!("/wechat/{APP}"), "text/xml"),
        ("/wechat/weblogin".to_owned(), form),
        ("/login".to_owned(), form),
        ("/nowhere".to_owned(), form),
    ];
    let mut dawdlers = vec![
        "GET /ping HTTP/1.1\r\nhost: te".to_owned(),
        "G".to_owned(),
        String::new(),
    ];
    dawdlers.extend(
        posts
            .iter()
            .map(|(path, content_type)| half_a_post(path, content_type)),
    );
    dawdlers.push("GET /ping HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\n{".to_owned());
    let ended = join_all(dawdlers.iter().map(async |bytes| {
        let ended = rest(began(app.address(), bytes).await);
        tokio::time::timeout(Duration::from_secs(30), ended)
            .await
            .unwrap_or_else(|_| panic!("still open: {bytes:?}"))
    }));
    for (bytes, answer) in dawdlers.iter().zip(ended.await) {
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 "),
            "{bytes:?}: {answer}"
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn unfinished_bodies_take_bounded_memory() {
    let app = TestApp::with(json!({ "server": { "maxWaiting": 1 } })).await;
    let path = format!("/jsapi/{APP}/config");
    let mut posts = [(); 2].map(|()| None);
    for post in &mut posts {
        *post = Some(began(app.address(), &half_a_post(&path, "application/json")).await);
    }
    let mut posts = posts.map(|post| post.expect("both are open"));
    let (refused, which, _) = select_all(posts.iter_mut().map(|post| Box::pin(first(post)))).await;
    assert!(
        refused.starts_with("HTTP/1.1 503") && refused.contains("overloaded"),
        "{refused}"
    );
    let held = &mut posts[1 - which];
    // 99 bytes more make an object of it.
    held.write_all(format!("{:99}", "}").as_bytes())
        .await
        .expect("it is still open");
    let answer = first(held).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    app.stop().await;
}

const PING: &str = "GET /ping HTTP/1.1\r\nhost: test\r\n\r\n";

#[tokio::test]
async fn surplus_connections_wait_until_another_ends() {
    let app = TestApp::with(json!({ "server": { "maxConnections": 2 } })).await;
    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut connection = began(app.address(), PING).await;
        assert!(first(&mut connection).await.starts_with("HTTP/1.1 200"));
        inside.push(connection);
    }
    let mut outside = began(app.address(), PING).await;
    let waits = tokio::time::timeout(Duration::from_millis(300), outside.readable()).await;
    assert!(waits.is_err(), "it is not even accepted");
    drop(inside.pop());
    assert!(first(&mut outside).await.starts_with("HTTP/1.1 200"));
    drop((inside, outside));
    app.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_low_file_limit_reserves_files_and_does_not_spin() {
    let folder = folder();
    let sandbox = TestApp::start().await;
    write_settings(folder.path(), &settings(&sandbox.sandbox.url(), json!({})));
    let process = Process::start_with_files(folder.path(), 64)
        .listening()
        .await;
    let told = process.logged_about("server.maxConnections").await;
    assert_eq!(
        (told["connections"].as_u64(), told["files"].as_u64()),
        (Some(32), Some(64))
    );
    let address: SocketAddr = process
        .url
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let connections = join_all((0..100).map(|_| began(address, ""))).await;
    let before = process.ticks();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let used = process.ticks() - before;
    assert!(used < 20, "{used} hundredths of a second to do nothing");
    drop(connections);
    let query = signed_v2("GET", APP, &[("key", "token")]);
    let value = process.get(&query).await.json()["value"]
        .as_str()
        .map(str::to_owned);
    assert!(
        value.is_some_and(|value| sandbox.sandbox.accepts(&value)),
        "there are files left to ask WeChat"
    );
    assert!(!process.log().iter().any(|line| {
        line["message"]
            .as_str()
            .is_some_and(|said| said.contains("Too many open files"))
    }));
    drop(process);
    sandbox.stop().await;
}
