//! Runs `trailload watch`: evaluates rules while alerts are delivered.

use std::sync::Arc;

use super::{
    consumer::WatchConsumer,
    context::{InputReport, WatchContext},
};
use crate::{
    checkpoint::{CheckpointStore, shared_alerts},
    filter::rule::RuleSet,
    pipeline::{
        alert::delivery::{AlertDelivery, DeliveryConfig, DeliveryReport, Receive},
        run::{PipelineConfig, Run, RunEnd},
    },
};

/// What a run reads, with which rules, and who receives alerts.
pub struct WatchConfig<R> {
    /// What the run reads.
    pub pipeline: PipelineConfig,
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// Who receives alerts.
    pub delivery: DeliveryConfig<R>,
}

/// A run that has ended, except for its last row in the checkpoint.
#[derive(Debug)]
pub struct WatchEnd {
    /// How the run ended, and its checkpoint.
    pub run: RunEnd<shared_alerts::Error>,
    /// What was read.
    pub input: InputReport,
    /// What was delivered.
    pub delivery: DeliveryReport,
}

/// Evaluates the rules on everything that the source lists, and delivers the alerts: those that earlier runs left first.
pub async fn watch<R: Receive>(config: WatchConfig<R>, store: CheckpointStore) -> WatchEnd {
    let WatchConfig { pipeline, rules, delivery } = config;
    // Others decide about shared alerts by clocks of their own.
    let delivered_from = if delivery.shared.is_none() { store.delivered_from() } else { None };
    let context = WatchContext::new(&pipeline, rules).with_alerts_delivered_from(delivered_from);
    let context = Arc::new(context);
    let consumer = Arc::new(WatchConsumer::new(Arc::clone(&context), delivery.shared.clone()));
    let (path, undelivered) = (store.path().to_owned(), store.undelivered());
    let mut run = match Run::start(pipeline, Arc::clone(&consumer), Some(store)) {
        Ok(run) => run,
        Err(error) => {
            return WatchEnd {
                run: RunEnd::not_started(error),
                input: InputReport::default(),
                delivery: DeliveryReport::default(),
            };
        }
    };
    let (shutdown, log) = (delivery.shutdown.clone(), delivery.log.clone());
    let delivery = AlertDelivery::start(&path, run.coordinator.checkpoint_sender(), delivery);
    if let Some(backlog) = delivery.backlog(undelivered, shutdown, log) {
        consumer.wait_for(backlog);
    }
    run.process().await;
    run.coordinator.finish().await;
    let delivery = Box::pin(delivery.close()).await;
    WatchEnd { run: run.close().await, input: context.take_report(), delivery }
}
