//! Helpers shared by several groups of tests.

pub(crate) mod app;
pub(crate) mod backend;
pub(crate) mod chromium;
pub(crate) mod databases;
pub(crate) mod deliveries;
pub(crate) mod devtools;
pub(crate) mod fake_server;
pub(crate) mod faketime;
pub(crate) mod faulty_link;
pub(crate) mod filter;
pub(crate) mod fleet;
pub(crate) mod gateway;
pub(crate) mod keepers;
pub(crate) mod load;
pub(crate) mod nginx;
pub(crate) mod npm;
pub(crate) mod page;
pub(crate) mod pip;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod service;
pub(crate) mod socks;
pub(crate) mod tcp_wechat;
pub(crate) mod visitor;
