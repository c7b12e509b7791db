//! What a run is waiting for, and since when nothing good has come of it.
//!
//! In: requests that begin, fail, and succeed, each under what it is about: a service and a place there. Out: what a
//! person should hear of ([`Waits::due`]): once after [`FIRST`], then at growing intervals.
//! Holds: a service that answers now and then is in no trouble, however often it refuses; each service is told at
//! its own intervals, in one line, however many places it has trouble in.
//! Absent on purpose: writing that line (see `report`), and deciding whether to ask again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Trouble that is over sooner is not worth a line.
pub const FIRST: Duration = Duration::from_secs(5);

/// Longest time between two lines about the same trouble: an outage of hours stays readable.
const LONGEST: Duration = Duration::from_mins(5);

/// What was given up so long ago has nothing to do with what begins now. Longer than anybody rests between two tries.
const FORGOTTEN: Duration = Duration::from_mins(1);

/// Everything that is waited for. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Waits(Arc<Mutex<Book>>);

/// One request, or a work with repetitions of its own, until it is dropped.
#[derive(Debug)]
pub struct Waiting {
    waits: Waits,
    service: &'static str,
    place: String,
    over: AtomicBool,
}

/// Trouble that a person should hear of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The service.
    pub service: &'static str,
    /// Where: the first place by name, if it has one.
    pub place: String,
    /// How many other places of the service have trouble too.
    pub others: usize,
    /// What went wrong last; `None` if there was no answer at all.
    pub cause: Option<String>,
    /// For how long nothing good came.
    pub lasted: Duration,
}

#[derive(Debug, Default)]
struct Book {
    services: BTreeMap<&'static str, Service>,
}

#[derive(Debug, Default)]
struct Service {
    places: BTreeMap<String, Place>,
    /// When the next line is due, counted from the beginning of the trouble.
    next: Option<Duration>,
}

#[derive(Debug, Default)]
struct Place {
    /// Requests under way.
    pending: u32,
    /// When the first of them began since something good came.
    since: Option<Instant>,
    cause: Option<String>,
    /// When the last one ended without success.
    failed: Option<Instant>,
}

impl Waits {
    /// Notes that something is asked of a service. `place` is the Region, bucket or address, or empty.
    pub fn begin(&self, service: &'static str, place: &str) -> Waiting {
        self.book().place(service, place).begin(Instant::now());
        let (waits, place) = (self.clone(), place.to_owned());
        Waiting { waits, service, place, over: AtomicBool::new(false) }
    }

    /// Returns what a person should hear of now. Counts as told.
    pub fn due(&self) -> Vec<Trouble> {
        self.book().due(Instant::now())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Notes that a try failed, and that it is made again.
    pub fn failed(&self, cause: String) {
        self.waits.book().place(self.service, &self.place).cause = Some(cause);
    }

    /// Notes that it is answered, well or badly: nothing is waited for any more.
    pub fn answered(&self) {
        if !self.over.swap(true, Relaxed) {
            self.waits.book().place(self.service, &self.place).answered(Instant::now());
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !*self.over.get_mut() {
            self.waits.book().place(self.service, &self.place).given_up(Instant::now());
        }
    }
}

impl Book {
    fn place(&mut self, service: &'static str, place: &str) -> &mut Place {
        let places = &mut self.services.entry(service).or_default().places;
        if !places.contains_key(place) {
            places.insert(place.to_owned(), Place::default());
        }
        places.entry(place.to_owned()).or_default()
    }

    fn due(&mut self, now: Instant) -> Vec<Trouble> {
        let services = self.services.iter_mut();
        services.filter_map(|(name, service)| service.due(name, now)).collect()
    }
}

impl Service {
    fn due(&mut self, service: &'static str, now: Instant) -> Option<Trouble> {
        let troubled = self.places.iter().filter(|(_, place)| place.lasted(now) >= FIRST);
        let all: Vec<_> = troubled.collect();
        let Some((name, place)) = all.first() else {
            self.next = None;
            return None;
        };
        let lasted = all.iter().map(|(_, place)| place.lasted(now)).max().unwrap_or_default();
        if lasted < self.next.unwrap_or(FIRST) {
            return None;
        }
        // 5 s, 15 s, 45 s, 2 min, and so on.
        self.next = Some(lasted + (lasted * 2).min(LONGEST));
        Some(Trouble {
            service,
            place: (*name).clone(),
            others: all.len() - 1,
            cause: place.cause.clone(),
            lasted,
        })
    }
}

impl Place {
    fn begin(&mut self, now: Instant) {
        let forgotten = |failed: Instant| now.duration_since(failed) > FORGOTTEN;
        if self.pending == 0 && self.failed.is_none_or(forgotten) {
            (self.since, self.cause) = (None, None);
        }
        self.pending += 1;
        self.since.get_or_insert(now);
    }

    fn answered(&mut self, now: Instant) {
        self.pending = self.pending.saturating_sub(1);
        self.since = (self.pending > 0).then_some(now);
        (self.cause, self.failed) = (None, None);
    }

    fn given_up(&mut self, now: Instant) {
        self.pending = self.pending.saturating_sub(1);
        self.failed = Some(now);
    }

    /// Returns for how long there has been trouble; none between two tries that are far from each other.
    fn lasted(&self, now: Instant) -> Duration {
        let rests = self.failed.is_some_and(|failed| now.duration_since(failed) < FORGOTTEN / 2);
        let waits = self.pending > 0 || self.cause.is_some() && rests;
        let since = self.since.filter(|_| waits);
        since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A book, and a clock that is turned by hand.
    struct Desk(Book, Instant);

    impl Desk {
        fn new() -> Self {
            Self(Book::default(), Instant::now())
        }

        fn at(&mut self, place: &str) -> &mut Place {
            self.0.place("s3", place)
        }

        fn after(&mut self, seconds: u64) -> Instant {
            self.1 += Duration::from_secs(seconds);
            self.1
        }

        /// Returns the seconds at which a line is due within the next so many.
        fn told(&mut self, seconds: u64) -> Vec<u64> {
            let start = self.1;
            let mut told = Vec::new();
            for _ in 0..seconds {
                let now = self.after(1);
                if !self.0.due(now).is_empty() {
                    told.push(now.duration_since(start).as_secs());
                }
            }
            told
        }
    }

    #[test]
    fn silence_is_told_after_five_seconds_and_then_ever_more_rarely() {
        let mut desk = Desk::new();
        let now = desk.1;
        desk.at("a").begin(now);
        assert_eq!(desk.told(1_200), [5, 15, 45, 135, 405, 705, 1_005]);
    }

    #[test]
    fn failures_in_a_row_are_one_trouble_with_the_last_cause() {
        let mut desk = Desk::new();
        for second in 0..4 {
            let now = desk.after(2);
            desk.at("a").begin(now);
            desk.at("a").cause = Some(format!("500 number {second}"));
            desk.at("a").given_up(now);
        }
        let now = desk.after(0);
        let told = desk.0.due(now);
        assert_eq!(told[0].cause.as_deref(), Some("500 number 3"));
        assert_eq!(told[0].lasted, Duration::from_secs(6));
    }

    #[test]
    fn what_answers_now_and_then_is_in_no_trouble() {
        let mut desk = Desk::new();
        for _ in 0..100 {
            let now = desk.after(1);
            desk.at("a").begin(now);
            desk.at("a").begin(now);
            desk.at("a").cause = Some("429".to_owned());
            desk.at("a").given_up(now);
            desk.at("a").answered(now);
            assert_eq!(desk.0.due(now), []);
        }
    }

    #[test]
    fn what_was_given_up_is_not_told_again_nor_mixed_with_later_trouble() {
        let mut desk = Desk::new();
        let now = desk.1;
        desk.at("a").begin(now);
        desk.at("a").cause = Some("denied".to_owned());
        let now = desk.after(6);
        desk.at("a").given_up(now);
        desk.after(31);
        assert_eq!(desk.told(100), Vec::<u64>::new());
        let now = desk.1;
        desk.at("a").begin(now);
        assert_eq!(desk.told(10), [5]);
    }

    #[test]
    fn many_places_are_one_line() {
        let mut desk = Desk::new();
        let now = desk.1;
        for place in ["c", "a", "b"] {
            desk.at(place).begin(now);
        }
        let now = desk.after(7);
        let told = desk.0.due(now);
        assert_eq!((told.len(), told[0].place.as_str(), told[0].others), (1, "a", 2));
        assert_eq!(desk.0.due(now), []);
    }

    #[test]
    fn a_request_that_is_dropped_is_not_waited_for() {
        let waits = Waits::default();
        drop(waits.begin("s3", "a"));
        waits.begin("s3", "b").answered();
        assert!(waits.book().services["s3"].places.values().all(|place| place.pending == 0));
    }
}
