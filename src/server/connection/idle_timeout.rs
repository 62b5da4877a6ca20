//! Ends a connection on which no request begins for too long.
//!
//! actix-http can do this too, but makes and registers a timer for each answer, which costs a
//! twentieth of a query. This timer is registered once. When it fires, it is set again for the rest
//! of the time if the connection has been used since.

use std::pin::{Pin, pin};
use std::task::Context;
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep};

use super::KEEP_ALIVE;
use clock::{Clock, SteadyMillis};

/// The timeout of one connection.
pub(super) struct IdleTimeout {
    clock: Clock,
    /// When something was last written.
    used_at: SteadyMillis,
    /// Set since the first answer; until then the timeout of the head applies. It is polled only
    /// when it is set, because a connection's task always has the same waker.
    timer: Option<Pin<Box<Sleep>>>,
}

impl IdleTimeout {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            used_at: SteadyMillis::default(),
            timer: None,
        }
    }

    /// Starts again. Called whenever a part of an answer is written.
    pub(super) fn restart(&mut self, context: &mut Context<'_>) {
        self.used_at = self.clock.steady();
        if self.timer.as_ref().is_none_or(|timer| timer.is_elapsed()) {
            self.wake_in(KEEP_ALIVE, context);
        }
    }

    /// Whether an idle connection has been idle for too long. If not, its task is woken when it
    /// may be.
    pub(super) fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        if self.timer.as_ref().is_none_or(|timer| !timer.is_elapsed()) {
            return false;
        }
        let ends = self.used_at.plus(KEEP_ALIVE);
        let left = self.clock.steady().until(ends);
        if !left.is_zero() {
            self.wake_in(left, context);
        }
        left.is_zero()
    }

    fn wake_in(&mut self, time: Duration, context: &mut Context<'_>) {
        let timer = self.timer.insert(Box::pin(sleep(time)));
        // Unconstrained, because a task that has done much would be told to poll it again later.
        if pin!(unconstrained(timer)).poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;
    use clock::UnixMillis;

    /// Waits until the timeout is over.
    async fn over(timeout: &mut IdleTimeout) {
        poll_fn(|context| match timeout.is_over(context) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    async fn restart(timeout: &mut IdleTimeout) {
        poll_fn(|context| {
            timeout.restart(context);
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_counts_from_the_last_answer() {
        let clock = Clock::of_runtime(UnixMillis(0));
        let mut timeout = IdleTimeout::new(clock.clone());
        for pause in [0, 50, 74, 10] {
            let pause = Duration::from_secs(pause);
            let paused = tokio::time::timeout(pause, over(&mut timeout)).await;
            assert!(paused.is_err(), "over after {pause:?}");
            restart(&mut timeout).await;
        }
        let before = clock.steady();
        over(&mut timeout).await;
        let waited = before.until(clock.steady());
        assert!(waited >= KEEP_ALIVE && waited < KEEP_ALIVE + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn it_starts_with_the_first_answer() {
        let mut timeout = IdleTimeout::new(Clock::of_runtime(UnixMillis(0)));
        let waited = tokio::time::timeout(KEEP_ALIVE * 10, over(&mut timeout)).await;
        assert!(waited.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_longer() {
        let mut timeout = IdleTimeout::new(Clock::of_runtime(UnixMillis(0)));
        restart(&mut timeout).await;
        tokio::time::sleep(KEEP_ALIVE * 2).await;
        restart(&mut timeout).await;
        let waited = tokio::time::timeout(KEEP_ALIVE / 2, over(&mut timeout)).await;
        assert!(waited.is_err());
        over(&mut timeout).await;
    }
}
