//! Writes a signed configuration: the caller's fields, then ours.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::config_request::{ConfigRequest, Doubt};
use super::json_response::json_response;
use super::route::Call;
use wechat::signature;

/// The `Warning` header for an address that may not be the page's.
fn warning(doubt: Doubt) -> HeaderValue {
    HeaderValue::from_static(match doubt {
        Doubt::Missing => {
            "199 jsdkd \"no url was sent and the Referer is no full address: an empty url is signed\""
        }
        Doubt::OriginOnly => {
            "199 jsdkd \"no url was sent and the Referer holds an origin only: that is signed, which is right for the site's root alone; send url\""
        }
        Doubt::Altered => {
            "199 jsdkd \"url is not percent-encoded: an & ends it, and %XX and + in it are decoded, so another address than the page's may be signed; send encodeURIComponent(url)\""
        }
    })
}

/// The caller's fields and ours: `ids`, whose names and values need no escaping, and a signature
/// with `ticket`.
pub(super) fn write(
    ids: &[(&str, &str)],
    ticket: &SecretString,
    call: &Call<'_>,
    request: ConfigRequest,
) -> HttpResponse {
    let nonce = signature::random_id();
    let timestamp = call.state.clock().wall().seconds().0;
    let url = request.url_or(
        call.req
            .headers()
            .get(header::REFERER)
            .and_then(|referer| referer.to_str().ok()),
    );
    let (signature, doubt) = (
        signature::jsapi(ticket.expose_secret(), &nonce, timestamp, url),
        request.doubt(url),
    );
    // Ours come last, so that the caller's fields cannot replace them.
    let mut json = request.into_echo();
    for (name, id) in ids {
        for part in ["\"", name, "\":\"", id, "\","] {
            json.push_str(part);
        }
    }
    json.push_str("\"timestamp\":");
    json.push_str(itoa::Buffer::new().format(timestamp));
    json.push_str(",\"nonceStr\":\"");
    json.push_str(&nonce);
    json.push_str("\",\"signature\":\"");
    signature.push_to(&mut json);
    json.push_str("\"}");
    let mut response = json_response(StatusCode::OK, json);
    if let Some(doubt) = doubt {
        response
            .headers_mut()
            .insert(header::WARNING, warning(doubt));
    }
    response
}
