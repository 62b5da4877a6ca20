//! Options of other Redis clients that have no effect here, and why. They are named in a warning
//! and do no harm.

/// Why an unknown option has no effect.
pub const UNKNOWN_OPTION: &str = "it is no option of a Redis client that we know";

const CONNECTING: &str = "jsdkd connects when it needs to, retries, and gives up after `timeout`";
const SOCKET: &str = "jsdkd sets up its sockets itself";
const ANSWERS: &str = "it is about how that client's commands and answers are written";
const TOPOLOGY: &str = "jsdkd finds the servers of a cluster or of sentinels itself";
const TTL: &str = "each record lives as long as its credential";
const NAME: &str = "it names a connection, and is not sent";

/// Names of node_redis 3 to 5, ioredis 4 and 5, and the stores of cache-manager.
const IDLE: [(&str, &[&str]); 6] = [
    (
        CONNECTING,
        &[
            "retry_strategy",
            "retryStrategy",
            "reconnectStrategy",
            "reconnectOnError",
            "retry_max_delay",
            "retry_delay",
            "retry_backoff",
            "retry_unfulfilled_commands",
            "max_attempts",
            "maxRetriesPerRequest",
            "maxLoadingRetryTime",
            "enable_offline_queue",
            "enableOfflineQueue",
            "offlineQueue",
            "disableOfflineQueue",
            "command_queue_high_water",
            "command_queue_low_water",
            "commandsQueueMaxLength",
            "autoResendUnfulfilledCommands",
            "autoResubscribe",
            "disable_resubscribing",
            "lazyConnect",
            "no_ready_check",
            "enableReadyCheck",
            "connect_timeout",
            "connectTimeout",
            "disconnectTimeout",
            "socketTimeout",
            "blockingTimeout",
            "sentinelCommandTimeout",
            "pingInterval",
            "clusterRetryStrategy",
            "sentinelRetryStrategy",
            "sentinelReconnectStrategy",
            "retryDelayOnFailover",
            "retryDelayOnClusterDown",
            "retryDelayOnTryAgain",
            "retryDelayOnMoved",
            "maxCommandRedirections",
            "isolationPoolOptions",
        ],
    ),
    (
        SOCKET,
        &[
            "socket_keepalive",
            "socket_initial_delay",
            "socket_initialdelay",
            "socket_nodelay",
            "keepAlive",
            "keepAliveInitialDelay",
            "noDelay",
            "family",
            "localAddress",
            "localPort",
            "lookup",
            "dnsLookup",
            "stream",
            "Connector",
        ],
    ),
    (
        ANSWERS,
        &[
            "string_numbers",
            "stringNumbers",
            "detect_buffers",
            "return_buffers",
            "dropBufferSupport",
            "parser",
            "rename_commands",
            "commandOptions",
            "RESP",
            "unstableResp3",
            "legacyMode",
            "typeMapping",
            "scripts",
            "functions",
            "modules",
            "monitor",
            "showFriendlyErrorStack",
            "enableAutoPipelining",
            "autoPipeliningIgnoredCommands",
            "clientSideCache",
            "Promise",
            "protocol",
        ],
    ),
    (
        TOPOLOGY,
        &[
            "readOnly",
            "readonly",
            "scaleReads",
            "useReplicas",
            "preferredSlaves",
            "natMap",
            "nodeAddressMap",
            "minimizeConnections",
            "slotsRefreshTimeout",
            "slotsRefreshInterval",
            "updateSentinels",
            "sentinelMaxConnections",
            "failoverDetector",
            "enableTLSForSentinelMode",
            "sentinelTLS",
            "redisOptions",
            "defaults",
        ],
    ),
    (
        TTL,
        &[
            "ttl",
            "defaultTtl",
            "max",
            "refreshThreshold",
            "isCacheable",
            "isCacheableValue",
            "store",
        ],
    ),
    (
        NAME,
        &[
            "connectionName",
            "clientName",
            "client_name",
            "clientInfoTag",
            "disableClientInfo",
            "setinfo",
        ],
    ),
];

/// Why the option of that name has no effect; `None`: it has one, or is unknown.
pub(super) fn reason(key: &str) -> Option<&'static str> {
    IDLE.iter()
        .find(|(_, names)| names.contains(&key))
        .map(|(why, _)| *why)
}
