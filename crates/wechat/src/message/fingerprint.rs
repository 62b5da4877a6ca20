//! What tells two deliveries apart: all of what they say.

use sha2::{Digest, Sha256};

use super::fields::{Fields, Value};
use super::{Form, Message};
use crate::signature::Hex;

impl Message {
    /// A fingerprint over everything that the message says: the same for every delivery of it, and for no other message.
    ///
    /// WeChat repeats a push that was not answered in time with the same content; only the query and, of an encrypted one, the
    /// envelope differ. Its own advice, `MsgId` for messages and sender and time for events, takes two events of one second for
    /// one, so that the second would be lost. The order of names and the layout do not count.
    /// Source: WeChat, 接收普通消息 and 接收事件推送 (关于重试的消息排重).
    pub fn dedup_key(&self) -> String {
        let mut sha256 = Sha256::new();
        // The answer is written as the delivery was, so two forms are two deliveries.
        sha256.update([u8::from(self.form == Form::Json)]);
        feed(&mut sha256, &self.fields);
        Hex::<32>::from(<[u8; 32]>::from(sha256.finalize())).text()
    }
}

/// Feeds names and values in the order of the names. Numbers and lengths come first, so that no two messages make one stream.
fn feed(sha256: &mut Sha256, fields: &Fields) {
    let mut sorted: Vec<(&str, &Value)> = fields.iter().collect();
    // Stable: the items of a list keep their order.
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
