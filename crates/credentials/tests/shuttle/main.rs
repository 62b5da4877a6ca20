//! The source of `single_flight` and `agenda`, compiled on shuttle's primitives, whose scheduler
//! runs thousands of interleavings of threads and tasks. A lost wake-up shows as a deadlock.
#![allow(
    dead_code,
    reason = "only what is tried is used of the files that are tried"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use std::sync::atomic::{AtomicU32, Ordering};

use shuttle::future::block_on;
use shuttle::sync::Arc;
use shuttle::{Runner, thread};

#[path = "../../src/engine/agenda.rs"]
mod agenda;
#[path = "../../src/engine/single_flight.rs"]
mod single_flight;

/// The parts of the program that the two files use.
mod clock {
    pub(crate) use clock::SteadyMillis;
}

/// Shuttle's primitives instead of the standard library's and tokio's.
mod sync {
    pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard};
    pub(crate) use std::sync::{PoisonError, Weak};

    pub(crate) struct Runtime;

    impl Runtime {
        pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
            drop(shuttle::future::spawn(work));
        }
    }
}

use agenda::Agenda;
use clock::SteadyMillis;
use single_flight::{Lost, Pending, SingleFlight};
use sync::Runtime;

/// The number of interleavings: half random, half by the PCT scheduler.
const ORDERS: usize = 3_000;

fn try_orders(scene: impl Fn() + Send + Sync + Clone + 'static) {
    let config = shuttle::Config::new();
    Runner::new(
        shuttle::scheduler::RandomScheduler::new(ORDERS),
        config.clone(),
    )
    .run(scene.clone());
    Runner::new(shuttle::scheduler::PctScheduler::new(3, ORDERS), config).run(scene);
}

fn join<T, F>(flight: &Arc<SingleFlight<T>>, work: impl FnOnce() -> F) -> Pending<T>
where
    T: Clone + Send + Sync + 'static,
    F: Future<Output = T> + Send + 'static,
{
    SingleFlight::join(flight, |flight| flight, &Runtime, work)
}

/// Work that detects when it runs twice at once.
async fn alone(running: Arc<AtomicU32>, done: Arc<AtomicU32>) -> u32 {
    assert_eq!(
        running.fetch_add(1, Ordering::SeqCst),
        0,
        "two pieces of work at once"
    );
    shuttle::future::yield_now().await;
    running.fetch_sub(1, Ordering::SeqCst);
    done.fetch_add(1, Ordering::SeqCst) + 1
}

#[test]
fn every_caller_gets_a_result_of_one_run() {
    try_orders(|| {
        let flight = Arc::new(SingleFlight::<u32>::default());
        let (running, done, told) = (
            Arc::new(AtomicU32::new(0)),
            Arc::new(AtomicU32::new(0)),
            Arc::new(AtomicU32::new(0)),
        );
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (flight, running) = (Arc::clone(&flight), Arc::clone(&running));
                let (done, told) = (Arc::clone(&done), Arc::clone(&told));
                thread::spawn(move || {
                    for _ in 0..2 {
                        let before = told.load(Ordering::SeqCst);
                        let landing =
                            join(&flight, || alone(Arc::clone(&running), Arc::clone(&done)));
                        let result = block_on(landing.result()).unwrap();
                        // A result that existed before we came is not for us.
                        assert!(result > before, "an old result was handed out");
                        told.fetch_max(result, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        callers
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
        assert!((1..=6).contains(&done.load(Ordering::SeqCst)));
    });
}

#[test]
fn a_caller_that_hangs_up_stops_nothing() {
    try_orders(|| {
        let flight = Arc::new(SingleFlight::<u32>::default());
        let (running, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let quitter = {
            let (flight, running, done) =
                (Arc::clone(&flight), Arc::clone(&running), Arc::clone(&done));
            thread::spawn(move || drop(join(&flight, || alone(running, done))))
        };
        let landing = join(&flight, || alone(Arc::clone(&running), Arc::clone(&done)));
        assert!(block_on(landing.result()).unwrap() >= 1);
        quitter.join().unwrap();
    });
}

#[test]
fn a_panic_is_reported_to_all_waiters() {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    try_orders(|| {
        let flight = Arc::new(SingleFlight::<u32>::default());
        let others = Arc::clone(&flight);
        let other = thread::spawn(move || {
            // `resume_unwind`, because the scheduler reports any other panic.
            let landing = join(&others, || async {
                std::panic::resume_unwind(Box::new("on purpose"))
            });
            block_on(landing.result())
        });
        let landing = join(&flight, || async {
            std::panic::resume_unwind(Box::new("on purpose"))
        });
        assert_eq!(block_on(landing.result()), Err(Lost));
        assert_eq!(other.join().unwrap(), Err(Lost));
        let landing = join(&flight, || async { 7 });
        assert_eq!(block_on(landing.result()), Ok(7));
    });
    std::panic::set_hook(quiet);
}

#[test]
fn no_appointment_is_lost_in_any_interleaving() {
    try_orders(|| {
        let agenda = Arc::new(Agenda::<u32>::default());
        let setters: Vec<_> = (0..3_u32)
            .map(|number| {
                let agenda = Arc::clone(&agenda);
                // Each earlier than the one before, so that the reader must be notified.
                thread::spawn(move || agenda.set(number, SteadyMillis(u64::from(30 - 10 * number))))
            })
            .collect();
        // The engine's loop: read the earliest entry, else wait for an earlier one. Time stands
        // still, so that only a notification can wake it.
        let reader = Arc::clone(&agenda);
        let reading = thread::spawn(move || {
            while reader.earliest() != Some(SteadyMillis(10)) {
                block_on(reader.earlier());
            }
        });
        setters
            .into_iter()
            .for_each(|setter| setter.join().unwrap());
        reading.join().unwrap();
        assert_eq!(
            agenda.take_due(SteadyMillis(30)),
            [2, 1, 0],
            "each once, in order"
        );
        assert_eq!(agenda.earliest(), None);
    });
}

#[test]
fn an_earlier_appointment_wins() {
    try_orders(|| {
        let agenda = Arc::new(Agenda::<u32>::default());
        let hands: Vec<_> = [50, 20, 70]
            .into_iter()
            .map(|due| {
                let agenda = Arc::clone(&agenda);
                thread::spawn(move || agenda.set_no_later(1, SteadyMillis(due)))
            })
            .collect();
        hands.into_iter().for_each(|hand| hand.join().unwrap());
        assert_eq!(agenda.earliest(), Some(SteadyMillis(20)));
        assert_eq!(agenda.take_due(SteadyMillis(u64::from(u32::MAX))), [1]);
    });
}

/// The scheduler must be able to find what these tests look for.
#[test]
#[should_panic(expected = "deadlock")]
fn a_lost_wake_up_would_be_found() {
    try_orders(|| {
        let bell = Arc::new(tokio::sync::Notify::new());
        let ringer = Arc::clone(&bell);
        // Notifies only tasks that already wait: exactly the mistake.
        let ringing = thread::spawn(move || ringer.notify_waiters());
        let waiting = thread::spawn(move || block_on(bell.notified()));
        ringing.join().unwrap();
        waiting.join().unwrap();
    });
}
