//! Reads a request's body: limited in size and time, and without a copy if it arrives in one piece.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::{StatusCode, header};
use actix_web::web::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

use super::concurrency_limit::ConcurrencyLimit;
use super::error::ApiError;
use super::route::Call;
use crate::client_network::ClientNetwork;

/// How long a body may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The name under which requests wait for the rest of their body.
const BODIES: &str = "body";

/// The whole body, if its `Content-Type` is JSON and it has at most `server.bodyLimit` bytes. An
/// empty body needs no type.
pub(super) async fn json(call: &mut Call<'_>) -> Result<Bytes, ApiError> {
    let body = raw(call).await?;
    if body.is_empty() || is_plain_json(call.req) {
        Ok(body)
    } else {
        Err(ApiError::UnsupportedMediaType)
    }
}

/// The whole body of any type, at most `server.bodyLimit` bytes.
pub(super) async fn raw(call: &mut Call<'_>) -> Result<Bytes, ApiError> {
    let (state, req) = (call.state, call.req);
    let body = whole(
        req,
        std::mem::replace(&mut call.payload, Payload::None),
        state.options.body_limit,
    );
    in_time(
        TIMEOUT,
        &state.concurrency,
        || state.network(req.head()),
        body,
    )
    .await
}

async fn in_time(
    timeout: Duration,
    limit: &ConcurrencyLimit,
    from: impl FnOnce() -> Option<ClientNetwork>,
    body: impl Future<Output = Result<Bytes, ApiError>>,
) -> Result<Bytes, ApiError> {
    let mut body = pin!(body);
    let mut polled_before = false;
    // Most bodies arrive with the head and are complete at the second poll. Those need no timer.
    let soon = poll_fn(|context| match body.as_mut().poll(context) {
        Poll::Ready(read) => Poll::Ready(Some(read)),
        Poll::Pending if polled_before => Poll::Ready(None),
        Poll::Pending => {
            polled_before = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    });
    match soon.await {
        Some(read) => read,
        None => {
            // Unfinished bodies take memory, so their number is limited.
            let _permit = limit.acquire_from(BODIES, from())?;
            tokio::time::timeout(timeout, body)
                .await
                .unwrap_or(Err(ApiError::RequestTimeout))
        }
    }
}

async fn whole(
    req: &HttpRequest,
    mut payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let too_large = || ApiError::BodyTooLarge { limit };
    let announced = req
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > limit as u64) {
        return Err(too_large());
    }
    let Some(first) = payload.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(broken)?;
    if first.len() > limit {
        return Err(too_large());
    }
    let Some(mut next) = payload.next().await else {
        return Ok(first);
    };
    let mut body = BytesMut::from(first);
    loop {
        let chunk = next.map_err(broken)?;
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

/// A body that breaks off or whose chunks are malformed.
fn broken(_: PayloadError) -> ApiError {
    ApiError::Other(StatusCode::BAD_REQUEST)
}

/// Whether the type is `application/json` or ends in `+json`, in UTF-8 and not compressed.
fn is_plain_json(req: &HttpRequest) -> bool {
    let text = |name: header::HeaderName| {
        req.headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if text(header::CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"))
    {
        return false;
    }
    let Some(content_type) = text(header::CONTENT_TYPE) else {
        return false;
    };
    if content_type.eq_ignore_ascii_case("application/json") {
        return true;
    }
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    let charset = parts.find_map(|part| {
        part.split_once('=')
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
    });
    is_json && charset.is_none_or(|(_, charset)| is_utf8(charset.trim().trim_matches('"')))
}

/// `utf8` is wrong but common.
fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8"]
        .iter()
        .any(|name| charset.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;
    use clock::Clock;
    use futures_util::stream;

    async fn read(pieces: &[&'static [u8]], limit: usize) -> Result<Bytes, &'static str> {
        let pieces: Vec<Result<Bytes, PayloadError>> = pieces
            .iter()
            .map(|piece| Ok(Bytes::from_static(piece)))
            .collect();
        whole(
            &TestRequest::default().to_http_request(),
            stream::iter(pieces),
            limit,
        )
        .await
        .map_err(|error| error.code().0)
    }

    #[tokio::test]
    async fn chunks_are_joined_up_to_the_limit() {
        assert_eq!(read(&[], 0).await, Ok(Bytes::new()));
        assert_eq!(read(&[b"abc"], 3).await, Ok(Bytes::from_static(b"abc")));
        assert_eq!(
            read(&[b"a", b"", b"bc"], 3).await,
            Ok(Bytes::from_static(b"abc"))
        );
        assert_eq!(read(&[b"abcd"], 3).await, Err("body_too_large"));
        assert_eq!(read(&[b"abc", b"d"], 3).await, Err("body_too_large"));
    }

    #[tokio::test]
    async fn a_stalled_body_times_out() {
        let first = stream::iter([Ok(Bytes::from_static(b"{"))]);
        let req = TestRequest::default().to_http_request();
        let stalled = whole(&req, first.chain(stream::pending()), 10);
        let limit = ConcurrencyLimit::new(1, Clock::system());
        assert!(matches!(
            in_time(Duration::from_millis(20), &limit, || None, stalled).await,
            Err(ApiError::RequestTimeout)
        ));
    }

    #[tokio::test]
    async fn an_incomplete_body_is_a_bad_request() {
        let req = TestRequest::default().to_http_request();
        for before in [vec![], vec![Ok(Bytes::from_static(b"{"))]] {
            let pieces = before
                .into_iter()
                .chain([Err(PayloadError::Incomplete(None))]);
            assert!(matches!(
                whole(&req, stream::iter(pieces), 10).await,
                Err(ApiError::Other(StatusCode::BAD_REQUEST))
            ));
        }
    }

    #[test]
    fn json_needs_the_right_type_charset_and_encoding() {
        let plain = |name: header::HeaderName, value: &str| {
            let request =
                TestRequest::default().insert_header((header::CONTENT_TYPE, "application/json"));
            is_plain_json(&request.insert_header((name, value)).to_http_request())
        };
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf8\"",
            "application/ld+json",
        ] {
            assert!(plain(header::CONTENT_TYPE, good), "{good}");
        }
        for bad in [
            "text/plain",
            "application/json; charset=gbk",
            "application/jsonp",
            "text/json",
            "image/svg+json",
            "",
            "json",
        ] {
            assert!(!plain(header::CONTENT_TYPE, bad), "{bad}");
        }
        assert!(
            plain(header::CONTENT_ENCODING, "identity") && !plain(header::CONTENT_ENCODING, "gzip")
        );
        assert!(!is_plain_json(&TestRequest::default().to_http_request()));
    }
}
