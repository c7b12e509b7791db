//! Lists and tables: services, operations, and one row per field.
//!
//! Input: names, or an answer. Output: names as JSON, YAML or lines; tables with aligned columns or in Markdown.

use std::io::Write;

use console::measure_text_width;
use serde_json::Value;

use super::{
    PrintError, SchemaFormat,
    answer::Answer,
    catalog::Catalog,
    question::ServiceOperations,
    view::{FieldCache, FieldView, Place, range},
};
use crate::{
    normalize::Rules,
    report::terminal::{escape_unprintable, escape_unprintable_json, push_blanks, push_printable},
    schema::{fields::Next, names, only_reads, records},
};

/// Prints all services.
pub(super) fn print_services(
    catalog: &Catalog,
    format: SchemaFormat,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    let entries = catalog.entries();
    let mut rows = Vec::new();
    for entry in &entries {
        let info = entry.info();
        rows.push(vec![
            info.id.to_string(),
            info.event_source(),
            catalog.operations(*entry)?.len().to_string(),
            info.api_version.to_string(),
        ]);
    }
    for source in catalog.sources_without_api() {
        let events = records::events(source).count().to_string();
        rows.push(vec![
            source.to_owned(),
            format!("{source}.amazonaws.com"),
            events,
            String::new(),
        ]);
    }
    rows.sort();
    match format {
        SchemaFormat::Table | SchemaFormat::Markdown => {
            let heads = ["service", "eventSource", "operations", "API version"];
            print_rows(&heads, &rows, format, out)
        }
        _ => print_names(rows.into_iter().filter_map(|row| row.into_iter().next()), format, out),
    }
}

/// Prints operations with what is known about their events.
pub(super) fn print_operations(
    catalog: &Catalog,
    found: &[ServiceOperations<'_>],
    format: SchemaFormat,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    let mut rows = Vec::new();
    for operations in found {
        if let Some(entry) = operations.entry {
            let service = catalog.service(entry)?;
            for name in &operations.names {
                let Some(operation) = service.operation(name) else { continue };
                let reads = only_reads(&service.info.event_source, name);
                rows.push(vec![
                    format!("{}.{name}", service.info.id),
                    names::event_names(&service.info, operation).join(", "),
                    if reads { "reads" } else { "writes" }.to_owned(),
                    operation.method.to_string(),
                    operation.uri.to_string(),
                ]);
            }
        }
        for event in &operations.events {
            let name = format!("{}.{}", operations.id, event.name);
            let cells = [event.name, event.event_type, "", ""].map(str::to_owned);
            rows.push(std::iter::once(name).chain(cells).collect());
        }
    }
    let heads = ["operation", "eventName", "access", "method", "URI"];
    print_rows(&heads, &rows, format, out)
}

/// Prints names: one per line, or as a list.
pub(super) fn print_names(
    names: impl Iterator<Item = String>,
    format: SchemaFormat,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    match format {
        SchemaFormat::Json => {
            let names: Value = names.map(Value::from).collect();
            writeln!(out, "{}", escape_unprintable_json(&format!("{names:#}")))?;
        }
        SchemaFormat::Yaml | SchemaFormat::Markdown => {
            for name in names {
                writeln!(out, "- {}", escape_unprintable(&name))?;
            }
        }
        SchemaFormat::Tree | SchemaFormat::Table => {
            for name in names {
                writeln!(out, "{}", escape_unprintable(&name))?;
            }
        }
    }
    Ok(())
}

/// Prints rows that fit in memory.
pub(super) fn print_rows(
    heads: &[&str],
    rows: &[Vec<String>],
    format: SchemaFormat,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let mut table = Columns::new(format == SchemaFormat::Markdown);
    table.measure(&heads);
    for row in rows {
        table.measure(row);
    }
    table.print_heads(&heads, out)?;
    for row in rows {
        table.print(row, out)?;
    }
    Ok(())
}

/// Prints the fields of an answer as aligned rows.
pub(super) fn print_table(
    answer: &Answer<'_>,
    rules: &Rules,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    print_fields(answer, rules, SchemaFormat::Table, out)
}

/// Prints the fields of an answer as a table in Markdown.
pub(super) fn print_markdown(
    answer: &Answer<'_>,
    rules: &Rules,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    if let Some(description) = &answer.description {
        writeln!(out, "{}\n", escape_unprintable(description))?;
    }
    print_fields(answer, rules, SchemaFormat::Markdown, out)
}

fn print_fields(
    answer: &Answer<'_>,
    rules: &Rules,
    format: SchemaFormat,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    let markdown = format == SchemaFormat::Markdown;
    let heads =
        ["field", "type", "required", "constraints", "path in CloudTrail", "field in the index"];
    let mut heads: Vec<String> = heads.map(str::to_owned).to_vec();
    if answer.observed.is_some() {
        heads.extend(["events", "example"].map(str::to_owned));
    }
    for (number, section) in answer.sections.iter().enumerate() {
        let cache = FieldCache::new();
        let mut table = Columns::new(markdown);
        table.measure(&heads);
        let mut cells = Vec::new();
        if !markdown {
            answer.visit(section, rules, &mut |place, view| {
                if let Some(view) = view {
                    fill_row(&mut cells, place, view, &cache);
                    table.measure(&cells);
                }
                if table.is_widest() { Next::Stop } else { Next::Below }
            });
        }
        if number > 0 {
            writeln!(out)?;
        }
        if answer.sections.len() > 1 {
            let mark = if markdown { "### " } else { "" };
            writeln!(out, "{mark}{}", section.record_member)?;
            if markdown {
                writeln!(out)?;
            }
        }
        table.print_heads(&heads, out)?;
        let mut result = Ok(());
        answer.visit(section, rules, &mut |place, view| {
            let Some(view) = view else { return Next::Below };
            fill_row(&mut cells, place, view, &cache);
            result = table.print(&cells, out);
            if result.is_ok() { Next::Below } else { Next::Stop }
        });
        result?;
    }
    Ok(())
}

/// Cells that are the same wherever a field occurs: type, whether it is required, and constraints.
type FixedCells = [String; 3];

/// Returns the cells that are the same wherever a field occurs.
fn fixed_cells(place: Place<'_, '_>, view: &FieldView<'_, '_>) -> FixedCells {
    let field = view.field;
    let shape = field.shape(place.service());
    let mut constraints: Vec<String> = Vec::new();
    constraints.extend(shape.and_then(range));
    constraints.extend(shape.and_then(|shape| shape.pattern.as_deref()).map(str::to_owned));
    constraints.extend(
        shape.map(|shape| shape.enumeration.join(" | ")).filter(|values| !values.is_empty()),
    );
    let marks = [("JSON as text", view.facts.json_text), ("parsed JSON", view.facts.parsed_json)];
    constraints.extend(marks.iter().filter(|(_, set)| *set).map(|(mark, _)| (*mark).to_owned()));
    let required = field.member().is_some_and(|member| member.flags.required);
    let required = if required { "yes" } else { "" };
    [place.type_name(field).to_owned(), required.to_owned(), constraints.join(", ")]
}

/// Fills the cells of a field, whose memory is reused.
fn fill_row(
    cells: &mut Vec<String>,
    place: Place<'_, '_>,
    view: &FieldView<'_, '_>,
    cache: &FieldCache<FixedCells>,
) {
    let observed = view.observed(place);
    cells.resize(if observed.is_some() { 8 } else { 6 }, String::new());
    cells.iter_mut().for_each(String::clear);
    cells[0].push_str(view.path);
    let fixed = cache.get(view.field, || fixed_cells(place, view));
    for (cell, text) in cells[1..4].iter_mut().zip(&*fixed) {
        cell.push_str(text);
    }
    for (mark, is_set) in [("recursive", view.recursive), ("may be hidden", view.may_be_hidden)] {
        if is_set {
            join(&mut cells[3], ", ", mark);
        }
    }
    let mut last_field = "";
    for spelled in view.spelled {
        join(&mut cells[4], " or ", &spelled.path);
        let field = if spelled.index.is_mapped { &spelled.index.path } else { UNMAPPED };
        if field != last_field {
            join(&mut cells[5], " or ", field);
            if spelled.index.is_mapped {
                let mapping = place.mapping_type(spelled, *view.facts);
                cells[5].extend([" (", mapping, ")"]);
            }
        }
        last_field = field;
    }
    if let Some(observed) = observed {
        cells[6] = observed.events.to_string();
        cells[7] = observed.example.unwrap_or_default();
    }
}

/// The field of the index that holds what has no field of its own.
const UNMAPPED: &str = "trailload.unmapped";

fn join(text: &mut String, separator: &str, next: &str) {
    if !text.is_empty() {
        text.push_str(separator);
    }
    text.push_str(next);
}

/// The widths at which further fields change nothing: of field, type, required, constraints and path.
const WIDEST: [usize; 5] = [WIDEST_CELL, "structure".len(), 0, WIDEST_CELL, WIDEST_CELL];

/// Columns of a table.
struct Columns {
    is_markdown: bool,
    widths: Vec<usize>,
    line: String,
}

/// Columns of a cell that are aligned at most; a longer cell pushes the following to the right.
const WIDEST_CELL: usize = 60;

impl Columns {
    fn new(is_markdown: bool) -> Self {
        Self { is_markdown, widths: Vec::new(), line: String::new() }
    }

    fn measure(&mut self, row: &[String]) {
        self.widths.resize(row.len().max(self.widths.len()), 0);
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(columns(cell).min(WIDEST_CELL));
        }
    }

    /// Returns whether no further field can change the widths.
    fn is_widest(&self) -> bool {
        self.widths.iter().zip(WIDEST).all(|(width, widest)| *width >= widest)
    }

    fn print_heads(&mut self, heads: &[String], out: &mut dyn Write) -> Result<(), PrintError> {
        self.print(heads, out)?;
        if self.is_markdown {
            writeln!(out, "|{}", "---|".repeat(heads.len()))?;
        }
        Ok(())
    }

    fn print(&mut self, row: &[String], out: &mut dyn Write) -> Result<(), PrintError> {
        self.line.clear();
        if self.is_markdown {
            self.line.push('|');
            for cell in row {
                self.line.push(' ');
                push_markdown(&mut self.line, cell);
                self.line.push_str(" |");
            }
        } else {
            let used = row.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
            for (number, (cell, width)) in row[..used].iter().zip(&self.widths).enumerate() {
                let start = self.line.len();
                push_printable(&mut self.line, cell);
                if number + 1 < used {
                    let columns = columns(&self.line[start..]);
                    push_blanks(&mut self.line, (width + 2).saturating_sub(columns).max(2));
                }
            }
        }
        self.line.push('\n');
        out.write_all(self.line.as_bytes())?;
        Ok(())
    }
}

/// Returns whether Markdown would take a byte for emphasis, a link, code, HTML or the end of a cell.
fn is_markup(byte: u8) -> bool {
    matches!(byte, b'|' | b'\\' | b'<' | b'`' | b'*' | b'_' | b'[')
}

/// Appends a cell of a table in Markdown.
fn push_markdown(line: &mut String, cell: &str) {
    let start = line.len();
    push_printable(line, cell);
    // Every byte is looked at, so that the compiler takes many in one step.
    if line.as_bytes()[start..].iter().fold(false, |any, byte| any | is_markup(*byte)) {
        let text = line.split_off(start);
        for letter in text.chars() {
            if u8::try_from(letter).is_ok_and(is_markup) {
                line.push('\\');
            }
            line.push(letter);
        }
    }
}

/// Returns the columns that a text takes.
fn columns(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { measure_text_width(text) }
}
