//! What a program says to have credentials kept. It is written down as settings, so that what holds there holds here, and what is wrong
//! is told in the same words.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::{Credentials, Error};
use crate::settings::{self, Environment, Source};

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
        Self { app_id: app_id.into(), secret: secret.into(), stable: false, rotations_per_day: None }
    }

    /// Fetches its token from `/cgi-bin/stable_token`, which voids nobody else's: for accounts that another program fetches for, too.
    #[must_use]
    pub fn stable(self) -> Self {
        Self { stable: true, ..self }
    }

    /// How many renewals a day [`Credentials::rotate`] may force; by default 1000, on stable 20.
    #[must_use]
    pub fn rotations_per_day(self, most: u32) -> Self {
        Self { rotations_per_day: Some(most), ..self }
    }

    fn setting(&self) -> Value {
        let api = if self.stable { "stable" } else { "basic" };
        json!({
            "key": self.app_id,
            "secret": self.secret.expose_secret(),
            "tokenApi": api,
            "rotationsPerDay": self.rotations_per_day,
        })
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("app_id", &self.app_id).field("stable", &self.stable).finish_non_exhaustive()
    }
}

impl Builder {
    /// Adds the account of this appid and AppSecret.
    pub fn account(self, app_id: impl Into<String>, secret: impl Into<SecretString>) -> Self {
        self.with_account(Account::new(app_id, secret))
    }

    /// Adds an account with choices of its own.
    pub fn with_account(mut self, account: Account) -> Self {
        self.accounts.push(account);
        self
    }

    /// Keeps credentials in a Redis (`redis://…`, `rediss://…`, `redis+unix://…`, `redis-sentinel://…`) or a database (`mysql://…`,
    /// `postgres://…`, `sqlite://…`, whose tables `jsdkd install` makes). Every program and server that does so renews each credential
    /// once for all. Without this and [`Builder::file`] they are kept in this process alone.
    pub fn store(self, address: impl Into<SecretString>) -> Self {
        Self { store: Store::Address(address.into()), ..self }
    }

    /// Keeps credentials in a file, which belongs to one process at a time.
    pub fn file(self, path: impl Into<PathBuf>) -> Self {
        Self { store: Store::File(path.into()), ..self }
    }

    /// Adds a host of WeChat's API, such as `https://api2.weixin.qq.com`; they are tried in order when one cannot be reached. Without any
    /// it is `https://api.weixin.qq.com`.
    pub fn api(mut self, address: impl Into<String>) -> Self {
        self.api.push(address.into());
        self
    }

    /// The bound on a call to WeChat, and so on every wait; 5 s by default.
    pub fn timeout(self, bound: Duration) -> Self {
        Self { timeout: Some(bound), ..self }
    }

    /// The outage of WeChat to survive: renewal begins this long before the end; 10 min by default.
    pub fn reserve(self, span: Duration) -> Self {
        Self { reserve: Some(span), ..self }
    }

    /// Renews every account for ever, and not only what was asked for within one lifetime.
    pub fn keep_always(self) -> Self {
        Self { keep_always: true, ..self }
    }

    /// Proves all of it, opens the store and begins. A shared store may be down; it is used when it comes. Must be called on a tokio
    /// runtime with time and I/O, which then does the work.
    pub async fn start(self) -> Result<Credentials, Error> {
        // A server may begin without any, and be given some by its store; nobody gives a program more.
        if self.accounts.is_empty() {
            return Err(Error::misconfigured("the builder was given no account"));
        }
        if let Store::File(path) = &self.store
            && path.to_str().is_none()
        {
            return Err(Error::misconfigured("the path of the file is no UTF-8"));
        }
        let source = Source::text("", self.settings().to_string()).strict(true);
        // The environment is the program's own and none of ours.
        let config = settings::load(&source, &Environment::default()).map_err(|error| Error::of_settings(&error))?.config;
        Credentials::start(config).await
    }

    fn settings(&self) -> Value {
        let mut wechat = Map::new();
        if !self.api.is_empty() {
            wechat.insert("api".to_owned(), self.api.clone().into());
        }
        wechat.extend(self.timeout.map(|bound| ("timeout".to_owned(), span(bound))));
        let cache = match &self.store {
            Store::Memory => json!({}),
            Store::File(path) => json!({ "file": path.to_string_lossy() }),
            Store::Address(address) => {
                let kind = if address.expose_secret().starts_with("redis") { "redis" } else { "sql" };
                json!({ kind: address.expose_secret() })
            }
        };
        let apps: Vec<Value> = self.accounts.iter().map(Account::setting).collect();
        let keep = if self.keep_always { "always" } else { "active" };
        json!({ "apps": apps, "cache": cache, "wechat": wechat, "reserve": self.reserve.map(span), "keep": keep })
    }
}

/// As settings write a span of time, to the millisecond.
fn span(span: Duration) -> Value {
    format!("{}ms", span.as_millis()).into()
}
