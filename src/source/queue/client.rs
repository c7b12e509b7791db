//! Requests to one queue.
//!
//! Input: a client of the SDK, and the queue. Output: the responses as plain values, and [`QueueError`]s.
//! Invariant: a batch that is refused in part is reported entry by entry; no entry is forgotten.
//! Not here: when to send which request, and what to do about an error.

use aws_sdk_sqs::{
    Client,
    types::{
        BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
        DeleteMessageBatchRequestEntry, Message as SdkMessage, MessageSystemAttributeName,
        QueueAttributeName,
    },
};

use super::{
    address::QueueAddress,
    attributes::QueueAttributes,
    error::{QueueError, QueueRequest},
};
use crate::aws::AwsPartition;

/// Entries of a batch, and messages of a receive request: the limit of SQS.
pub(super) const MAX_BATCH: usize = 10;

/// [`MAX_BATCH`], as a receive request has it.
const MAX_MESSAGES: i32 = 10;

/// A queue that requests can be sent to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct QueueClient {
    client: Client,
    url: String,
    arn: String,
}

/// How messages are received.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveOptions {
    /// How long to wait for the first message, in seconds.
    pub(super) wait_seconds: u16,
    /// How long the messages are invisible to others, in seconds.
    pub(super) visibility_seconds: u32,
}

/// A message that was received.
#[derive(Clone, Debug)]
pub(super) struct ReceivedMessage {
    pub(super) id: String,
    /// What deletes this message, or changes its visibility. Another one each time the message is received.
    pub(super) receipt: String,
    pub(super) body: String,
    /// When it was sent, in milliseconds of the Unix epoch.
    pub(super) sent: Option<i64>,
    /// How often it was received, this time included.
    pub(super) receive_count: u32,
    /// The group whose messages a FIFO queue keeps in order. Those of standard queues have no order.
    pub(super) group: Option<String>,
}

/// An entry of a batch that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusedEntry {
    /// Its index in the batch.
    pub(super) index: usize,
    pub(super) code: String,
    pub(super) message: String,
    /// Whether the request was wrong; otherwise it may be repeated.
    pub(super) is_sender_fault: bool,
}

impl QueueClient {
    /// Returns the client for a queue. `region` is that of the client. Sends a request only for a name without an account.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the queue does not exist, or must not be looked up.
    pub async fn open(
        client: Client,
        address: &QueueAddress,
        region: &str,
        endpoint: Option<&str>,
    ) -> Result<Self, QueueError> {
        let partition = AwsPartition::from_region(region).unwrap_or(AwsPartition::Aws);
        let arn = address.arn(Some(region), partition);
        let url = match (&address.url, &address.account) {
            (Some(url), _) => url.to_string(),
            (None, Some(account)) => {
                let usual = format!("https://sqs.{region}.{}", partition.dns_suffix());
                let endpoint = endpoint.unwrap_or(&usual).trim_end_matches('/');
                format!("{endpoint}/{account}/{}", address.name)
            }
            (None, None) => {
                let request = QueueRequest { action: "sqs:GetQueueUrl", arn: &arn };
                let found = client.get_queue_url().queue_name(&address.name).send().await;
                let found = found.map_err(|error| QueueError::from_sdk(&error, request))?;
                found.queue_url.unwrap_or_default()
            }
        };
        // The account is known now.
        let arn = match QueueAddress::parse(&format!("sqs://{url}")) {
            Ok(found) => {
                QueueAddress { region: Some(region.to_owned()), ..found }.arn(None, partition)
            }
            Err(_) => arn,
        };
        Ok(Self { client, url, arn })
    }

    /// Returns the ARN, for messages.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    fn request(&self, action: &'static str) -> QueueRequest<'_> {
        QueueRequest { action, arn: &self.arn }
    }

    /// Requests the attributes of the queue.
    ///
    /// # Errors
    ///
    /// Returns [`QueueError`] if the request fails.
    pub async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let response = request.attribute_names(QueueAttributeName::All).send().await;
        let response = response.map_err(|error| {
            QueueError::from_sdk(&error, self.request("sqs:GetQueueAttributes"))
        })?;
        Ok(QueueAttributes::new(&response.attributes.unwrap_or_default()))
    }

    /// Receives up to [`MAX_BATCH`] messages.
    pub(super) async fn receive(
        &self,
        options: ReceiveOptions,
    ) -> Result<Vec<ReceivedMessage>, QueueError> {
        let ReceiveOptions { wait_seconds, visibility_seconds } = options;
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(MAX_MESSAGES)
            .wait_time_seconds(wait_seconds.into())
            .visibility_timeout(seconds(visibility_seconds))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::MessageGroupId);
        let response = request.send().await;
        let response = response
            .map_err(|error| QueueError::from_sdk(&error, self.request("sqs:ReceiveMessage")))?;
        let messages = response.messages.unwrap_or_default().into_iter();
        Ok(messages.filter_map(ReceivedMessage::from_sdk).collect())
    }

    /// Deletes messages by their receipts, at most [`MAX_BATCH`]. Returns those that were refused.
    pub(super) async fn delete(
        &self,
        receipts: &[String],
    ) -> Result<Vec<RefusedEntry>, QueueError> {
        // The builder fails only without a required member, and both are set.
        let entries = receipts.iter().enumerate().filter_map(|(index, receipt)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
            entry.receipt_handle(receipt).build().ok()
        });
        let request = self.client.delete_message_batch().queue_url(&self.url);
        let response = request.set_entries(Some(entries.collect())).send().await;
        let response = response
            .map_err(|error| QueueError::from_sdk(&error, self.request("sqs:DeleteMessage")))?;
        let done = response.successful.iter().map(|entry| entry.id.as_str());
        Ok(refused(receipts.len(), done, &response.failed))
    }

    /// Changes how long messages stay invisible from now on, at most [`MAX_BATCH`]. Returns those that were refused.
    pub(super) async fn change_visibility(
        &self,
        receipts: &[String],
        visibility_seconds: u32,
    ) -> Result<Vec<RefusedEntry>, QueueError> {
        let entries = receipts.iter().enumerate().filter_map(|(index, receipt)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(index.to_string());
            let entry = entry.receipt_handle(receipt);
            entry.visibility_timeout(seconds(visibility_seconds)).build().ok()
        });
        let request = self.client.change_message_visibility_batch().queue_url(&self.url);
        let response = request.set_entries(Some(entries.collect())).send().await;
        let response = response.map_err(|error| {
            QueueError::from_sdk(&error, self.request("sqs:ChangeMessageVisibility"))
        })?;
        let done = response.successful.iter().map(|entry| entry.id.as_str());
        Ok(refused(receipts.len(), done, &response.failed))
    }
}

impl ReceivedMessage {
    /// Returns the message, unless it lacks what every message has.
    fn from_sdk(message: SdkMessage) -> Option<Self> {
        let mut attributes = message.attributes.unwrap_or_default();
        let group = attributes.remove(&MessageSystemAttributeName::MessageGroupId);
        let number = |name| attributes.get(&name).and_then(|text| text.parse::<i64>().ok());
        let count = number(MessageSystemAttributeName::ApproximateReceiveCount);
        Some(Self {
            id: message.message_id?,
            receipt: message.receipt_handle?,
            body: message.body.unwrap_or_default(),
            sent: number(MessageSystemAttributeName::SentTimestamp),
            receive_count: count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
            group,
        })
    }
}

/// Returns the entries of a batch that were refused, also those about which the response has nothing.
fn refused<'a>(
    entries: usize,
    done: impl Iterator<Item = &'a str>,
    failed: &[BatchResultErrorEntry],
) -> Vec<RefusedEntry> {
    let done: Vec<usize> = done.filter_map(|id| id.parse().ok()).collect();
    let entry = |index: usize| {
        let found = failed.iter().find(|entry| entry.id.parse() == Ok(index));
        RefusedEntry {
            index,
            code: found.map_or("NoResult", |entry| &entry.code).to_owned(),
            message: found.and_then(|entry| entry.message.clone()).unwrap_or_default(),
            is_sender_fault: found.is_some_and(|entry| entry.sender_fault),
        }
    };
    (0..entries).filter(|index| !done.contains(index)).map(entry).collect()
}

fn seconds(seconds: u32) -> i32 {
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_has_a_result() {
        let failed = BatchResultErrorEntry::builder()
            .id("1")
            .code("ReceiptHandleIsInvalid")
            .sender_fault(true)
            .build()
            .unwrap();
        let refused = refused(4, ["0", "2"].into_iter(), &[failed]);
        let found: Vec<_> =
            refused.iter().map(|entry| (entry.index, entry.code.as_str())).collect();
        assert_eq!(found, [(1, "ReceiptHandleIsInvalid"), (3, "NoResult")]);
        assert!(refused[0].is_sender_fault && !refused[1].is_sender_fault);
    }
}
