//! The state of each account's credentials, read from the engine. Nothing is fetched, and reading
//! does not count as a request for a credential. WeCom's applications and other sources are accounts
//! here as well; their names are those of `counters::source_labels`.

use std::time::Duration;

use super::finding::Finding;
use super::last_error::{LastError, Service};
use crate::counters::source_labels;
use clock::UnixMillis;
use credentials::keeper::{AccountCredentials, CredentialState, Keeper};
use credentials::sources::{SourceCredential, Sources};
use wechat::account::Keep;
use wechat::credential::CredentialKind;

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
    /// Its appid; `CORPID/AGENTID`, `CORPID/corp` or `source/NAME` for what is none of WeChat's.
    pub app_id: String,
    /// Whose it is.
    pub service: Service,
    /// Its token and tickets, the token first.
    pub credentials: Vec<CredentialLine>,
    /// Token calls of all instances since midnight in Beijing; `None` = they are not counted.
    pub budget: Option<Budget>,
    /// How often another program has fetched its token.
    pub foreign_refreshes: u64,
    /// The same as a finding.
    pub finding: Option<Finding>,
}

/// What was used of a daily quota.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Used since midnight in Beijing.
    pub used: u64,
    /// The quota.
    pub limit: u64,
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

    /// Whether nobody needs any of its credentials, and none is at hand.
    pub fn is_idle(&self) -> bool {
        self.credentials
            .iter()
            .all(|line| line.state == State::Idle && line.last_error.is_none())
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

/// All accounts by appid, then WeCom's and the other sources by name.
pub(super) fn accounts(keeper: &Keeper, sources: &[Sources]) -> Vec<AccountState> {
    let is_kept = keeper.keep() == Keep::Always;
    let now = keeper.clock().wall();
    let mut all: Vec<AccountState> = Vec::new();
    for account in keeper.all() {
        all.push(account_state(&account, is_kept, now));
    }
    for sources in sources {
        let is_kept = sources.keep() == Keep::Always;
        let begun = all.len();
        for (name, credential) in sources.all() {
            let (app_id, line) = source_line(&name, &credential, is_kept, now);
            let is_same = |account: &&mut AccountState| account.app_id == app_id;
            match all[begun..].last_mut().filter(is_same) {
                Some(account) => account.credentials.push(line),
                None => all.push(AccountState {
                    service: service(&app_id),
                    app_id,
                    credentials: vec![line],
                    budget: None,
                    foreign_refreshes: 0,
                    finding: None,
                }),
            }
        }
        for account in &mut all[begun..] {
            account.credentials.sort_by_key(|line| line.kind);
        }
    }
    all
}

fn account_state(account: &AccountCredentials, is_kept: bool, now: UnixMillis) -> AccountState {
    let line = |kind| {
        let state = account.credential(kind).state();
        let is_kept = is_kept && kind != CredentialKind::CardTicket;
        let last_error = state.failure.as_ref().map(LastError::of_wechat);
        credential_line(kind, &state, last_error, is_kept, now)
    };
    let ledger = account
        .credential(CredentialKind::AccessToken)
        .last_ledger();
    AccountState {
        app_id: account.account.app_id.to_string(),
        service: Service::Wechat,
        credentials: CredentialKind::ALL.map(line).into(),
        budget: Some(Budget {
            used: ledger.used(now).into(),
            limit: account.account.tokens_per_day.into(),
        }),
        foreign_refreshes: ledger.foreign_total,
        finding: Finding::of(&ledger),
    }
}

fn source_line(
    name: &str,
    credential: &SourceCredential,
    is_kept: bool,
    now: UnixMillis,
) -> (String, CredentialLine) {
    let (app_id, kind) = source_labels(name);
    let (state, service) = (credential.state(), service(&app_id));
    let failure = state.failure.as_ref();
    let last_error = failure.map(|failure| LastError::of_source(failure, service));
    let line = credential_line(kind, &state, last_error, is_kept, now);
    (app_id, line)
}

fn service(app_id: &str) -> Service {
    if app_id.starts_with("source/") {
        Service::Source
    } else {
        Service::Wecom
    }
}

fn credential_line<R>(
    kind: CredentialKind,
    state: &CredentialState<R>,
    last_error: Option<LastError>,
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
        last_error,
    }
}
