//! One call to a source's service: the request filled from other sources' answers, sent within a
//! bound, the answer read. It keeps nothing; when to call is for the engine to say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::error::UpstreamError;
use super::object;
use super::reply;
use super::source::{JsonTemplate, Payload, Source};
use super::template::{Template, Unfilled};
use crate::engine::{Cached, Granted};
use wechat::{ClientError, chain, exchange, is_loopback};

/// What other sources answered, by their names.
pub(super) type Results = BTreeMap<String, Arc<Cached>>;

/// A client of all services.
pub(super) struct SourceClient {
    outside: Client,
    /// For this machine, which no proxy leads to.
    inside: Client,
    timeout: Duration,
}

impl SourceClient {
    pub(super) fn new(timeout: Duration) -> Result<Self, ClientError> {
        let builder = || {
            let named = Client::builder().user_agent(concat!("jsdkd/", env!("CARGO_PKG_VERSION")));
            // A redirect would send a secret to a host that is not configured.
            named
                .redirect(reqwest::redirect::Policy::none())
                .pool_idle_timeout(Duration::from_secs(30))
        };
        let outside = builder().build().map_err(|error| ClientError::of(&error))?;
        let inside = builder()
            .no_proxy()
            .build()
            .map_err(|error| ClientError::of(&error))?;
        Ok(Self {
            outside,
            inside,
            timeout,
        })
    }

    /// Asks `source`'s service. A call that may have arrived is not repeated: it may have voided
    /// what was granted before.
    pub(super) async fn fetch(
        &self,
        source: &Source,
        results: &Results,
    ) -> Result<Granted, UpstreamError> {
        let mut values = RequestValues {
            results,
            sent: Vec::new(),
        };
        let request = self.request(source, &mut values)?;
        let exchange = async {
            match exchange(request).await {
                Ok((status, body)) => reply::read(source, status, &body, &values.sent),
                Err(error) if error.is_timeout() => Err(UpstreamError::TimedOut {
                    after: self.timeout,
                }),
                Err(error) if error.is_builder() => Err(UpstreamError::Unsendable {
                    cause: chain(&error.without_url()),
                }),
                Err(error) => Err(UpstreamError::Unreachable {
                    cause: chain(&error.without_url()),
                }),
            }
        };
        tokio::time::timeout(self.timeout, exchange)
            .await
            .unwrap_or(Err(UpstreamError::TimedOut {
                after: self.timeout,
            }))
    }

    fn request(
        &self,
        source: &Source,
        values: &mut RequestValues<'_>,
    ) -> Result<RequestBuilder, UpstreamError> {
        let unsendable = |cause: &str| UpstreamError::Unsendable {
            cause: cause.to_owned(),
        };
        let mut url: Url = source
            .url
            .expose_secret()
            .parse()
            .map_err(|_| unsendable("its url is no address"))?;
        values.sent.extend(secrets_of(&url));
        if !source.query.is_empty() {
            let pairs = values.pairs(&source.query)?;
            url.query_pairs_mut().extend_pairs(
                pairs
                    .iter()
                    .map(|(name, value)| (name, value.expose_secret())),
            );
        }
        let client = if is_loopback(&url) {
            &self.inside
        } else {
            &self.outside
        };
        let mut request = client.request(source.method.clone(), url);
        let mut headers = reqwest::header::HeaderMap::new();
        for (name, template) in &source.headers {
            let value = values.text(template)?;
            let value = HeaderValue::from_str(value.expose_secret());
            let mut value = value.map_err(|_| {
                unsendable(&format!("the header {name} would hold what no header may"))
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let (media, body) = match &source.body {
            Payload::None => (None, None),
            Payload::Form(form) => {
                let pairs = values.pairs(form)?;
                let mut text = form_urlencoded::Serializer::new(String::new());
                text.extend_pairs(
                    pairs
                        .iter()
                        .map(|(name, value)| (name, value.expose_secret())),
                );
                (Some(FORM), Some(text.finish()))
            }
            Payload::Json(json) => (
                Some("application/json"),
                Some(values.json(json)?.to_string()),
            ),
            Payload::Text(template) => {
                let media = headers.get(CONTENT_TYPE);
                let is_form = media.is_none_or(|media| {
                    media
                        .as_bytes()
                        .to_ascii_lowercase()
                        .starts_with(FORM.as_bytes())
                });
                (Some(FORM), Some(values.body(template, is_form)?))
            }
        };
        if let Some(media) = media {
            headers
                .entry(CONTENT_TYPE)
                .or_insert(HeaderValue::from_static(media));
        }
        request = request.headers(headers);
        Ok(match body {
            Some(body) => request.body(body),
            None => request,
        })
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

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

/// Fills a request's templates and remembers with what.
struct RequestValues<'r> {
    results: &'r Results,
    sent: Vec<SecretString>,
}

impl RequestValues<'_> {
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
