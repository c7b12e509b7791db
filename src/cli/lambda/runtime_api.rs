//! A client of the Lambda runtime API, version 2018-06-01.
//!
//! Input: the address that Lambda sets in `AWS_LAMBDA_RUNTIME_API`. Output: [`Invocation`]s, and the requests that end them.
//! Invariant: one connection is kept open; no proxy of the environment is used, because the API is on this machine; a payload
//! is held once.
//! Not here: what an invocation contains (see `trigger`), and what is done with it (see `handler`).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Client, Method, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use serde_json::{Value, json};
use thiserror::Error;

use crate::cli::{exit::Exit, failure::Failure};

/// The folder of the version of the API.
const VERSION: &str = "2018-06-01";

/// The largest payload that is read. Lambda sends 6 MB to most functions; more is not from Lambda.
const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// Time limit for the requests that end an invocation. They do not leave the machine.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What Lambda shows as the kind of an error that this program reports.
const ERROR_TYPE_PREFIX: &str = "Trailload";

/// Bytes of a request id that are percent-encoded in a path. Lambda's are UUIDs.
const ID_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-request-id");
const DEADLINE: HeaderName = HeaderName::from_static("lambda-runtime-deadline-ms");
const TRACE_ID: HeaderName = HeaderName::from_static("lambda-runtime-trace-id");
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");

/// Why a request to the runtime API failed. The sandbox is not usable any more.
#[derive(Debug, Error)]
pub(super) enum RuntimeApiError {
    /// The client cannot be created.
    #[error("cannot create the HTTP client for the Lambda runtime API")]
    Client(#[source] reqwest::Error),
    /// No response.
    #[error("the Lambda runtime API at {address} does not answer to {operation}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What was requested.
        operation: &'static str,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// A response other than the expected one.
    #[error("the Lambda runtime API at {address} refused {operation}: {status}")]
    Refused {
        /// Host and port.
        address: String,
        /// What was requested.
        operation: &'static str,
        /// The status.
        status: StatusCode,
    },
    /// An invocation without what the API defines.
    #[error("the Lambda runtime API at {address} sent an invocation {fault}")]
    Invocation {
        /// Host and port.
        address: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}

impl RuntimeApiError {
    /// Returns whether the response is larger than Lambda accepts; then the invocation still has to be ended.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::PAYLOAD_TOO_LARGE, .. })
    }
}

impl From<RuntimeApiError> for Failure {
    fn from(error: RuntimeApiError) -> Self {
        Self::from_error(Exit::ActionRequired, &error)
    }
}

/// What Lambda asks the function to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    /// The id of the request. A retry of Lambda has that of the first attempt.
    pub(super) request_id: String,
    /// When Lambda ends the invocation, in milliseconds of the Unix epoch.
    pub(super) deadline: Option<i64>,
    /// The trace of AWS X-Ray.
    pub(super) trace_id: Option<String>,
    /// The event: JSON text.
    pub(super) payload: Bytes,
}

/// An error that is reported to Lambda.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReportedError {
    /// What kind of error it is, without spaces.
    pub(super) kind: InvocationErrorKind,
    /// What went wrong, on one line.
    pub(super) message: String,
}

/// The kinds of errors that are reported to Lambda.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InvocationErrorKind {
    /// The variables, the rules or the actions are invalid.
    Configuration,
    /// Messages were not processed completely, or alerts not delivered.
    Incomplete,
    /// What was delivered is not CloudTrail's.
    ForeignMessage,
    /// The deadline came first.
    Deadline,
    /// Anything else.
    Failed,
}

impl InvocationErrorKind {
    fn name(self) -> &'static str {
        match self {
            Self::Configuration => "InvalidConfiguration",
            Self::Incomplete => "Incomplete",
            Self::ForeignMessage => "ForeignMessage",
            Self::Deadline => "DeadlineExceeded",
            Self::Failed => "Failed",
        }
    }
}

impl ReportedError {
    /// Creates an error.
    pub(super) fn new(kind: InvocationErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Returns an error with the message, the causes and the hint of a failure.
    pub(super) fn from_failure(kind: InvocationErrorKind, failure: &Failure) -> Self {
        let causes = failure.causes.iter().map(|cause| format!("; caused by: {cause}"));
        let hint = failure.hint.iter().map(|hint| format!("; hint: {hint}"));
        let parts = causes.chain(hint).collect::<String>();
        Self::new(kind, format!("{}{parts}", failure.heading))
    }

    fn error_type(&self) -> String {
        format!("{ERROR_TYPE_PREFIX}.{}", self.kind.name())
    }

    fn body(&self) -> Value {
        json!({ "errorMessage": self.message, "errorType": self.error_type(), "stackTrace": [] })
    }
}

/// A connection to the runtime API.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    http: Client,
    /// Host and port.
    address: String,
}

impl RuntimeApi {
    /// Creates the client; sends nothing.
    ///
    /// # Errors
    ///
    /// Returns [`RuntimeApiError::Client`] if the client cannot be created.
    pub(super) fn new(address: &str) -> Result<Self, RuntimeApiError> {
        let http = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .http1_only()
            .pool_idle_timeout(None)
            // No certificate is needed here; those of the machine take a tenth of a cold start to read.
            .tls_certs_only([])
            .build()
            .map_err(RuntimeApiError::Client)?;
        Ok(Self { http, address: address.trim_end_matches('/').to_owned() })
    }

    /// Waits for the next invocation, however long that takes.
    ///
    /// # Errors
    ///
    /// Returns [`RuntimeApiError`] if the API does not answer or refuses the request.
    pub(super) async fn next(&self) -> Result<Invocation, RuntimeApiError> {
        const OPERATION: &str = "GET invocation/next";
        let url = self.url("invocation/next");
        let sent = self.http.request(Method::GET, url).send().await;
        let mut response = self.checked(OPERATION, StatusCode::OK, sent)?;
        let headers = response.headers();
        let request_id = text(headers, &REQUEST_ID)
            .filter(|id| !id.is_empty())
            .ok_or_else(|| self.invalid("without a request id"))?;
        let deadline = text(headers, &DEADLINE).and_then(|deadline| deadline.parse().ok());
        let trace_id = text(headers, &TRACE_ID);
        let payload = self.payload(OPERATION, &mut response).await?;
        Ok(Invocation { request_id, deadline, trace_id, payload })
    }

    async fn payload(
        &self,
        operation: &'static str,
        response: &mut Response,
    ) -> Result<Bytes, RuntimeApiError> {
        let mut payload = BytesMut::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|source| self.unreachable(operation, source))?
        {
            if payload.len() + chunk.len() > MAX_PAYLOAD_BYTES {
                return Err(self.invalid("that is too large"));
            }
            payload.extend_from_slice(&chunk);
        }
        Ok(payload.freeze())
    }

    /// Ends an invocation with a response.
    ///
    /// # Errors
    ///
    /// Returns [`RuntimeApiError`] if the API does not answer or refuses the response.
    pub(super) async fn respond(
        &self,
        request_id: &str,
        response: &Value,
    ) -> Result<(), RuntimeApiError> {
        let path = format!("invocation/{}/response", in_path(request_id));
        self.post("POST invocation/response", &path, response, None).await
    }

    /// Ends an invocation with an error.
    ///
    /// # Errors
    ///
    /// Returns [`RuntimeApiError`] if the API does not answer or refuses the error.
    pub(super) async fn fail(
        &self,
        request_id: &str,
        error: &ReportedError,
    ) -> Result<(), RuntimeApiError> {
        let path = format!("invocation/{}/error", in_path(request_id));
        self.post("POST invocation/error", &path, &error.body(), Some(error)).await
    }

    /// Reports that the function cannot be started.
    ///
    /// # Errors
    ///
    /// Returns [`RuntimeApiError`] if the API does not answer or refuses the error.
    pub(super) async fn fail_start(&self, error: &ReportedError) -> Result<(), RuntimeApiError> {
        self.post("POST init/error", "init/error", &error.body(), Some(error)).await
    }

    async fn post(
        &self,
        operation: &'static str,
        path: &str,
        body: &Value,
        error: Option<&ReportedError>,
    ) -> Result<(), RuntimeApiError> {
        let mut request = self
            .http
            .request(Method::POST, self.url(path))
            .timeout(RESPONSE_TIMEOUT)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body.to_string());
        if let Some(error) = error {
            request = request.header(ERROR_TYPE, error.error_type());
        }
        let sent = request.send().await;
        let response = self.checked(operation, StatusCode::ACCEPTED, sent)?;
        // Read to its end, so that the connection is used again. What it contains is not needed.
        let _ = response.bytes().await;
        Ok(())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{VERSION}/runtime/{path}", self.address)
    }

    fn checked(
        &self,
        operation: &'static str,
        expected: StatusCode,
        sent: reqwest::Result<Response>,
    ) -> Result<Response, RuntimeApiError> {
        let response = sent.map_err(|source| self.unreachable(operation, source))?;
        let status = response.status();
        if status == expected {
            return Ok(response);
        }
        Err(RuntimeApiError::Refused { address: self.address.clone(), operation, status })
    }

    fn unreachable(&self, operation: &'static str, source: reqwest::Error) -> RuntimeApiError {
        // The URL is in the message already.
        let source = source.without_url();
        RuntimeApiError::Unreachable { address: self.address.clone(), operation, source }
    }

    fn invalid(&self, fault: &'static str) -> RuntimeApiError {
        RuntimeApiError::Invocation { address: self.address.clone(), fault }
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn in_path(request_id: &str) -> String {
    utf8_percent_encode(request_id, ID_IN_PATH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_went_wrong_and_what_to_do() {
        let failure = Failure::action_required("cannot open the file").hint("make room");
        let error = ReportedError::from_failure(InvocationErrorKind::Configuration, &failure);
        assert_eq!(
            error.body(),
            json!({
                "errorMessage": "cannot open the file; hint: make room",
                "errorType": "Trailload.InvalidConfiguration",
                "stackTrace": [],
            })
        );
    }

    #[test]
    fn a_request_id_stays_within_its_part_of_the_path() {
        assert_eq!(in_path("8476a536-e9f4-11e8-9739-2dfe598c3fcd").len(), 36);
        assert_eq!(in_path("../a b"), "..%2Fa%20b");
    }
}
