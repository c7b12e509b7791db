//! `trailload doctor`: would this load succeed?
//!
//! In: the words of a load. Out: a line for each thing that the load needs, with ✓ or ✗, below each ✗ the fix; and
//! exit 1 if something would stop the load.
//! Holds: it looks with the load's own eyes (the same clients, the same sources), and changes nothing: nothing is
//! put into the engine, and no file is made.
//! Absent on purpose: how much there is to load. A dry run tells that.

mod cloud;
mod engine;

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use jiff::Timestamp;
use tokio::runtime;

use super::{
    environment::Environment,
    exit::Exit,
    failure::Failure,
    gather::nothing_done,
    load::{self, Plan},
};
use crate::{
    checkpoint::{self, Standing},
    normalize::Rules,
    report::{Log, WaitTeller, figures, terminal::printable},
    source::Files,
    waits::Waits,
};

/// The whole of `trailload doctor --help`, below its usage.
const AFTER_HELP: &str = "\
Takes the SOURCE words and options of a load (see 'trailload load --help') and looks at all that the
load needs: credentials, accounts, Regions, buckets, clock, engine, checkpoint.

Examples:
  trailload doctor --into http://localhost:9200
  trailload doctor s3://my-trail --into https://search.example:9200

Exit codes:
  0  nothing would stop the load
  1  something would; below each ✗ is what to do
  2  the command line makes no sense";

/// The words of `trailload doctor`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(override_usage = "trailload doctor [OPTIONS OF LOAD] --into <URL> [SOURCE]...")]
#[group(skip)]
#[command(mut_args(|word| word.hide(true)))]
pub struct Args {
    /// Those of a load.
    #[command(flatten)]
    pub load: load::Args,
}

/// Runs `trailload doctor`.
///
/// # Errors
///
/// Returns a [`Failure`] if the words make no sense.
pub(super) fn run(
    args: &Args,
    environment: &Environment,
    now: Timestamp,
    log: &Log,
) -> Result<Exit, Failure> {
    let plan = args.load.plan(environment, now)?;
    // As a load does: a word that names nothing is a mistake of the command line.
    Files::new(&plan.words.paths(), nothing_done())?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::of(Exit::Person, &error))?;
    let waits = Waits::default();
    let _teller = WaitTeller::start(waits.clone(), log.clone());
    let mut doctor = Doctor { plan: &plan, log, now, tasted: false, stops: 0, others: 0, waits };
    let seen = runtime.block_on(doctor.look());
    runtime.shutdown_background();
    seen?;
    doctor.end()
}

/// What something that is wrong does to the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    /// It ends it.
    Stops,
    /// It goes on without a part.
    Lessens,
}

/// Looks, and counts what is wrong.
struct Doctor<'a> {
    plan: &'a Plan,
    log: &'a Log,
    now: Timestamp,
    /// Whether anything to load was within reach.
    tasted: bool,
    stops: u64,
    others: u64,
    /// What is being waited for.
    waits: Waits,
}

impl Doctor<'_> {
    async fn look(&mut self) -> Result<(), Failure> {
        let rules = match &self.plan.mappings {
            Some(folder) => Rules::load(folder),
            None => Rules::embedded(),
        };
        self.files()?;
        let caller = self.aws().await?;
        match rules {
            Ok(rules) => self.engine(Arc::new(rules), caller.as_ref()).await?,
            Err(error) => self.bad(Harm::Stops, &error.into())?,
        }
        self.checkpoint()
    }

    /// Says in a last line what it all means.
    fn end(&mut self) -> Result<Exit, Failure> {
        if self.stops == 0 && !self.tasted {
            // Each of them was told.
            self.stops = self.others;
        }
        let things = |number| figures::counted(number, "thing");
        let (line, exit) = match (self.stops, self.others) {
            (0, 0) => ("nothing would stop this load".to_owned(), Exit::Done),
            (0, others) => (
                format!("nothing would stop this load; {} would lessen it", things(others)),
                Exit::Done,
            ),
            (stops, _) => (format!("{} would stop this load", things(stops)), Exit::Person),
        };
        super::print(&format!("{line}\n"))?;
        Ok(exit)
    }

    /// Tells what is wrong, and what to do.
    fn bad(&mut self, harm: Harm, failure: &Failure) -> Result<(), Failure> {
        match harm {
            Harm::Stops => self.stops += 1,
            Harm::Lessens => self.others += 1,
        }
        super::print(&wrong(failure))
    }

    fn files(&mut self) -> Result<(), Failure> {
        for (_, word) in &self.plan.words.files {
            let (path, name) = (Path::new(word), word.to_string_lossy());
            match opened(path) {
                Ok(()) => {
                    self.tasted = true;
                    good(&name, "can be read")?;
                }
                Err(error) => {
                    let failure =
                        Failure::person(format!("could not read {name}")).caused_by(&error);
                    self.bad(Harm::Lessens, &failure.hint("check that this user may read it"))?;
                }
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), Failure> {
        let name = format!("checkpoint {}", self.plan.checkpoint.display());
        match checkpoint::examine(&self.plan.checkpoint, &self.plan.target_name()) {
            Ok(Standing::New) => good(&name, "is not there yet; the load makes it"),
            Ok(Standing::Ours) => good(&name, "is ours, sound and free"),
            Ok(Standing::Older) => good(&name, "is ours and free; the load brings it up to date"),
            Err(error) => self.bad(Harm::Stops, &error.into()),
        }
    }
}

/// Opens a file or a folder, as the load will. What can be opened only once is left to it.
fn opened(path: &Path) -> std::io::Result<()> {
    if path == Path::new("-") {
        return Ok(());
    }
    let kind = fs::metadata(path)?.file_type();
    if kind.is_dir() {
        fs::read_dir(path).map(|_| ())
    } else if kind.is_file() {
        File::open(path).map(|_| ())
    } else {
        Ok(())
    }
}

/// Tells what is as it should be.
fn good(about: &str, text: &str) -> Result<(), Failure> {
    super::print(&format!("✓ {}: {}\n", in_a_line(about), in_a_line(text)))
}

/// Returns the lines about something that is wrong.
fn wrong(failure: &Failure) -> String {
    let causes = failure.causes.iter().map(|cause| in_a_line(cause));
    let all: Vec<_> = std::iter::once(in_a_line(&failure.heading)).chain(causes).collect();
    let fix = failure.hint.as_deref().unwrap_or("mend what it says, and look again");
    format!("✗ {}\n  fix: {}\n", all.join(": "), in_a_line(fix))
}

/// Returns a text in one line, without what would steer a terminal: names and reasons are other people's words.
fn in_a_line(text: &str) -> String {
    printable(&text.replace(['\n', '\r', '\t'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_one_line_and_its_fix_another() {
        let mut failure = Failure::person("could not read s3://b").hint("allow\nit");
        failure.causes.push("403\u{1b}[2J".to_owned());
        assert_eq!(wrong(&failure), "✗ could not read s3://b: 403\\u{1b}[2J\n  fix: allow it\n");
        assert!(
            wrong(&Failure::person("broken")).contains("\n  fix: "),
            "there is always something to do"
        );
    }
}
