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
use super::gateway_body::{self, Sent, Unread};
use super::headers::NO_STORE;
use super::marks::{HangUp, RawQuery, Shaped};
use super::request_id::request_id;
use super::route::{Call, Pages, Route};
use super::state::AppState;
use crate::gateway::path::Path;
use crate::gateway::{Answer, AnswerBody, Audit, Gateway, Refusal, Request, Step};

/// Serves every path of WeChat's, for all methods.
pub(super) static ROUTE: Route =
    Route::any_method("/{wechat}", "GET, POST", |call| Box::pin(handle(call)))
        .pages(Pages::None)
        .no_store()
        .raw_query();

/// WeChat's own type for JSON.
const JSON: header::HeaderValue =
    header::HeaderValue::from_static("application/json; encoding=utf-8");

/// The bodies of token endpoints are shorter.
const LONGEST_TOKEN_REQUEST: usize = 16 * 1024;

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
        answered = answer(gateway, state, req, &mut payload, &id) => answered,
        // The call ends with its caller. Nobody reads this.
        () = hung_up => return Ok(json(StatusCode::GATEWAY_TIMEOUT, Refusal::NoAnswer.body(&id))),
    };
    let (mut response, error) = match answered {
        Ok(response) => (response, None),
        Err((refusal, audit)) => {
            drop(audit);
            gateway_body::drain(&mut payload, gateway.options().body_limit).await;
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
    let query = raw.as_ref().map_or_else(
        || Some(uri.query().unwrap_or_default()),
        |raw| raw.0.as_deref(),
    );
    let path = inside(gateway, uri.path()).unwrap_or_default();
    let from = client_ip::address(req.head(), &state.options.trusted_proxies);
    let request = |path: &str| -> Option<(hyper::Method, hyper::HeaderMap)> {
        let method = hyper::Method::from_bytes(req.method().as_str().as_bytes()).ok()?;
        let headers = req.headers().iter().filter_map(|(name, value)| {
            let name = hyper::header::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
            Some((
                name,
                hyper::header::HeaderValue::from_bytes(value.as_bytes()).ok()?,
            ))
        });
        (!path.is_empty()).then(|| (method, headers.collect()))
    };
    let refuse = |why: &str| {
        let refusal = Refusal::NotAllowed(why.to_owned());
        let audit = gateway.audit(id, from, req.method().as_str(), path);
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
        return Err(refuse("the query is not UTF-8"));
    };
    let Some((method, headers)) = request(&plain) else {
        return Err(refuse("the method or a header cannot be read"));
    };
    let is_upload = req.content_type() == "multipart/form-data";
    let length = content_length(req);
    let access = state.access();
    let request = Request {
        method,
        path: &plain,
        query,
        headers,
        from,
        request_id: id.to_owned(),
    };
    let again = Request {
        method: request.method.clone(),
        headers: hyper::HeaderMap::new(),
        request_id: id.to_owned(),
        ..request
    };
    match gateway
        .admit(request, &access.realms, &access.wecom)
        .await?
    {
        Step::Answered(body) => Ok(json(StatusCode::OK, body)),
        Step::IssueToken(audit) => {
            let body = gateway_body::whole(payload, LONGEST_TOKEN_REQUEST)
                .await
                .unwrap_or_default();
            gateway
                .issue(&again, &body, &access.realms, audit)
                .await
                .map(|body| json(StatusCode::OK, body))
        }
        Step::Forward(admitted) => {
            let limit = gateway.options().body_limit;
            if length.is_some_and(|length| length > limit) {
                return Err(admitted.refused(Refusal::BodyTooLarge { is_upload }));
            }
            drop(access);
            let (body, rest) = match gateway_body::read(gateway, payload, length, limit).await {
                Ok(body) => body,
                Err(Unread::TooLarge) => {
                    return Err(admitted.refused(Refusal::BodyTooLarge { is_upload }));
                }
                Err(Unread::Broken) => {
                    return Err(
                        admitted.refused(Refusal::NothingSent("the body broke off".to_owned()))
                    );
                }
            };
            let is_answered = Notify::new();
            let forward = async {
                let answer = gateway.forward(*admitted, body).await;
                if !matches!(
                    answer,
                    Ok(Answer {
                        body: AnswerBody::Stream(..),
                        ..
                    })
                ) {
                    is_answered.notify_one();
                }
                answer
            };
            match tokio::join!(forward, rest.pass_on(&is_answered)) {
                (Err((_, audit)), Sent::TooLarge) => {
                    let refusal = Refusal::BodyTooLarge { is_upload };
                    Err((refusal.clone(), audit.refused(&refusal)))
                }
                (answer, _) => answer.map(passed_on),
            }
        }
    }
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
