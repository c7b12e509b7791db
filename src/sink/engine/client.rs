//! Sends single HTTP requests to one engine.
//!
//! Input: method, path and body. Output: status and body, or the [`Cause`] of a lost request.
//! Invariant: nothing is sent to any other address than the one given, wherever a server redirects to.
//! Deliberately absent: retries (see `retry`).

use std::fmt;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use libdeflater::{CompressionLvl, Compressor};
pub(in crate::sink) use opensearch::http::Method;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
    USER_AGENT,
};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Response};
use serde_json::Value;
use url::{Host, Url};

use super::connect_error;
use super::credentials::{Credentials, take_userinfo};
use super::paths;
use super::redirect::{self, RedirectTarget};
use super::signing::Signing;
use crate::pending::PendingRequests;
use crate::proxy::Proxy;
use crate::sink::cause::{Cause, ConnectError};
use crate::sink::error::Error;

/// Query of bulk requests: limits each item to index, id and outcome, a third of the full response.
const BULK_QUERY: &str =
    "filter_path=errors,items.*._index,items.*._id,items.*.result,items.*.status,items.*.error";

/// Timeout of the first request.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// What a [`Client`] is made of.
pub(in crate::sink) struct ClientOptions<'a> {
    /// URL of the engine. Credentials in it are ignored.
    pub(in crate::sink) url: &'a Url,
    /// Credentials to authenticate with.
    pub(in crate::sink) credentials: &'a Credentials,
    /// How requests are signed, if the engine runs at AWS.
    pub(in crate::sink) signing: Option<&'a Signing>,
    /// PEM file with certificates of authorities to trust in addition to those of the system.
    pub(in crate::sink) ca_file: Option<&'a Path>,
    /// Timeout of one request.
    pub(in crate::sink) timeout: Duration,
    /// Headers of every request, in addition to those that engines expect.
    pub(in crate::sink) headers: HeaderMap,
}

/// A connection pool for one engine.
pub(in crate::sink) struct Client {
    http: reqwest::Client,
    signing: Option<Signing>,
    /// The URL, with a slash at its end.
    url: Url,
    address: String,
    authorization: Option<HeaderValue>,
    headers: HeaderMap,
    timeout: Duration,
    gzip: bool,
    /// The proxy that requests go through, if any.
    proxy: Option<Proxy>,
    pending: PendingRequests,
}

/// A response, whatever its status.
#[derive(Debug)]
pub(in crate::sink) struct HttpResponse {
    /// HTTP status.
    pub(in crate::sink) status: u16,
    /// The wait that the server asked for.
    pub(in crate::sink) retry_after: Option<Duration>,
    /// Whether the headers name Elasticsearch as the product.
    pub(in crate::sink) is_elasticsearch: bool,
    /// The content type, without parameters.
    pub(in crate::sink) content_type: String,
    /// The headers.
    pub(in crate::sink) headers: HeaderMap,
    /// The body, decompressed; only its first part if [`is_truncated`](Self::is_truncated).
    pub(in crate::sink) body: Bytes,
    /// Whether the body is longer than the request allowed. The rest of it was not read.
    pub(in crate::sink) is_truncated: bool,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub(in crate::sink) struct Content {
    pub(in crate::sink) content_type: HeaderValue,
    pub(in crate::sink) bytes: Bytes,
}

impl Content {
    /// Returns JSON.
    pub(in crate::sink) fn json(body: &Value) -> Self {
        let content_type = HeaderValue::from_static("application/json");
        Self { content_type, bytes: body.to_string().into() }
    }
}

/// A request, relative to the URL of the engine.
struct Request<'a> {
    method: Method,
    path: &'a str,
    headers: HeaderMap,
    body: Option<Bytes>,
    timeout: Duration,
    /// Longest body of the response, decompressed.
    max_response_bytes: usize,
}

impl Client {
    /// Creates a client; sends nothing.
    pub(in crate::sink) fn new(
        options: &ClientOptions<'_>,
        pending: PendingRequests,
    ) -> Result<Self, Error> {
        let url = checked(options.url)?;
        let is_local = is_loopback(&url);
        let address = url.as_str().trim_end_matches('/').to_owned();
        let mut builder = reqwest::Client::builder().redirect(Policy::none());
        if is_local {
            // A proxy from the environment is never meant for this machine.
            builder = builder.no_proxy();
        }
        // Nothing is encrypted: a server on this machine, no proxy, and no redirect is followed. So the 150 root
        // certificates of the system need not be read.
        if is_local && url.scheme() == "http" && options.ca_file.is_none() {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if let Some(path) = options.ca_file {
            builder = read_certificates(path)?
                .into_iter()
                .fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        let http = builder
            .build()
            .map_err(|source| Error::Client { url: address.clone(), source: Box::new(source) })?;
        let authorization = options.credentials.to_header().transpose();
        let authorization =
            authorization.map_err(|_| Error::InvalidCredentials { url: address.clone() })?;
        let proxy = if is_local { None } else { Proxy::for_url(&url) };
        let (signing, timeout) = (options.signing.cloned(), options.timeout);
        let (headers, gzip) = (options.headers.clone(), !is_local);
        Ok(Self {
            http,
            signing,
            url,
            address,
            authorization,
            headers,
            timeout,
            gzip,
            proxy,
            pending,
        })
    }

    /// Returns the URL of the engine, without credentials and trailing slash.
    pub(in crate::sink) fn address(&self) -> &str {
        &self.address
    }

    /// Returns whether the engine is on this machine.
    pub(in crate::sink) fn is_local(&self) -> bool {
        is_loopback(&self.url)
    }

    /// Returns whether requests are signed with AWS credentials.
    pub(in crate::sink) fn is_signed(&self) -> bool {
        self.signing.is_some()
    }

    /// Returns whether a text may repeat the credentials, so that it must not be shown.
    pub(in crate::sink) fn may_contain_credentials(&self, text: &str) -> bool {
        let Some(sent) = &self.authorization else { return self.signing.is_some() };
        let sent = sent.to_str().unwrap_or_default();
        let secret = sent.split_once(' ').map_or(sent, |(_, secret)| secret);
        text.contains(secret)
    }

    /// Returns the body of a bulk request as it is sent: compressed for engines on other machines.
    pub(in crate::sink) async fn encode(&self, body: Bytes) -> Bytes {
        if !self.gzip {
            return body;
        }
        // About 10 ms a MiB: too long between two awaits.
        match tokio::task::spawn_blocking(move || gzip(&body)).await {
            Ok(encoded) => encoded,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// Sends one bulk request with a body from [`Client::encode`].
    pub(in crate::sink) async fn send_bulk(&self, encoded: Bytes) -> Result<HttpResponse, Cause> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let path = format!("{}?{BULK_QUERY}", paths::bulk());
        let (method, body, timeout) = (Method::Post, Some(encoded), self.timeout);
        let max_response_bytes = usize::MAX;
        self.send(Request { method, path: &path, headers, body, timeout, max_response_bytes }).await
    }

    /// Sends one request with an optional JSON body.
    pub(in crate::sink) async fn send_json(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<HttpResponse, Cause> {
        self.send_json_limited(method, path, body, usize::MAX).await
    }

    /// Sends one request with a body of this content type.
    pub(in crate::sink) async fn send_content(
        &self,
        method: Method,
        path: &str,
        body: Option<Content>,
    ) -> Result<HttpResponse, Cause> {
        let mut headers = HeaderMap::new();
        if let Some(Content { content_type, .. }) = &body {
            headers.insert(CONTENT_TYPE, content_type.clone());
        }
        let (body, timeout) = (body.map(|body| body.bytes), self.timeout);
        let max_response_bytes = usize::MAX;
        self.send(Request { method, path, headers, body, timeout, max_response_bytes }).await
    }

    /// Sends one request with an optional JSON body, and reads at most this much of the response.
    pub(in crate::sink) async fn send_json_limited(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        max_response_bytes: usize,
    ) -> Result<HttpResponse, Cause> {
        let (headers, timeout) = (HeaderMap::new(), self.timeout);
        self.send(Request { method, path, headers, body, timeout, max_response_bytes }).await
    }

    /// Checks that a server responds, with a short timeout: a wrong address often never responds.
    pub(in crate::sink) async fn probe(&self) -> Result<(), Cause> {
        let timeout = self.timeout.min(PROBE_TIMEOUT);
        let (method, headers, max_response_bytes) = (Method::Get, HeaderMap::new(), usize::MAX);
        let request =
            Request { method, path: "", headers, body: None, timeout, max_response_bytes };
        self.send(request).await.map(|_| ())
    }

    async fn send(&self, request: Request<'_>) -> Result<HttpResponse, Cause> {
        let (timeout, max_bytes) = (request.timeout, request.max_response_bytes);
        let request = self.build(request).await?;
        let requested = request.url().clone();
        // Failures are reported by what retries them; a response that does not arrive is reported here.
        let pending = self.pending.begin("engine", &self.address);
        let sent = self.http.execute(request).await;
        pending.finish();
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Err(self.lost(&error, timeout).await),
        };
        if let Some(cause) = self.redirected(&requested, &response) {
            return Err(cause);
        }
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let is_elasticsearch = header("x-elastic-product") == Some("Elasticsearch");
        let content_type = header("content-type").unwrap_or_default();
        let content_type =
            content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let headers = response.headers().clone();
        match read_body(response, max_bytes).await {
            Ok((body, is_truncated)) => Ok(HttpResponse {
                status,
                retry_after,
                is_elasticsearch,
                content_type,
                headers,
                body,
                is_truncated,
            }),
            Err(error) => Err(self.lost(&error, timeout).await),
        }
    }

    async fn build(&self, request: Request<'_>) -> Result<reqwest::Request, Cause> {
        let invalid = |reason: &dyn fmt::Display| Cause::Connection {
            kind: ConnectError::Other,
            reason: format!("could not build the request: {reason}"),
        };
        let Request { method, path, mut headers, body, timeout, .. } = request;
        let url = self.url.join(path.trim_start_matches('/')).map_err(|error| invalid(&error))?;
        let json = HeaderValue::from_static("application/json");
        headers.entry(CONTENT_TYPE).or_insert_with(|| json.clone());
        headers.insert(ACCEPT, json);
        let name = concat!("trailload/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(name));
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        let mut request =
            self.http.request(http_method(method), url).timeout(timeout).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let mut request =
            request.build().map_err(|error| invalid(&connect_error::root_cause(&error)))?;
        if let Some(signing) = &self.signing {
            let signed = signing.sign(&mut request).await;
            signed.map_err(|error| invalid(&connect_error::root_cause(&*error)))?;
        }
        Ok(request)
    }

    /// Returns where a response redirects to, if it does.
    fn redirected(&self, requested: &Url, response: &Response) -> Option<Cause> {
        let status = response.status().as_u16();
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let location = response.headers().get(LOCATION).map(HeaderValue::as_bytes);
        let location = String::from_utf8_lossy(location.unwrap_or_default());
        let RedirectTarget { location, address } =
            redirect::target(&self.url, requested, &location);
        Some(Cause::Redirect { status, to: location, address })
    }

    /// Returns why a request, or its response, was lost.
    async fn lost(&self, error: &reqwest::Error, timeout: Duration) -> Cause {
        if let Some(cause) = self.proxy_error(error).await {
            return cause;
        }
        let mut kind = if error.is_timeout() {
            ConnectError::TimedOut
        } else {
            connect_error::classify(error)
        };
        if kind == ConnectError::Other && !self.resolves().await {
            kind = ConnectError::HostNotFound;
        }
        let reason = match kind {
            ConnectError::TimedOut => format!("no response within {} s", timeout.as_secs()),
            _ => connect_error::root_cause(error).to_string(),
        };
        Cause::Connection { kind, reason }
    }

    /// Connects to the proxy to find out why it rejects the connection: the HTTP client does not report it.
    async fn proxy_error(&self, error: &reqwest::Error) -> Option<Cause> {
        let proxy = self.proxy.as_ref().filter(|_| error.is_connect())?;
        let error = proxy.probe(&self.url).await?;
        let kind = ConnectError::Proxy(error.status());
        Some(Cause::Connection { kind, reason: error.to_string() })
    }

    /// Returns whether the host name resolves: the HTTP client does not report which of its steps failed.
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
        // Not the headers: they contain the credentials.
        out.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Reads a body, at most until it exceeds the limit. Returns whether it does.
async fn read_body(mut response: Response, max_bytes: usize) -> reqwest::Result<(Bytes, bool)> {
    if max_bytes == usize::MAX {
        return Ok((response.bytes().await?, false));
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > max_bytes {
            return Ok((body.freeze(), true));
        }
    }
    Ok((body.freeze(), false))
}

/// Returns the URL without credentials, query and fragment, and with one slash at its end.
fn checked(url: &Url) -> Result<Url, Error> {
    let mut url = url.clone();
    let _ = take_userinfo(&mut url);
    url.set_query(None);
    url.set_fragment(None);
    let reason = match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) => {
            let path = format!("{}/", url.path().trim_end_matches('/'));
            url.set_path(&path);
            return Ok(url);
        }
        ("http" | "https", None) => "the host is missing",
        _ => "it must start with http:// or https://",
    };
    Err(Error::InvalidUrl { url: url.to_string(), reason })
}

/// Returns whether a URL refers to this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Converts a method to the type of the HTTP client.
fn http_method(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Put => reqwest::Method::PUT,
        Method::Post => reqwest::Method::POST,
        Method::Delete => reqwest::Method::DELETE,
        Method::Head => reqwest::Method::HEAD,
    }
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>, Error> {
    let failed = |source| Error::CaFile { path: PathBuf::from(path), source };
    let pem = std::fs::read(path).map_err(|error| failed(Box::new(error)))?;
    let certificates =
        Certificate::from_pem_bundle(&pem).map_err(|error| failed(Box::new(error)))?;
    if certificates.is_empty() {
        return Err(failed("the file contains no certificate in PEM format".into()));
    }
    Ok(certificates)
}

fn gzip(body: &[u8]) -> Bytes {
    // Level 1: already 5 to 10 times smaller, and the cheapest for the loader.
    // (`CompressionLvl::fastest()` is 0, which stores without compressing.)
    let mut compressor = Compressor::new(CompressionLvl::new(1).unwrap_or_default());
    let mut compressed = vec![0; compressor.gzip_compress_bound(body.len())];
    let length = compressor
        .gzip_compress(body, &mut compressed)
        .expect("the buffer is as large as the library asked for");
    compressed.truncate(length);
    compressed.shrink_to_fit();
    compressed.into()
}

/// Parses `Retry-After` in seconds. Engines do not use the form with a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get("retry-after")?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_url_is_recognized_in_all_forms() {
        for local in
            ["http://localhost:9200", "http://127.0.0.1", "http://127.9.9.9", "http://[::1]:9200"]
        {
            assert!(is_loopback(&local.parse().unwrap()), "{local}");
        }
        for remote in ["http://search.example", "http://10.0.0.1", "http://[2001:db8::1]"] {
            assert!(!is_loopback(&remote.parse().unwrap()), "{remote}");
        }
    }

    #[test]
    fn the_address_keeps_no_credentials() {
        let url = checked(&"https://me:secret@search.example/x?y=1#z".parse().unwrap()).unwrap();
        assert_eq!(url.as_str(), "https://search.example/x/");
        assert!(matches!(
            checked(&"ftp://search.example".parse().unwrap()),
            Err(Error::InvalidUrl { .. })
        ));
    }

    #[test]
    fn gzip_can_be_undone() {
        let body = b"{\"create\":{}}\n{}\n".repeat(1000);
        let compressed = gzip(&body);
        assert!(compressed.len() < body.len() / 10);
        let mut decompressed = vec![0; body.len()];
        libdeflater::Decompressor::new().gzip_decompress(&compressed, &mut decompressed).unwrap();
        assert_eq!(decompressed, body);
    }
}
