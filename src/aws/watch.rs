//! What is seen in every answer on its way to us.
//!
//! In: the attempts of every SDK client. Out: the keeper hears of sessions that AWS calls expired, the access
//! hears how far the clocks are apart, and the client hears what is not its to repeat.
//! Holds: an expired session is named by its access key, so that a late answer never spoils fresh credentials.

use std::sync::{Arc, Mutex, PoisonError};

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
    retry::ErrorKind,
};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};

use super::{
    access::Clock,
    answer::{self, Said},
    keeper::Keeper,
    trouble::{self, Refusal, Trouble},
};
use crate::waits::{Waiting, Waits};

/// How far this machine's clock is ahead of the service's, written beside an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead(pub(super) SignedDuration);

/// The last such measurement, shared by everything that asks AWS.
#[derive(Clone, Debug, Default)]
pub(super) struct Drift(Arc<Mutex<Option<SignedDuration>>>);

impl Drift {
    /// Compares our clock with the date of an answer.
    pub(super) fn measure(&self, now: Timestamp, date: Option<&str>) -> Option<SignedDuration> {
        let theirs = rfc2822::DateTimeParser::new().parse_timestamp(date?).ok()?;
        let ahead = now.duration_since(theirs);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
        Some(ahead)
    }

    /// Returns the last measurement.
    pub(super) fn last(&self) -> Option<SignedDuration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at every attempt of a client.
#[derive(Debug)]
pub(super) struct Watch {
    /// Whose credentials the client signs with.
    pub(super) keeper: Arc<Keeper>,
    /// Our clock.
    pub(super) clock: Clock,
    /// Where to write down how wrong it is.
    pub(super) drift: Drift,
    /// Where to note what is waited for, and under which service and Region.
    pub(super) waits: Waits,
    pub(super) service: &'static str,
    pub(super) region: String,
}

/// The access key that signed the attempt that is under way.
#[derive(Debug)]
struct SignedWith(String);

/// The request that is under way, with all its attempts.
#[derive(Debug)]
struct UnderWay(Waiting);

impl Storable for UnderWay {
    type Storer = StoreReplace<Self>;
}

impl Storable for SignedWith {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "trailload"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let waiting = self.waits.begin(self.service, &self.region);
        bag.interceptor_state().store_put(UnderWay(waiting));
        Ok(())
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(key) = context.request().headers().get("authorization").and_then(signer) {
            bag.interceptor_state().store_put(SignedWith(key.to_owned()));
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
        if let Some(ahead) = self.drift.measure(self.clock.now(), date) {
            context.response_mut().add_extension(Ahead(ahead));
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let expired = context.response().is_some_and(has_expired);
        if let (true, Some(SignedWith(key))) = (expired, bag.load::<SignedWith>()) {
            self.keeper.refuse(key);
        }
        if let (Some(cause), Some(UnderWay(waiting))) = (failure(context), bag.load::<UnderWay>()) {
            waiting.failed(cause);
        }
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // What failed so that it may be asked again stays open until something succeeds, or all is given up.
        if let (None, Some(UnderWay(waiting))) = (failure(context), bag.load::<UnderWay>()) {
            waiting.answered();
        }
        Ok(())
    }
}

/// Returns what went wrong with an attempt in a way that asking again may mend: the service has trouble or too much to
/// do, or the way there.
fn failure(context: &FinalizerInterceptorContextRef<'_>) -> Option<String> {
    if let Some(response) = context.response() {
        let refusal = Refusal::of_response(response, said(response));
        let again = matches!(refusal.trouble, Trouble::Throttled | Trouble::Transient);
        return (again && !response.status().is_success()).then(|| refusal.to_string());
    }
    let error = context.output_or_error()?.err()?;
    let way = error.is_connector_error() || error.is_timeout_error();
    way.then(|| Refusal::of_way(error).to_string())
}

/// Returns the access key in an `Authorization` header.
fn signer(authorization: &str) -> Option<&str> {
    authorization.split_once("Credential=")?.1.split('/').next()
}

/// Decides what a client repeats by itself, beside what the SDK decides.
#[derive(Debug)]
pub(super) enum Manners {
    /// A limiter of ours stands before this client: it must hear of throttling, and at once.
    Paced,
    /// Nobody else waits, so the SDK does.
    Patient,
}

impl ClassifyRetry for Manners {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(response) = context.response().filter(|it| !it.status().is_success()) else {
            return RetryAction::NoActionIndicated;
        };
        if has_expired(response) {
            // The keeper knows by now: the next attempt is signed with new credentials.
            return RetryAction::retryable_error(ErrorKind::ServerError);
        }
        match (self, said(response).code) {
            (Self::Paced, Some(code)) if trouble::is_throttling(&code) => {
                RetryAction::RetryForbidden
            }
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "trailload"
    }

    fn priority(&self) -> RetryClassifierPriority {
        // After all of the SDK's own, the last of which follows the one by status.
        let status = RetryClassifierPriority::http_status_code_classifier();
        RetryClassifierPriority::run_after(RetryClassifierPriority::run_after(status))
    }
}

/// Reads what an answer said; a body that is still a stream says nothing.
pub(super) fn said(response: &HttpResponse) -> Said {
    let body = response.body().bytes().unwrap_or_default();
    answer::read(|name| response.headers().get(name), body)
}

fn has_expired(response: &HttpResponse) -> bool {
    !response.status().is_success()
        && said(response).code.is_some_and(|code| trouble::is_expiry(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_measures_our_clock() {
        let drift = Drift::default();
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        assert_eq!(drift.measure(now, None), None);
        assert_eq!(drift.measure(now, Some("yesterday")), None);
        assert_eq!(drift.last(), None);
        let date = Some("Thu, 01 Jan 2026 00:00:00 GMT");
        assert_eq!(drift.measure(now, date), Some(SignedDuration::from_mins(10)));
        assert_eq!(drift.last(), Some(SignedDuration::from_mins(10)));
    }

    #[test]
    fn the_signer_is_in_the_authorization() {
        let header = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/sts/aws4_request, SignedHeaders=host";
        assert_eq!(signer(header), Some("AKIA"));
        assert_eq!(signer("Bearer x"), None);
    }
}
