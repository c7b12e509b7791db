//! Calls the engine's APIs other than `_bulk`: retries until there is a response, and parses it as JSON.
//!
//! Input: method, path and body. Output: an [`ApiResponse`] of any status but 401 and 403, or the [`Error`] that ends
//! the run.

use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::client::{Client, Content, HttpResponse, Method};
use super::error_response;
use super::retry::RetryContext;
use crate::sink::cause::Cause;
use crate::sink::error::Error;
use crate::sink::refusal::{ClusterBlock, RefusalReason};

/// A client that retries.
#[derive(Clone, Copy, Debug)]
pub(in crate::sink) struct ApiClient<'a> {
    pub(in crate::sink) client: &'a Client,
    pub(in crate::sink) retry: &'a RetryContext,
}

/// A response that is not retried.
#[derive(Debug)]
pub(in crate::sink) struct ApiResponse {
    /// HTTP status.
    pub(in crate::sink) status: u16,
    /// The body; null if it is not JSON.
    pub(in crate::sink) json: Value,
    /// Whether the headers name Elasticsearch as the product.
    pub(in crate::sink) is_elasticsearch: bool,
    /// The content type, without parameters.
    pub(in crate::sink) content_type: String,
    /// The headers.
    pub(in crate::sink) headers: HeaderMap,
    /// The body as received.
    pub(in crate::sink) body: Bytes,
}

impl ApiResponse {
    /// Returns whether the status is 2xx.
    pub(in crate::sink) fn is_success(&self) -> bool {
        (200..=299).contains(&self.status)
    }

    /// Returns whether the body is an error of an engine, and not the page of a web server.
    pub(in crate::sink) fn is_engine_error(&self) -> bool {
        // A missing index or template is a 404 with `error`; a stub may respond with null.
        !self.json["error"].is_null()
    }

    /// Returns the response as a cause.
    pub(in crate::sink) fn cause(&self) -> Cause {
        error_response::parse(self.status, &self.body)
    }
}

impl ApiClient<'_> {
    /// Returns the address of the engine.
    pub(in crate::sink) fn address(&self) -> &str {
        self.client.address()
    }

    /// Sends a request and retries while it is lost or the engine is unavailable. The response may be no JSON.
    pub(in crate::sink) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        action: &str,
    ) -> Result<ApiResponse, Error> {
        let body = body.map(Content::json);
        self.send_until(method, path, body, action, |_| true).await
    }

    /// Sends a body that is not JSON, and retries as [`send`](Self::send) does.
    pub(in crate::sink) async fn upload(
        &self,
        path: &str,
        body: Content,
        action: &str,
    ) -> Result<ApiResponse, Error> {
        self.send_until(Method::Post, path, Some(body), action, |_| true).await
    }

    /// Sends a GET request and retries until the response is an engine's: the page of a proxy would look like an empty
    /// mapping.
    pub(in crate::sink) async fn get(
        &self,
        path: &str,
        action: &str,
    ) -> Result<ApiResponse, Error> {
        let is_acceptable =
            |response: &ApiResponse| response.status > 299 || response.json.is_object();
        self.send_until(Method::Get, path, None, action, is_acceptable).await
    }

    async fn send_until(
        &self,
        method: Method,
        path: &str,
        body: Option<Content>,
        action: &str,
        is_acceptable: impl Fn(&ApiResponse) -> bool,
    ) -> Result<ApiResponse, Error> {
        let mut retry = self.retry.start();
        loop {
            let (cause, retry_after) =
                match self.client.send_content(method, path, body.clone()).await {
                    Ok(response) if is_transient(response.status) => {
                        let cause = error_response::parse(response.status, &response.body);
                        (cause, response.retry_after)
                    }
                    Ok(response) => {
                        let response = parse(response);
                        if is_temporarily_blocked(&response) {
                            (response.cause(), None)
                        } else if is_acceptable(&response) {
                            return self.unless_denied(response, action);
                        } else {
                            let reason = format!(
                                "a response of {} bytes that is not JSON",
                                response.body.len()
                            );
                            (Cause::UnexpectedResponse { status: response.status, reason }, None)
                        }
                    }
                    Err(source @ Cause::Redirect { .. }) => {
                        return Err(refusal(self.address(), action, source));
                    }
                    Err(cause) => (cause, None),
                };
            retry.wait(cause, retry_after).await?;
        }
    }

    /// Puts a template. Any other response than success is an error.
    pub(in crate::sink) async fn put_template(
        &self,
        path: &str,
        body: &Value,
        action: &str,
    ) -> Result<(), Error> {
        let response = self.send(Method::Put, path, Some(body), action).await?;
        if response.is_success() {
            return Ok(());
        }
        Err(match self.refused(action, &response) {
            Error::Refused { url, action, status, reason: RefusalReason::Other, source } => {
                Error::Refused { url, action, status, reason: RefusalReason::Template, source }
            }
            error => error,
        })
    }

    fn unless_denied(&self, response: ApiResponse, action: &str) -> Result<ApiResponse, Error> {
        if matches!(response.status, 401 | 403) {
            Err(self.refused(action, &response))
        } else {
            Ok(response)
        }
    }

    /// Returns the error for a response other than success.
    pub(in crate::sink) fn refused(&self, action: &str, response: &ApiResponse) -> Error {
        refusal(self.address(), action, response.cause())
    }
}

/// Returns the error for a failure that any further document would meet too.
pub(in crate::sink) fn refusal(url: &str, action: &str, source: Cause) -> Error {
    let (url, action) = (url.to_owned(), action.to_owned());
    if matches!(source, Cause::Redirect { .. }) {
        return Error::Redirected { url, source };
    }
    let status = source.status().unwrap_or_default();
    let reason = RefusalReason::from_cause(&source);
    if matches!(status, 401 | 403) && !matches!(reason, RefusalReason::Block(_)) {
        return Error::Denied { url, action, status, source };
    }
    Error::Refused { url, action, status, reason, source }
}

fn parse(response: HttpResponse) -> ApiResponse {
    let HttpResponse { status, is_elasticsearch, content_type, headers, body, .. } = response;
    let json = serde_json::from_slice(&body).unwrap_or_default();
    ApiResponse { status, json, is_elasticsearch, content_type, headers, body }
}

fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=599)
}

/// Returns whether the request is rejected by a block that the engine removes by itself.
fn is_temporarily_blocked(response: &ApiResponse) -> bool {
    response.status == 403
        && response.cause().cluster_block().is_some_and(ClusterBlock::is_temporary)
}
