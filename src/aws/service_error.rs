//! Describes a failed request to AWS.
//!
//! Input: an error of an SDK client, or a response to a request that `api_request` sent. Output: a
//! [`ServiceError`] with its [`ErrorKind`].
//! Invariant: the message contains no signed request and no credentials.
//! Deliberately absent: the operation that failed and the account it was for (see [`super::Error`]).

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

use super::{
    clock::{ClockSkew, is_excessive_skew},
    error_body::ErrorBody,
    error_kind::ErrorKind,
};
use crate::{
    error::{chain, strip_canonical_request},
    proxy::ProxyError,
};

/// A request that AWS rejected, or that got no response.
#[derive(Clone, Debug)]
pub struct ServiceError {
    /// The kind of failure.
    pub kind: ErrorKind,
    /// HTTP status, if there was a response.
    pub status: Option<u16>,
    /// Error code of the service, such as `AccessDeniedException`.
    pub code: Option<String>,
    /// Error message.
    pub message: String,
    /// Request ID, which AWS Support asks for.
    pub request_id: Option<String>,
}

impl ServiceError {
    /// Returns the description of an error of an SDK client.
    pub fn from_sdk<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        match error {
            SdkError::ServiceError(context) => {
                let response = context.raw();
                let mut body = ErrorBody::from_response(response);
                // A response to HEAD has no body, but the SDK derives a code from its status.
                if body.code.is_none()
                    && let Some(code) = context.err().code()
                {
                    body.code = Some(code.to_owned());
                    body.message = context.err().message().map(str::to_owned);
                }
                // S3 also sends errors with the status 200; they have a code.
                if body.code.is_none() && response.status().is_success() {
                    body.message = Some(describe_unexpected_response(context.err()));
                }
                Self::from_response(response, body)
            }
            SdkError::ResponseError(context) if !context.raw().status().is_success() => {
                Self::from_response(context.raw(), ErrorBody::from_response(context.raw()))
            }
            // No response in time, or an incomplete one.
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => Self::from_transport(error),
            other => from_error_chain(other),
        }
    }

    /// Returns the description of an error response.
    pub(super) fn from_response(response: &HttpResponse, body: ErrorBody) -> Self {
        let ahead = response.extension::<ClockSkew>().map(|skew| skew.0);
        Self::from_status(response.status().as_u16(), body, ahead)
    }

    /// Returns the description of an error response from a service whose clock the local one is `ahead` of.
    pub(super) fn from_status(status: u16, body: ErrorBody, ahead: Option<SignedDuration>) -> Self {
        let message = strip_canonical_request(body.message.unwrap_or_default());
        let kind = ErrorKind::from_response(status, body.code.as_deref(), &message, ahead);
        let ErrorBody { code, request_id, .. } = body;
        Self { kind, status: Some(status), code, message, request_id }
    }

    /// Returns the description of a request that got no response.
    pub(super) fn without_response(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, status: None, code: None, message: message.into(), request_id: None }
    }

    /// Returns the description of a connection error.
    pub(super) fn from_transport(error: &(dyn StdError + 'static)) -> Self {
        from_proxy(error)
            .unwrap_or_else(|| Self::without_response(ErrorKind::Transient, describe_chain(error)))
    }

    /// Returns the ARN of the resource that the caller may not use, if the message contains it.
    pub(crate) fn denied_resource(&self) -> Option<&str> {
        let (_, rest) = self.message.split_once("on resource: ")?;
        let arn = rest.split_whitespace().next()?.trim_end_matches(['.', ',']);
        let is_plain = |symbol: char| symbol.is_ascii_alphanumeric() || ":/-_.".contains(symbol);
        (arn.starts_with("arn:") && arn.chars().all(is_plain)).then_some(arn)
    }

    /// Returns the description of a failure to obtain credentials.
    pub(crate) fn from_credentials(error: &CredentialsError) -> Self {
        from_error_chain(error)
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(status) = self.status {
            write!(to, "{status}")?;
            separator = " ";
        }
        if let Some(code) = &self.code {
            write!(to, "{separator}{code}")?;
            separator = ": ";
        } else if !separator.is_empty() {
            separator = ": ";
        }
        if !self.message.is_empty() {
            write!(to, "{separator}{}", self.message)?;
        }
        // AWS may reject the time of a request for another reason, while the clocks agree.
        if let ErrorKind::ClockSkew { ahead: Some(ahead) } = self.kind
            && is_excessive_skew(ahead)
        {
            let side = if ahead.is_negative() { "behind" } else { "ahead of" };
            let by = SignedDuration::from_secs(ahead.abs().as_secs());
            write!(to, " (this machine's clock is {by:#} {side} AWS)")?;
        }
        if let Some(request_id) = &self.request_id {
            write!(to, " (request {request_id})")?;
        }
        Ok(())
    }
}

impl StdError for ServiceError {}

/// Describes an error without response: a connection error, or a credentials error, which an SDK client wraps.
fn from_error_chain(error: &(dyn StdError + 'static)) -> ServiceError {
    for cause in chain(error) {
        if let Some(error) = cause.downcast_ref::<ServiceError>() {
            return error.clone();
        }
        if let Some(error) = cause.downcast_ref::<CredentialsError>() {
            return from_credentials(error);
        }
    }
    if let Some(error) = from_proxy(error) {
        return error;
    }
    let kind = if is_transport_error(error) { ErrorKind::Transient } else { ErrorKind::Other };
    ServiceError::without_response(kind, describe_chain(error))
}

/// Returns the description of an error of a proxy that a retry would meet again; `None` for any other error.
fn from_proxy(error: &(dyn StdError + 'static)) -> Option<ServiceError> {
    let error = chain(error).find_map(|cause| cause.downcast_ref::<ProxyError>())?;
    error.is_permanent().then(|| {
        ServiceError::without_response(ErrorKind::Proxy(error.status()), error.to_string())
    })
}

/// Describes a failure to obtain credentials: an error of `AssumeRole`, or of another part of the credential chain.
fn from_credentials(error: &CredentialsError) -> ServiceError {
    for cause in chain(error) {
        let described = cause
            .downcast_ref::<ServiceError>()
            .cloned()
            .or_else(|| from_operation::<AssumeRoleError>(cause))
            .or_else(|| from_operation::<AssumeRoleWithWebIdentityError>(cause));
        if let Some(mut described) = described {
            described.kind = kind_for_credentials(described.kind);
            return described;
        }
    }
    if let Some(described) = from_proxy(error) {
        return described;
    }
    let kind = match error {
        // The chain contains connection errors of metadata services that do not exist on this machine.
        CredentialsError::CredentialsNotLoaded(_) => ErrorKind::InvalidCredentials,
        CredentialsError::ProviderTimedOut(_) => ErrorKind::Transient,
        other if is_transport_error(other) => ErrorKind::Transient,
        _ => ErrorKind::InvalidCredentials,
    };
    ServiceError::without_response(kind, describe_chain(error))
}

fn from_operation<E>(cause: &(dyn StdError + 'static)) -> Option<ServiceError>
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    if let Some(error) = cause.downcast_ref::<SdkError<E, HttpResponse>>() {
        return Some(ServiceError::from_sdk(error));
    }
    let error = cause.downcast_ref::<E>()?;
    let body = ErrorBody {
        code: Some(error.code()?.to_owned()),
        message: error.message().map(str::to_owned),
        request_id: None,
    };
    Some(ServiceError { status: None, ..ServiceError::from_status(400, body, None) })
}

/// Returns the kind for a request that needs credentials, given the kind of the request that should have obtained them.
fn kind_for_credentials(kind: ErrorKind) -> ErrorKind {
    match kind {
        ErrorKind::Throttled => ErrorKind::Transient,
        ErrorKind::RegionNotEnabled
        | ErrorKind::InvalidRequest
        | ErrorKind::NotFound
        | ErrorKind::Other => ErrorKind::InvalidCredentials,
        same => same,
    }
}

/// Returns true if the EC2 instance metadata service (IMDS) returned no credentials.
pub(super) fn is_from_imds(error: &CredentialsError) -> bool {
    chain(error).any(<dyn StdError>::is::<ImdsError>)
}

/// Returns true for a network error or a timeout, which a retry may not meet again.
fn is_transport_error(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(is_retryable_io_error)
            || cause.downcast_ref::<ConnectorError>().is_some_and(is_retryable_connector_error)
    }) || matches!(
        error.downcast_ref::<CredentialsError>(),
        Some(CredentialsError::ProviderTimedOut(_))
    )
}

/// A missing file or program stays missing until the user intervenes.
fn is_retryable_io_error(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

/// A connection that was closed before the response is an `other` error with a retry classification.
fn is_retryable_connector_error(error: &ConnectorError) -> bool {
    error.is_io() || error.is_timeout() || error.as_other().is_some()
}

/// Describes a response with a status of success that is not one of the API, such as the page of a proxy.
fn describe_unexpected_response(error: &(dyn StdError + 'static)) -> String {
    format!(
        "the response is not one of this API ({}); check that the proxy and AWS_ENDPOINT_URL, if it is set, lead to AWS",
        describe_chain(error)
    )
}

/// Returns the messages of an error and its causes in one line, without those of the SDK that carry no information.
fn describe_chain(error: &(dyn StdError + 'static)) -> String {
    const GENERIC: [&str; 9] = [
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
    let mut messages: Vec<String> = Vec::new();
    for cause in chain(error) {
        let text = single_line(&cause.to_string());
        let is_repeated = messages.last().is_some_and(|last| last.contains(&text));
        if !GENERIC.contains(&text.as_str()) && !is_repeated {
            messages.push(text);
        }
    }
    if messages.is_empty() { error.to_string() } else { messages.join(": ") }
}

/// Joins the lines of a message: the credential chain describes each of its providers in a line.
fn single_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).collect::<Vec<_>>();
    lines.join("; ").replace(":; ", ": ").replace("the credential provider was not enabled: ", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::operation::receive_message::ReceiveMessageError;

    #[test]
    fn a_response_that_is_not_of_the_api_is_described() {
        let response = |body: &'static str| {
            HttpResponse::new(200.try_into().unwrap(), aws_smithy_types::body::SdkBody::from(body))
        };
        let error = |body| {
            let cause = ReceiveMessageError::unhandled("expected `{`, found `<`");
            ServiceError::from_sdk(&SdkError::service_error(cause, response(body))).to_string()
        };
        for body in ["<html>Sign in</html>", "", "OK", "[]", "{"] {
            let shown = error(body);
            assert!(shown.starts_with("200: the response is not one of this API ("), "{shown}");
            assert!(shown.contains("found `<`") && shown.contains("AWS_ENDPOINT_URL"), "{shown}");
        }
        let of_s3 = error("<Error><Code>InternalError</Code><Message>Try again</Message></Error>");
        assert!(of_s3.starts_with("200 InternalError: Try again"), "{of_s3}");
    }

    #[test]
    fn the_canonical_request_is_not_shown() {
        let message = "The request signature we calculated does not match the signature you provided.\n\n\
                       The Canonical String for this request should have been\n'POST\n/\n\n\
                       x-amz-security-token:hunter2\n'";
        let body = ErrorBody {
            code: Some("InvalidSignatureException".to_owned()),
            message: Some(message.to_owned()),
            request_id: None,
        };
        let shown = ServiceError::from_status(403, body, None).to_string();
        assert!(shown.ends_with("the signature you provided."), "{shown}");
    }
}
