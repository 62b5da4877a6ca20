//! Login by scanning (haowang1013/wechat-server's contract). A desktop shows a QR code, a phone
//! opens it in WeChat, and the desktop receives the user. Each login accepts one user and refuses
//! others.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::exchange::Exchanges;
use super::limits::Key;
use super::records::Found;
use super::refusals::print;
use super::scan_id::{NewScan, Requester, scan_id, scan_key};
use super::visitor::Visitor;
use super::{Failure, LoginError, Logins, RETRY_AFTER};
use crate::client_network::ClientNetwork;
use wechat::account::Account;
use wechat::signature::{fingerprint, is_id, random_id};

mod settle;

/// How long a QR code can be scanned, and the result be polled. Source: wechat-server, the TTL of
/// its Redis values.
const SCAN_LIFETIME: Duration = Duration::from_secs(3600);

/// Maximum number of attempts to update a record. Each failure means a concurrent update, and a
/// record allows few.
const ROUNDS: usize = 100;

/// The result of a visit by phone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scanned {
    /// Logged in.
    Done,
    /// The user must confirm first.
    Asks {
        /// The site that shows the QR code.
        site: String,
        /// Proves that the answer comes from the confirmation page.
        token: String,
    },
    /// The user declined.
    Declined,
    /// The login is unknown, has expired or received too many codes.
    Unknown,
    /// Another user scanned first.
    Taken {
        /// The site that shows the QR code.
        site: String,
    },
    /// The login failed; the user may scan again.
    Failed {
        /// Why.
        failure: Failure,
        /// The account that the login is for.
        app_id: String,
    },
}

/// The state of a login, for the desktop.
#[derive(Clone, PartialEq, Debug)]
pub enum Polled {
    /// The login is unknown or has expired.
    Unknown,
    /// Nobody has scanned yet.
    Waiting,
    /// The user declined.
    Declined,
    /// This user of this account.
    Done {
        /// The account.
        app_id: String,
        /// The user object from WeChat.
        user: Map<String, Value>,
    },
}

/// The stored record of a login.
#[derive(Clone, Serialize, Deserialize)]
struct Scan {
    app: String,
    /// The display name of the site.
    site: String,
    /// True if a page started the login.
    by_page: bool,
    phase: Phase,
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<Person>,
    #[serde(default, skip_serializing_if = "Exchanges::is_empty")]
    exchanges: Exchanges,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    Waiting,
    Asking,
    Done,
    Declined,
}

/// Who scanned.
#[derive(Clone, Serialize, Deserialize)]
struct Person {
    openid: String,
    user: Map<String, Value>,
    /// The token that the confirmation page must send back.
    token: String,
}

impl Logins {
    /// Starts a login at `app_id`. `from` is the client's address.
    pub async fn open_scan(
        &self,
        app_id: &str,
        requester: Requester,
        from: Option<IpAddr>,
    ) -> Result<NewScan, LoginError> {
        let (site, by_page) = match requester {
            Requester::Page(origin) => (origin, true),
            Requester::BackEnd(site) => (site, false),
        };
        let exchanges = Exchanges::default();
        let scan = Scan {
            app: app_id.to_owned(),
            site,
            by_page,
            phase: Phase::Waiting,
            person: None,
            exchanges,
        };
        self.finish(async move |logins| {
            let uuid = random_id();
            let picture = scan_id(&uuid);
            logins
                .admit(Key::Scan(Key::number(&picture)), from, SCAN_LIFETIME)
                .await?;
            logins
                .0
                .records
                .put(&scan_key(&picture), &scan, logins.after(SCAN_LIFETIME))
                .await?;
            Ok(NewScan { uuid, picture })
        })
        .await
    }

    /// Returns the account of the login behind a picture, or `None` if there is no such login.
    pub async fn app_of_scan(&self, id: &str) -> Result<Option<String>, LoginError> {
        let id = id.to_owned();
        self.finish(async move |logins| Ok(logins.scan(&id).await?.map(|found| found.record.app)))
            .await
    }

    /// Handles a phone that returns from WeChat with `code` for picture `id`. `confirm` says
    /// whether the user must confirm; `None` means only if a page started the login. `from` is the
    /// phone's address.
    pub async fn scanned(
        &self,
        account: Account,
        id: &str,
        code: &str,
        confirm: Option<bool>,
        from: Option<IpAddr>,
    ) -> Result<Scanned, LoginError> {
        let (id, code) = (id.to_owned(), code.to_owned());
        let key = print(&[&id, &code]);
        let settle = |logins: Self| async move {
            logins
                .settle_scan(&account, &id, &code, confirm, from)
                .await
        };
        self.0.scans.join(self, key, settle).await
    }

    /// Returns the result of [`Logins::scanned`] if this process has already refused the same scan.
    pub fn refused_scan(&self, id: &str, code: &str) -> Option<Scanned> {
        self.0
            .refused_scans
            .recall(&[id, code])
            .or_else(|| self.0.refused_scans.recall(&[id]))
    }

    /// Handles the user's answer on the confirmation page.
    pub async fn confirm(&self, id: &str, token: &str, yes: bool) -> Result<Scanned, LoginError> {
        let (id, token) = (id.to_owned(), fingerprint(token));
        self.finish(async move |logins| {
            let answered = |scan: &mut Scan| {
                let is_theirs = scan
                    .person
                    .as_ref()
                    .is_some_and(|person| token.matches(&fingerprint(&person.token).text()));
                let is_answered = is_theirs && scan.phase == Phase::Asking;
                if is_answered {
                    scan.phase = if yes { Phase::Done } else { Phase::Declined };
                }
                (is_theirs, is_answered)
            };
            let Some((scan, true)) = logins.change_scan(&id, answered).await? else {
                return Ok(Scanned::Unknown);
            };
            logins.0.waiting.ring(&id);
            Ok(scan.seen())
        })
        .await
    }

    /// Returns the login's state, waiting up to `wait` for a change. `from` is the client's
    /// address.
    pub async fn poll(
        &self,
        uuid: &str,
        wait: Duration,
        from: Option<IpAddr>,
    ) -> Result<Polled, LoginError> {
        if !is_id(uuid) {
            return Ok(Polled::Unknown);
        }
        let id = &scan_id(uuid);
        let now = self.look(id).await?;
        if wait.is_zero() || now != Polled::Waiting {
            return Ok(now);
        }
        let Some(place) = self.0.waiting.sit(id, from.and_then(ClientNetwork::of)) else {
            return Err(LoginError::TooMany {
                retry_after: RETRY_AFTER,
            });
        };
        let deadline = self.0.clock.steady().plus(wait);
        loop {
            // Subscribe before reading, so that no wake-up is lost in between.
            let mut ring = std::pin::pin!(place.bell.notified());
            ring.as_mut().enable();
            let seen = self.look(id).await?;
            let left = self.0.clock.steady().until(deadline);
            if seen != Polled::Waiting || left.is_zero() || self.0.waiting.is_closed() {
                return Ok(seen);
            }
            let pause = if self.0.records.are_shared() {
                left.min(self.0.waiting.next_look())
            } else {
                left
            };
            tokio::time::timeout(pause, ring).await.ok();
        }
    }

    async fn look(&self, id: &str) -> Result<Polled, LoginError> {
        let id = id.to_owned();
        let scan = self
            .finish(async move |logins| logins.scan(&id).await)
            .await?;
        Ok(match scan.map(|found| found.record) {
            None => Polled::Unknown,
            Some(Scan {
                phase: Phase::Done,
                person: Some(person),
                app,
                ..
            }) => Polled::Done {
                app_id: app,
                user: person.user,
            },
            Some(Scan {
                phase: Phase::Declined,
                ..
            }) => Polled::Declined,
            Some(_) => Polled::Waiting,
        })
    }

    async fn scan(&self, id: &str) -> Result<Option<Found<Scan>>, LoginError> {
        if !is_id(id) {
            return Ok(None);
        }
        Ok(self.0.records.get(&scan_key(id)).await?)
    }

    /// Atomically applies `change` to login `id`. Returns the updated login and the result, or
    /// `None` if there is no such login. `change` also returns whether it changed anything.
    async fn change_scan<T>(
        &self,
        id: &str,
        change: impl Fn(&mut Scan) -> (T, bool),
    ) -> Result<Option<(Scan, T)>, LoginError> {
        for _ in 0..ROUNDS {
            let Some(found) = self.scan(id).await? else {
                return Ok(None);
            };
            let mut scan = found.record.clone();
            let (result, is_changed) = change(&mut scan);
            if !is_changed || self.0.records.replace(&scan_key(id), &found, &scan).await? {
                return Ok(Some((scan, result)));
            }
        }
        Err(LoginError::Lost)
    }

    /// Deletes the login unless it was scanned.
    pub(super) async fn discard_scan(&self, id: &str) -> Result<bool, LoginError> {
        if self
            .scan(id)
            .await?
            .is_some_and(|found| found.record.person.is_some())
        {
            return Ok(false);
        }
        self.0.records.take::<Scan>(&scan_key(id)).await?;
        self.0.waiting.ring(id);
        Ok(true)
    }
}

impl Scan {
    /// Returns what to show the user who scanned.
    fn seen(&self) -> Scanned {
        match (self.phase, &self.person) {
            (Phase::Done, _) => Scanned::Done,
            (Phase::Declined, _) => Scanned::Declined,
            (Phase::Asking, Some(person)) => Scanned::Asks {
                site: self.site.clone(),
                token: person.token.clone(),
            },
            (Phase::Asking | Phase::Waiting, _) => Scanned::Unknown,
        }
    }
}

impl Person {
    fn new(visitor: Visitor) -> Self {
        Self {
            openid: visitor.openid,
            user: visitor.user,
            token: random_id(),
        }
    }
}
