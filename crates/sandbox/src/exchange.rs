//! The processing of every call: count it, apply its fault, call the handler, write the answer.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use serde_json::{Value, json};

use super::arrivals::Received;
use super::fault::Effect;
use super::refusal::Refusal;
use super::world::World;
use super::{Sandbox, mint};

/// Answers a call without a body. It is made for `app_id`, which is empty if it names no account;
/// `act` computes the answer.
pub(super) async fn answer(
    sandbox: &Sandbox,
    request: &HttpRequest,
    app_id: &str,
    act: impl FnOnce(&mut World) -> Result<Value, Refusal>,
) -> HttpResponse {
    answer_to(sandbox, request, app_id, &Received::nothing(), act).await
}

/// Like [`answer`], for a call with a body.
pub(super) async fn answer_to(
    sandbox: &Sandbox,
    request: &HttpRequest,
    app_id: &str,
    received: &Received,
    act: impl FnOnce(&mut World) -> Result<Value, Refusal>,
) -> HttpResponse {
    let effect = match meet(sandbox, request, app_id, received).await {
        Ok(effect) => effect,
        Err(spoiled) => return spoiled,
    };
    let result = match scripted(&effect) {
        Some(refusal) => Err(refusal),
        None => act(&mut sandbox.state().world),
    };
    let errcode = result.as_ref().err().map_or(0, |refusal| refusal.code);
    tracing::debug!(
        http.path = request.path(),
        wechat.errcode = errcode,
        "sandbox answers"
    );
    finish(
        result.unwrap_or_else(|refusal| refused(sandbox, &refusal)),
        &effect,
    )
}

/// Counts a call made for `app_id` and applies its fault: a delay, or an error that is the answer.
/// Returns the rest of the fault, which applies to the answer.
pub(super) async fn meet(
    sandbox: &Sandbox,
    request: &HttpRequest,
    app_id: &str,
    received: &Received,
) -> Result<Effect, HttpResponse> {
    let effect = sandbox.begin(request, app_id, received);
    if let Some(delay) = effect.delay_ms {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    if effect.hang {
        pending().await
    } else if effect.reset {
        Err(reset(request))
    } else if effect.garbage {
        Err(HttpResponse::Ok()
            .content_type(JSON)
            .body(&b"\xff\xfe<<<\x00 this is not JSON \xc3\x28"[..]))
    } else if let Some(status) = effect.html {
        Err(gateway_page(status))
    } else {
        Ok(effect)
    }
}

/// The refusal that the fault asks for, if any.
pub(super) fn scripted(effect: &Effect) -> Option<Refusal> {
    effect
        .errcode
        .map(|code| Refusal::scripted(code, effect.errmsg.as_deref()))
}

/// Sends a text, changed as the fault asks.
pub(super) fn send(text: String, content_type: &str, effect: &Effect) -> HttpResponse {
    let status = effect
        .status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::OK);
    let mut response = HttpResponse::build(status);
    response.content_type(if effect.text_plain {
        "text/plain"
    } else {
        content_type
    });
    if effect.half_body {
        response.body(half_of(text.into()))
    } else {
        response.body(text)
    }
}

/// Keeps a second handle on each connection, so that [`reset`] can access the socket below actix.
pub(super) fn remember_socket(
    connection: &dyn std::any::Any,
    extensions: &mut actix_web::dev::Extensions,
) {
    let stream = connection.downcast_ref::<actix_web::rt::net::TcpStream>();
    if let Some(Ok(socket)) = stream.map(|stream| stream.as_fd().try_clone_to_owned()) {
        extensions.insert::<OwnedFd>(socket);
    }
}

const JSON: &str = "application/json; charset=utf-8";

/// Writes a refusal with the trace that WeChat appends.
pub(super) fn refused(sandbox: &Sandbox, refusal: &Refusal) -> Value {
    let now = sandbox.state().world.time.now();
    json!({"errcode": refusal.code, "errmsg": format!("{} {}", refusal.message, mint::rid(now))})
}

/// Sends a JSON answer, changed as the fault asks.
pub(super) fn finish(mut body: Value, effect: &Effect) -> HttpResponse {
    for (name, value) in body.as_object_mut().into_iter().flatten() {
        match name.as_str() {
            "expires_in" => *value = effect.expires_in.map_or(value.take(), Value::from),
            "access_token" | "ticket" if effect.empty_token => *value = Value::from(""),
            _ => {}
        }
        if effect.strings && value.is_number() {
            *value = Value::from(value.to_string());
        }
    }
    if effect.control_chars {
        body["note"] = Value::from("a\u{1}b");
    }
    let mut text = body.to_string();
    if effect.control_chars {
        text = text.replace("\\u0001", "\u{1}");
    }
    send(text, JSON, effect)
}

fn gateway_page(status: u16) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let page = format!(
        "<html>\r\n<head><title>{status}</title></head>\r\n<body><center><h1>{status}</h1></center></body>\r\n</html>\r\n"
    );
    HttpResponse::build(status)
        .content_type("text/html")
        .body(page)
}

/// Sends half of a file.
pub(super) fn half(bytes: Bytes, content_type: &str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        .body(half_of(bytes))
}

/// Announces the whole text, sends half of it, and closes. The pause lets actix flush the half
/// first; an immediate error would discard it.
fn half_of(text: Bytes) -> SizedStream<impl futures_util::Stream<Item = io::Result<Bytes>>> {
    let (whole, half) = (text.len() as u64, text.slice(..text.len() / 2));
    let parts = stream::unfold(Some(half), |half| async move {
        match half {
            Some(half) => Some((Ok(half), None)),
            None => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((
                    Err(io::Error::other("half_body: a fault of the sandbox")),
                    None,
                ))
            }
        }
    });
    SizedStream::new(whole, parts)
}

/// Closes without an answer: a body that fails at its first chunk makes actix drop the connection
/// before it flushes the head. With lingering off, the kernel sends RST instead of FIN.
fn reset(request: &HttpRequest) -> HttpResponse {
    if let Some(Ok(socket)) = request.conn_data::<OwnedFd>().map(OwnedFd::try_clone) {
        let stream = tokio::net::TcpStream::from_std(std::net::TcpStream::from(socket));
        if let Err(error) = stream.and_then(|stream| stream.set_zero_linger()) {
            tracing::debug!(%error, "cannot reset the connection; closing it");
        }
    }
    let failure = Err::<Bytes, _>(io::Error::other("reset: a fault of the sandbox"));
    HttpResponse::Ok().body(SizedStream::new(1, stream::iter([failure])))
}
