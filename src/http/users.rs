//! `GET /users/{appid}/{openid}`: WeChat's record of a follower, for a back end that signs as a
//! realm.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use super::error::ApiError;
use super::json_response::json_response;
use super::route::{Call, Route};
use super::signed_request::SignedRequestFor;
use wechat::Language;

pub(super) const ROUTES: &[Route] =
    &[Route::get("/users/{appid}/{openid}", |call| Box::pin(get(call))).words_only()];

async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let SignedRequestFor { credentials, query } = SignedRequestFor::verify(&call).await?;
    let language = match query.get("lang").as_deref() {
        None | Some("") => Language::default(),
        Some(name) => Language::from_name(name).ok_or_else(|| {
            ApiError::MalformedQuery("lang must be zh_CN or zh_TW or en".to_owned())
        })?,
    };
    let openid = call.param(1);
    let _permit = call.state.permit(&credentials)?;
    let user = call
        .state
        .keeper
        .user_info(&credentials, openid, language)
        .await?;
    Ok(json_response(StatusCode::OK, user))
}
