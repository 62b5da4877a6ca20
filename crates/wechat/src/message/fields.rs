//! The elements of a message as they came: names, texts and what is nested in what, in the order of
//! the document. It knows neither XML nor JSON nor which names WeChat uses.

use std::collections::HashMap;
use std::str::FromStr;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// The elements inside one element.
///
/// A name that stands there several times is a list, as in WeChat's own messages; looking a name up
/// gives the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, Value)>);

/// What an element holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text, empty for an empty element.
    Text(String),
    /// More elements.
    Fields(Fields),
}

const NONE: &Fields = &Fields(Vec::new());

impl Fields {
    /// The first element called `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.all(name).next()
    }

    /// The text of the first element called `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_text()
    }

    /// Every element called `name`.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Value> {
        self.iter()
            .filter(move |(own, _)| *own == name)
            .map(|(_, value)| value)
    }

    /// Every element with its name, in the order of the document.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The values of each name, in the order in which the names first appear.
    pub(super) fn grouped(&self) -> Vec<(&str, Vec<&Value>)> {
        let (mut groups, mut places) = (Vec::<(&str, Vec<&Value>)>::new(), HashMap::new());
        for (name, value) in self.iter() {
            let place = *places.entry(name).or_insert_with(|| {
                groups.push((name, Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(value);
        }
        groups
    }

    /// The same as JSON, in the order of the document. Every text is a string, because XML has no
    /// numbers and a `MsgId` has more digits than a number of JavaScript's; a name that stands
    /// there several times becomes an array.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, arrays and string keys are JSON")
    }

    /// Adds a field, also where one of that name is there.
    pub fn push(&mut self, name: String, value: Value) {
        self.0.push((name, value));
    }

    /// Adds a text.
    pub fn push_text(&mut self, name: &str, text: impl Into<String>) {
        self.push(name.to_owned(), Value::Text(text.into()));
    }

    /// Whether there is no field at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text called `name`, empty when it is not there: documented fields vanish now and then.
    pub(super) fn string(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    /// The text called `name` when it is not empty.
    pub(super) fn optional(&self, name: &str) -> Option<String> {
        self.text(name)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }

    /// The text called `name` as a number, also with white space around it.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.trim().parse().ok()
    }

    /// The elements inside the first one called `name`, none when there are none.
    pub(super) fn inner(&self, name: &str) -> &Self {
        self.get(name).and_then(Value::as_fields).unwrap_or(NONE)
    }

    /// The elements inside every one called `name`.
    pub(super) fn inners<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Self> {
        self.all(name).filter_map(Value::as_fields)
    }

    /// The entries of the list called `name`: `entry` elements inside it as XML writes them, or the
    /// items of a JSON list.
    pub(super) fn entries<'a>(&'a self, name: &str, entry: &str) -> Vec<&'a Self> {
        let inside = self.inners(name).flat_map(|list| match list.get(entry) {
            Some(_) => list.inners(entry).collect(),
            None => vec![list],
        });
        inside.collect()
    }
}

impl Value {
    /// The text, when it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Fields(_) => None,
        }
    }

    /// The elements, when there are some.
    pub fn as_fields(&self) -> Option<&Fields> {
        match self {
            Self::Text(_) => None,
            Self::Fields(fields) => Some(fields),
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, values) in self.grouped() {
            match values.as_slice() {
                [value] => map.serialize_entry(name, value)?,
                values => map.serialize_entry(name, values)?,
            }
        }
        map.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Fields(fields) => fields.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::parse;

    fn fields(inside: &str) -> Fields {
        parse::fields(&format!("<xml>{inside}</xml>"))
            .expect("a message")
            .0
    }

    #[test]
    fn json_keeps_order_and_arrays_for_repeated_names() {
        let fields = fields(
            "<Z>1</Z><List><B>x</B></List><A/><List><B>\"y\"</B><C>&#1234;</C></List><D><E>12345678901234567890</E></D>",
        );
        let json = r#"{"Z":"1","List":[{"B":"x"},{"B":"\"y\"","C":"Ӓ"}],"A":"","D":{"E":"12345678901234567890"}}"#;
        assert_eq!(fields.to_json(), json);
    }
}
