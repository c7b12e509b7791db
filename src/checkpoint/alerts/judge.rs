//! Decides whether a match is an alert, given what is known of earlier matches.
//!
//! Input: a match, and a [`MatchHistory`]. Output: a [`Judgement`].
//! Invariant: the steps and their order are those of [`alerts`](super), wherever the history is stored: the checkpoint file and a table
//! that several processes share give the same result.
//! Not here: storing what was decided.

use std::{cell::OnceCell, time::Duration};

use super::{
    counted_events::{CountedEvent, Threshold},
    keys::{Key, key, short},
};
use crate::{
    event::NewMatch,
    filter::rule::{FirstSeen, Rule},
};

/// The time of an event that has none: it is newer than all others, so its alert is delivered. Far from the limits of the type, so
/// that windows around it have both ends.
pub(in crate::checkpoint) const NO_TIME: i64 = i64::MAX / 4;

/// Whether an alert is to be delivered, or was only recorded because its event is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::checkpoint) enum Handling {
    Recorded,
    Delivered,
}

/// What became of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::checkpoint) enum Judgement {
    Duplicate,
    Learned,
    Suppressed,
    Alert(Raised),
}

/// An alert that is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::checkpoint) struct Raised {
    pub(in crate::checkpoint) handling: Handling,
    /// Events in the window, as far as they are known.
    pub(in crate::checkpoint) events: u64,
    /// The time that is covered around, if the rule has a window.
    pub(in crate::checkpoint) covers: Option<i64>,
}

/// A match with what is derived from it.
#[derive(Debug)]
pub(in crate::checkpoint) struct Candidate<'m> {
    pub(in crate::checkpoint) found: &'m NewMatch,
    pub(in crate::checkpoint) time: i64,
    pub(in crate::checkpoint) event_key: Key,
    pub(in crate::checkpoint) handling: Handling,
    rule: &'m str,
    /// Most rules have matches that are judged without it.
    group_key: OnceCell<Key>,
}

/// Whether a combination is known around a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::checkpoint) enum Sighting {
    /// No event with it is known less than `within` before or after.
    New,
    /// One is.
    Known,
}

/// The combination of a match, and where the learning period of its rule starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::checkpoint) struct SeenCombination {
    pub(in crate::checkpoint) sighting: Sighting,
    /// In milliseconds of the Unix epoch.
    pub(in crate::checkpoint) learning_from: i64,
}

/// When a run starts to evaluate events, in milliseconds of the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(in crate::checkpoint) struct EvaluationStart {
    /// The start of its time range, if it has one.
    pub(in crate::checkpoint) from: Option<i64>,
    pub(in crate::checkpoint) now: i64,
}

impl EvaluationStart {
    /// Returns the start of the learning period of a rule, given that of earlier ones. A clock that was set back since then does not
    /// move it.
    pub(in crate::checkpoint) fn learning_from(self, known: Option<i64>) -> i64 {
        let known = known.unwrap_or(self.now);
        self.from.map_or(known, |from| known.min(from))
    }
}

/// What is known of earlier matches. The methods that remember something are called at most once for a match.
pub(in crate::checkpoint) trait MatchHistory {
    /// Why the history cannot be read.
    type Error;

    /// Returns how an earlier alert for the event was handled.
    fn earlier_alert(&mut self, candidate: &Candidate<'_>)
    -> Result<Option<Handling>, Self::Error>;

    /// Remembers the combination of a match of a rule with `first_seen`. Returns `None` if the match has none.
    fn remember_combination(
        &mut self,
        rule: &Rule,
        first_seen: &FirstSeen,
        candidate: &Candidate<'_>,
    ) -> Result<Option<SeenCombination>, Self::Error>;

    /// Counts an event. Returns the counted events of its group in the order of time, at least those less than a window around it.
    fn count(
        &mut self,
        candidate: &Candidate<'_>,
        threshold: Threshold,
    ) -> Result<Vec<CountedEvent>, Self::Error>;

    /// Returns the times of alerts of the group less than two windows around an event, and so all that can cover an event less than a
    /// window around it. An alert that was only recorded does not cover an event whose alert is to be delivered.
    fn covers(&mut self, candidate: &Candidate<'_>, window: i64) -> Result<Vec<i64>, Self::Error>;
}

impl<'m> Candidate<'m> {
    /// Returns the candidate for a match at a time in milliseconds of the Unix epoch. Alerts for events that are older than `max_age`
    /// are only recorded.
    pub(in crate::checkpoint) fn new(
        rule: &'m Rule,
        found: &'m NewMatch,
        max_age: Option<Duration>,
        now: i64,
    ) -> Self {
        let time = found.time.unwrap_or(NO_TIME);
        let is_too_old =
            max_age.is_some_and(|max_age| now.saturating_sub(time) > milliseconds(max_age));
        Self {
            found,
            time,
            event_key: key("event", &[&rule.name, &found.event_id]),
            handling: if is_too_old { Handling::Recorded } else { Handling::Delivered },
            rule: &rule.name,
            group_key: OnceCell::new(),
        }
    }

    /// Returns the key of the group of the match.
    pub(in crate::checkpoint) fn group_key(&self) -> Key {
        *self.group_key.get_or_init(|| key("group", &[self.rule, &self.found.group.to_string()]))
    }

    /// Returns the event as thresholds count it.
    pub(in crate::checkpoint) fn counted(&self) -> CountedEvent {
        CountedEvent { time: self.time, hash: short(&self.event_key) }
    }
}

/// Decides about a match, and remembers it in the history, except for the alert that it may raise.
pub(in crate::checkpoint) fn judge<H: MatchHistory>(
    history: &mut H,
    rule: &Rule,
    candidate: &Candidate<'_>,
) -> Result<Judgement, H::Error> {
    match history.earlier_alert(candidate)? {
        Some(earlier) if earlier >= candidate.handling => return Ok(Judgement::Duplicate),
        // It passed these checks when it was recorded, and is known since.
        Some(_) => {}
        None => {
            if let Some(judgement) = judge_combination(history, rule, candidate)? {
                return Ok(judgement);
            }
        }
    }
    let handling = candidate.handling;
    let Some(window) = rule.grouping.window.map(milliseconds) else {
        return Ok(Judgement::Alert(Raised { handling, events: 1, covers: None }));
    };
    let count = usize::try_from(rule.grouping.threshold).unwrap_or(usize::MAX);
    let (events, covers) = if count > 1 {
        uncovered_in_group(history, candidate, Threshold { count, window })?
    } else {
        let covers = history.covers(candidate, window)?;
        (1, is_uncovered(&covers, candidate.time, window).then_some(candidate.time))
    };
    Ok(match covers {
        None => Judgement::Suppressed,
        covers => Judgement::Alert(Raised { handling, events, covers }),
    })
}

/// Returns the judgement if `first_seen` decides it.
fn judge_combination<H: MatchHistory>(
    history: &mut H,
    rule: &Rule,
    candidate: &Candidate<'_>,
) -> Result<Option<Judgement>, H::Error> {
    let Some(first_seen) = &rule.grouping.first_seen else { return Ok(None) };
    let Some(seen) = history.remember_combination(rule, first_seen, candidate)? else {
        return Ok(None);
    };
    let learned = candidate.time.saturating_sub(seen.learning_from);
    Ok(match seen.sighting {
        Sighting::Known => Some(Judgement::Suppressed),
        Sighting::New if learned < milliseconds(first_seen.learning) => Some(Judgement::Learned),
        Sighting::New => None,
    })
}

/// Counts an event. Returns the number of events that qualify with it, and the time of one that is not covered.
fn uncovered_in_group<H: MatchHistory>(
    history: &mut H,
    candidate: &Candidate<'_>,
    threshold: Threshold,
) -> Result<(u64, Option<i64>), H::Error> {
    let events = history.count(candidate, threshold)?;
    let Some(qualifying) = threshold.qualifying(&events, candidate.time) else {
        return Ok((0, None));
    };
    let covers = history.covers(candidate, threshold.window)?;
    let is_in = |event: &&CountedEvent| (qualifying.first..=qualifying.last).contains(&event.time);
    let qualified = events.iter().filter(is_in).count().max(threshold.count) as u64;
    let times =
        std::iter::once(candidate.time).chain(events.iter().filter(is_in).map(|event| event.time));
    let uncovered = times
        .filter(|time| is_uncovered(&covers, *time, threshold.window))
        .min_by_key(|time| time.abs_diff(candidate.time));
    Ok((qualified, uncovered))
}

/// Returns whether no alert is less than a window before or after a time.
fn is_uncovered(covers: &[i64], time: i64, window: i64) -> bool {
    covers.iter().all(|alert| alert.abs_diff(time) >= window.unsigned_abs())
}

/// Returns the milliseconds of a duration.
pub(in crate::checkpoint) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
