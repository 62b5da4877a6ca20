//! Reads the `reply` of a message rule.

use regex::Regex;

use super::node::Node;
use super::reader::At;
use crate::message::{ArticleTemplate, MusicTemplate, ReplyTemplate, Template, VideoTemplate};

const REPLIES: [&str; 7] = [
    "text",
    "image",
    "voice",
    "video",
    "music",
    "news",
    "transfer_customer_service",
];

/// The reply of one rule; `expression` is the rule's `match`, whose groups the reply may use.
pub(super) fn reply(at: &At<'_>, expression: Option<&Regex>) -> Option<ReplyTemplate> {
    let expected = || format!("one of {}: {{ text: \"…\" }}", REPLIES.join(", "));
    if !at.is_table(&REPLIES) {
        return None;
    }
    let kinds: Vec<(&str, At<'_>)> = at
        .members()
        .filter(|(name, _)| REPLIES.contains(name))
        .collect();
    let [(kind, content)] = kinds.as_slice() else {
        at.expected(&expected());
        return None;
    };
    let leaf = |at: &At<'_>| template(at, expression);
    let needed = |name: &'static str| {
        content
            .need(name, "a text")
            .and_then(|at| template(&at, expression))
    };
    let optional = |name: &'static str| match content.get(name) {
        Some(at) => template(&at, expression).map(Some),
        None => Some(None),
    };
    Some(match *kind {
        "text" => ReplyTemplate::Text(leaf(content)?),
        "image" => ReplyTemplate::Image(leaf(content)?),
        "voice" => ReplyTemplate::Voice(leaf(content)?),
        "video" if content.is_table(&["mediaId", "title", "description"]) => {
            let (media_id, title, description) = (
                needed("mediaId"),
                optional("title"),
                optional("description"),
            );
            ReplyTemplate::Video(VideoTemplate {
                media_id: media_id?,
                title: title?,
                description: description?,
            })
        }
        "music" if content.is_table(&["title", "description", "url", "hqUrl", "thumbMediaId"]) => {
            let (title, description, url) =
                (optional("title"), optional("description"), optional("url"));
            let (hq_url, thumb_media_id) = (optional("hqUrl"), needed("thumbMediaId"));
            ReplyTemplate::Music(MusicTemplate {
                title: title?,
                description: description?,
                url: url?,
                hq_url: hq_url?,
                thumb_media_id: thumb_media_id?,
            })
        }
        "news" => news(content, expression)?,
        "transfer_customer_service" => match content.node() {
            Node::Bool(true) => ReplyTemplate::TransferCustomerService(None),
            _ => ReplyTemplate::TransferCustomerService(Some(leaf(content)?)),
        },
        _ => return None,
    })
}

/// WeChat shows up to eight articles. Source: 回复图文消息.
const ARTICLES: std::ops::RangeInclusive<usize> = 1..=8;

fn news(at: &At<'_>, expression: Option<&Regex>) -> Option<ReplyTemplate> {
    let items = at.one_or_more();
    if !ARTICLES.contains(&items.len()) {
        at.expected("one to eight articles: [{ title: \"…\", url: \"https://…\" }]");
        return None;
    }
    let article = |at: &At<'_>| {
        if !at.is_table(&["title", "description", "picUrl", "url"]) {
            return None;
        }
        let optional = |name: &'static str| match at.get(name) {
            Some(at) => template(&at, expression).map(Some),
            None => Some(None),
        };
        let title = at
            .need("title", "a text")
            .and_then(|title| template(&title, expression));
        let (description, pic_url, url) =
            (optional("description"), optional("picUrl"), optional("url"));
        Some(ArticleTemplate {
            title: title?,
            description: description?,
            pic_url: pic_url?,
            url: url?,
        })
    };
    let articles: Vec<Option<ArticleTemplate>> = items.iter().map(article).collect();
    articles
        .into_iter()
        .collect::<Option<_>>()
        .map(ReplyTemplate::News)
}

fn template(at: &At<'_>, expression: Option<&Regex>) -> Option<Template> {
    let text = at.text("a text")?;
    Template::parse(text, expression)
        .map_err(|fault| at.fault(format!("the text {fault}")))
        .ok()
}
