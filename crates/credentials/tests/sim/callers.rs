//! The callers: back ends and pages, some of them misbehaving. A load balancer sends each request
//! to any host that is up.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{sleep, timeout};
use wechat::credential::CredentialKind;

use super::host::{APPS, Fleet};
use super::wire::number;
use super::world::{MINUTE, SECOND, World};

/// Longer than any promise; a caller whose host was killed or frozen gives up.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Caller {
    pub(crate) world: Arc<World>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) dice: SmallRng,
}

impl Caller {
    pub(crate) fn new(world: &Arc<World>, fleet: &Arc<Fleet>, number: u64) -> Self {
        let dice =
            SmallRng::seed_from_u64(world.seed ^ (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self {
            world: Arc::clone(world),
            fleet: Arc::clone(fleet),
            dice,
        }
    }

    async fn pause(&mut self, mean: u64) {
        let span = self.dice.random_range(0..2 * mean);
        sleep(Duration::from_millis(span)).await;
    }

    /// Asks a host for a credential, perhaps reporting one as refused. Returns what was handed out.
    async fn ask(&mut self, app: &str, kind: CredentialKind, refused: Option<u64>) -> Option<u64> {
        let host = self.dice.random_range(0..self.fleet.hosts());
        let (process, keeper) = self.fleet.on(host)?;
        self.world.alive(process).await;
        let since = self.world.now();
        let credentials = keeper.credentials(app).expect("a known account");
        if let Some(value) = refused {
            let mut state = self.world.state();
            let state = &mut *state;
            state.judge.hears(app, value, &state.wechat, since);
        }
        let asked = async {
            match refused {
                None => credentials.credential(kind).get().await,
                Some(value) => {
                    credentials
                        .credential(kind)
                        .rotate(SecretString::from(format!("v{value}")))
                        .await
                }
            }
        };
        let answer = timeout(PATIENCE, asked).await.ok()?;
        let now = self.world.now();
        let condition = self.world.state().hosts[host];
        if condition.life != process.life || !condition.is_up || condition.frozen_until > since {
            return None;
        }
        let word = if refused.is_some() { "rotate" } else { "ask" };
        match answer {
            Ok(cached) => {
                let value = number(cached.value().expose_secret());
                self.world
                    .note(|| format!("{word} {app} {} at host {host}: v{value}", kind.name()));
                let mut state = self.world.state();
                let state = &mut *state;
                state
                    .judge
                    .hands_out(value, since, now, &state.wechat, &state.storage);
                Some(value)
            }
            Err(error) => {
                self.world
                    .note(|| format!("{word} {app} {} at host {host}: {error}", kind.name()));
                self.world
                    .state()
                    .judge
                    .refuses(&error.to_string(), since, now);
                None
            }
        }
    }

    /// A back end: asks, uses what it is given, and reports what WeChat refuses.
    pub(crate) async fn back_end(mut self, app: &'static str) {
        loop {
            self.pause(20 * MINUTE).await;
            let Some(value) = self.ask(app, CredentialKind::AccessToken, None).await else {
                continue;
            };
            let now = self.world.now();
            if self.world.state().wechat.dead_since(value, now).is_some() {
                self.world.note(|| format!("reports v{value}"));
                for _ in 0..3 {
                    let next = self
                        .ask(app, CredentialKind::AccessToken, Some(value))
                        .await;
                    if next.is_some_and(|next| next != value) {
                        break;
                    }
                    self.pause(20 * SECOND).await;
                }
            }
        }
    }

    /// A page: asks for the ticket.
    pub(crate) async fn page(mut self, app: &'static str) {
        loop {
            self.pause(25 * MINUTE).await;
            self.ask(app, CredentialKind::JsapiTicket, None).await;
        }
    }

    /// Sometimes sends many requests at once.
    pub(crate) async fn crowd(self, app: &'static str) {
        let mut number = 0;
        let mut first = self;
        loop {
            first.pause(9 * 60 * MINUTE).await;
            let crowd = (0..30).map(|_| {
                number += 1;
                let seed = first.dice.random::<u64>();
                let mut one = Caller::new(&first.world, &first.fleet, seed);
                let kind = if number % 2 == 0 {
                    CredentialKind::AccessToken
                } else {
                    CredentialKind::JsapiTicket
                };
                async move { one.ask(app, kind, None).await }
            });
            futures_util::future::join_all(crowd.collect::<Vec<_>>()).await;
        }
    }

    /// Reports everything as refused: the current value, old ones, and invented ones.
    pub(crate) async fn vandal(mut self) {
        let mut seen = 0;
        loop {
            // Long pauses between attacks, so that a run also has normal hours.
            self.pause(16 * 60 * MINUTE).await;
            let (app, pace) = (
                APPS[self.dice.random_range(0..2)],
                [SECOND, 40 * SECOND][self.dice.random_range(0..2)],
            );
            for _ in 0..self.dice.random_range(1..60) {
                let newest = self.world.state().wechat.newest(app);
                let refused = match self.dice.random_range(0..4) {
                    0 => seen,
                    1 => 0,
                    _ => newest.unwrap_or(0),
                };
                seen = self
                    .ask(app, CredentialKind::AccessToken, Some(refused))
                    .await
                    .unwrap_or(seen);
                self.pause(pace).await;
            }
        }
    }
}
