//! The gateway: WeChat's own API behind our address. A program keeps its SDK and changes two values, the host and the secret; the
//! real AppSecret and the real token never reach it.

mod config;

pub use self::config::GatewayConfig;
pub use crate::realm::presets::{Handling, Preset, Row};
pub use crate::realm::scope::{GatewayScope, Refusal};
pub use crate::realm::{presets, scope};
