//! What WeChat pushes to an account's message server, and what may be answered: XML on one side, typed values on the other. It
//! knows no HTTP, decides nothing about an answer, and leaves encryption to [`crypt`](super::crypt).
//!
//! A message in the clear is parsed and answered:
//!
//! ```
//! use jsdkd::clock::UnixSeconds;
//! use jsdkd::wechat::message::{Body, Message, Reply};
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

use sha2::{Digest, Sha256};

use crate::clock::UnixSeconds;
use crate::signature::Hex;

mod body;
mod envelope;
mod event;
mod fields;
mod parse;
mod reply;
mod report;
pub(crate) mod write;

pub use body::{Body, Point};
pub use envelope::{Envelope, sealed_reply};
pub use event::{Event, Pictures, ScanCode};
pub use fields::{Fields, Value};
pub use reply::{Article, Music, Reply, ReplyError};
pub use report::{ArticleUrl, CopyrightCheck, MassSendReport, PublishReport, SubscribeMessage, TemplateOutcome};

/// One push of WeChat's: a user's message, or an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Which account it is for, by its original id (`gh_…`), not its appid.
    pub to: String,
    /// Who sent it: the user's openid.
    pub from: String,
    /// When it was sent.
    pub created: UnixSeconds,
    /// A message's number; events have none.
    pub id: Option<MsgId>,
    /// What it says.
    pub body: Body,
    /// The article from which the user wrote, if that was where.
    pub article: Option<FromArticle>,
    /// Every element as it came, for what [`Body`] has no name for, for templates and for handing it on.
    pub fields: Fields,
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

/// Why bytes are no message. It never repeats what stands in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not UTF-8.
    #[error("the message is not UTF-8")]
    NotUtf8,
    /// Not well-formed, or text where none belongs.
    #[error("the message is not well-formed XML")]
    Malformed,
    /// A `DOCTYPE`, with which entities are defined.
    #[error("the message has a document type definition")]
    TypeDefinition,
    /// An entity that XML does not predefine, or a reference to something that is no character.
    #[error("the message refers to an unknown entity or character")]
    Entity,
    /// Elements in elements in elements.
    #[error("the message's elements are nested too deeply")]
    TooDeep,
    /// More elements than any message of WeChat's.
    #[error("the message has too many elements")]
    TooManyElements,
    /// XML, but no `<xml>` with elements in it.
    #[error("the message is not an <xml> element with others inside")]
    NotAMessage,
    /// Without this there is no telling who wants what.
    #[error("the message has no {0}, or one that cannot be read")]
    Missing(&'static str),
    /// Two readers could take it for two different messages.
    #[error("the message has more than one {0}")]
    Repeated(&'static str),
}

/// What decides who wants what and must not stand there twice: in the clear nothing covers the body, so one reader could go by the
/// first and the next by the last. Other names may repeat; WeChat's lists are written so.
const ONCE: [&str; 9] = ["ToUserName", "FromUserName", "CreateTime", "MsgType", "MsgId", "MsgID", "Event", "EventKey", "Encrypt"];

impl Message {
    /// Parses a push in the clear, or the inside of an encrypted one. A kind that is not known is no error, because WeChat adds new
    /// ones and wants `success` for them too.
    pub fn parse(xml: &[u8]) -> Result<Self, MessageError> {
        let fields = elements(xml)?;
        let required = |name| {
            let text = fields.text(name).map(str::trim).filter(|text| !text.is_empty());
            text.map(str::to_owned).ok_or(MessageError::Missing(name))
        };
        let (to, from) = (required("ToUserName")?, required("FromUserName")?);
        let created = required("CreateTime")?.parse().map_err(|_| MessageError::Missing("CreateTime"))?;
        let body = Body::read(&required("MsgType")?, &fields);
        let id = fields.text("MsgId").map(str::trim).filter(|id| !id.is_empty()).map(|id| MsgId(id.to_owned()));
        let article = fields.optional("MsgDataId").map(|data_id| FromArticle { data_id, index: fields.number("Idx") });
        Ok(Self { to, from, created: UnixSeconds(created), id, body, article, fields })
    }

    /// The same for every delivery of this message and for no other: WeChat repeats what was not answered in time.
    ///
    /// Made of the `MsgId` where there is one. Events have none and are told apart by sender and time; to that come `Event` and
    /// `EventKey`, and the `MsgID` of reports, of which one user can cause two in a second.
    /// Source: WeChat, 接收普通消息 and 接收事件推送 (关于重试的消息排重).
    pub fn dedup_key(&self) -> String {
        let text = |name| self.fields.text(name).unwrap_or_default();
        let created = self.created.to_string();
        let parts = match &self.id {
            Some(id) => vec!["message", &self.to, &self.from, id.as_str()],
            None => {
                let kind = [text("MsgType"), text("Event"), text("EventKey"), text("MsgID")];
                [&["event", &self.to, &self.from, &created][..], &kind].concat()
            }
        };
        let mut sha256 = Sha256::new();
        for part in parts {
            // Its length first, so that no two lists of parts make one text.
            sha256.update((part.len() as u64).to_be_bytes());
            sha256.update(part);
        }
        Hex::<32>::from(<[u8; 32]>::from(sha256.finalize())).text()
    }

    /// Whether it is an event, rather than something that the user wrote.
    pub fn is_event(&self) -> bool {
        matches!(self.body, Body::Event(_))
    }
}

impl MsgId {
    /// The number as WeChat wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The elements of `xml`, once nothing that must be unique is there twice.
pub(crate) fn elements(xml: &[u8]) -> Result<Fields, MessageError> {
    let fields = parse::fields(xml)?;
    match ONCE.iter().find(|name| fields.all(name).nth(1).is_some()) {
        Some(name) => Err(MessageError::Repeated(name)),
        None => Ok(fields),
    }
}

/// Whether XML 1.0 lets a document have `c` in it.
fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests;
