//! The keeper, simulated: its own code in a world without real time and without a network, where everything that may go wrong does,
//! and where the same seed is the same run to the letter. One run is some instances on one store and a WeChat with its real rules,
//! for some days; after every step the judge looks whether a promise was broken.
//!
//! `cargo test --test sim` runs ten thousand days. `scripts/simulate` runs a million, or one seed with all that happened in it.

#![allow(clippy::disallowed_methods, reason = "which seed and how many days are the settings of a test")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod callers;
mod faults;
mod host;
mod judge;
mod scene;
mod scenes;
mod seeds;
mod storage;
mod wechat;
mod wire;
mod world;
