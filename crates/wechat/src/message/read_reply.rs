//! A back end's reply: whether WeChat would show it, and how it goes on. One that is as WeChat
//! wants it goes on to the letter; one that only reads alike is written anew.

use super::fields::{Fields, Value};
use super::reply::{Article, Music, Reply, ReplyError};
use super::{Document, Message, document, seconds};
use clock::UnixSeconds;

/// Replies that we do not write ourselves and cannot read. They go on to the letter if they are
/// addressed rightly. Source: WeChat, 微信硬件平台 and 智能对话.
const OTHERS: [&str; 5] = [
    "device_text",
    "device_event",
    "device_status",
    "hardware",
    "transfer_biz_ai_ivr",
];

/// A reply that WeChat would show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedReply {
    /// The reply in the form of the message that it answers.
    pub text: String,
    /// What it says; `None` if it is of a kind that we do not write ourselves.
    pub reply: Option<Reply>,
}

/// How the names of a reply are compared.
#[derive(Clone, Copy)]
enum Names {
    Exact,
    AnyCase,
}

impl ReceivedReply {
    /// Reads `text`, which a back end has answered to `asked` in WeChat's own XML or JSON. A byte
    /// order mark, blanks around it, a declaration, a date of another format and names in another
    /// case do not matter.
    pub fn read(text: &str, asked: &Message) -> Result<Self, ReplyError> {
        let bare = text.trim_start_matches('\u{feff}').trim();
        let Document {
            fields,
            form,
            repaired,
        } = document(bare.as_bytes()).map_err(|_| ReplyError::Shape)?;
        let is_there = |name| Names::AnyCase.value(&fields, name).is_some();
        if !is_there("MsgType") && is_there("Encrypt") {
            return Err(ReplyError::Sealed);
        }
        if !is_there("MsgType") && !is_there("ToUserName") {
            return Err(ReplyError::Shape);
        }
        Self::address(&fields, asked)?;
        let is_as_it_came = repaired.is_none() && form == asked.form;
        let kind = Names::AnyCase.text(&fields, "MsgType");
        if OTHERS.contains(&kind) && is_as_it_came {
            return Ok(Self {
                text: bare.to_owned(),
                reply: None,
            });
        }
        let reply = Names::AnyCase.reply(&fields)?;
        let is_exact = is_as_it_came && is_exact(&fields, &reply) && !reply.is_cut_for(asked);
        let text = if is_exact {
            bare.to_owned()
        } else {
            let dated = seconds(Names::AnyCase.text(&fields, "CreateTime"))
                .map_or(asked.created, UnixSeconds);
            reply.write(asked, dated)?
        };
        Ok(Self {
            text,
            reply: Some(reply),
        })
    }

    /// A reply goes back the way that the message came.
    fn address(fields: &Fields, asked: &Message) -> Result<(), ReplyError> {
        if !asked.can_be_answered() {
            return Err(ReplyError::NoRecipient);
        }
        let ways = [
            ("ToUserName", "FromUserName", &asked.from),
            ("FromUserName", "ToUserName", &asked.to),
        ];
        for (name, theirs, meant) in ways {
            match Names::AnyCase.text(fields, name) {
                "" => return Err(ReplyError::Empty(name)),
                found if found != meant => return Err(ReplyError::Misdirected(name, theirs)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether every name and value is written as WeChat documents it.
fn is_exact(fields: &Fields, reply: &Reply) -> bool {
    let exact = Names::Exact;
    let named = ["ToUserName", "FromUserName"]
        .iter()
        .all(|name| !exact.text(fields, name).is_empty());
    let dated = exact.text(fields, "CreateTime").parse::<u64>().is_ok();
    let typed = exact.text(fields, "MsgType") == reply.msg_type();
    named && dated && typed && exact.reply(fields).as_ref() == Ok(reply)
}

impl Names {
    fn value<'f>(self, fields: &'f Fields, name: &str) -> Option<&'f Value> {
        match self {
            Self::Exact => fields.get(name),
            Self::AnyCase => fields.any_case(name).next(),
        }
    }

    /// The text called `name` without blanks around it, empty if there is none.
    fn text<'f>(self, fields: &'f Fields, name: &str) -> &'f str {
        self.value(fields, name)
            .and_then(Value::as_text)
            .map(str::trim)
            .unwrap_or_default()
    }

    fn reply(self, fields: &Fields) -> Result<Reply, ReplyError> {
        let none = Fields::default();
        let inner = |name| {
            self.value(fields, name)
                .and_then(Value::as_fields)
                .unwrap_or(&none)
        };
        let media_id = |name| self.text(inner(name), "MediaId").to_owned();
        let kind = self.text(fields, "MsgType");
        let reply = match kind.to_ascii_lowercase().as_str() {
            "" => return Err(ReplyError::Empty("MsgType")),
            // Blanks in a text are the text's own.
            "text" => Reply::Text {
                content: self.untrimmed(fields, "Content").unwrap_or_default(),
            },
            "image" => Reply::Image {
                media_id: media_id("Image"),
            },
            "voice" => Reply::Voice {
                media_id: media_id("Voice"),
            },
            "video" => {
                let video = inner("Video");
                let (title, description) = (
                    self.untrimmed(video, "Title"),
                    self.untrimmed(video, "Description"),
                );
                Reply::Video {
                    media_id: media_id("Video"),
                    title,
                    description,
                }
            }
            "music" => Reply::Music(self.music(inner("Music"))),
            "news" => Reply::News(self.articles(fields)?),
            "transfer_customer_service" => {
                let account = self
                    .untrimmed(inner("TransInfo"), "KfAccount")
                    .filter(|account| !account.trim().is_empty());
                Reply::TransferCustomerService { account }
            }
            _ => return Err(ReplyError::UnknownType(kind.chars().take(64).collect())),
        };
        reply.check().map(|()| reply)
    }

    fn untrimmed(self, fields: &Fields, name: &str) -> Option<String> {
        self.value(fields, name)
            .and_then(Value::as_text)
            .map(str::to_owned)
    }

    fn music(self, music: &Fields) -> Music {
        Music {
            title: self.untrimmed(music, "Title"),
            description: self.untrimmed(music, "Description"),
            url: self.untrimmed(music, "MusicUrl"),
            hq_url: self.untrimmed(music, "HQMusicUrl"),
            thumb_media_id: self.text(music, "ThumbMediaId").to_owned(),
        }
    }

    fn articles(self, fields: &Fields) -> Result<Vec<Article>, ReplyError> {
        let lists = fields.any_case("Articles").filter_map(Value::as_fields);
        // A JSON list has its articles at once, XML has them in items.
        let items = lists.flat_map(|list| match self.value(list, "item") {
            Some(_) => list.any_case("item").filter_map(Value::as_fields).collect(),
            None => vec![list],
        });
        let article = |item: &Fields| Article {
            title: self.untrimmed(item, "Title").unwrap_or_default(),
            description: self.untrimmed(item, "Description").unwrap_or_default(),
            pic_url: self.untrimmed(item, "PicUrl").unwrap_or_default(),
            url: self.untrimmed(item, "Url").unwrap_or_default(),
        };
        let articles: Vec<Article> = items.map(article).collect();
        if articles.is_empty() {
            return Err(ReplyError::Empty("Articles"));
        }
        match self.text(fields, "ArticleCount").parse::<usize>() {
            Ok(count) if count == articles.len() => Ok(articles),
            _ => Err(ReplyError::ArticleCount),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Form;

    const HEAD: &str =
        "<ToUserName>o1</ToUserName><FromUserName>gh_1</FromUserName><CreateTime>9</CreateTime>";

    fn asked(form: Form, kind: &str) -> Message {
        let text = match form {
            Form::Xml => format!(
                "<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>7</CreateTime><MsgType>{kind}</MsgType></xml>"
            ),
            Form::Json => format!(
                r#"{{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":7,"MsgType":"{kind}"}}"#
            ),
        };
        Message::parse(text.as_bytes()).expect("a message")
    }

    fn read(text: &str) -> Result<String, ReplyError> {
        ReceivedReply::read(text, &asked(Form::Xml, "text")).map(|received| received.text)
    }

    fn xml(inside: &str) -> String {
        format!("<xml>{HEAD}{inside}</xml>")
    }

    const TEXT: &str = "<MsgType>text</MsgType><Content> x </Content>";

    #[test]
    fn a_valid_reply_is_passed_on_unchanged() {
        for inside in [
            TEXT,
            "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[a & <b>]]></Content><FuncFlag>0</FuncFlag>",
            "<MsgType>image</MsgType><Image><MediaId>M</MediaId></Image>",
            "<MsgType>voice</MsgType><Voice><MediaId>M</MediaId></Voice>",
            "<MsgType>video</MsgType><Video><MediaId>M</MediaId><Title>T</Title></Video>",
            "<MsgType>music</MsgType><Music><MusicUrl>U</MusicUrl><ThumbMediaId>M</ThumbMediaId></Music>",
            "<MsgType>news</MsgType><ArticleCount>1</ArticleCount><Articles><item><Title>T</Title></item></Articles>",
            "<MsgType>transfer_customer_service</MsgType>",
            "<MsgType>transfer_customer_service</MsgType><TransInfo><KfAccount>k@g</KfAccount></TransInfo>",
            "<MsgType>device_text</MsgType><DeviceType>d</DeviceType><Content>eA==</Content>",
        ] {
            assert_eq!(read(&xml(inside)), Ok(xml(inside)));
            let dressed = format!("\u{feff}<?xml version=\"1.0\"?>\n{}", xml(inside));
            assert_eq!(
                read(&format!("{dressed}\r\n")).as_deref(),
                Ok(dressed.trim_start_matches('\u{feff}'))
            );
        }
    }

    #[test]
    fn an_irregular_reply_is_rewritten() {
        let meant = "<xml><ToUserName><![CDATA[o1]]></ToUserName><FromUserName><![CDATA[gh_1]]></FromUserName>\
                     <CreateTime>9</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[ x ]]></Content></xml>";
        let good = xml(TEXT);
        for (from, to, time) in [
            ("<CreateTime>9<", "<CreateTime>9.123<", "9"),
            (
                "<CreateTime>9<",
                "<CreateTime>1700000000.123<",
                "1700000000",
            ),
            ("<CreateTime>9<", "<CreateTime>2026-01-02T03:04:05Z<", "7"),
            ("<CreateTime>9<", "<CreateTime><", "7"),
            ("<CreateTime>9</CreateTime>", "", "7"),
            (">text<", ">TEXT<", "9"),
            ("MsgType", "msgtype", "9"),
            ("ToUserName", "tousername", "9"),
            ("Content", "content", "9"),
        ] {
            assert_eq!(
                read(&good.replace(from, to)),
                Ok(meant.replace(">9<", &format!(">{time}<"))),
                "{to}"
            );
        }
        let unclean = read(&good.replace(" x ", "a & b\u{8}")).expect("a reply");
        assert!(
            unclean.contains("<Content><![CDATA[a & b\u{fffd}]]></Content>"),
            "{unclean}"
        );
    }

    #[test]
    fn a_reply_is_sent_in_the_form_of_the_message() {
        let json = r#"{"ToUserName":"o1","FromUserName":"gh_1","CreateTime":9,"MsgType":"text","Content":"x"}"#;
        let as_xml = read(json).expect("a reply");
        assert!(
            as_xml.contains("<Content><![CDATA[x]]></Content>"),
            "{as_xml}"
        );
        let asked = asked(Form::Json, "text");
        let received = |text: &str| ReceivedReply::read(text, &asked).map(|received| received.text);
        assert_eq!(received(&as_xml).as_deref(), Ok(json));
        assert_eq!(received(json).as_deref(), Ok(json));
        let list = r#"{"ToUserName":"o1","FromUserName":"gh_1","CreateTime":"9","MsgType":"news","ArticleCount":1,"Articles":[{"Title":"T"}]}"#;
        assert_eq!(received(list).as_deref(), Ok(list), "as a list, too");
        let kf = xml("<MsgType>transfer_customer_service</MsgType>");
        assert_eq!(
            received(&kf).as_deref(),
            Ok(
                r#"{"ToUserName":"o1","FromUserName":"gh_1","CreateTime":9,"MsgType":"transfer_customer_service"}"#
            )
        );
    }

    #[test]
    fn surplus_articles_are_left_out() {
        let item = |number: usize| format!("<item><Title>{number}</Title></item>");
        let news = |count: usize| {
            let items: String = (1..=count).map(item).collect();
            xml(&format!(
                "<MsgType>news</MsgType><ArticleCount>{count}</ArticleCount><Articles>{items}</Articles>"
            ))
        };
        let shown = |kind: &str, count: usize| {
            let received =
                ReceivedReply::read(&news(count), &asked(Form::Xml, kind)).expect("a reply");
            received.text.matches("<item>").count()
        };
        assert_eq!(
            (shown("text", 1), shown("text", 2), shown("text", 12)),
            (1, 1, 1)
        );
        assert_eq!((shown("event", 8), shown("event", 9)), (8, 8));
    }

    #[test]
    fn each_invalid_reply_has_its_error() {
        use ReplyError::{ArticleCount, Empty, Misdirected, Sealed, Shape, TooLong, UnknownType};
        let article = "<Articles><item><Title>T</Title></item></Articles>";
        for (inside, error) in [
            (
                "<MsgType>text</MsgType><Content></Content>",
                Empty("Content"),
            ),
            (
                "<MsgType>text</MsgType><Content><![CDATA[ \n]]></Content>",
                Empty("Content"),
            ),
            (
                "<MsgType>text</MsgType><Content><a>1</a></Content>",
                Empty("Content"),
            ),
            ("<MsgType>text</MsgType>", Empty("Content")),
            ("<MsgType>image</MsgType>", Empty("MediaId")),
            (
                "<MsgType>image</MsgType><MediaId>M</MediaId>",
                Empty("MediaId"),
            ),
            (
                "<MsgType>image</MsgType><Image><MediaId/></Image>",
                Empty("MediaId"),
            ),
            (
                "<MsgType>voice</MsgType><Image><MediaId>M</MediaId></Image>",
                Empty("MediaId"),
            ),
            (
                "<MsgType>video</MsgType><Video><Title>T</Title></Video>",
                Empty("MediaId"),
            ),
            (
                "<MsgType>music</MsgType><Music><MusicUrl>U</MusicUrl></Music>",
                Empty("ThumbMediaId"),
            ),
            (
                "<MsgType>news</MsgType><ArticleCount>0</ArticleCount><Articles></Articles>",
                Empty("Articles"),
            ),
            (
                "<MsgType>news</MsgType><ArticleCount>1</ArticleCount>",
                Empty("Articles"),
            ),
            (
                "<MsgType>news</MsgType><ArticleCount>1</ArticleCount><Articles><item><Title/><Url> </Url></item></Articles>",
                Empty("Articles"),
            ),
            (
                &format!("<MsgType>news</MsgType><ArticleCount>2</ArticleCount>{article}"),
                ArticleCount,
            ),
            (&format!("<MsgType>news</MsgType>{article}"), ArticleCount),
            (
                "<MsgType>txt</MsgType><Content>x</Content>",
                UnknownType("txt".to_owned()),
            ),
            (
                "<MsgType>event</MsgType><Event>CLICK</Event>",
                UnknownType("event".to_owned()),
            ),
            ("<Content>x</Content>", Empty("MsgType")),
            (
                &format!(
                    "<MsgType>text</MsgType><Content>{}</Content>",
                    "字".repeat(683)
                ),
                TooLong(2049),
            ),
        ] {
            assert_eq!(read(&xml(inside)), Err(error), "{inside}");
        }
        let good = xml(TEXT);
        let swapped = good
            .replace(">o1<", ">x<")
            .replace(">gh_1<", ">o1<")
            .replace(">x<", ">gh_1<");
        for (text, error) in [
            (swapped, Misdirected("ToUserName", "FromUserName")),
            (
                good.replace(">o1<", ">o2<"),
                Misdirected("ToUserName", "FromUserName"),
            ),
            (
                good.replace(">gh_1<", ">wx1<"),
                Misdirected("FromUserName", "ToUserName"),
            ),
            (
                good.replace("<ToUserName>o1</ToUserName>", ""),
                Empty("ToUserName"),
            ),
            ("<xml><Encrypt>x</Encrypt></xml>".to_owned(), Sealed),
            ("<html><p>502</p></html>".to_owned(), Shape),
            ("<xml></xml>".to_owned(), Shape),
            (r#"{"errcode":0,"errmsg":"ok"}"#.to_owned(), Shape),
            ("Not Found".to_owned(), Shape),
        ] {
            assert_eq!(read(&text), Err(error), "{text}");
        }
    }
}
