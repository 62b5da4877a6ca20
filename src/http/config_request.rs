//! The caller's part of a `wx.config`: a JSON object that is returned byte for byte without the
//! four fields that only we may set, and the address in it that is signed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use percent_encoding::percent_decode_str;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::ApiError;

/// The fields that we set for `wx.config`; a caller's own are dropped.
pub(super) const CONFIG_FIELDS: [&str; 4] = ["appId", "timestamp", "nonceStr", "signature"];

/// The same for WeCom's `wx.agentConfig`.
pub(super) const AGENT_FIELDS: [&str; 5] =
    ["corpid", "agentid", "timestamp", "nonceStr", "signature"];

/// Names of `GET` parameters that are lists in `wx.config`.
const LISTS: [&str; 2] = ["jsApiList", "openTagList"];

/// Parameters of a `GET` that are ours or part of `wx.config`. Any other one after an unencoded
/// address may be the rest of it.
const KNOWN: [&str; 7] = [
    "url",
    "jsApiList",
    "openTagList",
    "debug",
    "beta",
    "type",
    "agentid",
];

/// Bytes for our four fields, so that the answer needs one allocation.
const OUR_ROOM: usize = 224;

/// The caller's fields, to which ours are added.
#[derive(Debug)]
pub struct ConfigRequest {
    /// An unclosed JSON object: `{` and the caller's fields, each followed by a comma.
    echo: String,
    /// The address to sign, as sent up to `#`.
    url: Option<String>,
    /// Whether the address came unencoded in a query and may have been changed by it.
    is_altered: bool,
}

/// Why the address that is signed may not be the page's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Doubt {
    /// No address was sent.
    Missing,
    /// The `Referer` that is used instead has only an origin, as browsers send it across origins.
    OriginOnly,
    /// It came unencoded in a query: an `&` ended it, or `%` and `+` in it were decoded.
    Altered,
}

impl ConfigRequest {
    /// Reads a request's body; an empty one counts as `{}`.
    pub fn from_body(body: &[u8]) -> Result<Self, ApiError> {
        Self::from_body_without(body, &CONFIG_FIELDS)
    }

    /// As [`ConfigRequest::from_body`]; `ours` are the fields that are dropped.
    pub(super) fn from_body_without(body: &[u8], ours: &[&str]) -> Result<Self, ApiError> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if body.trim_ascii().is_empty() {
            return Ok(Self {
                echo: "{".to_owned(),
                url: None,
                is_altered: false,
            });
        }
        let text = std::str::from_utf8(body)
            .map_err(|_| ApiError::InvalidJson("it is not UTF-8".to_owned()))?;
        if let Some(found) = not_an_object(text) {
            // Invalid JSON is reported before a wrong type.
            serde_json::from_str::<&RawValue>(text)
                .map_err(|error| ApiError::InvalidJson(error.to_string()))?;
            return Err(ApiError::BodyNotAnObject(found));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let echo = json.deserialize_map(EchoVisitor {
            room: body.len() + OUR_ROOM,
            ours,
        });
        let (echo, url) = echo
            .and_then(|echo| json.end().map(|()| echo))
            .map_err(|error| ApiError::InvalidJson(error.to_string()))?;
        Ok(Self {
            echo,
            url: url.map(url_in_json).transpose()?,
            is_altered: false,
        })
    }

    /// Reads a `GET`'s parameters: lists separated by commas or by repeating the name, `debug` as a
    /// boolean, everything else as text.
    pub fn from_query(query: &str) -> Result<Self, ApiError> {
        Self::from_query_without(query, &CONFIG_FIELDS)
    }

    /// As [`ConfigRequest::from_query`]; `ours` are the names that are dropped.
    pub(super) fn from_query_without(query: &str, ours: &[&str]) -> Result<Self, ApiError> {
        let mut fields: Vec<(String, Value)> = Vec::new();
        // A hash map, because anybody may send thousands of names.
        let mut places: HashMap<String, usize> = HashMap::new();
        let (mut url, mut is_bare, mut is_altered) = (None, false, false);
        for raw in query.split('&') {
            let Some((name, value)) = url::form_urlencoded::parse(raw.as_bytes()).next() else {
                continue;
            };
            if ours.contains(&name.as_ref()) || name.is_empty() {
                continue;
            }
            if name == "url" {
                let signed = url_as_sent(&value)?;
                is_bare = raw.contains("://");
                // A browser's address has neither, so a %XX or a + was decoded.
                is_altered =
                    is_bare && signed.contains(|c: char| !c.is_ascii() || c.is_whitespace());
                url = Some(signed);
            }
            is_altered |= is_bare && !KNOWN.contains(&name.as_ref());
            let value: Value = if LISTS.contains(&name.as_ref()) {
                value
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .collect()
            } else if name == "debug" && (value == "true" || value == "false") {
                (value == "true").into()
            } else {
                value.into_owned().into()
            };
            // A repeated name extends a list and replaces anything else; the position stays that of
            // the first.
            let place = *places.entry(name.into_owned()).or_insert_with_key(|name| {
                fields.push((name.clone(), Value::Null));
                fields.len() - 1
            });
            match (&mut fields[place].1, value) {
                (Value::Array(list), Value::Array(more)) => list.extend(more),
                (field, value) => *field = value,
            }
        }
        let mut echo = String::from("{");
        for (name, value) in fields {
            echo.push_str(&format!("{}:{value},", Value::from(name)));
        }
        Ok(Self {
            echo,
            url,
            is_altered,
        })
    }

    /// Why `url`, the result of [`ConfigRequest::url_or`], may not be the page's address.
    pub(super) fn doubt(&self, url: &str) -> Option<Doubt> {
        match &self.url {
            Some(_) => self.is_altered.then_some(Doubt::Altered),
            None if url.is_empty() => Some(Doubt::Missing),
            None => is_origin_only(url).then_some(Doubt::OriginOnly),
        }
    }

    /// The address to sign: the caller's, else the `Referer` if it is a full address, else empty.
    pub fn url_or<'a>(&'a self, referer: Option<&'a str>) -> &'a str {
        match &self.url {
            Some(url) => url,
            None => referer
                .filter(|referer| is_http(referer))
                .map_or("", without_fragment),
        }
    }

    /// The caller's fields as an unclosed object, to which ours are appended.
    pub fn into_echo(self) -> String {
        self.echo
    }
}

/// The type of the JSON value in `text`, unless it is an object.
fn not_an_object(text: &str) -> Option<&'static str> {
    Some(match text.trim_ascii_start().as_bytes().first()? {
        b'{' => return None,
        b'[' => "a list",
        b'"' => "a text",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        _ => "a number",
    })
}

/// Copies the fields that the caller may set and keeps the raw `url`.
struct EchoVisitor<'o> {
    room: usize,
    ours: &'o [&'o str],
}

impl<'de> Visitor<'de> for EchoVisitor<'_> {
    type Value = (String, Option<&'de RawValue>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut echo = String::with_capacity(self.room);
        let mut url = None;
        echo.push('{');
        // Names are copied as written: JSON allows some, such as half a surrogate pair, that a Rust
        // string cannot hold.
        while let Some(name) = map.next_key::<&RawValue>()? {
            let value: &RawValue = map.next_value()?;
            let plain = plain_name(name);
            if self.ours.contains(&plain.as_ref()) {
                continue;
            }
            if plain == "url" {
                // The last one wins, as in a JSON parser.
                url = Some(value);
            }
            echo.push_str(name.get());
            echo.push(':');
            echo.push_str(value.get());
            echo.push(',');
        }
        Ok((echo, url))
    }
}

/// A field's name without quotes and escapes. A name that cannot be unescaped is not one of ours
/// and is returned as it is.
fn plain_name(raw: &RawValue) -> Cow<'_, str> {
    let name = raw.get().trim_matches('"');
    if !name.contains('\\') {
        return Cow::Borrowed(name);
    }
    serde_json::from_str(raw.get()).map_or(Cow::Borrowed(name), Cow::Owned)
}

fn url_in_json(raw: &RawValue) -> Result<String, ApiError> {
    let url: String =
        serde_json::from_str(raw.get()).map_err(|_| ApiError::InvalidUrl("must be a text"))?;
    url_as_sent(&url)
}

/// The part of `url` that is signed: up to `#`, percent-decoded once if the whole address is
/// encoded.
fn url_as_sent(url: &str) -> Result<String, ApiError> {
    let wholly_encoded = ["http%3a", "https%3a"]
        .iter()
        .any(|start| starts_with_ignoring_case(url, start));
    let url = if wholly_encoded {
        percent_decode_str(url)
            .decode_utf8()
            .map_err(|_| ApiError::InvalidUrl("is percent-encoded, but not as UTF-8"))?
    } else {
        Cow::Borrowed(url)
    };
    if is_http(&url) {
        Ok(without_fragment(&url).to_owned())
    } else {
        Err(ApiError::InvalidUrl("must begin with http:// or https://"))
    }
}

/// Whether `url` has scheme and host.
fn is_http(url: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        starts_with_ignoring_case(url, scheme)
            && url[scheme.len()..]
                .starts_with(|c: char| !matches!(c, '/' | '?' | '#') && !c.is_whitespace())
    })
}

/// Whether `url` has nothing after the host but a slash.
fn is_origin_only(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    host.find(['/', '?']).is_none_or(|end| &host[end..] == "/")
}

fn starts_with_ignoring_case(text: &str, start: &str) -> bool {
    text.as_bytes()
        .get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
}

fn without_fragment(url: &str) -> &str {
    memchr::memchr(b'#', url.as_bytes()).map_or(url, |end| &url[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &str) -> Result<(String, String), String> {
        let request =
            ConfigRequest::from_body(body.as_bytes()).map_err(|error| error.code().0.to_owned())?;
        Ok((request.echo.clone(), request.url_or(None).to_owned()))
    }

    #[test]
    fn the_callers_fields_keep_their_order_and_spelling() {
        let body = r#" {"b": 1.0, "a":[1e3,{"x":12345678901234567890}], "url":"https://example.com/?a=b#c", "\u0062c" : null} "#;
        let echo = r#"{"b":1.0,"a":[1e3,{"x":12345678901234567890}],"url":"https://example.com/?a=b#c","\u0062c":null,"#;
        assert_eq!(
            read(body),
            Ok((echo.to_owned(), "https://example.com/?a=b".to_owned()))
        );
    }

    #[test]
    fn half_a_surrogate_pair_is_echoed_but_not_signed() {
        let body = r#"{"\ud800":"\udfff","\ud83d\ude00":1}"#;
        assert_eq!(
            read(body),
            Ok((
                r#"{"\ud800":"\udfff","\ud83d\ude00":1,"#.to_owned(),
                String::new()
            ))
        );
        assert_eq!(
            read(r#"{"url":"https://a.cn/\ud800"}"#),
            Err("invalid_url".to_owned())
        );
    }

    #[test]
    fn our_fields_are_never_the_callers() {
        let body =
            r#"{"appId":"x","timestamp":1,"nonceStr":"n","sign\u0061ture":"s","appid":"kept"}"#;
        assert_eq!(
            read(body),
            Ok((r#"{"appid":"kept","#.to_owned(), String::new()))
        );
    }

    #[test]
    fn only_a_wholly_encoded_address_is_decoded_once() {
        let url = |url: &str| read(&format!(r#"{{"url":"{url}"}}"#)).map(|(_, url)| url);
        assert_eq!(
            url("https%3A%2F%2Fa.cn%2F%3Fq%3D%2520%23x"),
            Ok("https://a.cn/?q=%20".to_owned())
        );
        assert_eq!(
            url("https://a.cn/%3Fq?x=%23#y"),
            Ok("https://a.cn/%3Fq?x=%23".to_owned())
        );
    }

    #[test]
    fn an_address_that_cannot_be_signed_is_refused() {
        for url in [
            "1",
            "null",
            "[]",
            r#""""#,
            r#""/page""#,
            r#""ftp://a.cn""#,
            r#""https://""#,
            r#""javascript:1""#,
        ] {
            assert_eq!(
                read(&format!(r#"{{"url":{url}}}"#)),
                Err("invalid_url".to_owned()),
                "{url}"
            );
        }
        for body in ["[]", "1", "null", r#""x""#, "true"] {
            assert_eq!(read(body), Err("body_not_an_object".to_owned()), "{body}");
        }
        for body in ["{", "{]", "{} x", "nope", "{\"a\":01}", "{'a':1}", "[1"] {
            assert_eq!(read(body), Err("invalid_json".to_owned()), "{body}");
        }
    }

    #[test]
    fn an_empty_body_is_an_empty_object() {
        for body in ["", " \n", "{}", "\u{feff}{}"] {
            assert_eq!(read(body), Ok(("{".to_owned(), String::new())), "{body:?}");
        }
    }

    #[test]
    fn only_a_full_referer_replaces_the_address() {
        let request = ConfigRequest::from_body(b"{}").expect("an empty object is read");
        assert_eq!(
            request.url_or(Some("https://a.cn/page?x=1#top")),
            "https://a.cn/page?x=1"
        );
        for referer in ["/page", "about:blank", "android-app://x", ""] {
            assert_eq!(request.url_or(Some(referer)), "", "{referer}");
        }
    }

    #[test]
    fn a_get_has_the_same_fields_as_parameters() {
        let request = ConfigRequest::from_query(
            "url=https%3A%2F%2Fa.cn%2F%3Fx%3D1%23t&jsApiList=a,b&debug=true&appId=x&any=1",
        );
        let request = request.expect("the parameters are read");
        let echo = r#"{"url":"https://a.cn/?x=1#t","jsApiList":["a","b"],"debug":true,"any":"1","#;
        assert_eq!(
            (request.echo.as_str(), request.url_or(None)),
            (echo, "https://a.cn/?x=1")
        );
        let lists = ConfigRequest::from_query("jsApiList=a,,%20b&openTagList=&jsApiList=c")
            .expect("the parameters are read");
        assert_eq!(
            lists.echo,
            r#"{"jsApiList":["a","b","c"],"openTagList":[],"#
        );
        assert_eq!(
            ConfigRequest::from_query("")
                .expect("no parameters are fine")
                .echo,
            "{"
        );
    }

    #[test]
    fn an_unencoded_url_is_warned_about_if_it_changed() {
        let doubt = |query: &str| {
            let request = ConfigRequest::from_query(query).expect("the parameters are read");
            request.doubt(request.url_or(None))
        };
        for query in [
            "url=https://a.cn/?b=1&c=2",
            "url=https://a.cn/?b=1&c=2&jsApiList=x",
            "jsApiList=x&debug=true&url=https://a.cn/?b=1&c",
            "url=https://a.cn/&c=2",
            "url=https://a.cn/?q=%20",
            "url=https://a.cn/?q=a+b",
            "url=https://a.cn/%E5%BE%AE",
        ] {
            assert_eq!(doubt(query), Some(Doubt::Altered), "{query}");
        }
        for query in [
            "url=https%3A%2F%2Fa.cn%2F%3Fb%3D1%26c%3D2&any=1",
            "url=https%253A%252F%252Fa.cn%252F&any=1",
            "url=https://a.cn/?b=1&jsApiList=x&openTagList=y&debug=true&beta=1&appId=x&timestamp=1&=nameless",
            "any=1&url=https://a.cn/",
            "url=https://a.cn/&any=1&url=https%3A%2F%2Fa.cn%2F",
            "url=https://a.cn/%3Fb%3D1%26c%3D2",
        ] {
            assert_eq!(doubt(query), None, "{query}");
        }
    }

    #[test]
    fn a_referer_without_a_path_is_warned_about() {
        let request = ConfigRequest::from_body(b"{}").expect("an empty object is read");
        let doubt = |referer: &str| request.doubt(request.url_or(Some(referer)));
        for origin in [
            "https://a.cn/",
            "https://a.cn",
            "http://a.cn:8080/",
            "https://[::1]/",
            "https://a.cn/#x",
        ] {
            assert_eq!(doubt(origin), Some(Doubt::OriginOnly), "{origin}");
        }
        for page in [
            "https://a.cn/x",
            "https://a.cn/?x",
            "https://a.cn?x",
            "https://a.cn//",
        ] {
            assert_eq!(doubt(page), None, "{page}");
        }
        assert_eq!(
            (doubt("about:blank"), doubt("")),
            (Some(Doubt::Missing), Some(Doubt::Missing))
        );
        let own = ConfigRequest::from_body(br#"{"url":"https://a.cn/"}"#).expect("an object");
        assert_eq!(own.doubt(own.url_or(None)), None);
    }

    proptest! {
        #[test]
        fn nothing_a_caller_sends_panics_or_breaks_the_json(body in r#"[\{\}\[\]":,a\\u0-9 \n#%]{0,40}"#) {
            if let Ok(request) = ConfigRequest::from_body(body.as_bytes()) {
                let whole = format!("{}\"appId\":1}}", request.echo);
                prop_assert!(serde_json::from_str::<serde_json::Value>(&whole).is_ok(), "{}", whole);
            }
        }

        #[test]
        fn the_fragment_never_matters(tail in "[a-z0-9/?&=%]{0,20}", fragment in "[a-z#/]{0,10}") {
            let with = url_as_sent(&format!("https://a.cn/{tail}#{fragment}")).expect("a good address");
            prop_assert_eq!(with, format!("https://a.cn/{tail}"));
        }
    }
}
