//! The latest documents: a panel with the fields that lists of them show everywhere.
//!
//! Input: documents. Output: HTML.

use serde_json::Value;

use super::super::definition::{Data, DataView, TIME_FIELD};
use super::{MAX_LATEST, PageData, html::Html, limits::Details, table, value};

/// Writes the panel.
pub(super) fn write(view: &DataView, data: &PageData, details: Details, html: &mut Html) {
    let name = format!("{}-latest", view.data.name());
    html.raw("<section class=\"panel full\"");
    html.attribute("id", &name);
    html.attribute("aria-labelledby", format_args!("{name}-title"));
    html.raw("><header><h3");
    html.attribute("id", format_args!("{name}-title"));
    html.element(">Which ", view.data.noun(), "s came last?</h3></header>");
    let shown = data.latest.len().min(MAX_LATEST).min(details.rows);
    write_table(view, &name, &data.latest[..shown], details, html);
    table::write_fold(shown, html);
    html.raw("</section>");
}

fn write_table(
    view: &DataView,
    name: &str,
    documents: &[Value],
    details: Details,
    html: &mut Html,
) {
    table::write_start(name, documents.len(), html);
    html.raw("<thead><tr><th scope=\"col\" class=\"t\">Time</th>");
    for field in &view.search.columns {
        html.element("<th scope=\"col\">", field, "</th>");
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
    let text = match found {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => value::visible(text).to_owned(),
        Some(other) => other.to_string(),
    };
    // The digits of events are names, such as those of accounts.
    match text.parse::<f64>() {
        Ok(number) if data == Data::Runs => {
            html.element("<td class=\"n\">", value::number(number), "</td>");
        }
        _ => {
            html.raw("<td>");
            html.long_text(&text, details);
            html.raw("</td>");
        }
    }
}
