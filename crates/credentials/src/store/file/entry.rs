//! The entries of the cache file, in the original's form.

use std::borrow::Cow;
use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::store::{Record, StoreError};
use clock::{UnixMillis, UnixSeconds};

/// All entries of the file by key, each as the text it has in the file.
pub(super) type Entries = BTreeMap<String, Box<RawValue>>;

/// One record in the original's form.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    pub(super) value: Cow<'a, str>,
    pub(super) __expires: u64,
}

/// `record` in the original's form.
pub(super) fn written(record: &Record) -> Result<Box<RawValue>, StoreError> {
    let entry = Entry {
        value: record.value.expose_secret().into(),
        __expires: record.expires_at.seconds().0,
    };
    let failed = |error: serde_json::Error| StoreError {
        backend: "file",
        operation: "write",
        cause: error.to_string(),
    };
    serde_json::value::to_raw_value(&entry).map_err(failed)
}

/// The end of an entry in the original's form.
pub(super) fn written_end(text: &RawValue) -> Option<UnixMillis> {
    serde_json::from_str::<Entry<'_>>(text.get())
        .ok()
        .map(|entry| UnixSeconds(entry.__expires).millis())
}

/// Takes the records that `is_meant` names out of `entries`, and returns those that have not ended.
/// What is no record stays.
pub(super) fn take_out(
    entries: &mut Entries,
    is_meant: impl Fn(&str) -> bool,
    now: UnixMillis,
) -> Vec<(String, Record)> {
    let mut taken = Vec::new();
    entries.retain(|key, text| {
        let Some(entry) = serde_json::from_str::<Entry<'_>>(text.get())
            .ok()
            .filter(|_| is_meant(key))
        else {
            return true;
        };
        let record = Record {
            value: entry.value.as_ref().into(),
            expires_at: UnixSeconds(entry.__expires).millis(),
        };
        if record.expires_at > now {
            taken.push((key.clone(), record));
        }
        false
    });
    taken
}
