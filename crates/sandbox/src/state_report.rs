//! The JSON of `GET /sandbox/state`: enough to follow a client's calls, without secrets. Tokens
//! appear as fingerprints.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::State;
use super::world::{TicketKind, TokenKind, World};
use clock::UnixMillis;

/// The whole state as JSON.
pub(super) fn state_report(state: &State) -> Value {
    let world = &state.world;
    let accounts: Map<String, Value> = world
        .accounts
        .keys()
        .map(|app_id| (app_id.clone(), account(state, app_id)))
        .collect();
    let mut totals = Map::new();
    for ((_, path), count) in &state.calls {
        let sum = totals.get(path).and_then(Value::as_u64).unwrap_or(0) + count;
        totals.insert(path.clone(), sum.into());
    }
    json!({
        "now": world.time.now().0,
        "lifetime": world.lifetime.as_secs_f64(),
        "overlap": world.overlap().as_secs_f64(),
        "daily_quota": world.daily_quota,
        "ticket_reuse": world.ticket_reuse,
        "silent": world.silent,
        "time_scale": world.time.scale(),
        "calls": totals,
        "accounts": accounts,
        "faults": state.faults.waiting(),
    })
}

fn account(state: &State, app_id: &str) -> Value {
    let world = &state.world;
    let calls: Map<String, Value> = state
        .calls
        .iter()
        .filter(|((caller, _), _)| caller == app_id)
        .map(|((_, path), count)| (path.clone(), Value::from(*count)))
        .collect();
    let tally = world.visitors.tally(app_id);
    let (minted, forced) = world.spent_today(app_id);
    let (custom, template) = world
        .outbox
        .get(app_id)
        .map_or((0, 0), |sent| (sent.custom, sent.template));
    json!({
        "calls": calls,
        "tokens_today": minted,
        "forced_today": forced,
        "visits": tally.visits,
        "codes": tally.codes,
        "logins": tally.logins,
        "sent": {"custom": custom, "template": template},
        "token": life(world, world.current(app_id, TokenKind::Basic)),
        "stable": life(world, world.current(app_id, TokenKind::Stable)),
        "jsapi": life(world, world.current_ticket(app_id, TicketKind::Jsapi)),
        "wx_card": life(world, world.current_ticket(app_id, TicketKind::Card)),
    })
}

fn life(world: &World, value: Option<(&str, UnixMillis)>) -> Value {
    value.map_or(
        Value::Null,
        |(value, ends)| json!({"fingerprint": fingerprint(value), "expires_in": world.time.client_seconds(world.time.now().until(ends))}),
    )
}

/// Identifies a token without revealing it: the first eight hex digits of its SHA-256.
fn fingerprint(value: &str) -> String {
    Sha256::digest(value.as_bytes())
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
