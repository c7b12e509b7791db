//! A fake SQS: queues with visibility, receipts that expire, redrive, duplicates and partial failures of batches.
//!
//! In: requests in the JSON protocol. Out: answers in SQS's words, and what was asked. A long poll of an empty queue takes
//! [`POLL`] instead of up to 20 seconds.
//! Holds: a message is invisible from its receipt until its time ends; a receipt is of no use once the message was received
//! again; a message that was received too often goes to the dead letters. A FIFO queue hands out nothing of a group of which a message
//! is invisible, and the messages of a group in order.
//! Absent on purpose: deduplication, sending by requests, signatures.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use super::{
    ACCOUNT, Service,
    server::{Request, Response},
};

/// How long an empty queue holds back its answer.
const POLL: Duration = Duration::from_millis(300);

/// Entries of a batch, and messages of a response.
const MOST: usize = 10;

/// What goes wrong with the next request of an action.
#[derive(Clone, Debug)]
pub(crate) enum QueueFault {
    /// This status and code, with this message.
    Refused(u16, &'static str, &'static str),
    /// Every other entry of the batch is refused, and may be sent again.
    HalfOfBatch,
    /// What was asked is done, but the connection is reset before the answer.
    DoneAndReset,
    /// What was asked is done, and the answer comes so much later.
    DoneAndLate(Duration),
}

/// A message.
#[derive(Clone, Debug)]
struct Message {
    body: String,
    /// Its group, in a FIFO queue.
    group: Option<String>,
    sent: i64,
    visible_at: Instant,
    receives: u32,
    /// The receipt that was given out last.
    receipt: Option<String>,
}

/// What a queue holds, and how it behaves.
#[derive(Debug)]
pub(crate) struct QueueState {
    messages: BTreeMap<u64, Message>,
    next: u64,
    /// That of a FIFO queue ends with `.fifo`.
    name: String,
    /// The bodies of messages that were received too often.
    pub(crate) dead: Vec<String>,
    pub(crate) max_receives: Option<u32>,
    pub(crate) visibility_seconds: u64,
    pub(crate) retention_seconds: u64,
    /// One of so many messages is delivered to two receivers at once; 0 for none.
    pub(crate) duplicate_every: u64,
    /// Whether messages are delivered in a random order.
    pub(crate) is_shuffled: bool,
    /// What happens to the next requests of an action, one after the other.
    pub(crate) faults: Vec<(&'static str, QueueFault)>,
    /// Actions that are always refused, with status, code and message.
    pub(crate) denied: BTreeMap<&'static str, (u16, &'static str, &'static str)>,
    pub(crate) exists: bool,
    /// Messages handed out, each time counted.
    pub(crate) received: u64,
    pub(crate) deleted: u64,
    /// Messages that were made visible at once.
    pub(crate) released: u64,
    /// Messages that were given more time.
    pub(crate) extended: u64,
    /// Whether a batch is refused for old receipts, as FIFO queues do.
    pub(crate) refuses_old_receipts: bool,
    /// What a request should not have asked.
    pub(crate) complaints: Vec<String>,
}

/// A queue of the name `trail`. Clones are the same queue.
#[derive(Clone, Debug)]
pub(crate) struct FakeQueue(Arc<Mutex<QueueState>>);

impl FakeQueue {
    /// The name of the queue.
    pub(crate) const NAME: &str = "trail";

    /// Makes an empty queue, set up as the documentation advises.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(QueueState {
            messages: BTreeMap::new(),
            next: 0,
            name: Self::NAME.to_owned(),
            dead: Vec::new(),
            max_receives: None,
            visibility_seconds: 300,
            retention_seconds: 1_209_600,
            duplicate_every: 0,
            is_shuffled: false,
            faults: Vec::new(),
            denied: BTreeMap::new(),
            exists: true,
            received: 0,
            deleted: 0,
            released: 0,
            extended: 0,
            refuses_old_receipts: false,
            complaints: Vec::new(),
        })))
    }

    /// Makes an empty FIFO queue, of the name `trail.fifo`.
    pub(crate) fn fifo() -> Self {
        let queue = Self::new();
        queue.state().name.push_str(".fifo");
        queue.state().refuses_old_receipts = true;
        queue
    }

    /// Locks the queue.
    pub(crate) fn state(&self) -> MutexGuard<'_, QueueState> {
        self.0.lock().unwrap()
    }

    /// Puts a message.
    pub(crate) fn send(&self, body: &(impl ToString + ?Sized)) {
        self.state().send(body.to_string(), None);
    }

    /// Puts a message of a group.
    pub(crate) fn send_to_group(&self, group: &str, body: &(impl ToString + ?Sized)) {
        self.state().send(body.to_string(), Some(group.to_owned()));
    }

    /// Returns the service, to be joined with others.
    pub(crate) fn service(&self) -> Service {
        let queue = self.clone();
        Box::new(move |request| queue.state().answer(request))
    }

    /// Takes all messages away.
    pub(crate) fn purge(&self) {
        self.state().messages.clear();
    }

    /// Makes every message visible, as if its time had passed.
    pub(crate) fn expire_all(&self) {
        let now = Instant::now();
        self.state().messages.values_mut().for_each(|message| message.visible_at = now);
    }

    /// Returns the number of messages, visible or not.
    pub(crate) fn len(&self) -> usize {
        self.state().messages.len()
    }

    /// Returns the bodies of all messages.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.state().messages.values().map(|message| message.body.clone()).collect()
    }

    /// Returns how often each message that is left was received.
    pub(crate) fn receives(&self) -> Vec<u32> {
        self.state().messages.values().map(|message| message.receives).collect()
    }

    /// Returns the number of messages that are invisible.
    pub(crate) fn in_flight(&self) -> usize {
        let now = Instant::now();
        self.state().messages.values().filter(|message| message.visible_at > now).count()
    }

    /// Fails if a request was not as SQS accepts it.
    pub(crate) fn assert_no_complaints(&self) {
        assert_eq!(self.state().complaints, Vec::<String>::new());
    }
}

impl QueueState {
    fn send(&mut self, body: String, group: Option<String>) {
        self.next += 1;
        let sent = jiff::Timestamp::now().as_millisecond();
        let visible_at = Instant::now();
        let message = Message { body, group, sent, visible_at, receives: 0, receipt: None };
        self.messages.insert(self.next, message);
    }

    fn answer(&mut self, request: &Request) -> Response {
        let action = request.action();
        if let Some((_, refused)) = self.denied.iter().find(|(name, _)| **name == action) {
            let (status, code, message) = *refused;
            return Response::json_error(status, code, message);
        }
        let place = self.faults.iter().position(|(name, _)| *name == action);
        let fault = place.map(|place| self.faults.remove(place).1);
        if let Some(QueueFault::Refused(status, code, message)) = fault {
            return Response::json_error(status, code, message);
        }
        if !self.exists {
            return missing();
        }
        let host = request.header("host").unwrap_or_default();
        let url = format!("http://{host}/{ACCOUNT}/{}", self.name);
        let body = request.json();
        if action == "GetQueueUrl" {
            return match body["QueueName"].as_str() {
                Some(name) if name == self.name => Response::json(200, &json!({ "QueueUrl": url })),
                _ => missing(),
            };
        }
        if body["QueueUrl"].as_str() != Some(&url) {
            return missing();
        }
        let response = match action.as_str() {
            "GetQueueAttributes" => self.attributes(),
            "ReceiveMessage" => self.receive(&body),
            "DeleteMessageBatch" => {
                self.batch(&body, fault.as_ref(), |queue, number, is_current, _| {
                    queue.delete(number, is_current);
                    Ok(())
                })
            }
            "ChangeMessageVisibilityBatch" => {
                self.batch(&body, fault.as_ref(), Self::change_visibility)
            }
            _ => Response::json_error(400, "UnknownOperationException", &action),
        };
        match fault {
            Some(QueueFault::DoneAndReset) => Response::reset(),
            Some(QueueFault::DoneAndLate(time)) => response.after(time),
            _ => response,
        }
    }

    fn attributes(&self) -> Response {
        let now = Instant::now();
        let in_flight = self.messages.values().filter(|message| message.visible_at > now).count();
        let mut attributes = json!({
            "QueueArn": format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{}", self.name),
            "VisibilityTimeout": self.visibility_seconds.to_string(),
            "MessageRetentionPeriod": self.retention_seconds.to_string(),
            "ApproximateNumberOfMessages": (self.messages.len() - in_flight).to_string(),
            "ApproximateNumberOfMessagesNotVisible": in_flight.to_string(),
            "ApproximateNumberOfMessagesDelayed": "0",
            "SqsManagedSseEnabled": "true",
        });
        if let Some(most) = self.max_receives {
            let target = format!("arn:aws:sqs:us-east-1:{ACCOUNT}:dead");
            let policy = json!({ "deadLetterTargetArn": target, "maxReceiveCount": most });
            attributes["RedrivePolicy"] = policy.to_string().into();
        }
        Response::json(200, &json!({ "Attributes": attributes }))
    }

    fn receive(&mut self, request: &Value) -> Response {
        let most = request["MaxNumberOfMessages"].as_u64().unwrap_or(1);
        let wait = request["WaitTimeSeconds"].as_u64().unwrap_or(0);
        let time = request["VisibilityTimeout"].as_u64().unwrap_or(self.visibility_seconds);
        if !(1..=MOST as u64).contains(&most) || wait > 20 || time > 43_200 {
            self.complaints.push(format!("ReceiveMessage {request}"));
        }
        let now = Instant::now();
        self.redrive(now);
        let invisible = self.messages.values().filter(|message| message.visible_at > now);
        let held: BTreeSet<String> =
            invisible.filter_map(|message| message.group.clone()).collect();
        let mut visible: Vec<u64> = self
            .messages
            .iter()
            .filter(|(_, message)| message.visible_at <= now)
            .filter(|(_, message)| !message.group.as_ref().is_some_and(|name| held.contains(name)))
            .map(|(number, _)| *number)
            .collect();
        if self.is_shuffled {
            fastrand::shuffle(&mut visible);
        }
        visible.truncate(usize::try_from(most).unwrap());
        let until = now + Duration::from_secs(time);
        let received: Vec<Value> =
            visible.into_iter().map(|number| self.hand_out(number, until)).collect();
        if received.is_empty() {
            // Without a wait, the answer comes at once.
            let time = if wait == 0 { Duration::ZERO } else { POLL };
            return Response::json(200, &json!({})).after(time);
        }
        Response::json(200, &json!({ "Messages": received }))
    }

    /// Moves what was received too often to the dead letters.
    fn redrive(&mut self, now: Instant) {
        let Some(most) = self.max_receives else { return };
        let due: Vec<u64> = self
            .messages
            .iter()
            .filter(|(_, message)| message.visible_at <= now && message.receives >= most)
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            let message = self.messages.remove(&number).unwrap();
            self.dead.push(message.body);
        }
    }

    fn hand_out(&mut self, number: u64, until: Instant) -> Value {
        let is_duplicate = self.duplicate_every > 0 && number.is_multiple_of(self.duplicate_every);
        let message = self.messages.get_mut(&number).unwrap();
        message.receives += 1;
        // The first time, it stays visible to others, as a server that did not hear of it may do.
        if !(is_duplicate && message.receives == 1) {
            message.visible_at = until;
        }
        let receipt = format!("{number}#{}", message.receives);
        message.receipt = Some(receipt.clone());
        self.received += 1;
        let mut attributes = json!({
            "SentTimestamp": message.sent.to_string(),
            "ApproximateReceiveCount": message.receives.to_string(),
        });
        if let Some(group) = &message.group {
            attributes["MessageGroupId"] = group.as_str().into();
        }
        json!({
            "MessageId": format!("00000000-0000-4000-8000-{number:012}"),
            "ReceiptHandle": receipt,
            "Body": message.body,
            "Attributes": attributes,
        })
    }

    /// Handles each entry of a batch.
    fn batch(
        &mut self,
        request: &Value,
        fault: Option<&QueueFault>,
        each: fn(&mut Self, u64, bool, &Value) -> Result<(), Value>,
    ) -> Response {
        let entries = request["Entries"].as_array().cloned().unwrap_or_default();
        let ids: BTreeSet<&str> = entries.iter().filter_map(|entry| entry["Id"].as_str()).collect();
        if entries.is_empty() || entries.len() > MOST || ids.len() != entries.len() {
            self.complaints.push(format!("batch {request}"));
        }
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            let id = &entry["Id"];
            if matches!(fault, Some(QueueFault::HalfOfBatch)) && index % 2 == 1 {
                failed.push(
                    json!({ "Id": id, "SenderFault": false, "Code": "InternalError", "Message": "try again" }),
                );
                continue;
            }
            let receipt = entry["ReceiptHandle"].as_str().unwrap_or_default().to_owned();
            let number = receipt.split('#').next().and_then(|number| number.parse().ok());
            let Some(number) = number else {
                failed.push(
                    json!({ "Id": id, "SenderFault": true, "Code": "ReceiptHandleIsInvalid" }),
                );
                continue;
            };
            let current = self.messages.get(&number).and_then(|message| message.receipt.as_ref());
            let is_current = current == Some(&receipt);
            if !is_current && self.refuses_old_receipts && self.messages.contains_key(&number) {
                failed.push(
                    json!({ "Id": id, "SenderFault": true, "Code": "InvalidParameterValue", "Message": "the receipt handle has expired" }),
                );
                continue;
            }
            match each(self, number, is_current, entry) {
                Ok(()) => successful.push(json!({ "Id": id })),
                Err(mut error) => {
                    error["Id"] = id.clone();
                    failed.push(error);
                }
            }
        }
        Response::json(200, &json!({ "Successful": successful, "Failed": failed }))
    }

    /// Deletes a message. An old receipt is accepted, and does nothing.
    fn delete(&mut self, number: u64, is_current: bool) {
        if is_current && self.messages.remove(&number).is_some() {
            self.deleted += 1;
        }
    }

    fn change_visibility(
        &mut self,
        number: u64,
        is_current: bool,
        entry: &Value,
    ) -> Result<(), Value> {
        let now = Instant::now();
        let seconds = entry["VisibilityTimeout"].as_u64().unwrap_or_default();
        let message = self.messages.get_mut(&number).filter(|message| message.visible_at > now);
        let Some(message) = message.filter(|_| is_current) else {
            return Err(
                json!({ "SenderFault": true, "Code": "MessageNotInflight", "Message": "not in flight" }),
            );
        };
        message.visible_at = now + Duration::from_secs(seconds);
        if seconds == 0 {
            self.released += 1;
        } else {
            self.extended += 1;
        }
        Ok(())
    }
}

fn missing() -> Response {
    Response::json_error(
        400,
        "com.amazonaws.sqs#QueueDoesNotExist",
        "The specified queue does not exist.",
    )
}

/// Returns a notification of S3 about new objects: bucket, key, size and `ETag` of each.
pub(crate) fn notification(objects: &[(&str, &str, usize, &str)]) -> Value {
    let records = objects.iter().map(|(bucket, key, size, etag)| {
        let encoded: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-west-1",
            "eventTime": "2024-01-05T00:05:00.000Z", "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": { "name": bucket, "arn": format!("arn:aws:s3:::{bucket}") },
                "object": { "key": encoded, "size": size, "eTag": etag, "sequencer": "0" },
            },
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

/// Returns a message of SNS, as a queue receives it.
pub(crate) fn from_topic(message: &Value) -> Value {
    let mut envelope = Map::new();
    for (name, value) in [
        ("Type", "Notification"),
        ("MessageId", "5e2b3f4a"),
        ("TopicArn", "arn:aws:sns:us-east-1:111122223333:trail"),
        ("Timestamp", "2024-01-05T00:05:01.000Z"),
    ] {
        envelope.insert(name.to_owned(), value.into());
    }
    envelope.insert("Message".to_owned(), message.to_string().into());
    Value::Object(envelope)
}

/// Returns an event as EventBridge delivers it.
pub(crate) fn from_event_bus(event: &Value) -> Value {
    json!({
        "version": "0", "id": "d3b5", "detail-type": "AWS API Call via CloudTrail", "source": "aws.ec2",
        "account": ACCOUNT, "time": event["eventTime"], "region": "eu-central-1", "resources": [],
        "detail": event,
    })
}
