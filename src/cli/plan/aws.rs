//! The AWS part of a plan: checks the options about AWS, and fills in their defaults.
//!
//! Input: [`AwsArgs`], the sources, and the files that list roles. Output: [`AwsOptions`].
//! Invariant: an option that has no effect is rejected by name.
//! Not here: requests to AWS.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::sources::SourceList;
use crate::{
    aws::{AwsPartition, RoleTemplate, role},
    cli::{
        args::{
            aws::{Accounts, AwsArgs, Regions},
            time::Age,
        },
        environment::{self, Environment},
        failure::Failure,
    },
    source::{
        lookup::{Category, LookupFilter},
        queue::MessageDeletion,
        s3::LogKind,
    },
};

/// By default, a run fetches events again that were newer than this in the run before: some are delivered late.
const DEFAULT_OVERLAP: Duration = Duration::from_hours(24);

/// By default, events newer than this are left to the next run: CloudTrail may not return all of them yet.
const DEFAULT_DELAY: Duration = Duration::from_mins(15);

/// By default, logs are expected to be delivered up to this many days late.
const DEFAULT_LATE_DAYS: u32 = 30;

/// How requests to the engine are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineAuth {
    /// By the credentials of the engine, or not at all.
    Credentials,
    /// By signatures with AWS credentials: `--aws-auth`.
    SigV4,
}

/// How AWS is accessed, and what is loaded from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsOptions {
    /// The profile from the AWS configuration.
    pub profile: Option<String>,
    /// File with CA certificates to trust for AWS: `AWS_CA_BUNDLE`.
    pub ca_bundle: Option<PathBuf>,
    /// The partition of the ARNs and Regions that were given, or of the Region in the environment.
    pub partition: Option<AwsPartition>,
    /// Regions to load; all if `None`.
    pub regions: Option<Vec<String>>,
    /// Roles to assume.
    pub roles: Vec<RoleTemplate>,
    /// External ID to pass when assuming a role.
    pub external_id: Option<String>,
    /// Accounts to load. If `None`: those of the roles, the caller's own, or all in the bucket.
    pub accounts: Option<Accounts>,
    /// Options of the event history.
    pub history: HistoryOptions,
    /// Options of trail buckets.
    pub trails: TrailOptions,
    /// Which messages of queues are deleted.
    pub messages: MessageDeletion,
}

/// Options of the event history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Events newer than this are left to the next run.
    pub delay: Duration,
    /// Events newer than this are fetched again by the next run.
    pub overlap: Duration,
    /// Whether Insights events are loaded too.
    pub insights: bool,
    /// Restricts which events are loaded.
    pub filter: Option<LookupFilter>,
}

/// Options of trail buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailOptions {
    /// Kinds of logs to load; all if empty.
    pub kinds: Vec<LogKind>,
    /// Number of days after which no log is expected to be delivered any more.
    pub late_days: u32,
    /// Whether the caller agrees to pay for requests.
    pub requester_pays: bool,
}

impl HistoryOptions {
    /// Returns the queries to run in each Region: event categories, each with its filter.
    ///
    /// `--read-only` and `--write-only` do not apply to Insights events, which have no such attribute.
    pub fn queries(&self) -> Vec<(Category, Option<LookupFilter>)> {
        let mut queries = vec![(Category::Management, self.filter.clone())];
        if self.insights {
            let filter = self.filter.clone().filter(|filter| filter.supports(Category::Insight));
            queries.push((Category::Insight, filter));
        }
        queries
    }
}

impl AwsArgs {
    /// Checks the options against the sources. Reads the files that list roles, and nothing else.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] that names the option, what was given, and what is expected.
    pub fn plan(
        &self,
        sources: &SourceList,
        engine_auth: EngineAuth,
        environment: &Environment,
    ) -> Result<AwsOptions, Failure> {
        self.check_relevance(sources, engine_auth)?;
        let roles = self.roles()?;
        let partition = self.partition(&roles, sources, environment)?;
        self.check_roles(&roles, sources, partition)?;
        if let Some(filter) =
            self.history.lookup_attribute.as_ref().filter(|_| self.history.insights)
            && !filter.supports(Category::Insight)
        {
            return Err(Failure::usage(format!(
                "'--insights' cannot be used with '--lookup-attribute {filter}': Insights events only have the attributes EventId, EventName and EventSource"
            )));
        }
        Ok(AwsOptions {
            profile: self.access.profile.clone(),
            ca_bundle: environment.aws_ca_bundle.clone(),
            partition,
            regions: match &self.access.regions {
                Some(Regions::Named(names)) => Some(names.clone()),
                Some(Regions::All) | None => None,
            },
            roles,
            external_id: self.access.external_id.clone(),
            accounts: self.access.accounts.clone(),
            history: HistoryOptions {
                delay: self.history.delay.map_or(DEFAULT_DELAY, Age::length),
                overlap: self.history.overlap.map_or(DEFAULT_OVERLAP, Age::length),
                insights: self.history.insights,
                filter: self.filter(),
            },
            trails: TrailOptions {
                kinds: self.buckets.kinds.clone(),
                late_days: self.buckets.late_days.unwrap_or(DEFAULT_LATE_DAYS),
                requester_pays: self.buckets.requester_pays,
            },
            messages: match (self.queues.keep_messages, self.queues.delete_foreign_messages) {
                (true, _) => MessageDeletion::None,
                (false, true) => MessageDeletion::SettledAndForeign,
                (false, false) => MessageDeletion::Settled,
            },
        })
    }

    /// Rejects options about deleting messages, because `mode` deletes none.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] that names the option.
    pub fn check_deletes_nothing(&self, mode: &str) -> Result<(), Failure> {
        let options = [
            ("--keep-messages", self.queues.keep_messages),
            ("--delete-foreign-messages", self.queues.delete_foreign_messages),
        ];
        match options.into_iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(Failure::usage(format!(
                "'{option}' has no effect with '{mode}', which deletes no message"
            ))
            .hint(format!("remove {option}"))),
            None => Ok(()),
        }
    }

    fn filter(&self) -> Option<LookupFilter> {
        match (self.history.read_only, self.history.write_only) {
            (true, _) => Some(LookupFilter::read_only()),
            (_, true) => Some(LookupFilter::write_only()),
            _ => self.history.lookup_attribute.clone(),
        }
    }

    /// Rejects options that have no effect on the given sources.
    fn check_relevance(
        &self,
        sources: &SourceList,
        engine_auth: EngineAuth,
    ) -> Result<(), Failure> {
        let (lookup, buckets, queues, aws) = (
            sources.lookup.is_some(),
            sources.has_buckets(),
            sources.has_queues(),
            sources.uses_aws(),
        );
        let signs = engine_auth == EngineAuth::SigV4;
        let table = [
            ("--profile", self.access.profile.is_some(), aws || signs, "AWS"),
            ("--regions", self.access.regions.is_some(), lookup || buckets, "selected"),
            ("--assume-role", !self.access.assume_role.is_empty(), aws, "AWS"),
            ("--accounts", self.access.accounts.is_some(), lookup || buckets, "selected"),
            ("--delay", self.history.delay.is_some(), lookup, "lookup"),
            ("--overlap", self.history.overlap.is_some(), lookup, "lookup"),
            ("--insights", self.history.insights, lookup, "lookup"),
            ("--read-only", self.history.read_only, lookup, "lookup"),
            ("--write-only", self.history.write_only, lookup, "lookup"),
            ("--lookup-attribute", self.history.lookup_attribute.is_some(), lookup, "lookup"),
            ("--kinds", !self.buckets.kinds.is_empty(), buckets, "s3://"),
            ("--late-days", self.buckets.late_days.is_some(), buckets, "s3://"),
            ("--requester-pays", self.buckets.requester_pays, buckets || queues, "s3://"),
            ("--keep-messages", self.queues.keep_messages, queues, "sqs://"),
            ("--delete-foreign-messages", self.queues.delete_foreign_messages, queues, "sqs://"),
        ];
        for (option, is_given, is_relevant, applies_to) in table {
            if !is_given || is_relevant {
                continue;
            }
            let (what, example) = match applies_to {
                "lookup" => ("the event history", "the SOURCE 'lookup'"),
                "s3://" => ("trail buckets", "a SOURCE 's3://BUCKET' or --trail"),
                "sqs://" => ("queues", "a SOURCE 'sqs://QUEUE'"),
                "selected" => {
                    ("the event history and trail buckets", "a SOURCE 'lookup' or 's3://BUCKET'")
                }
                _ => ("sources in AWS", "a SOURCE 'lookup' or 's3://BUCKET'"),
            };
            return Err(Failure::usage(format!(
                "'{option}' applies only to {what}, and no such SOURCE is given"
            ))
            .hint(format!("remove the option, or add {example}")));
        }
        Ok(())
    }

    fn roles(&self) -> Result<Vec<RoleTemplate>, Failure> {
        let mut roles = Vec::new();
        for value in &self.access.assume_role {
            if value.starts_with("arn:") {
                roles.push(template(value, "--assume-role <ARN|FILE>")?);
                continue;
            }
            let text = environment::read_text(Path::new(value)).map_err(|error| {
                Failure::usage(format!(
                    "invalid value '{value}' for '--assume-role <ARN|FILE>': expected the ARN of a role, or a file with \
                     one ARN per line"
                ))
                .caused_by(&error)
            })?;
            let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            for line in lines.filter(|line| !line.is_empty()) {
                roles.push(template(line, value)?);
            }
        }
        Ok(roles)
    }

    /// Returns the partition of all ARNs and Regions. There is only one, because each partition has its own credentials.
    fn partition(
        &self,
        roles: &[RoleTemplate],
        sources: &SourceList,
        environment: &Environment,
    ) -> Result<Option<AwsPartition>, Failure> {
        let mut named: Vec<(String, AwsPartition)> = sources.partitions().collect();
        if let Some(Regions::Named(regions)) = &self.access.regions {
            let of = |name: &String| Some((name.clone(), AwsPartition::from_region(name)?));
            named.extend(regions.iter().filter_map(of));
        }
        let of = |role: &RoleTemplate| {
            Some((role.as_str().to_owned(), AwsPartition::from_arn(role.as_str())?))
        };
        named.extend(roles.iter().filter_map(of));
        let Some((first, partition)) = named.first() else {
            let region = environment.aws_region.as_deref();
            return Ok(region.and_then(AwsPartition::from_region));
        };
        if let Some((other, theirs)) = named.iter().find(|(_, other)| other != partition) {
            return Err(Failure::usage(format!(
                "'{first}' is in partition {partition}, and '{other}' is in {theirs}; partitions have separate credentials"
            ))
            .hint("use a separate run for each partition"));
        }
        Ok(Some(*partition))
    }

    fn check_roles(
        &self,
        roles: &[RoleTemplate],
        sources: &SourceList,
        partition: Option<AwsPartition>,
    ) -> Result<(), Failure> {
        let has_template = roles.iter().any(RoleTemplate::has_placeholder);
        if sources.lookup.is_some() && has_template && self.access.accounts.is_none() {
            return Err(Failure::usage(
                "'--assume-role' contains {account}, but no accounts are given",
            )
            .hint("add --accounts ID,… or --accounts organization"));
        }
        if (sources.has_buckets() || sources.has_queues()) && (has_template || roles.len() > 1) {
            let what = if sources.has_buckets() { "bucket" } else { "queue" };
            return Err(Failure::usage(format!(
                "a {what} is read with one role, but '--assume-role' names several",
            ))
            .hint(
                "use one role without {account}; read 'lookup' and other sources in separate runs",
            ));
        }
        if sources.lookup.is_some()
            && roles.is_empty()
            && matches!(self.access.accounts, Some(Accounts::Organization))
        {
            return Err(Failure::usage(
                "'--accounts organization' requires a role in each account",
            )
            .hint(format!("add --assume-role '{}'", role_arn_template(partition))));
        }
        Ok(())
    }
}

/// Returns an example ARN of a role that exists in each account.
pub(in crate::cli) fn role_arn_template(partition: Option<AwsPartition>) -> String {
    format!(
        "arn:{}:iam::{}:role/NAME",
        partition.unwrap_or(AwsPartition::Aws),
        role::ACCOUNT_PLACEHOLDER
    )
}

fn template(text: &str, named_by: &str) -> Result<RoleTemplate, Failure> {
    RoleTemplate::new(text).map_err(|_| {
        Failure::usage(format!(
            "invalid value '{text}' for '{named_by}': expected the ARN of a role, such as \
             arn:aws:iam::111122223333:role/trailload"
        ))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use std::fs;

    use super::*;
    use crate::cli::{args::aws::AccessArgs, exit::Exit};

    #[derive(Parser)]
    struct Typed {
        sources: Vec<std::ffi::OsString>,
        #[command(flatten)]
        args: AwsArgs,
    }

    fn plan(typed: &[&str]) -> Result<AwsOptions, Failure> {
        let typed = Typed::try_parse_from(["load"].iter().chain(typed)).unwrap();
        let sources = SourceList::new(&typed.sources, &typed.args.buckets.trail)?;
        typed.args.plan(&sources, EngineAuth::Credentials, &Environment::default())
    }

    #[test]
    fn the_defaults_are_those_that_help_names() {
        let cloud = plan(&[]).unwrap();
        assert_eq!(cloud.history.delay, Duration::from_mins(15));
        assert_eq!(cloud.history.overlap, Duration::from_hours(24));
        assert_eq!(cloud.history.queries(), [(Category::Management, None)]);
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
            "--delay",
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
        assert_eq!(cloud.history.delay, Duration::from_mins(30));
        assert_eq!(cloud.history.overlap, Duration::from_hours(48));
        let wishes = cloud.history.queries();
        assert_eq!(wishes[0], (Category::Management, Some(LookupFilter::write_only())));
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
        let gaps: Vec<bool> = cloud.roles.iter().map(RoleTemplate::has_placeholder).collect();
        assert_eq!(gaps, [false, true]);
        fs::write(&file, "arn:aws:iam::1:role/a\n").unwrap();
        let failure = plan(&["--assume-role", name]).unwrap_err();
        assert!(failure.heading.contains("invalid value 'arn:aws:iam::1:role/a'"), "{failure:?}");
    }

    #[test]
    fn an_option_that_would_change_nothing_is_refused() {
        for (typed, option) in [
            (&["a.json", "--profile", "p"][..], "'--profile' applies only to sources in AWS"),
            (&["a.json", "--regions", "all"], "'--regions' applies only to the event history"),
            (&["s3://logs", "--insights"], "'--insights' applies only to the event history"),
            (&["s3://logs", "--overlap", "1h"], "'--overlap' applies only to the event history"),
            (&["lookup", "--kinds", "Insight"], "'--kinds' applies only to trail buckets"),
            (&["--late-days", "3"], "'--late-days' applies only to trail buckets"),
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
            (&["arn:aws-us-gov:s3:::logs"][..], Some(AwsPartition::GovCloud)),
            (&["--trail", "arn:aws-cn:cloudtrail:cn-north-1:1:trail/a"], Some(AwsPartition::China)),
            (&["lookup", "--regions", "us-gov-west-1"], Some(AwsPartition::GovCloud)),
            (
                &["lookup", "--assume-role", "arn:aws-cn:iam::111122223333:role/r"],
                Some(AwsPartition::China),
            ),
            (&["s3://logs"], None),
        ] {
            assert_eq!(plan(typed).unwrap().partition, partition, "{typed:?}");
        }
        let region = Some("cn-north-1".to_owned());
        let environment = Environment { aws_region: region, ..Environment::default() };
        let words = SourceList::new(&["s3://logs".into()], &[]).unwrap();
        let cloud = AwsArgs::default().plan(&words, EngineAuth::Credentials, &environment).unwrap();
        assert_eq!(cloud.partition, Some(AwsPartition::China));
        let organization = AwsArgs {
            access: AccessArgs { accounts: Some(Accounts::Organization), ..AccessArgs::default() },
            ..AwsArgs::default()
        };
        let lookup = SourceList::new(&["lookup".into()], &[]).unwrap();
        let failure =
            organization.plan(&lookup, EngineAuth::Credentials, &environment).unwrap_err();
        assert!(failure.hint.unwrap().contains("arn:aws-cn:iam::{account}:role/NAME"));
    }

    #[test]
    fn contradictions_are_exit_2() {
        let template = "arn:aws:iam::{account}:role/a";
        for (typed, part) in [
            (&["--assume-role", template][..], "no accounts are given"),
            (&["--accounts", "organization"], "requires a role in each account"),
            (
                &["s3://logs", "--assume-role", template, "--accounts", "organization"],
                "a bucket is read with one role",
            ),
            (
                &["arn:aws-cn:s3:::logs", "--regions", "us-east-1"],
                "'s3://logs' is in partition aws-cn, and 'us-east-1' is in aws",
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
}
