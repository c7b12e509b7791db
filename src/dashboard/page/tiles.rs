//! Large numbers: the metrics of all documents.
//!
//! Input: a panel without buckets and its answer. Output: HTML.

use super::super::{answer::PanelAnswer, definition::Panel};
use super::{html::Html, value};

/// Numbers with more characters are written smaller.
const LARGE: usize = 9;

/// Writes a tile for each metric.
pub(super) fn write(panel: &Panel, answer: &PanelAnswer, html: &mut Html) {
    html.raw("<dl class=\"tiles\">");
    let values = answer.rows.first().map(|row| row.values.as_slice()).unwrap_or_default();
    for (metric, number) in panel.metrics.iter().zip(values) {
        html.element("<div><dt>", metric.label(), "</dt>");
        let text = value::metric(*number);
        html.raw(if text.len() > LARGE { "<dd class=\"small\">" } else { "<dd>" });
        html.element("", text, "</dd></div>");
    }
    html.raw("</dl>");
}
