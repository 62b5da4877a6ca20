//! The keeper, simulated: its own code in a world without real time and without a network, where everything that may go wrong does,
//! and where the same seed is the same run to the letter. One run is some instances on one store and a WeChat with its real rules,
//! for some days; after every step the judge looks whether a promise was broken.
//!
//! `cargo test --test sim` runs ten thousand days. `scripts/simulate` runs a million, or one seed with all that happened in it.

// Which seed, and how many days: the settings of a test, not of the program.
#![allow(clippy::disallowed_methods)]

mod callers;
mod faults;
mod host;
mod judge;
mod seeds;
mod storage;
mod wechat;
mod wire;
mod world;
