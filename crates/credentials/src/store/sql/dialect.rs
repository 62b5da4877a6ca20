//! What each database says differently. Statements are written once, with `?` for arguments and a
//! few words in braces, and translated here. Every reading of a clock is the server's: several
//! instances then agree, however wrong their own clocks are.

/// Whose words a statement is put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    MySql,
    Postgres,
    Sqlite,
}

impl Dialect {
    /// As messages call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    /// The statement in this dialect.
    pub(super) fn say(self, neutral: &str) -> String {
        let mut said = neutral.to_owned();
        for (word, meaning) in self.words() {
            if said.contains(word) {
                said = said.replace(word, meaning);
            }
        }
        if self == Self::Postgres {
            numbered(&said)
        } else {
            said
        }
    }

    /// `{now}`: unix milliseconds. `{left}`: the milliseconds that a row of wetoken's has left,
    /// never more than its whole life, since its end is in local time, which may be set back.
    /// `{end}`: the end, in that column's own form, of a life of `?` milliseconds, down to the
    /// second, so that no life is lengthened. `{moment}`: now, in that form.
    fn words(self) -> [(&'static str, &'static str); 4] {
        match self {
            Self::MySql => [
                (
                    "{now}",
                    "(TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', UTC_TIMESTAMP(3)) DIV 1000)",
                ),
                (
                    "{left}",
                    "LEAST(TIMESTAMPDIFF(MICROSECOND, NOW(6), expire_date) DIV 1000, expire * 1000)",
                ),
                (
                    "{end}",
                    "DATE_FORMAT(DATE_ADD(NOW(6), INTERVAL ? * 1000 MICROSECOND), '%Y-%m-%d %H:%i:%s')",
                ),
                ("{moment}", "NOW()"),
            ],
            Self::Postgres => [
                (
                    "{now}",
                    "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
                ),
                (
                    "{left}",
                    "LEAST(CAST(EXTRACT(EPOCH FROM expire_date - clock_timestamp()) * 1000 AS BIGINT), expire * 1000)",
                ),
                (
                    "{end}",
                    "date_trunc('second', clock_timestamp() + ? * INTERVAL '1 millisecond')",
                ),
                ("{moment}", "clock_timestamp()"),
            ],
            Self::Sqlite => [
                (
                    "{now}",
                    "CAST(ROUND(unixepoch('subsec') * 1000) AS INTEGER)",
                ),
                (
                    "{left}",
                    "MIN(CAST((julianday(expire_date) - julianday('now')) * 86400000.0 AS INTEGER), expire * 1000)",
                ),
                (
                    "{end}",
                    "strftime('%Y-%m-%d %H:%M:%S', 'now', (? / 1000.0) || ' seconds')",
                ),
                ("{moment}", "datetime('now')"),
            ],
        }
    }

    /// The end of an insert that writes `columns` over a row which has the same `key`.
    pub(super) fn over(self, key: &str, columns: &[&str]) -> String {
        let (clause, new) = match self {
            Self::MySql => ("ON DUPLICATE KEY UPDATE".to_owned(), ["VALUES(", ")"]),
            _ => (
                format!("ON CONFLICT ({key}) DO UPDATE SET"),
                ["excluded.", ""],
            ),
        };
        let set: Vec<String> = columns
            .iter()
            .map(|column| format!("{column} = {}{column}{}", new[0], new[1]))
            .collect();
        format!("{clause} {}", set.join(", "))
    }

    /// Deletes at most `limit` rows of `table` that match `condition`.
    pub(super) fn delete_some(self, table: &str, condition: &str, limit: u32) -> String {
        let row = match self {
            Self::MySql => {
                return self.say(&format!(
                    "DELETE FROM {table} WHERE {condition} LIMIT {limit}"
                ));
            }
            Self::Postgres => "ctid",
            Self::Sqlite => "rowid",
        };
        let some = format!("SELECT {row} FROM {table} WHERE {condition} LIMIT {limit}");
        self.say(&format!("DELETE FROM {table} WHERE {row} IN ({some})"))
    }
}

/// `?` becomes `$1`, `$2` …; no statement of ours has one in a text.
fn numbered(statement: &str) -> String {
    let mut parts = statement.split('?');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.enumerate().fold(first, |said, (index, part)| {
        format!("{said}${}{part}", index + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_numbered_where_the_dialect_requires_it() {
        let neutral = "SELECT a FROM b WHERE c = ? AND d = ?";
        assert_eq!(
            Dialect::Postgres.say(neutral),
            "SELECT a FROM b WHERE c = $1 AND d = $2"
        );
        assert_eq!(
            (Dialect::MySql.say(neutral), Dialect::Sqlite.say(neutral)),
            (neutral.to_owned(), neutral.to_owned())
        );
    }

    #[test]
    fn every_placeholder_is_translated_once() {
        for dialect in [Dialect::MySql, Dialect::Postgres, Dialect::Sqlite] {
            let said = dialect.say("{now} {left} {end} {moment}");
            assert!(!said.contains(['{', '}']), "{said}");
        }
    }

    #[test]
    fn an_upsert_names_the_new_values() {
        assert_eq!(
            Dialect::MySql.over("a", &["b", "c"]),
            "ON DUPLICATE KEY UPDATE b = VALUES(b), c = VALUES(c)"
        );
        assert_eq!(
            Dialect::Sqlite.over("a", &["b"]),
            "ON CONFLICT (a) DO UPDATE SET b = excluded.b"
        );
    }
}
