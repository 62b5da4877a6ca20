//! The stream between a socket and the HTTP dispatcher. It delivers what [`Flow`] allows, leaves
//! the rest in the system's buffers, and refuses a head that is too long or too slow.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::HEADERS_TIMEOUT;
use super::flow::Flow;
use super::idle_timeout::IdleTimeout;
use crate::http::HangUp;

/// Bytes read ahead, to notice that a waiting client has gone.
const AHEAD: usize = 4 * 1024;

/// How long a refused client's bytes are discarded. Closing at once would reset the connection, and
/// the refusal could be lost.
const LINGER: Duration = Duration::from_secs(1);

/// Maximum number of pieces of `AHEAD` bytes discarded in one poll.
const DISCARDS: usize = 16;

const TOO_LARGE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A connection as the dispatcher sees it.
pub(super) struct BoundedStream {
    socket: TcpStream,
    flow: Rc<RefCell<Flow>>,
    hang_up: HangUp,
    idle: IdleTimeout,
    /// Bytes read but not delivered yet.
    ahead: Vec<u8>,
    /// How many of them have been delivered.
    handed: usize,
    /// The dispatcher was refused available bytes, so we must wake it.
    hungry: bool,
    /// Set while a head is incomplete.
    head_timeout: Option<Pin<Box<Sleep>>>,
    refused: bool,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl BoundedStream {
    pub(super) fn new(socket: TcpStream, idle: IdleTimeout) -> Self {
        Self {
            socket,
            flow: Rc::default(),
            hang_up: HangUp::default(),
            idle,
            ahead: Vec::new(),
            handed: 0,
            hungry: false,
            head_timeout: None,
            refused: false,
            lingering: None,
        }
    }

    /// The state shared with this connection's requests.
    pub(super) fn flow(&self) -> &Rc<RefCell<Flow>> {
        &self.flow
    }

    /// Notified when the client has closed the connection.
    pub(super) fn hang_up(&self) -> &HangUp {
        &self.hang_up
    }

    /// Delivers no bytes, but reports the end of the connection and its errors.
    fn poll_closed(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.hungry = !self.ahead.is_empty();
        if self.flow.borrow().is_discarding() {
            // Only this round is full.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        while !self.hungry {
            ready!(self.socket.poll_read_ready(context))?;
            if self.flow.borrow().is_in_round() {
                self.hungry = true;
                break;
            }
            let mut ahead = vec![0; AHEAD];
            match self.socket.try_read(&mut ahead) {
                Ok(0) => {
                    self.hang_up.0.notify_one();
                    return Poll::Ready(Ok(()));
                }
                Ok(length) => {
                    ahead.truncate(length);
                    (self.ahead, self.handed, self.hungry) = (ahead, 0, true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }

    /// Delivers as many of the available bytes as allowed. Returns `false` if the head is too long.
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        if self.ahead.is_empty() {
            let before = out.filled().len();
            ready!(Pin::new(&mut self.socket).poll_read(context, out))?;
            let read = &out.filled()[before..];
            if read.is_empty() {
                self.hang_up.0.notify_one();
                return Poll::Ready(Ok(true));
            }
            let begins_head = self.flow.borrow().begins_head();
            let taken = self.flow.borrow_mut().take(read);
            let length = taken.unwrap_or_default();
            if length < read.len() {
                (self.ahead, self.handed) = (read[length..].to_vec(), 0);
                out.set_filled(before + length);
            }
            self.flow
                .borrow_mut()
                .line
                .pass(begins_head, &mut out.filled_mut()[before..]);
            return Poll::Ready(Ok(taken.is_some()));
        }
        let rest = &self.ahead[self.handed..];
        let rest = &rest[..rest.len().min(out.remaining())];
        let begins_head = self.flow.borrow().begins_head();
        let taken = self.flow.borrow_mut().take(rest);
        let length = taken.unwrap_or_default();
        let before = out.filled().len();
        out.put_slice(&rest[..length]);
        self.flow
            .borrow_mut()
            .line
            .pass(begins_head, &mut out.filled_mut()[before..]);
        self.handed += length;
        if self.handed == self.ahead.len() {
            self.ahead = Vec::new();
        }
        Poll::Ready(Ok(taken.is_some()))
    }

    /// Answers in place of the dispatcher. All earlier answers have been sent; otherwise nothing
    /// would have been read.
    fn refuse(&mut self, answer: &[u8]) {
        // If the client does not accept the answer, it is dropped.
        self.socket.try_write(answer).ok();
        (self.refused, self.hungry, self.ahead) = (true, false, Vec::new());
    }

    /// True if no request has begun for too long.
    fn is_idle_too_long(&mut self, context: &mut Context<'_>) -> bool {
        self.idle.is_over(context) && self.ahead.is_empty() && self.flow.borrow().begins_head()
    }

    /// True if a head has been incomplete for too long.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        self.head_timeout
            .as_mut()
            .is_some_and(|timeout| timeout.as_mut().poll(context).is_ready())
    }

    /// Starts or stops the timeout of a request head.
    fn watch_head(&mut self, context: &mut Context<'_>) {
        if self.refused || self.hungry || !self.flow.borrow().is_head_unfinished() {
            self.head_timeout = None;
            return;
        }
        let timeout = self
            .head_timeout
            .get_or_insert_with(|| Box::pin(sleep(HEADERS_TIMEOUT)));
        if timeout.as_mut().poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
    }

    /// Discards what the client still sends: the available bytes, and for a refused client
    /// everything within [`LINGER`].
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; AHEAD];
        for _ in 0..DISCARDS {
            match self.socket.poll_read_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return self.poll_linger(context),
            }
            match self.socket.try_read(&mut bytes) {
                Ok(length) if length > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return Poll::Ready(()),
            }
        }
        context.waker().wake_by_ref();
        self.poll_linger(context)
    }

    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.refused {
            return Poll::Ready(());
        }
        self.lingering
            .get_or_insert_with(|| Box::pin(sleep(LINGER)))
            .as_mut()
            .poll(context)
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refused || this.is_idle_too_long(context) {
            return Poll::Ready(Ok(()));
        }
        if !this.flow.borrow().is_open() {
            return this.poll_closed(context);
        }
        if this.is_late(context) {
            this.refuse(TOO_SLOW);
            return Poll::Ready(Ok(()));
        }
        if !ready!(this.poll_open(context, out))? {
            this.refuse(TOO_LARGE);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(context, bytes);
        if written.is_pending() {
            this.flow.borrow_mut().stick();
        }
        this.idle.restart(context);
        written
    }

    /// The dispatcher calls this at the end of each poll, unless output is left.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.flow.borrow_mut().end_round();
        if this.hungry && (this.ahead.is_empty() || this.flow.borrow().is_open()) {
            context.waker().wake_by_ref();
        }
        this.watch_head(context);
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.socket).poll_shutdown(context))?;
        }
        this.poll_discard(context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::KEEP_ALIVE;
    use super::*;
    use clock::{Clock, UnixMillis};

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends() {
        let clock = Clock::of_runtime(UnixMillis(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream = BoundedStream::new(socket, IdleTimeout::new(clock.clone()));
        stream.write_all(b"an answer").await.unwrap();
        let begun = clock.steady();
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
        assert!(begun.until(clock.steady()) >= KEEP_ALIVE);
        drop(stream);
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"an answer");
    }
}
