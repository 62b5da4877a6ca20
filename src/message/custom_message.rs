//! Converts a back end's late answer into a customer-service message with the same content.

use serde_json::{Value, json};

use wechat::message::{Article, Reply};

/// Returns the JSON of a customer-service message to `to_user` with the content of `reply`; `None`
/// if no such message exists for that kind of reply. Source: 客服接口-发消息.
pub(super) fn from_reply(reply: &Reply, to_user: &str) -> Option<String> {
    let (kind, content) = match reply {
        Reply::Text { content } => ("text", json!({ "content": content })),
        Reply::Image { media_id } => ("image", json!({ "media_id": media_id })),
        Reply::Voice { media_id } => ("voice", json!({ "media_id": media_id })),
        Reply::Video {
            media_id,
            title,
            description,
        } => (
            "video",
            json!({
                "media_id": media_id,
                // WeChat requires a thumbnail's media id here. A reply has none, so the video's own
                // id is sent.
                "thumb_media_id": media_id,
                "title": title.as_deref().unwrap_or_default(),
                "description": description.as_deref().unwrap_or_default(),
            }),
        ),
        Reply::Music(music) => (
            "music",
            json!({
                "title": music.title.as_deref().unwrap_or_default(),
                "description": music.description.as_deref().unwrap_or_default(),
                "musicurl": music.url.as_deref().unwrap_or_default(),
                "hqmusicurl": music.hq_url.as_deref().unwrap_or_default(),
                "thumb_media_id": music.thumb_media_id,
            }),
        ),
        // More than one article fails with errcode 45008 here.
        Reply::News(articles) => (
            "news",
            json!({ "articles": articles.iter().take(1).map(article).collect::<Vec<_>>() }),
        ),
        _ => return None,
    };
    Some(json!({ "touser": to_user, "msgtype": kind, kind: content }).to_string())
}

fn article(article: &Article) -> Value {
    let Article {
        title,
        description,
        pic_url,
        url,
    } = article;
    json!({ "title": title, "description": description, "url": url, "picurl": pic_url })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wechat::message::Music;

    fn said(reply: &Reply) -> Option<Value> {
        from_reply(reply, "o1").map(|text| serde_json::from_str(&text).expect("JSON"))
    }

    #[test]
    fn every_possible_kind_of_reply_is_converted() {
        assert_eq!(
            said(&Reply::Text {
                content: "a \"b\" 你好".to_owned()
            }),
            Some(
                json!({ "touser": "o1", "msgtype": "text", "text": { "content": "a \"b\" 你好" } })
            )
        );
        let image = said(&Reply::Image {
            media_id: "M".to_owned(),
        })
        .expect("a message");
        assert_eq!(
            (
                image["msgtype"].as_str(),
                image["image"]["media_id"].as_str()
            ),
            (Some("image"), Some("M"))
        );
        let music = Music {
            thumb_media_id: "M".to_owned(),
            hq_url: Some("http://h".to_owned()),
            ..Music::default()
        };
        let music = said(&Reply::Music(music)).expect("a message");
        assert_eq!(
            (
                music["music"]["thumb_media_id"].as_str(),
                music["music"]["hqmusicurl"].as_str()
            ),
            (Some("M"), Some("http://h"))
        );
        let article = Article {
            title: "T".to_owned(),
            pic_url: "http://p".to_owned(),
            ..Article::default()
        };
        let news = said(&Reply::News(vec![article.clone(), article])).expect("a message");
        assert_eq!(
            news["news"]["articles"],
            json!([{ "title": "T", "description": "", "url": "", "picurl": "http://p" }])
        );
        assert_eq!(
            said(&Reply::TransferCustomerService { account: None }),
            None
        );
    }
}
