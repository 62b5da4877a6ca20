//! jsdkd: one small server that keeps every expiring WeChat credential fresh and hands it to whoever has a right to it.

pub mod account;
pub mod clock;
pub mod credential;
pub mod origin;
pub mod realm;
pub mod settings;
pub mod signature;
pub mod store;
