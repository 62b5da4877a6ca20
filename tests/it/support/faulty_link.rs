//! A small TCP proxy between a process and a server that passes, delays, cuts or swallows the
//! traffic. The behaviour can be changed while it runs.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// What the link does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LinkState {
    Pass,
    /// Requests arrive this much later; answers are not delayed.
    Delay(Duration),
    /// Existing and new connections are closed.
    Cut,
    /// Connections stay open and new ones are accepted, but nothing is forwarded, as if the peer
    /// had vanished.
    HalfOpen,
    /// Like [`LinkState::HalfOpen`], after this many more bytes of requests.
    SwallowAfter(u64),
}

/// A link to one server, closed on drop.
pub(crate) struct Link {
    address: SocketAddr,
    mood: watch::Sender<LinkState>,
    /// How many bytes [`LinkState::SwallowAfter`] still forwards.
    left: Arc<AtomicU64>,
    /// The number of pieces in flight.
    carried: watch::Sender<usize>,
    accepting: JoinHandle<()>,
}

impl Link {
    /// Creates a link to the server at `port` of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (mood, left, carried) = (
            watch::Sender::new(LinkState::Pass),
            Arc::new(AtomicU64::new(0)),
            watch::Sender::new(0),
        );
        let road = Road {
            moods: mood.subscribe(),
            left: Arc::clone(&left),
            carried: carried.clone(),
        };
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((near, _)) = listener.accept().await else {
                    continue;
                };
                // Ends with its connection, or when the link is dropped.
                tokio::spawn(carry(near, port, road.clone()));
            }
        });
        Self {
            address,
            mood,
            left,
            carried,
            accepting,
        }
    }

    /// Creates one link for each of three processes.
    pub(crate) async fn three_to(port: u16) -> [Self; 3] {
        [
            Self::to(port).await,
            Self::to(port).await,
            Self::to(port).await,
        ]
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn set(&self, mood: LinkState) {
        if let LinkState::SwallowAfter(bytes) = mood {
            self.left.store(bytes, Ordering::SeqCst);
        }
        self.mood.send_replace(mood);
    }

    /// Waits until all delayed data has arrived.
    pub(crate) async fn arrived(&self) {
        self.carried
            .subscribe()
            .wait_for(|carried| *carried == 0)
            .await
            .expect("the link is there");
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The state shared by all connections of a link.
#[derive(Clone)]
struct Road {
    moods: watch::Receiver<LinkState>,
    left: Arc<AtomicU64>,
    carried: watch::Sender<usize>,
}

/// Forwards one connection until either end closes it or the link is cut.
async fn carry(near: TcpStream, port: u16, road: Road) {
    let mut until_cut = road.moods.clone();
    let cut = pin!(async move {
        // An error means that the link was dropped.
        drop(until_cut.wait_for(|mood| *mood == LinkState::Cut).await);
    });
    let talk = pin!(async move {
        let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
            return;
        };
        near.set_nodelay(true)
            .and(far.set_nodelay(true))
            .expect("a live socket");
        let ((asks, answers), (replies, requests)) = (near.into_split(), far.into_split());
        let (there, back) = (
            pin!(pump(asks, requests, road.clone(), true)),
            pin!(pump(replies, answers, road, false)),
        );
        // If either end closes, the other one is closed too, as when a process dies.
        futures_util::future::select(there, back).await;
    });
    // The cut is checked first, so that a connection made while the link is cut receives nothing.
    tokio::select! {
        biased;
        () = cut => {}
        () = talk => {}
    }
}

/// Forwards one direction. Swallowed bytes leave a gap, so nothing is forwarded after them.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, road: Road, is_asking: bool) {
    let (queue, mut queued) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let carried = road.carried.clone();
    let reading = async move {
        let (mut chunk, mut is_lost) = (vec![0; 16 * 1024], false);
        while let Ok(read @ 1..) = from.read(&mut chunk).await {
            let (mood, mut passed, mut due) = (*road.moods.borrow(), read, Instant::now());
            match (mood, is_asking) {
                (LinkState::Delay(by), true) => due += by,
                (LinkState::HalfOpen, _) => passed = 0,
                (LinkState::SwallowAfter(_), true) => {
                    let take = |left: u64| Some(left.saturating_sub(read as u64));
                    let before = road
                        .left
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                        .expect("it always takes");
                    passed =
                        read.min(usize::try_from(before).expect("tests count in small numbers"));
                }
                _ => {}
            }
            if !is_lost {
                road.carried.send_modify(|carried| *carried += 1);
                queue.send((due, chunk[..passed].to_vec())).ok();
            }
            is_lost |= passed < read;
        }
    };
    let writing = async move {
        while let Some((due, chunk)) = queued.recv().await {
            sleep_until(due).await;
            // The reading side notices if the peer is gone.
            to.write_all(&chunk).await.ok();
            carried.send_modify(|carried| *carried -= 1);
        }
        // Also counts data that the sender did not wait for.
    };
    tokio::join!(reading, writing);
}
