//! Reads an app's `messages`, `aesKey` and `mode` into a message policy.

use std::sync::Arc;

use regex::Regex;

use super::node::Node;
use super::reader::{At, did_you_mean};
use super::replies;
use crate::message::{Action, Answers, As, Forward, MessagePolicy, On, Rule, Target};
use wechat::crypt::EnvelopeKey;

const RULE: [&str; 6] = ["on", "match", "reply", "forward", "as", "late"];
const TARGET: [&str; 3] = ["url", "as", "answers"];
const KINDS: &str = "\"*\", \"event\", \"event:NAME\", \"info:NAME\" or one of text, image, voice, video, shortvideo, location, link, miniprogrampage";

/// The formats in which a message is forwarded.
const WRITTEN: [(&str, As); 2] = [("xml", As::Xml), ("json", As::Json)];

/// WeChat's three modes, and whether each accepts a delivery whose body is not encrypted. The
/// signature does not cover such a body.
const MODES: [(&str, bool); 3] = [("plain", true), ("compatible", false), ("safe", false)];

/// The message policy of the app at `at`; `None` if none is set.
pub(super) fn policy(at: &At<'_>) -> Option<MessagePolicy> {
    let takes_plain = at
        .get("mode")
        .and_then(|mode| mode.word(&MODES))
        .unwrap_or_default();
    let keys = at
        .get_secret("aesKey")
        .map(|keys| self::keys(&keys))
        .unwrap_or_default();
    if let (Some(mode), None, false) = (at.get("mode"), at.get_secret("aesKey"), takes_plain) {
        mode.fault(
            "needs the app's aesKey; add it, because no delivery can be decrypted without it",
        );
    }
    let answers = at
        .get("messages")
        .map(|messages| answers(&messages))
        .unwrap_or_default();
    for name in ["aesKey", "messages"] {
        if let (Some(setting), None) = (at.get_secret(name), at.get_secret("token")) {
            setting
                .note("has no effect without the app's token, which verifies WeChat's deliveries");
        }
    }
    let does_something = !keys.is_empty() || !matches!(answers, Answers::Nothing);
    does_something.then_some(MessagePolicy {
        keys,
        takes_plain,
        answers,
    })
}

/// The current key and, while WeChat changes to it, the previous one.
fn keys(at: &At<'_>) -> Vec<EnvelopeKey> {
    let key = |item: &At<'_>| {
        let key = EnvelopeKey::parse(&item.secret()?);
        key.map_err(|_| {
            item.expected_secret("the 43 letters and digits of WeChat's EncodingAESKey")
        })
        .ok()
    };
    at.one_or_more()
        .iter()
        .filter(|item| !item.is_blank())
        .filter_map(key)
        .collect()
}

fn answers(at: &At<'_>) -> Answers {
    match at.node() {
        Node::Text("echo") => Answers::Echo,
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
        if let Some(first) = rules.iter().position(|earlier| covers(earlier, &rule)) {
            item.note(format!(
                "never applies, because rule {} matches every message that this one matches; put this one before it",
                first + 1
            ));
        }
        rules.push(rule);
    }
    rules
}

/// Whether `earlier` matches every message that `later` matches.
fn covers(earlier: &Rule, later: &Rule) -> bool {
    let is_wider = match (&earlier.on, &later.on) {
        (On::Anything, _) | (On::AnyEvent, On::Event(_)) => true,
        (one, other) => one == other,
    };
    earlier.matches.is_none() && is_wider
}

/// The kinds of messages without text, which `match` cannot match.
const WORDLESS: [&str; 4] = ["image", "video", "shortvideo", "miniprogrampage"];

fn rule(at: &At<'_>) -> Option<Rule> {
    if !at.is_table(&RULE) {
        return None;
    }
    let on = at.need("on", KINDS).and_then(|on| {
        let text = on.text(KINDS)?;
        let parsed = On::parse(text);
        if parsed.is_none() {
            let known = [
                "text",
                "image",
                "voice",
                "video",
                "shortvideo",
                "location",
                "link",
                "miniprogrampage",
                "event",
                "*",
            ];
            on.expected(&format!("{KINDS}{}", did_you_mean(text, &known)));
        }
        parsed
    });
    let matches = at.get("match").map(|matches| expression(&matches));
    if let (Some(On::Kind(kind)), Some(Some(expression)), Some(place)) =
        (&on, &matches, at.get("match"))
        && WORDLESS.contains(kind)
        && !expression.is_match("")
    {
        place.note(format!(
            "never matches: {kind} messages have no text; remove `match`"
        ));
    }
    // With a faulty expression the groups that a reply names are not checked, so that there is one
    // fault, not two.
    let expression = matches.as_ref().and_then(Option::as_ref);
    let action = match (at.get("reply"), at.get("forward")) {
        (Some(_), Some(_)) => {
            at.fault("a rule has either reply or forward; remove one, or write two rules");
            None
        }
        (None, None) => {
            at.fault("does nothing: expected reply: { text: \"…\" } or forward: \"http://…\"");
            None
        }
        (Some(reply), None) => replies::reply(&reply, expression).map(Action::Reply),
        (None, Some(forward)) => {
            self::forward(at, &forward).map(|forward| Action::Forward(Arc::new(forward)))
        }
    };
    let matches = match matches {
        Some(matches) => Some(matches?),
        None => None,
    };
    Some(Rule {
        on: on?,
        matches,
        action: action?,
    })
}

fn expression(at: &At<'_>) -> Option<Regex> {
    let text = at.text("a regular expression such as \"^hi\"")?;
    Regex::new(text)
        .map_err(|fault| at.expected(&format!("a regular expression: {}", last_line(&fault))))
        .ok()
}

/// The last line of the regex crate's message: the reason. The lines before it draw the place.
fn last_line(fault: &regex::Error) -> String {
    let text = fault.to_string();
    text.lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned()
}

fn forward(rule: &At<'_>, at: &At<'_>) -> Option<Forward> {
    let written = rule
        .get("as")
        .and_then(|written| written.word(&WRITTEN))
        .unwrap_or_default();
    let push_late = rule
        .get("late")
        .and_then(|late| late.word(&[("push", true), ("drop", false)]))
        .unwrap_or_default();
    let is_list = matches!(at.node(), Node::List(_));
    let items = at.one_or_more();
    if items.is_empty() {
        at.expected("at least one address");
        return None;
    }
    // A single back end answers WeChat by default; among several, the one with `answers: true`
    // does.
    let targets: Vec<Option<Target>> = items
        .iter()
        .map(|item| target(item, written, !is_list || items.len() == 1))
        .collect();
    let targets: Vec<Target> = targets.into_iter().collect::<Option<_>>()?;
    if targets.iter().filter(|target| target.answers).count() > 1 {
        at.fault("more than one back end has answers: true, but WeChat accepts one answer; remove it from the others");
        return None;
    }
    Some(Forward { targets, push_late })
}

fn target(at: &At<'_>, written: As, answers: bool) -> Option<Target> {
    if !matches!(at.node(), Node::Table(_)) {
        return Some(Target {
            url: backend(at)?,
            written,
            answers,
        });
    }
    if !at.is_table(&TARGET) {
        return None;
    }
    let url = at
        .need("url", "the back end's address")
        .and_then(|url| backend(&url));
    let written = at
        .get("as")
        .and_then(|written| written.word(&WRITTEN))
        .unwrap_or(written);
    let answers = at
        .get("answers")
        .and_then(|answers| answers.boolean())
        .unwrap_or(answers);
    Some(Target {
        url: url?,
        written,
        answers,
    })
}

/// A back end's address, unchanged; it may have a query.
fn backend(at: &At<'_>) -> Option<url::Url> {
    const EXPECTED: &str = "a back end's full address such as \"http://backend:8080/hook\"";
    let Node::Text(text) = at.node() else {
        at.expected(EXPECTED);
        return None;
    };
    let url = text
        .parse::<url::Url>()
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if url.is_none() {
        // It may hold a password.
        at.expected_secret(EXPECTED);
    }
    url
}
