//! Tracks requests in progress, and reports services from which no request succeeded for several seconds.
//!
//! Input: the start, failed attempts and end of each request, by service and target (a Region, bucket or address).
//! Output: notices for the user ([`PendingRequests::take_notices`]): the first after [`FIRST_NOTICE_AFTER`], further
//! ones at growing intervals.
//! Invariant: one finished request ends the stall of its target, however many others fail; each service has its own
//! intervals and is reported in one notice for each cause, however many of its targets stall.
//! Deliberately absent: printing the notice (see `report`) and deciding about a retry.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Stall after which the first notice is due. Shorter ones need no attention.
pub const FIRST_NOTICE_AFTER: Duration = Duration::from_secs(5);

/// Longest time between two notices about the same stall, so that an outage of hours stays readable.
const MAX_NOTICE_INTERVAL: Duration = Duration::from_mins(5);

/// Time after an abandoned request from which a new request starts a new stall. Longer than any wait before a retry.
const FORGET_AFTER: Duration = Duration::from_mins(1);

/// The requests in progress. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct PendingRequests(Arc<Mutex<Registry>>);

/// One request with all its attempts. Dropping it before [`finish`](Self::finish) abandons the request.
#[derive(Debug)]
pub struct PendingRequest {
    requests: PendingRequests,
    service: &'static str,
    target: String,
    is_finished: AtomicBool,
}

/// A notice that a service has not responded successfully for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StallNotice {
    /// The service.
    pub service: &'static str,
    /// The first target in alphabetical order that stalled for this cause; may be empty.
    pub target: String,
    /// Number of further targets of the service that stalled for it.
    pub other_targets: usize,
    /// The last error; `None` if there was no response at all.
    pub cause: Option<String>,
    /// Time since the last success, or since the first request after it.
    pub duration: Duration,
}

#[derive(Debug, Default)]
struct Registry {
    services: BTreeMap<&'static str, ServiceState>,
}

#[derive(Debug, Default)]
struct ServiceState {
    targets: BTreeMap<String, TargetState>,
    /// Duration of the stall at which the next notice is due.
    next_notice_after: Option<Duration>,
}

#[derive(Debug, Default)]
struct TargetState {
    /// Number of requests in progress.
    pending: u32,
    /// Start of the first request since the last success.
    stalled_since: Option<Instant>,
    last_cause: Option<String>,
    /// End of the last request that was abandoned.
    last_abandoned: Option<Instant>,
}

impl PendingRequests {
    /// Registers a request to a service. `target` is a Region, bucket or address, or empty.
    pub fn begin(&self, service: &'static str, target: &str) -> PendingRequest {
        self.registry().target(service, target).begin(Instant::now());
        PendingRequest {
            requests: self.clone(),
            service,
            target: target.to_owned(),
            is_finished: AtomicBool::new(false),
        }
    }

    /// Returns the notices that are due, each of them once.
    pub fn take_notices(&self) -> Vec<StallNotice> {
        self.registry().take_notices(Instant::now())
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingRequest {
    /// Records the error of an attempt that will be retried.
    pub fn attempt_failed(&self, cause: String) {
        self.requests.registry().target(self.service, &self.target).last_cause = Some(cause);
    }

    /// Records that the request ended with a response or a final error. Further calls have no effect.
    pub fn finish(&self) {
        if !self.is_finished.swap(true, Relaxed) {
            self.requests.registry().target(self.service, &self.target).finish(Instant::now());
        }
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        if !*self.is_finished.get_mut() {
            self.requests.registry().target(self.service, &self.target).abandon(Instant::now());
        }
    }
}

impl Registry {
    fn target(&mut self, service: &'static str, target: &str) -> &mut TargetState {
        let targets = &mut self.services.entry(service).or_default().targets;
        if !targets.contains_key(target) {
            targets.insert(target.to_owned(), TargetState::default());
        }
        targets.entry(target.to_owned()).or_default()
    }

    fn take_notices(&mut self, now: Instant) -> Vec<StallNotice> {
        let services = self.services.iter_mut();
        services.flat_map(|(name, service)| service.take_notices(name, now)).collect()
    }
}

impl ServiceState {
    /// Returns a notice for each cause, if they are due.
    fn take_notices(&mut self, service: &'static str, now: Instant) -> Vec<StallNotice> {
        let is_stalled = |target: &TargetState| target.stalled_for(now) >= FIRST_NOTICE_AFTER;
        let stalled: Vec<_> = self.targets.iter().filter(|(_, it)| is_stalled(it)).collect();
        let duration = stalled.iter().map(|(_, it)| it.stalled_for(now)).max().unwrap_or_default();
        if stalled.is_empty() {
            self.next_notice_after = None;
        }
        if duration < self.next_notice_after.unwrap_or(FIRST_NOTICE_AFTER) {
            return Vec::new();
        }
        // After 5 s, 15 s, 45 s, 2 min, and so on.
        self.next_notice_after = Some(duration + (duration * 2).min(MAX_NOTICE_INTERVAL));
        let mut notices: Vec<StallNotice> = Vec::new();
        for (name, target) in stalled {
            let cause = target.last_cause.clone();
            let duration = target.stalled_for(now);
            match notices.iter_mut().find(|notice| notice.cause == cause) {
                Some(notice) => {
                    notice.other_targets += 1;
                    notice.duration = notice.duration.max(duration);
                }
                None => notices.push(StallNotice {
                    service,
                    target: name.clone(),
                    other_targets: 0,
                    cause,
                    duration,
                }),
            }
        }
        notices
    }
}

impl TargetState {
    fn begin(&mut self, now: Instant) {
        let is_old = |abandoned: Instant| now.duration_since(abandoned) > FORGET_AFTER;
        if self.pending == 0 && self.last_abandoned.is_none_or(is_old) {
            (self.stalled_since, self.last_cause) = (None, None);
        }
        self.pending += 1;
        self.stalled_since.get_or_insert(now);
    }

    fn finish(&mut self, now: Instant) {
        self.pending = self.pending.saturating_sub(1);
        self.stalled_since = (self.pending > 0).then_some(now);
        (self.last_cause, self.last_abandoned) = (None, None);
    }

    fn abandon(&mut self, now: Instant) {
        self.pending = self.pending.saturating_sub(1);
        self.last_abandoned = Some(now);
    }

    /// Returns the duration of the stall; zero if no request is in progress and no retry is expected.
    fn stalled_for(&self, now: Instant) -> Duration {
        let is_recent = |abandoned: Instant| now.duration_since(abandoned) < FORGET_AFTER / 2;
        let expects_retry = self.last_cause.is_some() && self.last_abandoned.is_some_and(is_recent);
        let since = self.stalled_since.filter(|_| self.pending > 0 || expects_retry);
        since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A registry with a clock that the test advances.
    struct Fixture(Registry, Instant);

    impl Fixture {
        fn new() -> Self {
            Self(Registry::default(), Instant::now())
        }

        fn at(&mut self, target: &str) -> &mut TargetState {
            self.0.target("s3", target)
        }

        fn after(&mut self, seconds: u64) -> Instant {
            self.1 += Duration::from_secs(seconds);
            self.1
        }

        /// Returns the seconds, within the next `seconds`, at which a notice is due.
        fn notices(&mut self, seconds: u64) -> Vec<u64> {
            let start = self.1;
            let mut due = Vec::new();
            for _ in 0..seconds {
                let now = self.after(1);
                if !self.0.take_notices(now).is_empty() {
                    due.push(now.duration_since(start).as_secs());
                }
            }
            due
        }
    }

    #[test]
    fn silence_is_reported_after_five_seconds_and_then_at_growing_intervals() {
        let mut fixture = Fixture::new();
        let now = fixture.1;
        fixture.at("a").begin(now);
        assert_eq!(fixture.notices(1_200), [5, 15, 45, 135, 405, 705, 1_005]);
    }

    #[test]
    fn consecutive_failures_are_one_stall_with_the_last_cause() {
        let mut fixture = Fixture::new();
        for second in 0..4 {
            let now = fixture.after(2);
            fixture.at("a").begin(now);
            fixture.at("a").last_cause = Some(format!("500 number {second}"));
            fixture.at("a").abandon(now);
        }
        let now = fixture.after(0);
        let notices = fixture.0.take_notices(now);
        assert_eq!(notices[0].cause.as_deref(), Some("500 number 3"));
        assert_eq!(notices[0].duration, Duration::from_secs(6));
    }

    #[test]
    fn occasional_success_is_no_stall() {
        let mut fixture = Fixture::new();
        for _ in 0..100 {
            let now = fixture.after(1);
            fixture.at("a").begin(now);
            fixture.at("a").begin(now);
            fixture.at("a").last_cause = Some("429".to_owned());
            fixture.at("a").abandon(now);
            fixture.at("a").finish(now);
            assert_eq!(fixture.0.take_notices(now), []);
        }
    }

    #[test]
    fn an_abandoned_request_is_reported_no_more_and_not_part_of_a_later_stall() {
        let mut fixture = Fixture::new();
        let now = fixture.1;
        fixture.at("a").begin(now);
        fixture.at("a").last_cause = Some("denied".to_owned());
        let now = fixture.after(6);
        fixture.at("a").abandon(now);
        fixture.after(31);
        assert_eq!(fixture.notices(100), Vec::<u64>::new());
        let now = fixture.1;
        fixture.at("a").begin(now);
        assert_eq!(fixture.notices(10), [5]);
    }

    #[test]
    fn many_targets_are_one_notice() {
        let mut fixture = Fixture::new();
        let now = fixture.1;
        for target in ["c", "a", "b"] {
            fixture.at(target).begin(now);
        }
        let now = fixture.after(7);
        let notices = fixture.0.take_notices(now);
        assert_eq!(
            (notices.len(), notices[0].target.as_str(), notices[0].other_targets),
            (1, "a", 2)
        );
        assert_eq!(fixture.0.take_notices(now), []);
    }

    #[test]
    fn each_cause_is_a_notice_with_its_targets() {
        let mut fixture = Fixture::new();
        let now = fixture.1;
        for (target, cause) in [("hook", "503"), ("mail", "refused"), ("slack", "503")] {
            fixture.at(target).begin(now);
            fixture.at(target).last_cause = Some(cause.to_owned());
        }
        let now = fixture.after(5);
        fixture.at("topic").begin(now);
        let notices = fixture.0.take_notices(now);
        let told: Vec<_> = notices
            .iter()
            .map(|notice| (&*notice.target, notice.other_targets, notice.cause.as_deref()))
            .collect();
        assert_eq!(told, [("hook", 1, Some("503")), ("mail", 0, Some("refused"))]);
    }

    #[test]
    fn a_dropped_request_is_not_pending() {
        let requests = PendingRequests::default();
        drop(requests.begin("s3", "a"));
        requests.begin("s3", "b").finish();
        assert!(requests.registry().services["s3"].targets.values().all(|it| it.pending == 0));
    }
}
