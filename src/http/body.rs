//! Reading a request's body: bounded in size and time, and without a copy when it comes in one piece.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;

use super::error::ApiError;

/// A body that is still not whole after this long is given up, so that nobody holds a connection for ever.
const PATIENCE: Duration = Duration::from_secs(15);

/// The whole body, if it is JSON by its `Content-Type` and at most `limit` bytes. An absent body needs no type.
pub(super) async fn json(req: &HttpRequest, payload: Payload, limit: usize) -> Result<Bytes, ApiError> {
    let body = tokio::time::timeout(PATIENCE, whole(req, payload, limit)).await.map_err(|_| ApiError::RequestTimeout)??;
    if body.is_empty() || is_plain_json(req) { Ok(body) } else { Err(ApiError::UnsupportedMediaType) }
}

async fn whole(req: &HttpRequest, mut payload: Payload, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || ApiError::BodyTooLarge { limit };
    let announced = req.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > limit as u64) {
        return Err(too_large());
    }
    let Some(first) = payload.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(|_| ApiError::RequestTimeout)?;
    if first.len() > limit {
        return Err(too_large());
    }
    let Some(mut next) = payload.next().await else { return Ok(first) };
    let mut body = BytesMut::from(first);
    loop {
        let chunk = next.map_err(|_| ApiError::RequestTimeout)?;
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
        match payload.next().await {
            Some(chunk) => next = chunk,
            None => return Ok(body.freeze()),
        }
    }
}

/// `application/json`, or a type that is JSON by its suffix; in UTF-8, and not compressed.
fn is_plain_json(req: &HttpRequest) -> bool {
    let text = |name: header::HeaderName| req.headers().get(name).and_then(|value| value.to_str().ok());
    if text(header::CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return false;
    }
    let Some(content_type) = text(header::CONTENT_TYPE) else { return false };
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    let charset = parts.find_map(|part| part.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset")));
    is_json && charset.is_none_or(|(_, charset)| charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
}
