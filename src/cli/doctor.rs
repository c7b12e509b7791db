//! `trailload doctor`: would this load succeed?
//!
//! In: the words of a load. Out: a line for each thing that the load needs, with ✓ or ✗, below each ✗ the fix; and
//! exit 1 if something would stop the load.
//! Holds: it looks with the load's own eyes (the same clients, the same sources), and changes nothing: nothing is
//! put into the engine, and no file is made.
//! Absent on purpose: how much there is to load. A dry run tells that.

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{runtime, sync::Semaphore, task::JoinSet};

use super::{
    assemble, enter,
    environment::Environment,
    failure::{self, Exit, Failure},
    gather::{bucket_options, nothing_done},
    load::{self, Plan},
};
use crate::{
    aws::{self, Access, Trouble, trouble::is_skew},
    checkpoint::{self, Standing},
    normalize::{Fields, Rules},
    pipeline::stop::stop,
    report::{Log, Tally, figures},
    sink::{Disk, Engine, Examination, Fill, Rights, TemplateState},
    source::{Buckets, Files, Found, Source as _, s3::Address},
};

/// The whole of `trailload doctor --help`, below its usage.
const AFTER_HELP: &str = "\
Takes the SOURCE words and options of 'trailload load' (see 'trailload load --help'), and looks whether
that load would succeed: credentials, accounts, Regions, buckets, clock, engine, checkpoint. Nothing is
loaded, and nothing is changed.

Examples:
  trailload doctor --into http://localhost:9200
  trailload doctor s3://my-trail --into https://search.example:9200

Exit codes:
  0  nothing would stop the load
  1  something would; below each ✗ is what to do
  2  the command line makes no sense";

/// Regions that are asked at the same time.
const ASKED_AT_ONCE: usize = 8;

/// How long an engine in trouble is waited for: a person waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an engine may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

/// Memory for objects that are fetched to see whether they can be: a few, for one is enough.
const TASTED_BYTES: u64 = 64 << 10;

/// Objects and folders of a bucket that are told if they cannot be read.
const REFUSALS_SHOWN: usize = 3;

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
    let mut doctor = Doctor { plan: &plan, log, now, tasted: false, stops: 0, others: 0 };
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

    fn good(&self, about: &str, text: &str) -> Result<(), Failure> {
        super::print(&format!("✓ {}: {}\n", in_a_line(about), in_a_line(text)))
    }

    /// Tells what is wrong, and what to do.
    fn bad(&mut self, harm: Harm, failure: &Failure) -> Result<(), Failure> {
        match harm {
            Harm::Stops => self.stops += 1,
            Harm::Lessens => self.others += 1,
        }
        super::print(&wrong(failure))
    }

    // --- what is read from here --------------------------------------------------------------------------------

    fn files(&mut self) -> Result<(), Failure> {
        for (_, word) in &self.plan.words.files {
            let (path, name) = (Path::new(word), word.to_string_lossy());
            match opened(path) {
                Ok(()) => {
                    self.tasted = true;
                    self.good(&name, "can be read")?;
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
            Ok(Standing::New) => self.good(&name, "is not there yet; the load makes it"),
            Ok(Standing::Ours) => self.good(&name, "is ours, sound and free"),
            Ok(Standing::Older) => {
                self.good(&name, "is ours and free; the load brings it up to date")
            }
            Err(error) => self.bad(Harm::Stops, &error.into()),
        }
    }

    // --- AWS ---------------------------------------------------------------------------------------------------

    /// Looks at all that AWS has to grant; returns who signs requests to the engine.
    async fn aws(&mut self) -> Result<Option<Access>, Failure> {
        let words = &self.plan.words;
        if !words.is_aws() && !self.plan.aws_auth {
            return Ok(None);
        }
        let caller = match enter::access(&self.plan.cloud).await {
            Ok(caller) => caller,
            Err(failure) => return self.bad(Harm::Stops, &failure).map(|()| None),
        };
        // Who only signs need not be known to STS.
        let harm = if words.is_aws() { Harm::Stops } else { Harm::Lessens };
        match caller.identity().await {
            Ok(who) => {
                self.good("credentials", &format!("account {}, {}", who.account, who.arn))?
            }
            Err(error) => {
                self.bad(harm, &error.into())?;
                return Ok(self.plan.aws_auth.then_some(caller));
            }
        }
        self.clock(&caller)?;
        if words.lookup.is_some() {
            self.accounts(&caller).await?;
        }
        if words.has_buckets() {
            self.buckets(&caller).await?;
        }
        Ok(Some(caller))
    }

    fn clock(&mut self, caller: &Access) -> Result<(), Failure> {
        match caller.clock_ahead() {
            Some(ahead) if is_skew(ahead) => {
                let failure = Failure::person(format!("this machine's clock is {}", told(ahead)));
                let advice = Trouble::ClockSkew { ahead: None }.advice().unwrap_or_default();
                self.bad(Harm::Lessens, &failure.hint(advice))
            }
            Some(ahead) => self.good("clock", &told(ahead)),
            None => Ok(()),
        }
    }

    async fn accounts(&mut self, caller: &Access) -> Result<(), Failure> {
        let entered = match enter::all_accounts(&self.plan.cloud, caller).await {
            Ok(entered) => entered,
            Err(failure) => return self.bad(Harm::Stops, &failure),
        };
        let none = entered.accounts.is_empty();
        for (_, error) in entered.refused {
            self.bad(if none { Harm::Stops } else { Harm::Lessens }, &error.into())?;
        }
        for account in &entered.accounts {
            let name = format!("account {}", account.identity.account);
            let regions = figures::counted(account.regions.len() as u64, "Region");
            self.good(&name, &format!("as {}, {regions}", account.identity.arn))?;
            if let Some(warning) = &account.warning {
                let failure = Failure::person(format!("{name}: {warning}"));
                let fix = failure::allow("ec2:DescribeRegions", "*");
                self.bad(Harm::Lessens, &failure.hint(fix))?;
            }
        }
        self.regions(&entered.accounts).await
    }

    /// Asks each Region once.
    async fn regions(&mut self, accounts: &[enter::Account]) -> Result<(), Failure> {
        let slots = Arc::new(Semaphore::new(ASKED_AT_ONCE));
        let (mut tasks, mut number) = (JoinSet::new(), 0_usize);
        for account in accounts {
            for region in &account.regions {
                let (access, region) = (account.access.clone(), region.clone());
                let (slots, now, at) = (Arc::clone(&slots), self.now, number);
                let listed = account.warning.is_none();
                tasks.spawn(async move {
                    let _slot = slots.acquire_owned().await;
                    let answer = ask(&access, &region, now).await;
                    (at, access.account().unwrap_or_default(), region, listed, answer)
                });
                number += 1;
            }
        }
        let mut answers = tasks.join_all().await;
        answers.sort_by_key(|answer| answer.0);
        for (_, account, region, listed, answer) in answers {
            self.region(&account, region, listed, answer)?;
        }
        Ok(())
    }

    /// Tells of a Region; one that was only tried, because nobody lists them, may be off.
    fn region(
        &mut self,
        account: &str,
        region: String,
        listed: bool,
        answer: Result<(), aws::Refusal>,
    ) -> Result<(), Failure> {
        let name = format!("account {account} {region}");
        let source = match answer {
            Ok(()) => {
                self.tasted = true;
                return self.good(&name, "the event history can be read");
            }
            Err(refusal) => Box::new(refusal),
        };
        match &source.trouble {
            Trouble::Throttled => {
                self.tasted = true;
                self.good(
                    &name,
                    "the event history can be read; somebody else uses the quota just now",
                )
            }
            Trouble::RegionNotEnabled if !listed => {
                self.good(&name, "is not enabled, and passed over")
            }
            trouble => {
                let denied = matches!(trouble, Trouble::Denied { .. });
                let (service, action) = ("cloudtrail", "LookupEvents");
                let account = Some(account.to_owned());
                let mut failure =
                    Failure::from(aws::Error::Call { account, service, action, region, source });
                if denied {
                    failure.hint = Some(failure::allow("cloudtrail:LookupEvents", "*"));
                }
                self.bad(Harm::Lessens, &failure)
            }
        }
    }

    async fn buckets(&mut self, caller: &Access) -> Result<(), Failure> {
        let shelves = match enter::shelves(&self.plan.cloud, &self.plan.words, caller).await {
            Ok(shelves) => shelves,
            Err(failure) => return self.bad(Harm::Stops, &failure),
        };
        for (_, address) in shelves.targets {
            let (access, accounts) = (shelves.access.clone(), shelves.accounts.clone());
            let options = bucket_options(self.plan, access.region(), accounts, TASTED_BYTES);
            let client = Box::new(move |region: &str| access.s3(region));
            let closed = Box::new(|_: &str| None);
            let targets = vec![(0, address.clone())];
            let source = Buckets::new(targets, options, client, nothing_done(), closed, self.now);
            let tasted = tokio::task::spawn_blocking(move || taste(source)).await;
            let tasted = tasted.map_err(|error| Failure::of(Exit::Person, &error))?;
            self.bucket(&address, tasted)?;
        }
        Ok(())
    }

    fn bucket(&mut self, address: &Address, tasted: Tasted) -> Result<(), Failure> {
        let name = address.to_string();
        for failure in tasted.refused.iter().take(REFUSALS_SHOWN) {
            self.bad(Harm::Lessens, failure)?;
        }
        if let Some(object) = tasted.object {
            self.tasted = true;
            self.good(&name, &format!("can be listed and read, for example {object}"))
        } else if tasted.refused.is_empty() {
            self.tasted = true;
            let why = tasted.nothing.unwrap_or_else(|| "there is nothing to load".to_owned());
            self.good(&name, &format!("can be listed; {why}"))
        } else {
            Ok(())
        }
    }

    // --- the engine --------------------------------------------------------------------------------------------

    async fn engine(&mut self, rules: Arc<Rules>, caller: Option<&Access>) -> Result<(), Failure> {
        let plan = self.plan;
        let mut target = plan.sink_target();
        (target.patience, target.timeout) = (PATIENCE, ANSWER);
        if plan.aws_auth {
            // Who cannot even try to sign was told.
            let Some(caller) = caller else { return Ok(()) };
            target.signing = Some(assemble::signing(plan, caller));
        }
        let fields = Arc::new(Fields::new(Arc::clone(&rules), plan.fields, plan.max_fields));
        let (_raise, stop) = stop();
        let tally = Arc::new(Tally::new(Vec::new()));
        let template = rules.template().clone();
        match Engine::connect(target, template, fields, self.log.clone(), tally, stop).await {
            Ok(engine) => {
                let found = engine.examine(plan.index.as_str()).await;
                self.found(&engine.describe().to_string(), &found)
            }
            Err(error) => self.bad(Harm::Stops, &error.into()),
        }
    }

    fn found(&mut self, what: &str, found: &Examination) -> Result<(), Failure> {
        let name = format!("engine {}", self.plan.target.url.as_str().trim_end_matches('/'));
        self.good(&name, what)?;
        let index = &self.plan.index;
        let templates = match found.templates {
            TemplateState::Current => "as this version wants them",
            TemplateState::ToBePut => "the load puts them",
            TemplateState::Unknown => "the engine knows none; documents are sent without",
        };
        self.good(&format!("templates of '{index}'"), templates)?;
        if let Some(disk) = &found.disk {
            self.disk(disk)?;
        }
        self.rights(&found.rights)
    }

    fn disk(&mut self, disk: &Disk) -> Result<(), Failure> {
        let name = format!("disk of {}", disk.node);
        let room = format!("{} of {} free", figures::bytes(disk.free), figures::bytes(disk.bytes));
        let (harm, what) = match disk.fill {
            Fill::Fine => return self.good(&name, &room),
            Fill::High => {
                (Harm::Lessens, "above the high watermark: new indices find no place on it")
            }
            Fill::Flooded => {
                (Harm::Stops, "above the flood-stage watermark: the engine blocks writes")
            }
        };
        let failure = Failure::person(format!("{name} is {what} ({room})"));
        self.bad(
            harm,
            &failure.hint("make room on it, or add a node; the engine then goes on by itself"),
        )
    }

    fn rights(&mut self, rights: &Rights) -> Result<(), Failure> {
        match rights {
            // An engine without logins, or one that does not tell.
            Rights::Unknown => Ok(()),
            Rights::Enough { user } => {
                self.good("permissions", &format!("{user} may do all that a load does"))
            }
            Rights::Named { user, roles } => {
                let roles = if roles.is_empty() { "no role".to_owned() } else { roles.join(", ") };
                let text = format!(
                    "{user}, with {roles}; whether they are enough shows at the first write (least: policy/opensearch.json)"
                );
                self.good("permissions", &text)
            }
            Rights::Missing { user, privileges } => {
                let failure =
                    Failure::person(format!("{user} lacks permissions: {}", privileges.join(", ")));
                let fix = "give this user the role of policy/elasticsearch.json, with the names of your indices";
                self.bad(Harm::Stops, &failure.hint(fix))
            }
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

/// Asks a Region for one event of the last hour.
async fn ask(access: &Access, region: &str, now: Timestamp) -> Result<(), aws::Refusal> {
    let second = aws_smithy_types::DateTime::from_secs;
    let request = access
        .cloudtrail(region)
        .lookup_events()
        .start_time(second(now.as_second() - 3_600))
        .end_time(second(now.as_second()))
        .max_results(1);
    request.send().await.map(|_| ()).map_err(|error| aws::Refusal::of(&error))
}

/// What came of a first look into a bucket.
#[derive(Default)]
struct Tasted {
    /// An object that was read.
    object: Option<String>,
    /// What was refused before.
    refused: Vec<Failure>,
    /// Why there is nothing, if that is no mistake.
    nothing: Option<String>,
}

/// Loads from a bucket until the first object is here.
fn taste(mut source: Buckets) -> Tasted {
    let mut tasted = Tasted::default();
    let listed = source.list(&mut |_, found| {
        match found {
            Found::Input(input) => tasted.object = Some(input.name),
            Found::Failed(error) => tasted.refused.push(error.into()),
            Found::Lost { name, why, .. } => {
                let failure = Failure::person(format!("could not read {name}: {why}"));
                let fix = "'trailload policy' with the same options prints what has to be allowed";
                tasted.refused.push(failure.hint(fix));
            }
            Found::Skipped { why, .. } => tasted.nothing = Some(why),
            _ => {}
        }
        tasted.object.is_none()
    });
    if let Err(error) = listed {
        tasted.refused.push(error.into());
    }
    tasted
}

/// Says how far a clock is from AWS's.
fn told(ahead: SignedDuration) -> String {
    let apart = figures::duration(ahead.unsigned_abs());
    match ahead.as_secs() {
        0 => "agrees with AWS's".to_owned(),
        1.. => format!("{apart} ahead of AWS's"),
        _ => format!("{apart} behind AWS's"),
    }
}

/// Returns the lines about something that is wrong.
fn wrong(failure: &Failure) -> String {
    let causes = failure.causes.iter().map(|cause| in_a_line(cause));
    let all: Vec<_> = std::iter::once(in_a_line(&failure.heading)).chain(causes).collect();
    let fix = failure.hint.as_deref().unwrap_or("mend what it says, and look again");
    format!("✗ {}\n  fix: {}\n", all.join(": "), in_a_line(fix))
}

/// Takes out what would break a line, or a terminal: names and reasons are other people's words.
fn in_a_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_one_line_and_its_fix_another() {
        let mut failure = Failure::person("could not read s3://b").hint("allow\nit");
        failure.causes.push("403\u{1b}[2J".to_owned());
        assert_eq!(wrong(&failure), "✗ could not read s3://b: 403 [2J\n  fix: allow it\n");
        assert!(
            wrong(&Failure::person("broken")).contains("\n  fix: "),
            "there is always something to do"
        );
    }

    #[test]
    fn a_clock_is_told_by_its_side() {
        for (seconds, text) in [
            (0, "agrees with AWS's"),
            (90, "1 min 30 s ahead of AWS's"),
            (-90, "1 min 30 s behind AWS's"),
        ] {
            assert_eq!(told(SignedDuration::from_secs(seconds)), text);
        }
    }
}
