//! The shared state against the memory in the checkpoint, and leases.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU32, Ordering::Relaxed},
    },
};

use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::Index};
use rusqlite::Connection;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    items::{Attributes, Item, StoredItem},
    store::{ClaimRequest, ClaimResult},
    *,
};
use crate::{
    aws::{ErrorKind, ServiceError},
    checkpoint::{
        alerts::{AlertMemory, Delivery, DeliveryRows, DeliveryState, tests::event},
        migrate,
    },
    event::{Alert, DecidedMatches, NewMatch},
    filter::rule::{Rule, parse_rule_file},
    shutdown::{ShutdownLevel, ShutdownTrigger, shutdown_channel},
};

/// The time at which everything is recorded.
const NOW: i64 = 1_700_000_000_000;

/// A table in memory. Clones are the same.
#[derive(Clone, Debug)]
struct MemoryTable(Arc<Rows>);

#[derive(Debug)]
struct Rows {
    items: Mutex<HashMap<ItemKey, Attributes>>,
    now: AtomicI64,
    /// Requests that are still to fail.
    failures: AtomicU32,
    /// Requests with a response so far.
    requests: AtomicU32,
}

impl Default for MemoryTable {
    fn default() -> Self {
        Self(Arc::new(Rows {
            items: Mutex::default(),
            now: NOW.into(),
            failures: 0.into(),
            requests: 0.into(),
        }))
    }
}

impl MemoryTable {
    /// Lets other tasks go first, and fails if that was asked for.
    async fn request(&self) -> Result<(), Error> {
        for _ in 0..fastrand::u32(0..3) {
            tokio::task::yield_now().await;
        }
        let fails = |left: u32| left.checked_sub(1);
        if self.0.failures.fetch_update(Relaxed, Relaxed, fails).is_ok() {
            return Err(Error::Request {
                table: "t".to_owned(),
                region: "eu-west-1".to_owned(),
                operation: "PutItem",
                source: Box::new(ServiceError {
                    kind: ErrorKind::Throttled,
                    status: Some(400),
                    code: Some("ProvisionedThroughputExceededException".to_owned()),
                    message: String::new(),
                    request_id: None,
                }),
            });
        }
        self.0.requests.fetch_add(1, Relaxed);
        Ok(())
    }

    fn items(&self) -> std::sync::MutexGuard<'_, HashMap<ItemKey, Attributes>> {
        self.0.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stored(&self) -> Vec<StoredItem> {
        self.items().values().map(|item| StoredItem::decode(item).unwrap().1).collect()
    }

    /// Returns the alerts that are to be delivered, by event id, with the actions that have no acknowledgement.
    fn undelivered(&self) -> BTreeMap<String, usize> {
        let alerts = self.stored().into_iter().filter_map(|stored| match stored.item {
            Item::Alert(alert) if !alert.is_recorded => {
                let open = alert.claims.values().filter(|claim| claim.delivered.is_none()).count();
                Some((alert.event_id, open))
            }
            _ => None,
        });
        alerts.collect()
    }

    fn advance(&self, time: Duration) {
        self.0.now.fetch_add(i64::try_from(time.as_millis()).unwrap(), Relaxed);
    }
}

fn is_version(items: &HashMap<ItemKey, Attributes>, key: &ItemKey, version: Option<u64>) -> bool {
    items.get(key).map(|item| StoredItem::decode(item).unwrap().1.version) == version
}

fn text(item: &Attributes, name: &str, action: &str) -> Option<String> {
    let value = item.get(&items::of_action(name, action))?;
    value.as_s().or(value.as_n()).ok().cloned()
}

impl ItemStore for MemoryTable {
    fn table(&self) -> &'static str {
        "t"
    }

    fn now(&self) -> i64 {
        self.0.now.load(Relaxed)
    }

    async fn read(&self, keys: &[ItemKey]) -> Result<HashMap<ItemKey, StoredItem>, Error> {
        self.request().await?;
        assert!(keys.iter().collect::<BTreeSet<_>>().len() == keys.len(), "a key is read twice");
        let mut found = HashMap::new();
        for key in keys {
            // Other tasks may write between two items.
            tokio::task::yield_now().await;
            if let Some(item) = self.items().get(key) {
                let (key, item) = StoredItem::decode(item).unwrap();
                found.insert(key, item);
            }
        }
        Ok(found)
    }

    async fn commit(&self, changes: &Changes, expires: i64) -> Result<Committed, Error> {
        if changes.writes.is_empty() {
            return Ok(Committed::Yes);
        }
        self.request().await?;
        assert!(changes.writes.len() + changes.unchanged.len() <= 100);
        let mut items = self.items();
        let mut conditions = changes
            .writes
            .iter()
            .map(|write| (&write.key, write.replaces))
            .chain(changes.unchanged.iter().map(|(key, version)| (key, *version)));
        if !conditions.all(|(key, version)| is_version(&items, key, version)) {
            return Ok(Committed::Conflict);
        }
        for write in &changes.writes {
            items.insert(write.key.clone(), write.item.encode(&write.key, expires));
        }
        Ok(Committed::Yes)
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<ClaimResult, Error> {
        self.request().await?;
        let ClaimRequest { key, action, owner, until, expired_before, .. } = request;
        let mut items = self.items();
        let stored = items.get(key).cloned().unwrap_or_default();
        let read = |item: &Attributes| StoredItem::decode(item).ok().map(|(_, item)| item);
        let held_until = text(&stored, "until", action).and_then(|until| until.parse::<i64>().ok());
        let is_free = text(&stored, "owner", action).is_none_or(|known| known == owner)
            || held_until.is_some_and(|until| until < expired_before);
        if text(&stored, "delivered", action).is_some() || !is_free {
            return Ok(ClaimResult::Refused(read(&stored)));
        }
        let mut item = stored;
        let mut set = |name: String, value: String, is_number: bool| {
            let value = if is_number {
                aws_sdk_dynamodb::types::AttributeValue::N(value)
            } else {
                aws_sdk_dynamodb::types::AttributeValue::S(value)
            };
            item.insert(name, value);
        };
        set(items::KEY.to_owned(), key.0.clone(), false);
        set(items::of_action("owner", action), owner.to_owned(), false);
        set(items::of_action("until", action), until.to_string(), true);
        items.insert(key.clone(), item.clone());
        Ok(ClaimResult::Granted(read(&item)))
    }

    async fn mark_delivered(&self, request: ClaimRequest<'_>, at: i64) -> Result<(), Error> {
        self.request().await?;
        let mut items = self.items();
        let item = items.entry(request.key.clone()).or_default();
        let name = items::of_action("delivered", request.action);
        item.insert(name, aws_sdk_dynamodb::types::AttributeValue::N(at.to_string()));
        Ok(())
    }

    async fn release(&self, request: ClaimRequest<'_>) -> Result<(), Error> {
        self.request().await?;
        let mut items = self.items();
        let item = items.entry(request.key.clone()).or_default();
        if text(item, "owner", request.action).as_deref() == Some(request.owner) {
            let name = items::of_action("until", request.action);
            item.insert(name, aws_sdk_dynamodb::types::AttributeValue::N("0".to_owned()));
        }
        Ok(())
    }
}

fn rules(keys: &str) -> Arc<RuleSet> {
    let text = format!("name: r0\nevents: [A]\nactions: [a]\n{keys}");
    Arc::new(RuleSet::new(parse_rule_file(&text).rules))
}

/// Opens the state of a process.
async fn process(
    table: &MemoryTable,
    rules: &Arc<RuleSet>,
    owner: &str,
) -> SharedAlerts<MemoryTable> {
    open(table, rules, owner, AlertOptions::default()).await.0
}

async fn open(
    table: &MemoryTable,
    rules: &Arc<RuleSet>,
    owner: &str,
    options: AlertOptions,
) -> (SharedAlerts<MemoryTable>, ShutdownTrigger) {
    open_at(NOW, table, rules, owner, options).await
}

/// As [`open`], with a local clock that shows this time.
async fn open_at(
    now: i64,
    table: &MemoryTable,
    rules: &Arc<RuleSet>,
    owner: &str,
    options: AlertOptions,
) -> (SharedAlerts<MemoryTable>, ShutdownTrigger) {
    let (trigger, shutdown) = shutdown_channel();
    let config = SharedAlertsConfig {
        table: table.clone(),
        rules: Arc::clone(rules),
        options,
        owner: owner.to_owned(),
        clock: Clock::new(move || Timestamp::from_millisecond(now).unwrap()),
        shutdown,
    };
    (SharedAlerts::with_store(config).await.unwrap(), trigger)
}

/// Returns the event ids of alerts.
fn ids(alerts: &[Alert]) -> Vec<String> {
    alerts.iter().map(|alert| alert.event_id.clone()).collect()
}

/// Keys of a random rule. Times are in seconds.
fn any_keys() -> impl Strategy<Value = String> {
    let first_seen = proptest::option::of((1_i64..20, 0_i64..10));
    let window = proptest::option::of((1_i64..12, 1_usize..5));
    (window, first_seen).prop_map(|(window, first_seen)| {
        let mut keys = String::new();
        if let Some((window, threshold)) = window {
            writeln!(keys, "window: {window}s\nthreshold: {threshold}").unwrap();
        }
        if let Some((within, learning)) = first_seen {
            writeln!(
                keys,
                "first_seen: {{by: [detail.a], within: {within}s, learning: {learning}s}}"
            )
            .unwrap();
        }
        keys
    })
}

/// Random events: half seconds within some minutes, in some groups and combinations.
fn events(groups: u8) -> impl Strategy<Value = Vec<NewMatch>> {
    let event = |time: i64, group: u8, combination: u8, from: Option<i64>| NewMatch {
        group: json!([group]),
        combination: Some(json!([combination])),
        evaluated_from: from.map(|from| from * 500),
        ..event("", time * 500)
    };
    let from = proptest::option::of(0_i64..200);
    vec((0_i64..400, 0..groups, 0_u8..3, from), 0..70).prop_map(move |events| {
        let named = |(number, (time, group, combination, from))| NewMatch {
            event_id: format!("e{number:03}"),
            ..event(time, group, combination, from)
        };
        events.into_iter().enumerate().map(named).collect()
    })
}

/// Divides events into receipts that end at random places.
fn receipts<'e>(events: &'e [NewMatch], cuts: &[Index]) -> Vec<&'e [NewMatch]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(events.len() + 1)).collect();
    ends.push(events.len());
    ends.sort_unstable();
    let mut start = 0;
    let mut receipts = Vec::new();
    for end in ends {
        receipts.push(&events[start..end]);
        start = end;
    }
    receipts
}

/// Returns the event ids of the alerts of the memory in a checkpoint, which is opened again with the options of each receipt.
fn alerts_of_checkpoint(
    rules: &Arc<RuleSet>,
    receipts: &[(&AlertOptions, &[NewMatch])],
) -> Vec<Vec<String>> {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.set_prepared_statement_cache_capacity(64);
    migrate::migrate(&mut connection, Path::new("memory")).unwrap();
    let mut known = 0;
    let mut alerts = Vec::new();
    for (options, receipt) in receipts {
        let options = AlertOptions::clone(options);
        let mut memory = AlertMemory::open(&connection, Arc::clone(rules), options, NOW).unwrap();
        memory.record(&connection, receipt, NOW).unwrap();
        let pending = DeliveryRows::new(&connection).pending("a", known, usize::MAX).unwrap();
        known = pending.last().map_or(known, |delivery| delivery.number);
        alerts.push(pending.into_iter().map(|delivery| delivery.alert.event_id).collect());
    }
    alerts
}

/// Returns the numbers of the decisions of all rules: alerts, recorded, suppressed, learned.
fn numbers(decided: &DecidedMatches) -> [u64; 4] {
    decided.rules.iter().fold([0; 4], |sum, rule| {
        [
            sum[0] + rule.alerts,
            sum[1] + rule.recorded,
            sum[2] + rule.suppressed,
            sum[3] + rule.learned,
        ]
    })
}

fn block_on<T>(task: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap().block_on(task)
}

proptest! {
    #[test]
    fn several_processes_raise_the_alerts_that_one_checkpoint_raises_in_any_order(
        keys in any_keys(),
        in_order in any::<bool>(),
        events in events(2).prop_shuffle(),
        repeated in vec(any::<Index>(), 0..20),
        cuts in vec(any::<Index>(), 0..8),
        processes in 1_usize..4
    ) {
        let mut events = events;
        if in_order {
            events.sort_by_key(|event| (event.time, event.event_id.clone()));
        } else if !events.is_empty() {
            let again: Vec<_> = repeated.iter().map(|index| index.get(&events).clone()).collect();
            events.extend(again);
        }
        let rules = rules(&keys);
        let receipts = receipts(&events, &cuts);
        let options = AlertOptions::default();
        let with_options: Vec<_> = receipts.iter().map(|receipt| (&options, *receipt)).collect();
        let expected = alerts_of_checkpoint(&rules, &with_options);
        let (raised, undelivered) = block_on(async {
            let table = MemoryTable::default();
            let mut states = Vec::new();
            for number in 0..processes {
                states.push(process(&table, &rules, &number.to_string()).await);
            }
            let mut seen = BTreeSet::new();
            let mut raised = Vec::new();
            for (number, receipt) in receipts.iter().enumerate() {
                let decided = states[number % processes].decide(receipt.to_vec()).await.unwrap();
                // Alerts that are not delivered are returned again for duplicates.
                let new: Vec<_> =
                    ids(&decided.alerts).into_iter().filter(|id| seen.insert(id.clone())).collect();
                assert_eq!(numbers(&decided)[0], new.len() as u64);
                raised.push(new);
            }
            (raised, table.undelivered())
        });
        let all: BTreeSet<_> = expected.iter().flatten().cloned().collect();
        prop_assert_eq!(&raised, &expected);
        prop_assert_eq!(undelivered.into_keys().collect::<BTreeSet<_>>(), all);
    }

    #[test]
    fn processes_that_decide_at_the_same_time_raise_each_alert_once(
        window in 1_i64..12, threshold in 1_usize..5, events in events(1).prop_shuffle()
    ) {
        let rules = rules(&format!("window: {window}s\nthreshold: {threshold}\n"));
        let table = block_on(async {
            let table = MemoryTable::default();
            let mut tasks = tokio::task::JoinSet::new();
            for number in 0..3 {
                let state = process(&table, &rules, &number.to_string()).await;
                // Each reads most events, in its own order.
                let mut read: Vec<_> =
                    events.iter().filter(|_| fastrand::u8(0..4) > 0).cloned().collect();
                fastrand::shuffle(&mut read);
                if number == 0 {
                    read.clone_from(&events);
                }
                tasks.spawn(async move {
                    let mut raised = 0;
                    for receipt in read.chunks(7) {
                        raised += numbers(&state.decide(receipt.to_vec()).await.unwrap())[0];
                    }
                    raised
                });
            }
            let raised: u64 = tasks.join_all().await.into_iter().sum();
            assert_eq!(raised, table.undelivered().len() as u64);
            table
        });
        let window = window * 1_000;
        let mut covers: Vec<i64> = Vec::new();
        for stored in table.stored() {
            if let Item::Segment(segment) = stored.item {
                covers.extend(segment.covers.keys());
            }
        }
        covers.sort_unstable();
        prop_assert!(covers.windows(2).all(|pair| pair[1] - pair[0] >= window), "{covers:?}");
        let times: Vec<i64> = events.iter().map(|event| event.time.unwrap()).collect();
        let qualifies = |time: i64| times.iter().any(|start| {
            let is_in = |time: i64| (*start..start + window).contains(&time);
            is_in(time) && times.iter().filter(|time| is_in(**time)).count() >= threshold
        });
        for time in times.iter().copied().filter(|time| qualifies(*time)) {
            let is_covered = covers.iter().any(|cover| (cover - time).abs() < window);
            prop_assert!(is_covered, "{time} is not covered by {covers:?}");
        }
        prop_assert_eq!(covers.len(), table.undelivered().len());
    }

    #[test]
    fn alerts_for_old_events_are_recorded_and_a_replay_raises_them(
        events in events(2).prop_shuffle(), keys in any_keys(), age in 0_u64..200
    ) {
        let rules = rules(&keys);
        let age = Duration::from_millis(u64::try_from(NOW).unwrap() - age * 1_000);
        let recent = AlertOptions { max_age: Some(age), ..AlertOptions::default() };
        let all = AlertOptions::default();
        let runs = [&recent, &all, &all].map(|options| (options, events.as_slice()));
        let expected = alerts_of_checkpoint(&rules, &runs);
        block_on(async {
            let table = MemoryTable::default();
            let mut seen = BTreeSet::new();
            for ((options, events), expected) in runs.into_iter().zip(&expected) {
                let (state, _) = open(&table, &rules, "1", options.clone()).await;
                let decided = state.decide(events.to_vec()).await.unwrap();
                let mut new = ids(&decided.alerts);
                new.retain(|id| seen.insert(id.clone()));
                assert_eq!(&new, expected);
            }
        });
    }
}

fn delivery(alert: &Alert) -> Delivery {
    Delivery {
        number: 1,
        alert: alert.clone(),
        action: "a".to_owned(),
        attempts: 0,
        first_attempt: None,
        state: DeliveryState::Pending,
    }
}

/// Raises an alert in a new table.
async fn raised(table: &MemoryTable, owner: &SharedAlerts<MemoryTable>) -> Delivery {
    let number = table.items().len();
    let decided = owner.decide(vec![event(&format!("e{number}"), NOW)]).await.unwrap();
    delivery(&decided.alerts[0])
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_claimed_by_one_process_until_its_lease_is_over() {
    let (table, rules) = (MemoryTable::default(), rules(""));
    let (one, other) = (process(&table, &rules, "1").await, process(&table, &rules, "2").await);
    let delivery = raised(&table, &one).await;
    assert!(matches!(other.claim(&delivery).await, Ok(Claim::Held(wait)) if wait >= MIN));
    assert_eq!(one.claim(&delivery).await.unwrap(), Claim::Granted);
    table.advance(LEASE + MARGIN);
    assert!(matches!(other.claim(&delivery).await, Ok(Claim::Held(_))), "at its end");
    table.advance(Duration::from_millis(1));
    assert_eq!(other.claim(&delivery).await.unwrap(), Claim::Granted);
    assert!(matches!(one.claim(&delivery).await, Ok(Claim::Held(_))));
    other.mark_delivered(&delivery).await.unwrap();
    table.advance(LEASE * 10);
    for state in [&one, &other] {
        assert_eq!(state.claim(&delivery).await.unwrap(), Claim::Delivered);
    }
}

const MIN: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_again_continues_with_its_own_leases_at_once() {
    let (table, rules) = (MemoryTable::default(), rules(""));
    let delivery = raised(&table, &process(&table, &rules, "1").await).await;
    let again = process(&table, &rules, "1").await;
    assert_eq!(again.claim(&delivery).await.unwrap(), Claim::Granted);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_can_be_taken_over_at_once() {
    let (table, rules) = (MemoryTable::default(), rules(""));
    let (one, other) = (process(&table, &rules, "1").await, process(&table, &rules, "2").await);
    let delivery = raised(&table, &one).await;
    one.release(&delivery).await.unwrap();
    assert_eq!(other.claim(&delivery).await.unwrap(), Claim::Granted);
    one.release(&delivery).await.unwrap();
    assert!(matches!(one.claim(&delivery).await, Ok(Claim::Held(_))), "it is that of the other");
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_the_table_does_not_know_is_claimed_too() {
    let (table, rules) = (MemoryTable::default(), rules(""));
    let delivery = raised(&table, &process(&table, &rules, "1").await).await;
    table.items().clear();
    let (one, other) = (process(&table, &rules, "2").await, process(&table, &rules, "3").await);
    assert_eq!(one.claim(&delivery).await.unwrap(), Claim::Granted);
    assert!(matches!(other.claim(&delivery).await, Ok(Claim::Held(_))));
    one.mark_delivered(&delivery).await.unwrap();
    assert_eq!(other.claim(&delivery).await.unwrap(), Claim::Delivered);
}

#[tokio::test(start_paused = true)]
async fn an_alert_waits_for_the_one_before_of_its_group_while_that_is_leased() {
    let (table, rules) = (MemoryTable::default(), rules("window: 1s\n"));
    let (one, other) = (process(&table, &rules, "1").await, process(&table, &rules, "2").await);
    let first = raised(&table, &one).await;
    let decided = other.decide(vec![event("second", NOW + 2_000)]).await.unwrap();
    let second = delivery(&decided.alerts[0]);
    let later = other.decide(vec![event("third", NOW + 4_000)]).await.unwrap();
    let third = delivery(&later.alerts[0]);
    let mut elsewhere = event("fourth", NOW);
    elsewhere.group = json!(["another"]);
    let fourth = delivery(&other.decide(vec![elsewhere]).await.unwrap().alerts[0]);
    assert_eq!(other.claim(&fourth).await.unwrap(), Claim::Granted);
    assert_eq!(other.claim(&second).await.unwrap(), Claim::Held(MIN));
    assert_eq!(other.claim(&third).await.unwrap(), Claim::Held(MIN));
    one.mark_delivered(&first).await.unwrap();
    assert_eq!(other.claim(&second).await.unwrap(), Claim::Granted);
    assert_eq!(other.claim(&third).await.unwrap(), Claim::Held(MIN));
    other.release(&second).await.unwrap();
    assert_eq!(other.claim(&third).await.unwrap(), Claim::Granted);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_read_again_returns_its_alert_until_that_is_delivered() {
    let (table, rules) = (MemoryTable::default(), rules(""));
    let (one, other) = (process(&table, &rules, "1").await, process(&table, &rules, "2").await);
    let delivery = raised(&table, &one).await;
    let again = vec![event(&delivery.alert.event_id, NOW)];
    let decided = other.decide(again.clone()).await.unwrap();
    assert_eq!(decided.alerts, vec![delivery.alert.clone()]);
    assert_eq!((decided.rules[0].duplicates, decided.rules[0].alerts), (1, 0));
    one.mark_delivered(&delivery).await.unwrap();
    assert_eq!(other.decide(again).await.unwrap().alerts, Vec::new());
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_while_a_receiver_is_asked_and_its_loss_ends_the_attempt() {
    let (table, rules) = (MemoryTable::default(), rules(""));
    let (one, other) = (process(&table, &rules, "1").await, process(&table, &rules, "2").await);
    let delivery = raised(&table, &one).await;
    let held = tokio::time::timeout(LEASE * 10, one.hold(&delivery)).await;
    assert!(held.is_err(), "it is renewed");
    assert!(table.0.requests.load(Relaxed) >= 30);
    table.advance(LEASE * 2);
    assert_eq!(other.claim(&delivery).await.unwrap(), Claim::Granted);
    tokio::time::timeout(LEASE, one.hold(&delivery)).await.unwrap();
    // A table that is not available ends it, too, before another process can take the lease.
    table.0.failures.store(u32::MAX, Relaxed);
    let started = tokio::time::Instant::now();
    other.hold(&delivery).await;
    assert!(started.elapsed() <= LEASE);
}

#[tokio::test(start_paused = true)]
async fn an_outage_delays_decisions_and_a_shutdown_ends_the_wait() {
    let (table, rules) = (MemoryTable::default(), rules(""));
    let (state, trigger) = open(&table, &rules, "1", AlertOptions::default()).await;
    table.0.failures.store(40, Relaxed);
    let decided = state.decide(vec![event("e", NOW)]).await.unwrap();
    assert_eq!(decided.alerts.len(), 1);
    table.0.failures.store(u32::MAX, Relaxed);
    let mut waiting = JoinSet::new();
    waiting.spawn({
        let state = state.clone();
        async move { state.decide(vec![event("f", NOW)]).await }
    });
    let delivery = delivery(&decided.alerts[0]);
    trigger.raise(ShutdownLevel::Draining);
    let ended = waiting.join_next().await.unwrap().unwrap();
    assert!(ended.unwrap_err().is_interruption());
    // What was acknowledged is tried a little longer.
    table.0.failures.store(4, Relaxed);
    state.mark_delivered(&delivery).await.unwrap();
    table.0.failures.store(u32::MAX, Relaxed);
    assert!(state.mark_delivered(&delivery).await.unwrap_err().is_interruption());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_does_not_end_is_abandoned_after_a_second_request_to_stop() {
    let (table, rules) = (MemoryTable::default(), rules(""));
    let (state, trigger) = open(&table, &rules, "1", AlertOptions::default()).await;
    trigger.raise(ShutdownLevel::Immediate);
    let silent = || std::future::pending::<Result<(), Error>>();
    assert!(state.patiently(silent).await.unwrap_err().is_interruption());
    assert!(state.insistently(silent).await.unwrap_err().is_interruption());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_wait_has_the_cause() {
    let (table, rules) = (MemoryTable::default(), rules(""));
    let (state, trigger) = open(&table, &rules, "1", AlertOptions::default()).await;
    table.0.failures.store(u32::MAX, Relaxed);
    trigger.raise(ShutdownLevel::Draining);
    let ended = state.decide(vec![event("f", NOW)]).await.unwrap_err();
    let cause = std::error::Error::source(&ended).expect("a cause");
    assert!(cause.to_string().contains("failed for the alert state"), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn learning_starts_with_the_first_process_that_has_the_rule() {
    let rules = rules("first_seen: {by: [detail.a], within: 1h, learning: 30m}\n");
    let rule: &Rule = &rules.rules()[0];
    let table = MemoryTable::default();
    let minutes = |minutes: i64| Timestamp::from_millisecond(NOW - minutes * 60_000).ok();
    for from in [20, 50, 10] {
        let options = AlertOptions { evaluated_from: minutes(from), ..AlertOptions::default() };
        open(&table, &rules, "1", options).await;
    }
    let key = ItemKey::rule(rule, &first_seen_by(rule));
    let stored = StoredItem::decode(&table.items()[&key]).unwrap().1;
    let Item::Rule(stored) = stored.item else { panic!("{stored:?}") };
    assert_eq!(stored.learning_from, NOW - 50 * 60_000);
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_clock_is_behind_does_not_end_the_learning_period() {
    let rules = rules("first_seen: {by: [detail.a], within: 2d, learning: 1d}\n");
    let (hour, table) = (3_600_000, MemoryTable::default());
    open(&table, &rules, "1", AlertOptions::default()).await;
    let behind = NOW - 30 * 24 * hour;
    let (state, _) = open_at(behind, &table, &rules, "2", AlertOptions::default()).await;
    let combined = |id: &str, time: i64| NewMatch {
        combination: Some(json!([id])),
        evaluated_from: Some(NOW),
        ..event(id, time)
    };
    let early = state.decide(vec![combined("a", NOW + hour)]).await.unwrap();
    assert_eq!((early.rules[0].learned, early.rules[0].alerts), (1, 0));
    let late = state.decide(vec![combined("b", NOW + 24 * hour)]).await.unwrap();
    assert_eq!((late.rules[0].learned, late.rules[0].alerts), (0, 1), "it ends by event times");
}
