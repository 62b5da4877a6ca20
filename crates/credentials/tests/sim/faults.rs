//! What goes wrong, and when. It is drawn from the seed before the run starts, so the run itself
//! cannot change it.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use super::host::Fleet;
use super::storage::LAG;
use super::world::{DAY, HOUR, MINUTE, SECOND, World};

/// Faults that last for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FaultKind {
    /// The store refuses connections.
    StoreDown,
    /// The store accepts requests and does not answer.
    StoreHangs,
    StoreSlow,
    /// Requests and answers are lost, or arrive twice.
    StoreFlaky,
    /// This host does not reach the store.
    CutOff(usize),
    WechatDown,
    WechatHangs,
    /// It answers with errcode -1.
    WechatBusy,
    /// A gateway answers instead of it.
    WechatGarbage,
    /// It executes the request, and the answer is lost.
    WechatDeaf,
    WechatFlaky,
}

/// What happens at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Begins(FaultKind),
    Ends(FaultKind),
    /// A replica is promoted that is this many ms behind.
    FailOver(u64),
    Crash(usize),
    Start(usize),
    Freeze(usize, u64),
    /// The wall clock is moved by this many ms.
    Jump(usize, i64),
    /// The wall clock jumps back and forth for this long, as with two time servers that disagree.
    Wobble(usize, u64),
    /// Another program fetches a token of the account.
    Rival(usize),
    /// The store is restored from a backup of this age.
    SetBack(u64),
    /// The companion of the account's token is lost.
    LoseCompanion(usize),
    /// Another program fetches a token of the account and writes it to the store, without a
    /// generation.
    ForeignWrite(usize),
    /// Like [`Event::ForeignWrite`], but under the generation of the existing value, which no lease
    /// hands out twice.
    SameGeneration(usize),
}

/// The plan of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) days: u64,
    pub(crate) hosts: usize,
    /// Whether the store is restored from backups, loses companions, and has other writers.
    pub(crate) is_strange: bool,
}

/// The last hours are calm, to check that everybody is served again.
const CALM: u64 = 3 * HOUR;

impl Plan {
    pub(crate) fn new(seed: u64, days: u64) -> Self {
        Self {
            seed,
            days,
            hosts: SmallRng::seed_from_u64(seed ^ 0x1057).random_range(1..=4),
            is_strange: false,
        }
    }

    pub(crate) fn strange(seed: u64, days: u64) -> Self {
        Self {
            is_strange: true,
            ..Self::new(seed, days)
        }
    }

    /// When the calm begins.
    pub(crate) fn rough_until(&self) -> u64 {
        self.days * DAY - CALM
    }

    /// All events in their order.
    pub(crate) fn events(&self) -> Vec<(u64, Event)> {
        let mut rng = SmallRng::seed_from_u64(self.seed ^ 0xFA17);
        let mut events = Vec::new();
        // Some runs are nearly calm, some have faults all the time.
        let gap = *[HOUR, 4 * HOUR, 12 * HOUR]
            .choose(&mut rng)
            .expect("not empty");
        let (mut now, end) = (0, self.rough_until());
        loop {
            now += rng.random_range(0..2 * gap);
            if now >= end {
                break;
            }
            self.draw(&mut rng, now, end, &mut events);
        }
        if self.is_strange {
            self.draw_strange(end, &mut events);
        }
        events.sort_by_key(|(at, _)| *at);
        events
    }

    /// Drawn from a generator of their own, so that the other events of a seed stay the same.
    fn draw_strange(&self, end: u64, events: &mut Vec<(u64, Event)>) {
        let mut rng = SmallRng::seed_from_u64(self.seed ^ 0x57A6E);
        let mut now = rng.random_range(0..6 * HOUR);
        while now < end {
            let app = rng.random_range(0..2);
            let event = match rng.random_range(0..4) {
                0 => Event::SetBack(rng.random_range(MINUTE..6 * HOUR)),
                1 => Event::LoseCompanion(app),
                2 => Event::ForeignWrite(app),
                _ => Event::SameGeneration(app),
            };
            events.push((now, event));
            now += rng.random_range(0..6 * HOUR);
        }
    }

    fn draw(&self, rng: &mut SmallRng, now: u64, end: u64, events: &mut Vec<(u64, Event)>) {
        let host = rng.random_range(0..self.hosts);
        let long = *[5 * SECOND, MINUTE, 20 * MINUTE, 2 * HOUR]
            .choose(rng)
            .expect("not empty");
        let span = rng.random_range(SECOND / 10..long);
        let until = (now + span).min(end);
        use FaultKind::*;
        let troubles = [
            StoreDown,
            StoreHangs,
            StoreSlow,
            StoreFlaky,
            CutOff(host),
            WechatDown,
            WechatHangs,
            WechatBusy,
            WechatGarbage,
            WechatDeaf,
            WechatFlaky,
        ];
        match rng.random_range(0..troubles.len() + 9) {
            kind if kind < troubles.len() => {
                events.push((now, Event::Begins(troubles[kind])));
                events.push((until, Event::Ends(troubles[kind])));
            }
            kind => match kind - troubles.len() {
                0 | 1 => events.push((now, Event::FailOver(rng.random_range(0..LAG)))),
                2 | 3 => {
                    events.push((now, Event::Crash(host)));
                    events.push((until, Event::Start(host)));
                }
                4 | 5 => events.push((now, Event::Freeze(host, until - now))),
                6 => events.push((now, Event::Wobble(host, until - now))),
                7 => events.push((now, Event::Jump(host, rng.random_range(-3..=3) * 1_234_567))),
                _ => events.push((now, Event::Rival(rng.random_range(0..2)))),
            },
        }
    }
}

/// Triggers every event at its time.
pub(crate) async fn conduct(world: &World, fleet: &Fleet, events: Vec<(u64, Event)>) {
    for (at, event) in events {
        sleep(Duration::from_millis(at.saturating_sub(world.now()))).await;
        world.note(|| format!("{event:?}"));
        let now = world.now();
        match event {
            Event::Begins(trouble) => world.state().active_faults.push(trouble),
            Event::Ends(trouble) => {
                let mut state = world.state();
                let one = state
                    .active_faults
                    .iter()
                    .position(|is| *is == trouble)
                    .expect("what ends has begun");
                state.active_faults.remove(one);
            }
            Event::FailOver(lag) => world.fail_over(lag),
            Event::Freeze(host, span) => world.state().hosts[host].frozen_until = now + span,
            Event::SetBack(age) => {
                let mut state = world.state();
                state.storage.set_back_by(age, now);
                state.invariants.on_failover(now);
            }
            Event::LoseCompanion(app) => {
                let mut state = world.state();
                let key = format!("{}.token", super::host::APPS[app]);
                state.storage.lose_companion(&key, now);
                state.invariants.store_failed_at = now;
            }
            Event::ForeignWrite(app) => world.foreign_write(app, false),
            Event::SameGeneration(app) => world.foreign_write(app, true),
            Event::Rival(app) => drop(world.state().wechat.fetches(super::host::APPS[app], now)),
            Event::Crash(host) => fleet.crash(host),
            Event::Start(host) => fleet.start(host),
            Event::Jump(host, by) => fleet.jump(host, by),
            Event::Wobble(host, span) => fleet.wobble(host, span),
        }
        let until = if let Event::Freeze(_, span) | Event::Wobble(_, span) = event {
            now + span
        } else {
            now
        };
        let mut state = world.state();
        let is_calm = state.active_faults.is_empty() && state.hosts.iter().all(|host| host.is_up);
        state.invariants.disturbed_until(until);
        state.invariants.set_calm(is_calm);
    }
}
