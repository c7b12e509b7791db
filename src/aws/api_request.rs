//! Sends a signed request to a service whose SDK crate the program does not link.
//!
//! Input: an [`ApiRequest`]. Output: the body of the response, or a [`ServiceError`].
//! Invariant: the same rules as in the SDK clients: time limits, few retries, new credentials once AWS reports that the
//! session has expired, and recording of the clock skew.
//! Deliberately absent: the content of the body.

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector as _, HttpConnectorSettings},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use bytes::Bytes;

use super::{
    error::Error,
    error_body::ErrorBody,
    error_kind::ErrorKind,
    service_error::ServiceError,
    session::{MAX_ATTEMPTS, Session},
};
use crate::limit::Backoff;

/// A POST request to an AWS service.
#[derive(Debug)]
pub(super) struct ApiRequest {
    /// Service prefix as in signatures and IAM: `ec2`, `account`, `organizations`.
    pub(super) service: &'static str,
    /// Action as in IAM.
    pub(super) action: &'static str,
    /// Region that the request is sent to and signed for.
    pub(super) region: String,
    /// Path, with a leading slash.
    pub(super) path: &'static str,
    /// Headers with lower-case names; `content-type` is required.
    pub(super) headers: Vec<(&'static str, &'static str)>,
    /// Request body.
    pub(super) body: String,
}

impl Session {
    /// Sends a request, with retries, and returns the body of the response.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Request`] if the last attempt failed or a retry cannot help.
    pub(super) async fn send(&self, request: &ApiRequest) -> Result<Bytes, Error> {
        self.send_with_retries(request).await.map_err(|source| Error::Request {
            account: self.account(),
            service: request.service,
            action: request.action,
            region: request.region.clone(),
            source: Box::new(source),
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the wait of limit::Backoff between two attempts"
    )]
    async fn send_with_retries(&self, request: &ApiRequest) -> Result<Bytes, ServiceError> {
        let pending = self.pending().begin(request.service, &request.region);
        let initial = self.timeouts().initial_backoff;
        let backoff = Backoff { initial, max: initial * 2_u32.pow(MAX_ATTEMPTS) };
        let mut attempt = 1;
        loop {
            let error = match self.send_once(request).await {
                Ok(body) => {
                    pending.finish();
                    return Ok(body);
                }
                Err(error) => error,
            };
            let is_retryable = matches!(
                error.kind,
                ErrorKind::Throttled | ErrorKind::Transient | ErrorKind::ExpiredToken
            );
            if !is_retryable || attempt == MAX_ATTEMPTS {
                pending.finish();
                return Err(error);
            }
            pending.attempt_failed(error.to_string());
            tokio::time::sleep(backoff.delay(attempt)).await;
            attempt += 1;
        }
    }

    async fn send_once(&self, request: &ApiRequest) -> Result<Bytes, ServiceError> {
        let credentials = self.credential_cache().credentials().await;
        let credentials = credentials.map_err(|error| ServiceError::from_credentials(&error))?;
        let signed = self.sign(request, &credentials)?;
        let limit = self.timeouts().attempt;
        let timed_out = |_| {
            let message = format!("no response within {} s", limit.as_secs_f64());
            ServiceError::without_response(ErrorKind::Transient, message)
        };
        let received = tokio::time::timeout(limit, self.receive(signed)).await;
        let (mut response, body) = received.map_err(timed_out)??;
        if response.status().is_success() {
            return Ok(body);
        }
        self.record_clock_skew(&mut response);
        let error_body = ErrorBody::new(|name| response.headers().get(name), &body);
        let error = ServiceError::from_response(&response, error_body);
        if error.kind == ErrorKind::ExpiredToken {
            self.credential_cache().invalidate(credentials.access_key_id());
        }
        Err(error)
    }

    fn sign(
        &self,
        request: &ApiRequest,
        credentials: &Credentials,
    ) -> Result<HttpRequest, ServiceError> {
        let invalid = |cause: &dyn std::fmt::Display| {
            let message = format!("could not build the request: {cause}");
            ServiceError::without_response(ErrorKind::InvalidRequest, message)
        };
        let url = self.request_url(request);
        let host = url::Url::parse(&url).map_err(|error| invalid(&error))?;
        let host = &host[url::Position::BeforeHost..url::Position::AfterPort];
        let mut signed = HttpRequest::new(SdkBody::from(request.body.as_str()));
        signed.set_method("POST").map_err(|error| invalid(&error))?;
        signed.set_uri(url.as_str()).map_err(|error| invalid(&error))?;
        let headers = || request.headers.iter().copied().chain([("host", host)]);
        for (name, value) in headers() {
            signed.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        let identity = credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&request.region)
            .name(request.service)
            .time(self.clock().now().into())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| invalid(&error))?
            .into();
        let body = SignableBody::Bytes(request.body.as_bytes());
        let signable = SignableRequest::new("POST", url.as_str(), headers(), body)
            .map_err(|error| invalid(&error))?;
        let (signature, _) =
            sign(signable, &parameters).map_err(|error| invalid(&error))?.into_parts();
        for (name, value) in signature.headers() {
            signed.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        Ok(signed)
    }

    fn request_url(&self, request: &ApiRequest) -> String {
        let default = || {
            let suffix = self.partition().dns_suffix();
            format!("https://{}.{}.{suffix}", request.service, request.region)
        };
        let endpoint = self.endpoint(request.service).unwrap_or_else(default);
        format!("{}{}", endpoint.trim_end_matches('/'), request.path)
    }

    async fn receive(&self, request: HttpRequest) -> Result<(HttpResponse, Bytes), ServiceError> {
        let timeouts = self.timeouts();
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.read)
            .build();
        let received = self.connections().connector(&settings).call(request).await;
        let mut response = received.map_err(|error| ServiceError::from_transport(&error))?;
        let body = ByteStream::new(response.take_body()).collect().await;
        let body = body.map_err(|error| ServiceError::from_transport(&error))?;
        Ok((response, body.into_bytes()))
    }
}
