//! A queue that cannot be read for a time, while other sources are followed: it is tried again, and nothing is read twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::{Client, Config};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use trailload::event::PartitionResult;
use trailload::report::log::{LogFormat, Verbosity};
use trailload::report::{Log, Metrics};
use trailload::shutdown::{ShutdownLevel, ShutdownTrigger, shutdown_channel};
use trailload::source::queue::{
    MessageDeletion, MessageOrder, QueueAddress, QueueClient, QueueMode, QueueOptions, QueueReport,
    QueueResources,
};
use trailload::source::{EventReceiver, QueueSource, Source as _, SourceEvent, event_channel};

use super::{QUEUE, QueueWorld};
use crate::support::aws::sqs::from_event_bus;
use crate::support::aws::{KEY, SECRET};
use crate::support::events::event;
use crate::support::load::wait_for;

/// How SQS refuses an action, with another cause each time.
const REFUSALS: [(u16, &str, &str); 2] = [
    (403, "AccessDeniedException", "Access to the resource is denied."),
    (400, "KmsAccessDenied", "The ciphertext refers to a key that you may not use."),
];

/// A source that follows a queue among others.
struct Following {
    runtime: Runtime,
    events: EventReceiver,
    acknowledger: JoinHandle<QueueReport>,
    trigger: ShutdownTrigger,
    /// How often each message was read.
    read: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Following {
    fn start(world: &QueueWorld) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(world.server.url())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new(KEY, SECRET, None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        let client = Client::from_conf(config.build());
        let address = QueueAddress::parse(QUEUE).unwrap();
        let opening = QueueClient::open(client, &address, "us-east-1", None);
        let resources = QueueResources {
            queue: runtime.block_on(opening).unwrap(),
            s3: world.s3.clients(),
            finished: Box::new(|_| None),
            log: Log::plain(LogFormat::Text, Verbosity::Quiet, jiff::Timestamp::now),
            metrics: Arc::new(Metrics::new([QUEUE.to_owned()])),
        };
        let options = QueueOptions {
            source_number: 0,
            name: QUEUE.to_owned(),
            mode: QueueMode::FollowAmongOthers,
            deletion: MessageDeletion::Settled,
            order: MessageOrder::Any,
            visibility: Some(Duration::from_mins(5)),
            memory_bytes: 64 << 20,
            region: "us-east-1".to_owned(),
            requester_pays: false,
            recovery_interval: Duration::from_millis(100),
        };
        let (source, acknowledger) = QueueSource::new(resources, options);
        let (trigger, shutdown) = shutdown_channel();
        let (sender, events) = event_channel();
        runtime.spawn(Box::new(source).run(sender, shutdown.clone()));
        let acknowledger = runtime.spawn(acknowledger.run(shutdown));
        let (read, failures) = (BTreeMap::new(), Vec::new());
        Self { runtime, events, acknowledger, trigger, read, failures }
    }

    /// Handles events until that is enough.
    fn follow_until(&mut self, is_enough: impl Fn(&Self) -> bool) {
        wait_for("events of the queue", || {
            while let Some(batch) = self
                .runtime
                .block_on(async {
                    tokio::time::timeout(Duration::from_millis(20), self.events.recv()).await
                })
                .ok()
                .flatten()
            {
                for (_, event) in batch {
                    match event {
                        SourceEvent::Input(input) => {
                            *self.read.entry(input.name).or_default() += 1;
                            input.result.unwrap().send(PartitionResult::Complete);
                        }
                        SourceEvent::Failed(error) => self.failures.push(error.describe()),
                        _ => {}
                    }
                }
            }
            is_enough(self).then_some(())
        });
    }

    fn end(self) -> QueueReport {
        drop(self.events);
        self.trigger.raise(ShutdownLevel::Draining);
        self.runtime.block_on(self.acknowledger).unwrap()
    }
}

fn send(world: &QueueWorld, numbers: std::ops::Range<usize>) {
    numbers.for_each(|number| world.queue.send(&from_event_bus(&event(number))));
}

#[test]
fn a_queue_is_read_again_once_that_is_allowed_and_each_cause_is_reported_once() {
    for action in ["ReceiveMessage", "DeleteMessageBatch"] {
        let world = QueueWorld::new();
        let mut following = Following::start(&world);
        send(&world, 0..25);
        following.follow_until(|now| now.read.len() == 25);
        wait_for("an empty queue", || (world.queue.len() == 0).then_some(()));
        for (round, refusal) in REFUSALS.into_iter().enumerate() {
            world.queue.state().denied.insert(action, refusal);
            let (first, reports) = (25 + 10 * round, following.failures.len());
            send(&world, first..first + 10);
            following.follow_until(|now| now.failures.len() > reports);
            // It is tried more than once meanwhile.
            std::thread::sleep(Duration::from_millis(500));
            world.queue.state().denied.clear();
            following.follow_until(|now| now.read.len() == first + 10);
            wait_for("an empty queue", || {
                world.queue.expire_all();
                (world.queue.len() == 0).then_some(())
            });
            assert_eq!(following.failures.len(), reports + 1, "{:?}", following.failures);
        }
        assert!(following.read.values().all(|times| *times == 1), "{action}: {:?}", following.read);
        let report = following.end();
        assert!(report.fault.is_none(), "{report:?}");
        assert_eq!(report.counts.deleted, 45, "{action}");
        // Those whose deletion was refused were delivered again, and deleted then.
        let refused = if action == "DeleteMessageBatch" { 1..=20 } else { 0..=0 };
        assert!(refused.contains(&report.counts.undeleted), "{action}: {:?}", report.counts);
        world.queue.assert_no_complaints();
    }
}
