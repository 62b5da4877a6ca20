//! `POST /login`: begins a login and says where its QR code is and where to ask for its end.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use url::Url;
use url::form_urlencoded::byte_serialize;

use super::{CALLBACK, beginner};
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::state::AppState;
use crate::http::{JSON, NO_STORE, caller, public};
use crate::login::Opened;
use crate::oauth::Scope;
use wechat::authorize_url;

pub(in crate::http) async fn post(req: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let params = Params::of(&req);
    let app_id = match params.one("appid")? {
        Some(named) => named.to_owned(),
        None => state.access().first_app.as_ref().ok_or(ApiError::UnknownApp)?.to_string(),
    };
    let holding = state.account_for(req.head(), &app_id).await?;
    let base = public::base(&req, &state)?;
    let beginner = beginner::of(&req, &state, &base)?;
    let _place = state.place_for(req.head(), &holding)?;
    let Opened { uuid, picture } = state.logins.open_scan(&app_id, beginner, caller::address(req.head(), &state)).await?;
    // Encoded twice, and hence to be unescaped, as the original's clients have it: the path is decoded once on its way.
    let text = byte_serialize(at_wechat(&state, &base, &app_id, &picture).as_bytes()).collect::<String>().replace('%', "%25");
    let answer = serde_json::json!({
        "uuid": uuid,
        "app_id": app_id,
        "query_url": format!("{base}login/{uuid}"),
        "qrcode_url": format!("{base}qrcode/{text}?unescape=true"),
    });
    let headers = ((header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, NO_STORE));
    Ok(HttpResponse::Created().insert_header(headers.0).insert_header(headers.1).body(answer.to_string()))
}

/// Where the phone is to go.
pub(super) fn at_wechat(state: &AppState, base: &Url, app_id: &str, picture: &str) -> String {
    let callback = format!("{base}{}", CALLBACK.trim_start_matches('/'));
    authorize_url(&state.options.open, app_id, &callback, Scope::UserInfo.name(), picture)
}
