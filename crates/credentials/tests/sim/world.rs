//! The world that all instances share: one WeChat, one store, the current faults, the invariants,
//! and the exact time in milliseconds.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jsdkd_credentials::store::Changed;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep};

use super::faults::FaultKind;
use super::invariants::InvariantChecker;
use super::storage::{Process, Storage};
use super::wechat::WeChat;

pub(crate) const SECOND: u64 = 1000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

pub(crate) struct World {
    pub(crate) seed: u64,
    /// Until when faults may happen.
    pub(crate) rough_until: u64,
    began: Instant,
    state: Mutex<State>,
}

/// Everything that changes. A std mutex, held for a few instructions and never across an await.
pub(crate) struct State {
    pub(crate) wechat: WeChat,
    pub(crate) storage: Storage,
    /// The current faults.
    pub(crate) active_faults: Vec<FaultKind>,
    pub(crate) hosts: Vec<Condition>,
    pub(crate) invariants: InvariantChecker,
    /// The subscribers to notices.
    pub(crate) listeners: Vec<(Process, broadcast::Sender<Changed>)>,
    /// The networks' random numbers.
    pub(crate) rng: SmallRng,
    /// A log of the run; the same seed must give the same.
    pub(crate) diary: EventLog,
}

/// The state of a host.
#[derive(Clone, Copy, Default)]
pub(crate) struct Condition {
    /// Counts its starts; requests of a former process get no answer.
    pub(crate) life: u32,
    pub(crate) is_up: bool,
    pub(crate) frozen_until: u64,
}

#[derive(Default)]
pub(crate) struct EventLog {
    hash: DefaultHasher,
    /// The lines, if they are to be printed.
    pub(crate) lines: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, hosts: usize, rough_until: u64) -> Self {
        Self {
            seed,
            rough_until,
            began: Instant::now(),
            state: Mutex::new(State {
                wechat: WeChat::default(),
                storage: Storage::default(),
                active_faults: Vec::new(),
                hosts: vec![Condition::default(); hosts],
                invariants: InvariantChecker::default(),
                listeners: Vec::new(),
                rng: SmallRng::seed_from_u64(seed),
                diary: EventLog::default(),
            }),
        }
    }

    /// The exact time.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).expect("a run is no longer than that")
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no step panics")
    }

    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        let now = self.now();
        self.state().diary.note(now, line);
    }

    /// Returns when `process` can do something: not while it is frozen, and never when it is dead.
    pub(crate) async fn alive(&self, process: Process) {
        loop {
            let (condition, now) = (self.state().hosts[process.host], self.now());
            if condition.life != process.life || !condition.is_up {
                return std::future::pending().await;
            }
            match condition
                .frozen_until
                .checked_sub(now)
                .filter(|rest| *rest > 0)
            {
                None => return,
                Some(rest) => sleep(Duration::from_millis(rest)).await,
            }
        }
    }

    /// Sometimes freezes a host while a request or its answer is in flight.
    pub(crate) fn maybe_hold_up(&self, process: Process) {
        let now = self.now();
        if now < self.rough_until && self.chance(0.02) {
            let mut state = self.state();
            let span = state.rng.random_range(SECOND..MINUTE);
            state.hosts[process.host].frozen_until = now + span;
            state.invariants.disturbed_until(now + span);
            state.diary.note(now, || {
                format!("host {} is held up for {span} ms", process.host)
            });
        }
    }

    /// Sometimes the store loses what it has just confirmed.
    pub(crate) fn maybe_lose(self: &Arc<Self>) {
        if self.now() < self.rough_until && self.chance(0.01) {
            let world = Arc::clone(self);
            tokio::spawn(async move {
                world.travel(1, 300).await;
                world.fail_over(SECOND / 2);
            });
        }
    }

    /// A replica is promoted that lags behind by `lag`.
    pub(crate) fn fail_over(&self, lag: u64) {
        let now = self.now();
        let mut state = self.state();
        state.storage.fail_over(lag, now);
        state.invariants.on_failover(now);
        state
            .diary
            .note(now, || format!("the store fails over and loses {lag} ms"));
    }

    /// Another program fetches the account's token and writes it, perhaps under the generation of
    /// what was there.
    pub(crate) fn foreign_write(&self, app: usize, under_same_generation: bool) {
        let (name, now) = (super::host::APPS[app], self.now());
        let mut state = self.state();
        let said = if app == 0 {
            state.wechat.fetches(name, now)
        } else {
            state.wechat.stable(name, false, now)
        };
        let Ok((value, seconds)) = said else { return };
        let (key, value) = (format!("{name}.token"), format!("v{value}"));
        if under_same_generation {
            state.storage.rename_companion(&key, &value, now);
            state.invariants.store_failed_at = now;
        }
        state.storage.put(&key, &value, seconds * SECOND, now);
        state.invariants.disturbed_until(now);
        state
            .diary
            .note(now, || format!("another program writes {key} {value}"));
    }

    /// A trip over the network.
    pub(crate) async fn travel(&self, least: u64, most: u64) {
        let way = self.state().rng.random_range(least..=most);
        sleep(Duration::from_millis(way)).await;
    }

    /// Notifies all others that `writer` has `changed` something; sometimes a notice is lost.
    pub(crate) fn tell(self: &Arc<Self>, writer: Process, changed: &Changed) {
        let mut state = self.state();
        let lives: Vec<u32> = state.hosts.iter().map(|host| host.life).collect();
        state
            .listeners
            .retain(|(process, _)| lives[process.host] == process.life);
        for index in 0..state.listeners.len() {
            let (process, ear) = state.listeners[index].clone();
            let is_lost = state.rng.random_bool(0.05) || state.is(&FaultKind::CutOff(process.host));
            if process != writer && !is_lost {
                let (way, world, changed) = (
                    state.rng.random_range(0..20),
                    Arc::clone(self),
                    changed.clone(),
                );
                tokio::spawn(async move {
                    sleep(Duration::from_millis(way)).await;
                    world.alive(process).await;
                    ear.send(changed).ok();
                });
            }
        }
    }

    pub(crate) fn chance(&self, of: f64) -> bool {
        self.state().rng.random_bool(of)
    }
}

impl State {
    pub(crate) fn is(&self, trouble: &FaultKind) -> bool {
        self.active_faults.contains(trouble)
    }
}

impl EventLog {
    pub(crate) fn note(&mut self, now: u64, line: impl FnOnce() -> String) {
        let line = line();
        (now, &line).hash(&mut self.hash);
        if let Some(lines) = &mut self.lines {
            let (day, hour, rest) = (now / DAY, now % DAY / HOUR, now % HOUR);
            lines.push(format!(
                "{day}d {hour:02}:{:02}:{:02}.{:03} {line}",
                rest / MINUTE,
                rest % MINUTE / SECOND,
                rest % SECOND
            ));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.clone().finish()
    }
}
