//! `GET /status`: the page for persons, in English or Chinese. It has no script and loads nothing
//! but its style sheet; askama escapes every value.

use std::time::Duration;

use askama::Template;
use clock::UnixMillis;
use wechat::credential::CredentialKind;

use crate::counters::{Event, EventKind};
use crate::status::{
    AccountState, Budget, CredentialLine, FOREIGN_REFRESH, Overview, Service, State, Tone, lasting,
    local,
};

/// The most accounts on the page. Those in trouble come first; `/status.json` has all.
const MOST_ACCOUNTS: usize = 100;

/// The page as HTML.
pub(super) fn html(overview: &Overview, zh: bool) -> Result<String, askama::Error> {
    let sentence = overview.sentence(zh);
    let own = overview.instances.first();
    let page = Page {
        zh,
        tone: match sentence.tone {
            Tone::Good => "good",
            Tone::Warning => "warn",
            Tone::Bad => "bad",
        },
        text: sentence.text,
        advice: sentence.advice,
        now: local(overview.now).format("%H:%M:%S").to_string(),
        zone: local(overview.now).format("UTC%:z").to_string(),
        version: env!("CARGO_PKG_VERSION"),
        name: own.map_or("", |own| &own.name),
        up: lasting(overview.started.until(overview.now), zh),
        accounts: overview
            .accounts
            .iter()
            .take(MOST_ACCOUNTS)
            .map(|account| AccountView::new(account, overview, zh))
            .collect(),
        more_accounts: overview.accounts.len().saturating_sub(MOST_ACCOUNTS),
        findings: overview
            .findings()
            .into_iter()
            .map(|(app_id, finding)| FindingView {
                app_id,
                is_foreign: finding.code == FOREIGN_REFRESH,
                code: finding.code,
                after: overview.time(finding.after.millis()),
                before: overview.time(finding.before.millis()),
                times: finding.times,
                intervals: intervals(&finding.intervals, zh),
                advice: finding.advice(zh),
            })
            .collect(),
        instances: overview
            .instances
            .iter()
            .map(|one| InstanceView {
                name: &one.name,
                version: &one.version,
                seen: seen(
                    Some(UnixMillis(one.last_seen.saturating_mul(1000))),
                    overview.now,
                    zh,
                ),
                offset: one.clock_offset.map(|offset| format!("{offset:+.1} s")),
            })
            .collect(),
        realms: overview
            .realms
            .iter()
            .map(|realm| RealmView {
                key: &realm.key,
                calls: realm.calls_today,
                refused: realm.refused_today,
                seen: seen(realm.last_seen, overview.now, zh),
            })
            .collect(),
        events: overview
            .events
            .iter()
            .map(|event| EventView::new(event, zh))
            .collect(),
    };
    page.render()
}

#[derive(Template)]
#[template(path = "status.html")]
struct Page<'a> {
    zh: bool,
    tone: &'static str,
    text: String,
    advice: Option<String>,
    now: String,
    zone: String,
    version: &'static str,
    name: &'a str,
    up: String,
    accounts: Vec<AccountView<'a>>,
    more_accounts: usize,
    findings: Vec<FindingView<'a>>,
    instances: Vec<InstanceView<'a>>,
    realms: Vec<RealmView<'a>>,
    events: Vec<EventView>,
}

struct AccountView<'a> {
    app_id: &'a str,
    /// What it is, if it is no account of WeChat's.
    what: Option<&'static str>,
    lines: Vec<LineView>,
    budget: Option<Budget>,
}

struct LineView {
    name: &'static str,
    class: &'static str,
    state: &'static str,
    percent: Option<u64>,
    left: String,
    renews: Option<String>,
    error: Option<String>,
    retry: String,
}

struct FindingView<'a> {
    app_id: &'a str,
    is_foreign: bool,
    code: &'static str,
    after: String,
    before: String,
    times: u64,
    intervals: Option<String>,
    advice: [&'static str; 4],
}

struct InstanceView<'a> {
    name: &'a str,
    version: &'a str,
    seen: String,
    offset: Option<String>,
}

struct RealmView<'a> {
    key: &'a str,
    calls: u64,
    refused: u64,
    seen: String,
}

struct EventView {
    at: String,
    class: &'static str,
    about: String,
    what: String,
}

impl<'a> AccountView<'a> {
    fn new(account: &'a AccountState, overview: &Overview, zh: bool) -> Self {
        Self {
            app_id: account
                .app_id
                .strip_prefix("source/")
                .unwrap_or(&account.app_id),
            what: match (account.service, zh) {
                (Service::Wechat, _) => None,
                (Service::Wecom, true) => Some("企业微信"),
                (Service::Wecom, false) => Some("WeCom"),
                (Service::Source, true) => Some("来源"),
                (Service::Source, false) => Some("source"),
            },
            lines: account
                .lines()
                .map(|line| LineView::new(account, line, overview, zh))
                .collect(),
            budget: account.budget,
        }
    }
}

impl LineView {
    fn new(account: &AccountState, line: &CredentialLine, overview: &Overview, zh: bool) -> Self {
        let left = line.expires_at.map(|at| overview.now.until(at));
        let whole = line.lifetime.as_secs().max(1);
        let percent = left.map(|left| (left.as_secs() * 100 / whole).min(100));
        let retry = line.last_error.as_ref().map(|error| {
            let at = local(error.retry_at).format("%H:%M:%S");
            match zh {
                true => format!("{at} 再试"),
                false => format!("Next try {at}."),
            }
        });
        Self {
            name: kind_name(&account.app_id, line.kind),
            class: line.state.name(),
            state: state_words(line.state, zh),
            percent,
            left: left.map_or_else(String::new, |left| lasting(left, zh)),
            renews: line
                .renews_at
                .filter(|_| line.last_error.is_none())
                .map(|at| overview.time(at)),
            error: line.last_error.as_ref().map(|error| error.sentence(zh)),
            retry: retry.unwrap_or_default(),
        }
    }
}

impl EventView {
    fn new(event: &Event, zh: bool) -> Self {
        let kind = event
            .credential
            .as_deref()
            .and_then(CredentialKind::from_name);
        let app_id = event.app_id.as_deref();
        let kind = kind.map(|kind| kind_name(app_id.unwrap_or_default(), kind));
        let about: Vec<_> = [app_id, kind].into_iter().flatten().collect();
        let (class, what) = match (event.kind, zh) {
            (EventKind::Renewed { why }, true) => ("ok", format!("已续期（{}）", reason_zh(why))),
            (EventKind::Renewed { why }, false) => ("ok", format!("renewed ({})", reason(why))),
            (EventKind::Refused { errcode }, zh) => ("no", refused(errcode, zh)),
            (EventKind::Unanswered, true) => ("no", "没有应答".to_owned()),
            (EventKind::Unanswered, false) => ("no", "no answer".to_owned()),
            (EventKind::Healed, true) => ("ok", "网关调用已用新 token 重发".to_owned()),
            (EventKind::Healed, false) => ("ok", "call sent again with a new token".to_owned()),
            (EventKind::Reloaded, true) => ("ok", "已重新读取设置".to_owned()),
            (EventKind::Reloaded, false) => ("ok", "settings reloaded".to_owned()),
            (EventKind::ReloadFailed, true) => ("no", "新设置有错，仍用原来的".to_owned()),
            (EventKind::ReloadFailed, false) => (
                "no",
                "settings have faults; the previous ones stay".to_owned(),
            ),
        };
        let times = match (event.times, zh) {
            (0 | 1, _) => String::new(),
            (times, true) => format!("，共 {times} 次"),
            (times, false) => format!(", {times} times"),
        };
        Self {
            at: local(event.at).format("%m-%d %H:%M:%S").to_string(),
            class,
            about: about.join(" "),
            what: what + &times,
        }
    }
}

fn refused(errcode: Option<i64>, zh: bool) -> String {
    match (errcode, zh) {
        (Some(code), true) => format!("被拒绝（{code}）"),
        (Some(code), false) => format!("refused ({code})"),
        (None, true) => "被拒绝".to_owned(),
        (None, false) => "refused".to_owned(),
    }
}

fn reason(why: &str) -> &str {
    match why {
        "ahead" => "ahead of its expiry",
        "missing" => "there was none",
        "refused" => "WeChat had refused it",
        "doubted" => "it may have been void",
        other => other,
    }
}

fn reason_zh(why: &str) -> &str {
    match why {
        "ahead" => "到期之前",
        "missing" => "原来没有",
        "refused" => "微信拒绝了原来的",
        "doubted" => "原来的可能已失效",
        other => other,
    }
}

/// A credential's name in the words of its service.
fn kind_name(app_id: &str, kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::AccessToken if app_id.starts_with("source/") => "token",
        CredentialKind::JsapiTicket if app_id.contains('/') && !app_id.ends_with("/corp") => {
            "agent_ticket"
        }
        CredentialKind::AccessToken => "access_token",
        CredentialKind::JsapiTicket => "jsapi_ticket",
        CredentialKind::CardTicket => "card_ticket",
    }
}

fn state_words(state: State, zh: bool) -> &'static str {
    match (state, zh) {
        (State::Fresh, true) => "有效",
        (State::Fresh, false) => "valid",
        (State::Renewing, true) => "有效，正在续期",
        (State::Renewing, false) => "valid, being renewed",
        (State::Doubtful, true) => "可能失效，正在核实",
        (State::Doubtful, false) => "may be void, being checked",
        (State::Failing, true) => "有效，续期失败",
        (State::Failing, false) => "valid, renewal fails",
        (State::Missing, true) => "缺失",
        (State::Missing, false) => "missing",
        (State::Idle, true) => "未使用",
        (State::Idle, false) => "not in use",
    }
}

/// How long ago, in words.
fn seen(at: Option<UnixMillis>, now: UnixMillis, zh: bool) -> String {
    let Some(at) = at else {
        return if zh { "从未" } else { "never" }.to_owned();
    };
    let ago = at.until(now);
    match (ago < Duration::from_secs(5), zh) {
        (true, true) => "刚刚".to_owned(),
        (true, false) => "just now".to_owned(),
        (false, true) => format!("{}前", lasting(ago, zh)),
        (false, false) => format!("{} ago", lasting(ago, zh)),
    }
}

/// The last intervals between the times of a finding.
fn intervals(seconds: &[u64], zh: bool) -> Option<String> {
    let last = seconds.iter().rev().take(3).rev();
    let words: Vec<_> = last
        .map(|seconds| lasting(Duration::from_secs(*seconds), zh))
        .collect();
    (!words.is_empty()).then(|| words.join(if zh { "、" } else { ", " }))
}
