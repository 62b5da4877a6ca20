//! The tests that look at jsdkd from outside: one binary, because it links once; grouped by behaviour.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests stand outside the server: they read the environment and wait by the clock")]

mod backoff;
mod browser;
mod clients;
mod delivery;
mod demo_page;
mod failover;
mod file_store;
mod flights;
mod near_copy;
mod nginx;
mod readme;
mod readme_runs;
mod redis_store;
mod refresh;
mod rotate;
mod secrets;
mod settings;
mod smoke;
mod stable;
mod store_contract;
mod support;
