//! A simulation of the keeper: its own code without real time and without a network, with every
//! kind of fault. The same seed gives exactly the same run. A run has some instances on one store
//! and a WeChat with its real rules, for some days. After every step the judge checks the promises.
//!
//! `cargo test --test sim` runs ten thousand days. `scripts/simulate` runs a million, or prints
//! every step of one seed.

#![allow(
    clippy::disallowed_methods,
    reason = "which seed and how many days are the settings of a test"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod callers;
mod faults;
mod foreign;
mod host;
mod judge;
mod scene;
mod scenes;
mod seeds;
mod storage;
mod wechat;
mod wire;
mod world;
