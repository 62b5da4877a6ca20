//! Load on three processes. Every answer is recorded, together with whether WeChat would accept the
//! returned value.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sandbox::Sandbox;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use wechat::signature;

use super::app::{APP, signed_v2};
use super::fleet::{AIR, PROCESSES, TIMEOUT};

/// Timeout of a request, far beyond any bound. Such a request is recorded as unanswered.
const HUNG: Duration = Duration::from_secs(10);

/// The interval between requests: thirty per second in total.
const BEAT: Duration = Duration::from_millis(33);

/// A running load.
pub(crate) struct Load {
    seen: watch::Sender<Vec<Answer>>,
    stop: watch::Sender<()>,
    running: JoinHandle<()>,
}

impl Load {
    /// Sends thirty requests per second to all processes, for tokens and for signed configurations,
    /// until it is stopped.
    pub(crate) fn start(asker: &LoadClient) -> Self {
        let (asker, seen) = (asker.clone(), watch::Sender::new(Vec::new()));
        let (stop, mut stopped) = watch::channel(());
        let kept = seen.clone();
        let running = tokio::spawn(async move {
            let (mut beat, mut asks) = (tokio::time::interval(BEAT), JoinSet::new());
            for number in 0.. {
                tokio::select! {
                    _ = beat.tick() => {}
                    _ = stopped.changed() => break,
                }
                let (asker, kept) = (asker.clone(), kept.clone());
                let path = if (number / PROCESSES).is_multiple_of(2) {
                    query(APP)
                } else {
                    config()
                };
                asks.spawn(async move {
                    let answer = asker.ask(number % PROCESSES, path).await;
                    kept.send_modify(|seen| seen.push(answer));
                });
            }
            asks.join_all().await;
        });
        Self {
            seen,
            stop,
            running,
        }
    }

    /// Waits for this many more answers.
    pub(crate) async fn more(&self, answers: usize) {
        let mut seen = self.seen.subscribe();
        let wanted = seen.borrow().len() + answers;
        seen.wait_for(|seen| seen.len() >= wanted)
            .await
            .expect("the load runs");
    }

    /// Stops the load and returns all answers, including those still in flight.
    pub(crate) async fn stop(self) -> Seen {
        drop(self.stop);
        self.running.await.expect("the load does not panic");
        Seen(self.seen.borrow().clone())
    }
}

/// The recorded answers.
#[derive(Debug)]
pub(crate) struct Seen(Vec<Answer>);

impl Seen {
    /// Asserts that all are successful and valid. Returns their number and the slowest.
    #[track_caller]
    pub(crate) fn all_good(&self) -> (usize, Duration) {
        let mut bad = BTreeMap::<_, usize>::new();
        for answer in self.0.iter().filter(|answer| !answer.is_good()) {
            *bad.entry((
                answer.member,
                answer.status,
                answer.code.clone(),
                answer.is_alive,
            ))
            .or_default() += 1;
        }
        assert!(
            bad.is_empty(),
            "of {} answers, by process, status, code and whether it was alive: {bad:?}",
            self.0.len()
        );
        let slowest = self
            .0
            .iter()
            .map(|answer| answer.took)
            .max()
            .expect("there was a load");
        assert!(
            slowest < TIMEOUT + AIR,
            "nothing hangs past WeChat's timeout, but this took {slowest:?}"
        );
        (self.0.len(), slowest)
    }

    /// The answers of all processes except one.
    pub(crate) fn without(mut self, member: usize) -> Self {
        self.0.retain(|answer| answer.member != member);
        self
    }
}

/// One recorded answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) member: usize,
    /// 0 means no answer.
    pub(crate) status: u16,
    /// The code of the problem.
    pub(crate) code: String,
    pub(crate) retry_after: bool,
    pub(crate) value: Option<String>,
    /// True if WeChat would accept the value or the signature.
    pub(crate) is_alive: bool,
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn is_good(&self) -> bool {
        self.status == 200 && self.is_alive
    }

    /// True for an immediate refusal because the store is down, with a time to retry.
    #[track_caller]
    pub(crate) fn is_refused_for_the_store(&self, within: Duration) {
        assert_eq!(
            (self.status, self.code.as_str(), self.retry_after),
            (503, "store_unavailable", true),
            "{self:?}"
        );
        assert!(self.took < within + AIR, "{self:?}");
    }
}

/// Sends requests to the processes and checks the answers.
#[derive(Clone)]
pub(crate) struct LoadClient {
    sandbox: Sandbox,
    client: reqwest::Client,
    urls: Arc<Mutex<Vec<String>>>,
}

impl LoadClient {
    /// For the processes at these addresses, whose credentials come from that sandbox.
    pub(crate) fn new(sandbox: &Sandbox, urls: Vec<String>) -> Self {
        let client = reqwest::Client::builder()
            .timeout(HUNG)
            .no_proxy()
            .build()
            .expect("a client");
        Self {
            sandbox: sandbox.clone(),
            client,
            urls: Arc::new(Mutex::new(urls)),
        }
    }

    /// Changes the address of one process.
    pub(crate) fn moved(&self, member: usize, url: &str) {
        locked(&self.urls)[member] = url.to_owned();
    }

    /// Requests `path` from one process.
    pub(crate) async fn ask(&self, member: usize, path: String) -> Answer {
        let (url, asked) = (
            format!("{}{path}", locked(&self.urls)[member]),
            Instant::now(),
        );
        let heard = async {
            let response = self.client.get(url).send().await.ok()?;
            let (status, retry_after) = (
                response.status().as_u16(),
                response.headers().contains_key("retry-after"),
            );
            Some((status, retry_after, response.text().await.ok()?))
        };
        let (status, retry_after, body) = heard.await.unwrap_or_default();
        let took = asked.elapsed();
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let value = text("value").or_else(|| text("signature"));
        let is_alive = value
            .as_ref()
            .is_some_and(|value| match body["nonceStr"].as_str() {
                None => self.sandbox.accepts(value),
                Some(nonce) => {
                    let (ticket, at) = (
                        self.sandbox.current_ticket(APP).unwrap_or_default(),
                        body["timestamp"].as_u64().unwrap_or_default(),
                    );
                    signature::jsapi(&ticket, nonce, at, PAGE).text() == *value
                }
            });
        Answer {
            member,
            status,
            code: text("code").unwrap_or_default(),
            retry_after,
            value,
            is_alive,
            took,
        }
    }
}

const PAGE: &str = "https://shop.example.com/";

/// The path of a signed query for an account's token.
pub(crate) fn query(app: &str) -> String {
    signed_v2("GET", app, &[("key", "token")])
}

/// The path of a signed configuration for a page.
pub(crate) fn config() -> String {
    format!("/jsapi/{APP}/config?url={PAGE}")
}

fn locked(urls: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    urls.lock().unwrap_or_else(PoisonError::into_inner)
}
