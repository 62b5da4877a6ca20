//! What WeChat tells an account, in events, about what the account has sent or published.

use super::fields::{Fields, Value};

/// What became of a template message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateOutcome {
    /// `success`
    Delivered,
    /// `failed:user block`: the user takes none from this account.
    Blocked,
    /// `failed: system failed`: for a reason of WeChat's own.
    SystemFailed,
    /// Any other status, as it came.
    Other(String),
}

/// What became of a mass sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MassSendReport {
    /// The number that sending it gave.
    pub msg_id: String,
    /// `send success`, `send fail` or `err(NNNNN)`.
    pub status: String,
    /// How many were to receive it.
    pub total: Option<u64>,
    /// How many of those were left after WeChat's own filters.
    pub filtered: Option<u64>,
    /// How many have received it.
    pub sent: Option<u64>,
    /// How many have not.
    pub failed: Option<u64>,
    /// What the check for copies of others' articles found.
    pub copyright: Option<CopyrightCheck>,
    /// Where the articles are now.
    pub articles: Vec<ArticleUrl>,
}

/// What the check for copies of others' articles found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyrightCheck {
    /// The result for all of them: 1 no copies, 2 copies that may be sent, 3 copies that may not.
    pub state: Option<u32>,
    /// The result for each, as it came.
    pub items: Vec<Fields>,
}

/// Where an article is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArticleUrl {
    /// Which of the articles, from 1.
    pub index: Option<u32>,
    /// Its address.
    pub url: String,
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishReport {
    /// The number that publishing it gave.
    pub publish_id: String,
    /// 0 published, 1 under way, above that the reason why not.
    pub status: Option<u32>,
    /// The published article, where it was.
    pub article_id: Option<String>,
    /// Where its parts are.
    pub articles: Vec<ArticleUrl>,
    /// Which parts were not accepted, from 1.
    pub failed: Vec<u32>,
}

/// One kind of message that a user was asked about or was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeMessage {
    /// Which kind.
    pub template_id: String,
    /// `accept` or `reject`, where the user was asked.
    pub answer: Option<String>,
    /// Where they were asked: 1 on a page, 2 in an article.
    pub popup_scene: Option<String>,
    /// The number of a message that was sent.
    pub msg_id: Option<String>,
    /// What became of it: 0 for delivered.
    pub error_code: Option<String>,
    /// The same in words.
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
        let copyright = fields.get("CopyrightCheckResult").and_then(Value::as_fields);
        let articles = fields.inner("ArticleUrlResult").entries("ResultList", "item").into_iter();
        Self {
            msg_id: fields.string("MsgID"),
            status: fields.string("Status"),
            total: fields.number("TotalCount"),
            filtered: fields.number("FilterCount"),
            sent: fields.number("SentCount"),
            failed: fields.number("ErrorCount"),
            copyright: copyright.map(|check| CopyrightCheck {
                state: check.number("CheckState"),
                items: check.entries("ResultList", "item").into_iter().cloned().collect(),
            }),
            articles: articles.map(|item| ArticleUrl::read(item, "ArticleIdx", "ArticleUrl")).collect(),
        }
    }
}

impl ArticleUrl {
    fn read(item: &Fields, index: &str, url: &str) -> Self {
        Self { index: item.number(index), url: item.string(url) }
    }
}

impl PublishReport {
    pub(super) fn read(info: &Fields) -> Self {
        let articles = info.inner("article_detail").inners("item");
        let failed = info.all("fail_idx").filter_map(Value::as_text).filter_map(|index| index.trim().parse().ok());
        Self {
            publish_id: info.string("publish_id"),
            status: info.number("publish_status"),
            article_id: info.optional("article_id"),
            articles: articles.map(|item| ArticleUrl::read(item, "idx", "article_url")).collect(),
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
        let entries = if inside.is_empty() { event.inners("List").collect() } else { inside };
        entries.into_iter().map(read).collect()
    }
}
