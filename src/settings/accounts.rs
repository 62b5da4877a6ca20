//! Reads `apps`, and the apps that are set by variables, into accounts.

use std::collections::HashMap;
use std::time::Duration;

use super::environment::Environment;
use super::faults::{About, Weight};
use super::reader::{At, Reader};
use super::variables::{NeighbourApp, Variables};
use super::{messages, oauth};
use crate::message::{Answers, MessagePolicies, MessagePolicy};
use crate::oauth::OauthPolicies;
use wechat::account::{Account, AppId, TOKENS_PER_DAY, TokenApi};

const KNOWN: [&str; 10] = [
    "key",
    "secret",
    "token",
    "aesKey",
    "tokenApi",
    "oauth",
    "messages",
    "mode",
    "rotationsPerDay",
    "tokensPerDay",
];

/// All accounts, and their settings for logins and messages.
#[derive(Default)]
pub(super) struct Apps {
    pub(super) accounts: Vec<Account>,
    pub(super) oauth: OauthPolicies,
    pub(super) messages: MessagePolicies,
}

/// All accounts, those of the file first. `reserve` is the setting; each account gets as much of it
/// as its `tokenApi` allows. With `other` there is something to serve even without an account.
pub(super) fn apps(
    root: &At<'_>,
    variables: &Variables,
    env: &Environment,
    reader: &Reader<'_>,
    reserve: Duration,
    other: bool,
) -> Apps {
    let mut apps = Apps::default();
    let mut places: HashMap<AppId, usize> = HashMap::new();
    let list = root.get("apps");
    let items = list.as_ref().and_then(|list| {
        let items = list.items();
        if items.is_none() {
            list.expected_secret("a list: apps: [{ key: \"wx…\", secret: \"…\" }]");
        }
        items
    });
    let none_written = variables.apps.is_empty()
        && items
            .as_ref()
            .map_or(list.is_none(), |items| items.len() == 0);
    for (index, item) in items.into_iter().flatten().enumerate() {
        let oauth = item.get("oauth").map(|oauth| oauth::policy(&oauth));
        let messages = messages::policy(&item);
        let Some(account) = account(&item, reserve) else {
            continue;
        };
        match places.get(&account.app_id) {
            Some(first) => item.fault(format!(
                "the app {} is already written as apps[{first}]; remove one of them",
                account.app_id
            )),
            None => {
                places.insert(account.app_id.clone(), index);
                // Apps without these settings take no memory for them.
                if let Some(oauth) = oauth {
                    apps.oauth.insert(account.app_id.clone(), oauth);
                }
                if let Some(messages) = messages {
                    apps.messages.insert(account.app_id.clone(), messages);
                }
                apps.accounts.push(account);
            }
        }
    }
    for app in &variables.apps {
        add_neighbour(&mut apps, app, env, reader, reserve);
    }
    if none_written && !other {
        let message =
            "nothing to serve: expected at least one app, apps: [{ key: \"wx…\", secret: \"…\" }]";
        match list {
            Some(list) => list.fault(message),
            None => reader.remark(About::Everything, Weight::Fault, message),
        }
    }
    apps
}

/// No account has a higher quota of token calls.
const MOST_TOKENS: u32 = 1_000_000;

fn account(at: &At<'_>, reserve: Duration) -> Option<Account> {
    if !at.is_table(&KNOWN) {
        return None;
    }
    let app_id = at.need("key", "an appid").and_then(|key| {
        let text = key.text("an appid, 2 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")?;
        app_id(&key, text)
    });
    let secret = at
        .need("secret", "the account's AppSecret")
        .and_then(|secret| secret.secret());
    let push_token = at.get_secret("token").and_then(|token| token.secret());
    let token_api = at
        .get("tokenApi")
        .and_then(|api| api.word(&[("basic", TokenApi::Basic), ("stable", TokenApi::Stable)]));
    let token_api = token_api.unwrap_or_default();
    let (usual, most) = token_api.rotations_per_day();
    let rotations_per_day = at
        .get("rotationsPerDay")
        .and_then(|rotations| rotations.number(0..=most))
        .unwrap_or(usual);
    let tokens_per_day = at
        .get("tokensPerDay")
        .and_then(|tokens| tokens.number(1..=MOST_TOKENS))
        .unwrap_or(TOKENS_PER_DAY);
    Some(Account {
        app_id: app_id?,
        secret: secret?,
        push_token,
        token_api,
        reserve: token_api.reserve(reserve),
        ticket_reserve: reserve,
        rotations_per_day,
        tokens_per_day,
    })
}

/// `text` as an appid; a fault shows it.
pub(super) fn app_id(at: &At<'_>, text: &str) -> Option<AppId> {
    AppId::parse(text)
        .map_err(|fault| at.fault(format!("found {text:?}, {fault}")))
        .ok()
}

/// Adds the app of a variable, or replaces the secrets of the account with the same appid.
fn add_neighbour(
    apps: &mut Apps,
    app: &NeighbourApp,
    env: &Environment,
    reader: &Reader<'_>,
    reserve: Duration,
) {
    let (Some(key), Some(secret)) = (env.get(app.key), env.get(app.secret)) else {
        return;
    };
    let app_id = match AppId::parse(key) {
        Ok(app_id) => app_id,
        Err(fault) => {
            return reader.remark(
                About::Variable(app.key.to_owned()),
                Weight::Fault,
                format!("found {key:?}, {fault}"),
            );
        }
    };
    let push_token = app.token.and_then(|name| env.get(name));
    match apps
        .accounts
        .iter_mut()
        .find(|account| account.app_id == app_id)
    {
        Some(account) => {
            account.secret = secret.into();
            account.push_token = push_token.map(Into::into).or(account.push_token.take());
        }
        None => {
            if app.token.is_some() {
                // The answers of wechat-server, which has no rules.
                let policy = MessagePolicy {
                    answers: Answers::Echo,
                    ..MessagePolicy::default()
                };
                apps.messages.insert(app_id.clone(), policy);
            }
            apps.accounts.push(Account::with_defaults(
                app_id,
                secret.into(),
                push_token.map(Into::into),
                reserve,
            ));
        }
    }
}
