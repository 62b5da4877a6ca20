//! Reads `gateway`: what the gateway may use. `realms` reads who may call through it.

use std::time::Duration;

use super::callers;
use super::config::GatewayConfig;
use super::reader::At;
use crate::realm::scope::is_segment;

const KNOWN: [&str; 6] = [
    "prefix",
    "anonymous",
    "timeout",
    "bodyLimit",
    "keepWhole",
    "memory",
];

const SECOND: Duration = Duration::from_secs(1);

/// The section; `None` after a fault.
pub(super) fn gateway(at: &At<'_>) -> Option<GatewayConfig> {
    if !at.is_table(&KNOWN) {
        return None;
    }
    let prefix = at
        .get("prefix")
        .map_or_else(|| Some(String::new()), |prefix| self::prefix(&prefix));
    let anonymous = at
        .get("anonymous")
        .and_then(|anonymous| callers::trusted(&anonymous));
    let timeout = at
        .get("timeout")
        .and_then(|timeout| timeout.duration(SECOND..=600 * SECOND));
    let body_limit = at
        .get("bodyLimit")
        .and_then(|limit| limit.size(1024..=1 << 30));
    let keep_whole = at.get("keepWhole").and_then(|keep| keep.size(0..=1 << 30));
    let memory = at.get("memory").and_then(|memory| memory.size(0..=1 << 36));
    if let (Some(keep), Some(memory), Some(place)) = (keep_whole, memory, at.get("keepWhole"))
        && keep > memory
    {
        place.note("is larger than gateway.memory, the bound for all kept bodies together; lower it, or raise gateway.memory");
    }
    Some(GatewayConfig {
        prefix: prefix?,
        anonymous: anonymous?,
        timeout: timeout?,
        body_limit: body_limit?,
        keep_whole: keep_whole?,
        memory: memory?,
    })
}

/// A path without a slash at its end, or nothing.
fn prefix(at: &At<'_>) -> Option<String> {
    let text = at.plain_text();
    let path = text.map(|text| text.strip_suffix('/').unwrap_or(text));
    let fits = path.filter(|path| {
        path.is_empty()
            || path
                .strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(is_segment))
    });
    if fits.is_none() {
        at.expected("a path such as \"/wx\", of letters, digits, '_', '.' and '-', or \"\"");
    }
    fits.map(str::to_owned)
}
