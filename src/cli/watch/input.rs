//! What `trailload watch` reads, and how.
//!
//! Input: options. Output: an [`InputPlan`], and the source of the run.
//! Invariant: an option that has no effect is rejected by name, before any request.

use std::{ffi::OsString, num::NonZeroUsize, sync::Arc};

use jiff::Timestamp;

use crate::{
    aws::Session,
    cli::{
        alerts::{AlertPlan, message_context},
        args::{
            aws::AwsArgs,
            engine::ConnectionArgs,
            time::{Age, Moment, SearchTime},
        },
        environment::Environment,
        failure::Failure,
        index_endpoint::IndexEndpoint,
        plan::{
            aws::{AwsOptions, EngineAuth},
            sources::SourceList,
        },
        run_scope::RunScope,
        sources::{
            self, FollowMode, History, LookupMode, SourceBuilder, accounts, queues::QueueReading,
            unless_shut_down,
        },
    },
    filter::query::{Query, TimeBounds},
    limit::MemoryBudget,
    normalize::TimeRange,
    pipeline::PipelineConfig,
    report::{Log, Metrics},
    sink::{
        Target,
        alert::{Action, MessageContext},
    },
    source::{
        CombinedSource,
        index::{Closing, IndexPlan, IndexSource},
        queue::{MessageDeletion, MessageOrder},
    },
};

/// Memory for reading: enough for the largest objects of a trail.
const MEMORY_BYTES: u64 = 256 << 20;

/// Size of a batch of matches.
const BATCH_BYTES: u64 = 256 << 10;

/// What is read.
#[derive(Clone, Debug, clap::Args)]
#[expect(clippy::doc_markdown, reason = "the text is shown as help, where markup is not rendered")]
#[command(next_help_heading = "Source options")]
pub struct InputArgs {
    /// Read this source: 'lookup' (the event history of AWS accounts), 's3://BUCKET[/PREFIX]', the ARN
    /// of a trail, 'sqs://QUEUE', files, folders, '-' (standard input), or 'index' (the engine of --into)
    /// (can be repeated) [default: lookup]
    #[arg(long = "in", value_name = "SOURCE")]
    pub sources: Vec<OsString>,
    /// Look only at events at or after this time: a time, a date (midnight UTC), today, yesterday, now-2h,
    /// or an age such as 7d; UTC unless a zone is given
    #[arg(long, value_name = "TIME")]
    pub from: Option<SearchTime>,
    /// Look only at events before this time
    #[arg(long, value_name = "TIME")]
    pub to: Option<SearchTime>,
    /// Look only at events of this age or newer, such as 3h or 7d
    #[arg(long, value_name = "AGE", conflicts_with = "from")]
    pub last: Option<Age>,
    /// Continue with new events of the event history, of buckets and of queues, until stopped
    #[arg(long, conflicts_with = "to")]
    pub follow: bool,
    /// How AWS is accessed, and what is read from it.
    #[command(flatten)]
    pub aws: AwsArgs,
    /// The engine of `--in index`.
    #[command(flatten)]
    pub engine: ConnectionArgs,
}

/// What is read, checked.
pub(super) struct InputPlan {
    pub(super) sources: SourceList,
    pub(super) aws: AwsOptions,
    pub(super) range: TimeRange,
    pub(super) follow: FollowMode,
    memory: MemoryBudget,
    /// Whether an AWS session is needed although no source is in AWS.
    needs_session: bool,
    /// The engine, if an index is read or an action needs one.
    pub(super) engine: Option<IndexEndpoint>,
    workers: usize,
}

/// What the actions of a run need, which its sources may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ActionNeeds {
    /// Whether one needs an AWS session.
    pub(super) session: bool,
    /// Whether one needs the engine of the run.
    pub(super) engine: bool,
    /// Whether the actions are performed.
    pub(super) performance: Performance,
}

/// Whether actions are performed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Performance {
    /// They are.
    #[default]
    Performed,
    /// They are only shown: their options are accepted, and have no effect.
    Shown,
}

impl ActionNeeds {
    pub(super) fn of(alerts: &AlertPlan) -> Self {
        Self { session: alerts.needs_session(), ..Self::of_actions(&alerts.actions) }
    }

    fn of_actions(actions: &[Action]) -> Self {
        Self {
            session: actions.iter().any(Action::needs_session),
            engine: actions.iter().any(Action::needs_engine),
            performance: Performance::Performed,
        }
    }

    /// Returns what actions need that are only shown, so a dry run accepts the options of the run that it stands for.
    pub(super) fn shown(actions: &[Action]) -> Self {
        Self { performance: Performance::Shown, ..Self::of_actions(actions) }
    }
}

impl InputArgs {
    /// Checks the options and fills in the defaults.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] that names the option.
    pub(super) fn plan(
        &self,
        needs: ActionNeeds,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<InputPlan, Failure> {
        let sources = self.sources()?;
        if self.follow {
            sources.check_follow()?;
        }
        let is_shown = needs.performance == Performance::Shown;
        let engine = match needs.engine {
            true if is_shown && sources.index.is_none() => None,
            true => Some(IndexEndpoint::new(&self.engine, environment)?),
            false => IndexEndpoint::of_sources(
                &sources,
                &self.engine,
                environment,
                "neither '--in index' nor an action `index` is used",
            )?,
        };
        let signs = engine.as_ref().is_some_and(|engine| engine.auth == EngineAuth::SigV4);
        // The options about AWS credentials have an effect if an action uses them.
        let signs_for_action = is_shown && needs.engine && self.engine.aws_auth;
        let uses_credentials = needs.session || signs || signs_for_action;
        let auth = if uses_credentials { EngineAuth::SigV4 } else { EngineAuth::Credentials };
        let aws = self.aws.plan(&sources, auth, environment)?;
        let remote = sources.remote_sources() + usize::from(sources.index.is_some());
        let memory = MemoryBudget::new(MEMORY_BYTES, BATCH_BYTES, remote);
        let processors = environment.processors.map_or(1, NonZeroUsize::get);
        Ok(InputPlan {
            range: self.range(now)?,
            follow: if self.follow { FollowMode::On } else { FollowMode::Off },
            workers: processors.min(memory.affordable_workers()).max(1),
            sources,
            aws,
            memory,
            needs_session: (needs.session && !is_shown) || signs,
            engine,
        })
    }

    /// Returns a plan that reads nothing, for actions that are performed.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] that names the option that is missing, or one that no action needs.
    pub(super) fn retry_plan(
        &self,
        needs: ActionNeeds,
        environment: &Environment,
    ) -> Result<InputPlan, Failure> {
        let nothing = SourceList::default();
        let engine = if needs.engine {
            Some(IndexEndpoint::new(&self.engine, environment)?)
        } else {
            self.check_unused_engine()?;
            None
        };
        let signs = engine.as_ref().is_some_and(|engine| engine.auth == EngineAuth::SigV4);
        let needs_session = needs.session || signs;
        let auth = if needs_session { EngineAuth::SigV4 } else { EngineAuth::Credentials };
        Ok(InputPlan {
            aws: self.aws.plan(&nothing, auth, environment)?,
            sources: nothing,
            range: TimeRange::default(),
            follow: FollowMode::Off,
            memory: MemoryBudget::new(MEMORY_BYTES, BATCH_BYTES, 0),
            needs_session,
            engine,
            workers: 1,
        })
    }

    /// Rejects options of an engine that no alert is indexed into. That of `--in index` is named in messages.
    fn check_unused_engine(&self) -> Result<(), Failure> {
        match self.engine.given_option() {
            Some(option) if self.sources()?.index.is_none() => Err(Failure::usage(format!(
                "'{option}' has no effect with '--retry': no alert is to be sent to this engine"
            ))
            .hint(format!("remove {option}"))),
            _ => Ok(()),
        }
    }

    /// Returns what the messages of a run with these sources say.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if the options of the engine are not valid.
    pub(super) fn messages_of_run(
        &self,
        environment: &Environment,
    ) -> Result<MessageContext, Failure> {
        let sources = self.sources()?;
        let index = match (sources.index, &self.engine.into) {
            (Some(_), Some(_)) => Some(IndexEndpoint::new(&self.engine, environment)?),
            _ => None,
        };
        Ok(message_context(&sources, index.as_ref()))
    }

    /// Returns the sources.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] for an invalid S3 address.
    pub(super) fn sources(&self) -> Result<SourceList, Failure> {
        SourceList::for_search(&self.sources, &self.aws.buckets.trail)
    }

    fn range(&self, now: Timestamp) -> Result<TimeRange, Failure> {
        let resolve = |option: &str, moment: Moment| {
            moment.resolve(now).ok_or_else(|| {
                Failure::usage(format!("invalid value for '{option}': expected a shorter age"))
            })
        };
        let from = match (self.last, &self.from) {
            (Some(age), _) => Some(resolve("--last <AGE>", Moment::Ago(age))?),
            (None, from) => {
                from.as_ref().map(|from| resolve("--from <TIME>", from.moment)).transpose()?
            }
        };
        let to = self.to.as_ref().map(|to| resolve("--to <TIME>", to.moment)).transpose()?;
        match (from, to) {
            (Some(from), Some(to)) if from >= to => Err(Failure::usage(format!(
                "the time range is empty: it starts at {from} and ends before {to}"
            ))),
            _ => Ok(TimeRange { from, to }),
        }
    }
}

/// What every step of a run needs.
#[derive(Clone, Copy)]
pub(super) struct InputContext<'a> {
    pub(super) plan: &'a InputPlan,
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) log: &'a Log,
    /// What acknowledges the messages of queues.
    pub(super) scope: &'a RunScope,
}

/// A source that is ready to be read.
pub(super) struct OpenedInput {
    pub(super) source: CombinedSource,
    /// What to wait for after the run.
    pub(super) closing: Option<Closing>,
}

impl InputContext<'_> {
    /// Opens the AWS session that sources or the engine need.
    pub(super) async fn session(self) -> Result<Option<Session>, Failure> {
        let Self { plan, metrics, .. } = self;
        if plan.sources.uses_aws() {
            return sources::open_session(&plan.sources, &plan.aws, &metrics.waits).await.map(Some);
        }
        if plan.needs_session {
            return accounts::new_session(&plan.aws, &metrics.waits).await.map(Some);
        }
        Ok(None)
    }

    /// Returns the engine of actions that name none.
    pub(super) fn engine(self, session: Option<&Session>) -> Option<Target> {
        self.plan.engine.as_ref().map(|engine| engine.target(session))
    }

    /// Builds the source. Returns `None` after a shutdown signal.
    pub(super) async fn open(
        self,
        session: Option<Session>,
        history: History<'_>,
        lookup: LookupMode,
    ) -> Result<Option<OpenedInput>, Failure> {
        let Self { plan, metrics, log, scope, .. } = self;
        let shutdown = &scope.shutdown;
        let deletion = match lookup {
            LookupMode::Load(_) => plan.aws.messages,
            // A dry run.
            LookupMode::Search(_) | LookupMode::Estimate => MessageDeletion::None,
        };
        let builder = SourceBuilder {
            sources: &plan.sources,
            aws: &plan.aws,
            range: plan.range,
            memory: plan.memory,
            history,
            lookup,
            queues: QueueReading {
                mode: plan.follow.queue_mode(),
                deletion,
                order: MessageOrder::WithinGroup,
                acknowledgers: &scope.acknowledgers,
            },
            metrics,
            log,
            shutdown,
        };
        let Some(source) = builder.build(session.clone()).await? else { return Ok(None) };
        let with_index = Box::pin(self.with_index(source, session.as_ref()));
        unless_shut_down(shutdown, with_index).await
    }

    /// Adds the indices of the engine, if they are read.
    async fn with_index(
        self,
        source: CombinedSource,
        session: Option<&Session>,
    ) -> Result<OpenedInput, Failure> {
        let Self { plan, metrics, log, scope, .. } = self;
        let (Some(number), Some(index)) = (plan.sources.index, &plan.engine) else {
            return Ok(OpenedInput { source, closing: None });
        };
        let reader = index.connect(session, metrics, log, &scope.shutdown).await?;
        let engine = reader.info().to_string();
        log.info(reader.address(), format_args!("reading from {engine}"));
        let index = IndexPlan::new(reader, &in_range(plan.range)).await?;
        let mut index = IndexSource::new(index, number, log.clone());
        let closing = Some(index.closing());
        Ok(OpenedInput { source: source.with_remote(number, index), closing })
    }

    /// Returns what the pipeline reads.
    pub(super) fn pipeline(self, source: CombinedSource) -> PipelineConfig {
        let Self { plan, metrics, log, scope, .. } = self;
        PipelineConfig {
            source: Box::new(source),
            range: plan.range,
            workers: plan.workers,
            memory: plan.memory,
            metrics: Arc::clone(metrics),
            log: log.warnings_only(),
            shutdown: scope.shutdown.clone(),
            trigger: scope.trigger.clone(),
        }
    }
}

/// Returns a query for all events in a range. The workers compare the times again, to the millisecond.
fn in_range(range: TimeRange) -> Query {
    Query {
        range: TimeBounds {
            from: range.from.map(first_second),
            to: range.to.map(Timestamp::as_second),
        },
        ..Query::default()
    }
}

fn first_second(time: Timestamp) -> i64 {
    time.as_second() - i64::from(time.subsec_nanosecond() < 0)
}
