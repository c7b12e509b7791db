//! Whether a table can be used.
//!
//! Input: a table. Output: what is wrong with it.
//! Invariant: nothing is written: the conditions of all changes are such that they are not fulfilled, which the table tells only to
//! those who may write.

use aws_sdk_dynamodb::types::{
    KeySchemaElement, KeyType, ScalarAttributeType, TableDescription, TableStatus, TimeToLiveStatus,
};

use super::{
    DynamoTable, Error,
    items::{EXPIRES, Item, ItemKey, KEY, RuleItem, StoredItem},
    store::{ClaimRequest, ItemStore as _},
    view::{Changes, Write},
};

/// The key of an item that never exists.
const ABSENT: &str = "rule/none";

/// What a check of a table has found.
#[derive(Debug)]
pub struct TableFinding {
    /// What was checked.
    pub subject: &'static str,
    /// What is wrong with it, if anything is.
    pub problem: Option<TableProblem>,
}

/// What is wrong with a table.
#[derive(Debug)]
pub enum TableProblem {
    /// A request failed.
    Failed(Error),
    /// A request for information that runs do not need failed.
    Unknown(Error),
    /// The table is being created, changed or deleted.
    NotActive(String),
    /// The key of the table is another than `id`, a text.
    WrongKey(String),
    /// Items do not expire.
    NoExpiry,
}

impl DynamoTable {
    /// Returns the name of the table and its Region.
    pub fn place(&self) -> String {
        format!("table {} in {}", self.name, self.region)
    }

    /// Checks the table, its expiry, and whether it can be read and written.
    pub async fn check(&self) -> Vec<TableFinding> {
        let mut findings =
            vec![TableFinding { subject: "exists with its key", problem: self.describe().await }];
        let is_missing = matches!(
            &findings[0].problem,
            Some(TableProblem::Failed(_) | TableProblem::NotActive(_) | TableProblem::WrongKey(_))
        );
        if is_missing {
            return findings;
        }
        findings.push(TableFinding { subject: "items expire", problem: self.expiry().await });
        let failed = |result: Result<(), Error>| result.err().map(TableProblem::Failed);
        let read = self.read(&[ItemKey(ABSENT.to_owned())]).await.map(drop);
        findings.push(TableFinding { subject: "can be read", problem: failed(read) });
        findings.push(TableFinding {
            subject: "can be written",
            problem: failed(self.try_write().await),
        });
        findings
    }

    async fn describe(&self) -> Option<TableProblem> {
        let sent = self.client.describe_table().table_name(&self.name).send().await;
        let description = match sent {
            Ok(response) => response.table?,
            Err(error) => {
                let error = self.error("DescribeTable", &error);
                let is_denied = error.problem() == super::Problem::AccessDenied;
                return Some(if is_denied {
                    TableProblem::Unknown(error)
                } else {
                    TableProblem::Failed(error)
                });
            }
        };
        let is_usable =
            |status: &TableStatus| matches!(status, TableStatus::Active | TableStatus::Updating);
        if let Some(status) = description.table_status().filter(|status| !is_usable(status)) {
            return Some(TableProblem::NotActive(status.as_str().to_owned()));
        }
        (!has_key(&description)).then(|| TableProblem::WrongKey(shown_key(&description)))
    }

    async fn expiry(&self) -> Option<TableProblem> {
        let sent = self.client.describe_time_to_live().table_name(&self.name).send().await;
        match sent {
            Ok(response) => {
                let expiry = response.time_to_live_description?;
                let is_on = matches!(
                    expiry.time_to_live_status(),
                    Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
                );
                let is_ours = is_on && expiry.attribute_name() == Some(EXPIRES);
                (!is_ours).then_some(TableProblem::NoExpiry)
            }
            Err(error) => Some(TableProblem::Unknown(self.error("DescribeTimeToLive", &error))),
        }
    }

    /// Asks for changes of items that do not exist.
    async fn try_write(&self) -> Result<(), Error> {
        let absent = ItemKey(ABSENT.to_owned());
        let item = StoredItem { item: Item::Rule(RuleItem::default()), version: 1 };
        let write = Write { key: absent.clone(), item, replaces: Some(1) };
        let unchanged = vec![(ItemKey(format!("{ABSENT}/either")), Some(1))];
        self.commit(&Changes { writes: vec![write.clone()], unchanged }, 0).await?;
        self.commit(&Changes { writes: vec![write], unchanged: Vec::new() }, 0).await?;
        self.release(ClaimRequest {
            key: &absent,
            action: "none",
            owner: "none",
            until: 0,
            expired_before: 0,
            expires: 0,
        })
        .await
    }
}

/// Returns whether the only key is the one that items have, a text.
fn has_key(table: &TableDescription) -> bool {
    let is_ours =
        |key: &KeySchemaElement| key.attribute_name() == KEY && *key.key_type() == KeyType::Hash;
    let is_text = table.attribute_definitions().iter().any(|attribute| {
        attribute.attribute_name() == KEY && *attribute.attribute_type() == ScalarAttributeType::S
    });
    matches!(table.key_schema(), [key] if is_ours(key)) && is_text
}

/// Returns the key of a table as text, such as `user (HASH, N), time (RANGE, S)`.
fn shown_key(table: &TableDescription) -> String {
    let kind_of = |name: &str| {
        let definitions = table.attribute_definitions().iter();
        definitions
            .filter(|attribute| attribute.attribute_name() == name)
            .map(|attribute| attribute.attribute_type().as_str())
            .next()
            .unwrap_or("?")
    };
    let keys = table.key_schema().iter().map(|key| {
        let name = key.attribute_name();
        format!("{name} ({}, {})", key.key_type().as_str(), kind_of(name))
    });
    keys.collect::<Vec<_>>().join(", ")
}
