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
    address::region_of,
    refusal::{Answer, Next, Reach, Refusal, What, Wish},
};
use crate::limit::{ConcurrencyLimiter, ConcurrencyPermit};

/// Objects of one bucket that are fetched at once: hides 50 ms of latency at more than 1,000 objects a second.
const GETS_AT_ONCE: usize = 64;

/// Lists of one bucket that are asked for at once.
const LISTS_AT_ONCE: usize = 16;

/// Good answers, for each request that may be under way, before one more is allowed again.
const GOOD_ROW: usize = 4;

/// The first wait is this long on average; each further one twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// No wait is longer: S3 splits its partitions within minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Tries while S3 says "slow down": some two minutes.
const SLOW_TRIES: u32 = 14;

/// Tries after any other failure that may pass.
const TRIES: u32 = 6;

/// How long a network that gives no answer is waited for: a router or a gateway is replaced in this time.
const OUTAGE: Duration = Duration::from_mins(2);

/// Regions that a bucket may send us to before we give up: it moves at most once, and S3 may not know at first.
const MOVES: u32 = 3;

/// Bytes between two breaks after which the tries are counted anew.
const GAIN: u64 = 1 << 20;

/// How long an answer may take to begin, whatever the client's own patience is.
const ANSWER: Duration = Duration::from_mins(1);

/// Objects of a bucket that are refused before any was granted, or lost to the network in a row: then all of them
/// seem to be, and that is said once.
const REFUSED_IN_A_ROW: u32 = 16;

/// Objects of a bucket that are tried, though all of them seem to be refused: some seconds.
const TRIED_ANYWAY: u32 = 2_000;

/// The clients, one for each Region that was needed.
pub(super) struct Clients {
    make: ClientFor,
    made: Mutex<HashMap<(String, By), Client>>,
}

/// How a bucket is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum By {
    Name,
    /// By the ARN of an access point, which is always part of the host's name.
    AccessPoint,
}

impl Clients {
    pub(super) fn new(make: ClientFor) -> Self {
        Self { make, made: Mutex::default() }
    }

    /// Returns the client that reaches a bucket in a Region.
    fn of(&self, bucket: &str, region: &str) -> Client {
        let by = if region_of(bucket).is_some() { By::AccessPoint } else { By::Name };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || plain(&(self.make)(region), by);
        made.entry((region.to_owned(), by)).or_insert_with(make).clone()
    }
}

/// Returns a client that asks once, and does not compute what we do not need.
///
/// Repeating is ours, or a storm would be repeated in two places; gzip has its own checksum; and a body that
/// stands still is watched where it is read.
fn plain(client: &Client, by: By) -> Client {
    let mut config = client
        .config()
        .to_builder()
        .retry_config(RetryConfig::disabled())
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if by == By::AccessPoint {
        config = config.force_path_style(false);
    }
    Client::from_conf(config.build())
}

/// One bucket.
pub(super) struct Bucket {
    pub(super) name: String,
    clients: Arc<Clients>,
    at: Mutex<At>,
    requester_pays: bool,
    lists: ConcurrencyLimiter,
    gets: ConcurrencyLimiter,
    refused: AtomicU32,
    silent: AtomicU32,
    granted: AtomicBool,
    shut: AtomicBool,
    /// Whether all objects seem to be refused: then one of each folder is tried.
    doubted: AtomicBool,
    /// The folders of which one was tried since.
    tried: Mutex<HashSet<String>>,
}

/// Who answers for it.
#[derive(Clone)]
struct At {
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
    pub(super) most: Option<i32>,
}

/// A body, or the rest of it, that begins to arrive.
pub(super) struct Arriving<'a> {
    pub(super) output: GetObjectOutput,
    /// It is under way until this is dropped.
    pub(super) slot: ConcurrencyPermit<'a>,
}

impl Bucket {
    pub(super) fn new(
        name: String,
        clients: Arc<Clients>,
        region: &str,
        requester_pays: bool,
    ) -> Self {
        let region = region_of(&name).unwrap_or(region).to_owned();
        let at = At { client: clients.of(&name, &region), region };
        Self {
            name,
            clients,
            at: Mutex::new(at),
            requester_pays,
            lists: ConcurrencyLimiter::new(LISTS_AT_ONCE, LISTS_AT_ONCE, GOOD_ROW),
            gets: ConcurrencyLimiter::new(GETS_AT_ONCE, GETS_AT_ONCE, GOOD_ROW),
            refused: AtomicU32::new(0),
            silent: AtomicU32::new(0),
            granted: AtomicBool::new(false),
            shut: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
            tried: Mutex::default(),
        }
    }

    /// Asks for a page of a listing.
    pub(super) async fn list(&self, listing: &Listing) -> Result<ListObjectsV2Output, Refusal> {
        let mut tries = Tries::default();
        loop {
            let at = self.at();
            let request = at
                .client
                .list_objects_v2()
                .bucket(&self.name)
                .prefix(&listing.prefix)
                .encoding_type(EncodingType::Url)
                .set_delimiter(listing.folders.then(|| "/".to_owned()))
                .set_start_after(listing.after.clone())
                .set_continuation_token(listing.token.clone())
                .set_max_keys(listing.most)
                .set_request_payer(self.payer());
            let slot = self.lists.acquire().await;
            match patiently(request.send()).await {
                Ok(page) => {
                    self.lists.on_success();
                    self.silent.store(0, Relaxed);
                    return Ok(page);
                }
                Err(answer) => {
                    let what = What::List(&listing.prefix);
                    self.after(answer, &at, what, slot, &mut tries).await?;
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
        tries: &mut Tries,
    ) -> Result<Arriving<'_>, Refusal> {
        loop {
            let at = self.at();
            let request = at
                .client
                .get_object()
                .bucket(&self.name)
                .key(key)
                .set_if_match(etag.map(str::to_owned))
                .set_range((from > 0).then(|| format!("bytes={from}-")))
                .set_request_payer(self.payer());
            let slot = self.gets.acquire().await;
            match patiently(request.send()).await {
                Ok(output) => return Ok(Arriving { output, slot }),
                Err(answer) => self.after(answer, &at, What::Get(key), slot, tries).await?,
            }
        }
    }

    /// Takes in that a body is here whole.
    pub(super) fn granted(&self) {
        self.granted.store(true, Relaxed);
        self.silent.store(0, Relaxed);
        self.gets.on_success();
    }

    /// Takes in that an object was refused. Returns `true` if it is the one that shows that all of them are.
    pub(super) fn refused(&self, reach: Reach) -> bool {
        let all = match reach {
            Reach::This => false,
            Reach::All => true,
            Reach::Way => self.silent.fetch_add(1, Relaxed) + 1 >= REFUSED_IN_A_ROW,
            Reach::Perhaps => {
                return self.refused.fetch_add(1, Relaxed) + 1 >= REFUSED_IN_A_ROW
                    && !self.granted.load(Relaxed)
                    && !self.doubted.swap(true, Relaxed);
            }
        };
        all && !self.shut.swap(true, Relaxed)
    }

    /// Returns whether all objects seem to be refused: many were, and none was granted.
    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.load(Relaxed) && !self.granted.load(Relaxed)
    }

    /// Returns whether an object is worth a try.
    ///
    /// Where all seem to be refused, some still are, and then one of each folder: what was written by another
    /// account, or with another key, may be granted.
    pub(super) fn is_worth_a_try(&self, key: &str) -> bool {
        if !self.is_doubted() || self.refused.load(Relaxed) < TRIED_ANYWAY {
            return true;
        }
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        !tried.contains(folder) && tried.insert(folder.to_owned())
    }

    /// Returns whether nothing more is asked of it.
    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Relaxed)
    }

    /// Takes in that the body of an object broke off, and waits; or says that it did so too often.
    ///
    /// `gained` is what came since the last try: a large body may break off often, as long as it gets on.
    pub(super) async fn broken(
        &self,
        key: &str,
        answer: Answer,
        gained: u64,
        slot: ConcurrencyPermit<'_>,
        tries: &mut Tries,
    ) -> Result<(), Refusal> {
        if gained >= GAIN {
            (tries.made, tries.silent) = (0, None);
        }
        let at = self.at();
        self.after(answer, &at, What::Get(key), slot, tries).await
    }

    /// Does what an answer asks for, or returns it as final.
    ///
    /// Its slot is not free while it waits: in a storm, those that wait are not to be replaced by others.
    async fn after(
        &self,
        answer: Answer,
        at: &At,
        what: What<'_>,
        slot: ConcurrencyPermit<'_>,
        tries: &mut Tries,
    ) -> Result<(), Refusal> {
        tries.made += 1;
        let next = answer.next();
        let moved = matches!(next, Next::Elsewhere(_));
        let go_on = match next {
            Next::Never => false,
            Next::Elsewhere(region) => {
                tries.moves += 1;
                tries.moves <= MOVES && self.follow(at, region).await
            }
            Next::Slower => {
                slot.on_throttled();
                tries.made < SLOW_TRIES
            }
            Next::Again => tries.made < TRIES,
            Next::Outlast => {
                let now = Instant::now();
                let since = *tries.silent.get_or_insert(now);
                tries.made < TRIES || now.duration_since(since) < OUTAGE
            }
        };
        if !go_on {
            return Err(answer.refusal(self.wish(&at.region, what), tries.made));
        }
        if !moved {
            wait(tries.made).await;
        }
        Ok(())
    }

    fn wish<'a>(&'a self, region: &'a str, what: What<'a>) -> Wish<'a> {
        Wish { bucket: &self.name, region, requester_pays: self.requester_pays, what }
    }

    /// Goes where the bucket is. Returns `false` if that is nowhere else.
    async fn follow(&self, from: &At, named: Option<String>) -> bool {
        if self.at().region != from.region {
            // Another request found it meanwhile.
            return true;
        }
        let named = match named {
            Some(region) => Some(region),
            None => self.ask_where(from).await,
        };
        let Some(region) = named.filter(|region| *region != from.region) else { return false };
        let client = self.clients.of(&self.name, &region);
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = At { region, client };
        true
    }

    /// Asks for the Region, which is in every answer to HEAD, good or bad.
    async fn ask_where(&self, at: &At) -> Option<String> {
        match patiently(at.client.head_bucket().bucket(&self.name).send()).await {
            Ok(head) => head.bucket_region,
            Err(answer) => match answer.next() {
                Next::Elsewhere(region) => region,
                _ => None,
            },
        }
    }

    fn at(&self) -> At {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn payer(&self) -> Option<RequestPayer> {
        self.requester_pays.then_some(RequestPayer::Requester)
    }
}

/// What was tried already for one wish.
#[derive(Debug, Default)]
pub(super) struct Tries {
    made: u32,
    moves: u32,
    /// When there was no answer for the first time.
    silent: Option<Instant>,
}

/// Waits for an answer, but not for ever.
async fn patiently<T, E>(
    sent: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, Answer>
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    match tokio::time::timeout(ANSWER, sent).await {
        Ok(answer) => answer.map_err(|error| Answer::of(&error)),
        Err(_) => Err(Answer::silence()),
    }
}

/// Waits before try number `tries`, counted from 1: at random, so that lanes that failed together do not come back
/// together.
async fn wait(tries: u32) {
    let longest = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(tries)).min(LONGEST_WAIT);
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

    fn bucket() -> Bucket {
        let make: ClientFor = Box::new(|region| {
            let region = Region::new(region.to_owned());
            let config = Config::builder().behavior_version(BehaviorVersion::latest());
            Client::from_conf(config.region(region).build())
        });
        Bucket::new("trail".to_owned(), Arc::new(Clients::new(make)), "eu-west-1", false)
    }

    /// Returns after how many refusals of this reach it is said that all are refused.
    fn said_after(bucket: &Bucket, reach: Reach) -> Option<u32> {
        (1..100).find(|_| bucket.refused(reach))
    }

    #[test]
    fn what_is_refused_to_all_is_asked_no_more_and_said_once() {
        assert_eq!(said_after(&bucket(), Reach::This), None);
        assert_eq!(said_after(&bucket(), Reach::Perhaps), Some(REFUSED_IN_A_ROW));
        assert_eq!(said_after(&bucket(), Reach::Way), Some(REFUSED_IN_A_ROW));
        let bucket = bucket();
        assert_eq!(said_after(&bucket, Reach::All), Some(1));
        assert!(bucket.is_shut());
        assert_eq!(said_after(&bucket, Reach::All), None);
    }

    #[test]
    fn of_folders_that_seem_to_be_refused_one_object_each_is_tried() {
        let bucket = bucket();
        for _ in 0..TRIED_ANYWAY {
            assert!(bucket.is_worth_a_try("a/0"));
            bucket.refused(Reach::Perhaps);
        }
        assert!(bucket.is_doubted() && !bucket.is_shut());
        let tries = ["a/1", "a/2", "b/1", "a/3"].map(|key| bucket.is_worth_a_try(key));
        assert_eq!(tries, [true, false, true, false]);
        bucket.granted();
        assert!(bucket.is_worth_a_try("a/4") && !bucket.is_doubted());
    }

    #[test]
    fn one_that_is_granted_shows_that_not_all_are_refused() {
        let bucket = bucket();
        bucket.granted();
        assert_eq!(said_after(&bucket, Reach::Perhaps), None);
        // The network may break down later.
        assert_eq!(said_after(&bucket, Reach::Way), Some(REFUSED_IN_A_ROW));
    }
}
