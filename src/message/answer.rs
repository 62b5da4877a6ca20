//! Reads a back end's answer: nothing, a reply as WeChat's XML, or a JSON object with one member
//! that describes a reply.

use serde::Deserialize;

use wechat::message::{Article, Form, Message, Music, ReceivedReply, Reply, ReplyError};

/// The JSON answers that a back end may give instead of WeChat's XML.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum JsonReply {
    Text(String),
    Image(String),
    Voice(String),
    News(Vec<JsonArticle>),
    #[serde(rename_all = "camelCase")]
    Video {
        media_id: String,
        title: Option<String>,
        description: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    Music {
        title: Option<String>,
        description: Option<String>,
        url: Option<String>,
        hq_url: Option<String>,
        thumb_media_id: String,
    },
    #[serde(rename = "transfer_customer_service")]
    Transfer(Option<Staff>),
}

/// Which staff member takes over: `true` or an empty value for any, a name for a specific one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Staff {
    Anyone(#[expect(dead_code, reason = "it counts that it is no name")] bool),
    One(String),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct JsonArticle {
    title: String,
    description: String,
    pic_url: String,
    url: String,
}

/// Reads the answer to `message`. Returns `None` for an empty answer and an error for a reply that
/// WeChat could not show.
pub(super) fn read(body: &[u8], message: &Message) -> Result<Option<ReceivedReply>, ReplyError> {
    let text = std::str::from_utf8(body).map_err(|_| ReplyError::NotUtf8)?;
    let bare = text.trim_start_matches('\u{feff}').trim();
    // Some frameworks encode a plain text as a JSON string.
    let word = bare.trim_matches('"');
    if word.is_empty() || word.eq_ignore_ascii_case("success") {
        return Ok(None);
    }
    if Form::of(bare.as_bytes()) == Form::Json
        && let Ok(reply) = serde_json::from_str::<JsonReply>(bare).map(Reply::from)
    {
        let text = reply.write(message, message.created)?;
        return Ok(Some(ReceivedReply {
            text,
            reply: Some(reply),
        }));
    }
    ReceivedReply::read(bare, message).map(Some)
}

impl From<JsonReply> for Reply {
    fn from(reply: JsonReply) -> Self {
        match reply {
            JsonReply::Text(content) => Self::Text { content },
            JsonReply::Image(media_id) => Self::Image { media_id },
            JsonReply::Voice(media_id) => Self::Voice { media_id },
            JsonReply::Video {
                media_id,
                title,
                description,
            } => Self::Video {
                media_id,
                title,
                description,
            },
            JsonReply::Music {
                title,
                description,
                url,
                hq_url,
                thumb_media_id,
            } => Self::Music(Music {
                title,
                description,
                url,
                hq_url,
                thumb_media_id,
            }),
            JsonReply::News(articles) => Self::News(
                articles
                    .into_iter()
                    .map(
                        |JsonArticle {
                             title,
                             description,
                             pic_url,
                             url,
                         }| Article {
                            title,
                            description,
                            pic_url,
                            url,
                        },
                    )
                    .collect(),
            ),
            JsonReply::Transfer(None | Some(Staff::Anyone(_))) => {
                Self::TransferCustomerService { account: None }
            }
            JsonReply::Transfer(Some(Staff::One(account))) => Self::TransferCustomerService {
                account: Some(account),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let xml = "<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>7</CreateTime><MsgType>text</MsgType></xml>";
        Message::parse(xml.as_bytes()).expect("a message")
    }

    fn judged(text: &str) -> Result<Option<String>, ReplyError> {
        read(text.as_bytes(), &message()).map(|received| received.map(|received| received.text))
    }

    #[test]
    fn an_answer_is_empty_a_reply_or_an_error() {
        for nothing in [
            "",
            " \n",
            "success",
            " success\n",
            "\u{feff}success",
            "SUCCESS",
            "\"success\"",
            "\"\"",
        ] {
            assert!(matches!(judged(nothing), Ok(None)), "{nothing:?}");
        }
        let xml = "<xml><ToUserName>o1</ToUserName><FromUserName>gh_1</FromUserName><CreateTime>9</CreateTime><MsgType>text</MsgType><Content>x</Content></xml>";
        assert_eq!(
            judged(&format!("\n{xml}\n")).ok().flatten().as_deref(),
            Some(xml),
            "as the back end wrote it"
        );
        for wrong in [
            "ok",
            "<html>502</html>",
            "<xml></xml>",
            "{}",
            "{\"text\":1}",
            "{\"txt\":\"x\"}",
            "{\"text\":\"\"}",
            "[]",
        ] {
            assert!(judged(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            read(b"<xml>\xff</xml>", &message()).err(),
            Some(ReplyError::NotUtf8)
        );
        assert_eq!(judged("ok"), Err(ReplyError::Shape));
        assert_eq!(judged("{}"), Err(ReplyError::Shape));
        assert_eq!(
            judged("{\"text\":\" \"}"),
            Err(ReplyError::Empty("Content"))
        );
        assert_eq!(judged("{\"news\":[]}"), Err(ReplyError::Empty("Articles")));
    }

    #[test]
    fn a_reply_may_be_json_too() {
        let text = judged(r#"{"text":"hi ]]> there"}"#)
            .expect("a reply")
            .expect("one that says something");
        assert!(
            text.contains("<ToUserName><![CDATA[o1]]>") && text.contains("<CreateTime>7<"),
            "{text}"
        );
        for reply in [
            r#"{"image":"M"}"#,
            r#"{"voice":"M"}"#,
            r#"{"video":{"mediaId":"M","title":"T"}}"#,
            r#"{"music":{"thumbMediaId":"M","hqUrl":"http://x"}}"#,
            r#"{"news":[{"title":"T","picUrl":"http://p"}]}"#,
            r#"{"transfer_customer_service":null}"#,
            r#"{"transfer_customer_service":true}"#,
            r#"{"transfer_customer_service":"kf2001@gh"}"#,
        ] {
            assert!(matches!(judged(reply), Ok(Some(_))), "{reply}");
            assert!(
                matches!(judged(&format!("\u{feff} {reply}\n")), Ok(Some(_))),
                "{reply}"
            );
        }
        let wechats = r#"{"ToUserName":"o1","FromUserName":"gh_1","CreateTime":9,"MsgType":"text","Content":"x"}"#;
        assert!(
            judged(wechats)
                .expect("a reply")
                .expect("one that says something")
                .contains("<CreateTime>9<")
        );
    }
}
