//! Plans which seconds are still missing and divides them into slices.
//!
//! Input: the wanted time range, the covered ranges, and the event density observed in fetched pages. Output: ranges
//! to fetch.
//! Invariant: every missing second is claimed exactly once; the oldest range is claimed first because it expires
//! first.
//! Deliberately absent: requests and waiting (see `region`).

use std::collections::{BTreeMap, VecDeque};

/// Events in a full page: the maximum of `MaxResults` in the LookupEvents API.
pub(super) const MAX_PAGE_EVENTS: u32 = 50;

/// Pages in a slice of the usual length: enough to make the half-empty last page negligible, few enough to keep
/// slices independent.
const SLICE_PAGES: f64 = 25.0;

/// Pages in the shortest slices, near the end of a load, when many cursors share the remaining time.
const MIN_SLICE_PAGES: f64 = 4.0;

/// Minimum length of a slice, in seconds. A shorter one would only help at thousands of events a second.
const MIN_SLICE_SECONDS: i64 = 30;

/// Maximum length of a slice, in seconds: in a Region with almost no events, one request covers a week.
pub(super) const MAX_SLICE_SECONDS: i64 = 7 * 24 * 60 * 60;

/// A range of seconds of the Unix epoch, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SecondRange {
    pub(super) from: i64,
    pub(super) to: i64,
}

impl SecondRange {
    /// Returns the length of the range in seconds.
    pub(super) fn seconds(self) -> i64 {
        self.to - self.from + 1
    }
}

/// Returns the parts of `wanted` that are not in `covered`, oldest first.
pub(super) fn missing_ranges(wanted: SecondRange, covered: &[(i64, i64)]) -> Vec<SecondRange> {
    let mut covered: Vec<_> = covered.iter().copied().filter(|(from, to)| from <= to).collect();
    covered.sort_unstable();
    let (mut gaps, mut next) = (Vec::new(), wanted.from);
    for (from, to) in covered {
        if from > next && next <= wanted.to {
            gaps.push(SecondRange { from: next, to: (from - 1).min(wanted.to) });
        }
        next = next.max(to.saturating_add(1));
    }
    if next <= wanted.to {
        gaps.push(SecondRange { from: next, to: wanted.to });
    }
    gaps
}

/// The ranges that no cursor has claimed yet, and the observed event density.
#[derive(Debug, Default)]
pub(super) struct SlicePlan {
    /// Oldest first; no two ranges are adjacent.
    gaps: VecDeque<SecondRange>,
    /// Events per second, keyed by the end of the range in which they were counted.
    density: BTreeMap<i64, f64>,
}

impl SlicePlan {
    pub(super) fn new(gaps: Vec<SecondRange>) -> Self {
        Self { gaps: gaps.into(), density: BTreeMap::new() }
    }

    /// Returns whether every range is claimed.
    pub(super) fn is_empty(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Returns the number of unclaimed seconds.
    pub(super) fn seconds(&self) -> i64 {
        self.gaps.iter().map(|gap| gap.seconds()).sum()
    }

    /// Returns whether any event density was observed.
    pub(super) fn has_density(&self) -> bool {
        !self.density.is_empty()
    }

    /// Records the number of events in a range.
    pub(super) fn record_density(&mut self, range: SecondRange, events: u64) {
        self.density.insert(range.to, as_f64(events) / as_f64(range.seconds().max(1)));
    }

    /// Claims the whole newest gap: its first page may show that it contains almost no events.
    pub(super) fn claim_newest_gap(&mut self) -> Option<SecondRange> {
        self.gaps.pop_back()
    }

    /// Claims a slice that ends where `share` of the unclaimed seconds are older, to sample the event density there.
    pub(super) fn claim_sample(&mut self, share: f64) -> Option<SecondRange> {
        let seconds = self.seconds();
        let length = self.slice_seconds(self.gaps.back()?.to, SLICE_PAGES);
        if seconds < 4 * length {
            return None;
        }
        let mut before = ceil_to_i64(as_f64(seconds) * share).clamp(1, seconds);
        let number = self.gaps.iter().position(|gap| {
            before -= gap.seconds();
            before <= 0
        })?;
        let gap = self.gaps[number];
        let to = gap.to + before;
        let range = SecondRange { from: slice_start(gap.from, to, length), to };
        self.remove(number, range);
        Some(range)
    }

    /// Claims the oldest slice; the slices get shorter the more of them share the remaining time.
    pub(super) fn claim_oldest_slice(&mut self, open_slices: usize) -> Option<SecondRange> {
        let gap = *self.gaps.front()?;
        let pages = self.expected_pages() / (2.0 * as_f64(open_slices.max(1)));
        let length = self.slice_seconds(gap.from, pages.clamp(MIN_SLICE_PAGES, SLICE_PAGES));
        let rest = gap.seconds() - length;
        let to = if rest < length / 2 { gap.to } else { gap.from + length - 1 };
        let range = SecondRange { from: gap.from, to };
        self.remove(0, range);
        Some(range)
    }

    /// Returns the newest part of a range that has the length of a slice.
    pub(super) fn newest_slice_of(&self, range: SecondRange) -> SecondRange {
        let length = self.slice_seconds(range.to, SLICE_PAGES);
        SecondRange { from: slice_start(range.from, range.to, length), to: range.to }
    }

    /// Returns a claimed range that its cursor will not fetch to the plan.
    pub(super) fn release(&mut self, range: SecondRange) {
        if range.seconds() > 0 {
            let position = self.gaps.partition_point(|gap| gap.from < range.from);
            self.gaps.insert(position, range);
        }
    }

    /// Returns the expected number of events in the unclaimed ranges.
    pub(super) fn expected_events(&self) -> f64 {
        self.gaps.iter().map(|gap| self.expected_events_in(*gap)).sum()
    }

    /// Returns the expected number of pages in the unclaimed ranges.
    pub(super) fn expected_pages(&self) -> f64 {
        self.gaps.iter().map(|gap| self.expected_pages_in(*gap)).sum()
    }

    /// Returns the expected number of pages in a range.
    pub(super) fn expected_pages_in(&self, range: SecondRange) -> f64 {
        let full = self.expected_events_in(range) / f64::from(MAX_PAGE_EVENTS);
        // The last page of a slice is half full on average; an empty week still costs a request.
        let slices = (full / SLICE_PAGES).max(as_f64(range.seconds()) / as_f64(MAX_SLICE_SECONDS));
        full + 0.5 * slices.ceil()
    }

    /// Returns the expected number of events in a range; each second has the density of the nearest observation.
    pub(super) fn expected_events_in(&self, range: SecondRange) -> f64 {
        let before = self.density.range(..range.from).next_back();
        let after = self.density.range(range.to + 1..).next();
        let inside = self.density.range(range.from..=range.to);
        let known: Vec<(i64, f64)> =
            before.into_iter().chain(inside).chain(after).map(|(at, d)| (*at, *d)).collect();
        let Some(&(_, last)) = known.last() else { return 0.0 };
        let (mut from, mut events) = (as_f64(range.from), 0.0);
        let end = as_f64(range.to) + 1.0;
        for pair in known.windows(2) {
            let middle = f64::midpoint(as_f64(pair[0].0), as_f64(pair[1].0)).clamp(from, end);
            events += (middle - from) * pair[0].1;
            from = middle;
        }
        events + (end - from) * last
    }

    /// Returns the number of seconds around `second` that hold `pages` pages.
    fn slice_seconds(&self, second: i64, pages: f64) -> i64 {
        let before = self.density.range(..=second).next_back();
        let after = self.density.range(second..).next();
        let nearest = match (before, after) {
            (Some(before), Some(after)) if second - before.0 <= after.0 - second => *before.1,
            (_, Some(after)) => *after.1,
            (Some(before), None) => *before.1,
            (None, None) => 0.0,
        };
        ceil_to_i64(pages * f64::from(MAX_PAGE_EVENTS) / nearest)
            .clamp(MIN_SLICE_SECONDS, MAX_SLICE_SECONDS)
    }

    /// Removes a range that lies within a gap.
    fn remove(&mut self, number: usize, range: SecondRange) {
        let Some(gap) = self.gaps.remove(number) else { return };
        self.release(SecondRange { from: gap.from, to: range.from - 1 });
        self.release(SecondRange { from: range.to + 1, to: gap.to });
    }
}

/// Returns the start of a slice of `length` seconds that ends at `to`; a short remainder is included.
fn slice_start(from: i64, to: i64, length: i64) -> i64 {
    let short = to - length + 1;
    if short - from < length / 2 { from } else { short }
}

/// Converts an integer for an estimate.
#[expect(clippy::cast_precision_loss, reason = "estimates; seconds and events stay below 2^53")]
fn as_f64(number: impl TryInto<i64>) -> f64 {
    number.try_into().unwrap_or(i64::MAX) as f64
}

/// Rounds an estimate up; NaN and values out of range become `i64::MAX`.
#[expect(clippy::cast_possible_truncation, reason = "saturates, which is what is wanted")]
pub(super) fn ceil_to_i64(number: f64) -> i64 {
    if number.is_finite() { number.ceil() as i64 } else { i64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(from: i64, to: i64) -> SecondRange {
        SecondRange { from, to }
    }

    #[test]
    fn what_is_covered_is_not_missing() {
        let wanted = range(100, 199);
        assert_eq!(missing_ranges(wanted, &[]), [wanted]);
        assert_eq!(missing_ranges(wanted, &[(0, 300)]), []);
        assert_eq!(missing_ranges(wanted, &[(0, 99), (200, 300)]), [wanted]);
        assert_eq!(
            missing_ranges(wanted, &[(150, 159), (0, 100), (155, 169)]),
            [range(101, 149), range(170, 199)]
        );
        assert_eq!(missing_ranges(wanted, &[(199, 199), (100, 100)]), [range(101, 198)]);
        assert_eq!(missing_ranges(range(5, 4), &[]), []);
    }

    #[test]
    fn without_any_knowledge_a_slice_is_a_week() {
        let mut plan = SlicePlan::new(vec![range(0, 90 * 86_400 - 1)]);
        assert_eq!(plan.claim_oldest_slice(1), Some(range(0, MAX_SLICE_SECONDS - 1)));
    }

    #[test]
    fn a_slice_has_about_25_pages_and_a_small_rest_is_taken_along() {
        let mut plan = SlicePlan::new(vec![range(0, 99_999)]);
        plan.record_density(range(100_000, 100_099), 100);
        assert_eq!(plan.claim_oldest_slice(1), Some(range(0, 1249)));
        assert_eq!(plan.newest_slice_of(range(0, 10_000)), range(8751, 10_000));
        assert_eq!(plan.newest_slice_of(range(0, 1_500)), range(0, 1_500));
    }

    #[test]
    fn slices_get_smaller_when_many_chains_share_the_rest() {
        let mut plan = SlicePlan::new(vec![range(0, 9_999)]);
        plan.record_density(range(10_000, 10_099), 100);
        let first = plan.claim_oldest_slice(10).unwrap();
        assert!(first.seconds() < 700 && first.seconds() >= 200, "{first:?}");
    }

    #[test]
    fn each_second_is_as_dense_as_the_nearest_that_is_known() {
        let mut plan = SlicePlan::new(vec![range(0, 999)]);
        plan.record_density(range(0, 0), 1);
        plan.record_density(range(1000, 1000), 3);
        let events = plan.expected_events();
        assert!((events - 2000.0).abs() < 5.0, "{events}");
    }

    #[test]
    fn a_sample_lies_where_it_was_asked_for() {
        let mut plan = SlicePlan::new(vec![range(0, 89_999)]);
        plan.record_density(range(90_000, 90_099), 100);
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
            open_slices in 1usize..20,
        ) {
            let (mut gaps, mut at) = (Vec::new(), 0);
            for (length, pause) in lengths {
                gaps.push(range(at, at + length - 1));
                at += length + pause;
            }
            let mut plan = SlicePlan::new(gaps.clone());
            let mut claimed = Vec::new();
            if let Some(gap) = plan.claim_newest_gap() {
                let part = plan.newest_slice_of(gap);
                plan.release(range(gap.from, part.from - 1));
                claimed.push(part);
            }
            for (at, events) in densities {
                plan.record_density(range(at, at + 9), events);
            }
            for share in shares {
                claimed.extend(plan.claim_sample(share));
            }
            while let Some(slice) = plan.claim_oldest_slice(open_slices) {
                claimed.push(slice);
            }
            claimed.sort_by_key(|slice| slice.from);
            let covered: Vec<_> = claimed.iter().map(|slice| (slice.from, slice.to)).collect();
            prop_assert!(claimed.windows(2).all(|pair| pair[0].to < pair[1].from));
            let seconds = |ranges: &[SecondRange]| ranges.iter().map(|r| r.seconds()).sum::<i64>();
            prop_assert_eq!(seconds(&claimed), seconds(&gaps));
            for gap in gaps {
                prop_assert_eq!(missing_ranges(gap, &covered), vec![]);
            }
        }
    }
}
