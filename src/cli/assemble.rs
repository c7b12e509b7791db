//! Builds source, normalizer, sink and checkpoint from a plan, and runs them until their end.
//!
//! In: a [`Plan`]. Out: how it ended.

use std::{path::Path, sync::Arc};

use tokio::runtime;

use super::{
    enter, environment,
    exit::Exit,
    failure::Failure,
    gather::{Sources, held_bytes, nothing_done, unless_stopped},
    load::Plan,
    presence, signals,
};
use crate::{
    aws::Access,
    checkpoint::{self, Reader, Store},
    normalize::{Fields, Rules, Settings, Shape},
    pipeline::{self, Finished, Load, Outcome, Survey},
    report::{Log, Tally, figures},
    shutdown::{ShutdownSignal, ShutdownTrigger, shutdown_channel},
    sink::{Engine, Service, Signing},
    source::{Files, Many},
};

/// Documents a second that engines were measured to take on two cores, from many fields to few: the
/// two ends of a dry run's estimate.
const DOCUMENTS_A_SECOND: [u64; 2] = [5_000, 20_000];

/// Bytes in the index for a byte sent; measured between half and nearly all of it.
const INDEX_PERCENT: u64 = 70;

/// Changes that a dry run shows, the most frequent first.
const CHANGES_SHOWN: usize = 20;

/// A load that is over, but for its last line in the checkpoint.
#[derive(Debug)]
pub(super) struct Ended {
    /// How it ended.
    pub(super) outcome: Result<Outcome, Failure>,
    /// Where the exit code is still to be written. `None` if the load did not get that far, or the store failed.
    pub(super) store: Option<Store>,
}

impl From<Result<Outcome, Failure>> for Ended {
    fn from(outcome: Result<Outcome, Failure>) -> Self {
        Self { outcome, store: None }
    }
}

/// Loads, or says what would be loaded.
pub(super) fn load(plan: &Plan, tally: &Arc<Tally>, log: &Log) -> Ended {
    // The corridor only carries; the work is done by threads of its own.
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Err(Failure::of(Exit::Person, &error)).into(),
    };
    let ended = runtime.block_on(run(plan, tally, log));
    // A worker may still wait for a pipe that nobody writes to.
    runtime.shutdown_background();
    ended
}

async fn run(plan: &Plan, tally: &Arc<Tally>, log: &Log) -> Ended {
    let (raise, stop) = shutdown_channel();
    if let Err(failure) = signals::listen(raise.clone(), log.clone()) {
        return Err(failure).into();
    }
    if plan.dry_run {
        return dry_run(plan, tally, log, stop).await.into();
    }
    match open(plan, tally, log, &stop).await {
        Ok(Some(opened)) => Box::pin(for_real(plan, opened, tally, log, &raise, stop)).await,
        Ok(None) => Ok(Outcome::Stopped).into(),
        Err(failure) => Err(failure).into(),
    }
}

/// What a load has opened before it reads anything.
struct Opened {
    caller: Option<Access>,
    fields: Arc<Fields>,
    engine: Engine,
    store: Store,
}

/// Enters AWS, connects to the engine and opens the checkpoint, in this order: nothing is opened or sent for a word that
/// makes no sense, and a mistyped address leaves no file behind. Returns `None` if the user stopped it.
async fn open(
    plan: &Plan,
    tally: &Arc<Tally>,
    log: &Log,
    stop: &ShutdownSignal,
) -> Result<Option<Opened>, Failure> {
    let rules = Arc::new(rules(plan)?);
    let fields = Arc::new(Fields::new(Arc::clone(&rules), plan.fields, plan.max_fields));
    Files::new(&plan.words.paths(), nothing_done())?;
    let Some(caller) = unless_stopped(stop, Box::pin(caller(plan, tally))).await? else {
        return Ok(None);
    };
    let mut target = plan.sink_target();
    if let Some(caller) = caller.as_ref().filter(|_| plan.aws_auth) {
        target.signing = Some(signing(plan, caller));
    }
    let connecting = Engine::connect(
        target,
        rules.template().clone(),
        Arc::clone(&fields) as Arc<_>,
        log.clone(),
        Arc::clone(tally),
        stop.clone(),
    );
    // Nothing is under way that would be worth finishing.
    let connecting = Box::pin(async { Ok(connecting.await?) });
    let Some(engine) = unless_stopped(stop, connecting).await? else { return Ok(None) };
    let store = Store::open(&plan.checkpoint, &plan.target_name(), environment::now())?;
    Ok(Some(Opened { caller, fields, engine, store }))
}

async fn for_real(
    plan: &Plan,
    opened: Opened,
    tally: &Arc<Tally>,
    log: &Log,
    raise: &ShutdownTrigger,
    stop: ShutdownSignal,
) -> Ended {
    let Opened { caller, fields, engine, mut store } = opened;
    if let Err(failure) = presence::before(plan, &engine, &mut store, log).await {
        return Ended { outcome: Err(failure), store: Some(store) };
    }
    let sources = Sources { plan, tally, log, stop: &stop, checkpoint: Some(store.path()) };
    let source = match gather(sources, caller, &fields, store.path()).await {
        Ok(Some(source)) => source,
        Ok(None) => return Ended { outcome: Ok(Outcome::Stopped), store: Some(store) },
        Err(failure) => return Ended { outcome: Err(failure), store: Some(store) },
    };
    let engine_name = engine.describe().to_string();
    log.info(
        plan.target.url.as_str().trim_end_matches('/'),
        format_args!("loading into {engine_name}"),
    );
    // Set once, here.
    let _ = tally.engine.set(engine_name);
    let load = parts(plan, source, fields, tally, log, stop);
    let engine = Arc::new(engine);
    let Finished { outcome, mut store, held } =
        pipeline::load(load, Arc::clone(&engine), store, raise).await;
    let mut outcome = outcome.map_err(Failure::from);
    if let (Ok(Outcome::Complete), Some(store)) = (&outcome, &mut store)
        && let Err(failure) = presence::after(plan, (&engine, held.as_ref()), store, log).await
    {
        outcome = Err(failure);
    }
    Ended { outcome, store }
}

/// Makes the source, and hands on what earlier runs decided about fields.
async fn gather(
    sources: Sources<'_>,
    caller: Option<Access>,
    fields: &Fields,
    checkpoint: &Path,
) -> Result<Option<Many>, Failure> {
    // After the templates were read: their word is newer than the checkpoint's.
    recall(fields, &Reader::open(checkpoint)?)?;
    sources.gather(caller).await
}

async fn dry_run(
    plan: &Plan,
    tally: &Arc<Tally>,
    log: &Log,
    stop: ShutdownSignal,
) -> Result<Outcome, Failure> {
    let fields = Arc::new(Fields::new(Arc::new(rules(plan)?), plan.fields, plan.max_fields));
    Files::new(&plan.words.paths(), nothing_done())?;
    // What a real run would skip is skipped; a file that is not there yet is not made.
    let checkpoint = match Reader::open(&plan.checkpoint) {
        Ok(reader) => {
            recall(&fields, &reader)?;
            Some(plan.checkpoint.as_path())
        }
        Err(checkpoint::Error::Missing { .. } | checkpoint::Error::Empty { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let Some(caller) = unless_stopped(&stop, Box::pin(caller(plan, tally))).await? else {
        return Ok(Outcome::Stopped);
    };
    let sources = Sources { plan, tally, log, stop: &stop, checkpoint };
    let Some(source) = sources.gather(caller).await? else { return Ok(Outcome::Stopped) };
    let load = parts(plan, source, Arc::clone(&fields), tally, log, stop);
    let (outcome, survey) = pipeline::survey(load).await?;
    tell(plan, &survey, &fields, log);
    Ok(outcome)
}

/// Returns the rules about fields.
fn rules(plan: &Plan) -> Result<Rules, Failure> {
    Ok(match &plan.mappings {
        Some(folder) => Rules::load(folder),
        None => Rules::embedded(),
    }?)
}

/// Returns who we are at AWS, if AWS is needed at all. Asks once, so that a load without credentials fails early.
async fn caller(plan: &Plan, tally: &Tally) -> Result<Option<Access>, Failure> {
    if !plan.words.is_aws() && !plan.aws_auth {
        return Ok(None);
    }
    let access = enter::access(&plan.cloud, &tally.waits).await?;
    enter::check_points(&plan.words.buckets, &access)?;
    if plan.words.lookup.is_some() {
        access.identity().await?;
    } else if plan.words.has_buckets() {
        access.access_key().await?;
    }
    Ok(Some(access))
}

/// Returns how requests to the engine are signed: by its host name, or as for a managed domain in our own Region.
pub(super) fn signing(plan: &Plan, caller: &Access) -> Signing {
    let named = Service::of_host(&plan.target.url);
    let (service, region) = named.unwrap_or_else(|| (Service::Domain, caller.region()));
    Signing { service, region, credentials: caller.credentials() }
}

/// Hands on what earlier runs decided about fields that no table knows.
fn recall(fields: &Fields, reader: &Reader) -> Result<(), checkpoint::Error> {
    let decisions = reader.decisions()?.into_iter();
    fields.recall(decisions.filter_map(|decision| {
        // A newer program may know more shapes than this one.
        Some((decision.path, Shape::named(&decision.kind)?))
    }));
    Ok(())
}

fn parts(
    plan: &Plan,
    source: Many,
    fields: Arc<Fields>,
    tally: &Arc<Tally>,
    log: &Log,
    stop: ShutdownSignal,
) -> Load {
    Load {
        source: Box::new(source),
        fields,
        settings: Settings {
            prefix: plan.index.as_str().to_owned(),
            by: plan.index_by,
            range: plan.range,
            keep_original: plan.keep_original,
        },
        workers: plan.workers.get(),
        batch_bytes: plan.batch.0,
        memory_bytes: plan.memory.0 - held_bytes(plan),
        tally: Arc::clone(tally),
        log: log.clone(),
        stop,
        retry: plan.retry,
    }
}

/// Says what a dry run found.
fn tell(plan: &Plan, survey: &Survey, fields: &Fields, log: &Log) {
    let documents: u64 = survey.indices.values().sum();
    if documents == 0 && plan.words.lookup.is_some() {
        // The event history has told its estimate, and nothing else was read.
        return;
    }
    for (index, count) in &survey.indices {
        log.info(index, format_args!("would get {}", figures::counted(*count, "document")));
    }
    let mut changes: Vec<(&String, &u64)> = survey.changes.iter().collect();
    changes.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (change, count) in changes.iter().take(CHANGES_SHOWN) {
        log.info("conflict", format_args!("{}: {change}", figures::counted(**count, "document")));
    }
    if changes.len() > CHANGES_SHOWN {
        let more = changes.len() - CHANGES_SHOWN;
        log.info("conflict", format_args!("and {more} other kinds, less frequent"));
    }
    let [slow, fast] = DOCUMENTS_A_SECOND.map(|speed| documents.div_ceil(speed));
    let seconds = if slow > fast { format!("{fast} to {slow} s") } else { format!("{slow} s") };
    log.info(
        "estimate",
        format_args!(
            "{} fields beside the core; {} to send, about {} in the index; {seconds}",
            figures::count(fields.len().into()),
            figures::bytes(survey.body_bytes),
            figures::bytes(survey.body_bytes / 100 * INDEX_PERCENT),
        ),
    );
}
