//! What WeChat pushes to an account's message server, and what may be answered: XML or JSON on one
//! side, typed values on the other. It knows no HTTP, decides nothing about an answer, and leaves
//! encryption to [`crypt`](super::crypt).
//!
//! A message in the clear is parsed and answered:
//!
//! ```
//! use clock::UnixSeconds;
//! use jsdkd_wechat::message::{Body, Message, Reply};
//!
//! let message = Message::parse(
//!     b"<xml><ToUserName><![CDATA[gh_0123456789ab]]></ToUserName><FromUserName><![CDATA[oABCDEF]]></FromUserName>\
//!       <CreateTime>1409659813</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[Hello]]></Content>\
//!       <MsgId>4561255354251345929</MsgId></xml>",
//! )?;
//! let Body::Text { content, .. } = &message.body else { panic!("it is a text") };
//! let reply = Reply::Text { content: format!("You said {content}") };
//! assert_eq!(
//!     reply.to_xml(&message, UnixSeconds(1409659814))?,
//!     "<xml><ToUserName><![CDATA[oABCDEF]]></ToUserName><FromUserName><![CDATA[gh_0123456789ab]]></FromUserName>\
//!      <CreateTime>1409659814</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[You said Hello]]></Content></xml>",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An encrypted one comes in an [`Envelope`], and so does the answer to it; see there.

use clock::UnixSeconds;

mod body;
mod envelope;
mod event;
mod fields;
mod fingerprint;
mod form;
mod json;
mod lookup;
mod parse;
mod read_reply;
mod reply;
mod report;
pub mod write;
mod xml_char;

pub use body::Body;
pub use envelope::{Envelope, sealed_reply, sealed_reply_as};
pub use event::{Event, Pictures, Point, ScanCode};
pub use fields::{Fields, Value};
pub use form::Document;
pub use form::Form;
pub use read_reply::ReceivedReply;
pub use reply::{Article, Music, Reply, ReplyError};
pub use report::{
    ArticleUrl, CopyrightCheck, MassSendReport, PublishReport, SubscribeMessage, TemplateOutcome,
};

/// A push from WeChat: a user's message or an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The recipient account's original id (`gh_…`), not its appid. Empty if the push has none.
    pub to: String,
    /// The sender's openid. Empty in pushes that no user caused.
    pub from: String,
    /// When it was sent; 0 if absent.
    pub created: UnixSeconds,
    /// The message id; events have none.
    pub id: Option<MsgId>,
    /// The content.
    pub body: Body,
    /// The article from which the user wrote, if any.
    pub article: Option<FromArticle>,
    /// All fields as received, including those that [`Body`] lacks; for templates and forwarding.
    pub fields: Fields,
    /// The form of the push.
    pub form: Form,
    /// True if parsing repaired something; its bytes must not be forwarded then.
    pub is_repaired: bool,
}

/// A message id. Up to 64 bits; some from mini programs are not numeric.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MsgId(String);

/// The position in an article from which a message was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromArticle {
    /// `MsgDataId`: the id of the mass sending.
    pub data_id: String,
    /// `Idx`: the article in it, from 1.
    pub index: Option<u32>,
}

/// Why a message is invalid, or what was repaired to parse it. Never contains the message's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Bytes that are not UTF-8.
    #[error("the message is not UTF-8")]
    NotUtf8,
    /// A character that XML cannot carry.
    #[error("the message has a control character")]
    Character,
    /// Not well-formed, or text where none belongs.
    #[error("the message is not well-formed XML")]
    Malformed,
    /// Not JSON.
    #[error("the message is not well-formed JSON")]
    MalformedJson,
    /// A `DOCTYPE`, with which entities are defined.
    #[error("the message has a document type definition")]
    TypeDefinition,
    /// An entity that XML does not predefine, or a reference to something that is no character.
    #[error("the message refers to an unknown entity or character")]
    Entity,
    /// Elements are nested too deeply.
    #[error("the message is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The document has too many elements.
    #[error("the message has more than {MAX_ELEMENTS} elements")]
    TooManyElements,
    /// Well-formed, but not an `<xml>` element with children or an object with members.
    #[error(
        "the message is neither an <xml> element with others inside nor a JSON object with members"
    )]
    NotAMessage,
    /// A required element is missing.
    #[error("the message has no {0}, or one that cannot be read")]
    Missing(&'static str),
    /// A field that must be unique is repeated, so the message is ambiguous.
    #[error("the message has more than one {0}")]
    Repeated(&'static str),
}

/// Maximum nesting depth. WeChat's deepest message, an article of a mass sending, has five levels.
const MAX_DEPTH: usize = 32;

/// Maximum number of elements, members and list items. A mass-sending report on eight articles has
/// about a hundred.
const MAX_ELEMENTS: usize = 4096;

/// Names that must be unique. A clear-text body is unsigned, so two parsers could pick different
/// duplicates. Other names may repeat, as in WeChat's lists.
const ONCE: [&str; 10] = [
    "ToUserName",
    "FromUserName",
    "CreateTime",
    "MsgType",
    "MsgId",
    "MsgID",
    "Event",
    "EventKey",
    "InfoType",
    "Encrypt",
];

impl Message {
    /// Parses a clear-text push, or the decrypted content of an encrypted one.
    ///
    /// An unknown type is not an error, nor is a missing sender, recipient or type: WeChat expects
    /// `success` for those too.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let Document {
            fields,
            form,
            repaired,
        } = document(body)?;
        let trimmed = |name| {
            fields
                .text(name)
                .map(str::trim)
                .unwrap_or_default()
                .to_owned()
        };
        let (to, from) = (trimmed("ToUserName"), trimmed("FromUserName"));
        let created = fields
            .text("CreateTime")
            .and_then(seconds)
            .unwrap_or_default();
        let content = Body::read(&trimmed("MsgType"), &fields);
        let id = Some(trimmed("MsgId"))
            .filter(|id| !id.is_empty())
            .map(MsgId);
        let article = fields.optional("MsgDataId").map(|data_id| FromArticle {
            data_id,
            index: fields.number("Idx"),
        });
        let created = UnixSeconds(created);
        Ok(Self {
            to,
            from,
            created,
            id,
            body: content,
            article,
            fields,
            form,
            is_repaired: repaired.is_some(),
        })
    }

    /// True if sender and recipient are present, so that a reply is possible.
    pub fn can_be_answered(&self) -> bool {
        !self.from.is_empty() && !self.to.is_empty()
    }

    /// True for an event, false for a user's message.
    pub fn is_event(&self) -> bool {
        matches!(self.body, Body::Event(_) | Body::Info { .. })
    }
}

impl MsgId {
    /// The number as WeChat wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Parses `body` and rejects duplicates of unique names.
pub fn document(body: &[u8]) -> Result<Document, MessageError> {
    let document = Document::read(body)?;
    match ONCE
        .iter()
        .find(|name| document.fields.all(name).nth(1).is_some())
    {
        Some(name) => Err(MessageError::Repeated(name)),
        None => Ok(document),
    }
}

/// Parses whole seconds. Some senders write a fraction, and JSON may use `1.7e9`.
fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let fraction = || {
        text.parse::<f64>()
            .ok()
            .filter(|seconds| (0.0..1e15).contains(seconds))
            .map(|seconds| seconds as u64)
    };
    text.parse().ok().or_else(fraction)
}

#[cfg(test)]
mod tests;
