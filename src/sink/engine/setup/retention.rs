//! Which indices have expired, and their deletion.
//!
//! Input: a retention, and the current time. Output: the names of indices; deleted indices.
//! Invariant: only indices with the exact name of a period that has expired, and whose mapping names trailload, are deleted,
//! one by one and by their own names. The period that contains the current time never expires.

use jiff::Timestamp;

use super::{EngineSetup, Readable};
use crate::{
    normalize::{IndexBy, Retention},
    sink::{
        engine::{
            client::Method,
            inventory::ALL_INDICES,
            paths,
            reader::{OtherName, ReadableIndex, UNDATED},
        },
        error::Error,
    },
};

/// The indices that have expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionPlan {
    /// How long events are kept.
    pub retention: Retention,
    /// Indices that have expired, the oldest first.
    pub expired: Vec<ExpiredIndex>,
    /// What looks as if it had expired, or could not expire, and is not deleted.
    pub passed_over: Vec<PassedOver>,
    /// Number of the other indices of the prefix.
    pub kept: usize,
}

/// An index that has expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiredIndex {
    /// Its name.
    pub name: String,
    /// The end of its period.
    pub end: Timestamp,
}

/// An index, alias or data stream that is not deleted whatever its age is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// What it is, and its name.
    pub object: String,
    /// Why it is not deleted.
    pub reason: String,
}

/// Why it is not known which indices have expired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    /// The prefix has no index template.
    #[error("the index template, which records the period of an index, is missing")]
    NoTemplate,
    /// The index template of the prefix was created by another program.
    #[error("the index template was created by another program")]
    ForeignTemplate,
    /// All events are in one index.
    #[error("all events are in one index (--index-by none), which cannot be deleted in parts")]
    OneIndex,
    /// No retention is recorded in the engine, and none was given.
    #[error("no retention is set")]
    NoRetention,
    /// Indices or templates cannot be read, for this reason.
    #[error("{0}")]
    Unreadable(String),
}

/// What became of an expired index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It was deleted.
    Deleted,
    /// Somebody else had deleted it.
    Gone,
}

impl EngineSetup {
    /// Returns which indices have expired. Without a retention, the recorded one applies.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the engine does not respond. The inner error is the reason why it is not known.
    pub async fn expired_indices(
        &self,
        retention: Option<Retention>,
        now: Timestamp,
    ) -> Result<Result<RetentionPlan, RetentionError>, Error> {
        let (by, recorded) = match self.recorded().await? {
            Ok(recorded) => recorded,
            Err(error) => return Ok(Err(error)),
        };
        if by == IndexBy::None {
            return Ok(Err(RetentionError::OneIndex));
        }
        let Some(retention) = retention.or(recorded) else {
            return Ok(Err(RetentionError::NoRetention));
        };
        if let Err(reason) = self.check_readable().await? {
            return Ok(Err(RetentionError::Unreadable(reason)));
        }
        let Some(listed) = self.reader.indices().await? else {
            let reason = "this user may not list the indices".to_owned();
            return Ok(Err(RetentionError::Unreadable(reason)));
        };
        let prefix = self.reader.prefix();
        let mut plan =
            RetentionPlan { retention, expired: Vec::new(), passed_over: Vec::new(), kept: 0 };
        for index in listed.indices {
            let end = by.time_range(prefix, &index.name).and_then(|range| range.to);
            let has_expired = |name: &str| retention.has_expired(by, prefix, name, now);
            if let Some(end) = end.filter(|_| index.is_managed && has_expired(&index.name)) {
                plan.expired.push(ExpiredIndex { name: index.name, end });
            } else if let Some(passed) = passed_over(&index, by, prefix, has_expired) {
                plan.passed_over.push(passed);
            } else {
                plan.kept += 1;
            }
        }
        plan.passed_over.dedup();
        plan.expired.sort_by(|one, other| (one.end, &one.name).cmp(&(other.end, &other.name)));
        Ok(Ok(plan))
    }

    /// Checks that names and marks of indices can be read: without the marks, all indices look like those of other programs.
    async fn check_readable(&self) -> Result<Readable<()>, Error> {
        let patterns = self.reader.patterns();
        let names: Vec<&str> = patterns.split(',').collect();
        for path in [paths::settings(&names, &["index.uuid"]), paths::mapping(&names)] {
            let path = format!("{path}?filter_path=*.mappings._meta.managed_by&{ALL_INDICES}");
            if let Err(reason) = self.read(&path, "reading the indices").await? {
                return Ok(Err(reason));
            }
        }
        Ok(Ok(()))
    }

    /// Returns the recorded period of the indices, and the recorded retention.
    async fn recorded(
        &self,
    ) -> Result<Result<(IndexBy, Option<Retention>), RetentionError>, Error> {
        let found = match self.found_templates().await? {
            Ok(found) => found,
            Err(reason) => return Ok(Err(RetentionError::Unreadable(reason))),
        };
        let retention = found.setup().and_then(|setup| setup.retention);
        Ok(match found.index_by() {
            Some(by) => Ok((by, retention)),
            None if found.is_index_template_foreign() => Err(RetentionError::ForeignTemplate),
            None => Err(RetentionError::NoTemplate),
        })
    }

    /// Deletes an index.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if it may not be deleted.
    pub async fn delete_index(&self, index: &ExpiredIndex) -> Result<Deletion, Error> {
        let action = format!("deleting the index '{}'", index.name);
        let api = self.reader.api();
        let path = paths::index(&index.name);
        let deleting = api.send(Method::Delete, &path, None, &action);
        let response = self.unless_immediate(deleting).await?;
        match response.status {
            200..=299 => Ok(Deletion::Deleted),
            404 => Ok(Deletion::Gone),
            _ => Err(api.refused(&action, &response)),
        }
    }
}

/// Returns why an index that is not deleted is passed over, if its age is not the reason.
fn passed_over(
    index: &ReadableIndex,
    by: IndexBy,
    prefix: &str,
    has_expired: impl Fn(&str) -> bool,
) -> Option<PassedOver> {
    let name = &index.name;
    if has_expired(name) {
        let reason = "trailload did not create it, so it is not deleted".to_owned();
        return Some(PassedOver { object: format!("index '{name}'"), reason });
    }
    let expired = index.other_names.iter().find_map(|other| match other {
        OtherName::Alias(alias) if has_expired(alias) => Some(PassedOver {
            object: format!("alias '{alias}'"),
            reason: format!(
                "its index '{name}' has not expired by its own name, so it is not deleted"
            ),
        }),
        OtherName::DataStream(stream) if has_expired(stream) => Some(PassedOver {
            object: format!("data stream '{stream}'"),
            reason: "trailload writes to no data stream, so it is not deleted".to_owned(),
        }),
        OtherName::Alias(_) | OtherName::DataStream(_) => None,
    });
    let has_period = by.time_range(prefix, name).is_some();
    let is_undated = name.strip_prefix(prefix).is_some_and(|rest| rest == UNDATED);
    let is_strange = index.is_managed && !has_period && !is_undated;
    let strange = || PassedOver {
        object: format!("index '{name}'"),
        reason: format!("its name is not that of a {}, so it never expires", by.as_str()),
    };
    expired.or_else(|| is_strange.then(strange))
}
