//! Checks where credentials are stored.

use std::path::Path;
use std::sync::Arc;

use super::report::Report;
use clock::Clock;
use credentials::store::{self, RedisConfig, RedisStore, Store, StoreConfig};

const SECTION: &str = "cache";

/// A policy that removes keys which have an end, or all, when the memory is full.
const KEEPS_ALL: &str = "noeviction";

/// Checks the store; returns it if it can be read and other processes share it.
pub(super) async fn check(config: &StoreConfig, report: &mut Report) -> Option<Arc<dyn Store>> {
    match config {
        StoreConfig::Memory(_) => {
            report.warn(
                SECTION,
                "credentials are kept in memory: a restart fetches all of them again, and two instances void each other's tokens",
                "write cache: { file: \"…\" } for one instance, or a redis or sql for several",
            );
            return None;
        }
        StoreConfig::File(path) => {
            file(path, report);
            return None;
        }
        StoreConfig::Redis(config) => redis(config, report).await?,
        #[cfg(feature = "sql")]
        StoreConfig::Sql(config) => sql(config, report).await?,
    }
    store::open(config, &Clock::system()).await.ok()
}

/// A running server holds the file, so it is only looked at.
fn file(path: &Path, report: &mut Report) {
    use std::os::unix::fs::PermissionsExt;

    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let is_folder = folder.is_none_or(Path::is_dir);
    match path.metadata() {
        Ok(found) if found.permissions().mode() & 0o077 != 0 => report.warn(
            SECTION,
            format!("{} can be read by others", path.display()),
            format!("chmod 600 {}", path.display()),
        ),
        Ok(_) => report.ok(SECTION, format!("{} is its owner's alone", path.display())),
        Err(_) if is_folder => report.ok(
            SECTION,
            format!("{} is made when the server starts", path.display()),
        ),
        Err(error) => report.fail(
            SECTION,
            format!("{}: {error}", path.display()),
            "make its folder, and let the server's user write there",
        ),
    }
}

async fn redis(config: &RedisConfig, report: &mut Report) -> Option<()> {
    let store = match RedisStore::open(config, &Clock::system()) {
        Ok(store) => store,
        Err(error) => {
            report.fail(
                SECTION,
                error.to_string(),
                "correct cache.redis in the settings",
            );
            return None;
        }
    };
    let info = match store.info().await {
        Ok(info) => info,
        Err(error) => {
            report.fail(
                SECTION,
                error.to_string(),
                "start Redis, or correct its address, user and password in cache.redis",
            );
            return None;
        }
    };
    let field = |name: &str| info.get(name).map(String::as_str).unwrap_or_default();
    report.ok(SECTION, format!("Redis {} answers", field("redis_version")));
    let policy = field("maxmemory_policy");
    if policy == KEEPS_ALL || policy.is_empty() {
        report.ok(SECTION, "Redis evicts no key");
    } else {
        report.fail(
            SECTION,
            format!("Redis evicts keys when its memory is full (maxmemory-policy {policy})"),
            "CONFIG SET maxmemory-policy noeviction, and write it into redis.conf; an evicted token is fetched again, which voids the one in use",
        );
    }
    if field("aof_enabled") == "1" {
        report.ok(SECTION, "Redis writes an append-only file");
    } else {
        report.warn(
            SECTION,
            "Redis writes no append-only file: after a crash the latest tokens are fetched again",
            "CONFIG SET appendonly yes, and write it into redis.conf",
        );
    }
    Some(())
}

#[cfg(feature = "sql")]
async fn sql(config: &credentials::store::SqlConfig, report: &mut Report) -> Option<()> {
    match credentials::store::sql::faults_of_tables(config).await {
        Err(error) => {
            report.fail(
                SECTION,
                error.to_string(),
                "start the database, or correct its address, user and password in cache.sql",
            );
            None
        }
        Ok(faults) if faults.is_empty() => {
            report.ok(SECTION, "the database answers and has all tables");
            Some(())
        }
        Ok(faults) => {
            for fault in faults {
                report.fail(
                    SECTION,
                    fault,
                    "run jsdkd install, which makes and widens what is missing and removes nothing",
                );
            }
            None
        }
    }
}
