//! Classifies failed S3 requests.
//!
//! Input: an error of the SDK. Output: the [`Recovery`] it calls for, and an [`S3Error`] that describes it.
//! Deliberately absent: the recovery itself (see `bucket`).

use std::{error::Error as StdError, fmt};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::address::{bucket_arn, objects_arn};
use crate::{
    aws::{self, AwsPartition, ErrorKind},
    error,
};

/// The response header with the bucket's Region.
const REGION_HEADER: &str = "x-amz-bucket-region";

/// The longest name of a Region. Those of AWS have up to 14 bytes.
const MAX_REGION_BYTES: usize = 32;

/// A failed request to S3.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct S3Error {
    /// The description, with a hint.
    pub reason: String,
    /// The error response, if a request was sent.
    pub service_error: Option<aws::ServiceError>,
    /// The missing permission, if access was denied.
    pub missing_permission: Option<MissingPermission>,
    /// Which other requests will fail the same way.
    pub scope: ErrorScope,
}

/// A missing permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingPermission {
    /// The action as in a policy, such as `s3:ListBucket`.
    pub action: &'static str,
    /// The ARN of the resource as in a policy.
    pub resource: String,
}

/// Which other requests will fail in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorScope {
    /// None: the error is about one object or folder.
    Object,
    /// Perhaps all objects of the bucket: a permission is missing.
    MaybeBucket,
    /// All requests, if none succeeds in the meantime: there was no response.
    Network,
    /// All requests to the bucket: credentials, clock or bucket name are wrong.
    Bucket,
}

/// How to recover from a failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// The bucket is in another Region, given if known.
    SwitchRegion(Option<String>),
    /// The request was throttled.
    SlowDown,
    /// A retry may succeed.
    Retry,
    /// There was no response: retry until the network is back.
    WaitForNetwork,
    /// A retry will not succeed.
    GiveUp,
}

/// What a failed request was about.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestContext<'a> {
    /// The bucket.
    pub(super) bucket: &'a str,
    /// The Region the request was sent to.
    pub(super) region: &'a str,
    /// Whether the requester pays.
    pub(super) requester_pays: bool,
    /// The key or the prefix.
    pub(super) what: Operation<'a>,
}

/// An operation on a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    List(&'a str),
    Get(&'a str),
}

/// A failed request, before its context is known.
#[derive(Clone, Debug)]
pub(super) struct FailedRequest {
    service: aws::ServiceError,
    region: Option<String>,
    /// Whether the response body broke off.
    truncated: bool,
}

impl FailedRequest {
    /// Creates it from an error of the SDK.
    pub(super) fn from_sdk<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        let raw = error.raw_response();
        let header = raw.and_then(|raw| raw.headers().get(REGION_HEADER));
        let header = header.filter(|region| is_plain_region(region)).map(str::to_owned);
        let body = raw.and_then(|raw| raw.body().bytes()).unwrap_or_default();
        Self {
            service: aws::ServiceError::from_sdk(error),
            region: header.or_else(|| region_from_body(body)),
            truncated: false,
        }
    }

    /// Creates it for a response that did not start in time.
    pub(super) fn no_response() -> Self {
        Self::transport("no response in time".to_owned())
    }

    /// Creates it for a body that broke off.
    pub(super) fn truncated_body(got: u64, of: u64, how: impl fmt::Display) -> Self {
        let truncated =
            Self::transport(format!("the response body ended after {got} of {of} bytes ({how})"));
        Self { truncated: true, ..truncated }
    }

    fn transport(message: String) -> Self {
        let trouble = ErrorKind::Transient;
        let service = aws::ServiceError {
            kind: trouble,
            status: None,
            code: None,
            message,
            request_id: None,
        };
        Self { service, region: None, truncated: false }
    }

    /// Returns how to recover.
    pub(super) fn recovery(&self) -> Recovery {
        let switch_region = || Recovery::SwitchRegion(self.region.clone());
        match (self.service.status.unwrap_or(0), self.code()) {
            (301 | 307, _) | (_, "PermanentRedirect" | "TemporaryRedirect") => switch_region(),
            (400, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
                switch_region()
            }
            // A response to HEAD has no body, and so no code.
            (400, "" | "BadRequest") if self.region.is_some() => switch_region(),
            (503, _) | (_, "KMS.ThrottlingException") => Recovery::SlowDown,
            _ => match self.service.kind {
                ErrorKind::Throttled => Recovery::SlowDown,
                ErrorKind::Transient if self.is_no_response() => Recovery::WaitForNetwork,
                // The SDK refreshes the credentials meanwhile.
                ErrorKind::Transient | ErrorKind::ExpiredToken => Recovery::Retry,
                _ => Recovery::GiveUp,
            },
        }
    }

    /// Converts it into an error with a description.
    pub(super) fn into_error(self, context: RequestContext<'_>, attempts: u32) -> S3Error {
        let missing_permission = self.missing_permission(context);
        let mut reason = self.reason(context, missing_permission.as_ref());
        if attempts > 1 {
            reason = format!("{reason} ({attempts} attempts)");
        }
        let reach = match &self.service.kind {
            trouble if trouble.affects_every_region() || self.is_missing_bucket() => {
                ErrorScope::Bucket
            }
            _ if missing_permission.is_some() || self.code().starts_with("KMS.") => {
                ErrorScope::MaybeBucket
            }
            ErrorKind::Transient if self.is_no_response() => ErrorScope::Network,
            _ => ErrorScope::Object,
        };
        S3Error { reason, service_error: Some(self.service), missing_permission, scope: reach }
    }

    /// Returns whether the bucket or access point does not exist.
    fn is_missing_bucket(&self) -> bool {
        matches!(self.code(), "NoSuchBucket" | "NoSuchAccessPoint")
    }

    fn is_no_response(&self) -> bool {
        self.service.status.is_none() && !self.truncated
    }

    fn code(&self) -> &str {
        self.service.code.as_deref().unwrap_or_default()
    }

    /// Returns whether the KMS key denied access. S3 returns the same code for both, so the message decides.
    fn is_key_denial(&self) -> bool {
        self.code().starts_with("KMS.") || self.service.message.contains("kms:")
    }

    fn missing_permission(&self, context: RequestContext<'_>) -> Option<MissingPermission> {
        let denied = matches!(self.code(), "AccessDenied" | "AllAccessDisabled" | "Forbidden" | "");
        if self.service.status != Some(403) || !denied {
            return None;
        }
        let partition = AwsPartition::from_region(context.region).unwrap_or(AwsPartition::Aws);
        Some(match context.what {
            Operation::Get(_) if self.is_key_denial() => MissingPermission {
                action: "kms:Decrypt",
                resource: self.key_arn().unwrap_or("the bucket's KMS key").to_owned(),
            },
            Operation::Get(key) => {
                let resource = objects_arn(context.bucket, &logs_pattern(key), partition);
                MissingPermission { action: "s3:GetObject", resource }
            }
            Operation::List(_) => MissingPermission {
                action: "s3:ListBucket",
                resource: bucket_arn(context.bucket, partition),
            },
        })
    }

    /// Returns the ARN of the KMS key, if the message names it.
    fn key_arn(&self) -> Option<&str> {
        let service = &self.service.message;
        let starts = service.match_indices("arn:aws").map(|(at, _)| &service[at..]);
        let mut arns = starts.map(|arn| arn.split([' ', '"', ',']).next().unwrap_or(arn));
        arns.find(|arn| arn.contains(":kms:"))
    }

    fn reason(
        &self,
        context: RequestContext<'_>,
        missing_permission: Option<&MissingPermission>,
    ) -> String {
        let (bucket, service) = (context.bucket, &self.service);
        if let Some(MissingPermission { action, resource }) = missing_permission {
            let payer = if context.requester_pays || *action == "kms:Decrypt" {
                ""
            } else {
                " (or --requester-pays for a requester-pays bucket)"
            };
            let message = &service.message;
            let message = if message.is_empty() { String::new() } else { format!(" ({message})") };
            return format!("access denied{message}: requires {action} on {resource}{payer}");
        }
        let get = matches!(context.what, Operation::Get(_));
        match (self.code(), service.status) {
            ("NoSuchBucket", _) => format!("bucket {bucket} does not exist"),
            ("NoSuchAccessPoint", _) => format!("access point {bucket} does not exist"),
            ("NoSuchKey", _) => "the object was deleted after it was listed".to_owned(),
            ("", Some(404)) if get => "the object was deleted after it was listed".to_owned(),
            ("PreconditionFailed", _) | ("", Some(412)) => {
                "the object was replaced after it was listed; the next run loads the new version"
                    .to_owned()
            }
            ("InvalidObjectState", _) => {
                "the object is archived (Glacier); restore it, then run the load again".to_owned()
            }
            ("SlowDown", _) => "S3 kept throttling requests (SlowDown)".to_owned(),
            (_, None) => service.message.clone(),
            _ => match service.kind.hint() {
                // The advice is about connections, and this request got a response.
                _ if service.kind == ErrorKind::Transient => format!("S3 returned {service}"),
                Some(advice) => format!("S3 returned {service}; {advice}"),
                None => format!("S3 returned {service}"),
            },
        }
    }
}

impl S3Error {
    /// Creates an error without a failed request.
    pub(super) fn from_reason(reason: String) -> Self {
        Self { reason, service_error: None, missing_permission: None, scope: ErrorScope::Object }
    }
}

/// Returns the key pattern of all logs of the same trail, as used in a policy.
fn logs_pattern(key: &str) -> String {
    let logs = super::layout::LOGS_FOLDER;
    match key.find(&format!("{logs}/")) {
        Some(at) => format!("{}{logs}/*", &key[..at]),
        None => "*".to_owned(),
    }
}

/// Returns the Region named in an error body.
fn region_from_body(body: &[u8]) -> Option<String> {
    let region = aws::xml::first_text(std::str::from_utf8(body).ok()?, &["Region"])?;
    is_plain_region(&region).then_some(region)
}

/// Returns whether a Region can be a part of the name of a host, and nothing else. S3-compatible services have Regions of any name.
pub(super) fn is_plain_region(region: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=MAX_REGION_BYTES).contains(&region.len()) && region.bytes().all(is_plain)
}

/// Returns the message of the innermost cause; the outer ones only repeat the SDK's type names.
pub(super) fn innermost_cause(error: &(dyn StdError + 'static)) -> String {
    error::chain(error).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: RequestContext<'_> = RequestContext {
        bucket: "trail",
        region: "eu-west-1",
        requester_pays: false,
        what: Operation::Get("a/AWSLogs/123456789012/CloudTrail/x.json.gz"),
    };

    fn answer(status: u16, code: &str, message: &str) -> FailedRequest {
        let mut answer = FailedRequest::transport(message.to_owned());
        answer.service.kind = match code {
            "SlowDown" => ErrorKind::Throttled,
            "InternalError" => ErrorKind::Transient,
            "ExpiredToken" => ErrorKind::ExpiredToken,
            _ => ErrorKind::Other,
        };
        answer.service.status = Some(status);
        answer.service.code = (!code.is_empty()).then(|| code.to_owned());
        answer
    }

    #[test]
    fn codes_decide_what_is_next() {
        for (status, code, next) in [
            (503, "SlowDown", Recovery::SlowDown),
            (503, "", Recovery::SlowDown),
            (500, "InternalError", Recovery::Retry),
            (301, "PermanentRedirect", Recovery::SwitchRegion(None)),
            (400, "AuthorizationHeaderMalformed", Recovery::SwitchRegion(None)),
            (400, "ExpiredToken", Recovery::Retry),
            (400, "InvalidArgument", Recovery::GiveUp),
            (403, "AccessDenied", Recovery::GiveUp),
            (404, "NoSuchKey", Recovery::GiveUp),
            (412, "PreconditionFailed", Recovery::GiveUp),
        ] {
            assert_eq!(answer(status, code, "").recovery(), next, "{status} {code}");
        }
        assert_eq!(FailedRequest::truncated_body(3, 5, "reset").recovery(), Recovery::Retry);
        assert_eq!(FailedRequest::no_response().recovery(), Recovery::WaitForNetwork);
        assert_eq!(FailedRequest::no_response().into_error(CONTEXT, 3).scope, ErrorScope::Network);
    }

    #[test]
    fn a_denial_names_what_is_missing() {
        let get = answer(403, "AccessDenied", "Access Denied").into_error(CONTEXT, 1);
        let missing_permission = get.missing_permission.unwrap();
        assert_eq!(missing_permission.action, "s3:GetObject");
        assert_eq!(missing_permission.resource, "arn:aws:s3:::trail/a/AWSLogs/*");
        assert_eq!(get.scope, ErrorScope::MaybeBucket);

        let china = RequestContext { region: "cn-north-1", what: Operation::List("a/"), ..CONTEXT };
        let list = answer(403, "AccessDenied", "Access Denied").into_error(china, 1);
        assert_eq!(list.missing_permission.unwrap().resource, "arn:aws-cn:s3:::trail");

        let message = "User: arn:aws:sts::123456789012:assumed-role/r/s is not authorized to perform: \
                    kms:Decrypt on resource: arn:aws:kms:eu-west-1:123456789012:key/k because no policy";
        let key =
            answer(403, "AccessDenied", message).into_error(CONTEXT, 1).missing_permission.unwrap();
        assert_eq!(key.action, "kms:Decrypt");
        assert_eq!(key.resource, "arn:aws:kms:eu-west-1:123456789012:key/k");
    }

    #[test]
    fn the_region_is_read_from_the_body_where_the_header_is_lost() {
        let body = b"<Error><Code>x</Code><Region>eu-west-1</Region></Error>";
        assert_eq!(region_from_body(body).as_deref(), Some("eu-west-1"));
        assert_eq!(region_from_body(b"<Region>a b</Region>"), None);
    }
}
