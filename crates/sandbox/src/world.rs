//! The state of the fake WeChat: accounts, tokens, tickets, and the rules for them. No HTTP, no
//! waiting, no faults. Each call reads the time once, so that a new token has its full lifetime in
//! `expires_in`. Durations follow WeChat's rules for the full lifetime of 7200 s and shrink in
//! proportion with a shorter one.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Host;

use super::SandboxOptions;
use super::media::Kept;
use super::mint;
use super::outbox::Outbox;
use super::refusal::Refusal;
use super::timeline::Timeline;
use super::visitors::Visitors;
use clock::UnixMillis;

/// Forced refreshes of the stable token per account and day.
const FORCED_PER_DAY: u32 = 20;
/// A forced refresh sooner than this after the previous one returns the current token.
const FORCED_SPACING: Duration = Duration::from_secs(30);

/// The whole state.
#[derive(Debug)]
pub(super) struct World {
    pub(super) time: Timeline,
    pub(super) lifetime: Duration,
    /// How long an old token stays valid beside its successor; by default in proportion to the
    /// lifetime.
    pub(super) overlap: Option<Duration>,
    pub(super) daily_quota: u32,
    /// Whether a repeated fetch returns the same ticket while it is valid; WeChat does not document
    /// it.
    pub(super) ticket_reuse: bool,
    /// Whether `snsapi_base` is granted without a page.
    pub(super) silent: bool,
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) visitors: Visitors,
    pub(super) outbox: Outbox,
    pub(super) kept: Kept,
    tokens: HashMap<String, Token>,
    minted: u64,
    prune_at: usize,
}

/// One account and its current values. A name in `current` is a key of `World::tokens`.
#[derive(Debug)]
pub(super) struct Account {
    secret: SecretString,
    /// The only host that visitors may return to (网页授权域名); `None` allows any.
    pub(super) oauth_domain: Option<Host>,
    /// True if it is bound to the Open Platform, which gives its visitors a unionid.
    pub(super) bound: bool,
    current: [Option<String>; 2],
    tickets: [Option<(String, UnixMillis)>; 3],
    day: u64,
    minted_today: u32,
    forced_today: u32,
    forced_at: Option<UnixMillis>,
}

/// An issued token.
#[derive(Debug)]
struct Token {
    app_id: String,
    number: u64,
    ends: UnixMillis,
    /// When it is invalidated before its expiry because a newer one replaced it.
    cut: Option<UnixMillis>,
}

/// The tokens of the two endpoints, which are valid side by side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TokenKind {
    Basic,
    Stable,
}

/// The kinds of ticket, which are not interchangeable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TicketKind {
    Jsapi,
    Card,
    /// WeCom's, for one application.
    Agent,
}

/// An issued value, with its remaining time on the client's clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Grant {
    pub(super) value: String,
    pub(super) expires_in: u64,
}

impl World {
    /// Creates the initial state.
    pub(super) fn new(options: &SandboxOptions) -> Self {
        let mut world = Self {
            time: Timeline::new(options.clock.clone()),
            lifetime: options.lifetime,
            overlap: None,
            daily_quota: options.daily_quota,
            ticket_reuse: true,
            silent: false,
            accounts: BTreeMap::new(),
            visitors: Visitors::default(),
            outbox: Outbox::default(),
            kept: Kept::default(),
            tokens: HashMap::new(),
            minted: 0,
            prune_at: 1024,
        };
        for (app_id, secret) in &options.accounts {
            world.add_account(app_id, secret);
        }
        world
    }

    /// Adds an account, or changes the secret of an existing one; its tokens stay valid.
    pub(super) fn add_account(&mut self, app_id: &str, secret: &str) {
        let secret = SecretString::from(secret);
        match self.accounts.get_mut(app_id) {
            Some(account) => account.secret = secret,
            None => {
                let account = Account {
                    secret,
                    oauth_domain: None,
                    bound: true,
                    current: [None, None],
                    tickets: [None, None, None],
                    day: 0,
                    minted_today: 0,
                    forced_today: 0,
                    forced_at: None,
                };
                self.accounts.insert(app_id.to_owned(), account);
            }
        }
    }

    /// A mutable reference to an account.
    pub(super) fn account_mut(&mut self, app_id: &str) -> Result<&mut Account, String> {
        self.accounts
            .get_mut(app_id)
            .ok_or_else(|| format!("no account {app_id:?}; see GET /sandbox/state"))
    }

    /// `GET /cgi-bin/token`: always a new token; the previous one stays valid for five minutes.
    pub(super) fn basic_token(&mut self, app_id: &str, secret: &str) -> Result<Grant, Refusal> {
        let (now, quota) = (self.time.now(), self.daily_quota);
        let account = self.login(app_id, secret)?;
        if account.minted_today >= quota {
            return Err(Refusal::QUOTA_SPENT);
        }
        account.minted_today += 1;
        self.retire(app_id, TokenKind::Basic, now.plus(self.overlap()));
        Ok(self.issue(app_id, TokenKind::Basic, now))
    }

    /// `POST /cgi-bin/stable_token`: the current token until its last five minutes. A forced
    /// refresh returns a new one and invalidates the old one at once.
    pub(super) fn stable_token(
        &mut self,
        app_id: &str,
        secret: &str,
        force: bool,
    ) -> Result<Grant, Refusal> {
        let now = self.time.now();
        let account = self.login(app_id, secret)?;
        let rested = account
            .forced_at
            .is_none_or(|at| at.until(now) >= FORCED_SPACING);
        if force && rested {
            if account.forced_today >= FORCED_PER_DAY {
                return Err(Refusal::QUOTA_SPENT);
            }
            account.forced_today += 1;
            account.forced_at = Some(now);
            self.retire(app_id, TokenKind::Stable, now);
            return Ok(self.issue(app_id, TokenKind::Stable, now));
        }
        if let Some((value, ends)) = self.current(app_id, TokenKind::Stable)
            && now.until(ends) > self.overlap()
        {
            return Ok(self.grant(value.to_owned(), ends, now));
        }
        // The old token is not cut off: it has at most the overlap left and expires as announced.
        Ok(self.issue(app_id, TokenKind::Stable, now))
    }

    /// `GET /cgi-bin/ticket/getticket`.
    pub(super) fn ticket(&mut self, token: &str, kind: TicketKind) -> Result<Grant, Refusal> {
        let app_id = self.admit(token)?.to_owned();
        let (now, overlap, reuse) = (self.time.now(), self.overlap(), self.ticket_reuse);
        let ends = now.plus(self.lifetime);
        let account = self
            .accounts
            .get_mut(&app_id)
            .expect("a token belongs to an account, and accounts are never removed");
        let slot = &mut account.tickets[kind as usize];
        let (value, ends) = match slot {
            Some((value, ends)) if reuse && now.until(*ends) > overlap => (value.clone(), *ends),
            _ => slot.insert((mint::ticket(), ends)).clone(),
        };
        Ok(self.grant(value, ends, now))
    }

    /// The account of `token` if it is valid now; otherwise the refusal.
    pub(super) fn admit(&self, token: &str) -> Result<&str, Refusal> {
        if token.is_empty() {
            return Err(Refusal::NO_TOKEN);
        }
        let token = self.tokens.get(token).ok_or(Refusal::UNKNOWN_TOKEN)?;
        let now = self.time.now();
        if token.cut.is_some_and(|cut| cut <= now && cut <= token.ends) {
            Err(Refusal::NOT_LATEST)
        } else if token.ends <= now {
            Err(Refusal::EXPIRED)
        } else {
            Ok(&token.app_id)
        }
    }

    /// The account that a token was issued to.
    pub(super) fn owner(&self, token: &str) -> Option<&str> {
        self.tokens.get(token).map(|token| token.app_id.as_str())
    }

    /// Invalidates the current token, as another program's refresh would. Returns false if there is
    /// none.
    pub(super) fn void(&mut self, app_id: &str, kind: TokenKind) -> bool {
        self.retire(app_id, kind, self.time.now())
    }

    /// The current token of `kind` and its expiry, if it is valid.
    pub(super) fn current(&self, app_id: &str, kind: TokenKind) -> Option<(&str, UnixMillis)> {
        let value = self.accounts.get(app_id)?.current[kind as usize].as_deref()?;
        self.admit(value).ok()?;
        Some((value, self.tokens.get(value)?.ends))
    }

    /// The newest valid token of either kind.
    pub(super) fn newest_token(&self, app_id: &str) -> Option<&str> {
        let both = [TokenKind::Basic, TokenKind::Stable].map(|kind| self.current(app_id, kind));
        let alive = both.into_iter().flatten().map(|(value, _)| value);
        alive.max_by_key(|value| self.tokens.get(*value).map(|token| token.number))
    }

    /// The most recently issued ticket and its expiry, if it is valid.
    pub(super) fn current_ticket(
        &self,
        app_id: &str,
        kind: TicketKind,
    ) -> Option<(&str, UnixMillis)> {
        let (value, ends) = self.accounts.get(app_id)?.tickets[kind as usize].as_ref()?;
        (self.time.now() < *ends).then_some((value, *ends))
    }

    /// The tokens and forced refreshes that the account has used today.
    pub(super) fn spent_today(&self, app_id: &str) -> (u32, u32) {
        let account = self
            .accounts
            .get(app_id)
            .filter(|account| account.day == self.time.day());
        account.map_or((0, 0), |account| {
            (account.minted_today, account.forced_today)
        })
    }

    /// The account, if `secret` is correct.
    pub(super) fn login(&mut self, app_id: &str, secret: &str) -> Result<&mut Account, Refusal> {
        let today = self.time.day();
        let account = self
            .accounts
            .get_mut(app_id)
            .ok_or(Refusal::UNKNOWN_APPID)?;
        if account.secret.expose_secret() != secret {
            return Err(Refusal::WRONG_SECRET);
        }
        if account.day != today {
            (account.day, account.minted_today, account.forced_today) = (today, 0, 0);
        }
        Ok(account)
    }

    /// How long old and new tokens are valid together, and how long a visitor's code is valid: five
    /// minutes of a full lifetime by default.
    pub(super) fn overlap(&self) -> Duration {
        self.overlap.unwrap_or(self.lifetime / 24)
    }

    fn retire(&mut self, app_id: &str, kind: TokenKind, cut: UnixMillis) -> bool {
        let name = self
            .accounts
            .get_mut(app_id)
            .and_then(|account| account.current[kind as usize].take());
        let Some(token) = name.and_then(|name| self.tokens.get_mut(&name)) else {
            return false;
        };
        token.cut = Some(cut);
        true
    }

    fn issue(&mut self, app_id: &str, kind: TokenKind, now: UnixMillis) -> Grant {
        self.prune(now);
        self.minted += 1;
        let (value, ends) = (mint::access_token(), now.plus(self.lifetime));
        self.tokens.insert(
            value.clone(),
            Token {
                app_id: app_id.to_owned(),
                number: self.minted,
                ends,
                cut: None,
            },
        );
        if let Some(account) = self.accounts.get_mut(app_id) {
            account.current[kind as usize] = Some(value.clone());
        }
        self.grant(value, ends, now)
    }

    pub(super) fn grant(&self, value: String, ends: UnixMillis, now: UnixMillis) -> Grant {
        Grant {
            value,
            expires_in: self.time.client_seconds(now.until(ends)),
        }
    }

    /// Removes tokens that expired over a day ago (they are then refused with 40014), rarely enough
    /// that the cost per token stays constant.
    fn prune(&mut self, now: UnixMillis) {
        if self.tokens.len() >= self.prune_at {
            self.tokens
                .retain(|_, token| token.ends.until(now) < Duration::from_secs(86_400));
            self.prune_at = (self.tokens.len() * 2).max(1024);
        }
    }
}

#[cfg(test)]
#[path = "world_tests.rs"]
mod tests;
