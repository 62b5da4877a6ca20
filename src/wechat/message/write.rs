//! The XML that we write: elements with CDATA or numbers in them, and only characters that XML may have.

use std::fmt::Display;

use super::is_xml_char;

/// An XML document under way, inside its root element.
pub(crate) struct Xml(String);

impl Xml {
    pub(crate) fn new() -> Self {
        Self("<xml>".to_owned())
    }

    /// An element with `text` in CDATA, which keeps everything as it is but its own end: that is split over two sections.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        let text = legal(text).replace("]]>", "]]]]><![CDATA[>");
        self.0.push_str(&format!("<{name}><![CDATA[{text}]]></{name}>"));
    }

    /// An element with a number in it.
    pub(crate) fn number(&mut self, name: &str, number: impl Display) {
        self.0.push_str(&format!("<{name}>{number}</{name}>"));
    }

    /// An element with what `inside` writes in it.
    pub(crate) fn nested(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        self.0.push_str(&format!("<{name}>"));
        inside(self);
        self.0.push_str(&format!("</{name}>"));
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("</xml>");
        self.0
    }
}

/// `text` without the control characters that XML 1.0 cannot have in any way of writing: with one of them the whole answer would
/// not be XML.
pub(super) fn legal(text: &str) -> String {
    text.chars().filter(|c| is_xml_char(*c)).collect()
}
