//! Observes the responses to SDK clients.
//!
//! Input: the attempts of every SDK client. Output: expired sessions are reported to the [`CredentialCache`], clock
//! skew to [`LastClockSkew`], failed attempts to [`PendingRequests`], and throttled requests are not retried where a
//! rate limiter must learn of them.
//! Invariant: an expired session is identified by its access key, so that a late response never invalidates newer
//! credentials.
//! Deliberately absent: waiting and retrying, which the SDK does.

use std::sync::Arc;

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{
                BeforeDeserializationInterceptorContextMut,
                BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
                FinalizerInterceptorContextRef, InterceptorContext,
            },
            dyn_dispatch_hint,
        },
        orchestrator::HttpResponse,
        retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{
    config_bag::{ConfigBag, Storable, StoreReplace},
    retry,
};

use super::{
    clock::{Clock, LastClockSkew},
    credential_cache::CredentialCache,
    error_body::ErrorBody,
    error_kind::{self, ErrorKind},
    service_error::ServiceError,
};
use crate::pending::{PendingRequest, PendingRequests};

/// An SDK interceptor that observes every attempt of a client.
#[derive(Debug)]
pub(super) struct ResponseObserver {
    /// The credentials that the client signs with.
    pub(super) credentials: Arc<CredentialCache>,
    /// The local clock.
    pub(super) clock: Clock,
    /// Where the clock skew is recorded.
    pub(super) clock_skew: LastClockSkew,
    /// Where requests in progress are reported, under this service and Region.
    pub(super) pending: PendingRequests,
    pub(super) service: &'static str,
    pub(super) region: String,
}

/// ID of the access key that signed the current attempt.
#[derive(Debug)]
struct SigningKeyId(String);

/// The current request with all its attempts.
#[derive(Debug)]
struct InFlightRequest(PendingRequest);

impl Storable for InFlightRequest {
    type Storer = StoreReplace<Self>;
}

impl Storable for SigningKeyId {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for ResponseObserver {
    fn name(&self) -> &'static str {
        "trailload"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = self.pending.begin(self.service, &self.region);
        bag.interceptor_state().store_put(InFlightRequest(request));
        Ok(())
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let authorization = context.request().headers().get("authorization");
        if let Some(id) = authorization.and_then(access_key_id) {
            bag.interceptor_state().store_put(SigningKeyId(id.to_owned()));
        }
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(skew) = self.clock_skew.record(self.clock.now(), date) {
            context.response_mut().add_extension(skew);
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_expired = context.response().is_some_and(has_expired_token);
        if let (true, Some(SigningKeyId(id))) = (is_expired, bag.load::<SigningKeyId>()) {
            self.credentials.invalidate(id);
        }
        if let (Some(cause), Some(InFlightRequest(request))) =
            (retryable_failure(context), bag.load::<InFlightRequest>())
        {
            request.attempt_failed(cause);
        }
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // After a retryable failure the caller retries: the stall lasts until a request succeeds or the caller gives up.
        if let (None, Some(InFlightRequest(request))) =
            (retryable_failure(context), bag.load::<InFlightRequest>())
        {
            request.finish();
        }
        Ok(())
    }
}

/// Returns the cause of a failed attempt that a retry may not meet again: throttling, an internal error of the service,
/// or a connection error.
fn retryable_failure(context: &FinalizerInterceptorContextRef<'_>) -> Option<String> {
    if let Some(response) = context.response() {
        let error = ServiceError::from_response(response, ErrorBody::from_response(response));
        let is_retryable = matches!(error.kind, ErrorKind::Throttled | ErrorKind::Transient);
        return (is_retryable && !response.status().is_success()).then(|| error.to_string());
    }
    let error = context.output_or_error()?.err()?;
    let is_transport_error = error.is_connector_error() || error.is_timeout_error();
    is_transport_error.then(|| ServiceError::from_transport(error).to_string())
}

/// Returns the access key ID in an `Authorization` header.
fn access_key_id(authorization: &str) -> Option<&str> {
    authorization.split_once("Credential=")?.1.split('/').next()
}

/// Whether a client retries throttled requests; a retry classifier that runs after those of the SDK.
#[derive(Debug)]
pub(super) enum ThrottleRetry {
    /// Never: the caller has a rate limiter, which must learn of throttling at once.
    Never,
    /// As the SDK decides.
    Sdk,
}

impl ClassifyRetry for ThrottleRetry {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(response) = context.response().filter(|it| !it.status().is_success()) else {
            return RetryAction::NoActionIndicated;
        };
        if has_expired_token(response) {
            // The observer has invalidated the credentials: the next attempt is signed with new ones.
            return RetryAction::retryable_error(retry::ErrorKind::ServerError);
        }
        match (self, ErrorBody::from_response(response).code) {
            (Self::Never, Some(code)) if error_kind::is_throttling(&code) => {
                RetryAction::RetryForbidden
            }
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "trailload"
    }

    fn priority(&self) -> RetryClassifierPriority {
        // After all classifiers of the SDK, the last of which runs after the one for HTTP status codes.
        let by_status = RetryClassifierPriority::http_status_code_classifier();
        RetryClassifierPriority::run_after(RetryClassifierPriority::run_after(by_status))
    }
}

fn has_expired_token(response: &HttpResponse) -> bool {
    let code = || ErrorBody::from_response(response).code;
    !response.status().is_success() && code().is_some_and(|it| error_kind::is_expired_token(&it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_key_id_is_in_the_authorization() {
        let header = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/sts/aws4_request, SignedHeaders=host";
        assert_eq!(access_key_id(header), Some("AKIA"));
        assert_eq!(access_key_id("Bearer x"), None);
    }
}
