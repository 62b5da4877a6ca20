//! From the text of a JSON push to its fields: numbers with all their digits, lists as names that
//! repeat, and bounds on depth and number. It knows no names.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::fields::{Fields, Value};
use super::xml_char::replaced;
use super::{MAX_DEPTH, MAX_ELEMENTS, MessageError};

/// What the items of a list inside a list are called.
const ITEM: &str = "item";

/// The members of the object in `text`, and what had to be replaced to read it.
pub(super) fn fields(text: &str) -> Result<(Fields, Option<MessageError>), MessageError> {
    let escaped = with_escaped_controls(text);
    let mut reader = Reader {
        elements: 0,
        repaired: matches!(escaped, Cow::Owned(_)),
    };
    let root: &RawValue =
        serde_json::from_str(&escaped).map_err(|_| MessageError::MalformedJson)?;
    if !root.get().starts_with('{') {
        return Err(MessageError::NotAMessage);
    }
    let fields = reader.object(root, 1)?;
    if fields.is_empty() {
        return Err(MessageError::NotAMessage);
    }
    Ok((fields, reader.repaired.then_some(MessageError::Character)))
}

/// Escapes control characters inside strings. JSON forbids them, but nicknames bring them in.
fn with_escaped_controls(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c < ' ') {
        return Cow::Borrowed(text);
    }
    let (mut escaped, mut quotes) = (String::with_capacity(text.len()), Quotes::default());
    for c in text.chars() {
        if c < ' ' && quotes.inside {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
        quotes.pass(c);
    }
    if escaped.len() == text.len() {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(escaped)
    }
}

/// Whether a place in a JSON text is inside a string.
#[derive(Default)]
struct Quotes {
    inside: bool,
    escaped: bool,
}

impl Quotes {
    fn pass(&mut self, c: char) {
        match c {
            _ if self.escaped => self.escaped = false,
            '\\' => self.escaped = self.inside,
            '"' => self.inside = !self.inside,
            _ => {}
        }
    }
}

struct Reader {
    elements: usize,
    repaired: bool,
}

impl Reader {
    fn object(&mut self, raw: &RawValue, depth: usize) -> Result<Fields, MessageError> {
        let Members(members) =
            serde_json::from_str(raw.get()).map_err(|_| MessageError::MalformedJson)?;
        let mut fields = Fields::default();
        for (name, value) in members {
            let name = self.text(&name);
            self.read_into(&mut fields, &name, value, depth)?;
        }
        Ok(fields)
    }

    /// Adds `raw` to `fields`, once for each item if it is a list.
    fn read_into(
        &mut self,
        fields: &mut Fields,
        name: &str,
        raw: &RawValue,
        depth: usize,
    ) -> Result<(), MessageError> {
        if depth >= MAX_DEPTH {
            return Err(MessageError::TooDeep);
        }
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(MessageError::TooManyElements);
        }
        let value = match raw.get().as_bytes().first() {
            Some(b'{') => self.object(raw, depth + 1).map(value_of)?,
            Some(b'[') => {
                let items: Vec<&RawValue> =
                    serde_json::from_str(raw.get()).map_err(|_| MessageError::MalformedJson)?;
                if items.is_empty() {
                    fields.push(name.to_owned(), value_of(Fields::default()));
                }
                for item in items {
                    if item.get().starts_with('[') {
                        let mut inner = Fields::default();
                        self.read_into(&mut inner, ITEM, item, depth + 1)?;
                        fields.push(name.to_owned(), value_of(inner));
                    } else {
                        self.read_into(fields, name, item, depth + 1)?;
                    }
                }
                return Ok(());
            }
            Some(b'"') => {
                let bytes: Bytes =
                    serde_json::from_str(raw.get()).map_err(|_| MessageError::MalformedJson)?;
                Value::Text(self.text(&bytes))
            }
            Some(b'n') => Value::Text(String::new()),
            // A number keeps its spelling: a MsgId has more digits than a float has.
            _ => Value::Text(raw.get().to_owned()),
        };
        fields.push(name.to_owned(), value);
        Ok(())
    }
    /// The text of a string, with U+FFFD for what XML cannot carry and for each half of a surrogate
    /// pair that stands alone.
    fn text(&mut self, bytes: &Bytes) -> String {
        let text = match std::str::from_utf8(&bytes.0) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(without_surrogates(&bytes.0)),
        };
        let clean = replaced(&text);
        self.repaired |= matches!(text, Cow::Owned(_)) || matches!(clean, Cow::Owned(_));
        clean.into_owned()
    }
}

/// serde_json encodes half a surrogate pair in three bytes, which are never the beginning of a
/// character in UTF-8.
fn without_surrogates(bytes: &[u8]) -> String {
    let (mut rest, mut whole) = (bytes, Vec::with_capacity(bytes.len()));
    while let Some((&byte, after)) = rest.split_first() {
        rest = match after {
            [0xa0..=0xbf, 0x80..=0xbf, after @ ..] if byte == 0xed => {
                whole.extend_from_slice("\u{fffd}".as_bytes());
                after
            }
            _ => {
                whole.push(byte);
                after
            }
        };
    }
    String::from_utf8_lossy(&whole).into_owned()
}

/// An empty object says as much as an empty element.
fn value_of(fields: Fields) -> Value {
    if fields.is_empty() {
        Value::Text(String::new())
    } else {
        Value::Fields(fields)
    }
}

/// The members of an object in their order, also those whose name repeats.
struct Members<'a>(Vec<(Bytes, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(Bytes, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Collect).map(Self)
    }
}

/// The bytes of a string. Asked for text, serde_json would refuse an escaped half of a surrogate
/// pair.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Copy;

        impl Visitor<'_> for Copy {
            type Value = Bytes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                Ok(Bytes(text.as_bytes().to_vec()))
            }
        }

        deserializer.deserialize_bytes(Copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(text: &str) -> Fields {
        fields(text)
            .unwrap_or_else(|error| panic!("{error}: {text}"))
            .0
    }

    #[test]
    fn every_kind_of_value_is_read() {
        for (written, meant) in [
            (r#""你好""#, "你好"),
            (r#""a\"\\\/\n\u4f60\ud83d\ude00""#, "a\"\\/\n你😀"),
            (r#""\ud800""#, "\u{fffd}"),
            (r#""a\udc00b\ud83dc""#, "a\u{fffd}b\u{fffd}c"),
            (r#""a\u0000\u0008b""#, "a\u{fffd}\u{fffd}b"),
            ("\"a\u{1}b\u{0}\tc\"", "a\u{fffd}b\u{fffd}\tc"),
            ("\"a\\\\\u{1}\"", "a\\\u{fffd}"),
            ("6838218298347397120", "6838218298347397120"),
            ("99999999999999999999999999", "99999999999999999999999999"),
            ("1e999", "1e999"),
            ("-0.10", "-0.10"),
            ("true", "true"),
            ("null", ""),
            ("{}", ""),
            ("[]", ""),
            (r#"["only"]"#, "only"),
        ] {
            assert_eq!(
                read(&format!("{{\"A\" : {written} }}")).text("A"),
                Some(meant),
                "{written}"
            );
        }
    }

    #[test]
    fn lists_become_repeated_names_in_order() {
        let fields =
            read(r#"{"Z":1,"List":[{"B":"x"},{"B":"y"}],"A":{"C":[1,2]},"D":[[1,2],[3]],"Z":2}"#);
        let json = r#"{"Z":["1","2"],"List":[{"B":"x"},{"B":"y"}],"A":{"C":["1","2"]},"D":[{"item":["1","2"]},{"item":"3"}]}"#;
        assert_eq!(fields.to_json(), json);
    }

    #[test]
    fn only_an_object_is_accepted() {
        use MessageError::{MalformedJson, NotAMessage};
        for (text, error) in [
            ("{}", NotAMessage),
            ("[]", NotAMessage),
            ("[{\"a\":1}]", NotAMessage),
            ("{", MalformedJson),
            ("{\"a\":1}}", MalformedJson),
            ("{\"a\":1} x", MalformedJson),
            ("{\"a\":01}", MalformedJson),
            ("{\"a\":NaN}", MalformedJson),
            ("{a:1}", MalformedJson),
            ("{\"a\":\"\\x\"}", MalformedJson),
            ("{\"a\":\"\u{1}", MalformedJson),
        ] {
            assert_eq!(fields(text).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn depth_and_count_are_bounded() {
        for (open, close) in [("{\"a\":", "}"), ("[", "]")] {
            let nested =
                |depth: usize| format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth));
            assert!(fields(&nested(MAX_DEPTH - 3)).is_ok(), "{open}");
            for depth in [MAX_DEPTH, 100, 50_000] {
                assert_eq!(
                    fields(&nested(depth)).err(),
                    Some(MessageError::TooDeep),
                    "{open} {depth}"
                );
            }
        }
        let listed = |number: usize| format!("{{\"a\":[{}1]}}", "1,".repeat(number - 2));
        assert!(fields(&listed(MAX_ELEMENTS)).is_ok());
        assert_eq!(
            fields(&listed(MAX_ELEMENTS + 1)).err(),
            Some(MessageError::TooManyElements)
        );
    }

    #[test]
    fn only_replacements_count_as_repairs() {
        let repaired = |text: &str| fields(text).expect("an object").1.is_some();
        assert!(!repaired("{\n\t\"a\": \"b\\n\\u4f60\"\r\n}"));
        assert!(repaired("{\"a\":\"\\u0008\"}"));
        assert!(repaired("{\"a\":\"\u{8}\"}") && repaired("{\"a\":\"\\ud800\"}"));
        assert!(!repaired("{\"a\":\"你\"}"));
    }
}
