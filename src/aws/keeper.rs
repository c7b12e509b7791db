//! Keeps the credentials of one identity, for everybody who acts as it.
//!
//! In: a way to ask for credentials, and what AWS says about those in use. Out: credentials.
//! Holds: however many lanes need new ones at once, one asks and the others take what it got; credentials that
//! AWS calls expired are never handed out again; a failure to renew early is no failure while the old ones hold.
//! Absent on purpose: the SDK's own cache, which cannot be told that AWS has refused what it holds.

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
use tokio::time::timeout;

use super::{Refusal, Role, Trouble, access::Clock, http::Connections};
use crate::waits::Waits;

/// How long before their end credentials are renewed: long enough for a request that is under way.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// After a failure nobody asks again for so long; everybody gets the same answer.
const PAUSE: Duration = Duration::from_secs(5);

/// Where credentials come from.
#[derive(Debug)]
pub(super) enum Origin {
    /// The chain of every AWS tool.
    Chain(Box<Chain>),
    /// What the caller of the program's own code brought.
    Given(SharedCredentialsProvider),
    /// A role, assumed with the credentials of the client.
    Role {
        /// Signs as the caller.
        sts: aws_sdk_sts::Client,
        /// What to assume.
        role: Role,
    },
}

/// What the chain of every AWS tool works with.
#[derive(Debug)]
pub(super) struct Chain {
    /// Only this profile, if it was asked for by name.
    pub(super) profile: Option<String>,
    /// Where it asks STS and SSO.
    pub(super) region: Region,
    /// What it connects with.
    pub(super) connections: Connections,
    /// Our clock.
    pub(super) clock: Clock,
    /// Limits of its requests.
    pub(super) timeouts: TimeoutConfig,
    /// How often it repeats them.
    pub(super) retries: RetryConfig,
}

impl Chain {
    /// Goes through the chain from its start. The files are read again each time: what a person, or another
    /// program, has renewed there is found.
    async fn ask(&self) -> provider::Result {
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

/// Keeps credentials.
pub(super) struct Keeper {
    origin: Origin,
    clock: Clock,
    limit: Duration,
    waits: Waits,
    state: Mutex<State>,
    /// Held by the one who asks.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// The last that AWS called expired: access key and session token.
    refused: Option<(String, Option<String>)>,
    failed: Option<(Instant, Failure)>,
}

struct Held {
    credentials: Credentials,
    /// From then on they are renewed; `None`: when AWS refuses them.
    renew: Option<Timestamp>,
}

impl Keeper {
    /// Keeps credentials from `origin`; asking may take until `limit`.
    pub(super) fn new(origin: Origin, clock: Clock, limit: Duration, waits: Waits) -> Self {
        Self {
            origin,
            clock,
            limit,
            waits,
            state: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// Returns credentials, and asks for them if there are none that hold.
    pub(super) async fn credentials(&self) -> provider::Result {
        if let Some(credentials) = self.fresh() {
            return Ok(credentials);
        }
        let _one = self.asking.lock().await;
        // While we waited somebody else may have asked: take what that gave.
        if let Some(credentials) = self.fresh() {
            return Ok(credentials);
        }
        if let Some(failure) = self.just_failed() {
            return Err(failure.again());
        }
        match self.ask().await {
            Ok(credentials) => self.keep(credentials),
            Err(error) => self.make_do(error),
        }
    }

    /// Hears that AWS calls a session expired. An answer to an older session changes nothing.
    pub(super) fn refuse(&self, access_key: &str) {
        let mut state = self.state();
        let in_use = |held: &mut Held| held.credentials.access_key_id() == access_key;
        if let Some(held) = state.held.take_if(in_use) {
            state.refused = Some(session(&held.credentials));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self) -> Option<Credentials> {
        let now = self.clock.now();
        let state = self.state();
        let held = state.held.as_ref().filter(|held| held.renew.is_none_or(|then| now < then));
        held.map(|held| held.credentials.clone())
    }

    fn just_failed(&self) -> Option<Failure> {
        let state = self.state();
        let recent = state.failed.as_ref().filter(|(when, _)| when.elapsed() < PAUSE);
        recent.map(|(_, failure)| failure.clone())
    }

    async fn ask(&self) -> provider::Result {
        // A role is asked for by a client that notes it itself.
        let waiting = match &self.origin {
            Origin::Role { .. } => None,
            _ => Some(self.waits.begin("AWS credentials", "")),
        };
        let asked = timeout(self.limit, self.origin.ask()).await;
        if let Some(waiting) = waiting {
            waiting.answered();
        }
        asked.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(self.limit)))
    }

    /// Takes in what was given, unless AWS has refused just that.
    fn keep(&self, credentials: Credentials) -> provider::Result {
        let mut state = self.state();
        if state.refused.as_ref() == Some(&session(&credentials)) {
            let failure = Failure::of(CredentialsError::provider_error(stale()));
            state.failed = Some((Instant::now(), failure.clone()));
            return Err(failure.again());
        }
        let renew = end(&credentials).map(|end| renewal(self.clock.now(), end));
        state.held = Some(Held { credentials: credentials.clone(), renew });
        state.failed = None;
        Ok(credentials)
    }

    /// Goes on with the old credentials for as long as they hold; else fails, for everybody who waits.
    fn make_do(&self, error: CredentialsError) -> provider::Result {
        let now = self.clock.now();
        let mut state = self.state();
        if let Some(held) = state.held.as_mut() {
            if end(&held.credentials).is_some_and(|end| now < end) {
                held.renew = now.checked_add(PAUSE).ok();
                return Ok(held.credentials.clone());
            }
            state.held = None;
        }
        let failure = Failure::of(error);
        state.failed = Some((Instant::now(), failure.clone()));
        Err(failure.again())
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Keeper").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl ProvideCredentials for Keeper {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

/// Returns the keeper as the SDK's clients want it.
pub(super) fn shared(keeper: &Arc<Keeper>) -> SharedCredentialsProvider {
    let provider: Arc<dyn ProvideCredentials> = Arc::<Keeper>::clone(keeper);
    SharedCredentialsProvider::new(provider)
}

impl Origin {
    async fn ask(&self) -> provider::Result {
        match self {
            Self::Given(provider) => provider.provide_credentials().await,
            Self::Chain(chain) => chain.ask().await,
            Self::Role { sts, role } => assume(sts, role).await,
        }
    }
}

/// Puts a role on, for an hour or what the role allows.
async fn assume(sts: &aws_sdk_sts::Client, role: &Role) -> provider::Result {
    let request = sts
        .assume_role()
        .role_arn(role.arn())
        .role_session_name(&role.session)
        .set_external_id(role.external_id.clone());
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return Err(CredentialsError::provider_error(Refusal::of(&error))),
    };
    let Some(given) = answer.credentials else {
        return Err(CredentialsError::provider_error("AssumeRole answered without credentials"));
    };
    let end = std::time::SystemTime::try_from(given.expiration)
        .map_err(CredentialsError::provider_error)?;
    Ok(Credentials::builder()
        .access_key_id(given.access_key_id)
        .secret_access_key(given.secret_access_key)
        .session_token(given.session_token)
        .expiry(end)
        .provider_name("trailload")
        .build())
}

/// A failure that is told to everybody who waited.
#[derive(Clone, Debug)]
struct Failure(Arc<CredentialsError>);

impl Failure {
    fn of(error: CredentialsError) -> Self {
        Self(Arc::new(error))
    }

    /// Returns the error once more, of the same kind.
    fn again(self) -> CredentialsError {
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

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

fn stale() -> Refusal {
    Refusal {
        trouble: Trouble::Expired,
        status: None,
        code: None,
        message: "the session has expired, and no newer credentials are to be had".to_owned(),
        request: None,
    }
}

fn session(credentials: &Credentials) -> (String, Option<String>) {
    let token = credentials.session_token().map(str::to_owned);
    (credentials.access_key_id().to_owned(), token)
}

fn end(credentials: &Credentials) -> Option<Timestamp> {
    Timestamp::try_from(credentials.expiry()?).ok()
}

/// Returns when to renew credentials got at `now` that hold until `end`: a little earlier, and never so much
/// earlier that short ones were renewed all the time.
fn renewal(now: Timestamp, end: Timestamp) -> Timestamp {
    let margin = (end.duration_since(now) / 10).clamp(SignedDuration::ZERO, MARGIN);
    end.checked_sub(margin).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Gives keys that are numbered, or fails.
    #[derive(Debug, Default)]
    struct Source {
        asked: AtomicUsize,
        same: bool,
        ill: std::sync::atomic::AtomicBool,
        life: Option<Duration>,
    }

    #[derive(Clone, Debug)]
    struct Shared(Arc<Source>);

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    impl ProvideCredentials for Shared {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                let asked = self.0.asked.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::task::yield_now().await;
                if self.0.ill.load(Ordering::Relaxed) {
                    return Err(CredentialsError::provider_error("ill"));
                }
                let number = if self.0.same { 1 } else { asked };
                let end = self.0.life.map(|life| std::time::SystemTime::UNIX_EPOCH + life);
                Ok(Credentials::new(format!("KEY{number}"), "s", Some("t".into()), end, "test"))
            })
        }
    }

    fn keeper(source: Source) -> (Keeper, Arc<Source>, Arc<Mutex<Timestamp>>) {
        let (source, now) = (Arc::new(source), Arc::new(Mutex::new(START)));
        let origin = Origin::Given(SharedCredentialsProvider::new(Shared(Arc::clone(&source))));
        let read = Arc::clone(&now);
        let clock = Clock::new(move || *read.lock().unwrap());
        (Keeper::new(origin, clock, Duration::from_secs(9), Waits::default()), source, now)
    }

    async fn key(keeper: &Keeper) -> String {
        keeper.credentials().await.unwrap().access_key_id().to_owned()
    }

    #[tokio::test]
    async fn what_has_no_end_is_asked_for_once() {
        let (keeper, source, now) = keeper(Source::default());
        assert_eq!(key(&keeper).await, "KEY1");
        *now.lock().unwrap() += SignedDuration::from_hours(24 * 90);
        assert_eq!(key(&keeper).await, "KEY1");
        assert_eq!(source.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn many_at_once_are_one_question() {
        let (keeper, source, _) = keeper(Source::default());
        let (a, b, c) = tokio::join!(key(&keeper), key(&keeper), key(&keeper));
        assert_eq!([a, b, c], ["KEY1", "KEY1", "KEY1"]);
        assert_eq!(source.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_late_refusal_does_not_spoil_what_came_after() {
        let (keeper, source, _) = keeper(Source::default());
        key(&keeper).await;
        keeper.refuse("KEY1");
        assert_eq!(key(&keeper).await, "KEY2");
        // Lanes that had been under way with the old key.
        keeper.refuse("KEY1");
        keeper.refuse("KEY1");
        assert_eq!(key(&keeper).await, "KEY2");
        assert_eq!(source.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn the_same_session_again_is_refused_and_asked_for_again_only_after_a_pause() {
        let (keeper, source, _) = keeper(Source { same: true, ..Source::default() });
        key(&keeper).await;
        keeper.refuse("KEY1");
        for _ in 0..9 {
            let error = keeper.credentials().await.unwrap_err();
            assert_eq!(Refusal::of_credentials(&error).trouble, Trouble::Expired);
        }
        assert_eq!(source.asked.load(Ordering::Relaxed), 2);
        keeper.state().failed.as_mut().unwrap().0 -= PAUSE;
        keeper.credentials().await.unwrap_err();
        assert_eq!(source.asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn they_are_renewed_early_and_the_old_ones_serve_while_that_fails() {
        let life = Duration::from_hours(1);
        let (keeper, source, now) = keeper(Source { life: Some(life), ..Source::default() });
        key(&keeper).await;
        let set = |seconds| *now.lock().unwrap() = START + SignedDuration::from_secs(seconds);
        set(3539);
        assert_eq!(key(&keeper).await, "KEY1");
        set(3540);
        source.ill.store(true, Ordering::Relaxed);
        assert_eq!(key(&keeper).await, "KEY1");
        assert_eq!(key(&keeper).await, "KEY1");
        assert_eq!(source.asked.load(Ordering::Relaxed), 2, "a failure is not repeated at once");
        set(3600);
        let error = keeper.credentials().await.unwrap_err();
        assert!(Refusal::of_credentials(&error).message.contains("ill"));
    }

    #[test]
    fn short_sessions_are_renewed_in_their_last_tenth() {
        let at = |seconds| START + SignedDuration::from_secs(seconds);
        assert_eq!(renewal(at(0), at(3600)), at(3540));
        assert_eq!(renewal(at(0), at(100)), at(90));
        assert_eq!(renewal(at(100), at(50)), at(50), "over already");
    }

    #[test]
    fn no_secret_is_ever_shown() {
        let given = Credentials::new("AKIA", "hunter2", Some("hunter2".into()), None, "test");
        let origin = Origin::Given(SharedCredentialsProvider::new(given));
        let clock = Clock::new(|| START);
        let keeper = Keeper::new(origin, clock, Duration::ZERO, Waits::default());
        let shown = format!("{keeper:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
