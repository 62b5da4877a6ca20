//! `GET /oauth/{appid}`: sends a visitor to WeChat to agree.

use actix_web::HttpResponse;
use actix_web::http::{Method, header};

use super::trip::{MODES, below, binding};
use crate::http::error::ApiError;
use crate::http::headers::NO_STORE;
use crate::http::params::Params;
use crate::http::public_address;
use crate::http::route::{Call, Route};
use crate::http::state::AppState;
use crate::login::Departure;
use crate::oauth::{LONGEST_RETURN, RedirectError, Scope};
use wechat::authorize_url;
use wechat::signature::random_id;

pub(super) const ROUTE: Route =
    Route::get("/oauth/{appid}", |call| Box::pin(get(call))).words_only();

/// A site's own state is stored with its trip, so its length is limited.
const LONGEST_STATE: usize = 512;

async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (state, req) = (call.state, call.req);
    let credentials = state.account_for(req.head(), call.app_id()).await?;
    let app_id = credentials.account.app_id.as_str();
    let departure = departure(app_id, state, &Params::of(req))?;
    let base = public_address::base(req, state)?;
    let callback = below(&base, &format!("oauth/{app_id}/callback"))?;
    let (scope, mut response) = (departure.scope, HttpResponse::Found());
    // HEAD stores nothing.
    let trip = if *req.method() == Method::HEAD {
        random_id()
    } else {
        let cookie = binding(req, &base);
        let _permit = state.permit_for(req.head(), &credentials)?;
        let trip = state
            .logins
            .depart(departure, cookie.value(), state.client_ip(req.head()))
            .await?;
        response.cookie(cookie);
        trip
    };
    let wechat = authorize_url(
        &state.options.open,
        app_id,
        callback.as_str(),
        scope.name(),
        &trip,
    );
    Ok(response
        .insert_header((header::LOCATION, wechat))
        .insert_header((header::CACHE_CONTROL, NO_STORE))
        .finish())
}

fn departure(app_id: &str, state: &AppState, params: &Params<'_>) -> Result<Departure, ApiError> {
    let policy = state.access().oauth.of(app_id);
    let scope = params.word("scope", &Scope::NAMES)?.unwrap_or(policy.scope);
    let mode = params.word("mode", &MODES)?.unwrap_or_default();
    let own_state = params.one("state")?.map(str::to_owned);
    if own_state
        .as_ref()
        .is_some_and(|state| state.len() > LONGEST_STATE)
    {
        return Err(ApiError::MalformedQuery(format!(
            "state is longer than {LONGEST_STATE} bytes"
        )));
    }
    let redirect = params.one("redirect")?.ok_or_else(|| {
        ApiError::MalformedQuery(
            "redirect is missing: the address to return to, percent-encoded once".to_owned(),
        )
    })?;
    let departure = Departure {
        app_id: app_id.to_owned(),
        redirect: policy.admit(redirect)?,
        state: own_state,
        mode,
        scope,
    };
    match departure.longest_return() {
        sent if sent > LONGEST_RETURN => Err(RedirectError::TooLong(sent).into()),
        _ => Ok(departure),
    }
}
