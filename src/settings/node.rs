//! A value as it is written in a settings file: a small tree that borrows its texts from the file and keeps the order of keys.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use config::{Map, Value, ValueKind};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Deeper nesting than any setting has; it bounds the recursion on a hostile text.
const DEEPEST: usize = 48;

/// Any JSON value.
#[derive(Clone, PartialEq)]
pub(super) enum Node<'t> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'t, str>),
    List(Vec<Node<'t>>),
    Table(Entries<'t>),
}

/// The members of an object, in the order they are written.
pub(super) type Entries<'t> = Vec<(Cow<'t, str>, Node<'t>)>;

/// A whole file.
pub(super) struct Document<'t> {
    pub(super) root: Node<'t>,
    /// Names that some object holds more than once; the last one counts, as in every JSON reader.
    pub(super) repeated: Vec<String>,
}

impl<'de> de::Deserialize<'de> for Document<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let repeated = RefCell::default();
        let root = Grow { depth: 0, repeated: &repeated }.deserialize(deserializer)?;
        Ok(Self { root, repeated: repeated.into_inner() })
    }
}

impl<'t> Node<'t> {
    /// The member `key` of an object.
    pub(super) fn get(&self, key: &str) -> Option<&Node<'t>> {
        match self {
            Node::Table(entries) => entries.iter().find_map(|(name, node)| (name == key).then_some(node)),
            _ => None,
        }
    }

    /// Whether this is an object without members, or `null`.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Node::Null)
            || matches!(self, Node::Table(entries) if entries.is_empty())
            || matches!(self, Node::List(items) if items.is_empty())
    }

    /// For the `config` crate's layers. A `null` in an object says nothing, so that it does not hide the layer below.
    pub(super) fn into_value(self) -> Value {
        let kind = match self {
            Node::Null => ValueKind::Nil,
            Node::Bool(value) => ValueKind::Boolean(value),
            Node::Int(value) => ValueKind::I64(value),
            Node::Float(value) => ValueKind::Float(value),
            Node::Text(text) => ValueKind::String(text.into_owned()),
            Node::List(items) => ValueKind::Array(items.into_iter().map(Node::into_value).collect()),
            Node::Table(entries) => ValueKind::Table(into_map(entries)),
        };
        Value::new(None, kind)
    }

    /// For readers that take JSON.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Node::Null => serde_json::Value::Null,
            Node::Bool(value) => (*value).into(),
            Node::Int(value) => (*value).into(),
            Node::Float(value) => (*value).into(),
            Node::Text(text) => text.as_ref().into(),
            Node::List(items) => items.iter().map(Node::to_json).collect(),
            Node::Table(entries) => entries.iter().map(|(name, node)| (name.clone().into_owned(), node.to_json())).collect(),
        }
    }
}

/// The members as a layer of the `config` crate.
pub(super) fn into_map(entries: Entries<'_>) -> Map<String, Value> {
    let written = entries.into_iter().filter(|(_, node)| *node != Node::Null);
    written.map(|(name, node)| (name.into_owned(), node.into_value())).collect()
}

impl From<Value> for Node<'static> {
    fn from(value: Value) -> Self {
        match value.kind {
            ValueKind::Nil => Node::Null,
            ValueKind::Boolean(value) => Node::Bool(value),
            ValueKind::I64(value) => Node::Int(value),
            ValueKind::I128(value) => Node::Float(value as f64),
            ValueKind::U64(value) => Node::from(value),
            ValueKind::U128(value) => Node::Float(value as f64),
            ValueKind::Float(value) => Node::Float(value),
            ValueKind::String(text) => Node::Text(text.into()),
            ValueKind::Array(items) => Node::List(items.into_iter().map(Node::from).collect()),
            ValueKind::Table(map) => Node::Table(map.into_iter().map(|(name, value)| (name.into(), value.into())).collect()),
        }
    }
}

impl From<u64> for Node<'_> {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Node::Float(value as f64), Node::Int)
    }
}

/// Builds a [`Node`] from whatever comes next.
#[derive(Clone, Copy)]
struct Grow<'r> {
    depth: usize,
    repeated: &'r RefCell<Vec<String>>,
}

impl<'r> Grow<'r> {
    fn deeper<E: de::Error>(self) -> Result<Grow<'r>, E> {
        if self.depth == DEEPEST {
            return Err(E::custom("this is nested deeper than any setting"));
        }
        Ok(Grow { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Grow<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Grow<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node<'de>, E> {
        Ok(Node::Float(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
        let inside = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node<'de>, A::Error> {
        let inside = self.deeper()?;
        let mut entries = Entries::new();
        while let Some(name) = map.next_key_seed(Name)? {
            entries.push((name, map.next_value_seed(inside)?));
        }
        let mut seen = HashSet::with_capacity(entries.len());
        entries.reverse();
        entries.retain(|(name, _)| {
            let first = seen.insert(name.clone());
            if !first {
                self.repeated.borrow_mut().push(name.clone().into_owned());
            }
            first
        });
        entries.reverse();
        Ok(Node::Table(entries))
    }
}

/// A key, borrowed where the file allows.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
