//! Routes of other servers, so that their clients work with this one: each a thin adapter over the
//! credentials or the sources, with answers and errors in that server's own form. A new neighbour
//! is one file and one line in [`ALL`].

use std::sync::Arc;

use super::state::{AppState, NeighbourSettings};
use crate::settings::Config;

mod browser;
mod caller_check;
mod hub;
mod neighbour;
mod tokenboy;
mod wechat_server;
mod wetoken;

pub(super) use neighbour::Neighbour;
pub use neighbour::Opening;

/// Every neighbour, in the order in which the router tries their routes.
pub(super) const ALL: [Neighbour; 4] = [
    hub::NEIGHBOUR,
    tokenboy::NEIGHBOUR,
    wechat_server::NEIGHBOUR,
    wetoken::NEIGHBOUR,
];

/// What the neighbours' routes need of the settings.
pub(super) fn settings(config: &Config) -> Vec<Arc<dyn NeighbourSettings>> {
    ALL.iter()
        .filter_map(|neighbour| (neighbour.settings)(config))
        .collect()
}

/// The routes that a network alone opens, for the log.
pub fn openings(state: &AppState) -> Vec<Opening> {
    ALL.iter()
        .filter_map(|neighbour| (neighbour.opening)(state))
        .collect()
}
