//! What the gateway is allowed to use: plain data from the settings.

use std::time::Duration;

use crate::ip_allowlist::TrustedProxies;

/// The `gateway` section of the settings.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The path below which WeChat's paths are served: empty, or `/wx` without a slash at its end.
    pub prefix: String,
    /// Who may make the calls that bring none of our secrets.
    pub anonymous: TrustedProxies,
    /// How long one forwarded call may take.
    pub timeout: Duration,
    /// The largest body taken, in bytes.
    pub body_limit: u64,
    /// Up to this many bytes a body is kept whole, so that its call can be repeated once.
    pub keep_whole: u64,
    /// Bounds all bodies that are kept whole, in bytes.
    pub memory: u64,
}
