//! Rules: which messages they match, and what is done with those.

use std::borrow::Cow;
use std::sync::Arc;

use regex::{Captures, Regex};

use super::template::ReplyTemplate;
use super::{Answers, MessagePolicy, Target, echo};
use wechat::message::{Body, Message, Reply};

/// The kinds of message that a rule can match. Source: WeChat, 接收普通消息.
pub(super) const KINDS: [&str; 8] = [
    "text",
    "image",
    "voice",
    "video",
    "shortvideo",
    "location",
    "link",
    "miniprogrampage",
];

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which messages it matches.
    pub on: On,
    /// An expression that must match what the user wrote, said or chose.
    pub matches: Option<Regex>,
    /// What is done with a matching message.
    pub action: Action,
}

/// A condition on the kind of message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// `*`: every message.
    Anything,
    /// `event`: any event.
    AnyEvent,
    /// `event:NAME`: that `Event`, or that `InfoType` if there is no event. Ignores case.
    Event(String),
    /// `info:NAME`: that `InfoType`. Ignores case.
    Info(String),
    /// A kind of message.
    Kind(&'static str),
}

/// What is done with a message.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a reply.
    Reply(ReplyTemplate),
    /// Forward it to back ends.
    Forward(Arc<Forward>),
}

/// Where a message is forwarded to.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The back ends; at most one of them answers WeChat.
    pub targets: Vec<Target>,
    /// Send a late answer as a customer-service message.
    pub push_late: bool,
}

impl On {
    /// Parses `*`, `event`, `event:NAME`, `info:NAME` or a kind of message.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some((kind @ ("event" | "info"), name)) = text.split_once(':') {
            let name = Some(name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
            return name.map(if kind == "event" {
                Self::Event
            } else {
                Self::Info
            });
        }
        match text {
            "*" => Some(Self::Anything),
            "event" => Some(Self::AnyEvent),
            kind => KINDS
                .iter()
                .find(|known| **known == kind)
                .map(|kind| Self::Kind(kind)),
        }
    }

    fn fits(&self, message: &Message) -> bool {
        let field = |name| message.fields.text(name).unwrap_or_default().trim();
        match self {
            Self::Anything => true,
            Self::AnyEvent => message.is_event(),
            Self::Event(name) => match &message.body {
                Body::Event(_) => field("Event").eq_ignore_ascii_case(name),
                Body::Info { name: own } => own.eq_ignore_ascii_case(name),
                _ => false,
            },
            Self::Info(name) => field("InfoType").eq_ignore_ascii_case(name),
            Self::Kind(kind) => field("MsgType").eq_ignore_ascii_case(kind),
        }
    }
}

/// What the first matching rule asks for.
pub(super) enum Wanted<'a> {
    /// `success`, or an empty body with the preset `echo`.
    Nothing,
    Silence,
    Reply(Box<Reply>),
    Forward(&'a Arc<Forward>),
}

impl MessagePolicy {
    /// Returns what to do with `message`.
    pub(super) fn wants(&self, message: &Message) -> Wanted<'_> {
        match &self.answers {
            Answers::Nothing => Wanted::Nothing,
            // A component's pushes are answered with `success`.
            Answers::Echo if !message.can_be_answered() => Wanted::Nothing,
            Answers::Echo => {
                echo::reply(message).map_or(Wanted::Silence, |reply| Wanted::Reply(Box::new(reply)))
            }
            Answers::Rules(rules) => rules
                .iter()
                .find_map(|rule| rule.wants(message))
                .unwrap_or(Wanted::Nothing),
        }
    }
}

impl Rule {
    fn wants(&self, message: &Message) -> Option<Wanted<'_>> {
        if !self.on.fits(message) {
            return None;
        }
        let subject;
        let caught: Option<Captures<'_>> = match &self.matches {
            None => None,
            Some(expression) => {
                subject = subject_of(message);
                Some(expression.captures(&subject)?)
            }
        };
        Some(match &self.action {
            Action::Reply(template) => {
                Wanted::Reply(Box::new(template.fill(message, caught.as_ref())))
            }
            Action::Forward(forward) => Wanted::Forward(forward),
        })
    }
}

/// The text that a rule's expression is matched against: what the user wrote, said or chose.
fn subject_of(message: &Message) -> Cow<'_, str> {
    match &message.body {
        Body::Text { content, .. } => content.into(),
        Body::Voice { recognition, .. } => recognition.as_deref().unwrap_or_default().into(),
        Body::Location { label, .. } => label.into(),
        Body::Link { title, .. } => title.into(),
        _ => message.fields.text("EventKey").unwrap_or_default().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::template::Template;

    fn message(inside: &str) -> Message {
        let xml = format!(
            "<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>1</CreateTime>{inside}</xml>"
        );
        Message::parse(xml.as_bytes()).expect("a message")
    }

    fn rule(on: &str, matches: Option<&str>, text: &str) -> Rule {
        let matches = matches.map(|matches| Regex::new(matches).expect("an expression"));
        let template = Template::parse(text, matches.as_ref()).expect("a template");
        Rule {
            on: On::parse(on).expect("a kind"),
            matches,
            action: Action::Reply(ReplyTemplate::Text(template)),
        }
    }

    fn answer(rules: &[Rule], inside: &str) -> Option<String> {
        let policy = MessagePolicy {
            answers: Answers::Rules(rules.to_vec()),
            ..MessagePolicy::default()
        };
        match policy.wants(&message(inside)) {
            Wanted::Reply(reply) => match *reply {
                Reply::Text { content } => Some(content),
                other => panic!("{other:?}"),
            },
            _ => None,
        }
    }

    #[test]
    fn the_first_matching_rule_answers() {
        let rules = [
            rule("text", Some("^hi (\\w+)"), "hello {1}"),
            rule("event:subscribe", None, "Welcome!"),
            rule("event:click", Some("^menu_(.*)"), "menu {1}"),
            rule("event", None, "event {event}"),
            rule("voice", Some("开灯"), "on"),
            rule("image", None, "{pic_url}"),
            rule("*", Some("^$"), "nothing to look at"),
            rule("*", None, "rest"),
        ];
        let text = |content: &str| format!("<MsgType>text</MsgType><Content>{content}</Content>");
        let event = |name: &str, key: &str| {
            format!("<MsgType>event</MsgType><Event>{name}</Event><EventKey>{key}</EventKey>")
        };
        assert_eq!(
            answer(&rules, &text("hi Bob and others")).as_deref(),
            Some("hello Bob")
        );
        assert_eq!(answer(&rules, &text("oh hi Bob")).as_deref(), Some("rest"));
        assert_eq!(
            answer(&rules, &event("SUBSCRIBE", "")).as_deref(),
            Some("Welcome!")
        );
        assert_eq!(
            answer(&rules, &event("CLICK", "menu_a")).as_deref(),
            Some("menu a")
        );
        assert_eq!(
            answer(&rules, &event("CLICK", "other")).as_deref(),
            Some("event CLICK")
        );
        assert_eq!(
            answer(
                &rules,
                "<MsgType>voice</MsgType><Recognition>请开灯</Recognition>"
            )
            .as_deref(),
            Some("on")
        );
        assert_eq!(
            answer(
                &rules,
                "<MsgType>image</MsgType><PicUrl>http://p/1</PicUrl>"
            )
            .as_deref(),
            Some("http://p/1")
        );
        assert_eq!(
            answer(&rules, "<MsgType>video</MsgType>").as_deref(),
            Some("nothing to look at")
        );
        assert_eq!(
            answer(&rules, "<MsgType>brand_new</MsgType><EventKey>k</EventKey>").as_deref(),
            Some("rest")
        );
        assert_eq!(answer(&rules[..1], &text("bye")), None);
    }

    #[test]
    fn a_push_without_a_type_is_matched_by_its_info_type() {
        let fits = |on: &str, body: &str| {
            On::parse(on)
                .expect("a kind")
                .fits(&Message::parse(body.as_bytes()).expect("a message"))
        };
        let ticket = "<xml><AppId>wx1</AppId><InfoType>component_verify_ticket</InfoType></xml>";
        let paid = r#"{"Event":"xpay_goods_deliver_notify","OutTradeNo":"1"}"#;
        for on in [
            "*",
            "event",
            "event:Component_verify_ticket",
            "info:component_verify_ticket",
        ] {
            assert!(fits(on, ticket), "{on}");
        }
        for on in ["*", "event", "event:xpay_goods_deliver_notify"] {
            assert!(fits(on, paid), "{on}");
        }
        for (on, body) in [
            ("info:component_verify_ticket", paid),
            ("info:unauthorized", ticket),
            ("event:unauthorized", ticket),
            ("text", ticket),
            ("event", r#"{"AppId":"wx1"}"#),
        ] {
            assert!(!fits(on, body), "{on} {body}");
        }
        assert!(fits("*", r#"{"AppId":"wx1"}"#));
    }

    #[test]
    fn a_kind_is_one_of_wechats() {
        assert_eq!(
            On::parse("event:Subscribe"),
            Some(On::Event("subscribe".to_owned()))
        );
        assert_eq!(
            On::parse("info:Component_Verify_Ticket"),
            Some(On::Info("component_verify_ticket".to_owned()))
        );
        for wrong in ["", "txt", "event:", "info:", "info", "Text", "**"] {
            assert_eq!(On::parse(wrong), None, "{wrong}");
        }
    }
}
