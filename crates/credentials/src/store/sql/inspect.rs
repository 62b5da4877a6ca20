//! Which tables and columns a database lacks, for `jsdkd doctor`. Nothing is changed.

use super::foreign;
use super::schema::TABLES;
use super::url::SqlConfig;
use crate::store::StoreError;

/// What is wrong with each table that cannot be used; empty if `jsdkd install` has nothing to do
/// that a read would notice. An error: the database cannot be asked at all.
pub async fn faults_of_tables(config: &SqlConfig) -> Result<Vec<String>, StoreError> {
    foreign::rows_of(config, "SELECT 'x'").await?;
    let mut faults = Vec::new();
    for table in &TABLES {
        let columns: Vec<&str> = table
            .columns
            .iter()
            .filter(|column| column.kind.is_read())
            .map(|column| column.name)
            .collect();
        // An alias, because one of the columns has a reserved word for a name.
        let columns: Vec<String> = columns.iter().map(|name| format!("t.{name}")).collect();
        let question = format!(
            "SELECT {} FROM {} t WHERE 1 = 0",
            columns.join(", "),
            table.name
        );
        if let Err(error) = foreign::ask_any(config, &question).await {
            faults.push(format!("{}: {}", table.name, error.cause));
        }
    }
    Ok(faults)
}
