//! Reads the templates of a source's request: texts with placeholders for the results of other
//! sources.

use super::node::Node;
use super::reader::{At, did_you_mean};
use credentials::sources::{JsonTemplate, Payload, Template};

const PAIRS: &str =
    "an object: { name: \"value\", other: \"{{results.NAME.field}}\", key: { env: \"NAME\" } }";

/// Reads templates, which may use the results of other sources. Holds the names of all sources.
#[derive(Clone, Copy)]
pub(super) struct Templates<'n>(pub(super) &'n [&'n str]);

impl Templates<'_> {
    /// The members of an object, each a template.
    pub(super) fn pairs(self, at: &At<'_>) -> Vec<(String, Template)> {
        if !matches!(at.node(), Node::Table(_)) {
            at.expected_secret(PAIRS);
        }
        at.members()
            .filter_map(|(name, at)| Some((name.to_owned(), self.template(&at)?)))
            .collect()
    }

    /// A text with placeholders, a number, or a reference to a secret, which has no placeholders.
    pub(super) fn template(self, at: &At<'_>) -> Option<Template> {
        let text = match at.node() {
            Node::Text(text) => text.to_owned(),
            Node::Int(number) => number.to_string(),
            Node::Float(number) => number.to_string(),
            Node::Bool(value) => value.to_string(),
            _ => return at.secret().map(Template::literal),
        };
        let template = Template::parse(&text)
            .map_err(|fault| at.fault(fault.to_string()))
            .ok()?;
        for name in template.sources() {
            self.check(at, name);
        }
        Some(template)
    }

    /// Reports a source that does not exist.
    pub(super) fn check(self, at: &At<'_>, name: &str) {
        if !self.0.contains(&name) {
            at.fault(format!(
                "no source is called {name:?}{}",
                did_you_mean(name, self.0)
            ));
        }
    }

    /// Text is sent as it is, everything else as JSON.
    pub(super) fn body(self, at: &At<'_>) -> Option<Payload> {
        match at.node() {
            Node::Text(_) => self.template(at).map(Payload::Text),
            _ if at.secret_reference().is_some() => self.template(at).map(Payload::Text),
            _ => self.json(at).map(Payload::Json),
        }
    }

    fn json(self, at: &At<'_>) -> Option<JsonTemplate> {
        Some(match at.node() {
            Node::Table(_) if at.secret_reference().is_none() => {
                let members = at
                    .members()
                    .map(|(name, at)| Some((name.to_owned(), self.json(&at)?)));
                JsonTemplate::Table(members.collect::<Option<_>>()?)
            }
            Node::List(_) => JsonTemplate::List(
                at.one_or_more()
                    .iter()
                    .map(|item| self.json(item))
                    .collect::<Option<_>>()?,
            ),
            Node::Text(_) | Node::Table(_) => JsonTemplate::Text(self.template(at)?),
            plain => JsonTemplate::Plain(plain.to_json()),
        })
    }
}
