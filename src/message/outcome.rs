//! The answer to a message, which the inbox produces and [`super::recent_messages`] remembers.

use std::sync::Arc;

/// What WeChat gets as the answer to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `success`: received, no reply.
    Nothing,
    /// An empty body, which means the same.
    Silence,
    /// An unencrypted reply in the format of the delivery.
    Reply(Arc<str>),
}
