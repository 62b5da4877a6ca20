//! What a realm may do, in one sentence: for `jsdkd check`.

use chrono::DateTime;

use crate::realm::Realm;
use wechat::credential::CredentialKind;

/// "shop may call read and messages of wx1…, and may query tickets".
pub(super) fn describe(realm: &Realm) -> String {
    let calls = calls(realm);
    let queries = queries(realm, calls.is_some());
    let may = match (calls, queries) {
        (Some(calls), Some(queries)) => format!("{calls}, and {queries}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "may do nothing".to_owned(),
    };
    let secrets = (realm.secrets.len() > 1).then(|| "with either of its two secrets".to_owned());
    let networks = realm
        .networks
        .as_ref()
        .map(|networks| match networks.to_string() {
            none if none.is_empty() => "from nowhere".to_owned(),
            networks => format!("from {networks}"),
        });
    let share = realm
        .gateway
        .as_ref()
        .and(realm.per_minute)
        .map(|most| format!("at most {most} calls a minute"));
    let until = realm.until.and_then(|end| {
        let last = DateTime::from_timestamp(i64::try_from(end.0).ok()? - 1, 0)?;
        Some(format!("until {} (UTC)", last.format("%Y-%m-%d")))
    });
    let limits: Vec<String> = [secrets, networks, share, until]
        .into_iter()
        .flatten()
        .collect();
    let limits = if limits.is_empty() {
        String::new()
    } else {
        format!("; {}", limits.join("; "))
    };
    format!("{} {may}{limits}", realm.key)
}

fn calls(realm: &Realm) -> Option<String> {
    let scope = realm.gateway.as_ref()?;
    let rules = listed(&scope.allow);
    let allowed = if rules.is_empty() {
        "nothing".to_owned()
    } else {
        rules
    };
    let apps: Vec<String> = realm
        .apps
        .iter()
        .flatten()
        .map(ToString::to_string)
        .chain(agents(realm))
        .collect();
    let denied = listed(&scope.deny);
    let denied = if denied.is_empty() {
        denied
    } else {
        format!(", but not {denied}")
    };
    Some(format!("may call {allowed} of {}{denied}", listed(&apps)))
}

fn agents(realm: &Realm) -> impl Iterator<Item = String> + '_ {
    realm
        .agents
        .iter()
        .flat_map(|(corp, agents)| agents.iter().map(move |agent| format!("{corp}/{agent}")))
}

/// What it may query; `None` = nothing. `of_same`: its apps are named already.
fn queries(realm: &Realm, of_same: bool) -> Option<String> {
    let name = |kind| match kind {
        CredentialKind::AccessToken => "tokens",
        CredentialKind::JsapiTicket => "tickets",
        CredentialKind::CardTicket => "card tickets",
    };
    let kinds: Vec<&str> = CredentialKind::ALL
        .into_iter()
        .filter(|kind| realm.may_have(*kind))
        .map(name)
        .collect();
    // Of an application of WeCom no credential can be queried.
    let is_for_apps = realm.apps.as_ref().is_none_or(|apps| !apps.is_empty());
    if kinds.is_empty() || !is_for_apps {
        return None;
    }
    let of = match &realm.apps {
        None => " of every app".to_owned(),
        Some(_) if of_same && realm.agents.is_empty() => String::new(),
        Some(apps) => format!(" of {}", listed(&apps.iter().collect::<Vec<_>>())),
    };
    Some(format!("may query {}{of}", listed(&kinds)))
}

/// `a`, `a and b`, `a, b and c`.
fn listed<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    match items.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}
