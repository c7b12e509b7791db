//! A fake S3 in this process: a model strict enough to catch what the real one would refuse.
//!
//! In: HTTP requests, path style, on a free port of 127.0.0.1. Out: answers in S3's words, or one of the scripted
//! [`Fault`]s. What it was asked is read directly by the test.
//! Holds: keys sort by their bytes; a request that is signed for another Region than the bucket's is sent away;
//! a bucket may be a function of numbers, so that 440,000 keys take no memory.
//! Absent on purpose: signatures' mathematics, writing, versions.

mod listing;
mod serve;

use std::collections::{HashMap, VecDeque};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::config::{BehaviorVersion, Region, SharedCredentialsProvider};

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Asked too fast.
    SlowDown,
    /// This status and code, with this message.
    Refused(u16, &'static str, &'static str),
    /// The body ends after so many bytes, in good order.
    Cut(usize),
    /// The connection is reset before anything is answered.
    Reset,
    /// The answer begins only after this long.
    Late(Duration),
    /// Everything is sent, whatever part was asked for.
    Whole,
}

impl Fault {
    /// Encrypted with a key that may not be used.
    pub(crate) fn key_denied() -> Self {
        Self::Refused(
            403,
            "AccessDenied",
            "User: arn:aws:iam::123456789012:user/loader is not authorized to perform: kms:Decrypt on resource: \
             arn:aws:kms:eu-west-1:123456789012:key/4f5e because no identity-based policy allows the kms:Decrypt action",
        )
    }

    /// Moved into an archive.
    pub(crate) fn archived() -> Self {
        let said = "The operation is not valid for the object's storage class";
        Self::Refused(403, "InvalidObjectState", said)
    }

    /// Deleted after it was listed.
    pub(crate) fn deleted() -> Self {
        Self::Refused(404, "NoSuchKey", "The specified key does not exist.")
    }

    /// Not allowed.
    pub(crate) fn denied() -> Self {
        Self::Refused(403, "AccessDenied", "Access Denied")
    }
}

/// How a bucket sends away who asks in the wrong Region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Away {
    /// 301 `PermanentRedirect`, with the header.
    Redirect,
    /// 400 `AuthorizationHeaderMalformed`, with the header.
    Malformed,
    /// 301, and only an answer to HEAD has the header.
    Silent,
}

/// A bucket.
pub(crate) struct Bucket {
    pub(crate) region: &'static str,
    pub(crate) away: Away,
    pub(crate) requester_pays: bool,
    /// Prefixes that may not be listed.
    pub(crate) denied: Vec<String>,
    /// How long every answer takes.
    pub(crate) latency: Duration,
    /// More objects than this, asked for at once, are asked to slow down.
    pub(crate) most_at_once: usize,
    /// What happens to the next requests for a key, one after the other.
    pub(crate) faults: HashMap<String, VecDeque<Fault>>,
    /// What happens to every request for a key.
    pub(crate) always: HashMap<String, Fault>,
    /// What happens to the next lists.
    pub(crate) list_faults: VecDeque<Fault>,
    keys: Keys,
}

/// What is in a bucket.
enum Keys {
    /// Real objects, sorted.
    Real(Vec<Object>),
    /// Objects that are made up when they are asked for: how many, their names in order, and a body.
    Made(usize, Box<NameOf>, Box<BodyOf>),
}

/// An object: its key, its body, and when it was put.
type Object = (String, Arc<Vec<u8>>, &'static str);

/// When objects were put if nobody says it.
const MODIFIED: &str = "2024-01-05T00:05:00.000Z";

/// Names the object of a number.
type NameOf = dyn Fn(usize) -> String + Send;

/// Makes the body of the object of a name.
type BodyOf = dyn Fn(&str) -> Vec<u8> + Send;

impl Bucket {
    /// An empty bucket in eu-west-1.
    pub(crate) fn new() -> Self {
        Self::with(Keys::Real(Vec::new()))
    }

    /// A bucket of so many objects, by number, in the order of their keys.
    pub(crate) fn made(
        count: usize,
        key: impl Fn(usize) -> String + Send + 'static,
        body: impl Fn(&str) -> Vec<u8> + Send + 'static,
    ) -> Self {
        Self::with(Keys::Made(count, Box::new(key), Box::new(body)))
    }

    fn with(keys: Keys) -> Self {
        Self {
            region: "eu-west-1",
            away: Away::Redirect,
            requester_pays: false,
            denied: Vec::new(),
            latency: Duration::ZERO,
            most_at_once: usize::MAX,
            faults: HashMap::new(),
            always: HashMap::new(),
            list_faults: VecDeque::new(),
            keys,
        }
    }

    /// Puts an object, in the place of one of the same name.
    pub(crate) fn put(&mut self, key: &str, body: impl Into<Vec<u8>>) {
        self.put_at(key, body, MODIFIED);
    }

    /// Puts an object at a time, such as `2024-01-05T00:05:00.000Z`.
    pub(crate) fn put_at(&mut self, key: &str, body: impl Into<Vec<u8>>, at: &'static str) {
        let Keys::Real(objects) = &mut self.keys else { panic!("what is made up stays so") };
        let object = (key.to_owned(), Arc::new(body.into()), at);
        match objects.binary_search_by(|(known, ..)| known.as_str().cmp(key)) {
            Ok(at) => objects[at] = object,
            Err(at) => objects.insert(at, object),
        }
    }

    /// Takes an object away.
    pub(crate) fn delete(&mut self, key: &str) {
        let Keys::Real(objects) = &mut self.keys else { panic!("what is made up stays so") };
        objects.retain(|(known, ..)| known != key);
    }

    fn modified(&self, at: usize) -> &'static str {
        match &self.keys {
            Keys::Real(objects) => objects[at].2,
            Keys::Made(..) => MODIFIED,
        }
    }

    fn count(&self) -> usize {
        match &self.keys {
            Keys::Real(objects) => objects.len(),
            Keys::Made(count, ..) => *count,
        }
    }

    fn key(&self, at: usize) -> String {
        match &self.keys {
            Keys::Real(objects) => objects[at].0.clone(),
            Keys::Made(_, key, _) => key(at),
        }
    }

    /// Returns the number of the first key that is not before this one.
    fn position(&self, key: &str) -> usize {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.key(middle).as_str() < key { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn body_at(&self, at: usize, key: &str) -> Arc<Vec<u8>> {
        match &self.keys {
            Keys::Real(objects) => Arc::clone(&objects[at].1),
            Keys::Made(_, _, body) => Arc::new(body(key)),
        }
    }

    fn body(&self, key: &str) -> Option<Arc<Vec<u8>>> {
        let at = self.position(key);
        if at == self.count() || self.key(at) != key {
            return None;
        }
        Some(self.body_at(at, key))
    }
}

/// Returns what changes with a body.
pub(crate) fn etag(body: &[u8]) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in body {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("\"{hash:032x}\"")
}

/// One request that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// As policies and the SDK name it: `ListObjectsV2`, `GetObject`, `HeadObject`, `HeadBucket`, `GetBucketLocation`.
    pub(crate) action: &'static str,
    pub(crate) bucket: String,
    /// The key, or the prefix.
    pub(crate) key: String,
    pub(crate) status: u16,
}

#[derive(Default)]
struct State {
    buckets: HashMap<String, Bucket>,
    calls: Vec<Call>,
    /// What no client of S3 should send.
    complaints: Vec<String>,
    over: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Objects that are being asked for.
    under_way: AtomicUsize,
    connections: AtomicUsize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service.
pub(crate) struct Fake {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Fake {
    /// Starts it with these buckets.
    pub(crate) fn start(buckets: impl IntoIterator<Item = (&'static str, Bucket)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let buckets = buckets.into_iter().map(|(name, bucket)| (name.to_owned(), bucket)).collect();
        let shared = Arc::new(Shared {
            state: Mutex::new(State { buckets, ..State::default() }),
            under_way: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || serve::accept(&listener, &theirs));
        Self { url, shared }
    }

    /// Changes a bucket while it is served.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Bucket)) {
        change(self.shared.state().buckets.get_mut(name).unwrap());
    }

    /// Returns what was asked since the last time.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        let (calls, complaints) = self.take_all();
        assert_eq!(complaints, Vec::<String>::new());
        calls
    }

    /// Returns what was asked since the last time, and what no client of S3 should send.
    pub(crate) fn take_all(&self) -> (Vec<Call>, Vec<String>) {
        let mut state = self.shared.state();
        (std::mem::take(&mut state.calls), std::mem::take(&mut state.complaints))
    }

    /// Returns how many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Returns what makes clients for it.
    pub(crate) fn clients(&self) -> Box<dyn Fn(&str) -> aws_sdk_s3::Client + Send + Sync> {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let url = self.url.clone();
        Box::new(move |region| {
            let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
            let config = aws_sdk_s3::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .endpoint_url(&url)
                .force_path_style(true)
                .region(Region::new(region.to_owned()))
                .credentials_provider(SharedCredentialsProvider::new(credentials))
                .http_client(http.clone());
            aws_sdk_s3::Client::from_conf(config.build())
        })
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.state().over = true;
        // Wakes the one who accepts.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}
