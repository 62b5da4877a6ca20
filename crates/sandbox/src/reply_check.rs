//! Checks an answer to a push as WeChat does: whether it is accepted, and what the follower sees.

use secrecy::{ExposeSecret, SecretString};

use super::push_mode::PushMode;
use wechat::account::AppId;
use wechat::crypt::{self, EnvelopeKey};
use wechat::message::{Document, Fields, Form, Message, MessageError, Value, document};

/// What WeChat shows in the chat when a message server does not answer, or answers incorrectly.
/// Source: WeChat, 被动回复用户消息.
pub const UNAVAILABLE: &str = "该公众号暂时无法提供服务，请稍后再试";

/// Why WeChat would not accept an answer. The follower then sees [`UNAVAILABLE`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyFault {
    /// A status other than 200.
    #[error("the answer has the HTTP status {0}, not 200")]
    Status(u16),
    /// Neither `success`, nor empty, nor a reply.
    #[error("the answer is neither `success`, nor empty, nor a reply: {0}")]
    Shape(MessageError),
    /// XML in answer to JSON, or the reverse.
    #[error("the answer has the wrong format: answer JSON with JSON, and XML with XML")]
    Form,
    /// Longer than any reply.
    #[error("the answer is longer than any reply")]
    TooLong,
    /// Not encrypted, although the push was in safe mode.
    #[error("the answer to a push in safe mode must be encrypted, unless it is `success` or empty")]
    Clear,
    /// Encrypted, although the push was not.
    #[error("the answer is encrypted, but the push was not")]
    Sealed,
    /// Signed with another token, or over something else.
    #[error(
        "the answer's MsgSignature does not match its Encrypt, TimeStamp and Nonce with this token"
    )]
    Signature,
    /// Encrypted with another key, or for another appid.
    #[error("the answer cannot be decrypted with this EncodingAESKey and appid")]
    Undecipherable,
    /// A reply's element is missing, empty or not a number.
    #[error("the reply's {0} is missing or invalid")]
    Missing(&'static str),
    /// A reply to another user, or from another account.
    #[error("the reply's {0} does not match the message's {1}")]
    Misdirected(&'static str, &'static str),
    /// A `MsgType` that replies do not have.
    #[error("unknown MsgType of a reply: {0:?}")]
    UnknownType(String),
    /// A text longer than WeChat's limit.
    #[error("the reply's Content is longer than 2048 bytes")]
    LongText,
    /// An `ArticleCount` that differs from the number of articles.
    #[error("the reply's ArticleCount differs from the number of its articles")]
    ArticleCount,
}

/// The push that an answer belongs to.
#[derive(Debug)]
pub(super) struct ReplyCheck<'a> {
    pub(super) token: &'a SecretString,
    pub(super) app_id: &'a AppId,
    /// The key, if the push was encrypted.
    pub(super) key: Option<&'a EnvelopeKey>,
    pub(super) mode: PushMode,
    pub(super) form: Form,
    /// The pushed message, if it was a valid one.
    pub(super) sent: Option<Message>,
}

impl ReplyCheck<'_> {
    /// Returns the decrypted reply; `None` for `success` and an empty answer.
    pub(super) fn check(&self, status: u16, body: &[u8]) -> Result<Option<Fields>, ReplyFault> {
        if status != 200 {
            return Err(ReplyFault::Status(status));
        }
        if is_receipt(body) {
            return Ok(None);
        }
        let fields = self.read(body)?;
        let reply = match (fields.get("Encrypt"), self.key) {
            (None, _) if self.mode == PushMode::Safe => return Err(ReplyFault::Clear),
            (None, _) => fields,
            (Some(_), None) => return Err(ReplyFault::Sealed),
            (Some(_), Some(key)) => match self.open(&fields, key)? {
                // Undocumented, but some SDKs encrypt `success` too.
                inside if is_receipt(&inside) => return Ok(None),
                inside => self.read(&inside)?,
            },
        };
        self.address(&reply)?;
        content(&reply)?;
        Ok(Some(reply))
    }

    /// Parses a document in the form of the push. Our parser repairs some mistakes; whether WeChat
    /// does is not known.
    fn read(&self, body: &[u8]) -> Result<Fields, ReplyFault> {
        match document(body).map_err(ReplyFault::Shape)? {
            Document {
                repaired: Some(fault),
                ..
            } => Err(ReplyFault::Shape(fault)),
            Document { form, .. } if form != self.form => Err(ReplyFault::Form),
            Document { fields, .. } => Ok(fields),
        }
    }

    fn open(&self, fields: &Fields, key: &EnvelopeKey) -> Result<Vec<u8>, ReplyFault> {
        let [encrypt, signature, timestamp] =
            ["Encrypt", "MsgSignature", "TimeStamp"].map(|name| required(fields, name));
        let (encrypt, signature, timestamp) =
            (encrypt?.trim(), signature?.trim(), timestamp?.trim());
        let nonce = required(fields, "Nonce")?;
        if !crypt::signature(self.token.expose_secret(), timestamp, nonce, encrypt)
            .matches(signature)
        {
            return Err(ReplyFault::Signature);
        }
        key.decrypt(self.app_id, encrypt)
            .map_err(|_| ReplyFault::Undecipherable)
    }

    /// Checks that the reply's sender and recipient are the message's recipient and sender.
    fn address(&self, reply: &Fields) -> Result<(), ReplyFault> {
        let (to, from) = (
            required(reply, "ToUserName")?,
            required(reply, "FromUserName")?,
        );
        required(reply, "CreateTime")?
            .trim()
            .parse::<u64>()
            .map_err(|_| ReplyFault::Missing("CreateTime"))?;
        match &self.sent {
            Some(sent) if sent.from != to => {
                Err(ReplyFault::Misdirected("ToUserName", "FromUserName"))
            }
            Some(sent) if sent.to != from => {
                Err(ReplyFault::Misdirected("FromUserName", "ToUserName"))
            }
            _ => Ok(()),
        }
    }
}

/// True for `success` and an empty answer.
fn is_receipt(body: &[u8]) -> bool {
    body.is_empty() || body == b"success"
}

/// Checks the elements that a reply of its type requires.
fn content(reply: &Fields) -> Result<(), ReplyFault> {
    let inside = |outer, inner, path| {
        let found = reply
            .get(outer)
            .and_then(Value::as_fields)
            .and_then(|fields| fields.text(inner));
        found
            .filter(|text| !text.is_empty())
            .map(|_| ())
            .ok_or(ReplyFault::Missing(path))
    };
    match required(reply, "MsgType")? {
        "text" => match required(reply, "Content")? {
            content if content.trim().is_empty() => Err(ReplyFault::Missing("Content")),
            content if content.len() > 2048 => Err(ReplyFault::LongText),
            _ => Ok(()),
        },
        "image" => inside("Image", "MediaId", "Image.MediaId"),
        "voice" => inside("Voice", "MediaId", "Voice.MediaId"),
        "video" => inside("Video", "MediaId", "Video.MediaId"),
        "music" => inside("Music", "ThumbMediaId", "Music.ThumbMediaId"),
        "news" => articles(reply),
        "transfer_customer_service" => Ok(()),
        other => Err(ReplyFault::UnknownType(other.to_owned())),
    }
}

fn articles(reply: &Fields) -> Result<(), ReplyFault> {
    let count: usize = required(reply, "ArticleCount")?
        .trim()
        .parse()
        .map_err(|_| ReplyFault::Missing("ArticleCount"))?;
    // In JSON they may be a list directly.
    let articles: usize = reply
        .all("Articles")
        .filter_map(Value::as_fields)
        .map(|list| list.all("item").count().max(1))
        .sum();
    match articles {
        0 => Err(ReplyFault::Missing("Articles")),
        articles if articles == count => Ok(()),
        _ => Err(ReplyFault::ArticleCount),
    }
}

fn required<'f>(fields: &'f Fields, name: &'static str) -> Result<&'f str, ReplyFault> {
    fields
        .text(name)
        .filter(|text| !text.is_empty())
        .ok_or(ReplyFault::Missing(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::UnixSeconds;
    use wechat::message::{Article, Music, Reply, sealed_reply, sealed_reply_as};

    const NOW: UnixSeconds = UnixSeconds(1_409_659_814);

    fn key() -> EnvelopeKey {
        EnvelopeKey::parse(&SecretString::from(
            "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C",
        ))
        .expect("a key")
    }

    fn app() -> AppId {
        AppId::parse("wx5823bf96d3bd56c7").expect("an appid")
    }

    fn message() -> Message {
        let xml = "<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>1</CreateTime>\
                   <MsgType>event</MsgType><Event>CLICK</Event></xml>";
        Message::parse(xml.as_bytes()).expect("a message")
    }

    fn verdict(mode: PushMode, status: u16, body: &str) -> Result<Option<Fields>, ReplyFault> {
        let (token, app_id, key) = (SecretString::from("QDG6eK"), app(), key());
        let key = (mode != PushMode::Plain).then_some(&key);
        let (form, sent) = (Form::Xml, Some(message()));
        ReplyCheck {
            token: &token,
            app_id: &app_id,
            key,
            mode,
            form,
            sent,
        }
        .check(status, body.as_bytes())
    }

    fn check_json(mode: PushMode, body: &str) -> Result<Option<Fields>, ReplyFault> {
        let (token, app_id, key) = (SecretString::from("QDG6eK"), app(), key());
        let (form, sent) = (Form::Json, Some(message()));
        let key = (mode != PushMode::Plain).then_some(&key);
        ReplyCheck {
            token: &token,
            app_id: &app_id,
            key,
            mode,
            form,
            sent,
        }
        .check(200, body.as_bytes())
    }

    fn hello() -> String {
        Reply::Text {
            content: "Hello".to_owned(),
        }
        .to_xml(&message(), NOW)
        .expect("a reply")
    }

    fn sealed(token: &str, app_id: &AppId, inside: &str) -> String {
        sealed_reply(
            token,
            &key().encrypt(app_id, inside.as_bytes(), *b"0123456789abcdef"),
            NOW,
            "1372623149",
        )
    }

    const ALL: [PushMode; 3] = [PushMode::Plain, PushMode::Compatible, PushMode::Safe];

    #[test]
    fn success_and_empty_are_accepted_in_every_mode() {
        for mode in ALL {
            for body in ["success", ""] {
                assert_eq!(verdict(mode, 200, body), Ok(None), "{mode:?} {body:?}");
            }
            assert_eq!(verdict(mode, 500, "success"), Err(ReplyFault::Status(500)));
        }
        assert_eq!(
            verdict(PushMode::Safe, 200, &sealed("QDG6eK", &app(), "success")),
            Ok(None)
        );
    }

    #[test]
    fn a_reply_is_encrypted_as_the_mode_requires() {
        let (clear, sealed) = (hello(), sealed("QDG6eK", &app(), &hello()));
        let content = |mode, body: &str| {
            verdict(mode, 200, body)
                .map(|reply| reply.map(|reply| reply.text("Content").map(str::to_owned)))
        };
        let hello = || Ok(Some(Some("Hello".to_owned())));
        assert_eq!(
            ALL.map(|mode| content(mode, &clear)),
            [hello(), hello(), Err(ReplyFault::Clear)]
        );
        assert_eq!(
            ALL.map(|mode| content(mode, &sealed)),
            [Err(ReplyFault::Sealed), hello(), hello()]
        );
    }

    #[test]
    fn an_encrypted_answer_must_be_signed_and_for_this_app() {
        let other_app = AppId::parse("wx5823bf96d3bd56c8").expect("an appid");
        let good = sealed("QDG6eK", &app(), &hello());
        for (body, fault) in [
            (sealed("QDG6eL", &app(), &hello()), ReplyFault::Signature),
            (
                good.replace("1372623149", "1372623148"),
                ReplyFault::Signature,
            ),
            (
                good.replace("<TimeStamp>14", "<TimeStamp>15"),
                ReplyFault::Signature,
            ),
            (
                good.replace("MsgSignature", "Signature"),
                ReplyFault::Missing("MsgSignature"),
            ),
            (
                sealed("QDG6eK", &other_app, &hello()),
                ReplyFault::Undecipherable,
            ),
            (
                sealed("QDG6eK", &app(), "hello"),
                ReplyFault::Shape(MessageError::Malformed),
            ),
        ] {
            assert_eq!(verdict(PushMode::Safe, 200, &body), Err(fault), "{body}");
        }
    }

    #[test]
    fn every_reply_that_we_write_is_accepted() {
        let id = || "M".to_owned();
        let article = || Article {
            title: "T".to_owned(),
            ..Article::default()
        };
        let articles = |count| (0..count).map(|_| article()).collect();
        for reply in [
            Reply::Image { media_id: id() },
            Reply::Voice { media_id: id() },
            Reply::Video {
                media_id: id(),
                title: None,
                description: None,
            },
            Reply::Music(Music {
                thumb_media_id: id(),
                ..Music::default()
            }),
            Reply::News(articles(8)),
            Reply::TransferCustomerService { account: None },
        ] {
            let xml = reply.to_xml(&message(), NOW).expect("a reply");
            assert!(
                matches!(verdict(PushMode::Plain, 200, &xml), Ok(Some(_))),
                "{xml}"
            );
        }
    }

    #[test]
    fn each_invalid_answer_has_its_error() {
        let image = "<MsgType>image</MsgType><MediaId>M</MediaId>";
        let news = "<MsgType>news</MsgType><ArticleCount>2</ArticleCount><Articles><item><Title>T</Title></item></Articles>";
        let typed = |inside: &str| {
            hello().replace(
                "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[Hello]]></Content>",
                inside,
            )
        };
        for (body, fault) in [
            (
                "SUCCESS".to_owned(),
                ReplyFault::Shape(MessageError::Malformed),
            ),
            (
                "success\n".to_owned(),
                ReplyFault::Shape(MessageError::Malformed),
            ),
            (r#"{"errcode":0}"#.to_owned(), ReplyFault::Form),
            (
                hello().replace("Hello", "\u{8}"),
                ReplyFault::Shape(MessageError::Character),
            ),
            (
                hello().replace("<![CDATA[Hello]]>", "&nbsp;"),
                ReplyFault::Shape(MessageError::Entity),
            ),
            (
                hello().replace("Hello", &"x".repeat(2049)),
                ReplyFault::LongText,
            ),
            (
                hello().replace("Hello", " "),
                ReplyFault::Missing("Content"),
            ),
            (
                "<html><body>502</body></html>".to_owned(),
                ReplyFault::Shape(MessageError::NotAMessage),
            ),
            (
                hello().replace("[o1]", "[o2]"),
                ReplyFault::Misdirected("ToUserName", "FromUserName"),
            ),
            (
                hello().replace("[gh_1]", "[gh_2]"),
                ReplyFault::Misdirected("FromUserName", "ToUserName"),
            ),
            (
                hello().replace("1409659814", "now"),
                ReplyFault::Missing("CreateTime"),
            ),
            (hello().replace("Hello", ""), ReplyFault::Missing("Content")),
            (
                hello().replace("[text]", "[txt]"),
                ReplyFault::UnknownType("txt".to_owned()),
            ),
            (typed(image), ReplyFault::Missing("Image.MediaId")),
            (typed(news), ReplyFault::ArticleCount),
        ] {
            assert_eq!(verdict(PushMode::Plain, 200, &body), Err(fault), "{body}");
        }
    }
    #[test]
    fn a_push_in_json_is_answered_in_json() {
        let asked = r#"{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":1,"MsgType":"event","Event":"CLICK"}"#;
        let asked = Message::parse(asked.as_bytes()).expect("a message");
        let reply = Reply::Text {
            content: "Hello".to_owned(),
        }
        .write(&asked, NOW)
        .expect("a reply");
        let sealed = |form, inside: &str| {
            sealed_reply_as(
                form,
                "QDG6eK",
                &key().encrypt(&app(), inside.as_bytes(), *b"0123456789abcdef"),
                NOW,
                "1372623149",
            )
        };
        assert!(
            matches!(check_json(PushMode::Plain, &reply), Ok(Some(_))),
            "{reply}"
        );
        assert_eq!(check_json(PushMode::Plain, "success"), Ok(None));
        assert!(matches!(
            check_json(PushMode::Safe, &sealed(Form::Json, &reply)),
            Ok(Some(_))
        ));
        assert_eq!(check_json(PushMode::Plain, &hello()), Err(ReplyFault::Form));
        assert_eq!(
            check_json(PushMode::Safe, &sealed(Form::Json, &hello())),
            Err(ReplyFault::Form)
        );
        assert_eq!(
            check_json(PushMode::Safe, &sealed(Form::Xml, &reply)),
            Err(ReplyFault::Form)
        );
        assert_eq!(check_json(PushMode::Safe, &reply), Err(ReplyFault::Clear));
        assert_eq!(
            check_json(PushMode::Plain, r#"{"errcode":0}"#),
            Err(ReplyFault::Missing("ToUserName"))
        );
        assert_eq!(
            check_json(PushMode::Plain, &reply.replace("Hello", "")),
            Err(ReplyFault::Missing("Content"))
        );
        let news = Reply::News(vec![Article {
            title: "T".to_owned(),
            ..Article::default()
        }])
        .write(&asked, NOW)
        .expect("a reply");
        assert!(
            matches!(check_json(PushMode::Plain, &news), Ok(Some(_))),
            "{news}"
        );
    }
}
