//! What other processes have written, heard as it happens on a connection that is made again when it is lost. How one listens is each
//! store's own. Nothing depends on it: who hears nothing looks again within a second.

use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::{Changed, Fingerprint};

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
    /// Passes on what [`Tidings`] say, unless we said it ourselves.
    pub(super) fn heard(&self, text: &str) {
        if let Some(changed) = Tidings::read(text, &self.own) {
            // Nobody may be listening to us.
            self.sender.send(changed).ok();
        }
    }
}

/// A name for this process that tells what it told from what others did.
pub(super) fn own_name() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// What is told of a change: of which key, and which value came after which. On the wire it is the writer's name, perhaps the two
/// fingerprints, a blank, the key: `me,PRINT,PRINT wx1.token`.
#[derive(Clone, Copy)]
pub(super) struct Tidings<'a> {
    key: &'a str,
    order: Option<(Fingerprint, Fingerprint)>,
}

impl<'a> Tidings<'a> {
    pub(super) fn of(key: &'a str) -> Self {
        Self { key, order: None }
    }

    /// `after` was written over `before`.
    pub(super) fn with_order(self, before: &str, after: &str) -> Self {
        let order = (before != after).then(|| (Fingerprint::of(before), Fingerprint::of(after)));
        Self { order, ..self }
    }

    pub(super) fn key(&self) -> &'a str {
        self.key
    }

    pub(super) fn told_by(&self, writer: &str) -> String {
        match self.order {
            Some((before, after)) => format!("{writer},{before},{after} {}", self.key),
            None => format!("{writer} {}", self.key),
        }
    }

    /// What `text` tells, if it is not told by `own`.
    fn read(text: &str, own: &str) -> Option<Changed> {
        let (head, key) = text.split_once(' ')?;
        let mut words = head.split(',');
        if words.next() == Some(own) {
            return None;
        }
        let mut print = || words.next().and_then(Fingerprint::parse);
        Some(match (print(), print()) {
            (Some(before), Some(after)) => Changed::Renewed { key: key.into(), before, after },
            _ => Changed::Key(key.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_we_told_and_what_is_none_of_ours_is_not_passed_on() {
        let (sender, mut heard) = broadcast::channel(9);
        let ear = Ear { sender, own: "me".to_owned() };
        let (first, second) = (Tidings::of("wx1.token"), Tidings::of("wx2.token"));
        let told = [first.told_by("me"), first.with_order("a", "b").told_by("me"), second.told_by("you"), "nonsense".to_owned()];
        for text in told.into_iter().chain([second.with_order("a", "b").told_by("you"), second.with_order("a", "a").told_by("you")])
        {
            ear.heard(&text);
        }
        let again = || Changed::Key("wx2.token".into());
        let renewed = Changed::Renewed { key: "wx2.token".into(), before: Fingerprint::of("a"), after: Fingerprint::of("b") };
        let passed_on: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        assert_eq!(passed_on, [again(), renewed, again()]);
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
