//! One link between a process and a server, with a small TCP proxy in its middle that passes,
//! delays, cuts or swallows what goes over it, switched while it runs. It knows nothing of what is
//! said.

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

/// What the link does to those who use it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LinkState {
    Pass,
    /// What is asked arrives so much later; answers come back at once.
    Delay(Duration),
    /// Every connection is closed, and each new one as soon as it is made.
    Cut,
    /// Connections stay open, new ones are accepted, and nothing comes through: the peer has
    /// vanished without a word.
    HalfOpen,
    /// The same once so many more bytes have been asked.
    SwallowAfter(u64),
}

/// A link to one server. Ends with its value.
pub(crate) struct Link {
    address: SocketAddr,
    mood: watch::Sender<LinkState>,
    /// How many bytes [`LinkState::SwallowAfter`] still lets through.
    left: Arc<AtomicU64>,
    /// How many pieces are on their way.
    carried: watch::Sender<usize>,
    accepting: JoinHandle<()>,
}

impl Link {
    /// A link to the server at `port` of this machine.
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
                // Ends with its connection, or with the sender of moods.
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

    /// One for each of three processes.
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

    /// Waits until everything that is late has arrived.
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

/// What all connections of a link share.
#[derive(Clone)]
struct Road {
    moods: watch::Receiver<LinkState>,
    left: Arc<AtomicU64>,
    carried: watch::Sender<usize>,
}

/// One connection, until either end closes it or it is cut.
async fn carry(near: TcpStream, port: u16, road: Road) {
    let mut until_cut = road.moods.clone();
    let cut = pin!(async move {
        // An error means that the link is gone.
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
        // Whichever end closes takes the other one with it, as the death of a process does.
        futures_util::future::select(there, back).await;
    });
    // The cut first: a connection that is made while the link is cut sees nothing of the other
    // side.
    tokio::select! {
        biased;
        () = cut => {}
        () = talk => {}
    }
}

/// One way of a connection. What a silent moment has swallowed leaves a hole, so nothing passes
/// after it: the connection is lost.
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
            // A peer that is gone is noticed by whoever reads.
            to.write_all(&chunk).await.ok();
            carried.send_modify(|carried| *carried -= 1);
        }
        // What was on its way has arrived, also when the sender did not wait for it.
    };
    tokio::join!(reading, writing);
}
