//! Opens the queues of a run, and acknowledges their messages until the run has ended.
//!
//! Input: addresses of queues, an AWS session. Output: a [`QueueSource`] for each, and what became of their messages.
//! Invariant: whatever ends a run, the acknowledgers are waited for, so that settled messages are deleted and others released.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::{SourceBuilder, accounts::caller_name};
use crate::{
    aws::Session,
    cli::{failure::Failure, plan::aws::AwsOptions},
    shutdown::ShutdownSignal,
    source::{
        self, QueueSource,
        queue::{
            Acknowledger, MessageDeletion, MessageOrder, QueueAddress, QueueAttributes,
            QueueClient, QueueMode, QueueOptions, QueueReport, QueueResources, RECOVERY_INTERVAL,
        },
    },
};

/// How the queues of a run are read.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct QueueReading<'a> {
    /// When reading ends.
    pub(in crate::cli) mode: QueueMode,
    /// Which messages are deleted.
    pub(in crate::cli) deletion: MessageDeletion,
    /// Whether the order of messages matters.
    pub(in crate::cli) order: MessageOrder,
    /// What acknowledges the messages of the run.
    pub(in crate::cli) acknowledgers: &'a QueueAcknowledgers,
}

/// The acknowledgers of a run.
#[derive(Debug, Default)]
pub(in crate::cli) struct QueueAcknowledgers(Mutex<JoinSet<(String, QueueReport)>>);

impl QueueAcknowledgers {
    /// Starts an acknowledger.
    fn start(&self, name: String, acknowledger: Acknowledger, shutdown: ShutdownSignal) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(async move { (name, acknowledger.run(shutdown).await) });
    }

    /// Waits until every message is deleted or released that should be.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if messages could not be deleted, and the source had ended before that was known.
    pub(in crate::cli) async fn finish(&self) -> Result<(), Failure> {
        let mut tasks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut result = Ok(());
        while let Some(ended) = tasks.join_next().await {
            if let Some((name, QueueReport { fault: Some(error), .. })) = source::task_output(ended)
            {
                result = Err(source::Error::Queue { name, source: Box::new(error) }.into());
            }
        }
        result
    }
}

/// A queue that can be read.
pub(in crate::cli) struct OpenedQueue {
    pub(in crate::cli) client: QueueClient,
    /// The attributes, unless they must not be read.
    pub(in crate::cli) attributes: Result<QueueAttributes, source::Error>,
}

/// Returns the session that reads queues: that of the role, if there is one.
///
/// # Errors
///
/// Returns a [`Failure`] if no credentials are available.
pub(in crate::cli) async fn queue_session(
    options: &AwsOptions,
    caller: &Session,
) -> Result<Session, Failure> {
    let session = match options.roles.as_slice() {
        [role] => caller.assume_role(&role.for_account("", options.external_id.clone())?),
        _ => caller.clone(),
    };
    session.access_key_id().await?;
    Ok(session)
}

/// Opens a queue.
///
/// # Errors
///
/// Returns [`source::Error`] if the queue does not exist, or cannot be looked up.
pub(in crate::cli) async fn open_queue(
    session: &Session,
    address: &QueueAddress,
) -> Result<OpenedQueue, source::Error> {
    let failed =
        |error| source::Error::Queue { name: address.to_string(), source: Box::new(error) };
    let region = address.region.clone().unwrap_or_else(|| session.region());
    let endpoint = session.endpoint("sqs").or_else(|| address.endpoint());
    let client = session.sqs(&region, address.endpoint().as_deref());
    let client = QueueClient::open(client, address, &region, endpoint.as_deref());
    let client = match client.await {
        Ok(client) => client,
        Err(error) if error.has_unknown_account() => {
            // It is that of the credentials, which were not needed to be known until now.
            let identity = session.identity().await;
            return Err(failed(match identity {
                Ok(identity) => error.in_account(&identity.account),
                Err(_) => error,
            }));
        }
        Err(error) => return Err(failed(error)),
    };
    let attributes = match client.attributes().await {
        Ok(attributes) => Ok(attributes),
        Err(error) if error.missing_permission.is_some() => Err(failed(error)),
        Err(error) => return Err(failed(error)),
    };
    Ok(OpenedQueue { client, attributes })
}

impl SourceBuilder<'_> {
    /// Opens every queue of the run.
    pub(super) async fn queue_sources(
        &self,
        session: &Session,
    ) -> Result<Vec<(usize, QueueSource)>, Failure> {
        let session = queue_session(self.aws, session).await?;
        let caller = caller_name(&session).await?;
        self.log.info("sqs", format_args!("reading with the credentials of {caller}"));
        let mut opened = Vec::new();
        for (number, address) in &self.sources.queues {
            let OpenedQueue { client, attributes } = open_queue(&session, address).await?;
            if let Err(error) = &attributes {
                self.log.warn(error.subject(), error.describe());
            }
            opened.push((*number, self.queue_source(*number, client, attributes.ok(), &session)?));
        }
        Ok(opened)
    }

    fn queue_source(
        &self,
        number: usize,
        queue: QueueClient,
        attributes: Option<QueueAttributes>,
        session: &Session,
    ) -> Result<QueueSource, Failure> {
        let QueueReading { mode, deletion, order, acknowledgers } = self.queues;
        let mode = match mode {
            QueueMode::Follow if self.sources.names.len() > 1 => QueueMode::FollowAmongOthers,
            mode => mode,
        };
        let name = self.sources.names.get(number).cloned().unwrap_or_default();
        let options = QueueOptions {
            source_number: number,
            name: name.clone(),
            mode,
            deletion,
            order,
            visibility: attributes.and_then(|attributes| attributes.visibility),
            memory_bytes: self.memory.fetched_bytes_per_source(),
            region: session.region(),
            requester_pays: self.aws.trails.requester_pays,
            recovery_interval: RECOVERY_INTERVAL,
        };
        let clients = session.clone();
        let resources = QueueResources {
            queue,
            s3: Box::new(move |region: &str| clients.s3(region)),
            finished: self.done()?,
            log: self.log.clone(),
            metrics: Arc::clone(self.metrics),
        };
        let (source, acknowledger) = QueueSource::new(resources, options);
        acknowledgers.start(name, acknowledger, self.shutdown.clone());
        Ok(source)
    }
}
