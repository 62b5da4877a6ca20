//! `GET /status.json`: the page's content for programs. Times are seconds since 1970.

use clock::UnixMillis;
use serde_json::{Value, json};

use crate::counters::{Event, EventKind};
use crate::status::{AccountState, CredentialLine, Finding, Overview, RealmLine};

/// The object. `zh` chooses the language of the sentence and of the advice.
pub(super) fn object(overview: &Overview, zh: bool) -> Value {
    let sentence = overview.sentence(zh);
    let text = match &sentence.advice {
        Some(advice) if zh => format!("{}。{advice}", sentence.text),
        Some(advice) => format!("{}. {advice}", sentence.text),
        None => sentence.text,
    };
    let accounts = overview.accounts.iter().flat_map(|account| {
        let lines = account.lines();
        lines.map(move |line| credential(account, line, zh))
    });
    let findings = overview.findings();
    json!({
        "sentence": text,
        "served_until": overview.served_until.map(seconds),
        "accounts": accounts.collect::<Vec<_>>(),
        "findings": findings.iter().map(|(app_id, one)| finding(app_id, one, zh)).collect::<Vec<_>>(),
        "instances": overview.instances.iter().map(|one| json!({
            "name": one.name,
            "version": one.version,
            "last_seen": one.last_seen,
            "clock_offset": one.clock_offset,
        })).collect::<Vec<_>>(),
        "realms": overview.realms.iter().map(realm).collect::<Vec<_>>(),
        "events": overview.events.iter().map(event).collect::<Vec<_>>(),
    })
}

fn seconds(at: UnixMillis) -> u64 {
    at.seconds().0
}

fn credential(account: &AccountState, line: &CredentialLine, zh: bool) -> Value {
    let last_error = line.last_error.as_ref().map(|error| {
        json!({
            "code": error.code,
            "errcode": error.errcode.as_deref().map(errcode),
            "advice": if zh { error.advice_zh } else { error.advice },
            "retry_at": seconds(error.retry_at),
        })
    });
    json!({
        "appid": account.app_id,
        "kind": line.kind.name(),
        "state": line.state.name(),
        "expires_at": line.expires_at.map(seconds),
        "renews_at": line.renews_at.map(seconds),
        "last_error": last_error,
    })
}

/// A number if it is one; some sources have words.
fn errcode(code: &str) -> Value {
    code.parse::<i64>()
        .map_or_else(|_| json!(code), Value::from)
}

fn finding(app_id: &str, finding: &Finding, zh: bool) -> Value {
    json!({
        "code": finding.code,
        "appid": app_id,
        "after": finding.after.0,
        "before": finding.before.0,
        "times": finding.times,
        "intervals": finding.intervals,
        "advice": finding.advice(zh),
    })
}

fn realm(realm: &RealmLine) -> Value {
    json!({
        "realm": realm.key,
        "calls_today": realm.calls_today,
        "refused_today": realm.refused_today,
        "last_seen": realm.last_seen.map(seconds),
    })
}

fn event(event: &Event) -> Value {
    let (why, errcode) = match event.kind {
        EventKind::Renewed { why } => (Some(why), None),
        EventKind::Refused { errcode } => (None, errcode),
        EventKind::Unanswered
        | EventKind::Healed
        | EventKind::Reloaded
        | EventKind::ReloadFailed => (None, None),
    };
    json!({
        "at": seconds(event.at),
        "event": event.kind.name(),
        "appid": event.app_id,
        "kind": event.credential,
        "why": why,
        "errcode": errcode,
        "times": event.times,
    })
}
