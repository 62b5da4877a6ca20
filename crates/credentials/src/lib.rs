//! Keeps the expiring credentials of WeChat (微信) accounts fresh: each `access_token`,
//! `jsapi_ticket` and card ticket is fetched once, renewed before it expires, and shared by all
//! callers.
//!
//! WeChat gives each account credentials that expire after two hours, may be fetched 2000 times a
//! day, and void each other. So one owner must keep them. The server `jsdkd` is that owner for many
//! programs; [`Credentials`] is the same inside one Rust program. Both may share one store: then they
//! renew each credential once for all of them.
//!
//! ```
//! # use sandbox as jsdkd_sandbox;
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let wechat = jsdkd_sandbox::FakeWechat::start("wxdemo0000000001", "demo-app-secret").await?; // Without this and `.api(…)` it is the real one.
//! let credentials = jsdkd_credentials::Credentials::builder().account("wxdemo0000000001", "demo-app-secret").api(wechat.url()).start().await?;
//! let token = credentials.access_token("wxdemo0000000001").await?;
//! let config = credentials.sign_config("wxdemo0000000001", "https://shop.example.com/").await?;
//! credentials.close().await;
//! # assert!(token.left().as_secs() > 7000 && config.signature.len() == 40);
//! # Ok(())
//! # }
//! ```
//!
//! The names at the root are the public interface, under [semantic versioning](https://semver.org).
//! The modules below are for the server `jsdkd` and are not a stable API.

#[doc(hidden)]
pub mod engine;
#[doc(hidden)]
pub mod files;
#[doc(hidden)]
pub mod keeper;
#[doc(hidden)]
pub mod ledger;
#[doc(hidden)]
pub mod observer;
#[doc(hidden)]
pub mod rng;
#[doc(hidden)]
pub mod sources;
#[doc(hidden)]
pub mod store;

mod builder;
mod credentials;
mod error;
mod value;

pub use builder::{Account, Builder};
pub use credentials::Credentials;
pub use error::Error;
pub use secrecy::{ExposeSecret, SecretString};
pub use value::{Credential, JsConfig, Kind};
