//! The memory of deliveries in the checkpoint of the run, and in the state that it shares with other processes.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::mpsc::unbounded_channel;

use super::{DeliveryFault, DeliveryMemory};
use crate::{
    checkpoint::{
        self, CheckpointEvent, CheckpointReader,
        alerts::{Delivery, DeliveryUpdate},
        shared_alerts::{Claim, SharedAlerts},
    },
    pipeline::checkpoint_writer::CheckpointSender,
};

/// Reads committed deliveries, and sends changes to the thread of the checkpoint.
#[derive(Clone)]
pub(in crate::pipeline) struct CheckpointMemory {
    /// Shared by all queues: a query takes less than a millisecond.
    reader: Arc<Mutex<CheckpointReader>>,
    sender: CheckpointSender,
    shared: Option<SharedAlerts>,
}

/// When a claim is tried again that a shutdown has interrupted: in the next run.
const INTERRUPTED: Claim = Claim::Held(Duration::from_mins(1));

impl CheckpointMemory {
    /// Opens the checkpoint for reading.
    pub(in crate::pipeline) fn open(
        path: &Path,
        sender: CheckpointSender,
        shared: Option<SharedAlerts>,
    ) -> Result<Self, checkpoint::Error> {
        Ok(Self { reader: Arc::new(Mutex::new(CheckpointReader::open(path)?)), sender, shared })
    }
}

impl DeliveryMemory for CheckpointMemory {
    fn pending(
        &self,
        action: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, DeliveryFault> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(reader.pending_deliveries(action, after, limit)?)
    }

    async fn update(&self, update: DeliveryUpdate) -> Result<(), DeliveryFault> {
        let (stored, mut on_disk) = unbounded_channel();
        let event = CheckpointEvent::DeliveriesChanged { update, stored };
        self.sender.send(event).await.map_err(|_| DeliveryFault::CheckpointClosed)?;
        on_disk.recv().await.ok_or(DeliveryFault::CheckpointClosed)
    }

    async fn claim(&self, delivery: &Delivery) -> Result<Claim, DeliveryFault> {
        let Some(shared) = &self.shared else { return Ok(Claim::Granted) };
        match shared.claim(delivery).await {
            Err(error) if error.is_interruption() => Ok(INTERRUPTED),
            claimed => Ok(claimed?),
        }
    }

    async fn hold(&self, delivery: &Delivery) {
        match &self.shared {
            Some(shared) => shared.hold(delivery).await,
            None => std::future::pending().await,
        }
    }

    async fn tell_delivered(&self, delivery: &Delivery) -> Result<(), DeliveryFault> {
        match &self.shared {
            Some(shared) => Ok(shared.mark_delivered(delivery).await?),
            None => Ok(()),
        }
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), DeliveryFault> {
        let Some(shared) = &self.shared else { return Ok(()) };
        match shared.release(delivery).await {
            // The lease ends by itself.
            Err(error) if error.is_interruption() => Ok(()),
            released => Ok(released?),
        }
    }
}
