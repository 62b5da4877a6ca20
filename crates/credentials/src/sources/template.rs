//! Texts with places in them that another source's answer fills: `{{results.weixin.access_token}}`.
//! All of it may be secret.

use secrecy::SecretString;
use url::form_urlencoded::byte_serialize;

/// A text with places.
#[derive(Clone, Debug)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(SecretString),
    /// A field of another source's object, by its path.
    Field {
        source: String,
        path: Vec<String>,
    },
}

/// Why a text is no template. It does not show the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("a place opens with {{{{ but does not close with }}}}")]
    Open,
    /// A place of another form.
    #[error("a place must be {{{{results.NAME.FIELD}}}}")]
    NoResult,
}

/// A field that another source's object does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfilled {
    pub(super) source: String,
    pub(super) path: String,
}

impl Template {
    /// A text that is taken as it is, whatever it holds.
    pub fn literal(text: SecretString) -> Self {
        Self(vec![Piece::Text(text)])
    }

    /// A field of what the source called `source` answered, whatever characters either name has.
    pub fn field(source: &str, name: &str) -> Self {
        Self(vec![Piece::Field {
            source: source.to_owned(),
            path: vec![name.to_owned()],
        }])
    }

    /// Reads `text`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, inside)) = rest.split_once("{{") {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            let (place, after) = inside.split_once("}}").ok_or(TemplateError::Open)?;
            let mut path = place
                .trim()
                .strip_prefix("results.")
                .ok_or(TemplateError::NoResult)?
                .split('.')
                .map(str::to_owned);
            let source = path.next().unwrap_or_default();
            let path: Vec<String> = path.collect();
            if source.is_empty() || path.is_empty() || path.iter().any(String::is_empty) {
                return Err(TemplateError::NoResult);
            }
            pieces.push(Piece::Field { source, path });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self(pieces))
    }

    /// The sources that it reads.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Field { source, .. } => Some(source.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// Like [`Template::fill`], for a form: the values are encoded, the text around them is not.
    pub(super) fn fill_form(
        &self,
        field: impl Fn(&str, &[String]) -> Option<String>,
    ) -> Result<Vec<SecretString>, Unfilled> {
        self.fill(|source, path| Some(byte_serialize(field(source, path)?.as_bytes()).collect()))
    }

    /// Returns the parts of the text with its placeholders replaced by `field`, which gets a source
    /// and a path. The parts stay separate, because each may be a separate secret, such as what
    /// follows `Bearer `.
    pub(super) fn fill(
        &self,
        field: impl Fn(&str, &[String]) -> Option<String>,
    ) -> Result<Vec<SecretString>, Unfilled> {
        let fill = |piece: &Piece| match piece {
            Piece::Text(plain) => Ok(plain.clone()),
            Piece::Field { source, path } => {
                let unfilled = || Unfilled {
                    source: source.clone(),
                    path: path.join("."),
                };
                field(source, path)
                    .map(SecretString::from)
                    .ok_or_else(unfilled)
            }
        };
        self.0.iter().map(fill).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn fill(text: &str) -> Result<String, Unfilled> {
        let field = |source: &str, path: &[String]| (source == "weixin").then(|| path.join("/"));
        let parts = Template::parse(text).expect("a template").fill(field)?;
        Ok(parts.iter().map(SecretString::expose_secret).collect())
    }

    #[test]
    fn placeholders_are_replaced_everywhere() {
        assert_eq!(
            fill("{{results.weixin.access_token}}").as_deref(),
            Ok("access_token")
        );
        assert_eq!(
            fill("Bearer {{ results.weixin.data.token }}!").as_deref(),
            Ok("Bearer data/token!")
        );
        assert_eq!(fill("jsapi } {").as_deref(), Ok("jsapi } {"));
        assert_eq!(fill("").as_deref(), Ok(""));
        let missing = Unfilled {
            source: "other".to_owned(),
            path: "a.b".to_owned(),
        };
        assert_eq!(fill("{{results.other.a.b}}"), Err(missing));
    }

    #[test]
    fn an_invalid_placeholder_is_refused_and_not_shown() {
        assert_eq!(
            Template::parse("{{results.a.b").err(),
            Some(TemplateError::Open)
        );
        for text in [
            "{{}}",
            "{{weixin.a}}",
            "{{results.}}",
            "{{results.a}}",
            "{{results..a}}",
            "{{results.a.}}",
        ] {
            assert_eq!(
                Template::parse(text).err(),
                Some(TemplateError::NoResult),
                "{text}"
            );
        }
    }
}
