//! What can go wrong with LookupEvents, by account and Region.

use std::fmt;
use std::sync::Arc;

/// What an AWS client said. Shared: the first failure may be told again at the end.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why events cannot be had from an account and Region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The identity may not; a policy is missing, or another one forbids it.
    Denied {
        /// What was asked for, such as `cloudtrail:LookupEvents`.
        action: String,
    },
    /// The Region is not enabled for the account.
    RegionOff,
    /// The clock of this machine is wrong.
    Clock,
    /// There are no credentials, or they are over and no new ones are to be had.
    Credentials,
    /// The service does not take the request, whoever sends it.
    Refused,
    /// No answer for a long time.
    Unreachable,
    /// A proxy does not let us through.
    Proxy,
    /// A second with more events than a page holds, and page tokens that the service does not know again.
    Stuck {
        /// The second, of the Unix epoch.
        second: i64,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { action } => write!(f, "not allowed to call {action}"),
            Self::RegionOff => f.write_str("the Region is not enabled for the account"),
            Self::Clock => f.write_str("the clock of this machine is wrong"),
            Self::Credentials => f.write_str("no valid credentials"),
            Self::Refused => f.write_str("the request was refused"),
            Self::Unreachable => f.write_str("no answer for a long time"),
            Self::Proxy => f.write_str("a proxy does not let us through"),
            Self::Stuck { second } => write!(f, "cannot get past second {second}"),
        }
    }
}

/// What ends the loading of one account and Region, or of all of them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing (more) can be had here. The other places go on.
    #[error("could not look up events of account {account} in {region}: {why}")]
    Place {
        /// The account's number.
        account: String,
        /// The Region's name.
        region: String,
        /// What that means.
        why: Why,
        /// What the service or the client said.
        source: Cause,
    },
    /// Nothing can be had anywhere: a person has to change something.
    #[error("could not look up events in any of {places} accounts and Regions: {why}")]
    Everywhere {
        /// How many there are.
        places: usize,
        /// What was wrong with the first.
        why: Why,
        /// What was wrong with the first, in the service's words.
        source: Cause,
    },
    /// The tasks that fetch could not be started.
    #[error("could not start fetching events")]
    Start {
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// Returns what the error means, if it is about a service's answer.
    pub fn why(&self) -> Option<&Why> {
        match self {
            Self::Place { why, .. } | Self::Everywhere { why, .. } => Some(why),
            Self::Start { .. } => None,
        }
    }

    /// Says what went wrong, for a line that begins with what the error is about.
    pub fn told(&self) -> String {
        match self {
            Self::Place { account, why, source, .. } => {
                format!("account {account}: {why}: {}", innermost(source.as_ref()))
            }
            other => other.to_string(),
        }
    }
}

/// Returns the last of a chain of causes: the service's own words.
fn innermost(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
