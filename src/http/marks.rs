//! Marks that a handler puts into the extensions of a request or a response, for the middleware and
//! the log.

use actix_web::http::StatusCode;

/// On a response: its body already has the form that the route's clients expect, so the middleware
/// does not replace it. Without an error code it is a page for a person, or an error that is logged
/// by its status alone.
#[derive(Clone, Copy)]
pub(super) struct Shaped {
    /// The stable code and the status that the log writes. The status on the wire may differ:
    /// wetoken always sends 200.
    pub(super) error: Option<(&'static str, StatusCode)>,
}

/// On a request: it waits on purpose, so it is not logged as slow.
pub(super) struct LongPoll;

/// On a request: the handler has logged the refusal, so the general log line is left out.
pub(super) struct AlreadyLogged;

/// On a request: its line has non-ASCII bytes, and this is its original query. `None` if it is
/// unknown.
pub struct RawQuery(pub Option<String>);

/// On a connection: notified once its client has closed it, which some handlers take as the end of
/// the request.
#[derive(Clone, Debug, Default)]
pub struct HangUp(pub std::rc::Rc<tokio::sync::Notify>);
