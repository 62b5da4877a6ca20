//! What a fault of Redis means: in words that say what to do, and for the connection it came over. The words never quote what Redis
//! said, since Redis quotes the arguments it was given, and never hold a password.

use redis::{ErrorKind, RedisError};

/// A fault, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What happened and what to do about it.
    pub(super) words: String,
    /// What it means for the connection.
    pub(super) connection: Verdict,
}

/// Whether the connection may be used again, and the request repeated on a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works; the server refused this request.
    Sound,
    /// It ended, and nobody knows whether the request was carried out.
    Lost,
    /// It leads to the wrong or an unready server, which did not carry the request out.
    Astray,
}

/// The word that Redis begins an error with, also for the first error of a pipeline.
pub(super) fn code(error: &RedisError) -> Option<String> {
    error.clone().into_server_errors()?.first().map(|(_, error)| error.code().to_owned())
}

/// Whether a server says so that has no password at all.
pub(super) fn needs_no_password(error: &RedisError) -> bool {
    says(error, "without any password configured") || says(error, "no password is set")
}

/// Whether it is an old server's answer to a user's name.
pub(super) fn knows_no_users(error: &RedisError) -> bool {
    says(error, "wrong number of arguments")
}

fn says(error: &RedisError, words: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(words))
}

/// `place` is the server's address in words.
pub(super) fn judge(error: &RedisError, place: &str) -> Fault {
    let code = code(error);
    let (connection, words) = match (code.as_deref(), error.kind()) {
        (Some("NOAUTH"), _) => {
            (Verdict::Astray, format!("{place} wants a password: set `password` or write redis://:PASSWORD@host"))
        }
        (Some("WRONGPASS"), _) => (Verdict::Astray, refused_password(place)),
        (_, ErrorKind::AuthenticationFailed) => (Verdict::Astray, refused_password(place)),
        (Some("ERR"), _) if says(error, "DB index") => {
            (Verdict::Astray, format!("{place} has no database of that number: correct `db`"))
        }
        (Some("NOPERM"), _) => (
            Verdict::Sound,
            format!(
                "the user at {place} may not do this: allow it the prefix's keys and +get +set +del +incr +pttl +pexpire +eval +hset +hgetall"
            ),
        ),
        (Some("READONLY"), _) => {
            (Verdict::Astray, format!("{place} is a read-only replica: point to the master, or to the sentinels that know it"))
        }
        (Some("MASTERDOWN"), _) => (Verdict::Astray, format!("{place} is a replica that lost its master")),
        (Some("OOM"), _) => (
            Verdict::Sound,
            format!("{place} is out of memory: raise its `maxmemory` or set a `maxmemory-policy` that evicts volatile keys"),
        ),
        (Some("MISCONF"), _) => {
            (Verdict::Sound, format!("{place} takes no writes because it cannot save to its disk: see its own log"))
        }
        (Some("LOADING"), _) => (Verdict::Sound, format!("{place} is still loading its data")),
        (Some("MOVED" | "ASK"), _) => {
            (Verdict::Astray, format!("{place} belongs to a cluster: name its nodes, or write redis+cluster://host"))
        }
        (Some("CLUSTERDOWN" | "TRYAGAIN"), _) => {
            (Verdict::Astray, format!("{place} has no master for a part of the keys just now"))
        }
        (Some(other), _) => (Verdict::Sound, format!("{place} answered with the error {}", plain(other))),
        (None, ErrorKind::MasterNameNotFoundBySentinel) => (Verdict::Astray, format!("no sentinel knows that master ({place})")),
        (None, _) if error.is_connection_refusal() => {
            (Verdict::Lost, format!("nothing listens at {place}: start Redis there or correct the address"))
        }
        (None, _) if error.is_timeout() => (Verdict::Lost, format!("{place} did not answer in time")),
        (None, ErrorKind::Io) if error.is_connection_dropped() => (Verdict::Lost, format!("the connection to {place} broke off")),
        (None, ErrorKind::Io | ErrorKind::ClusterConnectionNotFound) => {
            (Verdict::Lost, format!("{place} cannot be reached: {error}"))
        }
        (None, ErrorKind::UnexpectedReturnType) => (Verdict::Sound, format!("{place} answered in an unexpected form")),
        (None, _) => (Verdict::Lost, format!("{place} failed: {}", error.category())),
    };
    Fault { words, connection }
}

/// As [`judge`], for what came over a connection to a cluster: it goes on serving the other nodes' keys when one is dead, and the others point
/// to the dead one.
pub(super) fn judge_in_cluster(error: &RedisError, place: &str) -> Fault {
    let fault = judge(error, place);
    let is_of_a_node = matches!(code(error).as_deref(), None | Some("MOVED" | "ASK" | "CLUSTERDOWN" | "TRYAGAIN"));
    if !is_of_a_node || fault.connection == Verdict::Sound {
        return fault;
    }
    let words = format!("a node of the {place} cannot be reached, or has no successor yet: a part of the keys is not served");
    Fault { words, ..fault }
}

/// The words for an end of patience.
pub(super) fn silence(place: &str, timeout: std::time::Duration) -> String {
    format!("{place} did not answer within {}", humantime::format_duration(timeout))
}

fn refused_password(place: &str) -> String {
    format!("{place} refused the password: correct `password` (and `user`), or take them out if it has none")
}

/// Error words are upper-case by custom; whatever is not is somebody's text and stays out.
fn plain(code: &str) -> &str {
    if code.chars().all(|c| c.is_ascii_uppercase()) { code } else { "of its own" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_quotes_of_our_arguments_stays_out_of_the_words() {
        for error in [
            redis::make_extension_error("ERR".into(), Some("unknown command 'SETT', with args beginning with: 'SECRET'".into())),
            redis::make_extension_error("SECRET-ish".into(), Some("SECRET".into())),
        ] {
            let fault = judge(&error, "redis");
            assert!(!fault.words.contains("SECRET"), "{fault:?}");
        }
    }

    #[test]
    fn a_read_only_server_is_astray_and_a_full_one_is_sound() {
        let of = |code: &str| judge(&redis::make_extension_error(code.into(), None), "redis").connection;
        assert_eq!((of("READONLY"), of("OOM"), of("NOAUTH")), (Verdict::Astray, Verdict::Sound, Verdict::Astray));
    }

    #[test]
    fn a_cluster_is_not_told_to_be_a_cluster_when_a_node_of_it_is_dead() {
        let of = |code: &str| judge_in_cluster(&redis::make_extension_error(code.into(), None), "redis cluster at h:1");
        for code in ["MOVED", "CLUSTERDOWN"] {
            assert!(of(code).words.starts_with("a node of the redis cluster at h:1 cannot be reached"), "{:?}", of(code));
            assert_eq!(of(code).connection, Verdict::Astray);
        }
        assert!(of("OOM").words.contains("out of memory") && of("NOAUTH").words.contains("password"));
    }
}
