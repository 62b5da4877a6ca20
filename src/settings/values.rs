//! Reads one value: a text, a secret, a number, a duration. Each method reports a fault and returns
//! `None` if the value is not valid.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::node::Node;
use super::reader::{At, did_you_mean};
use credentials::files;

impl<'a> At<'a> {
    /// A text that is not empty.
    pub(super) fn text(&self, expected: &str) -> Option<&'a str> {
        match self.node() {
            Node::Text(text) if !text.is_empty() => Some(text),
            _ => {
                self.expected(expected);
                None
            }
        }
    }

    /// Returns the text, which may be empty.
    pub(super) fn plain_text(&self) -> Option<&'a str> {
        if let Node::Text(text) = self.node() {
            Some(text)
        } else {
            None
        }
    }

    /// A secret: a text that is not empty, `{ env: "NAME" }` or `{ file: "/path" }`.
    pub(super) fn secret(&self) -> Option<SecretString> {
        const EXPECTED: &str = "a text, { env: \"NAME\" } or { file: \"/path\" }";
        match (self.node(), self.secret_reference()) {
            (Node::Text(text), _) if !text.is_empty() => Some(text.into()),
            (_, Some(("env", name))) => {
                let value = self.env().get(name);
                if value.is_none() {
                    self.fault(format!("the variable {name} is not set, or is empty; set it in the environment of jsdkd"));
                }
                value.map(SecretString::from)
            }
            (_, Some((_, file))) => match files::read_text(Path::new(file), files::SMALL) {
                Ok(text) => {
                    self.note_secret_file(Path::new(file));
                    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| {
                        line.strip_suffix('\r').unwrap_or(line)
                    });
                    if line.is_empty() {
                        self.fault(format!("the file {file} is empty"));
                    }
                    (!line.is_empty()).then(|| line.into())
                }
                Err(fault) => {
                    self.fault(format!("the file {file} {fault}"));
                    None
                }
            },
            _ => {
                self.expected_secret(EXPECTED);
                None
            }
        }
    }

    /// Whether an optional secret counts as absent: an empty text, or a variable that is set but
    /// empty, as a compose file passes it on. A variable that is not set is probably misspelt, and
    /// is a fault.
    pub(super) fn is_blank(&self) -> bool {
        match (self.node(), self.secret_reference()) {
            (Node::Text(text), _) => text.is_empty(),
            (Node::List(items), _) if !items.is_empty() => {
                self.one_or_more().iter().all(At::is_blank)
            }
            (_, Some(("env", name))) => self.env().is_blank(name),
            _ => false,
        }
    }

    /// `("env", NAME)` or `("file", PATH)` if this is the object that says where a secret is.
    pub(super) fn secret_reference(&self) -> Option<(&'a str, &'a str)> {
        let Node::Table(members) = self.node() else {
            return None;
        };
        let (word, value) = members.first().filter(|_| members.len() == 1)?;
        match Node::of(value) {
            Node::Text(text) if matches!(word.as_str(), "env" | "file") && !text.is_empty() => {
                Some((word, text))
            }
            _ => None,
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.node() {
            Node::Bool(value) => Some(value),
            _ => {
                self.expected("true or false");
                None
            }
        }
    }

    /// A whole number within `range`.
    pub(super) fn number(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let number = match self.node() {
            Node::Int(number) => u32::try_from(number)
                .ok()
                .filter(|number| range.contains(number)),
            _ => None,
        };
        if number.is_none() {
            self.expected(&format!(
                "a whole number from {} to {}",
                range.start(),
                range.end()
            ));
        }
        number
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = if let Node::Text(text) = self.node() {
            text
        } else {
            ""
        };
        let known = words
            .iter()
            .find_map(|(word, meaning)| (*word == text).then_some(*meaning));
        if known.is_none() {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            self.expected(&format!(
                "{}{}",
                quoted.join(" or "),
                did_you_mean(text, &names)
            ));
        }
        known
    }

    /// A duration with its unit, within `range`.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let span = match self.node() {
            Node::Text(text) => humantime::parse_duration(text).ok(),
            _ => None,
        };
        let bare = match self.node() {
            Node::Int(_) | Node::Float(_) => true,
            Node::Text(text) => text.parse::<f64>().is_ok(),
            _ => false,
        };
        match span {
            Some(span) if range.contains(&span) => return Some(span),
            _ if bare => self.expected("a time with its unit, such as \"10s\" or \"5m\""),
            None => self.expected("a time such as \"500ms\", \"10s\" or \"5m\""),
            Some(_) => {
                let show = |span: &Duration| humantime::format_duration(*span).to_string();
                self.expected(&format!(
                    "a time from {} to {}",
                    show(range.start()),
                    show(range.end())
                ));
            }
        }
        None
    }

    /// A number of bytes, such as `"100kb"`. A kb is 1024 bytes, as in the original.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let bytes = match self.node() {
            Node::Int(number) => u64::try_from(number).ok(),
            Node::Text(text) => {
                let lower = text.trim().to_ascii_lowercase();
                let number = lower.strip_suffix('b').unwrap_or(&lower);
                let binary = if number.ends_with(['k', 'm', 'g']) {
                    format!("{number}ib")
                } else {
                    lower
                };
                binary
                    .parse::<bytesize::ByteSize>()
                    .ok()
                    .map(|size| size.as_u64())
            }
            _ => None,
        };
        let bytes = bytes.filter(|bytes| range.contains(bytes));
        if bytes.is_none() {
            self.expected(&format!(
                "a size from {} to {} bytes, such as \"100kb\"",
                range.start(),
                range.end()
            ));
        }
        bytes
    }

    /// A web address without user, query or fragment. A `/` is added if its path does not end in
    /// one.
    pub(super) fn address(&self) -> Option<Url> {
        const EXPECTED: &str = "a full address such as \"https://wx.example.com\"";
        let fits = |url: &Url| {
            let plain = url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none();
            plain && url.has_host() && matches!(url.scheme(), "http" | "https")
        };
        let Node::Text(text) = self.node() else {
            self.expected(EXPECTED);
            return None;
        };
        match text.parse::<Url>() {
            Ok(mut url) if fits(&url) => {
                if !url.path().ends_with('/') {
                    url.set_path(&format!("{}/", url.path()));
                }
                Some(url)
            }
            // It may hold a password, so it is not shown.
            _ => {
                self.expected_secret(&format!(
                    "{EXPECTED}, http or https, without user, query or fragment"
                ));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::environment::Environment;
    use crate::settings::json5;
    use crate::settings::reader::Reader;

    /// Reads one value written as JSON5.
    fn read<T>(text: &str, how: impl Fn(&At<'_>) -> Option<T>) -> Option<T> {
        let env = Environment::default();
        let reader = Reader::new(&env);
        let document = json5::parse(text, |_| None).expect("JSON5");
        let value = how(&At::root(&document.root, &reader));
        assert_eq!(
            value.is_none(),
            !reader.into_remarks().is_empty(),
            "{text}: what cannot be read is remarked"
        );
        value
    }

    #[test]
    fn a_kilobyte_is_1024_bytes_as_in_the_original() {
        let size = |text| read(text, |at| at.size(1..=1 << 30));
        assert_eq!(
            (
                size("'100kb'"),
                size("'100KB'"),
                size("'100k'"),
                size("'100kib'")
            ),
            (Some(102_400), Some(102_400), Some(102_400), Some(102_400))
        );
        assert_eq!(
            (size("'1.5mb'"), size("'512'"), size("'512b'"), size("512")),
            (Some(1_572_864), Some(512), Some(512), Some(512))
        );
        for bad in ["0", "-1", "1.5", "''", "'kb'", "'2gb'", "'1 x'", "null"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_has_a_unit() {
        let span = |text| {
            read(text, |at| {
                at.duration(Duration::ZERO..=Duration::from_secs(3600))
            })
        };
        assert_eq!(
            (span("'500ms'"), span("'1m 30s'")),
            (
                Some(Duration::from_millis(500)),
                Some(Duration::from_secs(90))
            )
        );
        assert_eq!(
            (
                span("10"),
                span("'10'"),
                span("'2h'"),
                span("'soon'"),
                span("[]")
            ),
            (None, None, None, None, None)
        );
    }

    #[test]
    fn an_address_is_plain_and_ends_in_a_slash() {
        let address = |text| read(text, |at| at.address()).map(|url| url.to_string());
        assert_eq!(
            address("'https://wx.example.com'").as_deref(),
            Some("https://wx.example.com/")
        );
        assert_eq!(
            address("'http://127.0.0.1:8080/wx'").as_deref(),
            Some("http://127.0.0.1:8080/wx/")
        );
        for bad in [
            "'wx.example.com'",
            "'ftp://x'",
            "'http://u:p@x'",
            "'http://x?y'",
            "'http://x#y'",
            "5",
            "'http://'",
        ] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
