//! `--find`: operations and fields whose names contain a word.
//!
//! Input: the services of a question, and a word. Output: a line, row or object per hit, in the order of the services.
//! Services are searched by several threads. Invariant: the answer does not depend on how many.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    num::NonZeroUsize,
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{self, Receiver},
    },
    thread,
};

use super::{
    PrintError, SchemaFormat,
    catalog::{Catalog, Entry},
    question::Question,
    structured::push_json_text,
};
use crate::{
    cli::failure::Failure,
    report::terminal::push_printable,
    schema::find::{Finder, FoundField, contains},
};

/// Threads at most: there are 20 blocks of services.
const MOST_THREADS: usize = 8;

/// Prints what is found in the services of a question.
pub(super) fn print(
    catalog: &Catalog,
    question: &Question<'_>,
    word: &str,
    format: SchemaFormat,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    let asked = word.trim();
    let search = Search { catalog, word: asked.to_ascii_lowercase(), format };
    if search.word.is_empty() {
        return Err(Failure::usage("'--find' requires a word").into());
    }
    let services = services(catalog, question);
    out.write_all(start(format).as_bytes())?;
    let count = search.print_all(&services, out)?;
    if format == SchemaFormat::Json {
        out.write_all(if count == 0 { b"]\n" } else { b"\n]\n" })?;
    }
    if count == 0 {
        let problem = format!("no operation or field has '{asked}' in its name");
        return Err(Failure::action_required(problem)
            .hint("a part of a name is enough, and case does not matter")
            .into());
    }
    Ok(())
}

/// Returns what comes before the first hit.
fn start(format: SchemaFormat) -> &'static str {
    match format {
        SchemaFormat::Json => "[",
        SchemaFormat::Markdown => "| operation | field | path in CloudTrail |\n|---|---|---|\n",
        _ => "",
    }
}

/// A service, and the operations to look at; `None` for all.
type Searched<'c, 'q> = (Entry<'c>, Option<&'q [String]>);

/// What is searched for.
struct Search<'c> {
    catalog: &'c Catalog,
    /// In lower case.
    word: String,
    format: SchemaFormat,
}

impl Search<'_> {
    /// Searches the services, prints the hits and returns how many there are.
    fn print_all(
        &self,
        services: &[Searched<'_, '_>],
        out: &mut dyn Write,
    ) -> Result<usize, PrintError> {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = processors.min(MOST_THREADS).min(services.len());
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..threads {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    loop {
                        let number = next.fetch_add(1, Relaxed);
                        let Some(service) = services.get(number) else { return };
                        // Nobody waits for hits if printing has failed.
                        if sender.send((number, self.in_service(*service))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            print_in_order(&receiver, out)
        })
    }

    fn in_service(&self, (entry, only): Searched<'_, '_>) -> Result<Hits, Failure> {
        let mut hits = Hits::new(self.format);
        if !self.catalog.may_contain(entry, &self.word)? {
            return Ok(hits);
        }
        let service = self.catalog.service(entry)?;
        let finder = Finder::new(&service, &self.word);
        let is_wanted =
            |name: &str| only.is_none_or(|only| only.iter().any(|wanted| wanted == name));
        for operation in service.operations.iter().filter(|one| is_wanted(&one.name)) {
            let name = format!("{}.{}", service.info.id, operation.name);
            if contains(&operation.name, &self.word) {
                hits.add(&name, None);
            }
            finder.fields(operation, &mut |field| hits.add(&name, Some(&field)));
        }
        Ok(hits)
    }
}

/// Prints hits in the order of the services, and returns how many there are.
fn print_in_order(
    found: &Receiver<(usize, Result<Hits, Failure>)>,
    out: &mut dyn Write,
) -> Result<usize, PrintError> {
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    let mut count = 0;
    for (number, hits) in found {
        waiting.insert(number, hits?);
        while let Some(hits) = waiting.remove(&next) {
            hits.print(count == 0, out)?;
            count += hits.count;
            next += 1;
        }
    }
    Ok(count)
}

/// Returns the services of a question.
fn services<'q, 'c>(catalog: &'c Catalog, question: &'q Question<'c>) -> Vec<Searched<'c, 'q>> {
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

/// Hits in a service.
struct Hits {
    format: SchemaFormat,
    count: usize,
    /// As they are printed; in JSON with a comma before each.
    text: String,
    /// A text that is put together, whose memory is reused.
    part: String,
}

impl Hits {
    fn new(format: SchemaFormat) -> Self {
        Self { format, count: 0, text: String::new(), part: String::new() }
    }

    fn print(&self, is_first: bool, out: &mut dyn Write) -> io::Result<()> {
        let text = self.text.as_str();
        let text = if is_first { text.strip_prefix(',').unwrap_or(text) } else { text };
        out.write_all(text.as_bytes())
    }

    /// Adds an operation, or a field of it.
    fn add(&mut self, operation: &str, field: Option<&FoundField<'_>>) {
        self.count += 1;
        match self.format {
            SchemaFormat::Json => {
                self.text.push_str(",\n  {\"operation\": ");
                self.add_object(operation, field, [", \"field\": ", ", \"cloudtrail\": "]);
                self.text.push('}');
            }
            SchemaFormat::Yaml => {
                self.text.push_str("- operation: ");
                self.add_object(operation, field, ["\n  field: ", "\n  cloudtrail: "]);
                self.text.push('\n');
            }
            SchemaFormat::Markdown => {
                self.text.push_str("| ");
                self.add_cells(operation, field, " | ");
                self.text.push_str(if field.is_some() { " |\n" } else { " | | |\n" });
            }
            SchemaFormat::Tree | SchemaFormat::Table => {
                self.add_cells(operation, field, "  ");
                self.text.push('\n');
            }
        }
    }

    /// Adds the values of an object. The keys are those of the second and third value.
    fn add_object(&mut self, operation: &str, field: Option<&FoundField<'_>>, keys: [&str; 2]) {
        let Some(FoundField { side, path, paths }) = field else {
            return push_json_text(&mut self.text, operation);
        };
        self.quoted(&[operation, ".", side.name()]);
        self.text.push_str(keys[0]);
        push_json_text(&mut self.text, path);
        self.text.push_str(keys[1]);
        self.text.push('[');
        for (number, path) in paths.iter().enumerate() {
            if number > 0 {
                self.text.push_str(", ");
            }
            self.quoted(&[side.record_member(), ".", path]);
        }
        self.text.push(']');
    }

    /// Adds the parts of a text as JSON.
    fn quoted(&mut self, parts: &[&str]) {
        self.part.clear();
        self.part.extend(parts.iter().copied());
        push_json_text(&mut self.text, &self.part);
    }

    fn add_cells(&mut self, operation: &str, field: Option<&FoundField<'_>>, between: &str) {
        push_printable(&mut self.text, operation);
        let Some(FoundField { side, path, paths }) = field else { return };
        self.text.extend([".", side.name(), between]);
        push_printable(&mut self.text, path);
        for (number, path) in paths.iter().enumerate() {
            let separator = if number == 0 { between } else { " or " };
            self.text.extend([separator, side.record_member(), "."]);
            push_printable(&mut self.text, path);
        }
    }
}
