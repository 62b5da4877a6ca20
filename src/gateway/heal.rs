//! Healing: WeChat calls the token that we put in dead. The rules are three: send again with
//! another token that is current by now; else probe the token, and renew it only if the probe finds
//! it dead; never repeat a call twice. 40001 also means "not for this kind of account", so a
//! refusal alone proves nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clock::{Clock, SteadyMillis};
use futures_util::future::{BoxFuture, FutureExt, Shared};
use secrecy::{ExposeSecret, SecretString};

use super::account::AccountName;

/// One account's token is probed at most this often.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// How long the refusals of a path that refuses living tokens are passed on without a probe.
const PATH_REFUSES: Duration = Duration::from_secs(3600);

/// The most such paths that are remembered.
const MOST_PATHS: usize = 10_000;

/// What a probe found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Probe {
    /// WeChat accepts the token.
    Alive,
    /// WeChat calls it dead.
    Dead,
    /// No clear answer.
    Unclear,
}

/// The refusals under examination and what is known of earlier ones.
pub(super) struct Healer {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    examinations: HashMap<AccountName, Examination>,
    refusing_paths: HashMap<(AccountName, String), SteadyMillis>,
}

/// The last probe of an account's token.
#[derive(Clone)]
struct Examination {
    began: SteadyMillis,
    token: SecretString,
    probe: Shared<BoxFuture<'static, Probe>>,
}

impl Healer {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    /// Whether `path` is known to refuse living tokens of `account`.
    pub(super) fn is_refusing(&self, account: &AccountName, path: &str) -> bool {
        let key = (account.clone(), path.to_owned());
        let now = self.clock.steady();
        self.locked()
            .refusing_paths
            .get(&key)
            .is_some_and(|until| *until > now)
    }

    /// What `probe` says of `token`; all who ask about it share one probe. `None`: the last probe
    /// of this account began less than ten seconds ago, and was about another token or says nothing
    /// of now. Only who began the probe learns that `path` refuses a living token: for everybody
    /// else the token may have died after it was probed.
    pub(super) async fn examine(
        &self,
        account: &AccountName,
        path: &str,
        token: &SecretString,
        probe: impl FnOnce() -> BoxFuture<'static, Probe>,
    ) -> Option<Probe> {
        let (shared, is_mine) = self.begin_or_join(account, token, probe)?;
        let found = shared.await;
        if found == Probe::Alive && is_mine {
            self.remember(account, path);
        }
        Some(found).filter(|found| is_mine || *found != Probe::Alive)
    }

    fn begin_or_join(
        &self,
        account: &AccountName,
        token: &SecretString,
        probe: impl FnOnce() -> BoxFuture<'static, Probe>,
    ) -> Option<(Shared<BoxFuture<'static, Probe>>, bool)> {
        let now = self.clock.steady();
        let mut state = self.locked();
        let last = state
            .examinations
            .get(account)
            .filter(|last| last.began.until(now) < PROBE_INTERVAL);
        if let Some(last) = last {
            let is_same = last.token.expose_secret() == token.expose_secret();
            return is_same.then(|| (last.probe.clone(), false));
        }
        let probe = probe().shared();
        let examination = Examination {
            began: now,
            token: token.clone(),
            probe: probe.clone(),
        };
        state.examinations.insert(account.clone(), examination);
        Some((probe, true))
    }

    fn remember(&self, account: &AccountName, path: &str) {
        let now = self.clock.steady();
        let mut state = self.locked();
        if state.refusing_paths.len() >= MOST_PATHS {
            state.refusing_paths.retain(|_, until| *until > now);
        }
        if state.refusing_paths.len() < MOST_PATHS {
            state
                .refusing_paths
                .insert((account.clone(), path.to_owned()), now.plus(PATH_REFUSES));
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use clock::UnixMillis;
    use futures_util::future::join_all;

    use super::*;

    fn account() -> AccountName {
        AccountName::parse("wx1234567890abcdef").expect("an account")
    }

    struct Bench {
        clock: Clock,
        healer: Healer,
        probes: Arc<AtomicU32>,
    }

    fn bench() -> Bench {
        let clock = Clock::manual(UnixMillis(0));
        Bench {
            healer: Healer::new(clock.clone()),
            clock,
            probes: Arc::default(),
        }
    }

    impl Bench {
        async fn examine(&self, path: &str, token: &str, answer: Probe) -> Option<Probe> {
            let probes = Arc::clone(&self.probes);
            let probe = move || {
                async move {
                    probes.fetch_add(1, Ordering::Relaxed);
                    answer
                }
                .boxed()
            };
            self.healer
                .examine(&account(), path, &token.into(), probe)
                .await
        }
    }

    #[tokio::test]
    async fn a_thousand_refusals_cost_one_probe() {
        let bench = bench();
        let all = join_all((0..1000).map(|_| bench.examine("/a", "T", Probe::Dead))).await;
        assert!(all.iter().all(|found| *found == Some(Probe::Dead)));
        assert_eq!(bench.probes.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn another_token_is_not_probed_within_ten_seconds() {
        let bench = bench();
        assert_eq!(
            bench.examine("/a", "T1", Probe::Dead).await,
            Some(Probe::Dead)
        );
        assert_eq!(bench.examine("/a", "T2", Probe::Dead).await, None);
        bench.clock.advance(PROBE_INTERVAL);
        assert_eq!(
            bench.examine("/a", "T2", Probe::Unclear).await,
            Some(Probe::Unclear)
        );
    }

    #[tokio::test]
    async fn an_earlier_probe_does_not_acquit_a_token() {
        let bench = bench();
        assert_eq!(
            bench.examine("/a", "T", Probe::Alive).await,
            Some(Probe::Alive)
        );
        assert_eq!(
            bench.examine("/b", "T", Probe::Dead).await,
            None,
            "it may have died since"
        );
        assert!(!bench.healer.is_refusing(&account(), "/b"));
        bench.clock.advance(PROBE_INTERVAL);
        assert_eq!(
            bench.examine("/b", "T", Probe::Dead).await,
            Some(Probe::Dead)
        );
    }

    #[tokio::test]
    async fn a_path_that_refuses_a_living_token_is_remembered_for_an_hour() {
        let bench = bench();
        assert_eq!(
            bench.examine("/a", "T", Probe::Alive).await,
            Some(Probe::Alive)
        );
        assert!(
            bench.healer.is_refusing(&account(), "/a")
                && !bench.healer.is_refusing(&account(), "/b")
        );
        bench.clock.advance(PATH_REFUSES);
        assert!(!bench.healer.is_refusing(&account(), "/a"));
    }
}
