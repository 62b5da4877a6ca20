//! The options of a TLS connection to Redis, by the names that Node has for them. Certificates are
//! always checked: whatever would weaken that is a fault.

use std::path::Path;

use secrecy::SecretString;
use serde_json::Value;

use super::super::RedisTls;
use super::idle::UNKNOWN_OPTION;
use crate::files::{self, FileError};

/// The options with an effect, which may also be in the `socket` of node_redis 4.
const MEANT: [&str; 7] = [
    "ca",
    "cert",
    "key",
    "servername",
    "serverName",
    "rejectUnauthorized",
    "checkServerIdentity",
];

/// They turn the check on. Only that is possible.
const CHECKS: [&str; 9] = [
    "rejectUnauthorized",
    "reject_unauthorized",
    "verify",
    "verify_peer",
    "verifyPeer",
    "verify_peer_name",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "requestCert",
];

/// They turn it off or replace it.
const LAXITIES: [&str; 12] = [
    "checkServerIdentity",
    "insecure",
    "insecureSkipVerify",
    "InsecureSkipVerify",
    "insecureSkipTlsVerify",
    "skipVerify",
    "skip_verify",
    "allowInvalidCertificates",
    "allowInvalidHostnames",
    "tlsAllowInvalidCertificates",
    "allow_self_signed",
    "strictSSL",
];

const TUNING: [&str; 14] = [
    "minVersion",
    "maxVersion",
    "secureProtocol",
    "secureOptions",
    "ciphers",
    "honorCipherOrder",
    "ecdhCurve",
    "sigalgs",
    "ALPNProtocols",
    "session",
    "sessionTimeout",
    "minDHSize",
    "enableTrace",
    "agent",
];

pub(super) fn is_known(key: &str) -> bool {
    MEANT.contains(&key) || TUNING.contains(&key)
}

/// Whether the option is about checking the server.
pub(super) fn is_check(key: &str) -> bool {
    CHECKS.contains(&key) || LAXITIES.contains(&key)
}

/// A fault if this option weakens the check of the server's certificate.
pub(super) fn keep_checking(key: &str, value: &Value) -> Result<(), String> {
    let word = value.as_str().map(str::to_ascii_lowercase);
    let word = word.as_deref();
    let is_on = value == &Value::Bool(true)
        || matches!(word, Some("true" | "1" | "required" | "cert_required"))
        || value == 1;
    let is_off = value == &Value::Bool(false) || matches!(word, Some("false" | "0")) || value == 0;
    let is_strict = match key {
        _ if value.is_null() => true,
        "strictSSL" => is_on,
        _ if CHECKS.contains(&key) => is_on,
        "checkServerIdentity" => false,
        _ if LAXITIES.contains(&key) => is_off,
        _ => true,
    };
    if is_strict {
        return Ok(());
    }
    Err(format!(
        "certificates are always checked: take `{key}` out. For a certificate of your own authority write tls: {{ ca: \"/path/of/ca.pem\" }}, \
         for one of another name tls: {{ servername: \"the name in it\" }}"
    ))
}

/// Options of TLS that have no effect, and why.
type Notes = Vec<(String, &'static str)>;

pub(super) fn tls(value: &Value) -> Result<(Option<RedisTls>, Notes), String> {
    let mut notes = Notes::new();
    let choices = match value {
        Value::Bool(on) => return Ok((on.then(RedisTls::default), notes)),
        Value::String(word) if word == "true" || word == "false" => {
            return Ok(((word == "true").then(RedisTls::default), notes));
        }
        Value::Object(choices) => choices,
        _ => return Err("expected true, false or an object like { ca: \"…\" }".to_owned()),
    };
    let (mut tls, mut cert, mut key) = (RedisTls::default(), None, None);
    for (name, value) in choices {
        keep_checking(name, value)?;
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            (_, Value::String(text)) if text.is_empty() => {}
            ("ca", value) => tls.ca = Some(pem(name, value)?),
            ("cert", value) => cert = Some(pem(name, value)?),
            ("key", value) => key = Some(pem(name, value)?),
            ("servername" | "serverName", Value::String(text)) => {
                tls.server_name = Some(server_name(text)?)
            }
            ("servername" | "serverName", _) => {
                return Err("expected `servername` to be a host name".to_owned());
            }
            ("pfx" | "passphrase", _) => {
                return Err(format!(
                    "`{name}` cannot be read: give the certificate and its unencrypted key as PEM, `cert` and `key`"
                ));
            }
            (name, _) if is_check(name) => {}
            (name, _) if TUNING.contains(&name) => {
                notes.push((
                    name.to_owned(),
                    "TLS 1.2 and 1.3 are spoken, with the ciphers that are safe today",
                ));
            }
            (name, _) => notes.push((name.to_owned(), UNKNOWN_OPTION)),
        }
    }
    tls.client = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, SecretString::from(key))),
        (None, None) => None,
        (Some(_), None) => {
            return Err("`cert` needs `key`, the private key of the certificate".to_owned());
        }
        (None, Some(_)) => {
            return Err("`key` needs `cert`, the certificate that the key belongs to".to_owned());
        }
    };
    Ok((Some(tls), notes))
}

pub(super) fn server_name(text: &str) -> Result<String, String> {
    let is_name = rustls::pki_types::ServerName::try_from(text).is_ok();
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("expected `servername` to be a host name, as it stands in the certificate".to_owned())
    }
}

/// PEM texts, or the paths of files with them; one or several.
fn pem(name: &str, value: &Value) -> Result<String, String> {
    let expected = || format!("expected `{name}` to be a string or a list of strings");
    match value {
        Value::String(given) => pem_text(name, given),
        Value::Array(several) => {
            let all: Option<Vec<&str>> = several.iter().map(Value::as_str).collect();
            let all = all.ok_or_else(expected)?;
            Ok(all
                .into_iter()
                .map(|given| pem_text(name, given))
                .collect::<Result<Vec<_>, _>>()?
                .join("\n"))
        }
        _ => Err(expected()),
    }
}

/// The text of a certificate or key, given itself or as a file's path.
pub(super) fn pem_text(name: &str, given: &str) -> Result<String, String> {
    if given.contains("-----BEGIN") {
        return Ok(given.to_owned());
    }
    files::read_text(Path::new(given), files::SMALL).map_err(|error| match error {
        FileError::Io(error) => format!(
            "`{name}` is neither PEM text nor a readable file: {}",
            error.kind()
        ),
        error => format!("the file of `{name}` {error}"),
    })
}
