//! Counters by names that the settings give: hosts, accounts. A lookup allocates nothing once a name
//! is known, and the number of names is bounded.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use credentials::observer::RenewalResult;
use wechat::CallOutcome;
use wechat::credential::CredentialKind;

/// The most names in one map. The settings and the store name fewer; whatever comes on top is not
/// counted.
const MOST_NAMES: usize = 100_000;

/// `N` counters for each name, such as an appid.
#[derive(Debug)]
pub struct ByName<const N: usize>(Mutex<HashMap<String, [u64; N]>>);

impl<const N: usize> Default for ByName<N> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<const N: usize> ByName<N> {
    /// Adds one to the counter `column` of `name`.
    pub fn count(&self, name: &str, column: usize) {
        let mut names = locked(&self.0);
        if let Some(counters) = entry(&mut names, name, || [0; N])
            && let Some(counter) = counters.get_mut(column)
        {
            *counter += 1;
        }
    }

    /// The counters of every name that was counted.
    pub fn read(&self) -> HashMap<String, [u64; N]> {
        locked(&self.0).clone()
    }
}

/// Calls to WeChat by host, call and outcome.
#[derive(Debug, Default)]
pub struct ByHost(Mutex<HashMap<String, Calls>>);

type Calls = BTreeMap<&'static str, [u64; CallOutcome::ALL.len()]>;

impl ByHost {
    pub(super) fn count(&self, host: &str, call: &'static str, outcome: CallOutcome) {
        let mut hosts = locked(&self.0);
        if let Some(calls) = entry(&mut hosts, host, Calls::default) {
            calls.entry(call).or_default()[outcome as usize] += 1;
        }
    }

    /// Host, call, outcome and count of everything that was counted, in this order.
    pub fn read(&self) -> Vec<(String, &'static str, &'static str, u64)> {
        let hosts: BTreeMap<_, _> = locked(&self.0).clone().into_iter().collect();
        let mut all = Vec::new();
        for (host, calls) in hosts {
            for (call, counts) in calls {
                let outcomes = CallOutcome::ALL.into_iter().zip(counts);
                for (outcome, count) in outcomes.filter(|(_, count)| *count > 0) {
                    all.push((host.clone(), call, outcome.name(), count));
                }
            }
        }
        all
    }
}

/// Calls for credentials by account, kind, reason and result.
#[derive(Debug, Default)]
pub struct Renewals(Mutex<HashMap<String, ByReason>>);

/// Counts by kind, reason and result, in order. A list, because nearly every account has two or
/// three of them, and the smallest `BTreeMap` takes 368 bytes.
pub type ByReason = Vec<((CredentialKind, &'static str, RenewalResult), u64)>;

impl Renewals {
    pub(super) fn count(
        &self,
        account: &str,
        kind: CredentialKind,
        why: &'static str,
        result: RenewalResult,
    ) {
        let mut accounts = locked(&self.0);
        let Some(counts) = entry(&mut accounts, account, ByReason::default) else {
            return;
        };
        let what = (kind, why, result);
        match counts.binary_search_by_key(&what, |(counted, _)| *counted) {
            Ok(at) => counts[at].1 += 1,
            Err(at) => {
                counts.reserve_exact(1);
                counts.insert(at, (what, 1));
            }
        }
    }

    /// The counts of every account that was counted.
    pub fn read(&self) -> HashMap<String, ByReason> {
        locked(&self.0).clone()
    }
}

/// The value of `name`, made if there is room for another.
pub(super) fn entry<'m, V>(
    names: &'m mut HashMap<String, V>,
    name: &str,
    new: impl FnOnce() -> V,
) -> Option<&'m mut V> {
    if !names.contains_key(name) {
        if names.len() >= MOST_NAMES {
            return None;
        }
        names.insert(name.to_owned(), new());
    }
    names.get_mut(name)
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_apart_and_without_end_they_are_not() {
        let names = ByName::<2>::default();
        names.count("a", 0);
        names.count("a", 1);
        names.count("b", 1);
        names.count("b", 7);
        let read = names.read();
        assert_eq!((read["a"], read["b"]), ([1, 1], [0, 1]));
        for number in 0..=MOST_NAMES {
            names.count(&number.to_string(), 0);
        }
        assert_eq!(names.read().len(), MOST_NAMES);
    }

    #[test]
    fn renewals_are_counted_by_reason_in_order() {
        let renewals = Renewals::default();
        let (ticket, granted) = (CredentialKind::JsapiTicket, RenewalResult::Granted);
        for why in ["missing", "ahead", "missing"] {
            renewals.count("wx1", ticket, why, granted);
        }
        let expected = vec![
            ((ticket, "ahead", granted), 1),
            ((ticket, "missing", granted), 2),
        ];
        assert_eq!(renewals.read()["wx1"], expected);
    }

    #[test]
    fn calls_are_read_in_order() {
        let calls = ByHost::default();
        calls.count("b", "token", CallOutcome::Ok);
        calls.count("a", "ticket", CallOutcome::NoAnswer);
        calls.count("a", "ticket", CallOutcome::NoAnswer);
        let read = calls.read();
        assert_eq!(read[0], ("a".to_owned(), "ticket", "no_answer", 2));
        assert_eq!(read[1], ("b".to_owned(), "token", "ok", 1));
    }
}
