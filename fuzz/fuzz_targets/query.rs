//! `cargo fuzz run query`: see `tests/it/fuzz/targets.rs`.
#![no_main]

#[allow(dead_code, reason = "each fuzz target uses one of them")]
#[path = "../../tests/it/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::query(data));
