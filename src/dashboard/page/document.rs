//! The frame of a page: head, navigation, and a section for each dashboard.
//!
//! Input: a [`Page`]. Output: HTML.
//! Invariant: the only style sheet is the one of this program, which the policy names by its hash; nothing is loaded or run.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};

use super::super::definition::{Dashboard, Data, Panel};
use super::{
    Page, PageData, bars,
    html::{Html, beginning},
    latest,
    limits::Details,
    panel, value,
};
use crate::report::format::count;

/// The style sheet.
const STYLE: &str = include_str!("style.css");

/// The icon, so that browsers do not ask a server for one.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%230b62a8' \
                    d='M1 9h3v6H1zM6 4h4v11H6zM12 1h3v14h-3z'/%3E%3C/svg%3E";

/// Writes the page.
pub(super) fn write(page: &Page<'_>, details: Details, html: &mut Html) {
    write_head(page, details, html);
    html.raw("<body><a class=\"skip\" href=\"#main\">Skip to the dashboards</a>");
    bars::write_patterns(html);
    write_header(page, details, html);
    write_navigation(page, html);
    html.raw("<main id=\"main\">");
    for dashboard in &page.dashboards.dashboards {
        write_dashboard(page, dashboard, details, html);
    }
    html.raw("</main>");
    write_footer(page, html);
    html.raw("</body></html>\n");
}

fn write_head(page: &Page<'_>, details: Details, html: &mut Html) {
    html.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\"");
    html.attribute("content", content_security_policy());
    html.raw("><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    html.raw("<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"referrer\" content=\"no-referrer\">");
    let source = beginning(&page.source, details.shown);
    html.element("<title>CloudTrail: ", source, "</title><link rel=\"icon\"");
    html.attribute("href", ICON);
    html.raw("><style>");
    html.raw(STYLE);
    html.raw("</style></head>");
}

/// Returns the policy that lets nothing be loaded or run, and no style sheet be used except for that of this file.
fn content_security_policy() -> String {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
}

fn write_header(page: &Page<'_>, details: Details, html: &mut Html) {
    html.raw("<header class=\"page\"><h1>CloudTrail report</h1><p>");
    for data in page.data.iter().filter(|data| data.data == Data::Events) {
        write_range(data, html);
        html.raw(", from ");
    }
    html.raw("<b>");
    html.long_text(&page.source, details);
    html.raw("</b></p>");
    if !page.notes.is_empty() {
        html.raw("<aside aria-label=\"Notes\"><ul>");
        for note in &page.notes {
            html.raw("<li>");
            html.long_text(note, details);
            html.raw("</li>");
        }
        html.raw("</ul></aside>");
    }
    html.raw("</header>");
}

/// Writes how many documents there are, and from when.
fn write_range(data: &PageData, html: &mut Html) {
    html.element("<b>", count(data.documents), "</b> ");
    html.text(data.data.noun());
    if data.documents != 1 {
        html.raw("s");
    }
    if let Some((first, last)) = data.range {
        html.element(" from ", value::time(first), " to ");
        html.element("", value::time(last), " UTC");
    }
}

fn write_navigation(page: &Page<'_>, html: &mut Html) {
    html.raw("<nav aria-label=\"Dashboards\"><ul>");
    for dashboard in &page.dashboards.dashboards {
        html.raw("<li><a");
        html.attribute("href", format_args!("#{}", dashboard.id));
        html.element(">", value::capitalized(&dashboard.name), "<small>");
        html.element("", &dashboard.question, "</small></a></li>");
    }
    html.raw("</ul></nav>");
}

fn write_dashboard(page: &Page<'_>, dashboard: &Dashboard, details: Details, html: &mut Html) {
    html.raw("<section class=\"dashboard\"");
    html.attribute("id", &dashboard.id);
    html.attribute("aria-labelledby", format_args!("{}-title", dashboard.id));
    html.raw("><header><h2");
    html.attribute("id", format_args!("{}-title", dashboard.id));
    html.element(">", value::capitalized(&dashboard.name), "</h2>");
    html.element("<p>", &dashboard.question, "</p></header>");
    if page.data(dashboard.data).is_none() {
        html.raw("<p class=\"note\">Documents about loads are in an engine, and this page was not made from one.</p>");
    }
    html.raw("<div class=\"panels\">");
    // Those without rows are small, and fill lines of their own at the end.
    let has_rows =
        |panel: &&Panel| page.answer(panel).is_some_and(|answer| !answer.rows.is_empty());
    let (full, empty): (Vec<_>, Vec<_>) = dashboard.panels.iter().partition(has_rows);
    for panel in full {
        panel::write(page, dashboard, panel, details, html);
    }
    write_latest(page, dashboard, details, html);
    html.raw("</div>");
    if !empty.is_empty() {
        html.raw("<div class=\"panels\">");
        for panel in empty {
            panel::write(page, dashboard, panel, details, html);
        }
        html.raw("</div>");
    }
    html.raw("</section>");
}

/// Writes the latest documents at the end of the first dashboard about their kind.
fn write_latest(page: &Page<'_>, dashboard: &Dashboard, details: Details, html: &mut Html) {
    let dashboards = &page.dashboards;
    let first = dashboards.dashboards.iter().find(|other| other.data == dashboard.data);
    let data = page.data(dashboard.data).filter(|data| !data.latest.is_empty());
    let (Some(first), Some(data)) = (first, data) else { return };
    if first.id != dashboard.id {
        return;
    }
    latest::write(dashboards, data, details, html);
}

fn write_footer(page: &Page<'_>, html: &mut Html) {
    let created = i64::try_from(page.created.as_millis()).unwrap_or(i64::MAX);
    html.element("<footer><p>Made on ", value::time(created), " by trailload ");
    html.element("", env!("CARGO_PKG_VERSION"), ". All times are in UTC. ");
    html.raw("Engines estimate numbers of different values. A query can be pasted into Kibana and OpenSearch Dashboards.</p></footer>");
}
