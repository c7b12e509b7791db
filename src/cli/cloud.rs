//! What is asked of AWS: the options about accounts, Regions, event history and trails.
//!
//! In: [`Args`], and what is to be read. Out: a [`Cloud`], ready for `enter`.
//! Holds: an option that would change nothing is refused by name. Nothing is asked of AWS here.

use std::{fs, path::PathBuf, str::FromStr, time::Duration};

use thiserror::Error;

use super::{environment::Environment, failure::Failure, time::Age, words::Words};
use crate::{
    aws::{Partition, Template, role},
    source::{
        lookup::{Category, Filter},
        s3::LogKind,
    },
};

/// Events younger than this when a run began are fetched again by the next: some are told late.
const DEFAULT_OVERLAP: Duration = Duration::from_hours(24);

/// Events younger than this are left to the next run: AWS may not know all of them yet.
const DEFAULT_SETTLE: Duration = Duration::from_mins(15);

/// Days that are listed again by each run: CloudTrail delivers up to this late.
const DEFAULT_LATE_DAYS: u32 = 30;

/// The options that are about AWS.
#[derive(Clone, Debug, Default, clap::Args)]
#[expect(clippy::doc_markdown, reason = "it is the help, and a terminal shows no markup")]
#[expect(clippy::struct_excessive_bools, reason = "flags are what a command line has")]
#[command(next_help_heading = "Which accounts and Regions")]
#[group(id = "cloud")]
pub struct Args {
    /// Use this profile of the AWS configuration [default: as for every AWS tool]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Act as this role, or as each one in this file; {account} stands for each of --accounts (can be repeated)
    #[arg(long, value_name = "ARN|FILE")]
    pub assume_role: Vec<String>,
    /// Tell this external id when assuming a role
    #[arg(long, value_name = "ID", requires = "assume_role")]
    pub external_id: Option<String>,
    /// Load these accounts only, or all of the organization [default: that of the credentials or roles; all in a
    /// bucket]
    #[arg(long, value_name = "ID,…|organization")]
    pub accounts: Option<Accounts>,
    /// Load these Regions only [default: all that are enabled, or in the bucket]
    #[arg(long, value_name = "REGION,…|all")]
    pub regions: Option<Regions>,

    /// Load only events that changed nothing
    #[arg(long, conflicts_with_all = ["write_only", "lookup_attribute"], help_heading = HISTORY)]
    pub read_only: bool,
    /// Load only events that may have changed something: often the smaller part, and quicker
    #[arg(long, conflicts_with = "lookup_attribute", help_heading = HISTORY)]
    pub write_only: bool,
    /// Load only events with this attribute, such as Username=alice or EventName=RunInstances
    #[arg(long, value_name = "KEY=VALUE", help_heading = HISTORY)]
    pub lookup_attribute: Option<Filter>,
    /// Load Insights events too
    #[arg(long, help_heading = HISTORY)]
    pub insights: bool,
    /// Leave events younger than this to the next run: AWS may not know all of them yet [default: 15m]
    #[arg(long, value_name = "AGE", help_heading = HISTORY)]
    pub settle: Option<Age>,
    /// Let the next run fetch events again that are younger than this: some come late [default: 24h]
    #[arg(long, value_name = "AGE", help_heading = HISTORY)]
    pub overlap: Option<Age>,

    /// Load the bucket that this trail delivers to (name or ARN; can be repeated)
    #[arg(long, value_name = "NAME", help_heading = BUCKETS)]
    pub trail: Vec<String>,
    /// Load these kinds of logs only: CloudTrail, Insight, NetworkActivity, Aggregated [default: all]
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', help_heading = BUCKETS)]
    pub kinds: Vec<LogKind>,
    /// Expect logs so many days late, also behind --to [default: 30]
    #[arg(long, value_name = "DAYS", help_heading = BUCKETS)]
    pub late_days: Option<u32>,
    /// Pay for requests where the bucket's owner does not
    #[arg(long, help_heading = BUCKETS)]
    pub requester_pays: bool,
}

const HISTORY: &str = "Event history (lookup)";
const BUCKETS: &str = "Trail buckets (s3://)";

/// `--regions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Regions {
    /// All there are.
    All,
    /// Those only.
    Named(Vec<String>),
}

/// `--accounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accounts {
    /// All accounts of the organization that are active.
    Organization,
    /// Those only.
    Listed(Vec<String>),
}

/// Why a list cannot be understood. The text says what is expected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListError {
    /// Not a Region.
    #[error("'{0}' is no Region: expected names such as eu-central-1,us-east-1, or 'all'")]
    Region(String),
    /// Not an account.
    #[error("'{0}' is no account: expected numbers of 12 digits, or 'organization'")]
    Account(String),
}

impl FromStr for Regions {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        if text == "all" {
            return Ok(Self::All);
        }
        let known = |name: &str| Partition::of_region(name).is_some();
        listed(text, known).map(Self::Named).map_err(ListError::Region)
    }
}

impl FromStr for Accounts {
    type Err = ListError;

    fn from_str(text: &str) -> Result<Self, ListError> {
        if text == "organization" {
            return Ok(Self::Organization);
        }
        listed(text, role::is_account).map(Self::Listed).map_err(ListError::Account)
    }
}

/// Returns the words between commas, each once; or the first that is none.
fn listed(text: &str, fits: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for word in text.split(',').map(str::trim) {
        if !fits(word) {
            return Err(word.to_owned());
        }
        if !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    Ok(words)
}

/// What is asked of AWS, beside what is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// The profile of the AWS configuration.
    pub profile: Option<String>,
    /// File with certificates to trust at AWS: `AWS_CA_BUNDLE`.
    pub ca_bundle: Option<PathBuf>,
    /// The part of AWS that the words name, by ARNs or Regions, or else the Region of the environment.
    pub partition: Option<Partition>,
    /// Regions; all if `None`.
    pub regions: Option<Vec<String>>,
    /// Roles to assume.
    pub roles: Vec<Template>,
    /// What is said when assuming one.
    pub external_id: Option<String>,
    /// Accounts; those of the roles, the caller's, or those in the bucket if `None`.
    pub accounts: Option<Accounts>,
    /// How the event history is read.
    pub history: History,
    /// How buckets are read.
    pub trails: Trails,
}

/// How the event history is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Events younger than this are left to the next run.
    pub settle: Duration,
    /// Events younger than this are fetched again by the next run.
    pub overlap: Duration,
    /// Whether Insights events are loaded too.
    pub insights: bool,
    /// Which events.
    pub filter: Option<Filter>,
}

/// How buckets are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trails {
    /// Kinds of logs; all if empty.
    pub kinds: Vec<LogKind>,
    /// Days that are listed again.
    pub late_days: u32,
    /// Whether we pay for requests.
    pub requester_pays: bool,
}

impl History {
    /// Returns what is asked for in each Region: categories, each with its filter.
    ///
    /// An Insights event neither reads nor writes: `--read-only` and `--write-only` are about the others.
    pub fn wishes(&self) -> Vec<(Category, Option<Filter>)> {
        let mut wishes = vec![(Category::Management, self.filter.clone())];
        if self.insights {
            let filter = self.filter.clone().filter(|filter| filter.fits(Category::Insight));
            wishes.push((Category::Insight, filter));
        }
        wishes
    }
}

impl Args {
    /// Turns the words into what is asked of AWS. Reads nothing but files with roles.
    ///
    /// `signs` says whether requests to the engine are signed.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] that names the option, what was given, and what is expected.
    pub fn plan(
        &self,
        words: &Words,
        signs: bool,
        environment: &Environment,
    ) -> Result<Cloud, Failure> {
        self.check_use(words, signs)?;
        let roles = self.roles()?;
        let partition = self.partition(&roles, words, environment)?;
        self.check_roles(&roles, words, partition)?;
        if let Some(filter) = self.lookup_attribute.as_ref().filter(|_| self.insights)
            && !filter.fits(Category::Insight)
        {
            return Err(Failure::usage(format!(
                "'--insights' cannot be used with '--lookup-attribute {filter}': Insights events have only EventId, \
                 EventName and EventSource"
            )));
        }
        Ok(Cloud {
            profile: self.profile.clone(),
            ca_bundle: environment.aws_ca_bundle.clone(),
            partition,
            regions: match &self.regions {
                Some(Regions::Named(names)) => Some(names.clone()),
                Some(Regions::All) | None => None,
            },
            roles,
            external_id: self.external_id.clone(),
            accounts: self.accounts.clone(),
            history: History {
                settle: self.settle.map_or(DEFAULT_SETTLE, Age::length),
                overlap: self.overlap.map_or(DEFAULT_OVERLAP, Age::length),
                insights: self.insights,
                filter: self.filter(),
            },
            trails: Trails {
                kinds: self.kinds.clone(),
                late_days: self.late_days.unwrap_or(DEFAULT_LATE_DAYS),
                requester_pays: self.requester_pays,
            },
        })
    }

    fn filter(&self) -> Option<Filter> {
        match (self.read_only, self.write_only) {
            (true, _) => Some(Filter::read_only()),
            (_, true) => Some(Filter::write_only()),
            _ => self.lookup_attribute.clone(),
        }
    }

    /// Refuses options that would change nothing.
    fn check_use(&self, words: &Words, signs: bool) -> Result<(), Failure> {
        let (lookup, buckets, aws) = (words.lookup.is_some(), words.has_buckets(), words.is_aws());
        let table = [
            ("--profile", self.profile.is_some(), aws || signs, "AWS"),
            ("--regions", self.regions.is_some(), aws, "AWS"),
            ("--assume-role", !self.assume_role.is_empty(), aws, "AWS"),
            ("--accounts", self.accounts.is_some(), aws, "AWS"),
            ("--settle", self.settle.is_some(), lookup, "lookup"),
            ("--overlap", self.overlap.is_some(), lookup, "lookup"),
            ("--insights", self.insights, lookup, "lookup"),
            ("--read-only", self.read_only, lookup, "lookup"),
            ("--write-only", self.write_only, lookup, "lookup"),
            ("--lookup-attribute", self.lookup_attribute.is_some(), lookup, "lookup"),
            ("--kinds", !self.kinds.is_empty(), buckets, "s3://"),
            ("--late-days", self.late_days.is_some(), buckets, "s3://"),
            ("--requester-pays", self.requester_pays, buckets, "s3://"),
        ];
        for (option, given, useful, about) in table {
            if !given || useful {
                continue;
            }
            let (what, sources) = match about {
                "lookup" => ("the event history", "'lookup'"),
                "s3://" => ("trail buckets", "'s3://BUCKET' or --trail"),
                _ => ("AWS", "'lookup' or 's3://BUCKET'"),
            };
            return Err(Failure::usage(format!("'{option}' is about {what}, and no SOURCE is"))
                .hint(format!("leave it out, or name {sources} as a SOURCE")));
        }
        Ok(())
    }

    fn roles(&self) -> Result<Vec<Template>, Failure> {
        let mut roles = Vec::new();
        for word in &self.assume_role {
            if word.starts_with("arn:") {
                roles.push(template(word, "--assume-role <ARN|FILE>")?);
                continue;
            }
            let text = fs::read_to_string(word).map_err(|error| {
                Failure::usage(format!(
                    "invalid value '{word}' for '--assume-role <ARN|FILE>': expected the ARN of a role, or a file with \
                     one on each line"
                ))
                .caused_by(&error)
            })?;
            let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            for line in lines.filter(|line| !line.is_empty()) {
                roles.push(template(line, word)?);
            }
        }
        Ok(roles)
    }

    /// Returns the one partition that all words are about. Each has credentials of its own.
    fn partition(
        &self,
        roles: &[Template],
        words: &Words,
        environment: &Environment,
    ) -> Result<Option<Partition>, Failure> {
        let mut named: Vec<(String, Partition)> = words.partitions().collect();
        if let Some(Regions::Named(regions)) = &self.regions {
            let of = |name: &String| Some((name.clone(), Partition::of_region(name)?));
            named.extend(regions.iter().filter_map(of));
        }
        let of =
            |role: &Template| Some((role.as_str().to_owned(), Partition::of_arn(role.as_str())?));
        named.extend(roles.iter().filter_map(of));
        let Some((first, partition)) = named.first() else {
            let region = environment.aws_region.as_deref();
            return Ok(region.and_then(Partition::of_region));
        };
        if let Some((other, theirs)) = named.iter().find(|(_, other)| other != partition) {
            return Err(Failure::usage(format!(
                "'{first}' belongs to the partition {partition}, and '{other}' to {theirs}: each has its own credentials"
            ))
            .hint("load from each in a run of its own"));
        }
        Ok(Some(*partition))
    }

    fn check_roles(
        &self,
        roles: &[Template],
        words: &Words,
        partition: Option<Partition>,
    ) -> Result<(), Failure> {
        let gap = roles.iter().any(Template::needs_account);
        if words.lookup.is_some() && gap && self.accounts.is_none() {
            return Err(Failure::usage("'--assume-role' has {account}, and nothing says which")
                .hint("add --accounts ID,… or --accounts organization"));
        }
        if words.has_buckets() && (gap || roles.len() > 1) {
            return Err(Failure::usage(
                "a bucket is read by one identity, and '--assume-role' names several",
            )
            .hint("give one role without {account}; load lookup and s3:// in two runs"));
        }
        if words.lookup.is_some()
            && roles.is_empty()
            && matches!(self.accounts, Some(Accounts::Organization))
        {
            return Err(Failure::usage(
                "'--accounts organization' needs a role that exists in each account",
            )
            .hint(format!("add --assume-role '{}'", role_of_each(partition))));
        }
        Ok(())
    }
}

/// Returns what a role that exists in each account is called.
pub(super) fn role_of_each(partition: Option<Partition>) -> String {
    format!("arn:{}:iam::{}:role/NAME", partition.unwrap_or(Partition::Aws), role::ACCOUNT)
}

fn template(text: &str, named_by: &str) -> Result<Template, Failure> {
    Template::new(text).map_err(|_| {
        Failure::usage(format!(
            "invalid value '{text}' for '{named_by}': expected the ARN of a role, such as \
             arn:aws:iam::111122223333:role/trailload"
        ))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::exit::Exit;

    #[derive(Parser)]
    struct Typed {
        sources: Vec<std::ffi::OsString>,
        #[command(flatten)]
        args: Args,
    }

    fn plan(typed: &[&str]) -> Result<Cloud, Failure> {
        let typed = Typed::try_parse_from(["load"].iter().chain(typed)).unwrap();
        let words = Words::new(&typed.sources, &typed.args.trail)?;
        typed.args.plan(&words, false, &Environment::default())
    }

    #[test]
    fn the_defaults_are_those_that_help_names() {
        let cloud = plan(&[]).unwrap();
        assert_eq!(cloud.history.settle, Duration::from_mins(15));
        assert_eq!(cloud.history.overlap, Duration::from_hours(24));
        assert_eq!(cloud.history.wishes(), [(Category::Management, None)]);
        assert_eq!(cloud.trails.late_days, 30);
        assert_eq!((cloud.regions, cloud.accounts, cloud.roles.len()), (None, None, 0));
    }

    #[test]
    fn every_option_reaches_the_plan() {
        let cloud = plan(&[
            "lookup",
            "s3://logs",
            "--profile",
            "audit",
            "--regions",
            "eu-west-1, us-east-1,eu-west-1",
            "--assume-role",
            "arn:aws:iam::111122223333:role/reader",
            "--external-id",
            "word",
            "--accounts",
            "111122223333,444455556666",
            "--settle",
            "30m",
            "--overlap",
            "2d",
            "--insights",
            "--write-only",
            "--kinds",
            "CloudTrail,insight",
            "--late-days",
            "3",
            "--requester-pays",
        ])
        .unwrap();
        assert_eq!(cloud.profile.as_deref(), Some("audit"));
        assert_eq!(cloud.regions.unwrap(), ["eu-west-1", "us-east-1"]);
        assert_eq!(cloud.roles.len(), 1);
        assert_eq!(cloud.external_id.as_deref(), Some("word"));
        let accounts = vec!["111122223333".to_owned(), "444455556666".to_owned()];
        assert_eq!(cloud.accounts, Some(Accounts::Listed(accounts)));
        assert_eq!(cloud.history.settle, Duration::from_mins(30));
        assert_eq!(cloud.history.overlap, Duration::from_hours(48));
        let wishes = cloud.history.wishes();
        assert_eq!(wishes[0], (Category::Management, Some(Filter::write_only())));
        assert_eq!(wishes[1], (Category::Insight, None));
        assert_eq!(cloud.trails.kinds, [LogKind::Events, LogKind::Insight]);
        assert_eq!((cloud.trails.late_days, cloud.trails.requester_pays), (3, true));
    }

    #[test]
    fn roles_come_from_a_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roles");
        fs::write(
            &file,
            "# ours\narn:aws:iam::111122223333:role/a\n\n  arn:aws:iam::{account}:role/b # all\n",
        )
        .unwrap();
        let name = file.to_str().unwrap();
        let cloud = plan(&["--assume-role", name, "--accounts", "organization"]).unwrap();
        let gaps: Vec<bool> = cloud.roles.iter().map(Template::needs_account).collect();
        assert_eq!(gaps, [false, true]);
        fs::write(&file, "arn:aws:iam::1:role/a\n").unwrap();
        let failure = plan(&["--assume-role", name]).unwrap_err();
        assert!(failure.heading.contains("invalid value 'arn:aws:iam::1:role/a'"), "{failure:?}");
    }

    #[test]
    fn an_option_that_would_change_nothing_is_refused() {
        for (typed, option) in [
            (&["a.json", "--profile", "p"][..], "'--profile' is about AWS"),
            (&["a.json", "--regions", "all"], "'--regions' is about AWS"),
            (&["s3://logs", "--insights"], "'--insights' is about the event history"),
            (&["s3://logs", "--overlap", "1h"], "'--overlap' is about the event history"),
            (&["lookup", "--kinds", "Insight"], "'--kinds' is about trail buckets"),
            (&["--late-days", "3"], "'--late-days' is about trail buckets"),
        ] {
            let failure = plan(typed).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{typed:?}");
            assert!(failure.heading.starts_with(option), "{failure:?}");
            assert!(failure.hint.is_some());
        }
        assert!(plan(&["--trail", "audit", "--late-days", "3"]).is_ok());
    }

    #[test]
    fn any_word_or_the_region_names_the_partition() {
        for (typed, partition) in [
            (&["arn:aws-us-gov:s3:::logs"][..], Some(Partition::GovCloud)),
            (&["--trail", "arn:aws-cn:cloudtrail:cn-north-1:1:trail/a"], Some(Partition::China)),
            (&["lookup", "--regions", "us-gov-west-1"], Some(Partition::GovCloud)),
            (
                &["lookup", "--assume-role", "arn:aws-cn:iam::111122223333:role/r"],
                Some(Partition::China),
            ),
            (&["s3://logs"], None),
        ] {
            assert_eq!(plan(typed).unwrap().partition, partition, "{typed:?}");
        }
        let region = Some("cn-north-1".to_owned());
        let environment = Environment { aws_region: region, ..Environment::default() };
        let words = Words::new(&["s3://logs".into()], &[]).unwrap();
        let cloud = Args::default().plan(&words, false, &environment).unwrap();
        assert_eq!(cloud.partition, Some(Partition::China));
        let organization = Args { accounts: Some(Accounts::Organization), ..Args::default() };
        let lookup = Words::new(&["lookup".into()], &[]).unwrap();
        let failure = organization.plan(&lookup, false, &environment).unwrap_err();
        assert!(failure.hint.unwrap().contains("arn:aws-cn:iam::{account}:role/NAME"));
    }

    #[test]
    fn contradictions_are_exit_2() {
        let template = "arn:aws:iam::{account}:role/a";
        for (typed, part) in [
            (&["--assume-role", template][..], "nothing says which"),
            (&["--accounts", "organization"], "needs a role that exists in each account"),
            (
                &["s3://logs", "--assume-role", template, "--accounts", "organization"],
                "a bucket is read by one identity",
            ),
            (
                &["arn:aws-cn:s3:::logs", "--regions", "us-east-1"],
                "'s3://logs' belongs to the partition aws-cn, and 'us-east-1' to aws",
            ),
            (&["--assume-role", "nobody"], "invalid value 'nobody' for '--assume-role <ARN|FILE>'"),
            (
                &["--insights", "--lookup-attribute", "Username=alice"],
                "'--insights' cannot be used with '--lookup-attribute Username=alice'",
            ),
        ] {
            let failure = plan(typed).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{typed:?}");
            assert!(failure.heading.contains(part), "{failure:?}");
        }
        assert!(plan(&["--insights", "--lookup-attribute", "EventName=RunInstances"]).is_ok());
    }

    #[test]
    fn lists_are_read_whole() {
        assert_eq!("all".parse(), Ok(Regions::All));
        assert_eq!("organization".parse(), Ok(Accounts::Organization));
        assert_eq!("eu-west-1,".parse::<Regions>(), Err(ListError::Region(String::new())));
        assert_eq!("moon-1".parse::<Regions>(), Err(ListError::Region("moon-1".to_owned())));
        assert_eq!("12".parse::<Accounts>(), Err(ListError::Account("12".to_owned())));
    }
}
