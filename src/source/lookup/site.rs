//! One account in one Region: which request is sent next, and what its answer means.
//!
//! In: the place's [`Plan`]s, one for each category. Out: slices that begin, come in pages, and end.
//! Holds: whenever the quota allows a request and there is work, one is sent. First the samples of the estimate, then
//! the oldest chain of pages that is not waiting for its answer; if all wait, another chain begins. So there are as
//! many chains as hide the latency, whatever it is, and no more. The first answer is waited for, because a quiet place
//! needs no other; but not for long.
//! Absent on purpose: other places. They share nothing but the memory.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::ask::{Answer, ask};
use super::chain::{Chain, Sample, Step};
use super::clock::Clock;
use super::error::{Error, Why};
use super::estimate::RegionEstimate;
use super::plan::{LONGEST, Plan, Range};
use super::{HISTORY, Options, Place};
use crate::aws::{Refusal, Trouble};
use crate::limit::RateLimiter;
use crate::report::{LookupProgress, RegionProgress, RegionStage};
use crate::shutdown::{ShutdownLevel, ShutdownSignal};
use crate::source::{Found, Held, Page};

/// Most chains at once: hides answers of 16 s. Each is a slice that a restart meets unfinished.
const CHAINS: usize = 32;

/// How long the first answer of a place is waited for. Usually it is here by then, and a quiet place has cost one request.
const FIRST_WAIT: Duration = Duration::from_millis(1_500);

/// Requests that the estimate of a place may cost.
const SAMPLES: u8 = 3;

/// A chain with more pages left than this is worth two chains, when nothing else is left to do: sharing costs half a
/// page, and at 5 s an answer the last pages of a load cost a hundredth of the quota if they wait for each other.
const WORTH_TWO: f64 = 3.0;

/// Time without any answer after which a place is given up.
const PATIENCE: Duration = Duration::from_mins(15);

/// Longest wait between two tries of a chain.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Times that credentials are refused as expired before we believe it: the client gets new ones meanwhile.
const EXPIRED_TRIES: u32 = 5;

/// What sites tell the lister.
#[derive(Debug)]
pub(super) enum Message {
    /// For the pipeline.
    Found(Found),
    /// What this site will cost; `None` if it failed.
    Estimated(usize, Option<RegionEstimate>),
    /// Nothing (more) can be had from this site.
    Gone(usize, Error),
}

/// What all sites of a run share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) clock: Clock,
    pub(super) began: Instant,
    pub(super) stop: ShutdownSignal,
    pub(super) memory: Arc<Semaphore>,
    pub(super) progress: Arc<LookupProgress>,
    pub(super) out: mpsc::Sender<Message>,
}

/// The lister does not listen any more, or the user asked to stop.
struct Over;

/// One category of the place.
struct Work {
    place: Place,
    plan: Plan,
    /// Samples that were sent.
    samples: u8,
}

impl Work {
    /// Returns the next range to sample.
    fn sample(&mut self) -> Option<(Range, Sample)> {
        if self.samples >= SAMPLES {
            return None;
        }
        let number = self.samples;
        self.samples += 1;
        if number == 0 {
            return self.plan.claim_newest_gap().map(|gap| (gap, Sample::Gap));
        }
        let range = self.plan.claim_sample(f64::from(number) / f64::from(SAMPLES));
        if range.is_none() {
            self.samples = SAMPLES;
        }
        range.map(|range| (range, Sample::Slice))
    }
}

/// What to send.
#[derive(Clone, Copy, Debug)]
enum Choice {
    /// The next page of a chain.
    Chain(u64),
    /// Something that no chain has claimed yet.
    Claim,
    /// A part of what this chain claimed to be shown how dense events are: the answer takes long.
    Ahead(u64),
}

type Flown = (u64, Instant, Result<Answer, Refusal>);

/// One account in one Region.
pub(super) struct Site {
    number: usize,
    account: String,
    region: String,
    works: Vec<Work>,
    chains: BTreeMap<u64, Chain>,
    chains_begun: u64,
    flights: JoinSet<Flown>,
    pace: RateLimiter,
    /// Memory for the next page.
    room: Option<OwnedSemaphorePermit>,
    page_bytes: usize,
    /// Since when no answer was one.
    troubled: Option<Instant>,
    expired: u32,
    /// When credentials were last refused as expired: what was under way then says nothing new.
    doubted: Instant,
    /// Whether a request was granted.
    answered: bool,
    estimated: bool,
    /// When the first request was sent.
    first: Option<Instant>,
    shared: Shared,
}

impl Site {
    /// Makes the site of places that are in the same account and Region, with what is missing of each.
    pub(super) fn new(number: usize, works: Vec<(Place, Vec<Range>)>, shared: Shared) -> Self {
        let works: Vec<Work> = works
            .into_iter()
            .map(|(place, gaps)| Work { place, plan: Plan::new(gaps), samples: 0 })
            .collect();
        let region = &shared.progress.regions[number];
        let seconds: i64 = works.iter().map(|work| work.plan.seconds()).sum();
        region.seconds.store(seconds.unsigned_abs(), Relaxed);
        Self {
            number,
            account: region.account.clone(),
            region: region.region.clone(),
            works,
            chains: BTreeMap::new(),
            chains_begun: 0,
            flights: JoinSet::new(),
            pace: RateLimiter::new(shared.options.requests_per_second, shared.began),
            room: None,
            page_bytes: 64 << 10,
            troubled: None,
            expired: 0,
            doubted: shared.began,
            answered: false,
            estimated: false,
            first: None,
            shared,
        }
    }

    fn counters(&self) -> &RegionProgress {
        &self.shared.progress.regions[self.number]
    }

    /// Fetches all that is missing.
    pub(super) async fn run(mut self) {
        self.counters().enter(RegionStage::Fetching);
        match self.fetch().await {
            Err(Over) => self.leave_open_chains().await,
            Ok(None) => self.counters().enter(RegionStage::Done),
            Ok(Some(error)) => {
                self.counters().enter(RegionStage::Failed);
                self.leave_open_chains().await;
                if !self.estimated {
                    let _ = self.tell(Message::Estimated(self.number, None)).await;
                }
                let _ = self.tell(Message::Gone(self.number, error)).await;
            }
        }
    }

    /// Sends and takes in until nothing is left; returns why, if that is not because all is fetched.
    async fn fetch(&mut self) -> Result<Option<Error>, Over> {
        let stop = self.shared.stop.clone();
        loop {
            self.estimate().await?;
            if self.estimated && self.shared.options.dry_run {
                return Ok(None);
            }
            let choice = self.choose();
            let due = self.due(choice);
            if choice.is_none() && self.flights.is_empty() && self.chains.is_empty() {
                return Ok(None);
            }
            let rested = self.chains.values().filter_map(|chain| chain.rests).min();
            let landed = tokio::select! {
                biased;
                () = stop.reached(ShutdownLevel::Draining) => return Err(Over),
                () = self.shared.out.closed() => return Err(Over),
                Some(landed) = self.flights.join_next() => Some(landed),
                () = turn(&self.shared, due, &mut self.room, self.page_bytes), if choice.is_some() => None,
                () = self.shared.clock.reaches(rested.unwrap_or(self.shared.began)), if rested.is_some() => {
                    self.wake();
                    continue;
                }
            };
            match (landed, choice) {
                (Some(landed), _) => {
                    if let Some(error) = self.land(landed).await? {
                        return Ok(Some(error));
                    }
                }
                (None, Some(choice)) => self.launch(choice),
                (None, None) => {}
            }
        }
    }

    /// Wakes the chains that have rested enough.
    fn wake(&mut self) {
        let now = self.shared.clock.now();
        for chain in self.chains.values_mut() {
            chain.rests = chain.rests.filter(|until| *until > now);
        }
    }

    /// Chooses what to send next, if there is anything.
    fn choose(&self) -> Option<Choice> {
        if self.next_sample().is_some() {
            return Some(Choice::Claim);
        }
        let dry = self.shared.options.dry_run;
        let ready = self.chains.iter().filter(|(_, chain)| {
            !chain.flies && chain.rests.is_none() && (chain.sample.is_some() || !dry)
        });
        if let Some((id, _)) =
            ready.min_by_key(|(_, chain)| (chain.sample.is_none(), chain.range.from))
        {
            return Some(Choice::Chain(*id));
        }
        let more = || self.next_slice().is_some() || self.longest().is_some();
        if dry || self.chains.len() >= CHAINS {
            return None;
        }
        if more() { Some(Choice::Claim) } else { self.unanswered().map(Choice::Ahead) }
    }

    /// Returns when a choice may be sent.
    fn due(&self, choice: Option<Choice>) -> Instant {
        let next = self.pace.next();
        match (choice, self.first) {
            (Some(Choice::Ahead(_)), Some(first)) => next.max(first + FIRST_WAIT),
            _ => next,
        }
    }

    /// Returns the chain that waits to be shown how dense events are, and has more than a slice or two in it.
    fn unanswered(&self) -> Option<u64> {
        let waits = |chain: &Chain| chain.flies && chain.sample == Some(Sample::Gap);
        let long = |chain: &Chain| chain.range.seconds() > 2 * LONGEST;
        let mut found = self.chains.iter().filter(|(_, chain)| waits(chain) && long(chain));
        found.next().map(|(id, _)| *id)
    }

    /// Returns which work is to be sampled.
    fn next_sample(&self) -> Option<usize> {
        let wanting = |work: &Work| work.samples < SAMPLES && !work.plan.is_empty();
        (0..self.works.len()).find(|number| wanting(&self.works[*number]) && self.is_known(*number))
    }

    /// Returns which work has the next slice.
    fn next_slice(&self) -> Option<usize> {
        (0..self.works.len())
            .find(|number| !self.works[*number].plan.is_empty() && self.is_known(*number))
    }

    /// Returns whether the first answer came: it shows how long slices should be.
    fn is_known(&self, work: usize) -> bool {
        let waits = |chain: &Chain| chain.sample == Some(Sample::Gap) && chain.work == work;
        self.works[work].plan.is_known() || !self.chains.values().any(waits)
    }

    /// Returns the chain that is best shared with another one, if that is worth it.
    fn longest(&self) -> Option<u64> {
        let begun = self.chains.iter().filter(|(_, chain)| chain.slice_begun());
        let long = begun.map(|(id, chain)| (chain.pages_left(), *id));
        let long = long.filter(|(pages, _)| *pages > WORTH_TWO);
        long.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, id)| id)
    }

    fn launch(&mut self, choice: Choice) {
        let now = self.shared.clock.now();
        let id = match choice {
            Choice::Chain(id) => Some(id),
            Choice::Claim => self.claim(),
            Choice::Ahead(id) => self.claim_ahead(id),
        };
        let Some(id) = id else { return };
        let Some(chain) = self.chains.get_mut(&id) else { return };
        self.first = self.first.or(Some(now));
        chain.flies = true;
        chain.room = self.room.take();
        let (place, query) = (self.works[chain.work].place.clone(), chain.query());
        let clock = self.shared.clock.clone();
        self.flights.spawn(async move { (id, now, ask(place, query, &clock).await) });
        self.pace.sent(now);
        self.counters().requests.fetch_add(1, Relaxed);
    }

    /// Begins another chain.
    fn claim(&mut self) -> Option<u64> {
        let sample = self.next_sample().and_then(|number| {
            let (range, sample) = self.works[number].sample()?;
            let mut chain = Chain::new(number, range);
            chain.sample = Some(sample);
            Some(chain)
        });
        let chain = match sample {
            Some(chain) => chain,
            None => self.claim_slice()?,
        };
        Some(self.begin(chain))
    }

    /// Begins a chain with the oldest part of what another one claimed. That one asks for all of it and keeps its own.
    fn claim_ahead(&mut self, id: u64) -> Option<u64> {
        let chain = self.chains.get_mut(&id)?;
        let oldest = chain.shorten(chain.range.from + LONGEST);
        let mut ahead = Chain::new(chain.work, oldest);
        ahead.sample = Some(Sample::Gap);
        Some(self.begin(ahead))
    }

    fn begin(&mut self, chain: Chain) -> u64 {
        self.chains_begun += 1;
        self.chains.insert(self.chains_begun, chain);
        self.chains_begun
    }

    fn claim_slice(&mut self) -> Option<Chain> {
        if let Some(number) = self.next_slice() {
            let range = self.works[number].plan.claim_oldest(self.chains.len() + 1)?;
            return Some(Chain::new(number, range));
        }
        let id = self.longest()?;
        let chain = self.chains.get_mut(&id)?;
        Some(Chain::new(chain.work, chain.give_away_half()))
    }

    /// Takes in an answer; returns why nothing more can be had, if so.
    async fn land(&mut self, landed: Result<Flown, JoinError>) -> Result<Option<Error>, Over> {
        let (id, sent, answer) = landed.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => {
                unreachable!("requests are not cancelled while they are waited for: {error}")
            }
        });
        let Some(mut chain) = self.chains.remove(&id) else { return Ok(None) };
        chain.flies = false;
        let room = chain.room.take();
        let failed = match answer {
            Ok(answer) => {
                self.pace.granted();
                self.troubled = None;
                self.expired = 0;
                self.answered = true;
                return self.take(id, chain, answer, room).await.map(|()| None);
            }
            Err(refusal) => {
                self.room = self.room.take().or(room);
                self.refused(&mut chain, sent, refusal)
            }
        };
        match failed {
            Ok(()) => {
                self.chains.insert(id, chain);
                Ok(None)
            }
            // A single second is no reason to leave the rest, nor are Insights that a Region does not have.
            Err(error) if self.is_partial(&error) => {
                if error.why() == Some(&Why::Refused) {
                    self.works[chain.work].plan = Plan::default();
                }
                self.end(&mut chain, false).await?;
                self.tell(Message::Found(Found::Failed(error.into()))).await?;
                Ok(None)
            }
            Err(error) => {
                self.chains.insert(id, chain);
                Ok(Some(error))
            }
        }
    }

    /// Returns whether other requests may still be granted.
    fn is_partial(&self, error: &Error) -> bool {
        match error.why() {
            Some(Why::Stuck { .. }) => true,
            Some(Why::Refused) => self.works.len() > 1,
            _ => false,
        }
    }

    /// Decides what a refusal means for its chain.
    ///
    /// # Errors
    ///
    /// Returns why nothing more can be had.
    fn refused(&mut self, chain: &mut Chain, sent: Instant, refusal: Refusal) -> Result<(), Error> {
        let now = self.shared.clock.now();
        let why = match &refusal.trouble {
            Trouble::Throttled => {
                self.counters().throttled.fetch_add(1, Relaxed);
                self.pace.throttled(sent, now);
                // Somebody answers: that is no reason to give up, however long it lasts.
                self.troubled = None;
                return Ok(());
            }
            Trouble::InvalidToken => match chain.restart() {
                None => return Ok(()),
                Some(second) => Why::Stuck { second },
            },
            Trouble::InvalidRange if chain.clamp(self.horizon(now)) => return Ok(()),
            Trouble::Expired if self.expired < EXPIRED_TRIES => {
                if sent >= self.doubted {
                    self.expired += 1;
                    self.doubted = now;
                }
                chain.rest(now, LONGEST_REST);
                return Ok(());
            }
            Trouble::Transient | Trouble::Other
                if now - *self.troubled.get_or_insert(now) < PATIENCE =>
            {
                chain.rest(now, LONGEST_REST);
                return Ok(());
            }
            Trouble::Transient | Trouble::Other => Why::Unreachable,
            Trouble::Denied { action } => Why::Denied {
                action: action.clone().unwrap_or_else(|| super::ACTIONS[0].to_owned()),
            },
            // Said as well of keys that are not known any more.
            Trouble::RegionNotEnabled if self.answered => Why::Credentials,
            Trouble::RegionNotEnabled => Why::RegionOff,
            Trouble::ClockSkew { .. } => Why::Clock,
            Trouble::Proxy(_) => Why::Proxy,
            Trouble::Expired | Trouble::Credentials => Why::Credentials,
            Trouble::Invalid | Trouble::InvalidRange | Trouble::Unsupported | Trouble::NotFound => {
                Why::Refused
            }
        };
        let (account, region) = (self.account.clone(), self.region.clone());
        Err(Error::Place { account, region, why, source: Arc::new(refusal) })
    }

    /// Returns the oldest second that the service has now: it moves while a long load goes on.
    fn horizon(&self, now: Instant) -> i64 {
        let passed = seconds(now - self.shared.began);
        // A minute, because the service's clock is not ours.
        self.shared.options.now + passed - seconds(HISTORY) + 60
    }

    /// Takes in a page.
    async fn take(
        &mut self,
        id: u64,
        mut chain: Chain,
        answer: Answer,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Over> {
        let Step { mut events, mut finished, seconds_done } = chain.take(answer);
        let plan = &mut self.works[chain.work].plan;
        if let Some((range, seen)) = chain.seen() {
            plan.learn(range, seen);
        }
        if chain.sample.take() == Some(Sample::Gap) && !finished {
            // One request was not all: keep a usual slice of it, its newest part.
            let kept = plan.newest_of(chain.range);
            plan.put_back(chain.shorten(kept.from));
            chain.keep_own(&mut events);
            finished = chain.left().seconds() <= 0;
        }
        let counters = self.counters();
        counters.events.fetch_add(events.len() as u64, Relaxed);
        counters.seconds_done.fetch_add(seconds_done, Relaxed);
        self.hand_over(&mut chain, &events, finished, room).await?;
        if finished {
            let complete = !chain.shortened;
            self.end(&mut chain, complete).await?;
        } else {
            self.chains.insert(id, chain);
        }
        self.expect_requests();
        Ok(())
    }

    /// Hands a page over, and the slice's beginning before the first.
    async fn hand_over(
        &mut self,
        chain: &mut Chain,
        events: &[aws_sdk_cloudtrail::types::Event],
        finished: bool,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Over> {
        if self.shared.options.dry_run {
            return Ok(());
        }
        if chain.slice.is_none() {
            let options = &self.shared.options;
            let sure_until = options.now - seconds(options.overlap);
            let slice = chain.begin(&self.works[chain.work].place.series(), sure_until);
            self.tell(Message::Found(Found::Begun(slice))).await?;
        }
        // What a slice keeps of itself is safe by its last page: if that is empty, it says nothing else.
        if events.is_empty() && !(finished && chain.shortened) {
            return Ok(());
        }
        let bytes = super::ask::page(events);
        // The next request reserves what pages here usually need.
        self.page_bytes = (self.page_bytes * 7 + bytes.len() * 5 / 4) / 8;
        let room = room.map(|room| fitted(room, bytes.len(), &self.shared.memory));
        let (key, number) = chain.next_page();
        let since = chain.since(finished);
        let page = Page { key, number, content: Held { bytes, room }, since };
        self.tell(Message::Found(Found::Page(page))).await
    }

    async fn end(&self, chain: &mut Chain, complete: bool) -> Result<(), Over> {
        let Some(slice) = chain.slice.take() else { return Ok(()) };
        let ended = Found::Ended { key: slice.key, pages: chain.pages, complete };
        self.tell(Message::Found(ended)).await
    }

    /// Ends what has begun, without a claim that it is complete.
    async fn leave_open_chains(&mut self) {
        self.flights.abort_all();
        for mut chain in std::mem::take(&mut self.chains).into_values() {
            if self.end(&mut chain, false).await.is_err() {
                return;
            }
        }
    }

    async fn tell(&self, message: Message) -> Result<(), Over> {
        self.shared.out.send(message).await.map_err(|_| Over)
    }

    /// Tells the estimate once all samples are answered.
    async fn estimate(&mut self) -> Result<(), Over> {
        let sampling = self.chains.values().any(|chain| chain.sample.is_some())
            || self.next_sample().is_some();
        if self.estimated || sampling {
            return Ok(());
        }
        self.estimated = true;
        let figures = self.counters().figures();
        let requests = self.expect_requests();
        let open = self.chains.values().map(|chain| (&self.works[chain.work].plan, chain.left()));
        let left: f64 = open.map(|(plan, range)| plan.events_in(range)).sum::<f64>()
            + self.works.iter().map(|work| work.plan.events()).sum::<f64>();
        let estimate = RegionEstimate {
            account: self.account.clone(),
            region: self.region.clone(),
            seconds: self.counters().seconds.load(Relaxed),
            events: figures.events + rounded(left),
            requests,
            time: Duration::from_secs(requests).div_f64(self.shared.options.requests_per_second),
            exact: self.chains.is_empty() && self.works.iter().all(|work| work.plan.is_empty()),
        };
        self.tell(Message::Estimated(self.number, Some(estimate))).await
    }

    /// Returns how many requests all of it costs, by what is known now, and notes it for the bars.
    fn expect_requests(&self) -> u64 {
        let open = self.chains.values().map(|chain| (&self.works[chain.work].plan, chain.left()));
        let left = open.map(|(plan, range)| plan.pages_in(range)).sum::<f64>()
            + self.works.iter().map(|work| work.plan.pages()).sum::<f64>();
        let counters = self.counters();
        let expected = counters.requests.load(Relaxed) + rounded(left);
        counters.expected_requests.store(expected, Relaxed);
        expected
    }
}

/// Waits until there is memory for another page, and then for the pace.
async fn turn(shared: &Shared, at: Instant, room: &mut Option<OwnedSemaphorePermit>, bytes: usize) {
    if room.is_none() {
        let permits = u32::try_from(bytes.clamp(4 << 10, 1 << 20)).unwrap_or(u32::MAX);
        *room = Arc::clone(&shared.memory).acquire_many_owned(permits).await.ok();
    }
    shared.clock.reaches(at).await;
}

/// Makes a reservation as large as what came. What is larger than all that is free goes over the budget, by the
/// part of one page: waiting here could be for ever.
fn fitted(
    mut room: OwnedSemaphorePermit,
    bytes: usize,
    memory: &Arc<Semaphore>,
) -> OwnedSemaphorePermit {
    let reserved = room.num_permits();
    if reserved > bytes {
        drop(room.split(reserved - bytes));
    } else if let Ok(more) = u32::try_from(bytes - reserved) {
        let more = Arc::clone(memory).try_acquire_many_owned(more);
        if let Ok(more) = more {
            room.merge(more);
        }
    }
    room
}

/// Rounds an estimate up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, which is what is wanted"
)]
fn rounded(number: f64) -> u64 {
    number.ceil() as u64
}

/// Returns whole seconds.
pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
