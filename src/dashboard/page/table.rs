//! A table with a row for each group.
//!
//! Input: a panel and its answer. Output: HTML.

use super::super::{
    answer::PanelAnswer,
    definition::{Panel, PanelBucket, PanelMetric},
};
use super::{html::Html, value};

/// Writes the table.
pub(super) fn write(panel: &Panel, answer: &PanelAnswer, html: &mut Html) {
    html.raw("<table><thead><tr>");
    let keys = panel.buckets.iter().map(PanelBucket::label);
    for label in keys.chain(panel.metrics.iter().map(PanelMetric::label)) {
        html.raw("<th scope=\"col\">");
        html.text(label);
        html.raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
    for row in &answer.rows {
        html.raw("<tr>");
        for key in &row.keys {
            html.raw("<td>");
            html.text(value::key(key));
            html.raw("</td>");
        }
        for (metric, number) in panel.metrics.iter().zip(&row.values) {
            html.raw("<td class=\"number\">");
            html.text(value::metric(metric, *number));
            html.raw("</td>");
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table>");
}
