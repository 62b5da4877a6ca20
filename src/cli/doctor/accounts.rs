//! Checks each account: whether WeChat accepts its secret and our address. A token in use is never
//! voided: on `basic` a fetch would do that, so the stored token is tried instead.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;

use super::cure::Cure;
use super::report::Report;
use crate::settings::Config;
use credentials::engine::{Parts, RenewalError};
use credentials::sources::{SourceError, Sources, UpstreamError};
use credentials::store::{MemoryStore, Store};
use wechat::account::{Account, AppId, TokenApi};
use wechat::credential::{CredentialKey, CredentialKind};
use wechat::{Errcode, Kind, WechatClient, WechatError};

const SECTION: &str = "accounts";

/// The accounts of the settings, and those of the store.
pub(super) async fn all(
    config: &Config,
    store: Option<&Arc<dyn Store>>,
    report: &mut Report,
) -> Vec<Account> {
    let mut accounts = config.accounts.clone();
    let Some(store) = store.filter(|_| config.serves_stored_apps) else {
        return accounts;
    };
    match store.apps().await {
        Ok(apps) => {
            let known: Vec<AppId> = accounts
                .iter()
                .map(|account| account.app_id.clone())
                .collect();
            let stored = apps.into_iter().filter_map(|app| {
                let app_id = AppId::parse(&app.app_id).ok()?;
                let account = Account::with_defaults(app_id, app.secret, app.token, config.reserve);
                (!known.contains(&account.app_id)).then_some(account)
            });
            accounts.extend(stored);
        }
        Err(error) => report.fail(
            SECTION,
            format!("the apps in the store cannot be read: {error}"),
            ["see the checks of the cache above", "见上面对缓存的检查"],
        ),
    }
    accounts
}

pub(super) async fn check(
    config: &Config,
    accounts: &[Account],
    store: Option<&Arc<dyn Store>>,
    report: &mut Report,
) {
    match WechatClient::new(config.wechat.api.clone(), config.wechat.timeout) {
        Ok(wechat) => {
            let mut with_server = Vec::new();
            for account in accounts {
                let token = one(account, &wechat, store, report).await;
                if let (Some(token), Some(_)) = (token, &account.push_token) {
                    with_server.push((account, token));
                }
            }
            for (account, token) in with_server {
                callback(account, &token, &wechat, report).await;
            }
        }
        Err(error) => report.fail(
            SECTION,
            error.to_string(),
            ["install ca-certificates", "安装 ca-certificates"],
        ),
    }
    wecom(config, report).await;
}

/// The way to the message server as WeChat sees it.
async fn callback(
    account: &Account,
    token: &SecretString,
    wechat: &WechatClient,
    report: &mut Report,
) {
    let app_id = &account.app_id;
    let no_url = |code: &Errcode| code.0 == 40201;
    match wechat.check_callback(token).await {
        Ok(ips) if ips.is_empty() => report.fail(
            SECTION,
            format!("{app_id}: WeChat cannot resolve the address of the message server"),
            [
                "add a public DNS record for the host that is set in WeChat's console: 设置与开发 → 基本配置 → 服务器配置",
                "给公众平台里填写的服务器地址的域名加一条公网 DNS 记录：设置与开发 → 基本配置 → 服务器配置",
            ],
        ),
        Ok(ips) => report.ok(
            SECTION,
            format!("{app_id}: WeChat finds the message server at {}", ips.join(", ")),
        ),
        Err(WechatError::Refused { code, .. }) if no_url(&code) => report.warn(
            SECTION,
            format!("{app_id}: no address of a message server is set in WeChat's console (40201)"),
            [
                "write server.publicUrl with /wechat/{appid} into WeChat's console: 设置与开发 → 基本配置 → 服务器配置, and enable it",
                "把 server.publicUrl 加 /wechat/{appid} 填进公众平台：设置与开发 → 基本配置 → 服务器配置，并启用",
            ],
        ),
        // Not every account may ask.
        Err(error) => report.ok(
            SECTION,
            format!("{app_id}: WeChat does not say how it finds the message server: {error}"),
        ),
    }
}

/// Returns a token that WeChat has just accepted.
async fn one(
    account: &Account,
    wechat: &WechatClient,
    store: Option<&Arc<dyn Store>>,
    report: &mut Report,
) -> Option<SecretString> {
    let app_id = &account.app_id;
    let key = CredentialKey {
        app_id: app_id.clone(),
        kind: CredentialKind::AccessToken,
    };
    let stored = match store {
        Some(store) => store.load(&key.to_string()).await.ok().flatten(),
        None => None,
    };
    let asked = match (account.token_api, &stored) {
        // The stable endpoint returns the token that is in use.
        (TokenApi::Stable, _) => wechat
            .access_token(account, false)
            .await
            .map(|grant| grant.value),
        (TokenApi::Basic, Some(stored)) => {
            let probed = wechat.probe(&stored.value).await;
            probed.map(|()| stored.value.clone())
        }
        (TokenApi::Basic, None) => {
            let why = if store.is_some() {
                "no living token is stored, and fetching one would void another program's"
            } else {
                "its token is not in a cache that can be read from here, and fetching one would void the running server's"
            };
            report.warn(
                SECTION,
                format!("{app_id}: whether its secret is right and this address is allowed cannot be known: {why}"),
                [
                    "look at the log of the running server, or set tokenApi: \"stable\", on which this check harms nobody",
                    "查看运行中服务器的日志，或设 tokenApi: \"stable\"，那样这项检查不影响任何人",
                ],
            );
            return None;
        }
    };
    match asked {
        Ok(token) => {
            report.ok(
                SECTION,
                format!("{app_id}: WeChat accepts its credentials and this address"),
            );
            Some(token)
        }
        Err(error) => {
            let cure = cure(&error);
            report.fail(SECTION, format!("{app_id}: {error}"), cure);
            None
        }
    }
}

const LATER: [&str; 2] = [
    "look at the checks of the network above, and try again",
    "查看上面对网络的检查，然后重试",
];

/// What to click.
fn cure(error: &WechatError) -> Cure {
    if error.kind() == Kind::StaleToken {
        return [
            "the stored token is dead: another program fetched one; the running server renews it, and its log says when that happened",
            "存储的 token 已失效：别的程序获取过；运行中的服务器会更新它，日志里有发生的时间",
        ]
        .into();
    }
    let WechatError::Refused { call, code, .. } = error else {
        return LATER.into();
    };
    match code {
        Errcode(40125 | 40001) => [
            "copy the AppSecret (开发者密码) from WeChat's console: 设置与开发 → 基本配置; resetting it there voids the old one",
            "从公众平台复制开发者密码（AppSecret）：设置与开发 → 基本配置；在那里重置会使旧的失效",
        ]
        .into(),
        Errcode(40164) => [
            "add the address that the message names to the IP whitelist (IP白名单) in WeChat's console: 设置与开发 → 基本配置",
            "把消息里的地址加进公众平台的 IP 白名单：设置与开发 → 基本配置",
        ]
        .into(),
        Errcode(40013) => [
            "copy the AppID (开发者ID) from WeChat's console into the app's key",
            "从公众平台复制开发者 ID（AppID），写进 app 的 key",
        ]
        .into(),
        code => match (code.advice(*call), code.advice_zh(*call)) {
            (Some(english), Some(chinese)) => [english, chinese].into(),
            _ => [
                "look the code up in WeChat's list of return codes (全局返回码)",
                "在微信的全局返回码说明里查这个代码",
            ]
            .into(),
        },
    }
}

/// WeCom returns the token in use until it expires, so asking harms nobody. Source: 企业微信,
/// 获取access_token.
async fn wecom(config: &Config, report: &mut Report) {
    if config.wecom.corps.is_empty() {
        return;
    }
    let clock = clock::Clock::system();
    let store = Arc::new(MemoryStore::new(BTreeMap::new(), clock.clone()));
    let sources = Sources::new(
        config.wecom.sources.clone(),
        config.wechat.timeout,
        Parts::new(store, clock, config.keep),
    );
    let Ok(sources) = sources else { return };
    for (corpid, corp) in &config.wecom.corps {
        for (agentid, ticket) in &corp.agents {
            let what = format!("{corpid} application {agentid}");
            match sources.object(ticket).await {
                Some(Err(error)) => {
                    let cure = wecom_cure(&error);
                    report.fail(SECTION, format!("{what}: {error}"), cure);
                }
                Some(Ok(_)) => report.ok(
                    SECTION,
                    format!("{what}: WeCom accepts its secret and this address"),
                ),
                None => {}
            }
        }
    }
}

fn wecom_cure(error: &SourceError) -> Cure {
    let refusal = match error {
        RenewalError::Upstream { source, .. } | RenewalError::CoolingDown { cause: source, .. } => {
            source
        }
        _ => return LATER.into(),
    };
    let UpstreamError::Refused { code, .. } = refusal else {
        return LATER.into();
    };
    match code.as_str() {
        "40001" | "40056" | "40091" => [
            "copy the Secret of this application from WeCom's console: 应用管理 → 自建 → 应用",
            "从企业微信管理后台复制这个应用的 Secret：应用管理 → 自建 → 应用",
        ]
        .into(),
        "40013" => [
            "copy the corpid (企业ID) from WeCom's console: 我的企业 → 企业信息",
            "从企业微信管理后台复制企业 ID：我的企业 → 企业信息",
        ]
        .into(),
        "60020" => [
            "add the address that the message names to the application's trusted IPs (企业可信IP) in WeCom's console",
            "在企业微信管理后台，把消息里的地址加进应用的企业可信 IP",
        ]
        .into(),
        _ => [
            "look the code up in WeCom's list of error codes (全局错误码)",
            "在企业微信的全局错误码说明里查这个代码",
        ]
        .into(),
    }
}
