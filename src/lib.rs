//! jsdkd: one small server that keeps every expiring WeChat credential fresh and hands it to whoever has a right to it.
//!
//! WeChat gives each account an `access_token` and tickets that live two hours, may be fetched 2000 times a day, and void each other.
//! So one process must own them. This crate is that process, and a library for programs that would rather own them themselves: a
//! [`keeper::Keeper`] over a [`store::Store`] and a [`wechat::WechatClient`].
//!
//! The modules in reading order:
//! - [`clock`], [`chance`], [`account`], [`credential`], [`signature`], [`origin`]: plain values and pure functions;
//! - [`realm`]: who may query, and the proof of it; [`oauth`]: where an account's visitors may be sent back to;
//! - [`store`]: where credentials rest; [`wechat`]: WeChat's wire;
//! - [`keeper`]: the owner of every credential; [`login`]: what becomes of a visitor who logs in;
//! - [`message`]: what becomes of a message that WeChat pushes;
//! - [`sources`]: any expiring credential of any other service;
//! - [`settings`]: from a file and variables to a proven `Config`;
//! - [`http`]: routes and errors; [`sandbox`]: a truthful fake of WeChat's API;
//! - [`server`]: all the wiring; [`telemetry`]: logs.
//!
//! One request, retold: `POST /jsapi/{appid}/config` passes the gate (`http/gate.rs`), becomes a known account and a
//! `ConfigRequest` (`http/jsapi_config.rs`), asks the keeper for the ticket, which is at hand or is read from the store or fetched
//! once for all who wait, and is signed (`signature::jsapi`).

pub mod chance;
pub mod clock;

pub mod account;
pub mod credential;
pub mod origin;
pub mod signature;

pub mod oauth;
pub mod realm;

pub mod store;
pub mod wechat;

pub mod keeper;
pub mod login;

pub mod message;
pub mod sources;

pub mod registry;
pub mod settings;

pub mod http;
pub mod sandbox;

pub mod server;
pub mod telemetry;
