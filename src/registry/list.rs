//! The list itself: what the settings say and what the store was last seen to hold, merged. No I/O.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::message::{MessagePolicies, MessagePolicy};
use credentials::store::StoredApp;
use wechat::account::{Account, AppId};
use wechat::crypt::EnvelopeKey;

/// What the settings say.
#[derive(Debug, Default)]
pub struct Configured {
    /// The accounts; each wins over an app of the same appid in the store.
    pub accounts: Vec<Account>,
    /// What they do with their messages.
    pub messages: MessagePolicies,
    /// The reserve of those that the settings do not name.
    pub reserve: Duration,
    /// Whether the apps of the store are served.
    pub stored: bool,
}

#[derive(Default)]
pub(super) struct List {
    configured: Configured,
    /// The appids of the settings.
    pub(super) ids: HashSet<AppId>,
    /// The apps of the store.
    pub(super) apps: BTreeMap<AppId, StoredApp>,
    /// Appids in the store that are not valid here; each is logged once.
    unusable: BTreeSet<String>,
}

impl List {
    /// Takes over new settings; the known apps of the store stay if they are to be served.
    pub(super) fn set(&mut self, configured: Configured) {
        self.ids = configured
            .accounts
            .iter()
            .map(|account| account.app_id.clone())
            .collect();
        if !configured.stored {
            self.apps.clear();
        }
        self.configured = configured;
    }

    /// Whether the apps of the store are served.
    pub(super) fn holds_stored(&self) -> bool {
        self.configured.stored
    }

    /// Replaces the store's apps. Returns whether the list of accounts changed.
    pub(super) fn adopt(&mut self, found: Vec<StoredApp>) -> bool {
        let mut apps = BTreeMap::new();
        for app in found {
            match AppId::parse(&app.app_id) {
                Ok(app_id) => drop(apps.insert(app_id, app)),
                Err(fault) => {
                    if !self.unusable.contains(&app.app_id) {
                        tracing::warn!(account.id = app.app_id, %fault, "an app in the store cannot be served");
                        self.unusable.insert(app.app_id);
                    }
                }
            }
        }
        let before = std::mem::replace(&mut self.apps, apps);
        !served(&self.ids, &before).eq(served(&self.ids, &self.apps))
    }

    /// Adds one of the store's apps. Returns whether the list of accounts changed.
    pub(super) fn add(&mut self, app_id: AppId, app: StoredApp) -> bool {
        let mut found: BTreeMap<AppId, StoredApp> = BTreeMap::from([(app_id.clone(), app)]);
        let before = self
            .apps
            .remove(&app_id)
            .map(|app| BTreeMap::from([(app_id, app)]))
            .unwrap_or_default();
        let is_news = !served(&self.ids, &before).eq(served(&self.ids, &found));
        self.apps.append(&mut found);
        is_news
    }

    /// All accounts, and what they do with their messages.
    pub(super) fn merged(&mut self) -> (Vec<Account>, MessagePolicies) {
        let configured = &mut self.configured;
        if !configured.stored {
            // They are not merged again, and there may be ten thousand.
            return (
                std::mem::take(&mut configured.accounts),
                std::mem::take(&mut configured.messages),
            );
        }
        let (mut accounts, mut messages) =
            (configured.accounts.clone(), configured.messages.clone());
        for (app_id, app) in self
            .apps
            .iter()
            .filter(|(app_id, _)| !self.ids.contains(*app_id))
        {
            accounts.push(Account::with_defaults(
                app_id.clone(),
                app.secret.clone(),
                app.token.clone(),
                configured.reserve,
            ));
            match app.aes_key.as_ref().map(EnvelopeKey::parse) {
                Some(Ok(key)) => messages.insert(
                    app_id.clone(),
                    MessagePolicy {
                        keys: vec![key],
                        ..MessagePolicy::default()
                    },
                ),
                Some(Err(fault)) => {
                    tracing::warn!(account.id = %app_id, %fault, "the app's AES key in the store cannot be used")
                }
                None => {}
            }
        }
        (accounts, messages)
    }
}

/// What of `apps` makes a difference to the keeper: not those that the settings hide, and of each
/// no template.
fn served<'a>(
    ids: &HashSet<AppId>,
    apps: &'a BTreeMap<AppId, StoredApp>,
) -> impl Iterator<Item = (&'a AppId, [Option<&'a str>; 3])> {
    let shown =
        |secret: &'a Option<SecretString>| secret.as_ref().map(|secret| secret.expose_secret());
    apps.iter()
        .filter(|(app_id, _)| !ids.contains(*app_id))
        .map(move |(app_id, app)| {
            (
                app_id,
                [
                    Some(app.secret.expose_secret()),
                    shown(&app.token),
                    shown(&app.aes_key),
                ],
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(app_id: &str, secret: &str) -> StoredApp {
        StoredApp {
            app_id: app_id.to_owned(),
            secret: secret.into(),
            token: None,
            aes_key: None,
            template_id: None,
            payment: Default::default(),
        }
    }

    fn list(stored: bool) -> List {
        let app_id = AppId::parse("wx1").expect("an appid");
        let accounts = vec![Account::with_defaults(
            app_id,
            "of-the-settings".into(),
            None,
            Duration::from_secs(600),
        )];
        let mut list = List::default();
        list.set(Configured {
            accounts,
            reserve: Duration::from_secs(60),
            stored,
            ..Configured::default()
        });
        list
    }

    fn shown(list: &mut List) -> Vec<String> {
        let (accounts, _) = list.merged();
        accounts
            .iter()
            .map(|a| {
                format!(
                    "{} {} {}",
                    a.app_id,
                    a.secret.expose_secret(),
                    a.reserve.as_secs()
                )
            })
            .collect()
    }

    #[test]
    fn settings_win_and_stored_apps_get_defaults() {
        let mut list = list(true);
        assert!(list.adopt(vec![
            app("wx1", "hidden"),
            app("wx2", "s2"),
            app("weblogin", "s3")
        ]));
        assert_eq!(shown(&mut list), ["wx1 of-the-settings 600", "wx2 s2 60"]);
        assert_eq!(shown(&mut list).len(), 2, "it can be merged again");
    }

    #[test]
    fn the_keeper_is_told_only_of_relevant_changes() {
        let mut list = list(true);
        assert!(!list.adopt(vec![]) && list.adopt(vec![app("wx2", "s2")]));
        assert!(!list.adopt(vec![app("wx2", "s2")]), "nothing is new");
        assert!(
            !list.adopt(vec![app("wx1", "hidden"), app("wx2", "s2")]),
            "the settings hide it"
        );
        let named = StoredApp {
            template_id: Some("T1".to_owned()),
            ..app("wx2", "s2")
        };
        assert!(
            !list.adopt(vec![named]),
            "a template is no business of the keeper's"
        );
        let keyed = StoredApp {
            aes_key: Some("k".into()),
            ..app("wx2", "s2")
        };
        assert!(
            list.adopt(vec![keyed.clone()])
                && list.adopt(vec![app("wx2", "s2")])
                && list.adopt(vec![app("wx2", "s3")])
        );
        assert!(list.adopt(vec![]), "one is gone");
    }

    #[test]
    fn accounts_not_served_are_not_kept() {
        let mut list = list(true);
        list.adopt(vec![app("wx2", "s2")]);
        list.set(Configured::default());
        assert!(shown(&mut list).is_empty() && list.apps.is_empty());
    }
}
