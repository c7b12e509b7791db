//! Plans a search of an index: which indices are read, and with which query.
//!
//! Input: an engine, and what is searched for. Output: an [`IndexPlan`].
//! Invariant: the query of the plan finds every document whose event the search can find; it may find others, which the
//! search filters out itself.

use serde_json::Value;

use super::{
    IndexError,
    fields::{MappedFields, is_time_sortable},
    pushdown::{self, Pushdown},
};
use crate::{
    filter::query::Query,
    sink::{EngineReader, IndexNames, ReadableIndex, SearchQuery, UnreadableIndices},
};

/// The field that documents are sorted by.
const TIME: &str = "@timestamp";

/// Longest list of indices in the path of a request, in bytes: engines limit the first line of a request to 4 KiB, and the
/// names are escaped.
const MAX_NAMES_BYTES: usize = 2_000;

/// How an index is searched.
#[derive(Clone, Debug)]
pub struct IndexPlan {
    /// The engine.
    pub(super) reader: EngineReader,
    /// What the engine searches for.
    pub(super) search: SearchQuery,
    /// The same without conditions, if the engine refuses them.
    pub(super) unconditional: Value,
    /// Names of indices that are closed.
    pub(super) closed: Vec<String>,
    /// The indices that are read, if known.
    open: Option<Vec<ReadableIndex>>,
    pushdown: Pushdown,
}

impl IndexPlan {
    /// Plans a search. Asks the engine for its indices and for the mappings of the fields of the query.
    ///
    /// # Errors
    ///
    /// Returns [`IndexError`] if there is no index of the prefix, or if the engine does not respond.
    pub async fn new(reader: EngineReader, query: &Query) -> Result<Self, IndexError> {
        let Some(names) = reader.indices().await? else {
            // Nothing is known about the mappings, so nothing can be left to the engine.
            return Ok(Self::unlisted(reader));
        };
        if names.indices.is_empty() {
            let (url, prefix) = (reader.address().to_owned(), reader.prefix().to_owned());
            return Err(IndexError::Missing { url, prefix });
        }
        let IndexNames { indices, others } = names;
        let (closed, open): (Vec<_>, Vec<_>) =
            indices.into_iter().partition(|index| index.is_closed);
        let closed = closed.into_iter().map(|index| index.name).collect();
        let names = open.iter().map(|index| index.name.as_str()).collect::<Vec<_>>().join(",");
        let is_short = names.len() <= MAX_NAMES_BYTES;
        let target = if is_short { names } else { reader.patterns() };
        let excluded = if is_short { &[][..] } else { &others };
        let mut fields = pushdown::fields(query);
        fields.push(TIME.to_owned());
        let mappings =
            if open.is_empty() { None } else { reader.field_mappings(&target, &fields).await? };
        let unmanaged: Vec<String> = open
            .iter()
            .filter(|index| !index.is_managed || mappings.is_none())
            .map(|index| index.name.clone())
            .collect();
        let mappings = mappings.unwrap_or_default();
        let mapped = MappedFields::new(&mappings, |name| !unmanaged.iter().any(|own| own == name));
        let pushdown = if unmanaged.len() == open.len() {
            Pushdown::none()
        } else {
            pushdown::push_down(query, &mapped, &unmanaged)
        };
        let search = SearchQuery {
            indices: target,
            has_single_shards: open.iter().all(|index| index.shards == 1),
            is_sorted: is_time_sortable(&mappings),
            query: pushdown::exclude(pushdown.query.clone(), excluded),
        };
        let unconditional = pushdown::exclude(pushdown::match_all(), excluded);
        Ok(Self { reader, search, unconditional, closed, open: Some(open), pushdown })
    }

    /// Returns the plan for an engine that does not list its indices.
    fn unlisted(reader: EngineReader) -> Self {
        let pushdown = Pushdown::none();
        let search = SearchQuery {
            indices: reader.patterns(),
            has_single_shards: false,
            is_sorted: true,
            query: pushdown.query.clone(),
        };
        let unconditional = pushdown::match_all();
        Self { reader, search, unconditional, closed: Vec::new(), open: None, pushdown }
    }

    /// Returns the engine.
    pub fn reader(&self) -> &EngineReader {
        &self.reader
    }

    /// Returns the names or patterns of the indices that are read, joined by commas.
    pub fn indices(&self) -> &str {
        &self.search.indices
    }

    /// Returns the names of the indices that are closed, so that they are not read.
    pub fn closed(&self) -> &[String] {
        &self.closed
    }

    /// Returns the number of indices that are read; `None` if the engine does not list them.
    pub fn open_indices(&self) -> Option<usize> {
        self.open.as_ref().map(Vec::len)
    }

    /// Finds indices that the user may not read. An engine may leave them out without an error.
    ///
    /// # Errors
    ///
    /// Returns [`IndexError`] if none can be read, or if the engine does not respond.
    pub async fn unreadable(&self) -> Result<Vec<IndexError>, IndexError> {
        let open = self.open.as_deref().unwrap_or_default();
        let mut unreadable = self.reader.unreadable(open).await?;
        let names: usize = unreadable.iter().map(|indices| indices.names.len()).sum();
        if names == open.len()
            && let Some(indices) = unreadable.pop()
        {
            return Err(indices.error.into());
        }
        let errors = unreadable.into_iter().map(|UnreadableIndices { names, error }| {
            IndexError::Unreadable { names, source: Box::new(error) }
        });
        Ok(errors.collect())
    }

    /// Returns the query for the engine.
    pub fn query(&self) -> &Value {
        &self.search.query
    }

    /// Returns descriptions of the conditions that the engine evaluates, perhaps not exactly.
    pub fn pushed(&self) -> &[String] {
        &self.pushdown.pushed
    }

    /// Returns descriptions of the conditions that only trailload evaluates.
    pub fn filtered(&self) -> &[String] {
        &self.pushdown.filtered
    }
}
