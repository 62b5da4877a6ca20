//! The tables: wetoken's four and our own. Names and lengths are wetoken's, so that either program
//! can use the other's tables; columns that are too short for what WeChat issues today are longer
//! in ours.

use super::dialect::Dialect;
use super::records::MAX_NAME_LEN;

/// A table as we need it.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [Column],
    /// Columns of the primary key.
    key: &'static str,
    unique: Option<&'static str>,
    /// A column to find rows by.
    index: Option<&'static str>,
}

pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Text with this maximum number of characters, not null.
    Text(u32),
    /// One that may be null.
    Perhaps(u32),
    /// One that wetoken has and we never read.
    Spare(u32),
    /// A text without a bound; may be null.
    Long,
    Number,
    Counter,
    /// An automatic number for each row.
    Serial,
    /// An end, never null.
    End,
    /// When the row was written; the database fills it in.
    Written,
}

impl Kind {
    /// How many characters must fit in.
    pub(super) fn length(self) -> Option<u32> {
        match self {
            Self::Text(length) | Self::Perhaps(length) => Some(length),
            _ => None,
        }
    }

    /// Whether we use it, so that it must be there.
    pub(super) fn is_read(self) -> bool {
        !matches!(self, Self::Spare(_))
    }
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// WeChat: keep at least 512 characters for an access_token.
const CREDENTIAL: Kind = Kind::Text(512);

pub(super) const TABLES: [Table; 5] = [
    Table {
        name: "wechat_app_info",
        columns: &[
            column("appid", Kind::Text(64)),
            column("secret", Kind::Text(128)),
            column("token", Kind::Text(32)),
            // WeChat's EncodingAESKey has 43 characters.
            column("aes_key", Kind::Text(64)),
            column("update_time", Kind::Written),
            column("mchid", Kind::Text(64)),
            column("pay_key", Kind::Text(64)),
            column("sub_appid", Kind::Text(64)),
            column("sub_mchid", Kind::Text(64)),
            column("wechat_host", Kind::Spare(64)),
            column("wcode_template_id", Kind::Perhaps(64)),
        ],
        key: "appid",
        unique: None,
        index: None,
    },
    credentials("wechat_access_token", &credential_columns("access_token")),
    credentials("wechat_jsapi_ticket", &credential_columns("ticket")),
    Table {
        name: "wechat_user_info",
        columns: &[
            column("user_id", Kind::Serial),
            column("appid", Kind::Text(32)),
            column("openid", Kind::Text(32)),
            column("unionid", Kind::Spare(32)),
            column("user_name", Kind::Text(32)),
            column("nick_name", Kind::Spare(32)),
            column("head_url", Kind::Spare(128)),
            column("phone", Kind::Spare(16)),
            column("email", Kind::Spare(64)),
            column("status", Kind::Counter),
            column("create_time", Kind::Written),
            column("update_time", Kind::Written),
        ],
        key: "user_id",
        unique: Some("appid, user_name"),
        index: None,
    },
    Table {
        name: "jsdkd_record",
        columns: &[
            column("name", Kind::Text(MAX_NAME_LEN)),
            column("kind", Kind::Text(8)),
            column("value", Kind::Long),
            column("owner", Kind::Perhaps(64)),
            column("count", Kind::Counter),
            column("ends", Kind::Number),
        ],
        key: "name, kind",
        unique: None,
        index: Some("ends"),
    },
];

const fn credentials(name: &'static str, columns: &'static [Column]) -> Table {
    Table {
        name,
        columns,
        key: "appid",
        unique: None,
        index: None,
    }
}

const fn credential_columns(value: &'static str) -> [Column; 6] {
    [
        column("appid", Kind::Text(64)),
        column(value, CREDENTIAL),
        column("expire", Kind::Number),
        column("expire_date", Kind::End),
        column("update_time", Kind::Written),
        column("message", Kind::Text(64)),
    ]
}

impl Table {
    /// The statements that make it, in order; they do nothing where it is.
    pub(super) fn creation(&self, dialect: Dialect) -> Vec<String> {
        let Self { name, key, .. } = self;
        let mut lines: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("{} {}", column.name, column.kind.declared(dialect)))
            .collect();
        // In SQLite a serial column already declares the primary key.
        if dialect != Dialect::Sqlite
            || !self
                .columns
                .iter()
                .any(|column| matches!(column.kind, Kind::Serial))
        {
            lines.push(format!("PRIMARY KEY ({key})"));
        }
        lines.extend(self.unique.map(|columns| format!("UNIQUE ({columns})")));
        let index = self
            .index
            .map(|column| (format!("{name}_{column}"), column));
        let mut after = Vec::new();
        match (dialect, index) {
            (Dialect::MySql, Some((index, column))) => {
                lines.push(format!("KEY {index} ({column})"))
            }
            (_, Some((index, column))) => after.push(format!(
                "CREATE INDEX IF NOT EXISTS {index} ON {name} ({column})"
            )),
            (_, None) => {}
        }
        // Names are compared as they are written: an account's row must not be another's.
        let storage = if dialect == Dialect::MySql {
            " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
        } else {
            ""
        };
        let table = format!(
            "CREATE TABLE IF NOT EXISTS {name} (\n    {}\n){storage}",
            lines.join(",\n    ")
        );
        std::iter::once(table).chain(after).collect()
    }
}

impl Kind {
    fn declared(self, dialect: Dialect) -> String {
        let moment = match dialect {
            Dialect::Postgres => "TIMESTAMP WITH TIME ZONE",
            Dialect::MySql | Dialect::Sqlite => "DATETIME",
        };
        match (self, dialect) {
            (Self::Text(length), _) => format!("VARCHAR({length}) NOT NULL"),
            (Self::Perhaps(length) | Self::Spare(length), _) => format!("VARCHAR({length}) NULL"),
            (Self::Long, Dialect::MySql) => "MEDIUMTEXT NULL".to_owned(),
            (Self::Long, _) => "TEXT NULL".to_owned(),
            (Self::Number, _) => "BIGINT NOT NULL".to_owned(),
            (Self::Counter, _) => "BIGINT NOT NULL DEFAULT 0".to_owned(),
            (Self::Serial, Dialect::MySql) => "BIGINT NOT NULL AUTO_INCREMENT".to_owned(),
            (Self::Serial, Dialect::Postgres) => {
                "BIGINT GENERATED BY DEFAULT AS IDENTITY".to_owned()
            }
            (Self::Serial, Dialect::Sqlite) => "INTEGER PRIMARY KEY".to_owned(),
            (Self::End, _) => format!("{moment} NOT NULL"),
            (Self::Written, _) => format!("{moment} NOT NULL DEFAULT CURRENT_TIMESTAMP"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_no_longer_than_an_old_mysql_can_index() {
        for table in &TABLES {
            let keys = table.key.split(", ").chain(
                table
                    .unique
                    .into_iter()
                    .flat_map(|columns| columns.split(", ")),
            );
            let length: u32 = keys
                .filter_map(|key| {
                    table
                        .columns
                        .iter()
                        .find(|column| column.name == key)?
                        .kind
                        .length()
                })
                .sum();
            assert!(4 * length <= 767, "{}: {} bytes", table.name, 4 * length);
        }
    }

    #[test]
    fn nothing_is_dropped_or_created_twice() {
        for statement in TABLES
            .iter()
            .flat_map(|table| table.creation(Dialect::Sqlite))
        {
            assert!(
                statement.starts_with("CREATE ") && statement.contains("IF NOT EXISTS"),
                "{statement}"
            );
        }
    }
}
