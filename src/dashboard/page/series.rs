//! Values over time: a series for each group.
//!
//! Input: the rows of a panel with a time axis. Output: [`TimeSeries`].
//! Invariant: there are at most [`MAX_SERIES`] series, and together they have all values of the rows.

use std::collections::BTreeMap;

use super::super::{
    answer::{GroupKey, PanelAnswer},
    definition::{Panel, PanelMetric},
};
use super::value;

/// Maximum number of series that can be told apart; the last one combines what is beyond.
pub(super) const MAX_SERIES: usize = 8;

/// Values over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TimeSeries {
    /// The names of the series, in the order of the panel.
    pub(super) names: Vec<String>,
    /// For each start of an interval the values of all series.
    pub(super) values: BTreeMap<i64, Vec<f64>>,
}

impl TimeSeries {
    /// Returns the series of a panel.
    pub(super) fn new(panel: &Panel, answer: &PanelAnswer) -> Self {
        let name = panel.metrics.first().map_or("", PanelMetric::label);
        let mut names: Vec<String> = Vec::new();
        let mut values: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for row in &answer.rows {
            let [GroupKey::Time(start), rest @ ..] = row.keys.as_slice() else { continue };
            let name = match rest.first() {
                Some(GroupKey::Text(text)) => value::visible(text),
                _ => name,
            };
            let series = names.iter().position(|other| other == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            });
            let at = values.entry(*start).or_default();
            at.resize(at.len().max(series + 1), 0.0);
            at[series] += row.values.first().copied().flatten().unwrap_or(0.0);
        }
        let mut series = Self { names, values };
        series.combine_rest();
        series
    }

    /// Combines the series beyond the maximum, and gives all intervals a value for each series.
    fn combine_rest(&mut self) {
        if self.names.len() > MAX_SERIES {
            let kept = MAX_SERIES - 1;
            let combined = self.names.len() - kept;
            self.names.truncate(kept);
            self.names.push(format!("{combined} others"));
            for values in self.values.values_mut().filter(|values| values.len() > kept) {
                let rest = values.drain(kept..).sum();
                values.push(rest);
            }
        }
        for values in self.values.values_mut() {
            values.resize(self.names.len(), 0.0);
        }
    }

    /// Returns the sum of each series.
    pub(super) fn totals(&self) -> Vec<f64> {
        let total = |series| self.values.values().map(|values: &Vec<f64>| values[series]).sum();
        (0..self.names.len()).map(total).collect()
    }

    /// Returns the largest sum of the values of an interval.
    pub(super) fn largest_sum(&self) -> f64 {
        self.values.values().map(|values| values.iter().sum()).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{answer::AnswerRow, definition::Dashboards};
    use super::*;

    fn series(rows: &[(i64, &str, f64)]) -> TimeSeries {
        let dashboards = Dashboards::embedded().unwrap();
        let (_, panel) = dashboards.panels().find(|(_, panel)| panel.id == "d1").unwrap();
        let row = |(start, name, value): &(i64, &str, f64)| AnswerRow {
            keys: vec![GroupKey::Time(*start), GroupKey::Text((*name).to_owned())],
            values: vec![Some(*value)],
        };
        let rows = rows.iter().map(row).collect();
        TimeSeries::new(panel, &PanelAnswer { documents: 1, rows, is_incomplete: false })
    }

    #[test]
    fn every_interval_has_a_value_for_each_series() {
        let series = series(&[(5, "a", 1.0), (7, "a", 2.0), (6, "b", 3.0), (7, "b", 4.0)]);
        assert_eq!(series.names, ["a", "b"]);
        let expected = [(5, vec![1.0, 0.0]), (6, vec![0.0, 3.0]), (7, vec![2.0, 4.0])];
        assert_eq!(series.values, BTreeMap::from(expected));
        assert_eq!(series.totals(), [3.0, 7.0]);
        assert!((series.largest_sum() - 6.0).abs() < 1e-9);
    }

    #[test]
    fn series_beyond_the_maximum_are_combined() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        let rows = names.iter().zip(1_i32..).map(|(name, n)| (5, *name, f64::from(n)));
        let rows: Vec<_> = rows.collect();
        let series = series(&rows);
        assert_eq!(series.names.len(), MAX_SERIES);
        assert_eq!(series.names[7], "2 others");
        assert_eq!(series.totals(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 17.0]);
    }
}
