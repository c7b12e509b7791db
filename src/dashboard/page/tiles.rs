//! Large numbers: the metrics of all documents.
//!
//! Input: a panel without buckets and its answer. Output: HTML.

use super::super::{answer::PanelAnswer, definition::Panel};
use super::{html::Html, value};

/// Writes a tile for each metric.
pub(super) fn write(panel: &Panel, answer: &PanelAnswer, html: &mut Html) {
    html.raw("<dl class=\"tiles\">");
    let values = answer.rows.first().map(|row| row.values.as_slice()).unwrap_or_default();
    for (metric, number) in panel.metrics.iter().zip(values) {
        html.element("<div><dt>", metric.label(), "</dt>");
        html.element("<dd>", value::metric(*number), "</dd></div>");
    }
    html.raw("</dl>");
}
