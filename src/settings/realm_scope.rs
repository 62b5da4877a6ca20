//! Reads what a realm may call through the gateway, and its last day: `gateway`, `deny` and `until`
//! of a realm.

use chrono::{Days, NaiveDate, NaiveTime};

use super::reader::{At, did_you_mean};
use crate::realm::presets::{self, Preset};
use crate::realm::scope::{GatewayScope, Rule, RuleError};
use clock::{Clock, UnixSeconds};

/// The scope of one realm; `None` if the gateway is closed to it.
pub(super) fn scope(item: &At<'_>) -> Option<GatewayScope> {
    let (allow, deny) = (item.get("gateway"), item.get("deny"));
    let scope = GatewayScope {
        allow: allow.as_ref().map(rules).unwrap_or_default(),
        deny: deny.as_ref().map(rules).unwrap_or_default(),
    };
    match (&allow, &deny) {
        (None, Some(deny)) => {
            deny.note("has no effect, because this realm has no gateway; remove it, or add gateway")
        }
        (Some(allow), _) if allow.one_or_more().is_empty() => {
            allow.note("is empty, so the virtual tokens of this realm allow no call; name a preset such as \"read\"");
        }
        (Some(allow), _) => wide_patterns(allow),
        (None, None) => {}
    }
    allow.map(|_| scope)
}

fn rules(list: &At<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for item in list.one_or_more() {
        let names = Preset::ALL.map(Preset::name);
        let Some(text) =
            item.text("a preset such as \"read\", or a path such as \"/wxa/business/*\"")
        else {
            continue;
        };
        match Rule::parse(text) {
            Ok(rule) => rules.push(rule),
            Err(RuleError::UnknownPreset) if text.contains('/') => {
                item.fault(format!(
                    "found {text:?}, expected a path that begins with a slash, such as \"/{text}\""
                ));
            }
            Err(RuleError::UnknownPreset) => {
                let near = did_you_mean(text, &names);
                item.fault(format!(
                    "found {text:?}, and no preset has this name; expected one of {}, or a path{near}",
                    names.join(", ")
                ));
            }
            Err(fault @ RuleError::BadPath) => item.fault(format!("found {text:?}; {fault}")),
        }
    }
    rules
}

/// Tells of patterns that seem to contain what only its own path gives.
fn wide_patterns(allow: &At<'_>) {
    for item in allow.one_or_more() {
        let Some(front) = item
            .plain_text()
            .and_then(|text| text.strip_suffix('*'))
            .filter(|front| front.starts_with('/'))
        else {
            continue;
        };
        let hidden = presets::TABLE
            .iter()
            .filter(|row| row.is_protected() && row.path.starts_with(front));
        let hidden: Vec<&str> = hidden
            .map(|row| row.path)
            .filter(|path| path.trim_end_matches('*') != front)
            .collect();
        if !hidden.is_empty() {
            item.note(format!(
                "does not cover {}: name the paths of calls that delete or export data one by one",
                hidden.join(", ")
            ));
        }
    }
}

/// The midnight after a day such as `"2027-01-01"`, by UTC.
pub(super) fn last_day(at: &At<'_>) -> Option<UnixSeconds> {
    let end = at
        .plain_text()
        .filter(|text| text.len() == "2027-01-01".len())
        .and_then(|text| {
            let after = NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .ok()?
                .checked_add_days(Days::new(1))?;
            u64::try_from(after.and_time(NaiveTime::MIN).and_utc().timestamp())
                .ok()
                .map(UnixSeconds)
        });
    match end {
        None => at.expected("the last day by UTC, such as \"2027-01-01\""),
        Some(end) if Clock::system().wall().seconds() >= end => {
            at.note("is over, so this realm is refused; set a later day, or remove the realm");
        }
        Some(_) => {}
    }
    end
}
