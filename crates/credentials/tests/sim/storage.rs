//! The shared store with its own, exact clock: records, leases and permits. It can lose its last
//! moments, as a promoted replica does.

use std::collections::{BTreeMap, VecDeque};

use super::wire::number;
use super::world::SECOND;

/// A process: the host, and the number of its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Process {
    pub(crate) host: usize,
    pub(crate) life: u32,
}

#[derive(Clone, Default)]
struct Contents {
    records: BTreeMap<String, (String, u64)>,
    companions: BTreeMap<String, (String, u64)>,
    claims: BTreeMap<String, Claim>,
    permits: BTreeMap<String, (u32, u64)>,
}

/// A lease, as it was granted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    owner: String,
    pub(crate) process: Process,
    pub(crate) ends: u64,
    /// Its number.
    pub(crate) number: u64,
}

#[derive(Default)]
pub(crate) struct Storage {
    now: Contents,
    /// The state after each change of the last moments.
    before: VecDeque<(u64, Contents)>,
    /// Backups: the state every few minutes of the last hours.
    backups: VecDeque<(u64, Contents)>,
    leases: u64,
    /// When a value was overwritten by one that WeChat had granted earlier.
    pub(crate) set_back: Option<String>,
    /// A store that grants every lease, to check that the judge notices.
    pub(crate) is_careless: bool,
}

/// The longest that a replica lags behind.
pub(crate) const LAG: u64 = 2 * SECOND;

impl Storage {
    /// The value under `key` and the milliseconds that it has left.
    pub(crate) fn get(&self, key: &str, now: u64) -> Option<(String, u64)> {
        let (value, ends) = self.now.records.get(key)?;
        (*ends > now).then(|| (value.clone(), ends - now))
    }

    pub(crate) fn put(&mut self, key: &str, value: &str, left: u64, now: u64) {
        // In whole seconds, as a Redis keeps them for us.
        let left = if left >= SECOND {
            left / SECOND * SECOND
        } else {
            left
        };
        let found = self
            .get(key, now)
            .filter(|(found, _)| number(found) > number(value));
        // A ticket does not void another.
        if let Some((found, _)) = found.filter(|_| key.ends_with(".token")) {
            self.set_back.get_or_insert_with(|| {
                format!("at {now} ms: {key}: {value} was written over {found}, which is newer")
            });
        }
        self.change(now)
            .records
            .insert(key.to_owned(), (value.to_owned(), now + left));
    }

    /// Writes a value and its companion, unless another value than `over` is there.
    pub(crate) fn put_pair(
        &mut self,
        key: &str,
        over: Option<&str>,
        [value, companion]: [&str; 2],
        left: u64,
        now: u64,
    ) -> bool {
        let found = self.get(key, now).map(|(found, _)| found);
        if found.is_some_and(|found| found != value && Some(found.as_str()) != over) {
            return false;
        }
        self.put(key, value, left, now);
        self.put_companion(key, companion, left + 3600 * SECOND, now);
        true
    }

    pub(crate) fn put_companion(&mut self, key: &str, companion: &str, left: u64, now: u64) {
        self.change(now)
            .companions
            .insert(key.to_owned(), (companion.to_owned(), now + left));
    }

    pub(crate) fn companion(&self, key: &str, now: u64) -> Option<String> {
        let (companion, ends) = self.now.companions.get(key)?;
        (*ends > now).then(|| companion.clone())
    }

    /// The store is restored from a backup of `age` ago: leases and permits too.
    pub(crate) fn set_back_by(&mut self, age: u64, now: u64) {
        let backup = self.backups.iter().rev().find(|(at, _)| at + age <= now);
        if let Some((_, contents)) = backup {
            self.now = contents.clone();
        }
        self.before.clear();
    }

    pub(crate) fn lose_companion(&mut self, key: &str, now: u64) {
        self.change(now).companions.remove(key);
    }

    /// Gives the companion's newest entry the fingerprint of `value`, so that it has the generation
    /// of another value.
    pub(crate) fn rename_companion(&mut self, key: &str, value: &str, now: u64) {
        let Some(text) = self.companion(key, now) else {
            return;
        };
        let mut companion: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        // A companion may hold only a back-off.
        let Some(newest) = companion["versions"].get_mut(0) else {
            return;
        };
        newest["fingerprint"] = jsdkd_credentials::store::fingerprint_of(value).into();
        self.put_companion(key, &companion.to_string(), 2 * 3600 * SECOND, now);
    }

    pub(crate) fn take(&mut self, key: &str, now: u64) -> Option<(String, u64)> {
        let found = self.get(key, now);
        self.change(now).records.remove(key);
        found
    }

    pub(crate) fn claim(
        &mut self,
        key: &str,
        owner: &str,
        process: Process,
        ttl: u64,
        now: u64,
    ) -> bool {
        let number = match self.now.claims.get(key).filter(|claim| claim.ends > now) {
            Some(claim) if claim.owner != owner && !self.is_careless => return false,
            // An extension is a lease of its own: an instance runs one renewal at a time.
            _ => {
                self.leases += 1;
                self.leases
            }
        };
        let claim = Claim {
            owner: owner.to_owned(),
            process,
            ends: now + ttl,
            number,
        };
        self.change(now).claims.insert(key.to_owned(), claim);
        true
    }

    /// The holder of the lease on `key`.
    pub(crate) fn holder(&self, key: &str, now: u64) -> Option<&Claim> {
        self.now.claims.get(key).filter(|claim| claim.ends > now)
    }

    pub(crate) fn release(&mut self, key: &str, owner: &str, now: u64) {
        if self
            .now
            .claims
            .get(key)
            .is_some_and(|claim| claim.owner == owner)
        {
            self.change(now).claims.remove(key);
        }
    }

    pub(crate) fn take_permit(&mut self, key: &str, limit: u32, window: u64, now: u64) -> bool {
        let (count, ends) = self
            .now
            .permits
            .get(key)
            .copied()
            .filter(|(_, ends)| *ends > now)
            .unwrap_or((0, now + window));
        let granted = count < limit;
        if granted {
            self.change(now)
                .permits
                .insert(key.to_owned(), (count + 1, ends));
        }
        granted
    }

    pub(crate) fn return_permit(&mut self, key: &str, now: u64) {
        match self
            .now
            .permits
            .get(key)
            .copied()
            .filter(|(_, ends)| *ends > now)
        {
            Some((count, ends)) if count > 1 => drop(
                self.change(now)
                    .permits
                    .insert(key.to_owned(), (count - 1, ends)),
            ),
            Some(_) => drop(self.change(now).permits.remove(key)),
            None => {}
        }
    }

    /// The most permits that are taken under a key that begins like this.
    pub(crate) fn spent(&self, prefix: &str, now: u64) -> u32 {
        let alike = self
            .now
            .permits
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix));
        alike
            .filter(|(_, (_, ends))| *ends > now)
            .map(|(_, (count, _))| *count)
            .max()
            .unwrap_or(0)
    }

    /// Loses the changes of the last `lag`.
    pub(crate) fn fail_over(&mut self, lag: u64, now: u64) {
        // Each entry is what there was before the change of its moment: the first one after the
        // replica's moment is the replica.
        let replica = self.before.iter().position(|(at, _)| at + lag > now);
        if let Some(replica) = replica.and_then(|index| self.before.get(index)) {
            self.now = replica.1.clone();
        }
        self.before.clear();
    }

    fn change(&mut self, now: u64) -> &mut Contents {
        while self.before.get(1).is_some_and(|(at, _)| at + LAG < now) {
            self.before.pop_front();
        }
        self.before.push_back((now, self.now.clone()));
        if self
            .backups
            .back()
            .is_none_or(|(at, _)| at + 300 * SECOND < now)
        {
            self.backups.push_back((now, self.now.clone()));
            while self.backups.len() > 100 {
                self.backups.pop_front();
            }
        }
        &mut self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promoted_replica_lacks_the_last_moments() {
        let mut storage = Storage::default();
        storage.put("a", "v1", 100 * SECOND, 0);
        storage.put("a", "v2", 100 * SECOND, 10 * SECOND);
        storage.put("a", "v3", 100 * SECOND, 11 * SECOND);
        let now = 11 * SECOND + 100;
        storage.fail_over(SECOND / 2, now);
        assert_eq!(
            storage.get("a", now).map(|(value, _)| value).as_deref(),
            Some("v2")
        );
        storage.fail_over(SECOND / 2, now);
        assert_eq!(
            storage.get("a", now).map(|(value, _)| value).as_deref(),
            Some("v2"),
            "what is old is not lost"
        );
    }
}
