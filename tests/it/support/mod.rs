//! What several tests share.

pub(crate) mod chromium;
pub(crate) mod page;
//! What several groups of tests share.
pub(crate) mod programs;
pub(crate) mod standin;
