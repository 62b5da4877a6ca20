//! The instances that share the store. Each writes itself into one small record that all share; the
//! record ends when nobody renews it. A store of this process alone has one instance.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::Status;
use arc_swap::ArcSwap;
use clock::UnixMillis;
use credentials::store::{Record, Store, StoreError};
use std::sync::Arc;

/// Where the record is.
const KEY: &str = "jsdkd.instances";

/// An instance that was not seen for so long is no longer listed.
const GONE: Duration = Duration::from_secs(60);

/// The most instances in the record.
const MOST: usize = 100;

/// The longest name that is taken from the record.
const LONGEST_NAME: usize = 80;

/// How often a write is tried again when another instance was faster.
const TURNS: usize = 5;

/// How long one operation may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// One instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its own id, which nobody sees.
    id: String,
    /// The name of its machine and its port.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When it was seen last, in seconds since 1970.
    pub last_seen: u64,
    /// Its clock minus WeChat's in seconds; `None` = not known.
    pub clock_offset: Option<f64>,
}

/// This instance, and all that were read last.
pub(super) struct Instances {
    id: String,
    name: String,
    known: ArcSwap<Vec<Instance>>,
}

impl Instances {
    pub(super) fn new(name: String) -> Self {
        Self {
            id: format!("{:016x}", rand::random::<u64>()),
            name: name.chars().take(LONGEST_NAME).collect(),
            known: ArcSwap::default(),
        }
    }
}

impl Status {
    /// All instances, this one first.
    pub fn instances(&self) -> Vec<Instance> {
        let own = self.own_instance();
        let known = self.0.instances.known.load();
        let oldest = oldest(self.clock().wall());
        let others = known
            .iter()
            .filter(|one| one.id != own.id && one.last_seen >= oldest);
        std::iter::once(own.clone())
            .chain(others.cloned())
            .collect()
    }

    fn own_instance(&self) -> Instance {
        Instance {
            id: self.0.instances.id.clone(),
            name: self.0.instances.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            last_seen: self.clock().wall().seconds().0,
            clock_offset: self
                .0
                .counters
                .clock_offset_ms()
                .map(|offset| offset as f64 / 1000.0),
        }
    }

    /// Writes this instance into the shared record and reads the others from it. A failure changes
    /// nothing; the next turn tries again.
    pub(super) async fn share_instance(&self) {
        if !self.0.store.is_shared() {
            return;
        }
        let shared = async {
            for _ in 0..TURNS {
                if self.exchange().await? {
                    break;
                }
            }
            Ok::<_, StoreError>(())
        };
        match tokio::time::timeout(TIMEOUT, shared).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "the record of the instances was not written")
            }
            Err(_) => tracing::debug!("the record of the instances was not written in time"),
        }
    }

    /// One turn. `false`: another instance wrote in between.
    async fn exchange(&self) -> Result<bool, StoreError> {
        let (store, now) = (&self.0.store, self.clock().wall());
        let before = store.get(KEY).await?.map(|record| record.value);
        let mut all = read(before.as_ref(), now);
        let own = self.own_instance();
        all.retain(|one| one.id != own.id);
        all.truncate(MOST - 1);
        all.push(own);
        all.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        let record = Record {
            value: serde_json::to_string(&all).unwrap_or_default().into(),
            expires_at: now.plus(GONE * 2),
        };
        let is_written = store.replace(KEY, before.as_ref(), &record).await?;
        if is_written {
            self.0.instances.known.store(Arc::new(all));
        }
        Ok(is_written)
    }
}

/// The instances that share `store` and were seen lately.
pub async fn instances_in(store: &dyn Store, now: UnixMillis) -> Result<Vec<Instance>, StoreError> {
    let record = store.get(KEY).await?.map(|record| record.value);
    Ok(read(record.as_ref(), now))
}

/// The instances in a record that were seen lately. Whatever else is written there is nobody.
fn read(record: Option<&SecretString>, now: UnixMillis) -> Vec<Instance> {
    let text = record.map_or("", |record| record.expose_secret());
    let mut all: Vec<Instance> = serde_json::from_str(text).unwrap_or_default();
    all.retain(|one| one.last_seen >= oldest(now));
    for one in &mut all {
        one.name = one.name.chars().take(LONGEST_NAME).collect();
        one.version = one.version.chars().take(LONGEST_NAME).collect();
    }
    all
}

fn oldest(now: UnixMillis) -> u64 {
    now.seconds().0.saturating_sub(GONE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_or_old_record_names_nobody() {
        let now = UnixMillis(1_000_000);
        let text = |text: &str| SecretString::from(text);
        for nobody in ["", "[]", "{}", "no JSON", r#"[{"id":1}]"#] {
            assert_eq!(read(Some(&text(nobody)), now), []);
        }
        let one = |seen: u64| {
            format!(
                r#"[{{"id":"a","name":"n","version":"1","last_seen":{seen},"clock_offset":null}}]"#
            )
        };
        assert_eq!(read(Some(&text(&one(939))), now), []);
        assert_eq!(read(Some(&text(&one(940))), now).len(), 1);
        assert_eq!(read(None, now), []);
    }
}
