//! A code that an app sends to one of its followers, by its template and in wetoken's words.

use std::sync::Arc;

use chrono::{DateTime, Local};
use serde_json::json;

use super::Registry;
use clock::UnixMillis;
use credentials::keeper::{AccountCredentials, KeeperError};
use credentials::store::StoreError;

/// A code and its recipient.
#[derive(Clone, Debug)]
pub struct Code {
    /// The follower's name in the database, or their openid.
    pub user_name: String,
    /// What they log in to.
    pub system_name: String,
    /// The code.
    pub code: String,
}

/// Why a code was not sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CodeError {
    /// The app has no template for it.
    #[error("this app has no template for codes; write one as its wcode_template_id")]
    NoTemplate,
    /// No follower of the app has that name.
    #[error("no follower of this app has that user_name")]
    UnknownUser,
    /// The store failed.
    #[error("the {} store does not answer; retry in a moment", .0.backend)]
    Store(#[from] StoreError),
    /// WeChat did not take it, or there is no token to send it with.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The work's own task ended without a result.
    #[error("the code was lost on the way")]
    Lost,
}

impl Registry {
    /// Sends `code` in the name of the account.
    pub async fn send_code(
        &self,
        credentials: &Arc<AccountCredentials>,
        code: Code,
    ) -> Result<(), CodeError> {
        let app_id = &credentials.account.app_id;
        let template = self
            .state()
            .list
            .apps
            .get(app_id)
            .and_then(|app| app.template_id.clone());
        let template = template
            .filter(|id| !id.is_empty())
            .ok_or(CodeError::NoTemplate)?;
        let openid = self.openid(app_id.as_str(), &code.user_name).await?;
        let message = written(&code, &openid, &template, self.0.keeper.clock().wall());
        Ok(self.0.keeper.template_send(credentials, &message).await?)
    }

    async fn openid(&self, app_id: &str, user_name: &str) -> Result<String, CodeError> {
        let (app_id, user_name) = (app_id.to_owned(), user_name.to_owned());
        let store = Arc::clone(&self.0.store);
        if store.users().is_none() {
            return Ok(user_name);
        }
        // On our own runtime: the worker that answers the request must not own the connection.
        let find = async move {
            match store.users() {
                Some(users) => users.find_user(&app_id, &user_name).await,
                None => Ok(None),
            }
        };
        let asking = self.0.runtime.spawn(find);
        let found = asking.await.map_err(|_| CodeError::Lost)?;
        let found =
            found.inspect_err(|error| tracing::warn!(%error, "a follower could not be looked up"));
        found?.ok_or(CodeError::UnknownUser)
    }
}

/// The message in wetoken's format: what the login is for, the code, its validity, and the local
/// time of sending.
fn written(code: &Code, openid: &str, template: &str, now: UnixMillis) -> String {
    let now = DateTime::from_timestamp_millis(i64::try_from(now.0).unwrap_or(i64::MAX))
        .unwrap_or_default()
        .with_timezone(&Local);
    json!({
        "touser": openid,
        "template_id": template,
        "data": {
            "first": { "value": format!("您正在登录[{}]", code.system_name) },
            "keyword1": { "value": code.code, "color": "#43CD80" },
            "keyword2": { "value": "5分钟" },
            "keyword3": { "value": now.format("%Y/%m/%d %H:%M:%S").to_string() },
            "remark": { "value": "若非本人操作请注意账户安全" },
        },
    })
    .to_string()
}
