//! Checks each account: whether WeChat accepts its secret and our address, and who writes its
//! credentials. A token in use is never voided: on `basic` a fetch would do that, so the stored
//! token is tried instead.

use std::sync::Arc;

use super::report::Report;
use crate::settings::Config;
use credentials::store::Store;
use wechat::account::{Account, TokenApi};
use wechat::credential::{CredentialKey, CredentialKind};
use wechat::{Errcode, Kind, WechatClient, WechatError};

pub(super) async fn check(config: &Config, store: Option<&Arc<dyn Store>>, report: &mut Report) {
    const SECTION: &str = "accounts";
    let wechat = match WechatClient::new(config.wechat.api.clone(), config.wechat.timeout) {
        Ok(wechat) => wechat,
        Err(error) => return report.fail(SECTION, error.to_string(), "install ca-certificates"),
    };
    for account in &config.accounts {
        one(SECTION, account, &wechat, store, report).await;
    }
}

async fn one(
    section: &'static str,
    account: &Account,
    wechat: &WechatClient,
    store: Option<&Arc<dyn Store>>,
    report: &mut Report,
) {
    let app_id = &account.app_id;
    let stored = match store {
        Some(store) => {
            let key = CredentialKey {
                app_id: app_id.clone(),
                kind: CredentialKind::AccessToken,
            };
            store.load(&key.to_string()).await.ok().flatten()
        }
        None => None,
    };
    if stored
        .as_ref()
        .is_some_and(|stored| stored.version.is_foreign)
    {
        report.warn(
            section,
            format!("{app_id}: another program wrote the stored token"),
            "let only one program fetch tokens: send the other one to /jsapi/{appid}/query or to the gateway",
        );
    }
    let asked = match (account.token_api, &stored) {
        // The stable endpoint returns the token that is in use.
        (TokenApi::Stable, _) => wechat.access_token(account, false).await.map(drop),
        (TokenApi::Basic, Some(stored)) => wechat.probe(&stored.value).await,
        (TokenApi::Basic, None) => {
            let why = if store.is_some() {
                "no living token is stored, and fetching one would void another program's"
            } else {
                "its token is not in a cache that can be read from here, and fetching one would void the running server's"
            };
            return report.warn(
                section,
                format!("{app_id}: whether its secret is right cannot be known: {why}"),
                "look at the log of the running server, or set tokenApi: \"stable\", on which this check harms nobody",
            );
        }
    };
    match asked {
        Ok(()) => report.ok(
            section,
            format!("{app_id}: WeChat accepts its credentials and this address"),
        ),
        Err(error) => {
            let cure = cure(&error);
            report.fail(section, format!("{app_id}: {error}"), cure);
        }
    }
    if account.push_token.is_none() {
        report.ok(section, format!("{app_id}: it has no message server"));
    }
}

/// What to click.
fn cure(error: &WechatError) -> String {
    let code = match error {
        WechatError::Refused { code, .. } => Some(*code),
        _ => None,
    };
    if error.kind() == Kind::StaleToken {
        return "the stored token is dead: another program fetched one; the running server renews it, and its log says when that happened".to_owned();
    }
    match code {
        Some(Errcode(40125 | 40001)) => "copy the AppSecret (开发者密码) from WeChat's console: 设置与开发 → 基本配置; resetting it there voids the old one".to_owned(),
        Some(Errcode(40164)) => "add the address that the message names to the IP whitelist (IP白名单) in WeChat's console: 设置与开发 → 基本配置".to_owned(),
        Some(Errcode(40013)) => "copy the AppID (开发者ID) from WeChat's console into the app's key".to_owned(),
        _ => error
            .advice()
            .map_or_else(|| "look at the checks of the network above, and try again".to_owned(), str::to_owned),
    }
}
