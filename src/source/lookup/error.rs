//! Errors of LookupEvents, by account and Region.

use std::fmt;
use std::sync::Arc;

use crate::error;

/// An error of the AWS client, shared because the first one may be reported again when all Regions have failed.
pub type SharedError = Arc<dyn std::error::Error + Send + Sync>;

/// Why events of an account and Region cannot be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The caller lacks the permission, or a policy denies it.
    Denied {
        /// The denied action, such as `cloudtrail:LookupEvents`.
        action: String,
    },
    /// The Region is not enabled for the account.
    RegionDisabled,
    /// The clock of this machine is wrong.
    ClockSkew,
    /// There are no credentials, or they expired and cannot be refreshed.
    Credentials,
    /// The service rejects the request as invalid.
    Rejected,
    /// There was no response for a long time.
    Unreachable,
    /// A proxy refused the connection.
    Proxy,
    /// One second has more events than a page, and the service rejects its page tokens.
    NoProgress {
        /// The second, since the Unix epoch.
        second: i64,
    },
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { action } => write!(f, "not authorized to perform {action}"),
            Self::RegionDisabled => f.write_str("the Region is not enabled for the account"),
            Self::ClockSkew => f.write_str("the system clock is wrong"),
            Self::Credentials => f.write_str("no valid credentials"),
            Self::Rejected => f.write_str("the request was rejected"),
            Self::Unreachable => f.write_str("no response for a long time"),
            Self::Proxy => f.write_str("a proxy refused the connection"),
            Self::NoProgress { second } => write!(f, "no progress at second {second}"),
        }
    }
}

/// An error that ends the load of one account and Region, or of all of them.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// One account and Region failed; the others continue.
    #[error("could not look up events of account {account} in {region}: {reason}")]
    Region {
        /// The account ID.
        account: String,
        /// The Region's name.
        region: String,
        /// Why it failed.
        reason: FailureReason,
        /// The error of the service or the client.
        source: SharedError,
    },
    /// All accounts and Regions failed.
    #[error("could not look up events in any of {regions} accounts and Regions: {reason}")]
    AllRegions {
        /// How many there are.
        regions: usize,
        /// Why the first one failed.
        reason: FailureReason,
        /// The error of the first one.
        source: SharedError,
    },
}

impl LookupError {
    /// Returns why events cannot be fetched.
    pub fn reason(&self) -> &FailureReason {
        match self {
            Self::Region { reason, .. } | Self::AllRegions { reason, .. } => reason,
        }
    }

    /// Describes the error, for a line that starts with [`source::Error::subject`](crate::source::Error::subject).
    pub fn describe(&self) -> String {
        match self {
            Self::Region { account, reason, source, .. } => {
                let cause: &(dyn std::error::Error + 'static) = source.as_ref();
                let innermost = error::chain(cause).last().map(ToString::to_string);
                format!("account {account}: {reason}: {}", innermost.unwrap_or_default())
            }
            other @ Self::AllRegions { .. } => other.to_string(),
        }
    }
}
