//! Why the shared state of alerts cannot be used.

use thiserror::Error;

use crate::aws::{ErrorKind, ServiceError};

/// An error of the shared state of alerts.
#[derive(Debug, Error)]
pub enum Error {
    /// A request failed, and another would too.
    #[error("{operation} failed for the alert state in the table {table} ({region})")]
    Request {
        /// The name of the table.
        table: String,
        /// Its Region.
        region: String,
        /// The operation, as in the API.
        operation: &'static str,
        /// The cause.
        source: Box<ServiceError>,
    },
    /// A shutdown was requested while the table was not available.
    #[error("stopped while waiting for the alert state in the table {table}")]
    Interrupted {
        /// The name of the table.
        table: String,
        /// Why it was not available, unless other processes changed the same items.
        source: Option<Box<Error>>,
    },
    /// Other processes change the same items again and again.
    #[error(
        "the items of rule \"{rule}\" in the table {table} were changed by other processes during each of {attempts} attempts"
    )]
    Contended {
        /// The name of the table.
        table: String,
        /// The rule.
        rule: String,
        /// Attempts to change them.
        attempts: u32,
    },
    /// An item was not written by this program.
    #[error("the item {key} of the table {table} is not valid: {cause}")]
    InvalidItem {
        /// The name of the table.
        table: String,
        /// Its key.
        key: String,
        /// What is wrong.
        cause: &'static str,
    },
}

/// What a user has to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The table does not exist.
    MissingTable,
    /// The key of the table is not `id`, a text.
    WrongKey,
    /// The role may not perform the operation.
    AccessDenied,
    /// The key that encrypts the table cannot be used.
    EncryptionKey,
    /// The capacity of the table does not suffice.
    Throttled,
    /// Something that every AWS request needs.
    Aws,
    /// Anything else.
    Other,
}

impl Error {
    /// Returns what kind of problem it is.
    pub fn problem(&self) -> Problem {
        let Self::Request { source, .. } = self else { return Problem::Other };
        let code = source.code.as_deref().unwrap_or_default();
        match (code, &source.kind) {
            ("ResourceNotFoundException" | "TableNotFoundException", _) => Problem::MissingTable,
            ("InaccessibleEncryptionCredentialsException", _) => Problem::EncryptionKey,
            (code, _) if code.starts_with("KMS") => Problem::EncryptionKey,
            // No parameter of a request but its key depends on the table.
            ("ValidationException", _) => Problem::WrongKey,
            (_, ErrorKind::AccessDenied { action: Some(action) }) if action.starts_with("kms:") => {
                Problem::EncryptionKey
            }
            (_, ErrorKind::AccessDenied { .. }) => Problem::AccessDenied,
            (_, ErrorKind::Throttled) => Problem::Throttled,
            (_, kind) if kind.hint().is_some() => Problem::Aws,
            _ => Problem::Other,
        }
    }

    /// Returns whether only a shutdown ended the wait for the table.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted { .. })
    }
}
