//! An AWS session: one identity, and the clients that act as it.
//!
//! Input: [`SessionOptions`] and the AWS settings of the machine (variables, profiles, metadata services). Output:
//! [`Session`].
//! Invariant: all clients of a [`Session`] share its credentials, connections, time limits and clock.
//! Deliberately absent: the order of the credential chain, which is that of the SDK.

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig, identity::IdentityCache};
use aws_credential_types::provider::{SharedCredentialsProvider, error::CredentialsError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::service_config::ServiceConfigKey;
use jiff::SignedDuration;
use tokio::sync::OnceCell;

use super::{
    clock::{Clock, LastClockSkew},
    credential_cache::{self, CredentialCache, CredentialSource, DefaultChain},
    error::Error,
    error_kind::ErrorKind,
    http::Connections,
    observer::{ResponseObserver, ThrottleRetry},
    options::{SessionOptions, Timeouts},
    partition::AwsPartition,
    role::Role,
    service_error::{self, ServiceError},
};
use crate::pending::PendingRequests;

/// Attempts per request, the first one included. Callers handle failures that last longer.
pub(super) const MAX_ATTEMPTS: u32 = 3;

/// The identity that credentials belong to, as STS returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Account ID, 12 digits.
    pub account: String,
    /// ARN of the user or of the role session.
    pub arn: String,
    /// Partition of the account.
    pub partition: AwsPartition,
}

/// An AWS session. Clones share everything.
#[derive(Clone, Debug)]
pub struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// Region, connections, limits and credentials that every client starts from.
    config: SdkConfig,
    credentials: Arc<CredentialCache>,
    /// The assumed role, if any.
    role: Option<Role>,
    identity: OnceCell<Identity>,
}

/// What all sessions of a run share.
#[derive(Debug)]
struct Shared {
    options: SessionOptions,
    connections: Connections,
    clock_skew: LastClockSkew,
}

impl Session {
    /// Reads the AWS settings of the machine. Sends no request except, without a configured Region, one to the
    /// instance metadata service; call [`identity`](Self::identity) to check the credentials early.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if `certificates` contains no certificate or `region` is not a Region name.
    pub async fn load(options: &SessionOptions) -> Result<Self, Error> {
        if let Some(region) =
            options.region.as_ref().filter(|it| AwsPartition::from_region(it).is_none())
        {
            return Err(Error::InvalidRegion(region.clone()));
        }
        let connections = Connections::new(options.certificates.as_deref())
            .map_err(|source| Error::Certificates { source })?;
        let clock_skew = LastClockSkew::default();
        let shared = Arc::new(Shared { options: options.clone(), connections, clock_skew });
        let config = shared.sdk_config().await;
        let source = shared.credential_source(&config);
        Ok(Self::new(shared, &config, source, None))
    }

    fn new(
        shared: Arc<Shared>,
        config: &SdkConfig,
        source: CredentialSource,
        role: Option<Role>,
    ) -> Self {
        let SessionOptions { clock, timeouts, pending, .. } = &shared.options;
        let credentials = Arc::new(CredentialCache::new(
            source,
            clock.clone(),
            timeouts.credentials,
            pending.clone(),
        ));
        let provider = credential_cache::shared_provider(&credentials);
        let config = config.to_builder().credentials_provider(provider).build();
        Self(Arc::new(Inner { shared, config, credentials, role, identity: OnceCell::new() }))
    }

    /// Returns a session that acts as a role, assumed with the credentials of this session and renewed as needed.
    /// Sends no request: [`identity`](Self::identity) shows whether the role can be assumed.
    #[must_use]
    pub fn assume_role(&self, role: &Role) -> Self {
        let source = CredentialSource::Role { sts: self.sts(), role: role.clone() };
        Self::new(Arc::clone(&self.0.shared), &self.0.config, source, Some(role.clone()))
    }

    /// Returns the identity of the credentials (STS `GetCallerIdentity`, which needs no permission). Only the first
    /// successful call sends a request.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if credentials cannot be obtained or are not accepted.
    pub async fn identity(&self) -> Result<Identity, Error> {
        self.0.identity.get_or_try_init(|| self.request_identity()).await.cloned()
    }

    async fn request_identity(&self) -> Result<Identity, Error> {
        if let Err(error) = self.0.credentials.credentials().await {
            return Err(self.credentials_error(&error));
        }
        let response = self.sts().get_caller_identity().send().await;
        let response = response
            .map_err(|error| self.rejected_credentials(Box::new(ServiceError::from_sdk(&error))))?;
        let missing = |field| self.incomplete_response("sts", "GetCallerIdentity", field);
        let account = response.account.ok_or_else(|| missing("Account"))?;
        let arn = response.arn.ok_or_else(|| missing("Arn"))?;
        let partition = AwsPartition::from_arn(&arn).unwrap_or_else(|| self.configured_partition());
        Ok(Identity { account, arn, partition })
    }

    /// Returns the ID of the access key that signs requests. Obtains credentials if there are none, but does not
    /// verify them: S3-compatible services have no STS, and a network may have no route to it.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if credentials cannot be obtained.
    pub async fn access_key_id(&self) -> Result<String, Error> {
        let credentials = self.0.credentials.credentials().await;
        let credentials = credentials.map_err(|error| self.credentials_error(&error))?;
        Ok(credentials.access_key_id().to_owned())
    }

    /// Returns the ARN of the assumed role, if any.
    pub fn role_arn(&self) -> Option<&str> {
        self.0.role.as_ref().map(Role::arn)
    }

    fn credentials_error(&self, error: &CredentialsError) -> Error {
        // The instance metadata service is the last provider of the chain; other clouds respond at its address, too.
        let is_missing = matches!(error, CredentialsError::CredentialsNotLoaded(_))
            || service_error::is_from_imds(error);
        let mut source = Box::new(ServiceError::from_credentials(error));
        if is_missing && self.0.role.is_none() {
            if let Some(name) = &self.0.shared.options.profile {
                source.message = format!("the profile {name} does not exist or has no credentials");
            }
            return Error::NoCredentials { profile: self.profile(), source };
        }
        self.rejected_credentials(source)
    }

    fn rejected_credentials(&self, mut source: Box<ServiceError>) -> Error {
        if let Some(role) = &self.0.role {
            return Error::AssumeRole { role: role.arn().to_owned(), source };
        }
        // Every enabled Region knows valid credentials, and this one is enabled: another Region would not help.
        if source.kind == ErrorKind::RegionNotEnabled {
            source.kind = ErrorKind::InvalidCredentials;
        }
        Error::Credentials { profile: self.profile(), source }
    }

    fn profile(&self) -> Option<String> {
        self.0.shared.options.profile.clone()
    }

    /// Returns the account ID, if [`identity`](Self::identity) or the role ARN has determined it; for error messages.
    pub fn account(&self) -> Option<String> {
        let identity = self.0.identity.get().map(|identity| identity.account.clone());
        identity.or_else(|| Some(self.0.role.as_ref()?.account().to_owned()))
    }

    /// Returns the configured Region, or the global Region of the partition if none is configured or only an
    /// S3-compatible service knows it (`auto`).
    pub fn region(&self) -> String {
        let partition = self.partition();
        let configured = self.0.config.region().map(|region| region.as_ref().to_owned());
        configured
            .filter(|name| AwsPartition::from_region(name) == Some(partition))
            .unwrap_or_else(|| partition.global_region().to_owned())
    }

    /// Returns the partition of the identity, or of the settings as long as the identity is unknown.
    pub fn partition(&self) -> AwsPartition {
        let identity = self.0.identity.get().map(|identity| identity.partition);
        identity.unwrap_or_else(|| self.configured_partition())
    }

    fn configured_partition(&self) -> AwsPartition {
        let region = self.0.config.region().and_then(|it| AwsPartition::from_region(it.as_ref()));
        // A role ARN or an option is more specific than the default Region of the machine.
        let role = self.0.role.as_ref().map(Role::partition);
        role.or(self.0.shared.options.partition).or(region).unwrap_or(AwsPartition::Aws)
    }

    /// Returns a CloudTrail client for the event history of one Region. It retries transient failures, with up to 3
    /// attempts, and renews an expired session; it never retries a throttled request.
    pub fn cloudtrail(&self, region: &str) -> aws_sdk_cloudtrail::Client {
        self.cloudtrail_with(region, ThrottleRetry::Never)
    }

    /// Returns a CloudTrail client for requests without a rate limiter: it retries throttled requests, too.
    pub(super) fn retrying_cloudtrail(&self, region: &str) -> aws_sdk_cloudtrail::Client {
        self.cloudtrail_with(region, ThrottleRetry::Sdk)
    }

    fn cloudtrail_with(
        &self,
        region: &str,
        throttle_retry: ThrottleRetry,
    ) -> aws_sdk_cloudtrail::Client {
        let mut builder = aws_sdk_cloudtrail::config::Builder::from(&self.0.config)
            .region(Region::new(region.to_owned()))
            .interceptor(self.observer("cloudtrail", region))
            .retry_classifier(throttle_retry);
        if let Some(endpoint) = self.endpoint_override("cloudtrail") {
            builder = builder.endpoint_url(endpoint);
        }
        aws_sdk_cloudtrail::Client::from_conf(builder.build())
    }

    /// Returns an S3 client for one Region, with the same retries as [`cloudtrail`](Self::cloudtrail). It uses
    /// path-style requests for endpoints outside AWS.
    pub fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        let is_foreign = self.endpoint("s3").is_some_and(|url| !url.contains(".amazonaws."));
        let mut builder = aws_sdk_s3::config::Builder::from(&self.0.config)
            .region(Region::new(region.to_owned()))
            .force_path_style(is_foreign)
            .interceptor(self.observer("s3", region))
            .retry_classifier(ThrottleRetry::Never);
        if let Some(endpoint) = self.endpoint_override("s3") {
            builder = builder.endpoint_url(endpoint);
        }
        aws_sdk_s3::Client::from_conf(builder.build())
    }

    /// Returns an SNS client for one Region, with the same retries as [`cloudtrail`](Self::cloudtrail), and of throttled requests.
    pub fn sns(&self, region: &str, endpoint: Option<&str>) -> aws_sdk_sns::Client {
        let mut builder = aws_sdk_sns::config::Builder::from(&self.0.config)
            .region(Region::new(region.to_owned()))
            .interceptor(self.observer("sns", region))
            .retry_classifier(ThrottleRetry::Sdk);
        if let Some(endpoint) =
            endpoint.map(str::to_owned).or_else(|| self.endpoint_override("sns"))
        {
            builder = builder.endpoint_url(endpoint);
        }
        aws_sdk_sns::Client::from_conf(builder.build())
    }

    /// Returns a DynamoDB client for one Region, with the same retries as [`cloudtrail`](Self::cloudtrail), and of throttled requests.
    pub fn dynamodb(&self, region: &str) -> aws_sdk_dynamodb::Client {
        let mut builder = aws_sdk_dynamodb::config::Builder::from(&self.0.config)
            .region(Region::new(region.to_owned()))
            .interceptor(self.observer("dynamodb", region))
            .retry_classifier(ThrottleRetry::Sdk);
        if let Some(endpoint) = self.endpoint_override("dynamodb") {
            builder = builder.endpoint_url(endpoint);
        }
        aws_sdk_dynamodb::Client::from_conf(builder.build())
    }

    /// Returns an SQS client for one Region, with the same retries as [`cloudtrail`](Self::cloudtrail). An endpoint of the
    /// settings takes precedence over `endpoint`. Requests are not reported as pending, because most of them are long polls.
    pub fn sqs(&self, region: &str, endpoint: Option<&str>) -> aws_sdk_sqs::Client {
        let observer = ResponseObserver {
            pending: PendingRequests::default(),
            ..self.observer("sqs", region)
        };
        let mut builder = aws_sdk_sqs::config::Builder::from(&self.0.config)
            .region(Region::new(region.to_owned()))
            .interceptor(observer)
            .retry_classifier(ThrottleRetry::Sdk);
        let configured = self.endpoint("sqs").or_else(|| endpoint.map(str::to_owned));
        if let Some(endpoint) = configured {
            builder = builder.endpoint_url(endpoint);
        }
        aws_sdk_sqs::Client::from_conf(builder.build())
    }

    fn sts(&self) -> aws_sdk_sts::Client {
        let mut builder = aws_sdk_sts::config::Builder::from(&self.0.config)
            .region(Region::new(self.region()))
            .interceptor(self.observer("sts", &self.region()))
            .retry_classifier(ThrottleRetry::Sdk);
        if let Some(endpoint) = self.endpoint_override("sts") {
            builder = builder.endpoint_url(endpoint);
        }
        aws_sdk_sts::Client::from_conf(builder.build())
    }

    fn observer(&self, service: &'static str, region: &str) -> ResponseObserver {
        ResponseObserver {
            credentials: Arc::clone(&self.0.credentials),
            clock: self.clock().clone(),
            clock_skew: self.0.shared.clock_skew.clone(),
            pending: self.pending().clone(),
            service,
            region: region.to_owned(),
        }
    }

    /// Returns the credentials provider that all clients of this session share; for signing requests to an engine.
    pub fn credentials_provider(&self) -> SharedCredentialsProvider {
        credential_cache::shared_provider(&self.0.credentials)
    }

    /// Returns the clock skew of the last response: positive if the local clock is ahead of AWS.
    pub fn clock_skew(&self) -> Option<SignedDuration> {
        self.0.shared.clock_skew.get()
    }

    /// Returns the endpoint URL of a service, if options, variables or the profile set one.
    pub fn endpoint(&self, service: &str) -> Option<String> {
        if let Some(endpoint) = self.endpoint_override(service) {
            return Some(endpoint);
        }
        // The same precedence as in the SDK clients.
        let key = ServiceConfigKey::builder()
            .service_id(service)
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build()
            .ok()?;
        let config = &self.0.config;
        let of_service = config.service_config().and_then(|settings| settings.load_config(key));
        of_service.or_else(|| config.endpoint_url().map(str::to_owned))
    }

    fn endpoint_override(&self, service: &str) -> Option<String> {
        self.0.shared.options.endpoints.get(service).cloned()
    }
}

/// For the other files of this module.
impl Session {
    pub(super) fn credential_cache(&self) -> &CredentialCache {
        &self.0.credentials
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.0.shared.options.clock
    }

    pub(super) fn pending(&self) -> &PendingRequests {
        &self.0.shared.options.pending
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.0.shared.options.timeouts
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.0.shared.connections
    }

    /// Records the clock skew of a response, and attaches it to the response.
    pub(super) fn record_clock_skew(&self, response: &mut HttpResponse) {
        let date = response.headers().get("date");
        if let Some(skew) = self.0.shared.clock_skew.record(self.clock().now(), date) {
            response.add_extension(skew);
        }
    }

    /// Returns the error for a response without a field that the API documents.
    pub(super) fn incomplete_response(
        &self,
        service: &'static str,
        action: &'static str,
        missing: &'static str,
    ) -> Error {
        Error::IncompleteResponse { account: self.account(), service, action, missing }
    }
}

impl Shared {
    /// Reads variables and profile files. Leaves credentials out, because requesting them needs the Region.
    async fn sdk_config(&self) -> SdkConfig {
        // Pinned, so that an update of the SDK does not change time limits.
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .no_credentials()
            .http_client(self.connections.clone())
            .time_source(self.options.clock.clone())
            .timeout_config(self.timeout_config())
            .retry_config(self.retry_config())
            // `CredentialCache` replaces it: the SDK's cache keeps credentials that AWS has rejected.
            .identity_cache(IdentityCache::no_cache())
            // The user must fix a wrong clock, because the end of the requested time range would be wrong, too.
            .disable_clock_skew_correction(true);
        if let Some(profile) = &self.options.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.options.region {
            loader = loader.region(Region::new(region.clone()));
        }
        loader.load().await
    }

    fn credential_source(&self, config: &SdkConfig) -> CredentialSource {
        if let Some(provider) = &self.options.credentials {
            return CredentialSource::Provided(provider.clone());
        }
        let default_region = || Region::from_static(AwsPartition::Aws.global_region());
        CredentialSource::Chain(Box::new(DefaultChain {
            profile: self.options.profile.clone(),
            region: config.region().cloned().unwrap_or_else(default_region),
            connections: self.connections.clone(),
            clock: self.options.clock.clone(),
            timeouts: self.timeout_config(),
            retries: self.retry_config(),
        }))
    }

    fn timeout_config(&self) -> TimeoutConfig {
        let Timeouts { connect, read, attempt, .. } = self.options.timeouts;
        TimeoutConfig::builder()
            .connect_timeout(connect)
            .read_timeout(read)
            .operation_attempt_timeout(attempt)
            .build()
    }

    fn retry_config(&self) -> RetryConfig {
        RetryConfig::standard()
            .with_max_attempts(MAX_ATTEMPTS)
            .with_initial_backoff(self.options.timeouts.initial_backoff)
    }
}
