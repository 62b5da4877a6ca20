//! Which account a push or a server check is for, and the log lines about refused ones.

use std::sync::Arc;

use actix_web::{HttpMessage, HttpRequest};

use super::error::ApiError;
use super::marks::AlreadyLogged;
use super::params::Params;
use super::request_id::request_id;
use super::route::Call;
use super::state::AppState;
use crate::message::PushFault;
use credentials::keeper::AccountCredentials;
use wechat::account::AppId;

/// The header in which a proxy names the app of a push to the root.
const APP_ID: &str = "x-wechat-appid";

/// The account in the path, or the first one in the settings if the path names none.
pub(super) async fn account_of(call: &Call<'_>) -> Result<Arc<AccountCredentials>, ApiError> {
    match call.app_id() {
        "" => {
            let first = call
                .state
                .access()
                .first_app
                .clone()
                .ok_or(ApiError::UnknownApp)?;
            find(call.req, call.state, first.as_str()).await
        }
        app_id => find(call.req, call.state, app_id).await,
    }
}

/// The appid that a proxy put into a header.
pub(super) fn named_by_proxy(req: &HttpRequest) -> Option<&str> {
    req.headers()
        .get(APP_ID)
        .and_then(|value| value.to_str().ok())
}

/// Returns the account of `app_id`. Logs a signed request for an unknown one.
pub(super) async fn find(
    req: &HttpRequest,
    state: &AppState,
    app_id: &str,
) -> Result<Arc<AccountCredentials>, ApiError> {
    let found = state.account_for(req.head(), app_id).await;
    if matches!(found, Err(ApiError::UnknownApp)) {
        log_unknown_app(state, req);
    }
    found
}

/// Logs `fault`, unless the same kind was logged for this account in the last minute.
pub(super) fn log_fault(state: &AppState, req: &HttpRequest, app_id: &AppId, fault: &PushFault) {
    // The general line on refusals would repeat this one with less in it.
    req.extensions_mut().insert(AlreadyLogged);
    let has_room = || state.log_limit.admit(fault.kind()).is_some();
    let Some(unlogged) = state
        .push_faults
        .admit(Some(app_id), fault.kind(), has_room)
    else {
        return;
    };
    let caller = state
        .client_ip(req.head())
        .map(|address| address.to_string());
    let (caller, request_id) = (caller.as_deref().unwrap_or("-"), request_id(req));
    let (kind, cure, code) = (fault.kind(), fault.cure(), "bad_push_signature");
    let unlogged = Some(unlogged).filter(|unlogged| *unlogged > 0);
    tracing::warn!(account.id = %app_id, code, kind, fault = %fault, cure, caller, request_id, unlogged, "push refused");
}

fn log_unknown_app(state: &AppState, req: &HttpRequest) {
    const KIND: &str = "unknown_app";
    if !Params::of(req).has("signature") {
        return;
    }
    let Some(unlogged) = state.push_faults.admit(None, KIND, || true) else {
        return;
    };
    let caller = state
        .client_ip(req.head())
        .map(|address| address.to_string());
    let (caller, path, request_id) = (
        caller.as_deref().unwrap_or("-"),
        req.path(),
        request_id(req),
    );
    let unlogged = Some(unlogged).filter(|unlogged| *unlogged > 0);
    let (fault, code) = ("there is no app with the appid of this address", KIND);
    let cure = "let URL (服务器地址) in WeChat's console end in /wechat/ and the `key` of an app; if it does, this was not WeChat";
    tracing::warn!(
        path,
        code,
        kind = KIND,
        fault,
        cure,
        caller,
        request_id,
        unlogged,
        "push refused"
    );
}
