//! Sends one HTTP request to a receiver, and classifies the response.
//!
//! Input: URL, headers and body. Output: nothing if the receiver acknowledged the alert, or a [`DeliveryError`].
//! Invariant: no redirect is followed, and no error contains a URL, a header or a secret: a webhook's URL is its password.
//! Not here: retries, and what a service expects in the body.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use jiff::{Timestamp, civil::DateTime, fmt::rfc2822, tz::TimeZone};
use percent_encoding::percent_decode_str;
use reqwest::{
    Certificate, Method, Response,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, USER_AGENT},
    redirect::Policy,
};
use url::Url;

use super::{
    DeliveryError, RetryAdvice,
    settings::{Read, Settings},
    text_limit::TextLimit,
};
use crate::{
    filter::yaml::{DefinitionError, TextPosition},
    proxy::{Proxy, ProxyError},
    redact::{self, Secret},
    sink::{
        cause::ConnectError,
        engine::{connect_error, excerpt::excerpt, is_loopback},
    },
};

/// Time limit of a request. Services answer within seconds; the queue of an action waits for the answer.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest wait that a receiver can ask for. A mistaken header must not stop alerts for a day.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Bytes of a response that are read: error messages are short.
const MAX_RESPONSE_BYTES: usize = 8 << 10;

/// Longest explanation that is shown: APIs list what is wrong with each field.
const MAX_EXPLANATION: TextLimit = TextLimit::characters(400);

/// How requests of an action are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpSettings {
    pub(super) timeout: Duration,
    /// PEM file with certificates of authorities to trust in addition to those of the system.
    ca_file: Option<PathBuf>,
}

impl HttpSettings {
    pub(super) fn read(settings: &Settings<'_>) -> Read<Self> {
        Ok(Self { timeout: settings.timeout(DEFAULT_TIMEOUT)?, ca_file: settings.path("ca_file")? })
    }

    pub(super) fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }
}

/// Sends requests to one receiver.
#[derive(Debug)]
pub(super) struct HttpSender {
    http: reqwest::Client,
    url: Secret,
    /// The host, for messages.
    host: String,
    timeout: Duration,
    /// What no message may contain.
    secrets: Vec<Secret>,
}

/// What a response means for a service.
pub(super) struct ResponseRules {
    /// The wait after a 429 without `Retry-After`; `None` stands for a growing wait.
    pub(super) throttled: Option<Duration>,
    /// Returns what to do about a refusal.
    pub(super) hint: fn(status: u16, body: &str) -> Option<&'static str>,
}

/// A request without its URL.
pub(super) struct HttpRequest {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl HttpRequest {
    /// Returns a POST request with a JSON body.
    pub(super) fn json(body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { method: Method::POST, headers, body: body.into() }
    }
}

impl HttpSender {
    /// Creates a sender; sends nothing.
    ///
    /// # Errors
    ///
    /// Returns a [`DefinitionError`] at `position` if the URL or the certificates are not valid.
    pub(super) fn new(
        settings: &HttpSettings,
        folder: &Path,
        url: Secret,
        secrets: Vec<Secret>,
        position: TextPosition,
    ) -> Read<Self> {
        let error = |message: String| DefinitionError::new(position, message);
        let parsed: Url = url
            .expose()
            .trim()
            .parse()
            .ok()
            .filter(|url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| error("the URL of the receiver is not valid".to_owned()))?;
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .connect_timeout(settings.timeout.min(Duration::from_secs(10)));
        if is_loopback(&parsed) {
            // A proxy from the environment is never meant for this machine.
            builder = builder.no_proxy();
        }
        if let Some(path) = &settings.ca_file {
            for certificate in certificates(&folder.join(path)).map_err(error)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let http = builder.build().map_err(|source| {
            error(format!(
                "could not create the HTTP client: {}",
                connect_error::root_cause(&source)
            ))
        })?;
        let host = parsed.host_str().unwrap_or_default().to_owned();
        let mut secrets = secrets;
        secrets.extend(secret_parts(&parsed));
        secrets.push(url.clone());
        // The longest first: a part of one that was replaced would not be found.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        Ok(Self { http, url, host, timeout: settings.timeout, secrets })
    }

    /// Sends a request and returns when the receiver has acknowledged it.
    pub(super) async fn send(
        &self,
        request: HttpRequest,
        rules: &ResponseRules,
        now: Timestamp,
    ) -> Result<(), DeliveryError> {
        let HttpRequest { method, headers, body } = request;
        let agent = concat!("trailload/", env!("CARGO_PKG_VERSION"));
        let sent = self
            .http
            .request(method, self.url.expose().trim())
            .headers(headers)
            .header(USER_AGENT, agent)
            .timeout(self.timeout)
            .body(body)
            .send()
            .await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Err(self.lost(&error).await),
        };
        let status = response.status().as_u16();
        if (200..=299).contains(&status) {
            return Ok(());
        }
        Err(self.refused(response, rules, now).await)
    }

    /// Returns the error for a response other than success.
    async fn refused(
        &self,
        response: Response,
        rules: &ResponseRules,
        now: Timestamp,
    ) -> DeliveryError {
        let status = response.status();
        let code = status.as_u16();
        let retry_after = retry_after(response.headers(), now);
        let location = response.headers().get(LOCATION).and_then(|it| it.to_str().ok());
        let location = location.map(redact::url);
        let body = String::from_utf8_lossy(&read_start(response).await).into_owned();
        // Before it is cut: a part of a secret would not be found.
        let said = explanation(&redact::secrets(&body, &self.secrets));
        let reason = status.canonical_reason().unwrap_or_default();
        let colon = if said.is_empty() { "" } else { ": " };
        let cause = format!("{}: {code} {reason}{colon}{said}", self.host);
        let retry = match (code, retry_after) {
            (429, None) => rules.throttled.map_or(RetryAdvice::Backoff, RetryAdvice::After),
            (408 | 425 | 429 | 500..=599, Some(wait)) => RetryAdvice::After(wait),
            (408 | 425 | 500..=599, None) => RetryAdvice::Backoff,
            _ => RetryAdvice::Never,
        };
        let error = DeliveryError::new(retry, cause);
        if (300..=399).contains(&code) {
            let to = redact::secrets(&location.unwrap_or_default(), &self.secrets);
            let hint = format!(
                "it redirects to {to}, and redirects are not followed: use the final address"
            );
            return error.hint(&hint);
        }
        match (rules.hint)(code, &body) {
            Some(hint) if retry == RetryAdvice::Never => error.hint(hint),
            _ => error,
        }
    }

    /// Returns the error for a request that got no response.
    async fn lost(&self, error: &reqwest::Error) -> DeliveryError {
        let url: Option<Url> = self.url.expose().trim().parse().ok();
        let proxy = url.as_ref().filter(|url| error.is_connect() && !is_loopback(url));
        if let Some(url) = proxy
            && let Some(proxy) = Proxy::for_url(url)
            && let Some(refusal) = proxy.probe(url).await
        {
            let retry =
                if refusal.is_permanent() { RetryAdvice::Never } else { RetryAdvice::Backoff };
            return DeliveryError::new(retry, format!("{}: {refusal}", self.host))
                .hint(ProxyError::hint(refusal.status()));
        }
        if error.is_timeout() {
            let seconds = self.timeout.as_secs();
            return DeliveryError::transient(format!(
                "{}: no response within {seconds} s",
                self.host
            ));
        }
        let cause = connect_error::root_cause(error).to_string();
        let cause = redact::secrets(&cause, &self.secrets);
        let error_kind = connect_error::classify(error);
        let error = DeliveryError::transient(format!("{}: {cause}", self.host));
        match error_kind {
            ConnectError::UnknownIssuer => error.hint(
                "the certificate is signed by an authority that this machine does not trust; name its certificate in `ca_file`",
            ),
            ConnectError::NotTls => error.hint("the server does not speak TLS; use http://"),
            _ => error,
        }
    }
}

/// Shortest segment of a path that is taken for a secret. Names of APIs, such as `services`, are shorter.
const MIN_SECRET_SEGMENT: usize = 12;

/// Returns the parts of a URL that may be secrets, as written and decoded: the path, its long segments, the values of the query, and
/// the user's name and password, also as the `Authorization` header that the HTTP client makes of them.
fn secret_parts(url: &Url) -> Vec<Secret> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let path = url.path().trim_matches('/');
    let segments = path.split('/').filter(|segment| segment.len() >= MIN_SECRET_SEGMENT);
    let query = url.query().unwrap_or_default().split('&');
    let written_values = query.filter_map(|pair| Some(pair.split_once('=')?.1));
    let user_info = [Some(url.username()), url.password()];
    let written = segments.chain([path]).chain(written_values);
    let written: Vec<&str> = written.chain(user_info.into_iter().flatten()).collect();
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
    let basic = BASE64_STANDARD.encode(format!("{user}:{password}"));
    let texts = written.iter().flat_map(|text| [(*text).to_owned(), decoded(text)]);
    texts.chain(values).chain([basic]).map(Secret::new).collect()
}

/// Returns what a response says: JSON in one line, or the first words of a page or a text.
fn explanation(body: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(body.trim()) {
        Ok(json @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) => {
            MAX_EXPLANATION.cut(&json.to_string()).into_owned()
        }
        _ => excerpt(body.as_bytes()),
    }
}

/// Reads the start of a body; what cannot be read is left out.
async fn read_start(mut response: Response) -> Bytes {
    let mut body = BytesMut::new();
    while body.len() < MAX_RESPONSE_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(MAX_RESPONSE_BYTES);
    body.freeze()
}

/// Reads certificates of authorities from a PEM file.
pub(super) fn certificates(path: &Path) -> Result<Vec<Certificate>, String> {
    let failed =
        |problem: String| format!("cannot read certificates from {}: {problem}", path.display());
    let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem)
        .map_err(|error| failed(connect_error::root_cause(&error).to_string()))?;
    if certificates.is_empty() {
        return Err(failed("there is none in PEM format".to_owned()));
    }
    Ok(certificates)
}

/// Returns the wait of `Retry-After`, which is a number of seconds or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<f64>() {
        // Slack and others send whole seconds; some gateways send fractions.
        Duration::try_from_secs_f64(seconds).ok()?
    } else {
        let date = http_date(text)?;
        // Clocks differ by seconds; a date in the past allows the next attempt at once.
        Duration::try_from(date.duration_since(now)).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Parses the three forms of a date in HTTP (RFC 9110, 5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    let civil = |format: &str| {
        let date = DateTime::strptime(format, text).ok()?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()
        .or_else(|| civil("%A, %d-%b-%y %H:%M:%S GMT"))
        .or_else(|| civil("%a %b %e %H:%M:%S %Y"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_secret_in_a_url_is_found() {
        let url = "https://al%2Fice:pass%20word@example.com/hooks/T0123456789AB?key=a%2Bb%2Bc";
        let secrets = secret_parts(&url.parse().unwrap());
        // The last one is `al/ice:pass word` in base64.
        for said in [
            "pass%20word",
            "pass word",
            "al/ice",
            "T0123456789AB",
            "a%2Bb%2Bc",
            "a+b+c",
            "YWwvaWNlOnBhc3Mgd29yZA==",
        ] {
            assert_eq!(redact::secrets(said, &secrets), "(hidden)", "{said}");
        }
        let public = secret_parts(&"https://example.com/".parse().unwrap());
        assert_eq!(
            redact::secrets("a refusal of example.com", &public),
            "a refusal of example.com"
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_an_hour() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        let wait = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            retry_after(&headers, now).map(|wait| wait.as_secs_f64())
        };
        for (value, seconds) in [
            ("30", Some(30.0)),
            (" 0 ", Some(0.0)),
            ("0.5", Some(0.5)),
            ("86400", Some(3_600.0)),
            ("1e300", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30.0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30.0)),
            ("Sun Nov  6 08:49:37 1994", Some(30.0)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0.0)),
            ("Tue, 08 Nov 1994 08:49:37 GMT", Some(3_600.0)),
            ("-5", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(wait(value), seconds, "{value}");
        }
    }
}
