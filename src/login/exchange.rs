//! Exchanges codes with WeChat and records the outcomes. Each code is exchanged once, by the first
//! instance that writes it to the record. A record accepts ten codes. A repeated code returns the
//! recorded outcome.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Failure, LoginError, Logins};
use crate::client_network::ClientNetwork;
use clock::UnixMillis;
use wechat::signature::{fingerprint, random_id};

/// Maximum number of codes exchanged per record.
const MAX_EXCHANGES: usize = 10;

/// Maximum number of codes exchanged per client network and minute.
const A_MINUTE: u32 = 600;

/// Extra wait, on top of WeChat's timeout, for an exchange that another request started.
const MARGIN: Duration = Duration::from_secs(1);

/// An exchange without an outcome after this long counts as abandoned. Allows for clock skew.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// An exchange in flight.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The fingerprint of the code.
    code: String,
    /// Distinguishes two instances that write at the same time.
    by: String,
    /// The start time in Unix milliseconds.
    at: u64,
}

impl Begun {
    pub(super) fn new(code: &str, now: UnixMillis) -> Self {
        Self {
            code: code.to_owned(),
            by: random_id(),
            at: now.0,
        }
    }

    pub(super) fn is_of(&self, code: &str) -> bool {
        self.code == code
    }

    /// True if the process that started the exchange must have died.
    pub(super) fn is_lost(&self, now: UnixMillis) -> bool {
        UnixMillis(self.at).plus(LOST_AFTER) <= now
    }
}

/// The outcome of an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// The exchange failed.
    Failed(Failure),
    /// The code belongs to the user of this login.
    Theirs,
    /// The code belongs to another user.
    Another,
}

/// An exchange in a record that accepts several.
#[derive(Clone, Serialize, Deserialize)]
struct Exchange {
    #[serde(flatten)]
    begun: Begun,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
}

/// The state of a code in a record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    /// The code can be exchanged.
    New,
    /// The exchange is in flight.
    UnderWay,
    /// The exchange was abandoned.
    Lost,
    Concluded(Outcome),
    /// The record accepts no more codes.
    TooMany,
}

/// The exchanges of one record.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Exchanges(Vec<Exchange>);

impl Exchanges {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn about(&self, code: &str, now: UnixMillis) -> Known {
        match self.0.iter().find(|exchange| exchange.begun.is_of(code)) {
            Some(Exchange {
                outcome: Some(outcome),
                ..
            }) => Known::Concluded(*outcome),
            Some(exchange) if exchange.begun.is_lost(now) => Known::Lost,
            Some(_) => Known::UnderWay,
            None if self.0.len() >= MAX_EXCHANGES => Known::TooMany,
            None => Known::New,
        }
    }

    /// True if the record accepts no more codes and no exchange is in flight.
    pub(super) fn are_over(&self) -> bool {
        self.0.len() >= MAX_EXCHANGES && self.0.iter().all(|exchange| exchange.outcome.is_some())
    }

    pub(super) fn begin(&mut self, code: &str, now: UnixMillis) {
        self.0.push(Exchange {
            begun: Begun::new(code, now),
            outcome: None,
        });
    }

    pub(super) fn conclude(&mut self, code: &str, outcome: Outcome) {
        for exchange in self
            .0
            .iter_mut()
            .filter(|exchange| exchange.begun.is_of(code))
        {
            exchange.outcome = Some(outcome);
        }
    }
}

/// Returns the fingerprint under which the account's records store `code`.
pub(super) fn print_of(app_id: &str, code: &str) -> String {
    fingerprint(&format!("{app_id} {code}")).text()
}

impl Logins {
    /// Returns how long to wait for an exchange that another request started.
    pub(super) fn exchange_patience(&self) -> Duration {
        self.0.wechat.timeout() + MARGIN
    }

    /// Counts one exchange for the network of `from`, across all instances.
    pub(super) async fn count_exchange(&self, from: Option<IpAddr>) -> Result<(), LoginError> {
        match from.and_then(ClientNetwork::of) {
            Some(network) => self.count("exchange", network, A_MINUTE).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_holds_ten_codes_and_their_outcomes() {
        let (mut exchanges, now) = (Exchanges::default(), UnixMillis(1_000_000));
        for number in 0..MAX_EXCHANGES {
            let code = number.to_string();
            assert!(matches!(exchanges.about(&code, now), Known::New));
            exchanges.begin(&code, now);
            assert!(
                matches!(exchanges.about(&code, now), Known::UnderWay) && !exchanges.are_over()
            );
            exchanges.conclude(&code, Outcome::Failed(Failure::BadCode));
        }
        let text = serde_json::to_string(&exchanges).expect("plain data");
        let exchanges: Exchanges = serde_json::from_str(&text).expect("what was written");
        assert!(matches!(
            exchanges.about("3", now),
            Known::Concluded(Outcome::Failed(Failure::BadCode))
        ));
        assert!(matches!(exchanges.about("another", now), Known::TooMany) && exchanges.are_over());
        assert!(text.len() < 2048, "{}", text.len());
    }

    #[test]
    fn an_exchange_of_a_dead_process_is_not_awaited() {
        let (mut exchanges, begun) = (Exchanges::default(), UnixMillis(1_000_000));
        exchanges.begin("code", begun);
        assert!(matches!(
            exchanges.about("code", begun.plus(LOST_AFTER / 2)),
            Known::UnderWay
        ));
        assert!(matches!(
            exchanges.about("code", begun.plus(LOST_AFTER)),
            Known::Lost
        ));
    }
}
