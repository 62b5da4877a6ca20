//! What a realm is told when a request that it signed is refused.

use super::error::ApiError;
use crate::realm::RealmError;

/// What to change in the settings, so that a realm may do what it was refused.
pub(super) fn cure(error: &RealmError) -> &'static str {
    match error {
        RealmError::NotItsKey(_) => "add the name of this credential to the realm's keys",
        RealmError::NotFromThere => "add the caller's address to the realm's networks",
        _ => "add the app to the realm's list of apps",
    }
}

impl From<RealmError> for ApiError {
    fn from(error: RealmError) -> Self {
        match error {
            RealmError::Unauthorized => Self::Unauthorized,
            RealmError::Expired { now } => Self::TimestampOutOfRange { now },
            RealmError::Over => Self::RealmOver,
            RealmError::NotItsApp | RealmError::NotItsKey(_) | RealmError::NotFromThere => Self::RealmNotAllowed(error),
            RealmError::Repeated(_) => Self::MalformedQuery(error.to_string()),
        }
    }
}
