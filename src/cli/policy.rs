//! `trailload policy`: the least that AWS has to allow for one command line.
//!
//! In: the words of a load, and the policies of `policy/`. Out: one IAM policy on standard output, and what it is
//! for on standard error.
//! Holds: nobody is asked, so it can be printed by who has no permission yet. A statement is the one of the file,
//! with resources as narrow as the words allow; what cannot be known is a word in capitals, which is no name of
//! anything at AWS.
//! Absent on purpose: engines that AWS does not run; their roles are in `policy/`.

use serde_json::{Value, json};
use url::Url;

use super::{
    cloud::{Accounts, Cloud},
    environment::Environment,
    failure::Failure,
    load,
    words::Words,
};
use crate::{
    aws::{Partition, role::ACCOUNT},
    report::Log,
    sink::Service,
    source::s3::{self, Address},
};

const LOOKUP: &str = include_str!("../../policy/lookup.json");
const TRAIL: &str = include_str!("../../policy/trail.json");
const ASSUME_ROLE: &str = include_str!("../../policy/assume-role.json");
const ORGANIZATION: &str = include_str!("../../policy/organization.json");
const DOMAIN: &str = include_str!("../../policy/opensearch-managed.json");
const SERVERLESS: &str = include_str!("../../policy/opensearch-serverless.json");

/// The whole of `trailload policy --help`, below its usage.
const AFTER_HELP: &str = "\
Takes the SOURCE words and options of a load (see 'trailload load --help') and prints an IAM policy
that allows no more than they need. Nobody is asked. Standard error tells what it is for.

Examples:
  The event history of this account
    trailload policy
  A trail's bucket, of which only one folder is read
    trailload policy s3://my-trail/AWSLogs/o-example/ > policy.json
  Whoever assumes the roles of an organization's accounts
    trailload policy --accounts organization --assume-role 'arn:aws:iam::{account}:role/trailload'";

/// The words of `trailload policy`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(override_usage = "trailload policy [OPTIONS OF LOAD] [SOURCE]...")]
#[group(skip)]
#[command(mut_arg("into", |into| into.required(false)), mut_args(|word| word.hide(true)))]
pub struct Args {
    /// Those of a load.
    #[command(flatten)]
    pub load: load::Args,
}

/// Runs `trailload policy`.
///
/// # Errors
///
/// Returns a [`Failure`] if the words make no sense.
pub(super) fn run(args: &Args, environment: &Environment, log: &Log) -> Result<(), Failure> {
    let asked = Asked::of(&args.load, environment)?;
    let policy = asked.policy(log);
    super::print(&format!("{policy:#}\n"))
}

/// What decides about permissions.
struct Asked {
    words: Words,
    cloud: Cloud,
    /// The engine, if requests to it are signed.
    engine: Option<Url>,
}

/// Who does something at AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Whose credentials are used.
    Caller,
    /// The roles that the caller assumes.
    Role,
}

impl Asked {
    fn of(args: &load::Args, environment: &Environment) -> Result<Self, Failure> {
        let words = Words::new(&args.sources, &args.cloud.trail)?;
        let cloud = args.cloud.plan(&words, args.aws_auth, environment)?;
        let engine = match &args.into {
            Some(into) => Some(into.url()?).filter(|_| args.aws_auth),
            None if args.aws_auth => {
                return Err(Failure::usage("'--aws-auth' is about an engine, and none was given")
                    .hint("name it with --into https://…"));
            }
            None => None,
        };
        Ok(Self { words, cloud, engine })
    }

    /// Returns the caller's policy, and tells what it is for.
    fn policy(&self, log: &Log) -> Value {
        let statements = self.caller(log);
        if statements.is_empty() {
            log.info("policy", "nothing of AWS is used, so nothing has to be allowed");
        }
        if !self.cloud.roles.is_empty() {
            self.tell_of_roles(log);
        }
        if self.words.has_buckets() {
            log.info(
                "policy",
                format_args!(
                    "if objects are encrypted with a KMS key (SSE-KMS), whoever reads them needs this too, with the \
                     key's ARN: {}",
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
        if matches!(self.cloud.accounts, Some(Accounts::Organization)) {
            log.info(
                "policy",
                "ListAccounts works in the management account, or a delegated administrator's",
            );
            statements.push(statement(ORGANIZATION, "FindAccounts"));
        }
        if !self.cloud.roles.is_empty() {
            statements.push(with(statement(ASSUME_ROLE, "AssumeRoles"), "Resource", self.roles()));
        }
        if self.words.lookup.is_some() && self.acts_at_home() {
            statements.extend(self.lookup());
        }
        if self.words.has_buckets() && self.reader() == Who::Caller {
            statements.extend(self.buckets(log));
        }
        if let Some(url) = &self.engine {
            statements.push(engine(url, self.partition(), log));
        }
        statements
    }

    /// Returns whether the caller looks into an account by itself: its own is entered without a role.
    fn acts_at_home(&self) -> bool {
        let all = matches!(self.cloud.accounts, Some(Accounts::Organization));
        self.cloud.roles.is_empty() || all && self.has_template()
    }

    fn has_template(&self) -> bool {
        self.cloud.roles.iter().any(crate::aws::Template::needs_account)
    }

    fn reader(&self) -> Who {
        if self.cloud.roles.is_empty() { Who::Caller } else { Who::Role }
    }

    /// Returns the ARNs of the roles.
    fn roles(&self) -> Value {
        let mut arns: Vec<String> = Vec::new();
        for template in &self.cloud.roles {
            match &self.cloud.accounts {
                Some(Accounts::Listed(ids)) if template.needs_account() => {
                    arns.extend(ids.iter().map(|id| template.as_str().replace(ACCOUNT, id)));
                }
                _ => arns.push(template.as_str().replace(ACCOUNT, "*")),
            }
        }
        arns.sort();
        arns.dedup();
        one_or_more(arns)
    }

    fn tell_of_roles(&self, log: &Log) {
        log.info(
            "policy",
            format_args!(
                "this is for the caller; each role needs a trust policy that names the caller (see policy/README.md), \
                 and what '{}' prints",
                self.command_of_role()
            ),
        );
        let listed = matches!(self.cloud.accounts, Some(Accounts::Listed(_)));
        if listed && self.words.lookup.is_some() && self.has_template() {
            log.info(
                "policy",
                "if the caller's own account is among --accounts, it is entered without a role: the caller needs what \
                 the roles need",
            );
        }
    }

    /// Returns the command line that prints what a role needs.
    fn command_of_role(&self) -> String {
        let mut words = vec!["trailload policy".to_owned()];
        words.extend(self.words.lookup.map(|_| super::words::LOOKUP.to_owned()));
        words.extend(self.words.buckets.iter().map(|(_, address)| address.to_string()));
        words.extend(self.words.trails.iter().map(|(_, name)| format!("--trail {name}")));
        words.extend(
            self.cloud.regions.as_ref().map(|names| format!("--regions {}", names.join(","))),
        );
        words.join(" ")
    }

    fn lookup(&self) -> Vec<Value> {
        let read = statement(LOOKUP, "ReadEventHistory");
        match &self.cloud.regions {
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
        if !self.words.trails.is_empty() {
            log.info(
                "policy",
                "put the bucket that the trail delivers to in the place of BUCKET; 'aws cloudtrail describe-trails' \
                 names it",
            );
            let unknown =
                Address { bucket: "BUCKET".to_owned(), prefix: String::new(), partition: None };
            let (list, read) = (statement(TRAIL, "ListLogs"), statement(TRAIL, "ReadLogs"));
            statements.push(statement(TRAIL, "FindBucket"));
            statements.push(with(list, "Resource", bucket(&unknown, partition)));
            statements.push(with(read, "Resource", objects(&unknown, partition)));
        }
        for (_, address) in &self.words.buckets {
            if address.is_alias() {
                log.info(
                    "policy",
                    format_args!(
                        "'{}' is the alias of an access point: in a policy, put the access point's ARN in the place of {}",
                        address.bucket,
                        arn(address, partition)
                    ),
                );
            }
            if address.prefix.is_empty() {
                log.info(
                    "policy",
                    format_args!(
                        "if {address} holds logs outside of AWSLogs/, allow to read {} instead",
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

    /// Returns the partition that the words name, or the Region of the environment.
    fn partition(&self) -> Partition {
        self.cloud.partition.unwrap_or(Partition::Aws)
    }
}

/// Returns a statement of a policy of ours by its name.
fn statement(file: &str, name: &str) -> Value {
    let policy: Value = serde_json::from_str(file).expect("a test reads every file");
    let statements = policy["Statement"].as_array().into_iter().flatten();
    let found = statements.into_iter().find(|statement| statement["Sid"] == name);
    found.expect("a test asks for every statement").clone()
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

/// Returns one word as itself, and several as a list.
fn one_or_more(mut words: Vec<String>) -> Value {
    if words.len() == 1 { words.remove(0).into() } else { words.into() }
}

/// Gives statements of the same name a number: within a policy, names are unique.
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

fn bucket(address: &Address, partition: Partition) -> Value {
    arn(address, partition).into()
}

/// Returns the ARN of what is listed. That of an access point that is named by its alias is not known.
fn arn(address: &Address, partition: Partition) -> String {
    if address.is_alias() {
        return format!("arn:{partition}:s3:REGION:ACCOUNT:accesspoint/NAME");
    }
    s3::arn(&address.bucket, partition)
}

/// Returns the statement that allows to list what is below an address.
fn list(address: &Address, partition: Partition) -> Value {
    let list = with(statement(TRAIL, "ListLogs"), "Resource", bucket(address, partition));
    match below(&address.prefix) {
        Some(keys) => {
            with(list, "Condition", json!({ "StringLike": { "s3:prefix": one_or_more(keys) } }))
        }
        // Where the logs are is found out from the top.
        None => without(list, "Condition"),
    }
}

/// Returns the ARNs of the objects below an address.
fn objects(address: &Address, partition: Partition) -> Value {
    let anywhere = || ["AWSLogs/*", "*/AWSLogs/*"].map(str::to_owned).to_vec();
    let keys = below(&address.prefix).unwrap_or_else(anywhere).into_iter();
    let unknown = address.is_alias().then(|| arn(address, partition));
    let bucket = unknown.as_ref().unwrap_or(&address.bucket);
    let arn = |key: String| s3::objects_arn(bucket, &key, partition);
    one_or_more(keys.map(arn).collect())
}

/// Returns patterns for the keys that a prefix means: a folder, or an object or folder of that name. `None` for all.
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

/// Returns the statement for the engine, as narrow as its host name allows.
fn engine(url: &Url, partition: Partition, log: &Log) -> Value {
    let named = Service::of_host(url);
    let label = url.host_str().and_then(|host| host.split('.').next()).unwrap_or_default();
    match named {
        Some((Service::Serverless, region)) => {
            log.info(
                "policy",
                "the collection's data access policy has to allow the caller to write, too: see policy/README.md",
            );
            let arn = format!("arn:{}:aoss:{region}:*:collection/{label}", of_region(&region));
            with(statement(SERVERLESS, "LoadIntoCollection"), "Resource", arn.into())
        }
        named => {
            log.info(
                "policy",
                "if the domain has fine-grained access control, map the caller to the role of policy/opensearch.json, \
                 too",
            );
            let domain = domain(label).unwrap_or("DOMAIN");
            let arn = if let Some((_, region)) = named.filter(|_| domain != "DOMAIN") {
                format!("arn:{}:es:{region}:*:domain/{domain}/*", of_region(&region))
            } else {
                let text =
                    "the host name does not tell the domain: put its name in the place of DOMAIN";
                log.info("policy", text);
                format!("arn:{partition}:es:*:*:domain/DOMAIN/*")
            };
            with(statement(DOMAIN, "LoadIntoDomain"), "Resource", arn.into())
        }
    }
}

fn of_region(region: &str) -> Partition {
    Partition::of_region(region).unwrap_or(Partition::Aws)
}

/// Takes the domain's name out of `search-NAME-abc123` and `vpc-NAME-abc123`.
fn domain(label: &str) -> Option<&str> {
    let rest = label.strip_prefix("search-").or_else(|| label.strip_prefix("vpc-"))?;
    let (name, _) = rest.rsplit_once('-')?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::report::log::{Format, Verbosity, tests::page};

    #[derive(Debug, clap::Parser)]
    struct Typed {
        #[command(flatten)]
        args: Args,
    }

    /// Returns the statements by name, and what was said beside them.
    fn printed(words: &str) -> (Vec<Value>, String) {
        let typed =
            Typed::try_parse_from(["policy"].into_iter().chain(words.split_whitespace())).unwrap();
        let asked = Asked::of(&typed.args.load, &Environment::default()).unwrap();
        let (log, page) = page(Format::Text, Verbosity::Normal);
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
            ("s3://trail", "allow to read arn:aws:s3:::trail/* instead"),
            (
                "s3://ap-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias",
                "the access point's ARN in the place",
            ),
            ("--trail audit", "in the place of BUCKET"),
            ("a.json", "nothing of AWS"),
            (
                "lookup s3://trail/a --assume-role arn:aws:iam::111122223333:role/r --regions eu-west-1",
                "'trailload policy lookup s3://trail/a --regions eu-west-1'",
            ),
            ("a.json --aws-auth --into https://search.example", "in the place of DOMAIN"),
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
    fn signing_for_no_engine_makes_no_sense() {
        let typed = Typed::try_parse_from(["policy", "a.json", "--aws-auth"]).unwrap();
        let failure = Asked::of(&typed.args.load, &Environment::default()).err().unwrap();
        assert_eq!(failure.exit.code(), 2);
    }

    #[test]
    fn every_statement_of_every_file_is_printed_for_some_words() {
        for file in [LOOKUP, TRAIL, ASSUME_ROLE, ORGANIZATION, DOMAIN, SERVERLESS] {
            let policy: Value = serde_json::from_str(file).unwrap();
            for found in policy["Statement"].as_array().unwrap() {
                assert_eq!(found["Effect"], "Allow");
                let name = found["Sid"].as_str().unwrap();
                assert_eq!(statement(file, name), *found);
            }
        }
    }
}
