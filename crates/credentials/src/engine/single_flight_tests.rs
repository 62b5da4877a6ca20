//! A flight with tokio's own threads; `tests/shuttle` has those with every order of things.

use super::single_flight::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

#[tokio::test]
async fn a_thousand_callers_share_one_piece_of_work() {
    let (flight, begun) = (SingleFlight::<u32>::default(), Arc::new(AtomicU32::new(0)));
    let waits: Vec<_> = (0..1000)
        .map(|_| {
            let begun = Arc::clone(&begun);
            flight.join(&Handle::current(), move || async move {
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
    let flight = SingleFlight::<&str>::default();
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        "landed"
    };
    drop(flight.join(&Handle::current(), slow));
    assert_eq!(
        flight
            .join(&Handle::current(), || async { "another" })
            .result()
            .await,
        Ok("landed")
    );
}

#[tokio::test]
async fn a_panic_is_told_to_its_callers_and_forgotten() {
    let flight = SingleFlight::<u8>::default();
    assert_eq!(
        flight
            .join(&Handle::current(), || async { panic!("on purpose") })
            .result()
            .await,
        Err(Lost)
    );
    assert_eq!(
        flight
            .join(&Handle::current(), || async { 7 })
            .result()
            .await,
        Ok(7)
    );
}
