//! Extracts code, message and request ID from AWS error responses.
//!
//! Input: headers and body of a response in any protocol (awsJson, rest-json, query XML, rest-xml). Output:
//! [`ErrorBody`].
//! Invariant: a body in another format yields an empty [`ErrorBody`], never an error.
//! Deliberately absent: the meaning of a code (see `error_kind`).

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::Value;

use super::xml;

/// The content of an error response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorBody {
    /// Error code without namespace and URL.
    pub(super) code: Option<String>,
    /// Error message.
    pub(super) message: Option<String>,
    /// Request ID, which AWS Support asks for.
    pub(super) request_id: Option<String>,
}

impl ErrorBody {
    /// Reads a response; a body that has not been received yet counts as empty.
    pub(super) fn from_response(response: &HttpResponse) -> Self {
        let body = response.body().bytes().unwrap_or_default();
        Self::new(|name| response.headers().get(name), body)
    }

    /// Reads headers and body; `header` returns the value of a header by its lower-case name.
    pub(super) fn new<'a>(header: impl Fn(&str) -> Option<&'a str>, body: &[u8]) -> Self {
        let mut error = match serde_json::from_slice::<Value>(body) {
            Ok(value) => from_json(&value),
            Err(_) => from_xml(&String::from_utf8_lossy(body)),
        };
        if let Some(code) = header("x-amzn-errortype") {
            error.code = Some(error_code(code).to_owned());
        }
        let id_headers = ["x-amzn-requestid", "x-amz-request-id", "x-amzn-request-id"];
        if let Some(id) = id_headers.into_iter().find_map(header) {
            error.request_id = Some(id.to_owned());
        }
        error
    }
}

fn from_json(value: &Value) -> ErrorBody {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    ErrorBody {
        code: text("__type").or_else(|| text("code")).map(|code| error_code(code).to_owned()),
        message: text("message").or_else(|| text("Message")).map(str::to_owned),
        request_id: None,
    }
}

fn from_xml(document: &str) -> ErrorBody {
    ErrorBody {
        code: xml::first_text(document, &["Code"]),
        message: xml::first_text(document, &["Message"]),
        request_id: xml::first_text(document, &["RequestId", "RequestID"]),
    }
}

/// Returns the code in `com.amazonaws.service#Code` and `Code:http://…`.
fn error_code(code: &str) -> &str {
    let code = code.split_once(':').map_or(code, |(code, _)| code);
    code.rsplit('#').next().unwrap_or(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(headers: &[(&str, &'static str)], body: &str) -> (String, String, String) {
        let header = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|it| it.1);
        let error = ErrorBody::new(header, body.as_bytes());
        let text = Option::unwrap_or_default;
        (text(error.code), text(error.message), text(error.request_id))
    }

    fn expect(code: &str, message: &str, request_id: &str) -> (String, String, String) {
        (code.to_owned(), message.to_owned(), request_id.to_owned())
    }

    #[test]
    fn json_errors_have_three_forms() {
        let body = r#"{"__type":"com.amazonaws.cloudtrail#ThrottlingException","message":"Rate exceeded"}"#;
        assert_eq!(error(&[], body), expect("ThrottlingException", "Rate exceeded", ""));
        let body = r#"{"code":"AccessDeniedException","Message":"no"}"#;
        assert_eq!(error(&[], body), expect("AccessDeniedException", "no", ""));
        let headers = [
            ("x-amzn-errortype", "AccessDeniedException:http://internal.example/"),
            ("x-amzn-requestid", "1-2"),
        ];
        assert_eq!(error(&headers, "{}"), expect("AccessDeniedException", "", "1-2"));
    }

    #[test]
    fn xml_errors_have_three_forms() {
        let sts = "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                   <Message>a &lt;b&gt; &amp; c</Message></Error><RequestId>9</RequestId></ErrorResponse>";
        assert_eq!(error(&[], sts), expect("AccessDenied", "a <b> & c", "9"));
        let ec2 = "<?xml version=\"1.0\"?><Response><Errors><Error><Code>UnauthorizedOperation</Code>\
                   <Message>no</Message></Error></Errors><RequestID>8</RequestID></Response>";
        assert_eq!(error(&[], ec2), expect("UnauthorizedOperation", "no", "8"));
        let s3 = "<Error><Code>NoSuchKey</Code><Message>gone</Message><Key>k</Key></Error>";
        assert_eq!(error(&[("x-amz-request-id", "7")], s3), expect("NoSuchKey", "gone", "7"));
    }

    #[test]
    fn a_body_in_another_format_is_empty() {
        for body in ["", "<html><body>Gateway</body>", "[1]", "<Code>", "<Code></Other>"] {
            assert_eq!(error(&[], body), expect("", "", ""), "{body}");
        }
    }
}
