//! Which of the matches of a rule are alerts: `first_seen`, `threshold` and `window`, for matches in the order of time.
//!
//! | key | a match |
//! |---|---|
//! | `first_seen` | passes if its combination was not met for `within`; in the learning period, which starts with the first event, it is only remembered |
//! | `threshold` | passes if that many events of its group, this one included, are less than `window` apart |
//! | `window` | passes if the last alert of its group is at least `window` ago |
//!
//! A match that passes all is an alert. The memory of a checkpoint does the same for matches in any order (see `checkpoint::alerts`).
//!
//! Input: matches in the order of time. Output: whether a match is an alert, and how many events it stands for.
//! Invariant: memory is bounded. Beyond [`MAX_ENTRIES`] groups and times, the half that was not met for the longest time is
//! forgotten, so a group can have an alert earlier than its window allows, but none is missed.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Grouping, Rule};

/// The most groups, combinations and times of events that are remembered: about 40 MB.
const MAX_ENTRIES: usize = 200_000;

/// An event on which a rule fires, as far as its memory needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleMatch {
    /// The values of `group_by`.
    pub group: Value,
    /// The values of `first_seen`, if the rule has it.
    pub combination: Option<Value>,
}

/// Remembers the matches of rules.
#[derive(Debug, Default)]
pub struct AlertGate {
    groups: HashMap<(usize, String), GroupMemory>,
    /// When a combination was last met, in milliseconds of the Unix epoch.
    combinations: HashMap<(usize, String), i64>,
    /// Where the evaluated time range starts, if it is known.
    evaluated_from: Option<i64>,
    /// Where the learning period of a rule starts.
    learning_from: HashMap<usize, i64>,
    /// Times in all groups.
    times: usize,
}

/// What is remembered of a group. Times are in milliseconds of the Unix epoch.
#[derive(Debug, Default)]
struct GroupMemory {
    /// The latest events in the window, at most as many as the threshold.
    times: VecDeque<i64>,
    last_event: i64,
    last_alert: Option<i64>,
}

impl AlertGate {
    /// Creates the memory for a time range that starts at a time in milliseconds of the Unix epoch, which is where learning periods
    /// start. Without it, they start with the first match of a rule.
    pub fn starting_at(evaluated_from: Option<i64>) -> Self {
        Self { evaluated_from, ..Self::default() }
    }

    /// Adds a match of the rule with this number, at a time in milliseconds of the Unix epoch. Returns the number of events
    /// in the window if there is an alert.
    pub fn add(
        &mut self,
        number: usize,
        rule: &Rule,
        time: i64,
        found: &RuleMatch,
    ) -> Option<usize> {
        self.make_room();
        let grouping = &rule.grouping;
        if !self.is_new_combination(number, grouping, time, found) {
            return None;
        }
        let Some(window) =
            grouping.window.map(|window| i64::try_from(window.as_millis()).unwrap_or(i64::MAX))
        else {
            return Some(1);
        };
        let threshold = usize::try_from(grouping.threshold).unwrap_or(usize::MAX);
        let group = self.groups.entry((number, found.group.to_string())).or_default();
        let before = group.times.len();
        group.times.push_back(time);
        let is_old = |then: &i64| time.saturating_sub(*then) >= window;
        while group.times.len() > threshold || group.times.front().is_some_and(is_old) {
            group.times.pop_front();
        }
        group.last_event = time;
        let count = group.times.len();
        self.times = self.times + count - before;
        if count < threshold
            || group.last_alert.is_some_and(|alert| time.saturating_sub(alert) < window)
        {
            return None;
        }
        group.last_alert = Some(time);
        Some(count)
    }

    fn is_new_combination(
        &mut self,
        number: usize,
        grouping: &Grouping,
        time: i64,
        found: &RuleMatch,
    ) -> bool {
        let (Some(first_seen), Some(combination)) = (&grouping.first_seen, &found.combination)
        else {
            return true;
        };
        let within = i64::try_from(first_seen.within.as_millis()).unwrap_or(i64::MAX);
        let first_match = self.evaluated_from.map_or(time, |from| from.min(time));
        let learning_from = *self.learning_from.entry(number).or_insert(first_match);
        let learning = i64::try_from(first_seen.learning.as_millis()).unwrap_or(i64::MAX);
        let last = self.combinations.insert((number, combination.to_string()), time);
        last.is_none_or(|last| time.saturating_sub(last) >= within)
            && time.saturating_sub(learning_from) >= learning
    }

    /// Forgets the older half when there is too much to remember.
    fn make_room(&mut self) {
        if self.groups.len() + self.combinations.len() + self.times < MAX_ENTRIES {
            return;
        }
        if let Some(median) = median(self.groups.values().map(|group| group.last_event)) {
            self.groups.retain(|_, group| group.last_event > median);
        }
        if let Some(median) = median(self.combinations.values().copied()) {
            self.combinations.retain(|_, time| *time > median);
        }
        self.times = self.groups.values().map(|group| group.times.len()).sum();
    }
}

fn median(times: impl Iterator<Item = i64>) -> Option<i64> {
    let mut times: Vec<i64> = times.collect();
    let middle = times.len() / 2;
    (!times.is_empty()).then(|| *times.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::parse_rule_file, *};

    const MINUTE: i64 = 60_000;

    fn rule(keys: &str) -> Rule {
        parse_rule_file(&format!("name: x\nevents: [A]\n{keys}")).rules.remove(0)
    }

    /// Returns the minutes at which there is an alert, for matches of one group at these minutes.
    fn alerts(rule: &Rule, minutes: &[i64]) -> Vec<i64> {
        let mut gate = AlertGate::default();
        let found = RuleMatch {
            group: json!(["g"]),
            combination: rule.grouping.first_seen.as_ref().map(|_| json!(["c"])),
        };
        minutes
            .iter()
            .copied()
            .filter(|minute| gate.add(0, rule, minute * MINUTE, &found).is_some())
            .collect()
    }

    #[test]
    fn without_a_window_every_match_is_an_alert() {
        assert_eq!(alerts(&rule(""), &[0, 0, 1]), [0, 0, 1]);
    }

    #[test]
    fn there_is_one_alert_for_each_window() {
        assert_eq!(alerts(&rule("window: 60m\n"), &[0, 1, 59, 60, 61, 200]), [0, 60, 200]);
    }

    #[test]
    fn a_threshold_counts_the_events_of_a_sliding_window() {
        let rule = rule("window: 10m\nthreshold: 3\n");
        assert_eq!(alerts(&rule, &[0, 4, 12, 13, 14]), [13], "4, 12 and 13 are within 10 minutes");
        assert_eq!(alerts(&rule, &[0, 10, 20, 30]), Vec::<i64>::new());
    }

    #[test]
    fn first_seen_is_about_combinations_that_are_new() {
        let rule = rule("first_seen: {by: [detail.a], within: 1h, learning: 0s}\n");
        assert_eq!(alerts(&rule, &[0, 30, 80, 140, 199]), [0, 140]);
    }

    #[test]
    fn combinations_are_only_remembered_in_the_learning_period() {
        let rule = rule("first_seen: {by: [detail.a], within: 1h, learning: 30m}\n");
        let found = |combination: &str| RuleMatch {
            group: json!([]),
            combination: Some(json!([combination])),
        };
        let matches = [(0, "a"), (29, "b"), (30, "c"), (31, "a"), (40, "b"), (91, "a")];
        let alerts = |mut gate: AlertGate| {
            let mut add = |minute: i64, combination| {
                gate.add(0, &rule, minute * MINUTE, &found(combination)).is_some()
            };
            matches.map(|(minute, combination)| add(minute, combination))
        };
        assert_eq!(alerts(AlertGate::default()), [false, false, true, false, false, true]);
        let earlier = AlertGate::starting_at(Some(-20 * MINUTE));
        assert_eq!(alerts(earlier), [false, true, true, false, false, true]);
    }

    #[test]
    fn the_learning_period_is_as_long_as_within_and_at_most_two_weeks() {
        for (keys, days) in
            [("within: 3d", 3), ("within: 90d", 14), ("within: 90d, learning: 30d", 30)]
        {
            let rule = rule(&format!("first_seen: {{by: [detail.a], {keys}}}\n"));
            let learning = rule.grouping.first_seen.unwrap().learning;
            assert_eq!(learning, std::time::Duration::from_hours(days * 24), "{keys}");
        }
    }

    #[test]
    fn groups_have_alerts_of_their_own() {
        let rule = &rule("group_by: [detail.a]\n");
        let mut gate = AlertGate::default();
        let mut add = |group: &str| {
            gate.add(0, rule, 0, &RuleMatch { group: json!([group]), combination: None }).is_some()
        };
        assert_eq!([add("a"), add("b"), add("a")], [true, true, false]);
    }

    #[test]
    fn memory_is_bounded() {
        let rule = rule("group_by: [detail.a]\nwindow: 1h\nthreshold: 2\n");
        let mut gate = AlertGate::default();
        for number in 0..500_000_i64 {
            gate.add(0, &rule, number, &RuleMatch { group: json!([number]), combination: None });
        }
        assert!(gate.groups.len() + gate.times <= MAX_ENTRIES + 2);
    }
}
