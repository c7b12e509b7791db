//! Connections to AWS: one pool for all clients of the program.
//!
//! Input: additional CA certificates. Output: the connectors of the SDK clients and of `api_request`.
//! Invariant: the proxy variables of the environment (`HTTPS_PROXY`, `NO_PROXY`) apply, as in every AWS tool.
//! Deliberately absent: retries.

use std::{
    error::Error as StdError,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_smithy_async::rt::sleep::default_async_sleep;
use aws_smithy_http_client::{
    Connector,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::proxy::Proxy;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Connect and read timeout, which are fixed for a connector and its pool.
type ConnectorTimeouts = (Option<Duration>, Option<Duration>);

/// The connections to AWS. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    tls: TlsContext,
    connectors: Arc<Mutex<Vec<(ConnectorTimeouts, SharedHttpConnector)>>>,
}

impl Connections {
    /// Returns a pool that trusts the certificates of the machine and the `additional` ones, in PEM format.
    ///
    /// # Errors
    ///
    /// Returns an error if `additional` contains an invalid certificate, or none.
    pub(super) fn new(additional: Option<&[u8]>) -> Result<Self, BoxError> {
        let mut trust = TrustStore::default();
        if let Some(pem) = additional {
            validate(pem)?;
            trust.add_pem_certificate(pem);
        }
        let tls = TlsContext::builder().with_trust_store(trust).build()?;
        Ok(Self { tls, connectors: Arc::default() })
    }

    /// Returns the connector for these timeouts, which holds their pool.
    pub(super) fn connector(&self, settings: &HttpConnectorSettings) -> SharedHttpConnector {
        let timeouts = (settings.connect_timeout(), settings.read_timeout());
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, connector)) = connectors.iter().find(|(existing, _)| *existing == timeouts)
        {
            return connector.clone();
        }
        let mut builder = Connector::builder()
            .connector_settings(settings.clone())
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(self.tls.clone());
        builder.set_sleep_impl(default_async_sleep());
        let connector =
            SharedHttpConnector::new(ProxyProbing(SharedHttpConnector::new(builder.build())));
        connectors.push((timeouts, connector.clone()));
        connector
    }
}

/// A connector that probes the proxy after a connection failed, because the error does not contain the response of the
/// proxy.
#[derive(Debug)]
struct ProxyProbing(SharedHttpConnector);

impl HttpConnector for ProxyProbing {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let url = request.uri().to_owned();
        let sent = self.0.call(request);
        HttpConnectorFuture::new(async move {
            match sent.await {
                Err(error) if !error.is_timeout() => Err(with_proxy_error(error, &url).await),
                sent => sent,
            }
        })
    }
}

/// Returns the error of the proxy, or else the error itself.
async fn with_proxy_error(error: ConnectorError, url: &str) -> ConnectorError {
    let Some(url) = url::Url::parse(url).ok() else { return error };
    let Some(proxy) = Proxy::for_url(&url) else { return error };
    match proxy.probe(&url).await {
        // The SDK does not retry user errors.
        Some(cause) if cause.is_permanent() => ConnectorError::user(cause.into()),
        Some(cause) => ConnectorError::io(cause.into()),
        None => error,
    }
}

impl HttpClient for Connections {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.connector(settings)
    }
}

/// Parses certificates in the same way as the connector, which panics if they are invalid.
fn validate(pem: &[u8]) -> Result<(), BoxError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        store.add(certificate?)?;
    }
    if store.is_empty() {
        return Err("no certificate found (expected PEM format)".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_certificate_is_an_error_not_a_panic() {
        for pem in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
        ] {
            assert!(Connections::new(Some(pem.as_bytes())).is_err(), "{pem}");
        }
    }

    #[test]
    fn equal_timeouts_share_a_pool() {
        let connections = Connections::new(None).unwrap();
        let limit = |seconds| {
            HttpConnectorSettings::builder().connect_timeout(Duration::from_secs(seconds)).build()
        };
        for seconds in [1, 2, 1] {
            connections.connector(&limit(seconds));
        }
        assert_eq!(connections.connectors.lock().unwrap().len(), 2);
    }
}
