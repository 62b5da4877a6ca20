//! `POST /cgi-bin/message/custom/send` and `/template/send`: requests and answers. `outbox` checks
//! the messages.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::Sandbox;
use super::arrivals::Received;
use super::exchange::answer_to;
use super::probe::{owner, parameter};
use super::refusal::Refusal;
use super::world::World;

pub(super) const CUSTOM: &str = "/cgi-bin/message/custom/send";
pub(super) const TEMPLATE: &str = "/cgi-bin/message/template/send";

type Body = Result<Bytes, actix_web::Error>;

pub(super) async fn custom(
    sandbox: Data<Sandbox>,
    request: HttpRequest,
    body: Body,
) -> HttpResponse {
    send(&sandbox, &request, body, |world, app_id, message| {
        world.send_custom(app_id, message)?;
        Ok(json!({"errcode": 0, "errmsg": "ok"}))
    })
    .await
}

pub(super) async fn template(
    sandbox: Data<Sandbox>,
    request: HttpRequest,
    body: Body,
) -> HttpResponse {
    send(&sandbox, &request, body, |world, app_id, message| {
        let number = world.send_template(app_id, message)?;
        Ok(json!({"errcode": 0, "errmsg": "ok", "msgid": number}))
    })
    .await
}

async fn send(
    sandbox: &Sandbox,
    request: &HttpRequest,
    body: Body,
    act: impl FnOnce(&mut World, &str, Value) -> Result<Value, Refusal>,
) -> HttpResponse {
    let token = parameter(request, "access_token");
    let received = Received::of(body.as_ref().cloned().unwrap_or_default());
    answer_to(
        sandbox,
        request,
        &owner(sandbox, &token),
        &received,
        |world| {
            if request.method() != Method::POST {
                return Err(Refusal::POST_ONLY);
            }
            let app_id = world.admit(&token)?.to_owned();
            act(world, &app_id, read(body)?)
        },
    )
    .await
}

/// A body that is too large is refused like one that is not JSON.
fn read(body: Body) -> Result<Value, Refusal> {
    let body = body.map_err(|_| Refusal::BAD_BODY)?;
    if body.is_empty() {
        return Err(Refusal::EMPTY_BODY);
    }
    serde_json::from_slice(&body)
        .ok()
        .filter(Value::is_object)
        .ok_or(Refusal::BAD_BODY)
}
