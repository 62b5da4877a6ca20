//! Parses WeChat's answers leniently: any content type, numbers as strings, stray control
//! characters, any HTTP status. An answer is exactly one of refusal, success or unreadable.

use std::borrow::Cow;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::{Call, Errcode, Grant, WechatError};

/// Maximum lifetime of a WeChat credential; a larger number is an upstream fault.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Maximum length of an `errmsg` that we pass on.
const MAX_MESSAGE_LEN: usize = 300;

/// Parses `body` as the answer to `call` and returns the credential in `field`. Removes `secrets`
/// from WeChat's messages, in case it echoes them.
pub(super) fn grant(
    call: Call,
    status: u16,
    body: &[u8],
    field: &str,
    secrets: &[&SecretString],
) -> Result<Grant, WechatError> {
    let unreadable = |cause: &str| WechatError::Unreadable {
        status,
        cause: cause.to_owned(),
    };
    let object = success(call, status, body, secrets)?;
    let value = object
        .get(field)
        .and_then(Value::as_str)
        .filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| unreadable(&format!("it grants no {field}")))?;
    let seconds = object
        .get("expires_in")
        .and_then(integer)
        .and_then(|seconds| u64::try_from(seconds).ok());
    let seconds = seconds
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| unreadable("it has no expires_in above zero"))?;
    Ok(Grant {
        value: SecretString::from(value),
        expires_in: Duration::from_secs(seconds).min(MAX_LIFETIME),
    })
}

/// Returns the JSON object in `body`, unless it is a refusal of `call`.
pub(super) fn success(
    call: Call,
    status: u16,
    body: &[u8],
    secrets: &[&SecretString],
) -> Result<Map<String, Value>, WechatError> {
    let unreadable = |cause: &str| WechatError::Unreadable {
        status,
        cause: cause.to_owned(),
    };
    let object = object(body).ok_or_else(|| unreadable("the body is not a JSON object"))?;
    // Success is an absent errcode on the token and user endpoints, and 0 on the ticket endpoint.
    match object.get("errcode").map(integer) {
        None | Some(Some(0)) => Ok(object),
        Some(None) => Err(unreadable("its errcode is not a number")),
        Some(Some(code)) => Err(WechatError::Refused {
            call,
            code: Errcode(code),
            message: message(&object, secrets),
        }),
    }
}

/// Returns a required string.
pub(super) fn text(
    status: u16,
    object: &Map<String, Value>,
    field: &str,
) -> Result<String, WechatError> {
    let text = object
        .get(field)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .map(str::to_owned);
    text.ok_or_else(|| WechatError::Unreadable {
        status,
        cause: format!("it has no {field}"),
    })
}

/// Parses the body as a JSON object. If strict parsing fails, replaces invalid UTF-8 and raw
/// control characters, which occur in practice.
fn object(body: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(body).ok().or_else(|| {
        let text: Cow<'_, str> = String::from_utf8_lossy(body);
        let text = text
            .trim_start_matches('\u{feff}')
            .replace(|c: char| c.is_ascii_control(), " ");
        serde_json::from_str(&text).ok()
    })
}

/// Returns an integer, which may be encoded as a string.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn message(object: &Map<String, Value>, secrets: &[&SecretString]) -> String {
    let mut message = object
        .get("errmsg")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    for secret in secrets {
        message = message.replace(secret.expose_secret(), "***");
    }
    message
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_MESSAGE_LEN)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<(String, u64), String> {
        grant(
            Call::Token,
            status,
            body.as_bytes(),
            "access_token",
            &[&SecretString::from("s3cret")],
        )
        .map(|grant| {
            (
                grant.value.expose_secret().to_owned(),
                grant.expires_in.as_secs(),
            )
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn a_grant_is_read_in_every_notation() {
        for body in [
            r#"{"access_token":"T","expires_in":7200}"#,
            r#"{"errcode":0,"errmsg":"ok","access_token":"T","expires_in":"7200"}"#,
            r#"{"errcode":"0","access_token":"T","expires_in":7200,"new":{"field":[1]}}"#,
            "\u{feff}{\"access_token\":\"T\",\"expires_in\":7200,\"note\":\"a\u{1}b\"}",
        ] {
            assert_eq!(read(200, body), Ok(("T".to_owned(), 7200)), "{body}");
            assert_eq!(
                read(500, body),
                Ok(("T".to_owned(), 7200)),
                "the errcode decides, not the status"
            );
        }
    }

    #[test]
    fn a_refusal_is_its_errcode_and_repeats_no_secret() {
        for (status, body) in [
            (
                200,
                r#"{"errcode":40125,"errmsg":"invalid appsecret s3cret rid: 1-2-3"}"#,
            ),
            (
                500,
                r#"{"errcode":"40125","errmsg":"invalid appsecret s3cret rid: 1-2-3"}"#,
            ),
        ] {
            assert_eq!(
                read(status, body),
                Err("WeChat refused: 40125 invalid appsecret *** rid: 1-2-3".to_owned())
            );
        }
    }

    #[test]
    fn anything_else_is_unreadable() {
        for body in [
            "",
            "<html>502</html>",
            "[]",
            "{}",
            r#"{"access_token":"","expires_in":7200}"#,
            r#"{"access_token":"T"}"#,
            r#"{"access_token":"T","expires_in":0}"#,
            r#"{"access_token":7,"expires_in":7200}"#,
            r#"{"errcode":null,"access_token":"T","expires_in":7200}"#,
            r#"{"access_token":"T","expires_"#,
        ] {
            let error = read(502, body).expect_err(body);
            assert!(
                error.starts_with("WeChat's answer (HTTP 502) cannot be read"),
                "{error}"
            );
        }
    }
}
