//! The memory of deliveries in the checkpoint of the run.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc::unbounded_channel;

use super::{DeliveryFault, DeliveryMemory};
use crate::{
    checkpoint::{
        self, CheckpointEvent, CheckpointReader,
        alerts::{Delivery, DeliveryUpdate},
    },
    pipeline::checkpoint_writer::CheckpointSender,
};

/// Reads committed deliveries, and sends changes to the thread of the checkpoint.
#[derive(Clone)]
pub(in crate::pipeline) struct CheckpointMemory {
    /// Shared by all queues: a query takes less than a millisecond.
    reader: Arc<Mutex<CheckpointReader>>,
    sender: CheckpointSender,
}

impl CheckpointMemory {
    /// Opens the checkpoint for reading.
    pub(in crate::pipeline) fn open(
        path: &Path,
        sender: CheckpointSender,
    ) -> Result<Self, checkpoint::Error> {
        Ok(Self { reader: Arc::new(Mutex::new(CheckpointReader::open(path)?)), sender })
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
}
