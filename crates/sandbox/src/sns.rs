//! The four `/sns/...` endpoints, which concern one visitor: requests and answers.

use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::Sandbox;
use super::exchange::answer;
use super::mint;
use super::oauth::Login;
use super::probe::parameter;
use super::refusal::Refusal;

pub(super) const ACCESS: &str = "/sns/oauth2/access_token";
pub(super) const REFRESH: &str = "/sns/oauth2/refresh_token";
pub(super) const USERINFO: &str = "/sns/userinfo";
pub(super) const AUTH: &str = "/sns/auth";

pub(super) async fn access_token(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let [app_id, secret, code, grant_type] =
        ["appid", "secret", "code", "grant_type"].map(|name| parameter(&request, name));
    answer(&sandbox, &request, &app_id, |world| {
        get_only(&request)?;
        required(&app_id, Refusal::NO_APPID)?;
        required(&secret, Refusal::NO_SECRET)?;
        required(&code, Refusal::NO_CODE)?;
        if grant_type != "authorization_code" {
            return Err(Refusal::BAD_GRANT_TYPE);
        }
        let login = world.exchange(&app_id, &secret, &code)?;
        let mut body = tokens(&login);
        // Both are absent instead of false or empty.
        if login.session.pass.is_virtual {
            body["is_snapshotuser"] = 1.into();
        }
        if let Some(unionid) = login.unionid {
            body["unionid"] = unionid.into();
        }
        Ok(body)
    })
    .await
}

pub(super) async fn refresh_token(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let [app_id, refresh, grant_type] =
        ["appid", "refresh_token", "grant_type"].map(|name| parameter(&request, name));
    answer(&sandbox, &request, &app_id, |world| {
        get_only(&request)?;
        required(&app_id, Refusal::NO_APPID)?;
        required(&refresh, Refusal::NO_REFRESH)?;
        if grant_type != "refresh_token" {
            return Err(Refusal::BAD_GRANT_TYPE);
        }
        world.renew(&app_id, &refresh).map(|login| tokens(&login))
    })
    .await
}

pub(super) async fn userinfo(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    // `lang` only affected place names, which are no longer sent.
    let [token, openid] = ["access_token", "openid"].map(|name| parameter(&request, name));
    answer(&sandbox, &request, &buyer(&sandbox, &token), |world| {
        get_only(&request)?;
        let (pass, unionid) = world.profile(&token, &openid)?;
        // Since 2021-10-20 WeChat leaves sex and place empty; the fields remain.
        let mut body = json!({
            "openid": pass.openid, "nickname": pass.name, "sex": 0, "province": "", "city": "", "country": "",
            "headimgurl": mint::picture(&pass.name), "privilege": [],
        });
        if let Some(unionid) = unionid {
            body["unionid"] = unionid.into();
        }
        Ok(body)
    })
    .await
}

pub(super) async fn auth(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let [token, openid] = ["access_token", "openid"].map(|name| parameter(&request, name));
    answer(&sandbox, &request, &buyer(&sandbox, &token), |world| {
        get_only(&request)?;
        world.pass(&token, &openid)?;
        Ok(json!({"errcode": 0, "errmsg": "ok"}))
    })
    .await
}

/// A successful answer has no `errcode` here.
fn tokens(login: &Login) -> Value {
    let (access, session) = (&login.access, &login.session);
    json!({
        "access_token": access.value, "expires_in": access.expires_in, "refresh_token": session.refresh,
        "openid": session.pass.openid, "scope": session.pass.scope,
    })
}

fn get_only(request: &HttpRequest) -> Result<(), Refusal> {
    if request.method() == Method::GET {
        Ok(())
    } else {
        Err(Refusal::GET_ONLY)
    }
}

fn required(value: &str, refusal: Refusal) -> Result<(), Refusal> {
    if value.is_empty() {
        Err(refusal)
    } else {
        Ok(())
    }
}

/// The account that a user-level token was issued to; empty for an unknown token.
fn buyer(sandbox: &Sandbox, token: &str) -> String {
    sandbox
        .state()
        .world
        .visitors
        .owner(token)
        .unwrap_or_default()
        .to_owned()
}
