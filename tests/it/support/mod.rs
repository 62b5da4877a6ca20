//! What several groups of tests share.

pub(crate) mod nginx;
pub(crate) mod programs;
pub(crate) mod standin;
