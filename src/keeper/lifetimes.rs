//! How long a value lives in all. Stores keep only its end, and whoever sees ten minutes left of another instance's value cannot tell a long
//! life that ends from a short one that begins. So a life that is not WeChat's usual one is written beside the value; nearly all are.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::Keeper;
use super::holding::Holding;
use crate::credential::{CredentialKind, FULL_LIFETIME};
use crate::store::Record;

impl Keeper {
    /// Tells the others of the life of a value that they are about to see, if it is not the usual one, or is again. Without it they renew once
    /// too early, and believe no end that is further away.
    pub(super) async fn tell_lifetime(&self, holding: &Holding, kind: CredentialKind, lifetime: Duration) {
        if lifetime == FULL_LIFETIME && holding.slot(kind).lifetime() == FULL_LIFETIME {
            return;
        }
        let value = SecretString::from(lifetime.as_millis().to_string());
        let record = Record { value, expires_at: self.0.clock.wall().plus(lifetime) };
        if let Err(error) = self.0.store.put(&name(holding, kind), &record).await {
            self.0.outage.failed(&error, self.0.clock.steady());
        }
    }

    /// How long a value lives that another instance wrote, or this one before it was started again.
    pub(super) async fn lifetime_of(&self, holding: &Holding, kind: CredentialKind) -> Duration {
        // Without a word of it the life is the usual one, and the worst is a renewal too early.
        let Ok(Some(record)) = self.0.store.get(&name(holding, kind)).await else { return FULL_LIFETIME };
        record.value.expose_secret().parse().map_or(FULL_LIFETIME, Duration::from_millis)
    }
}

fn name(holding: &Holding, kind: CredentialKind) -> String {
    format!("{}.life", holding.key(kind))
}
