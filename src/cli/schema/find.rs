//! `--find`: operations and fields whose names contain a word.
//!
//! Input: the services of a question, and a word. Output: a line, row or object per hit, as soon as it is found.

use std::io::Write;

use serde_json::json;

use super::{
    PrintError, SchemaFormat,
    catalog::{Catalog, Entry},
    question::Question,
};
use crate::{
    cli::failure::Failure,
    report::terminal::{escape_unprintable, escape_unprintable_json},
    schema::find::{Finder, FoundField, contains},
};

/// Prints what is found in the services of a question.
pub(super) fn print(
    catalog: &Catalog,
    question: &Question<'_>,
    word: &str,
    format: SchemaFormat,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    let asked = word.trim();
    let word = asked.to_ascii_lowercase();
    if word.is_empty() {
        return Err(Failure::usage("'--find' requires a word").into());
    }
    let mut hits = Hits { format, count: 0, out };
    hits.start()?;
    for (entry, only) in services(catalog, question) {
        if !catalog.may_contain(entry, &word)? {
            continue;
        }
        let service = catalog.service(entry)?;
        let finder = Finder::new(&service, &word);
        for operation in &service.operations {
            if only.is_some_and(|only| !only.iter().any(|name| *name == operation.name)) {
                continue;
            }
            let name = format!("{}.{}", service.info.id, operation.name);
            if contains(&operation.name, &word) {
                hits.operation(&name)?;
            }
            for field in finder.fields(operation) {
                hits.field(&name, &field)?;
            }
        }
    }
    hits.finish()?;
    if hits.count == 0 {
        let problem = format!("no operation or field has '{asked}' in its name");
        return Err(Failure::action_required(problem)
            .hint("a part of a name is enough, and case does not matter")
            .into());
    }
    Ok(())
}

/// Returns the services of a question, each with the operations to look at; `None` for all.
fn services<'q, 'c>(
    catalog: &'c Catalog,
    question: &'q Question<'c>,
) -> Vec<(Entry<'c>, Option<&'q [String]>)> {
    match question {
        Question::Operations(found) => {
            let known =
                found.iter().filter_map(|one| Some((one.entry?, Some(one.names.as_slice()))));
            known.collect()
        }
        Question::Operation(one) => vec![(one.entry, Some(std::slice::from_ref(&one.name)))],
        Question::Services | Question::Event(_) => {
            catalog.entries().into_iter().map(|entry| (entry, None)).collect()
        }
    }
}

/// Writer of hits.
struct Hits<'w> {
    format: SchemaFormat,
    count: usize,
    out: &'w mut dyn Write,
}

impl Hits<'_> {
    fn start(&mut self) -> Result<(), PrintError> {
        match self.format {
            SchemaFormat::Json => write!(self.out, "[")?,
            SchemaFormat::Markdown => {
                writeln!(self.out, "| operation | field | path in CloudTrail |\n|---|---|---|")?;
            }
            _ => {}
        }
        Ok(())
    }

    fn operation(&mut self, name: &str) -> Result<(), PrintError> {
        self.hit(name, "", "")
    }

    fn field(&mut self, operation: &str, field: &FoundField) -> Result<(), PrintError> {
        let member = field.side.record_member();
        let paths = field.spellings.iter().map(|spelling| format!("{member}.{}", spelling.path));
        let operation = format!("{operation}.{}", field.side.name());
        self.hit(&operation, &field.path, &paths.collect::<Vec<_>>().join(" or "))
    }

    fn hit(&mut self, operation: &str, field: &str, path: &str) -> Result<(), PrintError> {
        self.count += 1;
        let cells = [operation, field, path].map(escape_unprintable);
        match self.format {
            SchemaFormat::Json => {
                let separator = if self.count == 1 { "\n" } else { ",\n" };
                let mut hit = json!({ "operation": operation });
                if !field.is_empty() {
                    hit["field"] = json!(field);
                    hit["cloudtrail"] = path.split(" or ").collect();
                }
                write!(self.out, "{separator}  {}", escape_unprintable_json(&hit.to_string()))?;
            }
            SchemaFormat::Yaml => {
                writeln!(self.out, "- operation: {}", json!(operation))?;
                if !field.is_empty() {
                    writeln!(self.out, "  field: {}", json!(field))?;
                    let paths: serde_json::Value = path.split(" or ").collect();
                    writeln!(self.out, "  cloudtrail: {paths}")?;
                }
            }
            SchemaFormat::Markdown => writeln!(self.out, "| {} |", cells.join(" | "))?,
            SchemaFormat::Tree | SchemaFormat::Table => {
                writeln!(self.out, "{}", cells.join("  ").trim_end())?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), PrintError> {
        if self.format == SchemaFormat::Json {
            writeln!(self.out, "{}]", if self.count == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}
