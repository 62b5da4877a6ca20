//! The journal's text: a first line that says what it is, then one line of JSON for each change,
//! `{"key":"oauth.trip.…","value":"…","ends":<unix ms>}`, without `value` and `ends` when the
//! record was taken.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::store::file::disk;
use crate::store::memory::RecordMap;
use crate::store::{OpenError, Record};
use clock::{Clock, UnixMillis};

const FIRST: &str = "{\"jsdkd\":\"logins\"}";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends: Option<u64>,
}

/// Appends the line of a record that was written.
pub(super) fn put(to: &mut Vec<u8>, key: &str, record: &Record) -> serde_json::Result<()> {
    let (value, ends) = (
        Some(record.value.expose_secret().into()),
        Some(record.expires_at.0),
    );
    append(
        to,
        &Line {
            key: key.into(),
            value,
            ends,
        },
    )
}

/// Appends the line of a record that was taken.
pub(super) fn taken(to: &mut Vec<u8>, key: &str) -> serde_json::Result<()> {
    append(
        to,
        &Line {
            key: key.into(),
            value: None,
            ends: None,
        },
    )
}

/// A whole journal of those `records` that have not ended.
pub(super) fn all(records: &mut RecordMap, now: UnixMillis) -> io::Result<Vec<u8>> {
    records.forget(now);
    let mut text = format!("{FIRST}\n").into_bytes();
    for (key, record) in records.iter() {
        put(&mut text, key, record)?;
    }
    Ok(text)
}

fn append(to: &mut Vec<u8>, line: &Line<'_>) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.push(b'\n');
    Ok(())
}

/// Reads the journal at `path`. An absent or empty one has no records, and half a line at its end
/// was never answered for. Anything else that cannot be read is moved aside, never overwritten.
pub(super) fn read(path: &Path, clock: &Clock) -> Result<RecordMap, OpenError> {
    let bytes = disk::contents(path)?;
    if bytes.is_empty() {
        return Ok(RecordMap::default());
    }
    match parsed(&bytes, clock.wall()) {
        Ok(records) => Ok(records),
        Err(line) => {
            let aside = disk::set_aside(path, clock)?;
            tracing::error!(
                file = %path.display(), moved_to = %aside.display(), line,
                "the journal of logins is damaged or not ours; it was moved aside, and the journal starts empty"
            );
            Ok(RecordMap::default())
        }
    }
}

/// Returns the records of `bytes`, or the number of the first invalid line.
fn parsed(bytes: &[u8], now: UnixMillis) -> Result<RecordMap, usize> {
    let mut records = RecordMap::default();
    // What follows the last line break is half a line, or nothing.
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .ok_or(1_usize)?;
    for (at, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate() {
        if at == 0 {
            if line != FIRST.as_bytes() {
                return Err(1);
            }
            continue;
        }
        let line: Line<'_> = serde_json::from_slice(line).map_err(|_| at + 1)?;
        match (line.value, line.ends.map(UnixMillis)) {
            (Some(value), Some(expires_at)) => {
                records.write(
                    &line.key,
                    &Record {
                        value: SecretString::from(value.as_ref()),
                        expires_at,
                    },
                    now,
                );
            }
            (None, None) => drop(records.remove(&line.key)),
            _ => return Err(at + 1),
        }
    }
    Ok(records)
}
