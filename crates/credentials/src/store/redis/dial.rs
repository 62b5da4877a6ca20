//! Connects once, for each arrangement of servers, and returns what happened. `reconnect` decides
//! when to try again.

use std::time::Duration;

use futures_util::future::{FutureExt, select_ok};
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo,
    IntoConnectionInfo, RedisConnectionInfo, RedisResult, TlsCertificates, TlsMode,
};
use secrecy::{ExposeSecret, SecretString};

use super::super::{OpenError, RedisConfig, RedisTls, RedisTopology};
use super::connection::Topology;
use super::{fault, tls};

/// Everything a connection needs, checked.
pub(super) struct Dialer {
    pub(super) config: RedisConfig,
}

impl Dialer {
    pub(super) fn new(config: &RedisConfig) -> Result<Self, OpenError> {
        let dialer = Self {
            config: config.clone(),
        };
        let ca = config.tls.as_ref().and_then(|tls| tls.ca.as_ref());
        match &config.topology {
            RedisTopology::Unix(_) if config.tls.is_some() => {
                return Err(misconfigured("a unix socket has no TLS"));
            }
            RedisTopology::Sentinel(nodes, _) | RedisTopology::Cluster(nodes)
                if nodes.is_empty() =>
            {
                return Err(misconfigured("no server is named"));
            }
            RedisTopology::Sentinel(_, master) if master.is_empty() => {
                return Err(misconfigured("the sentinels' master is not named"));
            }
            RedisTopology::Cluster(_)
                if config
                    .tls
                    .as_ref()
                    .is_some_and(|tls| tls.server_name.is_some()) =>
            {
                return Err(misconfigured(
                    "`servername` is one name, and a cluster has many",
                ));
            }
            RedisTopology::Cluster(_) if config.db != 0 => {
                return Err(misconfigured("a cluster has only the database 0"));
            }
            _ if ca.is_some_and(|ca| !ca.contains("-----BEGIN CERTIFICATE")) => {
                return Err(misconfigured("`ca` holds no certificate in PEM form"));
            }
            RedisTopology::Standalone(host, port) => dialer.client(host, *port).map(drop),
            RedisTopology::Sentinel(nodes, _) => dialer.client(&nodes[0].0, nodes[0].1).map(drop),
            RedisTopology::Cluster(nodes) => dialer.cluster(nodes).map(drop),
            RedisTopology::Unix(_) => Ok(()),
        }
        .and_then(|()| {
            config
                .tls
                .as_ref()
                .map_or(Ok(()), |choices| tls::config(choices).map(drop))
        })
        // Only a certificate can be at fault here, so the text holds nothing secret.
        .map_err(|error| misconfigured(&error.to_string()))?;
        Ok(dialer)
    }

    /// The server's address in words, without user or password.
    pub(super) fn place(&self) -> String {
        let list = |nodes: &[(String, u16)]| {
            nodes
                .iter()
                .map(|(host, port)| format!("{}:{port}", bracketed(host)))
                .collect::<Vec<_>>()
                .join(", ")
        };
        match &self.config.topology {
            RedisTopology::Standalone(host, port) => format!("redis at {}:{port}", bracketed(host)),
            RedisTopology::Unix(path) => format!("redis at {}", path.display()),
            RedisTopology::Sentinel(nodes, master) => {
                format!("redis master {master} of the sentinels {}", list(nodes))
            }
            RedisTopology::Cluster(nodes) => format!("redis cluster at {}", list(nodes)),
        }
    }

    pub(super) async fn dial(&self) -> RedisResult<Topology> {
        match &self.config.topology {
            RedisTopology::Cluster(nodes) => {
                match self.cluster(nodes)?.get_async_connection().await {
                    Ok(connection) => Ok(Topology::Cluster(connection)),
                    // The crate reports only that no node worked. The first node's error is more
                    // helpful.
                    Err(error) => match self.reach(&nodes[0].0, nodes[0].1).await {
                        Err(said) => Err(said),
                        Ok(_) => Err(error),
                    },
                }
            }
            RedisTopology::Standalone(host, port) => {
                self.reach(host, *port).await.map(Topology::Single)
            }
            RedisTopology::Unix(path) => {
                let info = ConnectionAddr::Unix(path.clone()).into_connection_info()?;
                let info =
                    info.set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name());
                self.greet(self.connect(Client::open(info)?).await?)
                    .await
                    .map(Topology::Single)
            }
            RedisTopology::Sentinel(nodes, master) => {
                // All at once: a sentinel that hangs, or lags behind and names a former master,
                // must not hold up the others.
                let asked = nodes
                    .iter()
                    .map(|(host, port)| self.through(host, *port, master).boxed());
                select_ok(asked)
                    .await
                    .map(|(connection, _)| Topology::Single(connection))
            }
        }
    }

    /// The bound on connecting and on each command.
    pub(super) fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// A connection to the data, authenticated and with our database selected. The crate could do
    /// both, but would hide why a server refused.
    pub(super) async fn reach(&self, host: &str, port: u16) -> RedisResult<MultiplexedConnection> {
        self.greet(self.connect_to(host, port).await?).await
    }

    async fn greet(
        &self,
        mut connection: MultiplexedConnection,
    ) -> RedisResult<MultiplexedConnection> {
        if let Some(password) = &self.config.password {
            self.authenticate(&mut connection, self.config.username.as_deref(), password)
                .await?;
        }
        if self.config.db != 0 {
            let selected = redis::cmd("SELECT")
                .arg(self.config.db)
                .query_async::<()>(&mut connection)
                .await;
            selected.map_err(|error| fault::of_select(error, self.config.db))?;
        }
        // The system of a hanging server still accepts connections, so only an answer proves that
        // it works.
        match redis::cmd("PING").query_async::<()>(&mut connection).await {
            Err(error) if !fault::is_refusal(&error) => Err(error),
            _ => Ok(connection),
        }
    }

    pub(super) async fn authenticate(
        &self,
        connection: &mut MultiplexedConnection,
        username: Option<&str>,
        password: &SecretString,
    ) -> RedisResult<()> {
        let mut auth = redis::cmd("AUTH");
        auth.arg(username);
        match auth
            .arg(password.expose_secret())
            .query_async::<()>(connection)
            .await
        {
            // The original's client ignores this, so a site may have been running like this.
            Err(error) if fault::needs_no_password(&error) => {
                tracing::warn!(
                    store.place = self.place(),
                    "this redis needs no password, but one is configured; remove it from cache.redis"
                );
                Ok(())
            }
            // Servers before 6 have no users, only a password.
            Err(error) if username.is_some() && fault::knows_no_users(&error) => {
                redis::cmd("AUTH")
                    .arg(password.expose_secret())
                    .query_async(connection)
                    .await
            }
            Err(error) if fault::quotes(&error, password.expose_secret()) => {
                Err(fault::of_password())
            }
            answer => answer,
        }
    }

    pub(super) async fn connect_to(
        &self,
        host: &str,
        port: u16,
    ) -> RedisResult<MultiplexedConnection> {
        let Some((tls, name)) = self.other_name() else {
            return self.connect(self.client(host, port)?).await;
        };
        let stream = tls::connect(host, port, name, tls, self.config.timeout).await?;
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&info, stream, self.timeouts()).await?;
        // Ends with the last clone of the connection.
        tokio::spawn(driver);
        Ok(connection)
    }

    async fn connect(&self, client: Client) -> RedisResult<MultiplexedConnection> {
        client
            .get_multiplexed_async_connection_with_config(&self.timeouts())
            .await
    }

    /// The caller bounds the requests; the connection must not time out earlier by a default.
    fn timeouts(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.timeout))
            .set_response_timeout(None)
    }

    /// The name that the server's certificate bears, if it is another than the host's.
    pub(super) fn other_name(&self) -> Option<(&RedisTls, &str)> {
        let tls = self.config.tls.as_ref()?;
        Some((tls, tls.server_name.as_deref()?))
    }

    fn client(&self, host: &str, port: u16) -> RedisResult<Client> {
        let RedisConfig { tls, timeout, .. } = &self.config;
        let info = node(host, port, tls)?.set_tcp_settings(tcp(*timeout));
        let info = info.set_redis_settings(RedisConnectionInfo::default().set_skip_set_lib_name());
        match tls {
            None => Client::open(info),
            Some(tls) => Client::build_with_tls(info, certificates(tls)),
        }
    }

    fn cluster(&self, nodes: &[(String, u16)]) -> RedisResult<ClusterClient> {
        let RedisConfig {
            username,
            password,
            tls,
            timeout,
            ..
        } = &self.config;
        let nodes = nodes
            .iter()
            .map(|(host, port)| node(host, *port, tls))
            .collect::<RedisResult<Vec<_>>>()?;
        let mut builder = ClusterClient::builder(nodes)
            .retries(2)
            .min_retry_wait(10)
            .max_retry_wait(100)
            // Parts of the caller's timeout. The crate asks one node after another for the slot
            // map, and all requests wait meanwhile, so a hanging node must not use up the time of
            // the other nodes' keys.
            .connection_timeout(part(*timeout, 4))
            .response_timeout(part(*timeout, 4))
            .overall_response_timeout(None)
            .tcp_settings(tcp(*timeout));
        if let Some(password) = password {
            builder = builder.password(password.expose_secret());
        }
        if let Some(username) = username {
            builder = builder.username(username);
        }
        if let Some(tls) = tls {
            builder = builder.tls(TlsMode::Secure).certs(certificates(tls));
        }
        builder.build()
    }
}

pub(super) fn node(host: &str, port: u16, tls: &Option<RedisTls>) -> RedisResult<ConnectionInfo> {
    let host = host.to_owned();
    match tls {
        None => ConnectionAddr::Tcp(host, port).into_connection_info(),
        Some(_) => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }
        .into_connection_info(),
    }
}

pub(super) fn certificates(tls: &RedisTls) -> TlsCertificates {
    let client_tls = tls.client.as_ref().map(|(cert, key)| ClientTlsConfig {
        client_cert: cert.as_bytes().to_vec(),
        client_key: key.expose_secret().as_bytes().to_vec(),
    });
    TlsCertificates {
        client_tls,
        root_cert: tls.ca.as_ref().map(|pem| pem.as_bytes().to_vec()),
    }
}

/// No delay for small packets, and the system detects a vanished peer as well.
pub(super) fn tcp(timeout: Duration) -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(timeout.max(Duration::from_secs(1)));
    #[cfg(not(target_os = "linux"))]
    let _ = timeout;
    settings
}

fn part(timeout: Duration, of: u32) -> Duration {
    (timeout / of).max(Duration::from_millis(1))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn misconfigured(what: &str) -> OpenError {
    OpenError::Misconfigured(format!("the redis store cannot be opened: {what}"))
}
