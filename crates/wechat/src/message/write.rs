//! Writes XML and JSON documents. XML uses CDATA or numbers and valid characters only; JSON uses
//! numbers where WeChat does.

use std::borrow::Cow;
use std::fmt::Display;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::Form;
use super::fields::{Fields, Value};
use super::xml_char::is_xml_char;

/// Names of numeric fields: no CDATA in XML, no quotes in JSON.
const NUMBERS: [&str; 17] = [
    "CreateTime",
    "MsgId",
    "MsgID",
    "Location_X",
    "Location_Y",
    "Scale",
    "Latitude",
    "Longitude",
    "Precision",
    "Count",
    "TotalCount",
    "FilterCount",
    "SentCount",
    "ErrorCount",
    "ArticleCount",
    "ArticleIdx",
    "CheckState",
];

/// The entries of WeChat's lists; always a list in JSON, even a single entry.
const ITEM: &str = "item";

/// Writes `fields` as a document in this form.
pub fn document(fields: &Fields, form: Form) -> String {
    match form {
        Form::Xml => {
            let mut xml = Xml::new();
            write(&mut xml, fields);
            xml.finish()
        }
        Form::Json => serde_json::to_string(&Object(fields))
            .expect("strings, numbers, arrays and string keys are JSON"),
    }
}

fn write(xml: &mut Xml, fields: &Fields) {
    for (name, value) in fields.iter() {
        let element = element_name(name);
        match value {
            Value::Fields(inside) => xml.nested(&element, |xml| write(xml, inside)),
            Value::Text(text) if number(name, text).is_some() => xml.number(&element, text),
            Value::Text(text) => xml.text(&element, text),
        }
    }
}

/// Converts `name` to a valid XML element name; a JSON name may be any text.
fn element_name(name: &str) -> Cow<'_, str> {
    let may_stand = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let may_begin = |c: char| c.is_ascii_alphabetic() || c == '_';
    if name.starts_with(may_begin) && name.chars().all(may_stand) {
        return Cow::Borrowed(name);
    }
    let safe: String = name
        .chars()
        .map(|c| if may_stand(c) { c } else { '_' })
        .collect();
    Cow::Owned(if safe.starts_with(may_begin) {
        safe
    } else {
        format!("_{safe}")
    })
}

/// Returns `text` as a JSON number if `name` is numeric.
fn number<'a>(name: &str, text: &'a str) -> Option<&'a RawValue> {
    let looks_like_one =
        NUMBERS.contains(&name) && text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    // A number with surrounding blanks is a string.
    let raw: &RawValue = looks_like_one.then(|| serde_json::from_str(text).ok())??;
    (raw.get().len() == text.len()).then_some(raw)
}

/// An object as WeChat writes it.
struct Object<'a>(&'a Fields);

struct Member<'a>(&'a str, &'a Value);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, values) in self.0.grouped() {
            let members: Vec<Member<'_>> = values
                .into_iter()
                .map(|value| Member(name, value))
                .collect();
            match members.as_slice() {
                [member] if name != ITEM => map.serialize_entry(name, member)?,
                members => map.serialize_entry(name, members)?,
            }
        }
        map.end()
    }
}

impl Serialize for Member<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.1 {
            Value::Fields(fields) => Object(fields).serialize(serializer),
            Value::Text(text) => match number(self.0, text) {
                Some(number) => number.serialize(serializer),
                None => serializer.serialize_str(text),
            },
        }
    }
}

/// An XML document being written, inside its root element.
pub(crate) struct Xml(String);

impl Xml {
    pub(crate) fn new() -> Self {
        let mut xml = String::with_capacity(512);
        xml.push_str("<xml>");
        Self(xml)
    }

    /// Writes an element with `text` in CDATA. A CDATA end in the text is split over two sections.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        let text = legal(text);
        self.open(name);
        self.0.push_str("<![CDATA[");
        let mut parts = text.split("]]>");
        self.0.push_str(parts.next().unwrap_or_default());
        for part in parts {
            self.0.push_str("]]]]><![CDATA[>");
            self.0.push_str(part);
        }
        self.0.push_str("]]>");
        self.close(name);
    }

    /// Writes a numeric element.
    pub(crate) fn number(&mut self, name: &str, number: impl Display) {
        self.open(name);
        self.0.push_str(&number.to_string());
        self.close(name);
    }

    /// Writes an element whose content `inside` writes.
    pub(crate) fn nested(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        self.open(name);
        inside(self);
        self.close(name);
    }

    fn open(&mut self, name: &str) {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push('>');
    }

    fn close(&mut self, name: &str) {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("</xml>");
        self.0
    }
}

/// `text` without the control characters that XML 1.0 cannot have in any way of writing: with one
/// of them the whole answer would not be XML.
pub(super) fn legal(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_xml_char) {
        Cow::Borrowed(text)
    } else {
        text.chars().filter(|c| is_xml_char(*c)).collect()
    }
}
