//! `apps`, and the apps that a neighbour's variables name, proven into accounts.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::environment::Environment;
use super::faults::{About, Weight};
use super::reader::{At, Reader};
use super::variables::{NeighbourApp, Variables};
use crate::account::{Account, AppId, TokenApi};
use crate::oauth::{OauthPolicies, OauthPolicy, Scope, Site};

const KNOWN: [&str; 9] = ["key", "secret", "token", "aesKey", "tokenApi", "oauth", "messages", "mode", "rotationsPerDay"];

/// WeChat hands out the same stable token until its last five minutes, so renewal ahead must fall inside those.
/// Source: 获取稳定版接口调用凭据.
const STABLE_RESERVE: Duration = Duration::from_secs(5 * 60);

/// Half of WeChat's 2000 calls a day is the default budget on `/cgi-bin/token`; `force_refresh` is allowed 20 times a day.
const BASIC_ROTATIONS: (u32, u32) = (1000, 2000);
const STABLE_ROTATIONS: (u32, u32) = (20, 20);

/// All accounts, those of the file first, and what each allows of OAuth. `reserve` is what the owner asked for; each account gets what
/// its `tokenApi` allows of it.
pub(super) fn accounts(
    root: &At<'_>,
    variables: &Variables,
    env: &Environment,
    reader: &Reader<'_>,
    reserve: Duration,
) -> (Vec<Account>, OauthPolicies) {
    let mut accounts = Vec::new();
    let mut policies = OauthPolicies::default();
    let mut places: HashMap<AppId, usize> = HashMap::new();
    let list = root.get("apps");
    let items = list.as_ref().and_then(|list| {
        let items = list.items();
        if items.is_none() {
            list.expected_secret("a list: apps: [{ key: \"wx…\", secret: \"…\" }]");
        }
        items
    });
    let none_written = variables.apps.is_empty() && items.as_ref().map_or(list.is_none(), |items| items.len() == 0);
    let mut noted = BTreeSet::new();
    for (index, item) in items.into_iter().flatten().enumerate() {
        let policy = item.get("oauth").map(|oauth| oauth_policy(&oauth)).unwrap_or_default();
        let Some(account) = account(&item, reserve, &mut noted) else { continue };
        match places.get(&account.app_id) {
            Some(first) => item.fault(format!("the app {} is already written as apps[{first}]", account.app_id)),
            None => {
                places.insert(account.app_id.clone(), index);
                policies.insert(account.app_id.clone(), policy);
                accounts.push(account);
            }
        }
    }
    for app in &variables.apps {
        add_neighbour(&mut accounts, app, env, reader, reserve);
    }
    if none_written {
        let message = "nothing to serve: expected at least one app, apps: [{ key: \"wx…\", secret: \"…\" }]";
        match list {
            Some(list) => list.fault(message),
            None => reader.remark(About::Everything, Weight::Fault, message),
        }
    }
    (accounts, policies)
}

/// What an app allows of OAuth. A faulty site is remarked and left out; the settings are not used then anyway.
fn oauth_policy(at: &At<'_>) -> OauthPolicy {
    if !at.is_table(&["redirects", "scope"]) {
        return OauthPolicy::default();
    }
    let scope = at.get("scope").and_then(|scope| scope.word(&Scope::NAMES)).unwrap_or_default();
    let redirects = at.get("redirects");
    let items = redirects.as_ref().map(At::one_or_more).unwrap_or_default();
    let sites = items.iter().filter_map(|item| {
        const EXPECTED: &str = "a site such as \"https://shop.example.com/\"";
        let text = item.text(EXPECTED)?;
        Site::parse(text).map_err(|fault| item.expected(&format!("{EXPECTED}: it {fault}"))).ok()
    });
    OauthPolicy { sites: sites.collect(), scope }
}

fn account(at: &At<'_>, reserve: Duration, noted: &mut BTreeSet<&'static str>) -> Option<Account> {
    if !at.is_table(&KNOWN) {
        return None;
    }
    let app_id = at.need("key", "an appid").and_then(|key| {
        let text = key.text("an appid, 2 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")?;
        app_id(&key, text)
    });
    let secret = at.need("secret", "the account's AppSecret").and_then(|secret| secret.secret());
    let push_token = at.get("token").and_then(|token| token.secret());
    let token_api = at.get("tokenApi").and_then(|api| api.word(&[("basic", TokenApi::Basic), ("stable", TokenApi::Stable)]));
    let token_api = token_api.unwrap_or_default();
    let (usual, most) = if token_api == TokenApi::Stable { STABLE_ROTATIONS } else { BASIC_ROTATIONS };
    let rotations_per_day = at.get("rotationsPerDay").and_then(|rotations| rotations.number(0..=most)).unwrap_or(usual);
    later(at, noted);
    Some(Account {
        app_id: app_id?,
        secret: secret?,
        push_token,
        token_api,
        reserve: allowed(reserve, token_api),
        ticket_reserve: reserve,
        rotations_per_day,
    })
}

/// The appid that `text` is, or a fault that shows it.
pub(super) fn app_id(at: &At<'_>, text: &str) -> Option<AppId> {
    AppId::parse(text).map_err(|fault| at.fault(format!("found {text:?}, {fault}"))).ok()
}

fn allowed(reserve: Duration, token_api: TokenApi) -> Duration {
    if token_api == TokenApi::Stable { reserve.min(STABLE_RESERVE) } else { reserve }
}

/// Checks what later versions will serve, and says once of each that it is not served yet.
fn later(at: &At<'_>, noted: &mut BTreeSet<&'static str>) {
    if let Some(aes_key) = at.get("aesKey")
        && let Some(key) = aes_key.secret()
    {
        use secrecy::ExposeSecret;
        let key = key.expose_secret();
        if key.len() != 43 || !key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')) {
            aes_key.expected_secret("the 43 letters and digits of WeChat's EncodingAESKey");
        }
    }
    if let Some(mode) = at.get("mode") {
        mode.text("a word");
    }
    for name in ["aesKey", "messages", "mode"] {
        if let Some(setting) = at.get(name)
            && noted.insert(name)
        {
            setting.note("understood, but this version does not serve it yet");
        }
    }
}

/// A neighbour's app: overrides the secrets of an account of the same appid, else is one more.
fn add_neighbour(accounts: &mut Vec<Account>, app: &NeighbourApp, env: &Environment, reader: &Reader<'_>, reserve: Duration) {
    let (Some(key), Some(secret)) = (env.get(app.key), env.get(app.secret)) else { return };
    let app_id = match AppId::parse(key) {
        Ok(app_id) => app_id,
        Err(fault) => return reader.remark(About::Variable(app.key.to_owned()), Weight::Fault, format!("found {key:?}, {fault}")),
    };
    let push_token = app.token.and_then(|name| env.get(name));
    match accounts.iter_mut().find(|account| account.app_id == app_id) {
        Some(account) => {
            account.secret = secret.into();
            account.push_token = push_token.map(Into::into).or(account.push_token.take());
        }
        None => accounts.push(Account {
            app_id,
            secret: secret.into(),
            push_token: push_token.map(Into::into),
            token_api: TokenApi::Basic,
            reserve: allowed(reserve, TokenApi::Basic),
            ticket_reserve: reserve,
            rotations_per_day: BASIC_ROTATIONS.0,
        }),
    }
}
