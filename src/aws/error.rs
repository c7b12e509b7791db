//! Errors of the AWS module.
//!
//! Input: an operation and the [`ServiceError`] that it failed with. Output: an [`Error`] that names the operation, the
//! account and the Region.
//! Invariant: no variant contains a secret.
//! Deliberately absent: exit codes and the text of causes (see `cli`).

use super::{error_kind::ErrorKind, partition::AwsPartition, service_error::ServiceError};

/// An error of an AWS operation or setting.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No provider of the credential chain has credentials.
    #[error("found no AWS credentials{}", in_profile(profile.as_deref()))]
    NoCredentials {
        /// The profile that the user selected.
        profile: Option<String>,
        /// The error of the credential chain.
        source: Box<ServiceError>,
    },
    /// Credentials could not be obtained, or AWS does not accept them.
    #[error("could not use the AWS credentials{}", in_profile(profile.as_deref()))]
    Credentials {
        /// The profile that the user selected.
        profile: Option<String>,
        /// The cause.
        source: Box<ServiceError>,
    },
    /// A role could not be assumed.
    #[error("could not assume {role}")]
    AssumeRole {
        /// ARN of the role, which contains the account.
        role: String,
        /// The cause.
        source: Box<ServiceError>,
    },
    /// A request failed.
    #[error("{}{service}:{action} failed in {region}", in_account(account.as_deref()))]
    Request {
        /// Account whose credentials signed the request, if it is known.
        account: Option<String>,
        /// Service prefix as in IAM.
        service: &'static str,
        /// Action as in IAM.
        action: &'static str,
        /// Region that the request was sent to.
        region: String,
        /// The cause.
        source: Box<ServiceError>,
    },
    /// A response lacks a field that the API documents.
    #[error("{}{service}:{action} returned no {missing}", in_account(account.as_deref()))]
    IncompleteResponse {
        /// Account whose credentials signed the request, if it is known.
        account: Option<String>,
        /// Service prefix as in IAM.
        service: &'static str,
        /// Action as in IAM.
        action: &'static str,
        /// The missing field.
        missing: &'static str,
    },
    /// A Region is in another partition than the credentials.
    #[error(
        "{region} is in the partition {actual}, but the credentials are for {expected}: each partition has its own"
    )]
    WrongPartition {
        /// The requested Region.
        region: String,
        /// Partition of the Region.
        actual: AwsPartition,
        /// Partition of the credentials.
        expected: AwsPartition,
    },
    /// The text is not a Region name.
    #[error("{0:?} is not a valid Region name, such as eu-central-1")]
    InvalidRegion(String),
    /// The text is not a role ARN.
    #[error("{0:?} is not a valid role ARN, such as arn:aws:iam::111122223333:role/trailload")]
    InvalidRoleArn(String),
    /// A CA bundle cannot be used.
    #[error("could not load the additional CA certificates")]
    Certificates {
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Returns the error of the request, if one was sent.
    pub fn service_error(&self) -> Option<&ServiceError> {
        match self {
            Self::NoCredentials { source, .. }
            | Self::Credentials { source, .. }
            | Self::AssumeRole { source, .. }
            | Self::Request { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Returns how the user can fix it, in one sentence.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoCredentials { .. } => Some(
                "set AWS_PROFILE or --profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; with SSO run \
                 `aws sso login` first; on EC2, ECS, EKS and Lambda attach a role",
            ),
            Self::AssumeRole { source, .. }
                if matches!(source.kind, ErrorKind::AccessDenied { .. }) =>
            {
                Some(
                    "the role's trust policy must allow the caller (with the external ID, if it requires one), and \
                     the caller needs sts:AssumeRole on the role",
                )
            }
            // Without a code, no AWS service rejected the credentials: their source failed.
            Self::Credentials { source, .. }
                if source.code.is_none() && source.kind == ErrorKind::InvalidCredentials =>
            {
                Some(
                    "fix the credential source that the profile names; with SSO run `aws sso login` again",
                )
            }
            other => other.service_error().and_then(|error| error.kind.hint()),
        }
    }
}

fn in_profile(profile: Option<&str>) -> String {
    profile.map(|name| format!(" (profile {name})")).unwrap_or_default()
}

fn in_account(account: Option<&str>) -> String {
    account.map(|id| format!("account {id}: ")).unwrap_or_default()
}
