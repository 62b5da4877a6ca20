//! Reads `cors`. Accepts the usual ways to write an origin; a pattern that matches no origin is a
//! fault that says what to write instead.

use std::borrow::Cow;
use std::collections::HashSet;

use regex_automata::Anchored;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use url::Url;

use super::reader::At;
use crate::origin::OriginPolicy;

const EXPECTED: &str = "a regular expression such as \"example\\\\.com\"";

/// Matches every origin that browsers send; they leave default ports out.
const ORIGIN: &str = r"^[a-z][a-z0-9+.-]*://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(?:[0-9]|[0-79][0-9]|8[1-9]|[0-35-9][0-9]{2}|4[0-35-9][0-9]|44[0-24-9]|[0-9]{4,5}))?$";

/// The largest automaton in bytes; a pattern that needs more is not checked.
const LARGEST: usize = 1 << 20;

/// How many pairs of states are compared for one pattern.
const MAX_PAIRS: usize = 50_000;

/// How many patterns are checked with automata; others pass.
const MAX_PATTERNS: usize = 32;

pub(super) fn origins(root: &At<'_>) -> Option<OriginPolicy> {
    let cors = root.get("cors")?;
    let items = cors.one_or_more();
    let (mut patterns, mut places, mut whole) = (Vec::new(), Vec::new(), true);
    let mut reach = Reach {
        origin: automaton(ORIGIN),
        left: MAX_PATTERNS,
    };
    for item in &items {
        let entries = item.text(EXPECTED).map(entries).unwrap_or_default();
        if entries.is_empty() {
            // An empty list would allow every origin.
            whole = false;
            if matches!(item.node(), super::node::Node::Text(text) if !text.is_empty()) {
                item.expected(EXPECTED);
            }
        }
        for entry in entries {
            match understood(&entry) {
                Ok(pattern) => {
                    if !reach.has(&pattern) {
                        unreachable(item, &pattern);
                    }
                    patterns.push(pattern.into_owned());
                    places.push(item);
                }
                Err(cure) => {
                    item.expected(&format!("a regular expression: {cure}"));
                    whole = false;
                }
            }
        }
    }
    match OriginPolicy::new(&patterns) {
        Ok(policy) => whole.then_some(policy),
        Err(faults) => {
            for (index, fault) in faults {
                places[index].expected(&format!("a regular expression: {fault}"));
            }
            None
        }
    }
}

/// Splits a text with several patterns. Origins have no commas or spaces, so outside of brackets
/// these separate patterns.
fn entries(text: &str) -> Vec<String> {
    let is_spaced = text.contains("(?") && text.contains('x');
    let (mut entries, mut entry, mut depth, mut escaped) =
        (Vec::new(), String::new(), 0_usize, false);
    for c in text.trim().chars() {
        let separates = c == ',' || (c.is_whitespace() && !is_spaced);
        if separates && depth == 0 && !escaped {
            entries.push(std::mem::take(&mut entry));
            continue;
        }
        match c {
            '(' | '[' | '{' if !escaped => depth += 1,
            ')' | ']' | '}' if !escaped => depth = depth.saturating_sub(1),
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        entry.push(c);
    }
    entries.push(entry);
    entries
        .into_iter()
        .map(|entry| entry.trim().to_owned())
        .filter(|entry| !entry.is_empty())
        .collect()
}

/// Returns the pattern of `entry`, or advice on what to write instead.
fn understood(entry: &str) -> Result<Cow<'_, str>, String> {
    if entry == "*" {
        return Ok(entry.into());
    }
    if entry.trim_matches(['^', '$']) == "null" {
        return Err("pages without an origin all send null, so one cannot be allowed alone; write \"*\" to allow every page".to_owned());
    }
    if let Some(rest) = entry.strip_prefix("*.") {
        return Err(format!(
            "for a host and everything below it write {}",
            quoted(&escaped(rest))
        ));
    }
    if let Some((scheme, rest)) = entry.split_once("//*") {
        let scheme = scheme.trim_start_matches('^');
        let host = rest.trim_start_matches("\\.").trim_start_matches('.');
        let pattern = format!("^{scheme}//[a-z0-9-]+\\.{}$", escaped(host));
        return Err(match host {
            "" => format!("for every host write {}", quoted(&format!("^{scheme}//.*"))),
            _ => format!("for any one label before a host write {}", quoted(&pattern)),
        });
    }
    let mut pattern = Cow::Borrowed(entry);
    // Browsers send neither a trailing slash nor the scheme's default port.
    let (body, end) = entry
        .strip_suffix('$')
        .map_or((entry, ""), |body| (body, "$"));
    let plain = body.trim_end_matches('/').trim_end_matches('\\');
    let plain = if body.ends_with('/') { plain } else { body };
    let scheme = plain.trim_start_matches('^').to_ascii_lowercase();
    let own = [("https://", ":443"), ("http://", ":80")]
        .iter()
        .find(|(begin, _)| scheme.starts_with(begin));
    let plain = own
        .and_then(|(_, port)| plain.strip_suffix(port))
        .unwrap_or(plain);
    if plain != body {
        pattern = Cow::Owned(format!("{plain}{end}"));
    }
    if pattern.is_ascii() {
        Ok(pattern)
    } else {
        in_ascii(&pattern).map(Cow::Owned)
    }
}

/// Browsers send non-ASCII hosts as `xn--…`.
fn in_ascii(pattern: &str) -> Result<String, String> {
    let is_letter = |c: char| c.is_alphanumeric() || c == '-';
    let (mut written, mut rest) = (String::new(), pattern);
    while let Some(begin) = rest.find(is_letter) {
        let (before, from) = rest.split_at(begin);
        let (word, after) = from.split_at(from.find(|c| !is_letter(c)).unwrap_or(from.len()));
        written.push_str(before);
        match url::Host::parse(word) {
            _ if word.is_ascii() => written.push_str(word),
            Ok(url::Host::Domain(name)) if !before.ends_with(['[', '\\']) => {
                written.push_str(&name)
            }
            _ => {
                return Err(
                    "browsers send a non-ASCII host as xn--…; write it in that form".to_owned(),
                );
            }
        }
        rest = after;
    }
    written.push_str(rest);
    if written.is_ascii() {
        Ok(written)
    } else {
        Err("browsers never send such characters; write the host as xn--…".to_owned())
    }
}

/// Reports that no origin can match `pattern`.
fn unreachable(item: &At<'_>, pattern: &str) {
    let plain = pattern.replace('\\', "");
    let plain = plain.trim_start_matches('^').trim_end_matches('$');
    let (address, is_whole) = if plain.contains("://") {
        (plain.to_owned(), true)
    } else {
        (format!("https://{plain}"), false)
    };
    let cure = address
        .parse::<Url>()
        .ok()
        .filter(Url::has_host)
        .map(|url| {
            let host = url.host_str().unwrap_or_default();
            let (https, rest) = if is_whole {
                (format!("^{}://", url.scheme()), "$")
            } else {
                (String::new(), "")
            };
            let port = url
                .port()
                .map(|port| format!(":{port}"))
                .unwrap_or_default();
            format!(
                "; write {}",
                quoted(&format!("{https}{}{port}{rest}", escaped(host)))
            )
        });
    let message = format!(
        "no origin can match this: an origin is a scheme, a host and, if it is not the scheme's default, a port, as in \
         https://shop.example.com; it has no path{}",
        cure.unwrap_or_default()
    );
    // The original accepts a caret before a bare host, which then matches nothing.
    if pattern.starts_with('^') && !pattern.contains("//") {
        item.note(message)
    } else {
        item.fault(message)
    }
}

fn escaped(host: &str) -> String {
    regex::escape(
        &host
            .replace('\\', "")
            .trim_end_matches('/')
            .trim_end_matches('$')
            .to_ascii_lowercase(),
    )
    .replace("\\-", "-")
}

/// Quoted as in a settings file.
fn quoted(pattern: &str) -> String {
    serde_json::Value::from(pattern).to_string()
}

/// Checks whether any origin matches a pattern. A pattern that takes too long to check passes.
struct Reach {
    origin: Option<dense::DFA<Vec<u32>>>,
    left: usize,
}

impl Reach {
    fn has(&mut self, pattern: &str) -> bool {
        // Most patterns are a host with its dots escaped.
        let plain = pattern.replace('\\', "");
        let plain = plain
            .trim_start_matches('^')
            .trim_end_matches('$')
            .trim_start_matches("//");
        let is_usual = !plain.ends_with(":443") && !plain.ends_with(":80");
        let is_own = |policy: OriginPolicy| {
            let is_listed = |origin: &str| policy.allows_any() || policy.matches(origin);
            is_listed(plain) || is_listed(&format!("https://{plain}"))
        };
        if self.left == 0 || is_usual && OriginPolicy::new(&[pattern.to_owned()]).is_ok_and(is_own)
        {
            return true;
        }
        self.left -= 1;
        match (&self.origin, automaton(&OriginPolicy::expression(pattern))) {
            (Some(origin), Some(ours)) => meet(origin, &ours).unwrap_or(true),
            _ => true,
        }
    }
}

fn automaton(pattern: &str) -> Option<dense::DFA<Vec<u32>>> {
    let config = dense::Config::new().start_kind(StartKind::Anchored);
    let config = config
        .dfa_size_limit(Some(LARGEST))
        .determinize_size_limit(Some(LARGEST));
    // Origins are ASCII. Other characters do not matter and make automata large.
    let syntax = syntax::Config::new()
        .case_insensitive(true)
        .unicode(false)
        .utf8(false);
    let nfa = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(LARGEST));
    dense::Builder::new()
        .configure(config)
        .syntax(syntax)
        .thompson(nfa)
        .build(pattern)
        .ok()
}

/// Whether both accept some ASCII text; `None` = it takes too long to find out.
fn meet(a: &dense::DFA<Vec<u32>>, b: &dense::DFA<Vec<u32>>) -> Option<bool> {
    let anchored = start::Config::new().anchored(Anchored::Yes);
    let first = (
        a.start_state(&anchored).ok()?,
        b.start_state(&anchored).ok()?,
    );
    let (mut seen, mut next): (HashSet<(StateID, StateID)>, _) =
        (HashSet::from([first]), vec![first]);
    while let Some((in_a, in_b)) = next.pop() {
        if a.is_match_state(a.next_eoi_state(in_a)) && b.is_match_state(b.next_eoi_state(in_b)) {
            return Some(true);
        }
        for byte in 0..128 {
            let pair = (a.next_state(in_a, byte), b.next_state(in_b, byte));
            if a.is_quit_state(pair.0) || b.is_quit_state(pair.1) {
                return None;
            }
            if !a.is_dead_state(pair.0) && !b.is_dead_state(pair.1) && seen.insert(pair) {
                next.push(pair);
            }
        }
        if seen.len() > MAX_PAIRS {
            return None;
        }
    }
    Some(false)
}
