//! A store that speaks S3 and is not AWS's (`TRAILLOAD_TEST_S3`, started by `scripts/test`): no STS, keys and pages as
//! somebody else makes them, and every layout of a bucket, from objects to an index.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Region, SharedCredentialsProvider};
use tokio::runtime::Runtime;

use super::ACCOUNT;
use crate::support::aws::server::{Response, Server};
use crate::support::aws::{KEY, SECRET};
use crate::support::engine::FakeEngine;
use crate::support::events;
use crate::support::load::{Desk, Load};
use crate::support::real::given;

/// Numbers the buckets of this process.
static BUCKETS: AtomicU32 = AtomicU32::new(0);

/// A bucket of the store that belongs to one test, and what it is loaded with.
pub(crate) struct Store {
    pub(crate) bucket: String,
    client: Client,
    runtime: Runtime,
    engine: FakeEngine,
    desk: Desk,
    /// Events put so far.
    events: AtomicU32,
}

impl Store {
    pub(crate) fn new() -> Store {
        let number = BUCKETS.fetch_add(1, Relaxed);
        let bucket = format!("trail-{}-{number}", std::process::id());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let credentials = Credentials::new(KEY, SECRET, None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(given("TRAILLOAD_TEST_S3"))
            .force_path_style(true)
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        let client = Client::from_conf(config.build());
        runtime.block_on(client.create_bucket().bucket(&bucket).send()).unwrap();
        let (engine, desk) = (FakeEngine::start(), Desk::new());
        Store { bucket, client, runtime, engine, desk, events: AtomicU32::new(0) }
    }

    /// Puts an object.
    fn put(&self, key: &str, body: Vec<u8>) {
        let request = self.client.put_object().bucket(&self.bucket).key(key).body(body.into());
        self.runtime.block_on(request.send()).unwrap();
    }

    /// Puts a gzip file of two events of its own.
    pub(crate) fn put_log(&self, key: &str) {
        let from = self.events.fetch_add(2, Relaxed) as usize;
        self.put(key, events::gzip(&events::records(&events::events(from..from + 2))));
    }

    /// Prepares a load, as a user of `MinIO` would: only the store's address is known, and nobody listens at AWS's.
    fn load(&self, words: &[&str]) -> Load {
        let words: Vec<String> =
            words.iter().map(|word| word.replace("BUCKET", &self.bucket)).collect();
        let load = self.desk.load_all(&words, self.engine.url());
        load.environment("AWS_ENDPOINT_URL_S3", &given("TRAILLOAD_TEST_S3"))
            .environment("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
            .environment("AWS_EC2_METADATA_DISABLED", "true")
            .environment("AWS_ACCESS_KEY_ID", KEY)
            .environment("AWS_SECRET_ACCESS_KEY", SECRET)
            .environment("AWS_REGION", "us-east-1")
    }

    /// Loads, and expects so many new documents.
    fn loads(&self, words: &[&str], created: u64) {
        self.load(words).run().exits(0).counted([created, created, 0, 0]);
        let all = self.events.load(Relaxed) as usize;
        assert!(self.engine.ids().is_subset(&events::ids(0..all)));
    }
}

/// Returns the key of a trail's file.
fn log(name: &str) -> String {
    format!(
        "AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/2024/03/01/{ACCOUNT}_CloudTrail_eu-west-1_20240301T1005Z_{name}.json.gz"
    )
}

#[test]
fn a_bucket_is_read_where_there_is_no_sts() {
    let store = Store::new();
    store.put_log(&log("a"));
    let run = store.load(&["s3://BUCKET"]).run().exits(0).counted([2, 2, 0, 0]);
    run.says([format!("access key {KEY}").as_str()]);
    // And where one answers that it does not know the key.
    let stranger = Server::start(|_| {
        Response::xml_error(403, "InvalidClientTokenId", "The security token is invalid")
    });
    store.put_log(&log("b").replace("2024/03/01", "2024/03/02"));
    let load = store.load(&["s3://BUCKET"]).environment("AWS_ENDPOINT_URL", &stranger.url());
    load.run().exits(0).counted([2, 2, 0, 0]);
    let seen = load.instead("doctor").run().exits(0);
    let credentials = format!("✓ credentials: access key {KEY}; its account is unknown (403");
    assert!(seen.stdout.contains(&credentials), "{}", seen.stdout);
}

#[test]
fn what_firehose_delivers_has_no_ending_and_is_read() {
    let store = Store::new();
    let hour = "2024/03/05/16/Firehose-LZA-1-2024-03-05-16";
    store.put_log(&format!("logs/{hour}-45-11-9c1e"));
    store.put_log(&format!("logs/{hour}-40-11-9c1d"));
    store.put_log("logs/2024/03/05/old.json.gz");
    store.loads(&["s3://BUCKET/logs/"], 6);
    store.loads(&["s3://BUCKET"], 0);
}

#[test]
fn every_trail_of_a_bucket_is_found() {
    let store = Store::new();
    let organization = "o-exampleorgid";
    for prefix in ["", "trail2/", "team/sub/", "prefix1/prefix2/", "o-exampleorgid/"] {
        store.put_log(&format!("{prefix}{}", log("a")));
        store.put_log(&format!(
            "{prefix}{}",
            log("b").replace("AWSLogs", &format!("AWSLogs/{organization}"))
        ));
        store.put(
            &format!("{prefix}AWSLogs/{ACCOUNT}/Config/eu-west-1/2024/3/1/x.json.gz"),
            b"no".to_vec(),
        );
    }
    let below = store.load(&["s3://BUCKET/team", "--dry-run"]).run().exits(0);
    assert_eq!(below.number("read"), 4);
    store.loads(&["s3://BUCKET"], 20);
}

#[test]
fn keys_may_hold_anything() {
    let store = Store::new();
    let names = [
        "a b",
        "a+b",
        "a%b",
        "a%20b",
        "a%2Bb",
        "a:b",
        "a'b\"c",
        "a&b<c>",
        "ä/ö ü",
        "日本",
        "a=b&c",
        "#a?b",
        "a\\b",
        "~a",
        "a;b,c",
        "(a)[b]{c}",
        "a@b$c!",
        "a*b",
        "a|b^c`d",
        "..a",
        "a\tb",
    ];
    for name in names {
        store.put_log(&format!("logs/{name}.json.gz"));
    }
    store.loads(&["s3://BUCKET/logs/"], 42);
    store.loads(&["s3://BUCKET/logs/"], 0);
}

#[test]
fn an_object_that_comes_to_an_old_day_is_loaded_by_the_next_run() {
    let store = Store::new();
    store.put_log(&log("a"));
    store.put_log(&log("b"));
    store.loads(&["s3://BUCKET"], 4);
    let again = store.load(&["s3://BUCKET"]).run().exits(0).counted([0, 0, 0, 0]);
    assert_eq!(again.of_sources("skipped"), 2);
    // Within the same second it cannot be told from the others by its time, and all of the day is read again.
    store.put_log(&log("c"));
    let run = store.load(&["s3://BUCKET"]).run().exits(0);
    assert_eq!((run.number("created"), run.of_sources("failed")), (2, 0));
    assert_eq!(run.of_sources("done") + run.of_sources("skipped"), 3);
    let last = store.load(&["s3://BUCKET"]).run().exits(0).counted([0, 0, 0, 0]);
    assert_eq!(last.of_sources("skipped"), 3);
    assert_eq!(store.engine.ids(), events::ids(0..6));
}
