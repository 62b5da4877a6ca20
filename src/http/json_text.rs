//! Writes a JSON string into an answer that is assembled by hand.

use super::error::ApiError;

/// Appends `value` as a JSON string. Credentials have contained only plain characters so far, but WeChat documents no alphabet.
pub(super) fn push_escaped(json: &mut String, value: &str) -> Result<(), ApiError> {
    // A fold without early exit compiles to a few vector instructions.
    let plain = value.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'));
    if plain {
        json.push('"');
        json.push_str(value);
        json.push('"');
    } else {
        json.push_str(&serde_json::to_string(value).map_err(|_| ApiError::Internal)?);
    }
    Ok(())
}
