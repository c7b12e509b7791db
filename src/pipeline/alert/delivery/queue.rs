//! The queue of an action: takes pending deliveries from the memory, and makes them.
//!
//! ```text
//!  memory ──pending──▶ waiting ──▶ started ──▶ attempt ──acknowledged──▶ delivered
//!                                     ▲           ├──refused, or tried for too long──▶ failed: a dead letter
//!                                     └─retrying◀─┘ not now
//! ```
//!
//! Where several processes share the state of alerts, a delivery is claimed before each attempt: one that another process makes is held
//! until that one has made it, or has ended.
//!
//! A failure without a time to wait ends in a dead letter after [`DeliveryPolicy::deliver_within`]; the waits that the receiver asks
//! for do not count. A receiver that asks again and again is bounded by [`DeliveryPolicy::max_put_offs`].
//!
//! Input: committed deliveries of one action. Output: calls of its receiver, and their outcomes in the memory.
//! Invariant: deliveries of a group are made one after the other, in the order of their numbers. At most
//! [`Receive::concurrency`] deliveries are acknowledged and not yet recorded, so a run that is killed repeats no more than
//! these. What is held in memory is bounded, however many deliveries are pending.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use super::{
    DeliveryFault, DeliveryMemory, DeliveryPolicy, Phase, Receive, throttle::Throttle,
    totals::ActionTotals,
};
use crate::{
    aws::Clock,
    checkpoint::{
        alerts::{Delivery, DeliveryOutcome, DeliveryState, DeliveryUpdate},
        shared_alerts::Claim,
    },
    pending::{PendingRequest, PendingRequests},
    shutdown::{ShutdownLevel, ShutdownSignal, ShutdownTrigger},
    sink::alert::{DeliveryError, OutputFailure, RetryAdvice},
};

/// Deliveries that are fetched ahead. Each holds its event, which has 256 KB at most in CloudTrail.
const WINDOW: usize = 64;

/// How often the memory is asked for new deliveries. An alert is at most this much later than its commit.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How long other processes may take to be told of an acknowledgement before that is recorded here.
const TELL_WITHIN: Duration = Duration::from_secs(1);

/// Name of the wait that is reported while a receiver does not acknowledge anything.
const WAIT_SUBJECT: &str = "action";

/// The queue of one action.
pub(super) struct ActionQueue<R, M> {
    action: String,
    receiver: Arc<R>,
    memory: M,
    policy: DeliveryPolicy,
    /// Deliveries that are made at the same time.
    concurrency: usize,
    throttle: Throttle,
    totals: Arc<ActionTotals>,
    waits: PendingRequests,
    phase: watch::Receiver<Phase>,
    shutdown: ShutdownSignal,
    on_closed_pipe: Option<ShutdownTrigger>,
    clock: Clock,
    /// Deliveries that are fetched and not started, in the order of their numbers.
    waiting: VecDeque<Delivery>,
    /// Groups with a delivery that is being made or retried.
    busy_groups: HashSet<String>,
    retrying: Vec<Retry>,
    /// Deliveries that other processes make, or that wait for those of other processes.
    held: Vec<Retry>,
    attempts: JoinSet<(Attempted, Result<AttemptEnd, AttemptError>)>,
    /// The highest number that was fetched.
    last_number: i64,
    polled: Option<Instant>,
    /// Nothing is sent before, because the receiver asked for it.
    paused_until: Option<Instant>,
    /// Start of the first attempt that failed since the last success or request to wait.
    outage_since: Option<Instant>,
    /// Deliveries that the receiver has acknowledged.
    acknowledgements: u64,
    /// Those that it has put off since.
    put_off: Option<PutOff>,
    /// When something was last settled.
    progressed: Instant,
    /// When the receiver last acknowledged something; at first, the start of the queue.
    acknowledged: Instant,
    /// When the last phase began.
    closing_since: Option<Instant>,
}

/// A delivery that is being made.
struct Attempted {
    delivery: Delivery,
    /// Number of this attempt in this run, from 1.
    attempt: u32,
    /// When the first attempt of this run was started.
    started: Instant,
    /// The same, later by the waits that the receiver has asked for.
    failing_since: Instant,
    put_off: Option<PutOff>,
    pending: PendingRequest,
}

/// How often, and since when, deliveries were answered with a time to wait while the receiver has acknowledged nothing.
#[derive(Clone, Copy)]
struct PutOff {
    /// Acknowledgements before.
    acknowledged: u64,
    /// The most attempts of a delivery; with those of earlier runs if there is no acknowledgement in this one.
    attempts: u32,
    /// The time since the first of them, at `now`.
    age: Duration,
    now: Instant,
}

impl PutOff {
    /// Returns what is known if nothing was acknowledged since, as of now.
    fn current(known: Option<Self>, acknowledged: u64, now: Instant) -> Option<Self> {
        let known = known.filter(|known| known.acknowledged == acknowledged)?;
        Some(Self { age: known.age + now.duration_since(known.now), now, ..known })
    }
}

/// A delivery that is made again later.
struct Retry {
    attempted: Attempted,
    due: Instant,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AttemptEnd {
    /// The receiver has acknowledged the delivery.
    Delivered,
    /// It had done so to another process. Nothing was sent.
    DeliveredElsewhere,
    /// Another process makes the delivery, or an earlier one of the same group. Nothing was sent.
    Held(Duration),
}

/// Why an attempt did not end in an acknowledgement that is recorded.
enum AttemptError {
    Receiver(DeliveryError),
    Memory(DeliveryFault),
}

impl<R: Receive, M: DeliveryMemory> ActionQueue<R, M> {
    pub(super) fn new(parts: QueueParts<R, M>) -> Self {
        let QueueParts { action, receiver, throttle, memory, totals, context } = parts;
        let QueueContext { policy, waits, phase, shutdown, on_closed_pipe, clock } = context;
        Self {
            concurrency: receiver.concurrency().max(1),
            action,
            receiver,
            memory,
            policy,
            throttle,
            totals,
            waits,
            phase,
            shutdown,
            on_closed_pipe,
            clock,
            waiting: VecDeque::new(),
            busy_groups: HashSet::new(),
            retrying: Vec::new(),
            held: Vec::new(),
            attempts: JoinSet::new(),
            last_number: 0,
            polled: None,
            paused_until: None,
            outage_since: None,
            acknowledgements: 0,
            put_off: None,
            progressed: Instant::now(),
            acknowledged: Instant::now(),
            closing_since: None,
        }
    }

    /// Makes deliveries until the queue is closed and empty, or a shutdown is requested.
    pub(super) async fn run(mut self) -> Result<(), DeliveryFault> {
        loop {
            if self.shutdown.is_requested() {
                return self.drain().await;
            }
            let is_closing = *self.phase.borrow_and_update() == Phase::Closing;
            self.fetch(is_closing)?;
            self.start_attempts();
            self.report_progress();
            if is_closing && self.is_over() {
                // What is still being made is recorded first.
                return self.drain().await;
            }
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = self.shutdown.reached(ShutdownLevel::Draining) => {}
                Some(done) = self.attempts.join_next() => self.on_attempt(done).await?,
                changed = self.phase.changed() => {
                    self.polled = None;
                    if changed.is_err() {
                        return self.drain().await;
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Waits for the attempts in progress and starts no other. Deliveries that are not made stay pending.
    async fn drain(mut self) -> Result<(), DeliveryFault> {
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.reached(ShutdownLevel::Immediate) => return Ok(()),
                done = self.attempts.join_next() => match done {
                    Some(done) => self.on_attempt(done).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Returns whether a closing queue has nothing left that can be done in time.
    fn is_over(&mut self) -> bool {
        let now = Instant::now();
        let since = *self.closing_since.get_or_insert(now);
        if self.is_idle() {
            return true;
        }
        let is_stuck = now.duration_since(since.max(self.progressed)) > self.policy.max_idle_close;
        let pause = self.paused_until.map_or(Duration::ZERO, |until| until.duration_since(now));
        is_stuck
            || pause > self.policy.max_idle_close
            || now.duration_since(since) > self.policy.max_close
    }

    /// Takes further deliveries from the memory.
    fn fetch(&mut self, is_closing: bool) -> Result<(), DeliveryFault> {
        let now = Instant::now();
        let is_due = self.polled.is_none_or(|polled| now.duration_since(polled) >= POLL_INTERVAL)
            || is_closing && self.waiting.is_empty();
        let free = WINDOW - self.waiting.len().min(WINDOW);
        if !is_due || free < WINDOW / 2 {
            return Ok(());
        }
        self.polled = Some(now);
        let fetched = self.memory.pending(&self.action, self.last_number, free)?;
        if let Some(last) = fetched.last() {
            self.last_number = last.number;
            // There may be more.
            self.polled = (fetched.len() < free).then_some(now);
        }
        self.waiting.extend(fetched);
        Ok(())
    }

    /// Reports whether there is something to deliver, and until when the receiver is expected to acknowledge some of it.
    fn report_progress(&self) {
        let until = self.acknowledged + self.policy.deliver_within;
        self.totals.set_busy_until((!self.is_idle()).then_some(until));
    }

    fn is_idle(&self) -> bool {
        let are_pending = [&self.retrying, &self.held].iter().any(|retries| !retries.is_empty());
        self.waiting.is_empty() && !are_pending && self.attempts.is_empty()
    }

    /// Starts every attempt that may be started now.
    fn start_attempts(&mut self) {
        let now = Instant::now();
        while self.attempts.len() < self.concurrency && self.allowed_at(now) <= now {
            let next = match self.due_retry(now).or_else(|| self.due_held(now)) {
                Some(attempted) => attempted,
                None => match self.next_waiting() {
                    Some(delivery) => self.first_attempt(delivery, now),
                    None => return,
                },
            };
            self.throttle.sent(now);
            self.start(next);
        }
    }

    fn start(&mut self, attempted: Attempted) {
        let (receiver, memory) = (Arc::clone(&self.receiver), self.memory.clone());
        let attempt_timeout = self.policy.attempt_timeout;
        self.attempts.spawn(async move {
            let result = attempt(&*receiver, &memory, &attempted.delivery, attempt_timeout).await;
            (attempted, result)
        });
    }

    fn first_attempt(&mut self, delivery: Delivery, now: Instant) -> Attempted {
        self.busy_groups.insert(delivery.alert.group_id.clone());
        let pending = self.waits.begin(WAIT_SUBJECT, &self.action);
        let (attempt, put_off) = (1, None);
        Attempted { delivery, attempt, started: now, failing_since: now, put_off, pending }
    }

    /// Takes the first waiting delivery whose group is free. Retries take slots too, so that a receiver that is down is not
    /// asked by few deliveries.
    fn next_waiting(&mut self) -> Option<Delivery> {
        let is_full = self.attempts.len() + self.retrying.len() >= self.concurrency;
        if is_full || self.held.len() >= WINDOW {
            return None;
        }
        let is_free = |delivery: &Delivery| !self.busy_groups.contains(&delivery.alert.group_id);
        // A later delivery of a busy group waits, and so do all behind it of the same group.
        let at = self.waiting.iter().position(is_free)?;
        self.waiting.remove(at)
    }

    fn due_retry(&mut self, now: Instant) -> Option<Attempted> {
        let due = self.retrying.iter().enumerate().filter(|(_, retry)| retry.due <= now);
        let (at, _) = due.min_by_key(|(_, retry)| retry.due)?;
        let Retry { mut attempted, .. } = self.retrying.swap_remove(at);
        attempted.attempt += 1;
        Some(attempted)
    }

    /// Takes a delivery that may be claimed again.
    fn due_held(&mut self, now: Instant) -> Option<Attempted> {
        let at = self.held.iter().position(|held| held.due <= now)?;
        let Retry { attempted, .. } = self.held.swap_remove(at);
        let pending = self.waits.begin(WAIT_SUBJECT, &self.action);
        Some(Attempted { started: now, failing_since: now, pending, ..attempted })
    }

    /// Returns when the next message may be sent.
    fn allowed_at(&self, now: Instant) -> Instant {
        self.throttle.next(now).max(self.paused_until.unwrap_or(now))
    }

    /// Returns when there may be something to do, unless an attempt ends before.
    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let poll = now + POLL_INTERVAL;
        if self.attempts.len() >= self.concurrency {
            return poll;
        }
        let retry = self.retrying.iter().chain(&self.held).map(|retry| retry.due).min();
        let next = if self.waiting.is_empty() { retry } else { Some(self.allowed_at(now)) };
        next.filter(|next| *next > now).map_or(poll, |next| next.min(poll))
    }

    async fn on_attempt(
        &mut self,
        done: Result<(Attempted, Result<AttemptEnd, AttemptError>), JoinError>,
    ) -> Result<(), DeliveryFault> {
        let Ok((attempted, result)) = done else { return Err(DeliveryFault::Panic) };
        match result {
            Ok(AttemptEnd::Held(wait)) => {
                self.throttle.not_sent();
                attempted.pending.finish();
                self.held.push(Retry { attempted, due: Instant::now() + wait });
                Ok(())
            }
            Ok(AttemptEnd::DeliveredElsewhere) => {
                self.throttle.not_sent();
                self.end(&attempted);
                Ok(())
            }
            Ok(AttemptEnd::Delivered) => {
                self.outage_since = None;
                self.acknowledgements += 1;
                self.acknowledged = Instant::now();
                self.totals.add_delivered();
                self.end(&attempted);
                Ok(())
            }
            Err(AttemptError::Receiver(DeliveryError { output: Some(failure), cause, .. })) => {
                self.on_output_failure(&attempted, failure, cause).await
            }
            Err(AttemptError::Memory(fault)) => Err(fault),
            Err(AttemptError::Receiver(error)) => self.on_failure(attempted, error).await,
        }
    }

    /// Ends the queue: its output accepts nothing more, and the deliveries stay pending.
    async fn on_output_failure(
        &self,
        attempted: &Attempted,
        failure: OutputFailure,
        cause: String,
    ) -> Result<(), DeliveryFault> {
        match failure {
            OutputFailure::ClosedPipe => {
                if let Some(trigger) = &self.on_closed_pipe {
                    trigger.raise(ShutdownLevel::Draining);
                }
                Err(DeliveryFault::ClosedPipe)
            }
            OutputFailure::Unwritable => {
                let number = attempted.delivery.number;
                let postponed = DeliveryOutcome::Postponed { number, cause: cause.clone() };
                self.memory.update(DeliveryUpdate::Ended(postponed)).await?;
                Err(DeliveryFault::Output { cause })
            }
        }
    }

    async fn on_failure(
        &mut self,
        mut attempted: Attempted,
        error: DeliveryError,
    ) -> Result<(), DeliveryFault> {
        let now = Instant::now();
        attempted.pending.attempt_failed(error.cause.clone());
        let DeliveryError { retry, cause, .. } = error;
        let due = match retry {
            RetryAdvice::Never => return self.fail(attempted, cause).await,
            RetryAdvice::After(wait) => {
                // Not even a receiver that asks for no wait is asked again at once.
                let wait = wait.max(self.policy.backoff.initial);
                if let Some(attempts) = self.put_off(&mut attempted, wait, now) {
                    let cause = format!("{cause}; given up after {attempts} attempts");
                    return self.fail(attempted, cause).await;
                }
                let due = now + wait;
                self.paused_until = Some(self.paused_until.map_or(due, |until| until.max(due)));
                attempted.failing_since += wait;
                due
            }
            RetryAdvice::Backoff => {
                let since = *self.outage_since.get_or_insert(attempted.failing_since);
                let tried = now.saturating_duration_since(since.min(attempted.failing_since));
                if tried >= self.policy.deliver_within {
                    return self.fail(attempted, cause).await;
                }
                now + self.policy.backoff.delay(attempted.attempt)
            }
        };
        let number = attempted.delivery.number;
        let postponed = DeliveryOutcome::Postponed { number, cause };
        self.memory.update(DeliveryUpdate::Ended(postponed)).await?;
        self.retrying.push(Retry { attempted, due });
        Ok(())
    }

    /// Records that the receiver asks for a wait. Returns the number of attempts if there is to be no other.
    fn put_off(&mut self, attempted: &mut Attempted, wait: Duration, now: Instant) -> Option<u32> {
        // It answers, so it is not down.
        self.outage_since = None;
        let total = attempted.delivery.attempts.saturating_add(attempted.attempt);
        let acknowledged = self.acknowledgements;
        let own = match PutOff::current(attempted.put_off, acknowledged, now) {
            Some(known) => PutOff { attempts: known.attempts.saturating_add(1), ..known },
            None if acknowledged == 0 => {
                let age = self.age(&attempted.delivery).max(now.duration_since(attempted.started));
                PutOff { acknowledged, attempts: total, age, now }
            }
            None => PutOff { acknowledged, attempts: 1, age: Duration::ZERO, now },
        };
        attempted.put_off = Some(own);
        let most = match PutOff::current(self.put_off, acknowledged, now) {
            Some(known) => PutOff {
                attempts: known.attempts.max(own.attempts),
                age: known.age.max(own.age),
                ..own
            },
            None => own,
        };
        self.put_off = Some(most);
        let min_age = self.policy.deliver_within.max(wait.saturating_mul(2));
        let is_over = most.attempts >= self.policy.max_put_offs && most.age >= min_age;
        (is_over || total >= self.policy.max_attempts).then_some(total)
    }

    /// Returns the time since the first attempt of an earlier run; zero if there was none.
    fn age(&self, delivery: &Delivery) -> Duration {
        let age = delivery.first_attempt.map(|first| self.clock.now().duration_since(first));
        age.and_then(|age| age.try_into().ok()).unwrap_or_default()
    }

    /// Makes a dead letter of a delivery.
    async fn fail(&mut self, attempted: Attempted, cause: String) -> Result<(), DeliveryFault> {
        let number = attempted.delivery.number;
        self.totals.add_failed(&attempted.delivery, &cause);
        let failed = DeliveryOutcome::Failed { number, cause };
        self.memory.update(DeliveryUpdate::Ended(failed)).await?;
        self.memory.release(&attempted.delivery).await?;
        self.end(&attempted);
        Ok(())
    }

    fn end(&mut self, attempted: &Attempted) {
        attempted.pending.finish();
        self.progressed = Instant::now();
        self.busy_groups.remove(&attempted.delivery.alert.group_id);
    }
}

/// What a queue is made of.
pub(super) struct QueueParts<R, M> {
    pub(super) action: String,
    pub(super) receiver: Arc<R>,
    pub(super) throttle: Throttle,
    pub(super) memory: M,
    pub(super) totals: Arc<ActionTotals>,
    pub(super) context: QueueContext,
}

/// What all queues share.
#[derive(Clone)]
pub(super) struct QueueContext {
    pub(super) policy: DeliveryPolicy,
    pub(super) waits: PendingRequests,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) shutdown: ShutdownSignal,
    pub(super) on_closed_pipe: Option<ShutdownTrigger>,
    pub(super) clock: Clock,
}

/// Makes a delivery once if no other process makes it, and records that it was acknowledged.
async fn attempt<R: Receive, M: DeliveryMemory>(
    receiver: &R,
    memory: &M,
    delivery: &Delivery,
    limit: Duration,
) -> Result<AttemptEnd, AttemptError> {
    let number = delivery.number;
    let update = async |update| memory.update(update).await.map_err(AttemptError::Memory);
    if delivery.state != DeliveryState::Acknowledged {
        match memory.claim(delivery).await.map_err(AttemptError::Memory)? {
            Claim::Granted => {}
            Claim::Held(wait) => return Ok(AttemptEnd::Held(wait)),
            Claim::Delivered => {
                update(DeliveryUpdate::Ended(DeliveryOutcome::DeliveredElsewhere { number }))
                    .await?;
                return Ok(AttemptEnd::DeliveredElsewhere);
            }
        }
        update(DeliveryUpdate::Started { numbers: vec![number] }).await?;
        deliver(receiver, memory, delivery, limit).await.map_err(AttemptError::Receiver)?;
    }
    let acknowledged = DeliveryUpdate::Ended(DeliveryOutcome::Acknowledged { number });
    let told = if let Ok(told) = timeout(TELL_WITHIN, memory.tell_delivered(delivery)).await {
        told
    } else {
        // The run may be killed while it waits.
        update(acknowledged.clone()).await?;
        memory.tell_delivered(delivery).await
    };
    match told {
        Ok(()) => update(DeliveryUpdate::Ended(DeliveryOutcome::Delivered { number })).await?,
        Err(fault) => {
            // The next run tells it, and does not deliver the alert again.
            update(acknowledged).await?;
            let is_interruption =
                matches!(&fault, DeliveryFault::Shared(error) if error.is_interruption());
            if !is_interruption {
                return Err(AttemptError::Memory(fault));
            }
        }
    }
    Ok(AttemptEnd::Delivered)
}

/// Sends an alert, for as long as the claim on its delivery lasts.
async fn deliver<R: Receive, M: DeliveryMemory>(
    receiver: &R,
    memory: &M,
    delivery: &Delivery,
    limit: Duration,
) -> Result<(), DeliveryError> {
    let lost = "the claim on the alert was lost before the receiver acknowledged it";
    tokio::select! {
        biased;
        delivered = timeout(limit, receiver.deliver(&delivery.alert)) => {
            delivered.unwrap_or_else(|_| {
                let seconds = limit.as_secs();
                Err(DeliveryError::transient(format!("no response within {seconds} s")))
            })
        }
        () = memory.hold(delivery) => Err(DeliveryError::transient(lost)),
    }
}
