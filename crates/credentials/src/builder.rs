//! What a program asks to have kept, and where. Every fault is reported at once, under the names
//! that the server's settings have.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;
use wechat::account::{AppId, Keep, TokenApi};

use crate::credentials::{Credentials, Parts};
use crate::error::Error;
use crate::store::{StoreConfig, redis};

const DEFAULT_API: &str = "https://api.weixin.qq.com";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_RESERVE: Duration = Duration::from_secs(10 * 60);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(5 * 60);
const RESERVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60 * 60);

/// What to keep, and where. Made by [`Credentials::builder`]; all but an account has a default.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is kept before start()"]
pub struct Builder {
    accounts: Vec<Account>,
    store: Store,
    api: Vec<String>,
    timeout: Option<Duration>,
    reserve: Option<Duration>,
    keep_always: bool,
}

#[derive(Clone, Debug, Default)]
enum Store {
    #[default]
    Memory,
    File(PathBuf),
    /// A secret, because it may hold a password.
    Address(SecretString),
}

/// One WeChat account.
#[derive(Clone)]
pub struct Account {
    app_id: String,
    secret: SecretString,
    stable: bool,
    rotations_per_day: Option<u32>,
}

impl Account {
    /// The account of this appid and AppSecret, its token fetched from `/cgi-bin/token`.
    pub fn new(app_id: impl Into<String>, secret: impl Into<SecretString>) -> Self {
        Self {
            app_id: app_id.into(),
            secret: secret.into(),
            stable: false,
            rotations_per_day: None,
        }
    }

    /// Fetches the token from `/cgi-bin/stable_token`, which does not void tokens of other
    /// programs. For accounts whose token another program fetches too.
    #[must_use]
    pub fn stable(self) -> Self {
        Self {
            stable: true,
            ..self
        }
    }

    /// How many renewals a day [`Credentials::rotate`] may force; by default 1000, on stable 20.
    #[must_use]
    pub fn rotations_per_day(self, most: u32) -> Self {
        Self {
            rotations_per_day: Some(most),
            ..self
        }
    }

    /// The account, or every fault in it.
    fn checked(&self, reserve: Duration) -> Result<wechat::account::Account, Vec<String>> {
        let token_api = if self.stable {
            TokenApi::Stable
        } else {
            TokenApi::Basic
        };
        let (default, most) = token_api.rotations_per_day();
        let rotations_per_day = self.rotations_per_day.unwrap_or(default);
        let app_id = AppId::parse(&self.app_id)
            .map_err(|fault| format!("key: found {:?}, {fault}", self.app_id));
        let mut faults: Vec<String> = app_id.as_ref().err().cloned().into_iter().collect();
        if self.secret.expose_secret().is_empty() {
            faults.push("secret: found an empty text, expected the account's AppSecret".to_owned());
        }
        if rotations_per_day > most {
            faults.push(format!(
                "rotationsPerDay: found {rotations_per_day}, expected 0 to {most}"
            ));
        }
        match app_id {
            Ok(app_id) if faults.is_empty() => Ok(wechat::account::Account {
                token_api,
                reserve: token_api.reserve(reserve),
                rotations_per_day,
                ..wechat::account::Account::with_defaults(
                    app_id,
                    self.secret.clone(),
                    None,
                    reserve,
                )
            }),
            _ => Err(faults),
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("app_id", &self.app_id)
            .field("stable", &self.stable)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// What to keep, and where.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Adds the account of this appid and AppSecret.
    pub fn account(self, app_id: impl Into<String>, secret: impl Into<SecretString>) -> Self {
        self.with_account(Account::new(app_id, secret))
    }

    /// Adds an account with its own options.
    pub fn with_account(mut self, account: Account) -> Self {
        self.accounts.push(account);
        self
    }

    /// Keeps credentials in a Redis (`redis://…`, `rediss://…`, `redis+unix://…`,
    /// `redis-sentinel://…`) or a database (`mysql://…`, `postgres://…`, `sqlite://…`, whose tables
    /// `jsdkd install` makes). Every program and server that does so renews each credential once
    /// for all. Without this and [`Builder::file`] they are kept in this process alone.
    pub fn store(self, address: impl Into<SecretString>) -> Self {
        Self {
            store: Store::Address(address.into()),
            ..self
        }
    }

    /// Keeps credentials in a file, which belongs to one process at a time.
    pub fn file(self, path: impl Into<PathBuf>) -> Self {
        Self {
            store: Store::File(path.into()),
            ..self
        }
    }

    /// Adds a host of WeChat's API, such as `https://api2.weixin.qq.com`; they are tried in order
    /// when one cannot be reached. Without any it is `https://api.weixin.qq.com`.
    pub fn api(mut self, address: impl Into<String>) -> Self {
        self.api.push(address.into());
        self
    }

    /// The bound on a call to WeChat, and so on every wait; 5 s by default.
    pub fn timeout(self, bound: Duration) -> Self {
        Self {
            timeout: Some(bound),
            ..self
        }
    }

    /// The outage of WeChat to survive: renewal begins this long before the end; 10 min by default.
    pub fn reserve(self, span: Duration) -> Self {
        Self {
            reserve: Some(span),
            ..self
        }
    }

    /// Renews every account for ever, not only while it is used.
    pub fn keep_always(self) -> Self {
        Self {
            keep_always: true,
            ..self
        }
    }

    /// Proves all of it, opens the store and begins. A shared store may be down; it is used when it
    /// comes. Must be called on a tokio runtime with time and I/O, which then does the work.
    pub async fn start(self) -> Result<Credentials, Error> {
        // A server may start without accounts and get them from its store; a program cannot.
        if self.accounts.is_empty() {
            return Err(Error::misconfigured("the builder was given no account"));
        }
        let parts = self
            .checked()
            .map_err(|faults| Error::misconfigured(&faults.join("; ")))?;
        Credentials::start(parts).await
    }

    /// Checks everything, and names every fault at once.
    fn checked(self) -> Result<Parts, Vec<String>> {
        let mut faults = Vec::new();
        let reserve = within(
            "reserve",
            self.reserve,
            RESERVE,
            DEFAULT_RESERVE,
            &mut faults,
        );
        let timeout = within(
            "wechat.timeout",
            self.timeout,
            TIMEOUT,
            DEFAULT_TIMEOUT,
            &mut faults,
        );
        let mut accounts: Vec<wechat::account::Account> = Vec::new();
        for (index, account) in self.accounts.iter().enumerate() {
            match account.checked(reserve) {
                Ok(account) => match accounts
                    .iter()
                    .position(|other| other.app_id == account.app_id)
                {
                    Some(first) => faults.push(format!(
                        "apps[{index}]: the app {} is already given as apps[{first}]",
                        account.app_id
                    )),
                    None => accounts.push(account),
                },
                Err(wrong) => faults.extend(
                    wrong
                        .into_iter()
                        .map(|fault| format!("apps[{index}].{fault}")),
                ),
            }
        }
        let mut hosts = Vec::new();
        for address in if self.api.is_empty() {
            vec![DEFAULT_API.to_owned()]
        } else {
            self.api
        } {
            match Url::parse(&address)
                .ok()
                .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            {
                Some(url) => hosts.push(url),
                None => faults.push(format!(
                    "wechat.api: found {address:?}, expected an address such as {DEFAULT_API:?}"
                )),
            }
        }
        let keep = if self.keep_always {
            Keep::Always
        } else {
            Keep::Active
        };
        match (self.store.config(), faults.is_empty()) {
            (Ok(store), true) => Ok(Parts {
                accounts,
                store,
                hosts,
                timeout,
                keep,
            }),
            (Ok(_), false) => Err(faults),
            (Err(fault), _) => Err([faults, vec![fault]].concat()),
        }
    }
}

impl Store {
    fn config(self) -> Result<StoreConfig, String> {
        match self {
            Self::Memory => Ok(StoreConfig::Memory(BTreeMap::new())),
            Self::File(path) => Ok(StoreConfig::File(path)),
            Self::Address(address) if address.expose_secret().starts_with("redis") => {
                redis::from_url(address.expose_secret())
                    .map(StoreConfig::Redis)
                    .map_err(|fault| format!("cache.redis: {fault}"))
            }
            Self::Address(address) => {
                sql_config(&address).map_err(|fault| format!("cache.sql: {fault}"))
            }
        }
    }
}

#[cfg(feature = "sql")]
fn sql_config(address: &SecretString) -> Result<StoreConfig, String> {
    crate::store::sql::from_url(address.expose_secret()).map(StoreConfig::Sql)
}

#[cfg(not(feature = "sql"))]
fn sql_config(_: &SecretString) -> Result<StoreConfig, String> {
    Err("a database needs the feature \"sql\" of jsdkd-credentials; without it only redis addresses can be used".to_owned())
}

/// `given` or `default`, and a fault if it is outside `allowed`.
fn within(
    name: &str,
    given: Option<Duration>,
    allowed: RangeInclusive<Duration>,
    default: Duration,
    faults: &mut Vec<String>,
) -> Duration {
    let duration = given.unwrap_or(default);
    if !allowed.contains(&duration) {
        let [found, least, most] =
            [duration, *allowed.start(), *allowed.end()].map(humantime::format_duration);
        faults.push(format!("{name}: found {found}, expected {least} to {most}"));
    }
    duration
}
