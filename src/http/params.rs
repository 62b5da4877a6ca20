//! The parameters of a query string, decoded, each at most once: a second value would leave it open which of the two was meant.

use std::borrow::Cow;

use actix_web::HttpRequest;

use super::error::ApiError;

/// A query's pairs.
pub(super) struct Params<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Params<'a> {
    pub(super) fn of(req: &'a HttpRequest) -> Self {
        Self(url::form_urlencoded::parse(req.query_string().as_bytes()).collect())
    }

    /// Whether `name` is there, be it empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(pair, _)| pair == name)
    }

    /// The value of `name`; one that is empty counts as none.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.0.iter().filter(|(pair, _)| pair == name).map(|(_, value)| value.as_ref());
        let value = values.next();
        if values.next().is_some() {
            return Err(ApiError::MalformedQuery(format!("the parameter {name:?} is given more than once")));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// The meaning of the word that `name` holds, if it holds one.
    pub(super) fn word<T>(&self, name: &str, known: &[(&str, T)]) -> Result<Option<T>, ApiError>
    where
        T: Copy,
    {
        let Some(value) = self.one(name)? else { return Ok(None) };
        let meaning = known.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
        let words = || known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or ");
        meaning.map(Some).ok_or_else(|| ApiError::MalformedQuery(format!("{name} must be {}", words())))
    }
}
