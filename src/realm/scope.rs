//! Which WeChat paths a realm may call, from its settings `gateway` and `deny`.

use std::fmt;

use super::presets::{self, Preset, matches};

/// The paths that one realm may call. `deny` takes precedence over `gateway`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayScope {
    /// The allowed paths.
    pub allow: Vec<Rule>,
    /// The denied paths.
    pub deny: Vec<Rule>,
}

/// One entry of `gateway` or `deny`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A preset's name.
    Preset(Preset),
    /// A path, or a path that ends in `/*`.
    Path(Pattern),
}

/// A path, exact or ending in `/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// Why a text is not a valid [`Rule`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RuleError {
    /// Neither a path nor the name of a preset.
    #[error("no preset has this name")]
    UnknownPreset,
    /// A path that the gateway does not serve.
    #[error(
        "a path is made of segments of A-Z, a-z, 0-9, '_', '.' and '-', such as /wxa/business/x; only its last segment may be *"
    )]
    BadPath,
}

/// Why a path must not be called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// This rule of `deny` matches it.
    Denied(Rule),
    /// No rule of `gateway` matches it.
    NotAllowed,
    /// It destroys or exports data, so that only a rule with its own path allows it.
    OnlyByName,
}

impl GatewayScope {
    /// True if `path` may be called. It has no query and no double slashes.
    pub fn allows(&self, path: &str) -> bool {
        self.refusal(path).is_none()
    }

    /// Why `path` must not be called; `None` if it may be.
    pub fn refusal(&self, path: &str) -> Option<Refusal> {
        // WeChat may treat other spellings as the same path, so denials ignore case and trailing
        // slashes; permissions do not.
        let spelled = path.trim_end_matches('/').to_ascii_lowercase();
        if let Some(rule) = self
            .deny
            .iter()
            .find(|rule| rule.contains(path) || rule.denies(&spelled))
        {
            return Some(Refusal::Denied(rule.clone()));
        }
        let protected = presets::protected(&spelled);
        if self
            .allow
            .iter()
            .any(|rule| rule.contains(path) && protected.is_none_or(|row| rule.names(row.path)))
        {
            return None;
        }
        let would_be_allowed = protected.is_some()
            && self
                .allow
                .iter()
                .any(|rule| rule.contains(path) || rule.is_all());
        Some(if would_be_allowed {
            Refusal::OnlyByName
        } else {
            Refusal::NotAllowed
        })
    }
}

impl Rule {
    /// Parses one entry of `gateway` or `deny`.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if !text.starts_with('/') {
            return Preset::from_name(text)
                .map(Self::Preset)
                .ok_or(RuleError::UnknownPreset);
        }
        let (path, is_open) = text
            .strip_suffix("/*")
            .map_or((text, false), |path| (path, true));
        let is_path = path.is_empty() && is_open
            || path
                .strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(is_segment));
        if is_path {
            Ok(Self::Path(Pattern(text.to_owned())))
        } else {
            Err(RuleError::BadPath)
        }
    }

    fn contains(&self, path: &str) -> bool {
        match self {
            Self::Preset(preset) => preset.contains(path),
            Self::Path(pattern) => matches(&pattern.0, path),
        }
    }

    /// True if this rule denies `spelled`, a path in lower case.
    fn denies(&self, spelled: &str) -> bool {
        match self {
            Self::Preset(preset) => preset.contains(spelled),
            Self::Path(pattern) => matches(&pattern.0.to_ascii_lowercase(), spelled),
        }
    }

    fn is_all(&self) -> bool {
        matches!(self, Self::Preset(Preset::All))
    }

    /// True if this rule names `protected`, a pattern of the table, exactly or by a pattern that is
    /// not wider.
    fn names(&self, protected: &str) -> bool {
        let Self::Path(pattern) = self else {
            return false;
        };
        let (ours, theirs) = (
            pattern.0.to_ascii_lowercase(),
            protected.trim_end_matches('*'),
        );
        if theirs.len() == protected.len() {
            ours == protected
        } else {
            ours.trim_end_matches('*').starts_with(theirs)
        }
    }
}

/// True if the gateway serves paths with this segment.
pub fn is_segment(text: &str) -> bool {
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(alphabet)
}

/// Formats the rule as in the settings.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset(preset) => f.write_str(preset.name()),
            Self::Path(pattern) => f.write_str(&pattern.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(allow: &[&str], deny: &[&str]) -> GatewayScope {
        let rules = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| Rule::parse(text).expect("a rule"))
                .collect()
        };
        GatewayScope {
            allow: rules(allow),
            deny: rules(deny),
        }
    }

    #[test]
    fn presets_and_paths_are_read_as_written() {
        for good in [
            "read",
            "all",
            "/cgi-bin/user/info",
            "/wxa/business/*",
            "/*",
            "/datacube/*",
        ] {
            assert_eq!(
                Rule::parse(good).map(|rule| rule.to_string()).as_deref(),
                Ok(good)
            );
        }
        for bad in ["", "Read", "reed", "cgi-bin/user/info"] {
            assert_eq!(Rule::parse(bad), Err(RuleError::UnknownPreset), "{bad:?}");
        }
        for bad in [
            "/", "//", "/a//b", "/a/", "/a*", "/*/a", "/a/*/b", "/a/../b", "/a/./b", "/a%2fb",
            "/a b", "/微信", "/a?b", "/a/**",
        ] {
            assert_eq!(Rule::parse(bad), Err(RuleError::BadPath), "{bad:?}");
        }
    }

    #[test]
    fn deny_comes_before_gateway() {
        let scope = scope(
            &["messages", "/wxa/business/*"],
            &[
                "/cgi-bin/message/template/*",
                "/wxa/business/getuserphonenumber",
            ],
        );
        assert!(
            scope.allows("/cgi-bin/message/custom/send") && scope.allows("/wxa/business/other")
        );
        for denied in [
            "/cgi-bin/message/template/send",
            "/wxa/business/getuserphonenumber",
        ] {
            assert!(
                matches!(scope.refusal(denied), Some(Refusal::Denied(_))),
                "{denied}"
            );
        }
        assert_eq!(
            scope.refusal("/cgi-bin/user/info"),
            Some(Refusal::NotAllowed)
        );
    }

    #[test]
    fn another_spelling_evades_no_denial() {
        let scope = scope(
            &["all"],
            &["/wxa/business/*", "/cgi-bin/user/info", "media"],
        );
        for denied in [
            "/WXA/Business/x",
            "/cgi-bin/USER/info",
            "/cgi-bin/user/info/",
            "/cgi-bin/Media/upload",
            "/cgi-bin/menu/Delete/",
        ] {
            assert!(!scope.allows(denied), "{denied}");
        }
        let narrow = self::scope(&["/cgi-bin/user/info"], &[]);
        assert!(!narrow.allows("/cgi-bin/user/INFO") && !narrow.allows("/cgi-bin/user/info/"));
    }

    #[test]
    fn destructive_calls_need_a_rule_with_their_own_path() {
        let wide = scope(&["all", "/cgi-bin/*", "/*", "messages", "menu"], &[]);
        for path in [
            "/cgi-bin/clear_quota",
            "/cgi-bin/clear_quota/v2",
            "/cgi-bin/openapi/quota/clear",
            "/cgi-bin/menu/delete",
            "/cgi-bin/menu/delconditional",
            "/cgi-bin/message/mass/sendall",
            "/cgi-bin/user/get",
            "/cgi-bin/user/info/batchget",
            "/cgi-bin/component/api_component_token",
            "/wxa/commit",
            "/wxa/release",
        ] {
            assert_eq!(wide.refusal(path), Some(Refusal::OnlyByName), "{path}");
            assert!(scope(&[path], &[]).allows(path), "{path} by its name");
        }
        assert!(scope(&["/cgi-bin/message/mass/*"], &[]).allows("/cgi-bin/message/mass/send"));
        assert!(!scope(&["/cgi-bin/message/*"], &[]).allows("/cgi-bin/message/mass/send"));
        assert!(
            !scope(&["all", "/cgi-bin/user/get"], &["/cgi-bin/user/get"])
                .allows("/cgi-bin/user/get")
        );
    }

    #[test]
    fn nothing_is_allowed_without_a_rule() {
        assert!(!GatewayScope::default().allows("/cgi-bin/getcallbackip"));
    }
}
