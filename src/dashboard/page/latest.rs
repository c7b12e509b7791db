//! The latest documents: a panel with the fields that lists of them show everywhere.
//!
//! Input: documents. Output: HTML.

use std::borrow::Cow;

use serde_json::Value;

use super::super::definition::{Dashboards, Data, DataView, TIME_FIELD};
use super::{MAX_LATEST, PageData, html::Html, limits::Details, table, value};

/// Writes the panel.
pub(super) fn write(dashboards: &Dashboards, data: &PageData, details: Details, html: &mut Html) {
    let Some(view) = dashboards.view(data.data) else { return };
    let name = format!("{}-latest", view.data.name());
    html.raw("<section class=\"panel full list\"");
    html.attribute("id", &name);
    html.attribute("aria-labelledby", format_args!("{name}-title"));
    html.raw("><header><h3");
    html.attribute("id", format_args!("{name}-title"));
    html.element(">Which ", view.data.noun(), "s came last?</h3></header>");
    let shown = data.latest.len().min(MAX_LATEST).min(details.rows);
    let labels = view.search.columns.iter().map(|field| label(dashboards, view, field));
    let labels: Vec<String> = labels.collect();
    write_table(view, &labels, &data.latest[..shown], details, html);
    table::write_fold(shown, html);
    html.raw("</section>");
}

/// Returns what panels and filters call a field.
fn label(dashboards: &Dashboards, view: &DataView, field: &str) -> String {
    if let Some(filter) = view.filters.iter().find(|filter| filter.field == field) {
        return filter.label.clone();
    }
    let panels = dashboards.panels().filter(|(dashboard, _)| dashboard.data == view.data);
    let mut buckets = panels.flat_map(|(_, panel)| &panel.buckets);
    let bucket = buckets.find(|bucket| bucket.field() == Some(field));
    let label = bucket.map_or_else(|| field.replace('_', " "), |bucket| bucket.label().to_owned());
    value::capitalized(&label)
}

fn write_table(
    view: &DataView,
    labels: &[String],
    documents: &[Value],
    details: Details,
    html: &mut Html,
) {
    table::write_start(&format!("{}-latest", view.data.name()), documents.len(), html);
    html.raw("<thead><tr><th scope=\"col\" class=\"t\">Time</th>");
    for label in labels {
        html.element("<th scope=\"col\">", label, "</th>");
    }
    html.raw("</tr></thead><tbody>");
    for document in documents {
        html.raw("<tr>");
        let time = field(document, TIME_FIELD).and_then(Value::as_str);
        match time.and_then(|time| time.parse::<jiff::Timestamp>().ok()) {
            Some(time) => table::write_time(time.as_millisecond(), html),
            None => html.raw("<td></td>"),
        }
        for name in &view.search.columns {
            write_cell(field(document, name), view.data, details, html);
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div>");
}

/// Returns the value of a field, whether its parts are objects or it is one name with dots.
fn field<'v>(document: &'v Value, path: &str) -> Option<&'v Value> {
    document.get(path).or_else(|| path.split('.').try_fold(document, |value, key| value.get(key)))
}

fn write_cell(found: Option<&Value>, data: Data, details: Details, html: &mut Html) {
    let shown = match found {
        None | Some(Value::Null) => String::new(),
        Some(Value::Array(values)) => {
            let texts: Vec<Cow<'_, str>> = values.iter().map(text).collect();
            texts.join(", ")
        }
        Some(value) => text(value).into_owned(),
    };
    // The digits of events are names, such as those of accounts.
    match shown.parse::<f64>() {
        Ok(number) if data == Data::Runs => {
            html.element("<td class=\"n\">", value::number(number), "</td>");
        }
        _ => {
            html.raw("<td>");
            html.long_text(&shown, details);
            html.raw("</td>");
        }
    }
}

/// Returns a value as people read it.
fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => value::visible(text).into(),
        other => other.to_string().into(),
    }
}
