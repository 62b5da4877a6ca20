//! The tests that look at jsdkd from outside: one binary, because it links once; grouped by behaviour.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests stand outside the server: they read the environment and wait by the clock")]

mod backoff;
mod browser;
mod challenge;
mod clients;
mod commands;
mod cors;
mod crash;
mod delivery;
mod demo_page;
mod errors;
mod failover;
mod file_store;
mod flights;
mod fuzz;
mod headers;
mod jsapi_body;
mod jsapi_config;
mod jsapi_query;
mod near_copy;
mod nginx;
mod original;
mod ping;
mod readme;
mod readme_runs;
mod realm_v2;
mod redis_outage;
mod redis_store;
mod refresh;
mod rotate;
mod secrets;
mod settings;
mod signals;
mod smoke;
mod stable;
mod store_contract;
mod support;
mod tidy;
mod verify_file;
mod wechatpy;
