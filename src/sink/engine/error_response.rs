//! Parses error responses of engines, of AWS, and of proxies.
//!
//! Input: status and body. Output: a [`Cause`] with the engine's error type and explanation, as far as the body has them.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::strip_canonical_request;
use crate::sink::cause::Cause;

/// Parses the error response of any request.
pub(super) fn parse(status: u16, body: &[u8]) -> Cause {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    let (code, reason) = serde_json::from_slice::<Body<'_>>(body)
        .ok()
        .and_then(|body| body.error)
        .map_or_else(|| (String::new(), message(body)), |error| code_and_reason(error.get()));
    // Kibana and OpenSearch Dashboards repeat the name of the status there, and explain it in another member.
    let explanation = if code.is_empty() { message(body) } else { String::new() };
    let reason = if explanation.is_empty() { reason } else { explanation };
    Cause::ErrorResponse { status, code, reason }
}

/// Returns the message of AWS for a request that does not reach the engine (a missing permission, or an invalid signature), and
/// those of other services.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Body {
        #[serde(alias = "Message")]
        message: String,
    }
    let message = serde_json::from_slice::<Body>(body).map(|body| body.message);
    strip_canonical_request(message.unwrap_or_default())
}

/// Parses an `error` value, which is an object or a plain text, into error type and explanation. The explanations of the
/// causes are appended.
pub(super) fn code_and_reason(error: &str) -> (String, String) {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum ErrorValue {
        Text(String),
        Object {
            #[serde(default, rename = "type")]
            code: Option<String>,
            #[serde(default)]
            reason: Option<String>,
            #[serde(default)]
            caused_by: Option<CausedBy>,
        },
    }
    #[derive(Deserialize)]
    struct CausedBy {
        #[serde(default)]
        reason: Option<String>,
        #[serde(default)]
        caused_by: Option<Box<CausedBy>>,
    }
    match serde_json::from_str(error) {
        Ok(ErrorValue::Text(reason)) => (String::new(), reason),
        Ok(ErrorValue::Object { code, reason, caused_by }) => {
            let mut reasons = reason.unwrap_or_default();
            let mut next = caused_by;
            while let Some(cause) = next {
                if let Some(reason) = cause.reason.filter(|reason| !reasons.contains(reason)) {
                    reasons.push_str(": ");
                    reasons.push_str(&reason);
                }
                next = cause.caused_by.map(|cause| *cause);
            }
            (code.unwrap_or_default(), reasons)
        }
        Err(_) => Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_explanation_of_kibana_is_kept() {
        let body =
            r#"{"statusCode":400,"error":"Bad Request","message":"Invalid file extension .json"}"#;
        assert_eq!(
            parse(400, body.as_bytes()).to_string(),
            "400 Bad Request: Invalid file extension .json"
        );
        let plain = r#"{"error":"no handler found for uri","status":400}"#;
        assert_eq!(
            parse(400, plain.as_bytes()).to_string(),
            "400 Bad Request: no handler found for uri"
        );
    }

    #[test]
    fn an_aws_message_is_kept_without_the_canonical_request() {
        let shown = |body: &str| parse(403, body.as_bytes()).to_string();
        let denied = r#"{"Message":"User: anonymous is not authorized to perform: es:ESHttpPost"}"#;
        assert!(shown(denied).contains("es:ESHttpPost"), "{}", shown(denied));
        let signature = r#"{"message":"The signature does not match.\n\nThe Canonical String for this request should have been\n'POST\n/_bulk\nx-amz-security-token:hunter2'"}"#;
        assert!(
            shown(signature).ends_with("The signature does not match."),
            "{}",
            shown(signature)
        );
    }
}
