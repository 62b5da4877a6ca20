//! The server `jsdkd`: settings, HTTP, logins, messages and commands, over the crates
//! `jsdkd-wechat` (the protocol), `jsdkd-credentials` (the renewal engine and the stores) and
//! `jsdkd-sandbox` (a fake of WeChat's API).
//!
//! This library is for the program and its tests; its modules are not a stable API. A program that
//! wants to keep credentials itself uses
//! [`jsdkd-credentials`](credentials).
//
// The modules are in reading order. An example: `POST /jsapi/{appid}/config` is parsed into an
// account and a `ConfigRequest` (`http/jsapi_config.rs`). The account's ticket is cached, or else
// read from the store or fetched, once for all callers. Then the URL is signed
// (`wechat::signature::jsapi`).

pub mod client_network;
pub mod counters;
pub mod ip_allowlist;
pub mod log_limit;
pub mod oauth;
pub mod origin;
pub mod realm;

pub mod gateway;
pub mod login;
pub mod message;
pub mod registry;
pub mod settings;
pub mod status;

pub mod http;
pub mod server;
pub mod telemetry;

mod cli;

pub use credentials::{
    Account, Builder, Credential, Credentials, Error, ExposeSecret, JsConfig, Kind, SecretString,
};
pub use sandbox::FakeWechat as Sandbox;

/// The program `jsdkd`, by the arguments of this process.
pub fn main() -> std::process::ExitCode {
    cli::main()
}
