//! Trail buckets against a fake S3, through the real SDK client: what is found, fetched, and told.

mod faults;
mod finding;
mod newest;
mod scale;

use std::collections::BTreeMap;
use std::io::Read;

use jiff::Timestamp;
use trailload::event::{FinishedPartition, ListingSummary};
use trailload::source::s3::{Address, ClosedFolders, S3Options, S3Source};
use trailload::source::{Content, Error, Input, SourceEvent};

use crate::support::aws::s3::{Bucket, Fake};
use crate::support::sources::read;

/// When all of this happens.
const NOW: &str = "2024-03-15T12:00:00Z";

const ACCOUNT: &str = "123456789012";

/// One run over a bucket.
struct Run<'a> {
    fake: &'a Fake,
    words: Vec<&'a str>,
    options: S3Options,
    /// Lanes that are done, with their fingerprints.
    done: BTreeMap<String, String>,
    /// Prefixes that are closed, and what they looked like.
    closed: BTreeMap<String, ListingSummary>,
}

/// What a run told.
#[derive(Debug, Default)]
struct Told {
    /// Bodies by lane, with the fingerprint.
    inputs: BTreeMap<String, (String, Vec<u8>)>,
    done: usize,
    lost: BTreeMap<String, String>,
    closed: BTreeMap<String, ListingSummary>,
    /// Of those, how many inputs are left alone because they were closed before.
    known: BTreeMap<String, u64>,
    /// How many inputs were handed over below a prefix before it was said to be closed.
    before_closed: BTreeMap<String, u64>,
    skipped: Vec<String>,
    failed: Vec<String>,
    streams: usize,
    /// Why nothing more could be listed.
    error: Option<String>,
}

impl<'a> Run<'a> {
    fn new(fake: &'a Fake, word: &'a str) -> Self {
        let options = S3Options {
            region: "eu-west-1".to_owned(),
            accounts: Vec::new(),
            regions: Vec::new(),
            kinds: Vec::new(),
            from: None,
            to: None,
            late_days: 30,
            requester_pays: false,
            memory_bytes: 64 << 20,
            reload: false,
        };
        let (done, closed) = (BTreeMap::new(), BTreeMap::new());
        Self { fake, words: vec![word], options, done, closed }
    }

    /// What this run finished is done for the next one.
    fn after(mut self, told: &Told) -> Self {
        let inputs = told.inputs.iter();
        self.done.extend(inputs.map(|(key, (print, _))| (key.clone(), print.clone())));
        self
    }

    fn source(&self) -> S3Source {
        let words = self.words.iter().enumerate();
        let targets = words.map(|(number, word)| (number, Address::parse(word).unwrap())).collect();
        let (done, closed) = (self.done.clone(), self.closed.clone());
        let closed: ClosedFolders = Box::new(move |prefix| closed.get(prefix).copied());
        S3Source::new(
            targets,
            self.options.clone(),
            self.fake.clients(),
            Box::new(move |key| {
                let fingerprint = done.get(key).cloned()?;
                Some(FinishedPartition { fingerprint, is_foreign: false })
            }),
            closed,
            NOW.parse().unwrap(),
        )
    }

    fn run(&self) -> Told {
        let mut told = Told::default();
        let ended = read(self.source(), |_, found| {
            told.take(found);
            true
        });
        told.error = ended.err().map(|error| said(&error));
        told
    }
}

impl Told {
    fn take(&mut self, found: SourceEvent) {
        match found {
            SourceEvent::Input(Input { partition: lane, name, content, size, .. }) => {
                assert_eq!(lane.key, name);
                let body = match content {
                    Content::Memory(held) => held.bytes.to_vec(),
                    Content::Stream(mut stream) => {
                        self.streams += 1;
                        let mut body = Vec::new();
                        stream.read_to_end(&mut body).unwrap();
                        body
                    }
                    Content::File(path) => panic!("a file: {}", path.display()),
                };
                assert_eq!(body.len() as u64, size);
                let before = self.inputs.insert(lane.key, (lane.fingerprint, body));
                assert!(before.is_none(), "{name} came twice");
            }
            SourceEvent::AlreadyDone { .. } => self.done += 1,
            SourceEvent::Unreadable { name, why, .. } => {
                let before = self.lost.insert(name.clone(), why);
                assert!(before.is_none(), "{name} was lost twice");
            }
            SourceEvent::FolderComplete { prefix, listed, known } => {
                let below = self.inputs.keys().filter(|key| key.starts_with(&prefix));
                self.before_closed.insert(prefix.clone(), below.count() as u64);
                self.known.insert(prefix.clone(), known);
                self.closed.insert(prefix, listed);
            }
            SourceEvent::Skipped { name, why } => self.skipped.push(format!("{name}: {why}")),
            SourceEvent::Failed(error) => self.failed.push(said(&error)),
            other => panic!("no bucket says {other:?}"),
        }
    }

    /// Names of the inputs, without the bucket.
    fn keys(&self) -> Vec<&str> {
        self.inputs.keys().map(|key| key.strip_prefix("s3://trail/").unwrap()).collect()
    }
}

fn said(error: &Error) -> String {
    format!("{}: {}", error.subject(), error.describe())
}

/// Returns the key of a trail file.
fn key(kind: &str, region: &str, day: &str, minute: &str, random: &str) -> String {
    let date = day.replace('/', "");
    format!(
        "AWSLogs/{ACCOUNT}/{kind}/{region}/{day}/{ACCOUNT}_{kind}_{region}_{date}T{minute}Z_{random}.json.gz"
    )
}

/// Returns a bucket of files whose bodies are their names.
fn bucket_of<S: AsRef<str>>(keys: impl IntoIterator<Item = S>) -> Bucket {
    let mut bucket = Bucket::new();
    for key in keys {
        bucket.put(key.as_ref(), key.as_ref());
    }
    bucket
}

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}
