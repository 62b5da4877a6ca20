//! Requests that a realm has signed: the signature is checked before anything is revealed, then the
//! account is looked up.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::HttpRequest;
use secrecy::SecretString;
use tracing::Instrument;

use super::client_ip;
use super::error::ApiError;
use super::request_id::request_span;
use super::route::Call;
use super::state::AppState;
use crate::realm::{Accept, Realm, RealmError, Realms, SignedRequest, VerifiedQuery};
use clock::UnixMillis;
use credentials::keeper::{AccountCredentials, Cached};
use wechat::credential::CredentialKind;

/// A verified request for one credential.
pub(super) struct CredentialQuery {
    pub(super) credentials: Arc<AccountCredentials>,
    pub(super) kind: CredentialKind,
    /// The value that WeChat refused, if the caller sends it.
    pub(super) rotate: Option<SecretString>,
}

impl CredentialQuery {
    /// Verifies a request that is signed with either version.
    pub(super) async fn verify(call: &Call<'_>) -> Result<Self, ApiError> {
        let (state, app_id) = (call.state, call.app_id());
        let (query, kind) = {
            let access = state.access();
            let now = state.clock().wall();
            let signed = as_signed(call.req);
            let accept = Accept::AnyVersion;
            let verified = access
                .realms
                .verify(&signed, app_id, from(call), now, accept);
            let (realm, query) = counted(call, &access.realms, verified, now)?;
            let kind = query
                .key()
                .map_or(Some(CredentialKind::AccessToken), CredentialKind::from_name);
            if let Some(kind) = kind.filter(|kind| !realm.may_have(*kind)) {
                realm.queries.refuse(call.worker);
                return Err(RealmError::NotItsKey(kind).into());
            }
            (query, kind)
        };
        let credentials = state.account(app_id).await?;
        Ok(Self {
            credentials,
            kind: kind.ok_or(ApiError::UnknownKey)?,
            rotate: query.rotate().map(SecretString::from),
        })
    }

    /// The credential, renewed first if `rotate` is the current value.
    pub(super) async fn credential(
        self,
        state: &AppState,
        req: &HttpRequest,
    ) -> Result<Arc<Cached>, ApiError> {
        match self.rotate {
            None => state.credential(req, &self.credentials, self.kind).await,
            Some(refused) => {
                let _permit = state.permit(&self.credentials)?;
                let rotated = self.credentials.credential(self.kind).rotate(refused);
                Ok(Box::pin(rotated.instrument(request_span(req))).await?)
            }
        }
    }
}

/// A request about an account whose method, path and query are signed with version 2.
pub(super) struct SignedRequestFor<'a> {
    pub(super) credentials: Arc<AccountCredentials>,
    pub(super) query: VerifiedQuery<'a>,
}

impl<'a> SignedRequestFor<'a> {
    pub(super) async fn verify(call: &Call<'a>) -> Result<Self, ApiError> {
        let (state, app_id) = (call.state, call.app_id());
        let query = {
            let access = state.access();
            let now = state.clock().wall();
            let signed = as_signed(call.req);
            let accept = Accept::V2Only;
            let verified = access
                .realms
                .verify(&signed, app_id, from(call), now, accept);
            counted(call, &access.realms, verified, now)?.1
        };
        Ok(Self {
            credentials: state.account(app_id).await?,
            query,
        })
    }
}

/// Counts the request for the realm that signed it, or that it names.
fn counted<'r, T>(
    call: &Call<'_>,
    realms: &'r Realms,
    verified: Result<(&'r Realm, T), RealmError>,
    now: UnixMillis,
) -> Result<(&'r Realm, T), RealmError> {
    match &verified {
        Ok((realm, _)) => realm.queries.count(call.worker, now),
        Err(_) => {
            let mut pairs = url::form_urlencoded::parse(call.req.query_string().as_bytes());
            let named = pairs.find(|(name, _)| name == "realm");
            if let Some(realm) = named.and_then(|(_, key)| realms.get(&key)) {
                realm.queries.count(call.worker, now);
                realm.queries.refuse(call.worker);
            }
        }
    }
    verified
}

/// The client's address as far as it is certain, for a realm that is bound to networks.
fn from<'a>(call: &Call<'a>) -> impl FnOnce() -> Option<IpAddr> + use<'a> {
    let (state, req) = (call.state, call.req);
    || client_ip::named(req.head(), &state.options.trusted_proxies).ok()
}

/// The signed parts. None of these routes takes a body.
fn as_signed(req: &HttpRequest) -> SignedRequest<'_> {
    SignedRequest {
        method: req.method().as_str(),
        path: req.uri().path(),
        raw_query: req.query_string(),
        body: b"",
    }
}
