//! `GET /wechat/weblogin`: a phone that scanned comes back from WeChat; `POST`: the person's answer when they were asked first. Both
//! end at a page.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};

use super::open::at_wechat;
use super::{CALLBACK, LOGINS};
use crate::http::error::ApiError;
use crate::http::page::{self, Page};
use crate::http::params::Params;
use crate::http::state::AppState;
use crate::http::{NO_STORE, body, caller, public};
use crate::login::{LoginError, Scanned};

/// What the page that asks sends back.
struct Answer {
    uuid: String,
    token: String,
    answer: String,
}

impl Answer {
    /// What a form's pairs say, each of them given once.
    fn read(form: &[u8]) -> Option<Self> {
        let one = |name| {
            let mut values = url::form_urlencoded::parse(form).filter(|(pair, _)| pair == name).map(|(_, value)| value);
            let value = values.next()?.into_owned();
            values.next().is_none().then_some(value)
        };
        Some(Self { uuid: one("uuid")?, token: one("token")?, answer: one("answer")? })
    }
}

pub(in crate::http) async fn get(req: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let params = Params::of(&req);
    let (Ok(Some(uuid)), Ok(code)) = (params.one("state"), params.one("code")) else {
        return Ok(page::visitor(&req, Page::Expired { again: None }));
    };
    if let Some(refused) = code.filter(|_| *req.method() == Method::GET).and_then(|code| state.logins.refused_scan(uuid, code)) {
        return answer(&req, &state, uuid, Ok(refused));
    }
    let Ok(_place) = state.crowd.enter_from(LOGINS, state.network(req.head())) else { return Ok(page::crowded(&req)) };
    let known = state.logins.app_of_scan(uuid).await;
    let holding = match known {
        Ok(None) => None,
        Ok(Some(app_id)) => state.account(&app_id).await.ok(),
        Err(error) => return Ok(page::trouble_here(&req, &error)),
    };
    let Some(holding) = holding else { return Ok(page::visitor(&req, Page::Expired { again: None })) };
    if *req.method() == Method::HEAD {
        // A look logs nobody in.
        return Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, NO_STORE)).finish());
    }
    let Some(code) = code else {
        let base = public::base(&req, &state)?;
        let again = at_wechat(&state, &base, holding.account.app_id.as_str(), uuid);
        return Ok(page::visitor(&req, Page::Refused { again: Some(&again) }));
    };
    let from = caller::address(req.head(), &state);
    let scanned = state
        .logins
        .scanned(crate::account::Account::clone(&holding.account), uuid, code, state.options.confirm_logins, from)
        .await;
    answer(&req, &state, uuid, scanned)
}

pub(in crate::http) async fn post(
    req: HttpRequest,
    state: web::Data<AppState>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let form = match body::raw(&req, payload.into_inner(), &state).await {
        Ok(form) => Answer::read(&form),
        Err(ApiError::Overloaded) => return Ok(page::crowded(&req)),
        Err(_) => None,
    };
    let Some(form) = form else { return Ok(page::visitor(&req, Page::Expired { again: None })) };
    let Ok(_place) = state.crowd.enter_from(LOGINS, state.network(req.head())) else { return Ok(page::crowded(&req)) };
    let scanned = state.logins.confirm(&form.uuid, &form.token, form.answer == "yes").await;
    answer(&req, &state, &form.uuid, scanned)
}

fn answer(req: &HttpRequest, state: &AppState, uuid: &str, scanned: Result<Scanned, LoginError>) -> Result<HttpResponse, ApiError> {
    Ok(match scanned {
        Err(error) => page::trouble_here(req, &error),
        Ok(Scanned::Done) => page::visitor(req, Page::Done),
        Ok(Scanned::Declined) => page::visitor(req, Page::Declined),
        Ok(Scanned::Unknown) => page::visitor(req, Page::Expired { again: None }),
        Ok(Scanned::Taken) => page::visitor(req, Page::Taken),
        Ok(Scanned::Failed(failure)) => page::failed(req, failure, None),
        Ok(Scanned::Asks { site, token }) => {
            let action = format!("{}{}", public::base(req, state)?.path().trim_end_matches('/'), CALLBACK);
            page::visitor(req, Page::Confirm { site: &site, action: &action, token: &token, uuid })
        }
    })
}
