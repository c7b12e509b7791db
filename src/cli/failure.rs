//! Turns the errors of all modules into messages for the user.
//!
//! Input: an error. Output: `error: … / caused by: … / hint: …`, and an exit code.
//! Invariant: hints are chosen by kind or code of an error, never by its text.

use std::{convert::Infallible, error::Error};

use aws_credential_types::provider::error::CredentialsError;
use serde_json::json;

use super::exit::Exit;
use crate::{
    aws,
    checkpoint::{
        self,
        shared_alerts::{self, Problem},
    },
    error::chain,
    event::DeadLetterCause,
    filter::syntax::SyntaxError,
    normalize::rules,
    pipeline::{self, search::SearchError, watch::DryRunError},
    proxy,
    report::{Log, summary},
    sink,
    source::{self, index::IndexError, lookup, queue::QueueError, s3},
};

/// The hint for an error that only a bug can cause.
const BUG: &str =
    "this is a bug in trailload; please report it with these lines. Running the load again is safe";

/// An error that is shown to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What failed, and on what.
    pub heading: String,
    /// An excerpt of what is invalid, with a caret below the place.
    pub excerpt: Vec<String>,
    /// The causes, from the outermost to the innermost.
    pub causes: Vec<String>,
    /// How to fix it.
    pub hint: Option<String>,
}

impl Failure {
    /// Creates a failure that the user must fix before trying again.
    pub fn action_required(heading: impl Into<String>) -> Self {
        Self {
            exit: Exit::ActionRequired,
            heading: heading.into(),
            excerpt: Vec::new(),
            causes: Vec::new(),
            hint: None,
        }
    }

    /// Creates a failure for an invalid command line.
    pub fn usage(heading: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::action_required(heading) }
    }

    /// Creates a failure for an invalid expression in the value of an option.
    pub fn syntax(option: &str, error: &SyntaxError) -> Self {
        let message = format!("invalid value for '{option}': {}", error.message);
        Self {
            excerpt: error.caret().to_string().lines().map(str::to_owned).collect(),
            hint: error.suggestion.clone(),
            ..Self::usage(message)
        }
    }

    /// Converts an error: its message becomes the heading, its sources become the causes.
    pub fn from_error(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        Self {
            exit,
            causes: error.source().map(messages).unwrap_or_default(),
            ..Self::action_required(error.to_string())
        }
    }

    /// Adds an error and its sources as causes.
    #[must_use]
    pub fn caused_by(mut self, error: &(dyn Error + 'static)) -> Self {
        self.causes.extend(messages(error));
        self
    }

    /// Sets the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Logs the failure, and returns its exit code.
    pub fn report(&self, log: &Log) -> Exit {
        log.failure(&self.heading, &self.excerpt, &self.causes, self.hint.as_deref());
        self.exit
    }
}

/// Returns the messages of an error and its sources.
///
/// A message that ends the one before is omitted: some libraries include the message of the source in their own.
fn messages(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for cause in chain(error) {
        let message = cause.to_string();
        if !messages.last().is_some_and(|outer| outer.ends_with(&message)) {
            messages.push(message);
        }
    }
    messages
}

impl From<source::Error> for Failure {
    fn from(error: source::Error) -> Self {
        let exit = match &error {
            error if error.is_usage() => Exit::Usage,
            source::Error::Index(IndexError::Engine(error)) => sink_exit(error),
            source::Error::Index(IndexError::Unavailable { .. }) => Exit::StoppedEarly,
            _ => Exit::ActionRequired,
        };
        let failure = Self::from_error(exit, &error);
        Self { hint: source_hint(&error), ..failure }
    }
}

/// Returns the hint for a source that cannot be read.
fn source_hint(error: &source::Error) -> Option<String> {
    match error {
        source::Error::List { .. } | source::Error::Open { .. } => {
            Some("check that this user has permission to read it".to_owned())
        }
        source::Error::Missing { .. } => {
            Some("check the path; a bucket is s3://BUCKET, and a queue is sqs://QUEUE".to_owned())
        }
        source::Error::Bucket { source, .. } => bucket_hint(source),
        source::Error::Queue { source, .. } => queue_hint(source),
        source::Error::Lookup(error) => lookup_hint(error),
        source::Error::Index(error) => index_hint(error),
        source::Error::Account { source, .. } => source.hint().map(str::to_owned),
        _ => None,
    }
}

fn bucket_hint(refusal: &s3::S3Error) -> Option<String> {
    if let Some(missing) = &refusal.missing_permission {
        return Some(allow(missing.action, &missing.resource));
    }
    let answer = refusal.service_error.as_ref()?;
    if answer.code.as_deref() == Some("NoSuchBucket") {
        return Some("check the name of the bucket".to_owned());
    }
    answer.kind.hint().map(str::to_owned)
}

fn queue_hint(error: &QueueError) -> Option<String> {
    if let Some(missing) = &error.missing_permission {
        return Some(allow(missing.action, &missing.resource));
    }
    match error.service_error.code.as_deref() {
        Some("QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue") => Some(
            "check the name, the account and the Region (AWS_REGION); 'aws sqs list-queues' shows what exists"
                .to_owned(),
        ),
        _ => error.service_error.kind.hint().map(str::to_owned),
    }
}

fn index_hint(error: &IndexError) -> Option<String> {
    Some(match error {
        IndexError::Missing { .. } => {
            "load events first (trailload load SOURCE --into URL), or choose another prefix with --index; to a user \
             without the rights to an index, Elasticsearch lists none"
                .to_owned()
        }
        IndexError::Closed { .. } => "open the index (POST /INDEX/_open)".to_owned(),
        IndexError::Unavailable { .. } => {
            "check that the engine is running; what was found before is complete up to there".to_owned()
        }
        IndexError::Lost { .. } | IndexError::Incomplete { .. } => {
            "run the same command again; a shorter time range (--from, --to) takes less time".to_owned()
        }
        IndexError::Unreadable { source: error, .. } | IndexError::Engine(error) => {
            return engine_hint(error);
        }
    })
}

fn lookup_hint(error: &lookup::LookupError) -> Option<String> {
    let (lookup::LookupError::Region { reason, source, .. }
    | lookup::LookupError::AllRegions { reason, source, .. }) = error;
    match reason {
        lookup::FailureReason::Denied { action } => Some(allow(action, "*")),
        _ => source.downcast_ref::<aws::ServiceError>()?.kind.hint().map(str::to_owned),
    }
}

/// Returns a hint with the policy statement that is missing.
pub(super) fn allow(action: &str, resource: &str) -> String {
    let statement = json!({ "Effect": "Allow", "Action": action, "Resource": resource });
    format!(
        "add this statement to the policy: {statement} ('trailload policy' with the same options prints the whole policy)"
    )
}

impl From<aws::Error> for Failure {
    fn from(error: aws::Error) -> Self {
        let exit = match error {
            aws::Error::WrongPartition { .. }
            | aws::Error::InvalidRegion(_)
            | aws::Error::InvalidRoleArn(_) => Exit::Usage,
            _ => Exit::ActionRequired,
        };
        let failure = Self::from_error(exit, &error);
        Self { hint: error.hint().map(str::to_owned), ..failure }
    }
}

impl<E: std::error::Error + Into<Self>> From<pipeline::Error<E>> for Failure {
    fn from(error: pipeline::Error<E>) -> Self {
        match error {
            pipeline::Error::Source(error) => error.into(),
            pipeline::Error::Consumer(error) => error.into(),
            pipeline::Error::Checkpoint(error) => error.into(),
            pipeline::Error::Thread(_) => Self::from_error(Exit::ActionRequired, &error)
                .hint("reduce --workers, or raise the limits of this user (ulimit -u, -v)"),
            pipeline::Error::Panic(_) => Self::from_error(Exit::ActionRequired, &error).hint(BUG),
        }
    }
}

impl From<Infallible> for Failure {
    fn from(error: Infallible) -> Self {
        match error {}
    }
}

impl From<DryRunError> for Failure {
    fn from(error: DryRunError) -> Self {
        Self::from_error(Exit::ActionRequired, &error)
    }
}

impl From<SearchError> for Failure {
    fn from(error: SearchError) -> Self {
        let hint = match &error {
            SearchError::Output(_) => "check the file or program that the output goes to",
            SearchError::Sort(_) => {
                "free disk space, set TMPDIR to a folder with more of it, or search a shorter time range"
            }
        };
        Self::from_error(Exit::ActionRequired, &error).hint(hint)
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        source::Error::from(error).into()
    }
}

impl From<shared_alerts::Error> for Failure {
    fn from(error: shared_alerts::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&shared_alerts::Error> for Failure {
    fn from(error: &shared_alerts::Error) -> Self {
        let exit = if error.is_interruption() { Exit::StoppedEarly } else { Exit::ActionRequired };
        Self { hint: alert_state_hint(error), ..Self::from_error(exit, error) }
    }
}

/// Returns the hint for a table of alerts that cannot be used.
fn alert_state_hint(error: &shared_alerts::Error) -> Option<String> {
    let shared_alerts::Error::Request { table, region, operation, source } = error else {
        return match error {
            shared_alerts::Error::InvalidItem { key, .. } => {
                Some(format!("delete the item {key}, or use a table of its own for alerts"))
            }
            shared_alerts::Error::Interrupted { source, .. } => {
                source.as_deref().and_then(alert_state_hint)
            }
            _ => None,
        };
    };
    match error.problem() {
        Problem::MissingTable => Some(create_table(table, region)),
        Problem::WrongKey => Some(format!(
            "the table needs the key {{id: S}}; use another table: {}",
            create_table(table, region)
        )),
        Problem::AccessDenied => {
            let actions = match *operation {
                "DescribeTable" | "DescribeTimeToLive" => &ALERT_STATE_CHECKS[..],
                _ => &ALERT_STATE_ACTIONS,
            };
            let resource = source.denied_resource().map(str::to_owned);
            let any_account = || format!("arn:aws:dynamodb:{region}:*:table/{table}");
            Some(allow_actions(actions, &resource.unwrap_or_else(any_account)))
        }
        Problem::EncryptionKey => {
            let key = source.denied_resource().filter(|resource| resource.contains(":kms:"));
            let key = key.unwrap_or("the key that encrypts the table");
            Some(format!("allow kms:Decrypt on {key}, or enable the key"))
        }
        Problem::Throttled => Some(format!(
            "raise the capacity of the table, or pay per request: aws dynamodb update-table --region {region} \
             --table-name {table} --billing-mode PAY_PER_REQUEST"
        )),
        Problem::Aws => source.kind.hint().map(str::to_owned),
        Problem::Other => None,
    }
}

/// What runs do with the table of alerts.
pub(super) const ALERT_STATE_ACTIONS: [&str; 4] = [
    "dynamodb:BatchGetItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
];

/// What `doctor` does with the table of alerts, and runs do not.
const ALERT_STATE_CHECKS: [&str; 2] = ["dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive"];

/// Returns the commands that create a table of alerts.
pub(super) fn create_table(table: &str, region: &str) -> String {
    format!(
        "create the table: aws dynamodb create-table --region {region} --table-name {table} \
         --attribute-definitions AttributeName=id,AttributeType=S --key-schema AttributeName=id,KeyType=HASH \
         --billing-mode PAY_PER_REQUEST && aws dynamodb wait table-exists --region {region} --table-name {table} && {}",
        enable_expiry(table, region)
    )
}

/// Returns the command that lets items of a table of alerts expire.
pub(super) fn enable_expiry(table: &str, region: &str) -> String {
    format!(
        "aws dynamodb update-time-to-live --region {region} --table-name {table} \
         --time-to-live-specification Enabled=true,AttributeName=expires"
    )
}

/// Returns the statement that allows actions.
pub(super) fn allow_actions(actions: &[&str], resource: &str) -> String {
    let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": resource });
    format!("add this statement to the policy: {statement}")
}

impl From<pipeline::LoadError> for Failure {
    fn from(error: pipeline::LoadError) -> Self {
        match error {
            pipeline::LoadError::Sink(error) => error.into(),
            pipeline::LoadError::AlertState(error) => error.into(),
            pipeline::LoadError::TooManyBlocked { ref source, .. } => {
                Self::from_error(Exit::ActionRequired, &error).hint(match source.cause {
                    DeadLetterCause::Pipeline => {
                        "repair the ingest pipeline, or remove it from the settings of the index, then run the same \
                         command again to continue"
                    }
                    _ => {
                        "open the index, or remove the block, then run the same command again to continue; or exclude its \
                         time range with --from and --to"
                    }
                })
            }
        }
    }
}

impl From<rules::Error> for Failure {
    fn from(error: rules::Error) -> Self {
        Self::from_error(Exit::ActionRequired, &error)
            .hint("fix the folder given with --mappings, or omit the option")
    }
}

impl From<checkpoint::Error> for Failure {
    fn from(error: checkpoint::Error) -> Self {
        let failure = Self::from_error(Exit::ActionRequired, &error);
        match error {
            checkpoint::Error::Miscounted { .. } | checkpoint::Error::UnknownPartition { .. } => {
                failure.hint(BUG)
            }
            _ => Self { hint: error.hint().map(str::to_owned), ..failure },
        }
    }
}

impl From<sink::Error> for Failure {
    fn from(error: sink::Error) -> Self {
        let mut failure = Self::from_error(sink_exit(&error), &error);
        if let sink::Error::NoAwsCredentials { source, .. } = &error
            && let Some(error) = source.downcast_ref::<CredentialsError>()
        {
            // The full chain lists every provider that was tried; only the relevant cause is shown.
            failure.causes = vec![aws::ServiceError::from_credentials(error).to_string()];
        }
        Self { hint: engine_hint(&error), ..failure }
    }
}

fn engine_hint(error: &sink::Error) -> Option<String> {
    match error {
        sink::Error::Redirected { source, .. } => Some(redirect_hint(source)),
        error => sink_hint(error).map(str::to_owned),
    }
}

/// Returns the hint for a URL that redirects.
fn redirect_hint(cause: &sink::Cause) -> String {
    match cause {
        sink::Cause::Redirect { address: Some(address), .. } => {
            format!("use the target of the redirect: --into {address}")
        }
        _ => "an engine does not redirect there, but a login page or Kibana or Dashboards does; check host, port and path of --into"
            .to_owned(),
    }
}

fn sink_exit(error: &sink::Error) -> Exit {
    match error {
        sink::Error::InvalidUrl { .. } | sink::Error::InvalidPrefix { .. } => Exit::Usage,
        sink::Error::RetriesExhausted { .. } | sink::Error::Interrupted { .. } => {
            Exit::StoppedEarly
        }
        _ => Exit::ActionRequired,
    }
}

/// Returns the hint for an error of the engine or its connection.
fn sink_hint(error: &sink::Error) -> Option<&'static str> {
    Some(match error {
        sink::Error::InvalidUrl { .. } => {
            "use the URL of the engine, such as http://localhost:9200"
        }
        sink::Error::InvalidPrefix { .. } => "choose another prefix with --index",
        sink::Error::InvalidCredentials { .. } => {
            "check TRAILLOAD_USERNAME, TRAILLOAD_PASSWORD and TRAILLOAD_API_KEY"
        }
        sink::Error::NoAwsCredentials { .. } => {
            "provide AWS credentials as for the AWS CLI (AWS_PROFILE, aws sso login, a role), or omit \
             --aws-auth"
        }
        sink::Error::CaFile { .. } => "use a PEM file with certificates for --ca-file",
        sink::Error::Connect { kind: how, .. } => return connect_hint(*how),
        sink::Error::Denied { status: 401, .. } => {
            "set TRAILLOAD_USERNAME and TRAILLOAD_PASSWORD, or TRAILLOAD_API_KEY, to credentials that the engine \
             accepts"
        }
        sink::Error::Denied { .. } => {
            "grant this user the permission, or use the credentials of another user"
        }
        sink::Error::Refused { reason: why, .. } => return why.hint(),
        sink::Error::UnsupportedVersion { .. } => "load into a newer version of the engine",
        sink::Error::ForeignTemplate { .. } => {
            "choose another prefix with --index, or replace the template with --force"
        }
        sink::Error::NewerTemplate { .. } => {
            "update trailload, or replace the template with --force"
        }
        sink::Error::IndexByMismatch { .. } => {
            "use the same --index-by as before, or another prefix with --index; to change it, delete the indices \
             of this prefix, then load with --reload"
        }
        sink::Error::UnsuitableName { .. } => {
            "use another prefix with --index, so that trailload creates the indices itself; an alias over them for \
             searches is fine"
        }
        sink::Error::WriteBlocked { .. } => {
            "the disk of the engine is full; free disk space, then run the same command again"
        }
        sink::Error::NotAnEngine { source, .. } if source.status() == Some(407) => {
            proxy::ProxyError::hint(Some(407))
        }
        sink::Error::NotAnEngine { .. } => "check host, port and path of --into",
        sink::Error::RetriesExhausted { .. } => {
            "check the state of the engine, then run the same command again to continue"
        }
        sink::Error::Interrupted { .. } => "run the same command again to continue",
        sink::Error::Client { .. } | sink::Error::Redirected { .. } => return None,
    })
}

fn connect_hint(how: sink::ConnectError) -> Option<&'static str> {
    Some(match how {
        sink::ConnectError::HostNotFound => "check the host name of --into",
        sink::ConnectError::ConnectionRefused => {
            "check that the engine is running, and check host and port of --into"
        }
        sink::ConnectError::UnknownIssuer => "set --ca-file to the certificate of the authority",
        sink::ConnectError::InvalidCertificate => {
            "use the host name in the certificate, or renew the certificate"
        }
        sink::ConnectError::NotTls => "the engine uses plain HTTP on this port; use http://",
        sink::ConnectError::ConnectionClosed => "if the engine uses TLS on this port, use https://",
        sink::ConnectError::TimedOut => "check that no firewall blocks this machine",
        sink::ConnectError::Proxy(status) => proxy::ProxyError::hint(status),
        sink::ConnectError::Other => return None,
    })
}

impl From<summary::Error> for Failure {
    fn from(error: summary::Error) -> Self {
        let hint = match error {
            summary::Error::Unbalanced { .. } => BUG,
            summary::Error::Write { .. } => {
                "use a file for --summary in a folder that this user can write to"
            }
        };
        Self::from_error(Exit::ActionRequired, &error).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use thiserror::Error as ThisError;

    use super::*;
    use crate::report::log::{LogFormat, Verbosity, tests::page};

    #[derive(Debug, ThisError)]
    #[error("could not read the batch")]
    struct Outer(#[source] Inner);

    #[derive(Debug, ThisError)]
    #[error("the line broke")]
    struct Inner(#[source] io::Error);

    fn nested() -> Outer {
        Outer(Inner(io::Error::other("reset by peer")))
    }

    #[test]
    fn an_error_becomes_heading_causes_and_hint() {
        let failure = Failure::from_error(Exit::StoppedEarly, &nested()).hint("run it again");
        let (log, page) = page(LogFormat::Text, Verbosity::Quiet);
        assert_eq!(failure.report(&log), Exit::StoppedEarly);
        assert_eq!(
            page.text(),
            "error: could not read the batch\n  caused by: the line broke\n  \
             caused by: reset by peer\n  hint: run it again\n"
        );
    }

    #[test]
    fn an_invalid_expression_is_shown_with_a_caret() {
        let error = SyntaxError::new("$.a = 1", 4, "expected ==").suggest("$.a == 1");
        let failure = Failure::syntax("--match <PATH OP VALUE>", &error);
        let (log, page) = page(LogFormat::Text, Verbosity::Quiet);
        assert_eq!(failure.report(&log), Exit::Usage);
        assert_eq!(
            page.text(),
            "error: invalid value for '--match <PATH OP VALUE>': expected ==\n    \
             $.a = 1\n        ^\n  hint: $.a == 1\n"
        );
    }

    #[test]
    fn a_cause_is_not_said_twice() {
        #[derive(Debug, ThisError)]
        #[error("connect: {0}")]
        struct Chatty(#[source] Inner);
        let failure = Failure::action_required("no answer")
            .caused_by(&Chatty(Inner(io::Error::other("refused"))));
        assert_eq!(failure.causes, ["connect: the line broke", "refused"]);
    }

    #[test]
    fn each_trouble_with_the_engine_has_its_exit_code_and_hint() {
        let url = || "http://h:9200".to_owned();
        let answer = |status, code: &str| sink::Cause::ErrorResponse {
            status,
            code: code.to_owned(),
            reason: "no".to_owned(),
        };
        let denied = |status| sink::Error::Denied {
            url: url(),
            action: "writing documents".to_owned(),
            status,
            source: answer(status, "security_exception"),
        };
        let waited = std::time::Duration::from_mins(5);
        let table = [
            (denied(401), Exit::ActionRequired, "set TRAILLOAD_USERNAME and TRAILLOAD_PASSWORD"),
            (denied(403), Exit::ActionRequired, "grant this user the permission"),
            (
                sink::Error::RetriesExhausted { url: url(), waited, source: answer(503, "") },
                Exit::StoppedEarly,
                "run the same command again",
            ),
            (
                sink::Error::WriteBlocked { url: url(), waited, source: answer(403, "") },
                Exit::ActionRequired,
                "disk",
            ),
            (
                sink::Error::ForeignTemplate { url: url(), template: "t".to_owned() },
                Exit::ActionRequired,
                "--force",
            ),
            (
                sink::Error::Refused {
                    url: url(),
                    action: "a new index".to_owned(),
                    status: 400,
                    reason: sink::RefusalReason::ShardLimit,
                    source: answer(400, "validation_exception"),
                },
                Exit::ActionRequired,
                "shards",
            ),
            (
                sink::Error::InvalidPrefix { prefix: "A".to_owned(), reason: "no" },
                Exit::Usage,
                "--index",
            ),
        ];
        for (error, exit, hint) in table {
            let failure = Failure::from(error);
            assert_eq!(failure.exit, exit, "{failure:?}");
            assert!(failure.hint.as_deref().unwrap_or_default().contains(hint), "{failure:?}");
        }
        let failure = Failure::from(denied(403));
        assert_eq!(failure.heading, "http://h:9200 does not allow writing documents");
        assert_eq!(failure.causes, ["403 security_exception: no"]);
    }

    #[test]
    fn a_source_that_makes_no_sense_is_exit_2() {
        let unknown = source::Error::UnknownScheme { word: "gs://b".to_owned() };
        let failure = Failure::from(unknown);
        assert_eq!(failure.exit, Exit::Usage);
        assert!(
            failure.heading.contains("s3://BUCKET/PREFIX, sqs://QUEUE, and lookup"),
            "{failure:?}"
        );
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        let failure = Failure::from(source::Error::List { name: "trail".to_owned(), source });
        assert_eq!((failure.exit, failure.causes.len()), (Exit::ActionRequired, 1));
    }

    #[test]
    fn all_denied_is_exit_1_with_the_statement_that_is_missing() {
        let source: lookup::SharedError = std::sync::Arc::new(io::Error::other("no"));
        let action = "cloudtrail:LookupEvents".to_owned();
        let why = lookup::FailureReason::Denied { action };
        let denied = lookup::LookupError::AllRegions { regions: 3, reason: why, source };
        let failure = Failure::from(source::Error::from(denied));
        assert_eq!(failure.exit, Exit::ActionRequired);
        let statement = r#"{"Effect":"Allow","Action":"cloudtrail:LookupEvents","Resource":"*"}"#;
        assert!(failure.hint.is_some_and(|hint| hint.contains(statement)));

        let missing = s3::MissingPermission {
            action: "s3:ListBucket",
            resource: "arn:aws:s3:::b".to_owned(),
        };
        let refusal = s3::S3Error {
            reason: "may not be listed".to_owned(),
            service_error: None,
            missing_permission: Some(missing),
            scope: s3::ErrorScope::Object,
        };
        let source = Box::new(refusal);
        let failure = Failure::from(source::Error::Bucket { name: "s3://b".to_owned(), source });
        assert!(failure.hint.is_some_and(|hint| hint.contains(r#""Resource":"arn:aws:s3:::b""#)));
    }

    #[test]
    fn trouble_at_the_door_to_aws_has_its_hint() {
        let failure = Failure::from(aws::Error::InvalidRegion("moon".to_owned()));
        assert_eq!(failure.exit, Exit::Usage);
        let skew = aws::ServiceError {
            kind: aws::ErrorKind::ClockSkew { ahead: None },
            status: Some(403),
            code: None,
            message: "Signature expired".to_owned(),
            request_id: None,
        };
        let error = aws::Error::Credentials { profile: None, source: Box::new(skew) };
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::ActionRequired);
        assert!(failure.hint.is_some_and(|hint| hint.contains("set this machine's clock")));
    }

    #[test]
    fn a_checkpoint_that_is_in_use_names_the_way_out() {
        let in_use = checkpoint::Error::InUse {
            path: "/state/a.sqlite".into(),
            pid: Some(4711),
            holder: "pid 4711".to_owned(),
        };
        let failure = Failure::from(in_use);
        assert_eq!(failure.exit, Exit::ActionRequired);
        assert!(failure.heading.contains("in use by another run (pid 4711)"), "{failure:?}");
        assert!(failure.hint.is_some_and(|hint| hint.starts_with("wait for the other run")));
        let miscounted =
            checkpoint::Error::Miscounted { partition: 1, page: 2, documents: 3, settled: 4 };
        assert_eq!(Failure::from(miscounted).hint.as_deref(), Some(BUG));
    }

    #[test]
    fn a_thread_that_cannot_be_had_is_exit_1_with_cause_and_hint() {
        let source = io::Error::from(io::ErrorKind::WouldBlock);
        let error = pipeline::ThreadError { name: "worker", source };
        let error = pipeline::Error::<Infallible>::from(error);
        let failure = Failure::from(error);
        assert_eq!((failure.exit, failure.causes.len()), (Exit::ActionRequired, 1));
        assert!(failure.hint.is_some_and(|hint| hint.contains("--workers")));
    }

    #[test]
    fn numbers_that_do_not_add_up_are_exit_1() {
        let error =
            summary::Error::Unbalanced { read: 3, created: 1, duplicates: 0, dead_letters: 0 };
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::ActionRequired);
        assert!(failure.heading.starts_with("the totals do not add up: 3 read"));
    }
}
