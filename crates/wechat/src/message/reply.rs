//! What may be answered to a message. It checks what WeChat would otherwise punish by telling the
//! user that the account is out of order.

use super::write::{self, legal};
use super::{Fields, Form, Message, Value};
use clock::UnixSeconds;

/// How many articles WeChat shows in answer to what a user wrote; it cuts off the others.
const ARTICLES_FOR_A_MESSAGE: usize = 1;

/// How many it shows in answer to anything else.
const ARTICLES_FOR_AN_EVENT: usize = 8;

/// The longest text that WeChat shows, in bytes of UTF-8.
const MAX_TEXT_LEN: usize = 2048;

/// An answer. No answer at all is the word `success` in place of any XML.
/// Source: WeChat, 被动回复用户消息.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// A text, in which line breaks are kept.
    Text {
        /// The text.
        content: String,
    },
    /// A picture that was uploaded before.
    Image {
        /// The number it was given.
        media_id: String,
    },
    /// A recording that was uploaded before.
    Voice {
        /// The number it was given.
        media_id: String,
    },
    /// A video that was uploaded before.
    Video {
        /// The number it was given.
        media_id: String,
        /// Its title.
        title: Option<String>,
        /// What it is about.
        description: Option<String>,
    },
    /// A piece of music.
    Music(Music),
    /// Articles: the first of them in answer to a message, up to eight in answer to an event.
    News(Vec<Article>),
    /// Hands the conversation over to the account's staff.
    TransferCustomerService {
        /// To whom; to anyone who is free when `None`.
        account: Option<String>,
    },
}

/// A piece of music.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Music {
    /// Its title.
    pub title: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// Where it is.
    pub url: Option<String>,
    /// Where it is in better quality, for those with Wi-Fi.
    pub hq_url: Option<String>,
    /// The number of its picture, which was uploaded before. WeChat takes no music without.
    pub thumb_media_id: String,
}

/// An article.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Article {
    /// Its title.
    pub title: String,
    /// What it is about.
    pub description: String,
    /// Where its picture is.
    pub pic_url: String,
    /// Where the article is.
    pub url: String,
}

/// Why WeChat would not show an answer. Its user would read that the account is out of order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Something that WeChat insists on is missing or empty.
    #[error("the reply has no {0}")]
    Empty(&'static str),
    /// A text beyond WeChat's limit.
    #[error("the reply's Content has {0} bytes; WeChat shows {MAX_TEXT_LEN} at most")]
    TooLong(usize),
    /// Nobody to answer: no user caused the push.
    #[error("the push names no sender or no recipient, so it cannot be answered")]
    NoRecipient,
    /// For somebody else, or from another account.
    #[error("the reply's {0} does not match the message's {1}: they must be swapped")]
    Misdirected(&'static str, &'static str),
    /// A `MsgType` that no reply has.
    #[error("unknown MsgType of a reply: {0:?}")]
    UnknownType(String),
    /// An `ArticleCount` that is not the number of the articles.
    #[error("the reply's ArticleCount differs from the number of its articles")]
    ArticleCount,
    /// Encrypted by a back end.
    #[error("the reply is encrypted; a back end answers in the clear")]
    Sealed,
    /// Not a reply at all.
    #[error("the answer is neither empty, nor `success`, nor a reply")]
    Shape,
    /// Bytes that are not UTF-8.
    #[error("the reply is not UTF-8")]
    NotUtf8,
}

impl Reply {
    /// The answer to `message`, dated `now`, in the form that the message came in: it goes where
    /// that came from. Articles that WeChat would not show are left out, and so are characters that
    /// XML cannot have.
    pub fn write(&self, message: &Message, now: UnixSeconds) -> Result<String, ReplyError> {
        self.fields(message, now)
            .map(|fields| write::document(&fields, message.form))
    }

    /// The same as XML, whatever the message came in.
    pub fn to_xml(&self, message: &Message, now: UnixSeconds) -> Result<String, ReplyError> {
        self.fields(message, now)
            .map(|fields| write::document(&fields, Form::Xml))
    }

    fn fields(&self, message: &Message, now: UnixSeconds) -> Result<Fields, ReplyError> {
        if !message.can_be_answered() {
            return Err(ReplyError::NoRecipient);
        }
        self.check()?;
        let mut fields = Fields::default();
        fields.push_text("ToUserName", &*message.from);
        fields.push_text("FromUserName", &*message.to);
        fields.push_text("CreateTime", now.to_string());
        fields.push_text("MsgType", self.msg_type());
        match self {
            Self::Text { content } => fields.push_text("Content", legal(content)),
            Self::Image { media_id } => nest(&mut fields, "Image", &[("MediaId", Some(media_id))]),
            Self::Voice { media_id } => nest(&mut fields, "Voice", &[("MediaId", Some(media_id))]),
            Self::Video {
                media_id,
                title,
                description,
            } => {
                let parts = [
                    ("MediaId", Some(media_id)),
                    ("Title", title.as_ref()),
                    ("Description", description.as_ref()),
                ];
                nest(&mut fields, "Video", &parts);
            }
            Self::Music(music) => nest(&mut fields, "Music", &music.parts()),
            Self::News(articles) => {
                let shown = &articles[..articles.len().min(most_articles(message))];
                fields.push_text("ArticleCount", shown.len().to_string());
                let mut items = Fields::default();
                shown
                    .iter()
                    .for_each(|article| nest(&mut items, "item", &article.parts()));
                fields.push("Articles".to_owned(), Value::Fields(items));
            }
            Self::TransferCustomerService { account: None } => {}
            Self::TransferCustomerService { account } => {
                nest(&mut fields, "TransInfo", &[("KfAccount", account.as_ref())])
            }
        }
        Ok(fields)
    }

    /// Whether WeChat would cut off articles of this answer to `message`.
    pub(super) fn is_cut_for(&self, message: &Message) -> bool {
        matches!(self, Self::News(articles) if articles.len() > most_articles(message))
    }

    pub(super) fn msg_type(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Image { .. } => "image",
            Self::Voice { .. } => "voice",
            Self::Video { .. } => "video",
            Self::Music(_) => "music",
            Self::News(_) => "news",
            Self::TransferCustomerService { .. } => "transfer_customer_service",
        }
    }

    /// Whether WeChat would show it.
    pub(super) fn check(&self) -> Result<(), ReplyError> {
        let (name, is_empty) = match self {
            Self::Text { content } => ("Content", is_empty(content)),
            Self::Image { media_id } | Self::Voice { media_id } | Self::Video { media_id, .. } => {
                ("MediaId", is_empty(media_id))
            }
            Self::Music(music) => ("ThumbMediaId", is_empty(&music.thumb_media_id)),
            Self::News(articles) => (
                "Articles",
                articles.is_empty() || articles.iter().any(Article::is_empty),
            ),
            Self::TransferCustomerService { account } => {
                ("KfAccount", account.as_deref().is_some_and(is_empty))
            }
        };
        match self {
            _ if is_empty => Err(ReplyError::Empty(name)),
            Self::Text { content } if legal(content).len() > MAX_TEXT_LEN => {
                Err(ReplyError::TooLong(legal(content).len()))
            }
            _ => Ok(()),
        }
    }
}

/// How many articles WeChat shows in answer to `message`.
fn most_articles(message: &Message) -> usize {
    if message.is_event() {
        ARTICLES_FOR_AN_EVENT
    } else {
        ARTICLES_FOR_A_MESSAGE
    }
}

/// Whether nothing of `text` would be seen.
fn is_empty(text: &str) -> bool {
    legal(text).trim().is_empty()
}

/// Adds an element with those of `parts` inside that are there.
fn nest(fields: &mut Fields, name: &str, parts: &[(&str, Option<&String>)]) {
    let mut inside = Fields::default();
    for (name, text) in parts {
        if let Some(text) = text {
            inside.push_text(name, legal(text));
        }
    }
    fields.push(name.to_owned(), Value::Fields(inside));
}

impl Music {
    fn parts(&self) -> [(&str, Option<&String>); 5] {
        [
            ("Title", self.title.as_ref()),
            ("Description", self.description.as_ref()),
            ("MusicUrl", self.url.as_ref()),
            ("HQMusicUrl", self.hq_url.as_ref()),
            ("ThumbMediaId", Some(&self.thumb_media_id)),
        ]
    }
}

impl Article {
    fn parts(&self) -> [(&str, Option<&String>); 4] {
        let Self {
            title,
            description,
            pic_url,
            url,
        } = self;
        [
            ("Title", Some(title)),
            ("Description", Some(description)),
            ("PicUrl", Some(pic_url)),
            ("Url", Some(url)),
        ]
    }

    fn is_empty(&self) -> bool {
        self.parts()
            .iter()
            .all(|(_, text)| text.is_none_or(|text| is_empty(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Message, MessageError, document};
    use proptest::prelude::*;

    const NOW: UnixSeconds = UnixSeconds(1_409_659_814);

    fn message(kind: &str) -> Message {
        let xml = format!(
            "<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>1</CreateTime>{kind}<EventKey/></xml>"
        );
        Message::parse(xml.as_bytes()).expect("a message")
    }

    fn text() -> Message {
        message("<MsgType>text</MsgType>")
    }

    /// The XML between the four elements that every reply begins with and its end.
    #[track_caller]
    fn body(reply: &Reply, message: &Message) -> String {
        let xml = reply.to_xml(message, NOW).expect("a reply");
        let head = format!(
            "<xml><ToUserName><![CDATA[o1]]></ToUserName><FromUserName><![CDATA[gh_1]]></FromUserName>\
             <CreateTime>1409659814</CreateTime><MsgType><![CDATA[{}]]></MsgType>",
            reply.msg_type()
        );
        let body = xml
            .strip_prefix(&head)
            .and_then(|rest| rest.strip_suffix("</xml>"));
        body.unwrap_or_else(|| panic!("{xml}")).to_owned()
    }

    fn id() -> String {
        "M1".to_owned()
    }

    #[test]
    fn every_kind_is_written_as_wechat_documents_it() {
        let video = Reply::Video {
            media_id: id(),
            title: Some("T".to_owned()),
            description: Some("D".to_owned()),
        };
        let full = Music {
            title: Some("T".to_owned()),
            description: Some("D".to_owned()),
            url: Some("U".to_owned()),
            hq_url: Some("H".to_owned()),
            thumb_media_id: id(),
        };
        let bare = Music {
            thumb_media_id: id(),
            ..Music::default()
        };
        for (reply, expected) in [
            (
                Reply::Text {
                    content: "a\nb & <c>".to_owned(),
                },
                "<Content><![CDATA[a\nb & <c>]]></Content>",
            ),
            (
                Reply::Image { media_id: id() },
                "<Image><MediaId><![CDATA[M1]]></MediaId></Image>",
            ),
            (
                Reply::Voice { media_id: id() },
                "<Voice><MediaId><![CDATA[M1]]></MediaId></Voice>",
            ),
            (
                video,
                "<Video><MediaId><![CDATA[M1]]></MediaId><Title><![CDATA[T]]></Title>\
                 <Description><![CDATA[D]]></Description></Video>",
            ),
            (
                Reply::Video {
                    media_id: id(),
                    title: None,
                    description: None,
                },
                "<Video><MediaId><![CDATA[M1]]></MediaId></Video>",
            ),
            (
                Reply::Music(full),
                "<Music><Title><![CDATA[T]]></Title><Description><![CDATA[D]]></Description><MusicUrl><![CDATA[U]]></MusicUrl>\
                 <HQMusicUrl><![CDATA[H]]></HQMusicUrl><ThumbMediaId><![CDATA[M1]]></ThumbMediaId></Music>",
            ),
            (
                Reply::Music(bare),
                "<Music><ThumbMediaId><![CDATA[M1]]></ThumbMediaId></Music>",
            ),
            (Reply::TransferCustomerService { account: None }, ""),
            (
                Reply::TransferCustomerService {
                    account: Some("a@b".to_owned()),
                },
                "<TransInfo><KfAccount><![CDATA[a@b]]></KfAccount></TransInfo>",
            ),
        ] {
            assert_eq!(body(&reply, &text()), expected);
        }
    }

    #[test]
    fn articles_are_limited_to_what_wechat_shows() {
        let article = |number: usize| Article {
            title: number.to_string(),
            ..Article::default()
        };
        let news = Reply::News((1..=10).map(article).collect());
        let one = "<ArticleCount>1</ArticleCount><Articles><item><Title><![CDATA[1]]></Title>\
                   <Description><![CDATA[]]></Description><PicUrl><![CDATA[]]></PicUrl><Url><![CDATA[]]></Url></item></Articles>";
        assert_eq!(body(&news, &text()), one);
        let eight = body(
            &news,
            &message("<MsgType>event</MsgType><Event>CLICK</Event>"),
        );
        assert!(
            eight.starts_with("<ArticleCount>8</ArticleCount>")
                && eight.matches("<item>").count() == 8,
            "{eight}"
        );
        assert!(eight.contains("[8]") && !eight.contains("[9]"), "{eight}");
    }

    #[test]
    fn invalid_replies_are_refused() {
        let empty = String::new;
        for (reply, name) in [
            (Reply::Text { content: empty() }, "Content"),
            (
                Reply::Text {
                    content: "\u{1}\u{ffff}".to_owned(),
                },
                "Content",
            ),
            (
                Reply::Text {
                    content: " \n\u{3000}".to_owned(),
                },
                "Content",
            ),
            (Reply::Image { media_id: empty() }, "MediaId"),
            (Reply::Voice { media_id: empty() }, "MediaId"),
            (
                Reply::Video {
                    media_id: empty(),
                    title: None,
                    description: None,
                },
                "MediaId",
            ),
            (Reply::Music(Music::default()), "ThumbMediaId"),
            (Reply::News(Vec::new()), "Articles"),
            (Reply::News(vec![Article::default()]), "Articles"),
            (
                Reply::TransferCustomerService {
                    account: Some(empty()),
                },
                "KfAccount",
            ),
        ] {
            assert_eq!(reply.to_xml(&text(), NOW), Err(ReplyError::Empty(name)));
        }
        let text_of = |length: usize| Reply::Text {
            content: "x".repeat(length),
        };
        assert!(text_of(2048).to_xml(&text(), NOW).is_ok());
        assert_eq!(
            text_of(2049).to_xml(&text(), NOW),
            Err(ReplyError::TooLong(2049))
        );
        let nobody =
            Message::parse(br#"{"InfoType":"component_verify_ticket"}"#).expect("a message");
        assert_eq!(text_of(1).write(&nobody, NOW), Err(ReplyError::NoRecipient));
    }

    #[test]
    fn a_message_in_json_is_answered_in_json() {
        let asked =
            r#"{"ToUserName":"gh_1","FromUserName":"o1","MsgType":"event","Event":"CLICK"}"#;
        let asked = Message::parse(asked.as_bytes()).expect("a message");
        let article = |title: &str| Article {
            title: title.to_owned(),
            ..Article::default()
        };
        for (reply, rest) in [
            (
                Reply::Text {
                    content: "a\"]]>\n你".to_owned(),
                },
                r#""text","Content":"a\"]]>\n你"}"#,
            ),
            (
                Reply::Image {
                    media_id: "1".to_owned(),
                },
                r#""image","Image":{"MediaId":"1"}}"#,
            ),
            (
                Reply::News(vec![article("T")]),
                r#""news","ArticleCount":1,"Articles":{"item":[{"Title":"T","Description":"","PicUrl":"","Url":""}]}}"#,
            ),
            (
                Reply::TransferCustomerService { account: None },
                r#""transfer_customer_service"}"#,
            ),
        ] {
            let head =
                r#"{"ToUserName":"o1","FromUserName":"gh_1","CreateTime":1409659814,"MsgType":"#;
            assert_eq!(
                reply.write(&asked, NOW).as_deref(),
                Ok(format!("{head}{rest}").as_str())
            );
        }
    }

    #[test]
    fn cdata_ends_are_split_and_control_characters_dropped() {
        let written = |content: &str| {
            body(
                &Reply::Text {
                    content: content.to_owned(),
                },
                &text(),
            )
        };
        assert_eq!(
            written("a]]>b"),
            "<Content><![CDATA[a]]]]><![CDATA[>b]]></Content>"
        );
        assert_eq!(written("a]\u{1}]\u{0}>b"), written("a]]>b"));
        assert_eq!(
            written("\u{b}a\tb\u{1f}\u{fffe}😀"),
            "<Content><![CDATA[a\tb😀]]></Content>"
        );
    }

    proptest! {
        #[test]
        fn any_text_survives_except_for_characters_xml_forbids(
            content in prop_oneof![
                ".*",
                "[\\]>\u{1}\r\na&<]{0,12}",
                prop::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter),
            ]
        ) {
            match (Reply::Text { content: content.clone() }).to_xml(&text(), NOW) {
                Ok(xml) => {
                    let arrived = document(xml.as_bytes()).map(|document| document.fields.string("Content"));
                    let meant = legal(&content).replace("\r\n", "\n").replace('\r', "\n");
                    prop_assert_eq!(arrived, Ok::<_, MessageError>(meant));
                }
                Err(refused) => prop_assert!(refused == ReplyError::Empty("Content") && legal(&content).trim().is_empty()),
            }
        }
    }
}
