//! `/wechat/weblogin`. `GET`: a phone that scanned comes back from WeChat. `POST`: the person
//! confirms or declines. Both answer with a page.

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse};
use url::Url;

use super::weblogin::{CALLBACK, LOGINS, at_wechat};
use crate::http::error::ApiError;
use crate::http::headers::NO_STORE;
use crate::http::page::{self, Page, PageLinks};
use crate::http::params::Params;
use crate::http::route::{Call, Pages, Route};
use crate::http::state::AppState;
use crate::http::{body, public_address};
use crate::login::Scanned;
use wechat::account::Account;

pub(super) const ROUTE: Route = Route::get_and_post(
    CALLBACK,
    |call| Box::pin(get(call)),
    |call| Box::pin(post(call)),
)
.pages(Pages::OwnForm);

/// The form of the confirmation page. `state` is the login's id in the QR code; only the desktop
/// has its uuid.
struct Answer {
    state: String,
    token: String,
    answer: String,
}

impl Answer {
    /// Reads a form in which each field is given once.
    fn read(form: &[u8]) -> Option<Self> {
        let one = |name| {
            let mut values = url::form_urlencoded::parse(form)
                .filter(|(pair, _)| pair == name)
                .map(|(_, value)| value);
            let value = values.next()?.into_owned();
            values.next().is_none().then_some(value)
        };
        Some(Self {
            state: one("state")?,
            token: one("token")?,
            answer: one("answer")?,
        })
    }
}

async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (state, req) = (call.state, call.req);
    let base = public_address::base(req, state)?;
    let params = Params::of(req);
    let (Ok(Some(picture)), Ok(code)) = (params.one("state"), params.one("code")) else {
        return Ok(lost(req, &base));
    };
    if let Some(refused) = code
        .filter(|_| *req.method() == Method::GET)
        .and_then(|code| state.logins.refused_scan(picture, code))
    {
        return Ok(answer(req, state, &base, picture, &refused));
    }
    let again = page::retry_address(req, &base);
    let Ok(_permit) = state
        .concurrency
        .acquire_from(LOGINS, state.network(req.head()))
    else {
        return Ok(page::overloaded(req, again.as_deref()));
    };
    let credentials = match state.logins.app_of_scan(picture).await {
        Ok(None) => None,
        Ok(Some(app_id)) => state.account(&app_id).await.ok(),
        Err(error) => return Ok(page::internal_failure(req, state, &error, again.as_deref())),
    };
    let Some(credentials) = credentials else {
        return Ok(lost(req, &base));
    };
    if *req.method() == Method::HEAD {
        // HEAD does not log in.
        return Ok(HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, NO_STORE))
            .finish());
    }
    let Some(code) = code else {
        let again = at_wechat(state, &base, credentials.account.app_id.as_str(), picture);
        return Ok(page::visitor(
            req,
            Page::Refused {
                again: Some(&again),
            },
        ));
    };
    let (confirm, from) = (state.access().login.confirm, state.client_ip(req.head()));
    Ok(
        match state
            .logins
            .scanned(
                Account::clone(&credentials.account),
                picture,
                code,
                confirm,
                from,
            )
            .await
        {
            Ok(scanned) => answer(req, state, &base, picture, &scanned),
            Err(error) => page::internal_failure(req, state, &error, again.as_deref()),
        },
    )
}

async fn post(mut call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (state, req) = (call.state, call.req);
    let base = public_address::base(req, state)?;
    let form = match body::raw(&mut call).await {
        Ok(form) => Answer::read(&form),
        Err(ApiError::Overloaded) => return Ok(page::overloaded(req, None)),
        Err(_) => None,
    };
    let Some(form) = form else {
        return Ok(lost(req, &base));
    };
    // WeChat brings the person back from there to the confirmation page.
    let again = base
        .join(CALLBACK.trim_start_matches('/'))
        .ok()
        .map(|mut url| {
            url.query_pairs_mut().append_pair("state", &form.state);
            String::from(url)
        });
    let Ok(_permit) = state
        .concurrency
        .acquire_from(LOGINS, state.network(req.head()))
    else {
        return Ok(page::overloaded(req, again.as_deref()));
    };
    Ok(
        match state
            .logins
            .confirm(&form.state, &form.token, form.answer == "yes")
            .await
        {
            Ok(scanned) => answer(req, state, &base, &form.state, &scanned),
            Err(error) => page::internal_failure(req, state, &error, again.as_deref()),
        },
    )
}

/// The page for an unknown login, whose site is unknown, too.
fn lost(req: &HttpRequest, base: &Url) -> HttpResponse {
    page::visitor(
        req,
        Page::Expired(PageLinks {
            host: base.host_str().unwrap_or_default(),
            ..PageLinks::default()
        }),
    )
}

fn answer(
    req: &HttpRequest,
    state: &AppState,
    base: &Url,
    picture: &str,
    scanned: &Scanned,
) -> HttpResponse {
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
            page::visitor(
                req,
                Page::Confirm {
                    site,
                    action: &action,
                    token,
                    login: picture,
                },
            )
        }
    }
}
