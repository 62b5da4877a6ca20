//! Metrics in the text format of Prometheus. All names are in one table (`names`); `values` gives
//! and `per_account` give each its values at the moment of the scrape. A counter stands where it is counted
//! (`crate::counters`), and the state of a credential is read from the engine, so nothing here can
//! be stale.
//!
//! The format is the classic one (0.0.4), which every scraper reads. In it a counter is declared
//! under the name that its samples have, so counters are written here as values without a suffix.

mod names;
mod per_account;
mod values;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use self::per_account::ACCOUNT_LEN;
use self::values::Values;
use super::{Status, accounts::MOST_ACCOUNTS, process};

pub use self::names::{Kind, Metric, NAMES};

/// What only the HTTP side knows.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Requests that wait.
    pub waiting: u64,
    /// Requests that were refused because too many waited.
    pub overloads: u64,
    /// The realms that may call through the gateway.
    pub gateway_realms: Vec<String>,
}

impl Status {
    /// All metrics as text.
    pub fn metrics(&self, live: Live) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        let values = Arc::new(self.values(live));
        registry.register_collector(Box::new(OfProcess(Arc::clone(&values))));
        let length = 64 * 1024 + values.accounts.len() * ACCOUNT_LEN;
        let mut text = String::with_capacity(length);
        text::encode_registry(&mut text, &registry)?;
        for metric in NAMES {
            metric.write_lines(&values, &mut text)?;
        }
        Ok(text)
    }

    fn values(&self, live: Live) -> Values {
        let (inner, counters) = (&self.0, &self.0.counters);
        let mut all = self.accounts();
        if all.len() > MOST_ACCOUNTS {
            // What is in trouble is shown whether or not it is in use.
            all.retain(|account| account.is_in_use() || account.is_in_trouble());
        }
        Values {
            reserve: self.reserve(&all),
            accounts: all,
            renewals: counters.renewals.read(),
            pushes: counters.pushes.read(),
            forward_failures: counters.forward_failures.read(),
            calls: counters.calls.read(),
            call_durations: counters.call_durations.read(),
            is_store_up: counters.is_store_up(),
            store: counters
                .store
                .iter()
                .map(|(name, durations)| (*name, durations.read()))
                .collect(),
            routes: counters.routes.read(),
            gateway: counters.gateway.read(),
            gateway_realms: counters.gateway.realms(),
            clock_offset: counters
                .clock_offset_ms()
                .map(|offset| offset as f64 / 1000.0),
            lost_lines: inner.lost_lines.count(),
            process: process::read(),
            live,
        }
    }
}

/// The metrics of the process.
#[derive(Debug)]
struct OfProcess(Arc<Values>);

impl Collector for OfProcess {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for metric in NAMES {
            metric.write_samples(&self.0, &mut encoder)?;
        }
        Ok(())
    }
}
