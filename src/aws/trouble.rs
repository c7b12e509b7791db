//! What a failed request to AWS means.
//!
//! In: an error of an SDK client, or an answer to our own request. Out: a [`Refusal`] with its [`Trouble`].
//! Holds: the decision is made by code and status wherever there is one; texts decide only what codes leave open.
//! Absent on purpose: what to do about it; that is the source's decision.

use std::{error::Error as StdError, fmt, io};

use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::{
    assume_role::AssumeRoleError, assume_role_with_web_identity::AssumeRoleWithWebIdentityError,
};
use aws_smithy_runtime_api::client::{
    orchestrator::HttpResponse,
    result::{ConnectorError, SdkError},
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use jiff::SignedDuration;

use crate::{error::strip_canonical_request, proxy};

use super::{
    answer::Said,
    watch::{self, Ahead},
};

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
    /// A proxy on the way does not let us through, with this status.
    Proxy(Option<u16>),
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
        matches!(self, Self::Expired | Self::ClockSkew { .. } | Self::Credentials | Self::Proxy(_))
    }

    /// Returns what a person can do about it, in one sentence.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Denied { .. } => Some(
                "allow the action (`trailload policy` prints the least policy), or leave this out",
            ),
            Self::RegionNotEnabled => {
                Some("leave the Region out with --regions, or enable it for the account")
            }
            Self::Expired => Some(
                "renew the session (with SSO: `aws sso login`) and run the same command again: it goes on \
                 where it stopped",
            ),
            Self::ClockSkew { .. } => {
                Some("set this machine's clock (`timedatectl set-ntp true`, or its host's)")
            }
            Self::Credentials => Some(
                "check the access key and its secret with `aws sts get-caller-identity`; a key works only in \
                 its own partition, so China and GovCloud need AWS_REGION to name one of their Regions",
            ),
            Self::Proxy(status) => Some(proxy::Trouble::advice(*status)),
            Self::Transient => {
                Some("check the way to AWS: network, proxy, VPC endpoints, certificates")
            }
            _ => None,
        }
    }
}

/// A request that AWS, or the way there, did not grant.
#[derive(Clone, Debug)]
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
        match error {
            SdkError::ServiceError(context) => {
                let mut refusal = Self::of_response(context.raw(), watch::said(context.raw()));
                // The SDK knows the protocol; what we read ourselves fills its gaps (an answer to HEAD).
                if let Some(code) = context.err().code().filter(|_| refusal.code.is_none()) {
                    let message = context.err().message().map(str::to_owned);
                    let said =
                        Said { code: Some(code.to_owned()), message, request: refusal.request };
                    refusal = Self::of_response(context.raw(), said);
                }
                refusal
            }
            SdkError::ResponseError(context) if !context.raw().status().is_success() => {
                Self::of_response(context.raw(), watch::said(context.raw()))
            }
            // No answer in time, or one that broke off.
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Self::of_way(error),
            other => of_chain(other),
        }
    }

    /// Reads an answer to a request of our own.
    pub(super) fn of_response(response: &HttpResponse, said: Said) -> Self {
        let ahead = response.extension::<Ahead>().map(|ahead| ahead.0);
        Self::of_answer(response.status().as_u16(), said, ahead)
    }

    /// Sorts what was said with a status, by a service whose clock we were `ahead` of.
    pub(super) fn of_answer(status: u16, said: Said, ahead: Option<SignedDuration>) -> Self {
        let message = strip_canonical_request(said.message.unwrap_or_default());
        let trouble = match &said.code {
            Some(code) => sort(code, &message, ahead).unwrap_or_else(|| sort_status(status)),
            None => sort_status(status),
        };
        Self { trouble, status: Some(status), code: said.code, message, request: said.request }
    }

    /// Makes one of something that was not an answer.
    pub(super) fn without_answer(trouble: Trouble, message: impl Into<String>) -> Self {
        Self { trouble, status: None, code: None, message: message.into(), request: None }
    }

    /// Sorts an error of the connection.
    pub(super) fn of_way(error: &(dyn StdError + 'static)) -> Self {
        of_proxy(error).unwrap_or_else(|| Self::without_answer(Trouble::Transient, told(error)))
    }

    /// Sorts why credentials could not be had.
    pub(crate) fn of_credentials(error: &CredentialsError) -> Self {
        of_chain(error)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        if let Some(status) = self.status {
            write!(to, "{status}")?;
            gap = " ";
        }
        if let Some(code) = &self.code {
            write!(to, "{gap}{code}")?;
            gap = ": ";
        } else if !gap.is_empty() {
            gap = ": ";
        }
        if !self.message.is_empty() {
            write!(to, "{gap}{}", self.message)?;
        }
        // AWS itself may say so for another reason, while the clocks agree.
        if let Trouble::ClockSkew { ahead: Some(ahead) } = self.trouble
            && is_skew(ahead)
        {
            let side = if ahead.is_negative() { "behind" } else { "ahead of" };
            let by = SignedDuration::from_secs(ahead.abs().as_secs());
            write!(to, " (this machine's clock is {by:#} {side} AWS)")?;
        }
        if let Some(request) = &self.request {
            write!(to, " (request {request})")?;
        }
        Ok(())
    }
}

impl StdError for Refusal {}

/// Returns whether a code says "too fast".
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
            | "SlowDown"
    )
}

/// Returns whether a code says that the session has ended.
pub(super) fn is_expiry(code: &str) -> bool {
    matches!(code, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired")
}

/// Sorts a code; `None` if it is not one that we treat in a way of its own.
fn sort(code: &str, message: &str, ahead: Option<SignedDuration>) -> Option<Trouble> {
    Some(match code {
        code if is_throttling(code) => Trouble::Throttled,
        code if is_expiry(code) => Trouble::Expired,
        "InvalidNextTokenException" => Trouble::InvalidToken,
        "InvalidTimeRangeException" => Trouble::InvalidRange,
        "InvalidMaxResultsException"
        | "InvalidLookupAttributesException"
        | "InvalidEventCategoryException"
        | "InvalidParameterCombinationException"
        | "InvalidInputException"
        | "MalformedPolicyDocument"
        | "ValidationException"
        | "ValidationError" => Trouble::Invalid,
        "OperationNotPermittedException"
        | "UnsupportedOperationException"
        | "UnsupportedOperation"
        | "AWSOrganizationsNotInUseException"
        | "SubscriptionRequiredException" => Trouble::Unsupported,
        "AccessDenied"
        | "AccessDeniedException"
        | "AllAccessDisabled"
        | "AuthorizationError"
        | "UnauthorizedOperation" => Trouble::Denied { action: action(message) },
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "AuthFailure"
        | "OptInRequired"
        | "RegionDisabledException" => Trouble::RegionNotEnabled,
        // EC2 says it of old requests and of old sessions alike.
        "RequestExpired" if ahead.is_some_and(|ahead| !is_skew(ahead)) => Trouble::Expired,
        "RequestExpired" | "RequestInTheFuture" | "RequestTimeTooSkewed" => {
            Trouble::ClockSkew { ahead }
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "InvalidSignature" => {
            signature(message, ahead)
        }
        "IncompleteSignature"
        | "InvalidAccessKeyId"
        | "InvalidSecurity"
        | "InvalidToken"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotSignedUp" => Trouble::Credentials,
        "NoSuchBucket" | "NoSuchKey" | "NotFound" | "TrailNotFoundException" => Trouble::NotFound,
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
        | "Unavailable" => Trouble::Transient,
        _ => return None,
    })
}

fn sort_status(status: u16) -> Trouble {
    match status {
        401 | 403 => Trouble::Denied { action: None },
        404 => Trouble::NotFound,
        429 => Trouble::Throttled,
        408 | 500.. => Trouble::Transient,
        _ => Trouble::Other,
    }
}

/// Tells a wrong clock from a wrong secret: both spoil the signature.
fn signature(message: &str, ahead: Option<SignedDuration>) -> Trouble {
    // These words stand in AWS's answers: "Signature expired: … is now earlier than …" and "… not yet current: …".
    let said = message.contains("Signature expired") || message.contains("not yet current");
    if said || ahead.is_some_and(is_skew) {
        Trouble::ClockSkew { ahead }
    } else {
        Trouble::Credentials
    }
}

/// Returns whether a clock is too far away: AWS allows five minutes, and the answer needs its time too.
pub fn is_skew(ahead: SignedDuration) -> bool {
    ahead.abs() > SignedDuration::from_mins(4)
}

/// Takes the action out of "… is not authorized to perform: cloudtrail:LookupEvents because …".
fn action(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("not authorized to perform")?;
    let word = rest.trim_start_matches([':', ' ']).split_whitespace().next()?;
    let word = word.trim_end_matches(['.', ',']);
    let (service, name) = word.split_once(':')?;
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|it| it.is_ascii_alphanumeric() || it == '-')
    };
    (plain(service) && plain(name)).then(|| word.to_owned())
}

/// Sorts an error without an answer: the way to AWS, or the credentials, which reach a client's caller only as
/// links of a chain.
fn of_chain(error: &(dyn StdError + 'static)) -> Refusal {
    for link in chain(error) {
        if let Some(refusal) = link.downcast_ref::<Refusal>() {
            return refusal.clone();
        }
        if let Some(error) = link.downcast_ref::<CredentialsError>() {
            return of_credentials(error);
        }
    }
    if let Some(refusal) = of_proxy(error) {
        return refusal;
    }
    let trouble = if is_of_the_way(error) { Trouble::Transient } else { Trouble::Other };
    Refusal::without_answer(trouble, told(error))
}

/// Returns the refusal if a proxy is against it, until a person changes something.
fn of_proxy(error: &(dyn StdError + 'static)) -> Option<Refusal> {
    let mut troubles = chain(error).filter_map(|link| link.downcast_ref::<proxy::Trouble>());
    let trouble = troubles.next().filter(|trouble| trouble.needs_person())?;
    Some(Refusal::without_answer(Trouble::Proxy(trouble.status()), trouble.to_string()))
}

/// Sorts why credentials could not be had: a refusal of ours, of STS, or of something else in the chain.
fn of_credentials(error: &CredentialsError) -> Refusal {
    for link in chain(error) {
        let refusal = link
            .downcast_ref::<Refusal>()
            .cloned()
            .or_else(|| of_operation::<AssumeRoleError>(link))
            .or_else(|| of_operation::<AssumeRoleWithWebIdentityError>(link));
        if let Some(mut refusal) = refusal {
            refusal.trouble = for_credentials(refusal.trouble);
            return refusal;
        }
    }
    if let Some(refusal) = of_proxy(error) {
        return refusal;
    }
    let trouble = match error {
        // Its chain tells of metadata services that were not there; that is no trouble with the network.
        CredentialsError::CredentialsNotLoaded(_) => Trouble::Credentials,
        CredentialsError::ProviderTimedOut(_) => Trouble::Transient,
        other if is_of_the_way(other) => Trouble::Transient,
        _ => Trouble::Credentials,
    };
    Refusal::without_answer(trouble, told(error))
}

fn of_operation<E>(link: &(dyn StdError + 'static)) -> Option<Refusal>
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    if let Some(error) = link.downcast_ref::<SdkError<E, HttpResponse>>() {
        return Some(Refusal::of(error));
    }
    let error = link.downcast_ref::<E>()?;
    let said = Said {
        code: Some(error.code()?.to_owned()),
        message: error.message().map(str::to_owned),
        request: None,
    };
    Some(Refusal { status: None, ..Refusal::of_answer(400, said, None) })
}

/// What a failure on the way to credentials means for the request that needed them.
fn for_credentials(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Throttled => Trouble::Transient,
        Trouble::RegionNotEnabled | Trouble::Invalid | Trouble::NotFound | Trouble::Other => {
            Trouble::Credentials
        }
        same => same,
    }
}

/// Returns whether it was the metadata service of the machine that gave no credentials.
pub(super) fn is_of_instance(error: &CredentialsError) -> bool {
    chain(error).any(<dyn StdError>::is::<ImdsError>)
}

/// Returns whether an error is of the network or of time, and may be gone at the next attempt.
fn is_of_the_way(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|link| {
        link.downcast_ref::<io::Error>().is_some_and(is_of_a_socket)
            || link.downcast_ref::<ConnectorError>().is_some_and(is_of_the_connection)
    }) || matches!(
        error.downcast_ref::<CredentialsError>(),
        Some(CredentialsError::ProviderTimedOut(_))
    )
}

/// A file or a program that is not there stays away until a person comes.
fn is_of_a_socket(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

/// A connection that was closed before the answer is "other, and may be tried again".
fn is_of_the_connection(error: &ConnectorError) -> bool {
    error.is_io() || error.is_timeout() || error.as_other().is_some()
}

fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let link = next?;
        next = link.source();
        Some(link)
    })
}

/// Tells a chain in one line, without the links that only say "an error happened".
fn told(error: &(dyn StdError + 'static)) -> String {
    const EMPTY: [&str; 9] = [
        "the credential provider was not enabled",
        "an error occurred while loading credentials",
        "unexpected credentials error",
        "dispatch failure",
        "service error",
        "request has timed out",
        "failed to construct request",
        "response error",
        "other",
    ];
    let mut told: Vec<String> = Vec::new();
    for link in chain(error) {
        let text = in_a_line(&link.to_string());
        if !EMPTY.contains(&text.as_str()) && told.last().is_none_or(|last| !last.contains(&text)) {
            told.push(text);
        }
    }
    if told.is_empty() { error.to_string() } else { told.join(": ") }
}

/// The chain tells each of its links in a line of its own.
fn in_a_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).collect::<Vec<_>>();
    lines.join("; ").replace(":; ", ": ").replace("the credential provider was not enabled: ", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_should_have_been_signed_is_not_told() {
        let message = "The request signature we calculated does not match the signature you provided.\n\n\
                       The Canonical String for this request should have been\n'POST\n/\n\n\
                       x-amz-security-token:hunter2\n'";
        let said = Said {
            code: Some("InvalidSignatureException".to_owned()),
            message: Some(message.to_owned()),
            request: None,
        };
        let told = Refusal::of_answer(403, said, None).to_string();
        assert!(told.ends_with("the signature you provided."), "{told}");
    }
}
