//! Why a server did not start.

use std::io;

use credentials::store::OpenError;
use wechat::ClientError;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The HTTPS client could not be created.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The system's root certificates could not be loaded.
    #[error("this system's root certificates cannot be read ({0}); install ca-certificates")]
    Tls(io::Error),
    /// The address of the admin listener could not be bound.
    #[error(
        "cannot listen on {address}: {source}; choose another server.admin, or stop the program that uses it"
    )]
    BindAdmin {
        /// The address.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// The address could not be bound.
    #[error(
        "cannot listen on {address}: {source}; choose another server.port, or stop the program that uses it"
    )]
    Bind {
        /// The address.
        address: String,
        /// The system's error.
        source: io::Error,
    },
}
