//! What several tests share.

pub(crate) mod chromium;
pub(crate) mod page;
