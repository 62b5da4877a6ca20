//! Notices of other processes over Redis's publish/subscribe, on a separate connection.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::{FutureExt, select_ok};
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisResult};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::capabilities::{Capabilities, Feature};
use super::dial::{Dialer, certificates, node, tcp};
use super::{fault, tls};
use crate::store::change_feed::{ChangeFeed, QUIET, Subscriber};
use crate::store::{RedisConfig, RedisTopology};

/// Subscribes to `channel`, ignoring the notices of `own`. Must be called on a tokio runtime.
pub(super) fn listen(
    dialer: &Arc<Dialer>,
    capabilities: &Arc<Capabilities>,
    channel: String,
    own: &str,
) -> ChangeFeed {
    let (dialer, capabilities, channel) = (
        Arc::clone(dialer),
        Arc::clone(capabilities),
        Arc::<str>::from(channel),
    );
    ChangeFeed::start(own, move |subscriber| {
        listen_once(
            Arc::clone(&dialer),
            Arc::clone(&capabilities),
            Arc::clone(&channel),
            subscriber,
        )
    })
}

async fn listen_once(
    dialer: Arc<Dialer>,
    capabilities: Arc<Capabilities>,
    channel: Arc<str>,
    subscriber: Subscriber,
) -> bool {
    let connected = timeout(
        dialer.timeout().saturating_mul(3),
        connect(&dialer, &capabilities, &channel),
    )
    .await;
    let Ok(Ok((sink, stream))) = connected else {
        return false;
    };
    tracing::debug!(
        store.place = dialer.place(),
        "subscribed to the notices of other instances"
    );
    forward_all(&dialer, sink, stream, &subscriber).await;
    true
}

async fn connect(
    dialer: &Dialer,
    capabilities: &Capabilities,
    channel: &str,
) -> RedisResult<(PubSubSink, PubSubStream)> {
    let mut listening: PubSub = dialer.dial_listener().await?;
    match listening.subscribe(channel).await {
        Ok(()) => capabilities.worked(Feature::Subscribe),
        Err(error) => {
            capabilities.failed(Feature::Subscribe, 0, &error);
            return Err(error);
        }
    }
    Ok(listening.split())
}

/// Forwards notices until the connection ends.
async fn forward_all(
    dialer: &Dialer,
    mut sink: PubSubSink,
    mut stream: PubSubStream,
    subscriber: &Subscriber,
) {
    loop {
        match timeout(QUIET, stream.next()).await {
            Ok(Some(message)) => message
                .get_payload::<String>()
                .iter()
                .for_each(|text| subscriber.forward(text)),
            Ok(None) => return,
            Err(_) => match timeout(dialer.timeout(), sink.ping::<()>()).await {
                Ok(Ok(())) => {}
                // Some proxies refuse PING from a subscriber, but a refusal is an answer too.
                Ok(Err(error)) if fault::is_refusal(&error) => {}
                _ => return,
            },
        }
    }
}

impl Dialer {
    /// A connection for subscriptions. In a cluster any node will do, because nodes forward notices
    /// to each other.
    async fn dial_listener(&self) -> RedisResult<PubSub> {
        let (host, port) = match &self.config.topology {
            RedisTopology::Unix(path) => {
                let info = ConnectionAddr::Unix(path.clone()).into_connection_info()?;
                return Client::open(info.set_redis_settings(self.identity()))?
                    .get_async_pubsub()
                    .await;
            }
            RedisTopology::Standalone(host, port) => (host.clone(), *port),
            RedisTopology::Cluster(nodes) => {
                let asked = nodes
                    .iter()
                    .map(|(host, port)| self.listener(host, *port).boxed());
                return select_ok(asked).await.map(|(listener, _)| listener);
            }
            RedisTopology::Sentinel(nodes, master) => {
                let asked = nodes
                    .iter()
                    .map(|(host, port)| self.named_master(host, *port, master).boxed());
                select_ok(asked).await?.0
            }
        };
        self.listener(&host, port).await
    }

    async fn listener(&self, host: &str, port: u16) -> RedisResult<PubSub> {
        let RedisConfig { tls, timeout, .. } = &self.config;
        if let Some((tls, name)) = self.other_name() {
            return PubSub::new(
                &self.identity(),
                tls::connect(host, port, name, tls, *timeout).await?,
            )
            .await;
        }
        let info = node(host, port, tls)?
            .set_tcp_settings(tcp(*timeout))
            .set_redis_settings(self.identity());
        let client = match tls {
            None => Client::open(info)?,
            Some(tls) => Client::build_with_tls(info, certificates(tls))?,
        };
        client.get_async_pubsub().await
    }

    /// User and password, sent by the crate. The other connection reports why a server refuses
    /// them.
    fn identity(&self) -> RedisConnectionInfo {
        let mut identity = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(username) = &self.config.username {
            identity = identity.set_username(username);
        }
        if let Some(password) = &self.config.password {
            identity = identity.set_password(password.expose_secret());
        }
        identity
    }
}
