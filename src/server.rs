//! Wires everything together: from a valid `Config` to a running server, and its shutdown. State
//! shared by all workers is built here, once.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_server::ServerHandle;
use actix_web::web;
use futures_util::future::{OptionFuture, join};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::counters::Counters;
use crate::gateway::{self, Gateway};
use crate::http::{self, AppState, Demo, HttpOptions};
use crate::login::Logins;
use crate::message::Inbox;
use crate::registry::Registry;
use crate::settings::Config;
use crate::status::{self, Status};
use crate::telemetry::LostLines;
use admin::Admin;
use clock::Clock;
use credentials::keeper::{Keeper, Parts};
use credentials::sources::Sources;
use credentials::store;
use wechat::WechatClient;

mod admin;
mod capacity;
mod connection;
mod error;
mod openings;
mod reload;
mod workers;

pub use self::error::StartError;
pub use self::reload::Reloader;

/// A bound server.
pub struct Server {
    address: SocketAddr,
    state: web::Data<AppState>,
    http: JoinHandle<io::Result<()>>,
    handle: ServerHandle,
    admin: Option<Admin>,
    refreshers: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    grace: Duration,
}

impl Server {
    /// Opens the store, starts the keeper and binds the address. Must be called on a multi-threaded
    /// tokio runtime, which runs the keeper; the workers that answer requests have their own
    /// runtimes.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        Self::bind_with(config, Clock::system(), None, LostLines::default()).await
    }

    /// Like [`Server::bind`], with a given clock, the demo's pages if `demo` is set, and the counter of
    /// lost log lines.
    pub async fn bind_with(
        config: Config,
        clock: Clock,
        demo: Option<Demo>,
        lost_lines: LostLines,
    ) -> Result<Self, StartError> {
        // A second installation fails without changing anything, which is fine for a second server
        // in one process.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let access = http::access(&config);
        let (configured, config) = reload::configured(config);
        let wanted_admin = config.server.admin.as_deref();
        let admin_listeners = wanted_admin.map(admin::listen).transpose()?;
        // The admin listener has one thread more.
        let threads = capacity::workers(config.server.workers) + 1;
        let counters = Counters::new(http::patterns(), threads, clock.clone());
        let (api, mp) = (config.wechat.api.clone(), config.wechat.mp);
        let (observer, timed) = (counters.clone(), clock.clone());
        let timeout = config.wechat.timeout;
        let wechat = WechatClient::observed(config.wechat.api, timeout, observer, timed)?;
        let store = store::open(&config.store, &clock).await?;
        let store = store::observed(store, counters.clone(), clock.clone());
        let logins = Logins::new(Arc::clone(&store), wechat.clone(), clock.clone());
        let parts = || Parts {
            observer: Some(counters.clone()),
            ..Parts::new(Arc::clone(&store), clock.clone(), config.keep)
        };
        let keeper = Keeper::new(Vec::new(), wechat, parts());
        let registry = Registry::new(keeper.clone(), Arc::clone(&store), configured);
        registry.begin().await;
        let inbox = Inbox::new(
            Arc::clone(&store),
            keeper.clone(),
            clock.clone(),
            counters.clone(),
        )?;
        let sources = |set| Sources::new(set, config.wechat.timeout, parts());
        // Kept apart, because a caller of `/token` may read all of the first and none of WeCom's.
        let sources = [sources(config.sources)?, sources(config.wecom.sources)?];
        let (stop, stopped) = watch::channel(false);
        let ahead = sources
            .clone()
            .map(|sources| tokio::spawn(sources.run(stopped.clone())));
        let looking = [
            tokio::spawn(keeper.run(stopped.clone())),
            tokio::spawn(registry.clone().run(stopped.clone())),
        ];
        let listening = tokio::spawn(logins.clone().listen(stopped.clone()));
        let refreshers = ahead
            .into_iter()
            .chain(looking)
            .chain([listening])
            .collect();
        let (gateway, wecom) = (config.gateway, sources[1].clone());
        let parts = gateway::Parts {
            options: gateway,
            keeper: keeper.clone(),
            registry: registry.clone(),
            wecom,
            api,
            mp,
            counters: counters.clone(),
        };
        let gateway = Gateway::new(parts).map_err(StartError::Tls)?;
        let listening_on = workers::Options::of(&config.server);
        let name = instance_name(config.server.port);
        let status = Status::new(status::Parts {
            keeper: keeper.clone(),
            sources: sources.clone(),
            store,
            counters,
            lost_lines,
            name,
        });
        let options = HttpOptions {
            status: status.clone(),
            hosts: config.server.hosts,
            static_dir: config.server.static_dir,
            trusted_proxies: config.server.trusted_proxies,
            body_limit: config.server.body_limit,
            max_waiting: config.server.max_waiting as usize,
            access_log: config.server.access_log,
            public_url: config.server.public_url,
            open: config.wechat.open,
            gateway,
            demo,
        };
        let state = web::Data::new(AppState::new(
            keeper, logins, inbox, sources, registry, access, options,
        ));
        openings::log(&[], &http::openings(&state));
        let mut refreshers: Vec<_> = refreshers;
        if admin_listeners.is_some() {
            let shared = state.clone();
            // A realm's day begins when it is read first on it.
            let each_time = move |_: &Status| drop(shared.realm_lines());
            refreshers.push(tokio::spawn(status.run(stopped, each_time)));
        }
        let (address, running) = workers::listen(&listening_on, &state)?;
        let admin = wanted_admin
            .zip(admin_listeners)
            .map(|(wanted, listeners)| admin::serve(wanted, listeners, &state))
            .transpose()?;
        let handle = running.handle();
        Ok(Self {
            address,
            admin,
            state,
            http: tokio::spawn(running),
            handle,
            refreshers,
            stop,
            grace: config.server.shutdown_grace,
        })
    }

    /// The bound address, with the actual port if the configured one was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the admin listener, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Returns a handle that applies new settings to the running server.
    pub fn reloader(&self) -> Reloader {
        Reloader::new(self.state.clone())
    }

    /// Serves until `shutdown` completes. Then it accepts no more connections, waits for running
    /// requests within the grace period and flushes the store. Returns an error if the server
    /// stopped without `shutdown`.
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let ended = tokio::select! {
            () = shutdown => None,
            ended = &mut self.http => Some(ended),
        };
        self.stop.send_replace(true);
        self.state.logins.close();
        let clock = self.state.clock().clone();
        let deadline = clock.steady().plus(self.grace);
        let result = match ended {
            Some(ended) => ended.unwrap_or_else(|lost| Err(io::Error::other(lost))),
            None => {
                tracing::info!(grace = %humantime::format_duration(self.grace), "stopping");
                let admin = self.admin.as_ref().map(|admin| admin.handle.stop(true));
                // actix rounds its timeout to whole seconds, so the grace period is enforced here.
                let stopping = join(self.handle.stop(true), OptionFuture::from(admin));
                if tokio::time::timeout(self.grace, stopping).await.is_err() {
                    tracing::warn!(
                        "shutdown grace period over; stopping although requests are still running"
                    );
                    // Dropping the servers closes the remaining connections.
                    self.http.abort();
                }
                Ok(())
            }
        };
        if let Some(admin) = self.admin {
            admin.running.abort();
        }
        for refresher in self.refreshers {
            refresher.await.ok();
        }
        self.state
            .registry
            .close(clock.steady().until(deadline))
            .await;
        self.state.inbox.close(clock.steady().until(deadline)).await;
        self.state
            .sources
            .close(clock.steady().until(deadline))
            .await;
        self.state.wecom.close(clock.steady().until(deadline)).await;
        self.state
            .keeper
            .close(clock.steady().until(deadline))
            .await;
        result
    }
}

/// The name of this instance for people: its machine, and its port if the settings choose one.
fn instance_name(port: u16) -> String {
    let machine = rustix::system::uname();
    let name = machine.nodename().to_string_lossy();
    match port {
        0 => name.into_owned(),
        port => format!("{name}:{port}"),
    }
}
