//! The body of a call on its way to WeChat.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// A body.
pub(super) enum Body {
    /// All of it.
    Whole(Bytes),
    /// It is still arriving from the caller.
    Arriving {
        /// Its pieces.
        pieces: mpsc::Receiver<io::Result<Bytes>>,
        /// How many of its bytes were sent.
        sent: Arc<AtomicU64>,
    },
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Arriving { pieces, sent } => pieces.poll_recv(context).map(|piece| {
                let piece = piece?;
                let length = piece.as_ref().map_or(0, Bytes::len);
                sent.fetch_add(length as u64, Relaxed);
                Some(piece.map(Frame::data))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Arriving { .. } => SizeHint::default(),
        }
    }
}
