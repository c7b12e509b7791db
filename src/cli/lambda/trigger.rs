//! What invoked the function: the payload of an invocation, divided into messages.
//!
//! | from | messages | how they are answered |
//! |---|---|---|
//! | an SQS queue | one for each record | by the ids of those that failed |
//! | EventBridge, S3, SNS, CloudWatch Logs, a direct invocation | the payload | as a whole |
//! | a schedule of EventBridge | none: what is pending is delivered | as a whole |
//!
//! Input: JSON text. Output: a [`Trigger`].
//! Invariant: pure. Every record of an SQS batch is a message, so that each is answered; a payload that is not understood is one
//! message, which is foreign.
//! Not here: what a message contains (see [`source::message`](crate::source::message)).

use bytes::Bytes;
use serde::Deserialize;

/// What invoked the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// A batch of a queue: messages are answered one by one.
    Queue(Vec<QueueMessage>),
    /// Something that is retried as a whole: the payload.
    Whole(Bytes),
    /// A schedule.
    Schedule,
}

/// A message of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueMessage {
    /// The id by which it is answered.
    pub(super) id: String,
    /// The group whose messages are in order, if the queue is a FIFO queue. Those of standard queues have no order.
    pub(super) group: Option<String>,
    /// The body.
    pub(super) body: Bytes,
}

/// The members of a payload that tell what invoked the function.
#[derive(Deserialize)]
struct TriggerEvent {
    #[serde(rename = "Records")]
    records: Option<Vec<TriggerRecord>>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
    source: Option<String>,
}

/// A record of SQS, or of something else.
#[derive(Deserialize)]
struct TriggerRecord {
    #[serde(rename = "eventSource")]
    event_source: Option<String>,
    #[serde(rename = "messageId")]
    message_id: Option<String>,
    body: Option<String>,
    #[serde(rename = "eventSourceARN")]
    queue: Option<String>,
    attributes: Option<Attributes>,
}

/// The attributes of a message that are used.
#[derive(Deserialize)]
struct Attributes {
    #[serde(rename = "MessageGroupId")]
    group: Option<String>,
}

/// The sources of scheduled events: rules of EventBridge, and EventBridge Scheduler.
const SCHEDULES: [&str; 2] = ["aws.events", "aws.scheduler"];

/// The end of the names of FIFO queues.
const FIFO: &str = ".fifo";

impl Trigger {
    /// Divides a payload into messages.
    pub(super) fn parse(payload: &Bytes) -> Self {
        // A payload of another shape, such as records without text, is one message.
        let Ok(parsed) = serde_json::from_slice::<TriggerEvent>(payload) else {
            return Self::Whole(payload.clone());
        };
        if parsed.is_schedule() {
            return Self::Schedule;
        }
        let records = parsed.records.unwrap_or_default();
        queue_messages(&records).map_or_else(|| Self::Whole(payload.clone()), Self::Queue)
    }

    /// Returns the bodies of the messages.
    pub(super) fn bodies(&self) -> Vec<Bytes> {
        match self {
            Self::Queue(messages) => messages.iter().map(|message| message.body.clone()).collect(),
            Self::Whole(body) => vec![body.clone()],
            Self::Schedule => Vec::new(),
        }
    }

    /// Returns the name of a message in the log.
    pub(super) fn name(&self, message: usize) -> String {
        match self {
            Self::Queue(messages) => {
                let id = messages.get(message).map_or("", |message| message.id.as_str());
                format!("message {id}")
            }
            Self::Whole(_) | Self::Schedule => "event".to_owned(),
        }
    }
}

impl TriggerEvent {
    fn is_schedule(&self) -> bool {
        let is_from_schedule = |source: &str| SCHEDULES.contains(&source);
        self.detail_type.as_deref() == Some("Scheduled Event")
            && self.source.as_deref().is_some_and(is_from_schedule)
    }
}

impl TriggerRecord {
    /// Returns the group of a message of a FIFO queue.
    fn group(&self) -> Option<String> {
        self.queue.as_ref().filter(|queue| queue.ends_with(FIFO))?;
        let group = self.attributes.as_ref().and_then(|attributes| attributes.group.clone());
        Some(group.unwrap_or_default())
    }
}

/// Returns the messages of a queue, if all records are such.
fn queue_messages(records: &[TriggerRecord]) -> Option<Vec<QueueMessage>> {
    let messages = records.iter().map(|record| {
        (record.event_source.as_deref() == Some("aws:sqs")).then_some(())?;
        Some(QueueMessage {
            id: record.message_id.clone()?,
            group: record.group(),
            body: record.body.clone().unwrap_or_default().into(),
        })
    });
    messages.collect::<Option<Vec<_>>>().filter(|messages| !messages.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(payload: &Value) -> Trigger {
        Trigger::parse(&payload.to_string().into())
    }

    fn whole(payload: &Value) -> Trigger {
        Trigger::Whole(payload.to_string().into())
    }

    #[test]
    fn a_batch_of_a_queue_is_one_message_for_each_record() {
        let record = |id: &str, queue: &str, attributes: Value| {
            let queue = format!("arn:aws:sqs:eu-west-1:111122223333:{queue}");
            json!({
                "messageId": id, "receiptHandle": "h", "body": "{\"a\":\"\\u00e9\"}", "attributes": attributes,
                "messageAttributes": {}, "md5OfBody": "0", "eventSource": "aws:sqs",
                "eventSourceARN": queue, "awsRegion": "eu-west-1",
            })
        };
        // Groups of standard queues are for fairness, not for order.
        let standard = record("1", "trail", json!({ "MessageGroupId": "tenant" }));
        let fifo = record("2", "trail.fifo", json!({ "MessageGroupId": "g" }));
        let body = Bytes::from_static(b"{\"a\":\"\\u00e9\"}");
        let message = |id: &str, group: Option<&str>| QueueMessage {
            id: id.to_owned(),
            group: group.map(str::to_owned),
            body: body.clone(),
        };
        assert_eq!(
            parse(&json!({ "Records": [standard, fifo] })),
            Trigger::Queue(vec![message("1", None), message("2", Some("g"))])
        );
    }

    #[test]
    fn a_schedule_has_no_message() {
        for source in SCHEDULES {
            let event = json!({ "detail-type": "Scheduled Event", "source": source, "detail": {} });
            assert_eq!(parse(&event), Trigger::Schedule);
        }
        let forged = json!({ "detail-type": "Scheduled Event", "source": "mine", "detail": {} });
        assert_eq!(parse(&forged), whole(&forged));
    }

    #[test]
    fn everything_else_is_one_message() {
        for payload in [
            json!({ "version": "0", "detail-type": "AWS API Call via CloudTrail", "source": "aws.ec2", "detail": {} }),
            json!({ "Records": [{ "eventSource": "aws:s3", "s3": {} }] }),
            json!({ "Records": [{ "eventVersion": "1.11", "eventSource": "ec2.amazonaws.com" }] }),
            json!({ "Records": [{ "EventSource": "aws:sns", "Sns": { "Message": "{}" } }] }),
            json!({ "Records": [] }),
            json!({ "Records": [{ "eventSource": "aws:sqs", "messageId": "1", "body": "" }, { "eventSource": "aws:s3" }] }),
            json!({ "Records": [{ "eventSource": "aws:kinesis", "kinesis": { "data": "e30=" } }] }),
            json!({ "awslogs": { "data": "H4sI" } }),
            json!({}),
            json!([1]),
            json!("text"),
        ] {
            assert_eq!(parse(&payload), whole(&payload), "{payload}");
        }
        let broken = Bytes::from_static(b"{\"Records\":[");
        assert_eq!(Trigger::parse(&broken), Trigger::Whole(broken));
    }
}
