//! Renders one event as the bytes of a line.
//!
//! Input: an event as original bytes and as parsed JSON. Output: bytes without the line break at their end.
//! Runs on the worker threads, so that many events are rendered at the same time.

use serde_json::{Map, Value};

use super::{
    field::FieldList,
    separated::{CellKind, Separator},
    single_line::write_single_line,
    style::{EventFormat, OutputStyle},
    table::TableLayout,
};
use crate::report::terminal::{escape_unprintable, escape_unprintable_json};

/// Renders events.
#[derive(Clone, Debug)]
pub struct EventRenderer {
    content: EventContent,
    is_displayed: bool,
}

/// What of an event is printed.
#[derive(Clone, Debug)]
enum EventContent {
    Original,
    Selected(FieldList),
    Separated(Separator, FieldList),
    Table(TableLayout),
}

impl EventRenderer {
    /// Returns a renderer.
    pub fn new(style: &OutputStyle) -> Self {
        let content = match (style.format, &style.fields) {
            (EventFormat::Ndjson | EventFormat::Json, None) => EventContent::Original,
            (EventFormat::Ndjson | EventFormat::Json, Some(fields)) => {
                EventContent::Selected(fields.clone())
            }
            (EventFormat::Csv, _) => {
                EventContent::Separated(Separator::Comma, style.separated_columns())
            }
            (EventFormat::Tsv, _) => {
                EventContent::Separated(Separator::Tab, style.separated_columns())
            }
            (EventFormat::Table, _) => EventContent::Table(style.table_layout()),
        };
        Self { content, is_displayed: style.is_displayed() }
    }

    /// Returns whether events have to be parsed to be rendered.
    pub fn needs_parsed(&self) -> bool {
        !matches!(self.content, EventContent::Original)
    }

    /// Appends an event. `parsed` is not used unless [`Self::needs_parsed`].
    pub fn render(&self, record: &[u8], parsed: &Value, out: &mut Vec<u8>) {
        match &self.content {
            EventContent::Original if self.is_displayed => {
                let mut line = Vec::with_capacity(record.len());
                write_single_line(record, &mut line);
                out.extend_from_slice(
                    escape_unprintable_json(&String::from_utf8_lossy(&line)).as_bytes(),
                );
            }
            EventContent::Original => write_single_line(record, out),
            EventContent::Selected(fields) => {
                let members =
                    fields.iter().map(|field| (field.name().to_owned(), field.json(parsed)));
                let line = Value::Object(members.collect::<Map<_, _>>()).to_string();
                let line = if self.is_displayed { escape_unprintable_json(&line) } else { line };
                out.extend_from_slice(line.as_bytes());
            }
            EventContent::Separated(separator, fields) => {
                let cells = fields.iter().map(|field| {
                    let text = field.text(parsed);
                    let text =
                        if self.is_displayed { escape_unprintable(&text).into() } else { text };
                    let is_number = field.is_number(parsed);
                    (text, if is_number { CellKind::Number } else { CellKind::Text })
                });
                separator.write_line(cells, out);
            }
            EventContent::Table(layout) => layout.write_row(parsed, out),
        }
    }

    /// Appends the line that precedes the events; nothing if the format has none.
    pub(super) fn render_header(&self, out: &mut Vec<u8>) {
        match &self.content {
            EventContent::Original | EventContent::Selected(_) => {}
            EventContent::Separated(separator, fields) => {
                let names = fields
                    .iter()
                    .map(|field| (escape_unprintable(field.name()).into(), CellKind::Text));
                separator.write_line(names, out);
            }
            EventContent::Table(layout) => layout.write_header(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::terminal::{Color, Terminal};

    fn rendered(
        format: EventFormat,
        fields: Option<&str>,
        columns: Option<usize>,
        event: &Value,
    ) -> String {
        let terminal = Terminal { columns, color: Color::Never };
        let fields = fields.map(|fields| fields.parse().unwrap());
        let renderer = EventRenderer::new(&OutputStyle { format, fields, terminal });
        let mut out = Vec::new();
        renderer.render(event.to_string().as_bytes(), event, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn original_bytes_stay_unless_they_would_steer_a_terminal() {
        let event = json!({"a": "\u{9b}31m\u{202e}é", "b": 1.50});
        let text = event.to_string();
        assert_eq!(rendered(EventFormat::Ndjson, None, None, &event), text);
        let shown = rendered(EventFormat::Ndjson, None, Some(80), &event);
        assert_eq!(shown, r#"{"a":"\u009b31m\u202eé","b":1.5}"#);
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), event);
    }

    #[test]
    fn selected_fields_are_named_as_they_were_selected() {
        let event = json!({"a": {"b": [1, {"c": "x"}]}, "n": null});
        let fields = Some("a.b.1.c,a.b,n,missing,action");
        assert_eq!(
            rendered(EventFormat::Json, fields, None, &event),
            r#"{"a.b.1.c":"x","a.b":[1,{"c":"x"}],"n":null,"missing":null,"action":null}"#
        );
        assert_eq!(rendered(EventFormat::Csv, fields, None, &event), r#"x,"[1,{""c"":""x""}]",,,"#);
        assert_eq!(rendered(EventFormat::Tsv, Some("n,a.b.0"), None, &event), "\t1");
    }

    #[test]
    fn control_characters_are_escaped_on_a_terminal() {
        let event = json!({"eventName": "a\u{1b}[2J\nb"});
        assert_eq!(
            rendered(EventFormat::Csv, Some("eventName"), Some(80), &event),
            r"a\u{1b}[2J\nb"
        );
        assert_eq!(
            rendered(EventFormat::Csv, Some("eventName"), None, &event),
            "\"a\u{1b}[2J\nb\""
        );
        let row = rendered(EventFormat::Table, Some("eventName"), None, &event);
        assert_eq!(row, r"a\u{1b}[2J\nb");
    }
}
