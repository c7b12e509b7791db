//! `sqs://` as a source: against a strict model of SQS, and against a server that others wrote.
//!
//! `delivered` shows every shape of a message, `left` what is not deleted and why, `faults` what SQS and S3 may do, `killed` and
//! `moments` that SIGKILL and SIGTERM cost nothing but work, `many` several processes on one queue, `fifo` groups of FIFO queues, `follow` a queue
//! that is followed, `recovery` one that cannot be read for a time, `memory` that memory is bounded, `moto` the services of AWS joined as
//! users join them.

mod access;
mod delivered;
mod faults;
mod fifo;
mod follow;
mod killed;
mod left;
mod many;
mod memory;
mod moments;
mod moto;
mod recovery;

use std::sync::Arc;

use serde_json::Value;

use crate::support::aws::s3::{Bucket, Fake, etag};
use crate::support::aws::server::Server;
use crate::support::aws::sqs::{FakeQueue, notification};
use crate::support::aws::sts::Sts;
use crate::support::aws::{ACCOUNT, KEY, SECRET, cloud};
use crate::support::engine::FakeEngine;
use crate::support::events;
use crate::support::load::{Desk, Load};

/// The address of the queue of every test.
const QUEUE: &str = "sqs://trail";

/// The bucket of every test.
const BUCKET: &str = "logs";

/// A queue, a bucket, an engine and a desk.
struct QueueWorld {
    queue: FakeQueue,
    s3: Fake,
    server: Server,
    engine: FakeEngine,
    desk: Desk,
}

impl QueueWorld {
    fn new() -> Self {
        let queue = FakeQueue::new();
        let server = cloud(&Arc::new(Sts::new()), vec![("sqs", queue.service())]);
        let s3 = Fake::start([(BUCKET, Bucket::new())]);
        Self { queue, s3, server, engine: FakeEngine::start(), desk: Desk::new() }
    }

    /// Prepares `trailload load` of these words.
    fn load(&self, words: &[&str]) -> Load {
        self.dressed(self.desk.load_all(words, self.engine.url()))
    }

    /// Lets a run find the services.
    fn dressed(&self, load: Load) -> Load {
        let services = self.environment().into_iter();
        services.fold(load, |load, (name, value)| load.environment(name, &value))
    }

    fn environment(&self) -> [(&'static str, String); 6] {
        [
            ("AWS_ENDPOINT_URL", self.server.url()),
            ("AWS_ENDPOINT_URL_S3", self.s3.url.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    /// Puts a log file of these events, and returns the notification about it.
    fn put(&self, name: &str, numbers: std::ops::Range<usize>) -> Value {
        self.put_events(name, &events::events(numbers))
    }

    /// Puts a log file of these events, and returns the notification about it.
    fn put_events(&self, name: &str, events: &[Value]) -> Value {
        let key = key(name);
        let body = events::gzip(&events::records(events));
        let notified = notification(&[(BUCKET, &key, body.len(), etag(&body).trim_matches('"'))]);
        self.s3.change(BUCKET, |bucket| bucket.put(&key, body.clone()));
        notified
    }

    /// Puts a log file of these events, and sends the notification about it.
    fn deliver(&self, name: &str, numbers: std::ops::Range<usize>) {
        self.queue.send(&self.put(name, numbers));
    }

    /// Returns the keys of the objects that were fetched since the last time.
    fn fetched(&self) -> Vec<String> {
        let calls = self.s3.take_calls().into_iter();
        calls
            .filter(|call| call.action == "GetObject" && call.status == 200)
            .map(|call| call.key)
            .collect()
    }
}

/// Returns the key of a trail's file.
fn key(name: &str) -> String {
    format!(
        "AWSLogs/{ACCOUNT}/CloudTrail/eu-central-1/2024/01/05/{ACCOUNT}_CloudTrail_eu-central-1_20240105T0005Z_{name}.json.gz"
    )
}
