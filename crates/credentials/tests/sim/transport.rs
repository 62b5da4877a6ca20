//! The connections of an instance to WeChat and the store, and the faults on them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::{Clock, SteadyMillis, UnixMillis};
use futures_util::future::{BoxFuture, FutureExt, ready};
use jsdkd_credentials::store::{
    Apps, Changed, NewCredential, Pair, Record, Records, Store, StoreError, StoredApp,
    VersionedRecords,
};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{broadcast, oneshot};
use tokio::time::{sleep, timeout};
use wechat::{Request, Transport, WechatError};

use super::faults::FaultKind;
use super::host::BEGINNING;
use super::storage::{Process, Storage};
use super::wechat::{Said, WeChat};
use super::world::{SECOND, World};

/// The connection of one process to WeChat.
pub(crate) struct WechatTransport {
    pub(crate) world: Arc<World>,
    pub(crate) process: Process,
}

impl std::fmt::Debug for WechatTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.process.fmt(f)
    }
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    Basic(String),
    Stable(String, bool),
    Ticket(u64),
}

impl Question {
    fn read(request: &Request<'_>) -> Self {
        let field = |name| {
            request
                .query
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        match request.path {
            "/cgi-bin/token" => Self::Basic(field("appid").expect("an appid")),
            "/cgi-bin/stable_token" => {
                let body = request.json.as_deref().expect("a body");
                let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
                Self::Stable(
                    body["appid"].as_str().expect("an appid").to_owned(),
                    body["force_refresh"] == true,
                )
            }
            "/cgi-bin/ticket/getticket" => {
                Self::Ticket(number(&field("access_token").expect("a token")))
            }
            path => panic!("{path} is not asked here"),
        }
    }

    pub(crate) fn put(&self, wechat: &mut WeChat, now: u64) -> Said {
        match self {
            Self::Basic(app) => wechat.basic(app, now),
            Self::Stable(app, force) => wechat.stable(app, *force, now),
            Self::Ticket(token) => wechat.ticket(*token, now),
        }
    }

    fn body(&self, said: Said) -> Vec<u8> {
        match (said, self) {
            (Err(code), _) => format!(r#"{{"errcode":{code},"errmsg":"refused"}}"#),
            (Ok((value, seconds)), Self::Ticket(_)) => {
                format!(
                    r#"{{"errcode":0,"errmsg":"ok","ticket":"v{value}","expires_in":{seconds}}}"#
                )
            }
            (Ok((value, seconds)), _) => {
                format!(r#"{{"access_token":"v{value}","expires_in":{seconds}}}"#)
            }
        }
        .into_bytes()
    }
}

/// The number of a value; 0, which WeChat never grants, for anything else.
pub(crate) fn number(value: &str) -> u64 {
    value
        .strip_prefix('v')
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

impl Transport for WechatTransport {
    fn send<'a>(
        &'a self,
        request: Request<'a>,
    ) -> BoxFuture<'a, Result<(u16, Vec<u8>), WechatError>> {
        if request.path == "/cgi-bin/getcallbackip" {
            let (_, token) = request.query[0];
            return ready(self.probe(number(token))).boxed();
        }
        let question = Question::read(&request);
        async move {
            let world = &self.world;
            {
                let now = world.now();
                let mut state = world.state();
                let state = &mut *state;
                state
                    .invariants
                    .sends(&question, self.process, &state.storage, &state.wechat, now);
            }
            world.alive(self.process).await;
            world.maybe_hold_up(self.process);
            let answer = self.carry(question).await;
            world.alive(self.process).await;
            answer
        }
        .boxed()
    }
}

impl WechatTransport {
    /// Whether WeChat accepts `token`. It draws no random number, so that the runs of known seeds
    /// stay as they are.
    fn probe(&self, token: u64) -> Result<(u16, Vec<u8>), WechatError> {
        let (now, state) = (self.world.now(), self.world.state());
        let troubles = [
            FaultKind::WechatDown,
            FaultKind::WechatHangs,
            FaultKind::WechatBusy,
            FaultKind::WechatGarbage,
            FaultKind::WechatDeaf,
            FaultKind::WechatFlaky,
        ];
        if troubles.iter().any(|trouble| state.is(trouble)) {
            return Err(WechatError::Unreachable {
                cause: "no route to host".to_owned(),
            });
        }
        let body = match state.wechat.dead_since(token, now) {
            Some(_) => r#"{"errcode":40001,"errmsg":"refused"}"#,
            None => r#"{"ip_list":[]}"#,
        };
        Ok((200, body.as_bytes().to_vec()))
    }

    async fn carry(&self, question: Question) -> Result<(u16, Vec<u8>), WechatError> {
        let world = &self.world;
        let lost = || WechatError::Unreachable {
            cause: "no route to host".to_owned(),
        };
        let (is_flaky, trouble) = {
            let state = world.state();
            let plain = [
                FaultKind::WechatDown,
                FaultKind::WechatHangs,
                FaultKind::WechatBusy,
                FaultKind::WechatGarbage,
                FaultKind::WechatDeaf,
            ];
            (
                state.is(&FaultKind::WechatFlaky),
                plain.into_iter().find(|trouble| state.is(trouble)),
            )
        };
        let trouble = match trouble {
            None if is_flaky && world.chance(0.5) => {
                let one = world.state().rng.random_range(0..5);
                Some(
                    [
                        FaultKind::WechatDown,
                        FaultKind::WechatHangs,
                        FaultKind::WechatBusy,
                        FaultKind::WechatGarbage,
                        FaultKind::WechatDeaf,
                    ][one],
                )
            }
            other => other,
        };
        match trouble {
            Some(FaultKind::WechatDown) => {
                world.travel(1, 300).await;
                Err(lost())
            }
            Some(FaultKind::WechatHangs) => std::future::pending().await,
            Some(FaultKind::WechatBusy) => {
                world.travel(20, 600).await;
                Ok((200, br#"{"errcode":-1,"errmsg":"system error"}"#.to_vec()))
            }
            Some(FaultKind::WechatGarbage) => {
                world.travel(20, 600).await;
                Ok((502, b"<html>502 Bad Gateway</html>".to_vec()))
            }
            deaf => {
                let (tell, hear) = oneshot::channel();
                let (world, process) = (Arc::clone(world), self.process);
                // A sent request arrives, whether or not its sender still waits or runs.
                tokio::spawn(async move {
                    world.travel(10, 300).await;
                    let arrives_twice = world.chance(0.003);
                    let mut said = world.executes(&question, process);
                    if arrives_twice {
                        world.travel(1, 2000).await;
                        // Nobody can know that the network sent the request twice.
                        world.state().wechat.is_stranger = true;
                        let second = world.executes(&question, process);
                        world.state().wechat.is_stranger = false;
                        if world.chance(0.5) {
                            said = second;
                        }
                    }
                    if deaf.is_none() {
                        world.travel(10, 300).await;
                        tell.send(question.body(said)).ok();
                    } else {
                        sleep(Duration::from_secs(3600)).await;
                    }
                });
                hear.await
                    .map(|body| (200, body))
                    .map_err(|_| WechatError::Broken {
                        cause: "connection reset".to_owned(),
                    })
            }
        }
    }
}

impl World {
    /// The ledger under `key` was written: each new finding is judged once.
    fn judge_findings(&self, key: &str) {
        let now = self.now();
        let mut state = self.state();
        let state = &mut *state;
        let app = key.split('.').next().unwrap_or_default();
        let number_at = |key: &str| state.storage.get(key, now).map(|(value, _)| value);
        let ledger = number_at(key).unwrap_or_default();
        let ledger: serde_json::Value = serde_json::from_str(&ledger).unwrap_or_default();
        let found = ledger["foreign_total"].as_u64().unwrap_or_default();
        let value = number_at(&format!("{app}.token")).map_or(0, |value| number(&value));
        state
            .invariants
            .on_foreign_refresh(app, found, value, &state.wechat, now);
    }

    fn executes(&self, question: &Question, process: Process) -> Said {
        let now = self.now();
        let said = question.put(&mut self.state().wechat, now);
        self.note(|| format!("WeChat: {question:?} of host {} is {said:?}", process.host));
        said
    }
}

/// The connection of one process to the store.
pub(crate) struct StoreConnection {
    pub(crate) world: Arc<World>,
    pub(crate) process: Process,
    /// The clock of its host.
    pub(crate) clock: Clock,
}

/// How the key of a ledger ends.
const LEDGER: &str = ".ledger";

/// How long a process waits for the store.
const PATIENCE: Duration = Duration::from_millis(SECOND);

impl StoreConnection {
    fn failed(operation: &'static str) -> StoreError {
        StoreError {
            backend: "simulated",
            operation,
            cause: "no answer".to_owned(),
        }
    }

    /// Works on a ledger. It draws no random number, so that the runs of known seeds stay as they
    /// are; a store in trouble fails at once.
    fn on_ledger<T>(&self, work: impl FnOnce(&mut Storage, u64) -> T) -> Result<T, StoreError> {
        let (now, mut state) = (self.world.now(), self.world.state());
        let troubles = [
            FaultKind::CutOff(self.process.host),
            FaultKind::StoreDown,
            FaultKind::StoreHangs,
            FaultKind::StoreSlow,
            FaultKind::StoreFlaky,
        ];
        if troubles.iter().any(|trouble| state.is(trouble)) {
            return Err(Self::failed("ledger"));
        }
        Ok(work(&mut state.storage, now))
    }

    async fn act<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Fn(&mut Storage, u64) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let failed = || Self::failed(operation);
        let (world, process) = (Arc::clone(&self.world), self.process);
        if operation == "write" {
            world.maybe_hold_up(process);
        }
        world.alive(process).await;
        let (is_down, hangs, is_slow, is_flaky) = {
            let state = world.state();
            let cut_off = state.is(&FaultKind::CutOff(process.host));
            let is_down = state.is(&FaultKind::StoreDown);
            (
                is_down,
                cut_off || state.is(&FaultKind::StoreHangs),
                state.is(&FaultKind::StoreSlow),
                state.is(&FaultKind::StoreFlaky),
            )
        };
        if is_down || hangs || is_slow || is_flaky {
            world.state().invariants.store_failed_at = world.now();
        }
        let answer = if is_down {
            world.travel(1, 50).await;
            Err(failed())
        } else if hangs {
            sleep(PATIENCE).await;
            Err(failed())
        } else if is_slow || is_flaky {
            let (tell, hear) = oneshot::channel();
            let on_its_way = Arc::clone(&world);
            tokio::spawn(async move {
                let world = on_its_way;
                let longest = if is_slow { 600 } else { 5 };
                world.travel(1, longest).await;
                if is_flaky && world.chance(0.2) {
                    return sleep(PATIENCE).await;
                }
                let mut did = work(&mut world.state().storage, world.now());
                if is_flaky && world.chance(0.1) {
                    did = work(&mut world.state().storage, world.now());
                }
                if is_flaky && world.chance(0.2) {
                    return sleep(PATIENCE).await;
                }
                world.travel(1, longest).await;
                tell.send(did).ok();
            });
            timeout(PATIENCE, hear)
                .await
                .ok()
                .and_then(Result::ok)
                .ok_or_else(failed)
        } else {
            world.travel(0, 2).await;
            let did = work(&mut world.state().storage, world.now());
            world.travel(0, 2).await;
            Ok(did)
        };
        world.alive(process).await;
        if operation == "write" {
            world.maybe_lose();
        }
        answer
    }

    /// As in the real stores, the time to live is measured from the request.
    fn record(&self, found: Option<(String, u64)>, asked_at: SteadyMillis) -> Option<Record> {
        let (value, left) = found?;
        let left = Duration::from_millis(left).saturating_sub(asked_at.until(self.clock.steady()));
        Some(Record {
            value: SecretString::from(value),
            expires_at: self.clock.wall().plus(left),
        })
    }

    fn left(&self, record: &Record) -> u64 {
        u64::try_from(self.clock.wall().until(record.expires_at).as_millis())
            .expect("no life is so long")
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).expect("no span is so long")
}

#[async_trait]
impl Store for StoreConnection {
    fn is_shared(&self) -> bool {
        true
    }

    fn changes(&self) -> Option<broadcast::Receiver<Changed>> {
        let (ear, news) = broadcast::channel(64);
        self.world.state().listeners.push((self.process, ear));
        Some(news)
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl VersionedRecords for StoreConnection {
    async fn read_pair(&self, key: &str) -> Result<Pair, StoreError> {
        let key = key.to_owned();
        let asked_at = self.clock.steady();
        let read = self.act("read", move |storage, now| {
            (storage.get(&key, now), storage.companion(&key, now))
        });
        let (found, companion) = read.await?;
        // As in the real stores, the time to live is measured from the request.
        let value = found.map(|(value, left)| {
            (
                SecretString::from(value),
                asked_at.plus(Duration::from_millis(left)),
            )
        });
        Ok(Pair {
            value: value.filter(|(_, ends)| *ends > self.clock.steady()),
            companion,
        })
    }

    async fn write_pair(
        &self,
        key: &str,
        over: Option<&SecretString>,
        new: NewCredential<'_>,
        companion: &str,
        _kept: Duration,
    ) -> Result<bool, StoreError> {
        let (name, value, companion) = (
            key.to_owned(),
            new.value.expose_secret().to_owned(),
            companion.to_owned(),
        );
        let over = over.map(|over| over.expose_secret().to_owned());
        let left = millis(self.clock.steady().until(new.ends));
        let write = self.act("write", move |storage, now| {
            storage.put_pair(&name, over.as_deref(), [&value, &companion], left, now)
        });
        let tell = move |did: &Result<bool, StoreError>| {
            if !matches!(did, Ok(false)) {
                self.world.tell(self.process, &Changed::Key(key.into()));
            }
        };
        write.inspect(tell).await
    }

    async fn write_companion(
        &self,
        key: &str,
        companion: &str,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let (key, companion, left) = (key.to_owned(), companion.to_owned(), millis(ttl));
        self.act("write", move |storage, now| {
            storage.put_companion(&key, &companion, left, now)
        })
        .await
    }

    async fn take_lease(
        &self,
        key: &str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<UnixMillis>, StoreError> {
        let (key, owner, ttl, process) =
            (key.to_owned(), owner.to_owned(), millis(ttl), self.process);
        self.act("claim", move |storage, now| {
            storage
                .claim(&key, &owner, process, ttl, now)
                .then(|| UnixMillis(BEGINNING + now))
        })
        .await
    }

    async fn return_lease(&self, key: &str, owner: &str) -> Result<(), StoreError> {
        let (name, owner) = (key.to_owned(), owner.to_owned());
        let release = self.act("release", move |storage, now| {
            storage.release(&name, &owner, now)
        });
        release
            .inspect(|_| self.world.tell(self.process, &Changed::Key(key.into())))
            .await
    }

    fn steady(&self) -> SteadyMillis {
        self.clock.steady()
    }
}

#[async_trait]
impl Records for StoreConnection {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        let key = key.to_owned();
        let asked_at = self.clock.steady();
        if key.ends_with(LEDGER) {
            let found = self.on_ledger(|storage, now| storage.get(&key, now))?;
            return Ok(self.record(found, asked_at));
        }
        Ok(self.record(
            self.act("read", move |storage, now| storage.get(&key, now))
                .await?,
            asked_at,
        ))
    }

    async fn put(&self, key: &str, record: &Record) -> Result<(), StoreError> {
        let (name, value, left) = (
            key.to_owned(),
            record.value.expose_secret().to_owned(),
            self.left(record),
        );
        let write = self.act("write", move |storage, now| {
            storage.put(&name, &value, left, now)
        });
        write
            .inspect(|_| self.world.tell(self.process, &Changed::Key(key.into())))
            .await
    }

    async fn replace(
        &self,
        key: &str,
        before: Option<&SecretString>,
        record: &Record,
    ) -> Result<bool, StoreError> {
        let (name, value, left) = (
            key.to_owned(),
            record.value.expose_secret().to_owned(),
            self.left(record),
        );
        let before = before.map(|before| before.expose_secret().to_owned());
        let is_ledger = name.ends_with(LEDGER);
        let replace = move |storage: &mut Storage, now| {
            let found = storage.get(&name, now).map(|(found, _)| found);
            let is_free = found.is_none_or(|found| found == value || Some(found) == before);
            if is_free {
                storage.put(&name, &value, left, now);
            }
            is_free
        };
        if is_ledger {
            let did = self.on_ledger(replace);
            if did.is_ok() {
                self.world.judge_findings(key);
            }
            return did;
        }
        self.act("write", replace).await
    }

    async fn take(&self, key: &str) -> Result<Option<Record>, StoreError> {
        let key = key.to_owned();
        let asked_at = self.clock.steady();
        Ok(self.record(
            self.act("take", move |storage, now| storage.take(&key, now))
                .await?,
            asked_at,
        ))
    }

    async fn take_permit(
        &self,
        key: &str,
        limit: u32,
        window: Duration,
    ) -> Result<bool, StoreError> {
        let (key, window) = (key.to_owned(), millis(window));
        self.act("spend", move |storage, now| {
            storage.take_permit(&key, limit, window, now)
        })
        .await
    }

    async fn return_permit(&self, key: &str) -> Result<(), StoreError> {
        let key = key.to_owned();
        self.act("refund", move |storage, now| {
            storage.return_permit(&key, now)
        })
        .await
    }
}

#[async_trait]
impl Apps for StoreConnection {
    async fn apps(&self) -> Result<Vec<StoredApp>, StoreError> {
        Ok(Vec::new())
    }

    async fn put_app(&self, _: &StoredApp) -> Result<(), StoreError> {
        Ok(())
    }
}
