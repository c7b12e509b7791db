//! `trailload schema`: the shape of every request and response, as CloudTrail writes it and as the index holds it.
//!
//! Input: the name of a service or operation. Output: services, operations, fields, or a text to start from: a Cloud Custodian
//! policy, a rule, an example event, a query.
//! Invariant: the answer is data on standard output; notes about it go to standard error. Nothing but models and the logs of
//! `--observed` is read, and nothing but these logs is requested.
//!
//! | file | responsibility |
//! |---|---|
//! | `question` | what NAME asks for |
//! | `catalog` | the models: embedded, given or installed |
//! | `answer` | operations and events with their fields |
//! | `view` | what is shown of a field |
//! | `tree`, `rows`, `structured` | the formats |
//! | `find` | `--find` |
//! | `skeleton` | `--custodian`, `--rule`, `--sample`, `--query` |
//! | `observed` | `--observed` |
//! | `html` | descriptions without HTML |

mod answer;
mod catalog;
mod find;
mod html;
mod observed;
mod question;
mod rows;
mod skeleton;
mod structured;
mod tree;
mod view;

use std::{
    ffi::OsString,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use clap_complete::ArgValueCompleter;

use self::{
    answer::Answer,
    catalog::Catalog,
    observed::ObservedPlan,
    question::{Question, ServiceOperations},
    skeleton::query::ExampleQuery,
    structured::{BLOCK, Notation},
};
use super::{
    args::{aws::AccessArgs, engine::ConnectionArgs},
    completions,
    environment::Environment,
    exit::Exit,
    failure::Failure,
    plan::sources::INDEX,
};
use crate::{
    normalize::Rules,
    report::{Log, terminal::Terminal},
};

/// The end of `trailload schema --help`.
const AFTER_HELP: &str = "\
NAME is a service, an operation or a part of one. All of these work, in any case:
  iam                          the operations of a service; also by its eventSource: monitoring
  'iam.*Policy*'               the operations that match
  iam.CreatePolicy             request and response; also iam:CreatePolicy,
                               iam.amazonaws.com CreatePolicy, lambda.CreateFunction20150331
  iam.CreatePolicy.output      the response; the request is .input
  iam.CreatePolicy.output.policy.arn
                               one field
  signin.ConsoleLogin          an event that is not an API call

Examples:
  trailload schema ec2.RunInstances.input --format table
  trailload schema --find kmsKeyId
  trailload schema iam.CreatePolicy --custodian
  trailload schema s3.PutBucketPolicy --observed AWSLogs/
  trailload schema iam.CreateUser --observed index --into http://localhost:9200

Exit codes:
  0  answered
  1  there is no such service, operation or field
  2  invalid command line";

/// The arguments of `trailload schema`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(next_help_heading = "Schema options")]
pub struct SchemaArgs {
    /// Service, operation or field; all services if left out
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(completions::schema_names))]
    pub names: Vec<String>,
    /// List operations and fields whose names contain this word, over all services or those of NAME
    #[arg(long, value_name = "WORD", conflicts_with = "output")]
    pub find: Option<String>,
    /// Use the API models in this folder of botocore or the AWS CLI, with their descriptions. Without this option,
    /// descriptions come from an installed one
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Format of the answer. The default is a tree on a terminal and JSON otherwise
    #[arg(
        long,
        value_name = "tree|json|yaml|table|markdown",
        value_enum,
        help_heading = "Output options"
    )]
    #[arg(hide_possible_values = true)]
    pub format: Option<SchemaFormat>,
    /// What to print instead of fields.
    #[command(flatten)]
    pub skeletons: SkeletonArgs,
    /// The logs that fields are looked up in.
    #[command(flatten)]
    pub logs: ObservedArgs,
}

/// The logs that fields are looked up in.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of --observed")]
pub struct ObservedArgs {
    /// Show beside each field how often it occurs in these logs, and an example: files, folders, s3:// addresses, 'lookup'
    /// (the event history) or 'index' (the engine of --into) (can be repeated)
    #[arg(long, value_name = "SOURCE", conflicts_with = "output", help_heading = "Schema options")]
    pub observed: Vec<OsString>,
    /// The engine of `--observed index`.
    #[command(flatten)]
    pub engine: ConnectionArgs,
    /// How AWS is accessed.
    #[command(flatten)]
    pub access: AccessArgs,
}

impl ObservedArgs {
    /// Rejects options of an engine that is not read.
    fn check(&self) -> Result<(), Failure> {
        if self.engine.into.is_none() || self.observed.iter().any(|source| source == INDEX) {
            return Ok(());
        }
        Err(Failure::usage("'--into' applies only to '--observed index'")
            .hint("add --observed index, or remove the option"))
    }
}

/// What to print instead of fields.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[group(id = "output", multiple = false)]
#[command(next_help_heading = "Output options")]
#[expect(clippy::struct_excessive_bools, reason = "one flag per option; at most one is set")]
pub struct SkeletonArgs {
    /// Print a Cloud Custodian policy for the operation
    #[arg(long)]
    pub custodian: bool,
    /// Print a rule for 'trailload watch'
    #[arg(long)]
    pub rule: bool,
    /// Print an example event
    #[arg(long)]
    pub sample: bool,
    /// Print an example search of the index: as a command, in the Query DSL, in KQL and in Lucene
    #[arg(long)]
    pub query: bool,
}

/// The format of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SchemaFormat {
    /// Indented names with types and paths.
    Tree,
    /// JSON, with fields nested as in the model.
    Json,
    /// The same as YAML.
    Yaml,
    /// One line per field.
    Table,
    /// A table in Markdown.
    Markdown,
}

/// Runs `trailload schema`.
///
/// # Errors
///
/// Returns a [`Failure`] if the name is unknown, or models or logs cannot be read.
pub(super) fn run(args: &SchemaArgs, environment: &Environment, log: &Log) -> Result<(), Failure> {
    args.logs.check()?;
    args.check_format()?;
    let catalog = Catalog::open(args.models.as_deref(), environment)?;
    let format = args.format.unwrap_or_else(|| {
        if environment.output.columns.is_some() { SchemaFormat::Tree } else { SchemaFormat::Json }
    });
    let question = question::parse(&catalog, &args.names)?;
    if let Some(word) = &args.find {
        return print(|out| find::print(&catalog, &question, word, format, out));
    }
    match question {
        Question::Services => {
            args.require_operation()?;
            print(|out| rows::print_services(&catalog, format, out))
        }
        Question::Operations(found) => {
            args.require_operation()?;
            print(|out| print_operations(&catalog, &found, format, out))
        }
        Question::Operation(question) => {
            if let Some(note) = &question.note {
                log.info("schema", note);
            }
            let service = catalog.described(question.entry, &question.name)?;
            let rules = embedded_rules()?;
            let mut answer = Answer::of_operation(&service, &question, &rules)?;
            args.observe(&mut answer, environment, log)?;
            args.print_answer(&answer, &rules, format, environment.output, log)
        }
        Question::Event(event) => {
            let mut answer = Answer::of_event(event);
            args.observe(&mut answer, environment, log)?;
            args.print_answer(&answer, &embedded_rules()?, format, environment.output, log)
        }
    }
}

impl SchemaArgs {
    /// Rejects a format that what is printed instead of fields does not have.
    fn check_format(&self) -> Result<(), Failure> {
        use SchemaFormat::{Json, Tree, Yaml};
        let SkeletonArgs { custodian, rule, sample, query } = self.skeletons;
        let (option, formats, printed): (&str, &[SchemaFormat], &str) = match () {
            () if custodian => ("--custodian", &[Yaml], "YAML"),
            () if rule => ("--rule", &[Yaml], "YAML"),
            () if sample => ("--sample", &[Json], "JSON"),
            () if query => ("--query", &[Tree, Json, Yaml], "text (tree), JSON or YAML"),
            () => return Ok(()),
        };
        if self.format.is_none_or(|format| formats.contains(&format)) {
            return Ok(());
        }
        Err(Failure::usage(format!("'{option}' does not have this '--format'"))
            .hint(format!("it prints {printed}; remove --format")))
    }

    /// Fails if an option needs an operation, and none was named.
    fn require_operation(&self) -> Result<(), Failure> {
        let SkeletonArgs { custodian, rule, sample, query } = self.skeletons;
        let option = match () {
            () if custodian => "--custodian",
            () if rule => "--rule",
            () if sample => "--sample",
            () if query => "--query",
            () if !self.logs.observed.is_empty() => "--observed",
            () => return Ok(()),
        };
        Err(Failure::usage(format!("'{option}' requires one operation"))
            .hint(format!("name it: trailload schema iam.CreatePolicy {option}")))
    }

    /// Reads the logs of `--observed`.
    fn observe(
        &self,
        answer: &mut Answer<'_>,
        environment: &Environment,
        log: &Log,
    ) -> Result<(), Failure> {
        if !self.logs.observed.is_empty() {
            let plan = ObservedPlan::new(&self.logs, environment)?;
            answer.observed = Some(plan.read(answer.call(), log)?);
        }
        Ok(())
    }

    fn print_answer(
        &self,
        answer: &Answer<'_>,
        rules: &Rules,
        format: SchemaFormat,
        terminal: Terminal,
        log: &Log,
    ) -> Result<(), Failure> {
        let SkeletonArgs { custodian, rule, sample, query } = self.skeletons;
        if custodian || rule || sample || query {
            let text = match () {
                () if custodian => skeleton::custodian::policy(answer, rules),
                () if rule => skeleton::rule::rule(answer, rules),
                () if sample => skeleton::sample::event_text(answer, rules),
                () => {
                    let query = ExampleQuery::new(answer, rules);
                    match format {
                        SchemaFormat::Json => query.structured(Notation::Json),
                        SchemaFormat::Yaml => query.structured(Notation::Yaml),
                        _ => query.text(),
                    }
                }
            };
            return super::print(&text);
        }
        for note in answer.notes() {
            log.info("schema", note);
        }
        observed::log_other_paths(answer, rules, log);
        print(|out| match format {
            SchemaFormat::Json => answer.print_structured(rules, Notation::Json, out),
            SchemaFormat::Yaml => answer.print_structured(rules, Notation::Yaml, out),
            SchemaFormat::Tree => tree::print(answer, rules, terminal, out),
            SchemaFormat::Table => rows::print_table(answer, rules, out),
            SchemaFormat::Markdown => rows::print_markdown(answer, rules, out),
        })
    }
}

fn embedded_rules() -> Result<Rules, Failure> {
    Rules::embedded().map_err(|error| Failure::from_error(Exit::ActionRequired, &error))
}

/// Prints names of operations. Those of one service are without its name.
fn print_operations(
    catalog: &Catalog,
    found: &[ServiceOperations<'_>],
    format: SchemaFormat,
    out: &mut dyn Write,
) -> Result<(), PrintError> {
    if matches!(format, SchemaFormat::Table | SchemaFormat::Markdown) {
        return rows::print_operations(catalog, found, format, out);
    }
    let names =
        found.iter().flat_map(|service| {
            let names = service.names.iter().map(String::as_str);
            let names = names.chain(service.events.iter().map(|event| event.name));
            names.map(|name| {
                if found.len() == 1 { name.to_owned() } else { format!("{}.{name}", service.id) }
            })
        });
    rows::print_names(names, format, out)
}

/// Why an answer was not printed.
#[derive(Debug)]
pub(super) enum PrintError {
    /// Standard output cannot be written.
    Output(io::Error),
    /// The answer could not be made.
    Answer(Failure),
}

impl From<io::Error> for PrintError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Failure> for PrintError {
    fn from(failure: Failure) -> Self {
        Self::Answer(failure)
    }
}

/// Writes an answer to standard output. A closed pipe is not an error: the reader may stop early.
fn print(write: impl FnOnce(&mut dyn Write) -> Result<(), PrintError>) -> Result<(), Failure> {
    let mut out = BufWriter::with_capacity(BLOCK, io::stdout().lock());
    let written = write(&mut out).and_then(|()| Ok(out.flush()?));
    match written {
        Ok(()) => Ok(()),
        Err(PrintError::Answer(failure)) => Err(failure),
        Err(PrintError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(PrintError::Output(error)) => {
            Err(Failure::action_required("cannot write to standard output").caused_by(&error))
        }
    }
}
