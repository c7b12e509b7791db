//! Parts of a whole: one bar, and a table with the share of each part.
//!
//! Input: a panel with one bucket and its answer. Output: HTML with SVG.
//! Invariant: parts are in the same order in bar and table, and differ without colors too.

use super::super::{
    answer::PanelAnswer,
    definition::{Panel, PanelBucket, PanelMetric},
};
use super::{
    bars::{FILLS, Percent},
    html::{Html, beginning},
    limits::Details,
    value,
};

/// Writes bar and table.
pub(super) fn write(panel: &Panel, answer: &PanelAnswer, details: Details, html: &mut Html) {
    let parts = answer.rows.iter().map(|row| {
        let name = row.keys.first().map_or_else(String::new, value::key);
        (name, row.values.first().copied().flatten().unwrap_or(0.0).max(0.0))
    });
    // The remaining fills are for charts with more parts.
    let parts: Vec<(String, f64)> = parts.take(FILLS.len()).collect();
    let sum = parts.iter().map(|(_, number)| number).sum::<f64>().max(f64::MIN_POSITIVE);
    html.raw("<figure class=\"share\"><svg role=\"img\" height=\"28\"");
    let names = parts
        .iter()
        .map(|(name, number)| format!("{} {}", beginning(name, 60), share(number / sum)));
    let names: Vec<String> = names.collect();
    html.attribute(
        "aria-label",
        format_args!("Shares: {}. The numbers are in the table below.", names.join(", ")),
    );
    html.raw(">");
    let mut begin = 0.0;
    for ((name, number), fill) in parts.iter().zip(FILLS) {
        html.raw("<rect height=\"28\"");
        html.attribute("class", fill);
        html.attribute("x", Percent(begin));
        html.attribute("width", Percent(number / sum));
        html.element("><title>", beginning(name, details.shown), ": ");
        html.element("", share(number / sum), "</title></rect>");
        begin += number / sum;
    }
    html.raw("</svg></figure>");
    html.open_scrollable(&panel.id);
    html.raw("<table><thead><tr>");
    html.element(
        "<th scope=\"col\">",
        panel.buckets.first().map_or("", PanelBucket::label),
        "</th>",
    );
    html.element(
        "<th scope=\"col\" class=\"n\">",
        panel.metrics.first().map_or("", PanelMetric::label),
        "</th>",
    );
    html.raw("<th scope=\"col\" class=\"n\">Share</th></tr></thead><tbody>");
    for ((name, number), fill) in parts.iter().zip(FILLS) {
        html.raw("<tr><th scope=\"row\"><svg class=\"key\" width=\"12\" height=\"12\" aria-hidden=\"true\"><rect width=\"12\" height=\"12\"");
        html.attribute("class", fill);
        html.raw("/></svg> ");
        html.long_text(name, details);
        html.element("</th><td class=\"n\">", value::number(*number), "</td>");
        html.element("<td class=\"n\">", share(number / sum), "</td></tr>");
    }
    html.raw("</tbody></table></div>");
}

/// Returns a share in percent. Only all is 100 %, and only nothing is 0 %.
fn share(part: f64) -> String {
    match part {
        ..=0.0 => "0 %".to_owned(),
        ..0.001 => "< 0.1 %".to_owned(),
        0.999..1.0 => "> 99.9 %".to_owned(),
        _ => format!("{:.1} %", part * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_do_not_claim_all_or_nothing() {
        for (part, expected) in [
            (0.0, "0 %"),
            (0.000_1, "< 0.1 %"),
            (0.25, "25.0 %"),
            (0.999_9, "> 99.9 %"),
            (1.0, "100.0 %"),
        ] {
            assert_eq!(share(part), expected);
        }
    }
}
