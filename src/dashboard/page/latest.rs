//! The latest documents: a panel with the fields that lists of them show everywhere.
//!
//! Input: documents. Output: HTML.

use std::borrow::Cow;

use serde_json::Value;

use super::super::definition::{Dashboards, Data, DataView, TIME_FIELD};
use super::{MAX_LATEST, PageData, html::Html, limits::Details, table, value};

/// A column of the list.
struct Column<'v> {
    field: &'v str,
    label: String,
    is_number: bool,
}

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
    let columns = view.search.columns.iter().map(|field| Column {
        field,
        label: label(dashboards, view, field),
        is_number: is_number(field, data),
    });
    let columns: Vec<Column<'_>> = columns.collect();
    table::write_start(&name, shown, html);
    write_head(&columns, html);
    html.raw("<tbody>");
    for document in &data.latest[..shown] {
        write_row(&columns, document, details, html);
    }
    html.raw("</tbody></table></div>");
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

fn write_head(columns: &[Column<'_>], html: &mut Html) {
    html.raw("<thead><tr><th scope=\"col\" class=\"t\">Time</th>");
    for column in columns {
        html.raw(if column.is_number {
            "<th scope=\"col\" class=\"n\">"
        } else {
            "<th scope=\"col\">"
        });
        html.element("", &column.label, "</th>");
    }
    html.raw("</tr></thead>");
}

fn write_row(columns: &[Column<'_>], document: &Value, details: Details, html: &mut Html) {
    html.raw("<tr>");
    let time = field(document, TIME_FIELD).and_then(Value::as_str);
    match time.and_then(|time| time.parse::<jiff::Timestamp>().ok()) {
        Some(time) => table::write_time(time.as_millisecond(), html),
        None => html.raw("<td></td>"),
    }
    for column in columns {
        write_cell(column, field(document, column.field), details, html);
    }
    html.raw("</tr>");
}

/// Returns whether a field is a number in all documents that have it. The digits of events are names, such as those of accounts.
fn is_number(name: &str, data: &PageData) -> bool {
    let values = || data.latest.iter().filter_map(|document| field(document, name));
    data.data == Data::Runs
        && values().next().is_some()
        && values().all(|value| number(value).is_some())
}

/// Returns a number, whether it is one or the text of one: engines are asked for texts.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// Returns the value of a field, whether its parts are objects or it is one name with dots.
fn field<'v>(document: &'v Value, path: &str) -> Option<&'v Value> {
    document.get(path).or_else(|| path.split('.').try_fold(document, |value, key| value.get(key)))
}

fn write_cell(column: &Column<'_>, found: Option<&Value>, details: Details, html: &mut Html) {
    if column.is_number {
        let number = found.and_then(number).map_or_else(String::new, value::number);
        html.element("<td class=\"n\">", number, "</td>");
        return;
    }
    let shown = match found {
        None | Some(Value::Null) => String::new(),
        Some(Value::Array(values)) => {
            let texts: Vec<Cow<'_, str>> = values.iter().map(text).collect();
            texts.join(", ")
        }
        Some(value) => text(value).into_owned(),
    };
    html.raw("<td>");
    html.long_text(&shown, details);
    html.raw("</td>");
}

/// Returns a value as people read it.
fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => value::visible(text).into(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::{super::time_scale::TimeScale, Page};
    use super::*;

    fn list(data: Data, documents: &[Value]) -> String {
        let dashboards = Dashboards::embedded().unwrap();
        let page = Page {
            dashboards: &dashboards,
            source: String::new(),
            created: Duration::ZERO,
            data: vec![PageData {
                data,
                documents: 1,
                range: None,
                scale: TimeScale::Day,
                latest: documents.to_vec(),
            }],
            answers: Vec::new(),
            notes: Vec::new(),
        };
        let html = page.to_html();
        let (_, list) = html.split_once("came last?").unwrap();
        list.split_once("</section>").unwrap().0.to_owned()
    }

    #[test]
    fn numbers_of_runs_are_numbers_and_those_of_events_are_names() {
        let run = |read: Value| json!({ "read": read, "command": "load", "sources": ["a", "b"] });
        for read in [json!(1_234), json!("1234")] {
            let list = list(Data::Runs, &[run(read), json!({ "command": "retry" })]);
            for part in [
                "<th scope=\"col\" class=\"n\">Read</th>",
                "<td class=\"n\">1,234</td>",
                "<td class=\"n\"></td>",
                "<th scope=\"col\">Command</th>",
                "<td><bdi>a, b</bdi></td>",
            ] {
                assert!(list.contains(part), "{part} is not in {list}");
            }
        }
        let list = list(Data::Events, &[json!({ "recipientAccountId": "123456789012" })]);
        for part in ["<th scope=\"col\">Account</th>", "<td><bdi>123456789012</bdi></td>"] {
            assert!(list.contains(part), "{part} is not in {list}");
        }
    }
}
