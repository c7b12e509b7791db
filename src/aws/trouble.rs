//! What a failed request to AWS means.
//!
//! In: an error of an SDK client, or an answer to our own request. Out: a [`Refusal`] with its [`Trouble`].
//! Holds: the decision is made by code and status wherever there is one; texts decide only what codes leave open.
//! Absent on purpose: what to do about it; that is the source's decision.

use std::{error::Error as StdError, fmt};

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use jiff::SignedDuration;

/// The kinds of failure that are treated differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Too fast, or somebody else uses the quota. Wait and ask again; never fatal.
    Throttled,
    /// The page token is wrong or too old. Ask again from the last second that is safe.
    InvalidToken,
    /// The time range is not possible.
    InvalidRange,
    /// Something else about the request is wrong: a mistake of ours, or of an option.
    Invalid,
    /// Not offered here, or not to this account.
    Unsupported,
    /// Not allowed by a policy.
    Denied {
        /// The action that is missing, such as `cloudtrail:LookupEvents`, if the message names it.
        action: Option<String>,
    },
    /// The Region is not enabled for the account (or the key is wrong: other Regions tell).
    RegionNotEnabled,
    /// The session has ended, and new credentials could not be had.
    Expired,
    /// This machine's clock is too far from AWS's.
    ClockSkew {
        /// How far this machine is ahead; negative: behind.
        ahead: Option<SignedDuration>,
    },
    /// There are no credentials, or they are wrong.
    Credentials,
    /// Neither ours nor theirs to mend: the network, a service in trouble, no answer in time.
    Transient,
    /// It is not there: a bucket, an object, an account.
    NotFound,
    /// Anything else.
    Other,
}

impl Trouble {
    /// Sorts an error of any SDK client.
    pub fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        Refusal::of(error).trouble
    }

    /// Returns whether it would meet every request of this identity, whatever the Region.
    pub fn is_everywhere(&self) -> bool {
        matches!(self, Self::Expired | Self::ClockSkew { .. } | Self::Credentials)
    }

    /// Returns what a person can do about it, in one sentence.
    pub fn advice(&self) -> Option<&'static str> {
        todo!()
    }
}

/// A request that AWS, or the way there, did not grant.
#[derive(Debug)]
pub struct Refusal {
    /// What it means.
    pub trouble: Trouble,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The service's own code, such as `AccessDeniedException`.
    pub code: Option<String>,
    /// What was said, for a person.
    pub message: String,
    /// The number that AWS's support asks for.
    pub request: Option<String>,
}

impl Refusal {
    /// Reads an error of any SDK client.
    pub fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        todo!("{error:?}")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.message)
    }
}

impl StdError for Refusal {}
