//! Connections to AWS: one pool for all clients of the program.
//!
//! In: additional certificates. Out: what the SDK's clients and our own requests connect with.
//! Holds: proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`) are used, as every AWS tool does.
//! Absent on purpose: retries.

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

/// The limits that a connector has built in; a pool belongs to one pair of them.
type Limits = (Option<Duration>, Option<Duration>);

/// All connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    tls: TlsContext,
    connectors: Arc<Mutex<Vec<(Limits, SharedHttpConnector)>>>,
}

impl Connections {
    /// Prepares to connect, trusting the machine's certificates and `additional` ones.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the additional certificates.
    pub(super) fn new(additional: Option<&[u8]>) -> Result<Self, BoxError> {
        let mut trust = TrustStore::default();
        if let Some(pem) = additional {
            check(pem)?;
            trust.add_pem_certificate(pem);
        }
        let tls = TlsContext::builder().with_trust_store(trust).build()?;
        Ok(Self { tls, connectors: Arc::default() })
    }

    /// Returns the connector with these limits; the same one every time, because it holds the pool.
    pub(super) fn connector(&self, settings: &HttpConnectorSettings) -> SharedHttpConnector {
        let limits = (settings.connect_timeout(), settings.read_timeout());
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, connector)) = connectors.iter().find(|(theirs, _)| *theirs == limits) {
            return connector.clone();
        }
        let mut builder = Connector::builder()
            .connector_settings(settings.clone())
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(self.tls.clone());
        builder.set_sleep_impl(default_async_sleep());
        let connector =
            SharedHttpConnector::new(Explaining(SharedHttpConnector::new(builder.build())));
        connectors.push((limits, connector.clone()));
        connector
    }
}

/// Asks the proxy, after a connection failed, what it has against it: the connector does not say.
#[derive(Debug)]
struct Explaining(SharedHttpConnector);

impl HttpConnector for Explaining {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let url = request.uri().to_owned();
        let sent = self.0.call(request);
        HttpConnectorFuture::new(async move {
            match sent.await {
                Err(error) if !error.is_timeout() => Err(explained(error, &url).await),
                sent => sent,
            }
        })
    }
}

/// Returns what a proxy has against a connection, or else the error itself.
async fn explained(error: ConnectorError, url: &str) -> ConnectorError {
    let Some(url) = url::Url::parse(url).ok() else { return error };
    let Some(proxy) = Proxy::before(&url) else { return error };
    match proxy.try_out(&url).await {
        // No attempt of the client's own will help.
        Some(trouble) if trouble.needs_person() => ConnectorError::user(trouble.into()),
        Some(trouble) => ConnectorError::io(trouble.into()),
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

/// Reads certificates as the connector will; that one panics at what it cannot read.
fn check(pem: &[u8]) -> Result<(), BoxError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        store.add(certificate?)?;
    }
    if store.is_empty() {
        return Err("there is no certificate in it (PEM is expected)".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_an_error_and_no_panic() {
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
    fn equal_limits_share_a_pool() {
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
