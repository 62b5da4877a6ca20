//! A layer outside the app that reports to a connection's [`Flow`] when a request begins, waits for
//! its body, and is answered.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::{ConnectionType, HttpMessage, Payload, Request, Response};
use actix_service::{Service, ServiceFactory};
use actix_web::Error;
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::Stream;
use futures_util::future::LocalBoxFuture;
use pin_project_lite::pin_project;

use super::flow::{BodyLength, Flow};
use crate::http::RawQuery;

/// A larger piece of an answer is given to the dispatcher in pieces, because it copies each of them
/// into its buffer. With less than the limit of that buffer already in it, one more piece must not
/// make it grow beyond twice the limit.
const PIECE: usize = 8 * 1024;

/// The state of a request's connection.
pub(super) type SharedFlow = Rc<RefCell<Flow>>;

/// The app, or its factory.
pub(super) struct Tracked<S>(pub(super) S);

impl<S, B> ServiceFactory<Request> for Tracked<S>
where
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody,
{
    type Response = Response<TrackedBody<B>>;
    type Error = Response<BoxBody>;
    type Config = ();
    type Service = Tracked<S::Service>;
    type InitError = S::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let service = self.0.new_service(AppConfig::default());
        Box::pin(async { service.await.map(Tracked) })
    }
}

impl<S, B> Service<Request> for Tracked<S>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    type Response = Response<TrackedBody<B>>;
    type Error = Response<BoxBody>;
    type Future = TrackedAnswer<S::Future>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&self, mut request: Request) -> Self::Future {
        let flow = request.conn_data::<SharedFlow>().map(Rc::clone);
        if let Some(flow) = &flow {
            let query = flow
                .borrow_mut()
                .line
                .take_query(request.uri().query().unwrap_or_default());
            if let Some(query) = query {
                request.extensions_mut().insert(RawQuery(query));
            }
        }
        let length = length(&mut request);
        let is_whole = flow
            .as_ref()
            .is_none_or(|flow| flow.borrow_mut().begin(length));
        let current = flow.map(Current);
        let body = match &current {
            Some(Current(flow)) if !is_whole => Some(Rc::new(Body {
                payload: RefCell::new(request.take_payload()),
                is_read: Cell::new(false),
                flow: Rc::clone(flow),
            })),
            _ => None,
        };
        if let Some(body) = &body {
            *request.payload() = Payload::Stream {
                payload: Box::pin(BodyReader(Rc::clone(body))),
            };
        }
        let has_body = length != BodyLength::None;
        TrackedAnswer {
            app: self.0.call(request),
            current,
            body,
            has_body,
            is_first: true,
        }
    }
}

/// Returns the length of a request's body.
fn length(request: &mut Request) -> BodyLength {
    if matches!(request.payload(), Payload::None) {
        return BodyLength::None;
    }
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.trim().parse().ok());
    if request.headers().contains_key(header::UPGRADE) {
        // Such a body lasts until the connection ends.
        return BodyLength::Unknown;
    }
    length.map_or(BodyLength::Unknown, BodyLength::Known)
}

/// The connection's current request. Dropping it means that it is answered.
struct Current(SharedFlow);

impl Drop for Current {
    fn drop(&mut self) {
        self.0.borrow_mut().end();
    }
}

/// A body that was incomplete when its request began. It is kept until the answer is complete,
/// because the dispatcher would read the rest of a dropped body without a limit.
struct Body {
    payload: RefCell<Payload>,
    is_read: Cell<bool>,
    flow: SharedFlow,
}

impl Body {
    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let next = Pin::new(&mut *self.payload.borrow_mut()).poll_next(context);
        match &next {
            Poll::Pending => self.flow.borrow_mut().want(),
            Poll::Ready(None | Some(Err(_))) => self.is_read.set(true),
            Poll::Ready(Some(Ok(_))) => {}
        }
        next
    }

    /// Discards the available part of the body. Returns true at the end of the body.
    fn discard(&self, context: &mut Context<'_>) -> bool {
        while !self.is_read.get() && self.poll_next(context).is_ready() {}
        self.is_read.get()
    }
}

/// The app's view of a [`Body`].
struct BodyReader(Rc<Body>);

impl Stream for BodyReader {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(context)
    }
}

pin_project! {
    /// The future of one request.
    pub(super) struct TrackedAnswer<F> {
        #[pin]
        app: F,
        current: Option<Current>,
        body: Option<Rc<Body>>,
        has_body: bool,
        is_first: bool,
    }
}

impl<F, B> Future for TrackedAnswer<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
    B: MessageBody,
{
    type Output = Result<Response<TrackedBody<B>>, Response<BoxBody>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let is_first = std::mem::replace(this.is_first, false);
        let mut response: Response<B> = match ready!(this.app.poll(context)) {
            Ok(response) => response.into(),
            Err(error) => return Poll::Ready(Err(error.into())),
        };
        // The dispatcher closes after such an answer as well, except for a chunked body, which it
        // would read completely.
        let is_unread = match &*this.body {
            Some(body) => !body.discard(context),
            None => *this.has_body && is_first,
        };
        if let (Some(Current(flow)), true) = (&*this.current, is_unread) {
            flow.borrow_mut().close();
            response
                .head_mut()
                .set_connection_type(ConnectionType::Close);
        }
        let (current, request_body) = (this.current.take(), this.body.take());
        Poll::Ready(Ok(response.map_body(|_, body| TrackedBody {
            body,
            rest: Bytes::new(),
            request_body,
            current,
        })))
    }
}

pin_project! {
    /// An answer's body, in pieces of at most [`PIECE`] bytes.
    pub(super) struct TrackedBody<B> {
        #[pin]
        body: B,
        rest: Bytes,
        // Must be dropped before the end of the request is reported.
        request_body: Option<Rc<Body>>,
        current: Option<Current>,
    }
}

impl<B: MessageBody> MessageBody for TrackedBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.project();
        if let Some(Current(flow)) = this.current
            && flow.borrow_mut().holds_back(context.waker())
        {
            return Poll::Pending;
        }
        if this.rest.is_empty() {
            match ready!(this.body.poll_next(context)) {
                Some(Ok(bytes)) if bytes.len() > PIECE => *this.rest = bytes,
                whole => return Poll::Ready(whole),
            }
        }
        let length = this.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(this.rest.split_to(length))))
    }
}
