//! The visitors of pages inside WeChat: what they granted, as codes and as the user-level tokens
//! that codes are exchanged for. Old entries are evicted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bounded::Bounded;
use super::mint;
use super::people::People;
use super::refusal::Refusal;
use clock::UnixMillis;

/// The sample visitors on the page. The first one is used when the page is skipped.
pub(super) const SAMPLES: [&str; 3] = ["小明", "Alice", "小红"];

/// How many codes, tokens and visitors are kept: more than any test needs.
const REMEMBERED: usize = 50_000;

/// All visitors and their codes and tokens.
#[derive(Debug)]
pub(super) struct Visitors {
    pub(super) people: People,
    codes: Bounded<Code>,
    tokens: Bounded<Lease>,
    refreshes: Bounded<Refresh>,
    tallies: BTreeMap<String, Tally>,
    virtual_people: u64,
}

/// What a visitor granted to an account.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) app_id: String,
    pub(super) name: String,
    pub(super) openid: String,
    pub(super) scope: String,
    /// A virtual visitor, for whom WeChat shows a page to those who have not logged in (快照页).
    pub(super) is_virtual: bool,
}

/// A new pair of user-level tokens.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) access: String,
    pub(super) refresh: String,
    pub(super) pass: Arc<Pass>,
}

/// Counts of what an account's visitors did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Tally {
    /// Answers on the authorize page, including refusals.
    pub(super) visits: u64,
    /// Issued codes.
    pub(super) codes: u64,
    /// Exchanged codes.
    pub(super) logins: u64,
}

#[derive(Debug)]
struct Code {
    pass: Arc<Pass>,
    ends: UnixMillis,
    used: bool,
}

#[derive(Debug)]
struct Lease {
    pass: Arc<Pass>,
    ends: UnixMillis,
}

#[derive(Debug)]
struct Refresh {
    pass: Arc<Pass>,
    /// The newest access token.
    access: String,
    ends: UnixMillis,
}

impl Pass {
    /// True if it grants the profile and not only the openid. A scope may be a list.
    pub(super) fn has_profile(&self) -> bool {
        self.scope
            .split(',')
            .any(|scope| scope == "snsapi_userinfo")
    }
}

impl Visitors {
    /// Records that `name` agrees to `scope`. Returns the code, valid until `ends`.
    pub(super) fn agree(
        &mut self,
        app_id: &str,
        name: &str,
        scope: &str,
        ends: UnixMillis,
    ) -> String {
        let openid = self.people.meet(app_id, name);
        let (app_id, name, scope) = (app_id.to_owned(), name.to_owned(), scope.to_owned());
        self.hand_out(
            Pass {
                app_id,
                name,
                openid,
                scope,
                is_virtual: false,
            },
            ends,
        )
    }

    /// Like [`Visitors::agree`], for a new virtual visitor.
    pub(super) fn agree_virtually(
        &mut self,
        app_id: &str,
        scope: &str,
        ends: UnixMillis,
    ) -> String {
        self.virtual_people += 1;
        // A name with this character cannot be chosen by a person.
        let name = format!("\0{}", self.virtual_people);
        let openid = mint::openid(app_id, &name);
        let (app_id, scope) = (app_id.to_owned(), scope.to_owned());
        self.hand_out(
            Pass {
                app_id,
                name,
                openid,
                scope,
                is_virtual: true,
            },
            ends,
        )
    }

    /// Records a refusal.
    pub(super) fn refuse(&mut self, app_id: &str) {
        self.tally_mut(app_id).visits += 1;
    }

    /// Exchanges a code, which works once and only for its own account.
    pub(super) fn spend(
        &mut self,
        app_id: &str,
        code: &str,
        now: UnixMillis,
    ) -> Result<Arc<Pass>, Refusal> {
        let code = self
            .codes
            .get_mut(code)
            .filter(|code| code.pass.app_id == app_id)
            .ok_or(Refusal::UNKNOWN_CODE)?;
        if code.used {
            return Err(Refusal::USED_CODE);
        }
        if code.ends <= now {
            return Err(Refusal::EXPIRED_CODE);
        }
        code.used = true;
        let pass = code.pass.clone();
        self.tally_mut(app_id).logins += 1;
        Ok(pass)
    }

    /// Issues a new pair of tokens for a grant.
    pub(super) fn open(
        &mut self,
        pass: Arc<Pass>,
        ends: UnixMillis,
        refresh_ends: UnixMillis,
    ) -> Session {
        let (access, refresh) = (mint::user_token(), mint::user_token());
        self.tokens.insert(
            &access,
            Lease {
                pass: pass.clone(),
                ends,
            },
        );
        self.refreshes.insert(
            &refresh,
            Refresh {
                pass: pass.clone(),
                access: access.clone(),
                ends: refresh_ends,
            },
        );
        Session {
            access,
            refresh,
            pass,
        }
    }

    /// Refreshes: a valid access token is kept and extended to `ends`; an expired one is replaced.
    /// The refresh token is not extended.
    pub(super) fn renew(
        &mut self,
        app_id: &str,
        refresh: &str,
        now: UnixMillis,
        ends: UnixMillis,
    ) -> Result<Session, Refusal> {
        let known = self
            .refreshes
            .get_mut(refresh)
            .filter(|known| known.pass.app_id == app_id)
            .ok_or(Refusal::UNKNOWN_REFRESH)?;
        if known.ends <= now {
            return Err(Refusal::EXPIRED_REFRESH);
        }
        match self.tokens.get_mut(&known.access) {
            Some(lease) if now < lease.ends => lease.ends = ends,
            _ => {
                known.access = mint::user_token();
                self.tokens.insert(
                    &known.access,
                    Lease {
                        pass: known.pass.clone(),
                        ends,
                    },
                );
            }
        }
        Ok(Session {
            access: known.access.clone(),
            refresh: refresh.to_owned(),
            pass: known.pass.clone(),
        })
    }

    /// The grant of a valid user-level token, if `openid` is its person's.
    pub(super) fn admit(
        &self,
        token: &str,
        openid: &str,
        now: UnixMillis,
    ) -> Result<&Pass, Refusal> {
        if token.is_empty() {
            return Err(Refusal::NO_TOKEN);
        }
        let lease = self.tokens.get(token).ok_or(Refusal::NOT_LATEST)?;
        if lease.ends <= now {
            Err(Refusal::EXPIRED)
        } else if lease.pass.openid != openid {
            Err(Refusal::WRONG_OPENID)
        } else {
            Ok(&lease.pass)
        }
    }

    /// The account that a user-level token was issued to.
    pub(super) fn owner(&self, token: &str) -> Option<&str> {
        self.tokens
            .get(token)
            .map(|lease| lease.pass.app_id.as_str())
    }

    /// The counts of an account.
    pub(super) fn tally(&self, app_id: &str) -> Tally {
        self.tallies.get(app_id).copied().unwrap_or_default()
    }

    fn hand_out(&mut self, pass: Pass, ends: UnixMillis) -> String {
        let tally = self.tally_mut(&pass.app_id);
        tally.visits += 1;
        tally.codes += 1;
        let code = mint::code();
        self.codes.insert(
            &code,
            Code {
                pass: Arc::new(pass),
                ends,
                used: false,
            },
        );
        code
    }

    fn tally_mut(&mut self, app_id: &str) -> &mut Tally {
        self.tallies.entry(app_id.to_owned()).or_default()
    }
}

impl Default for Visitors {
    fn default() -> Self {
        Self {
            people: People::default(),
            codes: Bounded::new(REMEMBERED),
            tokens: Bounded::new(REMEMBERED),
            refreshes: Bounded::new(REMEMBERED),
            tallies: BTreeMap::new(),
            virtual_people: 0,
        }
    }
}
