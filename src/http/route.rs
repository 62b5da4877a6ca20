//! What a request asks for. A request becomes a [`Route`] once, in `route_table.rs`; the
//! middleware, the handler and the log take everything about it from there: who may call, which
//! handler answers, how errors look, and the pattern that the log writes.
//!
//! Each file with handlers exports its own rows, `ROUTES`; `routes.rs` joins them to one table. The
//! imports go one way:
//!
//! - `headers`, `marks`, `request_id`, `params`, `client_ip`, `error`, `concurrency_limit` import
//!   nothing of the handlers;
//! - `state` is what all handlers share; it imports only those;
//! - this file imports `state`; `body`, `public_address`, `own_host`, `signed_request` and `page`
//!   import the two;
//! - handlers import all of these and no other handler;
//! - `routes` imports the handlers; `middleware` and `log` import this file; `mod.rs` joins them.

use actix_web::dev::Payload;
use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use futures_util::future::LocalBoxFuture;

use super::error::ApiError;
use super::state::AppState;

/// The values of `Allow`.
pub(super) const GET: &str = "GET, HEAD, OPTIONS";
pub(super) const POST: &str = "POST, OPTIONS";
pub(super) const GET_AND_POST: &str = "GET, HEAD, POST, OPTIONS";

/// A handler, as a row of the table holds it.
pub(super) type Handler =
    for<'a> fn(Call<'a>) -> LocalBoxFuture<'a, Result<HttpResponse, ApiError>>;

/// One row of the route table.
pub(super) struct Route {
    /// The path, with `{name}` for a segment that varies and `{name:tail}` for all that follows.
    /// The log and metrics use it as a name.
    pub(super) pattern: &'static str,
    /// The `Allow` header.
    pub(super) allow: &'static str,
    /// Which web pages may call it.
    pub(super) pages: Pages,
    /// Whether every answer carries `Cache-Control: no-store`, as credentials do. No cache can then
    /// mix up the answers to two origins.
    pub(super) no_store: bool,
    /// Whether the path itself is a secret, such as the id of a login. The log writes the pattern
    /// instead.
    pub(super) has_secret_path: bool,
    /// Whether a query may have bytes that actix refuses, which the handler finds in
    /// [`RawQuery`](super::marks::RawQuery).
    pub(super) raw_query: bool,
    /// Whether varying segments are limited to `[A-Za-z0-9_-]`, so that a check file such as
    /// `MP_verify_X.txt` can be served beside them.
    pub(super) words_only: bool,
    /// Whether the gateway goes first where both take a path: below its prefix, what is an appid here
    /// may be a segment of WeChat's.
    pub(super) after_gateway: bool,
    /// Whether the current settings include the route. If they do not, the path is as unknown as
    /// any other.
    pub(super) exists: fn(&AppState) -> bool,
    /// The response to an error that the handler returns.
    pub(super) error_response: fn(ApiError) -> HttpResponse,
    read: Option<Handler>,
    post: Option<Handler>,
    any: Option<Handler>,
}

/// Which web pages may call a route. A request without an `Origin` header is no page's; the handler
/// checks signatures, tokens and networks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pages {
    /// Pages of the origins in `cors`.
    Cors,
    /// The same, pages of this server, and pages of `login.sites`.
    LoginSites,
    /// No page: there are no CORS headers, and the handler refuses whatever comes from one.
    None,
    /// As `Cors`, but any page may `POST`: the form on our own page has the origin `null`, and a
    /// token in it proves that it is ours.
    OwnForm,
}

impl Route {
    /// Answers `GET` and `HEAD`.
    pub(super) const fn get(pattern: &'static str, handler: Handler) -> Self {
        Self {
            read: Some(handler),
            ..Self::new(pattern, GET)
        }
    }

    /// Answers `POST`.
    pub(super) const fn post(pattern: &'static str, handler: Handler) -> Self {
        Self {
            post: Some(handler),
            ..Self::new(pattern, POST)
        }
    }

    /// Answers `GET` and `HEAD` with one handler and `POST` with another.
    pub(super) const fn get_and_post(pattern: &'static str, get: Handler, post: Handler) -> Self {
        Self {
            read: Some(get),
            post: Some(post),
            ..Self::new(pattern, GET_AND_POST)
        }
    }

    /// Answers every method with one handler, which refuses those that it does not know.
    pub(super) const fn any_method(
        pattern: &'static str,
        allow: &'static str,
        handler: Handler,
    ) -> Self {
        Self {
            any: Some(handler),
            ..Self::new(pattern, allow)
        }
    }

    const fn new(pattern: &'static str, allow: &'static str) -> Self {
        Self {
            pattern,
            allow,
            pages: Pages::Cors,
            no_store: false,
            has_secret_path: false,
            words_only: false,
            raw_query: false,
            after_gateway: false,
            exists: |_| true,
            error_response: |error| error.error_response(),
            read: None,
            post: None,
            any: None,
        }
    }

    pub(super) const fn pages(self, pages: Pages) -> Self {
        Self { pages, ..self }
    }

    pub(super) const fn no_store(self) -> Self {
        Self {
            no_store: true,
            ..self
        }
    }

    pub(super) const fn secret_path(self) -> Self {
        Self {
            has_secret_path: true,
            ..self
        }
    }

    pub(super) const fn raw_query(self) -> Self {
        Self {
            raw_query: true,
            ..self
        }
    }

    pub(super) const fn words_only(self) -> Self {
        Self {
            words_only: true,
            ..self
        }
    }

    pub(super) const fn after_gateway(self) -> Self {
        Self {
            after_gateway: true,
            ..self
        }
    }

    /// Leaves methods out of `Allow`: the handler answers them to some callers only.
    pub(super) const fn allow(self, allow: &'static str) -> Self {
        Self { allow, ..self }
    }

    pub(super) const fn exists_if(self, exists: fn(&AppState) -> bool) -> Self {
        Self { exists, ..self }
    }

    pub(super) const fn errors(self, error_response: fn(ApiError) -> HttpResponse) -> Self {
        Self {
            error_response,
            ..self
        }
    }

    /// The handler of `method`.
    pub(super) fn handler(&self, method: &Method) -> Option<Handler> {
        let handler = match *method {
            Method::GET | Method::HEAD => self.read,
            Method::POST => self.post,
            _ => None,
        };
        handler.or(self.any)
    }
}

/// A request on its way to a handler.
pub(super) struct Call<'a> {
    pub(super) state: &'a AppState,
    pub(super) req: &'a HttpRequest,
    pub(super) payload: Payload,
    /// Where the varying segments are.
    pub(super) params: [Span; MAX_PARAMS],
    /// The counters of this thread.
    pub(super) worker: usize,
}

impl<'a> Call<'a> {
    /// The first varying segment of the path; empty if the route has none.
    pub(super) fn app_id(&self) -> &'a str {
        self.param(0)
    }

    /// The varying segment at `index`, percent-decoded except for `%`, `/` and `+`; empty if the
    /// route has none there.
    pub(super) fn param(&self, index: usize) -> &'a str {
        let (start, end) = self.params[index];
        decoded_path(self.req).get(start..end).unwrap_or_default()
    }
}

/// The path to which the spans refer.
pub(super) fn decoded_path(req: &HttpRequest) -> &str {
    req.match_info().as_str()
}

/// Start and end of a varying segment in the path.
pub(super) type Span = (usize, usize);

/// No path has more varying segments.
pub(super) const MAX_PARAMS: usize = 2;

/// The answer to a method that a route has no handler for. Preflights of browsers are answered
/// before they come here.
pub(super) fn other_method(method: &Method, allow: &'static str) -> Result<HttpResponse, ApiError> {
    if *method == Method::OPTIONS {
        return Ok(HttpResponse::NoContent()
            .insert_header((header::ALLOW, allow))
            .finish());
    }
    Err(ApiError::MethodNotAllowed { allow })
}
