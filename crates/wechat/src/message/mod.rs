//! What WeChat pushes to an account's message server, and what may be answered: XML or JSON on one side, typed values on the other.
//! It knows no HTTP, decides nothing about an answer, and leaves encryption to [`crypt`](super::crypt).
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

pub use body::{Body, Point};
pub use envelope::{Envelope, sealed_reply, sealed_reply_as};
pub use event::{Event, Pictures, ScanCode};
pub use fields::{Fields, Value};
pub use form::Document;
pub use form::Form;
pub use read_reply::ReceivedReply;
pub use reply::{Article, Music, Reply, ReplyError};
pub use report::{ArticleUrl, CopyrightCheck, MassSendReport, PublishReport, SubscribeMessage, TemplateOutcome};

/// One push of WeChat's: a user's message, or an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Which account it is for, by its original id (`gh_…`), not its appid. Empty in pushes that name none.
    pub to: String,
    /// Who sent it: the user's openid. Empty in pushes that no user caused.
    pub from: String,
    /// When it was sent; 0 if it does not say.
    pub created: UnixSeconds,
    /// A message's number; events have none.
    pub id: Option<MsgId>,
    /// What it says.
    pub body: Body,
    /// The article from which the user wrote, if that was where.
    pub article: Option<FromArticle>,
    /// Every element as it came, for what [`Body`] has no name for, for templates and for handing it on.
    pub fields: Fields,
    /// How it was written.
    pub form: Form,
    /// Whether something in it had to be replaced to read it, so that its bytes are not to be handed on.
    pub is_repaired: bool,
}

/// The number of a message. It has up to 64 bits, and mini programs have some that are no numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MsgId(String);

/// Where in an article a message was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromArticle {
    /// `MsgDataId`: which sending.
    pub data_id: String,
    /// `Idx`: which of its articles, from 1.
    pub index: Option<u32>,
}

/// Why bytes are no message, or what had to be replaced before they could be read as one. It never repeats what stands in them.
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
    /// Elements in elements in elements.
    #[error("the message is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More elements than any message of WeChat's.
    #[error("the message has more than {MAX_ELEMENTS} elements")]
    TooManyElements,
    /// Well-formed, but no `<xml>` with elements in it and no object with members.
    #[error("the message is neither an <xml> element with others inside nor a JSON object with members")]
    NotAMessage,
    /// An element that must be there.
    #[error("the message has no {0}, or one that cannot be read")]
    Missing(&'static str),
    /// Two readers could take it for two different messages.
    #[error("the message has more than one {0}")]
    Repeated(&'static str),
}

/// The deepest nesting that is read. The deepest of WeChat's messages, an article of a mass sending, has five levels.
const MAX_DEPTH: usize = 32;

/// The most elements, members and list items that are read. The report on a mass sending of eight articles has about a hundred.
const MAX_ELEMENTS: usize = 4096;

/// Names that must not repeat. In the clear nothing covers the body, so one reader could go by the first and the next by the last.
/// Other names may repeat: WeChat's lists are written so.
const ONCE: [&str; 10] =
    ["ToUserName", "FromUserName", "CreateTime", "MsgType", "MsgId", "MsgID", "Event", "EventKey", "InfoType", "Encrypt"];

impl Message {
    /// Parses a push in the clear, or the inside of an encrypted one.
    ///
    /// A kind that is not known is no error, and neither is a push without sender, recipient or type: WeChat wants `success` for
    /// them, too.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let Document { fields, form, repaired } = document(body)?;
        let trimmed = |name| fields.text(name).map(str::trim).unwrap_or_default().to_owned();
        let (to, from) = (trimmed("ToUserName"), trimmed("FromUserName"));
        let created = fields.text("CreateTime").and_then(seconds).unwrap_or_default();
        let content = Body::read(&trimmed("MsgType"), &fields);
        let id = Some(trimmed("MsgId")).filter(|id| !id.is_empty()).map(MsgId);
        let article = fields.optional("MsgDataId").map(|data_id| FromArticle { data_id, index: fields.number("Idx") });
        let created = UnixSeconds(created);
        Ok(Self { to, from, created, id, body: content, article, fields, form, is_repaired: repaired.is_some() })
    }

    /// Whether it says from whom it came and to whom, so that there is a way back.
    pub fn can_be_answered(&self) -> bool {
        !self.from.is_empty() && !self.to.is_empty()
    }

    /// Whether it is an event, rather than something that the user wrote.
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

/// Reads `body`, and checks that nothing that must be unique is there twice.
pub fn document(body: &[u8]) -> Result<Document, MessageError> {
    let document = Document::read(body)?;
    match ONCE.iter().find(|name| document.fields.all(name).nth(1).is_some()) {
        Some(name) => Err(MessageError::Repeated(name)),
        None => Ok(document),
    }
}

/// Whole seconds in `text`. Some programs write a fraction, and JSON may write `1.7e9`.
fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let fraction = || text.parse::<f64>().ok().filter(|seconds| (0.0..1e15).contains(seconds)).map(|seconds| seconds as u64);
    text.parse().ok().or_else(fraction)
}

/// Whether XML 1.0 lets a document have `c` in it.
fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests;
