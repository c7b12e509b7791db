//! One identity at AWS, and the clients that act as it.
//!
//! In: [`Options`], and what the machine offers (variables, profiles, metadata services). Out: [`Access`].
//! Holds: every client of one [`Access`] shares its credentials, connections, time limits and clock.
//! Absent on purpose: the order of the credential chain, which is that of every AWS tool.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, identity::IdentityCache};
use aws_credential_types::provider::{SharedCredentialsProvider, error::CredentialsError};
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::service_config::ServiceConfigKey;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;

use super::{
    Error, Member, Partition, Refusal, Regions, Role, Trail, Trouble,
    call::Question,
    http::Connections,
    keeper::{self, Keeper},
    organization, regions, trails, trouble,
    watch::{Ahead, Drift, Manners, Watch},
};
use crate::waits::Waits;

/// Attempts of one request in all, where a client repeats by itself.
pub(super) const ATTEMPTS: u32 = 3;

/// The clock that signatures are made with; `cli` owns the real one.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// Wraps a clock.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Returns the time now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        self.now().into()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Clock")
    }
}

/// How long anything at AWS may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// From the request to the first byte of the answer.
    pub read: Duration,
    /// One attempt as a whole. A streamed body comes after it and has the source's own limit.
    pub attempt: Duration,
    /// Getting credentials, with everything that the chain tries for it.
    pub credentials: Duration,
    /// The first pause between two attempts, of which a random part is taken; each further one is twice as long.
    pub pause: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // The SDK's own default.
            connect: Duration::from_millis(3_100),
            // LookupEvents is known to take up to 35 seconds in a busy Region.
            read: Duration::from_mins(1),
            attempt: Duration::from_mins(1),
            // An external process may ask a person for a code.
            credentials: Duration::from_mins(2),
            // The SDK's own default.
            pause: Duration::from_secs(1),
        }
    }
}

/// What an identity is made from. Everything may be left out but the clock.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--profile`; it beats keys in the environment, as with the AWS CLI.
    pub profile: Option<String>,
    /// The Region to start from; otherwise variable, profile or metadata service say it.
    pub region: Option<String>,
    /// The part of AWS to be in, where nothing else says it: `None` for the public one.
    pub partition: Option<Partition>,
    /// The clock.
    pub clock: Clock,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Certificates to trust besides the machine's own, as PEM: the contents of `AWS_CA_BUNDLE`.
    pub certificates: Option<Vec<u8>>,
    /// Endpoints by service (`cloudtrail`, `s3`, `sts`, `ec2`, `account`, `organizations`); they beat
    /// `AWS_ENDPOINT_URL_…`, which need not be repeated here.
    pub endpoints: BTreeMap<String, String>,
    /// Credentials to use instead of the chain's.
    pub credentials: Option<SharedCredentialsProvider>,
    /// Where it is noted what is waited for.
    pub waits: Waits,
}

impl Options {
    /// Returns options that leave everything to the machine.
    pub fn new(clock: Clock) -> Self {
        Self {
            profile: None,
            region: None,
            partition: None,
            clock,
            timeouts: Timeouts::default(),
            certificates: None,
            endpoints: BTreeMap::new(),
            credentials: None,
            waits: Waits::default(),
        }
    }
}

/// Who AWS says we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account, 12 digits.
    pub account: String,
    /// The user or the role's session.
    pub arn: String,
    /// Where the account lives.
    pub partition: Partition,
}

/// One identity at AWS. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// Region, connections, limits and credentials; what every client starts from.
    config: SdkConfig,
    keeper: Arc<Keeper>,
    /// What is put on, if this identity is a role of ours.
    role: Option<Role>,
    identity: OnceCell<Identity>,
}

/// What all identities of a run share.
#[derive(Debug)]
struct Shared {
    options: Options,
    connections: Connections,
    drift: Drift,
}

impl Access {
    /// Reads settings and prepares; asks nobody at AWS yet. Credentials are had when they are needed first: call
    /// [`identity`](Self::identity) to fail early.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if `certificates` are none or `region` is no Region.
    pub async fn load(options: &Options) -> Result<Self, Error> {
        if let Some(region) =
            options.region.as_ref().filter(|it| Partition::of_region(it).is_none())
        {
            return Err(Error::NoRegion(region.clone()));
        }
        let connections = Connections::new(options.certificates.as_deref())
            .map_err(|source| Error::Certificates { source })?;
        let shared = Shared { options: options.clone(), connections, drift: Drift::default() };
        let config = shared.settings().await;
        let origin = shared.origin(&config);
        let limit = options.timeouts.credentials;
        let keeper = Keeper::new(origin, options.clock.clone(), limit, options.waits.clone());
        Ok(Self::new(Arc::new(shared), &config, keeper, None))
    }

    fn new(shared: Arc<Shared>, config: &SdkConfig, keeper: Keeper, role: Option<Role>) -> Self {
        let keeper = Arc::new(keeper);
        let credentials = keeper::shared(&keeper);
        let config = config.to_builder().credentials_provider(credentials).build();
        Self(Arc::new(Inner { shared, config, keeper, role, identity: OnceCell::new() }))
    }

    /// Returns the access that a role gives, with this identity as the caller. Nothing is asked yet:
    /// [`identity`](Self::identity) shows whether the role can be had. Its credentials are renewed for as long as
    /// this access lives.
    #[must_use]
    pub fn assume(&self, role: &Role) -> Self {
        let origin = keeper::Origin::Role { sts: self.sts(), role: role.clone() };
        let limit = self.timeouts().credentials;
        let keeper = Keeper::new(origin, self.clock().clone(), limit, self.waits().clone());
        Self::new(Arc::clone(&self.0.shared), &self.0.config, keeper, Some(role.clone()))
    }

    /// Returns who we are (STS `GetCallerIdentity`, which needs no permission). Asked once; later calls are free.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if credentials cannot be had or are not accepted.
    pub async fn identity(&self) -> Result<Identity, Error> {
        self.0.identity.get_or_try_init(|| self.ask_identity()).await.cloned()
    }

    async fn ask_identity(&self) -> Result<Identity, Error> {
        if let Err(error) = self.0.keeper.credentials().await {
            return Err(self.without_credentials(&error));
        }
        let answer = self.sts().get_caller_identity().send().await;
        let answer = answer.map_err(|error| self.not_accepted(Box::new(Refusal::of(&error))))?;
        let lacks = |what| self.lacks("sts", "GetCallerIdentity", what);
        let account = answer.account.ok_or_else(|| lacks("Account"))?;
        let arn = answer.arn.ok_or_else(|| lacks("Arn"))?;
        let partition = Partition::of_arn(&arn).unwrap_or_else(|| self.partition_of_region());
        Ok(Identity { account, arn, partition })
    }

    /// Returns the id of the access key that requests are signed with. Asks for credentials if there are none yet, and
    /// nobody whether they are any good: services that speak S3 have no STS, and a network may have no way to it.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if credentials cannot be had.
    pub async fn access_key(&self) -> Result<String, Error> {
        let credentials = self.0.keeper.credentials().await;
        let credentials = credentials.map_err(|error| self.without_credentials(&error))?;
        Ok(credentials.access_key_id().to_owned())
    }

    /// Returns the ARN of the role that is assumed, if there is one.
    pub fn role(&self) -> Option<&str> {
        self.0.role.as_ref().map(Role::arn)
    }

    fn without_credentials(&self, error: &CredentialsError) -> Error {
        // The machine's own service is the last link, and other clouds answer at its address too.
        let none = matches!(error, CredentialsError::CredentialsNotLoaded(_))
            || trouble::is_of_instance(error);
        let mut source = Box::new(Refusal::of_credentials(error));
        if none && self.0.role.is_none() {
            if let Some(name) = &self.0.shared.options.profile {
                source.message = format!("the profile {name} has none, or is not there");
            }
            return Error::NoCredentials { profile: self.profile(), source };
        }
        self.not_accepted(source)
    }

    fn not_accepted(&self, mut source: Box<Refusal>) -> Error {
        if let Some(role) = &self.0.role {
            return Error::Assume { role: role.arn().to_owned(), source };
        }
        // Who we are is known in every Region that is enabled: elsewhere than here this would not help.
        if source.trouble == Trouble::RegionNotEnabled {
            source.trouble = Trouble::Credentials;
        }
        Error::Credentials { profile: self.profile(), source }
    }

    fn profile(&self) -> Option<String> {
        self.0.shared.options.profile.clone()
    }

    /// Returns the account, once [`identity`](Self::identity) has found it, or the role has named it; for error
    /// texts.
    pub fn account(&self) -> Option<String> {
        let found = self.0.identity.get().map(|identity| identity.account.clone());
        found.or_else(|| Some(self.0.role.as_ref()?.account().to_owned()))
    }

    /// Returns the Region that settings name, or the one that stands for the partition: if they name none, or one
    /// that only an S3-compatible service knows (`auto`).
    pub fn region(&self) -> String {
        let named = self.0.config.region().map(|region| region.as_ref().to_owned());
        let ours = self.partition();
        named
            .filter(|name| Partition::of_region(name) == Some(ours))
            .unwrap_or_else(|| ours.global_region().to_owned())
    }

    /// Returns the partition of the identity, or of the Region while nobody was asked.
    pub fn partition(&self) -> Partition {
        let found = self.0.identity.get().map(|identity| identity.partition);
        found.unwrap_or_else(|| self.partition_of_region())
    }

    fn partition_of_region(&self) -> Partition {
        let region = self.0.config.region().and_then(|it| Partition::of_region(it.as_ref()));
        // A role's ARN, or the user's own words, know better than a default of the machine.
        let role = self.0.role.as_ref().map(Role::partition);
        role.or(self.0.shared.options.partition).or(region).unwrap_or(Partition::Aws)
    }

    /// Returns the client that reads the history of one Region. It tries transient failures again, up to 3 times
    /// in all, and asks for new credentials when the session has expired; it never repeats what was throttled.
    pub fn cloudtrail(&self, region: &str) -> aws_sdk_cloudtrail::Client {
        self.cloudtrail_with(region, Manners::Paced)
    }

    /// Returns a client for the calls that have no limiter of ours.
    pub(super) fn patient_cloudtrail(&self, region: &str) -> aws_sdk_cloudtrail::Client {
        self.cloudtrail_with(region, Manners::Patient)
    }

    fn cloudtrail_with(&self, region: &str, manners: Manners) -> aws_sdk_cloudtrail::Client {
        let mut builder = aws_sdk_cloudtrail::config::Builder::from(&self.0.config)
            .region(Region::new(region.to_owned()))
            .interceptor(self.watch("cloudtrail", region))
            .retry_classifier(manners);
        if let Some(endpoint) = self.given_endpoint("cloudtrail") {
            builder = builder.endpoint_url(endpoint);
        }
        aws_sdk_cloudtrail::Client::from_conf(builder.build())
    }

    /// Returns the client for buckets of one Region; the same manners as [`cloudtrail`](Self::cloudtrail).
    /// Path style for endpoints that are not AWS's own.
    pub fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        let foreign = self.endpoint("s3").is_some_and(|url| !url.contains(".amazonaws."));
        let mut builder = aws_sdk_s3::config::Builder::from(&self.0.config)
            .region(Region::new(region.to_owned()))
            .force_path_style(foreign)
            .interceptor(self.watch("s3", region))
            .retry_classifier(Manners::Paced);
        if let Some(endpoint) = self.given_endpoint("s3") {
            builder = builder.endpoint_url(endpoint);
        }
        aws_sdk_s3::Client::from_conf(builder.build())
    }

    fn sts(&self) -> aws_sdk_sts::Client {
        let mut builder = aws_sdk_sts::config::Builder::from(&self.0.config)
            .region(Region::new(self.region()))
            .interceptor(self.watch("sts", &self.region()))
            .retry_classifier(Manners::Patient);
        if let Some(endpoint) = self.given_endpoint("sts") {
            builder = builder.endpoint_url(endpoint);
        }
        aws_sdk_sts::Client::from_conf(builder.build())
    }

    fn watch(&self, service: &'static str, region: &str) -> Watch {
        Watch {
            waits: self.waits().clone(),
            service,
            region: region.to_owned(),
            keeper: Arc::clone(&self.0.keeper),
            clock: self.clock().clone(),
            drift: self.0.shared.drift.clone(),
        }
    }

    /// Returns the credentials that all clients of this access share; for signing to an engine.
    pub fn credentials(&self) -> SharedCredentialsProvider {
        keeper::shared(&self.0.keeper)
    }

    /// Returns how far this machine's clock is ahead of AWS (negative: behind), by the last answer.
    pub fn clock_ahead(&self) -> Option<SignedDuration> {
        self.0.shared.drift.last()
    }

    /// Returns the address a service has been given by options, variables or the profile.
    pub fn endpoint(&self, service: &str) -> Option<String> {
        if let Some(given) = self.given_endpoint(service) {
            return Some(given);
        }
        // The same order as inside the SDK's clients.
        let key = ServiceConfigKey::builder()
            .service_id(service)
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build()
            .ok()?;
        let config = &self.0.config;
        let own = config.service_config().and_then(|settings| settings.load_config(key));
        own.or_else(|| config.endpoint_url().map(str::to_owned))
    }

    fn given_endpoint(&self, service: &str) -> Option<String> {
        self.0.shared.options.endpoints.get(service).cloned()
    }

    /// Returns the Regions to load when all are wanted: `DescribeRegions`, else account `ListRegions`, else a list
    /// that is built in. The partition's global Region is always part.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the credentials, or the clock, would fail everywhere. A mere refusal is no error.
    pub async fn regions(&self) -> Result<Regions, Error> {
        regions::regions(self).await
    }

    /// Returns the organization's accounts that are active.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if `ListAccounts` is refused: only the management account and delegated administrators may.
    pub async fn organization_accounts(&self) -> Result<Vec<Member>, Error> {
        organization::accounts(self).await
    }

    /// Returns the trails of the account that one Region shows, or only the one called `name` (or by ARN).
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if `DescribeTrails` is refused.
    pub async fn trails(&self, region: &str, name: Option<&str>) -> Result<Vec<Trail>, Error> {
        trails::trails(self, region, name).await
    }
}

/// For the other files of this room.
impl Access {
    pub(super) fn keeper(&self) -> &Keeper {
        &self.0.keeper
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.0.shared.options.clock
    }

    pub(super) fn waits(&self) -> &Waits {
        &self.0.shared.options.waits
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.0.shared.options.timeouts
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.0.shared.connections
    }

    /// Compares our clock with an answer's date, and writes the result beside the answer.
    pub(super) fn measure(&self, response: &mut HttpResponse) {
        let date = response.headers().get("date");
        if let Some(ahead) = self.0.shared.drift.measure(self.clock().now(), date) {
            response.add_extension(Ahead(ahead));
        }
    }

    pub(super) fn failed(&self, action: &'static str, asked: &Question, source: Refusal) -> Error {
        Error::Call {
            account: self.account(),
            service: asked.service,
            action,
            region: asked.region.clone(),
            source: Box::new(source),
        }
    }

    pub(super) fn lacks(
        &self,
        service: &'static str,
        action: &'static str,
        lacks: &'static str,
    ) -> Error {
        Error::Answer { account: self.account(), service, action, lacks }
    }
}

impl Shared {
    /// Reads variables and profile files; no credentials yet, because asking for them needs the Region.
    async fn settings(&self) -> SdkConfig {
        // Pinned, so that an update of the SDK does not move time limits under us.
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .no_credentials()
            .http_client(self.connections.clone())
            .time_source(self.options.clock.clone())
            .timeout_config(self.limits())
            .retry_config(self.retries())
            // The keeper holds them; a second memory would not hear what AWS refuses.
            .identity_cache(IdentityCache::no_cache())
            // A wrong clock is told to a person: "up to now" would be wrong too.
            .disable_clock_skew_correction(true);
        if let Some(profile) = &self.options.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &self.options.region {
            loader = loader.region(Region::new(region.clone()));
        }
        loader.load().await
    }

    fn origin(&self, config: &SdkConfig) -> keeper::Origin {
        if let Some(given) = &self.options.credentials {
            return keeper::Origin::Given(given.clone());
        }
        let anywhere = || Region::from_static(Partition::Aws.global_region());
        keeper::Origin::Chain(Box::new(keeper::Chain {
            profile: self.options.profile.clone(),
            region: config.region().cloned().unwrap_or_else(anywhere),
            connections: self.connections.clone(),
            clock: self.options.clock.clone(),
            timeouts: self.limits(),
            retries: self.retries(),
        }))
    }

    fn limits(&self) -> TimeoutConfig {
        let Timeouts { connect, read, attempt, .. } = self.options.timeouts;
        TimeoutConfig::builder()
            .connect_timeout(connect)
            .read_timeout(read)
            .operation_attempt_timeout(attempt)
            .build()
    }

    /// Few: what lasts longer is for the source to wait for.
    fn retries(&self) -> RetryConfig {
        RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(self.options.timeouts.pause)
    }
}
