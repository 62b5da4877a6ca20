//! Exchanges of codes with WeChat, as the record of a login remembers them: which code was brought, and what came of it. Each code is
//! exchanged once, by whichever instance writes it into the record first, and a record takes ten of them. Whoever brings a code again reads
//! what came of it.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Failure, LoginError, Logins};
use crate::client_network::ClientNetwork;
use clock::UnixMillis;
use wechat::signature::{fingerprint, random_id};

/// Codes that are exchanged for one record.
const MOST: usize = 10;

/// Codes that are exchanged for one client network within a minute.
const A_MINUTE: u32 = 600;

/// How much longer than WeChat's timeout somebody waits for an exchange of another request.
const MARGIN: Duration = Duration::from_secs(1);

/// An exchange without an outcome after this long has lost its process, whatever the clocks of two instances say.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// An exchange that has begun.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The fingerprint of the code.
    code: String,
    /// Tells apart two instances that write the same at the same time.
    by: String,
    /// When it began, in unix milliseconds.
    at: u64,
}

impl Begun {
    pub(super) fn new(code: &str, now: UnixMillis) -> Self {
        Self { code: code.to_owned(), by: random_id(), at: now.0 }
    }

    pub(super) fn is_of(&self, code: &str) -> bool {
        self.code == code
    }

    /// Whether nobody will conclude it any more.
    pub(super) fn is_lost(&self, now: UnixMillis) -> bool {
        UnixMillis(self.at).plus(LOST_AFTER) <= now
    }
}

/// What came of an exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// Nobody is logged in by this code.
    Failed(Failure),
    /// The person of the login.
    Theirs,
    /// Somebody else.
    Another,
}

/// An exchange of a record that takes several.
#[derive(Clone, Serialize, Deserialize)]
struct Exchange {
    #[serde(flatten)]
    begun: Begun,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
}

/// What a record says of a code.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    /// It can be exchanged.
    New,
    /// It is being exchanged.
    UnderWay,
    /// Its exchange has lost its process.
    Lost,
    Concluded(Outcome),
    /// It is one more than the record takes.
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
            Some(Exchange { outcome: Some(outcome), .. }) => Known::Concluded(*outcome),
            Some(exchange) if exchange.begun.is_lost(now) => Known::Lost,
            Some(_) => Known::UnderWay,
            None if self.0.len() >= MOST => Known::TooMany,
            None => Known::New,
        }
    }

    /// Whether no code more is taken and none is under way.
    pub(super) fn are_over(&self) -> bool {
        self.0.len() >= MOST && self.0.iter().all(|exchange| exchange.outcome.is_some())
    }

    pub(super) fn begin(&mut self, code: &str, now: UnixMillis) {
        self.0.push(Exchange { begun: Begun::new(code, now), outcome: None });
    }

    pub(super) fn conclude(&mut self, code: &str, outcome: Outcome) {
        for exchange in self.0.iter_mut().filter(|exchange| exchange.begun.is_of(code)) {
            exchange.outcome = Some(outcome);
        }
    }
}

/// The fingerprint by which a record of the account knows `code`.
pub(super) fn print_of(app_id: &str, code: &str) -> String {
    fingerprint(&format!("{app_id} {code}")).text()
}

impl Logins {
    /// How long to wait for an exchange of another request.
    pub(super) fn exchange_patience(&self) -> Duration {
        self.0.wechat.timeout() + MARGIN
    }

    /// Counts one exchange more for the network of `from`, across all instances.
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
    fn a_record_takes_ten_codes_and_knows_what_came_of_each() {
        let (mut exchanges, now) = (Exchanges::default(), UnixMillis(1_000_000));
        for number in 0..MOST {
            let code = number.to_string();
            assert!(matches!(exchanges.about(&code, now), Known::New));
            exchanges.begin(&code, now);
            assert!(matches!(exchanges.about(&code, now), Known::UnderWay) && !exchanges.are_over());
            exchanges.conclude(&code, Outcome::Failed(Failure::BadCode));
        }
        let text = serde_json::to_string(&exchanges).expect("plain data");
        let exchanges: Exchanges = serde_json::from_str(&text).expect("what was written");
        assert!(matches!(exchanges.about("3", now), Known::Concluded(Outcome::Failed(Failure::BadCode))));
        assert!(matches!(exchanges.about("another", now), Known::TooMany) && exchanges.are_over());
        assert!(text.len() < 2048, "{}", text.len());
    }

    #[test]
    fn an_exchange_that_lost_its_process_is_not_waited_for() {
        let (mut exchanges, begun) = (Exchanges::default(), UnixMillis(1_000_000));
        exchanges.begin("code", begun);
        assert!(matches!(exchanges.about("code", begun.plus(LOST_AFTER / 2)), Known::UnderWay));
        assert!(matches!(exchanges.about("code", begun.plus(LOST_AFTER)), Known::Lost));
    }
}
