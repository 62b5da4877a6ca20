//! A JSON object as a service sent it: its members keep their order and spelling.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// The members of an object, their values unread.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Gather;
        impl<'de> Visitor<'de> for Gather {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Gather)
    }
}

/// The text of `body` if it is an object. Stray control characters and invalid UTF-8 are seen in
/// the wild, so they are replaced where a strict reading fails.
pub(super) fn text(body: &[u8]) -> Option<String> {
    let is_object = |text: &str| serde_json::from_str::<Members<'_>>(text).is_ok();
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    if is_object(text) {
        return Some(text.to_owned());
    }
    let mended = text.replace(|c: char| c.is_ascii_control(), " ");
    is_object(&mended).then_some(mended)
}

/// The value at `path`.
pub(super) fn field<S: AsRef<str>>(text: &str, path: &[S]) -> Option<Value> {
    let object: Value = serde_json::from_str(text).ok()?;
    path.iter()
        .try_fold(&object, |value, step| value.get(step.as_ref()))
        .cloned()
}

/// A value as a template takes it: a text as it is, a number as it is written.
pub(super) fn as_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A whole number of seconds above zero, also when it comes as a text or with a fraction.
pub(super) fn seconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // The cast is bounded on both sides.
    (seconds >= 1.0).then_some(seconds.min(1e12) as u64)
}

/// Returns the object with `number` at `path`; a string stays a string. Everything else is
/// unchanged.
pub(super) fn with_number(text: &str, path: &[&str], number: u64) -> String {
    let Some((first, rest)) = path.split_first() else {
        return if text.starts_with('"') {
            format!("\"{number}\"")
        } else {
            number.to_string()
        };
    };
    let Ok(Members(members)) = serde_json::from_str(text) else {
        return text.to_owned();
    };
    let mut written = String::with_capacity(text.len());
    for (name, value) in members {
        written.push(if written.is_empty() { '{' } else { ',' });
        written.push_str(&Value::from(name.as_str()).to_string());
        written.push(':');
        if name == *first {
            written.push_str(&with_number(value.get(), rest, number));
        } else {
            written.push_str(value.get());
        }
    }
    if written.is_empty() {
        written.push('{');
    }
    written.push('}');
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_at_the_path_changes() {
        let sent = r#"{ "z": 1.0, "a": {"b":[1, 2]}, "expires_in": 7200, "long": 12345678901234567890, "é": "\u00e9" }"#;
        let here =
            r#"{"z":1.0,"a":{"b":[1, 2]},"expires_in":7,"long":12345678901234567890,"é":"\u00e9"}"#;
        assert_eq!(with_number(sent, &["expires_in"], 7), here);
        assert_eq!(
            with_number(
                r#"{"data":{"expire":"60","t":1},"n":2}"#,
                &["data", "expire"],
                9
            ),
            r#"{"data":{"expire":"9","t":1},"n":2}"#
        );
        assert_eq!(with_number(r#"{"a":1}"#, &["b"], 9), r#"{"a":1}"#);
        assert_eq!(with_number("{}", &["b"], 9), "{}");
    }

    #[test]
    fn only_objects_are_accepted_despite_stray_characters() {
        assert_eq!(
            text("\u{feff}{\"a\":\"b\u{1}c\"}".as_bytes()).as_deref(),
            Some("{\"a\":\"b c\"}")
        );
        for body in ["", "[]", "7", "\"a\"", "{", "<html>", "{} {}"] {
            assert_eq!(text(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn seconds_are_read_in_every_notation_and_at_least_one() {
        let read = |json: &str| seconds(&serde_json::from_str(json).expect("JSON"));
        assert_eq!(
            ["7200", "\"7200\"", "7200.9", "1e30"].map(read),
            [Some(7200), Some(7200), Some(7200), Some(1_000_000_000_000)]
        );
        assert_eq!(
            ["0", "-1", "null", "\"soon\"", "[]", "\"NaN\""].map(read),
            [None; 6]
        );
    }
}
