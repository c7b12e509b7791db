//! Which engine documents are written to, and how.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use url::Url;

use super::client::{Client, ClientOptions, is_loopback};
use super::credentials::{Credentials, take_userinfo};
use super::signing::Signing;
use crate::normalize::IndexBy;
use crate::pending::PendingRequests;
use crate::sink::error::Error;

/// Default timeout of one request. Engines respond with an error after a minute if a shard is unavailable.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);

/// Default time without progress after which a run ends early; restarting a node takes less.
const RETRY_DEADLINE: Duration = Duration::from_mins(10);

/// Bulk requests in flight to an engine on this machine: one for each core, since more would only queue in the engine.
const LOCAL_REQUESTS: RangeInclusive<u32> = 2..=8;

/// Bulk requests in flight to an engine on another machine: some of them are always on the network.
const REMOTE_REQUESTS: u32 = 8;

/// Longest prefix. Engines limit index names to 255 bytes, and the period follows the prefix.
const MAX_PREFIX_BYTES: usize = 200;

/// Which engine documents are written to, and how.
#[derive(Clone)]
pub struct Target {
    /// URL of the engine. [`Target::new`] and `Engine::connect` remove credentials from it.
    pub url: Url,
    /// Credentials to authenticate with.
    pub credentials: Credentials,
    /// How requests are signed, if the engine runs at AWS.
    pub signing: Option<Signing>,
    /// PEM file with certificates of authorities to trust in addition to those of the system.
    pub ca_file: Option<PathBuf>,
    /// First part of all index names.
    pub prefix: String,
    /// Period that one index covers: the second part of its name.
    pub index_by: IndexBy,
    /// Whether newer templates, and those of other programs, are overwritten.
    pub force: bool,
    /// Maximum number of discovered fields to map. The field limit of the indices is twice as high.
    pub max_fields: u32,
    /// What happens to documents that the index already holds.
    pub duplicates: DuplicateHandling,
    /// The clock that tells which indices have expired during a run. Without one, documents of all indices are written.
    pub clock: Option<fn() -> Timestamp>,
    /// Timeout of one request. `doctor` shortens it, because a person waits for the result.
    pub request_timeout: Duration,
    /// Time without progress after which retries end. `doctor` shortens it, because a person waits for the result.
    pub retry_deadline: Duration,
}

/// What happens to documents whose ids an index already holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DuplicateHandling {
    /// They are counted as duplicates.
    #[default]
    Count,
    /// They are counted, and compared with the stored documents.
    Compare,
}

impl Target {
    /// Returns a target with defaults for everything but URL and prefix.
    pub fn new(url: Url, prefix: &str) -> Self {
        let mut target = Self {
            url,
            credentials: Credentials::None,
            signing: None,
            ca_file: None,
            prefix: prefix.to_owned(),
            index_by: IndexBy::default(),
            force: false,
            max_fields: 5_000,
            duplicates: DuplicateHandling::Count,
            clock: None,
            request_timeout: REQUEST_TIMEOUT,
            retry_deadline: RETRY_DEADLINE,
        };
        target.take_credentials();
        target
    }

    /// Moves credentials out of the URL. Those in [`Target::credentials`] have precedence.
    fn take_credentials(&mut self) {
        let (username, password) = take_userinfo(&mut self.url);
        let has_userinfo = username.is_some() || password.is_some();
        if has_userinfo && self.credentials == Credentials::None {
            self.credentials = Credentials::Basic {
                username: username.unwrap_or_default(),
                password: password.unwrap_or_default(),
            };
        }
    }

    /// Checks the target and opens a client for it. Sends nothing to the engine; with SigV4, credentials are fetched.
    pub(super) async fn open_client(&mut self, pending: PendingRequests) -> Result<Client, Error> {
        self.take_credentials();
        self.check_prefix()?;
        let options = ClientOptions {
            url: &self.url,
            credentials: &self.credentials,
            signing: self.signing.as_ref(),
            ca_file: self.ca_file.as_deref(),
            timeout: self.request_timeout,
            headers: HeaderMap::new(),
        };
        let client = Client::new(&options, pending)?;
        if let Some(signing) = &self.signing {
            signing.check_credentials(client.address()).await?;
        }
        Ok(client)
    }

    /// Checks the prefix against the rules of engines for index names.
    fn check_prefix(&self) -> Result<(), Error> {
        let prefix = &self.prefix;
        let reason = if prefix.is_empty() {
            "it is empty"
        } else if prefix.starts_with(['-', '_', '+', '.']) {
            "it must not start with '-', '_', '+' or '.'"
        } else if prefix.chars().any(char::is_uppercase) {
            "it contains upper-case letters"
        } else if prefix.contains(|character: char| {
            character.is_whitespace()
                || character.is_control()
                || "\\/*?\"<>|,#:%&=".contains(character)
        }) {
            "it contains a character that is not allowed in index names"
        } else if prefix.len() > MAX_PREFIX_BYTES {
            "it is too long"
        } else {
            return Ok(());
        };
        Err(Error::InvalidPrefix { prefix: prefix.clone(), reason })
    }

    /// Returns the maximum number of bulk requests in flight.
    pub(super) fn max_requests(&self) -> u32 {
        if !is_loopback(&self.url) {
            return REMOTE_REQUESTS;
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (min, max) = LOCAL_REQUESTS.into_inner();
        u32::try_from(cores).unwrap_or(max).clamp(min, max)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL could still contain a password.
        out.debug_struct("Target")
            .field("host", &self.url.host_str())
            .field("credentials", &self.credentials)
            .field("signing", &self.signing)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
