//! `GET /cgi-bin/user/info`: what an account can read about a person it knows.

use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::Sandbox;
use super::exchange::answer;
use super::probe::{owner, parameter};
use super::refusal::Refusal;

pub(super) const PATH: &str = "/cgi-bin/user/info";

pub(super) async fn info(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let [token, openid] = ["access_token", "openid"].map(|name| parameter(&request, name));
    answer(&sandbox, &request, &owner(&sandbox, &token), |world| {
        if request.method() != Method::GET {
            return Err(Refusal::GET_ONLY);
        }
        let (_, since, unionid) = world.user(&token, &openid)?;
        let Some(since) = since else { return Ok(json!({"subscribe": 0, "openid": openid})) };
        // WeChat no longer fills `language`, and since 2021-12-27 neither nickname nor picture.
        let mut body = json!({
            "subscribe": 1, "openid": openid, "language": "", "subscribe_time": since.seconds().0, "remark": "", "groupid": 0,
            "tagid_list": [], "subscribe_scene": "ADD_SCENE_SEARCH", "qr_scene": 0, "qr_scene_str": "",
        });
        if let Some(unionid) = unionid {
            body["unionid"] = unionid.into();
        }
        Ok(body)
    })
    .await
}
