//! The gateway's HTTP side: reads a request for one of WeChat's own paths, and writes what the
//! gateway answers. See `crate::gateway`.

use actix_web::body::SizedStream;
use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::stream;
use tokio::sync::Notify;

use super::client_ip;
use super::error::ApiError;
use super::gateway_body::{self, Rest, Sent, Unread};
use super::headers::NO_STORE;
use super::marks::{HangUp, RawQuery, Shaped};
use super::request_id::request_id;
use super::route::{Call, Pages, Route};
use super::state::AppState;
use crate::gateway::path::Path;
use crate::gateway::{
    Admitted, Answer, AnswerBody, Audit, Gateway, Refusal, Request, RequestBody, Step, is_forwarded,
};

/// Serves every path of WeChat's, for all methods.
pub(super) static ROUTE: Route =
    Route::any_method("/{wechat}", "GET, POST", |call| Box::pin(handle(call)))
        .pages(Pages::None)
        .no_store()
        .raw_query();

/// WeChat's own type for JSON.
const JSON: header::HeaderValue =
    header::HeaderValue::from_static("application/json; encoding=utf-8");

/// Bodies that hold a secret are shorter.
const LONGEST_SECRET_REQUEST: usize = 16 * 1024;

/// Whether the gateway takes this request: a realm may use it, and the path is one of WeChat's.
pub(super) fn takes(state: &AppState, req: &HttpRequest) -> bool {
    let gateway = &state.options.gateway;
    inside(gateway, req.uri().path()).is_some_and(|path| !matches!(Path::read(path), Path::Foreign))
        && state
            .access()
            .realms
            .iter()
            .any(|realm| realm.gateway.is_some())
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
    let hang_up = req.conn_data::<HangUp>().cloned();
    let hung_up = async {
        match hang_up {
            Some(hang_up) => hang_up.0.notified().await,
            None => std::future::pending().await,
        }
    };
    let answered = tokio::select! {
        biased;
        answered = answer(gateway, state, req, &mut payload, &id) => answered,
        // The call ends with its caller. Nobody reads this.
        () = hung_up => return Ok(json(StatusCode::GATEWAY_TIMEOUT, Refusal::NoAnswer.body(&id))),
    };
    let (mut response, error) = match answered {
        Ok(response) => (response, None),
        Err((refusal, audit)) => {
            drop(audit);
            let limit = gateway.options().body_limit;
            Box::pin(gateway_body::drain(&mut payload, limit)).await;
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
    let raw = req.extensions_mut().remove::<RawQuery>();
    let query = match &raw {
        Some(raw) => raw.0.as_deref(),
        None => Some(uri.query().unwrap_or_default().as_bytes()),
    };
    let path = inside(gateway, uri.path()).unwrap_or_default();
    let from = client_ip::address(req.head(), &state.options.trusted_proxies);
    let method = hyper::Method::from_bytes(req.method().as_str().as_bytes()).unwrap_or_default();
    let refuse = |why: &str| {
        let refusal = Refusal::NotAllowed(why.to_owned());
        let audit = gateway.audit(id, from, &method, path);
        let audit = audit.refused(&refusal);
        (refusal, audit)
    };
    if is_browser(req) {
        return Err(refuse(
            "a browser called, and a secret does not belong there; call from a server",
        ));
    }
    let Path::Plain(plain) = Path::read(path) else {
        return Err(refuse(
            "the path is not made of letters, digits, '_', '.' and '-'",
        ));
    };
    let Some(query) = query else {
        return Err(refuse("the query cannot be told from the request before"));
    };
    let headers = forwarded_headers(req);
    let access = state.access();
    let (realms, corps) = (&access.realms, &access.wecom);
    let mut request = Request {
        method,
        path: &plain,
        query,
        headers,
        from,
        request_id: id,
    };
    match gateway.admit(&mut request, realms, corps).await? {
        Step::Answered(body) => Ok(json(StatusCode::OK, body)),
        Step::IssueToken(audit) => {
            let body = gateway_body::whole(payload, LONGEST_SECRET_REQUEST).await;
            let body = body.unwrap_or_default();
            let issued = Box::pin(gateway.issue(&request, &body, realms, audit)).await;
            issued.map(|body| json(StatusCode::OK, body))
        }
        Step::SwapInBody(audit) => {
            let body = gateway_body::whole(payload, LONGEST_SECRET_REQUEST).await;
            let swapped = gateway.swap_in_body(&mut request, body, realms, audit);
            let (admitted, body) = Box::pin(swapped).await?;
            drop(access);
            let body = RequestBody::Whole(body, None);
            gateway.forward(*admitted, body).await.map(passed_on)
        }
        Step::Forward(admitted) => {
            drop(access);
            forward(gateway, req, payload, admitted).await
        }
    }
}

/// Forwards an admitted call with its body.
async fn forward(
    gateway: &Gateway,
    req: &HttpRequest,
    payload: &mut Payload,
    admitted: Box<Admitted>,
) -> Result<HttpResponse, Refused> {
    let (length, limit) = (content_length(req), gateway.options().body_limit);
    let too_large = || Refusal::BodyTooLarge {
        is_upload: req.content_type() == "multipart/form-data",
    };
    if length.is_some_and(|length| length > limit) {
        return Err(admitted.refused(too_large()));
    }
    let read = match gateway_body::is_empty(payload, length) {
        true => Ok((RequestBody::none(), None)),
        false => Box::pin(gateway_body::read(gateway, payload, length, limit)).await,
    };
    let (body, rest) = match read {
        Ok(body) => body,
        Err(Unread::TooLarge) => return Err(admitted.refused(too_large())),
        Err(Unread::Broken) => {
            let broken = Refusal::NothingSent("the body broke off".to_owned());
            return Err(admitted.refused(broken));
        }
    };
    let Some(rest) = rest else {
        return gateway.forward(*admitted, body).await.map(passed_on);
    };
    // Boxed, so that calls with a short body do not carry this future.
    let (answer, sent) = Box::pin(forward_stream(gateway, *admitted, body, rest)).await;
    match (answer, sent) {
        (Err((_, audit)), Sent::TooLarge) => {
            let refusal = too_large();
            Err((refusal.clone(), audit.refused(&refusal)))
        }
        (answer, _) => answer.map(passed_on),
    }
}

/// Forwards a call while its body arrives.
async fn forward_stream(
    gateway: &Gateway,
    admitted: Admitted,
    body: RequestBody,
    rest: Rest,
) -> (Result<Answer, Refused>, Sent) {
    let is_answered = Notify::new();
    let forward = async {
        let answer = gateway.forward(admitted, body).await;
        let is_stream = |answer: &Answer| matches!(answer.body, AnswerBody::Stream(..));
        if !answer.as_ref().is_ok_and(is_stream) {
            is_answered.notify_one();
        }
        answer
    };
    tokio::join!(forward, rest.pass_on(&is_answered))
}

/// The headers that go on to WeChat.
fn forwarded_headers(req: &HttpRequest) -> hyper::HeaderMap {
    use hyper::header::{HeaderName, HeaderValue};
    let forwarded = req
        .headers()
        .iter()
        .filter(|(name, _)| is_forwarded(name.as_str()));
    let converted = forwarded.filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    converted.collect()
}

/// Browsers send `Origin` or `Sec-Fetch-Site`; a person who opens an address sends `Sec-Fetch-Site:
/// none`.
fn is_browser(req: &HttpRequest) -> bool {
    let site = req.headers().get("sec-fetch-site");
    req.headers().contains_key(header::ORIGIN)
        || site.is_some_and(|site| site.as_bytes() != b"none")
}

fn content_length(req: &HttpRequest) -> Option<u64> {
    req.headers()
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
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
            let pieces = stream::unfold(pieces, async |mut pieces| {
                Some((pieces.recv().await?, pieces))
            });
            match length {
                Some(length) => response.body(SizedStream::new(length, Box::pin(pieces))),
                None => response.streaming(Box::pin(pieces)),
            }
        }
    }
}
