//! What `flights` and `agenda` are built on. They name nothing else, so that `tests/shuttle` can put its own primitives in this place and
//! try the orders in which threads may meet.

pub(super) use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub(crate) use tokio::runtime::Handle as Runtime;
