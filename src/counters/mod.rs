//! What happens in this process, counted: requests, calls to WeChat, operations of the store,
//! renewals, messages, and the last events. Metrics and the status page read it; nothing here is a
//! secret, an openid, a path or a query. It knows no format and no page.
//!
//! Reading order: `routes` (the only counters that every request touches), `histogram`, `tally`
//! (counters by name), `source_labels` (the names of sources), `gateway`, `realm_use`, `events`.

mod events;
mod gateway;
mod histogram;
mod realm_use;
mod routes;
mod source_labels;
mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use clock::{Clock, SteadyMillis, UnixMillis};
use credentials::observer::{Observer, Renewal, RenewalResult, StoreOperation};
use wechat::credential::CredentialKind;
use wechat::{CallObserver, CallReport};

pub use self::events::{Event, EventKind, Events};
pub use self::gateway::{
    GatewayCall, GatewayCounters, GatewayOutcome, GatewayReading, RealmReading,
};
pub use self::histogram::{CALL_BOUNDS, Histogram, Reading, STORE_BOUNDS};
pub use self::realm_use::{RealmUse, Totals};
pub use self::routes::{REQUEST_BOUNDS, RouteCounters, RouteReading};
pub use self::source_labels::source_labels;
pub use self::tally::{ByHost, ByName, ByReason, Renewals};

/// What can become of a message that WeChat pushes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushOutcome {
    /// It was taken, and WeChat gets no reply.
    Accepted,
    /// Too many messages wait; WeChat delivers it again.
    Overloaded,
    /// It is not signed, dated or encrypted as the account expects.
    Refused,
    /// It was taken and answered with a reply.
    Replied,
}

/// The words for [`PushOutcome`] in metrics, in its order.
pub const PUSH_OUTCOMES: [&str; 4] = ["accepted", "overloaded", "refused", "replied"];

/// All counters of a process; built once by the server.
#[derive(Debug)]
pub struct Counters {
    /// Requests by route.
    pub routes: RouteCounters,
    /// Calls to WeChat by host, call and outcome.
    pub calls: ByHost,
    /// How long calls to WeChat took.
    pub call_durations: Histogram,
    /// How long each operation of the store took, in the order of `store::OPERATIONS`.
    pub store: Vec<(&'static str, Histogram)>,
    /// Calls for credentials.
    pub renewals: Renewals,
    /// Calls through the gateway.
    pub gateway: GatewayCounters,
    /// Messages by account; the columns are those of [`PushOutcome`].
    pub pushes: ByName<4>,
    /// Messages that a back end did not take, by account.
    pub forward_failures: ByName<1>,
    /// The last events.
    pub events: Events,
    clock: Clock,
    store_state: StoreState,
    /// Our clock minus WeChat's in milliseconds; `i64::MIN` = not known.
    clock_offset_ms: AtomicI64,
}

/// Whether the latest read and the latest write succeeded.
#[derive(Debug)]
struct StoreState {
    reads: AtomicBool,
    writes: AtomicBool,
    /// When an operation succeeded last; zero = never.
    answered_at: AtomicU64,
}

impl Counters {
    /// Counters at zero, for the patterns of all routes and for `workers` threads.
    pub fn new(patterns: Vec<&'static str>, workers: usize, clock: Clock) -> Arc<Self> {
        let store = credentials::store::OPERATIONS
            .into_iter()
            .map(|name| (name, Histogram::new(&STORE_BOUNDS)));
        Arc::new(Self {
            routes: RouteCounters::new(patterns, workers),
            calls: ByHost::default(),
            call_durations: Histogram::new(&CALL_BOUNDS),
            store: store.collect(),
            renewals: Renewals::default(),
            gateway: GatewayCounters::default(),
            pushes: ByName::default(),
            forward_failures: ByName::default(),
            events: Events::default(),
            store_state: StoreState {
                reads: AtomicBool::new(true),
                writes: AtomicBool::new(true),
                answered_at: AtomicU64::new(0),
            },
            clock_offset_ms: AtomicI64::new(i64::MIN),
            clock,
        })
    }

    /// Notes an event that happens now.
    pub fn note(&self, kind: EventKind, app_id: Option<&str>, credential: Option<&str>) {
        self.events
            .note(self.clock.wall(), kind, app_id, credential);
    }

    /// Whether the latest operations of the store succeeded.
    pub fn is_store_up(&self) -> bool {
        self.store_state.reads.load(Relaxed) && self.store_state.writes.load(Relaxed)
    }

    /// The store did not answer in time.
    pub fn store_is_silent(&self) {
        self.store_state.reads.store(false, Relaxed);
    }

    /// When an operation of the store succeeded last.
    pub fn store_answered_at(&self) -> Option<SteadyMillis> {
        Some(self.store_state.answered_at.load(Relaxed))
            .filter(|at| *at > 0)
            .map(SteadyMillis)
    }

    /// How far our clock is ahead of WeChat's, in milliseconds; `None` until WeChat has answered.
    pub fn clock_offset_ms(&self) -> Option<i64> {
        Some(self.clock_offset_ms.load(Relaxed)).filter(|offset| *offset != i64::MIN)
    }

    /// Counts a call through the gateway that ends now.
    pub fn count_gateway(&self, call: &GatewayCall<'_>) {
        self.gateway.count(call, self.clock.wall());
    }

    /// Counts one call to WeChat.
    pub fn count_call(&self, call: &CallReport<'_>) {
        self.calls.count(call.host, call.call, call.outcome);
        self.call_durations.record(call.took);
        if let Some(date) = call.date {
            let now = self.clock.wall();
            // `Date` has whole seconds and was written somewhere within the call.
            let theirs = UnixMillis(date.millis().0 + 500);
            let middle = i64::try_from(call.took.as_millis() / 2).unwrap_or(i64::MAX);
            let offset = i64::try_from(now.0).unwrap_or(i64::MAX) - middle;
            let offset = offset - i64::try_from(theirs.0).unwrap_or(i64::MAX);
            self.clock_offset_ms.store(offset, Relaxed);
        }
    }
}

impl CallObserver for Counters {
    fn call_ended(&self, call: &CallReport<'_>) {
        self.count_call(call);
    }
}

impl Observer for Counters {
    fn renewal(&self, renewal: &Renewal<'_>) {
        let labels = renewal.names.source.map(source_labels);
        let (account, kind) = match (&labels, renewal.names.account, renewal.names.kind) {
            (Some((account, kind)), ..) => (account.as_str(), Some(*kind)),
            (None, Some(account), Some(kind)) => (account, CredentialKind::from_name(kind)),
            _ => return,
        };
        let Some(kind) = kind else {
            return;
        };
        self.renewals
            .count(account, kind, renewal.why, renewal.result);
        let kind_of_event = match renewal.result {
            RenewalResult::Granted | RenewalResult::Same => EventKind::Renewed { why: renewal.why },
            RenewalResult::Refused => EventKind::Refused {
                errcode: renewal.code,
            },
            RenewalResult::Unreachable => EventKind::Unanswered,
        };
        self.note(kind_of_event, Some(account), Some(kind.name()));
    }

    fn store_operation(&self, operation: &StoreOperation) {
        if let Some((_, durations)) = self.store.iter().find(|(name, _)| *name == operation.name) {
            durations.record(operation.took);
        }
        let state = &self.store_state;
        let side = if operation.is_write {
            &state.writes
        } else {
            &state.reads
        };
        side.store(!operation.has_failed, Relaxed);
        if !operation.has_failed {
            let now = self.clock.steady();
            state.answered_at.store(now.0.max(1), Relaxed);
        }
    }
}
