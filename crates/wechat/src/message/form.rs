//! The two forms of a push, XML and JSON, and their decoding to text.

use std::borrow::Cow;

use super::fields::Fields;
use super::{MessageError, json, parse};

/// The form of a push and its reply. Set in the account's console (数据格式); some consoles offer JSON
/// only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Form {
    /// An `<xml>` element.
    #[default]
    Xml,
    /// A JSON object.
    Json,
}

/// A parsed push, reply or envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it says.
    pub fields: Fields,
    /// The form in which it was received.
    pub form: Form,
    /// The first repair made while parsing. If there is one, the bytes must not be forwarded.
    pub repaired: Option<MessageError>,
}

impl Form {
    /// Returns the form of `body`, by its first non-blank byte. `Content-Type` is unreliable:
    /// WeChat also sends JSON as `text/xml`.
    pub fn of(body: &[u8]) -> Self {
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{' | b'[') => Self::Json,
            _ => Self::Xml,
        }
    }
}

impl Document {
    /// Parses `body` in linear time. The caller limits its length.
    pub fn read(body: &[u8]) -> Result<Self, MessageError> {
        let form = Form::of(body);
        let text = String::from_utf8_lossy(body);
        let bare = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let (fields, mended) = match form {
            Form::Xml => parse::fields(bare)?,
            Form::Json => json::fields(bare)?,
        };
        let not_utf8 = matches!(text, Cow::Owned(_)).then_some(MessageError::NotUtf8);
        Ok(Self {
            fields,
            form,
            repaired: not_utf8.or(mended),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_non_blank_byte_decides_the_form() {
        for json in ["{}", " \r\n\t{", "\u{feff}{", "\u{feff} {\"a\":1}", "[1]"] {
            assert_eq!(Form::of(json.as_bytes()), Form::Json, "{json:?}");
        }
        for xml in [
            "",
            " ",
            "<xml>",
            "\u{feff}<xml>",
            "\"success\"",
            "success",
            "x{",
        ] {
            assert_eq!(Form::of(xml.as_bytes()), Form::Xml, "{xml:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_become_replacement_characters() {
        let documents: [&[u8]; 4] = [
            b"<xml><A><![CDATA[a\xffb]]></A></xml>",
            b"<xml><A>a\xffb</A></xml>",
            b"{\"A\":\"a\xffb\"}",
            b"\xef\xbb\xbf{\"A\":\"a\xc0b\"}",
        ];
        for bytes in documents {
            let document = Document::read(bytes).expect("a document");
            assert_eq!(document.fields.text("A"), Some("a\u{fffd}b"), "{bytes:?}");
            assert_eq!(document.repaired, Some(MessageError::NotUtf8));
        }
        // A character that is cut off at the end of its section does not take the section's end
        // with it.
        let cut = Document::read(b"<xml><A><![CDATA[a\xe4\xbd]]></A></xml>").expect("a document");
        assert_eq!(cut.fields.text("A"), Some("a\u{fffd}"));
        assert_eq!(
            Document::read(b"<xml><A>a</A></xml>")
                .expect("a document")
                .repaired,
            None
        );
    }
}
