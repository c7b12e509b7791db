//! A panel: its question, and the answer in the form that suits it.
//!
//! Input: a panel and its answer. Output: HTML.

use super::super::{
    answer::PanelAnswer,
    definition::{Chart, Dashboard, Panel, PanelBucket},
};
use super::{Page, PageData, bars, heatmap, html::Html, limits::Details, share, table, tiles};
use crate::report::format::plural;

/// The classes of panels, and the widths in rem that the style sheet gives them at least, if the screen has room for it.
const WIDTHS: [(&str, f64); 5] =
    [("narrow", 24.0), ("compact", 28.0), ("medium", 31.0), ("wide", 38.0), ("wider", 44.0)];

/// What the sides of a panel take of its width.
const PADDING: f64 = 1.875;

/// Writes a panel of a dashboard.
pub(super) fn write(
    page: &Page<'_>,
    dashboard: &Dashboard,
    panel: &Panel,
    details: Details,
    html: &mut Html,
) {
    let noun = dashboard.data.noun();
    let found = page.answer(panel).zip(page.data(dashboard.data));
    html.raw("<section");
    let kind = match found {
        Some((answer, _)) if !answer.rows.is_empty() => width(panel, answer, details),
        _ => "empty",
    };
    html.attribute("class", format_args!("panel {kind}"));
    html.attribute("id", &panel.id);
    html.attribute("aria-labelledby", format_args!("{}-title", panel.id));
    html.raw("><header><h3");
    html.attribute("id", format_args!("{}-title", panel.id));
    html.element(">", &panel.title, "</h3>");
    match found {
        Some((answer, data)) => {
            html.element("<p>", plural(answer.documents, noun), "</p></header>");
            write_answer(panel, answer, data, details, html);
        }
        None => html.element("</header><p>No such ", noun, "s.</p>"),
    }
    write_query(panel, html);
    html.raw("</section>");
}

fn write_answer(
    panel: &Panel,
    answer: &PanelAnswer,
    data: &PageData,
    details: Details,
    html: &mut Html,
) {
    if answer.rows.is_empty() {
        let labels: Vec<&str> = panel.buckets.iter().map(PanelBucket::label).collect();
        html.raw("<p class=\"note\">None of them has all of the fields that they are grouped by: ");
        html.element("", labels.join(", "), ".</p>");
        return;
    }
    match panel.chart {
        Chart::Numbers => tiles::write(panel, answer, html),
        Chart::Bars => bars::write(panel, answer, data, details, html),
        Chart::Ranking => table::write_ranking(panel, answer, details, html),
        Chart::Heatmap => heatmap::write(panel, answer, details, html),
        Chart::Pie => share::write(panel, answer, details, html),
        Chart::Table => table::write(panel, answer, details, html),
    }
    if answer.is_incomplete {
        html.raw("<p class=\"note\">There are more groups than are counted: rare ones may be missing, and numbers may be too low.</p>");
    }
}

/// Writes the query, which also works in Kibana and OpenSearch Dashboards.
fn write_query(panel: &Panel, html: &mut Html) {
    if !panel.query.is_empty() {
        html.element(
            "<details class=\"query\"><summary>Query</summary><code>",
            &panel.query,
            "</code></details>",
        );
    }
}

/// Returns the class of the least width in which the answer is readable.
fn width(panel: &Panel, answer: &PanelAnswer, details: Details) -> &'static str {
    let needed = match panel.chart {
        Chart::Numbers => f64::INFINITY,
        Chart::Heatmap => heatmap::width(answer, details),
        Chart::Table => table::width(panel, answer, details),
        Chart::Bars | Chart::Ranking | Chart::Pie => 0.0,
    };
    let class = WIDTHS.into_iter().find(|(_, width)| needed + PADDING <= *width);
    class.map_or("full", |(class, _)| class)
}
