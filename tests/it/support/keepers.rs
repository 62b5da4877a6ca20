//! Keepers over any store, without HTTP, so that a test can run several instances, advance the
//! clock by days, or break the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::Clock;
use credentials::keeper::{Keeper, KeeperError, Parts};
use credentials::store::Store;
use sandbox::{RunningSandbox, Sandbox, SandboxOptions};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use wechat::WechatClient;
use wechat::account::{Account, AppId, Keep, TokenApi};
use wechat::credential::CredentialKind;

use super::app::{APP, APP_SECRET};

/// WeChat's timeout in these tests.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// A sandbox, and the clock that it shares with all keepers.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) clock: Clock,
    _running: RunningSandbox,
}

/// A keeper whose renewal task runs until this is dropped.
pub(crate) struct Instance {
    pub(crate) keeper: Keeper,
    _stop: watch::Sender<bool>,
}

impl World {
    pub(crate) async fn new(clock: Clock) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), clock).await
    }

    pub(crate) async fn at(address: std::net::SocketAddr, clock: Clock) -> Self {
        Self::of(
            address,
            SandboxOptions {
                clock,
                ..SandboxOptions::default()
            },
        )
        .await
    }

    /// Creates a world in which WeChat's credentials have this lifetime.
    pub(crate) async fn with_lives_of(lifetime: Duration) -> Self {
        Self::of(
            ([127, 0, 0, 1], 0).into(),
            SandboxOptions {
                lifetime,
                ..SandboxOptions::default()
            },
        )
        .await
    }

    async fn of(address: std::net::SocketAddr, options: SandboxOptions) -> Self {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let clock = options.clock.clone();
        let options = SandboxOptions {
            accounts: vec![(APP.to_owned(), APP_SECRET.to_owned())],
            ..options
        };
        let (sandbox, _running) = Sandbox::start(address, options).await.expect("a free port");
        Self {
            sandbox,
            clock,
            _running,
        }
    }

    /// Starts an instance with the default account.
    pub(crate) fn instance(&self, store: Arc<dyn Store>, token_api: TokenApi) -> Instance {
        self.instance_of(store, account(token_api), Keep::Active)
    }

    pub(crate) fn instance_of(
        &self,
        store: Arc<dyn Store>,
        account: Account,
        keep: Keep,
    ) -> Instance {
        let wechat = client(&[&self.sandbox.url()]);
        let keeper = Keeper::new(
            vec![account],
            wechat,
            Parts::new(store, self.clock.clone(), keep),
        );
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(keeper.run(stopped));
        Instance { keeper, _stop }
    }

    /// The number of token requests, to either endpoint.
    pub(crate) fn token_calls(&self) -> u64 {
        self.sandbox.calls("/cgi-bin/token") + self.sandbox.calls("/cgi-bin/stable_token")
    }

    pub(crate) fn ticket_calls(&self) -> u64 {
        self.sandbox.calls("/cgi-bin/ticket/getticket")
    }
}

impl Instance {
    pub(crate) async fn token(&self) -> Result<String, KeeperError> {
        self.value(CredentialKind::AccessToken).await
    }

    pub(crate) async fn value(&self, kind: CredentialKind) -> Result<String, KeeperError> {
        let credentials = self.keeper.credentials(APP).expect("the usual account");
        credentials
            .credential(kind)
            .get()
            .await
            .map(|cached| cached.value().expose_secret().to_owned())
    }

    /// Reports that WeChat refused this token.
    pub(crate) async fn rotate(&self, refused: &str) -> Result<String, KeeperError> {
        self.rotate_kind(CredentialKind::AccessToken, refused).await
    }

    pub(crate) async fn rotate_kind(
        &self,
        kind: CredentialKind,
        refused: &str,
    ) -> Result<String, KeeperError> {
        let credentials = self.keeper.credentials(APP).expect("the usual account");
        let cached = credentials
            .credential(kind)
            .rotate(SecretString::from(refused))
            .await?;
        Ok(cached.value().expose_secret().to_owned())
    }
}

/// The default account, with the settings' defaults.
pub(crate) fn account(token_api: TokenApi) -> Account {
    let (reserve, rotations_per_day) = match token_api {
        TokenApi::Basic => (Duration::from_secs(600), 1000),
        TokenApi::Stable => (Duration::from_secs(300), 20),
    };
    Account {
        app_id: AppId::parse(APP).expect("a good appid"),
        secret: SecretString::from(APP_SECRET),
        push_token: None,
        token_api,
        reserve,
        ticket_reserve: Duration::from_secs(600),
        rotations_per_day,
        tokens_per_day: wechat::account::TOKENS_PER_DAY,
    }
}

/// A client of these addresses.
pub(crate) fn client(hosts: &[&str]) -> WechatClient {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let hosts = hosts
        .iter()
        .map(|host| host.parse().expect("an address"))
        .collect();
    WechatClient::new(hosts, TIMEOUT).expect("a client")
}

/// An address on which nothing listens.
pub(crate) fn dead_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("its address"))
}

/// Waits until `holds` is true. The timeout is far longer than a working program needs.
#[track_caller]
pub(crate) fn eventually(what: &str, holds: impl AsyncFn() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let begun = Instant::now();
        while !holds().await {
            assert!(
                begun.elapsed() < Duration::from_secs(15),
                "{place}: never came true: {what}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
