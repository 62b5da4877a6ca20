//! Records in a Redis, laid out as the original's client lays them out, so that both can run on one Redis during a move.

mod options;
mod url;

pub use options::from_options;
pub use url::{from_address, from_nodes, from_url};
