//! The caller's parameters: those of the query, of a form and the members of a JSON object count
//! alike, each at most once.

use std::fmt;

use actix_web::HttpRequest;
use actix_web::http::header;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::refused::Refused;

#[derive(Default)]
pub(super) struct Fields(Vec<(String, String)>);

/// The format of the body, by its `Content-Type`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Form,
    Json,
}

impl Fields {
    /// Whether the body of `req` is a form or JSON.
    pub(super) fn are_in_body(req: &HttpRequest) -> bool {
        kind(req).is_some()
    }

    /// Reads the query and `body`.
    pub(super) fn of(req: &HttpRequest, body: &[u8]) -> Result<Self, Refused> {
        let mut fields = Self::default();
        fields.add(req.query_string().as_bytes());
        match kind(req) {
            Some(Kind::Form) => fields.add(body),
            // Some clients send the type with an empty body.
            Some(Kind::Json) if !body.is_empty() => fields.add_members(body)?,
            _ => {}
        }
        Ok(fields)
    }

    fn add(&mut self, pairs: &[u8]) {
        self.0.extend(
            url::form_urlencoded::parse(pairs)
                .map(|(name, value)| (name.into_owned(), value.into_owned())),
        );
    }

    fn add_members(&mut self, body: &[u8]) -> Result<(), Refused> {
        // serde_json's message quotes the input, which may be a secret.
        let Members(members) = serde_json::from_slice(body).map_err(|_| Refused::NoObject)?;
        for (name, value) in members {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text,
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Array(_) | Value::Object(_) => return Err(Refused::NoText(name)),
            };
            self.0.push((name, text));
        }
        Ok(())
    }

    /// The value of `name`; an empty one counts as missing.
    pub(super) fn one(&self, name: &'static str) -> Result<Option<&str>, Refused> {
        let mut values = self
            .0
            .iter()
            .filter(|(pair, _)| pair == name)
            .map(|(_, value)| value.as_str());
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

fn kind(req: &HttpRequest) -> Option<Kind> {
    let content_type = req
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => Some(Kind::Form),
        "application/json" | "text/json" => Some(Kind::Json),
        other => {
            (other.starts_with("application/") && other.ends_with("+json")).then_some(Kind::Json)
        }
    }
}

/// The members of an object including duplicates; serde_json's map would keep only the last.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn fields(content_type: &str, body: &str) -> Result<Fields, String> {
        let request = TestRequest::with_uri("/x?q=1")
            .insert_header((header::CONTENT_TYPE, content_type))
            .to_http_request();
        Fields::of(&request, body.as_bytes()).map_err(|refused| refused.to_string())
    }

    #[test]
    fn json_and_forms_are_read_alike() {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        for (content_type, body) in [
            (form, "appid=wx1&code=0815&n=12"),
            (
                "application/json",
                r#"{"appid":"wx1","code":"0815","n":12}"#,
            ),
            (
                "Application/JSON;charset=UTF-8",
                r#" { "appid" : "wx1", "code": "0815", "n": 12, "none": null } "#,
            ),
            (
                "application/vnd.x+json",
                r#"{"appid":"wx1","code":"0815","n":12}"#,
            ),
        ] {
            let fields = fields(content_type, body).unwrap_or_else(|error| panic!("{error}"));
            let one = |name| {
                fields
                    .one(name)
                    .ok()
                    .flatten()
                    .unwrap_or_default()
                    .to_owned()
            };
            assert_eq!(
                [one("q"), one("appid"), one("code"), one("n"), one("none")],
                ["1", "wx1", "0815", "12", ""],
                "{content_type}"
            );
        }
    }

    #[test]
    fn a_body_that_is_not_a_flat_object_is_refused() {
        let refused = |body: &str| fields("application/json", body).err().unwrap_or_default();
        for body in ["[]", "1", "\"x\"", "{", "{\"a\":1}x", "appid=wx1"] {
            assert!(
                refused(body).starts_with("the body is no JSON object"),
                "{body}"
            );
        }
        assert_eq!(refused(r#"{"secret":{"a":1}}"#), "secret must be a text");
        assert!(fields("application/json", "").is_ok());
        let twice = fields("application/json", r#"{"q":"2"}"#).unwrap_or_default();
        assert!(
            matches!(twice.one("q"), Err(Refused::Repeated("q"))),
            "once in the query and once in the body"
        );
        let twice = fields("application/json", r#"{"a":"1","a":"2"}"#).unwrap_or_default();
        assert!(matches!(twice.one("a"), Err(Refused::Repeated("a"))));
    }
}
