//! Wires everything together: from a valid `Config` to a running server, and its shutdown. State
//! shared by all workers is built here, once.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_server::ServerHandle;
use actix_service::IntoServiceFactory;
use actix_web::web;
use futures_util::future::{OptionFuture, join};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::counters::{Counters, EventKind};
use crate::gateway::{self, Gateway};
use crate::http::{self, AppState, Demo, HttpOptions};
use crate::login::Logins;
use crate::message::Inbox;
use crate::registry::{Configured, Registry};
use crate::settings::Config;
use crate::status::{self, Status};
use crate::telemetry::LostLines;
use admin::Admin;
use clock::Clock;
use credentials::keeper::Keeper;
use credentials::sources::Sources;
use credentials::store::{self, OpenError};
use wechat::{ClientError, WechatClient};

mod admin;
mod capacity;
mod connection;
mod openings;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The HTTPS client could not be created.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The system's root certificates could not be loaded.
    #[error("this system's root certificates cannot be read ({0}); install ca-certificates")]
    Tls(io::Error),
    /// The address of the admin listener could not be bound.
    #[error(
        "cannot listen on {address}: {source}; choose another server.admin, or stop the program that uses it"
    )]
    BindAdmin {
        /// The address.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// The address could not be bound.
    #[error(
        "cannot listen on {address}: {source}; choose another server.port, or stop the program that uses it"
    )]
    Bind {
        /// The address.
        address: String,
        /// The system's error.
        source: io::Error,
    },
}

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
        let (configured, config) = configured(config);
        let wanted_admin = config.server.admin.as_deref();
        let admin_listeners = wanted_admin.map(admin::listen).transpose()?;
        let workers = capacity::workers(config.server.workers);
        // The admin listener has one thread more.
        let counters = Counters::new(http::patterns(), workers + 1, clock.clone());
        let (api, mp) = (config.wechat.api.clone(), config.wechat.mp);
        let (observer, timed) = (counters.clone(), clock.clone());
        let timeout = config.wechat.timeout;
        let wechat = WechatClient::observed(config.wechat.api, timeout, observer, timed)?;
        let store = store::open(&config.store, &clock).await?;
        let store = store::observed(store, counters.clone(), clock.clone());
        let logins = Logins::new(Arc::clone(&store), wechat.clone(), clock.clone());
        let keeper = Keeper::observed(
            Vec::new(),
            Arc::clone(&store),
            wechat,
            clock.clone(),
            config.keep,
            counters.clone(),
        );
        let registry = Registry::new(keeper.clone(), Arc::clone(&store), configured);
        registry.begin().await;
        let inbox = Inbox::new(
            Arc::clone(&store),
            keeper.clone(),
            clock.clone(),
            counters.clone(),
        )?;
        let sources = |set| {
            Sources::observed(
                set,
                Arc::clone(&store),
                clock.clone(),
                config.keep,
                config.wechat.timeout,
                counters.clone(),
            )
        };
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
        let mut server = actix_server::Server::build()
            .max_concurrent_connections(capacity::connections_a_worker(
                config.server.max_connections,
                config.server.workers,
            ))
            .shutdown_timeout(config.server.shutdown_grace.as_secs().max(1))
            .disable_signals();
        if config.server.workers > 0 {
            server = server.workers(config.server.workers);
        }
        let wanted = wanted_address(&config.server.bind, config.server.port);
        let refused = |source| StartError::Bind {
            address: wanted.clone(),
            source,
        };
        let listeners = connection::listen(&wanted).map_err(refused)?;
        let address = listeners
            .first()
            .ok_or(io::ErrorKind::AddrNotAvailable.into())
            .and_then(TcpListener::local_addr);
        let address = address.map_err(refused)?;
        for listener in listeners {
            let (shared, shutdown) = (state.clone(), server.graceful_shutdown_signal());
            let local = http::LocalAddress(listener.local_addr().map_err(refused)?);
            let app = move || {
                http::create_app(shared.clone())
                    .app_data(local)
                    .into_factory()
            };
            server = server
                .listen("http", listener, move || {
                    connection::service(app(), shutdown.clone())
                })
                .map_err(refused)?;
        }
        let admin = wanted_admin
            .zip(admin_listeners)
            .map(|(wanted, listeners)| admin::serve(wanted, listeners, &state))
            .transpose()?;
        let running = server.run();
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
        Reloader(self.state.clone())
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

/// Formats `bind` and `port` as an address, with brackets around an IPv6 address.
fn wanted_address(bind: &str, port: u16) -> String {
    if bind.contains(':') && !bind.starts_with('[') {
        format!("[{bind}]:{port}")
    } else {
        format!("{bind}:{port}")
    }
}

/// The name by which persons know this instance: its machine, and its port if it was chosen by them.
fn instance_name(port: u16) -> String {
    let machine = rustix::system::uname();
    let name = machine.nodename().to_string_lossy();
    match port {
        0 => name.into_owned(),
        port => format!("{name}:{port}"),
    }
}

/// Splits off what the registry needs from the settings.
fn configured(mut config: Config) -> (Configured, Config) {
    let (accounts, messages) = (
        std::mem::take(&mut config.accounts),
        std::mem::take(&mut config.messages),
    );
    (
        Configured {
            accounts,
            messages,
            reserve: config.reserve,
            stored: config.serves_stored_apps,
        },
        config,
    )
}

/// Applies new settings to a running server: apps, realms, sources, WeCom's applications, the hub's
/// keys, cors and login. No request and no credential is lost.
#[derive(Clone)]
pub struct Reloader(web::Data<AppState>);

impl Reloader {
    /// Applies the settings that may change at runtime.
    pub fn apply(&self, config: Config) {
        let access = http::access(&config);
        let (configured, config) = configured(config);
        let before = http::openings(&self.0);
        self.0.registry.set(configured);
        self.0.sources.set(config.sources);
        self.0.wecom.set(config.wecom.sources);
        self.0.set_access(access);
        openings::log(&before, &http::openings(&self.0));
        self.note(EventKind::Reloaded);
    }

    /// Notes that new settings have faults and change nothing.
    pub fn refused(&self) {
        self.note(EventKind::ReloadFailed);
    }

    fn note(&self, kind: EventKind) {
        let counters = self.0.options.status.counters();
        counters.note(kind, None, None);
    }

    /// The number of accounts.
    pub fn accounts(&self) -> usize {
        self.0.keeper.app_ids().len()
    }
}
