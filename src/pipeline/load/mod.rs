//! The consumer `load`: normalizes records, collects them in batches and writes them to a sink.
//!
//! | file | responsibility |
//! |---|---|
//! | `consumer` | settles batches: writes them, counts the results, decides when too many documents are blocked |
//! | `processor` | the part on a worker thread: normalizes records |
//! | `alerts` | evaluates rules beside the normalizer |
//! | `batch_builder` | collects documents in the body of a bulk request |
//! | `dead_letters` | sends the dead letters of earlier runs again |
//! | `dry_run` | a second consumer, which counts what `load` would send |

mod alerts;
mod batch_builder;
mod consumer;
mod dead_letters;
mod dry_run;
mod processor;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use super::{
    alert::{
        AlertReceiver, RuleFailures,
        delivery::{AlertDelivery, DeliveryConfig, DeliveryReport},
    },
    error::Error,
    run::{self, PipelineConfig, Run, RunEnd, RunOutcome},
};
use crate::{
    checkpoint::{CheckpointReader, CheckpointStore, RetrySelection},
    event::Inventory,
    filter::rule::RuleSet,
    normalize::{FieldRegistry, Settings},
    sink::Sink,
};
use alerts::LoadRules;
use batch_builder::BufferPool;
use consumer::LoadConsumer;
use dead_letters::DeadLetterReader;
use dry_run::DryRunConsumer;
use processor::LoadContext;

pub use consumer::{BlockedDocument, LoadError};
pub use dry_run::DryRunReport;

/// What a load reads, and how it makes documents.
pub struct LoadConfig {
    /// What the run reads.
    pub pipeline: PipelineConfig,
    /// The field registry.
    pub fields: Arc<FieldRegistry>,
    /// The settings of the normalizer.
    pub settings: Settings,
    /// Which dead letters of earlier runs are sent again first.
    pub retry: RetrySelection,
    /// The rules that are evaluated, and who receives their alerts.
    pub alerts: Option<LoadAlerts>,
}

/// The rules that a load evaluates. The checkpoint has to know the same rules.
pub struct LoadAlerts {
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// Who receives alerts.
    pub delivery: DeliveryConfig<AlertReceiver>,
}

/// What became of the alerts of a load.
#[derive(Debug)]
pub struct LoadAlertsEnd {
    /// What was delivered.
    pub delivery: DeliveryReport,
    /// Rules that could not be evaluated on some events, by number.
    pub failures: BTreeMap<usize, RuleFailures>,
}

impl LoadConfig {
    fn context(&self) -> Arc<LoadContext> {
        let PipelineConfig { workers, memory, metrics, log, .. } = &self.pipeline;
        Arc::new(LoadContext {
            fields: Arc::clone(&self.fields),
            settings: Arc::new(self.settings.clone()),
            batch_bytes: usize::try_from(memory.batch_bytes()).unwrap_or(usize::MAX),
            max_record_bytes: memory.decoder_limits(*workers).max_record_bytes,
            max_in_flight: memory.max_requests(*workers),
            buffers: BufferPool::default(),
            rules: self
                .alerts
                .as_ref()
                .map(|alerts| (Arc::clone(&alerts.rules), alerts.delivery.shared.clone()))
                .map(|(rules, shared)| Arc::new(LoadRules::new(rules, shared))),
            metrics: Arc::clone(metrics),
            log: log.clone(),
            is_full_reported: false.into(),
        })
    }
}

/// A load that has ended, except for its last row in the checkpoint.
#[derive(Debug)]
pub struct LoadEnd {
    /// How the run ended, and its checkpoint.
    pub run: RunEnd<LoadError>,
    /// What the sink holds at the end of a complete run, if it can be known.
    pub inventory: Option<Inventory>,
    /// What became of alerts, if rules were evaluated.
    pub alerts: Option<LoadAlertsEnd>,
}

/// Loads everything that the source lists, from [`Sink::prepare`] to [`Sink::finish`].
pub async fn load(config: LoadConfig, sink: Arc<impl Sink>, store: CheckpointStore) -> LoadEnd {
    let context = config.context();
    let (path, undelivered) = (store.path().to_owned(), store.undelivered());
    let dead_letters = CheckpointReader::open(store.path())
        .map(|reader| DeadLetterReader::new(reader, config.retry, &context));
    let consumer = Arc::new(LoadConsumer::new(sink, Arc::clone(&context)));
    let mut run = match Run::start(config.pipeline, Arc::clone(&consumer), Some(store)) {
        Ok(run) => run,
        Err(error) => {
            let run = RunEnd::not_started(error);
            return LoadEnd { run, inventory: None, alerts: None };
        }
    };
    let delivery = config.alerts.map(|alerts| {
        let (shutdown, log) = (alerts.delivery.shutdown.clone(), alerts.delivery.log.clone());
        let sender = run.coordinator.checkpoint_sender();
        let delivery = AlertDelivery::start(&path, sender, alerts.delivery);
        let backlog = delivery.backlog(undelivered, shutdown, log);
        if let (Some(rules), Some(backlog)) = (&context.rules, backlog) {
            rules.wait_for(backlog);
        }
        delivery
    });
    let coordinator = &mut run.coordinator;
    if !coordinator.is_ending() {
        match dead_letters {
            Ok(dead_letters) => Box::pin(coordinator.resend_dead_letters(dead_letters)).await,
            Err(error) => coordinator.fail(error.into()),
        }
    }
    run.process().await;
    run.coordinator.record_refusal_versions().await;
    run.coordinator.finish().await;
    // Existing indices may have decided about fields after the workers ended.
    for event in context.field_decisions() {
        run.coordinator.record(event).await;
    }
    let alerts = match delivery {
        Some(delivery) => Some(LoadAlertsEnd {
            delivery: Box::pin(delivery.close()).await,
            failures: context.rules.as_ref().map(|rules| rules.take_failures()).unwrap_or_default(),
        }),
        None => None,
    };
    LoadEnd { run: run.close().await, inventory: consumer.take_inventory(), alerts }
}

/// Reads and normalizes everything that the source lists, and returns what [`load`] would send.
///
/// # Errors
///
/// Returns [`Error`] if the source cannot list any further input, or a thread cannot be started.
pub async fn dry_run(config: LoadConfig) -> Result<(RunOutcome, DryRunReport), Error<Infallible>> {
    let consumer = Arc::new(DryRunConsumer::new(config.context()));
    let end = run::run(config.pipeline, Arc::clone(&consumer), None).await;
    Ok((end.outcome?, consumer.take_report()))
}
