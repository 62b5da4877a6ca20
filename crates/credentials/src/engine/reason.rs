//! Why a credential is renewed.

use secrecy::SecretString;

/// Why a credential is renewed. It decides which value makes the renewal unnecessary.
#[derive(Clone, Debug)]
pub(super) enum Reason {
    /// There is none: any valid value will do.
    Missing,
    /// It is about to expire: only a fresh value will do.
    Ahead,
    /// The service refused this value: only another one will do.
    Refused(SecretString, Evidence),
    /// This value may be void: only another one will do, or its confirmation by the service.
    Doubted(SecretString),
}

/// How it is known that the service refuses a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Somebody says so.
    Report,
    /// The service called it void when it was asked about it.
    Probe,
}

impl Reason {
    /// The word for it in the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Ahead => "ahead",
            Self::Refused(..) => "refused",
            Self::Doubted(_) => "doubted",
        }
    }
}
