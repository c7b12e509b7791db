//! Tests of the whole source with the real SDK client against a strict model of the service, in paused time.

#![expect(clippy::disallowed_methods, reason = "the clock of these tests is paused")]

#[path = "../../../tests/support/aws/cloudtrail/model.rs"]
pub(super) mod model;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Mutex;

use aws_credential_types::Credentials;
use aws_sdk_cloudtrail::config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::time::Instant;

use super::page::LookupEvent;
use super::*;
use crate::shutdown::{ShutdownLevel, shutdown_channel};
use crate::source::{Error as SourceError, Page, Slice, SourceEvent, for_each_event};
use model::{Model, Reply};

/// The moment at which all tests begin: 1 January 2026.
pub(super) const NOW: i64 = 1_767_225_600;
pub(super) const DAY: i64 = 86_400;
pub(super) const ACCOUNT: &str = "111122223333";

/// What happens to a request, beside what the model says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// An answer of this status that says nothing.
    Status(u16),
    /// The connection breaks.
    Reset,
    /// No answer, ever.
    Hang,
    /// This error of the service.
    Code(&'static str),
}

/// The connection to the service.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) model: Arc<Mutex<Model>>,
    pub(super) time: Arc<Mutex<ModelTime>>,
    pub(super) latency: Duration,
    pub(super) faults: Arc<Mutex<VecDeque<Option<Fault>>>>,
}

/// The model's time: it continues from one run to the next, each of which has a paused clock of its own.
#[derive(Debug, Default)]
pub(super) struct ModelTime {
    before: Duration,
    pub(super) run_started_at: Option<Instant>,
}

impl ModelTime {
    /// Ends a run, whose clock is not asked any more.
    pub(super) fn pause(&mut self) {
        self.before = self.now();
        self.run_started_at = None;
    }

    fn now(&self) -> Duration {
        self.before + self.run_started_at.map_or(Duration::ZERO, |start| start.elapsed())
    }
}

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            model: Arc::new(Mutex::new(Model::new(NOW))),
            time: Arc::default(),
            latency: Duration::from_millis(200),
            faults: Arc::default(),
        }
    }

    fn answer(&self, request: &HttpRequest) -> (u16, String) {
        let scope = request.headers().get("authorization").unwrap();
        let scope = scope.split_once("Credential=").unwrap().1;
        let parts: Vec<&str> = scope.split('/').collect();
        let body = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let at = self.time.lock().unwrap().now().as_secs_f64();
        match self.model.lock().unwrap().lookup(parts[0], parts[2], &body, at) {
            Reply::Page(page) => (200, page.to_string()),
            Reply::Error(code, why) => error(code, &why),
        }
    }
}

fn error(code: &str, why: &str) -> (u16, String) {
    (400, serde_json::json!({ "__type": code, "message": why }).to_string())
}

impl HttpConnector for Connection {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connection = self.clone();
        HttpConnectorFuture::new(async move {
            let fault = connection.faults.lock().unwrap().pop_front().flatten();
            let (status, body) = match fault {
                None => connection.answer(&request),
                Some(Fault::Status(status)) => (status, String::new()),
                Some(Fault::Code(code)) => error(code, code),
                Some(Fault::Reset) => return Err(ConnectorError::io("connection reset".into())),
                Some(Fault::Hang) => std::future::pending().await,
            };
            tokio::time::sleep(connection.latency).await;
            Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
        })
    }
}

/// Everything a test needs; the fields are changed as it likes.
struct Bench {
    connection: Connection,
    targets: Vec<LookupTarget>,
    options: LookupOptions,
    covered: BTreeMap<String, Vec<(i64, i64)>>,
    /// Seconds after which the user stops, or pages after which nobody listens any more.
    stop_after: Option<Duration>,
    cut_after: Option<usize>,
    check: bool,
    /// Workers never finish.
    keep_pages: bool,
}

/// What came of it.
#[derive(Debug, Default)]
struct Outcome {
    slices: Vec<Slice>,
    pages: usize,
    ids: Vec<String>,
    handed: BTreeSet<String>,
    ended: BTreeMap<String, bool>,
    failed: Vec<String>,
    estimate: Option<Estimate>,
    result: Option<Result<(), SourceError>>,
    /// First and last seconds that are certain, by series.
    certain: BTreeMap<String, Vec<(i64, i64)>>,
    time: Duration,
    most_open: usize,
    kept: Vec<Page>,
}

impl Bench {
    fn new() -> Self {
        Self {
            connection: Connection::new(),
            targets: Vec::new(),
            options: LookupOptions { source_number: 7, ..LookupOptions::new(NOW) },
            covered: BTreeMap::new(),
            stop_after: None,
            cut_after: None,
            check: true,
            keep_pages: false,
        }
    }

    fn with(account: &str, regions: &[&str]) -> Self {
        let mut bench = Self::new();
        bench.add(account, regions);
        bench
    }

    fn add(&mut self, account: &str, regions: &[&str]) {
        self.targets.extend(regions.iter().map(|region| target(&self.connection, account, region)));
    }

    fn model(&self) -> std::sync::MutexGuard<'_, Model> {
        self.connection.model.lock().unwrap()
    }

    fn faults(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.connection.faults.lock().unwrap().extend(faults);
    }

    /// Puts events into the last days of a place, from that many days ago.
    fn put(&self, region: &str, days: i64, count: u32) {
        self.model().put(ACCOUNT, region, NOW - days * DAY, NOW - 1, count);
    }

    /// Ids of all that is settled.
    fn settled(&self) -> BTreeSet<String> {
        let settled = NOW - seconds(self.options.delay);
        self.model().ids(NOW - 90 * DAY, settled)
    }

    fn run(&mut self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(self.go())
    }

    async fn go(&mut self) -> Outcome {
        let covered = self.covered.clone();
        let coverage =
            Box::new(move |series: &str| covered.get(series).cloned().unwrap_or_default());
        let start = Instant::now();
        self.connection.time.lock().unwrap().run_started_at = Some(start);
        let (trigger, shutdown) = shutdown_channel();
        let reported = Arc::new(Mutex::new(None));
        let theirs = Arc::clone(&reported);
        let source = LookupSource::new(self.targets.clone(), self.options.clone(), coverage)
            .on_estimate(Box::new(move |estimate| {
                *theirs.lock().unwrap() = Some(estimate.clone());
            }));
        let mut outcome = Outcome::default();
        let run = for_each_event(Box::new(source), shutdown, |source_number, event| {
            assert_eq!(source_number, 7);
            self.note(event, &mut outcome)
        });
        let stop = async {
            match self.stop_after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
            trigger.raise(ShutdownLevel::Draining);
            std::future::pending().await
        };
        let result = tokio::select! {
            result = run => result,
            result = stop => result,
        };
        outcome.time = start.elapsed();
        let mut time = self.connection.time.lock().unwrap();
        *time = ModelTime { before: time.now(), run_started_at: None };
        outcome.estimate = reported.lock().unwrap().take();
        outcome.result = Some(result);
        outcome
    }

    /// Takes in what was found, and checks that it keeps the contract.
    fn note(&self, event: SourceEvent, outcome: &mut Outcome) -> ControlFlow<()> {
        match event {
            SourceEvent::SliceStarted(slice) => {
                assert!(outcome.slices.iter().all(|known| known.key != slice.key), "{slice:?}");
                assert!(slice.from <= slice.to);
                outcome.slices.push(slice);
                let open = outcome.slices.len() - outcome.ended.len();
                outcome.most_open = outcome.most_open.max(open);
            }
            SourceEvent::Page(page) => {
                if self.cut_after == Some(outcome.pages) {
                    return ControlFlow::Break(());
                }
                self.note_page(&page, outcome);
                if self.keep_pages {
                    outcome.kept.push(page);
                }
            }
            SourceEvent::SliceEnded { key, pages, complete } => {
                let slice = outcome.slices.iter().find(|slice| slice.key == key).unwrap();
                let (from, to, series) = (slice.from, slice.to, slice.series.clone());
                assert!(outcome.ended.insert(key.clone(), complete).is_none());
                assert!(u32::try_from(outcome.pages).unwrap() >= pages);
                if complete {
                    self.check_certain(&series, from, to, outcome);
                }
            }
            SourceEvent::Failed(error) => {
                outcome.failed.push(format!("{}: {}", error.subject(), error.describe()));
            }
            other => panic!("{other:?}"),
        }
        ControlFlow::Continue(())
    }

    fn note_page(&self, page: &Page, outcome: &mut Outcome) {
        let slice = outcome.slices.iter().find(|slice| slice.key == page.key).unwrap().clone();
        assert!(!outcome.ended.contains_key(&page.key));
        let events = &page.content.events;
        let reserved = page.content.permit.as_ref().unwrap().num_permits();
        assert_eq!(reserved, events.iter().map(LookupEvent::held_bytes).sum::<usize>());
        outcome.pages += 1;
        // An empty page is worth its way only for what it makes certain.
        assert!(!events.is_empty() || page.since.is_some());
        let ids = events.iter().map(|event| event.id.clone().unwrap());
        outcome.ids.extend(ids);
        outcome.handed.extend(outcome.ids[outcome.ids.len() - events.len()..].iter().cloned());
        if let Some(since) = page.since {
            assert!((slice.from..=slice.to).contains(&since), "{since} in {slice:?}");
            self.check_certain(&slice.series, since, slice.to, outcome);
        }
    }

    /// Fails if an event of these seconds was not handed over.
    fn check_certain(&self, series: &str, from: i64, to: i64, outcome: &mut Outcome) {
        outcome.certain.entry(series.to_owned()).or_default().push((from, to));
        let path = series.strip_prefix("lookup:").unwrap();
        let target: Vec<&str> = path.split('/').collect();
        if !self.check || path.contains('?') {
            return;
        }
        let key = (target[0].to_owned(), target[1].to_owned(), target[2] == "insight");
        let model = self.model();
        let events = model.events.get(&key).into_iter().flatten();
        let mut inside = events.filter(|event| (from..=to).contains(&event.second));
        if let Some(lost) = inside.find(|event| !outcome.handed.contains(&event.id)) {
            panic!("{series} says it is certain in {from}-{to}, but {lost:?} was not handed over");
        }
    }
}

impl Outcome {
    fn assert_fine(&self) {
        assert!(matches!(self.result, Some(Ok(()))), "{:?}", self.result);
        assert_eq!(self.failed, Vec::<String>::new());
        assert_eq!(self.ended.len(), self.slices.len());
    }
}

pub(super) fn target(connection: &Connection, account: &str, region: &str) -> LookupTarget {
    let connector = SharedHttpConnector::new(connection.clone());
    let config = aws_sdk_cloudtrail::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(Credentials::new(account, "secret", None, None, "test"))
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .retry_config(RetryConfig::disabled())
        .timeout_config(aws_sdk_cloudtrail::config::timeout::TimeoutConfig::disabled())
        .build();
    LookupTarget {
        account: account.to_owned(),
        region: region.to_owned(),
        client: Client::from_conf(config),
        category: Category::Management,
        filter: None,
        may_be_disabled: false,
    }
}

#[test]
fn a_quiet_region_costs_one_request() {
    let mut bench = Bench::with(ACCOUNT, &["eu-west-1"]);
    bench.put("eu-west-1", 60, 40);
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.handed, bench.settled());
    assert!(bench.model().granted() <= 2, "{}", bench.model().granted());
    assert!(outcome.estimate.unwrap().regions[0].exact);
}

#[test]
fn a_region_without_events_is_covered_too() {
    let mut bench = Bench::with(ACCOUNT, &["eu-west-1"]);
    bench.options.from = Some(NOW - DAY);
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.pages, 0);
    assert_eq!(
        outcome.certain["lookup:111122223333/eu-west-1/management"],
        [(NOW - DAY, NOW - 900)]
    );
    assert_eq!(outcome.slices[0].complete_until, Some(NOW - DAY));
}

#[test]
fn every_event_of_many_accounts_and_regions_is_handed_over_once() {
    let names: Vec<String> = (0..20).map(|number| format!("region-{number}-")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bench = Bench::new();
    for account in [ACCOUNT, "444455556666"] {
        bench.add(account, &names);
        for (number, name) in names.iter().enumerate() {
            let count = 30 * u32::try_from(number).unwrap();
            bench.model().put(account, name, NOW - 80 * DAY, NOW - 1, count);
        }
    }
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.handed, bench.settled());
    assert_eq!(outcome.ids.len(), outcome.handed.len(), "some came twice");
    // All at once: as long as the slowest.
    assert!(outcome.time < Duration::from_secs(40), "{:?}", outcome.time);
}

/// Share of the quota used until the last request, and share of requests that were throttled.
fn shares(bench: &Bench) -> (f64, f64) {
    let model = bench.model();
    let asked = model.asked().values().next().unwrap();
    let all = asked.granted + asked.throttled;
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let (granted, throttled, all) = (asked.granted as f64, asked.throttled as f64, all as f64);
    ((granted - 1.0) / (asked.last - asked.first) / 2.0, throttled / all)
}

fn quota_is_used_at(latency: Duration) {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1"]);
    bench.connection.latency = latency;
    bench.targets.clear();
    bench.add(ACCOUNT, &["us-east-1"]);
    bench.check = false;
    bench.put("us-east-1", 10, 60_000);
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.handed, bench.settled());
    let (quota, throttled) = shares(&bench);
    println!(
        "{latency:?}: {:.1} % of the quota, {:.1} % throttled, {} slices at once",
        quota * 100.0,
        throttled * 100.0,
        outcome.most_open
    );
    assert!(quota >= 0.97, "{quota}");
    assert!(throttled <= 0.03, "{throttled}");
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let wasted = bench.model().granted() as f64 / 1200.0;
    assert!(wasted < 1.1, "{wasted} requests for each full page");
}

#[test]
fn the_quota_is_used_at_50_ms() {
    quota_is_used_at(Duration::from_millis(50));
}

#[test]
fn the_quota_is_used_at_200_ms() {
    quota_is_used_at(Duration::from_millis(200));
}

#[test]
fn the_quota_is_used_at_1_s() {
    quota_is_used_at(Duration::from_secs(1));
}

#[test]
fn the_quota_is_used_at_5_s() {
    quota_is_used_at(Duration::from_secs(5));
}

#[test]
fn a_slow_first_answer_is_not_waited_for() {
    let mut bench = Bench::new();
    bench.connection.latency = Duration::from_secs(5);
    bench.add(ACCOUNT, &["us-east-1"]);
    bench.put("us-east-1", 89, 60_000);
    bench.stop_after = Some(Duration::from_mins(1));
    let outcome = bench.run();
    outcome.assert_fine();
    let granted = bench.model().granted();
    assert!((116..=120).contains(&granted), "{granted}");

    let mut bench = Bench::new();
    bench.connection.latency = Duration::from_secs(5);
    bench.add(ACCOUNT, &["us-east-1"]);
    bench.put("us-east-1", 89, 2_000);
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.handed, bench.settled());
    assert_eq!(outcome.ids.len(), outcome.handed.len(), "some came twice");
    assert!(outcome.time < Duration::from_secs(45), "{:?}", outcome.time);

    let mut bench = Bench::new();
    bench.connection.latency = Duration::from_secs(5);
    bench.add(ACCOUNT, &["us-east-1"]);
    bench.put("us-east-1", 89, 2_000);
    bench.options.dry_run = true;
    bench.run().assert_fine();
    assert!(bench.model().granted() <= 3, "an estimate asks for no more");
}

#[test]
fn a_burst_that_no_sample_saw_is_shared_among_chains() {
    let mut bench = Bench::new();
    bench.connection.latency = Duration::from_secs(4);
    bench.add(ACCOUNT, &["us-east-1"]);
    bench.check = false;
    bench.put("us-east-1", 80, 2_000);
    bench.model().put(ACCOUNT, "us-east-1", NOW - 41 * DAY, NOW - 41 * DAY + 3600, 20_000);
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.handed, bench.settled());
    let (quota, _) = shares(&bench);
    assert!(quota > 0.85, "{quota}");
}

#[test]
fn others_who_use_half_the_quota_slow_us_and_nothing_else() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1"]);
    bench.model().others = 1.0;
    bench.check = false;
    bench.put("us-east-1", 10, 30_000);
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.handed, bench.settled());
    let (quota, throttled) = shares(&bench);
    println!("{:.1} % of the quota, {:.1} % throttled", quota * 100.0, throttled * 100.0);
    assert!(quota > 0.42, "{quota}");
    assert!(throttled < 0.1, "{throttled}");
}

#[test]
fn tokens_that_expire_cost_pages_and_lose_none() {
    for life in [0.7, 3.0] {
        let mut bench = Bench::new();
        bench.connection.latency = Duration::from_secs(1);
        bench.add(ACCOUNT, &["us-east-1"]);
        bench.model().token_life = Some(life);
        bench.put("us-east-1", 3, 5_000);
        let outcome = bench.run();
        outcome.assert_fine();
        assert_eq!(outcome.handed, bench.settled());
    }
}

#[test]
fn a_page_edge_inside_a_second_loses_nothing() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1"]);
    // 40 seconds with 37 events each: pages of 50 end in the middle.
    for second in 0..40 {
        let at = NOW - 7200 + second * 3;
        bench.model().put(ACCOUNT, "us-east-1", at, at, 37);
    }
    bench.model().token_life = Some(1.0);
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.handed, bench.settled());
}

#[test]
fn a_second_with_more_events_than_a_page_ends() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1"]);
    bench.model().put(ACCOUNT, "us-east-1", NOW - 7200, NOW - 7200, 400);
    bench.model().put(ACCOUNT, "us-east-1", NOW - 7200 - 500, NOW - 7000, 400);
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.handed, bench.settled());
}

#[test]
fn a_second_that_tokens_do_not_get_past_is_told_and_the_rest_is_fetched() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1"]);
    bench.put("us-east-1", 30, 200);
    bench.model().put(ACCOUNT, "us-east-1", NOW - 7200, NOW - 7200, 120);
    bench.model().token_life = Some(0.0);
    let outcome = bench.run();
    assert!(matches!(outcome.result, Some(Ok(()))));
    assert_eq!(outcome.failed.len(), 1, "{:?}", outcome.failed);
    assert!(outcome.failed[0].contains("no progress at second"), "{:?}", outcome.failed);
    assert!(outcome.ended.values().any(|complete| !complete));
    assert!(outcome.handed.len() > 200);
}

#[test]
fn an_empty_page_with_a_token_is_not_the_end() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1"]);
    bench.model().empty_every = Some(3);
    bench.put("us-east-1", 30, 2_000);
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.handed, bench.settled());
}

#[test]
fn a_second_run_asks_only_for_what_is_new_and_the_overlap() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1"]);
    bench.put("us-east-1", 20, 3_000);
    let first = bench.run();
    first.assert_fine();
    let series = bench.targets[0].series();
    bench.covered = sure(&first);
    // Late by ten hours, and within the overlap of a day.
    bench.model().put(ACCOUNT, "us-east-1", NOW - 36_000, NOW - 36_000, 1);
    let before = bench.model().granted();
    let second = bench.run();
    second.assert_fine();
    let late = bench.model().ids_in((ACCOUNT, "us-east-1"), NOW - 36_000, NOW - 36_000);
    assert!(!late.is_empty() && late.iter().all(|id| second.ids.contains(id)));
    assert_eq!(second.slices[0].series, series);
    assert!(second.slices.iter().all(|slice| slice.from > NOW - DAY), "{:?}", second.slices);
    assert!(bench.model().granted() - before <= 5);
}

/// What the checkpoint would say of a run all of whose pages are settled.
fn sure(outcome: &Outcome) -> BTreeMap<String, Vec<(i64, i64)>> {
    let sure_until = NOW - DAY;
    let mut all = outcome.certain.clone();
    for ranges in all.values_mut() {
        for range in ranges.iter_mut() {
            range.1 = range.1.min(sure_until);
        }
    }
    all
}

#[test]
fn a_cut_costs_at_most_a_page_for_each_open_slice() {
    for cut in [0, 1, 2, 5, 9, 14, 23, 30, 41] {
        let mut bench = Bench::new();
        bench.connection.latency = Duration::from_secs(2);
        bench.add(ACCOUNT, &["us-east-1"]);
        // Nothing is so young that it would be fetched again anyway.
        bench.model().put(ACCOUNT, "us-east-1", NOW - 20 * DAY, NOW - 2 * DAY, 3_000);
        bench.cut_after = Some(cut);
        let first = bench.run();
        assert_eq!(first.pages, cut);
        bench.covered = sure(&first);
        bench.cut_after = None;
        let second = bench.run();
        second.assert_fine();
        let both: BTreeSet<String> = first.handed.union(&second.handed).cloned().collect();
        assert_eq!(both, bench.settled());
        let again = first.ids.len() + second.ids.len() - both.len();
        assert!(again <= 50 * first.most_open, "{again} events of {} open slices", first.most_open);
    }
}

#[test]
fn a_stop_ends_soon_and_claims_nothing() {
    let mut bench = Bench::new();
    bench.connection.latency = Duration::from_secs(5);
    bench.add(ACCOUNT, &["us-east-1"]);
    bench.put("us-east-1", 20, 10_000);
    bench.stop_after = Some(Duration::from_secs(31));
    let outcome = bench.run();
    assert!(matches!(outcome.result, Some(Ok(()))));
    assert!(outcome.time <= Duration::from_secs(32), "{:?}", outcome.time);
    assert!(outcome.pages > 10);
    assert_eq!(outcome.ended.len(), outcome.slices.len());
    assert!(outcome.ended.values().any(|complete| !complete));
}

#[test]
fn trouble_on_the_way_costs_time_only() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1"]);
    bench.put("us-east-1", 20, 2_000);
    let faults = [
        Fault::Status(503),
        Fault::Reset,
        Fault::Hang,
        Fault::Status(500),
        Fault::Code("InternalFailure"),
    ];
    bench.faults(faults.iter().flat_map(|fault| [None, Some(*fault), Some(*fault), None]));
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.handed, bench.settled());
}

#[test]
fn an_outage_without_end_fails_the_place_after_a_while() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1"]);
    bench.put("us-east-1", 20, 2_000);
    bench.faults(std::iter::repeat_n(None, 5));
    bench.faults(std::iter::repeat_n(Some(Fault::Status(503)), 5_000));
    let outcome = bench.run();
    let Some(Err(SourceError::Lookup(LookupError::Region { reason: why, .. }))) = outcome.result
    else {
        panic!("{:?}", outcome.result)
    };
    assert_eq!(why, FailureReason::Unreachable);
    assert!(outcome.time > Duration::from_mins(15));
    assert_eq!(outcome.ended.len(), outcome.slices.len());
}

#[test]
fn denied_and_absent_regions_are_told_once_and_the_rest_goes_on() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1", "eu-west-1", "ap-east-1"]);
    bench.put("us-east-1", 20, 500);
    bench.model().denied = vec!["eu-west-1".to_owned()];
    bench.model().disabled = vec!["ap-east-1".to_owned()];
    let outcome = bench.run();
    assert!(matches!(outcome.result, Some(Ok(()))));
    assert_eq!(outcome.handed, bench.settled());
    assert_eq!(outcome.failed.len(), 2, "{:?}", outcome.failed);
    let told = |region: &str, what: &str| {
        outcome
            .failed
            .iter()
            .any(|line| line.contains(region) && line.contains(ACCOUNT) && line.contains(what))
    };
    assert!(
        told("eu-west-1", "not authorized to perform cloudtrail:LookupEvents"),
        "{:?}",
        outcome.failed
    );
    assert!(told("ap-east-1", "not enabled"), "{:?}", outcome.failed);
    assert_eq!(outcome.estimate.unwrap().regions.len(), 1);
}

#[test]
fn denied_everywhere_ends_the_run_and_names_what_is_missing() {
    let mut bench = Bench::with(ACCOUNT, &["ap-east-1", "us-east-1", "eu-west-1"]);
    bench.model().denied = vec!["us-east-1".to_owned(), "eu-west-1".to_owned()];
    bench.model().disabled = vec!["ap-east-1".to_owned()];
    let outcome = bench.run();
    let Some(Err(error)) = outcome.result else { panic!("it ended well") };
    assert_eq!(
        error.to_string(),
        "could not look up events in any of 3 accounts and Regions: not authorized to perform cloudtrail:LookupEvents"
    );
    assert_eq!(outcome.failed.len(), 2);
}

#[test]
fn a_region_that_answered_before_is_not_taken_for_one_that_is_off() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1", "eu-west-1"]);
    for target in &mut bench.targets {
        target.may_be_disabled = true;
    }
    bench.put("us-east-1", 20, 2_000);
    bench.put("eu-west-1", 20, 2_000);
    bench.faults([None, None, None, None, Some(Fault::Code("UnrecognizedClientException"))]);
    let outcome = bench.run();
    assert!(matches!(outcome.result, Some(Ok(()))));
    assert_eq!(outcome.failed.len(), 1, "{:?}", outcome.failed);
    assert!(outcome.failed[0].contains("no valid credentials"), "{:?}", outcome.failed);
}

#[test]
fn a_slice_that_is_shared_is_covered_to_its_last_second() {
    let mut bench = Bench::new();
    bench.connection.latency = Duration::from_secs(3);
    bench.add(ACCOUNT, &["us-east-1"]);
    // Pages end where seconds do: the page behind the last one of a slice holds nothing of it.
    for second in 0..80 {
        let at = NOW - 2 * DAY + second;
        bench.model().put(ACCOUNT, "us-east-1", at, at, 50);
    }
    bench.options.from = Some(NOW - 5 * DAY);
    let outcome = bench.run();
    outcome.assert_fine();
    assert!(outcome.ended.values().any(|complete| !complete), "none was shared");
    let wanted = SecondRange { from: NOW - 5 * DAY, to: NOW - 900 };
    assert_eq!(missing_ranges(wanted, &outcome.certain[&bench.targets[0].series()]), []);
}

#[test]
fn a_session_that_ends_under_many_requests_ends_once() {
    let mut bench = Bench::new();
    bench.connection.latency = Duration::from_secs(5);
    bench.add(ACCOUNT, &["us-east-1"]);
    bench.put("us-east-1", 20, 3_000);
    bench.faults(std::iter::repeat_n(None, 20));
    bench.faults(std::iter::repeat_n(Some(Fault::Code("ExpiredTokenException")), 8));
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.handed, bench.settled());
}

#[test]
fn the_estimate_costs_three_requests_and_is_about_right() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1", "eu-west-1"]);
    bench.options.dry_run = true;
    bench.put("us-east-1", 90, 90_000);
    bench.put("eu-west-1", 90, 1_000);
    let outcome = bench.run();
    outcome.assert_fine();
    assert!(outcome.slices.is_empty() && outcome.pages == 0);
    assert!(bench.model().asked().values().all(|asked| asked.granted <= 3));
    let estimate = outcome.estimate.unwrap();
    assert!((81_000..99_000).contains(&estimate.regions[0].events), "{estimate:?}");
    assert!((900..1_100).contains(&estimate.regions[1].events), "{estimate:?}");
    assert!((1_800..2_100).contains(&estimate.regions[0].requests), "{estimate:?}");
    assert!(!estimate.regions[0].needs_trail());
    assert_eq!(estimate.time(), estimate.regions[0].time);
}

#[test]
fn insights_share_the_pace_and_have_a_coverage_of_their_own() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1"]);
    bench.targets.push(LookupTarget { category: Category::Insight, ..bench.targets[0].clone() });
    bench.put("us-east-1", 20, 1_000);
    bench.model().put_insights(ACCOUNT, "us-east-1", NOW - 5 * DAY, 70);
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.handed, bench.settled());
    let series: Vec<&str> = outcome.certain.keys().map(String::as_str).collect();
    assert_eq!(
        series,
        ["lookup:111122223333/us-east-1/insight", "lookup:111122223333/us-east-1/management"]
    );
    assert!(shares(&bench).1 < 0.01);
}

#[test]
fn a_region_without_insights_has_the_other_events_all_the_same() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1"]);
    bench
        .targets
        .insert(0, LookupTarget { category: Category::Insight, ..bench.targets[0].clone() });
    bench.put("us-east-1", 20, 300);
    bench.faults([Some(Fault::Code("InvalidEventCategoryException"))]);
    let outcome = bench.run();
    assert!(matches!(outcome.result, Some(Ok(()))));
    assert_eq!(outcome.failed.len(), 1, "{:?}", outcome.failed);
    assert_eq!(outcome.handed, bench.settled());
}

#[test]
fn a_filtered_run_is_covered_by_a_full_one_and_not_the_other_way_round() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1"]);
    bench.put("us-east-1", 20, 400);
    let full = bench.targets[0].clone();
    let filtered = LookupTarget { filter: Some(LookupFilter::write_only()), ..full.clone() };
    assert_eq!(filtered.series(), "lookup:111122223333/us-east-1/management?ReadOnly=false");
    bench.targets = vec![filtered.clone()];
    let part = bench.run();
    part.assert_fine();
    assert!(part.ids.len() < 250 && part.ids.len() > 150, "{}", part.ids.len());
    bench.covered = sure(&part);
    bench.targets = vec![full];
    let rest = bench.run();
    assert_eq!(rest.handed, bench.settled());
    bench.covered = sure(&rest);
    bench.targets = vec![filtered];
    assert!(bench.run().slices.iter().all(|slice| slice.from > NOW - DAY));
}

#[test]
fn what_expires_while_we_load_is_no_error() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1"]);
    bench.put("us-east-1", 90, 20_000);
    bench.check = false;
    let outcome = bench.run();
    outcome.assert_fine();
    let lost = bench.settled().len() - outcome.handed.len();
    assert!(lost <= 20, "{lost} events, but only some minutes passed");
}

#[test]
fn little_memory_costs_time_only() {
    let mut bench = Bench::new();
    bench.connection.latency = Duration::from_secs(10);
    bench.add(ACCOUNT, &["us-east-1", "eu-west-1"]);
    bench.options.held_bytes = 0;
    bench.put("us-east-1", 20, 3_000);
    bench.put("eu-west-1", 20, 3_000);
    let outcome = bench.run();
    outcome.assert_fine();
    assert_eq!(outcome.handed, bench.settled());
}

#[test]
fn no_page_is_asked_for_without_memory_for_it() {
    let mut bench = Bench::with(ACCOUNT, &["us-east-1", "eu-west-1"]);
    bench.options.held_bytes = 0;
    bench.check = false;
    bench.keep_pages = true;
    bench.put("us-east-1", 20, 20_000);
    bench.put("eu-west-1", 20, 20_000);
    bench.stop_after = Some(Duration::from_mins(10));
    let outcome = bench.run();
    let held: usize = outcome
        .kept
        .iter()
        .map(|page| page.content.events.iter().map(LookupEvent::held_bytes).sum::<usize>())
        .sum();
    assert!((MIN_HELD_BYTES / 2..=MIN_HELD_BYTES).contains(&held), "{held} bytes");
    assert!(bench.model().granted() < 300, "{}", bench.model().granted());
}

#[test]
fn words_of_a_filter_are_checked() {
    assert_eq!("Username=a=b".parse::<LookupFilter>().unwrap().to_string(), "Username=a=b");
    assert!("Nobody=a".parse::<LookupFilter>().unwrap_err().contains("Username"));
    assert!("Username".parse::<LookupFilter>().is_err());
    assert!("Username=".parse::<LookupFilter>().is_err());
    assert!(format!("Username={}", "_".repeat(1001)).parse::<LookupFilter>().is_err());
    assert!("EventName=a".parse::<LookupFilter>().unwrap().supports(Category::Insight));
    assert!(!LookupFilter::read_only().supports(Category::Insight));
}

/// What may happen to a load, in numbers that a test can shrink.
#[derive(Clone, Debug)]
struct Weather {
    latency_ms: u64,
    events: Vec<(i64, i64, u32)>,
    empty_every: Option<usize>,
    token_life: Option<f64>,
    cuts: Vec<usize>,
    faults: Vec<Option<u8>>,
    first_covered: (i64, i64),
}

fn weather() -> impl Strategy<Value = Weather> {
    let spell =
        (2_000i64..80 * DAY, prop_oneof![0i64..3, 60i64..7_200, DAY..30 * DAY], 1u32..1_500);
    (
        prop_oneof![50u64..400, 1_000u64..12_000],
        prop::collection::vec(spell, 0..4),
        prop::option::of(2usize..5),
        prop::option::of(20.0f64..60.0),
        prop::collection::vec(0usize..40, 0..3),
        prop::collection::vec(prop::option::weighted(0.3, 0u8..5), 0..40),
        (0i64..80 * DAY, 0i64..20 * DAY),
    )
        .prop_map(
            |(latency_ms, events, empty_every, token_life, cuts, faults, first_covered)| Weather {
                latency_ms,
                events,
                empty_every,
                token_life,
                cuts,
                faults,
                first_covered,
            },
        )
}

impl Weather {
    fn bench(&self) -> Bench {
        let mut bench = Bench::new();
        bench.connection.latency = Duration::from_millis(self.latency_ms);
        bench.add(ACCOUNT, &["us-east-1"]);
        for (ago, length, count) in &self.events {
            let from = NOW - ago;
            bench.model().put(ACCOUNT, "us-east-1", from, (from + length).min(NOW - 1), *count);
        }
        bench.model().empty_every = self.empty_every;
        bench.model().token_life = self.token_life;
        bench.faults(self.faults.iter().map(|fault| {
            fault.map(|fault| match fault {
                0 => Fault::Status(503),
                1 => Fault::Reset,
                2 => Fault::Hang,
                3 => Fault::Code("ThrottlingException"),
                _ => Fault::Code("InvalidNextTokenException"),
            })
        }));
        bench.options.from = Some(NOW - 85 * DAY);
        bench.options.overlap = Duration::ZERO;
        bench
    }
}

proptest! {
    #![proptest_config(Config { cases: 24, failure_persistence: None, ..Config::default() })]
    /// Cut off anywhere and begun again: nothing is lost, and a run that ends well leaves nothing to the next.
    #[test]
    fn whatever_happens_all_is_fetched_and_all_is_covered(weather in weather()) {
        let mut bench = weather.bench();
        let series = bench.targets[0].series();
        let (ago, length) = weather.first_covered;
        let mut handed = bench.model().ids(NOW - ago, NOW - ago + length);
        bench.covered.entry(series.clone()).or_default().push((NOW - ago, NOW - ago + length));
        for cut in weather.cuts.iter().map(|cut| Some(*cut)).chain([None]) {
            bench.cut_after = cut;
            let outcome = bench.run();
            let certain = outcome.certain.get(&series).cloned().unwrap_or_default();
            bench.covered.get_mut(&series).unwrap().extend(certain);
            handed.extend(outcome.handed.iter().cloned());
            if cut.is_none() {
                outcome.assert_fine();
            }
        }
        let wanted = bench.model().ids(NOW - 85 * DAY, NOW - 900);
        let lost: Vec<_> = wanted.difference(&handed).collect();
        prop_assert!(lost.is_empty(), "{lost:?}");
        let left = missing_ranges(SecondRange { from: NOW - 85 * DAY, to: NOW - 900 }, &bench.covered[&series]);
        prop_assert!(left.is_empty(), "{left:?}");
    }
}
