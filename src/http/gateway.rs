//! The gateway's HTTP side: reads a request for one of WeChat's own paths, and writes what the gateway answers. See `crate::gateway`.

use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::{StatusCode, header};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::client_ip;
use super::error::ApiError;
use super::headers::NO_STORE;
use super::marks::Shaped;
use super::request_id::request_id;
use super::route::{Call, Pages, Route};
use super::state::AppState;
use crate::gateway::path::Path;
use crate::gateway::{Answer, AnswerBody, Audit, Gateway, Refusal, Request, RequestBody, Step};

/// Serves every path of WeChat's, for all methods.
pub(super) static ROUTE: Route =
    Route::any_method("/{wechat}", "GET, POST", |call| Box::pin(handle(call))).pages(Pages::None).no_store();

/// WeChat's own type for JSON.
const JSON: header::HeaderValue = header::HeaderValue::from_static("application/json; encoding=utf-8");

/// A caller that sends nothing of its body for this long is cut off.
const STALL: Duration = Duration::from_secs(15);

/// How long a caller may take to send a body that is dropped.
const DRAIN: Duration = Duration::from_secs(30);

/// The bodies of token endpoints are shorter.
const LONGEST_TOKEN_REQUEST: usize = 16 * 1024;

/// Whether the gateway takes this request: a realm may use it, and the path is one of WeChat's.
pub(super) fn takes(state: &AppState, req: &HttpRequest) -> bool {
    let gateway = &state.options.gateway;
    inside(gateway, req.uri().path()).is_some_and(|path| !matches!(Path::read(path), Path::Foreign))
        && state.access().realms.iter().any(|realm| realm.gateway.is_some())
}

/// The path below `gateway.prefix`.
fn inside<'p>(gateway: &Gateway, path: &'p str) -> Option<&'p str> {
    let path = path.strip_prefix(gateway.options().prefix.as_str())?;
    path.starts_with('/').then_some(path)
}

async fn handle(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (state, req, mut payload) = (call.state, call.req, call.payload);
    let gateway = &state.options.gateway;
    let id = request_id(req);
    let answered = answer(gateway, state, req, &mut payload, &id).await;
    let (mut response, error) = match answered {
        Ok(response) => (response, None),
        Err((refusal, audit)) => {
            drop(audit);
            drain(&mut payload, gateway.options().body_limit).await;
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_GATEWAY);
            (json(status, refusal.body(&id)), None)
        }
    };
    response.extensions_mut().insert(Shaped { error });
    Ok(response)
}

type Refused = (Refusal, Box<Audit>);

async fn answer(
    gateway: &Gateway,
    state: &AppState,
    req: &HttpRequest,
    payload: &mut Payload,
    id: &str,
) -> Result<HttpResponse, Refused> {
    let uri = req.uri();
    let path = inside(gateway, uri.path()).unwrap_or_default();
    let from = client_ip::address(req.head(), &state.options.trusted_proxies);
    let request = |path: &str| -> Option<(hyper::Method, hyper::HeaderMap)> {
        let method = hyper::Method::from_bytes(req.method().as_str().as_bytes()).ok()?;
        let headers = req.headers().iter().filter_map(|(name, value)| {
            let name = hyper::header::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
            Some((name, hyper::header::HeaderValue::from_bytes(value.as_bytes()).ok()?))
        });
        (!path.is_empty()).then(|| (method, headers.collect()))
    };
    let refuse = |why: &str| {
        let refusal = Refusal::NotAllowed(why.to_owned());
        let audit = Box::new(Audit::new(id, from, req.method().as_str(), path)).refused(&refusal);
        (refusal, audit)
    };
    if is_browser(req) {
        return Err(refuse("a browser called, and a secret does not belong there; call from a server"));
    }
    let Path::Plain(plain) = Path::read(path) else {
        return Err(refuse("the path is not made of letters, digits, '_', '.' and '-'"));
    };
    let Some((method, headers)) = request(&plain) else { return Err(refuse("the method or a header cannot be read")) };
    let is_upload = req.content_type() == "multipart/form-data";
    let length = content_length(req);
    let access = state.access();
    let request =
        Request { method, path: &plain, query: uri.query().unwrap_or_default(), headers, from, request_id: id.to_owned() };
    let again = Request { method: request.method.clone(), headers: hyper::HeaderMap::new(), request_id: id.to_owned(), ..request };
    match gateway.admit(request, &access.realms, &access.wecom).await? {
        Step::Answered(body) => Ok(json(StatusCode::OK, body)),
        Step::IssueToken(audit) => {
            let body = whole(payload, LONGEST_TOKEN_REQUEST).await.unwrap_or_default();
            gateway.issue(&again, &body, &access.realms, audit).await.map(|body| json(StatusCode::OK, body))
        }
        Step::Forward(admitted) => {
            let limit = gateway.options().body_limit;
            if length.is_some_and(|length| length > limit) {
                return Err(admitted.refused(Refusal::BodyTooLarge { is_upload }));
            }
            let body = match request_body(gateway, payload, length, limit).await {
                Ok(body) => body,
                Err(Unread::TooLarge) => return Err(admitted.refused(Refusal::BodyTooLarge { is_upload })),
                Err(Unread::Broken) => return Err(admitted.refused(Refusal::NothingSent("the body broke off".to_owned()))),
            };
            drop(access);
            gateway.forward(*admitted, body).await.map(passed_on)
        }
    }
}

/// Browsers send `Origin` or `Sec-Fetch-Site`; a person who opens an address sends `Sec-Fetch-Site: none`.
fn is_browser(req: &HttpRequest) -> bool {
    let site = req.headers().get("sec-fetch-site");
    req.headers().contains_key(header::ORIGIN) || site.is_some_and(|site| site.as_bytes() != b"none")
}

fn content_length(req: &HttpRequest) -> Option<u64> {
    req.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

enum Unread {
    TooLarge,
    Broken,
}

/// The body: whole if it is short and memory is left, else as a stream.
async fn request_body(gateway: &Gateway, payload: &mut Payload, length: Option<u64>, limit: u64) -> Result<RequestBody, Unread> {
    if matches!(payload, Payload::None) || length == Some(0) {
        return Ok(RequestBody::Whole(Bytes::new(), None));
    }
    let keep_whole = gateway.options().keep_whole;
    let Some(kept) = gateway.keep(length.unwrap_or(keep_whole)) else {
        return Ok(RequestBody::Stream(pump(BytesMut::new(), std::mem::replace(payload, Payload::None), limit)));
    };
    let mut body = BytesMut::new();
    loop {
        match timeout(STALL, payload.next()).await {
            Ok(None) => return Ok(RequestBody::Whole(body.freeze(), Some(kept))),
            Ok(Some(Ok(chunk))) => body.extend_from_slice(&chunk),
            Ok(Some(Err(_))) | Err(_) => return Err(Unread::Broken),
        }
        if body.len() as u64 > limit {
            return Err(Unread::TooLarge);
        }
        if body.len() as u64 > keep_whole {
            return Ok(RequestBody::Stream(pump(body, std::mem::replace(payload, Payload::None), limit)));
        }
    }
}

/// Passes a body on piece by piece. Its end is only told if it arrived whole.
fn pump(first: BytesMut, mut payload: Payload, limit: u64) -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(1);
    actix_web::rt::spawn(async move {
        let mut taken = first.len() as u64;
        if !first.is_empty() && sender.send(Ok(first.freeze())).await.is_err() {
            return;
        }
        loop {
            let piece = match timeout(STALL, payload.next()).await {
                Ok(None) => return,
                Ok(Some(Ok(chunk))) => {
                    taken += chunk.len() as u64;
                    if taken > limit { Err(std::io::Error::other("the body is longer than gateway.bodyLimit")) } else { Ok(chunk) }
                }
                Ok(Some(Err(error))) => Err(std::io::Error::other(error)),
                Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut)),
            };
            let is_last = piece.is_err();
            if sender.send(piece).await.is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

/// The whole of a short body; `None` if it is longer or breaks off.
async fn whole(payload: &mut Payload, limit: usize) -> Option<Bytes> {
    let mut body = BytesMut::new();
    while let Some(chunk) = timeout(STALL, payload.next()).await.ok()? {
        body.extend_from_slice(&chunk.ok()?);
        if body.len() > limit {
            return None;
        }
    }
    Some(body.freeze())
}

/// Reads and drops the rest of a body, so that its sender reads the errcode and not a reset connection.
async fn drain(payload: &mut Payload, limit: u64) {
    let all = async {
        let mut dropped = 0;
        while let Some(Ok::<Bytes, PayloadError>(chunk)) = payload.next().await {
            dropped += chunk.len() as u64;
            if dropped > limit {
                return;
            }
        }
    };
    // A sender that is slower than this is cut off.
    timeout(DRAIN, all).await.ok();
}

fn json(status: StatusCode, body: String) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, JSON))
        .insert_header((header::CACHE_CONTROL, NO_STORE))
        .body(body)
}

/// WeChat's answer, unchanged.
fn passed_on(answer: Answer) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponseBuilder::new(status);
    for (name, value) in &answer.headers {
        response.append_header((name.as_str(), value.as_bytes()));
    }
    match answer.body {
        AnswerBody::Whole(bytes) => response.body(bytes),
        AnswerBody::Stream(pieces, length) => {
            let pieces = stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
            match length {
                Some(length) => response.body(SizedStream::new(length, Box::pin(pieces))),
                None => response.streaming(Box::pin(pieces)),
            }
        }
    }
}
