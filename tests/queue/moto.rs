//! The services of AWS joined as users join them, by a server that others wrote (`TRAILLOAD_TEST_S3`, started by
//! `scripts/test`), into a real engine: S3 → SQS, S3 → SNS → SQS, S3 → EventBridge → SQS, EventBridge → SQS.

use std::ops::Range;

use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::key;
use crate::engine::on_every_engine;
use crate::support::aws::sqs::from_event_bus;
use crate::support::aws::{KEY, SECRET};
use crate::support::events;
use crate::support::load::{Desk, Load, wait_for};
use crate::support::real::{Corner, Engine, given};

on_every_engine!(every_event_arrives_once_whatever_delivers_it);

const REGION: &str = "eu-west-1";

/// The account of everything there.
const OWNER: &str = "123456789012";

/// The services of one test; its name is part of all names.
struct Services {
    url: String,
    name: String,
    client: reqwest::Client,
    runtime: Runtime,
}

impl Services {
    fn new() -> Self {
        let url = given("TRAILLOAD_TEST_S3").trim_end_matches('/').to_owned();
        let name = format!("q{:012x}", fastrand::u64(..1 << 48));
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { url, name, client: reqwest::Client::new(), runtime }
    }

    /// Sends a request, signed for a service by name only.
    fn send(&self, service: &str, request: reqwest::RequestBuilder) -> String {
        let scope = format!("{KEY}/20240101/{REGION}/{service}/aws4_request");
        let signed =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        let (status, text) = self.runtime.block_on(async {
            let response = request.header("authorization", signed).send().await.unwrap();
            (response.status(), response.text().await.unwrap())
        });
        assert!(status.is_success(), "{service}: {status} {text}");
        text
    }

    /// Calls an API with the query protocol.
    fn call(&self, service: &str, form: &str) -> String {
        let request = self.client.post(&self.url).body(form.to_owned());
        self.send(service, request.header("content-type", "application/x-www-form-urlencoded"))
    }

    /// Calls EventBridge.
    fn event_bus(&self, action: &str, body: &Value) {
        let request = self.client.post(&self.url).body(body.to_string());
        let request = request.header("x-amz-target", format!("AWSEvents.{action}"));
        let answer =
            self.send("events", request.header("content-type", "application/x-amz-json-1.1"));
        let failed = serde_json::from_str::<Value>(&answer).unwrap_or_default();
        assert_eq!(failed["FailedEntryCount"].as_u64().unwrap_or(0), 0, "{answer}");
    }

    /// Puts something into a bucket, or a setting of it.
    fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        let url = format!("{}/{}-{path}", self.url, self.name);
        self.send("s3", self.client.put(url).body(body.into()));
    }

    /// Makes a queue, and returns its ARN.
    fn queue(&self, what: &str) -> String {
        let name = format!("{}-{what}", self.name);
        self.call("sqs", &format!("Action=CreateQueue&QueueName={name}"));
        format!("arn:aws:sqs:{REGION}:{OWNER}:{name}")
    }

    /// Makes a FIFO queue, and returns its ARN.
    fn fifo_queue(&self) -> String {
        let name = format!("{}.fifo", self.name);
        let attributes = [("FifoQueue", "true"), ("ContentBasedDeduplication", "true")];
        let attributes = (1..).zip(attributes).map(|(number, (name, value))| {
            format!("&Attribute.{number}.Name={name}&Attribute.{number}.Value={value}")
        });
        let attributes: String = attributes.collect();
        self.call("sqs", &format!("Action=CreateQueue&QueueName={name}{attributes}"));
        format!("arn:aws:sqs:{REGION}:{OWNER}:{name}")
    }

    /// Sends a message of a group.
    fn send_to_group(&self, queue: &str, group: &str, body: &Value) {
        let name = queue.rsplit(':').next().unwrap();
        let body: String =
            url::form_urlencoded::byte_serialize(body.to_string().as_bytes()).collect();
        let url = format!("{}/{OWNER}/{name}", self.url);
        let form =
            format!("Action=SendMessage&QueueUrl={url}&MessageGroupId={group}&MessageBody={body}");
        self.call("sqs", &form);
    }

    /// Makes a bucket whose notifications have this configuration.
    fn bucket(&self, what: &str, notifications: &str) {
        let place = format!(
            "<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
        );
        self.put(what, place);
        let all = format!("<NotificationConfiguration>{notifications}</NotificationConfiguration>");
        self.put(&format!("{what}?notification"), all);
    }

    /// Delivers events that match a pattern to a queue.
    fn rule(&self, what: &str, pattern: &Value, queue: &str) {
        let name = format!("{}-{what}", self.name);
        self.event_bus("PutRule", &json!({ "Name": name, "EventPattern": pattern.to_string() }));
        let targets = json!([{ "Id": "1", "Arn": queue }]);
        self.event_bus("PutTargets", &json!({ "Rule": name, "Targets": targets }));
    }

    /// Puts log files of three events each.
    fn log_files(&self, what: &str, numbers: Range<usize>) {
        for start in numbers.step_by(3) {
            let body = events::gzip(&events::records(&events::events(start..start + 3)));
            self.put(&format!("{what}/{}", key(&format!("{start}+ ü")).replace(' ', "%20")), body);
        }
    }

    /// Returns the number of messages in a queue, visible or not.
    fn left(&self, queue: &str) -> usize {
        let name = queue.rsplit(':').next().unwrap();
        let url = format!("{}/{OWNER}/{name}", self.url);
        let form = format!("Action=GetQueueAttributes&QueueUrl={url}&AttributeName.1=All");
        let answer = self.call("sqs", &form);
        let count = |attribute: &str| {
            let rest = answer.split_once(&format!("<Name>{attribute}</Name>")).unwrap().1;
            let value = rest.split_once("<Value>").unwrap().1.split('<').next().unwrap();
            value.parse::<usize>().unwrap()
        };
        count("ApproximateNumberOfMessages") + count("ApproximateNumberOfMessagesNotVisible")
    }

    fn load(&self, desk: &Desk, words: &[&str], to: &Corner) -> Load {
        desk.load_all(words, to.url())
            .with(to.index())
            .environment("AWS_ENDPOINT_URL", &self.url)
            .environment("AWS_EC2_METADATA_DISABLED", "true")
            .environment("AWS_ACCESS_KEY_ID", KEY)
            .environment("AWS_SECRET_ACCESS_KEY", SECRET)
            .environment("AWS_REGION", REGION)
    }
}

fn every_event_arrives_once_whatever_delivers_it(to: &Corner) {
    let services = Services::new();
    let queues = ["direct", "topic", "bus", "events"].map(|what| services.queue(what));
    let [direct, topic, bus, events] = &queues;
    services.bucket(
        "direct",
        &format!("<QueueConfiguration><Queue>{direct}</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration>"),
    );
    let arn = format!("arn:aws:sns:{REGION}:{OWNER}:{}", services.name);
    services.call("sns", &format!("Action=CreateTopic&Name={}", services.name));
    services.call("sns", &format!("Action=Subscribe&TopicArn={arn}&Protocol=sqs&Endpoint={topic}"));
    services.bucket(
        "topic",
        &format!("<TopicConfiguration><Topic>{arn}</Topic><Event>s3:ObjectCreated:*</Event></TopicConfiguration>"),
    );
    services.bucket("bus", "<EventBridgeConfiguration></EventBridgeConfiguration>");
    let bucket = json!({ "name": [format!("{}-bus", services.name)] });
    let created = json!({ "source": ["aws.s3"], "detail-type": ["Object Created"], "detail": { "bucket": bucket } });
    services.rule("bus", &created, bus);
    let source = format!("custom.{}", services.name);
    services.rule("events", &json!({ "source": [source] }), events);
    services.log_files("direct", 0..15);
    services.log_files("topic", 15..30);
    services.log_files("bus", 30..45);
    for number in 45..60 {
        let detail = events::event(number).to_string();
        let entry = json!({ "Source": source, "DetailType": "AWS API Call via CloudTrail", "Detail": detail });
        services.event_bus("PutEvents", &json!({ "Entries": [entry] }));
    }
    let desk = Desk::new();
    let sources: Vec<&str> = queues.iter().map(String::as_str).collect();
    services.load(&desk, &sources, to).run().exits(0).counted([60, 60, 0, 0]);
    to.refresh();
    assert_eq!((to.ids(), to.count()), (events::ids(0..60), 60));
    assert_eq!(queues.each_ref().map(|queue| services.left(queue)), [0; 4]);
}

#[test]
fn every_group_of_a_fifo_queue_is_loaded_once_and_new_messages_are_followed() {
    let to = &Corner::of(Engine::OpenSearch3);
    let services = Services::new();
    let queue = services.fifo_queue();
    let send = |numbers: Range<usize>| {
        for number in numbers {
            let group = ["a", "b", "c"][number % 3];
            services.send_to_group(&queue, group, &from_event_bus(&events::event(number)));
        }
    };
    send(0..25);
    // The service drops what is sent twice.
    send(0..10);
    let desk = Desk::new();
    services.load(&desk, &[&queue], to).run().exits(0).counted([25, 25, 0, 0]);
    assert_eq!(services.left(&queue), 0);
    let running = services.load(&desk, &[&queue, "--follow"], to).start();
    send(25..40);
    wait_for("an empty queue", || (services.left(&queue) == 0).then_some(()));
    running.signal("TERM");
    running.end().exits(4);
    to.refresh();
    assert_eq!((to.ids(), to.count()), (events::ids(0..40), 40));
}
