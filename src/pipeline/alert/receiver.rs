//! The receiver of an action, as the queues use it.

use std::sync::Arc;

use super::delivery::Receive;
use crate::{
    event::Alert,
    sink::alert::{Action, ActionSettings, AlertMessage, DeliveryError, MessageContext, Receiver},
};

/// Deliveries of an action over a network that are made at the same time: enough to hide the latency of a service far away. A
/// run that is killed repeats at most this many.
const REMOTE_CONCURRENCY: usize = 4;

/// Deliveries of an action on this machine. They take less time than recording them, and many are recorded at once.
const LOCAL_CONCURRENCY: usize = 64;

/// Delivers alerts by an action. Clones share its connections.
#[derive(Clone, Debug)]
pub struct AlertReceiver {
    receiver: Arc<Receiver>,
    context: MessageContext,
    concurrency: usize,
}

impl AlertReceiver {
    /// Creates the receiver of an action.
    pub fn new(action: &Action, receiver: Receiver, context: MessageContext) -> Self {
        let concurrency = match action.settings {
            ActionSettings::File(_) | ActionSettings::Stdout(_) => LOCAL_CONCURRENCY,
            _ => REMOTE_CONCURRENCY,
        };
        Self { receiver: Arc::new(receiver), context, concurrency }
    }
}

impl Receive for AlertReceiver {
    async fn deliver(&self, alert: &Alert) -> Result<(), DeliveryError> {
        self.receiver.deliver(&AlertMessage::new(alert, &self.context)).await
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }
}
