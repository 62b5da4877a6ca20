//! `GET /oauth/{appid}/callback`: a visitor comes back from WeChat and goes on to the site, or sees
//! why not.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse};
use url::Url;

use super::trip::{beginning, browser};
use crate::http::error::ApiError;
use crate::http::headers::NO_STORE;
use crate::http::page::{self, Page, WayOn};
use crate::http::params::Params;
use crate::http::public_address;
use crate::http::route::{Call, Route};
use crate::login::{Arrived, Stop};
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
                Page::Expired(WayOn {
                    host,
                    ..WayOn::default()
                }),
            ));
        }
        Err(_) => return Ok(page::overloaded(req, again.as_deref())),
    };
    let account = Account::clone(&credentials.account);
    let policy = state.access().oauth.of(account.app_id.as_str());
    let params = Params::of(req);
    let site = policy.only_site();
    let lost = WayOn {
        again: None,
        site: site.as_ref(),
        host,
    };
    let (Ok(Some(trip)), Ok(code)) = (params.one("state"), params.one("code")) else {
        return Ok(page::visitor(req, Page::Expired(lost)));
    };
    let (trip, code) = (trip.to_owned(), code.map(str::to_owned));
    let from = state.client_ip(req.head());
    let stop = Stop {
        account,
        policy,
        state: trip,
        code,
        browser: browser(req, &base),
        from,
    };
    if let Some(refused) = state
        .logins
        .refused_arrival(&stop)
        .filter(|_| *req.method() == Method::GET)
    {
        return Ok(answer(req, &base, &refused, lost));
    }
    let Ok(_permit) = state.permit_for(req.head(), &credentials) else {
        return Ok(page::overloaded(req, again.as_deref()));
    };
    if *req.method() == Method::HEAD {
        // HEAD does not use the state up.
        return match state.logins.is_expected(stop).await {
            Ok(true) => Ok(HttpResponse::Ok()
                .insert_header((header::CACHE_CONTROL, NO_STORE))
                .finish()),
            Ok(false) => Ok(page::visitor(req, Page::Expired(lost))),
            Err(error) => Ok(page::trouble_here(req, state, &error, again.as_deref())),
        };
    }
    Ok(match state.logins.arrive(stop).await {
        Ok(arrived) => answer(req, &base, &arrived, lost),
        Err(error) => page::trouble_here(req, state, &error, again.as_deref()),
    })
}

/// `lost` is for a visitor whose trip is unknown.
fn answer(req: &HttpRequest, base: &Url, arrived: &Arrived, lost: WayOn<'_>) -> HttpResponse {
    match arrived {
        Arrived::To(address) => HttpResponse::Found()
            .insert_header((header::LOCATION, address.as_str()))
            .insert_header((header::CACHE_CONTROL, NO_STORE))
            .finish(),
        Arrived::Unknown(departure) => {
            let again = departure
                .as_ref()
                .and_then(|departure| beginning(base, departure));
            page::visitor(
                req,
                Page::Expired(WayOn {
                    again: again.as_deref(),
                    ..lost
                }),
            )
        }
        Arrived::Failed(failure, departure) => {
            let again = beginning(base, departure);
            page::failed(req, *failure, again.as_deref())
        }
    }
}
