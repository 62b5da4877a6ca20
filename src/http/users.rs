//! `GET /users/{appid}/{openid}`: what WeChat tells of a follower, for a back end that signs with a realm's secret.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::error::ApiError;
use super::extract::SignedForAccount;
use super::state::AppState;
use super::{JSON, NO_STORE};
use wechat::Language;

pub(super) async fn get(signed: SignedForAccount, req: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let language = match signed.query.get("lang") {
        None | Some("") => Language::default(),
        Some(name) => {
            Language::from_name(name).ok_or_else(|| ApiError::MalformedQuery("lang must be zh_CN or zh_TW or en".to_owned()))?
        }
    };
    let openid = req.match_info().get("openid").unwrap_or_default();
    let _place = state.place(&signed.holding)?;
    let user = state.keeper.user_info(&signed.holding, openid, language).await?;
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, JSON)).insert_header((header::CACHE_CONTROL, NO_STORE)).body(user))
}
