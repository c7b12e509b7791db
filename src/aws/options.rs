//! The settings of a session.
//!
//! Input: command-line options and environment, as `cli` resolved them. Output: [`SessionOptions`].
//! Invariant: every setting but the clock is optional; a missing one is resolved as in other AWS tools.
//! Deliberately absent: reading variables and profile files, which the SDK does.

use std::{collections::BTreeMap, time::Duration};

use aws_credential_types::provider::SharedCredentialsProvider;

use super::{clock::Clock, partition::AwsPartition};
use crate::pending::PendingRequests;

/// Time limits of requests to AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Limit for establishing a connection.
    pub connect: Duration,
    /// Limit from the request to the first byte of the response.
    pub read: Duration,
    /// Limit for one attempt. It does not cover a streamed body, for which the source has a limit of its own.
    pub attempt: Duration,
    /// Limit for obtaining credentials from the whole credential chain.
    pub credentials: Duration,
    /// Upper bound of the wait before the second attempt; it doubles with each further attempt.
    pub initial_backoff: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // The default of the SDK.
            connect: Duration::from_millis(3_100),
            // LookupEvents is known to take up to 35 seconds in a busy Region.
            read: Duration::from_mins(1),
            attempt: Duration::from_mins(1),
            // A credential process may ask the user for an MFA code.
            credentials: Duration::from_mins(2),
            // The default of the SDK.
            initial_backoff: Duration::from_secs(1),
        }
    }
}

/// The settings of a session.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The profile of `--profile`; as in the AWS CLI, it takes precedence over access keys in the environment.
    pub profile: Option<String>,
    /// The default Region; `None` takes it from the environment, the profile or the instance metadata service.
    pub region: Option<String>,
    /// The partition if neither the identity nor the default Region determines it; `None` stands for `aws`.
    pub partition: Option<AwsPartition>,
    /// The clock that requests are signed with.
    pub clock: Clock,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Additional CA certificates in PEM format: the content of the file that `AWS_CA_BUNDLE` names.
    pub certificates: Option<Vec<u8>>,
    /// Endpoint URLs by service (`cloudtrail`, `s3`, `sts`, `ec2`, `account`, `organizations`); they take precedence
    /// over `AWS_ENDPOINT_URL_…`. For tests, which cannot set variables of their own process.
    pub endpoints: BTreeMap<String, String>,
    /// Credentials to use instead of the credential chain. For tests, like `endpoints`.
    pub credentials: Option<SharedCredentialsProvider>,
    /// The registry that requests in progress are reported to.
    pub pending: PendingRequests,
}

impl SessionOptions {
    /// Returns options that set nothing but the clock.
    pub fn new(clock: Clock) -> Self {
        Self {
            profile: None,
            region: None,
            partition: None,
            clock,
            timeouts: Timeouts::default(),
            certificates: None,
            endpoints: BTreeMap::new(),
            credentials: None,
            pending: PendingRequests::default(),
        }
    }
}
