//! `GET /oauth/{appid}/callback`: a visitor returns from WeChat and is redirected to the site, or
//! sees an error page.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse};
use url::Url;

use super::cookie::{browser, restart_url};
use crate::http::error::ApiError;
use crate::http::headers::NO_STORE;
use crate::http::page::{self, Page, PageLinks};
use crate::http::params::Params;
use crate::http::public_address;
use crate::http::route::{Call, Route};
use crate::login::{Callback, CallbackResult};
use wechat::account::Account;

pub(super) const ROUTE: Route =
    Route::get("/oauth/{appid}/callback", |call| Box::pin(get(call))).words_only();

async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (state, req) = (call.state, call.req);
    let base = public_address::base(req, state)?;
    let host = base.host_str().unwrap_or_default();
    let again = page::retry_address(req, &base);
    let credentials = match state.account_for(req.head(), call.app_id()).await {
        Ok(credentials) => credentials,
        // Removed from the settings meanwhile: the visitor still gets a page.
        Err(ApiError::UnknownApp) => {
            return Ok(page::visitor(
                req,
                Page::Expired(PageLinks {
                    host,
                    ..PageLinks::default()
                }),
            ));
        }
        Err(_) => return Ok(page::overloaded(req, again.as_deref())),
    };
    let account = Account::clone(&credentials.account);
    let policy = state.access().oauth.of(account.app_id.as_str());
    let params = Params::of(req);
    let site = policy.only_site();
    let lost = PageLinks {
        again: None,
        site: site.as_ref(),
        host,
    };
    let (Ok(Some(login)), Ok(code)) = (params.one("state"), params.one("code")) else {
        return Ok(page::visitor(req, Page::Expired(lost)));
    };
    let (login, code) = (login.to_owned(), code.map(str::to_owned));
    let from = state.client_ip(req.head());
    let callback = Callback {
        account,
        policy,
        state: login,
        code,
        browser: browser(req, &base),
        from,
    };
    if let Some(refused) = state
        .logins
        .refused_callback(&callback)
        .filter(|_| *req.method() == Method::GET)
    {
        return Ok(answer(req, &base, &refused, lost));
    }
    let Ok(_permit) = state.permit_for(req.head(), &credentials) else {
        return Ok(page::overloaded(req, again.as_deref()));
    };
    if *req.method() == Method::HEAD {
        // HEAD does not use the state up.
        return match state.logins.is_expected(callback).await {
            Ok(true) => Ok(HttpResponse::Ok()
                .insert_header((header::CACHE_CONTROL, NO_STORE))
                .finish()),
            Ok(false) => Ok(page::visitor(req, Page::Expired(lost))),
            Err(error) => Ok(page::internal_failure(req, state, &error, again.as_deref())),
        };
    }
    Ok(match state.logins.handle_callback(callback).await {
        Ok(result) => answer(req, &base, &result, lost),
        Err(error) => page::internal_failure(req, state, &error, again.as_deref()),
    })
}

/// `lost` is for a visitor whose login is unknown.
fn answer(
    req: &HttpRequest,
    base: &Url,
    result: &CallbackResult,
    lost: PageLinks<'_>,
) -> HttpResponse {
    match result {
        CallbackResult::Return(address) => HttpResponse::Found()
            .insert_header((header::LOCATION, address.as_str()))
            .insert_header((header::CACHE_CONTROL, NO_STORE))
            .finish(),
        CallbackResult::Unknown(request) => {
            let again = request
                .as_ref()
                .and_then(|request| restart_url(base, request));
            page::visitor(
                req,
                Page::Expired(PageLinks {
                    again: again.as_deref(),
                    ..lost
                }),
            )
        }
        CallbackResult::Failed(failure, request) => {
            let again = restart_url(base, request);
            page::failed(req, *failure, again.as_deref())
        }
    }
}
