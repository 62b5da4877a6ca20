//! Checks a Redis: its version, what it evicts, whether it keeps what it is given, its clock.

use std::collections::HashMap;

use super::clocks;
use super::report::{Report, Status};
use clock::Clock;
use credentials::store::redis::Inspection;
use credentials::store::{Records, RedisConfig, RedisStore};

const SECTION: &str = "cache";

/// The one policy that removes nothing.
const KEEPS_ALL: &str = "noeviction";

/// The oldest version that works: the first with `GETDEL`.
const OLDEST: [u32; 2] = [6, 2];

/// A key that nobody writes.
const NO_KEY: &str = "jsdkd.doctor";

/// `None`: it cannot be used.
pub(super) async fn check(config: &RedisConfig, report: &mut Report) -> Option<()> {
    let store = match RedisStore::open(config, &Clock::system()) {
        Ok(store) => store,
        Err(error) => {
            report.fail(
                SECTION,
                error.to_string(),
                [
                    "correct cache.redis in the settings",
                    "改正配置里的 cache.redis",
                ],
            );
            return None;
        }
    };
    let (asked, read) = (store.inspect().await, store.get(NO_KEY).await);
    match (asked, &read) {
        (Ok(servers), _) => servers.iter().for_each(|server| tell(server, report)),
        (Err(error), Ok(_)) => report.warn(
            SECTION,
            format!("Redis answers, but does not say what it is: {error}"),
            [
                "allow jsdkd's user INFO (ACL SETUSER … +info), or ask the provider for its eviction policy and persistence",
                "允许 jsdkd 的用户执行 INFO（ACL SETUSER … +info），或者向服务商确认淘汰策略和持久化",
            ],
        ),
        (Err(_), Err(_)) => {}
    }
    let Err(error) = read else {
        return Some(());
    };
    report.fail(
        SECTION,
        error.to_string(),
        [
            "start Redis, or correct its address, user and password in cache.redis; its log says what it lacks",
            "启动 Redis，或改正 cache.redis 里的地址、用户和密码；缺什么见它的日志",
        ],
    );
    None
}

fn tell(server: &Inspection, report: &mut Report) {
    let name = server
        .node
        .as_ref()
        .map_or_else(|| "Redis".to_owned(), |node| format!("Redis {node}"));
    for (status, what, cure) in judge(server) {
        report.add(SECTION, status, format!("{name} {what}"), cure);
    }
    if let Some(clock) = server.clock {
        clocks::compare_store(SECTION, &format!("{name}'s"), clock, report);
    }
}

type Line = (Status, String, [&'static str; 2]);

fn ok(what: impl Into<String>) -> Line {
    (Status::Ok, what.into(), ["", ""])
}

/// What the server says about itself, line by line.
fn judge(server: &Inspection) -> Vec<Line> {
    let field = |name: &str| field(&server.info, name);
    let mut lines = vec![version(field("redis_version"))];
    if field("role") == "slave" {
        lines.push((
            Status::Fail,
            "is a replica, which takes no writes".to_owned(),
            [
                "write the master's address into cache.redis, or use sentinels",
                "cache.redis 要写主库的地址，或者使用哨兵",
            ],
        ));
    }
    lines.extend(memory(&server.info));
    lines.extend(persistence(server));
    lines
}

fn field<'i>(info: &'i HashMap<String, String>, name: &str) -> &'i str {
    info.get(name).map(String::as_str).unwrap_or_default()
}

fn version(text: &str) -> Line {
    let mut parts = text.split('.').map_while(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next()) {
        (Some(major), minor) if [major, minor.unwrap_or(0)] < OLDEST => (
            Status::Fail,
            format!("has version {text}; jsdkd needs 6.2 or later"),
            [
                "upgrade Redis; its data files can be read by later versions",
                "升级 Redis；新版本可以读取旧的数据文件",
            ],
        ),
        (Some(_), _) => ok(format!("answers, version {text}")),
        (None, _) => ok("answers; it does not say its version"),
    }
}

/// What it does when its memory is full, and whether it is.
fn memory(info: &HashMap<String, String>) -> Vec<Line> {
    let policy = field(info, "maxmemory_policy");
    if !policy.is_empty() && policy != KEEPS_ALL {
        return vec![(
            Status::Fail,
            format!("evicts keys when its memory is full (maxmemory-policy {policy})"),
            [
                "CONFIG SET maxmemory-policy noeviction, and write it into redis.conf; an evicted token is fetched again, which voids the one in use",
                "CONFIG SET maxmemory-policy noeviction，并写进 redis.conf；token 被淘汰后要重新获取，正在用的那个就失效了",
            ],
        )];
    }
    let number = |name| field(info, name).parse::<u64>().unwrap_or(0);
    let (used, most) = (number("used_memory"), number("maxmemory"));
    let percent = used.saturating_mul(100).checked_div(most).unwrap_or(0);
    let cure = [
        "raise maxmemory, or give jsdkd a Redis of its own; when it is full, no credential can be stored",
        "调大 maxmemory，或给 jsdkd 单独一个 Redis；内存用满后，什么凭据都存不进去",
    ];
    let status = match percent {
        0..80 => return vec![ok("evicts no key")],
        80..95 => Status::Warn,
        _ => Status::Fail,
    };
    let what = format!("evicts no key, and {percent} % of its maxmemory is used");
    vec![(status, what, cure)]
}

/// What is left after a crash or restart of it.
fn persistence(server: &Inspection) -> Vec<Line> {
    let field = |name: &str| field(&server.info, name);
    let failed = |name: &str| !field(name).is_empty() && field(name) != "ok";
    let mut lines = Vec::new();
    let cure = [
        "look into Redis' log, mostly its disk is full or its folder cannot be written; by default it then refuses all writes",
        "查看 Redis 的日志，多半是磁盘满了或目录不可写；默认情况下它这时拒绝一切写入",
    ];
    if failed("rdb_last_bgsave_status") {
        let what = "could not write its last snapshot (rdb_last_bgsave_status)".to_owned();
        lines.push((Status::Fail, what, cure));
    }
    let writes_aof = field("aof_enabled") == "1";
    if writes_aof && failed("aof_last_write_status") {
        let what = "could not write its append-only file (aof_last_write_status)".to_owned();
        lines.push((Status::Fail, what, cure));
    } else if writes_aof && failed("aof_last_bgrewrite_status") {
        let what = "could not rewrite its append-only file (aof_last_bgrewrite_status)".to_owned();
        lines.push((Status::Warn, what, cure));
    }
    let aof = [
        "CONFIG SET appendonly yes, and write it into redis.conf",
        "CONFIG SET appendonly yes，并写进 redis.conf",
    ];
    lines.push(match server.snapshots.as_deref() {
        _ if writes_aof => ok("writes an append-only file"),
        Some("") => (
            Status::Warn,
            "keeps nothing on disk (no append-only file, no snapshots): after its restart every token is fetched again, which voids those in use".to_owned(),
            aof,
        ),
        Some(snapshots) => (
            Status::Warn,
            format!("writes snapshots only (save {snapshots}), no append-only file: after a crash tokens since the last one are fetched again"),
            aof,
        ),
        None => (
            Status::Warn,
            "writes no append-only file: after a crash the latest tokens are fetched again"
                .to_owned(),
            aof,
        ),
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(fields: &[(&str, &str)], snapshots: Option<&str>) -> Vec<(Status, String)> {
        let usual = [
            ("redis_version", "7.0.15"),
            ("role", "master"),
            ("maxmemory_policy", KEEPS_ALL),
            ("aof_enabled", "1"),
            ("aof_last_write_status", "ok"),
            ("rdb_last_bgsave_status", "ok"),
        ];
        let server = Inspection {
            node: None,
            info: usual
                .iter()
                .chain(fields)
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            snapshots: snapshots.map(str::to_owned),
            clock: None,
        };
        let lines = judge(&server).into_iter();
        lines
            .filter(|(status, ..)| *status != Status::Ok)
            .map(|(status, what, cure)| {
                assert!(!cure[0].is_empty() && !cure[1].is_empty());
                (status, what)
            })
            .collect()
    }

    #[test]
    fn every_weakness_is_named() {
        assert_eq!(judged(&[], None), []);
        for (fields, snapshots, status, words) in [
            (
                &[("redis_version", "6.0.16")][..],
                None,
                Status::Fail,
                "6.0.16",
            ),
            (&[("redis_version", "5.0")], None, Status::Fail, "6.2"),
            (&[("role", "slave")], None, Status::Fail, "replica"),
            (
                &[("maxmemory_policy", "volatile-ttl")],
                None,
                Status::Fail,
                "volatile-ttl",
            ),
            (
                &[("maxmemory", "100"), ("used_memory", "97")],
                None,
                Status::Fail,
                "97 %",
            ),
            (
                &[("maxmemory", "100"), ("used_memory", "85")],
                None,
                Status::Warn,
                "85 %",
            ),
            (
                &[("rdb_last_bgsave_status", "err")],
                None,
                Status::Fail,
                "snapshot",
            ),
            (
                &[("aof_last_write_status", "err")],
                None,
                Status::Fail,
                "append-only",
            ),
            (
                &[("aof_last_bgrewrite_status", "err")],
                None,
                Status::Warn,
                "rewrite",
            ),
            (
                &[("aof_enabled", "0")],
                Some(""),
                Status::Warn,
                "nothing on disk",
            ),
            (
                &[("aof_enabled", "0")],
                Some("3600 1"),
                Status::Warn,
                "save 3600 1",
            ),
            (&[("aof_enabled", "0")], None, Status::Warn, "after a crash"),
        ] {
            let found = judged(fields, snapshots);
            assert!(
                matches!(found.as_slice(), [(found, what)] if *found == status && what.contains(words)),
                "{fields:?}: {found:?}"
            );
        }
    }
}
