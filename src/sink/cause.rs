//! Why a request to the engine failed.
//!
//! Invariant: addresses hold no credentials and no query.

use std::fmt;

use reqwest::StatusCode;

/// Why a connection failed, or was lost before the response was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The host name does not resolve.
    HostNotFound,
    /// No process listens on that port.
    ConnectionRefused,
    /// The certificate is signed by an authority that is not trusted on this machine.
    UnknownIssuer,
    /// The certificate is invalid for another reason: expired, or issued for another host.
    InvalidCertificate,
    /// The server does not speak TLS.
    NotTls,
    /// The connection was closed without a response. A TLS port does that to a plain HTTP request.
    ConnectionClosed,
    /// The response did not arrive in time.
    TimedOut,
    /// A proxy rejects the connection (with this HTTP status), or does not answer.
    Proxy(Option<u16>),
    /// Any other reason.
    Other,
}

/// Why a request to the engine failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The engine responded with an error.
    #[error("{}", ResponseError { status: *status, code, reason })]
    ErrorResponse {
        /// HTTP status of the response, or of one item of a bulk response.
        status: u16,
        /// The engine's error type, such as `cluster_block_exception`; may be empty.
        code: String,
        /// The engine's explanation; may be empty.
        reason: String,
    },
    /// The request or its response was lost.
    #[error("{reason}")]
    Connection {
        /// Why.
        kind: ConnectError,
        /// The message of the layer that detected it.
        reason: String,
    },
    /// The response redirects to another address. Redirects are never followed.
    #[error("{status}: redirects to {to}")]
    Redirect {
        /// HTTP status.
        status: u16,
        /// The location, without credentials and query.
        to: String,
        /// The engine address at which the same request would have been made, if the location may be an engine.
        address: Option<String>,
    },
    /// The response is not one that Elasticsearch or OpenSearch sends.
    #[error("{status}: {reason}")]
    UnexpectedResponse {
        /// HTTP status.
        status: u16,
        /// What is wrong with the response.
        reason: String,
    },
    /// The index was deleted during the run, and the engine created it again without the template.
    #[error(
        "it was deleted during the run and created again without trailload's template, so it maps fields dynamically"
    )]
    CreatedWithoutTemplate,
}

impl Cause {
    /// Returns the HTTP status, if there was a response.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::ErrorResponse { status, .. }
            | Self::Redirect { status, .. }
            | Self::UnexpectedResponse { status, .. } => Some(*status),
            Self::Connection { .. } | Self::CreatedWithoutTemplate => None,
        }
    }

    /// Returns the engine's error type, or an empty string.
    pub fn code(&self) -> &str {
        self.code_and_reason().0
    }

    /// Returns the engine's error type and explanation, or empty strings for anything but an error of the engine.
    pub(super) fn code_and_reason(&self) -> (&str, &str) {
        match self {
            Self::ErrorResponse { code, reason, .. } => (code, reason),
            _ => ("", ""),
        }
    }
}

/// Displays an error response in one line. Engines and proxies often leave out the code or the reason.
struct ResponseError<'a> {
    status: u16,
    code: &'a str,
    reason: &'a str,
}

impl fmt::Display for ResponseError<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = StatusCode::from_u16(self.status).ok().and_then(|code| code.canonical_reason());
        let name = if self.code.is_empty() { known.unwrap_or_default() } else { self.code };
        write!(out, "{}", format!("{} {name}", self.status).trim_end())?;
        if self.reason.is_empty() { Ok(()) } else { write!(out, ": {}", self.reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_responses_are_readable_whatever_is_missing() {
        let cause = |status, code: &str, reason: &str| {
            Cause::ErrorResponse { status, code: code.into(), reason: reason.into() }.to_string()
        };
        assert_eq!(cause(403, "security_exception", "no"), "403 security_exception: no");
        assert_eq!(cause(503, "", ""), "503 Service Unavailable");
        assert_eq!(cause(429, "", "slow down"), "429 Too Many Requests: slow down");
        assert_eq!(cause(599, "", ""), "599");
    }
}
