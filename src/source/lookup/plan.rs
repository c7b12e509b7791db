//! Which seconds are missing, and how they are cut into slices.
//!
//! In: what is wanted and what is covered; then how dense events were where pages came from. Out: ranges to fetch.
//! Holds: every missing second is claimed once; the oldest is claimed first, because it expires first.
//! Absent on purpose: requests and time. See `site` for those.

use std::collections::{BTreeMap, VecDeque};

/// Events in a full page: the service's own maximum for LookupEvents.
pub(super) const PAGE: u32 = 50;

/// Pages in a usual slice. Enough that the half page lost at its end is little, few enough that chains stay
/// independent.
const PAGES: f64 = 25.0;

/// Pages in the smallest slice, near the end of the work, when many chains share what is left.
const FEWEST_PAGES: f64 = 4.0;

/// Shortest slice, in seconds. Shorter ones would only be better at thousands of events a second.
const SHORTEST: i64 = 30;

/// Longest slice, in seconds: where there is next to nothing, a request looks at a week.
pub(super) const LONGEST: i64 = 7 * 24 * 60 * 60;

/// Some seconds, first and last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Range {
    /// Returns how many seconds there are.
    pub(super) fn seconds(self) -> i64 {
        self.to - self.from + 1
    }
}

/// Returns what of `wanted` is not in `covered`, oldest first.
pub(super) fn missing(wanted: Range, covered: &[(i64, i64)]) -> Vec<Range> {
    let mut covered: Vec<_> = covered.iter().copied().filter(|(from, to)| from <= to).collect();
    covered.sort_unstable();
    let (mut gaps, mut next) = (Vec::new(), wanted.from);
    for (from, to) in covered {
        if from > next && next <= wanted.to {
            gaps.push(Range { from: next, to: (from - 1).min(wanted.to) });
        }
        next = next.max(to.saturating_add(1));
    }
    if next <= wanted.to {
        gaps.push(Range { from: next, to: wanted.to });
    }
    gaps
}

/// What nobody fetches yet, and what is known about how much that is.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Oldest first; no two touch.
    gaps: VecDeque<Range>,
    /// Events a second, by the end of the range where that was found.
    density: BTreeMap<i64, f64>,
}

impl Plan {
    pub(super) fn new(gaps: Vec<Range>) -> Self {
        Self { gaps: gaps.into(), density: BTreeMap::new() }
    }

    /// Returns whether everything is claimed.
    pub(super) fn is_empty(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Returns how many seconds are not claimed.
    pub(super) fn seconds(&self) -> i64 {
        self.gaps.iter().map(|gap| gap.seconds()).sum()
    }

    /// Returns whether anything is known about how dense events are.
    pub(super) fn is_known(&self) -> bool {
        !self.density.is_empty()
    }

    /// Notes how many events there are in a range.
    pub(super) fn learn(&mut self, range: Range, events: u64) {
        self.density.insert(range.to, float(events) / float(range.seconds().max(1)));
    }

    /// Claims all of the newest gap: one request may show that there is next to nothing in it.
    pub(super) fn claim_newest_gap(&mut self) -> Option<Range> {
        self.gaps.pop_back()
    }

    /// Claims a slice that ends where `share` of the unclaimed seconds are older, to see how dense events are there.
    pub(super) fn claim_sample(&mut self, share: f64) -> Option<Range> {
        let seconds = self.seconds();
        let length = self.length(self.gaps.back()?.to, PAGES);
        if seconds < 4 * length {
            return None;
        }
        let mut before = whole(float(seconds) * share).clamp(1, seconds);
        let number = self.gaps.iter().position(|gap| {
            before -= gap.seconds();
            before <= 0
        })?;
        let gap = self.gaps[number];
        let to = gap.to + before;
        let range = Range { from: shortened(gap.from, to, length), to };
        self.cut(number, range);
        Some(range)
    }

    /// Claims the oldest slice, where that many chains share what is left.
    pub(super) fn claim_oldest(&mut self, chains: usize) -> Option<Range> {
        let gap = *self.gaps.front()?;
        let pages = self.pages() / (2.0 * float(chains.max(1)));
        let length = self.length(gap.from, pages.clamp(FEWEST_PAGES, PAGES));
        let rest = gap.seconds() - length;
        let to = if rest < length / 2 { gap.to } else { gap.from + length - 1 };
        let range = Range { from: gap.from, to };
        self.cut(0, range);
        Some(range)
    }

    /// Returns the part of a range that a slice ending with it should have.
    pub(super) fn newest_of(&self, range: Range) -> Range {
        let length = self.length(range.to, PAGES);
        Range { from: shortened(range.from, range.to, length), to: range.to }
    }

    /// Takes back what was claimed and is not going to be fetched by who claimed it.
    pub(super) fn put_back(&mut self, range: Range) {
        if range.seconds() > 0 {
            let place = self.gaps.partition_point(|gap| gap.from < range.from);
            self.gaps.insert(place, range);
        }
    }

    /// Returns how many events are expected in what is not claimed.
    pub(super) fn events(&self) -> f64 {
        self.gaps.iter().map(|gap| self.events_in(*gap)).sum()
    }

    /// Returns how many pages are expected in what is not claimed.
    pub(super) fn pages(&self) -> f64 {
        self.gaps.iter().map(|gap| self.pages_in(*gap)).sum()
    }

    /// Returns how many pages are expected in a range.
    pub(super) fn pages_in(&self, range: Range) -> f64 {
        let full = self.events_in(range) / f64::from(PAGE);
        // Every slice has a page that is not full; a week of nothing costs a request.
        let slices = (full / PAGES).max(float(range.seconds()) / float(LONGEST));
        full + 0.5 * slices.ceil()
    }

    /// Returns how many events are expected in a range: each second is as dense as the nearest place that is known.
    pub(super) fn events_in(&self, range: Range) -> f64 {
        let before = self.density.range(..range.from).next_back();
        let after = self.density.range(range.to + 1..).next();
        let inside = self.density.range(range.from..=range.to);
        let known: Vec<(i64, f64)> =
            before.into_iter().chain(inside).chain(after).map(|(at, d)| (*at, *d)).collect();
        let Some(&(_, last)) = known.last() else { return 0.0 };
        let (mut from, mut events) = (float(range.from), 0.0);
        let end = float(range.to) + 1.0;
        for pair in known.windows(2) {
            let middle = f64::midpoint(float(pair[0].0), float(pair[1].0)).clamp(from, end);
            events += (middle - from) * pair[0].1;
            from = middle;
        }
        events + (end - from) * last
    }

    /// Returns how many seconds around this one hold so many pages.
    fn length(&self, second: i64, pages: f64) -> i64 {
        let before = self.density.range(..=second).next_back();
        let after = self.density.range(second..).next();
        let nearest = match (before, after) {
            (Some(before), Some(after)) if second - before.0 <= after.0 - second => *before.1,
            (_, Some(after)) => *after.1,
            (Some(before), None) => *before.1,
            (None, None) => 0.0,
        };
        whole(pages * f64::from(PAGE) / nearest).clamp(SHORTEST, LONGEST)
    }

    /// Removes a range that lies in a gap.
    fn cut(&mut self, number: usize, range: Range) {
        let Some(gap) = self.gaps.remove(number) else { return };
        self.put_back(Range { from: gap.from, to: range.from - 1 });
        self.put_back(Range { from: range.to + 1, to: gap.to });
    }
}

/// Returns where a slice of `length` seconds that ends at `to` begins; it takes a small rest along.
fn shortened(from: i64, to: i64, length: i64) -> i64 {
    let short = to - length + 1;
    if short - from < length / 2 { from } else { short }
}

/// As a number for estimates.
#[expect(clippy::cast_precision_loss, reason = "estimates; seconds and events stay below 2^53")]
fn float(number: impl TryInto<i64>) -> f64 {
    number.try_into().unwrap_or(i64::MAX) as f64
}

/// Rounds an estimate; what is not a number or too large becomes the largest.
#[expect(clippy::cast_possible_truncation, reason = "saturates, which is what is wanted")]
fn whole(number: f64) -> i64 {
    if number.is_finite() { number.ceil() as i64 } else { i64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(from: i64, to: i64) -> Range {
        Range { from, to }
    }

    #[test]
    fn what_is_covered_is_not_missing() {
        let wanted = range(100, 199);
        assert_eq!(missing(wanted, &[]), [wanted]);
        assert_eq!(missing(wanted, &[(0, 300)]), []);
        assert_eq!(missing(wanted, &[(0, 99), (200, 300)]), [wanted]);
        assert_eq!(
            missing(wanted, &[(150, 159), (0, 100), (155, 169)]),
            [range(101, 149), range(170, 199)]
        );
        assert_eq!(missing(wanted, &[(199, 199), (100, 100)]), [range(101, 198)]);
        assert_eq!(missing(range(5, 4), &[]), []);
    }

    #[test]
    fn without_any_knowledge_a_slice_is_a_week() {
        let mut plan = Plan::new(vec![range(0, 90 * 86_400 - 1)]);
        assert_eq!(plan.claim_oldest(1), Some(range(0, LONGEST - 1)));
    }

    #[test]
    fn a_slice_has_about_25_pages_and_a_small_rest_is_taken_along() {
        let mut plan = Plan::new(vec![range(0, 99_999)]);
        plan.learn(range(100_000, 100_099), 100);
        assert_eq!(plan.claim_oldest(1), Some(range(0, 1249)));
        assert_eq!(plan.newest_of(range(0, 10_000)), range(8751, 10_000));
        assert_eq!(plan.newest_of(range(0, 1_500)), range(0, 1_500));
    }

    #[test]
    fn slices_get_smaller_when_many_chains_share_the_rest() {
        let mut plan = Plan::new(vec![range(0, 9_999)]);
        plan.learn(range(10_000, 10_099), 100);
        let first = plan.claim_oldest(10).unwrap();
        assert!(first.seconds() < 700 && first.seconds() >= 200, "{first:?}");
    }

    #[test]
    fn each_second_is_as_dense_as_the_nearest_that_is_known() {
        let mut plan = Plan::new(vec![range(0, 999)]);
        plan.learn(range(0, 0), 1);
        plan.learn(range(1000, 1000), 3);
        let events = plan.events();
        assert!((events - 2000.0).abs() < 5.0, "{events}");
    }

    #[test]
    fn a_sample_lies_where_it_was_asked_for() {
        let mut plan = Plan::new(vec![range(0, 89_999)]);
        plan.learn(range(90_000, 90_099), 100);
        let sample = plan.claim_sample(1.0 / 3.0).unwrap();
        assert_eq!(sample, range(28_750, 29_999));
        assert_eq!(plan.seconds(), 90_000 - sample.seconds());
    }

    proptest! {
        #[test]
        fn every_second_is_claimed_once(
            lengths in prop::collection::vec((1i64..2_000_000, 1i64..1000), 1..6),
            densities in prop::collection::vec((0i64..8_000_000, 0u64..50), 0..5),
            shares in prop::collection::vec(0.0f64..1.0, 0..3),
            chains in 1usize..20,
        ) {
            let (mut gaps, mut at) = (Vec::new(), 0);
            for (length, pause) in lengths {
                gaps.push(range(at, at + length - 1));
                at += length + pause;
            }
            let mut plan = Plan::new(gaps.clone());
            let mut claimed = Vec::new();
            if let Some(gap) = plan.claim_newest_gap() {
                let part = plan.newest_of(gap);
                plan.put_back(range(gap.from, part.from - 1));
                claimed.push(part);
            }
            for (at, events) in densities {
                plan.learn(range(at, at + 9), events);
            }
            for share in shares {
                claimed.extend(plan.claim_sample(share));
            }
            while let Some(slice) = plan.claim_oldest(chains) {
                claimed.push(slice);
            }
            claimed.sort_by_key(|slice| slice.from);
            let covered: Vec<_> = claimed.iter().map(|slice| (slice.from, slice.to)).collect();
            prop_assert!(claimed.windows(2).all(|pair| pair[0].to < pair[1].from));
            let seconds = |ranges: &[Range]| ranges.iter().map(|r| r.seconds()).sum::<i64>();
            prop_assert_eq!(seconds(&claimed), seconds(&gaps));
            for gap in gaps {
                prop_assert_eq!(missing(gap, &covered), vec![]);
            }
        }
    }
}
