//! A stream whose first line is exchanged as it is written. hyper's URI type refuses some bytes that
//! callers send in a query (`"`, `<`, `>`, and what is no UTF-8), so hyper writes a stand-in for
//! them, and this puts the line in its place that the caller sent.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};

use super::connect::Stream;

/// A stream to WeChat.
pub(super) struct FirstLine {
    stream: Stream,
    /// What is left to write in the first line's place; `None` once that is done.
    line: Option<Bytes>,
}

impl FirstLine {
    /// Writes `line` in place of the first line, if it is given. It ends with a line feed.
    pub(super) fn new(stream: Stream, line: Option<Bytes>) -> Self {
        Self { stream, line }
    }
}

/// How many of `bytes` belong to the first line, and whether they complete it.
fn of_first_line(bytes: &[u8]) -> (usize, bool) {
    match memchr::memchr(b'\n', bytes) {
        Some(at) => (at + 1, true),
        None => (bytes.len(), false),
    }
}

impl Write for FirstLine {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while let Some(line) = this.line.as_mut().filter(|line| !line.is_empty()) {
            let written = ready!(Pin::new(&mut this.stream).poll_write(context, line))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            line.advance(written);
        }
        if this.line.is_some() {
            let (length, is_complete) = of_first_line(bytes);
            if is_complete {
                this.line = None;
            }
            return Poll::Ready(Ok(length));
        }
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.line.is_none() && self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.line.is_some() {
            let first = pieces.iter().find(|piece| !piece.is_empty());
            return self.poll_write(context, first.map_or(&[], |piece| piece));
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }
}

impl Read for FirstLine {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}
