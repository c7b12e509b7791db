//! Caches the credentials of one session and renews them.
//!
//! Input: a [`CredentialSource`], and the access keys of sessions that AWS reported as expired. Output: credentials.
//! Invariant: however many tasks need new credentials at once, one requests them and the others use its result.
//! Credentials that AWS reported as expired are never returned again. A failure to renew early has no effect while the
//! current credentials are valid.
//! Deliberately absent: the identity cache of the SDK, which has no way to discard credentials that AWS rejects.

use std::{
    error::Error as StdError,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_config::{
    Region, default_provider::credentials::DefaultCredentialsChain,
    profile::ProfileFileCredentialsProvider, provider_config::ProviderConfig,
};
use aws_credential_types::{
    Credentials,
    provider::{
        self, ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future,
    },
};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use jiff::{SignedDuration, Timestamp};

use super::{
    clock::Clock, error_kind::ErrorKind, http::Connections, role::Role, service_error::ServiceError,
};
use crate::pending::PendingRequests;

/// Time before their expiry at which credentials are renewed: long enough for the requests in flight.
const RENEWAL_MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// Time after a failure within which no new request is sent and every caller gets the same error.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Where credentials come from.
#[derive(Debug)]
pub(super) enum CredentialSource {
    /// The credential chain of the SDK.
    Chain(Box<DefaultChain>),
    /// A provider from [`super::SessionOptions`].
    Provided(SharedCredentialsProvider),
    /// `AssumeRole`.
    Role {
        /// Client with the credentials of the caller.
        sts: aws_sdk_sts::Client,
        /// The role to assume.
        role: Role,
    },
}

/// Settings of the credential chain.
#[derive(Debug)]
pub(super) struct DefaultChain {
    /// The only profile to use, if the user selected one.
    pub(super) profile: Option<String>,
    /// Region for requests to STS and SSO.
    pub(super) region: Region,
    /// Connections for its requests.
    pub(super) connections: Connections,
    /// The clock.
    pub(super) clock: Clock,
    /// Time limits of its requests.
    pub(super) timeouts: TimeoutConfig,
    /// Retries of its requests.
    pub(super) retries: RetryConfig,
}

impl DefaultChain {
    /// Requests credentials from the first provider. Reads the files each time, so that credentials which the user or
    /// another program has renewed there are found.
    async fn request(&self) -> provider::Result {
        let config = ProviderConfig::default()
            .with_region(Some(self.region.clone()))
            .with_http_client(self.connections.clone())
            .with_time_source(self.clock.clone())
            .with_timeout_config(self.timeouts.clone())
            .with_retry_config(self.retries.clone());
        if let Some(name) = &self.profile {
            let builder = ProfileFileCredentialsProvider::builder().profile_name(name);
            return builder.configure(&config).build().provide_credentials().await;
        }
        let builder = DefaultCredentialsChain::builder().region(self.region.clone());
        builder.configure(config).build().await.provide_credentials().await
    }
}

/// A cache of the credentials of one session.
pub(super) struct CredentialCache {
    source: CredentialSource,
    clock: Clock,
    timeout: Duration,
    pending: PendingRequests,
    state: Mutex<State>,
    /// Held by the task that requests credentials.
    refresh_lock: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    current: Option<CachedCredentials>,
    /// The last session that AWS reported as expired.
    rejected: Option<SessionKey>,
    last_failure: Option<(Instant, SharedFailure)>,
}

struct CachedCredentials {
    credentials: Credentials,
    /// Time from which they are renewed; `None`: once AWS rejects them.
    renew_at: Option<Timestamp>,
}

/// Identifies a session: access key ID and session token.
#[derive(PartialEq, Eq)]
struct SessionKey(String, Option<String>);

impl CredentialCache {
    /// Returns an empty cache; `timeout` limits each request to `source`.
    pub(super) fn new(
        source: CredentialSource,
        clock: Clock,
        timeout: Duration,
        pending: PendingRequests,
    ) -> Self {
        Self {
            source,
            clock,
            timeout,
            pending,
            state: Mutex::default(),
            refresh_lock: tokio::sync::Mutex::default(),
        }
    }

    /// Returns valid credentials, and requests them if there are none.
    pub(super) async fn credentials(&self) -> provider::Result {
        if let Some(credentials) = self.current() {
            return Ok(credentials);
        }
        let _guard = self.refresh_lock.lock().await;
        // Another task may have requested them meanwhile.
        if let Some(credentials) = self.current() {
            return Ok(credentials);
        }
        if let Some(failure) = self.recent_failure() {
            return Err(failure.into_error());
        }
        match self.request().await {
            Ok(credentials) => self.store(credentials),
            Err(error) => self.fall_back_to_current(error),
        }
    }

    /// Discards the credentials with this access key ID, because AWS reported their session as expired. Has no effect
    /// on newer credentials.
    pub(super) fn invalidate(&self, access_key_id: &str) {
        let mut state = self.state();
        let is_signer =
            |it: &mut CachedCredentials| it.credentials.access_key_id() == access_key_id;
        if let Some(expired) = state.current.take_if(is_signer) {
            state.rejected = Some(session_key(&expired.credentials));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Option<Credentials> {
        let now = self.clock.now();
        let state = self.state();
        let is_fresh = |it: &&CachedCredentials| it.renew_at.is_none_or(|time| now < time);
        state.current.as_ref().filter(is_fresh).map(|it| it.credentials.clone())
    }

    fn recent_failure(&self) -> Option<SharedFailure> {
        let state = self.state();
        let (time, failure) = state.last_failure.as_ref()?;
        (time.elapsed() < RETRY_AFTER_FAILURE).then(|| failure.clone())
    }

    async fn request(&self) -> provider::Result {
        // The STS client reports its requests itself.
        let pending = match &self.source {
            CredentialSource::Role { .. } => None,
            _ => Some(self.pending.begin("AWS credentials", "")),
        };
        let result = tokio::time::timeout(self.timeout, self.source.request()).await;
        if let Some(pending) = pending {
            pending.finish();
        }
        result.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(self.timeout)))
    }

    /// Stores new credentials, unless they belong to the session that AWS reported as expired.
    fn store(&self, credentials: Credentials) -> provider::Result {
        let mut state = self.state();
        if state.rejected.as_ref() == Some(&session_key(&credentials)) {
            let failure = SharedFailure::new(CredentialsError::provider_error(expired_error()));
            state.last_failure = Some((Instant::now(), failure.clone()));
            return Err(failure.into_error());
        }
        let renew_at = expiry(&credentials).map(|expiry| renewal_time(self.clock.now(), expiry));
        state.current = Some(CachedCredentials { credentials: credentials.clone(), renew_at });
        state.last_failure = None;
        Ok(credentials)
    }

    /// Returns the current credentials if they are still valid, else the error, which other waiting tasks get as well.
    fn fall_back_to_current(&self, error: CredentialsError) -> provider::Result {
        let now = self.clock.now();
        let mut state = self.state();
        if let Some(current) = state.current.as_mut() {
            if expiry(&current.credentials).is_some_and(|expiry| now < expiry) {
                current.renew_at = now.checked_add(RETRY_AFTER_FAILURE).ok();
                return Ok(current.credentials.clone());
            }
            state.current = None;
        }
        let failure = SharedFailure::new(error);
        state.last_failure = Some((Instant::now(), failure.clone()));
        Err(failure.into_error())
    }
}

impl fmt::Debug for CredentialCache {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("CredentialCache").field("source", &self.source).finish_non_exhaustive()
    }
}

impl ProvideCredentials for CredentialCache {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

/// Returns the cache as a provider for SDK clients.
pub(super) fn shared_provider(cache: &Arc<CredentialCache>) -> SharedCredentialsProvider {
    let provider: Arc<dyn ProvideCredentials> = Arc::<CredentialCache>::clone(cache);
    SharedCredentialsProvider::new(provider)
}

impl CredentialSource {
    async fn request(&self) -> provider::Result {
        match self {
            Self::Provided(provider) => provider.provide_credentials().await,
            Self::Chain(chain) => chain.request().await,
            Self::Role { sts, role } => assume_role(sts, role).await,
        }
    }
}

/// Assumes the role, for one hour or the role's maximum session duration.
async fn assume_role(sts: &aws_sdk_sts::Client, role: &Role) -> provider::Result {
    let request = sts
        .assume_role()
        .role_arn(role.arn())
        .role_session_name(&role.session_name)
        .set_external_id(role.external_id.clone());
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Err(CredentialsError::provider_error(ServiceError::from_sdk(&error))),
    };
    let Some(credentials) = response.credentials else {
        return Err(CredentialsError::provider_error("AssumeRole returned no credentials"));
    };
    let expiry = std::time::SystemTime::try_from(credentials.expiration)
        .map_err(CredentialsError::provider_error)?;
    Ok(Credentials::builder()
        .access_key_id(credentials.access_key_id)
        .secret_access_key(credentials.secret_access_key)
        .session_token(credentials.session_token)
        .expiry(expiry)
        .provider_name("trailload")
        .build())
}

/// An error that is returned to every task that waited.
#[derive(Clone, Debug)]
struct SharedFailure(Arc<CredentialsError>);

impl SharedFailure {
    fn new(error: CredentialsError) -> Self {
        Self(Arc::new(error))
    }

    /// Returns an error of the same variant, with this one as its cause.
    fn into_error(self) -> CredentialsError {
        match &*self.0 {
            CredentialsError::CredentialsNotLoaded(_) => CredentialsError::not_loaded(self),
            CredentialsError::ProviderTimedOut(details) => {
                CredentialsError::provider_timed_out(details.timeout_duration())
            }
            CredentialsError::InvalidConfiguration(_) => {
                CredentialsError::invalid_configuration(self)
            }
            _ => CredentialsError::provider_error(self),
        }
    }
}

impl fmt::Display for SharedFailure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

impl StdError for SharedFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

fn expired_error() -> ServiceError {
    let message = "the session has expired, and no newer credentials are available";
    ServiceError::without_response(ErrorKind::ExpiredToken, message)
}

fn session_key(credentials: &Credentials) -> SessionKey {
    let token = credentials.session_token().map(str::to_owned);
    SessionKey(credentials.access_key_id().to_owned(), token)
}

fn expiry(credentials: &Credentials) -> Option<Timestamp> {
    Timestamp::try_from(credentials.expiry()?).ok()
}

/// Returns when to renew credentials obtained at `now`: [`RENEWAL_MARGIN`] before their expiry, but not before the last
/// tenth of their lifetime, so that short-lived ones are not renewed all the time.
fn renewal_time(now: Timestamp, expiry: Timestamp) -> Timestamp {
    let margin = (expiry.duration_since(now) / 10).clamp(SignedDuration::ZERO, RENEWAL_MARGIN);
    expiry.checked_sub(margin).unwrap_or(expiry)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Returns access keys with consecutive numbers, or fails.
    #[derive(Debug, Default)]
    struct FakeSource {
        requests: AtomicUsize,
        same_session: bool,
        fails: std::sync::atomic::AtomicBool,
        lifetime: Option<Duration>,
    }

    #[derive(Clone, Debug)]
    struct SharedSource(Arc<FakeSource>);

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    impl ProvideCredentials for SharedSource {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                let request = self.0.requests.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::task::yield_now().await;
                if self.0.fails.load(Ordering::Relaxed) {
                    return Err(CredentialsError::provider_error("broken"));
                }
                let number = if self.0.same_session { 1 } else { request };
                let end =
                    self.0.lifetime.map(|lifetime| std::time::SystemTime::UNIX_EPOCH + lifetime);
                Ok(Credentials::new(format!("KEY{number}"), "s", Some("t".into()), end, "test"))
            })
        }
    }

    fn cache(source: FakeSource) -> (CredentialCache, Arc<FakeSource>, Arc<Mutex<Timestamp>>) {
        let (source, now) = (Arc::new(source), Arc::new(Mutex::new(START)));
        let origin = CredentialSource::Provided(SharedCredentialsProvider::new(SharedSource(
            Arc::clone(&source),
        )));
        let read = Arc::clone(&now);
        let clock = Clock::new(move || *read.lock().unwrap());
        (
            CredentialCache::new(origin, clock, Duration::from_secs(9), PendingRequests::default()),
            source,
            now,
        )
    }

    async fn key(cache: &CredentialCache) -> String {
        cache.credentials().await.unwrap().access_key_id().to_owned()
    }

    #[tokio::test]
    async fn credentials_without_expiry_are_requested_once() {
        let (cache, source, now) = cache(FakeSource::default());
        assert_eq!(key(&cache).await, "KEY1");
        *now.lock().unwrap() += SignedDuration::from_hours(24 * 90);
        assert_eq!(key(&cache).await, "KEY1");
        assert_eq!(source.requests.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn concurrent_callers_share_one_request() {
        let (cache, source, _) = cache(FakeSource::default());
        let (a, b, c) = tokio::join!(key(&cache), key(&cache), key(&cache));
        assert_eq!([a, b, c], ["KEY1", "KEY1", "KEY1"]);
        assert_eq!(source.requests.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_late_response_does_not_invalidate_newer_credentials() {
        let (cache, source, _) = cache(FakeSource::default());
        key(&cache).await;
        cache.invalidate("KEY1");
        assert_eq!(key(&cache).await, "KEY2");
        // Requests that were in flight with the old key.
        cache.invalidate("KEY1");
        cache.invalidate("KEY1");
        assert_eq!(key(&cache).await, "KEY2");
        assert_eq!(source.requests.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_expired_session_is_rejected_and_requested_again_only_after_a_pause() {
        let (cache, source, _) = cache(FakeSource { same_session: true, ..FakeSource::default() });
        key(&cache).await;
        cache.invalidate("KEY1");
        for _ in 0..9 {
            let error = cache.credentials().await.unwrap_err();
            assert_eq!(ServiceError::from_credentials(&error).kind, ErrorKind::ExpiredToken);
        }
        assert_eq!(source.requests.load(Ordering::Relaxed), 2);
        cache.state().last_failure.as_mut().unwrap().0 -= RETRY_AFTER_FAILURE;
        cache.credentials().await.unwrap_err();
        assert_eq!(source.requests.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn credentials_are_renewed_early_and_stay_in_use_while_that_fails() {
        let lifetime = Duration::from_hours(1);
        let (cache, source, now) =
            cache(FakeSource { lifetime: Some(lifetime), ..FakeSource::default() });
        key(&cache).await;
        let set = |seconds| *now.lock().unwrap() = START + SignedDuration::from_secs(seconds);
        set(3539);
        assert_eq!(key(&cache).await, "KEY1");
        set(3540);
        source.fails.store(true, Ordering::Relaxed);
        assert_eq!(key(&cache).await, "KEY1");
        assert_eq!(key(&cache).await, "KEY1");
        assert_eq!(source.requests.load(Ordering::Relaxed), 2, "a failure is not repeated at once");
        set(3600);
        let error = cache.credentials().await.unwrap_err();
        assert!(ServiceError::from_credentials(&error).message.contains("broken"));
    }

    #[test]
    fn short_sessions_are_renewed_in_their_last_tenth() {
        let at = |seconds| START + SignedDuration::from_secs(seconds);
        assert_eq!(renewal_time(at(0), at(3600)), at(3540));
        assert_eq!(renewal_time(at(0), at(100)), at(90));
        assert_eq!(renewal_time(at(100), at(50)), at(50), "expired already");
    }

    #[test]
    fn no_secret_is_ever_shown() {
        let given = Credentials::new("AKIA", "hunter2", Some("hunter2".into()), None, "test");
        let origin = CredentialSource::Provided(SharedCredentialsProvider::new(given));
        let clock = Clock::new(|| START);
        let cache = CredentialCache::new(origin, clock, Duration::ZERO, PendingRequests::default());
        let shown = format!("{cache:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
