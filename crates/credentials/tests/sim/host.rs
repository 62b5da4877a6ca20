//! The hosts and the processes on them: a keeper with its renewal task, started, killed and
//! restarted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use clock::{Clock, UnixMillis};
use jsdkd_credentials::keeper::{Keeper, Parts};
use jsdkd_credentials::rng::Rng;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use secrecy::SecretString;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wechat::WechatClient;
use wechat::account::{Account, AppId, Keep, TokenApi};

use super::faults::Plan;
use super::storage::Process;
use super::transport::{StoreConnection, WechatTransport};
use super::world::{MINUTE, World};

/// The accounts: one on the basic endpoint, one on the stable.
pub(crate) const APPS: [&str; 2] = ["wxbasic", "wxstable"];

/// The upstream timeout.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// The daily quota of forced renewals, as by default.
pub(crate) const ROTATIONS: [u32; 2] = [1000, 20];

/// The wall clock at the start of a run: midnight in China, when WeChat's day begins.
pub(crate) const BEGINNING: u64 = 1_799_942_400_000;

pub(crate) struct Fleet {
    world: Arc<World>,
    keep: Keep,
    clocks: Vec<Clock>,
    running: Mutex<Vec<Option<Instance>>>,
}

struct Instance {
    process: Process,
    keeper: Keeper,
    refresher: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

impl Fleet {
    /// All hosts up, with wall clocks minutes apart.
    pub(crate) fn new(world: &Arc<World>, plan: &Plan) -> Self {
        let mut rng = SmallRng::seed_from_u64(plan.seed ^ 0xF1EE7);
        let keep = if rng.random_bool(0.5) {
            Keep::Always
        } else {
            Keep::Active
        };
        let clocks = (0..plan.hosts)
            .map(|_| Clock::of_runtime(UnixMillis(BEGINNING + rng.random_range(0..20) * MINUTE)))
            .collect();
        let running = Mutex::new((0..plan.hosts).map(|_| None).collect());
        let fleet = Self {
            world: Arc::clone(world),
            keep,
            clocks,
            running,
        };
        (0..plan.hosts).for_each(|host| fleet.start(host));
        fleet
    }

    /// Starts the process of `host`, if none runs there.
    pub(crate) fn start(&self, host: usize) {
        let mut running = self.running.lock().expect("no step panics");
        if running[host].is_some() {
            return;
        }
        let process = {
            let mut state = self.world.state();
            let condition = &mut state.hosts[host];
            (condition.life, condition.is_up) = (condition.life + 1, true);
            Process {
                host,
                life: condition.life,
            }
        };
        let store = StoreConnection {
            world: Arc::clone(&self.world),
            process,
            clock: self.clocks[host].clone(),
        };
        let wechat = WechatClient::with_transport(
            Arc::new(WechatTransport {
                world: Arc::clone(&self.world),
                process,
            }),
            TIMEOUT,
        );
        let rng = Rng::seeded(self.world.seed ^ (u64::from(process.life) << 32) ^ host as u64);
        let clock = self.clocks[host].clone();
        let parts = Parts {
            rng,
            ..Parts::new(Arc::new(store), clock, self.keep)
        };
        let keeper = Keeper::new(accounts(), wechat, parts);
        let (_stop, stopped) = watch::channel(false);
        let refresher = tokio::spawn(keeper.run(stopped));
        running[host] = Some(Instance {
            process,
            keeper,
            refresher,
            _stop,
        });
    }

    /// Kills the process of `host`. Requests that it has sent still arrive.
    pub(crate) fn crash(&self, host: usize) {
        if let Some(instance) = self.running.lock().expect("no step panics")[host].take() {
            instance.refresher.abort();
            self.world.state().hosts[host].is_up = false;
        }
    }

    /// Moves the wall clock of `host` by `by` ms.
    pub(crate) fn jump(&self, host: usize, by: i64) {
        let clock = &self.clocks[host];
        clock.set_wall(UnixMillis(clock.wall().0.saturating_add_signed(by)));
    }

    /// Moves the wall clock of `host` an hour ahead and back, many times in `span` ms.
    pub(crate) fn wobble(&self, host: usize, span: u64) {
        let (clock, mut rng) = (
            self.clocks[host].clone(),
            SmallRng::seed_from_u64(self.world.seed ^ self.world.now()),
        );
        tokio::spawn(async move {
            let mut rest = span;
            while rest > 0 {
                for by in [3_600_000, -3_600_000] {
                    let pause = rng.random_range(1..=400).min(rest);
                    clock.set_wall(UnixMillis(clock.wall().0.saturating_add_signed(by)));
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    rest -= pause;
                }
            }
        });
    }

    /// What runs on `host`.
    pub(crate) fn on(&self, host: usize) -> Option<(Process, Keeper)> {
        let running = self.running.lock().expect("no step panics");
        running[host]
            .as_ref()
            .map(|instance| (instance.process, instance.keeper.clone()))
    }

    pub(crate) fn hosts(&self) -> usize {
        self.clocks.len()
    }
}

/// The accounts as the settings' defaults make them.
fn accounts() -> Vec<Account> {
    let account = |(name, token_api): (&str, TokenApi)| Account {
        app_id: AppId::parse(name).expect("a good appid"),
        secret: SecretString::from("secret"),
        push_token: None,
        token_api,
        reserve: Duration::from_secs(if token_api == TokenApi::Basic {
            600
        } else {
            300
        }),
        ticket_reserve: Duration::from_secs(600),
        rotations_per_day: ROTATIONS[token_api as usize],
        tokens_per_day: wechat::account::TOKENS_PER_DAY,
    };
    APPS.into_iter()
        .zip([TokenApi::Basic, TokenApi::Stable])
        .map(account)
        .collect()
}
