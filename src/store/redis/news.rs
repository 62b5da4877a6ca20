//! What other processes have written, heard over publish/subscribe as it happens: on a connection of its own, made again when it is lost.
//! Nothing depends on it: who hears nothing looks again within a second.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{FutureExt, select_ok};
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisResult};
use secrecy::ExposeSecret;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::dial::{Dialer, certificates, node, tcp};
use crate::store::{Changed, RedisConfig, RedisTopology};

/// How many changes a slow listener may be behind; then it is told that it missed some.
const BACKLOG: usize = 1024;

/// The least and the longest time from one attempt to listen to the next.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// A connection over which nothing has come for so long is asked whether it lives: a peer that vanished without a word says nothing.
const QUIET: Duration = Duration::from_secs(5);

/// Hears what is told on one channel. Dropping it ends the listening.
pub(super) struct News {
    sender: broadcast::Sender<Changed>,
    task: AbortHandle,
}

impl News {
    /// Listens on `channel` to all but what begins with `own`. Must be called on a tokio runtime.
    pub(super) fn listen(dialer: Arc<Dialer>, channel: String, own: String) -> Self {
        let (sender, _) = broadcast::channel(BACKLOG);
        let task = tokio::spawn(keep_listening(dialer, channel, own, sender.clone())).abort_handle();
        Self { sender, task }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Changed> {
        self.sender.subscribe()
    }

    pub(super) fn end(&self) {
        self.task.abort();
    }
}

impl Drop for News {
    fn drop(&mut self) {
        self.end();
    }
}

async fn keep_listening(dialer: Arc<Dialer>, channel: String, own: String, sender: broadcast::Sender<Changed>) {
    let mut pause = PAUSES.0;
    loop {
        let connected = timeout(dialer.timeout().saturating_mul(3), connect(&dialer, &channel)).await;
        if let Ok(Ok((sink, stream))) = connected {
            pause = PAUSES.0;
            tracing::debug!(store.place = dialer.place(), "listening for what others write");
            hear(&dialer, sink, stream, &own, &sender).await;
        }
        // What happened in between was not heard.
        sender.send(Changed::Perhaps).ok();
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(PAUSES.1);
    }
}

async fn connect(dialer: &Dialer, channel: &str) -> RedisResult<(PubSubSink, PubSubStream)> {
    let mut listening: PubSub = dialer.dial_listener().await?;
    listening.subscribe(channel).await?;
    Ok(listening.split())
}

/// Passes on what is heard until the connection ends.
async fn hear(dialer: &Dialer, mut sink: PubSubSink, mut stream: PubSubStream, own: &str, sender: &broadcast::Sender<Changed>) {
    loop {
        match timeout(QUIET, stream.next()).await {
            Ok(Some(message)) => {
                // The writer's name, a blank, the key.
                let Ok(text) = message.get_payload::<String>() else { continue };
                let Some((_, key)) = text.split_once(' ').filter(|(writer, _)| *writer != own) else { continue };
                // Nobody may be listening to us.
                sender.send(Changed::Key(key.into())).ok();
            }
            Ok(None) => return,
            Err(_) => match timeout(dialer.timeout(), sink.ping::<()>()).await {
                Ok(Ok(())) => {}
                _ => return,
            },
        }
    }
}

impl Dialer {
    /// A connection that listens. In a cluster any node does: each passes on what is told to another.
    async fn dial_listener(&self) -> RedisResult<PubSub> {
        let (host, port) = match &self.config.topology {
            RedisTopology::Unix(path) => {
                let info = ConnectionAddr::Unix(path.clone()).into_connection_info()?;
                return Client::open(info.set_redis_settings(self.identity()))?.get_async_pubsub().await;
            }
            RedisTopology::Standalone(host, port) => (host.clone(), *port),
            RedisTopology::Cluster(nodes) => {
                let asked = nodes.iter().map(|(host, port)| self.listener(host, *port).boxed());
                return select_ok(asked).await.map(|(listener, _)| listener);
            }
            RedisTopology::Sentinel(nodes, master) => {
                let asked = nodes.iter().map(|(host, port)| self.named_master(host, *port, master).boxed());
                select_ok(asked).await?.0
            }
        };
        self.listener(&host, port).await
    }

    async fn listener(&self, host: &str, port: u16) -> RedisResult<PubSub> {
        let RedisConfig { tls, timeout, .. } = &self.config;
        let info = node(host, port, tls)?.set_tcp_settings(tcp(*timeout)).set_redis_settings(self.identity());
        let client = match tls {
            None => Client::open(info)?,
            Some(tls) => Client::build_with_tls(info, certificates(tls))?,
        };
        client.get_async_pubsub().await
    }

    /// User and password, given by the crate itself: why a server refuses them is told by the other connection.
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
