//! Calls through the gateway, by realm, account, area and outcome. An area is the name of a preset,
//! so there are few; a path is none.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use super::tally::{entry, locked};
use clock::UnixMillis;

/// What became of a call through the gateway.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum GatewayOutcome {
    /// WeChat did what was asked, or we answered from what we hold.
    Ok,
    /// The same, after the call was sent again with another token.
    Healed,
    /// WeChat refused, and the refusal was passed on.
    Refused,
    /// We refused: wrong token or secret, or an address or a day on which the realm may not call.
    Denied,
    /// We refused: outside the realm's scope, or malformed.
    Scope,
    /// We refused: too many calls, or a body that is too long.
    Limit,
    /// Nothing was sent, or no answer came.
    Unreachable,
    /// The caller hung up, or the answer was cut off.
    CutOff,
}

impl GatewayOutcome {
    /// All outcomes.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Healed,
        Self::Refused,
        Self::Denied,
        Self::Scope,
        Self::Limit,
        Self::Unreachable,
        Self::CutOff,
    ];

    /// The word in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Healed => "healed",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Scope => "scope",
            Self::Limit => "limit",
            Self::Unreachable => "unreachable",
            Self::CutOff => "cut_off",
        }
    }
}

/// One call that has ended.
#[derive(Clone, Copy, Debug)]
pub struct GatewayCall<'a> {
    /// The realm, once it has proven itself.
    pub realm: Option<&'a str>,
    /// The account, once it is known.
    pub account: Option<&'a str>,
    /// The name of the first preset that contains the path.
    pub area: &'static str,
    /// What became of it.
    pub outcome: GatewayOutcome,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
}

/// All calls so far.
#[derive(Debug, Default)]
pub struct GatewayCounters(Mutex<HashMap<String, OfRealm>>);

#[derive(Clone, Debug, Default)]
struct OfRealm {
    reading: RealmReading,
    accounts: HashMap<String, BTreeMap<&'static str, [u64; GatewayOutcome::ALL.len()]>>,
}

/// What one realm did.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealmReading {
    /// Its calls.
    pub calls: u64,
    /// Those of them that we refused.
    pub refused: u64,
    /// When it called last.
    pub last_seen: UnixMillis,
    /// Bytes that it sent.
    pub bytes_in: u64,
    /// Bytes that it received.
    pub bytes_out: u64,
}

/// One combination that was counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GatewayReading {
    /// The realm; `-` before it has proven itself.
    pub realm: String,
    /// The account; `-` before it is known.
    pub account: String,
    /// The area.
    pub area: &'static str,
    /// The outcome.
    pub outcome: GatewayOutcome,
    /// How often.
    pub count: u64,
}

/// Stands for a realm or an account that is not known.
const NOBODY: &str = "-";

impl GatewayCounters {
    /// Counts a call that ended at `now`.
    pub fn count(&self, call: &GatewayCall<'_>, now: UnixMillis) {
        let mut realms = locked(&self.0);
        let Some(realm) = entry(&mut realms, call.realm.unwrap_or(NOBODY), OfRealm::default) else {
            return;
        };
        let is_refused = matches!(
            call.outcome,
            GatewayOutcome::Denied | GatewayOutcome::Scope | GatewayOutcome::Limit
        );
        realm.reading.calls += 1;
        realm.reading.refused += u64::from(is_refused);
        realm.reading.last_seen = now;
        realm.reading.bytes_in += call.bytes_in;
        realm.reading.bytes_out += call.bytes_out;
        let account = call.account.unwrap_or(NOBODY);
        if let Some(areas) = entry(&mut realm.accounts, account, BTreeMap::new) {
            areas.entry(call.area).or_default()[call.outcome as usize] += 1;
        }
    }

    /// What each realm did.
    pub fn realms(&self) -> BTreeMap<String, RealmReading> {
        let realms = locked(&self.0);
        let realms = realms.iter().map(|(realm, of)| (realm.clone(), of.reading));
        realms.collect()
    }

    /// Every combination that was counted, in order.
    pub fn read(&self) -> Vec<GatewayReading> {
        let realms = locked(&self.0).clone();
        let mut all = Vec::new();
        for (realm, of) in realms {
            for (account, areas) in of.accounts {
                for (area, counts) in areas {
                    let outcomes = GatewayOutcome::ALL.into_iter().zip(counts);
                    for (outcome, count) in outcomes.filter(|(_, count)| *count > 0) {
                        let (realm, account) = (realm.clone(), account.clone());
                        all.push(GatewayReading {
                            realm,
                            account,
                            area,
                            outcome,
                            count,
                        });
                    }
                }
            }
        }
        all.sort_unstable();
        all
    }
}
