//! One renewal, from the claim to the write-back. It runs inside its credential's flight, in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use secrecy::{ExposeSecret, SecretString};

use super::holding::{Holding, NearCopy, Renewed, Why};
use super::limits::Rotation;
use super::{Keeper, KeeperError};
use crate::account::{Account, TokenApi};
use crate::credential::CredentialKind;
use crate::renewal::{Claims, Errand, InFlight, Lease, Seen};
use crate::store::StoreError;
use crate::wechat::{Grant, WechatError};

impl Keeper {
    /// Joins the credential's renewal or begins one.
    pub(super) async fn renew(&self, holding: &Arc<Holding>, kind: CredentialKind, why: Why) -> Result<Renewed, KeeperError> {
        let (keeper, held) = (self.clone(), Arc::clone(holding));
        let landing = holding.slot(kind).renewal.join(&self.0.runtime, || keeper.fly(held, kind, why));
        landing.result().await.unwrap_or_else(|_| Err(KeeperError::Lost { key: holding.key(kind) }))
    }

    /// Renews because WeChat refused a value, or may. A renewal begun for another reason may bring that value itself, hence the
    /// second turn.
    pub(super) async fn renew_over(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        why: Why,
    ) -> Result<Arc<NearCopy>, KeeperError> {
        let (near, begun_for) = self.renew(holding, kind, why.clone()).await?;
        if self.is_met(&why, &near) || begun_for.answers(&why, |one, other| one.expose_secret() == other.expose_secret()) {
            return Ok(near);
        }
        self.renew(holding, kind, why).await.map(|(near, _)| near)
    }

    fn is_met(&self, why: &Why, near: &NearCopy) -> bool {
        why.is_met_by(&near.life, self.clock(), |value| near.value().expose_secret() != value.expose_secret())
    }

    /// The body of a flight. Boxed, because a ticket's flight waits for its token's.
    fn fly(self, holding: Arc<Holding>, kind: CredentialKind, why: Why) -> BoxFuture<'static, Result<Renewed, KeeperError>> {
        async move {
            let _counted = InFlight::new(&self.0.flying);
            let near = self.fetch(&holding, kind, &why).await?;
            Ok((near, why))
        }
        .boxed()
    }

    async fn fetch(&self, holding: &Arc<Holding>, kind: CredentialKind, why: &Why) -> Result<Arc<NearCopy>, KeeperError> {
        self.unless_cooling(holding, kind)?;
        let first = self.fetch_once(holding, kind, why).await;
        let (refused_token, error) = match first {
            Err((Some(token), error)) if error.is_stale_token() => (token, error),
            Err((_, error)) => return Err(self.remember_lasting(holding, kind, error)),
            Ok(near) => return Ok(near),
        };
        // WeChat called the token stale: renew it by comparison, once, then ask for the ticket once more.
        let token = self.renew_over(holding, CredentialKind::AccessToken, Why::Refused(refused_token.clone())).await?;
        if token.value().expose_secret() == refused_token.expose_secret() {
            return Err(self.remember_lasting(holding, kind, error));
        }
        self.fetch_once(holding, kind, why).await.map_err(|(_, error)| self.remember_lasting(holding, kind, error))
    }

    /// One try: the token a ticket needs, the claim, the call, the write. An error comes with the token that was used, if any.
    async fn fetch_once(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        why: &Why,
    ) -> Result<Arc<NearCopy>, (Option<SecretString>, KeeperError)> {
        // Before the claim, because the claim lasts only as long as one call to WeChat.
        let token = match kind {
            CredentialKind::AccessToken => None,
            CredentialKind::JsapiTicket | CredentialKind::CardTicket => {
                let token = self.credential(holding, CredentialKind::AccessToken).await.map_err(|error| (None, error))?;
                Some(token.value().clone())
            }
        };
        // A value that is said to be void is renewed by force only within limits.
        let force = match why {
            Why::Missing | Why::Ahead => Some(false),
            Why::Refused(_) => None,
            // On stable the current token is told without voiding anything.
            Why::Doubted(_) => (!self.voids(holding)).then_some(false),
        };
        let claims = Claims {
            store: &*self.0.store,
            clock: self.clock(),
            owner: &self.0.owner,
            key: holding.key(kind).to_string(),
            timeout: self.0.wechat.timeout(),
        };
        let result = claims.renew(Try { keeper: self, holding, kind, why, token: token.as_ref(), force }).await;
        result.map_err(|error| (token, error))
    }

    /// Whether each fetch of the account's token voids the one before.
    pub(super) fn voids(&self, holding: &Holding) -> bool {
        holding.account.token_api == TokenApi::Basic
    }

    /// The account's token from WeChat. Where only what is forced has spent its quota, what is current is asked for without.
    async fn token_of(&self, account: &Account, force: bool) -> Result<Grant, WechatError> {
        match self.0.wechat.access_token(account, force).await {
            Err(error) if force && account.token_api == TokenApi::Stable && error.is_quota() => {
                tracing::warn!(account.id = %account.app_id, "WeChat forces no more refreshes today; what is current is asked for");
                self.0.wechat.access_token(account, false).await
            }
            answer => answer,
        }
    }
}

/// One try of a renewal.
struct Try<'a> {
    keeper: &'a Keeper,
    holding: &'a Arc<Holding>,
    kind: CredentialKind,
    why: &'a Why,
    /// What a ticket is asked for with.
    token: Option<&'a SecretString>,
    /// By force or not, once that is decided.
    force: Option<bool>,
}

impl Errand for Try<'_> {
    type Near = NearCopy;
    type Error = KeeperError;

    async fn look(&self) -> Result<Seen<NearCopy>, StoreError> {
        self.keeper.read_and_see(self.holding, self.kind).await
    }

    fn is_met_by(&self, near: &NearCopy) -> bool {
        self.keeper.is_met(self.why, near)
    }

    async fn wait(&self, longest: Duration) {
        self.keeper.0.waiters.wait(&self.holding.key(self.kind), longest).await;
    }

    fn store_patience(&self) -> Option<Duration> {
        let is_harmless = self.holding.account.token_api == TokenApi::Stable && matches!(self.why, Why::Missing);
        is_harmless.then(|| self.keeper.store_patience())
    }

    /// The store is down. On stable a plain fetch is harmless; everything else could void another instance's token.
    fn without_a_claim(&self, error: StoreError) -> Result<Lease<NearCopy>, KeeperError> {
        self.keeper.0.outage.failed(&error, self.keeper.0.clock.steady());
        match (self.holding.account.token_api, self.why) {
            (TokenApi::Stable, Why::Missing | Why::Ahead) => {
                let held = self.holding.slot(self.kind).near.load_full();
                let before = held.filter(|near| !near.life.is_over(self.keeper.clock()));
                Ok(Lease { claimed_at: None, before, seen: None })
            }
            _ => Err(error.into()),
        }
    }

    async fn permit(&mut self, lease: &Lease<NearCopy>) -> Result<Option<Arc<NearCopy>>, KeeperError> {
        if lease.claimed_at.is_some() {
            self.keeper.keep_pause(self.holding, self.kind).await?;
        }
        // Without a value at hand there is nothing to fall back on, and nothing that a forced renewal would void.
        let (None, Some(near)) = (self.force, &lease.before) else { return Ok(None) };
        match self.keeper.may_rotate(self.holding, self.kind).await? {
            Rotation::Granted => self.force = Some(true),
            Rotation::OnlyAsk => self.force = Some(false),
            limit @ (Rotation::TooSoon | Rotation::Spent) => {
                if matches!((limit, self.why), (Rotation::TooSoon, Why::Refused(_))) {
                    self.keeper.note_told_too_soon(self.holding, self.kind, near);
                }
                tracing::warn!(account.id = %self.holding.account.app_id, credential.kind = self.kind.name(),
                    "a rotation past the limit hands out the current value");
                return Ok(Some(Arc::clone(near)));
            }
        }
        Ok(None)
    }

    async fn call(&self, lease: Lease<NearCopy>) -> Result<Arc<NearCopy>, KeeperError> {
        let (keeper, holding, kind) = (self.keeper, self.holding, self.kind);
        let (force, asked_at) = (self.force.unwrap_or(false), keeper.0.clock.steady());
        let answer = match self.token {
            None => keeper.token_of(&holding.account, force).await,
            Some(token) => match keeper.0.wechat.ticket(token, kind).await {
                Some(answer) => answer,
                None => keeper.0.wechat.access_token(&holding.account, false).await,
            },
        };
        let duration_ms = asked_at.until(keeper.0.clock.steady()).as_millis() as u64;
        let grant = match answer {
            Ok(grant) => grant,
            Err(source) => {
                if force && !source.may_have_been_granted() {
                    keeper.give_rotation_back(holding, kind).await;
                }
                return Err(keeper.not_granted(holding, kind, force, source, lease).await);
            }
        };
        let expires_in = grant.expires_in.as_secs();
        let near = keeper.settle(holding, kind, grant, asked_at, lease).await;
        tracing::info!(account.id = %holding.account.app_id, credential.kind = kind.name(), why = self.why.name(), expires_in, duration_ms,
            "renewed");
        Ok(near)
    }

    fn too_slow(&self, after: Duration) -> KeeperError {
        KeeperError::TooSlow { key: self.holding.key(self.kind), after }
    }
}
