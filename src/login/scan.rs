//! Login by scanning (haowang1013/wechat-server's contract): a desktop shows a QR code, a phone opens it in WeChat, the desktop learns
//! who it was. One person per code: whoever comes second is refused.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::picture::{Beginner, Begun, picture_of, scan_key};
use super::visitor::Visitor;
use super::{Failure, LOOK_EVERY, LoginError, Logins};
use crate::account::Account;
use crate::clock::UnixMillis;
use crate::signature::{fingerprint, is_id, random_id};

/// How long a QR code may be scanned, and the login be asked for afterwards. Source: wechat-server, the lifetime of its Redis values.
const SCAN_LIFE: Duration = Duration::from_secs(3600);

/// A code lives five minutes; nobody brings it after that. Source: 网页授权, code.
const CODE_LIFE: Duration = Duration::from_secs(10 * 60);

/// What a visit by phone came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scanned {
    /// Logged in.
    Done,
    /// The person is to be asked first whether they mean it.
    Asks {
        /// The site that shows the QR code.
        site: String,
        /// Proves that the answer comes from the page that asked.
        token: String,
    },
    /// The person said no.
    Declined,
    /// No such login, or its hour is over.
    Unknown,
    /// Somebody else was first at this site's QR code.
    Taken {
        /// The site, if it is still known.
        site: Option<String>,
    },
    /// No login came of it.
    Failed(Failure),
}

/// What the desktop learns.
#[derive(Clone, PartialEq, Debug)]
pub enum Polled {
    /// No such login, or its hour is over.
    Unknown,
    /// Nobody has scanned yet.
    Waiting,
    /// The person said no.
    Declined,
    /// This user of this account.
    Done {
        /// The account.
        app_id: String,
        /// What WeChat tells of the user.
        user: Map<String, Value>,
    },
}

/// A login as it rests in the store.
#[derive(Clone, Serialize, Deserialize)]
struct Scan {
    app: String,
    /// Whose QR code it is, as a person knows it.
    site: String,
    /// Whether a page began it.
    by_page: bool,
    phase: Phase,
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<Person>,
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
    /// The fingerprint of the code they brought, for the phone that asks twice.
    code: String,
    /// What the page that asks must send back.
    token: String,
}

impl Logins {
    /// Begins a login at `app_id`. `from` is the caller's address.
    pub async fn open_scan(&self, app_id: &str, beginner: Beginner, from: Option<IpAddr>) -> Result<Begun, LoginError> {
        let (site, by_page) = match beginner {
            Beginner::Page(origin) => (origin, true),
            Beginner::BackEnd(site) => (site, false),
        };
        let scan = Scan { app: app_id.to_owned(), site, by_page, phase: Phase::Waiting, person: None };
        self.finish(async move |logins| {
            logins.admit(from, SCAN_LIFE).await?;
            let uuid = random_id();
            let picture = picture_of(&uuid);
            logins.0.records.put(&scan_key(&picture), &scan, logins.after(SCAN_LIFE)).await?;
            Ok(Begun { uuid, picture })
        })
        .await
    }

    /// The account that the login behind a picture is for; `None` when there is no such login.
    pub async fn app_of_scan(&self, id: &str) -> Result<Option<String>, LoginError> {
        let id = id.to_owned();
        self.finish(async move |logins| Ok(logins.scan(&id).await?.map(|(scan, _)| scan.app))).await
    }

    /// A phone came back from WeChat with `code` for the picture `id`. `confirm`: whether the person is asked before it counts; `None`:
    /// if a page began the login.
    pub async fn scanned(&self, account: Account, id: &str, code: &str, confirm: Option<bool>) -> Result<Scanned, LoginError> {
        let (id, code) = (id.to_owned(), code.to_owned());
        self.finish(async move |logins| logins.settle_scan(&account, &id, &code, confirm).await).await
    }

    /// The person's answer on the page that asked.
    pub async fn confirm(&self, id: &str, token: &str, yes: bool) -> Result<Scanned, LoginError> {
        let (id, token) = (id.to_owned(), fingerprint(token));
        self.finish(async move |logins| {
            let Some((mut scan, end)) = logins.scan(&id).await? else { return Ok(Scanned::Unknown) };
            let is_theirs = scan.person.as_ref().is_some_and(|person| token.matches(&fingerprint(&person.token).text()));
            match scan.phase {
                _ if !is_theirs => return Ok(Scanned::Unknown),
                Phase::Asking => {
                    scan.phase = if yes { Phase::Done } else { Phase::Declined };
                    logins.0.records.put(&scan_key(&id), &scan, end).await?;
                    logins.0.waiting.ring(&id);
                }
                Phase::Waiting | Phase::Done | Phase::Declined => {}
            }
            Ok(scan.seen())
        })
        .await
    }

    /// What the desktop may know now, or as soon as there is something to know within `wait`.
    pub async fn poll(&self, uuid: &str, wait: Duration) -> Result<Polled, LoginError> {
        if !is_id(uuid) {
            return Ok(Polled::Unknown);
        }
        let id = &picture_of(uuid);
        let now = self.look(id).await?;
        if wait.is_zero() || now != Polled::Waiting {
            return Ok(now);
        }
        let Some(place) = self.0.waiting.sit(id) else { return Err(LoginError::TooMany { retry_after: LOOK_AGAIN }) };
        let deadline = self.0.clock.steady().plus(wait);
        loop {
            // Listening begins before the look, so that no ring falls between the two.
            let mut ring = std::pin::pin!(place.bell.notified());
            ring.as_mut().enable();
            let seen = self.look(id).await?;
            let left = self.0.clock.steady().until(deadline);
            if seen != Polled::Waiting || left.is_zero() || self.0.waiting.is_closed() {
                return Ok(seen);
            }
            let pause = if self.0.records.are_shared() { left.min(self.0.waiting.next_look()) } else { left };
            tokio::time::timeout(pause, ring).await.ok();
        }
    }

    async fn look(&self, id: &str) -> Result<Polled, LoginError> {
        let id = id.to_owned();
        let scan = self.finish(async move |logins| logins.scan(&id).await).await?;
        Ok(match scan.map(|(scan, _)| scan) {
            None => Polled::Unknown,
            Some(Scan { phase: Phase::Done, person: Some(person), app, .. }) => Polled::Done { app_id: app, user: person.user },
            Some(Scan { phase: Phase::Declined, .. }) => Polled::Declined,
            Some(_) => Polled::Waiting,
        })
    }

    async fn scan(&self, id: &str) -> Result<Option<(Scan, UnixMillis)>, LoginError> {
        if !is_id(id) {
            return Ok(None);
        }
        Ok(self.0.records.get(&scan_key(id)).await?)
    }

    async fn settle_scan(&self, account: &Account, id: &str, code: &str, confirm: Option<bool>) -> Result<Scanned, LoginError> {
        let Some((scan, end)) = self.scan(id).await? else { return Ok(Scanned::Unknown) };
        if scan.app != account.app_id.as_str() {
            return Ok(Scanned::Unknown);
        }
        let print = fingerprint(&format!("{} {code}", account.app_id)).text();
        // A phone asks twice with one code, which WeChat exchanges only once.
        if !self.0.records.is_first(&format!("login.code.{print}"), CODE_LIFE).await? {
            return self.seen_by_first(id, &print).await;
        }
        let visitor = match self.visitor(account, code).await {
            Ok(visitor) => visitor,
            Err(failure) => return Ok(Scanned::Failed(failure)),
        };
        if !self.0.records.is_first(&scan_key(id), SCAN_LIFE).await? {
            return self.seen_by_second(id, &visitor.openid).await;
        }
        let phase = if confirm.unwrap_or(scan.by_page) { Phase::Asking } else { Phase::Done };
        let scan = Scan { phase, person: Some(Person::new(visitor, print)), ..scan };
        self.0.records.put(&scan_key(id), &scan, end).await?;
        self.0.waiting.ring(id);
        Ok(scan.seen())
    }

    /// What the first request with this code came to, as soon as that is known.
    async fn seen_by_first(&self, id: &str, print: &str) -> Result<Scanned, LoginError> {
        let seen = self.person_within(id, self.0.wechat.timeout()).await?;
        Ok(match seen {
            Some(scan) if scan.person.as_ref().is_some_and(|person| person.code == print) => scan.seen(),
            Some(scan) => Scanned::Taken { site: Some(scan.site) },
            None => Scanned::Failed(Failure::BadCode),
        })
    }

    /// What somebody learns who comes after another person, or after themselves.
    async fn seen_by_second(&self, id: &str, openid: &str) -> Result<Scanned, LoginError> {
        let seen = self.person_within(id, LOOK_AGAIN).await?;
        Ok(match seen {
            Some(scan) if scan.person.as_ref().is_some_and(|person| person.openid == openid) => scan.seen(),
            scan => Scanned::Taken { site: scan.map(|scan| scan.site) },
        })
    }

    /// The login once somebody's name is in it.
    async fn person_within(&self, id: &str, patience: Duration) -> Result<Option<Scan>, LoginError> {
        let give_up = self.0.clock.steady().plus(patience);
        loop {
            match self.scan(id).await? {
                Some((scan, _)) if scan.person.is_some() => return Ok(Some(scan)),
                Some(_) if self.0.clock.steady() < give_up => tokio::time::sleep(LOOK_EVERY).await,
                _ => return Ok(None),
            }
        }
    }
}

/// How long a write of another request may take to be seen, and when a poll that found no place comes again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Scan {
    /// What the person who scanned is shown.
    fn seen(&self) -> Scanned {
        match (self.phase, &self.person) {
            (Phase::Done, _) => Scanned::Done,
            (Phase::Declined, _) => Scanned::Declined,
            (Phase::Asking, Some(person)) => Scanned::Asks { site: self.site.clone(), token: person.token.clone() },
            (Phase::Asking | Phase::Waiting, _) => Scanned::Unknown,
        }
    }
}

impl Person {
    fn new(visitor: Visitor, code: String) -> Self {
        Self { openid: visitor.openid, user: visitor.user, code, token: random_id() }
    }
}
