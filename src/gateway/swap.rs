//! Calls that take the AppSecret itself: the real one is put in place of the virtual one, in the
//! query, and for `/cgi-bin/clear_quota/v2` in a body of JSON or of a form, too.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::admit::{self, Proof};
use super::admitted::Admitted;
use super::decide::plan;
use super::plan::{Identity, Plan};
use super::refusal::Refusal;
use super::{Audit, Gateway, Request, query};
use crate::realm::Realms;

impl Gateway {
    /// A call that takes the AppSecret and whose whole body was read. `None`: it broke off, or is
    /// too long. Returns the body to send with it.
    pub async fn swap_in_body(
        &self,
        request: &mut Request<'_>,
        body: Option<Bytes>,
        realms: &Realms,
        mut audit: Box<Audit>,
    ) -> Result<(Box<Admitted>, Bytes), (Refusal, Box<Audit>)> {
        let began = self.0.clock.steady();
        let unread = || Refusal::NothingSent("the body broke off, or is too long".to_owned());
        let swapped = match body.ok_or_else(unread) {
            Ok(body) => self.swap_secret(request, &body, realms, &mut audit).await,
            Err(refusal) => Err(refusal),
        };
        match swapped {
            Ok((mut plan, body)) => {
                // The client knows the length of a body that is whole.
                plan.headers.remove(header::CONTENT_LENGTH);
                Ok((Box::new(Admitted { plan, audit, began }), body.into()))
            }
            Err(refusal) => Err((refusal.clone(), audit.refused(&refusal))),
        }
    }

    /// The plan and the body of a call that takes the AppSecret. An `access_token` beside it is
    /// dropped.
    pub(super) async fn swap_secret(
        &self,
        request: &mut Request<'_>,
        body: &[u8],
        realms: &Realms,
        audit: &mut Audit,
    ) -> Result<(Box<Plan>, Vec<u8>), Refusal> {
        let name = match request.path.starts_with("/sns/") {
            true => "secret",
            false => "appsecret",
        };
        let in_body = InBody::read(body);
        let decoded = |name| query::decoded(request.query, name).filter(|value| !value.is_empty());
        let app_id = decoded("appid").or(in_body.app_id());
        let app_id = app_id.ok_or(Refusal::AppIdMissing)?;
        let secret = decoded(name).or(in_body.secret());
        let secret = secret.ok_or(Refusal::SecretMissing)?;
        let proof = Proof::Secret {
            app_id: &app_id,
            secret: &secret,
        };
        let (realm, account) = admit::authenticate(realms, &proof, request.from, &self.0.clock)?;
        let found = self
            .begin(realm, &account, request.path, Refusal::AppIdUnknown, audit)
            .await?;
        let real = found.secret().ok_or(Refusal::AppIdUnknown)?;
        let body = in_body.with_secret(real.expose_secret());
        if memchr::memmem::find(&body, secret.as_bytes()).is_some() {
            return Err(Refusal::NotAllowed(
                "the secret stands in the body where it cannot be exchanged".to_owned(),
            ));
        }
        let query = query::with(
            &query::without(request.query, "access_token"),
            name,
            &encoded(real.expose_secret()),
        );
        let place = self.place(&realm.key, &account)?;
        let (hosts, identity) = (Arc::clone(&self.0.api), Identity::Secret(found));
        Ok((plan(request, query, hosts, identity, place), body))
    }
}

fn encoded(secret: &str) -> String {
    utf8_percent_encode(secret, NON_ALPHANUMERIC).collect()
}

/// The appid and the virtual secret in a body.
enum InBody<'b> {
    /// At the top level of a JSON object.
    Json(&'b [u8], Json<'b>),
    /// In a form, or in nothing at all.
    Form(&'b [u8]),
}

#[derive(Deserialize, Default)]
struct Json<'b> {
    #[serde(default, borrow)]
    appid: Option<Cow<'b, str>>,
    #[serde(default, borrow)]
    appsecret: Option<&'b RawValue>,
}

impl<'b> InBody<'b> {
    fn read(body: &'b [u8]) -> Self {
        match body.trim_ascii_start().starts_with(b"{") {
            true => Self::Json(body, serde_json::from_slice(body).unwrap_or_default()),
            false => Self::Form(body),
        }
    }

    fn app_id(&self) -> Option<Cow<'_, str>> {
        let app_id = match self {
            Self::Json(_, json) => json.appid.as_deref().map(Cow::Borrowed),
            Self::Form(body) => query::decoded(body, "appid"),
        };
        app_id.filter(|app_id| !app_id.is_empty())
    }

    fn secret(&self) -> Option<Cow<'_, str>> {
        let secret = match self {
            Self::Json(_, json) => {
                let secret = serde_json::from_str::<String>(json.appsecret?.get());
                secret.ok().map(Cow::Owned)
            }
            Self::Form(body) => query::decoded(body, "appsecret"),
        };
        secret.filter(|secret| !secret.is_empty())
    }

    /// The body with `real` in place of the secret, and with every other byte as it was.
    fn with_secret(&self, real: &str) -> Vec<u8> {
        match self {
            Self::Json(body, json) => {
                let Some(virtual_secret) = json.appsecret.map(RawValue::get) else {
                    return body.to_vec();
                };
                let at = virtual_secret.as_ptr() as usize - body.as_ptr() as usize;
                let after = at + virtual_secret.len();
                let real = serde_json::Value::from(real).to_string();
                [&body[..at], real.as_bytes(), &body[after..]].concat()
            }
            Self::Form(body) => query::with(body, "appsecret", &encoded(real)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_is_exchanged() {
        let json = br#" {"appsecret" : "V\u0031", "x": {"appsecret":"V1"}, "appid":"wx1" }"#;
        let body = InBody::read(json);
        assert_eq!(
            (body.app_id().as_deref(), body.secret().as_deref()),
            (Some("wx1"), Some("V1"))
        );
        assert_eq!(
            body.with_secret("r\"1"),
            br#" {"appsecret" : "r\"1", "x": {"appsecret":"V1"}, "appid":"wx1" }"#
        );
        let form = InBody::read(b"appid=wx1&a=1+2&appsecret=V%31&b=\xff");
        assert_eq!(form.secret().as_deref(), Some("V1"));
        assert_eq!(
            form.with_secret("r-1"),
            b"appid=wx1&a=1+2&appsecret=r%2D1&b=\xff"
        );
    }

    #[test]
    fn a_body_without_a_secret_stays() {
        for body in [
            &b""[..],
            b"{}",
            b"{",
            b"{\"appsecret\":5}",
            b"a=1&b",
            b"{\"appsecret\":\"a\",\"appsecret\":\"b\"}",
            b"\x00\xff",
        ] {
            let read = InBody::read(body);
            assert_eq!((read.app_id(), read.secret()), (None, None), "{body:?}");
        }
        assert_eq!(InBody::read(b"\x00\xff").with_secret("r"), b"\x00\xff");
    }
}
