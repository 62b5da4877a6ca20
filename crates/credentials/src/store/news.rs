//! What other processes have written, heard as it happens on a connection that is made again when it is lost. How one listens is each
//! store's own. Nothing depends on it: who hears nothing looks again within a second.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::Changed;

/// How many changes a slow listener may be behind; then it is told that it missed some.
const BACKLOG: usize = 1024;

/// The least and the longest time from one attempt to listen to the next.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// A connection over which nothing has come for so long is asked whether it lives: a peer that vanished without a word says nothing.
pub(super) const QUIET: Duration = Duration::from_secs(5);

/// Hears what others tell. Dropping it ends the listening.
pub(super) struct News {
    sender: broadcast::Sender<Changed>,
    task: AbortHandle,
}

impl News {
    /// Has `listen` listen again and again to all but what `own` tells; it returns when its connection ends, and whether there was one. Must
    /// be called on a tokio runtime.
    pub(super) fn keep<F>(own: &str, listen: impl Fn(Ear) -> F + Send + 'static) -> Self
    where
        F: Future<Output = bool> + Send,
    {
        let (sender, _) = broadcast::channel(BACKLOG);
        let ear = Ear { sender: sender.clone(), own: own.to_owned() };
        let keep_listening = async move {
            let mut pause = PAUSES.0;
            loop {
                if listen(ear.clone()).await {
                    pause = PAUSES.0;
                }
                // What happened in between was not heard.
                ear.sender.send(Changed::Perhaps).ok();
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(PAUSES.1);
            }
        };
        Self { sender, task: tokio::spawn(keep_listening).abort_handle() }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Changed> {
        self.sender.subscribe()
    }
}

impl Drop for News {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where what is heard goes.
#[derive(Clone)]
pub(super) struct Ear {
    sender: broadcast::Sender<Changed>,
    own: String,
}

impl Ear {
    /// Passes on a notice, unless it is our own.
    pub(super) fn heard(&self, text: &str) {
        if let Some(changed) = read_notice(text, &self.own) {
            // Nobody may be listening to us.
            self.sender.send(changed).ok();
        }
    }
}

/// A name for this process that tells what it told from what others did.
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
    async fn what_we_told_and_what_is_none_of_ours_is_not_passed_on() {
        let (sender, mut heard) = broadcast::channel(9);
        let ear = Ear { sender, own: "me".to_owned() };
        for text in [&notice("me", "wx1.token"), &notice("you", "wx2.token"), "nonsense"] {
            ear.heard(text);
        }
        let passed_on: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        assert_eq!(passed_on, [Changed::Key("wx2.token".into())]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_listen_tries_ever_more_seldom_and_says_each_time_that_something_may_be_missed() {
        let news = News::keep("me", async |_| false);
        let (mut told, begun) = (news.subscribe(), tokio::time::Instant::now());
        for _ in 0..10 {
            assert_eq!(told.recv().await, Ok(Changed::Perhaps));
        }
        assert_eq!(begun.elapsed(), Duration::from_millis(200 + 400 + 800 + 1600 + 3200 + 6400) + 3 * PAUSES.1);
    }
}
