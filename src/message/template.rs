//! Texts with placeholders: `Hello {content}`. A placeholder is a field of the message, in its own
//! or another spelling (`{trace_id}`, `{event_key}`, `{ScanCodeInfo.ScanResult}`), or a group of
//! the rule's expression (`{1}`, `{name}`).

use regex::{Captures, Regex};

use wechat::message::{Article, Message, Music, Reply};

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A field of the message, by its path.
    Field(String),
    /// A group of the rule's expression.
    Group(usize),
}

/// Why a text is not a valid template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// An unmatched brace.
    #[error("has an unmatched brace; write {{{{ or }}}} for a literal brace")]
    Unbalanced,
    /// An empty placeholder, or one with a character that no field name has.
    #[error("has a placeholder {{{0}}} that is not a field name")]
    NoName(String),
    /// A group number that the rule's expression does not have.
    #[error("has a placeholder {{{0}}}, but the rule's match has no such group")]
    NoGroup(usize),
}

/// Short names for fields. A field with exactly that name wins.
const ALIASES: [(&str, &str); 4] = [
    ("from", "FromUserName"),
    ("to", "ToUserName"),
    ("type", "MsgType"),
    ("time", "CreateTime"),
];

impl Template {
    /// Parses `text`. Its placeholders may refer to groups of `expression`.
    pub fn parse(text: &str, expression: Option<&Regex>) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..at + 1];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let (name, after) = rest
                .split_once('}')
                .filter(|_| brace == "{")
                .ok_or(TemplateError::Unbalanced)?;
            pieces.extend(
                Some(std::mem::take(&mut plain))
                    .filter(|text| !text.is_empty())
                    .map(Piece::Text),
            );
            pieces.push(Piece::place(name, expression)?);
            rest = after;
        }
        plain.push_str(rest);
        pieces.extend(Some(plain).filter(|text| !text.is_empty()).map(Piece::Text));
        Ok(Self(pieces))
    }

    /// Returns the text with its placeholders replaced. A missing field is replaced by nothing.
    pub fn fill(&self, message: &Message, caught: Option<&Captures<'_>>) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            text.push_str(match piece {
                Piece::Text(plain) => plain,
                Piece::Field(path) => field(message, path).unwrap_or_default(),
                Piece::Group(number) => caught
                    .and_then(|caught| caught.get(*number))
                    .map_or("", |group| group.as_str()),
            });
        }
        text
    }
}

impl Piece {
    fn place(name: &str, expression: Option<&Regex>) -> Result<Self, TemplateError> {
        let name = name.trim();
        if let Ok(number) = name.parse::<usize>() {
            let known = expression.is_some_and(|expression| number < expression.captures_len());
            return if known {
                Ok(Self::Group(number))
            } else {
                Err(TemplateError::NoGroup(number))
            };
        }
        let group = expression.and_then(|expression| {
            expression
                .capture_names()
                .position(|group| group == Some(name))
        });
        if let Some(number) = group {
            return Ok(Self::Group(number));
        }
        let is_path = !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | ':'));
        if !is_path {
            return Err(TemplateError::NoName(name.to_owned()));
        }
        Ok(Self::Field(name.to_owned()))
    }
}

/// Returns the field called `name`.
fn field<'m>(message: &'m Message, name: &str) -> Option<&'m str> {
    let alias = ALIASES
        .iter()
        .find(|(alias, _)| name.eq_ignore_ascii_case(alias));
    let aliased = || message.fields.text(alias?.1);
    message
        .fields
        .text(name)
        .or_else(aliased)
        .or_else(|| message.fields.lookup(name))
}

/// A reply with placeholders in its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyTemplate {
    /// A text.
    Text(Template),
    /// A picture, by its media id.
    Image(Template),
    /// A recording, by its media id.
    Voice(Template),
    /// A video.
    Video(VideoTemplate),
    /// A piece of music.
    Music(MusicTemplate),
    /// Articles.
    News(Vec<ArticleTemplate>),
    /// The account's staff, or one of them.
    TransferCustomerService(Option<Template>),
}

/// A video, by its media id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTemplate {
    /// The media id.
    pub media_id: Template,
    /// Its title.
    pub title: Option<Template>,
    /// The description.
    pub description: Option<Template>,
}

/// A piece of music.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MusicTemplate {
    /// Its title.
    pub title: Option<Template>,
    /// The description.
    pub description: Option<Template>,
    /// The URL of the music.
    pub url: Option<Template>,
    /// The URL of the music in higher quality.
    pub hq_url: Option<Template>,
    /// The media id of its thumbnail.
    pub thumb_media_id: Template,
}

/// An article.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArticleTemplate {
    /// Its title.
    pub title: Template,
    /// The description.
    pub description: Option<Template>,
    /// The URL of its picture.
    pub pic_url: Option<Template>,
    /// The URL of the article.
    pub url: Option<Template>,
}

impl ReplyTemplate {
    /// Returns the reply to `message`.
    pub fn fill(&self, message: &Message, caught: Option<&Captures<'_>>) -> Reply {
        let fill = |template: &Template| template.fill(message, caught);
        let optional = |template: &Option<Template>| template.as_ref().map(fill);
        match self {
            Self::Text(content) => Reply::Text {
                content: fill(content),
            },
            Self::Image(media_id) => Reply::Image {
                media_id: fill(media_id),
            },
            Self::Voice(media_id) => Reply::Voice {
                media_id: fill(media_id),
            },
            Self::Video(video) => Reply::Video {
                media_id: fill(&video.media_id),
                title: optional(&video.title),
                description: optional(&video.description),
            },
            Self::Music(music) => Reply::Music(Music {
                title: optional(&music.title),
                description: optional(&music.description),
                url: optional(&music.url),
                hq_url: optional(&music.hq_url),
                thumb_media_id: fill(&music.thumb_media_id),
            }),
            Self::News(articles) => Reply::News(
                articles
                    .iter()
                    .map(|article| Article {
                        title: fill(&article.title),
                        description: optional(&article.description).unwrap_or_default(),
                        pic_url: optional(&article.pic_url).unwrap_or_default(),
                        url: optional(&article.url).unwrap_or_default(),
                    })
                    .collect(),
            ),
            Self::TransferCustomerService(account) => Reply::TransferCustomerService {
                account: optional(account),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let xml = "<xml><ToUserName>gh_1</ToUserName><FromUserName>oUser</FromUserName><CreateTime>1</CreateTime><MsgType>event</MsgType>\
                   <Event>scancode_push</Event><EventKey>key 1</EventKey><Location_X>1.5</Location_X>\
                   <ScanCodeInfo><ScanResult>result</ScanResult></ScanCodeInfo><Content>{1} 你好</Content><debug_str>d</debug_str>\
                   <order_info><order_id>o</order_id></order_info><pay><id>A</id></pay><pay><id>B</id></pay></xml>";
        Message::parse(xml.as_bytes()).expect("a message")
    }

    fn fill(text: &str) -> String {
        Template::parse(text, None)
            .expect("a template")
            .fill(&message(), None)
    }

    #[test]
    fn placeholders_are_fields_in_any_spelling() {
        assert_eq!(
            fill("{from} {to} {type} {event}"),
            "oUser gh_1 event scancode_push"
        );
        assert_eq!(
            fill("{event_key} {EventKey} {EVENTKEY} { event_key }"),
            "key 1 key 1 key 1 key 1"
        );
        assert_eq!(
            fill("{ScanCodeInfo.ScanResult} {scan_code_info.scan_result} {location_x}"),
            "result result 1.5"
        );
        assert_eq!(
            fill("{debug_str} {DebugStr} {order_info.order_id} {pay.0.id} {pay.1.id} {pay.id}"),
            "d d o A B A"
        );
        assert_eq!(
            fill("[{absent}] {{content}} {content}"),
            "[] {content} {1} 你好",
            "what a user wrote is filled in, not read"
        );
    }

    #[test]
    fn placeholders_are_groups_of_the_expression() {
        let expression = Regex::new("^(?P<word>\\w+) (\\d+)(x)?").expect("an expression");
        let caught = expression.captures("hello 42");
        let template =
            Template::parse("{0}|{1}|{word}|{2}|{3}", Some(&expression)).expect("a template");
        assert_eq!(
            template.fill(&message(), caught.as_ref()),
            "hello 42|hello|hello|42|"
        );
        assert_eq!(
            Template::parse("{4}", Some(&expression)),
            Err(TemplateError::NoGroup(4))
        );
        assert_eq!(Template::parse("{0}", None), Err(TemplateError::NoGroup(0)));
    }

    #[test]
    fn a_faulty_template_says_what_is_wrong() {
        for text in ["{", "}", "a { b", "a } b", "{{}", "{content"] {
            assert_eq!(
                Template::parse(text, None),
                Err(TemplateError::Unbalanced),
                "{text}"
            );
        }
        for text in ["{}", "{ }", "{a b}", "{a$}"] {
            assert!(
                matches!(Template::parse(text, None), Err(TemplateError::NoName(_))),
                "{text}"
            );
        }
    }
}
