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
        engine::{client::Method, inventory::ALL_INDICES, paths},
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
    /// Indices with the name of an expired period that trailload does not manage.
    pub foreign: Vec<String>,
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

/// Why it is not known which indices have expired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    /// The prefix has no index template of trailload.
    #[error("trailload has not loaded anything into this prefix")]
    NoTemplate,
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
            Ok(Some(recorded)) => recorded,
            Ok(None) => return Ok(Err(RetentionError::NoTemplate)),
            Err(reason) => return Ok(Err(RetentionError::Unreadable(reason))),
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
            RetentionPlan { retention, expired: Vec::new(), foreign: Vec::new(), kept: 0 };
        for index in listed.indices {
            let end = by.time_range(prefix, &index.name).and_then(|range| range.to);
            match end.filter(|_| retention.has_expired(by, prefix, &index.name, now)) {
                Some(end) if index.is_managed => {
                    plan.expired.push(ExpiredIndex { name: index.name, end });
                }
                Some(_) => plan.foreign.push(index.name),
                None => plan.kept += 1,
            }
        }
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

    /// Returns the recorded period of the indices, and the recorded retention. `None` without a template of trailload.
    async fn recorded(&self) -> Result<Readable<Option<(IndexBy, Option<Retention>)>>, Error> {
        let found = match self.found_templates().await? {
            Ok(found) => found,
            Err(reason) => return Ok(Err(reason)),
        };
        let retention = found.setup().and_then(|setup| setup.retention);
        Ok(Ok(found.index_by().map(|by| (by, retention))))
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
