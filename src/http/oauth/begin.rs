//! `GET /oauth/{appid}`: sends a visitor to WeChat to agree.

use actix_web::HttpResponse;
use actix_web::http::{Method, header};

use super::cookie::{MODES, browser_cookie, own_url};
use crate::http::error::ApiError;
use crate::http::headers::NO_STORE;
use crate::http::params::Params;
use crate::http::public_address;
use crate::http::route::{Call, Route};
use crate::http::state::AppState;
use crate::login::LoginRequest;
use crate::oauth::{MAX_RETURN_LEN, RedirectError, Scope};
use wechat::authorize_url;
use wechat::signature::random_id;

pub(super) const ROUTE: Route =
    Route::get("/oauth/{appid}", |call| Box::pin(get(call))).words_only();

/// A site's own state is stored with its login, so its length is limited.
const MAX_STATE_LEN: usize = 512;

async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (state, req) = (call.state, call.req);
    let credentials = state.account_for(req.head(), call.app_id()).await?;
    let app_id = credentials.account.app_id.as_str();
    let request = request(app_id, state, &Params::of(req))?;
    let base = public_address::base(req, state)?;
    let callback = own_url(&base, &format!("oauth/{app_id}/callback"))?;
    let (scope, mut response) = (request.scope, HttpResponse::Found());
    // HEAD stores nothing.
    let login = if *req.method() == Method::HEAD {
        random_id()
    } else {
        let cookie = browser_cookie(req, &base);
        let _permit = state.permit_for(req.head(), &credentials)?;
        let login = state
            .logins
            .begin_redirect(request, cookie.value(), state.client_ip(req.head()))
            .await?;
        response.cookie(cookie);
        login
    };
    let wechat = authorize_url(
        &state.options.open,
        app_id,
        callback.as_str(),
        scope.name(),
        &login,
    );
    Ok(response
        .insert_header((header::LOCATION, wechat))
        .insert_header((header::CACHE_CONTROL, NO_STORE))
        .finish())
}

fn request(app_id: &str, state: &AppState, params: &Params<'_>) -> Result<LoginRequest, ApiError> {
    let policy = state.access().oauth.of(app_id);
    let scope = params.word("scope", &Scope::NAMES)?.unwrap_or(policy.scope);
    let mode = params.word("mode", &MODES)?.unwrap_or_default();
    let own_state = params.one("state")?.map(str::to_owned);
    if own_state
        .as_ref()
        .is_some_and(|state| state.len() > MAX_STATE_LEN)
    {
        return Err(ApiError::MalformedQuery(format!(
            "state is longer than {MAX_STATE_LEN} bytes"
        )));
    }
    let redirect = params.one("redirect")?.ok_or_else(|| {
        ApiError::MalformedQuery(
            "redirect is missing: the address to return to, percent-encoded once".to_owned(),
        )
    })?;
    let request = LoginRequest {
        app_id: app_id.to_owned(),
        redirect: policy.admit(redirect)?,
        state: own_state,
        mode,
        scope,
    };
    match request.longest_return() {
        sent if sent > MAX_RETURN_LEN => Err(RedirectError::TooLong(sent).into()),
        _ => Ok(request),
    }
}
