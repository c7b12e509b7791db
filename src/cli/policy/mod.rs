//! `trailload policy`: prints the minimal IAM policy for a load or another command, or a role of an engine.
//!
//! Input: the arguments of a load, and the policies of `policy/`. Output: one IAM policy or role on standard output, and notes
//! about it on standard error.
//! Invariant: no request is sent, so the command works without any permission. A statement is the one of the file, with
//! resources as narrow as the arguments allow; an unknown name is a placeholder in capitals, which matches nothing in AWS.
//!
//! | file | responsibility |
//! |---|---|
//! | `engine` | signed requests to an engine at AWS |
//! | `role` | roles of OpenSearch and Elasticsearch |

mod engine;
mod role;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use url::Url;

use self::engine::DomainAccess;
pub use self::role::RoleFormat;
use super::{
    args::{aws::Accounts, given::GivenOptions, load::LoadArgs},
    environment::Environment,
    failure::Failure,
    plan::{
        aws::AwsOptions,
        engine::engine_url,
        sources::{LOOKUP as LOOKUP_SOURCE, SourceList},
    },
    rule_files::load_valid_rules,
};
use crate::{
    aws::{AwsPartition, role::ACCOUNT_PLACEHOLDER},
    report::Log,
    sink::alert::{Action, TopicAccess},
    source::{
        queue::QueueAddress,
        s3::{self, Address},
    },
};

const LOOKUP: &str = include_str!("../../../policy/lookup.json");
const TRAIL: &str = include_str!("../../../policy/trail.json");
const QUEUE: &str = include_str!("../../../policy/queue.json");
const ASSUME_ROLE: &str = include_str!("../../../policy/assume-role.json");
const ORGANIZATION: &str = include_str!("../../../policy/organization.json");
const ALERTS: &str = include_str!("../../../policy/alerts.json");
const ALERT_STATE: &str = include_str!("../../../policy/alert-state.json");

/// The whole of `trailload policy --help`, below its usage.
const AFTER_HELP: &str = "\
Takes the arguments of a load (see 'trailload load --help') and prints an IAM policy that allows
only what this load needs. Sends no requests. Prints notes about the policy on standard error.
With --rules, it is also the policy of 'trailload watch' with these sources, rules and actions.
With --role, prints a role that OpenSearch or Elasticsearch accepts, for the indices of --index.

Examples:
  Load the event history of this account
    trailload policy
  Load one folder of the bucket of a trail
    trailload policy s3://my-trail/AWSLogs/o-example/ > policy.json
  Assume a role in each account of an organization
    trailload policy --accounts organization --assume-role 'arn:aws:iam::{account}:role/trailload'
  Watch the event history, and publish alerts to a topic of SNS
    trailload policy lookup --rules rules/ --actions actions.yml
  Set up a domain of Amazon OpenSearch Service
    trailload policy --for setup --aws-auth --into https://search-trail-abc.eu-west-1.es.amazonaws.com
  A role for the user of 'trailload setup --dashboards' in a space of Kibana
    trailload policy --for setup --role elasticsearch --dashboards https://kibana.example/s/security";

/// The arguments of `trailload policy`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(
    override_usage = "trailload policy [--for COMMAND] [--role ENGINE] [OPTIONS OF LOAD] [SOURCE]..."
)]
#[group(skip)]
#[command(
    mut_arg("into", |into| into.required(false)),
    mut_args(|arg| { let is_own = OWN.contains(&arg.get_id().as_str()); arg.hide(!is_own) })
)]
pub struct PolicyArgs {
    /// Print what this command needs
    #[arg(long = "for", value_name = "COMMAND", value_enum, default_value_t)]
    command: PolicyCommand,
    /// Print a role of this engine instead of an IAM policy
    #[arg(long, value_name = "ENGINE", value_enum)]
    role: Option<RoleFormat>,
    /// The arguments of the load.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// The arguments that other commands do not have.
const OWN: [&str; 2] = ["command", "role"];

/// A command that needs permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum PolicyCommand {
    /// 'trailload load', 'watch' and 'doctor'
    #[default]
    Load,
    /// 'trailload search --in index'
    Search,
    /// 'trailload dashboards --html' with an engine
    Dashboards,
    /// 'trailload setup', with --enforce-retention and --remove
    Setup,
}

impl PolicyCommand {
    /// Returns the options that the printed document depends on.
    fn effective_options(self, role: Option<RoleFormat>) -> Option<&'static [&'static str]> {
        Some(match (self, role) {
            (Self::Load, None) => return None,
            (Self::Load, Some(_)) => {
                &["--for", "--role", "--index", "--check-duplicates", "--dashboards"]
            }
            (Self::Setup, Some(_)) => &["--for", "--role", "--index", "--dashboards"],
            (Self::Search | Self::Dashboards, Some(_)) => &["--for", "--role", "--index"],
            (Self::Setup, None) => &["--for", "--into", "--aws-auth", "--dashboards"],
            (Self::Search | Self::Dashboards, None) => &["--for", "--into", "--aws-auth"],
        })
    }
}

/// Runs `trailload policy`.
///
/// # Errors
///
/// Returns a usage [`Failure`] if the arguments are invalid.
pub(super) fn run(
    args: &PolicyArgs,
    given: &GivenOptions,
    environment: &Environment,
    log: &Log,
) -> Result<(), Failure> {
    args.check(given)?;
    let document = match (args.role, args.command) {
        (Some(format), command) => role::role(format, command, &args.load, log)?,
        (None, PolicyCommand::Load) => {
            PolicyRequest::new(&args.load, environment, log)?.policy(log)
        }
        (None, command) => engine::policy(command, &args.load, log)?,
    };
    super::print(&format!("{document:#}\n"))
}

impl PolicyArgs {
    /// Rejects options that have no effect.
    fn check(&self, given: &GivenOptions) -> Result<(), Failure> {
        let Some(effective) = self.command.effective_options(self.role) else { return Ok(()) };
        let selected_by = if self.role.is_some() { "--role" } else { "--for" };
        let mut others = given.iter().filter(|option| !effective.contains(option));
        let first = others.next().or(if self.load.source.sources.is_empty() {
            None
        } else {
            Some("SOURCE")
        });
        match first {
            None => Ok(()),
            Some(name) => {
                Err(Failure::usage(format!("'{name}' has no effect with '{selected_by}'"))
                    .hint(format!("remove {name} or {selected_by}")))
            }
        }
    }
}

/// The parts of a load that permissions depend on.
struct PolicyRequest {
    sources: SourceList,
    aws: AwsOptions,
    /// The engine, if requests to it are signed.
    engine: Option<Url>,
    /// The actions of the rules.
    actions: Vec<Action>,
    /// The table in which alerts are shared, as in its ARN.
    state: Option<String>,
    /// The Region of the environment.
    region: Option<String>,
}

/// Who sends a request to AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Principal {
    /// The owner of the credentials.
    Caller,
    /// The roles that the caller assumes.
    Role,
}

impl PolicyRequest {
    fn new(args: &LoadArgs, environment: &Environment, log: &Log) -> Result<Self, Failure> {
        let sources = SourceList::new(&args.source.sources, &args.aws.buckets.trail)?;
        let aws = args.aws.plan(&sources, args.engine_auth(), environment)?;
        let signs = args.engine.connection.aws_auth;
        let engine = match &args.engine.connection.into {
            Some(into) => Some(engine_url(into)?).filter(|_| signs),
            None if signs => {
                return Err(Failure::usage("'--aws-auth' requires an engine, but none is given")
                    .hint("add --into https://…"));
            }
            None => None,
        };
        let actions = match args.rules.as_slice() {
            [] => Vec::new(),
            rules => args.alerts.plan(&load_valid_rules(rules, log)?, log)?.actions,
        };
        let state = args.alerts.with_environment(environment)?.alert_state;
        // A variable has no effect without rules; the option is for a function of AWS Lambda, whose rules are elsewhere.
        let is_used = args.alerts.alert_state.is_some() || !args.rules.is_empty();
        let state = state.filter(|_| is_used);
        let state = state.map(|address| {
            let region = address.region.or_else(|| environment.aws_region.clone());
            let region = region.unwrap_or_else(|| "REGION".to_owned());
            format!("{region}:ACCOUNT:table/{}", address.table)
        });
        let region = environment.aws_region.clone();
        Ok(Self { sources, aws, engine, actions, state, region })
    }

    /// Returns the policy of the caller, and logs notes about it.
    fn policy(&self, log: &Log) -> Value {
        let statements = self.caller(log);
        if statements.is_empty() {
            log.info("policy", "this load does not use AWS, so the policy is empty");
        }
        if !self.aws.roles.is_empty() {
            self.log_roles(log);
        }
        if self.sources.has_queues() {
            self.log_queue_key(log);
        }
        if self.sources.has_buckets() {
            log.info(
                "policy",
                format_args!(
                    "if objects are encrypted with a KMS key (SSE-KMS), their reader also needs this statement, with the \
                     ARN of the key: {}",
                    statement(TRAIL, "DecryptLogs")
                        .to_string()
                        .replace("arn:aws:", &format!("arn:{}:", self.partition()))
                ),
            );
        }
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    fn caller(&self, log: &Log) -> Vec<Value> {
        let mut statements = Vec::new();
        if matches!(self.aws.accounts, Some(Accounts::Organization)) {
            log.info(
                "policy",
                "ListAccounts works only in the management account or a delegated administrator account",
            );
            statements.push(statement(ORGANIZATION, "FindAccounts"));
        }
        if !self.aws.roles.is_empty() {
            statements.push(with(statement(ASSUME_ROLE, "AssumeRoles"), "Resource", self.roles()));
        }
        if self.sources.lookup.is_some() && self.caller_reads_own_account() {
            statements.extend(self.lookup());
        }
        if self.sources.has_buckets() && self.reader() == Principal::Caller {
            statements.extend(self.buckets(log));
        }
        if self.sources.has_queues() && self.reader() == Principal::Caller {
            statements.extend(self.queues(log));
        }
        if let Some(url) = &self.engine {
            statements.push(engine::statement(url, DomainAccess::Load, self.partition(), log));
        }
        statements.extend(self.alerts(log));
        numbered(statements)
    }

    /// Returns the statements for actions: topics of SNS, and indices with signed requests.
    fn alerts(&self, log: &Log) -> Vec<Value> {
        let topics: Vec<TopicAccess<'_>> = self.actions.iter().filter_map(Action::topic).collect();
        let own = topics.iter().filter(|topic| topic.role_arn.is_none());
        let own = sorted(own.map(|topic| topic.topic_arn.to_owned()));
        let roles = sorted(topics.iter().filter_map(|topic| topic.role_arn).map(str::to_owned));
        let mut statements = Vec::new();
        if !own.is_empty() {
            let publish = statement(ALERTS, "PublishAlerts");
            statements.push(with(publish, "Resource", one_or_more(own)));
        }
        if !roles.is_empty() {
            statements.push(with(
                statement(ASSUME_ROLE, "AssumeRoles"),
                "Resource",
                one_or_more(roles),
            ));
        }
        for TopicAccess { topic_arn, role_arn } in &topics {
            if let Some(role) = role_arn {
                log.info("policy", format_args!("{role} needs sns:Publish on {topic_arn}, and a trust policy that names the caller"));
            }
        }
        if !topics.is_empty() {
            let key = statement(ALERTS, "EncryptAlerts").to_string();
            log.info(
                "policy",
                format_args!("if a topic is encrypted with a KMS key, its publisher also needs this statement, with the ARN of the key: {key}"),
            );
        }
        statements.extend(self.alert_state(log));
        let signed = self.actions.iter().filter_map(|action| action.signed_url()?.parse().ok());
        let own_engines: Vec<Url> =
            signed.filter(|url| self.engine.as_ref() != Some(url)).collect();
        statements.extend(
            own_engines
                .iter()
                .map(|url| engine::statement(url, DomainAccess::Load, self.partition(), log)),
        );
        statements
    }

    /// Returns the statement for the table in which alerts are shared.
    fn alert_state(&self, log: &Log) -> Option<Value> {
        let table = format!("arn:{}:dynamodb:{}", self.partition(), self.state.as_ref()?);
        let check =
            with(statement(ALERT_STATE, "CheckAlertState"), "Resource", table.as_str().into());
        let key = statement(ALERT_STATE, "DecryptAlertState");
        log.info(
            "policy",
            format_args!(
                "replace ACCOUNT with the account of the table; 'trailload doctor' also needs this statement: {check}; if the \
                 table is encrypted with a KMS key of your own, its users also need this one, with the ARN of the key: {key}"
            ),
        );
        Some(with(statement(ALERT_STATE, "ShareAlerts"), "Resource", table.into()))
    }

    /// Returns whether the caller reads the event history of its own account, which needs no role.
    fn caller_reads_own_account(&self) -> bool {
        let all = matches!(self.aws.accounts, Some(Accounts::Organization));
        self.aws.roles.is_empty() || all && self.has_template()
    }

    fn has_template(&self) -> bool {
        self.aws.roles.iter().any(crate::aws::RoleTemplate::has_placeholder)
    }

    fn reader(&self) -> Principal {
        if self.aws.roles.is_empty() { Principal::Caller } else { Principal::Role }
    }

    /// Returns the ARNs of the roles.
    fn roles(&self) -> Value {
        let mut arns: Vec<String> = Vec::new();
        for template in &self.aws.roles {
            match &self.aws.accounts {
                Some(Accounts::Listed(ids)) if template.has_placeholder() => {
                    arns.extend(
                        ids.iter().map(|id| template.as_str().replace(ACCOUNT_PLACEHOLDER, id)),
                    );
                }
                _ => arns.push(template.as_str().replace(ACCOUNT_PLACEHOLDER, "*")),
            }
        }
        arns.sort();
        arns.dedup();
        one_or_more(arns)
    }

    fn log_roles(&self, log: &Log) {
        log.info(
            "policy",
            format_args!(
                "this policy is for the caller; each role needs a trust policy that names the caller (see \
                 policy/README.md), and the policy that '{}' prints",
                self.command_of_role()
            ),
        );
        let listed = matches!(self.aws.accounts, Some(Accounts::Listed(_)));
        if listed && self.sources.lookup.is_some() && self.has_template() {
            log.info(
                "policy",
                "if --accounts includes the caller's own account, it is read without a role: the caller then also needs \
                 the policy of the roles",
            );
        }
    }

    /// Returns the command line that prints what a role needs.
    fn command_of_role(&self) -> String {
        let mut command = vec!["trailload policy".to_owned()];
        command.extend(self.sources.lookup.map(|_| LOOKUP_SOURCE.to_owned()));
        command.extend(self.sources.buckets.iter().map(|(_, address)| address.to_string()));
        command.extend(self.sources.queues.iter().map(|(_, address)| address.to_string()));
        command.extend(self.sources.trails.iter().map(|(_, name)| format!("--trail {name}")));
        command.extend(
            self.aws.regions.as_ref().map(|names| format!("--regions {}", names.join(","))),
        );
        command.join(" ")
    }

    fn lookup(&self) -> Vec<Value> {
        let read = statement(LOOKUP, "ReadEventHistory");
        match &self.aws.regions {
            None => vec![read, statement(LOOKUP, "FindRegions")],
            Some(names) => {
                let only = json!({ "StringEquals": { "aws:RequestedRegion": one_or_more(names.clone()) } });
                vec![with(read, "Condition", only)]
            }
        }
    }

    fn buckets(&self, log: &Log) -> Vec<Value> {
        let partition = self.partition();
        let mut statements = Vec::new();
        if !self.sources.trails.is_empty() {
            log.info(
                "policy",
                "replace BUCKET with the bucket of the trail; 'aws cloudtrail describe-trails' shows it",
            );
            let unknown =
                Address { bucket: "BUCKET".to_owned(), prefix: String::new(), partition: None };
            let (list, read) = (statement(TRAIL, "ListLogs"), statement(TRAIL, "ReadLogs"));
            statements.push(statement(TRAIL, "FindBucket"));
            statements.push(with(list, "Resource", bucket(&unknown, partition)));
            statements.push(with(read, "Resource", objects(&unknown, partition)));
        }
        for (_, address) in &self.sources.buckets {
            if address.is_access_point_alias() {
                log.info(
                    "policy",
                    format_args!(
                        "'{}' is an access point alias; replace {} with the ARN of the access point",
                        address.bucket,
                        arn(address, partition)
                    ),
                );
            }
            if address.prefix.is_empty() {
                log.info(
                    "policy",
                    format_args!(
                        "if {address} holds logs outside of AWSLogs/, allow reading {} instead",
                        s3::objects_arn(&address.bucket, "*", partition)
                    ),
                );
            }
            let read = statement(TRAIL, "ReadLogs");
            statements.push(list(address, partition));
            statements.push(with(read, "Resource", objects(address, partition)));
        }
        numbered(statements)
    }

    /// Returns the statements for queues, and for the log files that their messages name.
    fn queues(&self, log: &Log) -> Vec<Value> {
        let partition = self.partition();
        let arn = |address: &QueueAddress| address.arn(self.region.as_deref(), partition);
        let queues = self.sources.queues.iter().map(|(_, address)| address);
        let all = sorted(queues.clone().map(arn));
        // The URL of a queue with an account is known.
        let named = sorted(queues.filter(|address| address.account.is_none()).map(arn));
        if all.iter().any(|arn| arn.contains(":REGION:") || arn.contains(":ACCOUNT:")) {
            log.info(
                "policy",
                "replace REGION and ACCOUNT with those of the queue; its ARN or URL as SOURCE contains them",
            );
        }
        log.info(
            "policy",
            "replace BUCKET with the bucket whose log files the messages name; remove ReadNamedLogs if all messages hold \
             the events themselves (EventBridge)",
        );
        let mut statements =
            vec![with(statement(QUEUE, "ReadQueue"), "Resource", one_or_more(all))];
        if !named.is_empty() {
            let find = statement(QUEUE, "FindQueue");
            statements.push(with(find, "Resource", one_or_more(named)));
        }
        let bucket =
            Address { bucket: "BUCKET".to_owned(), prefix: String::new(), partition: None };
        let read = statement(QUEUE, "ReadNamedLogs");
        statements.push(with(read, "Resource", objects(&bucket, partition)));
        statements
    }

    fn log_queue_key(&self, log: &Log) {
        log.info(
            "policy",
            format_args!(
                "if the queue or the log files are encrypted with a KMS key, their reader also needs this statement, with the \
                 ARN of the key: {}",
                statement(QUEUE, "DecryptMessagesAndLogs")
                    .to_string()
                    .replace("arn:aws:", &format!("arn:{}:", self.partition()))
            ),
        );
    }

    /// Returns the partition of the arguments, or of the Region in the environment.
    fn partition(&self) -> AwsPartition {
        self.aws.partition.unwrap_or(AwsPartition::Aws)
    }
}

/// Returns a statement of a policy file by its name.
fn statement(file: &str, name: &str) -> Value {
    let policy: Value = serde_json::from_str(file).expect("a test parses every file");
    let statements = policy["Statement"].as_array().into_iter().flatten();
    let found = statements.into_iter().find(|statement| statement["Sid"] == name);
    found.expect("a test looks up every statement").clone()
}

fn sorted(values: impl Iterator<Item = String>) -> Vec<String> {
    values.collect::<BTreeSet<_>>().into_iter().collect()
}

fn with(mut statement: Value, name: &str, value: Value) -> Value {
    statement[name] = value;
    statement
}

fn without(mut statement: Value, name: &str) -> Value {
    if let Value::Object(members) = &mut statement {
        members.shift_remove(name);
    }
    statement
}

/// Returns a single value as a string, and several as a list.
fn one_or_more(mut values: Vec<String>) -> Value {
    if values.len() == 1 { values.remove(0).into() } else { values.into() }
}

/// Numbers statements of the same name: names must be unique within a policy.
fn numbered(mut statements: Vec<Value>) -> Vec<Value> {
    for at in 0..statements.len() {
        let name = statements[at]["Sid"].as_str().unwrap_or_default().to_owned();
        let before = |statement: &&Value| {
            let other = statement["Sid"].as_str().unwrap_or_default();
            other.trim_end_matches(|last: char| last.is_ascii_digit()) == name
        };
        let same = statements[..at].iter().filter(before).count();
        if same > 0 {
            statements[at]["Sid"] = format!("{name}{}", same + 1).into();
        }
    }
    statements
}

fn bucket(address: &Address, partition: AwsPartition) -> Value {
    arn(address, partition).into()
}

/// Returns the ARN of the bucket or access point. The ARN of an access point alias is unknown.
fn arn(address: &Address, partition: AwsPartition) -> String {
    if address.is_access_point_alias() {
        return format!("arn:{partition}:s3:REGION:ACCOUNT:accesspoint/NAME");
    }
    s3::bucket_arn(&address.bucket, partition)
}

/// Returns the statement that allows listing the keys below an address.
fn list(address: &Address, partition: AwsPartition) -> Value {
    let list = with(statement(TRAIL, "ListLogs"), "Resource", bucket(address, partition));
    match below(&address.prefix) {
        Some(keys) => {
            with(list, "Condition", json!({ "StringLike": { "s3:prefix": one_or_more(keys) } }))
        }
        // The folders with logs are discovered from the root.
        None => without(list, "Condition"),
    }
}

/// Returns the ARNs of the objects below an address.
fn objects(address: &Address, partition: AwsPartition) -> Value {
    let anywhere = || ["AWSLogs/*", "*/AWSLogs/*"].map(str::to_owned).to_vec();
    let keys = below(&address.prefix).unwrap_or_else(anywhere).into_iter();
    let unknown = address.is_access_point_alias().then(|| arn(address, partition));
    let bucket = unknown.as_ref().unwrap_or(&address.bucket);
    let arn = |key: String| s3::objects_arn(bucket, &key, partition);
    one_or_more(keys.map(arn).collect())
}

/// Returns patterns for the keys of a prefix: a folder, or an object or folder of that name. `None` means all keys.
fn below(prefix: &str) -> Option<Vec<String>> {
    let mut plain = String::with_capacity(prefix.len());
    for letter in prefix.chars() {
        match letter {
            '*' | '?' | '$' => plain.extend(["${", letter.encode_utf8(&mut [0; 4]), "}"]),
            letter => plain.push(letter),
        }
    }
    match plain.as_str() {
        "" => None,
        folder if folder.ends_with('/') => Some(vec![format!("{folder}*")]),
        name => Some(vec![name.to_owned(), format!("{name}/*")]),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::report::log::{LogFormat, Verbosity, tests::page};

    #[derive(Debug, clap::Parser)]
    struct TestCli {
        #[command(flatten)]
        args: PolicyArgs,
    }

    /// Returns the statements, and the notes about them.
    fn printed(words: &str) -> (Vec<Value>, String) {
        let cli = TestCli::try_parse_from(["policy"].into_iter().chain(words.split_whitespace()))
            .unwrap();
        let asked =
            PolicyRequest::new(&cli.args.load, &Environment::default(), &Log::default()).unwrap();
        let (log, page) = page(LogFormat::Text, Verbosity::Normal);
        let mut policy = asked.policy(&log);
        assert_eq!(policy["Version"], "2012-10-17");
        let Value::Array(statements) = policy["Statement"].take() else { panic!("{policy}") };
        let mut names: Vec<_> = statements.iter().map(|it| it["Sid"].to_string()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), statements.len(), "names are unique: {names:?}");
        (statements, page.text())
    }

    fn actions(words: &str) -> String {
        let (statements, _) = printed(words);
        let all = statements.iter().map(|statement| match &statement["Action"] {
            Value::String(action) => action.clone(),
            several => several.to_string(),
        });
        all.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_source_takes_what_it_asks_for_and_no_more() {
        for (words, expected) in [
            ("", "cloudtrail:LookupEvents ec2:DescribeRegions"),
            ("lookup --regions eu-west-1", "cloudtrail:LookupEvents"),
            ("folder/ --into http://h", ""),
            ("s3://trail", "s3:ListBucket s3:GetObject"),
            ("--trail audit", "cloudtrail:DescribeTrails s3:ListBucket s3:GetObject"),
            ("--assume-role arn:aws:iam::111122223333:role/r", "sts:AssumeRole"),
            ("s3://trail --assume-role arn:aws:iam::111122223333:role/r", "sts:AssumeRole"),
            (
                "--accounts organization --assume-role arn:aws:iam::{account}:role/r",
                "organizations:ListAccounts sts:AssumeRole cloudtrail:LookupEvents ec2:DescribeRegions",
            ),
            (
                "s3://trail --accounts organization",
                "organizations:ListAccounts s3:ListBucket s3:GetObject",
            ),
            (
                "a.json --aws-auth --into https://search-a-b-x1.eu-west-1.es.amazonaws.com",
                r#"["es:ESHttpGet","es:ESHttpPost","es:ESHttpPut"]"#,
            ),
            (
                "a.json --aws-auth --into https://x1.eu-west-1.aoss.amazonaws.com",
                "aoss:APIAccessAll",
            ),
        ] {
            assert_eq!(actions(words), expected, "{words}");
        }
    }

    #[test]
    fn resources_are_as_narrow_as_the_words() {
        let of = |words: &str, name: &str| {
            let (statements, _) = printed(words);
            statements.into_iter().find(|it| it["Sid"] == name).unwrap()
        };
        let list = of("s3://trail/logs/AWSLogs/", "ListLogs");
        assert_eq!(list["Resource"], "arn:aws:s3:::trail");
        assert_eq!(list["Condition"], json!({ "StringLike": { "s3:prefix": "logs/AWSLogs/*" } }));
        let read = of("s3://trail/logs/AWSLogs/", "ReadLogs");
        assert_eq!(read["Resource"], "arn:aws:s3:::trail/logs/AWSLogs/*");
        let named = of("s3://trail/a$", "ListLogs");
        assert_eq!(named["Condition"]["StringLike"]["s3:prefix"], json!(["a${$}", "a${$}/*"]));
        assert!(of("s3://trail", "ListLogs").get("Condition").is_none(), "logs may be anywhere");
        let all = json!(["arn:aws:s3:::trail/AWSLogs/*", "arn:aws:s3:::trail/*/AWSLogs/*"]);
        assert_eq!(of("s3://trail", "ReadLogs")["Resource"], all);
        assert_eq!(of("s3://one s3://two", "ListLogs2")["Resource"], "arn:aws:s3:::two");
        let china = of("s3://trail/a/ --regions cn-north-1", "ReadLogs");
        assert_eq!(china["Resource"], "arn:aws-cn:s3:::trail/a/*");
        let gov = of("arn:aws-us-gov:s3:::trail/a/*", "ReadLogs");
        assert_eq!(gov["Resource"], "arn:aws-us-gov:s3:::trail/a/*");
        let trail = "--trail arn:aws-cn:cloudtrail:cn-north-1:111122223333:trail/t";
        assert_eq!(of(trail, "ListLogs")["Resource"], "arn:aws-cn:s3:::BUCKET");
        let point = "arn:aws:s3:eu-west-1:111122223333:accesspoint/my-ap";
        let words = format!("{point}/AWSLogs/");
        assert_eq!(of(&words, "ListLogs")["Resource"], point);
        assert_eq!(of(&words, "ReadLogs")["Resource"], format!("{point}/object/AWSLogs/*"));
        let alias = of("s3://ap-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias/a/", "ReadLogs");
        let unknown = "arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/object/a/*";
        assert_eq!(alias["Resource"], unknown);
        let lookup = of("lookup --regions eu-west-1,us-east-1", "ReadEventHistory");
        let regions = &lookup["Condition"]["StringEquals"]["aws:RequestedRegion"];
        assert_eq!(*regions, json!(["eu-west-1", "us-east-1"]));
        let roles = "--assume-role arn:aws:iam::{account}:role/r --accounts";
        let assume = of(&format!("{roles} organization"), "AssumeRoles");
        assert_eq!(assume["Resource"], "arn:aws:iam::*:role/r");
        let assume = of(&format!("{roles} 444455556666,111122223333"), "AssumeRoles");
        let arns = json!(["arn:aws:iam::111122223333:role/r", "arn:aws:iam::444455556666:role/r"]);
        assert_eq!(assume["Resource"], arns);
        let engine = |host: &str| {
            let words = format!("a.json --aws-auth --into https://{host}");
            printed(&words).0.remove(0)["Resource"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            engine("vpc-my-trail-abc.cn-north-1.es.amazonaws.com.cn"),
            "arn:aws-cn:es:cn-north-1:*:domain/my-trail/*"
        );
        assert_eq!(engine("search.example"), "arn:aws:es:*:*:domain/DOMAIN/*");
        assert_eq!(
            engine("abc.eu-west-1.aoss.amazonaws.com"),
            "arn:aws:aoss:eu-west-1:*:collection/abc"
        );
    }

    #[test]
    fn what_a_policy_cannot_say_is_told_beside_it() {
        for (words, told) in [
            ("s3://trail", "kms:Decrypt"),
            ("arn:aws-cn:s3:::trail", "arn:aws-cn:kms:REGION:ACCOUNT:key/KEY"),
            ("s3://trail", "allow reading arn:aws:s3:::trail/* instead"),
            (
                "s3://ap-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias",
                "with the ARN of the access point",
            ),
            ("--trail audit", "replace BUCKET with"),
            ("a.json", "does not use AWS"),
            (
                "lookup s3://trail/a --assume-role arn:aws:iam::111122223333:role/r --regions eu-west-1",
                "'trailload policy lookup s3://trail/a --regions eu-west-1'",
            ),
            ("a.json --aws-auth --into https://search.example", "replace DOMAIN with"),
            (
                "a.json --aws-auth --into https://a.eu-west-1.aoss.amazonaws.com",
                "data access policy",
            ),
        ] {
            let (_, said) = printed(words);
            assert!(said.contains(told), "{words}: {said}");
        }
    }

    #[test]
    fn actions_need_their_topics_and_engines_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
        let topic = |name: &str| format!("arn:aws:sns:eu-west-1:111122223333:{name}");
        write(
            "rules.yml",
            "name: x\nevents: [A]\nactions: [a, b, c, d, {slack: {url: \"${U}\"}}]\n",
        );
        write(
            "actions.yml",
            &format!(
                "a: {{kind: sns, topic_arn: \"{}\"}}\nb: {{kind: sns, topic_arn: \"{}\"}}\nunused: {{kind: sns, topic_arn: \"{}\"}}\n\
                 c: {{kind: sns, topic_arn: \"{}\", role_arn: \"arn:aws:iam::444455556666:role/r\"}}\n\
                 d: {{kind: index, url: \"https://search-a-b-x1.eu-west-1.es.amazonaws.com\", aws_auth: true}}\n",
                topic("two"),
                topic("one"),
                topic("none"),
                topic("far"),
            ),
        );
        let words =
            format!("lookup --rules {} --actions {}", path("rules.yml"), path("actions.yml"));
        let (statements, said) = printed(&words);
        let of = |sid: &str| statements.iter().find(|it| it["Sid"] == sid).unwrap();
        assert_eq!(of("PublishAlerts")["Resource"], json!([topic("one"), topic("two")]));
        assert_eq!(of("AssumeRoles")["Resource"], "arn:aws:iam::444455556666:role/r");
        assert_eq!(of("LoadIntoDomain")["Resource"], "arn:aws:es:eu-west-1:*:domain/a-b/*");
        assert_eq!(statements.len(), 5);
        let needs = format!("role/r needs sns:Publish on {}", topic("far"));
        assert!(said.contains(&needs) && said.contains("kms:GenerateDataKey*"), "{said}");
        assert_eq!(actions("lookup").split(' ').count(), 2, "nothing of it without rules");
    }

    #[test]
    fn signing_for_no_engine_makes_no_sense() {
        let cli = TestCli::try_parse_from(["policy", "a.json", "--aws-auth"]).unwrap();
        let failure = PolicyRequest::new(&cli.args.load, &Environment::default(), &Log::default())
            .err()
            .unwrap();
        assert_eq!(failure.exit.code(), 2);
    }

    #[test]
    fn every_statement_of_every_file_is_printed_for_some_words() {
        let at_aws =
            [engine::DOMAIN, engine::DOMAIN_SEARCH, engine::DOMAIN_SETUP, engine::SERVERLESS];
        let others = [LOOKUP, TRAIL, QUEUE, ASSUME_ROLE, ORGANIZATION, ALERTS];
        for file in others.into_iter().chain(at_aws) {
            let policy: Value = serde_json::from_str(file).unwrap();
            for found in policy["Statement"].as_array().unwrap() {
                assert_eq!(found["Effect"], "Allow");
                let name = found["Sid"].as_str().unwrap();
                assert_eq!(statement(file, name), *found);
            }
        }
    }

    /// Returns the document that is printed, and the notes about it.
    fn document(words: &str) -> Result<(Value, String), Failure> {
        let words: Vec<&str> = ["policy"].into_iter().chain(words.split_whitespace()).collect();
        let command = <TestCli as clap::CommandFactory>::command();
        let matches = command.clone().try_get_matches_from(&words).unwrap();
        let program = clap::Command::new("trailload").subcommand(command.name("policy"));
        let all = program.clone().try_get_matches_from(["trailload"].iter().chain(&words));
        let given = GivenOptions::of_subcommand(&program, &all.unwrap());
        let args = <TestCli as clap::FromArgMatches>::from_arg_matches(&matches).unwrap().args;
        args.check(&given)?;
        let (log, page) = page(LogFormat::Text, Verbosity::Normal);
        let document = match args.role {
            Some(format) => role::role(format, args.command, &args.load, &log)?,
            None => engine::policy(args.command, &args.load, &log)?,
        };
        Ok((document, page.text()))
    }

    #[test]
    fn a_role_is_the_one_of_the_file_for_the_prefix() {
        for (words, file) in [
            ("--role opensearch", include_str!("../../../policy/opensearch.json")),
            ("--role elasticsearch", include_str!("../../../policy/elasticsearch.json")),
            (
                "--for setup --role opensearch",
                include_str!("../../../policy/opensearch-setup.json"),
            ),
            (
                "--for setup --role elasticsearch",
                include_str!("../../../policy/elasticsearch-setup.json"),
            ),
            (
                "--for search --role opensearch",
                include_str!("../../../policy/opensearch-search.json"),
            ),
            (
                "--for dashboards --role elasticsearch",
                include_str!("../../../policy/elasticsearch-search.json"),
            ),
        ] {
            let expected: Value = serde_json::from_str(file).unwrap();
            assert_eq!(document(words).unwrap().0, expected, "{words}");
            let other = document(&format!("{words} --index audit")).unwrap().0.to_string();
            assert_eq!(other, expected.to_string().replace("cloudtrail", "audit"));
        }
        let role = document("--role opensearch --check-duplicates").unwrap().0;
        assert!(role["cluster_permissions"].to_string().contains("indices:data/read/mget"));
        assert!(role["index_permissions"][0].to_string().contains("indices:data/read/mget*"));
    }

    #[test]
    fn saved_objects_are_allowed_in_the_space_or_tenant_of_the_url() {
        for (url, space) in [
            ("http://k:5601", "space:default"),
            ("https://k/base/s/security/app/home", "space:security"),
        ] {
            let words = format!("--for setup --role elasticsearch --dashboards {url}");
            let (role, _) = document(&words).unwrap();
            let [application] = role["applications"].as_array().unwrap().as_slice() else {
                panic!("{role}")
            };
            assert_eq!(application["application"], "kibana-.kibana");
            assert_eq!(application["resources"], json!([space]));
            let features = application["privileges"].as_array().unwrap();
            assert!(features.iter().all(|it| it.as_str().unwrap().starts_with("feature_")));
        }
        for (url, tenant) in [
            ("http://o:5601", Some("global_tenant")),
            ("http://o:5601?security_tenant=global", Some("global_tenant")),
            ("http://o:5601?security_tenant=team", Some("team")),
            ("http://o:5601?security_tenant=__user__", None),
        ] {
            let words = format!("--for setup --role opensearch --dashboards {url}");
            let (role, notes) = document(&words).unwrap();
            let patterns = &role["tenant_permissions"][0]["tenant_patterns"][0];
            assert_eq!(patterns.as_str(), tenant, "{url}");
            assert_eq!(notes.contains("kibana_user"), tenant.is_some(), "{notes}");
        }
    }

    #[test]
    fn a_domain_is_set_up_and_searched_with_signed_requests() {
        let into = "--aws-auth --into https://search-a-b-x1.eu-west-1.es.amazonaws.com";
        for (command, name, role) in [
            ("setup", "SetUpDomain", "opensearch-setup.json"),
            ("search", "SearchDomain", "opensearch-search.json"),
            ("dashboards", "SearchDomain", "opensearch-search.json"),
        ] {
            let (policy, notes) = document(&format!("--for {command} {into}")).unwrap();
            let [statement] = policy["Statement"].as_array().unwrap().as_slice() else {
                panic!("{policy}")
            };
            assert_eq!(statement["Sid"], name);
            assert_eq!(statement["Resource"], "arn:aws:es:eu-west-1:*:domain/a-b/*");
            assert!(notes.contains(role), "{notes}");
            let actions = statement["Action"].as_array().unwrap();
            assert_eq!(actions.contains(&json!("es:ESHttpPut")), command == "setup");
        }
        let same = "--dashboards https://search-a-b-x1.eu-west-1.es.amazonaws.com/_dashboards";
        let other = "--dashboards https://search-c-x2.eu-west-1.es.amazonaws.com/_dashboards";
        for (dashboards, number) in [(same, 1), (other, 2)] {
            let (policy, _) = document(&format!("--for setup {into} {dashboards}")).unwrap();
            assert_eq!(policy["Statement"].as_array().unwrap().len(), number);
        }
    }

    #[test]
    fn what_has_no_effect_on_a_role_or_another_command_is_refused() {
        for (words, named) in [
            ("--role opensearch s3://trail", "SOURCE"),
            ("--role opensearch --into http://h", "--into"),
            ("--for search --role opensearch --check-duplicates", "--check-duplicates"),
            ("--for setup --role opensearch --reload", "--reload"),
            ("--for setup --aws-auth --into https://h --index x", "--index"),
            ("--for setup", "--role"),
            ("--for setup --into https://h", "--aws-auth"),
        ] {
            let failure = document(words).unwrap_err();
            assert_eq!(failure.exit.code(), 2, "{words}");
            assert!(failure.heading.contains(named), "{words}: {}", failure.heading);
        }
    }
}
