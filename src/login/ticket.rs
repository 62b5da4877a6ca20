//! The one-time tickets that a site exchanges for its user after a web OAuth login.

use serde_json::{Map, Value};

use super::{LoginError, Logins};
use wechat::signature::is_id;

impl Logins {
    /// Redeems a ticket of this account and returns its user. Works once.
    pub async fn redeem(
        &self,
        app_id: &str,
        ticket: &str,
    ) -> Result<Option<Map<String, Value>>, LoginError> {
        if !is_id(ticket) {
            return Ok(None);
        }
        let key = ticket_key(app_id, ticket);
        self.finish(async move |logins| Ok(logins.0.records.take(&key).await?))
            .await
    }

    /// True if the ticket could be redeemed. Consumes nothing.
    pub async fn is_redeemable(&self, app_id: &str, ticket: &str) -> Result<bool, LoginError> {
        if !is_id(ticket) {
            return Ok(false);
        }
        let key = ticket_key(app_id, ticket);
        self.finish(async move |logins| {
            Ok(logins
                .0
                .records
                .get::<Map<String, Value>>(&key)
                .await?
                .is_some())
        })
        .await
    }
}

/// The key includes the account, so a ticket is valid for one account only.
pub(super) fn ticket_key(app_id: &str, ticket: &str) -> String {
    format!("oauth.ticket.{app_id}.{ticket}")
}
