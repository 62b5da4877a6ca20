//! `GET /login/{uuid}`: who scanned, or 404 until somebody has. With `wait` the request is held
//! until then.

use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage, HttpResponse};
use serde_json::{Map, Value, json};

use super::weblogin::LOGINS;
use crate::http::error::ApiError;
use crate::http::json_response::json_response;
use crate::http::marks::LongPoll;
use crate::http::params::Params;
use crate::http::route::{Call, Pages, Route};
use crate::login::Polled;

pub(super) const ROUTE: Route = Route::get("/login/{uuid}", |call| Box::pin(get(call)))
    .words_only()
    .secret_path()
    .pages(Pages::LoginSites);

/// Proxies close a silent connection after a minute or less.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The fields that the original's clients find in every user, empty or zero if WeChat does not send
/// them. Source: wechat-server, `UserInfo`.
const TEXTS: [&str; 9] = [
    "openid",
    "nickname",
    "city",
    "country",
    "province",
    "language",
    "headimgurl",
    "unionid",
    "remark",
];
const NUMBERS: [&str; 4] = ["subscribe", "sex", "subscribe_time", "groupid"];

async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (state, req) = (call.state, call.req);
    let uuid = call.param(0);
    let wait = wait(Params::of(req).one("wait")?)?;
    let wait = if *req.method() == Method::HEAD {
        Duration::ZERO
    } else {
        wait
    };
    if !wait.is_zero() {
        req.extensions_mut().insert(LongPoll);
    }
    // Held polls have a limit of their own, in `logins`.
    let _permit = if wait.is_zero() {
        Some(
            state
                .concurrency
                .acquire_from(LOGINS, state.network(req.head()))?,
        )
    } else {
        None
    };
    let polled = state
        .logins
        .poll(uuid, wait, state.client_ip(req.head()))
        .await?;
    let (app_id, user) = match polled {
        Polled::Unknown => return Err(ApiError::UnknownLogin),
        Polled::Waiting => return Err(ApiError::NotScannedYet),
        Polled::Declined => return Err(ApiError::LoginDeclined),
        Polled::Done { app_id, user } => (app_id, user),
    };
    let answer = json!({ "user": as_known(user), "uuid": uuid, "app_id": app_id });
    Ok(json_response(StatusCode::OK, answer.to_string()))
}

/// `user` with every field that the original's clients expect.
fn as_known(mut user: Map<String, Value>) -> Map<String, Value> {
    for name in TEXTS {
        user.entry(name).or_insert("".into());
    }
    for name in NUMBERS {
        user.entry(name).or_insert(0.into());
    }
    user
}

/// Parses `25s`, `1500ms` or a number of seconds; at most [`MAX_WAIT`].
fn wait(text: Option<&str>) -> Result<Duration, ApiError> {
    let Some(text) = text else {
        return Ok(Duration::ZERO);
    };
    let span = text
        .parse()
        .map(Duration::from_secs)
        .ok()
        .or_else(|| humantime::parse_duration(text).ok());
    let span =
        span.ok_or_else(|| ApiError::MalformedQuery("wait must be a time such as 25s".to_owned()))?;
    Ok(span.min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_has_a_unit_or_is_in_seconds() {
        let read = |text| wait(Some(text)).ok();
        assert_eq!(
            (read("25s"), read("25"), read("1500ms")),
            (
                Some(Duration::from_secs(25)),
                Some(Duration::from_secs(25)),
                Some(Duration::from_millis(1500))
            )
        );
        assert_eq!(
            (read("2h"), read("99999999999"), read("0")),
            (Some(MAX_WAIT), Some(MAX_WAIT), Some(Duration::ZERO))
        );
        assert_eq!((read("soon"), read("-1"), read("1.5")), (None, None, None));
        assert_eq!(wait(None).ok(), Some(Duration::ZERO));
    }

    #[test]
    fn a_user_has_every_field() {
        let user = json!({ "openid": "o1", "nickname": "小明", "sex": 1, "privilege": [] });
        let known = as_known(user.as_object().expect("an object").clone());
        assert_eq!(
            (
                known.len(),
                &known["nickname"],
                &known["sex"],
                &known["unionid"]
            ),
            (14, &json!("小明"), &json!(1), &json!(""))
        );
    }
}
