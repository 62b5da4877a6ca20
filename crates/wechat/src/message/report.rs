//! Event reports on messages and articles that the account sent or published.

use super::fields::{Fields, Value};

/// The delivery status of a template message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateOutcome {
    /// `success`
    Delivered,
    /// `failed:user block`: the user blocks this account's messages.
    Blocked,
    /// `failed: system failed`: an error at WeChat.
    SystemFailed,
    /// Any other status, verbatim.
    Other(String),
}

/// The result of a mass sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MassSendReport {
    /// The id from the send call.
    pub msg_id: String,
    /// `send success`, `send fail` or `err(NNNNN)`.
    pub status: String,
    /// The number of intended recipients.
    pub total: Option<u64>,
    /// The number of recipients after WeChat's filters.
    pub filtered: Option<u64>,
    /// The number of successful deliveries.
    pub sent: Option<u64>,
    /// The number of failed deliveries.
    pub failed: Option<u64>,
    /// The result of the originality check.
    pub copyright: Option<CopyrightCheck>,
    /// The addresses of the articles.
    pub articles: Vec<ArticleUrl>,
}

/// The result of the originality check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyrightCheck {
    /// The result for all of them: 1 no copies, 2 copies that may be sent, 3 copies that may not.
    pub state: Option<u32>,
    /// The result for each article, verbatim.
    pub items: Vec<Fields>,
}

/// The address of an article.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArticleUrl {
    /// The article's index, from 1.
    pub index: Option<u32>,
    /// Its address.
    pub url: String,
}

/// The result of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishReport {
    /// The id from the publish call.
    pub publish_id: String,
    /// 0 published, 1 in progress, above 1 the reason for failure.
    pub status: Option<u32>,
    /// The published article's id, if published.
    pub article_id: Option<String>,
    /// The addresses of its parts.
    pub articles: Vec<ArticleUrl>,
    /// The indexes of the rejected parts, from 1.
    pub failed: Vec<u32>,
}

/// A subscription message that a user was asked about or was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeMessage {
    /// Which kind.
    pub template_id: String,
    /// `accept` or `reject`, where the user was asked.
    pub answer: Option<String>,
    /// Where the user was asked: 1 on a page, 2 in an article.
    pub popup_scene: Option<String>,
    /// The id of a sent message.
    pub msg_id: Option<String>,
    /// The delivery status; 0 means delivered.
    pub error_code: Option<String>,
    /// The delivery status in words.
    pub error_status: Option<String>,
}

impl TemplateOutcome {
    /// The blank after the colon varies.
    pub(super) fn read(status: &str) -> Self {
        match status.to_ascii_lowercase().replace(": ", ":").trim() {
            "success" => Self::Delivered,
            "failed:user block" => Self::Blocked,
            "failed:system failed" => Self::SystemFailed,
            _ => Self::Other(status.to_owned()),
        }
    }
}

impl MassSendReport {
    pub(super) fn read(fields: &Fields) -> Self {
        let copyright = fields
            .get("CopyrightCheckResult")
            .and_then(Value::as_fields);
        let articles = fields
            .inner("ArticleUrlResult")
            .entries("ResultList", "item")
            .into_iter();
        Self {
            msg_id: fields.string("MsgID"),
            status: fields.string("Status"),
            total: fields.number("TotalCount"),
            filtered: fields.number("FilterCount"),
            sent: fields.number("SentCount"),
            failed: fields.number("ErrorCount"),
            copyright: copyright.map(|check| CopyrightCheck {
                state: check.number("CheckState"),
                items: check
                    .entries("ResultList", "item")
                    .into_iter()
                    .cloned()
                    .collect(),
            }),
            articles: articles
                .map(|item| ArticleUrl::read(item, "ArticleIdx", "ArticleUrl"))
                .collect(),
        }
    }
}

impl ArticleUrl {
    fn read(item: &Fields, index: &str, url: &str) -> Self {
        Self {
            index: item.number(index),
            url: item.string(url),
        }
    }
}

impl PublishReport {
    pub(super) fn read(info: &Fields) -> Self {
        let articles = info.inner("article_detail").inners("item");
        let failed = info
            .all("fail_idx")
            .filter_map(Value::as_text)
            .filter_map(|index| index.trim().parse().ok());
        Self {
            publish_id: info.string("publish_id"),
            status: info.number("publish_status"),
            article_id: info.optional("article_id"),
            articles: articles
                .map(|item| ArticleUrl::read(item, "idx", "article_url"))
                .collect(),
            failed: failed.collect(),
        }
    }
}

impl SubscribeMessage {
    /// Each `List` is one of them. XML has them inside `container`, JSON beside `Event`.
    pub(super) fn list(event: &Fields, container: &str) -> Vec<Self> {
        let read = |entry: &Fields| Self {
            template_id: entry.string("TemplateId"),
            answer: entry.optional("SubscribeStatusString"),
            popup_scene: entry.optional("PopupScene"),
            msg_id: entry.optional("MsgID"),
            error_code: entry.optional("ErrorCode"),
            error_status: entry.optional("ErrorStatus"),
        };
        let inside = event.entries(container, "List");
        let entries = if inside.is_empty() {
            event.inners("List").collect()
        } else {
            inside
        };
        entries.into_iter().map(read).collect()
    }
}
