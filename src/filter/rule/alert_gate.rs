//! Which of the matches of a rule are alerts: `first_seen`, `threshold` and `window`.
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
        let last = self.combinations.insert((number, combination.to_string()), time);
        last.is_none_or(|last| time.saturating_sub(last) >= within)
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
        assert_eq!(
            alerts(&rule("first_seen: {by: [detail.a], within: 1h}\n"), &[0, 30, 80, 140, 199]),
            [0, 140]
        );
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
