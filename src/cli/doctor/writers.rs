//! Who else writes the keys of our accounts, and who else fetches their tokens, as the shared store
//! shows it.

use std::sync::Arc;

use clock::Clock;
use credentials::ledger::Ledger;
use credentials::store::{Store, StoreError};
use wechat::account::Account;
use wechat::credential::{CredentialKey, CredentialKind};

use super::report::Report;
use crate::status::{Finding, instances_in};

const SECTION: &str = "other writers";

pub(super) async fn check(
    accounts: &[Account],
    store: Option<&Arc<dyn Store>>,
    report: &mut Report,
) {
    let Some(store) = store else {
        report.ok(
            SECTION,
            "no cache that other programs share could be read, so nobody else was looked for",
        );
        return;
    };
    match instances_in(store.as_ref(), Clock::system().wall()).await {
        // Without `server.admin` an instance does not list itself.
        Ok(instances) if instances.is_empty() => {}
        Ok(instances) => {
            let names: Vec<String> = instances
                .iter()
                .map(|one| format!("{} ({})", one.name, one.version))
                .collect();
            report.ok(
                SECTION,
                format!("jsdkd runs on this cache as {}", names.join(", ")),
            );
        }
        Err(error) => return unreadable(&error, report),
    }
    for account in accounts {
        if let Err(error) = one(account, store, report).await {
            return unreadable(&error, report);
        }
    }
}

fn unreadable(error: &StoreError, report: &mut Report) {
    report.fail(
        SECTION,
        error.to_string(),
        ["see the checks of the cache above", "见上面对缓存的检查"],
    );
}

async fn one(
    account: &Account,
    store: &Arc<dyn Store>,
    report: &mut Report,
) -> Result<(), StoreError> {
    let app_id = &account.app_id;
    let mut foreign = Vec::new();
    for kind in CredentialKind::ALL {
        let key = CredentialKey {
            app_id: app_id.clone(),
            kind,
        };
        let key = key.to_string();
        let stored = store.load(&key).await?;
        if stored.is_some_and(|stored| stored.version.is_foreign) {
            foreign.push(key.clone());
        }
        let Some(finding) = Finding::of(&Ledger::read_from(store.as_ref(), &key).await?) else {
            continue;
        };
        let (english, chinese) = (finding.advice(false), finding.advice(true));
        report.warn(
            SECTION,
            format!(
                "{app_id}: another program has fetched its {} {} time(s), last between {} and {}",
                kind.name(),
                finding.times,
                time(finding.after.0),
                time(finding.before.0),
            ),
            [english.join(" "), chinese.join("")],
        );
    }
    if foreign.is_empty() {
        report.ok(
            SECTION,
            format!("{app_id}: only jsdkd has written its keys"),
        );
    } else {
        report.warn(
            SECTION,
            format!(
                "{app_id}: another program has written {}",
                foreign.join(", ")
            ),
            [
                "let only one program fetch tokens: send the other one to /jsapi/{appid}/query or to the gateway",
                "只让一个程序获取 token：让另一个程序改用 /jsapi/{appid}/query 或网关",
            ],
        );
    }
    Ok(())
}

/// In words, by UTC.
fn time(unix: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(unix);
    humantime::format_rfc3339_seconds(time).to_string()
}
