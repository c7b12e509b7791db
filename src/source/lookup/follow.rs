//! Follows the event history of accounts and Regions: catches up first, then asks for new events until a shutdown.
//!
//! Input: targets, what of them is covered, and how to find targets again. Output: the events of [`LookupSource`], which loads what
//! is missing up to the overlap, and those of [`LookupSearch`], which reads each Region that has caught up from there on, and polls.
//! Invariant: each account and Region is followed once. One that appears later is read like those that were there from the start;
//! one that fails is tried again, and its error is reported once. The run fails only if nothing can be read at its start.
//! Deliberately absent: what is asked for when (see `search::follow`), and credentials and lists of Regions (see `aws`).

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    CoverageFn, EpochClock, EstimateCallback, FailureReason, LookupError, LookupOptions,
    LookupSearch, LookupSearchOptions, LookupSource, LookupTarget, MIN_HELD_BYTES,
    search::CoverageOptions,
};
use crate::{
    report::{LookupProgress, RegionStage},
    shutdown::{ShutdownLevel, ShutdownSignal},
    source::{
        Error, EventSender, IndexedEvent, ReceiverClosed, Source, SourceEvent, SourceObservation,
        SourceRun, event_channel, task_output,
    },
};

/// How often new accounts and Regions are looked for: a few requests for each account.
const DISCOVERY_INTERVAL: Duration = Duration::from_hours(1);

/// How soon accounts and Regions that failed are tried again.
const RETRY_INTERVAL: Duration = Duration::from_mins(5);

/// An account and a Region.
type Place = (String, String);

/// Finds the targets again.
pub type TargetDiscovery = Box<dyn Fn() -> DiscoveryRun + Send + Sync>;

/// The future of a [`TargetDiscovery`]. Its error is shown to the user.
pub type DiscoveryRun = Pin<Box<dyn Future<Output = Result<FoundTargets, String>> + Send>>;

/// The targets that there are now.
#[derive(Debug, Default)]
pub struct FoundTargets {
    /// The targets.
    pub targets: Vec<LookupTarget>,
    /// The accounts that cannot be accessed.
    pub failed: Vec<Error>,
}

/// How a target is read before its new events are.
pub enum FollowStart {
    /// What no earlier run covered is loaded first, and coverage is recorded.
    CatchUp(CatchUp),
    /// It is read newest first, while new events are asked for. Nothing is recorded.
    Search,
}

/// How what earlier runs did not cover is loaded.
pub struct CatchUp {
    /// The options of the load.
    pub options: LookupOptions,
    /// Returns a lookup of what earlier runs covered.
    pub coverage: Box<dyn Fn() -> CoverageFn + Send + Sync>,
    /// Receives the estimate of the first load.
    pub on_estimate: Option<EstimateCallback>,
}

/// Follows accounts and Regions.
pub struct LookupFollow {
    source_number: usize,
    clock: EpochClock,
    plan: GroupPlan,
    first: Group,
    discovery: Option<TargetDiscovery>,
}

/// How groups of targets are read.
struct GroupPlan {
    search: LookupSearchOptions,
    catch_up: Option<(LookupOptions, Box<dyn Fn() -> CoverageFn + Send + Sync>)>,
}

/// Targets that are read together.
struct Group {
    targets: Vec<LookupTarget>,
    first: FirstReading,
    search: LookupSearchOptions,
}

/// What is read first of a group.
enum FirstReading {
    CatchUp(LookupSource),
    Search(LookupSearch),
}

/// The progress of the readings of a group, as far as they have started.
type GroupProgress = Arc<Mutex<Vec<Arc<LookupProgress>>>>;

impl LookupFollow {
    /// Creates the source. `search` has the options for new events: how they are followed must be set. No request is sent yet.
    pub fn new(
        targets: Vec<LookupTarget>,
        start: FollowStart,
        search: LookupSearchOptions,
        discovery: Option<TargetDiscovery>,
    ) -> Self {
        let (source_number, clock) = (search.source_number, search.clock.clone());
        let (catch_up, on_estimate) = match start {
            FollowStart::CatchUp(CatchUp { options, coverage, on_estimate }) => {
                (Some((options, coverage)), on_estimate)
            }
            FollowStart::Search => (None, None),
        };
        let plan = GroupPlan { search, catch_up };
        let mut first = plan.group(0, targets, clock.now());
        if let (FirstReading::CatchUp(source), Some(callback)) = (&mut first.first, on_estimate) {
            source.on_estimate = Some(callback);
        }
        Self { source_number, clock, plan, first, discovery }
    }

    /// Returns the progress counters of what is read first.
    pub fn progress(&self) -> Arc<LookupProgress> {
        self.first.first.progress()
    }

    async fn follow(self, out: &EventSender, shutdown: ShutdownSignal) -> Result<(), Error> {
        let Self { source_number, clock, plan, first, discovery } = self;
        let (sender, mut events) = event_channel();
        let mut run = FollowRun {
            source_number,
            targets: first.targets.clone(),
            groups: JoinSet::new(),
            started: 0,
            running: BTreeMap::new(),
            followed: BTreeSet::new(),
            failed: BTreeSet::new(),
            reported: BTreeMap::new(),
            unreachable_accounts: BTreeSet::new(),
            discovery_error: None,
            out: out.clone(),
            events: sender,
            shutdown,
        };
        run.start(first);
        let mut discovering = JoinSet::new();
        let mut discover_at = Instant::now() + DISCOVERY_INTERVAL;
        let mut retry_at = Instant::now() + RETRY_INTERVAL;
        loop {
            let next = if discovery.is_some() { discover_at.min(retry_at) } else { retry_at };
            tokio::select! {
                biased;
                Some(batch) = events.recv() => {
                    if run.forward(batch).await.is_err() {
                        return Ok(());
                    }
                }
                Some(ended) = run.groups.join_next() => {
                    let Some((number, result)) = task_output(ended) else { continue };
                    run.on_group_end(number);
                    let Err(error) = result else { continue };
                    if run.started == 1 {
                        return Err(error);
                    }
                    if run.report(error).await.is_err() {
                        return Ok(());
                    }
                }
                Some(found) = discovering.join_next() => {
                    let found = task_output(found).unwrap_or_else(|| Ok(FoundTargets::default()));
                    if run.on_discovery(found).await.is_err() {
                        return Ok(());
                    }
                    run.retry_failed(Retried::All);
                    run.start_new(&plan, clock.now());
                }
                () = sleep_until(next) => {
                    let now = Instant::now();
                    if now >= retry_at {
                        retry_at = now + RETRY_INTERVAL;
                        run.retry_failed(Retried::Enabled);
                        run.start_new(&plan, clock.now());
                    }
                    if let Some(discovery) = discovery.as_ref().filter(|_| now >= discover_at) {
                        discover_at = now + DISCOVERY_INTERVAL;
                        if discovering.is_empty() {
                            discovering.spawn(discovery());
                        }
                    }
                }
            }
        }
    }
}

impl GroupPlan {
    /// Returns a group that is read from now on. Its number replaces that of the SOURCE argument in its events.
    fn group(&self, number: usize, targets: Vec<LookupTarget>, now: i64) -> Group {
        let mut search = LookupSearchOptions { source_number: number, ..self.search.clone() };
        let Some((options, coverage)) = &self.catch_up else {
            let first = FirstReading::Search(LookupSearch::new(targets.clone(), search.clone()));
            return Group { targets, first, search };
        };
        let overlap = options.overlap.max(options.delay);
        let to = now.saturating_sub_unsigned(overlap.as_secs());
        let options = LookupOptions { source_number: number, now, to: Some(to), ..options.clone() };
        // Some Regions still catch up while others are polled.
        let options = LookupOptions { held_bytes: options.held_bytes / 2, ..options };
        search.held_bytes /= 2;
        search.from = search.from.max(Some(to + 1));
        search.follow = search.follow.map(|follow| super::FollowOptions {
            overlap: options.delay.max(MIN_DELAY),
            coverage: Some(CoverageOptions { overlap }),
            ..follow
        });
        let first = LookupSource::new(targets.clone(), options, coverage());
        Group { targets, first: FirstReading::CatchUp(first), search }
    }
}

/// The least age of events at which their seconds are read to their end: with less, every poll would be followed by a sweep.
const MIN_DELAY: Duration = Duration::from_mins(1);

impl FirstReading {
    fn progress(&self) -> Arc<LookupProgress> {
        match self {
            Self::CatchUp(source) => source.progress(),
            Self::Search(search) => search.progress(),
        }
    }
}

impl Group {
    /// Reads the group until a shutdown.
    async fn run(
        self,
        progress: GroupProgress,
        out: EventSender,
        shutdown: ShutdownSignal,
    ) -> Result<(), Error> {
        let Self { targets, first, search } = self;
        let search = match first {
            FirstReading::Search(search) => search,
            FirstReading::CatchUp(mut source) => {
                // Each Region is polled as soon as it has caught up.
                let regions = 0..source.progress.regions.len();
                let (ends, starts) = regions.map(|_| oneshot::channel()).unzip();
                source.region_ends = ends;
                let search = LookupSearch::new(targets, search).after(starts);
                lock(&progress).push(search.progress());
                let caught_up = Box::new(source).run(out.clone(), shutdown.clone());
                let polled = Box::new(search).run(out, shutdown);
                return tokio::try_join!(caught_up, polled).map(|((), ())| ());
            }
        };
        Box::new(search).run(out, shutdown).await
    }
}

fn lock(
    progress: &Mutex<Vec<Arc<LookupProgress>>>,
) -> std::sync::MutexGuard<'_, Vec<Arc<LookupProgress>>> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(target: &LookupTarget) -> Place {
    (target.account.clone(), target.region.clone())
}

/// Returns the accounts and Regions that were given up.
fn failed_places(progress: &LookupProgress) -> BTreeSet<Place> {
    let failed =
        progress.regions.iter().filter(|region| region.figures().stage == RegionStage::Failed);
    failed.map(|region| (region.account.clone(), region.region.clone())).collect()
}

/// A group that has not ended.
struct RunningGroup {
    progress: GroupProgress,
    /// Accounts and Regions that failed, as far as it is known.
    failed: BTreeSet<Place>,
    /// Whether it was running when failed ones were last tried again.
    is_old: bool,
    observation: Option<SourceObservation>,
}

impl RunningGroup {
    fn new(progress: GroupProgress) -> Self {
        Self { progress, failed: BTreeSet::new(), is_old: false, observation: None }
    }

    /// Returns the accounts and Regions that did not fail.
    fn healthy(&self) -> BTreeSet<Place> {
        let progress = lock(&self.progress);
        let all = progress.iter().flat_map(|progress| &progress.regions);
        let all = all.map(|region| (region.account.clone(), region.region.clone()));
        all.filter(|place| !self.failed.contains(place)).collect()
    }

    /// Returns the accounts and Regions that failed since the last call.
    fn take_failed(&mut self) -> BTreeSet<Place> {
        let progress = lock(&self.progress);
        let all: BTreeSet<Place> =
            progress.iter().flat_map(|progress| failed_places(progress)).collect();
        let new = all.difference(&self.failed).cloned().collect();
        self.failed = all;
        new
    }
}

/// Which accounts and Regions that failed are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retried {
    /// All of them.
    All,
    /// Those that are known to be enabled.
    Enabled,
}

/// The groups that are followed, and what was reported of them.
struct FollowRun {
    source_number: usize,
    /// All targets, as of the last discovery.
    targets: Vec<LookupTarget>,
    groups: JoinSet<(usize, Result<(), Error>)>,
    /// Number of groups that were started.
    started: usize,
    /// The groups that have not ended.
    running: BTreeMap<usize, RunningGroup>,
    /// Accounts and Regions in a group.
    followed: BTreeSet<Place>,
    /// Those that were given up, and are not tried again yet.
    failed: BTreeSet<Place>,
    /// Why accounts and Regions failed, as far as it was reported.
    reported: BTreeMap<Place, FailureReason>,
    unreachable_accounts: BTreeSet<String>,
    discovery_error: Option<String>,
    out: EventSender,
    events: EventSender,
    shutdown: ShutdownSignal,
}

impl FollowRun {
    fn start(&mut self, group: Group) {
        self.followed.extend(group.targets.iter().map(place));
        let number = self.started;
        self.started += 1;
        let progress: GroupProgress = Arc::new(Mutex::new(vec![group.first.progress()]));
        self.running.insert(number, RunningGroup::new(Arc::clone(&progress)));
        let reading = group.run(progress, self.events.clone(), self.shutdown.clone());
        self.groups.spawn(async move { (number, reading.await) });
    }

    fn on_group_end(&mut self, number: usize) {
        if let Some(mut group) = self.running.remove(&number) {
            self.failed.extend(group.take_failed());
        }
    }

    /// Starts to follow the targets that are not followed.
    fn start_new(&mut self, plan: &GroupPlan, now: i64) {
        let is_new = |target: &&LookupTarget| !self.followed.contains(&place(target));
        let new: Vec<LookupTarget> = self.targets.iter().filter(is_new).cloned().collect();
        if new.is_empty() {
            return;
        }
        let mut group = plan.group(self.started, new, now);
        // The memory of the first group is in use.
        group.search.held_bytes = MIN_HELD_BYTES;
        if let FirstReading::CatchUp(source) = &mut group.first {
            source.options.held_bytes = MIN_HELD_BYTES;
        }
        self.start(group);
    }

    /// Stops to count targets as followed that were given up, so that they are tried again.
    fn retry_failed(&mut self, retried: Retried) {
        for group in self.running.values_mut() {
            self.failed.extend(group.take_failed());
            if mem::replace(&mut group.is_old, true) {
                // They have recovered.
                let healthy = group.healthy();
                self.reported.retain(|place, _| !healthy.contains(place));
            }
        }
        let Self { failed, followed, .. } = self;
        let mut again = mem::take(failed);
        if retried == Retried::Enabled {
            let may_be_disabled = self.targets.iter().filter(|target| target.may_be_disabled);
            for place in may_be_disabled.map(place) {
                failed.extend(again.take(&place));
            }
        }
        followed.retain(|place| !again.contains(place));
    }

    /// Passes events on, except errors that were reported before.
    async fn forward(&mut self, batch: Vec<IndexedEvent>) -> Result<(), ReceiverClosed> {
        for (group, event) in batch {
            match event {
                SourceEvent::Failed(error) => self.report(error).await?,
                SourceEvent::Observed(observation) => self.observe(group, observation).await?,
                event => self.out.send(self.source_number, event).await?,
            }
        }
        Ok(())
    }

    /// Reports the state of all groups together.
    async fn observe(
        &mut self,
        group: usize,
        observation: SourceObservation,
    ) -> Result<(), ReceiverClosed> {
        if let Some(group) = self.running.get_mut(&group) {
            group.observation = Some(observation);
        }
        let states = self.running.values().map(|group| group.observation.as_ref());
        let newest_event = states.clone().flatten().filter_map(|state| state.newest_event).max();
        // Nothing is complete before all are known.
        let covered: Option<Vec<_>> = states.map(|state| state?.covered_until).collect();
        let covered_until = covered.and_then(|covered| covered.into_iter().min());
        let observation =
            SourceObservation { newest_event, covered_until, ..SourceObservation::default() };
        self.out.send(self.source_number, SourceEvent::Observed(observation)).await
    }

    async fn report(&mut self, error: Error) -> Result<(), ReceiverClosed> {
        if let Error::Lookup(error) = &error {
            if *error.reason() == FailureReason::RegionDisabled && self.may_be_disabled() {
                return Ok(());
            }
            let place = match error {
                LookupError::Region { account, region, .. } => (account.clone(), region.clone()),
                LookupError::AllRegions { .. } => Place::default(),
            };
            let before = self.reported.insert(place, error.reason().clone());
            if before.as_ref() == Some(error.reason()) {
                return Ok(());
            }
        }
        self.out.send(self.source_number, SourceEvent::Failed(error)).await
    }

    /// Returns whether some Regions are guessed, so that those that are disabled are no news.
    fn may_be_disabled(&self) -> bool {
        self.targets.iter().any(|target| target.may_be_disabled)
    }

    /// Takes over the targets that there are now, and reports what is new about accounts that cannot be accessed.
    async fn on_discovery(
        &mut self,
        found: Result<FoundTargets, String>,
    ) -> Result<(), ReceiverClosed> {
        match found {
            Ok(FoundTargets { targets, failed }) => {
                self.discovery_error = None;
                self.targets = targets;
                let subjects = failed.iter().map(|error| error.subject().to_owned()).collect();
                let before = mem::replace(&mut self.unreachable_accounts, subjects);
                for error in failed {
                    if !before.contains(error.subject()) {
                        self.out.send(self.source_number, SourceEvent::Failed(error)).await?;
                    }
                }
                Ok(())
            }
            Err(why) if self.discovery_error.as_ref() == Some(&why) => Ok(()),
            Err(why) => {
                self.discovery_error = Some(why.clone());
                let why = format!("could not look for new accounts and Regions: {why}");
                let event = SourceEvent::Skipped { name: "lookup".to_owned(), why };
                self.out.send(self.source_number, event).await
            }
        }
    }
}

impl Source for LookupFollow {
    fn run(self: Box<Self>, out: EventSender, shutdown: ShutdownSignal) -> SourceRun {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = shutdown.reached(ShutdownLevel::Draining) => Ok(()),
                () = out.closed() => Ok(()),
                result = self.follow(&out, shutdown.clone()) => result,
            }
        })
    }
}
