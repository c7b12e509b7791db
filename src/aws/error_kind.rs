//! Classifies failed requests to AWS.
//!
//! Input: status, code and message of an error response, and the clock skew. Output: an [`ErrorKind`].
//! Invariant: code and status decide wherever they are unambiguous; the message decides only between a wrong clock and
//! a wrong secret.
//! Deliberately absent: retries. Each source decides what to do about a kind.

use jiff::SignedDuration;

use super::clock::is_excessive_skew;
use crate::proxy::ProxyError;

/// The kinds of failure that callers handle differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request rate exceeds a quota. Retry later; never fatal.
    Throttled,
    /// The page token is invalid or expired. Restart after the last position that is safe.
    InvalidNextToken,
    /// The time range is invalid.
    InvalidTimeRange,
    /// Another part of the request is invalid: a bug or a wrong option.
    InvalidRequest,
    /// The Region or the account does not support the operation.
    Unsupported,
    /// A policy denies the action.
    AccessDenied {
        /// The denied action, such as `cloudtrail:LookupEvents`, if the message contains it.
        action: Option<String>,
    },
    /// The Region is not enabled for the account. The same codes mean an invalid access key if they occur in every
    /// Region.
    RegionNotEnabled,
    /// The session token has expired, and newer credentials could not be obtained.
    ExpiredToken,
    /// The local clock differs too much from the clock of AWS.
    ClockSkew {
        /// Time by which the local clock is ahead; negative if it is behind.
        ahead: Option<SignedDuration>,
    },
    /// There are no credentials, or AWS does not accept them.
    InvalidCredentials,
    /// A retry may succeed: a network error, an internal error of the service, or a timeout.
    Transient,
    /// A proxy refused the connection with this status.
    Proxy(Option<u16>),
    /// A bucket, object, trail or account does not exist.
    NotFound,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// Classifies an error response. `ahead` is the skew of the local clock, if the response has a date.
    pub(super) fn from_response(
        status: u16,
        code: Option<&str>,
        message: &str,
        ahead: Option<SignedDuration>,
    ) -> Self {
        code.and_then(|code| kind_of_code(code, message, ahead))
            .unwrap_or_else(|| kind_of_status(status))
    }

    /// Returns true if every request of the session would fail in this way, whatever the Region.
    pub fn affects_every_region(&self) -> bool {
        matches!(
            self,
            Self::ExpiredToken | Self::ClockSkew { .. } | Self::InvalidCredentials | Self::Proxy(_)
        )
    }

    /// Returns how the user can fix it, in one sentence.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::AccessDenied { .. } => Some(
                "allow the action (`trailload policy` prints the minimal policy), or leave this out",
            ),
            Self::RegionNotEnabled => {
                Some("leave the Region out with --regions, or enable it for the account")
            }
            Self::ExpiredToken => Some(
                "renew the session (with SSO: `aws sso login`) and run the same command again; it continues \
                 where it stopped",
            ),
            Self::ClockSkew { .. } => Some(
                "set this machine's clock (`timedatectl set-ntp true`, or the clock of its host)",
            ),
            Self::InvalidCredentials => Some(
                "check the access key and its secret with `aws sts get-caller-identity`; a key is valid in one \
                 partition only, so for China and GovCloud set AWS_REGION to one of their Regions",
            ),
            Self::Proxy(status) => Some(ProxyError::hint(*status)),
            Self::Transient => {
                Some("check the connection to AWS: network, proxy, VPC endpoints, certificates")
            }
            _ => None,
        }
    }
}

/// Returns true if a code means that the request rate exceeds a quota.
pub(super) fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "BandwidthLimitExceeded"
            | "EC2ThrottledException"
            | "ProvisionedThroughputExceededException"
            | "SlowDown"
    )
}

/// Returns true if a code means that the session token has expired.
pub(super) fn is_expired_token(code: &str) -> bool {
    matches!(code, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired")
}

/// Classifies a code; returns `None` for one that is not handled in a special way.
fn kind_of_code(code: &str, message: &str, ahead: Option<SignedDuration>) -> Option<ErrorKind> {
    Some(match code {
        code if is_throttling(code) => ErrorKind::Throttled,
        code if is_expired_token(code) => ErrorKind::ExpiredToken,
        "InvalidNextTokenException" => ErrorKind::InvalidNextToken,
        "InvalidTimeRangeException" => ErrorKind::InvalidTimeRange,
        "InvalidMaxResultsException"
        | "InvalidLookupAttributesException"
        | "InvalidEventCategoryException"
        | "InvalidParameterCombinationException"
        | "InvalidInputException"
        | "MalformedPolicyDocument"
        | "ValidationException"
        | "ValidationError" => ErrorKind::InvalidRequest,
        "OperationNotPermittedException"
        | "UnsupportedOperationException"
        | "UnsupportedOperation"
        | "AWSOrganizationsNotInUseException"
        | "SubscriptionRequiredException" => ErrorKind::Unsupported,
        "AccessDenied"
        | "AccessDeniedException"
        | "AllAccessDisabled"
        | "AuthorizationError"
        | "UnauthorizedOperation" => ErrorKind::AccessDenied { action: denied_action(message) },
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "AuthFailure"
        | "OptInRequired"
        | "RegionDisabledException" => ErrorKind::RegionNotEnabled,
        // EC2 returns it for old requests and for expired sessions.
        "RequestExpired" if ahead.is_some_and(|ahead| !is_excessive_skew(ahead)) => {
            ErrorKind::ExpiredToken
        }
        "RequestExpired" | "RequestInTheFuture" | "RequestTimeTooSkewed" => {
            ErrorKind::ClockSkew { ahead }
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "InvalidSignature" => {
            kind_of_signature_error(message, ahead)
        }
        "IncompleteSignature"
        | "InvalidAccessKeyId"
        | "InvalidSecurity"
        | "InvalidToken"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotSignedUp" => ErrorKind::InvalidCredentials,
        "NoSuchBucket"
        | "NoSuchKey"
        | "NotFound"
        | "ResourceNotFoundException"
        | "TrailNotFoundException" => ErrorKind::NotFound,
        "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "InternalServiceError"
        | "InternalServerException"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "ServiceException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "Unavailable" => ErrorKind::Transient,
        _ => return None,
    })
}

fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        401 | 403 => ErrorKind::AccessDenied { action: None },
        404 => ErrorKind::NotFound,
        429 => ErrorKind::Throttled,
        408 | 500.. => ErrorKind::Transient,
        _ => ErrorKind::Other,
    }
}

/// Distinguishes a wrong clock from a wrong secret: both invalidate the signature.
fn kind_of_signature_error(message: &str, ahead: Option<SignedDuration>) -> ErrorKind {
    // AWS: "Signature expired: … is now earlier than …" and "Signature not yet current: …".
    let is_time_error =
        message.contains("Signature expired") || message.contains("not yet current");
    if is_time_error || ahead.is_some_and(is_excessive_skew) {
        ErrorKind::ClockSkew { ahead }
    } else {
        ErrorKind::InvalidCredentials
    }
}

/// Returns the action in "… is not authorized to perform: cloudtrail:LookupEvents because …".
fn denied_action(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("not authorized to perform")?;
    let action = rest.trim_start_matches([':', ' ']).split_whitespace().next()?;
    let action = action.trim_end_matches(['.', ',']);
    let (service, name) = action.split_once(':')?;
    let is_plain = |part: &str| {
        !part.is_empty() && part.chars().all(|it| it.is_ascii_alphanumeric() || it == '-')
    };
    (is_plain(service) && is_plain(name)).then(|| action.to_owned())
}
