//! `cache.sql`: an address of a database.

use credentials::store::{StoreConfig, sql};
use secrecy::ExposeSecret;

use super::node::Node;
use super::reader::At;

/// Parses a URL, or an object with a separate password. Everything in it is secret.
pub(super) fn sql_config(at: &At<'_>) -> Option<StoreConfig> {
    let read = |at: &At<'_>| {
        sql::from_url(at.secret()?.expose_secret())
            .map_err(|fault| at.fault(fault))
            .ok()
    };
    match at.node() {
        Node::Table(_) if at.secret_reference().is_none() => {
            at.is_table(&["url", "password", "timeout"]);
            let config = at
                .need("url", "an address such as \"mysql://user@host/database\"")
                .and_then(|url| read(&url));
            let password = at
                .get_secret("password")
                .map(|password| match password.node() {
                    Node::Int(number) => Some(number.to_string().into()),
                    _ => password.secret(),
                });
            let bound = at.get("timeout").map(|bound| bound.duration(sql::TIMEOUTS));
            let mut config = config?;
            if let Some(password) = password {
                config = config.with_password(&password?);
            }
            if let Some(bound) = bound {
                config.timeout = bound?;
            }
            Some(StoreConfig::Sql(config))
        }
        Node::Text(_) | Node::Table(_) => read(at).map(StoreConfig::Sql),
        _ => {
            at.expected_secret("an address such as \"mysql://user:password@host/database\", or an object { url: … }");
            None
        }
    }
}
