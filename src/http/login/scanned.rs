//! `GET /wechat/weblogin`: a phone that scanned comes back from WeChat; `POST`: the person's answer when they were asked first. Both
//! end at a page.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use url::Url;

use super::open::at_wechat;
use super::{CALLBACK, LOGINS};
use crate::http::error::ApiError;
use crate::http::page::{self, Page, WayOn};
use crate::http::params::Params;
use crate::http::state::AppState;
use crate::http::{NO_STORE, body, caller, public};
use crate::login::Scanned;

/// What the page that asks sends back. It knows the login by its picture; the uuid is the desktop's alone.
struct Answer {
    state: String,
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
        Some(Self { state: one("state")?, token: one("token")?, answer: one("answer")? })
    }
}

pub(in crate::http) async fn get(req: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let base = public::base(&req, &state)?;
    let params = Params::of(&req);
    let (Ok(Some(picture)), Ok(code)) = (params.one("state"), params.one("code")) else { return Ok(lost(&req, &base)) };
    if let Some(refused) = code.filter(|_| *req.method() == Method::GET).and_then(|code| state.logins.refused_scan(picture, code)) {
        return Ok(answer(&req, &state, &base, picture, &refused));
    }
    let once_more = page::same(&req, &base);
    let Ok(_place) = state.crowd.enter_from(LOGINS, state.network(req.head())) else {
        return Ok(page::crowded(&req, once_more.as_deref()));
    };
    let holding = match state.logins.app_of_scan(picture).await {
        Ok(None) => None,
        Ok(Some(app_id)) => state.account(&app_id).await.ok(),
        Err(error) => return Ok(page::trouble_here(&req, &error, once_more.as_deref())),
    };
    let Some(holding) = holding else { return Ok(lost(&req, &base)) };
    if *req.method() == Method::HEAD {
        // A look logs nobody in.
        return Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, NO_STORE)).finish());
    }
    let Some(code) = code else {
        let again = at_wechat(&state, &base, holding.account.app_id.as_str(), picture);
        return Ok(page::visitor(&req, Page::Refused { again: Some(&again) }));
    };
    let (confirm, from) = (state.access().login.confirm, caller::address(req.head(), &state));
    Ok(match state.logins.scanned(wechat::account::Account::clone(&holding.account), picture, code, confirm, from).await {
        Ok(scanned) => answer(&req, &state, &base, picture, &scanned),
        Err(error) => page::trouble_here(&req, &error, once_more.as_deref()),
    })
}

pub(in crate::http) async fn post(
    req: HttpRequest,
    state: web::Data<AppState>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let base = public::base(&req, &state)?;
    let form = match body::raw(&req, payload.into_inner(), &state).await {
        Ok(form) => Answer::read(&form),
        Err(ApiError::Overloaded) => return Ok(page::crowded(&req, None)),
        Err(_) => None,
    };
    let Some(form) = form else { return Ok(lost(&req, &base)) };
    // From there WeChat brings the person back to the question.
    let again = base.join(CALLBACK.trim_start_matches('/')).ok().map(|mut url| {
        url.query_pairs_mut().append_pair("state", &form.state);
        String::from(url)
    });
    let Ok(_place) = state.crowd.enter_from(LOGINS, state.network(req.head())) else {
        return Ok(page::crowded(&req, again.as_deref()));
    };
    Ok(match state.logins.confirm(&form.state, &form.token, form.answer == "yes").await {
        Ok(scanned) => answer(&req, &state, &base, &form.state, &scanned),
        Err(error) => page::trouble_here(&req, &error, again.as_deref()),
    })
}

/// The page of a person whose login is not known: nothing says at which site it began.
fn lost(req: &HttpRequest, base: &Url) -> HttpResponse {
    page::visitor(req, Page::Expired(WayOn { host: base.host_str().unwrap_or_default(), ..WayOn::default() }))
}

fn answer(req: &HttpRequest, state: &AppState, base: &Url, picture: &str, scanned: &Scanned) -> HttpResponse {
    match scanned {
        Scanned::Done => page::visitor(req, Page::Done),
        Scanned::Declined => page::visitor(req, Page::Declined),
        Scanned::Unknown => lost(req, base),
        Scanned::Taken { site } => page::visitor(req, Page::Taken { site }),
        Scanned::Failed { failure, app_id } => {
            let again = at_wechat(state, base, app_id, picture);
            page::failed(req, *failure, Some(&again))
        }
        Scanned::Asks { site, token } => {
            let action = format!("{}{}", base.path().trim_end_matches('/'), CALLBACK);
            page::visitor(req, Page::Confirm { site, action: &action, token, login: picture })
        }
    }
}
