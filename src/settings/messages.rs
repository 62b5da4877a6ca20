//! `messages` of an app, and what its deliveries are opened with, proven into a policy.

use std::sync::Arc;

use regex::Regex;

use super::node::Node;
use super::reader::{At, did_you_mean};
use crate::message::{
    Action, Answers, ArticleTemplate, As, Forward, MessagePolicy, MusicTemplate, On, ReplyTemplate, Rule, Target, Template,
    VideoTemplate,
};
use wechat::crypt::EnvelopeKey;

const RULE: [&str; 6] = ["on", "match", "reply", "forward", "as", "late"];
const TARGET: [&str; 3] = ["url", "as", "answers"];
const REPLIES: [&str; 7] = ["text", "image", "voice", "video", "music", "news", "transfer_customer_service"];
const KINDS: &str = "\"*\", \"event\", \"event:NAME\", \"info:NAME\" or one of text, image, voice, video, shortvideo, location, link, miniprogrampage";

/// How a message is written for a back end.
const WRITTEN: [(&str, As); 2] = [("xml", As::Xml), ("json", As::Json)];

/// WeChat's three modes. Only the first lets a delivery in that nothing but its address is signed of.
const MODES: [(&str, bool); 3] = [("plain", true), ("compatible", false), ("safe", false)];

/// What the app at `at` does with its messages, if that is anything.
pub(super) fn policy(at: &At<'_>) -> Option<MessagePolicy> {
    let takes_plain = at.get("mode").and_then(|mode| mode.word(&MODES)).unwrap_or_default();
    let keys = at.get_secret("aesKey").map(|keys| self::keys(&keys)).unwrap_or_default();
    if let (Some(mode), None, false) = (at.get("mode"), at.get_secret("aesKey"), takes_plain) {
        mode.fault("needs the app's aesKey, or nothing that WeChat sends could be opened");
    }
    let answers = at.get("messages").map(|messages| answers(&messages)).unwrap_or_default();
    for name in ["aesKey", "messages"] {
        if let (Some(setting), None) = (at.get_secret(name), at.get_secret("token")) {
            setting.note("has no effect without the app's token, against which WeChat's deliveries are checked");
        }
    }
    let does_something = !keys.is_empty() || !matches!(answers, Answers::Nothing);
    does_something.then_some(MessagePolicy { keys, takes_plain, answers })
}

/// The current key and, while WeChat goes over to it, the one before.
fn keys(at: &At<'_>) -> Vec<EnvelopeKey> {
    let key = |item: &At<'_>| {
        let key = EnvelopeKey::parse(&item.secret()?);
        key.map_err(|_| item.expected_secret("the 43 letters and digits of WeChat's EncodingAESKey")).ok()
    };
    at.one_or_more().iter().filter(|item| !item.is_blank()).filter_map(key).collect()
}

fn answers(at: &At<'_>) -> Answers {
    match at.node() {
        Node::Text(text) if text == "echo" => Answers::Echo,
        Node::List(_) => Answers::Rules(rules(at)),
        _ => {
            at.expected("\"echo\", or a list of rules: [{ on: \"text\", reply: { text: \"…\" } }]");
            Answers::Nothing
        }
    }
}

fn rules(at: &At<'_>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for item in at.items().into_iter().flatten() {
        let Some(rule) = rule(&item) else { continue };
        if let Some(first) = rules.iter().position(|earlier| takes_all_of(earlier, &rule)) {
            item.note(format!("never comes to its turn: rule {} takes all that this one is for; put it behind", first + 1));
        }
        rules.push(rule);
    }
    rules
}

/// Whether nothing that `later` is for is left by `earlier`.
fn takes_all_of(earlier: &Rule, later: &Rule) -> bool {
    let is_wider = match (&earlier.on, &later.on) {
        (On::Anything, _) | (On::AnyEvent, On::Event(_)) => true,
        (one, other) => one == other,
    };
    earlier.matches.is_none() && is_wider
}

/// Messages in which there is nothing for `match` to look at.
const WORDLESS: [&str; 4] = ["image", "video", "shortvideo", "miniprogrampage"];

fn rule(at: &At<'_>) -> Option<Rule> {
    if !at.is_table(&RULE) {
        return None;
    }
    let on = at.need("on", KINDS).and_then(|on| {
        let text = on.text(KINDS)?;
        let parsed = On::parse(text);
        if parsed.is_none() {
            let known = ["text", "image", "voice", "video", "shortvideo", "location", "link", "miniprogrampage", "event", "*"];
            on.expected(&format!("{KINDS}{}", did_you_mean(text, &known)));
        }
        parsed
    });
    let matches = at.get("match").map(|matches| expression(&matches));
    if let (Some(On::Kind(kind)), Some(Some(expression)), Some(place)) = (&on, &matches, at.get("match"))
        && WORDLESS.contains(kind)
        && !expression.is_match("")
    {
        place.note(format!("never matches: a message of the kind {kind} has no words; leave `match` out"));
    }
    // A group that a faulty expression lacks would be remarked on top of its own fault.
    let expression = matches.as_ref().and_then(Option::as_ref);
    let action = match (at.get("reply"), at.get("forward")) {
        (Some(_), Some(_)) => {
            at.fault("a rule either replies or forwards: write two rules, or one of the two");
            None
        }
        (None, None) => {
            at.fault("does nothing: expected reply: { text: \"…\" } or forward: \"http://…\"");
            None
        }
        (Some(reply), None) => self::reply(&reply, expression).map(Action::Reply),
        (None, Some(forward)) => self::forward(at, &forward).map(|forward| Action::Forward(Arc::new(forward))),
    };
    let matches = match matches {
        Some(matches) => Some(matches?),
        None => None,
    };
    Some(Rule { on: on?, matches, action: action? })
}

fn expression(at: &At<'_>) -> Option<Regex> {
    let text = at.text("a regular expression such as \"^hi\"")?;
    Regex::new(text).map_err(|fault| at.expected(&format!("a regular expression: {}", last_line(&fault)))).ok()
}

/// The part of the regex crate's message that says what is wrong; the rest draws it.
fn last_line(fault: &regex::Error) -> String {
    let text = fault.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn forward(rule: &At<'_>, at: &At<'_>) -> Option<Forward> {
    let written = rule.get("as").and_then(|written| written.word(&WRITTEN)).unwrap_or_default();
    let push_late = rule.get("late").and_then(|late| late.word(&[("push", true), ("drop", false)])).unwrap_or_default();
    let is_list = matches!(at.node(), Node::List(_));
    let items = at.one_or_more();
    if items.is_empty() {
        at.expected("at least one address");
        return None;
    }
    // Of one back end the answer counts unless it says otherwise; of several, that of the one which says so.
    let targets: Vec<Option<Target>> = items.iter().map(|item| target(item, written, !is_list || items.len() == 1)).collect();
    let targets: Vec<Target> = targets.into_iter().collect::<Option<_>>()?;
    if targets.iter().filter(|target| target.answers).count() > 1 {
        at.fault("more than one back end has answers: true, but WeChat takes one answer");
        return None;
    }
    Some(Forward { targets, push_late })
}

fn target(at: &At<'_>, written: As, answers: bool) -> Option<Target> {
    if !matches!(at.node(), Node::Table(_)) {
        return Some(Target { url: backend(at)?, written, answers });
    }
    if !at.is_table(&TARGET) {
        return None;
    }
    let url = at.need("url", "the back end's address").and_then(|url| backend(&url));
    let written = at.get("as").and_then(|written| written.word(&WRITTEN)).unwrap_or(written);
    let answers = at.get("answers").and_then(|answers| answers.boolean()).unwrap_or(answers);
    Some(Target { url: url?, written, answers })
}

/// A back end's address, as it is: it may have a query of its own.
fn backend(at: &At<'_>) -> Option<url::Url> {
    const EXPECTED: &str = "a back end's full address such as \"http://backend:8080/hook\"";
    let Node::Text(text) = at.node() else {
        at.expected(EXPECTED);
        return None;
    };
    let url = text.parse::<url::Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if url.is_none() {
        // It may hold a password.
        at.expected_secret(EXPECTED);
    }
    url
}

fn reply(at: &At<'_>, expression: Option<&Regex>) -> Option<ReplyTemplate> {
    let expected = || format!("one of {}: {{ text: \"…\" }}", REPLIES.join(", "));
    if !at.is_table(&REPLIES) {
        return None;
    }
    let kinds: Vec<(&str, At<'_>)> = at.members().filter(|(name, _)| REPLIES.contains(name)).collect();
    let [(kind, content)] = kinds.as_slice() else {
        at.expected(&expected());
        return None;
    };
    let leaf = |at: &At<'_>| template(at, expression);
    let needed = |name: &'static str| content.need(name, "a text").and_then(|at| template(&at, expression));
    let optional = |name: &'static str| match content.get(name) {
        Some(at) => template(&at, expression).map(Some),
        None => Some(None),
    };
    Some(match *kind {
        "text" => ReplyTemplate::Text(leaf(content)?),
        "image" => ReplyTemplate::Image(leaf(content)?),
        "voice" => ReplyTemplate::Voice(leaf(content)?),
        "video" if content.is_table(&["mediaId", "title", "description"]) => {
            let (media_id, title, description) = (needed("mediaId"), optional("title"), optional("description"));
            ReplyTemplate::Video(VideoTemplate { media_id: media_id?, title: title?, description: description? })
        }
        "music" if content.is_table(&["title", "description", "url", "hqUrl", "thumbMediaId"]) => {
            let (title, description, url) = (optional("title"), optional("description"), optional("url"));
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
        let title = at.need("title", "a text").and_then(|title| template(&title, expression));
        let (description, pic_url, url) = (optional("description"), optional("picUrl"), optional("url"));
        Some(ArticleTemplate { title: title?, description: description?, pic_url: pic_url?, url: url? })
    };
    let articles: Vec<Option<ArticleTemplate>> = items.iter().map(article).collect();
    articles.into_iter().collect::<Option<_>>().map(ReplyTemplate::News)
}

fn template(at: &At<'_>, expression: Option<&Regex>) -> Option<Template> {
    let text = at.text("a text")?;
    Template::parse(text, expression).map_err(|fault| at.fault(format!("the text {fault}"))).ok()
}
