//! The synchronization primitives of `single_flight` and `agenda`. `tests/shuttle` replaces this
//! file with its own primitives to try thread interleavings.

pub(super) use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub(crate) use tokio::runtime::Handle as Runtime;
