//! Other programs on our store, as during a migration: the Node original on Redis and with its
//! cache file, micro-plat/wetoken on MariaDB. They fetch and write while three instances of ours
//! serve, renew and rotate. Tokens are valid for seconds.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sandbox::{Sandbox, SandboxOptions, Tuning};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::sql_store::install;
use crate::sql_wetoken::create_wetokens_tables;
use crate::support::app::{APP, APP_SECRET, signed_v2};
use crate::support::databases::{self, Database};
use crate::support::fleet::{AIR, Fleet, PROCESSES, TOKEN, figure};
use crate::support::npm::Node;
use crate::support::process::{Process, folder, settings};
use crate::support::redis::RedisServer;

/// How long a token is valid.
const LIFETIME: Duration = Duration::from_secs(12);

/// When our renewal is due at the earliest: a second before the expiry, and half a second for
/// rounding.
const RENEWED_AFTER: Duration = Duration::from_millis(10_500);

/// Within this time an instance returns what another program wrote.
const PROMISED: Duration = Duration::from_secs(1);

fn token_key() -> String {
    format!("{APP}.token")
}

fn companion_key() -> String {
    format!("{APP}.token.version")
}

/// The original's cache, as a process of Node.js.
struct Original {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Original {
    /// `None`, with a message, where Node.js or its Redis client is missing.
    fn node() -> Option<Node> {
        Node::with("node-redis", "foreign/package.json")
    }

    fn start(node: &Node, arguments: &[&str]) -> Self {
        let mut command = node.run("foreign/original.js", Path::new("."));
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pipes = Mutex::new((
            child.stdin.take().unwrap(),
            BufReader::new(child.stdout.take().unwrap()),
        ));
        Self { child, pipes }
    }

    fn ask(&self, request: &Value) -> Value {
        let (requests, answers) = &mut *self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(requests, "{request}").unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the original did not answer {request}"))
    }

    fn get(&self) -> Option<String> {
        self.ask(&json!({ "get": token_key() }))
            .as_str()
            .map(str::to_owned)
    }

    fn put(&self, key: &str, value: &str, ttl: u64) {
        self.ask(&json!({ "put": key, "value": value, "ttl": ttl }));
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A store and the other program that uses it.
enum Foreigner {
    Redis(RedisServer, Original),
    Wetoken(Database<'static>),
}

impl Foreigner {
    fn cache(&self) -> Value {
        match self {
            Self::Redis(server, _) => json!({ "redis": server.url() }),
            Self::Wetoken(database) => json!({ "sql": database.url() }),
        }
    }

    /// The token as that program reads it.
    fn get(&self) -> Option<String> {
        match self {
            Self::Redis(_, original) => original.get(),
            Self::Wetoken(database) => {
                let row = database.sql(&format!(
                    "SELECT t.access_token FROM wechat_access_token t WHERE t.appid = '{APP}' AND t.expire_date > now()"
                ));
                (!row.is_empty()).then_some(row)
            }
        }
    }

    /// Writes a token as that program does.
    fn put(&self, token: &str, seconds: u64) {
        match self {
            Self::Redis(_, original) => original.put(&token_key(), token, seconds),
            Self::Wetoken(database) => drop(database.sql(&format!(
                "UPDATE wechat_access_token t SET t.access_token = '{token}', t.expire = {seconds},
                 t.expire_date = DATE_ADD(now(), INTERVAL {seconds} SECOND), t.update_time = now(), t.message = 'success'
                 WHERE t.appid = '{APP}'"
            ))),
        }
    }

    /// Fetches a token from WeChat and writes it.
    async fn fetch_and_put(&self, sandbox: &Sandbox) -> String {
        let (token, seconds) = fetch(sandbox).await;
        self.put(&token, seconds);
        token
    }

    /// Asserts that the store has `token` byte for byte as that program writes it.
    #[track_caller]
    fn holds_in_its_own_form(&self, token: &str) {
        let lifetime = i64::try_from(LIFETIME.as_secs()).unwrap();
        match self {
            Self::Redis(server, _) => {
                let key = token_key();
                assert_eq!(server.cli(&["GET", &key]), format!("\"{token}\""));
                let left: i64 = server.cli(&["TTL", &key]).parse().unwrap();
                assert!((0..=lifetime).contains(&left), "{left}");
            }
            Self::Wetoken(database) => {
                let row = database.sql(&format!(
                    "SELECT t.appid, t.access_token, t.message, t.expire, TIMESTAMPDIFF(SECOND, t.update_time, t.expire_date)
                     FROM wechat_access_token t WHERE t.appid = '{APP}'"
                ));
                let cells: Vec<&str> = row.split('\t').collect();
                assert_eq!(cells[..3], [APP, token, "success"]);
                let [expire, spans] = [cells[3], cells[4]].map(|cell| cell.parse::<i64>().unwrap());
                assert!(
                    (1..=lifetime).contains(&expire) && expire.abs_diff(spans) <= 1,
                    "{row}"
                );
            }
        }
    }

    fn has_companion(&self) -> bool {
        match self {
            Self::Redis(server, _) => server.cli(&["EXISTS", &companion_key()]) == "1",
            Self::Wetoken(database) => {
                database.sql(&format!(
                    "SELECT COUNT(*) FROM jsdkd_record WHERE name = '{}'",
                    companion_key()
                )) == "1"
            }
        }
    }

    fn delete_companion(&self) {
        match self {
            Self::Redis(server, _) => drop(server.cli(&["DEL", &companion_key()])),
            Self::Wetoken(database) => {
                drop(database.sql(&format!(
                    "DELETE FROM jsdkd_record WHERE name = '{}'",
                    companion_key()
                )));
            }
        }
    }
}

async fn fetch(sandbox: &Sandbox) -> (String, u64) {
    let query = format!("grant_type=client_credential&appid={APP}&secret={APP_SECRET}");
    let answer = reqwest::get(format!("{}{TOKEN}?{query}", sandbox.url()))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let granted: Value = serde_json::from_str(&answer).unwrap();
    (
        granted["access_token"].as_str().unwrap().to_owned(),
        granted["expires_in"].as_u64().unwrap(),
    )
}

async fn on_redis() -> Option<Foreigner> {
    let node = Original::node()?;
    let server = RedisServer::start();
    let original = Original::start(&node, &["redis", &server.port().to_string()]);
    Some(Foreigner::Redis(server, original))
}

async fn on_mariadb() -> Option<Foreigner> {
    let database = databases::mariadb()?;
    create_wetokens_tables(&database);
    install(&database.url()).await;
    Some(Foreigner::Wetoken(database))
}

/// Calls every instance and the other program until `stop` changes. Every token must be one that
/// WeChat accepts. Returns the number of calls.
async fn callers(fleet: &Fleet, foreigner: &Foreigner, stop: watch::Receiver<bool>) -> usize {
    let mut answers = 0;
    while !*stop.borrow() {
        for answer in join_all((0..PROCESSES).map(|member| fleet.ask(member, APP))).await {
            assert!(answer.is_good(), "{answer:?}");
        }
        let read = foreigner
            .get()
            .expect("the token is renewed before it expires");
        assert!(
            fleet.sandbox.accepts(&read),
            "the other program reads a dead token"
        );
        answers += PROCESSES + 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    answers
}

/// Waits until the store has another token than `before`, and returns it.
async fn renewed(foreigner: &Foreigner, before: &str) -> String {
    let begun = Instant::now();
    loop {
        if let Some(found) = foreigner.get().filter(|found| found != before) {
            return found;
        }
        assert!(begun.elapsed() < LIFETIME + AIR, "nobody renewed it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One account, two programs: writes of both, renewals ahead, a rotation, and a lost companion.
async fn share_a_store(foreigner: Foreigner, name: &str) {
    let (begun, fleet) = (
        Instant::now(),
        Fleet::with_short_lifetime(foreigner.cache(), LIFETIME).await,
    );
    let (stop, stopped) = watch::channel(false);
    let picked_up = async |token: &str, what: &str| {
        fleet
            .convergence(APP, token)
            .await
            .within(PROMISED, &format!("{name}: {what}"));
    };
    let scene = async {
        let ours = foreigner.get().expect("it reads what we wrote");
        foreigner.holds_in_its_own_form(&ours);
        assert!(foreigner.has_companion());

        let theirs = foreigner.fetch_and_put(&fleet.sandbox).await;
        picked_up(&theirs, "a token that the other program wrote").await;
        foreigner.delete_companion();
        let ours = renewed(&foreigner, &theirs).await;
        foreigner.holds_in_its_own_form(&ours);
        assert!(
            foreigner.has_companion(),
            "the renewal gives the value its companion again"
        );

        let answer = fleet.rotate(1, APP, &ours).await;
        let rotated = answer.value.expect("a new token");
        assert_ne!(rotated, ours);
        foreigner.holds_in_its_own_form(&rotated);
        assert_eq!(
            foreigner.get().as_deref(),
            Some(rotated.as_str()),
            "there at once for the other program"
        );
        picked_up(&rotated, "a token after a rotation").await;

        foreigner.fetch_and_put(&fleet.sandbox).await;
        let second = foreigner.fetch_and_put(&fleet.sandbox).await;
        picked_up(&second, "the second of two tokens in a row").await;
        let calls = fleet.tokens(APP);
        let ours = renewed(&foreigner, &second).await;
        foreigner.holds_in_its_own_form(&ours);
        picked_up(&ours, "a token after a renewal").await;
        assert_eq!(
            fleet.tokens(APP) - calls,
            1,
            "a foreign token is kept until its renewal is due"
        );
        stop.send(true).expect("there are callers");
    };
    let (answers, ()) = tokio::join!(callers(&fleet, &foreigner, stopped), scene);
    // Our first call, a rotation and three foreign ones; all others are renewals ahead.
    let (calls, renewals) = (
        fleet.tokens(APP),
        begun.elapsed().as_secs_f64() / RENEWED_AFTER.as_secs_f64(),
    );
    figure(
        &format!("{name}: answers, calls, seconds"),
        &(answers, calls, begun.elapsed().as_secs()),
    );
    assert!(
        calls <= 5 + renewals.ceil() as u64,
        "{calls} calls in {renewals} renewal periods"
    );
}

/// The other program fetches, we renew, and only then it writes its token, which ours has
/// superseded.
async fn cross_a_renewal(foreigner: Foreigner, name: &str) {
    let fleet = Fleet::with_short_lifetime(foreigner.cache(), LIFETIME).await;
    // Otherwise a ticket's renewal would meet the dead token first and use the one forced renewal
    // in 30 s.
    fleet.sandbox.tune(Tuning {
        overlap: Some(12),
        ..Tuning::default()
    });
    let first = fleet.token(0, APP).await;
    let (late, seconds) = fetch(&fleet.sandbox).await;
    let ours = renewed(&foreigner, &first).await;
    foreigner.put(&late, seconds);
    let written = Instant::now();
    for member in 0..PROCESSES {
        // A superseded token, which only a caller can report.
        while fleet.ask(member, APP).await.value.as_deref() != Some(late.as_str()) {
            assert!(
                written.elapsed() < PROMISED + AIR,
                "process {member} does not hand out what the other program wrote"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let calls = fleet.tokens(APP);
    let successor = fleet
        .rotate(2, APP, &late)
        .await
        .value
        .expect("a new token");
    assert!(successor != late && successor != ours && fleet.sandbox.accepts(&successor));
    fleet
        .convergence(APP, &successor)
        .await
        .within(PROMISED, &format!("{name}: the end of a crossed renewal"));
    foreigner.holds_in_its_own_form(&successor);
    assert_eq!(fleet.tokens(APP) - calls, 1, "one report, one call");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_and_we_share_a_redis_under_load() {
    let Some(foreigner) = on_redis().await else {
        return;
    };
    share_a_store(foreigner, "the Node original on our Redis").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wetoken_and_we_share_a_mariadb_under_load() {
    let Some(foreigner) = on_mariadb().await else {
        return;
    };
    share_a_store(foreigner, "wetoken on our MariaDB").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_original_that_writes_late_costs_one_report() {
    let Some(foreigner) = on_redis().await else {
        return;
    };
    cross_a_renewal(foreigner, "the Node original on our Redis").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wetoken_that_writes_late_costs_one_report() {
    let Some(foreigner) = on_mariadb().await else {
        return;
    };
    cross_a_renewal(foreigner, "wetoken on our MariaDB").await;
}

/// The text of an entry in the cache file, up to the end of its object.
fn entry(file: &Path, key: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let (_, rest) = text
        .split_once(&format!("\"{key}\":"))
        .unwrap_or_else(|| panic!("no {key} in the file"));
    format!("{}}}", rest.split_once('}').unwrap().0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_and_we_share_a_cache_file() {
    let Some(node) = Original::node() else { return };
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let accounts = vec![(APP.to_owned(), APP_SECRET.to_owned())];
    let options = SandboxOptions {
        accounts,
        ..SandboxOptions::default()
    };
    let (sandbox, _running) = Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .unwrap();
    let folder = folder();
    let file = folder.path().join("cache.json");
    let settings = settings(&sandbox.url(), json!({ "cache": { "file": file } }));
    let token_at = async |process: &Process| {
        let answer = process
            .get(&signed_v2("GET", APP, &[("key", "token")]))
            .await;
        answer.json()["value"].as_str().unwrap().to_owned()
    };
    for round in 1..=3 {
        let original = Original::start(&node, &["file", file.to_str().unwrap()]);
        let (theirs, seconds) = fetch(&sandbox).await;
        original.put(&token_key(), &theirs, seconds);
        original.put("other.token", "not-ours", 7200);
        drop(original);
        let others = entry(&file, "other.token");

        let calls = sandbox.calls(TOKEN);
        let mut process = Process::serve(folder.path(), &settings).await;
        assert_eq!(token_at(&process).await, theirs, "round {round}");
        assert_eq!(
            sandbox.calls(TOKEN),
            calls,
            "what the original left is served without a call"
        );
        process
            .get(&signed_v2(
                "GET",
                APP,
                &[("key", "token"), ("rotate", &theirs)],
            ))
            .await
            .json();
        let ours = token_at(&process).await;
        assert!(ours != theirs && sandbox.accepts(&ours));
        // However it ends, every answered value is in the file.
        if round == 2 {
            process.kill();
        } else {
            process.signal("TERM");
            assert_eq!(process.ended().await.code, Some(0));
        }
        let written = entry(&file, &token_key());
        let expires = serde_json::from_str::<Value>(&written).unwrap()["__expires"]
            .as_u64()
            .unwrap();
        assert_eq!(
            written,
            format!(r#"{{"value":"{ours}","__expires":{expires}}}"#)
        );
        assert_eq!(
            entry(&file, "other.token"),
            others,
            "an entry that is not ours stays as it is"
        );

        let original = Original::start(&node, &["file", file.to_str().unwrap()]);
        assert_eq!(
            original.get().as_deref(),
            Some(ours.as_str()),
            "round {round}"
        );
    }
    assert_eq!(sandbox.calls(TOKEN), 6, "two in each round");
}
