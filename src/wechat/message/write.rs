//! The XML that we write: elements with CDATA or numbers in them, and only characters that XML may have.

use std::borrow::Cow;
use std::fmt::Display;

use super::is_xml_char;

/// An XML document under way, inside its root element.
pub(crate) struct Xml(String);

impl Xml {
    pub(crate) fn new() -> Self {
        let mut xml = String::with_capacity(512);
        xml.push_str("<xml>");
        Self(xml)
    }

    /// An element with `text` in CDATA, which keeps everything as it is but its own end: that is split over two sections.
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

    /// An element with a number in it.
    pub(crate) fn number(&mut self, name: &str, number: impl Display) {
        self.open(name);
        self.0.push_str(&number.to_string());
        self.close(name);
    }

    /// An element with what `inside` writes in it.
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

/// `text` without the control characters that XML 1.0 cannot have in any way of writing: with one of them the whole answer would
/// not be XML.
pub(super) fn legal(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_xml_char) { Cow::Borrowed(text) } else { text.chars().filter(|c| is_xml_char(*c)).collect() }
}
