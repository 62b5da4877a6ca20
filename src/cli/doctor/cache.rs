//! Checks where credentials are stored.

use std::path::Path;
use std::sync::Arc;

use super::report::Report;
use super::{modes, redis};
use clock::Clock;
use credentials::store::{self, Store, StoreConfig};

const SECTION: &str = "cache";

/// Checks the store; returns it if it can be read and other processes share it.
pub(super) async fn check(config: &StoreConfig, report: &mut Report) -> Option<Arc<dyn Store>> {
    match config {
        StoreConfig::Memory(_) => {
            report.warn(
                SECTION,
                "credentials are kept in memory: a restart fetches all of them again, and two instances void each other's tokens",
                [
                    "write cache: { file: \"…\" } for one instance, or a redis or sql for several",
                    "一个实例时写 cache: { file: \"…\" }，多个实例时用 redis 或 sql",
                ],
            );
            return None;
        }
        StoreConfig::File(path) => {
            file(path, report);
            return None;
        }
        StoreConfig::Redis(config) => redis::check(config, report).await?,
        #[cfg(feature = "sql")]
        StoreConfig::Sql(config) => sql(config, report).await?,
    }
    store::open(config, &Clock::system()).await.ok()
}

/// A running server holds the file, so it is only looked at.
fn file(path: &Path, report: &mut Report) {
    use rustix::fs::{Access, access};

    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let cure = [
        "make its folder, and let the server's user write there",
        "建好它所在的目录，并让服务器的用户可以写",
    ];
    if let Err(error) = folder.read_dir() {
        report.fail(SECTION, format!("{}: {error}", folder.display()), cure);
    } else if let Err(error) = access(folder, Access::WRITE_OK) {
        report.fail(
            SECTION,
            format!("{} cannot be written: {error}", folder.display()),
            cure,
        );
    } else if path.exists() {
        modes::check(SECTION, path, report);
    } else {
        report.ok(
            SECTION,
            format!("{} is made when the server starts", path.display()),
        );
    }
}

#[cfg(feature = "sql")]
async fn sql(config: &store::SqlConfig, report: &mut Report) -> Option<()> {
    use super::clocks;
    use store::sql::TableFault;

    let found = match store::sql::inspect(config, &Clock::system()).await {
        Ok(found) => found,
        Err(error) => {
            report.fail(
                SECTION,
                error.to_string(),
                [
                    "start the database, or correct its address, user and password in cache.sql; a database or file that is not there must be made first, then jsdkd install",
                    "启动数据库，或改正 cache.sql 里的地址、用户和密码；还没有数据库或文件时先建好，再运行 jsdkd install",
                ],
            );
            return None;
        }
    };
    report.ok(
        SECTION,
        format!("the database answers, version {}", found.version),
    );
    if let Some(clock) = found.clock {
        clocks::compare_store(SECTION, "the database's", clock, report);
    }
    if found.faults.is_empty() {
        report.ok(SECTION, "all tables and columns are there");
        return Some(());
    }
    for fault in found.faults {
        let cure = match fault {
            TableFault::NoTable(_) | TableFault::TooShort { .. } => [
                "run jsdkd install, which makes and widens what is missing and removes nothing",
                "运行 jsdkd install：它补上缺少的、加宽太短的，什么都不删除",
            ],
            TableFault::NoColumn(..) => [
                "add the column as jsdkd install makes it in an empty database, or give jsdkd a database of its own; jsdkd install adds no columns to tables of other programs",
                "照 jsdkd install 在空数据库里建的样子加上这一列，或给 jsdkd 单独一个数据库；jsdkd install 不给别的程序的表加列",
            ],
            TableFault::Unreadable(..) => [
                "grant the user of cache.sql SELECT, INSERT, UPDATE and DELETE on it",
                "给 cache.sql 的用户授予这张表的 SELECT、INSERT、UPDATE、DELETE 权限",
            ],
        };
        report.fail(SECTION, fault.to_string(), cure);
    }
    None
}
