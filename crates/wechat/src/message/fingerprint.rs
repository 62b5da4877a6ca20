//! Fingerprints of messages, for deduplicating deliveries.

use sha2::{Digest, Sha256};

use super::fields::{Fields, Value};
use super::{Form, Message};
use crate::signature::Hex;

impl Message {
    /// Returns a fingerprint of the whole message, the same for each delivery of it. WeChat repeats
    /// an unanswered push with the same content; only the query and an encrypted push's envelope
    /// differ. WeChat recommends `MsgId` for messages, and sender and time for events. That would
    /// drop the second of two events in one second. Field order and layout are ignored. Source:
    /// WeChat, 接收普通消息 and 接收事件推送 (关于重试的消息排重).
    pub fn dedup_key(&self) -> String {
        let mut sha256 = Sha256::new();
        // The reply uses the delivery's form, so each form counts as its own delivery.
        sha256.update([u8::from(self.form == Form::Json)]);
        feed(&mut sha256, &self.fields);
        Hex::<32>::from(<[u8; 32]>::from(sha256.finalize())).text()
    }
}

/// Hashes names and values, sorted by name. Counts and lengths come first, so that no two messages
/// collide.
fn feed(sha256: &mut Sha256, fields: &Fields) {
    let mut sorted: Vec<(&str, &Value)> = fields.iter().collect();
    // A stable sort keeps the order of list items.
    sorted.sort_by_key(|(name, _)| *name);
    sha256.update((sorted.len() as u64).to_be_bytes());
    for (name, value) in sorted {
        feed_text(sha256, name);
        match value {
            Value::Text(text) => {
                sha256.update([0]);
                feed_text(sha256, text);
            }
            Value::Fields(fields) => {
                sha256.update([1]);
                feed(sha256, fields);
            }
        }
    }
}

fn feed_text(sha256: &mut Sha256, text: &str) {
    sha256.update((text.len() as u64).to_be_bytes());
    sha256.update(text);
}
