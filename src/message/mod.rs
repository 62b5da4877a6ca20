//! Handles a message that WeChat pushes: it is accepted or refused (`delivery`, `fault`), answered
//! by the account's rules (`rule`, `template`, `echo`) or handed to a back end (`inbox`, `forward`,
//! `answer`), once, however often it is delivered. It knows nothing of routes; what a message is
//! and how it is encrypted is `wechat`'s.

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
pub use inbox::Inbox;
pub use outcome::Answer;
pub use rule::{Action, Forward, On, Rule};
pub use template::{
    ArticleTemplate, MusicTemplate, ReplyTemplate, Template, TemplateError, VideoTemplate,
};

/// What each account does with its messages; one that is not listed does nothing.
#[derive(Clone, Debug, Default)]
pub struct MessagePolicies(HashMap<AppId, Arc<MessagePolicy>>);

impl MessagePolicies {
    /// The policy of that account.
    pub fn of(&self, app_id: &str) -> Arc<MessagePolicy> {
        self.0.get(app_id).cloned().unwrap_or_default()
    }

    /// Sets the policy of an account.
    pub fn insert(&mut self, app_id: AppId, policy: MessagePolicy) {
        self.0.insert(app_id, Arc::new(policy));
    }
}

/// What one account does with its messages.
#[derive(Debug, Default)]
pub struct MessagePolicy {
    /// The keys of its envelopes, the current one first; those before it are still read.
    pub keys: Vec<EnvelopeKey>,
    /// Whether it takes messages in the clear though it has a key. A plain signature does not cover
    /// the body.
    pub takes_plain: bool,
    /// What it answers.
    pub answers: Answers,
}

/// What an account answers.
#[derive(Debug, Default)]
pub enum Answers {
    /// Always `success`.
    #[default]
    Nothing,
    /// What haowang1013/wechat-server answers.
    Echo,
    /// By these rules, the first that fits.
    Rules(Vec<Rule>),
}
