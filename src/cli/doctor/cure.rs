//! What to click or change, in English and in Chinese, and which of the two a terminal reads.

use std::borrow::Cow;

use crate::settings::Environment;

/// What to click or change; empty if all is well.
#[derive(Clone, Debug, Default)]
pub(super) struct Cure {
    english: Cow<'static, str>,
    chinese: Cow<'static, str>,
}

impl Cure {
    pub(super) fn text(&self, zh: bool) -> &str {
        if zh { &self.chinese } else { &self.english }
    }
}

/// English, then Chinese.
impl From<[&'static str; 2]> for Cure {
    fn from([english, chinese]: [&'static str; 2]) -> Self {
        Self {
            english: english.into(),
            chinese: chinese.into(),
        }
    }
}

impl From<[String; 2]> for Cure {
    fn from([english, chinese]: [String; 2]) -> Self {
        Self {
            english: english.into(),
            chinese: chinese.into(),
        }
    }
}

/// A command, which is the same in both languages.
impl From<String> for Cure {
    fn from(command: String) -> Self {
        Self {
            english: command.clone().into(),
            chinese: command.into(),
        }
    }
}

/// Whether the terminal's language is Chinese. The first variable that is set counts, as for the
/// C library.
pub(super) fn reads_chinese(env: &Environment) -> bool {
    ["LC_ALL", "LC_MESSAGES", "LANG"]
        .iter()
        .find_map(|name| env.get(name))
        .is_some_and(|language| language.to_ascii_lowercase().starts_with("zh"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_names_the_language() {
        let zh = |pairs: &[(&str, &str)]| reads_chinese(&pairs.iter().copied().collect());
        assert!(zh(&[("LANG", "zh_CN.UTF-8")]) && zh(&[("LC_ALL", "zh"), ("LANG", "en_US")]));
        assert!(zh(&[("LC_ALL", ""), ("LC_MESSAGES", "zh_TW.UTF-8")]));
        assert!(!zh(&[]) && !zh(&[("LC_ALL", "C.UTF-8"), ("LANG", "zh_CN.UTF-8")]));
    }
}
