//! Alerts to SNS topics of moto, read from SQS queues that subscribe to them.

use std::{future::Future, sync::Arc, time::Duration};

use aws_credential_types::Credentials;
use serde_json::Value;
use trailload::{
    aws::{Clock, Session, SessionOptions},
    sink::alert::{Receiver, ReceiverContext, RetryAdvice},
};

use super::{context, deliver, event, hostile_event, hostile_texts, message, receiver_in};
use crate::support::{
    aws::{
        KEY, Service, cloud, given as given_credentials, options,
        server::{Response, Server},
        sts::Sts,
    },
    real::given,
};

const REGION: &str = "eu-west-1";

/// What SNS answers to a message.
const PUBLISHED: &str = "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>\
     567910cd-659e-55d4-8ccb-5aaf14679dc0</MessageId></PublishResult></PublishResponse>";

async fn session() -> Session {
    let mut options = SessionOptions::new(Clock::new(jiff::Timestamp::now));
    options.region = Some(REGION.to_owned());
    options.credentials =
        Some(given_credentials(Credentials::new("AKIAIOSFODNN7EXAMPLE", "x", None, None, "test")));
    options.timeouts.initial_backoff = Duration::from_millis(10);
    Session::load(&options).await.unwrap()
}

/// A topic with a queue behind it.
struct Topic {
    url: String,
    arn: String,
    queue: String,
}

impl Topic {
    async fn create(name: &str, is_fifo: bool) -> Self {
        let url = given("TRAILLOAD_TEST_S3");
        let suffix = if is_fifo { ".fifo" } else { "" };
        let name = format!("{name}-{:x}{suffix}", fastrand::u64(..));
        let fifo = if is_fifo {
            "&Attributes.entry.1.key=FifoTopic&Attributes.entry.1.value=true"
        } else {
            ""
        };
        let topic = call(&url, "sns", &format!("Action=CreateTopic&Name={name}{fifo}")).await;
        let fifo = if is_fifo { "&Attribute.1.Name=FifoQueue&Attribute.1.Value=true" } else { "" };
        let queue = call(&url, "sqs", &format!("Action=CreateQueue&QueueName={name}{fifo}")).await;
        let arn = between(&topic, "<TopicArn>", "</TopicArn>");
        let queue = between(&queue, "<QueueUrl>", "</QueueUrl>");
        let queue_arn = format!("arn:aws:sqs:{REGION}:123456789012:{name}");
        let subscribe = format!(
            "Action=Subscribe&TopicArn={arn}&Protocol=sqs&Endpoint={queue_arn}&Attributes.entry.1.key=RawMessageDelivery&Attributes.entry.1.value=true"
        );
        call(&url, "sns", &subscribe).await;
        Self { url, arn, queue }
    }

    /// Returns the messages that have arrived.
    async fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            let receive = format!(
                "Action=ReceiveMessage&QueueUrl={}&MaxNumberOfMessages=10&MessageAttributeName.1=All",
                self.queue
            );
            let answer = call(&self.url, "sqs", &receive).await;
            let bodies: Vec<String> = answer
                .split("<Body>")
                .skip(1)
                .map(|rest| rest.split("</Body>").next().unwrap_or_default().to_owned())
                .collect();
            if bodies.is_empty() {
                return messages;
            }
            messages.extend(bodies);
            for handle in answer.split("<ReceiptHandle>").skip(1) {
                let handle = handle.split("</ReceiptHandle>").next().unwrap_or_default();
                call(
                    &self.url,
                    "sqs",
                    &format!(
                        "Action=DeleteMessage&QueueUrl={}&ReceiptHandle={}",
                        self.queue,
                        encoded(handle)
                    ),
                )
                .await;
            }
        }
    }

    async fn receiver(&self, more: &str) -> Receiver {
        let context = ReceiverContext { session: Some(session().await), ..context() };
        receiver_in(
            &format!(
                "a: {{kind: sns, topic_arn: \"{}\", endpoint: \"{}\"{more}}}",
                self.arn, self.url
            ),
            &context,
        )
    }
}

fn between(text: &str, start: &str, end: &str) -> String {
    let rest = text.split_once(start).unwrap_or_else(|| panic!("{start} is not in {text}")).1;
    rest.split(end).next().unwrap_or_default().to_owned()
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Calls an API with the query protocol.
fn call(url: &str, service: &str, form: &str) -> impl Future<Output = String> + use<> {
    let scope = format!("AKIAIOSFODNN7EXAMPLE/20261127/{REGION}/{service}/aws4_request");
    let request = reqwest::Client::new()
        .post(url)
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"),
        )
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.to_owned());
    async move { request.send().await.unwrap().text().await.unwrap() }
}

#[tokio::test]
async fn a_topic_gets_text_for_people_or_json_for_programs() {
    let topic = Topic::create("alerts", false).await;
    deliver(&topic.receiver("").await, &message(1, &event())).await.unwrap();
    let text = topic.messages().await.remove(0);
    for part in
        ["[high] ec2.amazonaws.com", "user/alice", "trailload search --match", "cloudtrailv2"]
    {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    deliver(&topic.receiver(", format: json").await, &message(1, &event())).await.unwrap();
    let body = topic.messages().await.remove(0).replace("&quot;", "\"").replace("&amp;", "&");
    let json: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    assert_eq!(json["event"]["eventName"], "AuthorizeSecurityGroupIngress");
}

#[tokio::test]
async fn a_topic_accepts_any_event() {
    for is_fifo in [false, true] {
        let topic = Topic::create("alerts", is_fifo).await;
        for format in ["", ", format: json"] {
            let receiver = topic.receiver(format).await;
            for (number, text) in hostile_texts().into_iter().enumerate() {
                let number = number as u64 + u64::from(!format.is_empty()) * 100;
                let delivered = deliver(&receiver, &message(number, &hostile_event(&text))).await;
                assert_eq!(delivered, Ok(()), "{number} {is_fifo}");
            }
        }
    }
}

#[tokio::test]
async fn a_fifo_topic_drops_repetitions() {
    let topic = Topic::create("alerts", true).await;
    let receiver = topic.receiver("").await;
    for number in [1, 1, 2, 1, 2] {
        deliver(&receiver, &message(number, &event())).await.unwrap();
    }
    assert_eq!(topic.messages().await.len(), 2);
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_not_tried_again() {
    let url = given("TRAILLOAD_TEST_S3");
    let topic = Topic {
        arn: format!("arn:aws:sns:{REGION}:123456789012:none-{:x}", fastrand::u64(..)),
        url,
        queue: String::new(),
    };
    let error = deliver(&topic.receiver("").await, &message(1, &event())).await.unwrap_err();
    assert_eq!(error.retry, RetryAdvice::Never, "{error}");
    assert!(error.cause.contains("404") && error.cause.contains("check `topic_arn`"), "{error}");
}

#[tokio::test]
async fn a_topic_of_another_account_gets_messages_of_the_role_that_is_assumed() {
    let sts = Arc::new(Sts::new());
    let role = "arn:aws:iam::444455556666:role/publish-alerts";
    sts.role(role, Some("agreed"));
    let publish: Service = Box::new(|_| Response::xml(200, PUBLISHED));
    let server = cloud(&sts, vec![("sns", publish)]);
    let context = ReceiverContext {
        session: Some(Session::load(&options(&server)).await.unwrap()),
        ..context()
    };
    let yaml = |more: &str| {
        format!(
            "a: {{kind: sns, topic_arn: \"arn:aws:sns:{REGION}:444455556666:alerts\", endpoint: \"{}\", role_arn: \"{role}\"{more}}}",
            server.url()
        )
    };
    let receiver = receiver_in(&yaml(", external_id: agreed"), &context);
    for number in [1, 2] {
        deliver(&receiver, &message(number, &event())).await.unwrap();
    }
    let requests = server.requests();
    let by_action = |action: &str| {
        let found = requests.iter().filter(|request| request.action() == action);
        found.map(|request| request.access_key().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(by_action("AssumeRole"), [KEY], "the role is assumed once");
    let published = by_action("Publish");
    assert_eq!(published.len(), 2);
    assert!(published.iter().all(|key| key != KEY), "published with the keys of the role");
    assert!(
        requests
            .iter()
            .all(|request| request.service() != Some("sns") || request.region() == Some(REGION))
    );

    let error =
        deliver(&receiver_in(&yaml(""), &context), &message(3, &event())).await.unwrap_err();
    assert_eq!(error.retry, RetryAdvice::Never, "{error}");
    assert!(error.cause.contains(role) || error.cause.contains("AssumeRole"), "{error}");
}

#[tokio::test]
async fn a_missing_permission_is_named_and_an_outage_is_tried_again() {
    for (status, code, retry, cause) in [
        (403, "AuthorizationError", RetryAdvice::Never, "allow sns:Publish"),
        (400, "Throttling", RetryAdvice::Backoff, "Throttling"),
        (503, "ServiceUnavailable", RetryAdvice::Backoff, "503"),
        (400, "InvalidParameter", RetryAdvice::Never, "InvalidParameter"),
    ] {
        let server = Server::start(move |_| Response::xml_error(status, code, "no"));
        let topic = Topic {
            arn: format!("arn:aws:sns:{REGION}:123456789012:alerts"),
            url: server.url(),
            queue: String::new(),
        };
        let error = deliver(&topic.receiver("").await, &message(1, &event())).await.unwrap_err();
        assert_eq!(error.retry, retry, "{error}");
        assert!(error.cause.contains(cause), "{error}");
    }
}
