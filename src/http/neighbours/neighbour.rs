//! What a neighbour contributes.

use std::sync::Arc;

use crate::http::route::Route;
use crate::http::state::{AppState, NeighbourSettings};
use crate::settings::{CallerPolicy, Config};

/// One neighbour: its file exports a constant of this type.
pub(in crate::http) struct Neighbour {
    pub(in crate::http) routes: &'static [Route],
    /// What its routes need of the settings; `None` if these do not enable it.
    pub(in crate::http) settings: fn(&Config) -> Option<Arc<dyn NeighbourSettings>>,
    /// The networks whose programs may call it without a signature of the protocol's own.
    pub(in crate::http) opening: fn(&AppState) -> Option<Opening>,
}

/// Routes that a network alone opens.
#[derive(Debug, PartialEq, Eq)]
pub struct Opening {
    /// Which routes, in words.
    pub routes: &'static str,
    /// The section of the settings that opens them.
    pub section: &'static str,
    /// Who may call.
    pub policy: CallerPolicy,
}
