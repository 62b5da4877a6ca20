//! Finding the master by its sentinels.

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, Value};

use super::super::RedisConfig;
use super::dial::Dialer;
use super::fault;

impl Dialer {
    /// A connection to the master that this sentinel names, once that server agrees.
    pub(super) async fn through(
        &self,
        host: &str,
        port: u16,
        master: &str,
    ) -> RedisResult<MultiplexedConnection> {
        let (host, port) = self.named_master(host, port, master).await?;
        let mut connection = self.reach(&host, port).await?;
        match redis::cmd("ROLE")
            .query_async::<Vec<Value>>(&mut connection)
            .await
        {
            Ok(role) if matches!(role.first(), Some(Value::BulkString(name)) if name == b"master") => {
                Ok(connection)
            }
            Ok(_) => Err(RedisError::from((
                ErrorKind::Io,
                "the server that the sentinels name is not a master (yet)",
            ))),
            // An ACL or a renamed command may forbid ROLE; then the sentinel is trusted.
            Err(error) if fault::is_refusal(&error) => Ok(connection),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn named_master(
        &self,
        host: &str,
        port: u16,
        master: &str,
    ) -> RedisResult<(String, u16)> {
        match self.ask(host, port, master, false).await {
            // A sentinel that needs a password: try its own, or else the servers'.
            Err(error) if fault::code(&error).as_deref() == Some("NOAUTH") => {
                self.ask(host, port, master, true).await
            }
            answer => answer,
        }
    }

    async fn ask(
        &self,
        host: &str,
        port: u16,
        master: &str,
        identified: bool,
    ) -> RedisResult<(String, u16)> {
        let mut sentinel = self.connect_to(host, port).await?;
        if identified {
            let RedisConfig {
                sentinel_username,
                sentinel_password,
                username,
                password,
                ..
            } = &self.config;
            let own = sentinel_password
                .as_ref()
                .map(|password| (sentinel_username, password));
            if let Some((username, password)) =
                own.or(password.as_ref().map(|password| (username, password)))
            {
                self.authenticate(&mut sentinel, username.as_deref(), password)
                    .await?;
            }
        }
        let mut question = redis::cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(master);
        let answer = question.query_async::<Option<(String, u16)>>(&mut sentinel);
        answer.await?.ok_or_else(|| {
            RedisError::from((ErrorKind::MasterNameNotFoundBySentinel, "unknown master"))
        })
    }
}
