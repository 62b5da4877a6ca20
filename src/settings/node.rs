//! One value of the settings, seen as JSON: a view on the `config` crate's value, which has more
//! kinds of number than JSON5.

use config::{Map, Value, ValueKind};

/// Any JSON value.
#[derive(Clone, Copy)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    List(&'a [Value]),
    Table(&'a Map<String, Value>),
}

impl<'a> Node<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        match &value.kind {
            ValueKind::Nil => Self::Null,
            ValueKind::Boolean(value) => Self::Bool(*value),
            ValueKind::I64(number) => Self::Int(*number),
            ValueKind::Float(number) => Self::Float(*number),
            // The parser and the variables make no other numbers.
            ValueKind::I128(number) => Self::Float(*number as f64),
            ValueKind::U64(number) => Self::Float(*number as f64),
            ValueKind::U128(number) => Self::Float(*number as f64),
            ValueKind::String(text) => Self::Text(text),
            ValueKind::Array(items) => Self::List(items),
            ValueKind::Table(members) => Self::Table(members),
        }
    }

    /// Whether this is `null`, an empty list or an object without members.
    pub(super) fn is_empty(self) -> bool {
        match self {
            Self::Null => true,
            Self::List(items) => items.is_empty(),
            Self::Table(members) => members.is_empty(),
            _ => false,
        }
    }

    pub(super) fn to_json(self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => value.into(),
            Self::Int(number) => number.into(),
            Self::Float(number) => number.into(),
            Self::Text(text) => text.into(),
            Self::List(items) => items.iter().map(|item| Node::of(item).to_json()).collect(),
            Self::Table(members) => members
                .iter()
                .map(|(name, value)| (name.clone(), Node::of(value).to_json()))
                .collect(),
        }
    }
}
