//! Handles the messages that WeChat pushes. A message is verified (`delivery`, `fault`), then
//! answered by the account's rules (`rule`, `template`, `echo`) or forwarded to a back end
//! (`inbox`, `forward`, `answer`), once for all its deliveries. Routes are in `http`; the message
//! format and its encryption are in the crate `wechat`.

use std::collections::HashMap;
use std::sync::Arc;

use wechat::account::AppId;
use wechat::crypt::EnvelopeKey;

mod answer;
mod custom_message;
mod delivery;
mod echo;
mod fault;
mod forward;
mod inbox;
mod outcome;
mod recent_messages;
mod rule;
mod template;

pub use delivery::{Delivery, Push, Seal};
pub use fault::PushFault;
pub use forward::{As, Target};
pub use inbox::{Inbox, written};
pub use outcome::Answer;
pub use rule::{Action, Forward, On, Rule};
pub use template::{
    ArticleTemplate, MusicTemplate, ReplyTemplate, Template, TemplateError, VideoTemplate,
};

/// The message policy of each account. An account that is not listed answers every message with
/// `success`.
#[derive(Clone, Debug, Default)]
pub struct MessagePolicies(HashMap<AppId, Arc<MessagePolicy>>);

impl MessagePolicies {
    /// Returns the policy of an account.
    pub fn of(&self, app_id: &str) -> Arc<MessagePolicy> {
        self.0.get(app_id).cloned().unwrap_or_default()
    }

    /// Sets the policy of an account.
    pub fn insert(&mut self, app_id: AppId, policy: MessagePolicy) {
        self.0.insert(app_id, Arc::new(policy));
    }
}

/// How one account handles messages.
#[derive(Debug, Default)]
pub struct MessagePolicy {
    /// The keys for decryption, the current one first. Older ones are still accepted.
    pub keys: Vec<EnvelopeKey>,
    /// Accept unencrypted messages although there is a key. A plain signature does not cover the
    /// body.
    pub takes_plain: bool,
    /// How messages are answered.
    pub answers: Answers,
}

/// How messages are answered.
#[derive(Debug, Default)]
pub enum Answers {
    /// Always `success`.
    #[default]
    Nothing,
    /// As haowang1013/wechat-server does.
    Echo,
    /// By the first rule that matches.
    Rules(Vec<Rule>),
}
