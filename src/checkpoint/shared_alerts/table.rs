//! The table in DynamoDB.
//!
//! Input: keys, changes and claims. Output: requests, and their results.
//! Invariant: reads are strongly consistent, and every change is conditional, so that no process overwrites what another has decided.
//! Deliberately absent: waiting for a table that is throttled or not available (see `retry`).

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        transact_write_items::TransactWriteItemsError,
        update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    },
    types::{
        AttributeValue, CancellationReason, ConditionCheck, KeysAndAttributes, Put, ReturnValue,
        ReturnValuesOnConditionCheckFailure, TransactWriteItem,
    },
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::{
    address::AlertStateAddress,
    error::Error,
    items::{Attributes, EXPIRES, ItemKey, KEY, StoredItem, VERSION, number, of_action},
    store::{ClaimRequest, ClaimResult, Committed, ItemStore},
    view::{Changes, Write},
};
use crate::aws::{Clock, ErrorKind, ServiceError, Session};

/// Keys of one `BatchGetItem`.
const MAX_KEYS: usize = 100;

/// Codes of a change that did not take place because of another one.
const CONFLICTS: [&str; 4] = [
    "ConditionalCheckFailed",
    "TransactionConflict",
    "ConditionalCheckFailedException",
    "TransactionConflictException",
];

/// A table, and the session that uses it.
#[derive(Clone, Debug)]
pub struct DynamoTable {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) region: String,
    session: Session,
    clock: Clock,
}

impl DynamoTable {
    /// Creates the client of a table.
    pub fn new(address: &AlertStateAddress, session: &Session, clock: Clock) -> Self {
        let region = address.region.clone().unwrap_or_else(|| session.region());
        Self {
            client: session.dynamodb(&region),
            name: address.table.clone(),
            region,
            session: session.clone(),
            clock,
        }
    }

    pub(super) fn error<E>(
        &self,
        operation: &'static str,
        error: &SdkError<E, HttpResponse>,
    ) -> Error
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        self.failed(operation, ServiceError::from_sdk(error))
    }

    fn failed(&self, operation: &'static str, source: ServiceError) -> Error {
        Error::Request {
            table: self.name.clone(),
            region: self.region.clone(),
            operation,
            source: Box::new(source),
        }
    }

    fn decode(&self, attributes: &Attributes) -> Result<(ItemKey, StoredItem), Error> {
        StoredItem::decode(attributes).map_err(|cause| Error::InvalidItem {
            table: self.name.clone(),
            key: attributes.get(KEY).and_then(|key| key.as_s().ok()).cloned().unwrap_or_default(),
            cause,
        })
    }

    /// Returns an item of an update. One without what this version expects is as good as none.
    fn item(attributes: Option<&Attributes>) -> Option<StoredItem> {
        StoredItem::decode(attributes?).ok().map(|(_, item)| item)
    }

    /// Reads at most [`MAX_KEYS`] items.
    async fn read_some(
        &self,
        keys: &[ItemKey],
        items: &mut HashMap<ItemKey, StoredItem>,
    ) -> Result<(), Error> {
        const OPERATION: &str = "BatchGetItem";
        let mut builder = KeysAndAttributes::builder().consistent_read(true);
        for key in keys {
            builder = builder.keys(key_attributes(key));
        }
        let mut request = Some(builder.build().map_err(|error| self.invalid(OPERATION, &error))?);
        while let Some(keys) = request {
            let sent = self.client.batch_get_item().request_items(&self.name, keys).send().await;
            let response = sent.map_err(|error| self.error(OPERATION, &error))?;
            let before = items.len();
            let mut tables = response.responses.unwrap_or_default();
            for attributes in tables.remove(&self.name).unwrap_or_default() {
                let (key, item) = self.decode(&attributes)?;
                items.insert(key, item);
            }
            request = response.unprocessed_keys.and_then(|mut tables| tables.remove(&self.name));
            if request.is_some() && before == items.len() {
                // Nothing of it was read: the table is throttled.
                let message = "no item was read".to_owned();
                let source = ServiceError {
                    kind: ErrorKind::Throttled,
                    status: None,
                    code: None,
                    message,
                    request_id: None,
                };
                return Err(self.failed(OPERATION, source));
            }
        }
        Ok(())
    }

    fn invalid(&self, operation: &'static str, error: &dyn std::fmt::Display) -> Error {
        let source = ServiceError {
            kind: ErrorKind::InvalidRequest,
            status: None,
            code: None,
            message: error.to_string(),
            request_id: None,
        };
        self.failed(operation, source)
    }

    /// Writes a single item: half the price of a transaction.
    async fn put(&self, write: &Write, expires: i64) -> Result<Committed, Error> {
        let (condition, names, values) = condition(write.replaces);
        let request = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(write.item.encode(&write.key, expires)))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(values);
        match request.send().await {
            Ok(_) => Ok(Committed::Yes),
            Err(error) if is_conflict(error.code()) => Ok(Committed::Conflict),
            Err(error) => Err(self.error("PutItem", &error)),
        }
    }

    /// Returns an update of the item of an alert, with the owner of the lease of an action as `#owner` and `:owner`.
    fn update(&self, request: ClaimRequest<'_>) -> UpdateItemFluentBuilder {
        let ClaimRequest { key, action, owner, .. } = request;
        self.client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key_attributes(key)))
            .expression_attribute_names("#owner", of_action("owner", action))
            .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()))
    }

    async fn transact(&self, changes: &Changes, expires: i64) -> Result<Committed, Error> {
        const OPERATION: &str = "TransactWriteItems";
        let invalid = |error: &dyn std::fmt::Display| self.invalid(OPERATION, error);
        let mut request = self.client.transact_write_items();
        for write in &changes.writes {
            let put = Put::builder()
                .table_name(&self.name)
                .set_item(Some(write.item.encode(&write.key, expires)));
            let (condition, names, values) = condition(write.replaces);
            let put = put
                .condition_expression(condition)
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values(values)
                .build()
                .map_err(|error| invalid(&error))?;
            request = request.transact_items(TransactWriteItem::builder().put(put).build());
        }
        for (key, version) in &changes.unchanged {
            let (condition, names, values) = condition(*version);
            let check = ConditionCheck::builder()
                .table_name(&self.name)
                .set_key(Some(key_attributes(key)))
                .condition_expression(condition)
                .set_expression_attribute_names(Some(names))
                .set_expression_attribute_values(values)
                .build()
                .map_err(|error| invalid(&error))?;
            request =
                request.transact_items(TransactWriteItem::builder().condition_check(check).build());
        }
        match request.send().await {
            Ok(_) => Ok(Committed::Yes),
            Err(error) => self.transaction_failure(OPERATION, &error),
        }
    }

    /// Tells a conflict from an error by the reasons that the service returns for each item.
    fn transaction_failure(
        &self,
        operation: &'static str,
        error: &SdkError<TransactWriteItemsError, HttpResponse>,
    ) -> Result<Committed, Error> {
        let cancelled = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled,
            _ if is_conflict(error.code()) => return Ok(Committed::Conflict),
            _ => return Err(self.error(operation, error)),
        };
        let reasons = cancelled.cancellation_reasons();
        let codes = reasons.iter().filter_map(CancellationReason::code);
        let failure = codes.clone().find(|code| *code != "None" && !CONFLICTS.contains(code));
        let Some(code) = failure else { return Ok(Committed::Conflict) };
        let mut source = ServiceError::from_sdk(error);
        let is_throttled = matches!(
            code,
            "ThrottlingError" | "ProvisionedThroughputExceeded" | "RequestLimitExceeded"
        );
        if is_throttled {
            source.kind = ErrorKind::Throttled;
        }
        let about = reasons.iter().find(|reason| reason.code() == Some(code));
        if let Some(message) = about.and_then(CancellationReason::message) {
            message.clone_into(&mut source.message);
        }
        source.code = Some(code.to_owned());
        Err(self.failed(operation, source))
    }
}

impl ItemStore for DynamoTable {
    fn table(&self) -> &str {
        &self.name
    }

    fn now(&self) -> i64 {
        let ahead = self.session.clock_skew().unwrap_or_default();
        let now = self.clock.now().as_millisecond();
        now.saturating_sub(i64::try_from(ahead.as_millis()).unwrap_or(0))
    }

    async fn read(&self, keys: &[ItemKey]) -> Result<HashMap<ItemKey, StoredItem>, Error> {
        let mut items = HashMap::new();
        for keys in keys.chunks(MAX_KEYS) {
            self.read_some(keys, &mut items).await?;
        }
        Ok(items)
    }

    async fn commit(&self, changes: &Changes, expires: i64) -> Result<Committed, Error> {
        match (changes.writes.as_slice(), changes.unchanged.as_slice()) {
            ([], _) => Ok(Committed::Yes),
            ([write], []) => self.put(write, expires).await,
            _ => self.transact(changes, expires).await,
        }
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<ClaimResult, Error> {
        let ClaimRequest { key, action, until, expired_before, expires, .. } = request;
        let sent = self
            .update(request)
            .update_expression(
                "SET #owner = :owner, #until = :until, #expires = if_not_exists(#expires, :expires)",
            )
            .condition_expression(
                "attribute_not_exists(#delivered) AND \
                 (attribute_not_exists(#owner) OR #owner = :owner OR #until < :expired)",
            )
            .expression_attribute_names("#until", of_action("until", action))
            .expression_attribute_names("#delivered", of_action("delivered", action))
            .expression_attribute_names("#expires", EXPIRES)
            .expression_attribute_values(":until", number(until))
            .expression_attribute_values(":expired", number(expired_before))
            .expression_attribute_values(":expires", number(expires))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(response) => Ok(ClaimResult::Granted(Self::item(response.attributes.as_ref()))),
            Err(error) if is_conflict(error.code()) => {
                let refused = error.as_service_error().and_then(|error| match error {
                    UpdateItemError::ConditionalCheckFailedException(failed) => {
                        Self::item(failed.item())
                    }
                    _ => None,
                });
                let item = match refused {
                    Some(item) => Some(item),
                    // Services that resemble DynamoDB may not return it.
                    None => self.read(std::slice::from_ref(key)).await?.remove(key),
                };
                Ok(ClaimResult::Refused(item))
            }
            Err(error) => Err(self.error("UpdateItem", &error)),
        }
    }

    async fn mark_delivered(&self, request: ClaimRequest<'_>, at: i64) -> Result<(), Error> {
        let ClaimRequest { action, expires, .. } = request;
        let sent = self
            .update(request)
            .update_expression(
                "SET #owner = :owner, #delivered = if_not_exists(#delivered, :at), \
                 #expires = if_not_exists(#expires, :expires)",
            )
            .expression_attribute_names("#delivered", of_action("delivered", action))
            .expression_attribute_names("#expires", EXPIRES)
            .expression_attribute_values(":at", number(at))
            .expression_attribute_values(":expires", number(expires))
            .send()
            .await;
        sent.map(drop).map_err(|error| self.error("UpdateItem", &error))
    }

    async fn release(&self, request: ClaimRequest<'_>) -> Result<(), Error> {
        let action = request.action;
        let sent = self
            .update(request)
            .update_expression("SET #until = :ended")
            .condition_expression("#owner = :owner")
            .expression_attribute_names("#until", of_action("until", action))
            .expression_attribute_values(":ended", number(0))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(()),
            // The lease is that of another process already.
            Err(error) if is_conflict(error.code()) => Ok(()),
            Err(error) => Err(self.error("UpdateItem", &error)),
        }
    }
}

fn is_conflict(code: Option<&str>) -> bool {
    code.is_some_and(|code| CONFLICTS.contains(&code))
}

pub(super) fn key_attributes(key: &ItemKey) -> Attributes {
    [(KEY.to_owned(), AttributeValue::S(key.0.clone()))].into()
}

/// Returns the condition that an item has a version, or does not exist.
fn condition(
    version: Option<u64>,
) -> (&'static str, HashMap<String, String>, Option<HashMap<String, AttributeValue>>) {
    match version {
        None => ("attribute_not_exists(#key)", [("#key".to_owned(), KEY.to_owned())].into(), None),
        Some(version) => (
            "#version = :version",
            [("#version".to_owned(), VERSION.to_owned())].into(),
            Some([(":version".to_owned(), number(version))].into()),
        ),
    }
}
