//! Classifies failed requests to SQS.
//!
//! Input: an error of the SDK. Output: a [`QueueError`] that describes it, and whether another attempt may succeed.
//! Not here: waiting and retrying (see `receiver` and `acknowledger`), and objects that messages name (see `source::s3`).

use std::error::Error as StdError;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::{
    aws::{ErrorKind, ServiceError},
    source::s3::MissingPermission,
};

/// The account in the ARN of a queue whose account is not known.
const UNKNOWN_ACCOUNT: &str = ":ACCOUNT:";

/// A failed request to a queue.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct QueueError {
    /// The description, with a hint.
    pub reason: String,
    /// The error response, or the failure to connect.
    pub service_error: ServiceError,
    /// The missing permission, if access was denied.
    pub missing_permission: Option<MissingPermission>,
    /// Whether another attempt may succeed.
    pub recovery: QueueRecovery,
}

/// Whether another attempt may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueRecovery {
    /// After a wait: the service is busy, or does not respond.
    Retry,
    /// Not before somebody changes something.
    GiveUp,
}

/// What a failed request was about.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueRequest<'a> {
    /// The action as in a policy, such as `sqs:ReceiveMessage`.
    pub(super) action: &'static str,
    /// The ARN of the queue.
    pub(super) arn: &'a str,
}

impl QueueError {
    /// Describes an error of the SDK.
    pub(super) fn from_sdk<E>(error: &SdkError<E, HttpResponse>, request: QueueRequest<'_>) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        Self::new(ServiceError::from_sdk(error), request)
    }

    /// Returns whether it names a queue whose account is not known.
    pub fn has_unknown_account(&self) -> bool {
        self.service_error.status.is_some() && self.reason.contains(UNKNOWN_ACCOUNT)
    }

    /// Names the account of the queue, if it was not known.
    #[must_use]
    pub fn in_account(mut self, account: &str) -> Self {
        let known = |text: &str| text.replace(UNKNOWN_ACCOUNT, &format!(":{account}:"));
        self.reason = known(&self.reason);
        if let Some(missing) = &mut self.missing_permission {
            missing.resource = known(&missing.resource);
        }
        self
    }

    fn new(service_error: ServiceError, request: QueueRequest<'_>) -> Self {
        let missing_permission = missing_permission(&service_error, request);
        let reason = reason(&service_error, request, missing_permission.as_ref());
        let recovery = recovery(&service_error);
        Self { reason, service_error, missing_permission, recovery }
    }
}

fn code(error: &ServiceError) -> &str {
    error.code.as_deref().unwrap_or_default()
}

fn recovery(error: &ServiceError) -> QueueRecovery {
    match (code(error), &error.kind) {
        ("KmsThrottled" | "OverLimit", _)
        | (_, ErrorKind::Throttled | ErrorKind::Transient | ErrorKind::ExpiredToken) => {
            QueueRecovery::Retry
        }
        _ => QueueRecovery::GiveUp,
    }
}

/// Returns whether the queue does not exist. The code has the prefix in responses of the query protocol.
fn is_missing_queue(error: &ServiceError) -> bool {
    matches!(code(error), "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue")
}

fn missing_permission(
    error: &ServiceError,
    request: QueueRequest<'_>,
) -> Option<MissingPermission> {
    if matches!(code(error), "KmsAccessDenied" | "KMS.AccessDeniedException")
        || matches!(error.kind, ErrorKind::AccessDenied { .. }) && error.message.contains("kms:")
    {
        let key = key_arn(&error.message).unwrap_or("the KMS key of the queue").to_owned();
        return Some(MissingPermission { action: "kms:Decrypt", resource: key });
    }
    let resource = error.denied_resource().filter(|resource| resource.contains(":sqs:"));
    let resource = resource.unwrap_or(request.arn).to_owned();
    matches!(error.kind, ErrorKind::AccessDenied { .. })
        .then_some(MissingPermission { action: request.action, resource })
}

/// Returns the ARN of the KMS key, if a message names it.
fn key_arn(message: &str) -> Option<&str> {
    let starts = message.match_indices("arn:aws").map(|(at, _)| &message[at..]);
    let mut arns = starts.map(|arn| arn.split([' ', '"', ',', ')']).next().unwrap_or(arn));
    arns.find(|arn| arn.contains(":kms:"))
}

fn reason(
    error: &ServiceError,
    request: QueueRequest<'_>,
    missing_permission: Option<&MissingPermission>,
) -> String {
    if let Some(MissingPermission { action, resource }) = missing_permission {
        let message = &error.message;
        let message = if message.is_empty() { String::new() } else { format!(" ({message})") };
        return format!("access denied{message}: requires {action} on {resource}");
    }
    if is_missing_queue(error) {
        return format!("queue {} does not exist, or was deleted", request.arn);
    }
    match code(error) {
        "KmsDisabled" | "KmsInvalidState" | "KmsNotFound" | "KmsInvalidKeyUsage" => {
            format!("the KMS key of the queue cannot be used ({error}); enable or restore the key")
        }
        "OverLimit" => {
            "too many messages are received and not yet deleted (OverLimit); other readers of the queue do not delete theirs"
                .to_owned()
        }
        "InvalidAddress" => format!("the address of the queue is not valid ({error})"),
        _ => match error.kind.hint() {
            // Whoever gives up after several attempts adds how many.
            _ if error.status.is_some() && error.kind == ErrorKind::Transient => {
                format!("SQS returned {error}")
            }
            Some(hint) => format!("{error}; {hint}"),
            None => format!("SQS returned {error}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: QueueRequest<'_> = QueueRequest {
        action: "sqs:ReceiveMessage",
        arn: "arn:aws:sqs:eu-west-1:111122223333:trail",
    };

    fn error(status: u16, code: &str, kind: ErrorKind, message: &str) -> QueueError {
        let service = ServiceError {
            kind,
            status: Some(status),
            code: Some(code.to_owned()),
            message: message.to_owned(),
            request_id: None,
        };
        QueueError::new(service, REQUEST)
    }

    #[test]
    fn a_denial_names_the_permission() {
        let denied = || ErrorKind::AccessDenied { action: None };
        let queue = error(403, "AccessDenied", denied(), "Access to the resource is denied.");
        let missing = queue.missing_permission.unwrap();
        assert_eq!((missing.action, missing.resource.as_str()), (REQUEST.action, REQUEST.arn));
        assert!(queue.reason.contains("requires sqs:ReceiveMessage on arn:aws:sqs:"));
        let message = "User is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu-west-1:111122223333:key/k because";
        for (code, kind) in [("KmsAccessDenied", ErrorKind::Other), ("AccessDenied", denied())] {
            let key = error(400, code, kind, message).missing_permission.unwrap();
            assert_eq!(key.action, "kms:Decrypt");
            assert_eq!(key.resource, "arn:aws:kms:eu-west-1:111122223333:key/k");
        }
    }

    #[test]
    fn a_denial_names_the_queue_that_sqs_names() {
        let unknown = QueueRequest { arn: "arn:aws:sqs:eu-west-1:ACCOUNT:trail", ..REQUEST };
        let named = "User: arn:aws:iam::111122223333:user/x is not authorized to perform: sqs:getqueueurl on resource: \
                     arn:aws:sqs:eu-west-1:111122223333:trail because no identity-based policy allows the action";
        for message in [named, "Access to the resource is denied."] {
            let kind = ErrorKind::AccessDenied { action: None };
            let service = error(403, "AccessDenied", kind, message).service_error;
            let error = QueueError::new(service, unknown);
            assert_eq!(error.has_unknown_account(), message != named);
            let error = error.in_account("111122223333");
            assert_eq!(error.missing_permission.unwrap().resource, REQUEST.arn);
            assert!(error.reason.ends_with(REQUEST.arn), "{}", error.reason);
        }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for (status, code, kind, expected) in [
            (400, "RequestThrottled", ErrorKind::Throttled, QueueRecovery::Retry),
            (400, "KmsThrottled", ErrorKind::Other, QueueRecovery::Retry),
            (403, "OverLimit", ErrorKind::Other, QueueRecovery::Retry),
            (503, "ServiceUnavailable", ErrorKind::Transient, QueueRecovery::Retry),
            (403, "ExpiredToken", ErrorKind::ExpiredToken, QueueRecovery::Retry),
            (400, "QueueDoesNotExist", ErrorKind::Other, QueueRecovery::GiveUp),
            (400, "KmsDisabled", ErrorKind::Other, QueueRecovery::GiveUp),
            (403, "InvalidClientTokenId", ErrorKind::RegionNotEnabled, QueueRecovery::GiveUp),
        ] {
            assert_eq!(error(status, code, kind, "").recovery, expected, "{code}");
        }
    }

    #[test]
    fn a_missing_queue_is_named() {
        for code in ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"] {
            let reason = error(400, code, ErrorKind::Other, "").reason;
            assert!(reason.contains("trail does not exist"), "{reason}");
        }
    }
}
