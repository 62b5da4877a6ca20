//! Parses an XML push into elements. It allows no DTDs, only the five predefined entities, and
//! limited depth and size. Malformed text is repaired rather than rejected.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::fields::{Fields, Value};
use super::xml_char::replaced;
use super::{MAX_DEPTH, MAX_ELEMENTS, MessageError};

/// Returns the elements inside the root of `xml`, and the first repair made.
pub(super) fn fields(xml: &str) -> Result<(Fields, Option<MessageError>), MessageError> {
    let mut reader = Reader::from_str(xml);
    // An unescaped ampersand is read literally.
    reader.config_mut().allow_dangling_amp = true;
    let mut tree = Tree::default();
    loop {
        match reader.read_event().map_err(|_| MessageError::Malformed)? {
            Event::Start(tag) => tree.open(&tag)?,
            Event::Empty(tag) => {
                tree.open(&tag)?;
                tree.close()?;
            }
            Event::End(_) => tree.close()?,
            Event::Text(text) => {
                let text = text.xml10_content();
                if text.contains('&') {
                    tree.repaired.get_or_insert(MessageError::Entity);
                }
                tree.text(&text)?;
            }
            Event::GeneralRef(reference) => match character(&reference) {
                Some(character) => tree.text(character.encode_utf8(&mut [0; 4]))?,
                None => {
                    tree.repaired.get_or_insert(MessageError::Entity);
                    tree.text(&instead_of(&reference))?;
                }
            },
            Event::CData(text) => tree.cdata(&text.xml10_content())?,
            Event::DocType(_) => return Err(MessageError::TypeDefinition),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return tree.finish(),
        }
    }
}

/// The open elements, and the root's children once it is closed.
#[derive(Default)]
struct Tree {
    open: Vec<Element>,
    elements: usize,
    root: Option<Fields>,
    /// The first repair made.
    repaired: Option<MessageError>,
}

/// An open element.
struct Element {
    name: String,
    text: String,
    /// Where the last CDATA section in `text` ended.
    cdata_end: Option<usize>,
    fields: Fields,
}

impl Tree {
    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), MessageError> {
        let name = tag.name().0.to_owned();
        // WeChat uses no attributes. Valid ones are ignored; checking for duplicates would take
        // quadratic time.
        let has_bad_attribute = tag
            .attributes()
            .with_checks(false)
            .any(|attribute| attribute.is_err());
        if has_bad_attribute || !is_name(&name) || self.root.is_some() {
            return Err(MessageError::Malformed);
        }
        if self.open.is_empty() && name != "xml" {
            return Err(MessageError::NotAMessage);
        }
        if self.open.len() == MAX_DEPTH {
            return Err(MessageError::TooDeep);
        }
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(MessageError::TooManyElements);
        }
        self.open.push(Element {
            name,
            text: String::new(),
            cdata_end: None,
            fields: Fields::default(),
        });
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), MessageError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if is_blank(text) => {}
            None => return Err(MessageError::Malformed),
        }
        Ok(())
    }

    fn cdata(&mut self, text: &str) -> Result<(), MessageError> {
        let element = self.open.last_mut().ok_or(MessageError::Malformed)?;
        // White space around a CDATA section is formatting.
        if element.cdata_end.is_none() && is_blank(&element.text) {
            element.text.clear();
        }
        element.text.push_str(text);
        element.cdata_end = Some(element.text.len());
        Ok(())
    }

    fn close(&mut self) -> Result<(), MessageError> {
        let mut element = self.open.pop().ok_or(MessageError::Malformed)?;
        if let Some(end) = element
            .cdata_end
            .filter(|end| is_blank(&element.text[*end..]))
        {
            element.text.truncate(end);
        }
        let value = if element.fields.is_empty() {
            match replaced(&element.text) {
                Cow::Borrowed(_) => Value::Text(element.text),
                Cow::Owned(text) => {
                    self.repaired.get_or_insert(MessageError::Character);
                    Value::Text(text)
                }
            }
        } else if is_blank(&element.text) {
            Value::Fields(element.fields)
        } else {
            // Text between elements would be lost; WeChat's messages have none.
            return Err(MessageError::Malformed);
        };
        match (self.open.last_mut(), value) {
            (Some(parent), value) => parent.fields.push(element.name, value),
            (None, Value::Fields(fields)) => self.root = Some(fields),
            (None, Value::Text(_)) => return Err(MessageError::NotAMessage),
        }
        Ok(())
    }

    fn finish(self) -> Result<(Fields, Option<MessageError>), MessageError> {
        if !self.open.is_empty() {
            return Err(MessageError::Malformed);
        }
        Ok((self.root.ok_or(MessageError::NotAMessage)?, self.repaired))
    }
}

/// Returns the character of a reference like `&lt;` or `&#x4f60;`, if valid.
fn character(reference: &BytesRef<'_>) -> Option<char> {
    match reference.resolve_char_ref() {
        Ok(None) => resolve_xml_entity(reference).and_then(|text| text.chars().next()),
        Ok(character) => character,
        Err(_) => None,
    }
}

/// Returns the replacement of an invalid reference: U+FFFD for a number, the literal text for a
/// name such as `&nbsp;`.
fn instead_of(reference: &BytesRef<'_>) -> String {
    if reference.starts_with('#') {
        "\u{fffd}".to_owned()
    } else {
        format!("&{};", &**reference)
    }
}

/// White space as XML defines it.
fn is_blank(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn content(inside: &str) -> String {
        let (fields, _) =
            fields(&format!("<xml><Content>{inside}</Content></xml>")).expect("a message");
        fields.text("Content").expect("a text").to_owned()
    }

    #[test]
    fn text_is_read_in_every_xml_notation() {
        for (written, meant) in [
            ("", ""),
            ("你好", "你好"),
            (" a  b ", " a  b "),
            ("a\r\nb\rc", "a\nb\nc"),
            ("&lt;&amp;&gt;&quot;&apos; &#x4f60;&#22909;", "<&>\"' 你好"),
            ("&lt; &gt;", "< >"),
            ("<![CDATA[<b>&amp;</b>]]>", "<b>&amp;</b>"),
            ("<![CDATA[ a ]]>", " a "),
            ("\n  <![CDATA[a]]>\n", "a"),
            ("<![CDATA[]]>", ""),
            ("<![CDATA[a]]]]><![CDATA[>b]]>", "a]]>b"),
            ("x <![CDATA[y]]> z", "x y z"),
            ("a<!-- c -->b", "ab"),
            ("<![CDATA[a\u{8}b]]>", "a\u{fffd}b"),
            ("a\u{0}b\u{1f}\u{ffff}", "a\u{fffd}b\u{fffd}\u{fffd}"),
            (
                "a&#0;b&#1;&#xd800;&#x110000;&#;&#x;",
                "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            ),
            ("a&nbsp;b &copy;", "a&nbsp;b &copy;"),
            ("?a=1&b=2", "?a=1&b=2"),
            ("a & b&", "a & b&"),
            ("&;", "&;"),
        ] {
            assert_eq!(content(written), meant, "{written:?}");
        }
    }

    #[test]
    fn layout_declaration_and_attributes_do_not_matter() {
        for document in [
            "<xml><A>1</A><B><C/></B></xml>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xml>\n  <A x='1'>1</A>\n\t<B>\r\n<C></C> </B>\n</xml>\n",
            "<!-- a --><xml ><A>1</A ><?b c?><B><C /></B></xml><!-- d -->",
        ] {
            let (fields, repaired) = fields(document).expect("a message");
            assert_eq!(
                (fields.to_json().as_str(), repaired),
                (r#"{"A":"1","B":{"C":""}}"#, None),
                "{document}"
            );
        }
    }

    #[test]
    fn each_invalid_document_has_its_error() {
        use MessageError::*;
        for (document, error) in [
            ("", NotAMessage),
            ("hello", Malformed),
            ("<xml></xml>", NotAMessage),
            ("<xml>text</xml>", NotAMessage),
            ("<html><A>1</A></html>", NotAMessage),
            ("<XML><A>1</A></XML>", NotAMessage),
            ("<!DOCTYPE xml><xml><A>1</A></xml>", TypeDefinition),
            (
                "<!doctype xml [<!ENTITY a \"b\">]><xml><A>&a;</A></xml>",
                TypeDefinition,
            ),
            ("<xml><!DOCTYPE a><A>1</A></xml>", TypeDefinition),
            ("<!ENTITY a \"b\"><xml><A>1</A></xml>", Malformed),
            ("<xml><A>1</B></xml>", Malformed),
            ("<xml><A>1</xml>", Malformed),
            ("<xml><A>1</A>", Malformed),
            ("<xml><A>1</A></xml></xml>", Malformed),
            ("<xml><A>1</A></xml><xml><A>2</A></xml>", Malformed),
            ("<xml><A>1</A></xml>2", Malformed),
            ("0<xml><A>1</A></xml>", Malformed),
            ("<![CDATA[0]]><xml><A>1</A></xml>", Malformed),
            ("<xml>0<A>1</A></xml>", Malformed),
            ("<xml><A><![CDATA[1</A></xml>", Malformed),
            ("<xml><A b>1</A></xml>", Malformed),
            ("<xml><1>1</1></xml>", Malformed),
            ("<xml><>1</></xml>", Malformed),
            ("<xml><a\"b>1</a\"b></xml>", Malformed),
        ] {
            assert_eq!(fields(document).err(), Some(error), "{document}");
        }
    }

    #[test]
    fn depth_and_count_are_bounded() {
        let nested = |depth: usize| {
            format!(
                "<xml>{}{}</xml>",
                "<a>".repeat(depth - 1),
                "</a>".repeat(depth - 1)
            )
        };
        assert!(fields(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(
            fields(&nested(MAX_DEPTH + 1)).err(),
            Some(MessageError::TooDeep)
        );
        let listed = |number: usize| format!("<xml>{}</xml>", "<a/>".repeat(number - 1));
        assert!(fields(&listed(MAX_ELEMENTS)).is_ok());
        assert_eq!(
            fields(&listed(MAX_ELEMENTS + 1)).err(),
            Some(MessageError::TooManyElements)
        );
    }
    #[test]
    fn replacements_are_reported() {
        let repaired = |inside: &str| {
            fields(&format!("<xml><A>{inside}</A></xml>"))
                .expect("a message")
                .1
        };
        for clean in ["a", "&lt;&#22909;", "<![CDATA[a & b]]>", ""] {
            assert_eq!(repaired(clean), None, "{clean}");
        }
        for entity in ["a & b", "&nbsp;", "&#0;", "&#xd800;"] {
            assert!(repaired(entity).is_some(), "{entity}");
        }
        assert_eq!(repaired("a\u{8}"), Some(MessageError::Character));
    }
}
