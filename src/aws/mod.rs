//! The door to AWS: who we are there, where we may go, and what an answer means.
//!
//! In: a profile, a role, the clock. Out: an [`Access`] per identity, which hands out clients, Regions and the
//! accounts of an organization; and a [`Refusal`] for every request that failed, sorted by [`Trouble`].
//! Holds: no request without a time limit; every lane of an identity shares one set of credentials, which is asked
//! for again once when it expires; an account that is known is named in every error.
//! Absent on purpose: how fast a service may be asked and what to do when it says "too fast" (see the sources:
//! their limiters own that), and what the answers contain.
//!
//! | file | decides |
//! |---|---|
//! | [`access`] | which settings count, and what a client is made of |
//! | `keeper` | when credentials are asked for again, and that only one asks |
//! | `watch` | what is seen in every answer on its way to us: expired sessions, the clock |
//! | [`trouble`] | what a failed request means |
//! | `answer` | where the code and the message are in an answer that says no |
//! | [`partition`] | which Regions belong together, and which of them stands for the whole |
//! | [`regions`] | which Regions an account uses |
//! | [`role`] | what a role's name looks like, and the template for many accounts |
//! | [`organization`] | which accounts an organization has |
//! | [`trails`] | where a trail delivers to |
//! | `call` | one signed request to a service for which we carry no SDK crate |
//! | `http` | connections, proxies and certificates, one pool for all clients |

pub mod access;
mod answer;
mod call;
mod http;
mod keeper;
pub mod organization;
pub mod partition;
pub mod regions;
pub mod role;
pub mod trails;
pub mod trouble;
mod watch;

pub use access::{Access, Clock, Identity, Options, Timeouts};
pub use organization::Member;
pub use partition::Partition;
pub use regions::{Origin, Regions};
pub use role::{Role, Template};
pub use trails::Trail;
pub use trouble::{Refusal, Trouble};

/// What went wrong at the door.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No link of the credential chain had any.
    #[error("found no AWS credentials{}", in_profile(profile.as_deref()))]
    NoCredentials {
        /// The profile that was asked for by name.
        profile: Option<String>,
        /// What the chain said.
        source: Box<Refusal>,
    },
    /// Credentials exist, or should, and could not be had or are not accepted.
    #[error("could not use the AWS credentials{}", in_profile(profile.as_deref()))]
    Credentials {
        /// The profile that was asked for by name.
        profile: Option<String>,
        /// Why.
        source: Box<Refusal>,
    },
    /// A role could not be put on.
    #[error("could not assume {role}")]
    Assume {
        /// The role's ARN; it names the account.
        role: String,
        /// Why.
        source: Box<Refusal>,
    },
    /// A question to AWS failed.
    #[error("{}{service}:{action} failed in {region}", in_account(account.as_deref()))]
    Call {
        /// Whose credentials signed it, if that is known yet.
        account: Option<String>,
        /// As IAM names the service.
        service: &'static str,
        /// As IAM names the action.
        action: &'static str,
        /// Where we asked.
        region: String,
        /// Why.
        source: Box<Refusal>,
    },
    /// An answer lacks what its documentation promises.
    #[error("{}{service}:{action} answered without {lacks}", in_account(account.as_deref()))]
    Answer {
        /// Whose credentials signed it, if that is known yet.
        account: Option<String>,
        /// As IAM names the service.
        service: &'static str,
        /// As IAM names the action.
        action: &'static str,
        /// What is missing.
        lacks: &'static str,
    },
    /// A Region of another partition than the credentials.
    #[error(
        "{region} belongs to the partition {theirs}, and these credentials to {ours}: each partition has its own"
    )]
    ForeignRegion {
        /// The Region asked for.
        region: String,
        /// Its partition.
        theirs: Partition,
        /// The partition of the credentials.
        ours: Partition,
    },
    /// A text that is no Region.
    #[error("{0:?} is not the name of a Region, such as eu-central-1")]
    NoRegion(String),
    /// A text that is no role's ARN.
    #[error("{0:?} is not the ARN of a role, such as arn:aws:iam::111122223333:role/trailload")]
    NoRole(String),
    /// A certificate file that cannot be used.
    #[error("could not use the additional certificates")]
    Certificates {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Returns what AWS said, if it was asked.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::NoCredentials { source, .. }
            | Self::Credentials { source, .. }
            | Self::Assume { source, .. }
            | Self::Call { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Returns what a person can do about it, in one sentence.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NoCredentials { .. } => Some(
                "set AWS_PROFILE or --profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; with SSO run \
                 `aws sso login` first; on EC2, ECS and EKS attach a role",
            ),
            Self::Assume { source, .. } if matches!(source.trouble, Trouble::Denied { .. }) => {
                Some(
                    "the role's trust policy must name the caller (and the external id, if it asks for one), and the \
                 caller needs sts:AssumeRole on it",
                )
            }
            // Nobody at AWS was asked: the source of the credentials failed.
            Self::Credentials { source, .. }
                if source.code.is_none() && source.trouble == Trouble::Credentials =>
            {
                Some(
                    "mend what the profile names as its source; with SSO run `aws sso login` again",
                )
            }
            other => other.refusal().and_then(|refusal| refusal.trouble.advice()),
        }
    }
}

fn in_profile(profile: Option<&str>) -> String {
    profile.map(|name| format!(" (profile {name})")).unwrap_or_default()
}

fn in_account(account: Option<&str>) -> String {
    account.map(|id| format!("account {id}: ")).unwrap_or_default()
}
