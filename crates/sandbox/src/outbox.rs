//! The messages that accounts have sent: their numbers, and the last ones of each account.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::bounded::Bounded;
use clock::UnixMillis;

/// How many messages of an account are kept.
const KEPT: usize = 100;

/// How many `client_msg_id`s are remembered.
const REMEMBERED: usize = 10_000;

/// All sent messages.
#[derive(Debug)]
pub(super) struct Outbox {
    accounts: BTreeMap<String, Sent>,
    pub(super) templates: u64,
    /// The id and the time of a template message, by account, openid and `client_msg_id`.
    pub(super) repeatable: Bounded<(u64, UnixMillis)>,
}

/// What one account has sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The number of customer-service messages (客服消息).
    pub(super) custom: u64,
    /// The number of template messages (模板消息).
    pub(super) template: u64,
    last: VecDeque<Value>,
}

impl Outbox {
    /// What an account has sent, if anything.
    pub(super) fn get(&self, app_id: &str) -> Option<&Sent> {
        self.accounts.get(app_id)
    }

    /// What an account has sent, to add to it.
    pub(super) fn of(&mut self, app_id: &str) -> &mut Sent {
        self.accounts.entry(app_id.to_owned()).or_default()
    }
}

impl Sent {
    /// The last hundred messages, the oldest first.
    pub(super) fn last(&self) -> impl Iterator<Item = &Value> {
        self.last.iter()
    }

    /// Keeps a message, and removes the oldest one if there are too many.
    pub(super) fn keep(&mut self, message: Value) {
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(message);
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            accounts: BTreeMap::new(),
            templates: 0,
            repeatable: Bounded::new(REMEMBERED),
        }
    }
}
