//! Apps in the cache file: one entry beside the records, an object by appid, which has no end and
//! so never goes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::value::RawValue;

use super::super::apps::{self, Apps, StoredApp};
use super::super::mutex::locked;
use super::entry::Entries;
use super::{FileStore, StoreError};

/// No appid has a dot, and no record of an account this name.
const ENTRY: &str = "jsdkd.apps";

#[async_trait]
impl Apps for FileStore {
    async fn apps(&self) -> Result<Vec<StoredApp>, StoreError> {
        let written = written(&locked(&self.shared.state).entries);
        let apps = written.map(|all| {
            all.iter()
                .filter_map(|(app_id, text)| apps::from_json(app_id, text.get()))
                .collect()
        });
        apps.map_err(failed("read"))
    }

    async fn put_app(&self, app: &StoredApp) -> Result<(), StoreError> {
        let text = apps::to_json(app)
            .and_then(RawValue::from_string)
            .map_err(failed("write"))?;
        let change = self.change("write", |state| {
            let mut all = written(&state.entries)?;
            all.insert(app.app_id.clone(), text);
            state
                .entries
                .insert(ENTRY.to_owned(), serde_json::value::to_raw_value(&all)?);
            Ok(())
        });
        change.await?.map_err(failed("write"))
    }
}

/// An entry that is no object is a fault: nothing else of ours is called so, and it must not be
/// overwritten.
fn written(entries: &Entries) -> serde_json::Result<BTreeMap<String, Box<RawValue>>> {
    entries.get(ENTRY).map_or_else(
        || Ok(BTreeMap::new()),
        |text| serde_json::from_str(text.get()),
    )
}

/// The parser's own words would quote what it found.
fn failed(operation: &'static str) -> impl FnOnce(serde_json::Error) -> StoreError {
    move |_| StoreError {
        backend: "file",
        operation,
        cause: format!("the entry {ENTRY} is not an object of apps"),
    }
}
