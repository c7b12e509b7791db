//! Requests to one bucket: finds its Region, retries, and limits concurrency.
//!
//! Invariant: every request ends, successfully or not. A request that may succeed later is retried with exponential
//! backoff; a bucket in another Region is located once for all its requests.
//! Deliberately absent: what to request (see `lister` and `fetcher`).

use std::{
    collections::{HashMap, HashSet},
    error::Error as StdError,
    pin::Pin,
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
    operation::{
        get_object::GetObjectOutput, head_object::HeadObjectOutput,
        list_objects_v2::ListObjectsV2Output,
    },
    types::{EncodingType, RequestPayer},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::{
    ClientFor,
    address::access_point_region,
    error::{ErrorScope, FailedRequest, Operation, Recovery, RequestContext, S3Error},
};
use crate::limit::{Backoff, ConcurrencyLimiter, ConcurrencyPermit};

/// Clients that are kept: for each Region there is one, or two. A message may name made-up Regions.
const MAX_CLIENTS: usize = 128;

/// Maximum number of concurrent GetObject requests to one bucket: at a latency of 50 ms, more than 1,000 objects a
/// second.
const MAX_CONCURRENT_GETS: usize = 64;

/// Maximum number of concurrent ListObjectsV2 requests to one bucket.
const MAX_CONCURRENT_LISTS: usize = 16;

/// Successful responses, for each permitted request, before the limit grows by one again.
const SUCCESSES_TO_GROW: usize = 4;

/// Waits between attempts: 20 s at most, as S3 splits its partitions within minutes.
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(20) };

/// Attempts while S3 throttles with `SlowDown`: about two minutes.
const MAX_THROTTLED_ATTEMPTS: u32 = 14;

/// Attempts after any other retryable error.
const MAX_ATTEMPTS: u32 = 6;

/// How long requests without any response are retried: a router or a NAT gateway is replaced within this time.
const MAX_OUTAGE: Duration = Duration::from_mins(2);

/// Redirects to another Region that are followed: a bucket moves at most once, and S3 may answer with an outdated
/// Region at first.
const MAX_REDIRECTS: u32 = 3;

/// Bytes of progress after which the attempts of a body are counted from zero again.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Maximum time until a response starts, whatever the client's own timeouts are.
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);

/// Consecutive failed objects, without any success, after which all objects of the bucket are assumed to fail; this
/// is reported once.
const FAILURES_TO_OPEN: u32 = 16;

/// Objects that are still tried once access is doubtful: some seconds.
const PROBES_WHILE_DOUBTFUL: u32 = 2_000;

/// The S3 clients, one for each Region and addressing style.
pub(super) struct ClientCache {
    make: ClientFor,
    made: Mutex<HashMap<(String, Addressing), Client>>,
}

/// How requests address a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Addressing {
    BucketName,
    /// By the ARN of an access point, which requires virtual-hosted addressing.
    AccessPoint,
}

impl ClientCache {
    pub(super) fn new(make: ClientFor) -> Self {
        Self { make, made: Mutex::default() }
    }

    /// Returns the client for a bucket in a Region.
    fn of(&self, bucket: &str, region: &str) -> Client {
        let addressing = if access_point_region(bucket).is_some() {
            Addressing::AccessPoint
        } else {
            Addressing::BucketName
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() >= MAX_CLIENTS {
            made.clear();
        }
        let make = || without_retries(&(self.make)(region), addressing);
        made.entry((region.to_owned(), addressing)).or_insert_with(make).clone()
    }
}

/// Returns a copy of the client without retries and response checksums.
///
/// This module retries, so that a burst of throttling is not retried in two places; gzip has a checksum of its own;
/// stalled bodies are detected where they are read.
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
    /// Whether all objects seem to be denied: then one object of each folder is tried.
    access_doubtful: AtomicBool,
    /// Folders of which one object was tried since then.
    probed_folders: Mutex<HashSet<String>>,
}

/// The Region and the client that scope the bucket.
#[derive(Clone)]
struct Endpoint {
    region: String,
    client: Client,
}

/// A ListObjectsV2 request.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) prefix: String,
    /// Whether keys are grouped by the delimiter `/`.
    pub(super) folders: bool,
    pub(super) after: Option<String>,
    pub(super) token: Option<String>,
    pub(super) max_keys: Option<i32>,
}

/// The response to GetObject; its body may be the remainder of an object.
pub(super) struct InFlightBody<'a> {
    pub(super) output: GetObjectOutput,
    /// Counts as in flight until dropped.
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
            list_limiter: ConcurrencyLimiter::new(
                MAX_CONCURRENT_LISTS,
                MAX_CONCURRENT_LISTS,
                SUCCESSES_TO_GROW,
            ),
            get_limiter: ConcurrencyLimiter::new(
                MAX_CONCURRENT_GETS,
                MAX_CONCURRENT_GETS,
                SUCCESSES_TO_GROW,
            ),
            denied: AtomicU32::new(0),
            unanswered: AtomicU32::new(0),
            succeeded: AtomicBool::new(false),
            circuit_open: AtomicBool::new(false),
            access_doubtful: AtomicBool::new(false),
            probed_folders: Mutex::default(),
        }
    }

    /// Requests one page of a listing.
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
            match with_timeout(Box::pin(request.send())).await {
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

    /// Requests an object, starting at byte `from`.
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
            match with_timeout(Box::pin(request.send())).await {
                Ok(output) => return Ok(InFlightBody { output, permit }),
                Err(answer) => {
                    self.on_error(answer, &endpoint, Operation::Get(key), permit, attempts).await?;
                }
            }
        }
    }

    /// Requests the metadata of an object.
    pub(super) async fn head(&self, key: &str) -> Result<HeadObjectOutput, S3Error> {
        let mut attempts = Attempts::default();
        loop {
            let endpoint = self.endpoint();
            let request = endpoint
                .client
                .head_object()
                .bucket(&self.name)
                .key(key)
                .set_request_payer(self.request_payer());
            let permit = self.get_limiter.acquire().await;
            match with_timeout(Box::pin(request.send())).await {
                Ok(metadata) => return Ok(metadata),
                Err(answer) => {
                    self.on_error(answer, &endpoint, Operation::Get(key), permit, &mut attempts)
                        .await?;
                }
            }
        }
    }

    /// Records that a body arrived completely.
    pub(super) fn on_success(&self) {
        self.succeeded.store(true, Relaxed);
        self.unanswered.store(0, Relaxed);
        self.get_limiter.on_success();
    }

    /// Records a failed object. Returns `true` for the failure that shows that all requests fail.
    pub(super) fn on_failure(&self, scope: ErrorScope) -> bool {
        let all = match scope {
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

    /// Returns whether all objects seem to be denied: many were, and none succeeded.
    pub(super) fn is_access_doubtful(&self) -> bool {
        self.access_doubtful.load(Relaxed) && !self.succeeded.load(Relaxed)
    }

    /// Returns whether an object should be requested.
    ///
    /// Once all objects seem to be denied, a limited number and then one of each folder are still tried: objects
    /// written by another account, or encrypted with another key, may be allowed.
    pub(super) fn should_try(&self, key: &str) -> bool {
        if !self.is_access_doubtful() || self.denied.load(Relaxed) < PROBES_WHILE_DOUBTFUL {
            return true;
        }
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut probed = self.probed_folders.lock().unwrap_or_else(PoisonError::into_inner);
        !probed.contains(folder) && probed.insert(folder.to_owned())
    }

    /// Returns whether no more requests are sent to the bucket.
    pub(super) fn is_circuit_open(&self) -> bool {
        self.circuit_open.load(Relaxed)
    }

    /// Records that a body broke off, and waits before the next attempt; returns an error after too many attempts.
    ///
    /// `gained` is the number of bytes received since the last attempt: a large body may break off often, as long as
    /// it makes progress.
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

    /// Waits or switches Regions as the error requires, or returns it as final.
    ///
    /// The permit is held during the backoff, so that waiting requests are not replaced by others.
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
            return Err(
                answer.into_error(self.request_context(&endpoint.region, what), attempts.made)
            );
        }
        if !moved {
            sleep(BACKOFF.delay(attempts.made)).await;
        }
        Ok(())
    }

    fn request_context<'a>(&'a self, region: &'a str, what: Operation<'a>) -> RequestContext<'a> {
        RequestContext { bucket: &self.name, region, requester_pays: self.requester_pays, what }
    }

    /// Switches to the bucket's Region. Returns `false` if there is no other Region.
    async fn switch_region(&self, from: &Endpoint, region: Option<String>) -> bool {
        if self.endpoint().region != from.region {
            // Another request has already found it.
            return true;
        }
        let region = match region {
            Some(region) => Some(region),
            None => self.find_region(from).await,
        };
        let Some(region) = region.filter(|region| *region != from.region) else { return false };
        let client = self.clients.of(&self.name, &region);
        *self.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = Endpoint { region, client };
        true
    }

    /// Determines the Region with `HeadBucket`; successful and failed responses both contain it.
    async fn find_region(&self, endpoint: &Endpoint) -> Option<String> {
        let request = endpoint.client.head_bucket().bucket(&self.name);
        match with_timeout(Box::pin(request.send())).await {
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

/// The attempts made for one request.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    made: u32,
    redirects: u32,
    /// When the first attempt without a response was made.
    unanswered: Option<Instant>,
}

/// Limits how long a response is waited for. The future of a request is large, and many others contain it: it is boxed.
async fn with_timeout<T, E>(
    sent: Pin<Box<impl Future<Output = Result<T, SdkError<E, HttpResponse>>>>>,
) -> Result<T, FailedRequest>
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    match tokio::time::timeout(RESPONSE_TIMEOUT, sent).await {
        Ok(answer) => answer.map_err(|error| FailedRequest::from_sdk(&error)),
        Err(_) => Err(FailedRequest::no_response()),
    }
}

#[expect(clippy::disallowed_methods, reason = "waits before a request is repeated")]
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

    /// Returns the number of failures of a scope after which all requests are assumed to fail.
    fn failures_until_open(bucket: &BucketClient, scope: ErrorScope) -> Option<u32> {
        (1..100).find(|_| bucket.on_failure(scope))
    }

    #[test]
    fn what_is_refused_to_all_is_asked_no_more_and_said_once() {
        assert_eq!(failures_until_open(&bucket(), ErrorScope::Object), None);
        assert_eq!(failures_until_open(&bucket(), ErrorScope::MaybeBucket), Some(FAILURES_TO_OPEN));
        assert_eq!(failures_until_open(&bucket(), ErrorScope::Network), Some(FAILURES_TO_OPEN));
        let bucket = bucket();
        assert_eq!(failures_until_open(&bucket, ErrorScope::Bucket), Some(1));
        assert!(bucket.is_circuit_open());
        assert_eq!(failures_until_open(&bucket, ErrorScope::Bucket), None);
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
        assert_eq!(failures_until_open(&bucket, ErrorScope::MaybeBucket), None);
        // The network may fail later.
        assert_eq!(failures_until_open(&bucket, ErrorScope::Network), Some(FAILURES_TO_OPEN));
    }
}
