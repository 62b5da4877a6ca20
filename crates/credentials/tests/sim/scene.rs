//! A scene: a world without random faults, driven and checked step by step.

use std::sync::Arc;
use std::time::Duration;

use jsdkd_credentials::keeper::KeeperError;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::sleep;
use wechat::credential::CredentialKind;

use super::faults::{Plan, Trouble};
use super::host::{APPS, Fleet};
use super::wire::number;
use super::world::World;

pub(crate) const BASIC: &str = APPS[0];
pub(crate) const STABLE: &str = APPS[1];

pub(crate) struct Scene {
    pub(crate) world: Arc<World>,
    pub(crate) fleet: Arc<Fleet>,
}

/// A world of `hosts` without random faults.
pub(crate) fn scene<F: Future<Output = ()>>(hosts: usize, acts: impl FnOnce(Scene) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let plan = Plan {
            seed: 1,
            days: 1,
            hosts,
            is_strange: false,
        };
        let world = Arc::new(World::new(plan.seed, hosts, 0));
        let fleet = Arc::new(Fleet::new(&world, &plan));
        world.state().judge.calm_is(true);
        acts(Scene {
            world: Arc::clone(&world),
            fleet,
        })
        .await;
        let mut state = world.state();
        assert_eq!(
            state.judge.breach.take().or(state.storage.set_back.take()),
            None
        );
    });
}

impl Scene {
    pub(crate) async fn token(&self, host: usize, app: &str) -> Result<u64, KeeperError> {
        let (_, keeper) = self.fleet.on(host).expect("it runs");
        let credentials = keeper.credentials(app).expect("a known account");
        let cached = credentials
            .credential(CredentialKind::AccessToken)
            .get()
            .await?;
        Ok(number(cached.value().expose_secret()))
    }

    pub(crate) async fn ticket(&self, host: usize, app: &str) -> Result<u64, KeeperError> {
        let (_, keeper) = self.fleet.on(host).expect("it runs");
        let credentials = keeper.credentials(app).expect("a known account");
        let ticket = credentials
            .credential(CredentialKind::JsapiTicket)
            .get()
            .await?;
        Ok(number(ticket.value().expose_secret()))
    }

    pub(crate) async fn rotate(
        &self,
        host: usize,
        app: &str,
        refused: u64,
    ) -> Result<u64, KeeperError> {
        let (_, keeper) = self.fleet.on(host).expect("it runs");
        let credentials = keeper.credentials(app).expect("a known account");
        let refused = SecretString::from(format!("v{refused}"));
        Ok(number(
            credentials
                .credential(CredentialKind::AccessToken)
                .rotate(refused)
                .await?
                .value()
                .expose_secret(),
        ))
    }

    pub(crate) fn begins(&self, trouble: Trouble) {
        self.world.state().weather.push(trouble);
    }

    pub(crate) fn ends(&self, trouble: Trouble) {
        self.world.state().weather.retain(|is| *is != trouble);
    }

    pub(crate) async fn pass(&self, millis: u64) {
        sleep(Duration::from_millis(millis)).await;
    }

    /// What the store holds for the account's token.
    pub(crate) fn stored(&self, app: &str) -> u64 {
        let found = self
            .world
            .state()
            .storage
            .get(&format!("{app}.token"), self.world.now());
        found.map_or(0, |(value, _)| number(&value))
    }

    /// How long the store keeps the account's token.
    pub(crate) fn kept_for(&self, app: &str) -> u64 {
        self.world
            .state()
            .storage
            .get(&format!("{app}.token"), self.world.now())
            .map_or(0, |(_, left)| left)
    }

    /// Makes the store keep the account's token for `left`, as after a slow write or a change of
    /// its clock.
    pub(crate) fn keep_for(&self, app: &str, left: u64) {
        let (key, now) = (format!("{app}.token"), self.world.now());
        let mut state = self.world.state();
        let (value, _) = state.storage.get(&key, now).expect("it is there");
        state.storage.put(&key, &value, left, now);
    }

    pub(crate) fn newest(&self, app: &str) -> u64 {
        self.world.state().wechat.newest(app).unwrap_or(0)
    }

    pub(crate) fn calls(&self) -> u64 {
        self.world.state().judge.tally.sent
    }
}
