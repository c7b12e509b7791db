//! Tables with a row for each combination of groups.
//!
//! Input: a panel and its answer. Output: HTML.
//! Invariant: a group that several rows share is written once, beside all of them. Rows beyond the limit are counted.

use super::super::{
    answer::{AnswerRow, PanelAnswer},
    definition::{Panel, PanelBucket, PanelMetric},
};
use super::{
    bars::Percent,
    html::{Html, MEDIUM},
    limits::Details,
    value,
};

/// Maximum number of rows that are all visible at once. Of more, the style sheet shows ten until a reader asks for all.
const ALL_ROWS: usize = 15;

/// The width of a character in rem, of the wider ones of the typefaces that may be there.
pub(super) const CHARACTER: f64 = 0.5;

/// Distance of columns in rem.
pub(super) const GAP: f64 = 0.5;

/// Characters of a line in which a long text is readable.
const LINE: usize = 26;

/// The width of a time in rem.
const TIME: f64 = 7.75;

/// The least width of a number with a bar, in rem.
const BAR: f64 = 4.0;

/// Returns the width in rem that the columns need.
pub(super) fn width(panel: &Panel, answer: &PanelAnswer, details: Details) -> f64 {
    let rows = || answer.rows.iter().take(details.rows);
    let keys = panel.buckets.iter().enumerate().map(|(level, bucket)| {
        let texts = rows().filter_map(|row| row.keys.get(level)).map(value::key);
        text_width(bucket.label(), texts)
    });
    let metrics = panel.metrics.iter().enumerate().map(|(number, metric)| {
        if metric.is_time() {
            return TIME + GAP;
        }
        let texts = rows().filter_map(|row| row.values.get(number).copied()).map(value::metric);
        text_width(metric.label(), texts).max(if number == 0 { BAR + GAP } else { 0.0 })
    });
    keys.chain(metrics).sum()
}

/// Returns the width in rem that a column of texts needs.
pub(super) fn text_width(label: &str, texts: impl Iterator<Item = String>) -> f64 {
    let in_line = |text: String| match text.chars().count() {
        short if short <= MEDIUM => short,
        _ => LINE,
    };
    let characters = texts.map(in_line).fold(label.chars().count(), usize::max);
    #[expect(clippy::cast_precision_loss, reason = "at most some dozens")]
    let characters = characters as f64;
    characters * CHARACTER + GAP
}

/// Writes a table; its first metric has a bar.
pub(super) fn write(panel: &Panel, answer: &PanelAnswer, details: Details, html: &mut Html) {
    let rows = &answer.rows[..answer.rows.len().min(details.rows)];
    write_start(&panel.id, rows.len(), html);
    write_head(panel, html);
    html.raw("<tbody>");
    let largest = rows.iter().filter_map(|row| *row.values.first()?).fold(0.0, f64::max);
    for (number, row) in rows.iter().enumerate() {
        html.raw("<tr>");
        write_keys(rows, number, details, html);
        write_values(panel, row, largest, html);
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div>");
    write_fold(rows.len(), html);
    write_note(panel, answer, rows.len(), html);
}

/// Starts a table of which only the first rows are visible, if there are many.
pub(super) fn write_start(name: &str, rows: usize, html: &mut Html) {
    html.open_scrollable(name);
    html.raw("<table");
    if rows > ALL_ROWS {
        html.raw(" class=\"folded\"");
    }
    html.raw(">");
}

/// Writes the control that shows all rows of the table before.
pub(super) fn write_fold(rows: usize, html: &mut Html) {
    if rows > ALL_ROWS {
        html.element("<label class=\"fold\"><input type=\"checkbox\"> All ", rows, " rows</label>");
    }
}

fn write_head(panel: &Panel, html: &mut Html) {
    html.raw("<thead><tr>");
    for bucket in &panel.buckets {
        html.element("<th scope=\"col\">", bucket.label(), "</th>");
    }
    for metric in &panel.metrics {
        let open = if metric.is_time() {
            "<th scope=\"col\" class=\"t\">"
        } else {
            "<th scope=\"col\" class=\"n\">"
        };
        html.element(open, metric.label(), "</th>");
    }
    html.raw("</tr></thead>");
}

/// Writes the groups of a row that it does not share with the row before.
fn write_keys(rows: &[AnswerRow], number: usize, details: Details, html: &mut Html) {
    let keys = &rows[number].keys;
    let innermost = keys.len().saturating_sub(1);
    for (level, key) in keys.iter().enumerate() {
        let shares = |row: &AnswerRow| row.keys.get(..=level) == Some(&keys[..=level]);
        if level < innermost && number > 0 && shares(&rows[number - 1]) {
            continue;
        }
        let (open, close) =
            if level == 0 { ("<th scope=\"row\"", "</th>") } else { ("<td", "</td>") };
        html.raw(open);
        let shared = rows[number..].iter().take_while(|row| shares(row)).count();
        if level < innermost && shared > 1 {
            html.attribute("rowspan", shared);
        }
        html.raw(">");
        html.long_text(&value::key(key), details);
        html.raw(close);
    }
}

fn write_values(panel: &Panel, row: &AnswerRow, largest: f64, html: &mut Html) {
    for (number, (metric, value)) in panel.metrics.iter().zip(&row.values).enumerate() {
        if let Some(time) = value::metric_time(metric, *value) {
            write_time(time, html);
            continue;
        }
        let open = if number == 0 { "<td class=\"n first\">" } else { "<td class=\"n\">" };
        html.element(open, value::metric(*value), "");
        if let (0, Some(value)) = (number, value)
            && largest > 0.0
        {
            write_bar(value / largest, html);
        }
        html.raw("</td>");
    }
}

/// Writes a cell with a time.
pub(super) fn write_time(time: i64, html: &mut Html) {
    html.raw("<td class=\"t\"><time");
    html.attribute("datetime", value::machine_time(time));
    html.element(">", value::time(time), "</time></td>");
}

/// Writes a bar under a number.
fn write_bar(part: f64, html: &mut Html) {
    html.raw("<svg class=\"bar\" aria-hidden=\"true\"><rect height=\"100%\"");
    html.attribute("width", Percent(part.clamp(0.0, 1.0)));
    html.raw("/></svg>");
}

/// Writes a ranking: a table with long bars.
pub(super) fn write_ranking(
    panel: &Panel,
    answer: &PanelAnswer,
    details: Details,
    html: &mut Html,
) {
    html.open_scrollable(&panel.id);
    html.raw("<table class=\"ranking\"><thead><tr>");
    for label in panel.buckets.iter().map(PanelBucket::label) {
        html.element("<th scope=\"col\">", label, "</th>");
    }
    let metric = panel.metrics.first().map_or("", PanelMetric::label);
    html.element(
        "<th scope=\"col\" class=\"n\" colspan=\"2\">",
        metric,
        "</th></tr></thead><tbody>",
    );
    let first = |row: &AnswerRow| row.values.first().copied().flatten().unwrap_or(0.0);
    let largest = answer.rows.iter().map(first).fold(f64::MIN_POSITIVE, f64::max);
    for row in answer.rows.iter().take(details.rows) {
        html.raw("<tr><th scope=\"row\">");
        if let Some(key) = row.keys.first() {
            html.long_text(&value::key(key), details);
        }
        html.raw("</th><td>");
        write_bar(first(row) / largest, html);
        html.element("</td><td class=\"n\">", value::number(first(row)), "</td></tr>");
    }
    html.raw("</tbody></table></div>");
    write_note(panel, answer, answer.rows.len().min(details.rows), html);
}

/// Writes what the rows leave out.
fn write_note(panel: &Panel, answer: &PanelAnswer, shown: usize, html: &mut Html) {
    if shown < answer.rows.len() {
        html.element("<p class=\"note\">The first ", shown, " of ");
        html.element("", answer.rows.len(), " rows.</p>");
        return;
    }
    let Some(PanelBucket::Terms { size, label, .. }) = panel.buckets.first() else { return };
    let mut groups: Vec<_> = answer.rows.iter().filter_map(|row| row.keys.first()).collect();
    groups.dedup();
    if groups.len() >= *size {
        html.element("<p class=\"note\">", label, ": the first ");
        html.element("", groups.len(), ", there may be more.</p>");
    }
}
