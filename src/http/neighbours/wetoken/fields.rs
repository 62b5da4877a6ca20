//! What a caller says beside the address: the pairs of the query and those of a form are the same, each at most once.

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header;

use super::Refused;
use crate::http::body;
use crate::http::state::AppState;

pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) async fn of(state: &AppState, req: &HttpRequest, payload: Payload) -> Result<Self, Refused> {
        let mut fields = Self(Vec::new());
        fields.add(req.query_string().as_bytes());
        if is_form(req) {
            fields.add(&body::raw(req, payload, state).await?);
        }
        Ok(fields)
    }

    fn add(&mut self, pairs: &[u8]) {
        self.0.extend(url::form_urlencoded::parse(pairs).map(|(name, value)| (name.into_owned(), value.into_owned())));
    }

    /// The value of `name`; one that is empty counts as none.
    pub(super) fn one(&self, name: &'static str) -> Result<Option<&str>, Refused> {
        let mut values = self.0.iter().filter(|(pair, _)| pair == name).map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_some() {
            return Err(Refused::Repeated(name));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    pub(super) fn need(&self, name: &'static str) -> Result<&str, Refused> {
        self.one(name)?.ok_or(Refused::Missing(name))
    }
}

fn is_form(req: &HttpRequest) -> bool {
    let content_type = req.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
