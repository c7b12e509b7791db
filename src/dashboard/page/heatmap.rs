//! A table of two groups whose cells are the darker the larger their number is.
//!
//! Input: a panel with two buckets and its answer. Output: HTML.
//! Invariant: every number is also written, so that nothing depends on color. The dimension with more groups has the rows.

use super::super::{
    answer::{GroupKey, PanelAnswer},
    definition::Panel,
};
use super::{html::Html, limits::Details, value};

/// The shades, from the lightest.
const SHADES: [&str; 5] = ["q1", "q2", "q3", "q4", "q5"];

/// Maximum number of columns: more would not be readable.
const MAX_COLUMNS: usize = 24;

/// Writes the table.
pub(super) fn write(panel: &Panel, answer: &PanelAnswer, details: Details, html: &mut Html) {
    let [outer, inner] = [0, 1].map(|level| groups(answer, level));
    let (mut rows, mut columns, row_level) =
        if outer.len() > inner.len() { (outer, inner, 0) } else { (inner, outer, 1) };
    rows.truncate(details.rows);
    columns.truncate(MAX_COLUMNS);
    let label = |level: usize| panel.buckets.get(level).map_or("", |bucket| bucket.label());
    html.open_scrollable(&panel.id);
    html.raw("<table class=\"heatmap\"><thead><tr>");
    html.element("<th scope=\"col\">", label(row_level), "</th>");
    for column in &columns {
        html.raw("<th scope=\"col\" class=\"n\">");
        html.long_text(&value::key(column), details);
        html.raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
    let largest = answer.rows.iter().filter_map(|row| *row.values.first()?).fold(1.0, f64::max);
    for row in rows {
        html.raw("<tr><th scope=\"row\">");
        html.long_text(&value::key(row), details);
        html.raw("</th>");
        for column in &columns {
            let (outer, inner) = if row_level == 0 { (row, *column) } else { (*column, row) };
            write_cell(number(answer, outer, inner), largest, html);
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div>");
}

/// Returns the number of columns.
pub(super) fn columns(answer: &PanelAnswer) -> usize {
    let [outer, inner] = [0, 1].map(|level| groups(answer, level).len());
    outer.min(inner).min(MAX_COLUMNS)
}

/// Returns the groups of a level in the order of their rows.
fn groups(answer: &PanelAnswer, level: usize) -> Vec<&GroupKey> {
    let mut groups = Vec::new();
    for key in answer.rows.iter().filter_map(|row| row.keys.get(level)) {
        if !groups.contains(&key) {
            groups.push(key);
        }
    }
    groups
}

fn number(answer: &PanelAnswer, outer: &GroupKey, inner: &GroupKey) -> Option<f64> {
    let row = answer.rows.iter().find(|row| row.keys.iter().eq([outer, inner]))?;
    row.values.first().copied().flatten()
}

fn write_cell(number: Option<f64>, largest: f64, html: &mut Html) {
    let Some(number) = number else {
        html.raw("<td></td>");
        return;
    };
    html.raw("<td");
    html.attribute("class", format_args!("n {}", shade(number, largest)));
    html.element(">", value::number(number), "</td>");
}

/// Returns the shade of a number. The scale is logarithmic, because a few groups have most documents.
fn shade(number: f64, largest: f64) -> &'static str {
    let part = number.max(0.0).ln_1p() / largest.ln_1p().max(f64::MIN_POSITIVE);
    let limits = [0.2, 0.4, 0.6, 0.8];
    SHADES[limits.into_iter().filter(|limit| part > *limit).count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_numbers_are_darker() {
        let shades = [1.0, 10.0, 100.0, 1_000.0, 10_000.0].map(|number| shade(number, 10_000.0));
        assert_eq!(shades, ["q1", "q2", "q3", "q4", "q5"]);
        assert_eq!(shade(0.0, 0.0), "q1");
    }
}
