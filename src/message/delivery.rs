//! Whether a delivery is WeChat's own, and what is in it. Every refusal is one and the same: which check failed would help whoever
//! forges one. Pure: the time and the request are arguments.

use std::borrow::Cow;

use secrecy::ExposeSecret;

use super::MessagePolicy;
use crate::account::Account;
use crate::clock::{UnixMillis, UnixSeconds};
use crate::signature;
use crate::wechat::crypt::{self, EnvelopeKey};
use crate::wechat::message::{Envelope, Message, sealed_reply};

/// How far a delivery's timestamp may be from our clock, either way.
const TOLERANCE_MS: u64 = 5 * 60 * 1000;

/// What came: the parameters of the query, and the body.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// `signature`: over token, timestamp and nonce.
    pub signature: Option<&'a str>,
    /// `msg_signature`: over those and what is encrypted.
    pub msg_signature: Option<&'a str>,
    /// `timestamp`, in seconds.
    pub timestamp: &'a str,
    /// `nonce`.
    pub nonce: &'a str,
    /// `encrypt_type`: `aes`, or `raw`, or nothing.
    pub encrypt_type: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// Not WeChat's, or not to be read: no more is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the delivery is refused")]
pub struct Refused;

/// A delivery that was believed.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// What it says.
    pub message: Message,
    /// The message in the clear.
    pub xml: Cow<'a, [u8]>,
    /// How its answer is to be written.
    pub seal: Seal<'a>,
}

/// How the answer to a delivery is written: encrypted if that was.
#[derive(Clone, Copy, Debug)]
pub struct Seal<'a> {
    /// The key that opened the delivery; `None` when it came in the clear.
    key: Option<&'a EnvelopeKey>,
    nonce: &'a str,
}

impl<'a> Delivery<'a> {
    /// Opens what was pushed to `account`.
    pub fn open(account: &Account, policy: &'a MessagePolicy, push: &Push<'a>, now: UnixMillis) -> Result<Self, Refused> {
        let token = account.push_token.as_ref().ok_or(Refused)?.expose_secret();
        let sent: u64 = push.timestamp.parse().map_err(|_| Refused)?;
        if UnixSeconds(sent).millis().0.abs_diff(now.0) > TOLERANCE_MS {
            return Err(Refused);
        }
        let plain = signature::push(token, push.timestamp, push.nonce);
        if push.signature.is_some_and(|claimed| !plain.matches(claimed)) {
            return Err(Refused);
        }
        let is_sealed = push.encrypt_type.is_some_and(|kind| kind.eq_ignore_ascii_case("aes"));
        let (xml, key) = if is_sealed {
            let (xml, key) = unseal(account, policy, push, token)?;
            (Cow::Owned(xml), Some(key))
        } else {
            // What covers nothing but the address must at least be there.
            let allowed = policy.keys.is_empty() || policy.takes_plain;
            if !allowed || push.signature.is_none() {
                return Err(Refused);
            }
            (Cow::Borrowed(push.body), None)
        };
        let message = Message::parse(&xml).map_err(|_| Refused)?;
        Ok(Self { message, xml, seal: Seal { key, nonce: push.nonce } })
    }
}

impl Seal<'_> {
    /// `reply` as it goes back to WeChat.
    pub fn close<'r>(&self, account: &Account, reply: &'r str, now: UnixSeconds) -> Cow<'r, str> {
        let (Some(key), Some(token)) = (self.key, &account.push_token) else { return Cow::Borrowed(reply) };
        let encrypt = key.encrypt(&account.app_id, reply.as_bytes(), rand::random());
        Cow::Owned(sealed_reply(token.expose_secret(), &encrypt, now, self.nonce))
    }
}

fn unseal<'a>(
    account: &Account,
    policy: &'a MessagePolicy,
    push: &Push<'_>,
    token: &str,
) -> Result<(Vec<u8>, &'a EnvelopeKey), Refused> {
    let envelope = Envelope::parse(push.body).map_err(|_| Refused)?;
    let claimed = push.msg_signature.ok_or(Refused)?;
    if !crypt::signature(token, push.timestamp, push.nonce, &envelope.encrypt).matches(claimed) {
        return Err(Refused);
    }
    let opened = policy.keys.iter().find_map(|key| Some((key.decrypt(&account.app_id, &envelope.encrypt).ok()?, key)));
    opened.ok_or(Refused)
}
