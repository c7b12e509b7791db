//! The consumer of `trailload search`: finds the events that match a query, and prints or summarizes them.
//!
//! ```text
//!  worker threads                                                      one at a time
//!  record ──▶ header ──▶ Query::admits ──▶ parse ──▶ Query::matches ──▶ seen before? ──▶ render ─┬─▶ print
//!             (scan of the top level)                                                 or count ─┘   sort, merge
//! ```
//!
//! Input: the records of a source. Output: events on a stream as soon as they are found, or a summary at the end.
//! Invariant: an event that the header rules out is never parsed. Each event is printed once, as the original bytes. Memory
//! is bounded whatever the input. A reader that closes the pipe ends the run without an error.
//! Not here: the conditions (see `filter`), output formats (see `sink::events`), exit codes and hints (see `cli`).
//!
//! | file | responsibility |
//! |---|---|
//! | `processor` | the part on a worker thread |
//! | `record_scan`, `projection` | the header of a record, and the values that a query looks at, without parsing the rest |
//! | `field_observations` | selected fields that no event found has |
//! | `found_event` | an event as original bytes, parsed JSON and id |
//! | `listed_resources` | resources that LookupEvents lists beside an event |
//! | `seen_events` | which events were found before |
//! | `consumer` | prints, sorts or merges what the workers found |
//! | `event_sort` | sorts events by time, with a temporary file |
//! | `summary`, `counts`, `histogram` | counts instead of events |

mod consumer;
mod counts;
pub(super) mod event_sort;
mod field_observations;
pub(super) mod found_event;
mod histogram;
mod listed_resources;
pub mod policy;
mod processor;
pub(in crate::pipeline) mod projection;
pub(super) mod record_scan;
pub(super) mod seen_events;
mod summary;
#[cfg(test)]
mod tests;
pub mod trace;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    error::Error,
    run::{self, PipelineConfig, RunOutcome},
};
use crate::{
    filter::query::{HeaderNeeds, Observations, Query},
    report::Log,
    sink::events::{EventRenderer, FieldList, OutputStream, OutputStyle},
};
use consumer::SearchConsumer;
use field_observations::FieldObservations;
use projection::Projection;
use seen_events::SeenEvents;

pub use consumer::SearchError;
pub use counts::Counts;
pub use event_sort::{SortError, TimeOrder};
pub use field_observations::UnseenField;
pub use histogram::Histogram;
pub use summary::EventSummary;

/// What a search reads, what it asks for, and where the result goes.
pub struct SearchConfig {
    /// What the run reads. Its range is that of the inputs; the query has its own.
    pub pipeline: PipelineConfig,
    /// The conditions.
    pub query: Arc<Query>,
    /// What is done with the events that are found.
    pub output: SearchOutput,
    /// How events and tables are printed.
    pub style: OutputStyle,
    /// Where they are printed to.
    pub stream: OutputStream,
    /// The largest number of events that are printed or summarized; without an order, the search ends with the last one.
    pub limit: Option<u64>,
    /// The folder for temporary files.
    pub temporary_folder: PathBuf,
}

/// What is done with the events that a search finds.
#[derive(Clone, Debug)]
pub enum SearchOutput {
    /// They are printed as they are found.
    Events,
    /// They are printed in order, when everything was read.
    Sorted(TimeOrder),
    /// They are summarized. The summary has no events yet.
    Summary(EventSummary),
}

impl SearchOutput {
    /// Returns the fields that events are counted by.
    fn count_fields(&self) -> Option<&FieldList> {
        match self {
            Self::Summary(summary) => summary.fields(),
            Self::Events | Self::Sorted(_) => None,
        }
    }
}

/// A search that has ended.
#[derive(Debug)]
pub struct SearchEnd {
    /// How the run ended, or its first error. What was found before is printed in any case.
    pub outcome: Result<RunOutcome, Error<SearchError>>,
    /// Events that were printed or summarized.
    pub found: u64,
    /// Records that were read and are not outside of the time range.
    pub examined: u64,
    /// Events that matched but had been found before.
    pub repeated: u64,
    /// Records that are too long to be examined. Each was logged.
    pub too_long: u64,
    /// Whether the reader has closed the pipe, which ended the search.
    pub is_pipe_closed: bool,
    /// What the query has met.
    pub observations: Observations,
    /// Selected fields that no event found has.
    pub unseen_fields: Vec<UnseenField>,
    /// The summary, if it is not a table and therefore not printed yet.
    pub summary: Option<EventSummary>,
}

/// What the workers and the consumer of a search share.
struct SearchContext {
    query: Arc<Query>,
    /// The members of a header that decide whether the query admits a record.
    header_needs: HeaderNeeds,
    /// The parts of events that the query looks at; `None` if it looks at whole events.
    projection: Option<Projection>,
    renderer: EventRenderer,
    output: SearchOutput,
    /// The fields that are printed.
    fields: Option<FieldList>,
    limit: Option<u64>,
    seen: SeenEvents,
    examined: AtomicU64,
    repeated: AtomicU64,
    too_long: AtomicU64,
    observations: Mutex<Observations>,
    /// The selected fields, as far as the events that were handed over have them.
    field_observations: Mutex<FieldObservations>,
    log: Log,
}

impl SearchContext {
    /// Returns the observations of the selected fields before any event.
    fn new_field_observations(&self) -> FieldObservations {
        FieldObservations::new(self.output.count_fields().or(self.fields.as_ref()))
    }

    /// Returns whether events that are found have to be parsed as a whole.
    fn needs_parsed(&self) -> bool {
        self.renderer.needs_parsed() || matches!(self.output, SearchOutput::Summary(_))
    }

    fn add_observations(&self, observations: Observations) {
        self.observations.lock().unwrap_or_else(PoisonError::into_inner).merge(observations);
    }

    fn add_field_observations(&self, fields: FieldObservations) {
        self.field_observations.lock().unwrap_or_else(PoisonError::into_inner).merge(fields);
    }
}

/// Searches everything that the source lists.
pub async fn search(config: SearchConfig) -> SearchEnd {
    let SearchConfig { pipeline, query, output, style, stream, limit, temporary_folder } = config;
    let sort_bytes = usize::try_from(pipeline.memory.total_bytes() / SORT_DIVISOR);
    let context = Arc::new(SearchContext {
        header_needs: query.header_needs(),
        projection: query.required_parts().map(|parts| Projection::new(&parts)),
        query,
        renderer: EventRenderer::new(&style),
        output,
        fields: style.fields.clone(),
        limit,
        seen: SeenEvents::new(seen_events::REMEMBERED),
        examined: 0.into(),
        repeated: 0.into(),
        too_long: 0.into(),
        observations: Mutex::default(),
        field_observations: Mutex::default(),
        log: pipeline.log.clone(),
    });
    let sort_bytes = sort_bytes.unwrap_or(usize::MAX);
    let output = consumer::Output { style, stream, sort_bytes, temporary_folder };
    let consumer = Arc::new(SearchConsumer::new(Arc::clone(&context), output));
    let ended = run::run(pipeline, Arc::clone(&consumer), None).await;
    let finished = consumer.finish_output().await;
    if context.seen.has_forgotten() {
        context.log.warn(
            "search",
            format_args!(
                "more than {} events were found; copies of an event that are far apart may be printed twice",
                crate::report::format::count(seen_events::REMEMBERED as u64 / 2),
            ),
        );
    }
    let observations =
        std::mem::take(&mut *context.observations.lock().unwrap_or_else(PoisonError::into_inner));
    let unseen_fields =
        context.field_observations.lock().unwrap_or_else(PoisonError::into_inner).unseen();
    SearchEnd {
        outcome: ended
            .outcome
            .and_then(|outcome| finished.result.map(|()| outcome).map_err(Error::Consumer)),
        found: finished.found,
        examined: context.examined.load(Relaxed),
        repeated: context.repeated.load(Relaxed),
        too_long: context.too_long.load(Relaxed),
        is_pipe_closed: finished.is_pipe_closed,
        observations,
        unseen_fields,
        summary: finished.summary,
    }
}

/// Divisor of the memory limit for the events that are sorted in memory, or read at once to be merged.
const SORT_DIVISOR: u64 = 12;
