//! The decoded parameters of a query string. A parameter that is given twice is an error, because
//! it is unclear which value is meant.

use std::borrow::Cow;

use actix_web::HttpRequest;

use super::error::ApiError;

/// A query's pairs.
pub(super) struct Params<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Params<'a> {
    pub(super) fn of(req: &'a HttpRequest) -> Self {
        Self(url::form_urlencoded::parse(req.query_string().as_bytes()).collect())
    }

    /// Whether `name` is present, even if empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(pair, _)| pair == name)
    }

    /// The value of `name`; an empty one counts as missing.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self
            .0
            .iter()
            .filter(|(pair, _)| pair == name)
            .map(|(_, value)| value.as_ref());
        let value = values.next();
        if values.next().is_some() {
            return Err(ApiError::MalformedQuery(format!(
                "the parameter {name:?} is given more than once"
            )));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// What the value of `name` means by the table `known`; `None` if it is missing.
    pub(super) fn word<T>(&self, name: &str, known: &[(&str, T)]) -> Result<Option<T>, ApiError>
    where
        T: Copy,
    {
        let Some(value) = self.one(name)? else {
            return Ok(None);
        };
        let meaning = known
            .iter()
            .find(|(word, _)| *word == value)
            .map(|(_, meaning)| *meaning);
        let words = || {
            known
                .iter()
                .map(|(word, _)| *word)
                .collect::<Vec<_>>()
                .join(" or ")
        };
        meaning
            .map(Some)
            .ok_or_else(|| ApiError::MalformedQuery(format!("{name} must be {}", words())))
    }
}
