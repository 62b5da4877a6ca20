//! What is known about an account beyond its credentials: who else fetches its tokens, and how much
//! of WeChat's daily quota is used. The status page and the metrics read it; whoever finds something
//! out writes it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use clock::UnixSeconds;

/// The current findings and budgets; clones share them. Empty until something is published.
#[derive(Clone, Debug, Default)]
pub struct Insights(Arc<ArcSwap<Insight>>);

/// One reading.
#[derive(Clone, Debug, Default)]
pub struct Insight {
    /// What an operator should know, the most recent first.
    pub findings: Vec<Finding>,
    /// Daily budgets, in any order.
    pub budgets: Vec<Budget>,
}

/// Something that an operator should know, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The stable code, such as `foreign_refresh`.
    pub code: &'static str,
    /// The account.
    pub app_id: String,
    /// It happened after this.
    pub after: UnixSeconds,
    /// It happened before this.
    pub before: UnixSeconds,
    /// How often so far.
    pub times: u64,
    /// The intervals between the times, in seconds, the most recent last.
    pub intervals: Vec<u64>,
    /// What to do, one step an entry, in English.
    pub advice: Vec<&'static str>,
    /// The same steps in Chinese.
    pub advice_zh: Vec<&'static str>,
}

/// How much of a daily quota of one account is used, by all instances together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The account.
    pub app_id: String,
    /// What is counted, such as `token`.
    pub name: &'static str,
    /// Used since midnight in Beijing.
    pub used: u64,
    /// The quota.
    pub limit: u64,
}

impl Insights {
    /// The current reading.
    pub fn read(&self) -> Arc<Insight> {
        self.0.load_full()
    }

    /// Replaces the reading.
    pub fn publish(&self, insight: Insight) {
        self.0.store(Arc::new(insight));
    }
}
