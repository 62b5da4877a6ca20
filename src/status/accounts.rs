//! The state of each account's credentials, read from the engine. Nothing is fetched, and reading
//! does not count as a request for a credential.

use std::time::Duration;

use super::finding::Finding;
use clock::UnixMillis;
use credentials::keeper::{AccountCredentials, CredentialState, Keeper, explain};
use wechat::account::Keep;
use wechat::credential::CredentialKind;
use wechat::{Errcode, WechatError};

/// Above this many accounts only those in use have series and lines of their own.
pub(super) const MOST_ACCOUNTS: usize = 1000;

/// The state of a credential, in the order of how urgent it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    /// It is needed, and there is none.
    Missing,
    /// There is one, and the last renewal failed.
    Failing,
    /// There is one that may be void; it is being checked.
    Doubtful,
    /// There is one, and it is being renewed.
    Renewing,
    /// There is one.
    Fresh,
    /// Nobody needs it. It is fetched as soon as somebody asks.
    Idle,
}

impl State {
    /// The word in `/status.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Failing => "failing",
            Self::Doubtful => "doubtful",
            Self::Renewing => "renewing",
            Self::Fresh => "fresh",
            Self::Idle => "idle",
        }
    }
}

/// One account.
#[derive(Clone, Debug)]
pub struct AccountState {
    /// Its appid.
    pub app_id: String,
    /// Its token, its ticket and its card ticket.
    pub credentials: [CredentialLine; 3],
    /// Token calls of all instances since midnight in Beijing.
    pub tokens_used: u64,
    /// WeChat's quota of them.
    pub tokens_per_day: u64,
    /// How often another program has fetched its token.
    pub foreign_refreshes: u64,
    /// The same as a finding.
    pub finding: Option<Finding>,
}

/// One credential.
#[derive(Clone, Debug)]
pub struct CredentialLine {
    /// Its kind.
    pub kind: CredentialKind,
    /// Its state.
    pub state: State,
    /// Whether it was asked for within its lifetime, or is kept always.
    pub is_needed: bool,
    /// When the copy at hand expires; `None` = there is none.
    pub expires_at: Option<UnixMillis>,
    /// How long the copy at hand is valid from its issue.
    pub lifetime: Duration,
    /// When it is renewed next; `None` = not before somebody asks.
    pub renews_at: Option<UnixMillis>,
    /// The last failure, until a renewal succeeds.
    pub last_error: Option<LastError>,
}

/// A failed renewal.
#[derive(Clone, Debug)]
pub struct LastError {
    /// The stable code, as in our answers.
    pub code: &'static str,
    /// WeChat's code, if it refused.
    pub errcode: Option<i64>,
    /// What an operator should do.
    pub advice: &'static str,
    /// The same in Chinese.
    pub advice_zh: &'static str,
    /// When the next attempt is allowed.
    pub retry_at: UnixMillis,
}

impl AccountState {
    /// Whether any of its credentials is needed.
    pub fn is_in_use(&self) -> bool {
        self.credentials.iter().any(|line| line.is_needed)
    }

    /// Whether any of its credentials was refused.
    pub fn is_in_trouble(&self) -> bool {
        self.credentials.iter().any(|line| {
            line.last_error.is_some() || matches!(line.state, State::Missing | State::Doubtful)
        })
    }

    /// The lines that say something: the token, and whatever is or was needed.
    pub fn lines(&self) -> impl Iterator<Item = &CredentialLine> {
        self.credentials.iter().filter(|line| {
            line.kind != CredentialKind::CardTicket
                || line.state != State::Idle
                || line.last_error.is_some()
        })
    }
}

/// All accounts, by appid.
pub fn accounts(keeper: &Keeper) -> Vec<AccountState> {
    let is_kept = keeper.keep() == Keep::Always;
    let now = keeper.clock().wall();
    let all = keeper.all();
    all.iter()
        .map(|account| account_state(account, is_kept, now))
        .collect()
}

fn account_state(account: &AccountCredentials, is_kept: bool, now: UnixMillis) -> AccountState {
    let line = |kind| {
        let state = account.credential(kind).state();
        let is_kept = is_kept && kind != CredentialKind::CardTicket;
        credential_line(kind, &state, is_kept, now)
    };
    let ledger = account
        .credential(CredentialKind::AccessToken)
        .last_ledger();
    AccountState {
        app_id: account.account.app_id.to_string(),
        credentials: CredentialKind::ALL.map(line),
        tokens_used: ledger.used(now).into(),
        tokens_per_day: account.account.tokens_per_day.into(),
        foreign_refreshes: ledger.foreign_total,
        finding: Finding::of(&ledger),
    }
}

fn credential_line(
    kind: CredentialKind,
    state: &CredentialState<WechatError>,
    is_kept: bool,
    now: UnixMillis,
) -> CredentialLine {
    let is_needed = state.is_wanted || is_kept;
    let is_due = state.due_at.is_none_or(|due| due <= now);
    let renews_at = state
        .due_at
        .filter(|_| is_needed || state.expires_at.is_some());
    CredentialLine {
        kind,
        state: match (state.expires_at, &state.failure) {
            (None, _) if is_needed => State::Missing,
            (None, _) => State::Idle,
            (Some(_), Some(_)) => State::Failing,
            (Some(_), None) if state.is_suspect => State::Doubtful,
            (Some(_), None) if is_needed && is_due => State::Renewing,
            (Some(_), None) => State::Fresh,
        },
        is_needed,
        expires_at: state.expires_at,
        lifetime: state.lifetime,
        renews_at,
        last_error: state
            .failure
            .as_ref()
            .map(|failure| last_error(&failure.cause, failure.retry_at)),
    }
}

fn last_error(cause: &WechatError, retry_at: UnixMillis) -> LastError {
    let errcode = match cause {
        WechatError::Refused { code, call, .. } => Some((*code, *call)),
        _ => None,
    };
    LastError {
        code: explain::cause_code(cause),
        errcode: errcode.map(|(Errcode(code), _)| code),
        advice: cause.advice().unwrap_or(match errcode {
            Some(_) => "look this errcode up in WeChat's list (全局返回码)",
            None => "check this server's way to WeChat: name resolution, firewall, proxy",
        }),
        advice_zh: errcode
            .and_then(|(code, call)| code.advice_zh(call))
            .unwrap_or(match errcode {
                Some(_) => "请在微信的全局返回码里查这个错误码",
                None => "请检查这台服务器到微信的网络：域名解析、防火墙、代理",
            }),
        retry_at,
    }
}
