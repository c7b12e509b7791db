//! One bucket: which Region answers for it, and how often it is asked again.
//!
//! Holds: a request ends, with an answer or without; one that may go better later is repeated, with growing
//! random waits; a bucket in another Region is found there, once for all its requests.
//! Absent on purpose: what is asked for (see `explore` and `fetch`).

use std::{
    collections::{HashMap, HashSet},
    error::Error as StdError,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use aws_sdk_s3::{
    Client,
    config::{ResponseChecksumValidation, StalledStreamProtectionConfig, retry::RetryConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::{get_object::GetObjectOutput, list_objects_v2::ListObjectsV2Output},
    types::{EncodingType, RequestPayer},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::{
    ClientFor,
    address::access_point_region,
    error::{FailedRequest, Recovery, ErrorScope, S3Error, Operation, RequestContext},
};
use crate::limit::{ConcurrencyLimiter, ConcurrencyPermit};

/// Objects of one bucket that are fetched at once: hides 50 ms of latency at more than 1,000 objects a second.
const MAX_CONCURRENT_GETS: usize = 64;

/// Lists of one bucket that are asked for at once.
const MAX_CONCURRENT_LISTS: usize = 16;

/// Good answers, for each request that may be under way, before one more is allowed again.
const SUCCESSES_TO_GROW: usize = 4;

/// The first wait is this long on average; each further one twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// No wait is longer: S3 splits its partitions within minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Tries while S3 says "slow down": some two minutes.
const MAX_THROTTLED_ATTEMPTS: u32 = 14;

/// Tries after any other failure that may pass.
const MAX_ATTEMPTS: u32 = 6;

/// How long a network that gives no answer is waited for: a router or a gateway is replaced in this time.
const MAX_OUTAGE: Duration = Duration::from_mins(2);

/// Regions that a bucket may send us to before we give up: it moves at max_keys once, and S3 may not know at first.
const MAX_REDIRECTS: u32 = 3;

/// Bytes between two breaks after which the tries are counted anew.
const PROGRESS_BYTES: u64 = 1 << 20;

/// How long an answer may take to begin, whatever the client's own patience is.
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);

/// Objects of a bucket that are refused before any was granted, or lost to the network in a row: then all of them
/// seem to be, and that is said once.
const FAILURES_TO_OPEN: u32 = 16;

/// Objects of a bucket that are tried, though all of them seem to be refused: some seconds.
const PROBES_WHILE_DOUBTFUL: u32 = 2_000;

/// The clients, one for each Region that was needed.
pub(super) struct ClientCache {
    make: ClientFor,
    made: Mutex<HashMap<(String, Addressing), Client>>,
}

/// How a bucket is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Addressing {
    BucketName,
    /// By the ARN of an access point, which is always part of the host's name.
    AccessPoint,
}

impl ClientCache {
    pub(super) fn new(make: ClientFor) -> Self {
        Self { make, made: Mutex::default() }
    }

    /// Returns the client that reaches a bucket in a Region.
    fn of(&self, bucket: &str, region: &str) -> Client {
        let addressing = if access_point_region(bucket).is_some() { Addressing::AccessPoint } else { Addressing::BucketName };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || without_retries(&(self.make)(region), addressing);
        made.entry((region.to_owned(), addressing)).or_insert_with(make).clone()
    }
}

/// Returns a client that asks once, and does not compute what we do not need.
///
/// Repeating is ours, or a storm would be repeated in two places; gzip has its own checksum; and a body that
/// stands still is watched where it is read.
fn without_retries(client: &Client, addressing: Addressing) -> Client {
    let mut config = client
        .config()
        .to_builder()
        .retry_config(RetryConfig::disabled())
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if addressing == Addressing::AccessPoint {
        config = config.force_path_style(false);
    }
    Client::from_conf(config.build())
}

/// One bucket.
pub(super) struct BucketClient {
    pub(super) name: String,
    clients: Arc<ClientCache>,
    endpoint: Mutex<Endpoint>,
    requester_pays: bool,
    list_limiter: ConcurrencyLimiter,
    get_limiter: ConcurrencyLimiter,
    denied: AtomicU32,
    unanswered: AtomicU32,
    succeeded: AtomicBool,
    circuit_open: AtomicBool,
    /// Whether all objects seem to be refused: then one of each folder is tried.
    access_doubtful: AtomicBool,
    /// The folders of which one was tried since.
    probed_folders: Mutex<HashSet<String>>,
}

/// Who answers for it.
#[derive(Clone)]
struct Endpoint {
    region: String,
    client: Client,
}

/// A page to list.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) prefix: String,
    /// Whether folders are listed as such.
    pub(super) folders: bool,
    pub(super) after: Option<String>,
    pub(super) token: Option<String>,
    pub(super) max_keys: Option<i32>,
}

/// A body, or the rest of it, that begins to arrive.
pub(super) struct InFlightBody<'a> {
    pub(super) output: GetObjectOutput,
    /// It is under way until this is dropped.
    pub(super) permit: ConcurrencyPermit<'a>,
}

impl BucketClient {
    pub(super) fn new(
        name: String,
        clients: Arc<ClientCache>,
        region: &str,
        requester_pays: bool,
    ) -> Self {
        let region = access_point_region(&name).unwrap_or(region).to_owned();
        let endpoint = Endpoint { client: clients.of(&name, &region), region };
        Self {
            name,
            clients,
            endpoint: Mutex::new(endpoint),
            requester_pays,
            list_limiter: ConcurrencyLimiter::new(MAX_CONCURRENT_LISTS, MAX_CONCURRENT_LISTS, SUCCESSES_TO_GROW),
            get_limiter: ConcurrencyLimiter::new(MAX_CONCURRENT_GETS, MAX_CONCURRENT_GETS, SUCCESSES_TO_GROW),
            denied: AtomicU32::new(0),
            unanswered: AtomicU32::new(0),
            succeeded: AtomicBool::new(false),
            circuit_open: AtomicBool::new(false),
            access_doubtful: AtomicBool::new(false),
            probed_folders: Mutex::default(),
        }
    }

    /// Asks for a page of a listing.
    pub(super) async fn list(&self, listing: &Listing) -> Result<ListObjectsV2Output, S3Error> {
        let mut attempts = Attempts::default();
        loop {
            let endpoint = self.endpoint();
            let request = endpoint
                .client
                .list_objects_v2()
                .bucket(&self.name)
                .prefix(&listing.prefix)
                .encoding_type(EncodingType::Url)
                .set_delimiter(listing.folders.then(|| "/".to_owned()))
                .set_start_after(listing.after.clone())
                .set_continuation_token(listing.token.clone())
                .set_max_keys(listing.max_keys)
                .set_request_payer(self.request_payer());
            let permit = self.list_limiter.acquire().await;
            match with_timeout(request.send()).await {
                Ok(page) => {
                    self.list_limiter.on_success();
                    self.unanswered.store(0, Relaxed);
                    return Ok(page);
                }
                Err(answer) => {
                    let what = Operation::List(&listing.prefix);
                    self.on_error(answer, &endpoint, what, permit, &mut attempts).await?;
                }
            }
        }
    }

    /// Asks for an object, from a byte on.
    pub(super) async fn get(
        &self,
        key: &str,
        etag: Option<&str>,
        from: u64,
        attempts: &mut Attempts,
    ) -> Result<InFlightBody<'_>, S3Error> {
        loop {
            let endpoint = self.endpoint();
            let request = endpoint
                .client
                .get_object()
                .bucket(&self.name)
                .key(key)
                .set_if_match(etag.map(str::to_owned))
                .set_range((from > 0).then(|| format!("bytes={from}-")))
                .set_request_payer(self.request_payer());
            let permit = self.get_limiter.acquire().await;
            match with_timeout(request.send()).await {
                Ok(output) => return Ok(InFlightBody { output, permit }),
                Err(answer) => self.on_error(answer, &endpoint, Operation::Get(key), permit, attempts).await?,
            }
        }
    }

    /// Takes in that a body is here whole.
    pub(super) fn on_success(&self) {
        self.succeeded.store(true, Relaxed);
        self.unanswered.store(0, Relaxed);
        self.get_limiter.on_success();
    }

    /// Takes in that an object was refused. Returns `true` if it is the one that shows that all of them are.
    pub(super) fn on_failure(&self, reach: ErrorScope) -> bool {
        let all = match reach {
            ErrorScope::Object => false,
            ErrorScope::Bucket => true,
            ErrorScope::Network => self.unanswered.fetch_add(1, Relaxed) + 1 >= FAILURES_TO_OPEN,
            ErrorScope::MaybeBucket => {
                return self.denied.fetch_add(1, Relaxed) + 1 >= FAILURES_TO_OPEN
                    && !self.succeeded.load(Relaxed)
                    && !self.access_doubtful.swap(true, Relaxed);
            }
        };
        all && !self.circuit_open.swap(true, Relaxed)
    }

    /// Returns whether all objects seem to be refused: many were, and none was granted.
    pub(super) fn is_access_doubtful(&self) -> bool {
        self.access_doubtful.load(Relaxed) && !self.succeeded.load(Relaxed)
    }

    /// Returns whether an object is worth a try.
    ///
    /// Where all seem to be refused, some still are, and then one of each folder: what was written by another
    /// account, or with another key, may be granted.
    pub(super) fn should_try(&self, key: &str) -> bool {
        if !self.is_access_doubtful() || self.denied.load(Relaxed) < PROBES_WHILE_DOUBTFUL {
            return true;
        }
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut probed = self.probed_folders.lock().unwrap_or_else(PoisonError::into_inner);
        !probed.contains(folder) && probed.insert(folder.to_owned())
    }

    /// Returns whether nothing more is asked of it.
    pub(super) fn is_circuit_open(&self) -> bool {
        self.circuit_open.load(Relaxed)
    }

    /// Takes in that the body of an object broke off, and waits; or says that it did so too often.
    ///
    /// `gained` is what came since the last try: a large body may break off often, as long as it gets on.
    pub(super) async fn on_body_error(
        &self,
        key: &str,
        answer: FailedRequest,
        gained: u64,
        permit: ConcurrencyPermit<'_>,
        attempts: &mut Attempts,
    ) -> Result<(), S3Error> {
        if gained >= PROGRESS_BYTES {
            (attempts.made, attempts.unanswered) = (0, None);
        }
        let endpoint = self.endpoint();
        self.on_error(answer, &endpoint, Operation::Get(key), permit, attempts).await
    }

    /// Does what an answer asks for, or returns it as final.
    ///
    /// Its slot is not free while it waits: in a storm, those that wait are not to be replaced by others.
    async fn on_error(
        &self,
        answer: FailedRequest,
        endpoint: &Endpoint,
        what: Operation<'_>,
        permit: ConcurrencyPermit<'_>,
        attempts: &mut Attempts,
    ) -> Result<(), S3Error> {
        attempts.made += 1;
        let next = answer.recovery();
        let moved = matches!(next, Recovery::SwitchRegion(_));
        let go_on = match next {
            Recovery::GiveUp => false,
            Recovery::SwitchRegion(region) => {
                attempts.redirects += 1;
                attempts.redirects <= MAX_REDIRECTS && self.switch_region(endpoint, region).await
            }
            Recovery::SlowDown => {
                permit.on_throttled();
                attempts.made < MAX_THROTTLED_ATTEMPTS
            }
            Recovery::Retry => attempts.made < MAX_ATTEMPTS,
            Recovery::WaitForNetwork => {
                let now = Instant::now();
                let since = *attempts.unanswered.get_or_insert(now);
                attempts.made < MAX_ATTEMPTS || now.duration_since(since) < MAX_OUTAGE
            }
        };
        if !go_on {
            return Err(answer.into_error(self.request_context(&endpoint.region, what), attempts.made));
        }
        if !moved {
            wait(attempts.made).await;
        }
        Ok(())
    }

    fn request_context<'a>(&'a self, region: &'a str, what: Operation<'a>) -> RequestContext<'a> {
        RequestContext { bucket: &self.name, region, requester_pays: self.requester_pays, what }
    }

    /// Goes where the bucket is. Returns `false` if that is nowhere else.
    async fn switch_region(&self, from: &Endpoint, s3_uri: Option<String>) -> bool {
        if self.endpoint().region != from.region {
            // Another request found it meanwhile.
            return true;
        }
        let s3_uri = match s3_uri {
            Some(region) => Some(region),
            None => self.find_region(from).await,
        };
        let Some(region) = s3_uri.filter(|region| *region != from.region) else { return false };
        let client = self.clients.of(&self.name, &region);
        *self.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = Endpoint { region, client };
        true
    }

    /// Asks for the Region, which is in every answer to HEAD, good or bad.
    async fn find_region(&self, endpoint: &Endpoint) -> Option<String> {
        match with_timeout(endpoint.client.head_bucket().bucket(&self.name).send()).await {
            Ok(head) => head.bucket_region,
            Err(answer) => match answer.recovery() {
                Recovery::SwitchRegion(region) => region,
                _ => None,
            },
        }
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn request_payer(&self) -> Option<RequestPayer> {
        self.requester_pays.then_some(RequestPayer::Requester)
    }
}

/// What was tried already for one wish.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    made: u32,
    redirects: u32,
    /// When there was no answer for the first time.
    unanswered: Option<Instant>,
}

/// Waits for an answer, but not for ever.
async fn with_timeout<T, E>(
    sent: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, FailedRequest>
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    match tokio::time::timeout(RESPONSE_TIMEOUT, sent).await {
        Ok(answer) => answer.map_err(|error| FailedRequest::from_sdk(&error)),
        Err(_) => Err(FailedRequest::no_response()),
    }
}

/// Waits before try number `attempts`, counted from 1: at random, so that lanes that failed together do not come back
/// together.
async fn wait(attempts: u32) {
    let longest = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(attempts)).min(LONGEST_WAIT);
    sleep(longest.mul_f64(fastrand::f64())).await;
}

#[expect(clippy::disallowed_methods, reason = "the one place where buckets are waited for")]
async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::config::{BehaviorVersion, Config, Region};

    use super::*;

    fn bucket() -> BucketClient {
        let make: ClientFor = Box::new(|region| {
            let region = Region::new(region.to_owned());
            let config = Config::builder().behavior_version(BehaviorVersion::latest());
            Client::from_conf(config.region(region).build())
        });
        BucketClient::new("trail".to_owned(), Arc::new(ClientCache::new(make)), "eu-west-1", false)
    }

    /// Returns after how many refusals of this reach it is said that all are refused.
    fn said_after(bucket: &BucketClient, reach: ErrorScope) -> Option<u32> {
        (1..100).find(|_| bucket.on_failure(reach))
    }

    #[test]
    fn what_is_refused_to_all_is_asked_no_more_and_said_once() {
        assert_eq!(said_after(&bucket(), ErrorScope::Object), None);
        assert_eq!(said_after(&bucket(), ErrorScope::MaybeBucket), Some(FAILURES_TO_OPEN));
        assert_eq!(said_after(&bucket(), ErrorScope::Network), Some(FAILURES_TO_OPEN));
        let bucket = bucket();
        assert_eq!(said_after(&bucket, ErrorScope::Bucket), Some(1));
        assert!(bucket.is_circuit_open());
        assert_eq!(said_after(&bucket, ErrorScope::Bucket), None);
    }

    #[test]
    fn of_folders_that_seem_to_be_refused_one_object_each_is_tried() {
        let bucket = bucket();
        for _ in 0..PROBES_WHILE_DOUBTFUL {
            assert!(bucket.should_try("a/0"));
            bucket.on_failure(ErrorScope::MaybeBucket);
        }
        assert!(bucket.is_access_doubtful() && !bucket.is_circuit_open());
        let attempts = ["a/1", "a/2", "b/1", "a/3"].map(|key| bucket.should_try(key));
        assert_eq!(attempts, [true, false, true, false]);
        bucket.on_success();
        assert!(bucket.should_try("a/4") && !bucket.is_access_doubtful());
    }

    #[test]
    fn one_that_is_granted_shows_that_not_all_are_refused() {
        let bucket = bucket();
        bucket.on_success();
        assert_eq!(said_after(&bucket, ErrorScope::MaybeBucket), None);
        // The network may break down later.
        assert_eq!(said_after(&bucket, ErrorScope::Network), Some(FAILURES_TO_OPEN));
    }
}
