//! A source's request, filled from other sources' answers. It remembers what secrets it was filled
//! with, so that no error repeats them.

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::error::UpstreamError;
use super::object;
use super::source::{JsonTemplate, Payload, Source};
use super::template::{Template, Unfilled};
use crate::engine::Cached;

/// What other sources answered, by their names.
pub(super) type Results = BTreeMap<String, Arc<Cached>>;

const FORM: &str = "application/x-www-form-urlencoded";

/// A request that is ready to be sent.
pub(super) struct Request {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<String>,
    /// Secrets that it contains.
    pub(super) sent: Vec<SecretString>,
}

impl Request {
    pub(super) fn of(source: &Source, results: &Results) -> Result<Self, UpstreamError> {
        let mut values = Values {
            results,
            sent: Vec::new(),
        };
        let url = values.url(source)?;
        let mut headers = values.headers(source)?;
        let (media, body) = match &source.body {
            Payload::None => (None, None),
            Payload::Form(form) => {
                let pairs = values.pairs(form)?;
                let mut text = form_urlencoded::Serializer::new(String::new());
                text.extend_pairs(exposed(&pairs));
                (Some(FORM), Some(text.finish()))
            }
            Payload::Json(json) => {
                let json = values.json(json)?.to_string();
                (Some("application/json"), Some(json))
            }
            Payload::Text(template) => {
                let body = values.body(template, is_form(&headers))?;
                (Some(FORM), Some(body))
            }
        };
        if let Some(media) = media {
            headers
                .entry(CONTENT_TYPE)
                .or_insert(HeaderValue::from_static(media));
        }
        Ok(Self {
            url,
            headers,
            body,
            sent: values.sent,
        })
    }
}

/// Whether a body of these headers is a form, as it is without a type.
fn is_form(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|media| {
        let media = media.as_bytes().to_ascii_lowercase();
        media.starts_with(FORM.as_bytes())
    })
}

fn exposed<'p>(pairs: &'p [(&'p str, SecretString)]) -> impl Iterator<Item = (&'p str, &'p str)> {
    pairs
        .iter()
        .map(|(name, value)| (*name, value.expose_secret()))
}

fn unsendable(cause: impl Into<String>) -> UpstreamError {
    let cause = cause.into();
    UpstreamError::Unsendable { cause }
}

/// The parts of an address that may be secret: long path segments, the password and the query's
/// values.
fn secrets_of(url: &Url) -> Vec<SecretString> {
    let segments = url
        .path_segments()
        .into_iter()
        .flatten()
        .filter(|segment| segment.len() >= MAX_WORD_LEN);
    let plain =
        |part| SecretString::from(percent_decode_str(part).decode_utf8_lossy().into_owned());
    let shown = segments.chain(url.password()).map(plain);
    shown
        .chain(
            url.query_pairs()
                .map(|(_, value)| value.into_owned().into()),
        )
        .collect()
}

fn unfilled(Unfilled { source, path }: Unfilled) -> UpstreamError {
    UpstreamError::Unfilled {
        source_name: source,
        field: path,
    }
}

/// A path segment of this length or more may be a key.
const MAX_WORD_LEN: usize = 16;

/// Fills templates and remembers with what.
struct Values<'r> {
    results: &'r Results,
    sent: Vec<SecretString>,
}

impl Values<'_> {
    fn url(&mut self, source: &Source) -> Result<Url, UpstreamError> {
        let url = source.url.expose_secret().parse();
        let mut url: Url = url.map_err(|_| unsendable("its url is no address"))?;
        self.sent.extend(secrets_of(&url));
        if !source.query.is_empty() {
            let pairs = self.pairs(&source.query)?;
            url.query_pairs_mut().extend_pairs(exposed(&pairs));
        }
        Ok(url)
    }

    fn headers(&mut self, source: &Source) -> Result<HeaderMap, UpstreamError> {
        let mut headers = HeaderMap::new();
        for (name, template) in &source.headers {
            let value = self.text(template)?;
            let value = HeaderValue::from_str(value.expose_secret());
            let mut value = value.map_err(|_| {
                unsendable(format!("the header {name} would hold what no header may"))
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }

    fn field(&self, source: &str, path: &[String]) -> Option<String> {
        let cached = self.results.get(source)?;
        object::field(cached.value().expose_secret(), path).and_then(object::as_text)
    }

    /// A complete body. In a form each value may be a separate secret.
    fn body(&mut self, template: &Template, is_form: bool) -> Result<String, UpstreamError> {
        let field = |source: &str, path: &[String]| self.field(source, path);
        let parts = if is_form {
            template.fill_form(field)
        } else {
            template.fill(field)
        };
        let text: String = parts
            .map_err(unfilled)?
            .iter()
            .map(SecretString::expose_secret)
            .collect();
        if is_form {
            self.sent.extend(
                form_urlencoded::parse(text.as_bytes()).map(|(_, value)| value.into_owned().into()),
            );
        }
        // Also the single values, for a body that is not a form.
        self.text(template)?;
        Ok(text)
    }

    fn text(&mut self, template: &Template) -> Result<SecretString, UpstreamError> {
        let parts = template
            .fill(|source, path| self.field(source, path))
            .map_err(unfilled)?;
        let text: String = parts.iter().map(SecretString::expose_secret).collect();
        self.sent.extend(parts);
        Ok(text.into())
    }

    fn pairs<'p>(
        &mut self,
        pairs: &'p [(String, Template)],
    ) -> Result<Vec<(&'p str, SecretString)>, UpstreamError> {
        pairs
            .iter()
            .map(|(name, template)| Ok((name.as_str(), self.text(template)?)))
            .collect()
    }

    fn json(&mut self, template: &JsonTemplate) -> Result<Value, UpstreamError> {
        Ok(match template {
            JsonTemplate::Text(text) => Value::from(self.text(text)?.expose_secret()),
            JsonTemplate::List(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.json(item))
                    .collect::<Result<_, _>>()?,
            ),
            JsonTemplate::Table(members) => {
                let members = members
                    .iter()
                    .map(|(name, member)| Ok((name.clone(), self.json(member)?)));
                Value::Object(members.collect::<Result<_, UpstreamError>>()?)
            }
            JsonTemplate::Plain(value) => value.clone(),
        })
    }
}
