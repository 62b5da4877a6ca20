//! One binary for all integration tests: it links once.

mod browser;
mod demo_page;
mod support;
