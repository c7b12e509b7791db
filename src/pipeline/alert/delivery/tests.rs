use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, json};
use tokio::time::{Instant, advance};

use super::{backlog::MAX_READ_AHEAD, *};
use crate::{
    checkpoint::alerts::{DeliveryOutcome, DeliveryState},
    event::Severity,
    shutdown::{ShutdownLevel, ShutdownTrigger, shutdown_channel},
    sink::alert::{OutputFailure, RetryAdvice},
};

const SECOND: Duration = Duration::from_secs(1);

/// What the wall clock shows.
const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

/// A memory without a disk.
#[derive(Clone, Default)]
struct FakeMemory(Arc<Mutex<Rows>>);

#[derive(Default)]
struct Rows {
    pending: BTreeMap<i64, Delivery>,
    started: Vec<i64>,
    delivered: Vec<i64>,
    failed: BTreeMap<i64, String>,
    postponed: Vec<i64>,
    /// The largest number of rows that were returned and not settled.
    max_held: usize,
    held: usize,
    /// What the next claims on a delivery lead to. Others are granted.
    claims: BTreeMap<i64, VecDeque<Claim>>,
    claimed: Vec<i64>,
    /// Deliveries that other processes know to be made.
    told: Vec<i64>,
    acknowledged: Vec<i64>,
    elsewhere: Vec<i64>,
    released: Vec<i64>,
    /// How long a claim lasts.
    claim_lasts: Option<Duration>,
    /// Whether other processes cannot be told anything.
    is_unreachable: bool,
}

impl FakeMemory {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap()
    }

    /// Adds a delivery for each group.
    fn add<'g>(&self, groups: impl IntoIterator<Item = &'g str>) {
        let mut rows = self.rows();
        for group in groups {
            let number = rows.pending.keys().next_back().map_or(1, |last| last + 1);
            let delivery = Delivery {
                number,
                alert: alert(number, group),
                action: "a".to_owned(),
                attempts: 0,
                first_attempt: None,
                state: DeliveryState::Pending,
            };
            rows.pending.insert(number, delivery);
        }
    }
}

impl DeliveryMemory for FakeMemory {
    fn pending(
        &self,
        action: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Delivery>, DeliveryFault> {
        let mut rows = self.rows();
        let is_open =
            |number: &i64| !rows.delivered.contains(number) && !rows.failed.contains_key(number);
        let later = rows
            .pending
            .range(after + 1..)
            .filter(|(number, row)| is_open(number) && row.action == action);
        let found: Vec<Delivery> = later.map(|(_, row)| row.clone()).take(limit).collect();
        rows.held += found.len();
        rows.max_held = rows.max_held.max(rows.held);
        Ok(found)
    }

    async fn update(&self, update: DeliveryUpdate) -> Result<(), DeliveryFault> {
        let mut rows = self.rows();
        match update {
            DeliveryUpdate::Started { numbers } => rows.started.extend(numbers),
            DeliveryUpdate::Ended(DeliveryOutcome::Delivered { number }) => {
                rows.held -= 1;
                rows.delivered.push(number);
            }
            DeliveryUpdate::Ended(DeliveryOutcome::Failed { number, cause }) => {
                rows.held -= 1;
                rows.failed.insert(number, cause);
            }
            DeliveryUpdate::Ended(DeliveryOutcome::Postponed { number, .. }) => {
                rows.postponed.push(number);
            }
            DeliveryUpdate::Ended(DeliveryOutcome::Acknowledged { number }) => {
                rows.acknowledged.push(number);
            }
            DeliveryUpdate::Ended(DeliveryOutcome::DeliveredElsewhere { number }) => {
                rows.held -= 1;
                rows.elsewhere.push(number);
            }
            DeliveryUpdate::Flush => {}
        }
        Ok(())
    }

    async fn claim(&self, delivery: &Delivery) -> Result<Claim, DeliveryFault> {
        let mut rows = self.rows();
        rows.claimed.push(delivery.number);
        let claims = rows.claims.get_mut(&delivery.number);
        Ok(claims.and_then(VecDeque::pop_front).unwrap_or(Claim::Granted))
    }

    async fn hold(&self, _: &Delivery) {
        let lasts = self.rows().claim_lasts;
        match lasts {
            Some(time) => drop(tokio::time::timeout(time, std::future::pending::<()>()).await),
            None => std::future::pending().await,
        }
    }

    async fn tell_delivered(&self, delivery: &Delivery) -> Result<(), DeliveryFault> {
        let mut rows = self.rows();
        if rows.is_unreachable {
            return Err(
                shared_alerts::Error::Interrupted { table: "t".to_owned(), source: None }.into()
            );
        }
        rows.told.push(delivery.number);
        Ok(())
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), DeliveryFault> {
        self.rows().released.push(delivery.number);
        Ok(())
    }
}

fn alert(number: i64, group: &str) -> Alert {
    Alert {
        id: number.to_string(),
        group_id: group.to_owned(),
        rule: "r".to_owned(),
        severity: Severity::Medium,
        description: None,
        group: [("g".to_owned(), json!(group))].into_iter().collect(),
        combination: Map::new(),
        time: None,
        events: 1,
        actions: vec!["a".to_owned()],
        event_id: number.to_string(),
        event: Bytes::from_static(b"{}"),
    }
}

/// What a receiver does with an alert: its number, and how many attempts were made before.
type Answer = Box<dyn Fn(i64, usize) -> Result<(), DeliveryError> + Send + Sync>;

/// A receiver without a network.
#[derive(Clone)]
struct FakeReceiver(Arc<Script>);

struct Script {
    answer: Answer,
    latency: Duration,
    start: Instant,
    /// Number and second of each attempt.
    attempts: Mutex<Vec<(i64, u64)>>,
    in_progress: Mutex<Vec<String>>,
}

impl FakeReceiver {
    fn new(
        answer: impl Fn(i64, usize) -> Result<(), DeliveryError> + Send + Sync + 'static,
    ) -> Self {
        Self::slow(SECOND / 10, answer)
    }

    fn slow(
        latency: Duration,
        answer: impl Fn(i64, usize) -> Result<(), DeliveryError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Script {
            answer: Box::new(answer),
            latency,
            start: Instant::now(),
            attempts: Mutex::default(),
            in_progress: Mutex::default(),
        }))
    }

    fn attempts(&self) -> Vec<(i64, u64)> {
        self.0.attempts.lock().unwrap().clone()
    }

    fn numbers(&self) -> Vec<i64> {
        self.attempts().into_iter().map(|(number, _)| number).collect()
    }
}

/// A delivery of a group that is being made. It may be given up.
struct InProgress<'a>(&'a Mutex<Vec<String>>, &'a str);

impl<'a> InProgress<'a> {
    fn new(groups: &'a Mutex<Vec<String>>, group: &'a str) -> Self {
        let mut known = groups.lock().unwrap();
        assert!(!known.iter().any(|known| known == group), "one delivery of a group at a time");
        known.push(group.to_owned());
        Self(groups, group)
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().retain(|known| known != self.1);
    }
}

impl Receive for FakeReceiver {
    async fn deliver(&self, alert: &Alert) -> Result<(), DeliveryError> {
        let number: i64 = alert.id.parse().unwrap();
        let before = self.attempts().iter().filter(|(other, _)| *other == number).count();
        self.0.attempts.lock().unwrap().push((number, self.0.start.elapsed().as_secs()));
        let in_progress = InProgress::new(&self.0.in_progress, &alert.group_id);
        tokio::time::timeout(self.0.latency, std::future::pending::<()>()).await.unwrap_err();
        drop(in_progress);
        (self.0.answer)(number, before)
    }

    fn concurrency(&self) -> usize {
        4
    }
}

/// Starts a queue for the action `a`.
fn start(
    memory: &FakeMemory,
    receiver: &FakeReceiver,
    throttle: Option<ThrottleLimit>,
) -> (Deliveries, ShutdownTrigger) {
    start_with(memory, receiver, throttle, DeliveryPolicy::new(Duration::from_mins(2)))
}

fn start_with(
    memory: &FakeMemory,
    receiver: &FakeReceiver,
    throttle: Option<ThrottleLimit>,
    policy: DeliveryPolicy,
) -> (Deliveries, ShutdownTrigger) {
    let (trigger, shutdown) = shutdown_channel();
    let receivers =
        vec![ActionReceiver { action: "a".to_owned(), receiver: receiver.clone(), throttle }];
    (Deliveries::start(memory, config(receivers, policy, shutdown)), trigger)
}

fn config(
    receivers: Vec<ActionReceiver<FakeReceiver>>,
    policy: DeliveryPolicy,
    shutdown: ShutdownSignal,
) -> DeliveryConfig<FakeReceiver> {
    DeliveryConfig {
        receivers,
        policy,
        waits: PendingRequests::default(),
        log: Log::default(),
        shutdown,
        on_closed_pipe: None,
        clock: Clock::new(|| NOW),
        shared: None,
    }
}

/// Delivers everything that is pending, and returns the report of the action.
async fn deliver_all(memory: &FakeMemory, receiver: &FakeReceiver) -> ActionReport {
    let (deliveries, _trigger) = start(memory, receiver, None);
    let (mut reports, result) = deliveries.close().await;
    result.unwrap();
    reports.remove(0)
}

#[tokio::test(start_paused = true)]
async fn every_delivery_is_made_once_and_in_the_order_of_its_group() {
    let memory = FakeMemory::default();
    let groups = ["x", "y", "x", "z", "x", "y", "v", "w", "u", "x"];
    memory.add(groups);
    let receiver = FakeReceiver::new(|_, _| Ok(()));
    let report = deliver_all(&memory, &receiver).await;
    assert_eq!((report.delivered, report.failed), (10, 0));
    let of_x: Vec<i64> =
        receiver.numbers().into_iter().filter(|number| [1, 3, 5, 10].contains(number)).collect();
    assert_eq!(of_x, [1, 3, 5, 10]);
    let mut all = receiver.numbers();
    all.sort_unstable();
    assert_eq!(all, (1..=10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_retried_holds_back_its_group_and_no_other() {
    let memory = FakeMemory::default();
    memory.add(["x", "x", "y", "z"]);
    let receiver = FakeReceiver::new(|number, before| match (number, before) {
        (1, 0..3) => Err(DeliveryError::transient("503")),
        _ => Ok(()),
    });
    let report = deliver_all(&memory, &receiver).await;
    assert_eq!(report.delivered, 4);
    let numbers = receiver.numbers();
    let last_of_1 = numbers.iter().rposition(|number| *number == 1).unwrap();
    let of_2 = numbers.iter().position(|number| *number == 2).unwrap();
    assert!(last_of_1 < of_2, "{numbers:?}");
    assert!(numbers[..4].contains(&3) && numbers[..4].contains(&4), "{numbers:?}");
    assert_eq!(memory.rows().postponed, [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_delivery_is_a_dead_letter_at_once() {
    let memory = FakeMemory::default();
    memory.add(["x", "x"]);
    let receiver = FakeReceiver::new(|number, _| match number {
        1 => Err(DeliveryError::permanent("400 invalid_blocks")),
        _ => Ok(()),
    });
    let report = deliver_all(&memory, &receiver).await;
    assert_eq!((report.delivered, report.failed), (1, 1));
    assert_eq!(report.first_cause.as_deref(), Some("400 invalid_blocks"));
    assert_eq!(receiver.numbers(), [1, 2]);
    assert_eq!(memory.rows().failed, BTreeMap::from([(1, "400 invalid_blocks".to_owned())]));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_down_gets_dead_letters_within_a_bounded_time() {
    let memory = FakeMemory::default();
    let groups: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    memory.add(groups.iter().map(String::as_str));
    let receiver = FakeReceiver::new(|_, _| Err(DeliveryError::transient("connection refused")));
    let started = Instant::now();
    let report = deliver_all(&memory, &receiver).await;
    assert_eq!((report.delivered, report.failed), (0, 200));
    let elapsed = started.elapsed();
    assert!((Duration::from_mins(2)..Duration::from_mins(3)).contains(&elapsed), "{elapsed:?}");
    let attempts = receiver.numbers().len();
    assert!(
        attempts < 300,
        "later deliveries are tried once, after the first were tried for long: {attempts}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_time_that_the_receiver_asks_for() {
    let memory = FakeMemory::default();
    memory.add(["u", "v", "w", "x", "y", "z"]);
    let receiver = FakeReceiver::new(|number, before| match (number, before) {
        (1, 0) => Err(DeliveryError::new(RetryAdvice::After(30 * SECOND), "429")),
        _ => Ok(()),
    });
    let report = deliver_all(&memory, &receiver).await;
    assert_eq!(report.delivered, 6);
    for (number, second) in receiver.attempts().into_iter().skip(4) {
        assert!(second >= 30, "delivery {number} at second {second}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_beyond_the_end_of_the_run_leaves_deliveries_pending() {
    let memory = FakeMemory::default();
    memory.add(["x", "x"]);
    let receiver = FakeReceiver::new(|_, _| {
        Err(DeliveryError::new(RetryAdvice::After(Duration::from_hours(1)), "429"))
    });
    let started = Instant::now();
    let report = deliver_all(&memory, &receiver).await;
    assert_eq!((report.delivered, report.failed), (0, 0));
    assert!(started.elapsed() < Duration::from_mins(1));
    assert!(memory.rows().failed.is_empty());
}

/// A receiver that answers every delivery with a time to wait.
fn always_later(wait: Duration) -> FakeReceiver {
    FakeReceiver::new(move |_, _| Err(DeliveryError::new(RetryAdvice::After(wait), "429")))
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_only_asks_for_time_gets_dead_letters_after_ten_attempts() {
    for (wait, seconds) in [(1, 120), (20, 180)] {
        let memory = FakeMemory::default();
        memory.add(["x", "x", "y", "z", "u", "v", "w"]);
        let receiver = always_later(wait * SECOND);
        let (deliveries, trigger) = start(&memory, &receiver, None);
        let started = Instant::now();
        while memory.rows().failed.len() < 7 {
            advance(SECOND / 10).await;
            tokio::task::yield_now().await;
        }
        let elapsed = started.elapsed().as_secs();
        let rest = u64::from(wait) * 3 + 5;
        assert!((seconds..seconds + rest).contains(&elapsed), "{elapsed} s with waits of {wait} s");
        assert!(memory.rows().failed[&1].starts_with("429; given up after "));
        trigger.raise(ShutdownLevel::Immediate);
        drop(deliveries);
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_of_earlier_runs_count_once_the_time_that_was_asked_for_has_passed() {
    for (attempts, minutes, is_dead) in
        [(9, 121, true), (8, 100_000, false), (50, 119, false), (0, 100_000, false)]
    {
        let memory = FakeMemory::default();
        memory.add(["x"]);
        memory.rows().pending.entry(1).and_modify(|row| {
            row.attempts = attempts;
            row.first_attempt = Some(NOW - jiff::SignedDuration::from_mins(minutes));
        });
        let report = deliver_all(&memory, &always_later(Duration::from_hours(1))).await;
        assert_eq!(report.failed, u64::from(is_dead), "{attempts} attempts in {minutes} min");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_makes_no_dead_letters() {
    let memory = FakeMemory::default();
    memory.add(["x"]);
    memory.rows().pending.entry(1).and_modify(|row| {
        row.attempts = 50;
        row.first_attempt = Some(NOW + jiff::SignedDuration::from_hours(9_000));
    });
    let report = deliver_all(&memory, &always_later(Duration::from_hours(1))).await;
    assert_eq!(report.failed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_asked_for_does_not_count_as_an_outage() {
    let memory = FakeMemory::default();
    memory.add(["x"]);
    let receiver = FakeReceiver::new(|_, before| match before {
        0 | 2 => Err(DeliveryError::new(RetryAdvice::After(100 * SECOND), "429")),
        1 | 3 => Err(DeliveryError::transient("503")),
        _ => Ok(()),
    });
    let (deliveries, trigger) = start(&memory, &receiver, None);
    while memory.rows().delivered.is_empty() {
        advance(SECOND / 10).await;
        tokio::task::yield_now().await;
    }
    assert!(memory.rows().failed.is_empty());
    trigger.raise(ShutdownLevel::Immediate);
    drop(deliveries);
}

#[tokio::test(start_paused = true)]
async fn one_acknowledgement_ends_the_count_of_what_was_put_off() {
    let memory = FakeMemory::default();
    let groups: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    memory.add(groups.iter().map(String::as_str));
    // It accepts every fourth request, as a receiver that limits its rate.
    let requests = Mutex::new(0);
    let receiver = FakeReceiver::new(move |_, _| {
        let mut requests = requests.lock().unwrap();
        *requests += 1;
        match *requests % 4 {
            0 => Ok(()),
            _ => Err(DeliveryError::new(RetryAdvice::After(20 * SECOND), "429")),
        }
    });
    let report = deliver_all(&memory, &receiver).await;
    assert_eq!((report.delivered, report.failed), (30, 0));
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_is_always_put_off_while_others_are_accepted_is_given_up_after_100_attempts()
{
    let memory = FakeMemory::default();
    let groups: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    memory.add(groups.iter().map(String::as_str));
    let receiver = FakeReceiver::new(|number, _| match number {
        5 => Err(DeliveryError::new(RetryAdvice::After(SECOND), "429")),
        _ => Ok(()),
    });
    let throttle = ThrottleLimit { messages: 4, per: SECOND };
    let (deliveries, _trigger) = start(&memory, &receiver, Some(throttle));
    let reports = deliveries.close().await.0;
    assert_eq!((reports[0].delivered, reports[0].failed), (299, 1));
    let attempts = receiver.numbers().into_iter().filter(|number| *number == 5).count();
    assert!((90..=100).contains(&attempts), "{attempts}");
}

#[tokio::test(start_paused = true)]
async fn an_output_that_cannot_be_written_ends_its_queue_and_no_other() {
    let memory = FakeMemory::default();
    memory.add(["x", "y", "z"]);
    for (number, row) in &mut memory.rows().pending {
        row.action = if *number == 1 { "stdout".to_owned() } else { "a".to_owned() };
    }
    let full = DeliveryError {
        output: Some(OutputFailure::Unwritable),
        ..DeliveryError::permanent("standard output: no space")
    };
    let (stdout, other) = (
        FakeReceiver::new(move |_, _| Err(full.clone())),
        FakeReceiver::slow(Duration::from_secs(5), |_, _| Ok(())),
    );
    let receivers = [("stdout", &stdout), ("a", &other)].map(|(action, receiver)| ActionReceiver {
        action: action.to_owned(),
        receiver: receiver.clone(),
        throttle: None,
    });
    let (_trigger, shutdown) = shutdown_channel();
    let policy = DeliveryPolicy::new(Duration::from_mins(2));
    let deliveries = Deliveries::start(&memory, config(receivers.into(), policy, shutdown));
    let (reports, result) = deliveries.close().await;
    let error = result.unwrap_err().to_string();
    assert_eq!(error, "cannot write alerts to standard output: no space");
    assert_eq!((reports[0].failed, reports[1].delivered), (0, 2));
    assert_eq!(stdout.attempts().len(), 1);
    assert_eq!(memory.rows().postponed, [1], "the alert stays pending, with its cause");
}

#[tokio::test(start_paused = true)]
async fn a_throttle_spreads_messages() {
    let memory = FakeMemory::default();
    memory.add(["1", "2", "3", "4", "5", "6"]);
    let receiver = FakeReceiver::new(|_, _| Ok(()));
    let throttle = ThrottleLimit { messages: 2, per: 10 * SECOND };
    let (deliveries, _trigger) = start(&memory, &receiver, Some(throttle));
    deliveries.close().await.1.unwrap();
    let seconds: Vec<u64> = receiver.attempts().into_iter().map(|(_, second)| second).collect();
    assert_eq!(seconds, [0, 0, 10, 10, 20, 20]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_what_is_in_progress_and_starts_nothing() {
    let memory = FakeMemory::default();
    let groups: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    memory.add(groups.iter().map(String::as_str));
    let receiver = FakeReceiver::slow(10 * SECOND, |_, _| Ok(()));
    let (deliveries, trigger) = start(&memory, &receiver, None);
    let close = deliveries.close();
    let stop = async {
        advance(SECOND).await;
        trigger.raise(ShutdownLevel::Draining);
    };
    let ((reports, result), ()) = tokio::join!(close, stop);
    result.unwrap();
    assert_eq!(reports[0].delivered, 4, "those in progress are recorded");
    assert_eq!(receiver.numbers().len(), 4);
    assert_eq!(memory.rows().started.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_immediate_shutdown_waits_for_nothing() {
    let memory = FakeMemory::default();
    memory.add(["x"]);
    let receiver = FakeReceiver::slow(Duration::from_mins(10), |_, _| Ok(()));
    let (deliveries, trigger) = start(&memory, &receiver, None);
    let started = Instant::now();
    let stop = async {
        advance(SECOND).await;
        trigger.raise(ShutdownLevel::Immediate);
    };
    let ((reports, result), ()) = tokio::join!(deliveries.close(), stop);
    result.unwrap();
    assert_eq!(reports[0].delivered, 0);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(memory.rows().started, [1], "it is known to be in progress");
}

#[tokio::test(start_paused = true)]
async fn deliveries_that_arrive_later_are_made_and_few_are_held() {
    let memory = FakeMemory::default();
    let receiver = FakeReceiver::new(|_, _| Ok(()));
    let (deliveries, _trigger) = start(&memory, &receiver, None);
    for round in 0..40 {
        let groups: Vec<String> = (0..50).map(|number| format!("{round}/{number}")).collect();
        memory.add(groups.iter().map(String::as_str));
        advance(SECOND / 10).await;
        tokio::task::yield_now().await;
    }
    let (reports, result) = deliveries.close().await;
    result.unwrap();
    assert_eq!(reports[0].delivered, 2_000);
    assert!(memory.rows().max_held <= 64 + 4, "{}", memory.rows().max_held);
}

#[tokio::test(start_paused = true)]
async fn a_slow_receiver_delays_no_other() {
    let memory = FakeMemory::default();
    memory.add(["x", "y", "z"]);
    for (number, row) in &mut memory.rows().pending {
        row.action = if *number == 1 { "slow".to_owned() } else { "a".to_owned() };
    }
    let (slow, fast) = (
        FakeReceiver::slow(Duration::from_mins(1), |_, _| Ok(())),
        FakeReceiver::new(|_, _| Ok(())),
    );
    let receivers = [("slow", &slow), ("a", &fast)].map(|(action, receiver)| ActionReceiver {
        action: action.to_owned(),
        receiver: receiver.clone(),
        throttle: None,
    });
    let (_trigger, shutdown) = shutdown_channel();
    let policy = DeliveryPolicy::new(Duration::from_mins(2));
    let deliveries = Deliveries::start(&memory, config(receivers.into(), policy, shutdown));
    deliveries.close().await.1.unwrap();
    assert_eq!(slow.attempts(), [(1, 0)]);
    assert_eq!(fast.attempts(), [(2, 0), (3, 0)]);
}

fn backlog(deliveries: &Deliveries, undelivered: &UndeliveredCount) -> (Backlog, ShutdownTrigger) {
    let (trigger, shutdown) = shutdown_channel();
    let totals = deliveries.totals.clone();
    (Backlog::new(undelivered.clone(), totals, shutdown, Log::default()), trigger)
}

/// Lets queues take what is pending.
async fn settle_down() {
    advance(SECOND).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn reading_waits_until_a_working_receiver_has_caught_up() {
    let memory = FakeMemory::default();
    let groups: Vec<String> = (0..400).map(|number| number.to_string()).collect();
    memory.add(groups.iter().map(String::as_str));
    let undelivered = UndeliveredCount::new(MAX_READ_AHEAD + 100);
    let counted = undelivered.clone();
    let receiver = FakeReceiver::slow(SECOND, move |_, _| {
        counted.remove(1);
        Ok(())
    });
    let (deliveries, _trigger) = start(&memory, &receiver, None);
    settle_down().await;
    let started = Instant::now();
    backlog(&deliveries, &undelivered).0.wait().await;
    assert_eq!(undelivered.get(), MAX_READ_AHEAD);
    let waited = started.elapsed();
    assert!((20 * SECOND..30 * SECOND).contains(&waited), "{waited:?}");
    deliveries.close().await.1.unwrap();
}

#[tokio::test(start_paused = true)]
async fn reading_does_not_wait_for_idle_receivers() {
    let receiver = FakeReceiver::new(|_, _| Ok(()));
    let (deliveries, _trigger) = start(&FakeMemory::default(), &receiver, None);
    settle_down().await;
    let started = Instant::now();
    let undelivered = UndeliveredCount::new(MAX_READ_AHEAD * 2);
    backlog(&deliveries, &undelivered).0.wait().await;
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn reading_waits_for_a_dead_receiver_only_as_long_as_a_delivery_is_tried() {
    let memory = FakeMemory::default();
    let groups: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    for failure in [RetryAdvice::Backoff, RetryAdvice::After(SECOND)] {
        memory.add(groups.iter().map(String::as_str));
        let receiver = FakeReceiver::new(move |_, _| Err(DeliveryError::new(failure, "503")));
        let (deliveries, _trigger) = start(&memory, &receiver, None);
        let started = Instant::now();
        settle_down().await;
        let undelivered = UndeliveredCount::new(MAX_READ_AHEAD * 2);
        let (backlog, _never) = backlog(&deliveries, &undelivered);
        backlog.wait().await;
        let waited = started.elapsed();
        assert!((115 * SECOND..=121 * SECOND).contains(&waited), "{waited:?}");
        backlog.wait().await;
        assert_eq!(started.elapsed(), waited, "the next batch does not wait again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_wait_of_reading_at_once() {
    let memory = FakeMemory::default();
    memory.add(["x", "y"]);
    let receiver = FakeReceiver::slow(Duration::from_mins(1), |_, _| Ok(()));
    let (deliveries, _trigger) = start(&memory, &receiver, None);
    settle_down().await;
    let started = Instant::now();
    let undelivered = UndeliveredCount::new(MAX_READ_AHEAD + 1);
    let (backlog, trigger) = backlog(&deliveries, &undelivered);
    let stop = async {
        advance(SECOND).await;
        trigger.raise(ShutdownLevel::Draining);
    };
    tokio::join!(backlog.wait(), stop);
    assert!(started.elapsed() <= SECOND + SECOND / 10, "{:?}", started.elapsed());
}

fn claims<const N: usize>(memory: &FakeMemory, number: i64, claims: [Claim; N]) {
    memory.rows().claims.insert(number, claims.into());
}

#[tokio::test(start_paused = true)]
async fn a_delivery_of_another_process_is_held_and_made_once_its_claim_is_over() {
    let memory = FakeMemory::default();
    memory.add(["x", "x", "y"]);
    claims(&memory, 1, [Claim::Held(SECOND), Claim::Held(5 * SECOND)]);
    let receiver = FakeReceiver::new(|_, _| Ok(()));
    let started = Instant::now();
    let report = deliver_all(&memory, &receiver).await;
    assert_eq!(report.delivered, 3);
    assert_eq!(started.elapsed().as_secs(), 6);
    let rows = memory.rows();
    assert_eq!(rows.claimed, [1, 3, 1, 1, 2], "a later one of the group waits too");
    assert_eq!(rows.delivered, [3, 1, 2]);
    assert_eq!(rows.told, [3, 1, 2]);
    assert!(rows.postponed.is_empty() && rows.failed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_another_process_has_made_is_dropped_without_an_attempt() {
    let memory = FakeMemory::default();
    memory.add(["x", "x"]);
    claims(&memory, 1, [Claim::Held(SECOND), Claim::Delivered]);
    let receiver = FakeReceiver::new(|_, _| Ok(()));
    let report = deliver_all(&memory, &receiver).await;
    assert_eq!((report.delivered, report.failed), (1, 0));
    let rows = memory.rows();
    assert_eq!(
        (&*rows.elsewhere, &*rows.started, &*rows.delivered),
        (&[1][..], &[2][..], &[2][..])
    );
}

#[tokio::test(start_paused = true)]
async fn claims_that_are_not_granted_do_not_count_as_messages() {
    let memory = FakeMemory::default();
    memory.add(["x", "y", "z"]);
    for number in [1, 2] {
        claims(&memory, number, [Claim::Held(SECOND); 5]);
    }
    let receiver = FakeReceiver::new(|_, _| Ok(()));
    let throttle = ThrottleLimit { messages: 3, per: 60 * SECOND };
    let started = Instant::now();
    let (deliveries, _trigger) = start(&memory, &receiver, Some(throttle));
    deliveries.close().await.1.unwrap();
    assert_eq!(memory.rows().delivered, [3, 1, 2]);
    assert!(started.elapsed() < 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_with_its_claim_and_is_made_again() {
    let memory = FakeMemory::default();
    memory.add(["x"]);
    memory.rows().claim_lasts = Some(3 * SECOND);
    let receiver = FakeReceiver::slow(10 * SECOND, |_, _| Ok(()));
    let report = deliver_all(&memory, &receiver).await;
    assert_eq!((report.delivered, report.failed), (0, 1));
    let rows = memory.rows();
    assert!(rows.failed[&1].contains("the claim on the alert was lost"), "{:?}", rows.failed);
    assert_eq!(rows.released, [1], "another process may try");
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_is_told_by_the_next_run_and_not_sent_again() {
    let memory = FakeMemory::default();
    memory.add(["x"]);
    memory.rows().is_unreachable = true;
    let receiver = FakeReceiver::new(|_, _| Ok(()));
    assert_eq!(deliver_all(&memory, &receiver).await.delivered, 1);
    {
        let mut rows = memory.rows();
        assert_eq!((&*rows.acknowledged, rows.delivered.len()), (&[1][..], 0));
        rows.is_unreachable = false;
        rows.pending.entry(1).and_modify(|row| row.state = DeliveryState::Acknowledged);
    }
    deliver_all(&memory, &receiver).await;
    let rows = memory.rows();
    assert_eq!((&*rows.told, &*rows.delivered, &*rows.started), (&[1][..], &[1][..], &[1][..]));
}
