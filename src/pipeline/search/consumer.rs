//! Prints, sorts or merges what the workers of a search have found.
//!
//! Input: [`SearchBatch`]es, one at a time. Output: events on a stream; at the end, those that were sorted, or a table.
//! Invariant: no more events than the limit. Writing blocks a thread for blocking work, never the runtime, because a
//! pager may not read for hours.

use std::{
    io,
    ops::ControlFlow,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use thiserror::Error;

use super::{
    SearchContext, SearchOutput,
    event_sort::{EventSort, SortError},
    processor::{SearchBatch, SearchProcessor},
    summary::EventSummary,
};
use crate::{
    event::Receipt,
    pipeline::consumer::{Consumer, Settlement},
    sink::events::{EventPrinter, OutputStream, OutputStyle},
    source::task_output,
};

/// Why a search cannot continue.
#[derive(Debug, Error)]
pub enum SearchError {
    /// The output cannot be written, such as to a full disk.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
    /// The events cannot be sorted.
    #[error(transparent)]
    Sort(#[from] SortError),
}

/// Where the result of a search goes.
pub(super) struct Output {
    pub(super) style: OutputStyle,
    pub(super) stream: OutputStream,
    /// Memory for sorting.
    pub(super) sort_bytes: usize,
    pub(super) temporary_folder: PathBuf,
}

/// Collects what the workers have found.
pub(in crate::pipeline) struct SearchConsumer {
    context: Arc<SearchContext>,
    result: Arc<Mutex<SearchResult>>,
}

/// What was found so far.
struct SearchResult {
    limit: u64,
    found: u64,
    collected: Collected,
}

/// What is done with events.
enum Collected {
    Printed(EventPrinter),
    Sorted(EventPrinter, EventSort),
    Summary(EventSummary, OutputStyle, OutputStream),
    /// The output has ended.
    Nothing,
}

/// The result of a search whose output has ended.
pub(super) struct Finished {
    pub(super) result: Result<(), SearchError>,
    pub(super) found: u64,
    pub(super) is_pipe_closed: bool,
    pub(super) summary: Option<EventSummary>,
}

impl SearchConsumer {
    pub(super) fn new(context: Arc<SearchContext>, output: Output) -> Self {
        let Output { style, stream, sort_bytes, temporary_folder } = output;
        let limit = context.limit;
        let collected = match &context.output {
            SearchOutput::Events => Collected::Printed(EventPrinter::new(&style, stream)),
            SearchOutput::Sorted(order) => {
                let sort = EventSort::new(*order, limit, sort_bytes, &temporary_folder);
                Collected::Sorted(EventPrinter::new(&style, stream), sort)
            }
            SearchOutput::Summary(empty) => Collected::Summary(empty.clone(), style, stream),
        };
        let result = SearchResult { limit: limit.unwrap_or(u64::MAX), found: 0, collected };
        Self { context, result: Arc::new(Mutex::new(result)) }
    }

    /// Ends the output, however the run ended: prints what was sorted or summarized.
    pub(super) async fn finish_output(&self) -> Finished {
        let (result, context) = (Arc::clone(&self.result), Arc::clone(&self.context));
        let finished = tokio::task::spawn_blocking(move || lock(&result).finish(&context)).await;
        task_output(finished).unwrap_or(Finished {
            result: Ok(()),
            found: 0,
            is_pipe_closed: false,
            summary: None,
        })
    }
}

fn lock(result: &Mutex<SearchResult>) -> std::sync::MutexGuard<'_, SearchResult> {
    result.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Consumer for SearchConsumer {
    type Processor = SearchProcessor;
    type Error = SearchError;

    fn processor(&self) -> SearchProcessor {
        SearchProcessor::new(Arc::clone(&self.context))
    }

    fn consequence_of_failed_input() -> &'static str {
        "events in it may be missing"
    }

    async fn settle(&self, mut batch: SearchBatch) -> Settlement<SearchError> {
        let shares = std::mem::take(&mut batch.shares).into_vec();
        let result = Arc::clone(&self.result);
        let added = tokio::task::spawn_blocking(move || lock(&result).add(batch)).await;
        let next = task_output(added).unwrap_or(Ok(ControlFlow::Break(())));
        // A batch that ends the output may not be printed as a whole.
        let is_printed = matches!(next, Ok(ControlFlow::Continue(())));
        let shares = if is_printed { shares } else { Vec::new() };
        Settlement { receipt: Receipt { shares, ..Receipt::default() }, next }
    }
}

impl SearchResult {
    /// Adds a batch. Returns `Break` if no further events are needed.
    fn add(&mut self, batch: SearchBatch) -> Result<ControlFlow<()>, SearchError> {
        let SearchBatch { bytes, events, summary: part, summarized, .. } = batch;
        match &mut self.collected {
            Collected::Printed(printer) => {
                let left = usize::try_from(self.limit - self.found).unwrap_or(usize::MAX);
                let mut start = 0;
                let texts = events.iter().map(|event| {
                    let text = &bytes[start..event.end];
                    start = event.end;
                    text
                });
                let next = printer.print(texts.take(left))?;
                self.found = printer.printed();
                let is_enough = self.found >= self.limit;
                Ok(if is_enough { ControlFlow::Break(()) } else { next })
            }
            Collected::Sorted(_, sort) => {
                let mut start = 0;
                for event in &events {
                    sort.add(event.time, event.id, &bytes[start..event.end])?;
                    start = event.end;
                }
                Ok(ControlFlow::Continue(()))
            }
            Collected::Summary(summary, ..) => {
                if let Some(part) = part {
                    summary.merge(part);
                }
                self.found += summarized;
                Ok(ControlFlow::Continue(()))
            }
            Collected::Nothing => Ok(ControlFlow::Break(())),
        }
    }

    fn finish(&mut self, context: &SearchContext) -> Finished {
        let mut finished =
            Finished { result: Ok(()), found: self.found, is_pipe_closed: false, summary: None };
        match std::mem::replace(&mut self.collected, Collected::Nothing) {
            Collected::Printed(mut printer) => {
                finished.result = printer.finish().map_err(SearchError::from);
                finished.is_pipe_closed = printer.is_closed();
            }
            Collected::Sorted(mut printer, sort) => {
                let printed = sort.for_each(|event| Ok::<_, SearchError>(printer.append(event)?));
                finished.result = printed.and_then(|()| Ok(printer.finish()?));
                finished.found = printer.printed();
                finished.is_pipe_closed = printer.is_closed();
            }
            Collected::Summary(summary, style, mut stream) => {
                match summary.into_table(context.limit, &context.log) {
                    Ok(table) => {
                        let printed = table.print(&style, &mut stream);
                        finished.result = printed.map(drop).map_err(SearchError::from);
                        finished.is_pipe_closed = stream.is_closed();
                    }
                    Err(summary) => finished.summary = Some(*summary),
                }
            }
            Collected::Nothing => {}
        }
        finished
    }
}
