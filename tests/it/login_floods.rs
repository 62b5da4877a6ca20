//! Floods: codes that WeChat refuses, and clients that begin, hold and poll more than their share.
//! What it costs us, and that others are not affected.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::Clock;
use credentials::store::{MemoryStore, Store};
use futures_util::future::join_all;
use jsdkd::login::{Logins, NewScan, Polled, Requester, Scanned};
use reqwest::Method;
use sandbox::{Answer, Fault};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use wechat::account::TokenApi;

use crate::oauth::{EXCHANGE, SITE, one_site};
use crate::overload::{began, half_a_post};
use crate::scan_login::{Login, begin, behind_qrcode, scan};
use crate::sql_store::{install, sqlite};
use crate::support::app::{APP, Response, TestApp, lay};
use crate::support::databases;
use crate::support::fleet::figure;
use crate::support::keepers::{account, client, eventually};
use crate::support::process::{Process, folder, settings, write_settings};
use crate::support::redis::RedisServer;
use crate::support::visitor::{Browser, parameter};

const STRANGER: &str = "198.51.100.7";

/// Much less than WeChat's timeout in these tests.
const AT_ONCE: Duration = Duration::from_millis(900);

async fn with_cache(cache: Value) -> TestApp {
    let mut settings = one_site();
    lay(&mut settings, json!({ "cache": cache }));
    TestApp::with(settings).await
}

/// Another instance on the store of `first`, with the same WeChat.
async fn beside(first: &TestApp, cache: Value) -> TestApp {
    let mut settings = one_site();
    lay(
        &mut settings,
        json!({ "cache": cache, "wechat": { "api": [first.sandbox.url()], "open": first.sandbox.url() } }),
    );
    TestApp::with(settings).await
}

/// A phone returns with `code`.
async fn bring(app: &TestApp, login: &Login, code: &str, from: &str) -> Response {
    let path = format!("/wechat/weblogin?state={}&code={code}", state_of(login));
    app.send(
        app.request(Method::GET, &path)
            .header("x-forwarded-for", from),
    )
    .await
}

fn shop() -> Requester {
    Requester::BackEnd("shop.example.com".to_owned())
}

/// The `state` in the QR code.
fn state_of(login: &Login) -> String {
    parameter(&login.at_wechat, "state").expect("a state")
}

/// The callback of a new login, without a code.
async fn depart(browser: &Browser<'_>) -> String {
    let begun = browser.open(&format!("/oauth/{APP}?redirect={SITE}")).await;
    let trip = parameter(begun.header("location"), "state").expect("a state");
    format!("/oauth/{APP}/callback?state={trip}")
}

/// A refused code is refused again at once, with one call to WeChat, by both ways to log in.
async fn refused_again_at_once(app: &TestApp, other: Option<&TestApp>) {
    let login = begin(app).await;
    let browser = Browser::new(app);
    let trip = format!("{}&code=DEAD", depart(&browser).await);
    let before = app.sandbox.calls(EXCHANGE);
    assert_eq!(
        (
            bring(app, &login, "DEAD", "10.0.0.1").await.status,
            browser.open(&trip).await.status
        ),
        (400.try_into().unwrap(), 400.try_into().unwrap())
    );
    for app in [Some(app), other].into_iter().flatten() {
        let begun = Instant::now();
        assert_eq!(bring(app, &login, "DEAD", "10.0.0.1").await.status, 400);
        let page = browser.at(app).open(&trip).await;
        assert_eq!(page.status, 400);
        assert!(
            page.body.contains("href"),
            "the way to begin again is still there: {}",
            page.body
        );
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    }
    assert_eq!(app.sandbox.calls(EXCHANGE), before + 2);
    app.get(&login.query).await.problem(404, "not_scanned_yet");
    assert_eq!(
        scan(app, &login, "Alice", Answer::Agree).await.status,
        200,
        "a good code is still taken"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_code_is_cached_on_every_store() {
    refused_again_at_once(&with_cache(json!({ "memo": {} })).await, None).await;
    let folder = TempDir::new().unwrap();
    refused_again_at_once(
        &with_cache(json!({ "file": folder.path().join("cache.json") })).await,
        None,
    )
    .await;
    let redis = RedisServer::start();
    let (_folder, file) = sqlite();
    let databases = [databases::mariadb(), databases::postgres()];
    let urls = databases
        .iter()
        .flatten()
        .map(|database| database.url())
        .chain([file]);
    let mut caches = vec![json!({ "redis": redis.url() })];
    for url in urls {
        install(&url).await;
        caches.push(json!({ "sql": url }));
    }
    for cache in caches {
        let first = with_cache(cache.clone()).await;
        let second = beside(&first, cache).await;
        refused_again_at_once(&first, Some(&second)).await;
    }
}

/// The number of commands that Redis has processed, without this one.
fn commands(redis: &RedisServer) -> u64 {
    let stats = redis.cli(&["INFO", "stats"]);
    let processed = stats
        .lines()
        .find_map(|line| line.strip_prefix("total_commands_processed:"));
    processed
        .expect("a count")
        .trim()
        .parse()
        .expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_bad_code_costs_one_exchange() {
    let redis = RedisServer::start();
    let cache = json!({ "redis": redis.url() });
    let first = with_cache(cache.clone()).await;
    let second = beside(&first, cache).await;
    let login = begin(&first).await;
    let browser = Browser::new(&first);
    let trip = format!("{}&code=DEAD", depart(&browser).await);
    first.sandbox.fault(
        Fault::delay(Duration::from_millis(300))
            .on(EXCHANGE)
            .times(2),
    );
    let flood = async |app: &TestApp| {
        let browser = browser.at(app);
        let scans = join_all((0..200).map(|_| bring(app, &login, "DEAD", STRANGER)));
        let arrivals = join_all((0..200).map(|_| browser.open(&trip)));
        let (scans, arrivals) = tokio::join!(scans, arrivals);
        let statuses = scans
            .iter()
            .chain(&arrivals)
            .map(|page| page.status.as_u16());
        let strange: Vec<_> = statuses
            .filter(|status| !matches!(status, 400 | 429))
            .collect();
        assert!(strange.is_empty(), "{strange:?}");
        scans
            .iter()
            .chain(&arrivals)
            .filter(|page| page.status == 400)
            .count()
    };
    let (at_first, at_second) = tokio::join!(flood(&first), flood(&second));
    assert!(at_first >= 2 && at_second >= 2, "{at_first} {at_second}");
    assert_eq!(
        first.sandbox.calls(EXCHANGE),
        2,
        "one for the scan and one for the trip"
    );
    let before = commands(&redis);
    assert_eq!(
        (flood(&first).await, flood(&second).await),
        (400, 400),
        "each is told what is known by now"
    );
    let asked = commands(&redis) - before;
    figure(
        "commands to Redis for 800 requests at two instances with two dead codes",
        &asked,
    );
    assert!(asked < 100, "{asked} commands for 800 requests");
    assert_eq!(
        scan(&first, &login, "Alice", Answer::Agree).await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_login_allows_ten_codes() {
    let redis = RedisServer::start();
    let cache = json!({ "redis": redis.url() });
    let first = with_cache(cache.clone()).await;
    let second = beside(&first, cache).await;
    let login = begin(&first).await;
    let browser = Browser::new(&first);
    let trip = depart(&browser).await;
    let keys = redis.names_like("*").len();
    let begun = Instant::now();
    for round in 0..5 {
        let codes: Vec<String> = (0..20)
            .map(|number| format!("made-up-{round}-{number}"))
            .collect();
        let at_both = codes.iter().flat_map(|code| {
            [
                bring(&first, &login, code, "10.0.0.1"),
                bring(&second, &login, code, "10.0.0.1"),
            ]
        });
        let pages = join_all(at_both).await;
        assert!(
            pages.iter().all(|page| page.status == 400),
            "{:?}",
            pages.iter().map(|page| page.status).collect::<Vec<_>>()
        );
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "nobody waits: {:?}",
        begun.elapsed()
    );
    assert_eq!(first.sandbox.calls(EXCHANGE), 10);
    assert_eq!(
        redis.names_like("*").len(),
        keys,
        "{:?}",
        redis.names_like("*")
    );
    let arrivals = join_all((0..40).map(|number| {
        let (browser, trip) = (
            browser.at(if number % 2 == 0 { &first } else { &second }),
            &trip,
        );
        async move {
            browser
                .open(&format!("{trip}&code=made-up-{number}"))
                .await
                .status
        }
    }));
    assert!(arrivals.await.iter().all(|status| *status == 400));
    assert_eq!(
        (first.sandbox.calls(EXCHANGE), redis.names_like("*").len()),
        (11, keys),
        "a trip takes one code"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_a_dead_process_is_awaited_once() {
    let redis = RedisServer::start();
    let app = with_cache(json!({ "redis": redis.url() })).await;
    let (login, browser) = (begin(&app).await, Browser::new(&app));
    let trip = format!("{}&code=HUNG", depart(&browser).await);
    let folder = folder();
    let mut over = one_site();
    lay(
        &mut over,
        json!({ "cache": { "redis": redis.url() }, "wechat": { "open": app.sandbox.url() } }),
    );
    write_settings(folder.path(), &settings(&app.sandbox.url(), over));
    let mut doomed = Process::start(folder.path(), &[], &[]).listening().await;
    app.sandbox.fault(Fault::hang().on(EXCHANGE).times(2));
    let asks = [
        doomed.request(
            Method::GET,
            &format!("/wechat/weblogin?state={}&code=HUNG", state_of(&login)),
        ),
        doomed
            .request(Method::GET, &trip)
            .header("cookie", browser.cookie().unwrap()),
    ];
    let asks = asks.map(|ask| tokio::spawn(async move { ask.send().await.is_ok() }));
    eventually("both exchanges hang", async || {
        app.sandbox.calls(EXCHANGE) == 2
    })
    .await;
    doomed.kill();
    for ask in asks {
        assert!(!ask.await.unwrap());
    }
    let (phone, visitor) =
        tokio::join!(bring(&app, &login, "HUNG", "10.0.0.1"), browser.open(&trip));
    assert_eq!((phone.status.as_u16(), visitor.status.as_u16()), (504, 504));
    let begun = Instant::now();
    let (phone, visitor) =
        tokio::join!(bring(&app, &login, "HUNG", "10.0.0.1"), browser.open(&trip));
    assert_eq!(
        (
            phone.status.as_u16(),
            visitor.status.as_u16(),
            begun.elapsed() < AT_ONCE
        ),
        (504, 504, true)
    );
    assert_eq!(app.sandbox.calls(EXCHANGE), 2);
    assert_eq!(scan(&app, &login, "Alice", Answer::Agree).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_network_may_exchange_600_codes_a_minute() {
    let sandbox = with_cache(json!({ "memo": {} })).await;
    let folder = folder();
    let mut over = one_site();
    lay(
        &mut over,
        json!({ "wechat": { "open": sandbox.sandbox.url() } }),
    );
    let server = Process::serve(folder.path(), &settings(&sandbox.sandbox.url(), over)).await;
    let get = |path: String, from: String| {
        server
            .request(Method::GET, &path)
            .header("x-forwarded-for", from)
            .header("accept-language", "en")
    };
    let mut logins = Vec::new();
    for _ in 0..70 {
        let begun = server
            .request(Method::POST, "/login")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let begun: Value = serde_json::from_str(&begun).unwrap();
        let at_wechat = behind_qrcode(begun["qrcode_url"].as_str().unwrap());
        logins.push(parameter(&at_wechat, "state").unwrap());
    }
    let begun = Instant::now();
    let mut statuses = std::collections::BTreeMap::<u16, u32>::new();
    for (round, state) in logins.iter().enumerate() {
        let asks = (0..10).map(|number| {
            // One subscriber's /56 has 256 /64s.
            let from = format!("2001:db8:1:{:x}::{number}", round % 256);
            get(
                format!("/wechat/weblogin?state={state}&code=made-up-{number}"),
                from,
            )
            .send()
        });
        for answer in join_all(asks).await {
            *statuses
                .entry(answer.unwrap().status().as_u16())
                .or_default() += 1;
        }
    }
    assert_eq!(statuses, [(400, 600), (429, 100)].into());
    assert_eq!(sandbox.sandbox.calls(EXCHANGE), 600);
    let login = &logins[69];
    let others = get(
        format!("/wechat/weblogin?state={login}&code=made-up-x"),
        "2001:db8:1:1234::1".to_owned(),
    )
    .send()
    .await
    .unwrap();
    assert_eq!(
        others.status(),
        400,
        "another subscriber's code is exchanged"
    );
    let trip = server
        .request(Method::GET, &format!("/oauth/{APP}?redirect={SITE}"))
        .send()
        .await
        .unwrap();
    let header = |name: &str| trip.headers()[name].to_str().unwrap().to_owned();
    let state = parameter(&header("location"), "state").unwrap();
    let callback = get(
        format!("/oauth/{APP}/callback?state={state}&code=made-up"),
        "2001:db8:1:77::1".to_owned(),
    );
    let refused = callback
        .header("cookie", header("set-cookie").split(';').next().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            refused.status().as_u16(),
            refused.headers().contains_key("retry-after")
        ),
        (429, true),
        "redirects count, too"
    );
    let seconds = u32::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    let lines = u32::try_from(
        server
            .log()
            .iter()
            .filter(|line| line["level"] == "WARN")
            .count(),
    )
    .unwrap();
    assert!(
        lines <= 2 * 20 * (seconds + 1),
        "{lines} lines in {seconds} s"
    );
}

#[tokio::test]
async fn one_ipv6_subscriber_may_begin_600_logins_a_minute() {
    let app = with_cache(json!({ "memo": {} })).await;
    let from = async |address: &str| {
        app.send(
            app.request(Method::POST, "/login")
                .header("x-forwarded-for", address),
        )
        .await
        .status
        .as_u16()
    };
    for number in 0..600 {
        assert_eq!(
            from(&format!("2001:db8:1:{:x}::{number:x}", number % 256)).await,
            201
        );
    }
    assert_eq!(
        (
            from("2001:db8:1:7::7").await,
            from("2001:db8:1:107::7").await
        ),
        (429, 201)
    );
    let trip = app
        .request(Method::GET, &format!("/oauth/{APP}?redirect={SITE}"))
        .header("x-forwarded-for", "2001:db8:1::1");
    app.send(trip).await.problem(429, "too_many_logins");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_evicts_its_oldest_unused_login() {
    let app = with_cache(json!({ "memo": {} })).await;
    let store = Arc::new(MemoryStore::new(Default::default(), Clock::system()));
    let instance = || {
        Logins::new(
            Arc::clone(&store) as Arc<dyn Store>,
            client(&[&app.sandbox.url()]),
            Clock::system(),
        )
    };
    let (logins, other) = (instance(), instance());
    let begin_one = async || {
        logins
            .open_scan(APP, shop(), None)
            .await
            .expect("nobody is refused")
    };
    let oldest = [begin_one().await, begin_one().await, begin_one().await];
    for _ in oldest.len()..100_000 {
        begin_one().await;
    }
    let look = async |login: &NewScan| {
        logins
            .poll(&login.uuid, Duration::ZERO, None)
            .await
            .unwrap()
    };
    assert_eq!(look(&oldest[0]).await, Polled::Waiting);
    // The oldest is scanned at an instance that did not start it.
    let own = begin(&app).await;
    let at_wechat = own.at_wechat.replace(&state_of(&own), &oldest[0].picture);
    let code = parameter(
        &app.sandbox
            .visit(&at_wechat, "Alice", Answer::Agree)
            .unwrap(),
        "code",
    )
    .unwrap();
    assert_eq!(
        other
            .scanned(
                account(TokenApi::Basic),
                &oldest[0].picture,
                &code,
                Some(false),
                None
            )
            .await
            .unwrap(),
        Scanned::Done
    );
    let newest = begin_one().await;
    assert!(
        matches!(look(&oldest[0]).await, Polled::Done { .. }),
        "it is in use"
    );
    let seen = [
        look(&oldest[1]).await,
        look(&oldest[2]).await,
        look(&newest).await,
    ];
    assert_eq!(seen, [Polled::Unknown, Polled::Waiting, Polled::Waiting]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_network_holds_a_quarter_of_the_polls() {
    let (clock, wechat) = (Clock::system(), client(&["http://127.0.0.1:9"]));
    let logins = Logins::new(
        Arc::new(MemoryStore::new(Default::default(), clock.clone())),
        wechat,
        clock,
    );
    let id = logins.open_scan(APP, shop(), None).await.unwrap().uuid;
    let poll = |address: String| {
        let (logins, id) = (logins.clone(), id.clone());
        tokio::spawn(async move {
            logins
                .poll(&id, Duration::from_secs(60), Some(address.parse().unwrap()))
                .await
        })
    };
    let mut held: Vec<_> = (0..2_600)
        .map(|number| poll(format!("2001:db8:1:{:x}::1", number % 256)))
        .collect();
    let refused = |polls: &[tokio::task::JoinHandle<_>]| {
        polls.iter().filter(|poll| poll.is_finished()).count()
    };
    eventually("a hundred find no place", async || refused(&held) == 100).await;
    held.retain(|poll| !poll.is_finished());
    held.extend((0..100).map(|number| poll(format!("203.0.113.{number}"))));
    let mut own: Vec<_> = (0..7_500).map(|_| poll("10.0.0.1".to_owned())).collect();
    eventually(
        "all places are taken, three quarters of them by others",
        async || refused(&own) == 100,
    )
    .await;
    assert_eq!(refused(&held), 0);
    own.retain(|poll| !poll.is_finished());
    held.append(&mut own);
    logins.close();
    for poll in held {
        assert_eq!(poll.await.unwrap().unwrap(), Polled::Waiting);
    }
}

/// A request from `address` with half of its body.
async fn half_from(app: &TestApp, address: &str) -> TcpStream {
    let post = half_a_post(&format!("/jsapi/{APP}/config"), "application/json");
    began(
        app.address(),
        &post.replace(
            "host: test",
            &format!("host: test\r\nx-forwarded-for: {address}"),
        ),
    )
    .await
}

#[tokio::test]
async fn one_network_holds_a_quarter_of_the_unfinished_bodies() {
    // Bodies have a tenth of the permits, 16, and a network 4 of them.
    let app = TestApp::with(json!({ "server": { "maxWaiting": 160 } })).await;
    let mut held = Vec::new();
    for number in 0..4 {
        held.push(half_from(&app, &format!("2001:db8:1:{number}::1")).await);
    }
    let answer = async |connection: &mut TcpStream| {
        let mut answer = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(5), connection.read(&mut answer))
            .await
            .expect("an answer")
            .unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    };
    eventually("the four are held", async || {
        let mut fifth = half_from(&app, "2001:db8:1:ff::1").await;
        let mut byte = [0; 4096];
        let refused = tokio::time::timeout(Duration::from_millis(200), fifth.read(&mut byte)).await;
        matches!(refused, Ok(Ok(read)) if byte[..read].starts_with(b"HTTP/1.1 503"))
    })
    .await;
    for other in ["198.51.100.8", "10.0.0.1", "2001:db8:2::1"] {
        let mut connection = half_from(&app, other).await;
        tokio::io::AsyncWriteExt::write_all(&mut connection, format!("{:99}", "}").as_bytes())
            .await
            .unwrap();
        let answer = answer(&mut connection).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{other}: {answer}");
    }
    drop(held);
    app.stop().await;
}
