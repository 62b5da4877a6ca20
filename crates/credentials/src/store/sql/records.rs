//! Our own table: records, leases and permits, distinguished by their kind. Expiries are unix
//! milliseconds by the server's clock.

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use sqlx::Result;

use super::Found;
use super::driver::Arg::{Number, Text};
use super::driver::Cell;
use super::fault::is_duplicate;
use super::session::Session;

/// The longest name that the table takes; it is part of a key, and an old MySQL indexes no more.
pub(super) const MAX_NAME_LEN: u32 = 180;

/// Maximum rows deleted in one sweep: more than are added between two, and few enough that nobody
/// waits.
const SWEPT: u32 = 256;

/// How often a write that lost against a concurrent one is retried. One of them succeeds each time.
pub(super) const ROUNDS: u32 = 5;

/// The name of `key` in the table: the key itself, or a digest of a very long one.
fn name_of(key: &str) -> Cow<'_, str> {
    if key.len() <= MAX_NAME_LEN as usize {
        return key.into();
    }
    let hash = Sha256::digest(key.as_bytes());
    format!(
        "sha256.{}",
        hash.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    )
    .into()
}

pub(super) async fn read(session: &mut Session, key: &str) -> Result<Option<Found>> {
    let name = &name_of(key);
    let question = "SELECT value, ends - {now} FROM jsdkd_record WHERE name = ? AND kind = 'record' AND ends > {now}";
    let row = session.row(question, &[Text(name)]).await?;
    Ok(row.and_then(|[value, left]| Found::new(value, left)))
}

pub(super) async fn write(session: &mut Session, key: &str, value: &str, left: i64) -> Result<()> {
    let name = &name_of(key);
    let over = session.dialect().over("name, kind", &["value", "ends"]);
    let statement = format!(
        "INSERT INTO jsdkd_record (name, kind, value, ends) VALUES (?, 'record', ?, {{now}} + ?) {over}"
    );
    session
        .execute_telling(key, &statement, &[Text(name), Text(value), Number(left)])
        .await
        .map(drop)
}

/// Replaces the record if it has expired or `may` give way. Of several that read the same row one
/// writes; the others read again.
pub(super) async fn replace(
    session: &mut Session,
    key: &str,
    may: impl Fn(&str) -> bool,
    value: &str,
    left: i64,
) -> Result<bool> {
    let name = &name_of(key);
    let question =
        "SELECT value, ends - {now}, ends FROM jsdkd_record WHERE name = ? AND kind = 'record'";
    let update = "UPDATE jsdkd_record SET value = ?, ends = {now} + ? WHERE name = ? AND kind = 'record' AND ends = ? AND value = ?";
    let insert =
        "INSERT INTO jsdkd_record (name, kind, value, ends) VALUES (?, 'record', ?, {now} + ?)";
    for _ in 0..ROUNDS {
        let Some([found, rest, ends]) = session.row(question, &[Text(name)]).await? else {
            match session
                .execute_telling(key, insert, &[Text(name), Text(value), Number(left)])
                .await
            {
                Err(error) if is_duplicate(&error) => continue,
                inserted => return inserted.map(|_| true),
            }
        };
        let (Some(found), Some(ends)) = (found.text(), ends.number()) else {
            return Ok(false);
        };
        if rest.number().is_some_and(|rest| rest > 0) && !may(&found) {
            return Ok(false);
        }
        let args = [
            Text(value),
            Number(left),
            Text(name),
            Number(ends),
            Text(&found),
        ];
        if session.execute_telling(key, update, &args).await? == 1 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Of several who read the same row, one deletes it: that one has taken it. MySQL has no delete
/// that returns.
pub(super) async fn take(session: &mut Session, key: &str) -> Result<Option<Found>> {
    let name = &name_of(key);
    let question = "SELECT value, ends - {now}, ends FROM jsdkd_record WHERE name = ? AND kind = 'record' AND ends > {now}";
    let deletion =
        "DELETE FROM jsdkd_record WHERE name = ? AND kind = 'record' AND ends = ? AND value = ?";
    for _ in 0..ROUNDS {
        let Some([value, left, ends]) = session.row(question, &[Text(name)]).await? else {
            return Ok(None);
        };
        let (Some(value), Some(ends)) = (value.text(), ends.number()) else {
            return Ok(None);
        };
        if session
            .execute(deletion, &[Text(name), Number(ends), Text(&value)])
            .await?
            == 1
        {
            return Ok(left.number().map(|left| Found {
                value: value.into(),
                left,
            }));
        }
        // Taken or rewritten by another process in between; read again.
    }
    Ok(None)
}

/// The server's clock.
pub(super) async fn now(session: &mut Session) -> Result<u64> {
    let row: Option<[Cell; 1]> = session.row("SELECT {now}", &[]).await?;
    Ok(row
        .and_then(|[now]| u64::try_from(now.number()?).ok())
        .unwrap_or(0))
}

/// Takes the lease. An owner that asks again (because the first answer was lost) gets it again. A
/// lease that expires much later than leases do, because the server's clock was set back, is
/// shortened.
pub(super) async fn take_lease(
    session: &mut Session,
    key: &str,
    owner: &str,
    ttl: i64,
) -> Result<bool> {
    let name = &name_of(key);
    let update = "UPDATE jsdkd_record SET owner = ?, ends = {now} + ? \
        WHERE name = ? AND kind = 'claim' AND (owner = ? OR ends <= {now})";
    let insert =
        "INSERT INTO jsdkd_record (name, kind, owner, ends) VALUES (?, 'claim', ?, {now} + ?)";
    let hasten = "UPDATE jsdkd_record SET ends = {now} + ? WHERE name = ? AND kind = 'claim' AND ends > {now} + ?";
    for _ in 0..ROUNDS {
        if session
            .execute(update, &[Text(owner), Number(ttl), Text(name), Text(owner)])
            .await?
            == 1
        {
            return Ok(true);
        }
        if is_there(session, name, "claim").await? {
            let end = [Number(ttl), Text(name), Number(ttl.saturating_mul(4))];
            session.execute(hasten, &end).await?;
            return Ok(false);
        }
        match session
            .execute(insert, &[Text(name), Text(owner), Number(ttl)])
            .await
        {
            Err(error) if is_duplicate(&error) => {}
            inserted => return inserted.map(|_| true),
        }
    }
    Ok(false)
}

pub(super) async fn return_lease(session: &mut Session, key: &str, owner: &str) -> Result<()> {
    let name = &name_of(key);
    let statement = "DELETE FROM jsdkd_record WHERE name = ? AND kind = 'claim' AND owner = ?";
    session
        .execute_telling(key, statement, &[Text(name), Text(owner)])
        .await
        .map(drop)
}

/// One of those counted by [`spend`] is not counted any more; when nothing is left to count the
/// window ends. MySQL assigns from left to right.
pub(super) async fn return_permit(session: &mut Session, key: &str) -> Result<()> {
    let name = &name_of(key);
    let statement = "UPDATE jsdkd_record SET ends = CASE WHEN count <= 1 THEN 0 ELSE ends END, count = count - 1 \
        WHERE name = ? AND kind = 'permit' AND count > 0";
    session.execute(statement, &[Text(name)]).await.map(drop)
}

/// Counts up to the limit and no further. MySQL assigns from left to right, so the count looks at
/// the end that was.
pub(super) async fn take_permit(
    session: &mut Session,
    key: &str,
    limit: u32,
    window: i64,
) -> Result<bool> {
    let name = &name_of(key);
    let update = "UPDATE jsdkd_record SET count = CASE WHEN ends <= {now} THEN 1 ELSE count + 1 END, \
        ends = CASE WHEN ends <= {now} THEN {now} + ? ELSE ends END \
        WHERE name = ? AND kind = 'permit' AND (ends <= {now} OR count < ?)";
    let insert =
        "INSERT INTO jsdkd_record (name, kind, count, ends) VALUES (?, 'permit', 1, {now} + ?)";
    if limit == 0 {
        return Ok(false);
    }
    for _ in 0..ROUNDS {
        if session
            .execute(update, &[Number(window), Text(name), Number(limit.into())])
            .await?
            == 1
        {
            return Ok(true);
        }
        if is_there(session, name, "permit").await? {
            return Ok(false);
        }
        match session.execute(insert, &[Text(name), Number(window)]).await {
            Err(error) if is_duplicate(&error) => {}
            inserted => return inserted.map(|_| true),
        }
    }
    Ok(false)
}

/// Asked before an insert, so that a refusal leaves no error in the server's log; only a true race
/// does.
async fn is_there(session: &mut Session, name: &str, kind: &str) -> Result<bool> {
    let question = "SELECT ends FROM jsdkd_record WHERE name = ? AND kind = ? AND ends > {now}";
    Ok(!session
        .rows(question, &[Text(name), Text(kind)])
        .await?
        .is_empty())
}

/// Deletes some of what has ended.
pub(super) async fn sweep(session: &mut Session) -> Result<()> {
    let statement = session
        .dialect()
        .delete_some("jsdkd_record", "ends <= {now}", SWEPT);
    session.execute_said(statement, &[]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_key_has_a_unique_short_name() {
        let long = |end: char| format!("message.wx1.{}{end}", "x".repeat(300));
        assert_eq!(name_of("oauth.trip.1"), "oauth.trip.1");
        assert!(
            name_of(&long('a')).len() <= MAX_NAME_LEN as usize
                && name_of(&long('a')) != name_of(&long('b'))
        );
    }
}
