//! What may be answered to a message, as XML. It checks what WeChat would otherwise punish by telling the user that the account is
//! out of order.

use super::Message;
use super::write::{Xml, legal};
use crate::clock::UnixSeconds;

/// How many articles WeChat shows in answer to what a user wrote; it cuts off the others.
const ARTICLES_FOR_A_MESSAGE: usize = 1;

/// How many it shows in answer to anything else.
const ARTICLES_FOR_AN_EVENT: usize = 8;

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

/// Why there is no such answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// WeChat takes no answer without this.
    #[error("the reply has no {0}")]
    Empty(&'static str),
}

impl Reply {
    /// The answer to `message`, dated `now`: it goes where that came from. Articles that WeChat would not show are left out, and so
    /// are characters that XML cannot have.
    pub fn to_xml(&self, message: &Message, now: UnixSeconds) -> Result<String, ReplyError> {
        self.check()?;
        let mut xml = Xml::new();
        xml.text("ToUserName", &message.from);
        xml.text("FromUserName", &message.to);
        xml.number("CreateTime", now);
        xml.text("MsgType", self.msg_type());
        match self {
            Self::Text { content } => xml.text("Content", content),
            Self::Image { media_id } => xml.nested("Image", |xml| xml.text("MediaId", media_id)),
            Self::Voice { media_id } => xml.nested("Voice", |xml| xml.text("MediaId", media_id)),
            Self::Video { media_id, title, description } => xml.nested("Video", |xml| {
                xml.text("MediaId", media_id);
                optional(xml, "Title", title);
                optional(xml, "Description", description);
            }),
            Self::Music(music) => music.write(&mut xml),
            Self::News(articles) => {
                let most = if message.is_event() { ARTICLES_FOR_AN_EVENT } else { ARTICLES_FOR_A_MESSAGE };
                news(&mut xml, &articles[..articles.len().min(most)]);
            }
            Self::TransferCustomerService { account: None } => {}
            Self::TransferCustomerService { account: Some(account) } => {
                xml.nested("TransInfo", |xml| xml.text("KfAccount", account));
            }
        }
        Ok(xml.finish())
    }

    fn msg_type(&self) -> &'static str {
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

    fn check(&self) -> Result<(), ReplyError> {
        let (name, is_empty) = match self {
            Self::Text { content } => ("Content", is_empty(content)),
            Self::Image { media_id } | Self::Voice { media_id } | Self::Video { media_id, .. } => ("MediaId", is_empty(media_id)),
            Self::Music(music) => ("ThumbMediaId", is_empty(&music.thumb_media_id)),
            Self::News(articles) => ("Articles", articles.is_empty()),
            Self::TransferCustomerService { account } => ("KfAccount", account.as_deref().is_some_and(is_empty)),
        };
        if is_empty { Err(ReplyError::Empty(name)) } else { Ok(()) }
    }
}

/// Whether nothing of `text` would arrive.
fn is_empty(text: &str) -> bool {
    legal(text).is_empty()
}

fn optional(xml: &mut Xml, name: &str, text: &Option<String>) {
    if let Some(text) = text {
        xml.text(name, text);
    }
}

fn news(xml: &mut Xml, articles: &[Article]) {
    xml.number("ArticleCount", articles.len());
    xml.nested("Articles", |xml| {
        for article in articles {
            xml.nested("item", |xml| {
                xml.text("Title", &article.title);
                xml.text("Description", &article.description);
                xml.text("PicUrl", &article.pic_url);
                xml.text("Url", &article.url);
            });
        }
    });
}

impl Music {
    fn write(&self, xml: &mut Xml) {
        xml.nested("Music", |xml| {
            optional(xml, "Title", &self.title);
            optional(xml, "Description", &self.description);
            optional(xml, "MusicUrl", &self.url);
            optional(xml, "HQMusicUrl", &self.hq_url);
            xml.text("ThumbMediaId", &self.thumb_media_id);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::message::{Message, MessageError, parse};
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
        let body = xml.strip_prefix(&head).and_then(|rest| rest.strip_suffix("</xml>"));
        body.unwrap_or_else(|| panic!("{xml}")).to_owned()
    }

    fn id() -> String {
        "M1".to_owned()
    }

    #[test]
    fn every_kind_is_written_as_wechat_documents_it() {
        let video = Reply::Video { media_id: id(), title: Some("T".to_owned()), description: Some("D".to_owned()) };
        let full = Music {
            title: Some("T".to_owned()),
            description: Some("D".to_owned()),
            url: Some("U".to_owned()),
            hq_url: Some("H".to_owned()),
            thumb_media_id: id(),
        };
        let bare = Music { thumb_media_id: id(), ..Music::default() };
        for (reply, expected) in [
            (Reply::Text { content: "a\nb & <c>".to_owned() }, "<Content><![CDATA[a\nb & <c>]]></Content>"),
            (Reply::Image { media_id: id() }, "<Image><MediaId><![CDATA[M1]]></MediaId></Image>"),
            (Reply::Voice { media_id: id() }, "<Voice><MediaId><![CDATA[M1]]></MediaId></Voice>"),
            (
                video,
                "<Video><MediaId><![CDATA[M1]]></MediaId><Title><![CDATA[T]]></Title>\
                 <Description><![CDATA[D]]></Description></Video>",
            ),
            (Reply::Video { media_id: id(), title: None, description: None }, "<Video><MediaId><![CDATA[M1]]></MediaId></Video>"),
            (
                Reply::Music(full),
                "<Music><Title><![CDATA[T]]></Title><Description><![CDATA[D]]></Description><MusicUrl><![CDATA[U]]></MusicUrl>\
                 <HQMusicUrl><![CDATA[H]]></HQMusicUrl><ThumbMediaId><![CDATA[M1]]></ThumbMediaId></Music>",
            ),
            (Reply::Music(bare), "<Music><ThumbMediaId><![CDATA[M1]]></ThumbMediaId></Music>"),
            (Reply::TransferCustomerService { account: None }, ""),
            (
                Reply::TransferCustomerService { account: Some("a@b".to_owned()) },
                "<TransInfo><KfAccount><![CDATA[a@b]]></KfAccount></TransInfo>",
            ),
        ] {
            assert_eq!(body(&reply, &text()), expected);
        }
    }

    #[test]
    fn as_many_articles_are_sent_as_wechat_shows() {
        let article = |number: usize| Article { title: number.to_string(), ..Article::default() };
        let news = Reply::News((1..=10).map(article).collect());
        let one = "<ArticleCount>1</ArticleCount><Articles><item><Title><![CDATA[1]]></Title>\
                   <Description><![CDATA[]]></Description><PicUrl><![CDATA[]]></PicUrl><Url><![CDATA[]]></Url></item></Articles>";
        assert_eq!(body(&news, &text()), one);
        let eight = body(&news, &message("<MsgType>event</MsgType><Event>CLICK</Event>"));
        assert!(eight.starts_with("<ArticleCount>8</ArticleCount>") && eight.matches("<item>").count() == 8, "{eight}");
        assert!(eight.contains("[8]") && !eight.contains("[9]"), "{eight}");
    }

    #[test]
    fn what_wechat_would_not_take_is_no_reply() {
        let empty = String::new;
        for (reply, name) in [
            (Reply::Text { content: empty() }, "Content"),
            (Reply::Text { content: "\u{1}\u{ffff}".to_owned() }, "Content"),
            (Reply::Image { media_id: empty() }, "MediaId"),
            (Reply::Voice { media_id: empty() }, "MediaId"),
            (Reply::Video { media_id: empty(), title: None, description: None }, "MediaId"),
            (Reply::Music(Music::default()), "ThumbMediaId"),
            (Reply::News(Vec::new()), "Articles"),
            (Reply::TransferCustomerService { account: Some(empty()) }, "KfAccount"),
        ] {
            assert_eq!(reply.to_xml(&text(), NOW), Err(ReplyError::Empty(name)));
        }
    }

    #[test]
    fn the_end_of_a_cdata_section_is_split_and_control_characters_are_dropped() {
        let written = |content: &str| body(&Reply::Text { content: content.to_owned() }, &text());
        assert_eq!(written("a]]>b"), "<Content><![CDATA[a]]]]><![CDATA[>b]]></Content>");
        assert_eq!(written("a]\u{1}]\u{0}>b"), written("a]]>b"));
        assert_eq!(written("\u{b}a\tb\u{1f}\u{fffe}😀"), "<Content><![CDATA[a\tb😀]]></Content>");
    }

    proptest! {
        #[test]
        fn any_text_arrives_as_it_was_but_for_what_xml_cannot_carry(
            content in prop_oneof![
                ".*",
                "[\\]>\u{1}\r\na&<]{0,12}",
                prop::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter),
            ]
        ) {
            match (Reply::Text { content: content.clone() }).to_xml(&text(), NOW) {
                Ok(xml) => {
                    let arrived = parse::fields(xml.as_bytes()).map(|fields| fields.string("Content"));
                    let meant = legal(&content).replace("\r\n", "\n").replace('\r', "\n");
                    prop_assert_eq!(arrived, Ok::<_, MessageError>(meant));
                }
                Err(refused) => prop_assert!(refused == ReplyError::Empty("Content") && legal(&content).is_empty()),
            }
        }
    }
}
