//! Where the code and the message are in an answer that says no.
//!
//! In: headers and body of any protocol (awsJson, rest-json, query XML, rest-xml). Out: [`Said`].
//! Absent on purpose: what the code means (see `trouble`).

use serde_json::Value;

/// What a service said when it said no.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Its code, without the namespace that some put before it.
    pub(super) code: Option<String>,
    /// Its message.
    pub(super) message: Option<String>,
    /// The number of the request.
    pub(super) request: Option<String>,
}

/// Reads an answer; `header` looks one up by its lower-case name.
pub(super) fn read<'a>(header: impl Fn(&str) -> Option<&'a str>, body: &[u8]) -> Said {
    let text = String::from_utf8_lossy(body);
    let mut said = match serde_json::from_slice::<Value>(body) {
        Ok(value) => of_json(&value),
        Err(_) => of_xml(&text),
    };
    if let Some(code) = header("x-amzn-errortype") {
        said.code = Some(bare(code).to_owned());
    }
    let numbers = ["x-amzn-requestid", "x-amz-request-id", "x-amzn-request-id"];
    if let Some(number) = numbers.into_iter().find_map(header) {
        said.request = Some(number.to_owned());
    }
    said
}

fn of_json(value: &Value) -> Said {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    Said {
        code: text("__type").or_else(|| text("code")).map(|code| bare(code).to_owned()),
        message: text("message").or_else(|| text("Message")).map(str::to_owned),
        request: None,
    }
}

fn of_xml(text: &str) -> Said {
    let first = |name| elements(text, name).next().map(unescape);
    Said {
        code: first("Code"),
        message: first("Message"),
        request: first("RequestId").or_else(|| first("RequestID")),
    }
}

/// Takes the code out of `com.amazonaws.service#Code` and `Code:http://…`.
fn bare(code: &str) -> &str {
    let code = code.split_once(':').map_or(code, |(code, _)| code);
    code.rsplit('#').next().unwrap_or(code)
}

/// Returns the contents of the elements called `name` that have no attributes, in order. Enough for the flat
/// lists that AWS answers with; an element inside one of its own name is beyond it.
pub(super) fn elements<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(&open)? + open.len();
        let end = start + rest[start..].find(&close)?;
        let inner = &rest[start..end];
        rest = &rest[end + close.len()..];
        Some(inner)
    })
}

/// Undoes the five entities of XML.
pub(super) fn unescape(text: &str) -> String {
    text.trim()
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(headers: &[(&str, &'static str)], body: &str) -> (String, String, String) {
        let header = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|it| it.1);
        let said = read(header, body.as_bytes());
        let text = Option::unwrap_or_default;
        (text(said.code), text(said.message), text(said.request))
    }

    fn expect(code: &str, message: &str, request: &str) -> (String, String, String) {
        (code.to_owned(), message.to_owned(), request.to_owned())
    }

    #[test]
    fn json_may_be_said_in_three_ways() {
        let body = r#"{"__type":"com.amazonaws.cloudtrail#ThrottlingException","message":"Rate exceeded"}"#;
        assert_eq!(said(&[], body), expect("ThrottlingException", "Rate exceeded", ""));
        let body = r#"{"code":"AccessDeniedException","Message":"no"}"#;
        assert_eq!(said(&[], body), expect("AccessDeniedException", "no", ""));
        let headers = [
            ("x-amzn-errortype", "AccessDeniedException:http://internal.example/"),
            ("x-amzn-requestid", "1-2"),
        ];
        assert_eq!(said(&headers, "{}"), expect("AccessDeniedException", "", "1-2"));
    }

    #[test]
    fn xml_may_be_said_in_three_ways() {
        let sts = "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                   <Message>a &lt;b&gt; &amp; c</Message></Error><RequestId>9</RequestId></ErrorResponse>";
        assert_eq!(said(&[], sts), expect("AccessDenied", "a <b> & c", "9"));
        let ec2 = "<?xml version=\"1.0\"?><Response><Errors><Error><Code>UnauthorizedOperation</Code>\
                   <Message>no</Message></Error></Errors><RequestID>8</RequestID></Response>";
        assert_eq!(said(&[], ec2), expect("UnauthorizedOperation", "no", "8"));
        let s3 = "<Error><Code>NoSuchKey</Code><Message>gone</Message><Key>k</Key></Error>";
        assert_eq!(said(&[("x-amz-request-id", "7")], s3), expect("NoSuchKey", "gone", "7"));
    }

    #[test]
    fn what_is_neither_says_nothing() {
        for body in ["", "<html><body>Gateway</body>", "[1]", "<Code>", "<Code></Other>"] {
            assert_eq!(said(&[], body), expect("", "", ""), "{body}");
        }
    }
}
