//! Signs requests (SigV4) for engines that run at AWS: managed domains and Serverless collections.
//!
//! Input: a request as it is sent, compressed. Output: the same with the headers of its signature.
//! Deliberately absent: where credentials come from (see `aws`).

use std::fmt;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_async::time::{SystemTimeSource, TimeSource as _};
use reqwest::Request;
use reqwest::header::{HeaderName, HeaderValue};
use url::Url;

use crate::sink::error::{BoxError, Error};

/// Domains of the engines that AWS runs, in all partitions.
const DOMAINS: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".on.aws"];

/// The AWS service that runs an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `es`: a managed domain, OpenSearch or Elasticsearch.
    Domain,
    /// `aoss`: a collection of OpenSearch Serverless.
    Serverless,
}

/// How requests are signed. `Debug` prints no secret.
#[derive(Clone)]
pub struct Signing {
    /// The service that runs the engine.
    pub service: Service,
    /// The Region of the engine.
    pub region: String,
    /// Provides the credentials, and new ones when they expire.
    pub credentials: SharedCredentialsProvider,
}

impl Service {
    /// Returns the signing name of the service.
    pub fn name(self) -> &'static str {
        match self {
            Self::Domain => "es",
            Self::Serverless => "aoss",
        }
    }

    /// Parses service and Region from a host name that AWS assigned, such as
    /// `search-trail-abc123.eu-central-1.es.amazonaws.com`.
    pub fn from_host(url: &Url) -> Option<(Self, String)> {
        let host = url.host_str()?;
        let name = DOMAINS.iter().find_map(|domain| host.strip_suffix(domain))?;
        let mut labels = name.rsplit('.');
        let (last, before) = (labels.next()?, labels.next()?);
        // In names below `.on.aws` the two are swapped.
        for (service, region) in [(last, before), (before, last)] {
            let service = match service {
                "es" | "aos" => Self::Domain,
                "aoss" => Self::Serverless,
                _ => continue,
            };
            return is_region(region).then(|| (service, region.to_owned()));
        }
        None
    }
}

impl Signing {
    /// Signs a request, including its body.
    ///
    /// # Errors
    ///
    /// Returns an error if the credentials have expired and cannot be renewed.
    pub(super) async fn sign(&self, request: &mut Request) -> Result<(), BoxError> {
        let identity = self.credentials.provide_credentials().await?.into();
        let mut settings = SigningSettings::default();
        // Collections require the hash of the body in a separate header.
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .name(self.service.name())
            .region(&self.region)
            .time(SystemTimeSource::new().now())
            .settings(settings)
            .build()?
            .into();
        let headers = request.headers().iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        let (method, url) = (request.method().as_str(), request.url().as_str());
        let signable = SignableRequest::new(method, url, headers, SignableBody::Bytes(body))?;
        let (signature, _) = sign(signable, &parameters)?.into_parts();
        for (name, value) in signature.headers() {
            let mut value = HeaderValue::from_str(value)?;
            value.set_sensitive(true);
            request.headers_mut().insert(HeaderName::from_bytes(name.as_bytes())?, value);
        }
        Ok(())
    }

    /// Checks that there are credentials, before the first request.
    ///
    /// # Errors
    ///
    /// Returns [`Error::NoAwsCredentials`] if there are none.
    pub(in crate::sink) async fn check_credentials(&self, address: &str) -> Result<(), Error> {
        match self.credentials.provide_credentials().await {
            Ok(_) => Ok(()),
            Err(source) => {
                Err(Error::NoAwsCredentials { url: address.to_owned(), source: Box::new(source) })
            }
        }
    }
}

/// Returns whether a label has the form of a Region, such as `us-gov-west-1`.
fn is_region(label: &str) -> bool {
    let mut parts = label.split('-');
    let first = parts.next().is_some_and(|part| part.len() >= 2);
    let number = parts.next_back().is_some_and(|part| part.parse::<u8>().is_ok());
    first && number && parts.next().is_some()
}

impl fmt::Debug for Signing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Signing")
            .field("service", &self.service)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_and_region_are_parsed_from_the_host_name() {
        let parsed = |host: &str| Service::from_host(&format!("https://{host}/").parse().unwrap());
        let domain = |region: &str| Some((Service::Domain, region.to_owned()));
        let serverless = |region: &str| Some((Service::Serverless, region.to_owned()));
        for (host, expected) in [
            ("search-trail-abc123.eu-central-1.es.amazonaws.com", domain("eu-central-1")),
            ("vpc-trail-abc123.us-gov-west-1.es.amazonaws.com", domain("us-gov-west-1")),
            ("vpc-trail-abc123.cn-north-1.es.amazonaws.com.cn", domain("cn-north-1")),
            ("search-trail-abc123.aos.us-east-1.on.aws", domain("us-east-1")),
            ("abc123.us-east-1.aoss.amazonaws.com", serverless("us-east-1")),
            ("search.example", None),
            ("es.amazonaws.com", None),
            ("bucket.s3.amazonaws.com", None),
            ("x.us-east-1.es.amazonaws.com.evil.example", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(parsed(host), expected, "{host}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let credentials = SharedCredentialsProvider::new(aws_credential_types::Credentials::new(
            "AKIDEXAMPLE",
            "hunter2",
            None,
            None,
            "test",
        ));
        let signing = Signing { service: Service::Domain, region: "us-east-1".into(), credentials };
        let shown = format!("{signing:?}");
        assert!(shown.contains("us-east-1") && !shown.contains("hunter2"), "{shown}");
    }
}
