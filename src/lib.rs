//! Keeps the expiring credentials of WeChat (微信) accounts fresh: each `access_token`, `jsapi_ticket` and card ticket is fetched once,
//! renewed ahead of its end, and handed to whoever asks.
//!
//! WeChat gives each account credentials that live two hours, may be fetched 2000 times a day, and void each other. So one owner must
//! keep them. The program `jsdkd` is that owner as a server; [`Credentials`] is it inside a Rust program. Both may share one store: then
//! they renew each credential once for all of them.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let wechat = jsdkd::Sandbox::start("wxdemo0000000001", "demo-app-secret").await?; // WeChat, played: without this and `.api(…)` it is the real one.
//! let credentials = jsdkd::Credentials::builder().account("wxdemo0000000001", "demo-app-secret").api(wechat.url()).start().await?;
//! let token = credentials.access_token("wxdemo0000000001").await?;
//! let config = credentials.sign_config("wxdemo0000000001", "https://shop.example.com/").await?;
//! credentials.close().await;
//! # assert!(token.left().as_secs() > 7000 && config.signature.len() == 40);
//! # Ok(())
//! # }
//! ```
//!
//! What is listed here is all that is promised, by [semantic versioning](https://semver.org). The one feature, `internals`, opens the rest
//! to the project's own tests and promises nothing.
//
// The rooms in reading order, which is the order of their ranks in ARCHITECTURE.md. One request, retold: `POST /jsapi/{appid}/config`
// passes the gate (`http/gate.rs`), becomes a known account and a `ConfigRequest` (`http/jsapi_config.rs`), asks the keeper for the
// ticket, which is at hand or is read from the store or fetched once for all who wait, and is signed (`signature::jsapi`).
#![cfg_attr(
    not(feature = "internals"),
    allow(
        dead_code,
        unused_imports,
        unreachable_pub,
        reason = "the rooms are open to each other and to the tests, which turn the feature on"
    )
)]

#[cfg(not(feature = "internals"))]
mod client_network;
#[cfg(feature = "internals")]
pub mod client_network;
#[cfg(not(feature = "internals"))]
mod clock;
#[cfg(feature = "internals")]
pub mod clock;
#[cfg(not(feature = "internals"))]
mod files;
#[cfg(feature = "internals")]
pub mod files;
#[cfg(not(feature = "internals"))]
mod rng;
#[cfg(feature = "internals")]
pub mod rng;

#[cfg(not(feature = "internals"))]
mod account;
#[cfg(feature = "internals")]
pub mod account;
#[cfg(not(feature = "internals"))]
mod credential;
#[cfg(feature = "internals")]
pub mod credential;
#[cfg(not(feature = "internals"))]
mod origin;
#[cfg(feature = "internals")]
pub mod origin;
#[cfg(not(feature = "internals"))]
mod signature;
#[cfg(feature = "internals")]
pub mod signature;

#[cfg(not(feature = "internals"))]
mod log_limit;
#[cfg(feature = "internals")]
pub mod log_limit;
#[cfg(not(feature = "internals"))]
mod oauth;
#[cfg(feature = "internals")]
pub mod oauth;
#[cfg(not(feature = "internals"))]
mod realm;
#[cfg(feature = "internals")]
pub mod realm;

#[cfg(not(feature = "internals"))]
mod store;
#[cfg(feature = "internals")]
pub mod store;
#[cfg(not(feature = "internals"))]
mod wechat;
#[cfg(feature = "internals")]
pub mod wechat;

#[cfg(not(feature = "internals"))]
mod credentials;
#[cfg(feature = "internals")]
pub mod credentials;

#[cfg(not(feature = "internals"))]
mod keeper;
#[cfg(feature = "internals")]
pub mod keeper;
#[cfg(not(feature = "internals"))]
mod login;
#[cfg(feature = "internals")]
pub mod login;
#[cfg(not(feature = "internals"))]
mod sources;
#[cfg(feature = "internals")]
pub mod sources;

#[cfg(not(feature = "internals"))]
mod message;
#[cfg(feature = "internals")]
pub mod message;

#[cfg(not(feature = "internals"))]
mod registry;
#[cfg(feature = "internals")]
pub mod registry;
#[cfg(not(feature = "internals"))]
mod settings;
#[cfg(feature = "internals")]
pub mod settings;

#[cfg(not(feature = "internals"))]
mod http;
#[cfg(feature = "internals")]
pub mod http;
#[cfg(not(feature = "internals"))]
mod sandbox;
#[cfg(feature = "internals")]
pub mod sandbox;

#[cfg(not(feature = "internals"))]
mod server;
#[cfg(feature = "internals")]
pub mod server;
#[cfg(not(feature = "internals"))]
mod telemetry;
#[cfg(feature = "internals")]
pub mod telemetry;

mod cli;
mod embed;

pub use embed::{Account, Builder, Credential, Credentials, Error, JsConfig, Kind, Sandbox};
pub use secrecy::{ExposeSecret, SecretString};

/// The program `jsdkd`, by the arguments of this process.
#[doc(hidden)]
pub fn main() -> std::process::ExitCode {
    cli::main()
}
