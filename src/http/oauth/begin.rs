//! `GET /oauth/{appid}`: sends a visitor to WeChat to agree.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};

use super::{below, binding};
use crate::http::NO_STORE;
use crate::http::error::ApiError;
use crate::http::extract::KnownAccount;
use crate::http::params::Params;
use crate::http::state::AppState;
use crate::http::{caller, public};
use crate::login::{Departure, Mode};
use crate::oauth::{LONGEST_RETURN, RedirectError, Scope};
use wechat::authorize_url;
use wechat::signature::random_id;

const MODES: [(&str, Mode); 2] = [("login", Mode::Login), ("relay", Mode::Relay)];

/// A site's own state rests in the store with its trip, so it is bounded.
const LONGEST_STATE: usize = 512;

/// The word for `mode`.
pub(super) fn name_of(mode: Mode) -> &'static str {
    MODES.iter().find(|(_, known)| *known == mode).map_or("login", |(word, _)| word)
}

pub(in crate::http) async fn get(
    KnownAccount(holding): KnownAccount,
    state: web::Data<AppState>,
    req: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let app_id = holding.account.app_id.as_str();
    let departure = departure(app_id, &state, &Params::of(&req))?;
    let base = public::base(&req, &state)?;
    let callback = below(&base, &format!("oauth/{app_id}/callback"))?;
    let (scope, mut response) = (departure.scope, HttpResponse::Found());
    // A HEAD looks and leaves nothing behind.
    let trip = if *req.method() == Method::HEAD {
        random_id()
    } else {
        let cookie = binding(&req, &base);
        let _place = state.place_for(req.head(), &holding)?;
        let trip = state.logins.depart(departure, cookie.value(), caller::address(req.head(), &state)).await?;
        response.cookie(cookie);
        trip
    };
    let wechat = authorize_url(&state.options.open, app_id, callback.as_str(), scope.name(), &trip);
    Ok(response.insert_header((header::LOCATION, wechat)).insert_header((header::CACHE_CONTROL, NO_STORE)).finish())
}

fn departure(app_id: &str, state: &AppState, params: &Params<'_>) -> Result<Departure, ApiError> {
    let policy = state.access().oauth.of(app_id);
    let scope = params.word("scope", &Scope::NAMES)?.unwrap_or(policy.scope);
    let mode = params.word("mode", &MODES)?.unwrap_or_default();
    let own_state = params.one("state")?.map(str::to_owned);
    if own_state.as_ref().is_some_and(|state| state.len() > LONGEST_STATE) {
        return Err(ApiError::MalformedQuery(format!("state is longer than {LONGEST_STATE} bytes")));
    }
    let redirect = params.one("redirect")?.ok_or_else(|| {
        ApiError::MalformedQuery("redirect is missing: the address to return to, percent-encoded once".to_owned())
    })?;
    let departure = Departure { app_id: app_id.to_owned(), redirect: policy.admit(redirect)?, state: own_state, mode, scope };
    match departure.longest_return() {
        sent if sent > LONGEST_RETURN => Err(RedirectError::TooLong(sent).into()),
        _ => Ok(departure),
    }
}
