//! `GET /oauth/{appid}/callback`: a visitor comes back from WeChat and goes on to the site, or sees why not.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use url::Url;

use super::{beginning, browser};
use crate::http::error::ApiError;
use crate::http::extract::KnownAccount;
use crate::http::page::{self, Page};
use crate::http::params::Params;
use crate::http::state::AppState;
use crate::http::{NO_STORE, caller, public};
use crate::login::{Arrived, Stop};

pub(in crate::http) async fn get(
    KnownAccount(holding): KnownAccount,
    state: web::Data<AppState>,
    req: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let base = public::base(&req, &state)?;
    let account = crate::account::Account::clone(&holding.account);
    let policy = state.access().oauth.of(account.app_id.as_str());
    let params = Params::of(&req);
    let (Ok(Some(trip)), Ok(code)) = (params.one("state"), params.one("code")) else {
        return Ok(page::visitor(&req, Page::Expired { again: None }));
    };
    let (trip, code) = (trip.to_owned(), code.map(str::to_owned));
    let from = caller::address(req.head(), &state);
    let stop = Stop { account, policy, state: trip, code, browser: browser(&req, &base), from };
    if let Some(refused) = state.logins.refused_arrival(&stop).filter(|_| *req.method() == Method::GET) {
        return Ok(answer(&req, &base, &refused));
    }
    let Ok(_place) = state.place_for(req.head(), &holding) else { return Ok(page::crowded(&req)) };
    if *req.method() == Method::HEAD {
        // A look uses nothing up.
        return match state.logins.is_expected(stop).await {
            Ok(true) => Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, NO_STORE)).finish()),
            Ok(false) => Ok(page::visitor(&req, Page::Expired { again: None })),
            Err(error) => Ok(page::trouble_here(&req, &error)),
        };
    }
    Ok(match state.logins.arrive(stop).await {
        Ok(arrived) => answer(&req, &base, &arrived),
        Err(error) => page::trouble_here(&req, &error),
    })
}

fn answer(req: &HttpRequest, base: &Url, arrived: &Arrived) -> HttpResponse {
    match arrived {
        Arrived::To(address) => HttpResponse::Found()
            .insert_header((header::LOCATION, address.as_str()))
            .insert_header((header::CACHE_CONTROL, NO_STORE))
            .finish(),
        Arrived::Unknown => page::visitor(req, Page::Expired { again: None }),
        Arrived::Failed(failure, departure) => {
            let again = beginning(base, departure);
            page::failed(req, *failure, again.as_deref())
        }
    }
}
