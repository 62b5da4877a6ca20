//! Reads a settings file as plain values, without checking what they mean.

use ::config::{Value, ValueKind};
use serde_json::Value as Json;

use super::json5;

/// Reads JSON5.
pub fn read_json5(text: &str) -> Result<Json, String> {
    let document = json5::parse(text, |_| None).map_err(|fault| {
        let place = fault.position;
        format!("{}:{}: {}", place.line, place.column, fault.message)
    })?;
    Ok(plain(document.root))
}

fn plain(value: Value) -> Json {
    match value.kind {
        ValueKind::Nil => Json::Null,
        ValueKind::Boolean(value) => value.into(),
        ValueKind::I64(value) => value.into(),
        ValueKind::I128(value) => i64::try_from(value).map_or(Json::Null, Json::from),
        ValueKind::U64(value) => value.into(),
        ValueKind::U128(value) => u64::try_from(value).map_or(Json::Null, Json::from),
        ValueKind::Float(value) => value.into(),
        ValueKind::String(value) => value.into(),
        ValueKind::Table(members) => members
            .into_iter()
            .map(|(name, value)| (name, plain(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        ValueKind::Array(items) => items.into_iter().map(plain).collect::<Vec<_>>().into(),
    }
}
