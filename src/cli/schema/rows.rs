//! Lists and tables: services, operations, and one row per field.
//!
//! Input: names, or an answer. Output: names as JSON, YAML or lines; tables with aligned columns or in Markdown.

use std::{cell::RefCell, io::Write};

use console::measure_text_width;
use serde_json::Value;

use super::{
    PrintError, SchemaFormat,
    answer::Answer,
    catalog::Catalog,
    question::ServiceOperations,
    view::{FieldView, Place, range},
};
use crate::{
    normalize::Rules,
    report::terminal::{escape_unprintable, escape_unprintable_json},
    schema::{names, only_reads, records},
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
        let mut table = Columns::new(markdown);
        table.measure(&heads);
        if !markdown {
            answer.visit(section, rules, &mut |place, view| {
                if let Some(view) = view {
                    table.measure(&row(place, view));
                }
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
        let result = RefCell::new(Ok(()));
        answer.visit(section, rules, &mut |place, view| {
            let Some(view) = view else { return };
            let mut result = result.borrow_mut();
            if result.is_ok() {
                *result = table.print(&row(place, view), out);
            }
        });
        result.into_inner()?;
    }
    Ok(())
}

/// Returns the cells of a field.
fn row(place: Place<'_>, view: &FieldView<'_>) -> Vec<String> {
    let field = view.field;
    let shape = field.shape(place.service);
    let mut constraints: Vec<String> = Vec::new();
    constraints.extend(shape.and_then(range));
    constraints.extend(shape.and_then(|shape| shape.pattern.as_deref()).map(str::to_owned));
    constraints.extend(
        shape.map(|shape| shape.enumeration.join(" | ")).filter(|values| !values.is_empty()),
    );
    let marks = [
        ("recursive", field.recursive),
        ("may be hidden", view.may_be_hidden),
        ("JSON as text", view.json_text),
        ("parsed JSON", view.parsed_json),
    ];
    constraints.extend(marks.iter().filter(|(_, set)| *set).map(|(mark, _)| (*mark).to_owned()));
    let paths: Vec<&str> = view.spelled.iter().map(|spelled| spelled.path.as_str()).collect();
    let fields = view.spelled.iter().map(|spelled| {
        if spelled.index.is_mapped {
            format!("{} ({})", spelled.index.path, place.mapping_type(spelled, field))
        } else {
            "trailload.unmapped".to_owned()
        }
    });
    let mut fields: Vec<String> = fields.collect();
    fields.dedup();
    let required = field.member().is_some_and(|member| member.flags.required);
    let mut cells = vec![
        view.path.clone(),
        place.type_name(field).to_owned(),
        if required { "yes" } else { "" }.to_owned(),
        constraints.join(", "),
        paths.join(" or "),
        fields.join(" or "),
    ];
    if let Some(observed) = view.observed(place) {
        cells.extend([observed.events.to_string(), observed.example.unwrap_or_default()]);
    }
    cells
}

/// Columns of a table.
struct Columns {
    is_markdown: bool,
    widths: Vec<usize>,
}

/// Columns of a cell that are aligned at most; a longer cell pushes the following to the right.
const WIDEST_CELL: usize = 60;

impl Columns {
    fn new(is_markdown: bool) -> Self {
        Self { is_markdown, widths: Vec::new() }
    }

    fn measure(&mut self, row: &[String]) {
        self.widths.resize(row.len().max(self.widths.len()), 0);
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(measure_text_width(cell).min(WIDEST_CELL));
        }
    }

    fn print_heads(&self, heads: &[String], out: &mut dyn Write) -> Result<(), PrintError> {
        self.print(heads, out)?;
        if self.is_markdown {
            writeln!(out, "|{}", "---|".repeat(heads.len()))?;
        }
        Ok(())
    }

    fn print(&self, row: &[String], out: &mut dyn Write) -> Result<(), PrintError> {
        if self.is_markdown {
            let cells = row.iter().map(|cell| escape_unprintable(cell).replace('|', "\\|"));
            writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "))?;
            return Ok(());
        }
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&self.widths) {
            let cell = escape_unprintable(cell);
            line.push_str(&cell);
            let gap = (width + 2).saturating_sub(measure_text_width(&cell)).max(2);
            line.extend(std::iter::repeat_n(' ', gap));
        }
        writeln!(out, "{}", line.trim_end())?;
        Ok(())
    }
}
