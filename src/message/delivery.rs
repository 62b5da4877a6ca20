//! Verifies and decodes one delivery. The reason for a refusal goes to the log only: it would help
//! whoever forges deliveries.

use std::borrow::Cow;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::MessagePolicy;
use super::fault::{PushFault, TOLERANCE};
use clock::{UnixMillis, UnixSeconds};
use wechat::account::Account;
use wechat::crypt::{self, EnvelopeKey};
use wechat::message::{Body, Envelope, Form, Message, MessageError, sealed_reply_as};
use wechat::signature;

/// The request: its query parameters and its body.
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

/// A verified delivery.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// The decoded message.
    pub message: Message,
    /// The decrypted message, byte for byte.
    pub clear: Cow<'a, [u8]>,
    /// How the answer must be written.
    pub seal: Seal<'a>,
}

/// How the answer to a delivery is written: encrypted if the delivery was, and in the same form.
#[derive(Clone, Copy, Debug)]
pub struct Seal<'a> {
    /// The key that decrypted the delivery; `None` if the delivery was not encrypted.
    key: Option<&'a EnvelopeKey>,
    nonce: &'a str,
    /// The form of the request's body.
    pub form: Form,
}

impl<'a> Delivery<'a> {
    /// Verifies and decodes a push to `account`. The signature is checked before anything else.
    pub fn open(
        account: &Account,
        policy: &'a MessagePolicy,
        push: &Push<'a>,
        now: UnixMillis,
    ) -> Result<Self, PushFault> {
        let token = account
            .push_token
            .as_ref()
            .ok_or(PushFault::NoToken)?
            .expose_secret();
        let is_sealed = push
            .encrypt_type
            .is_some_and(|kind| kind.eq_ignore_ascii_case("aes"));
        check_signature(token, push, is_sealed)?;
        let envelope = is_sealed.then(|| envelope(token, push)).transpose()?;
        let sent = check_clock(push, now)?;
        let (clear, key, form) = match envelope {
            Some(envelope) => {
                let (clear, key) = unseal(account, policy, &envelope)?;
                (Cow::Owned(clear), Some(key), envelope.form)
            }
            // The plain signature does not cover the body.
            None if policy.keys.is_empty() || policy.takes_plain => {
                (Cow::Borrowed(push.body), None, Form::of(push.body))
            }
            None => return Err(PushFault::Clear),
        };
        let mut message = Message::parse(&clear).map_err(|error| unreadable(&clear, error))?;
        let says_nothing_else =
            matches!(&message.body, Body::Unknown { msg_type } if msg_type.is_empty());
        if !is_sealed && says_nothing_else && message.fields.get("Encrypt").is_some() {
            return Err(PushFault::MissingParameter("encrypt_type"));
        }
        if message.created.0 == 0 {
            message.created = sent;
        }
        Ok(Self {
            message,
            clear,
            seal: Seal {
                key,
                nonce: push.nonce,
                form,
            },
        })
    }
}

impl Seal<'_> {
    /// Returns `reply` as it is sent to WeChat, encrypted if the delivery was.
    pub fn close<'r>(&self, account: &Account, reply: &'r str, now: UnixSeconds) -> Cow<'r, str> {
        let (Some(key), Some(token)) = (self.key, &account.push_token) else {
            return Cow::Borrowed(reply);
        };
        let encrypt = key.encrypt(&account.app_id, reply.as_bytes(), rand::random());
        Cow::Owned(sealed_reply_as(
            self.form,
            token.expose_secret(),
            &encrypt,
            now,
            self.nonce,
        ))
    }
}

/// Checks the signature. `signature` is always present; an encrypted delivery is verified by
/// `msg_signature` only.
fn check_signature(token: &str, push: &Push<'_>, is_sealed: bool) -> Result<(), PushFault> {
    for (name, value) in [("timestamp", push.timestamp), ("nonce", push.nonce)] {
        if value.is_empty() {
            return Err(PushFault::MissingParameter(name));
        }
    }
    match push.signature {
        Some(claimed) if signature::push(token, push.timestamp, push.nonce).matches(claimed) => {
            Ok(())
        }
        Some(_) => Err(PushFault::WrongToken),
        None if is_sealed => Ok(()),
        None => Err(PushFault::MissingParameter("signature")),
    }
}

fn check_clock(push: &Push<'_>, now: UnixMillis) -> Result<UnixSeconds, PushFault> {
    let sent: u64 = push
        .timestamp
        .parse()
        .map_err(|_| PushFault::MissingParameter("timestamp"))?;
    let (sent, now_ms) = (UnixSeconds(sent), now.0);
    let off = Duration::from_millis(sent.millis().0.abs_diff(now_ms));
    if off > TOLERANCE {
        return Err(PushFault::WrongClock {
            off,
            is_ahead: sent.millis().0 > now_ms,
        });
    }
    Ok(sent)
}

/// Returns the envelope if its signature is valid.
fn envelope(token: &str, push: &Push<'_>) -> Result<Envelope, PushFault> {
    let claimed = push
        .msg_signature
        .ok_or(PushFault::MissingParameter("msg_signature"))?;
    let envelope = Envelope::parse(push.body).map_err(|error| unreadable(push.body, error))?;
    if crypt::signature(token, push.timestamp, push.nonce, &envelope.encrypt).matches(claimed) {
        return Ok(envelope);
    }
    Err(if push.signature.is_some() {
        PushFault::AlteredEnvelope
    } else {
        PushFault::WrongToken
    })
}

fn unseal<'a>(
    account: &Account,
    policy: &'a MessagePolicy,
    envelope: &Envelope,
) -> Result<(Vec<u8>, &'a EnvelopeKey), PushFault> {
    let (app_id, encrypt) = (&account.app_id, &envelope.encrypt);
    if policy.keys.is_empty() {
        return Err(PushFault::NoKey);
    }
    let opened = policy
        .keys
        .iter()
        .find_map(|key| Some((key.decrypt(app_id, encrypt).ok()?, key)));
    let foreign = || {
        policy
            .keys
            .iter()
            .find_map(|key| key.foreign_app_id(encrypt))
    };
    opened.ok_or_else(|| foreign().map_or(PushFault::WrongKey, PushFault::WrongApp))
}

fn unreadable(body: &[u8], error: MessageError) -> PushFault {
    if body.trim_ascii().is_empty() {
        PushFault::NoBody
    } else {
        PushFault::Unreadable {
            form: Form::of(body),
            error,
        }
    }
}
