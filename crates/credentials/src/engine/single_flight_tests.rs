//! A flight with tokio's own threads; `tests/shuttle` has those with every order of things.

use super::single_flight::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

fn join<T, F>(flight: &Arc<SingleFlight<T>>, work: impl FnOnce() -> F) -> Pending<T>
where
    T: Clone + Send + Sync + 'static,
    F: Future<Output = T> + Send + 'static,
{
    SingleFlight::join(flight, |flight| flight, &Handle::current(), work)
}

#[tokio::test]
async fn a_thousand_callers_share_one_piece_of_work() {
    let (flight, begun) = (
        Arc::new(SingleFlight::<u32>::default()),
        Arc::new(AtomicU32::new(0)),
    );
    let waits: Vec<_> = (0..1000)
        .map(|_| {
            let begun = Arc::clone(&begun);
            join(&flight, move || async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                begun.fetch_add(1, Ordering::SeqCst) + 1
            })
        })
        .collect();
    assert_eq!(
        futures_util::future::join_all(waits.into_iter().map(Pending::result)).await,
        vec![Ok(1); 1000]
    );
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_work_survives_the_caller_who_began_it() {
    let flight = Arc::new(SingleFlight::<&str>::default());
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        "landed"
    };
    drop(join(&flight, slow));
    assert_eq!(
        join(&flight, || async { "another" }).result().await,
        Ok("landed")
    );
}

#[tokio::test]
async fn a_panic_is_told_to_its_callers_and_forgotten() {
    let flight = Arc::new(SingleFlight::<u8>::default());
    assert_eq!(
        join(&flight, || async { panic!("on purpose") })
            .result()
            .await,
        Err(Lost)
    );
    assert_eq!(join(&flight, || async { 7 }).result().await, Ok(7));
}
