//! The function: what it keeps from one invocation to the next, and how it handles one.
//!
//! ```text
//!  payload ──Trigger──▶ bodies ──Messages──▶ run of the pipeline ──▶ result of each message ──▶ answer
//!                                             └── alerts that are not delivered, dead letters ──┘
//! ```
//!
//! Input: the payload of an invocation, and its deadline. Output: the answer.
//! Invariant: a message is answered as processed only if all of it was read, its documents are in the index, and its alerts are
//! delivered.
//! Not here: the requests to Lambda (see `runtime_api`), and the runs (see `task`).

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    answer::{self, MessageResult},
    context::FunctionContext,
    deadline::Deadline,
    invocation_report::{InvocationReport, log_messages},
    messages::{MessageReader, Messages},
    order::MessageOrder,
    runtime_api::{Invocation, ReportedError},
    settings::{ForeignMessages, FunctionSettings, FunctionTask, name_variables},
    task::{LoadTask, Task, TaskEnd, WatchTask},
    trigger::Trigger,
    undelivered::UndeliveredMemory,
};
use crate::{
    cli::{
        environment::{self, Environment},
        failure::Failure,
    },
    report::WaitReporter,
};

/// What an invocation ends with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// The response.
    Response(Value),
    /// An error: Lambda delivers the event again, or to a dead-letter queue.
    Error(ReportedError),
}

/// The function, from the start of the process to its end.
pub(super) struct Function {
    task: Task,
    reader: MessageReader,
    foreign: ForeignMessages,
    context: FunctionContext,
    undelivered: UndeliveredMemory,
}

/// The results of the messages of an invocation, and what is reported about it.
struct Processed {
    results: Vec<MessageResult>,
    report: InvocationReport,
}

impl Function {
    /// Reads rules, actions and secrets.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] that names what to change. Each error of a file was logged.
    pub(super) async fn start(
        settings: FunctionSettings,
        environment: &Environment,
        context: FunctionContext,
    ) -> Result<Self, Failure> {
        let log = &context.log;
        let mut task = match &settings.task {
            FunctionTask::Watch(args) => {
                Task::Watch(Box::new(WatchTask::new(args, environment, log)?))
            }
            FunctionTask::Load(args) => {
                Task::Load(Box::new(LoadTask::new(args, environment, &context)?))
            }
        };
        let mut reader = MessageReader::new(settings.requester_pays, environment)?;
        let session =
            if task.needs_session() { Some(reader.session(&context.waits).await?) } else { None };
        if let Some(session) = &session {
            // Without them, no alert and no document would ever arrive.
            session.access_key_id().await?;
        }
        task.connect(session.as_ref(), log)?;
        let foreign = settings.foreign;
        Ok(Self { task, reader, foreign, context, undelivered: UndeliveredMemory::default() })
    }

    /// Handles an invocation. Returns `None` if it was not over in time: the process has to end then, because something of it still
    /// goes on.
    pub(super) async fn handle(&mut self, invocation: &Invocation) -> Option<Answer> {
        let started = Instant::now();
        let now = environment::now().as_millisecond();
        let left = invocation.deadline.map(|deadline| deadline.saturating_sub(now).max(0));
        let left = left.map(|left| Duration::from_millis(left.unsigned_abs()));
        let trigger = Trigger::parse(&invocation.payload);
        let deadline = Deadline::new(started, left);
        let Processed { mut results, report } = self.process(&trigger, deadline).await?;
        log_messages(&trigger, &results, self.foreign, &self.context.log);
        if self.foreign == ForeignMessages::Deleted {
            answer::accept_foreign(&mut results);
        }
        let fields = report.log(&results, invocation, started.elapsed(), &self.context.log);
        Some(match trigger {
            Trigger::Queue(messages) => Answer::Response(answer::to_queue(&messages, &results)),
            Trigger::Whole(_) | Trigger::Schedule => {
                let error = results.iter().find_map(answer::error);
                let error = error.or_else(|| report.error());
                error.map_or_else(|| Answer::Response(Value::Object(fields)), Answer::Error)
            }
        })
    }

    /// Processes messages, those of a FIFO group one after the other. Returns `None` if that was not over in time.
    async fn process(&mut self, trigger: &Trigger, deadline: Deadline) -> Option<Processed> {
        let bodies = trigger.bodies();
        let mut order = MessageOrder::new(trigger);
        let mut results = vec![MessageResult::Unfinished; bodies.len()];
        let mut report = InvocationReport::default();
        let mut next = order.next();
        loop {
            let names: Vec<String> = next.iter().map(|message| trigger.name(*message)).collect();
            let bodies = next.iter().filter_map(|message| bodies.get(*message).cloned());
            let bodies = bodies.collect::<Vec<_>>();
            let (ended, end) = self.process_together(&bodies, &names, deadline).await?;
            report.add(end);
            for (message, ended) in next.into_iter().zip(ended) {
                order.on_end(message, self.is_settled(&ended));
                if let Some(result) = results.get_mut(message) {
                    *result = ended;
                }
            }
            next = order.next();
            if next.is_empty() || deadline.is_draining(&self.context.stop) {
                break;
            }
        }
        order.hold_back(&mut results);
        Some(Processed { results, report })
    }

    /// Returns whether a message with this result is not delivered again.
    fn is_settled(&self, result: &MessageResult) -> bool {
        let is_accepted = self.foreign == ForeignMessages::Deleted;
        result.is_done() || is_accepted && matches!(result, MessageResult::Foreign { .. })
    }

    /// Processes the bodies of messages whose order is of no importance. Returns `None` if that was not over in time.
    async fn process_together(
        &mut self,
        bodies: &[Bytes],
        names: &[String],
        deadline: Deadline,
    ) -> Option<(Vec<MessageResult>, TaskEnd)> {
        let (messages, parts) = Messages::new(bodies, names);
        let scope = self.task.scope(&self.context);
        let stop = self.context.stop.clone();
        let waits = WaitReporter::start(self.context.waits.clone(), self.context.log.clone());
        // The future of a run is large.
        let work = Box::pin(async {
            let source = self.reader.open(parts, messages.kept(), &self.context).await?;
            let undelivered = self.undelivered.on_run(bodies);
            Ok(self.task.run(source, &scope, undelivered, &self.context).await)
        });
        let ended: Result<TaskEnd, Failure> = deadline.run(&scope.trigger, &stop, work).await?;
        drop(waits);
        let mut end = ended.unwrap_or_else(TaskEnd::failed);
        end.failure = end.failure.map(name_variables);
        let results = messages.results(&end.rejected);
        let (mut results, contents) = deadline.run(&scope.trigger, &stop, results).await?;
        if let Some(failure) = &end.failure {
            failure.report(&self.context.log);
            answer::blame(&mut results, failure);
        }
        self.undelivered.on_end(bodies, &contents, &end.undelivered, &mut results);
        results.iter_mut().for_each(MessageResult::name_variables);
        Some((results, end))
    }
}
