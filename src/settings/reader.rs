//! A cursor on the tree of settings that knows its path and notes every fault instead of stopping at the first. How single values are
//! read stands in `values`.

use std::cell::RefCell;

use super::environment::Environment;
use super::faults::{About, Remark, Step, Weight};
use super::node::Node;

/// What all cursors share: the environment that secrets may point to, and the remarks made so far.
pub(super) struct Reader<'e> {
    env: &'e Environment,
    remarks: RefCell<Vec<Remark>>,
}

impl<'e> Reader<'e> {
    pub(super) fn new(env: &'e Environment) -> Self {
        Self { env, remarks: RefCell::default() }
    }

    pub(super) fn remark(&self, about: About, weight: Weight, message: impl Into<String>) {
        self.remarks.borrow_mut().push(Remark { about, weight, message: message.into() });
    }

    pub(super) fn into_remarks(self) -> Vec<Remark> {
        self.remarks.into_inner()
    }
}

/// One step from the value above; kept on the stack, so that a path costs nothing until it is shown.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Key(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

/// A cursor on one value.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    node: &'a Node<'a>,
    place: Place<'a>,
    reader: &'a Reader<'a>,
}

impl<'a> At<'a> {
    pub(super) fn root(node: &'a Node<'a>, reader: &'a Reader<'a>) -> Self {
        Self { node, place: Place::Root, reader }
    }

    pub(super) fn node(&self) -> &'a Node<'a> {
        self.node
    }

    fn path(&self) -> Vec<Step> {
        let (mut path, step) = match self.place {
            Place::Root => return Vec::new(),
            Place::Key(above, key) => (above.path(), Step::Key(key.to_owned())),
            Place::Index(above, index) => (above.path(), Step::Index(index)),
        };
        path.push(step);
        path
    }

    /// The environment that secrets may point to.
    pub(super) fn env(&self) -> &'a Environment {
        self.reader.env
    }

    /// Notes a fault in words of its own.
    pub(super) fn fault(&self, message: impl Into<String>) {
        self.reader.remark(About::Path(self.path()), Weight::Fault, message);
    }

    /// Notes that something else was expected here.
    pub(super) fn expected(&self, expected: &str) {
        self.fault(format!("found {}, expected {expected}", found(self.node)));
    }

    /// The same for a place that holds secrets: what was found is named by its type alone.
    pub(super) fn expected_secret(&self, expected: &str) {
        self.fault(format!("found {}, expected {expected}", kind_of(self.node)));
    }

    /// Notes a warning.
    pub(super) fn note(&self, message: impl Into<String>) {
        self.reader.remark(About::Path(self.path()), Weight::Note, message);
    }

    /// Notes a word that nobody knows: a warning, and a fault when strict.
    pub(super) fn unknown(&self, message: impl Into<String>) {
        self.reader.remark(About::Path(self.path()), Weight::Unknown, message);
    }

    /// Whether this is an object; its members outside `known` are warned of.
    pub(super) fn is_table(&self, known: &[&str]) -> bool {
        let Node::Table(entries) = self.node else {
            self.expected_secret("an object {…}");
            return false;
        };
        for (name, _) in entries.iter().filter(|(name, _)| !known.contains(&name.as_ref())) {
            let path = self.child(name).path();
            self.reader.remark(About::Path(path), Weight::Unknown, format!("unknown setting{}", did_you_mean(name, known)));
        }
        true
    }

    /// The member `key`, unless it is absent or null.
    pub(super) fn get(&'a self, key: &'a str) -> Option<At<'a>> {
        self.node.get(key).filter(|node| **node != Node::Null).map(|node| Self { node, place: Place::Key(self, key), ..*self })
    }

    /// The optional secret `key`, unless it is absent, null or blank.
    pub(super) fn get_secret(&'a self, key: &'a str) -> Option<At<'a>> {
        self.get(key).filter(|secret| !secret.is_blank())
    }

    /// The member `key`; its absence is a fault.
    pub(super) fn need(&'a self, key: &'a str, expected: &str) -> Option<At<'a>> {
        let member = self.get(key);
        if member.is_none() {
            self.child(key).fault(format!("missing, expected {expected}"));
        }
        member
    }

    fn child(&'a self, key: &'a str) -> At<'a> {
        Self { node: &Node::Null, place: Place::Key(self, key), ..*self }
    }

    /// The members that are not null, in the order they are written; none unless this is an object.
    pub(super) fn members(&'a self) -> impl Iterator<Item = (&'a str, At<'a>)> {
        let entries: &[_] = if let Node::Table(entries) = self.node { entries } else { &[] };
        let written = entries.iter().filter(|(_, node)| *node != Node::Null);
        written.map(|(name, node)| (name.as_ref(), Self { node, place: Place::Key(self, name), ..*self }))
    }

    /// The items of a list.
    pub(super) fn items(&'a self) -> Option<impl ExactSizeIterator<Item = At<'a>>> {
        let Node::List(items) = self.node else { return None };
        Some(items.iter().enumerate().map(|(index, node)| Self { node, place: Place::Index(self, index), ..*self }))
    }

    /// The items of a list, or the one value that stands in its place.
    pub(super) fn one_or_more(&'a self) -> Vec<At<'a>> {
        self.items().map_or_else(|| vec![*self], Iterator::collect)
    }
}

fn kind_of(node: &Node<'_>) -> &'static str {
    match node {
        Node::Null => "null",
        Node::Bool(_) => "true or false",
        Node::Int(_) | Node::Float(_) => "a number",
        Node::Text(text) if text.is_empty() => "an empty text",
        Node::Text(_) => "a text",
        Node::List(_) => "a list",
        Node::Table(_) => "an object",
    }
}

fn found(node: &Node<'_>) -> String {
    match node {
        Node::Bool(value) => value.to_string(),
        Node::Int(number) => number.to_string(),
        Node::Float(number) => number.to_string(),
        Node::Text(text) if !text.is_empty() => {
            let short: String = text.chars().take(40).collect();
            let more = if short.len() < text.len() { " …" } else { "" };
            format!("{short:?}{more}")
        }
        other => kind_of(other).to_owned(),
    }
}

/// `; did you mean "realms"?` when one of `known` is near.
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> String {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let near = known.iter().map(|name| (strsim::damerau_levenshtein(&plain(word), &plain(name)), name)).min();
    match near {
        Some((distance, name)) if !word.is_empty() && distance <= 1.max(name.len() / 3) => format!("; did you mean {name:?}?"),
        _ => String::new(),
    }
}
