//! `POST /login`: begins a login and answers with the address of its QR code and where to poll.

use actix_web::HttpResponse;
use actix_web::http::header;
use url::form_urlencoded::byte_serialize;

use super::requester;
use super::weblogin::at_wechat;
use crate::http::error::ApiError;
use crate::http::headers::{JSON, NO_STORE};
use crate::http::params::Params;
use crate::http::public_address;
use crate::http::route::{Call, Pages, Route};
use crate::login::NewScan;

pub(super) const ROUTE: Route =
    Route::post("/login", |call| Box::pin(post(call))).pages(Pages::LoginSites);

async fn post(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (state, req) = (call.state, call.req);
    let params = Params::of(req);
    let app_id = match params.one("appid")? {
        Some(named) => named.to_owned(),
        None => state
            .access()
            .first_app
            .as_ref()
            .ok_or(ApiError::UnknownApp)?
            .to_string(),
    };
    let credentials = state.account_for(req.head(), &app_id).await?;
    let base = public_address::base(req, state)?;
    let requester = requester::of(req, state, &base)?;
    let _permit = state.permit_for(req.head(), &credentials)?;
    let NewScan { uuid, picture } = state
        .logins
        .open_scan(&app_id, requester, state.client_ip(req.head()))
        .await?;
    // Encoded twice and marked so, as the original does, because proxies decode the path once.
    let text = byte_serialize(at_wechat(state, &base, &app_id, &picture).as_bytes())
        .collect::<String>()
        .replace('%', "%25");
    let answer = serde_json::json!({
        "uuid": uuid,
        "app_id": app_id,
        "query_url": format!("{base}login/{uuid}"),
        "qrcode_url": format!("{base}qrcode/{text}?unescape=true"),
    });
    let headers = (
        (header::CONTENT_TYPE, JSON),
        (header::CACHE_CONTROL, NO_STORE),
    );
    Ok(HttpResponse::Created()
        .insert_header(headers.0)
        .insert_header(headers.1)
        .body(answer.to_string()))
}
