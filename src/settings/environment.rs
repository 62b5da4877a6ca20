//! The environment variables. The only place that reads those of the process; tests pass their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Variables by name. An empty one counts as unset, because a compose file passes an absent
/// variable on as empty.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
    blank: BTreeSet<String>,
}

impl Environment {
    /// The variables of this process, without those that are not Unicode.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the environment"
    )]
    pub fn from_process() -> Self {
        let unicode = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        unicode.collect()
    }

    /// The value of `name`, unless it is unset or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether `name` is set but empty.
    pub(super) fn is_blank(&self, name: &str) -> bool {
        self.blank.contains(name)
    }

    /// The variables whose names start with `prefix`.
    pub fn beginning(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(variables: T) -> Self {
        let mut env = Self::default();
        for (name, value) in variables {
            let (name, value): (String, String) = (name.into(), value.into());
            if value.is_empty() {
                env.blank.insert(name);
            } else {
                env.values.insert(name, value);
            }
        }
        env
    }
}

impl fmt::Debug for Environment {
    /// Names only: any value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_unset_and_values_are_hidden() {
        let env: Environment = [("A", ""), ("B", "hidden")].into_iter().collect();
        assert_eq!(
            (env.get("A"), env.get("B"), env.get("C")),
            (None, Some("hidden"), None)
        );
        assert!(env.is_blank("A") && !env.is_blank("B") && !env.is_blank("C"));
        assert_eq!(format!("{env:?}"), "{\"B\"}");
    }
}
