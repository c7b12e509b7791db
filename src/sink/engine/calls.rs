//! Calls other than bulk: sent until there is an answer, and read as JSON.

use bytes::Bytes;
use serde_json::Value;

use super::client::{Answer, Client, Method};
use super::reply;
use super::retry::Retrier;
use crate::sink::{Block, Cause, Error, Why};

/// A client together with the patience to use it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls<'a> {
    pub(super) client: &'a Client,
    pub(super) retrier: &'a Retrier,
}

/// An answer that is not worth waiting for another one.
#[derive(Debug)]
pub(super) struct Said {
    /// HTTP status.
    pub(super) status: u16,
    /// The body; null if it is not JSON.
    pub(super) json: Value,
    /// Whether the answer names Elasticsearch as its product.
    pub(super) elasticsearch: bool,
    /// What the body is said to be, without parameters.
    pub(super) kind: String,
    /// The body as it came.
    pub(super) body: Bytes,
}

impl Said {
    /// Returns whether the body is an engine's error, and not the page of a web server.
    pub(super) fn is_error(&self) -> bool {
        // A missing index or template is a 404 with `error`; the null answer of a stub is not.
        !self.json["error"].is_null()
    }

    /// Returns the body as it came.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the answer as a cause.
    pub(super) fn cause(&self) -> Cause {
        reply::cause(self.status, &self.body)
    }
}

impl Calls<'_> {
    /// Returns the engine's address.
    pub(super) fn address(&self) -> &str {
        self.client.address()
    }

    /// Sends a call until the answer is neither lost nor "not now". It may be anything else, also no JSON.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        action: &str,
    ) -> Result<Said, Error> {
        self.call_until(method, path, body, action, |_| true).await
    }

    /// Reads something until the answer is an engine's: the page of a proxy would look like an empty mapping.
    pub(super) async fn read(&self, path: &str, action: &str) -> Result<Said, Error> {
        let is_engines = |said: &Said| said.status > 299 || said.json.is_object();
        self.call_until(Method::Get, path, None, action, is_engines).await
    }

    async fn call_until(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        action: &str,
        acceptable: impl Fn(&Said) -> bool,
    ) -> Result<Said, Error> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let mut trouble = self.retrier.watch();
        loop {
            let (cause, asked) = match self.client.call(method, path, body.clone()).await {
                Ok(answer) if is_transient(answer.status) => {
                    (reply::cause(answer.status, &answer.body), answer.retry_after)
                }
                Ok(answer) => {
                    let json = serde_json::from_slice(&answer.body).unwrap_or_default();
                    let Answer { status, elasticsearch, kind, body, .. } = answer;
                    let said = Said { status, json, elasticsearch, kind, body };
                    if is_blocked(&said) {
                        (said.cause(), None)
                    } else if acceptable(&said) {
                        return self.unless_denied(said, action);
                    } else {
                        let reason =
                            format!("an answer of {} bytes that is not JSON", said.body.len());
                        (Cause::Garbage { status, reason }, None)
                    }
                }
                Err(source @ Cause::Redirect { .. }) => {
                    return Err(refusal(self.address(), action, source));
                }
                Err(cause) => (cause, None),
            };
            trouble.wait(cause, asked).await?;
        }
    }

    /// Puts a template: the only good answer is success.
    pub(super) async fn must(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        action: &str,
    ) -> Result<(), Error> {
        let said = self.call(method, path, Some(body), action).await?;
        if (200..=299).contains(&said.status) {
            return Ok(());
        }
        Err(match self.refused(action, said) {
            Error::Refused { url, action, status, why: Why::Other, source } => {
                Error::Refused { url, action, status, why: Why::Template, source }
            }
            error => error,
        })
    }

    fn unless_denied(&self, said: Said, action: &str) -> Result<Said, Error> {
        if matches!(said.status, 401 | 403) { Err(self.refused(action, said)) } else { Ok(said) }
    }

    /// Returns the error for an answer that is no success.
    #[expect(clippy::needless_pass_by_value, reason = "the answer is used up")]
    pub(super) fn refused(&self, action: &str, said: Said) -> Error {
        refusal(self.address(), action, said.cause())
    }
}

/// Returns the error for a refusal that would meet the next document too.
pub(super) fn refusal(url: &str, action: &str, source: Cause) -> Error {
    let (url, action) = (url.to_owned(), action.to_owned());
    if matches!(source, Cause::Redirect { .. }) {
        return Error::Redirected { url, source };
    }
    let status = source.status().unwrap_or_default();
    let why = Why::of(&source);
    if matches!(status, 401 | 403) && !matches!(why, Why::Block(_)) {
        return Error::Denied { url, action, status, source };
    }
    Error::Refused { url, action, status, why, source }
}

fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=599)
}

/// Returns whether a block keeps the call out that the engine takes away by itself.
fn is_blocked(said: &Said) -> bool {
    said.status == 403 && said.cause().block().is_some_and(Block::passes)
}
