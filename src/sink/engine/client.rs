//! One engine over HTTP: addresses, credentials, certificates, and single requests.
//!
//! In: method, path, bytes. Out: status and bytes, or the [`Cause`] of a lost request.
//! Holds: credentials leave this file only in the `Authorization` header; nothing is ever sent to another address
//! than the one given, wherever a server redirects to. Absent on purpose: retries.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor};
pub(super) use opensearch::http::Method;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue,
    InvalidHeaderValue, LOCATION, USER_AGENT,
};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Response};
use url::{Host, Url};

use super::paths;
use super::redirect;
use super::signing::Signing;
use super::{Compress, Credentials, Target, take_userinfo};
use crate::proxy::Proxy;
use crate::sink::{Cause, Error, Unreachable};
use crate::waits::Waits;

/// What a bulk request asks for: where each document went and how, and nothing else. A third of the full answer.
const BULK: &str =
    "filter_path=errors,items.*._index,items.*._id,items.*.result,items.*.status,items.*.error";

/// Longest wait for the first answer of all.
const FIRST_CONTACT: Duration = Duration::from_secs(20);

/// Returns a method as the HTTP client takes it.
fn http_method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Put => reqwest::Method::PUT,
        Method::Post => reqwest::Method::POST,
        Method::Delete => reqwest::Method::DELETE,
        Method::Head => reqwest::Method::HEAD,
    }
}

/// A connection pool to one engine. Cheap to share by reference.
pub(super) struct Client {
    http: reqwest::Client,
    signing: Option<Signing>,
    /// The address, with a slash at its end.
    url: Url,
    address: String,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    gzip: bool,
    /// What stands between us and the engine.
    proxy: Option<Proxy>,
    waits: Waits,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: u16,
    /// The wait that the other side asked for.
    pub(super) retry_after: Option<Duration>,
    /// Whether the answer names Elasticsearch as its product.
    pub(super) elasticsearch: bool,
    /// What the body is said to be, without parameters.
    pub(super) kind: String,
    /// The body, decompressed.
    pub(super) body: Bytes,
}

impl Client {
    /// Prepares a client; sends nothing.
    pub(super) fn new(target: &Target, waits: Waits) -> Result<Self, Error> {
        let url = checked(&target.url)?;
        let local = is_loopback(&url);
        let address = url.as_str().trim_end_matches('/').to_owned();
        let mut builder = reqwest::Client::builder().redirect(Policy::none());
        if local {
            // A proxy of the environment is never meant for this machine.
            builder = builder.no_proxy();
        }
        // Nothing is encrypted on this way: a server on this machine, no proxy, and no redirect is followed. So the
        // machine's 150 certificates need not be read.
        if local && url.scheme() == "http" && target.ca_file.is_none() {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if let Some(path) = &target.ca_file {
            builder = certificates(path)?
                .into_iter()
                .fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        let http = builder
            .build()
            .map_err(|source| Error::Client { url: address.clone(), source: Box::new(source) })?;
        let authorization = target.credentials.header().transpose();
        let authorization =
            authorization.map_err(|_| Error::Credentials { url: address.clone() })?;
        let gzip = match target.compress {
            Compress::Auto => !local,
            Compress::Always => true,
            Compress::Never => false,
        };
        let proxy = if local { None } else { Proxy::before(&url) };
        let (signing, timeout) = (target.signing.clone(), target.timeout);
        Ok(Self { http, signing, url, address, authorization, timeout, gzip, proxy, waits })
    }

    /// Returns the engine's address, without credentials and trailing slash.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns whether the engine is on this machine.
    pub(super) fn is_local(&self) -> bool {
        is_loopback(&self.url)
    }

    /// Returns whether AWS is shown who we are.
    pub(super) fn is_signed(&self) -> bool {
        self.signing.is_some()
    }

    /// Returns whether a text repeats what we logged in with, or may do so: it must not be shown then.
    pub(super) fn is_echo(&self, text: &str) -> bool {
        let Some(sent) = &self.authorization else { return self.signing.is_some() };
        let sent = sent.to_str().unwrap_or_default();
        let secret = sent.split_once(' ').map_or(sent, |(_, secret)| secret);
        text.contains(secret)
    }

    /// Returns the body as it travels: compressed for hosts that are not this machine.
    pub(super) async fn packed(&self, body: Bytes) -> Bytes {
        if !self.gzip {
            return body;
        }
        // Some 10 ms a MiB: too long between two awaits.
        match tokio::task::spawn_blocking(move || gzip(&body)).await {
            Ok(packed) => packed,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// Sends one bulk request, with a body from [`Client::packed`].
    pub(super) async fn bulk(&self, packed: Bytes) -> Result<Answer, Cause> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let path = format!("{}?{BULK}", paths::bulk());
        self.send((Method::Post, &path), headers, Some(packed), self.timeout).await
    }

    /// Sends one call with an optional JSON body.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Answer, Cause> {
        self.send((method, path), HeaderMap::new(), body, self.timeout).await
    }

    /// Asks whether anybody is there; a person waits, and a wrong address often answers with silence.
    pub(super) async fn knock(&self) -> Result<(), Cause> {
        let timeout = self.timeout.min(FIRST_CONTACT);
        self.send((Method::Get, ""), HeaderMap::new(), None, timeout).await.map(|_| ())
    }

    async fn send(
        &self,
        (method, path): (Method, &str),
        headers: HeaderMap,
        body: Option<Bytes>,
        timeout: Duration,
    ) -> Result<Answer, Cause> {
        let request = self.request((method, path), headers, body, timeout).await?;
        let asked = request.url().clone();
        // What went wrong is told by whoever tries again; silence has nobody else who would tell it.
        let waiting = self.waits.begin("engine", &self.address);
        let sent = self.http.execute(request).await;
        waiting.answered();
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Err(self.lost(&error, timeout).await),
        };
        if let Some(cause) = self.redirected(&asked, &response) {
            return Err(cause);
        }
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let elasticsearch = header("x-elastic-product") == Some("Elasticsearch");
        let kind = header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match response.bytes().await {
            Ok(body) => Ok(Answer { status, retry_after, elasticsearch, kind, body }),
            Err(error) => Err(self.lost(&error, timeout).await),
        }
    }

    async fn request(
        &self,
        (method, path): (Method, &str),
        mut headers: HeaderMap,
        body: Option<Bytes>,
        timeout: Duration,
    ) -> Result<reqwest::Request, Cause> {
        let unmade = |reason: &dyn fmt::Display| Cause::Connection {
            how: Unreachable::Other,
            reason: format!("the request could not be made: {reason}"),
        };
        let url = self.url.join(path.trim_start_matches('/')).map_err(|error| unmade(&error))?;
        let json = HeaderValue::from_static("application/json");
        headers.entry(CONTENT_TYPE).or_insert_with(|| json.clone());
        headers.insert(ACCEPT, json);
        let name = concat!("trailload/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(name));
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        let mut request =
            self.http.request(http_method(method), url).timeout(timeout).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let mut request = request.build().map_err(|error| unmade(&innermost(&error)))?;
        if let Some(signing) = &self.signing {
            signing.sign(&mut request).await.map_err(|error| unmade(&innermost(&*error)))?;
        }
        Ok(request)
    }

    /// Returns where an answer sends us, if it does. Nothing is ever sent there.
    fn redirected(&self, asked: &Url, response: &Response) -> Option<Cause> {
        let status = response.status().as_u16();
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let location = response.headers().get(LOCATION).map(HeaderValue::as_bytes);
        let location = String::from_utf8_lossy(location.unwrap_or_default());
        let redirect::Way { to, address } = redirect::way(&self.url, asked, &location);
        Some(Cause::Redirect { status, to, address })
    }

    async fn lost(&self, error: &reqwest::Error, timeout: Duration) -> Cause {
        if let Some(cause) = self.stopped_by_proxy(error).await {
            return cause;
        }
        let mut how = if error.is_timeout() { Unreachable::TimedOut } else { how(error) };
        if how == Unreachable::Other && !self.resolves().await {
            how = Unreachable::Name;
        }
        let reason = match how {
            Unreachable::TimedOut => format!("no answer within {} s", timeout.as_secs()),
            _ => innermost(error).to_string(),
        };
        Cause::Connection { how, reason }
    }

    /// Asks the proxy itself what it has against us: the HTTP client does not say.
    async fn stopped_by_proxy(&self, error: &reqwest::Error) -> Option<Cause> {
        let proxy = self.proxy.as_ref().filter(|_| error.is_connect())?;
        let trouble = proxy.try_out(&self.url).await?;
        let how = Unreachable::Proxy(trouble.status());
        Some(Cause::Connection { how, reason: trouble.to_string() })
    }

    /// Asks the resolver itself: the HTTP client does not say which of its steps failed.
    async fn resolves(&self) -> bool {
        let (Some(host), Some(port)) = (self.url.host_str(), self.url.port_or_known_default())
        else {
            return false;
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        tokio::task::spawn_blocking(move || (host.as_str(), port).to_socket_addrs().is_ok())
            .await
            .unwrap_or(true)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the headers: they hold the credentials.
        out.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Returns the address without credentials, query and fragment, and with one slash at its end.
fn checked(url: &Url) -> Result<Url, Error> {
    let mut url = url.clone();
    let _ = take_userinfo(&mut url);
    url.set_query(None);
    url.set_fragment(None);
    let why = match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) => {
            let path = format!("{}/", url.path().trim_end_matches('/'));
            url.set_path(&path);
            return Ok(url);
        }
        ("http" | "https", None) => "the host is missing",
        _ => "it must start with http:// or https://",
    };
    Err(Error::Address { url: url.to_string(), why })
}

/// Returns whether the address is this machine's own.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, Error> {
    let failed = |source| Error::CaFile { path: PathBuf::from(path), source };
    let pem = std::fs::read(path).map_err(|error| failed(Box::new(error)))?;
    let chain = Certificate::from_pem_bundle(&pem).map_err(|error| failed(Box::new(error)))?;
    if chain.is_empty() {
        return Err(failed("the file holds no certificate in PEM form".into()));
    }
    Ok(chain)
}

impl Credentials {
    /// Returns the value of the `Authorization` header, if there is to be one.
    fn header(&self) -> Option<Result<HeaderValue, InvalidHeaderValue>> {
        let text = match self {
            Self::None => return None,
            Self::Basic { username, password } => {
                format!("Basic {}", base64(format!("{username}:{password}").as_bytes()))
            }
            // Both engines hand out keys as `id:key`, and also encoded already.
            Self::ApiKey(key) if key.contains(':') => format!("ApiKey {}", base64(key.as_bytes())),
            Self::ApiKey(key) => format!("ApiKey {key}"),
            Self::Bearer(token) => format!("Bearer {token}"),
        };
        Some(HeaderValue::from_str(&text).map(|mut value| {
            value.set_sensitive(true);
            value
        }))
    }
}

/// Encodes a few bytes for a header; a crate for these lines would cost more than it saves.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            (0..3).fold(0usize, |group, at| group << 8 | usize::from(*chunk.get(at).unwrap_or(&0)));
        for digit in 0..4 {
            let known = digit <= chunk.len();
            text.push(if known { DIGITS[group >> (18 - 6 * digit) & 63] as char } else { '=' });
        }
    }
    text
}

fn gzip(body: &[u8]) -> Bytes {
    // Level 1: already 5 to 10 times smaller, and the cheapest for the loader.
    // (`CompressionLvl::fastest()` is 0, which stores without compressing.)
    let mut compressor = Compressor::new(CompressionLvl::new(1).unwrap_or_default());
    let mut packed = vec![0; compressor.gzip_compress_bound(body.len())];
    let length = compressor
        .gzip_compress(body, &mut packed)
        .expect("the buffer is as large as the library asked for");
    packed.truncate(length);
    packed.shrink_to_fit();
    packed.into()
}

/// Reads `Retry-After` in seconds; the form with a date needs a clock and is not used by engines.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get("retry-after")?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Finds out what went wrong from the kinds of the errors below, not from their text.
fn how(error: &(dyn StdError + 'static)) -> Unreachable {
    // Without an I/O error below it is the HTTP client's own: the connection ended inside an answer.
    let mut found = Unreachable::Closed;
    for layer in layers(error) {
        if let Some(tls) = layer.downcast_ref::<rustls::Error>() {
            return tls_trouble(tls);
        }
        if let Some(io) = layer.downcast_ref::<io::Error>() {
            found = match io.kind() {
                io::ErrorKind::ConnectionRefused => Unreachable::Refused,
                io::ErrorKind::TimedOut => Unreachable::TimedOut,
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => Unreachable::Closed,
                _ if found == Unreachable::Closed => Unreachable::Other,
                _ => found,
            };
        }
    }
    found
}

fn tls_trouble(error: &rustls::Error) -> Unreachable {
    use rustls::{CertificateError, Error as Tls};
    match error {
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => Unreachable::UnknownIssuer,
        Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented => Unreachable::Certificate,
        Tls::InvalidMessage(_) => Unreachable::NotTls,
        _ => Unreachable::Other,
    }
}

/// Returns an error and everything below it, also what an `io::Error` wraps (its `source` skips that).
fn layers<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&layer| {
        match layer.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => layer.source(),
        }
    })
}

fn innermost<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    layers(error).last().unwrap_or(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("a:ÿ~", "YTrDv34=")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn credentials_become_the_header_that_engines_expect() {
        let header = |credentials: Credentials| {
            credentials.header().map(|value| value.unwrap().to_str().unwrap().to_owned())
        };
        let basic = Credentials::Basic { username: "me".into(), password: "p:w".into() };
        assert_eq!(header(Credentials::None), None);
        assert_eq!(header(basic).as_deref(), Some("Basic bWU6cDp3"));
        assert_eq!(
            header(Credentials::ApiKey("aWQ6a2V5".into())).as_deref(),
            Some("ApiKey aWQ6a2V5")
        );
        assert_eq!(
            header(Credentials::ApiKey("id:key".into())).as_deref(),
            Some("ApiKey aWQ6a2V5")
        );
        assert_eq!(header(Credentials::Bearer("t".into())).as_deref(), Some("Bearer t"));
        assert!(Credentials::Bearer("a\nb".into()).header().is_some_and(|value| value.is_err()));
    }

    #[test]
    fn this_machine_is_known_by_any_of_its_names() {
        for here in
            ["http://localhost:9200", "http://127.0.0.1", "http://127.9.9.9", "http://[::1]:9200"]
        {
            assert!(is_loopback(&here.parse().unwrap()), "{here}");
        }
        for there in ["http://search.example", "http://10.0.0.1", "http://[2001:db8::1]"] {
            assert!(!is_loopback(&there.parse().unwrap()), "{there}");
        }
    }

    #[test]
    fn the_address_keeps_no_credentials() {
        let url = checked(&"https://me:secret@search.example/x?y=1#z".parse().unwrap()).unwrap();
        assert_eq!(url.as_str(), "https://search.example/x/");
        assert!(matches!(
            checked(&"ftp://search.example".parse().unwrap()),
            Err(Error::Address { .. })
        ));
    }

    #[test]
    fn gzip_can_be_undone() {
        let body = b"{\"create\":{}}\n{}\n".repeat(1000);
        let packed = gzip(&body);
        assert!(packed.len() < body.len() / 10);
        let mut unpacked = vec![0; body.len()];
        libdeflater::Decompressor::new().gzip_decompress(&packed, &mut unpacked).unwrap();
        assert_eq!(unpacked, body);
    }

    #[test]
    fn a_wrapped_tls_error_is_found() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        assert_eq!(how(&wrapped), Unreachable::UnknownIssuer);
        assert_eq!(how(&io::Error::from(io::ErrorKind::ConnectionRefused)), Unreachable::Refused);
    }
}
