//! A back end's answer that came too late for WeChat, as the customer-service message that says the same. Pure.

use serde_json::{Value, json};

use crate::wechat::message::{Fields, Message, Value as Element};

/// The JSON of a customer-service message to `to_user` that says what the reply `xml` says; `None` when there is none that does.
/// Source: 客服接口-发消息.
pub(super) fn as_custom_message(xml: &str, to_user: &str) -> Option<String> {
    let reply = Message::parse(xml.as_bytes()).ok()?;
    let fields = &reply.fields;
    let nested = |name: &str| fields.get(name).and_then(Element::as_fields).cloned().unwrap_or_default();
    let kind = fields.text("MsgType")?.trim().to_ascii_lowercase();
    let (kind, content) = match kind.as_str() {
        "text" => ("text", json!({ "content": text(fields, "Content") })),
        "image" => ("image", json!({ "media_id": text(&nested("Image"), "MediaId") })),
        "voice" => ("voice", json!({ "media_id": text(&nested("Voice"), "MediaId") })),
        "video" => ("video", video(&nested("Video"))),
        "music" => ("music", music(&nested("Music"))),
        "news" => ("news", json!({ "articles": articles(&nested("Articles")) })),
        _ => return None,
    };
    Some(json!({ "touser": to_user, "msgtype": kind, kind: content }).to_string())
}

fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.text(name).unwrap_or_default()
}

/// The preview's number, which WeChat asks for here, is not in a reply; the video's own stands in for it.
fn video(video: &Fields) -> Value {
    let media_id = text(video, "MediaId");
    json!({
        "media_id": media_id,
        "thumb_media_id": media_id,
        "title": text(video, "Title"),
        "description": text(video, "Description"),
    })
}

fn music(music: &Fields) -> Value {
    json!({
        "title": text(music, "Title"),
        "description": text(music, "Description"),
        "musicurl": text(music, "MusicUrl"),
        "hqmusicurl": text(music, "HQMusicUrl"),
        "thumb_media_id": text(music, "ThumbMediaId"),
    })
}

fn articles(articles: &Fields) -> Vec<Value> {
    let items = articles.all("item").filter_map(Element::as_fields);
    let article = |item: &Fields| {
        json!({
            "title": text(item, "Title"),
            "description": text(item, "Description"),
            "url": text(item, "Url"),
            "picurl": text(item, "PicUrl"),
        })
    };
    items.map(article).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::message::{Article, Music, Reply};

    fn said(reply: &Reply) -> Option<Value> {
        let asked = "<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>7</CreateTime><MsgType>text</MsgType></xml>";
        let asked = Message::parse(asked.as_bytes()).expect("a message");
        let xml = reply.to_xml(&asked, asked.created).expect("a reply");
        as_custom_message(&xml, "o1").map(|text| serde_json::from_str(&text).expect("JSON"))
    }

    #[test]
    fn every_kind_of_reply_that_can_be_said_later_is() {
        assert_eq!(
            said(&Reply::Text { content: "a \"b\" 你好".to_owned() }),
            Some(json!({ "touser": "o1", "msgtype": "text", "text": { "content": "a \"b\" 你好" } }))
        );
        let image = said(&Reply::Image { media_id: "M".to_owned() }).expect("a message");
        assert_eq!((image["msgtype"].as_str(), image["image"]["media_id"].as_str()), (Some("image"), Some("M")));
        let music = Music { thumb_media_id: "M".to_owned(), hq_url: Some("http://h".to_owned()), ..Music::default() };
        let music = said(&Reply::Music(music)).expect("a message");
        assert_eq!(
            (music["music"]["thumb_media_id"].as_str(), music["music"]["hqmusicurl"].as_str()),
            (Some("M"), Some("http://h"))
        );
        let article = Article { title: "T".to_owned(), pic_url: "http://p".to_owned(), ..Article::default() };
        let news = said(&Reply::News(vec![article])).expect("a message");
        assert_eq!(news["news"]["articles"], json!([{ "title": "T", "description": "", "url": "", "picurl": "http://p" }]));
        assert_eq!(said(&Reply::TransferCustomerService { account: None }), None);
    }
}
