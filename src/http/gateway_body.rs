//! The body of a request to the gateway: read whole if it is short, else passed on as it arrives,
//! and never left unread behind a refusal.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::web::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::gateway::{Gateway, RequestBody};

/// A caller that sends nothing of its body for this long is cut off.
const STALL: Duration = Duration::from_secs(15);

/// How long a caller may take to send a body that is dropped.
const DRAIN: Duration = Duration::from_secs(30);

/// Why a body was not read.
pub(super) enum Unread {
    /// It is longer than `gateway.bodyLimit`.
    TooLarge,
    /// The caller went away or stalled.
    Broken,
}

/// How a body that was passed on ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// It was read to its end, or its caller is gone.
    Read,
    /// It is longer than `gateway.bodyLimit`.
    TooLarge,
}

/// The rest of a body that is passed on. It is read in the request's own task, which reads the
/// connection.
pub(super) struct Rest {
    first: Bytes,
    payload: Payload,
    limit: u64,
    sender: mpsc::Sender<std::io::Result<Bytes>>,
}

/// Whether there is no body.
pub(super) fn is_empty(payload: &Payload, length: Option<u64>) -> bool {
    matches!(payload, Payload::None) || length == Some(0)
}

/// The body: whole if it is short and memory is left, else as a stream and the rest of it.
pub(super) async fn read(
    gateway: &Gateway,
    payload: &mut Payload,
    length: Option<u64>,
    limit: u64,
) -> Result<(RequestBody, Option<Rest>), Unread> {
    let keep_whole = gateway.options().keep_whole;
    let Some(kept) = gateway.keep(length.unwrap_or(keep_whole)) else {
        return Ok(pump(
            Bytes::new(),
            std::mem::replace(payload, Payload::None),
            limit,
        ));
    };
    // Grown piece by piece it would take up to twice as much.
    let mut body =
        BytesMut::with_capacity(usize::try_from(length.unwrap_or(keep_whole)).unwrap_or_default());
    loop {
        match timeout(STALL, payload.next()).await {
            Ok(None) => return Ok((RequestBody::Whole(body.freeze(), Some(kept)), None)),
            Ok(Some(Ok(chunk))) => body.extend_from_slice(&chunk),
            Ok(Some(Err(_))) | Err(_) => return Err(Unread::Broken),
        }
        if body.len() as u64 > limit {
            return Err(Unread::TooLarge);
        }
        if body.len() as u64 > keep_whole {
            return Ok(pump(
                body.freeze(),
                std::mem::replace(payload, Payload::None),
                limit,
            ));
        }
    }
}

fn pump(first: Bytes, payload: Payload, limit: u64) -> (RequestBody, Option<Rest>) {
    let (sender, receiver) = mpsc::channel(1);
    let rest = Rest {
        first,
        payload,
        limit,
        sender,
    };
    (RequestBody::Stream(receiver), Some(rest))
}

impl Rest {
    /// Passes the body on. Reports whether all of it arrived. When the call is answered or given up
    /// before that, the rest is read and dropped, so that the sender then reads the answer.
    pub(super) async fn pass_on(self, is_answered: &Notify) -> Sent {
        let Self {
            first,
            mut payload,
            limit,
            sender,
        } = self;
        let mut taken = 0;
        let mut next = Some(Ok(first))
            .filter(|first: &Result<Bytes, _>| first.as_ref().is_ok_and(|first| !first.is_empty()));
        loop {
            let piece = match next.take() {
                Some(piece) => piece,
                None => tokio::select! {
                    piece = timeout(STALL, payload.next()) => match piece {
                        Ok(None) => return Sent::Read,
                        // A copy, because a piece would keep the connection's whole buffer.
                        Ok(Some(piece)) => piece.map(|piece| Bytes::copy_from_slice(&piece)).map_err(std::io::Error::other),
                        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut)),
                    },
                    () = gone(&sender, is_answered) => {
                        drain(&mut payload, limit.saturating_sub(taken)).await;
                        return Sent::Read;
                    }
                },
            };
            taken += piece.as_ref().map_or(0, Bytes::len) as u64;
            if taken > limit {
                sender
                    .send(Err(std::io::Error::other(
                        "the body is longer than gateway.bodyLimit",
                    )))
                    .await
                    .ok();
                return Sent::TooLarge;
            }
            let is_last = piece.is_err();
            let is_taken = tokio::select! {
                taken = sender.send(piece) => taken.is_ok(),
                () = is_answered.notified() => false,
            };
            if !is_taken {
                drain(&mut payload, limit.saturating_sub(taken)).await;
                return Sent::Read;
            }
            if is_last {
                return Sent::Read;
            }
        }
    }
}

/// Waits until nobody takes the body any more.
async fn gone(sender: &mpsc::Sender<std::io::Result<Bytes>>, is_answered: &Notify) {
    tokio::select! {
        () = sender.closed() => {}
        () = is_answered.notified() => {}
    }
}

/// The whole of a short body; `None` if it is longer or breaks off.
pub(super) async fn whole(payload: &mut Payload, limit: usize) -> Option<Bytes> {
    let mut body = BytesMut::new();
    while let Some(chunk) = timeout(STALL, payload.next()).await.ok()? {
        body.extend_from_slice(&chunk.ok()?);
        if body.len() > limit {
            return None;
        }
    }
    Some(body.freeze())
}

/// Reads and drops the rest of a body, so that its sender reads the errcode and not a reset
/// connection.
pub(super) async fn drain(payload: &mut Payload, limit: u64) {
    let all = async {
        let mut dropped = 0;
        while let Some(Ok::<Bytes, PayloadError>(chunk)) = payload.next().await {
            dropped += chunk.len() as u64;
            if dropped > limit {
                return;
            }
        }
    };
    // A sender that is slower than this is cut off.
    timeout(DRAIN, all).await.ok();
}
