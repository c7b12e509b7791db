//! Decides how an account and Region continues after a failed request.
//!
//! Input: successful and failed requests. Output: [`AfterFailure`].
//! Invariant: throttling never gives a Region up; an outage, or credentials that are not renewed, do after a while.
//! Deliberately absent: the state of the query that failed (see `cursor`), and waiting.

use std::time::Duration;

use tokio::time::Instant;

use super::error::FailureReason;
use crate::aws::ErrorKind;

/// Time without any successful response after which a Region is given up.
const MAX_OUTAGE: Duration = Duration::from_mins(15);

/// `ExpiredToken` responses that are tolerated while the SDK refreshes the credentials.
const MAX_EXPIRED_RESPONSES: u32 = 5;

/// How a query continues after a failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// The request was throttled: it is repeated as soon as the rate limiter allows.
    Repeat,
    /// The request is repeated after a backoff.
    BackOff,
    /// The page token is not valid (any more): the query continues without it.
    DropToken,
    /// The time range is not valid: it is clamped to what the service still has.
    ClampRange,
    /// Further requests are useless.
    GiveUp(FailureReason),
}

/// What the requests of an account and Region have shown so far.
#[derive(Debug)]
pub(super) struct FailureTracker {
    /// Time of the first failure since the last successful response.
    failing_since: Option<Instant>,
    expired_responses: u32,
    /// When expired credentials were last reported; requests sent before that are not counted again.
    credentials_refused_at: Instant,
    has_succeeded: bool,
}

impl FailureTracker {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            failing_since: None,
            expired_responses: 0,
            credentials_refused_at: now,
            has_succeeded: false,
        }
    }

    /// Returns whether any request has succeeded.
    pub(super) fn has_succeeded(&self) -> bool {
        self.has_succeeded
    }

    /// Records a successful request.
    pub(super) fn succeeded(&mut self) {
        self.failing_since = None;
        self.expired_responses = 0;
        self.has_succeeded = true;
    }

    /// Records that a request sent at `sent` failed at `now`; returns how its query continues.
    pub(super) fn failed(&mut self, kind: &ErrorKind, sent: Instant, now: Instant) -> AfterFailure {
        let reason = match kind {
            ErrorKind::Throttled => {
                // A throttled request was answered: the service is reachable, however long the throttling lasts.
                self.failing_since = None;
                return AfterFailure::Repeat;
            }
            ErrorKind::InvalidNextToken => return AfterFailure::DropToken,
            ErrorKind::InvalidTimeRange => return AfterFailure::ClampRange,
            ErrorKind::ExpiredToken if self.expired_responses < MAX_EXPIRED_RESPONSES => {
                if sent >= self.credentials_refused_at {
                    self.expired_responses += 1;
                    self.credentials_refused_at = now;
                }
                return AfterFailure::BackOff;
            }
            ErrorKind::Transient | ErrorKind::Other
                if now - *self.failing_since.get_or_insert(now) < MAX_OUTAGE =>
            {
                return AfterFailure::BackOff;
            }
            ErrorKind::Transient | ErrorKind::Other => FailureReason::Unreachable,
            ErrorKind::AccessDenied { action } => FailureReason::Denied {
                action: action.clone().unwrap_or_else(|| super::ACTIONS[0].to_owned()),
            },
            // CloudTrail returns the same error for access keys that no longer exist.
            ErrorKind::RegionNotEnabled if self.has_succeeded => FailureReason::Credentials,
            ErrorKind::RegionNotEnabled => FailureReason::RegionDisabled,
            ErrorKind::ClockSkew { .. } => FailureReason::ClockSkew,
            ErrorKind::Proxy(_) => FailureReason::Proxy,
            ErrorKind::ExpiredToken | ErrorKind::InvalidCredentials => FailureReason::Credentials,
            ErrorKind::InvalidRequest | ErrorKind::Unsupported | ErrorKind::NotFound => {
                FailureReason::Rejected
            }
        };
        AfterFailure::GiveUp(reason)
    }
}
