//! The one test binary: linking one is quicker than linking many.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "nothing is outside of a test binary, and a panic is its way to fail")]

mod redis_store;
mod store_contract;
mod support;
