//! What a handler may rely on, as types: an account that exists, a query that was signed. A handler that takes one cannot run
//! without it.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::{FutureExt, LocalBoxFuture};
use secrecy::SecretString;

use super::caller;
use super::error::ApiError;
use super::state::AppState;
use crate::realm::{Accept, RealmError, SignedRequest, VerifiedQuery};
use credentials::keeper::{Cached, Holding};
use wechat::credential::CredentialKind;

/// The account named in the path.
pub(super) struct KnownAccount(pub(super) Arc<Holding>);

impl FromRequest for KnownAccount {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        async move { state(&req).account_for(req.head(), app_id(&req)).await.map(Self) }.boxed_local()
    }
}

/// A signed request for one credential: proven, then looked up. One extractor and not three, because actix resolves extractors side
/// by side and "who are you" must be answered before anything is told.
pub(super) struct CredentialQuery {
    pub(super) holding: Arc<Holding>,
    pub(super) kind: CredentialKind,
    /// The value that WeChat refused, if the caller says so.
    pub(super) rotate: Option<SecretString>,
}

impl CredentialQuery {
    /// What is asked for, renewed first if the caller's value is the current one.
    pub(super) async fn credential(self, state: &AppState) -> Result<Arc<Cached>, ApiError> {
        match self.rotate {
            None => state.credential(&self.holding, self.kind).await,
            Some(refused) => {
                let _place = state.place(&self.holding)?;
                Ok(Box::pin(self.holding.credential(self.kind).rotate(refused)).await?)
            }
        }
    }
}

impl FromRequest for CredentialQuery {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        async move { query(state(&req), &req, app_id(&req)).await }.boxed_local()
    }
}

/// A request about an account whose method, address and query a realm has signed with version 2.
pub(super) struct SignedForAccount {
    pub(super) holding: Arc<Holding>,
    pub(super) query: VerifiedQuery<'static>,
    pub(super) method: Method,
}

impl FromRequest for SignedForAccount {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        async move { signed(state(&req), &req).await }.boxed_local()
    }
}

async fn signed(state: &AppState, req: &HttpRequest) -> Result<SignedForAccount, ApiError> {
    let app_id = app_id(req);
    let query = {
        let access = state.access();
        let (_, query) = access.realms.verify(&as_signed(req), app_id, from(state, req), state.clock().wall(), Accept::V2Only)?;
        query.into_owned()
    };
    Ok(SignedForAccount { holding: account(state, app_id).await?.0, query, method: req.method().clone() })
}

/// The parts that a signature covers; none of the signed addresses takes a body.
fn as_signed(req: &HttpRequest) -> SignedRequest<'_> {
    SignedRequest { method: req.method().as_str(), path: req.uri().path(), raw_query: req.query_string(), body: b"" }
}

/// The caller's address as far as it can be told for certain, for a realm that is bound to networks.
fn from<'a>(state: &'a AppState, req: &'a HttpRequest) -> impl FnOnce() -> Option<IpAddr> + 'a {
    || caller::named(req.head(), state).ok()
}

/// The account of `app_id`.
pub(super) async fn account(state: &AppState, app_id: &str) -> Result<KnownAccount, ApiError> {
    state.account(app_id).await.map(KnownAccount)
}

/// The proven query that `req` is, at the address of `app_id`.
pub(super) async fn query(state: &AppState, req: &HttpRequest, app_id: &str) -> Result<CredentialQuery, ApiError> {
    let (query, kind) = {
        let access = state.access();
        let (realm, query) =
            access.realms.verify(&as_signed(req), app_id, from(state, req), state.clock().wall(), Accept::AnyVersion)?;
        let kind = query.key().map_or(Some(CredentialKind::AccessToken), CredentialKind::from_name);
        if let Some(kind) = kind.filter(|kind| !realm.may_have(*kind)) {
            return Err(RealmError::NotItsKey(kind).into());
        }
        (query, kind)
    };
    let holding = state.account(app_id).await?;
    Ok(CredentialQuery { holding, kind: kind.ok_or(ApiError::UnknownKey)?, rotate: query.rotate().map(SecretString::from) })
}

/// What stands in the place of an appid in the path.
pub(super) fn app_id(req: &HttpRequest) -> &str {
    req.match_info().get("appid").unwrap_or_default()
}

fn state(req: &HttpRequest) -> &AppState {
    req.app_data::<web::Data<AppState>>().expect("create_app puts the state where every request finds it")
}
