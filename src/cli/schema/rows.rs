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
    structured::write_blocks,
    view::{FieldCache, FieldView, Place, range},
};
use crate::{
    normalize::Rules,
    report::terminal::{
        escape_unprintable, escape_unprintable_json, is_visible_ascii, push_blanks, push_printable,
    },
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
    table.flush(out)
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
        table.flush(out)?;
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
    /// The lines that are not yet written, and the one that is being made.
    lines: String,
    /// For each column, the cell that was escaped last.
    escaped: Vec<MarkdownCell>,
}

/// A cell in Markdown. Most cells start as the one above, as paths do, and are escaped from where they differ.
#[derive(Default)]
struct MarkdownCell {
    /// Visible ASCII.
    text: String,
    escaped: String,
    /// Where backslashes were put in the text.
    marks: Vec<usize>,
}

impl MarkdownCell {
    /// Appends another cell to a line.
    fn push(&mut self, lines: &mut String, cell: &str) {
        let same = common_start(self.text.as_bytes(), cell.as_bytes());
        // The text is ASCII, so this is not within a character.
        let rest = cell.get(same..).unwrap_or_default();
        if !is_visible_ascii(rest) {
            return push_markdown(lines, cell);
        }
        self.marks.truncate(self.marks.partition_point(|mark| *mark < same));
        self.escaped.truncate(same + self.marks.len());
        self.text.truncate(same);
        self.text.push_str(rest);
        let mut copied = 0;
        for (at, byte) in rest.bytes().enumerate() {
            if is_markup(byte) {
                self.marks.push(same + at);
                self.escaped.push_str(&rest[copied..at]);
                self.escaped.push('\\');
                copied = at;
            }
        }
        self.escaped.push_str(&rest[copied..]);
        lines.push_str(&self.escaped);
    }
}

/// Returns how many bytes two texts start with in common, looking at eight in one step.
fn common_start(one: &[u8], other: &[u8]) -> usize {
    let (words, _) = one.as_chunks::<8>();
    let (other_words, _) = other.as_chunks::<8>();
    let equal = words.iter().zip(other_words).take_while(|(one, other)| one == other).count() * 8;
    let rest = one.iter().skip(equal).zip(other.iter().skip(equal));
    equal + rest.take_while(|(one, other)| one == other).count()
}

/// Columns of a cell that are aligned at most; a longer cell pushes the following to the right.
const WIDEST_CELL: usize = 60;

impl Columns {
    fn new(is_markdown: bool) -> Self {
        Self { is_markdown, widths: Vec::new(), lines: String::new(), escaped: Vec::new() }
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
            self.lines.extend(["|", &"---|".repeat(heads.len()), "\n"]);
        }
        Ok(())
    }

    fn print(&mut self, row: &[String], out: &mut dyn Write) -> Result<(), PrintError> {
        if self.is_markdown {
            self.escaped.resize_with(row.len().max(self.escaped.len()), MarkdownCell::default);
            self.lines.push('|');
            for (cell, above) in row.iter().zip(&mut self.escaped) {
                self.lines.push(' ');
                above.push(&mut self.lines, cell);
                self.lines.push_str(" |");
            }
        } else {
            let used = row.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
            for (number, (cell, width)) in row[..used].iter().zip(&self.widths).enumerate() {
                let start = self.lines.len();
                push_printable(&mut self.lines, cell);
                if number + 1 < used {
                    let columns = columns(&self.lines[start..]);
                    push_blanks(&mut self.lines, (width + 2).saturating_sub(columns).max(2));
                }
            }
        }
        self.lines.push('\n');
        Ok(write_blocks(&mut self.lines, out)?)
    }

    fn flush(&mut self, out: &mut dyn Write) -> Result<(), PrintError> {
        out.write_all(self.lines.as_bytes())?;
        self.lines.clear();
        Ok(())
    }
}

/// Returns whether Markdown would take a byte for emphasis, a link, code, HTML or the end of a cell.
fn is_markup(byte: u8) -> bool {
    const MARKUP: [bool; 256] = {
        let mut markup = [false; 256];
        let mut rest: &[u8] = br"|\<`*_[";
        while let [byte, others @ ..] = rest {
            markup[*byte as usize] = true;
            rest = others;
        }
        markup
    };
    MARKUP[usize::from(byte)]
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cell_is_escaped_as_it_would_be_alone(
            cells in prop::collection::vec("[a.\\[\\]|_é\u{202e}]{0,3}a?\\[\\]b{0,9}[_ac]{0,6}", 1..9),
        ) {
            let mut above = MarkdownCell::default();
            for cell in &cells {
                let (mut line, mut alone) = (String::new(), String::new());
                above.push(&mut line, cell);
                push_markdown(&mut alone, cell);
                prop_assert_eq!(line, alone);
            }
        }
    }
}
