//! The consumer of `trailload dashboards --html`: counts what the panels of the dashboards show.
//!
//! Input: the records of a source. Output: [`CountedPanels`].
//! Invariant: panels count what an index would hold after a load of the same records: each document once, with the changes that a
//! load makes. Memory is bounded.
//! Not here: how a panel counts (see `dashboard`).
//!
//! | file | responsibility |
//! |---|---|
//! | `processor` | the part on a worker thread: normalizes records |
//! | `known_documents` | which documents were counted before |

mod known_documents;
mod processor;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use self::{known_documents::KnownDocuments, processor::PanelProcessor};
use super::{
    consumer::{Consumer, Settlement},
    error::Error,
    run::{self, PipelineConfig, RunOutcome},
};
use crate::{
    dashboard::{Dashboards, PanelCounter},
    normalize::{FieldRegistry, Settings},
    report::Log,
};

/// What is counted, and how documents are made.
pub struct PanelConfig {
    /// What the run reads.
    pub pipeline: PipelineConfig,
    /// The dashboards.
    pub dashboards: &'static Dashboards,
    /// The field registry.
    pub fields: Arc<FieldRegistry>,
    /// The settings of the normalizer.
    pub settings: Settings,
}

/// What was counted.
#[derive(Debug)]
pub struct CountedPanels {
    /// How the run ended.
    pub outcome: RunOutcome,
    /// The counters.
    pub counter: Arc<PanelCounter<'static>>,
    /// Number of documents that were read again, and not counted.
    pub repeated: u64,
    /// Number of documents beyond the limit, which would be counted again if they were read again; 0 below it.
    pub unremembered: u64,
    /// Number of records that are too long to be read. Each was logged.
    pub too_long: u64,
    /// Number of documents that cannot be counted.
    pub unreadable: u64,
}

/// Reads everything that the source lists, and counts.
///
/// # Errors
///
/// Returns [`Error`] if the source cannot list any further input, or a thread cannot be started.
pub async fn count_panels(config: PanelConfig) -> Result<CountedPanels, Error<Infallible>> {
    let context = Arc::new(PanelContext {
        counter: Arc::new(PanelCounter::new(config.dashboards)),
        known: KnownDocuments::default(),
        fields: config.fields,
        settings: Arc::new(config.settings),
        log: config.pipeline.log.clone(),
        too_long: AtomicU64::new(0),
        unreadable: AtomicU64::new(0),
    });
    let consumer = Arc::new(PanelConsumer(Arc::clone(&context)));
    let outcome = run::run(config.pipeline, consumer, None).await.outcome?;
    Ok(CountedPanels {
        outcome,
        repeated: context.known.repeated(),
        unremembered: context.known.unremembered(),
        too_long: context.too_long.load(Relaxed),
        unreadable: context.unreadable.load(Relaxed),
        counter: Arc::clone(&context.counter),
    })
}

/// What the workers share.
struct PanelContext {
    counter: Arc<PanelCounter<'static>>,
    known: KnownDocuments,
    fields: Arc<FieldRegistry>,
    settings: Arc<Settings>,
    log: Log,
    too_long: AtomicU64,
    unreadable: AtomicU64,
}

struct PanelConsumer(Arc<PanelContext>);

impl Consumer for PanelConsumer {
    type Processor = PanelProcessor;
    type Error = Infallible;

    fn processor(&self) -> PanelProcessor {
        PanelProcessor::new(Arc::clone(&self.0))
    }

    fn consequence_of_failed_input() -> &'static str {
        "what follows there is not counted"
    }

    async fn settle(&self, batch: Infallible) -> Settlement<Infallible> {
        match batch {}
    }
}
