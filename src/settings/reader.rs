//! A cursor on the settings that knows its path and notes every fault instead of stopping at the
//! first. `values` reads single values with it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use config::Value;

use super::environment::Environment;
use super::faults::{About, Origin, Remark, Weight};
use super::node::Node;

/// What all cursors share: the environment, to which secrets may point, and the remarks made so
/// far.
pub(super) struct Reader<'e> {
    env: &'e Environment,
    remarks: RefCell<Vec<Remark>>,
    secret_files: RefCell<BTreeSet<PathBuf>>,
}

impl<'e> Reader<'e> {
    pub(super) fn new(env: &'e Environment) -> Self {
        Self {
            env,
            remarks: RefCell::default(),
            secret_files: RefCell::default(),
        }
    }

    pub(super) fn remark(&self, about: About, weight: Weight, message: impl Into<String>) {
        self.remarks.borrow_mut().push(Remark {
            about,
            weight,
            message: message.into(),
        });
    }

    /// The files that secrets were read from so far.
    pub(super) fn secret_files(&self) -> Vec<PathBuf> {
        self.secret_files.borrow().iter().cloned().collect()
    }

    pub(super) fn into_remarks(self) -> Vec<Remark> {
        self.remarks.into_inner()
    }
}

/// How to get to a value from the one above it. A path is built only when it is shown.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Key(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

/// A cursor on one value.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    value: &'a Value,
    place: Place<'a>,
    reader: &'a Reader<'a>,
}

impl<'a> At<'a> {
    pub(super) fn root(value: &'a Value, reader: &'a Reader<'a>) -> Self {
        Self {
            value,
            place: Place::Root,
            reader,
        }
    }

    pub(super) fn node(&self) -> Node<'a> {
        Node::of(self.value)
    }

    /// `realms[1].secret`; a key that is not a plain word is put in brackets.
    fn path(&self) -> String {
        match self.place {
            Place::Root => String::new(),
            Place::Key(above, key) => path_of(above.path(), key),
            Place::Index(above, index) => format!("{}[{index}]", above.path()),
        }
    }

    /// The value's own origin, or that of the nearest value above it that has one.
    fn origin(&self) -> Option<Origin> {
        match (self.value.origin(), self.place) {
            (Some(origin), _) => Some(Origin::read(origin)),
            (None, Place::Key(above, _) | Place::Index(above, _)) => above.origin(),
            (None, Place::Root) => None,
        }
    }

    /// Notes that a secret was read from `file`.
    pub(super) fn note_secret_file(&self, file: &Path) {
        let mut files = self.reader.secret_files.borrow_mut();
        files.insert(file.to_owned());
    }

    fn remark(&self, weight: Weight, message: impl Into<String>) {
        self.reader.remark(
            About::Setting {
                path: self.path(),
                origin: self.origin(),
            },
            weight,
            message,
        );
    }

    /// The environment, to which secrets may point.
    pub(super) fn env(&self) -> &'a Environment {
        self.reader.env
    }

    /// Notes a fault.
    pub(super) fn fault(&self, message: impl Into<String>) {
        self.remark(Weight::Fault, message);
    }

    /// Notes as a fault that something else was expected here, and shows what was found.
    pub(super) fn expected(&self, expected: &str) {
        self.fault(format!("found {}, expected {expected}", found(self.node())));
    }

    /// The same for a place that may hold a secret: only the type of what was found is shown.
    pub(super) fn expected_secret(&self, expected: &str) {
        self.fault(format!(
            "found {}, expected {expected}",
            kind_of(self.node())
        ));
    }

    /// Notes a warning.
    pub(super) fn note(&self, message: impl Into<String>) {
        self.remark(Weight::Note, message);
    }

    /// Notes an unknown name: a warning, but a fault with `--strict`.
    pub(super) fn unknown(&self, message: impl Into<String>) {
        self.remark(Weight::Unknown, message);
    }

    /// True if this is an object; otherwise adds a fault. Members outside `known` are warnings.
    pub(super) fn is_table(&self, known: &[&str]) -> bool {
        let Node::Table(members) = self.node() else {
            self.expected_secret("an object {…}");
            return false;
        };
        for (name, value) in members
            .iter()
            .filter(|(name, _)| !known.contains(&name.as_str()))
        {
            let member = At {
                value,
                place: Place::Key(self, name),
                reader: self.reader,
            };
            member.unknown(format!("unknown setting{}", did_you_mean(name, known)));
        }
        true
    }

    /// The member `key`, unless it is absent or null.
    pub(super) fn get(&'a self, key: &'a str) -> Option<At<'a>> {
        let Node::Table(members) = self.node() else {
            return None;
        };
        let value = members
            .get(key)
            .filter(|value| !matches!(Node::of(value), Node::Null))?;
        Some(Self {
            value,
            place: Place::Key(self, key),
            reader: self.reader,
        })
    }

    /// The optional secret `key`, unless it is absent, null or blank.
    pub(super) fn get_secret(&'a self, key: &'a str) -> Option<At<'a>> {
        self.get(key).filter(|secret| !secret.is_blank())
    }

    /// The member `key`; its absence is a fault.
    pub(super) fn need(&'a self, key: &'a str, expected: &str) -> Option<At<'a>> {
        let member = self.get(key);
        if member.is_none() {
            let about = About::Setting {
                path: path_of(self.path(), key),
                origin: self.origin(),
            };
            self.reader.remark(
                about,
                Weight::Fault,
                format!("missing, expected {expected}"),
            );
        }
        member
    }

    /// The members that are not null, in the order they are written; none unless this is an object.
    pub(super) fn members(&'a self) -> impl Iterator<Item = (&'a str, At<'a>)> {
        let members = if let Node::Table(members) = self.node() {
            Some(members)
        } else {
            None
        };
        let set = members
            .into_iter()
            .flatten()
            .filter(|(_, value)| !matches!(Node::of(value), Node::Null));
        set.map(|(name, value)| {
            (
                name.as_str(),
                Self {
                    value,
                    place: Place::Key(self, name),
                    reader: self.reader,
                },
            )
        })
    }

    /// The items of a list.
    pub(super) fn items(&'a self) -> Option<impl ExactSizeIterator<Item = At<'a>>> {
        let Node::List(items) = self.node() else {
            return None;
        };
        let item = |(index, value)| Self {
            value,
            place: Place::Index(self, index),
            reader: self.reader,
        };
        Some(items.iter().enumerate().map(item))
    }

    /// The items of a list, or the one value that is in its place.
    pub(super) fn one_or_more(&'a self) -> Vec<At<'a>> {
        self.items().map_or_else(|| vec![*self], Iterator::collect)
    }
}

/// The path of the member `key` of the value at `above`.
fn path_of(above: String, key: &str) -> String {
    let is_plain = key
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'));
    match is_plain {
        false => format!("{above}[{key:?}]"),
        true if above.is_empty() => key.to_owned(),
        true => format!("{above}.{key}"),
    }
}

fn kind_of(node: Node<'_>) -> &'static str {
    match node {
        Node::Null => "null",
        Node::Bool(_) => "true or false",
        Node::Int(_) | Node::Float(_) => "a number",
        Node::Text("") => "an empty text",
        Node::Text(_) => "a text",
        Node::List(_) => "a list",
        Node::Table(_) => "an object",
    }
}

fn found(node: Node<'_>) -> String {
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

/// `; did you mean "realms"?` if one of `known` is similar to `word`, else nothing.
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> String {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let near = known
        .iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&plain(word), &plain(name)),
                name,
            )
        })
        .min();
    match near {
        Some((distance, name)) if !word.is_empty() && distance <= 1.max(name.len() / 3) => {
            format!("; did you mean {name:?}?")
        }
        _ => String::new(),
    }
}
