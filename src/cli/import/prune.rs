//! Takes out of imported settings what would keep them from loading, and says so. What guards
//! something (`cors`, a realm's limits) is never taken out alone: that could open what was closed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::draft::Draft;
use crate::settings::{Fault, SettingsError};

/// Members of an app without which the rest of it still works.
const SPARE: [&str; 3] = ["token", "aesKey", "mode"];

/// One step of a path such as `apps[0].secret`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    Index(usize),
}

/// Takes out what `error` is about; `false`: something cannot be taken out.
pub(super) fn prune(draft: &mut Draft, error: &SettingsError) -> bool {
    let mut targets = BTreeSet::new();
    for fault in error.faults() {
        let Some(target) = steps(&fault.path).and_then(|path| target(&path)) else {
            return false;
        };
        draft.notes.push(note(&draft.settings, &target, fault));
        targets.insert(target);
    }
    let mut settings = Value::Object(std::mem::take(&mut draft.settings));
    // Later list members first, so that the numbers of the others stay.
    let is_done = targets
        .iter()
        .rev()
        .all(|target| remove(&mut settings, target));
    if let Value::Object(settings) = settings {
        draft.settings = settings;
    }
    is_done && is_worth_it(&draft.settings)
}

/// Whether anything is left that fetches a credential.
fn is_worth_it(settings: &Map<String, Value>) -> bool {
    let has = |name: &str| match settings.get(name) {
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        _ => false,
    };
    has("apps") || has("sources") || settings.contains_key("wetoken")
}

fn note(settings: &Map<String, Value>, target: &[Step], fault: &Fault) -> String {
    let whose = match target {
        [Step::Key(list), Step::Index(index), ..] => settings
            .get(list)
            .and_then(|list| list.get(index)?.get("key")?.as_str())
            .map(|key| format!(" of {key}"))
            .unwrap_or_default(),
        _ => String::new(),
    };
    format!("{}{whose}: {}; not taken over", fault.path, fault.message)
}

/// What is to be taken out because of a fault at `path`.
fn target(path: &[Step]) -> Option<Vec<Step>> {
    let [Step::Key(section), rest @ ..] = path else {
        return None;
    };
    let length = match (section.as_str(), rest) {
        ("apps", [Step::Index(_), Step::Key(member), ..]) if SPARE.contains(&member.as_str()) => 3,
        ("apps" | "realms", [Step::Index(_), ..]) => 2,
        ("hub", [Step::Key(keys), Step::Key(_), ..]) if keys == "keys" => 3,
        ("sources" | "server", [Step::Key(_), ..]) => 2,
        ("cache" | "hub" | "wechat" | "wechatServer", _) => 1,
        _ => return None,
    };
    Some(path[..length].to_vec())
}

fn remove(value: &mut Value, path: &[Step]) -> bool {
    match (path, value) {
        ([Step::Key(key)], Value::Object(members)) => members.remove(key).is_some(),
        ([Step::Index(index)], Value::Array(items)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        ([Step::Key(key), rest @ ..], Value::Object(members)) => members
            .get_mut(key)
            .is_some_and(|inner| remove(inner, rest)),
        ([Step::Index(index), rest @ ..], Value::Array(items)) => items
            .get_mut(*index)
            .is_some_and(|inner| remove(inner, rest)),
        _ => false,
    }
}

/// Reads `apps[0].secret` or `sources["a b"].url`.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(inner) = rest.strip_prefix('[') {
            let mut numbers = serde_json::Deserializer::from_str(inner).into_iter::<Value>();
            let step = match numbers.next()?.ok()? {
                Value::String(key) => Step::Key(key),
                Value::Number(number) => Step::Index(usize::try_from(number.as_u64()?).ok()?),
                _ => return None,
            };
            rest = inner[numbers.byte_offset()..].strip_prefix(']')?;
            steps.push(step);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            steps.push(Step::Key(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_step_by_step() {
        let key = |key: &str| Step::Key(key.to_owned());
        assert_eq!(
            steps("apps[10].secret"),
            Some(vec![key("apps"), Step::Index(10), key("secret")])
        );
        assert_eq!(
            steps("sources[\"a.b [c]\"].url"),
            Some(vec![key("sources"), key("a.b [c]"), key("url")])
        );
        assert_eq!(steps(""), Some(vec![]));
        for odd in ["apps[", "apps[x]", "apps[-1]", "a..b"] {
            assert_eq!(steps(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_guards_something_stays() {
        for path in ["cors[0]", "cors", "wetoken.allow[0]", "tokenboy.allow", ""] {
            let path = steps(path).unwrap_or_default();
            assert_eq!(target(&path), None, "{path:?}");
        }
        let length = |path: &str| target(&steps(path).unwrap_or_default()).map(|found| found.len());
        assert_eq!(
            [
                "apps[1].aesKey",
                "apps[1].secret",
                "realms[0].apps[0]",
                "hub.keys.k1",
                "cache.redis",
                "server.publicUrl",
            ]
            .map(length),
            [Some(3), Some(2), Some(2), Some(3), Some(1), Some(2)]
        );
    }
}
