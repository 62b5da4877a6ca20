//! Notices of what other processes write, over a connection that is re-established when it is lost.
//! How to listen differs per store. Nothing depends on notices: without them, readers see a change
//! within a second.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::Changed;

/// How many notices a slow receiver may lag behind before it loses some.
const BACKLOG: usize = 1024;

/// The shortest and the longest delay between two attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// An idle connection is probed after this long, to detect a peer that vanished.
pub(super) const QUIET: Duration = Duration::from_secs(5);

/// Receives the notices of other processes. Dropping it closes the connection.
pub(super) struct ChangeFeed {
    sender: broadcast::Sender<Changed>,
    task: AbortHandle,
}

impl ChangeFeed {
    /// Re-runs `listen` after each disconnect, ignoring the notices of `own`. `listen` returns
    /// whether it was connected. Must be called on a tokio runtime.
    pub(super) fn start<F>(own: &str, listen: impl Fn(Subscriber) -> F + Send + 'static) -> Self
    where
        F: Future<Output = bool> + Send,
    {
        let (sender, _) = broadcast::channel(BACKLOG);
        let subscriber = Subscriber {
            sender: sender.clone(),
            own: own.to_owned(),
        };
        let run = async move {
            let mut pause = PAUSES.0;
            loop {
                if listen(subscriber.clone()).await {
                    pause = PAUSES.0;
                }
                // Notices sent in between were missed.
                subscriber.sender.send(Changed::Unknown).ok();
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(PAUSES.1);
            }
        };
        Self {
            sender,
            task: tokio::spawn(run).abort_handle(),
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Changed> {
        self.sender.subscribe()
    }
}

impl Drop for ChangeFeed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards notices to the receivers.
#[derive(Clone)]
pub(super) struct Subscriber {
    sender: broadcast::Sender<Changed>,
    own: String,
}

impl Subscriber {
    /// Forwards a notice, unless it is our own.
    pub(super) fn forward(&self, text: &str) {
        if let Some(changed) = read_notice(text, &self.own) {
            // There may be no receiver.
            self.sender.send(changed).ok();
        }
    }
}

/// A name for this process, to recognize its own notices.
pub(super) fn own_name() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// A notice that `key` was changed by `writer`: the two names with a space in between.
pub(super) fn notice(writer: &str, key: &str) -> String {
    format!("{writer} {key}")
}

/// The change that `text` announces, unless `own` wrote it.
fn read_notice(text: &str, own: &str) -> Option<Changed> {
    let (writer, key) = text.split_once(' ')?;
    (writer != own).then(|| Changed::Key(key.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn own_notices_and_other_texts_are_not_forwarded() {
        let (sender, mut heard) = broadcast::channel(9);
        let subscriber = Subscriber {
            sender,
            own: "me".to_owned(),
        };
        for text in [
            &notice("me", "wx1.token"),
            &notice("you", "wx2.token"),
            "nonsense",
        ] {
            subscriber.forward(text);
        }
        let passed_on: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        assert_eq!(passed_on, [Changed::Key("wx2.token".into())]);
    }

    #[tokio::test(start_paused = true)]
    async fn failed_attempts_back_off_and_report_missed_notices() {
        let feed = ChangeFeed::start("me", async |_| false);
        let (mut told, begun) = (feed.subscribe(), tokio::time::Instant::now());
        for _ in 0..10 {
            assert_eq!(told.recv().await, Ok(Changed::Unknown));
        }
        assert_eq!(
            begun.elapsed(),
            Duration::from_millis(200 + 400 + 800 + 1600 + 3200 + 6400) + 3 * PAUSES.1
        );
    }
}
