//! A table of two groups whose cells are the darker the larger their number is.
//!
//! Input: a panel with two buckets and its answer. Output: HTML.
//! Invariant: every number is also written, so that nothing depends on color. The dimension with more groups has the rows.

use super::super::{
    answer::{GroupKey, PanelAnswer},
    definition::Panel,
};
use super::{html::Html, limits::Details, table, value};

/// The shades, from the lightest.
const SHADES: [&str; 5] = ["q1", "q2", "q3", "q4", "q5"];

/// Maximum number of columns: more would not be readable.
const MAX_COLUMNS: usize = 24;

/// The least width of a column in rem: that of four digits of an account, and of the sides of a cell.
const COLUMN: f64 = 3.25;

/// Numbers from this one on are written in a shorter form.
const LONG: f64 = 1e6;

/// What the sides of a cell take of its width, besides the distance of columns.
const CELL: f64 = 0.75;

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
        match value::key(column) {
            account if account.bytes().all(|digit| digit.is_ascii_digit()) => html.digits(&account),
            name => html.long_text(&name, details),
        }
        html.raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
    let numbers = || answer.rows.iter().filter_map(|row| *row.values.first()?);
    let range = (numbers().fold(f64::INFINITY, f64::min), numbers().fold(0.0, f64::max));
    for row in rows {
        html.raw("<tr><th scope=\"row\">");
        html.long_text(&value::key(row), details);
        html.raw("</th>");
        for column in &columns {
            let (outer, inner) = if row_level == 0 { (row, *column) } else { (*column, row) };
            write_cell(number(answer, outer, inner), range, html);
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div>");
}

/// Returns the width in rem that the columns need.
pub(super) fn width(answer: &PanelAnswer, details: Details) -> f64 {
    let [outer, inner] = [0, 1].map(|level| groups(answer, level));
    let (rows, columns) = if outer.len() > inner.len() { (outer, inner) } else { (inner, outer) };
    let names = table::text_width("", rows.into_iter().take(details.rows).map(value::key));
    let numbers =
        answer.rows.iter().map(|row| value::metric(row.values.first().copied().flatten()));
    let number = (table::text_width("", numbers) + CELL).max(COLUMN);
    #[expect(clippy::cast_precision_loss, reason = "at most some dozens")]
    let columns = columns.len().min(MAX_COLUMNS) as f64;
    names + columns * number
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

fn write_cell(number: Option<f64>, range: (f64, f64), html: &mut Html) {
    let Some(number) = number else {
        html.raw("<td></td>");
        return;
    };
    html.raw("<td");
    html.attribute("class", format_args!("n {}", shade(number, range)));
    let (shown, exact) = (cell(number), value::number(number));
    if shown != exact {
        html.attribute("title", exact);
    }
    html.element(">", shown, "</td>");
}

/// Returns a number in few characters, because a table has many columns of them.
fn cell(number: f64) -> String {
    if number < LONG { value::number(number) } else { value::short_number(number) }
}

/// Returns the shade of a number between the smallest and the largest. The scale is logarithmic, because a few groups have
/// most documents, and numbers that differ by less than a tenth of the largest have nearly the same shade.
fn shade(number: f64, (smallest, largest): (f64, f64)) -> &'static str {
    let [number, smallest, largest] =
        [number, smallest, largest].map(|number| number.max(0.0).ln_1p());
    // As much as the logarithm of 10, so that the smallest of similar numbers does not look like nothing.
    let width = (largest - smallest).max(10f64.ln());
    let part = 1.0 - (largest - number) / width;
    let limits = [0.2, 0.4, 0.6, 0.8];
    SHADES[limits.into_iter().filter(|limit| part > *limit).count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_numbers_are_darker() {
        let range = (1.0, 10_000.0);
        let shades = [1.0, 10.0, 100.0, 1_000.0, 10_000.0].map(|number| shade(number, range));
        assert_eq!(shades, ["q1", "q2", "q3", "q4", "q5"]);
        let shades = [1_000.0, 2_000.0, 3_000.0, 6_000.0, 10_000.0]
            .map(|number| shade(number, (1_000.0, 10_000.0)));
        assert_eq!(shades, ["q1", "q2", "q3", "q4", "q5"]);
    }

    #[test]
    fn cells_have_few_characters() {
        for (number, expected) in
            [(0.0, "0"), (999_999.0, "999,999"), (1e6, "1M"), (9_876_543_210.0, "9.88G")]
        {
            assert_eq!(cell(number), expected);
        }
    }

    #[test]
    fn similar_numbers_have_similar_shades() {
        for (number, range) in [(1.0, (1.0, 1.0)), (95.0, (95.0, 100.0)), (0.0, (0.0, 0.0))] {
            assert_eq!(shade(number, range), "q5", "{number}");
        }
        assert_eq!(shade(50.0, (50.0, 100.0)), "q4");
    }
}
