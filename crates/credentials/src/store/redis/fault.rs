//! What a fault of Redis means: in words that say what to do, and for the connection it came over.
//! The words quote what the server said, without the arguments that it quotes itself, and never
//! hold a password.

use redis::{ErrorKind, RedisError};

/// A classified fault.
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
    /// The connection ended, and the request may or may not have been executed.
    Lost,
    /// It leads to the wrong or an unready server, which did not carry the request out.
    Astray,
}

/// The word that Redis begins an error with, also for the first error of a pipeline.
pub(super) fn code(error: &RedisError) -> Option<String> {
    error
        .clone()
        .into_server_errors()?
        .first()
        .map(|(_, error)| error.code().to_owned())
}

/// True if the server's error means that it has no password.
pub(super) fn needs_no_password(error: &RedisError) -> bool {
    says(error, "without any password configured") || says(error, "no password is set")
}

/// Whether a key holds something else than the number that was to be counted up.
pub(super) fn is_no_number(error: &RedisError) -> bool {
    says(error, "not an integer")
}

/// Whether it is an old server's answer to a user's name.
pub(super) fn knows_no_users(error: &RedisError) -> bool {
    says(error, "wrong number of arguments")
}

/// Error words that mean something else than "this command is not available here".
const NO_REFUSALS: [&str; 16] = [
    "NOAUTH",
    "WRONGPASS",
    "WRONGTYPE",
    "READONLY",
    "MASTERDOWN",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "LOADING",
    "BUSY",
    "MOVED",
    "ASK",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "CROSSSLOT",
    "EXECABORT",
];

/// Whether the server answered that it does not take this command, in whichever words: proxies have
/// many.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    code(error).is_some_and(|code| !NO_REFUSALS.contains(&code.as_str()))
}

/// Whether the connection ended instead of an answer.
pub(super) fn is_lost(error: &RedisError) -> bool {
    code(error).is_none() && error.is_connection_dropped() && !error.is_connection_refusal()
}

/// What the server said, in one short line. What may be one of our arguments is left out: what
/// Redis lists as such, and whatever is as long as a token.
pub(super) fn said(error: &RedisError) -> String {
    let first = error
        .clone()
        .into_server_errors()
        .and_then(|errors| errors.first().map(|(_, error)| error.clone()));
    let Some(first) = first else {
        return error.category().to_owned();
    };
    if !first.code().chars().all(|c| c.is_ascii_alphabetic()) {
        return "an error of its own".to_owned();
    }
    let detail = first.details().unwrap_or_default();
    let detail = ARGUMENTS
        .iter()
        .filter_map(|words| detail.find(words))
        .min()
        .map_or(detail, |at| &detail[..at]);
    let is_short = |word: &&str| word.len() <= MAX_WORD_LEN;
    let words = detail
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty());
    let words: Vec<&str> = words
        .map(|word| Some(word).filter(is_short).unwrap_or("…"))
        .take(MAX_WORDS)
        .collect();
    format!("{} {}", first.code(), words.join(" "))
        .trim_end_matches([' ', ','])
        .to_owned()
}

/// How Redis begins the list of the arguments that it was given.
const ARGUMENTS: [&str; 2] = ["with args", "args beginning"];

/// Tokens, tickets and secrets are longer.
const MAX_WORD_LEN: usize = 24;

const MAX_WORDS: usize = 30;

/// Whether the error repeats this text.
pub(super) fn quotes(error: &RedisError, text: &str) -> bool {
    !text.is_empty() && (says(error, text) || code(error).is_some_and(|code| code.contains(text)))
}

/// A refused password, in no words of the server's.
pub(super) fn of_password() -> RedisError {
    RedisError::from((ErrorKind::AuthenticationFailed, "the password was refused"))
}

/// The error of a `SELECT`. A server with fewer databases keeps its own error; one without `SELECT`
/// gets a plain one.
pub(super) fn of_select(error: RedisError, db: i64) -> RedisError {
    if !is_refusal(&error) || says(&error, "DB index") {
        return error;
    }
    let words = format!(
        "it has no database {db} (it said: {}): take `db` out, or use `prefix` to keep sites apart",
        said(&error)
    );
    RedisError::from((ErrorKind::InvalidClientConfig, "no such database", words))
}

fn says(error: &RedisError, words: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(words))
}

/// `place` is the server's address in words.
pub(super) fn judge(error: &RedisError, place: &str) -> Fault {
    let code = code(error);
    let (connection, words) = match (code.as_deref(), error.kind()) {
        (Some("NOAUTH"), _) => (
            Verdict::Astray,
            format!("{place} wants a password: set `password` or write redis://:PASSWORD@host"),
        ),
        (Some("WRONGPASS"), _) => (Verdict::Astray, refused_password(place)),
        (_, ErrorKind::AuthenticationFailed) => (Verdict::Astray, refused_password(place)),
        (Some("ERR"), _) if says(error, "DB index") => (
            Verdict::Astray,
            format!("{place} has no database of that number: correct `db`"),
        ),
        (Some("NOPERM"), _) => (
            Verdict::Sound,
            format!(
                "the user at {place} may not do this: allow it the prefix's keys and +get +set +del +incr +decr +pttl +pexpire +eval +hset +hget +hgetall +publish"
            ),
        ),
        (Some("READONLY"), _) => (
            Verdict::Astray,
            format!(
                "{place} is a read-only replica: point to the master, or to the sentinels that know it"
            ),
        ),
        (Some("MASTERDOWN"), _) => (
            Verdict::Astray,
            format!("{place} is a replica that lost its master"),
        ),
        (Some("OOM"), _) => (
            Verdict::Sound,
            format!(
                "{place} is out of memory: raise its `maxmemory` or set a `maxmemory-policy` that evicts volatile keys"
            ),
        ),
        (Some("MISCONF"), _) => (
            Verdict::Sound,
            format!("{place} takes no writes because it cannot save to its disk: see its own log"),
        ),
        (Some("LOADING"), _) => (Verdict::Sound, format!("{place} is still loading its data")),
        (Some("MOVED" | "ASK"), _) => (
            Verdict::Astray,
            format!("{place} belongs to a cluster: name its nodes, or write redis+cluster://host"),
        ),
        (Some("CLUSTERDOWN" | "TRYAGAIN"), _) => (
            Verdict::Astray,
            format!("{place} has no master for a part of the keys just now"),
        ),
        (Some(_), _) => (Verdict::Sound, format!("{place} answered: {}", said(error))),
        (None, ErrorKind::MasterNameNotFoundBySentinel) => (
            Verdict::Astray,
            format!("no sentinel knows that master ({place})"),
        ),
        (None, _) if error.is_connection_refusal() => (
            Verdict::Lost,
            format!("nothing listens at {place}: start Redis there or correct the address"),
        ),
        (None, _) if error.is_timeout() => {
            (Verdict::Lost, format!("{place} did not answer in time"))
        }
        (None, ErrorKind::Io) if error.is_connection_dropped() => (
            Verdict::Lost,
            format!("the connection to {place} broke off"),
        ),
        (None, ErrorKind::Io | ErrorKind::ClusterConnectionNotFound) => {
            (Verdict::Lost, format!("{place} cannot be reached: {error}"))
        }
        (None, ErrorKind::InvalidClientConfig) if error.detail().is_some() => (
            Verdict::Astray,
            format!("{place}: {}", error.detail().unwrap_or_default()),
        ),
        // Ours, found before anything was sent, or between two commands.
        (None, ErrorKind::Client) => (
            Verdict::Sound,
            error
                .detail()
                .map_or_else(|| error.to_string(), str::to_owned),
        ),
        (None, ErrorKind::UnexpectedReturnType) => (
            Verdict::Sound,
            format!("{place} answered in an unexpected form"),
        ),
        (None, _) => (
            Verdict::Lost,
            format!("{place} failed: {}", error.category()),
        ),
    };
    Fault { words, connection }
}

/// Like [`judge`], for an error on a cluster connection: the cluster serves the other nodes' keys
/// if one is dead, and the other nodes still refer to the dead one.
pub(super) fn judge_in_cluster(error: &RedisError, place: &str) -> Fault {
    let fault = judge(error, place);
    let is_of_a_node = matches!(
        code(error).as_deref(),
        None | Some("MOVED" | "ASK" | "CLUSTERDOWN" | "TRYAGAIN")
    );
    if !is_of_a_node || fault.connection == Verdict::Sound {
        return fault;
    }
    let words = format!(
        "a node of the {place} cannot be reached, or has no successor yet: a part of the keys is not served"
    );
    Fault { words, ..fault }
}

/// The words for an end of patience.
pub(super) fn silence(place: &str, timeout: std::time::Duration) -> String {
    format!(
        "{place} did not answer within {}",
        humantime::format_duration(timeout)
    )
}

fn refused_password(place: &str) -> String {
    format!(
        "{place} refused the password: correct `password` (and `user`), or take them out if it has none"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_do_not_quote_our_arguments() {
        for error in [
            redis::make_extension_error(
                "ERR".into(),
                Some("unknown command 'SETT', with args beginning with: 'SECRET'".into()),
            ),
            redis::make_extension_error("SECRET-ish".into(), Some("SECRET".into())),
        ] {
            let fault = judge(&error, "redis");
            assert!(!fault.words.contains("SECRET"), "{fault:?}");
        }
    }

    #[test]
    fn a_read_only_server_is_left_and_a_full_one_kept() {
        let of =
            |code: &str| judge(&redis::make_extension_error(code.into(), None), "redis").connection;
        assert_eq!(
            (of("READONLY"), of("OOM"), of("NOAUTH")),
            (Verdict::Astray, Verdict::Sound, Verdict::Astray)
        );
    }

    #[test]
    fn a_dead_node_is_not_reported_as_a_missing_cluster_mode() {
        let of = |code: &str| {
            judge_in_cluster(
                &redis::make_extension_error(code.into(), None),
                "redis cluster at h:1",
            )
        };
        for code in ["MOVED", "CLUSTERDOWN"] {
            assert!(
                of(code)
                    .words
                    .starts_with("a node of the redis cluster at h:1 cannot be reached"),
                "{:?}",
                of(code)
            );
            assert_eq!(of(code).connection, Verdict::Astray);
        }
        assert!(
            of("OOM").words.contains("out of memory") && of("NOAUTH").words.contains("password")
        );
    }
}
