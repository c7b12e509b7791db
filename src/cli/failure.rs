//! What went wrong, for a person and for a cron job: the text, the hint and the exit code.
//!
//! In: any room's error. Out: `error: … / caused by: … / hint: …` and an exit code.
//! This is the only place that knows all rooms' errors.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use serde_json::json;

use super::exit::Exit;
use crate::{
    aws, checkpoint,
    event::SetAsideCause,
    normalize::rules,
    pipeline, proxy,
    report::{Log, summary},
    sink,
    source::{self, lookup, s3},
};

/// What to do when the program contradicts itself.
const BUG: &str =
    "this is a bug in trailload: please report it with these lines; loading again is safe";

/// Something that ends the program before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What we were doing, and to what.
    pub heading: String,
    /// Why, from the outermost cause to the innermost.
    pub causes: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A person has to change something.
    pub fn person(heading: impl Into<String>) -> Self {
        Self { exit: Exit::Person, heading: heading.into(), causes: Vec::new(), hint: None }
    }

    /// The command line makes no sense.
    pub fn usage(heading: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::person(heading) }
    }

    /// Turns an error into a failure: its text is the heading, its sources are the causes.
    pub fn of(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        Self { exit, causes: chain(error.source()), ..Self::person(error.to_string()) }
    }

    /// Adds an error and everything below it as causes.
    #[must_use]
    pub fn caused_by(mut self, error: &(dyn Error + 'static)) -> Self {
        self.causes.extend(chain(Some(error)));
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Writes the failure, and returns the exit code.
    pub fn report(&self, log: &Log) -> Exit {
        log.failure(&self.heading, &self.causes, self.hint.as_deref());
        self.exit
    }
}

/// Returns the texts of an error and its sources.
///
/// A text that the one above ends with is left out: some libraries print their source themselves.
fn chain(mut error: Option<&(dyn Error + 'static)>) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    while let Some(cause) = error {
        let text = cause.to_string();
        if !causes.last().is_some_and(|above| above.ends_with(&text)) {
            causes.push(text);
        }
        error = cause.source();
    }
    causes
}

impl From<source::Error> for Failure {
    fn from(error: source::Error) -> Self {
        let exit = if error.is_usage() { Exit::Usage } else { Exit::Person };
        let failure = Self::of(exit, &error);
        Self { hint: source_hint(&error), ..failure }
    }
}

/// Returns what to do about something that cannot be read.
fn source_hint(error: &source::Error) -> Option<String> {
    match error {
        source::Error::List { .. } | source::Error::Open { .. } => {
            Some("check that this user may read it".to_owned())
        }
        source::Error::Missing { .. } => {
            Some("check the path; a bucket is named s3://BUCKET".to_owned())
        }
        source::Error::Bucket { source, .. } => bucket_hint(source),
        source::Error::Lookup(error) => lookup_hint(error),
        source::Error::Account { source, .. } => source.advice().map(str::to_owned),
        _ => None,
    }
}

fn bucket_hint(refusal: &s3::Refusal) -> Option<String> {
    if let Some(missing) = &refusal.missing {
        return Some(allow(missing.action, &missing.resource));
    }
    let answer = refusal.answer.as_ref()?;
    if answer.code.as_deref() == Some("NoSuchBucket") {
        return Some("check the name of the bucket".to_owned());
    }
    answer.trouble.advice().map(str::to_owned)
}

fn lookup_hint(error: &lookup::Error) -> Option<String> {
    let (lookup::Error::Place { why, source, .. } | lookup::Error::Everywhere { why, source, .. }) =
        error
    else {
        return None;
    };
    match why {
        lookup::Why::Denied { action } => Some(allow(action, "*")),
        _ => source.downcast_ref::<aws::Refusal>()?.trouble.advice().map(str::to_owned),
    }
}

/// Says which statement a policy lacks.
pub(super) fn allow(action: &str, resource: &str) -> String {
    let statement = json!({ "Effect": "Allow", "Action": action, "Resource": resource });
    format!(
        "allow it: {statement} ('trailload policy' with the same options prints the whole policy)"
    )
}

impl From<aws::Error> for Failure {
    fn from(error: aws::Error) -> Self {
        let exit = match error {
            aws::Error::ForeignRegion { .. } | aws::Error::NoRegion(_) | aws::Error::NoRole(_) => {
                Exit::Usage
            }
            _ => Exit::Person,
        };
        let failure = Self::of(exit, &error);
        Self { hint: error.advice().map(str::to_owned), ..failure }
    }
}

impl From<pipeline::Error> for Failure {
    fn from(error: pipeline::Error) -> Self {
        match error {
            pipeline::Error::Source(error) => error.into(),
            pipeline::Error::Sink(error) => error.into(),
            pipeline::Error::Checkpoint(error) => error.into(),
            pipeline::Error::Thread { .. } => Self::of(Exit::Person, &error)
                .hint("give fewer --workers, or raise the limits of this user (ulimit -u, -v)"),
            pipeline::Error::KeptOut { ref source, .. } => {
                Self::of(Exit::Person, &error).hint(match source.cause {
                    SetAsideCause::Pipeline => {
                        "mend the ingest pipeline, or take it out of the settings of the index, then run the same \
                         command again: it goes on from here"
                    }
                    _ => {
                        "open the index, or take the block off it, then run the same command again: it goes on from \
                         here; or leave its time out with --from and --to"
                    }
                })
            }
            pipeline::Error::Panic(_) => Self::of(Exit::Person, &error).hint(BUG),
        }
    }
}

impl From<rules::Error> for Failure {
    fn from(error: rules::Error) -> Self {
        Self::of(Exit::Person, &error)
            .hint("mend the folder given with --mappings, or leave it out")
    }
}

impl From<checkpoint::Error> for Failure {
    fn from(error: checkpoint::Error) -> Self {
        let failure = Self::of(Exit::Person, &error);
        match error {
            checkpoint::Error::Miscounted { .. } | checkpoint::Error::Unopened { .. } => {
                failure.hint(BUG)
            }
            _ => Self { hint: error.way_out().map(str::to_owned), ..failure },
        }
    }
}

impl From<sink::Error> for Failure {
    fn from(error: sink::Error) -> Self {
        let mut failure = Self::of(sink_exit(&error), &error);
        if let sink::Error::Unsigned { source, .. } = &error
            && let Some(error) = source.downcast_ref::<CredentialsError>()
        {
            // The chain tells all that it tried, a line each; a person wants what counts.
            failure.causes = vec![aws::Refusal::of_credentials(error).to_string()];
        }
        let hint = match &error {
            sink::Error::Redirected { source, .. } => Some(redirect_hint(source)),
            error => sink_hint(error).map(str::to_owned),
        };
        Self { hint, ..failure }
    }
}

/// Says which address to give instead of one that redirects.
fn redirect_hint(cause: &sink::Cause) -> String {
    match cause {
        sink::Cause::Redirect { address: Some(address), .. } => {
            format!("give the address itself: --into {address}")
        }
        _ => "no engine sends there (a login page, Kibana or Dashboards do): check host, port and path of --into"
            .to_owned(),
    }
}

fn sink_exit(error: &sink::Error) -> Exit {
    match error {
        sink::Error::Address { .. } | sink::Error::Prefix { .. } => Exit::Usage,
        sink::Error::GaveUp { .. } | sink::Error::Interrupted { .. } => Exit::Early,
        _ => Exit::Person,
    }
}

/// Returns what to do about an engine, or the way to it.
fn sink_hint(error: &sink::Error) -> Option<&'static str> {
    Some(match error {
        sink::Error::Address { .. } => "give the engine's address, such as http://localhost:9200",
        sink::Error::Prefix { .. } => "choose another prefix with --index",
        sink::Error::Credentials { .. } => {
            "check TRAILLOAD_USERNAME, TRAILLOAD_PASSWORD and TRAILLOAD_API_KEY"
        }
        sink::Error::Unsigned { .. } => {
            "log in to AWS as for the aws command (AWS_PROFILE, aws sso login, a role), \
             or leave out --aws-auth"
        }
        sink::Error::CaFile { .. } => "give --ca-file a PEM file with certificates",
        sink::Error::Connect { how, .. } => return connect_hint(*how),
        sink::Error::Denied { status: 401, .. } => {
            "log in with the right TRAILLOAD_USERNAME and TRAILLOAD_PASSWORD, or TRAILLOAD_API_KEY"
        }
        sink::Error::Denied { .. } => "give this user the right to do it, or log in as another",
        sink::Error::Refused { why, .. } => return why.advice(),
        sink::Error::TooOld { .. } => "load into a newer engine",
        sink::Error::ForeignTemplate { .. } => {
            "choose another prefix with --index, or replace the template with --force"
        }
        sink::Error::NewerTemplate { .. } => {
            "update trailload, or replace the template with --force"
        }
        sink::Error::OtherSpan { .. } => {
            "give --index-by as before, or another prefix with --index; to change it, delete the indices of this \
             prefix, then load with --again"
        }
        sink::Error::NotOneIndex { .. } => {
            "load under another prefix (--index), where trailload makes the indices itself; an alias over them for \
             searches does no harm"
        }
        sink::Error::Blocked { .. } => {
            "the engine's disk is full: make room, then run the same command again"
        }
        sink::Error::NoEngine { source, .. } if source.status() == Some(407) => {
            proxy::Trouble::advice(Some(407))
        }
        sink::Error::NoEngine { .. } => "check host, port and path of --into",
        sink::Error::GaveUp { .. } => {
            "see how the engine is, then run the same command again: it goes on from here"
        }
        sink::Error::Interrupted { .. } => "run the same command again: it goes on from here",
        sink::Error::Client { .. } | sink::Error::Redirected { .. } => return None,
    })
}

fn connect_hint(how: sink::Unreachable) -> Option<&'static str> {
    Some(match how {
        sink::Unreachable::Name => "check the host name of --into",
        sink::Unreachable::Refused => "check that the engine runs, and host and port of --into",
        sink::Unreachable::UnknownIssuer => "name the authority's certificate with --ca-file",
        sink::Unreachable::Certificate => {
            "use the host name that the certificate was made for, or renew the certificate"
        }
        sink::Unreachable::NotTls => "the engine speaks plain HTTP there: use http://",
        sink::Unreachable::Closed => "if the engine speaks TLS there, use https://",
        sink::Unreachable::TimedOut => "check that a firewall lets this machine through",
        sink::Unreachable::Proxy(status) => proxy::Trouble::advice(status),
        sink::Unreachable::Other => return None,
    })
}

impl From<summary::Error> for Failure {
    fn from(error: summary::Error) -> Self {
        let hint = match error {
            summary::Error::Unbalanced { .. } => BUG,
            summary::Error::Write { .. } => "give --summary a file in a folder you may write to",
        };
        Self::of(Exit::Person, &error).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use thiserror::Error as ThisError;

    use super::*;
    use crate::report::log::{Format, Verbosity, tests::page};

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
        let failure = Failure::of(Exit::Early, &nested()).hint("run it again");
        let (log, page) = page(Format::Text, Verbosity::Quiet);
        assert_eq!(failure.report(&log), Exit::Early);
        assert_eq!(
            page.text(),
            "error: could not read the batch\n  caused by: the line broke\n  \
             caused by: reset by peer\n  hint: run it again\n"
        );
    }

    #[test]
    fn a_cause_is_not_said_twice() {
        #[derive(Debug, ThisError)]
        #[error("connect: {0}")]
        struct Chatty(#[source] Inner);
        let failure =
            Failure::person("no answer").caused_by(&Chatty(Inner(io::Error::other("refused"))));
        assert_eq!(failure.causes, ["connect: the line broke", "refused"]);
    }

    #[test]
    fn each_trouble_with_the_engine_has_its_exit_code_and_hint() {
        let url = || "http://h:9200".to_owned();
        let answer = |status, code: &str| sink::Cause::Answer {
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
            (denied(401), Exit::Person, "TRAILLOAD_PASSWORD"),
            (denied(403), Exit::Person, "right"),
            (
                sink::Error::GaveUp { url: url(), waited, source: answer(503, "") },
                Exit::Early,
                "run the same command again",
            ),
            (
                sink::Error::Blocked { url: url(), waited, source: answer(403, "") },
                Exit::Person,
                "disk",
            ),
            (
                sink::Error::ForeignTemplate { url: url(), template: "t".to_owned() },
                Exit::Person,
                "--force",
            ),
            (
                sink::Error::Refused {
                    url: url(),
                    action: "a new index".to_owned(),
                    status: 400,
                    why: sink::Why::Shards,
                    source: answer(400, "validation_exception"),
                },
                Exit::Person,
                "shards",
            ),
            (sink::Error::Prefix { prefix: "A".to_owned(), why: "no" }, Exit::Usage, "--index"),
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
        assert!(failure.heading.contains("s3://BUCKET/PREFIX, and lookup"), "{failure:?}");
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        let failure = Failure::from(source::Error::List { name: "trail".to_owned(), source });
        assert_eq!((failure.exit, failure.causes.len()), (Exit::Person, 1));
    }

    #[test]
    fn all_denied_is_exit_1_with_the_statement_that_is_missing() {
        let source: lookup::Cause = std::sync::Arc::new(io::Error::other("no"));
        let action = "cloudtrail:LookupEvents".to_owned();
        let why = lookup::Why::Denied { action };
        let denied = lookup::Error::Everywhere { places: 3, why, source };
        let failure = Failure::from(source::Error::from(denied));
        assert_eq!(failure.exit, Exit::Person);
        let statement = r#"{"Effect":"Allow","Action":"cloudtrail:LookupEvents","Resource":"*"}"#;
        assert!(failure.hint.is_some_and(|hint| hint.contains(statement)));

        let missing =
            s3::Missing { action: "s3:ListBucket", resource: "arn:aws:s3:::b".to_owned() };
        let refusal = s3::Refusal {
            why: "may not be listed".to_owned(),
            answer: None,
            missing: Some(missing),
            reach: s3::Reach::This,
        };
        let source = Box::new(refusal);
        let failure = Failure::from(source::Error::Bucket { name: "s3://b".to_owned(), source });
        assert!(failure.hint.is_some_and(|hint| hint.contains(r#""Resource":"arn:aws:s3:::b""#)));
    }

    #[test]
    fn trouble_at_the_door_to_aws_has_its_hint() {
        let failure = Failure::from(aws::Error::NoRegion("moon".to_owned()));
        assert_eq!(failure.exit, Exit::Usage);
        let skew = aws::Refusal {
            trouble: aws::Trouble::ClockSkew { ahead: None },
            status: Some(403),
            code: None,
            message: "Signature expired".to_owned(),
            request: None,
        };
        let error = aws::Error::Credentials { profile: None, source: Box::new(skew) };
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Person);
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
        assert_eq!(failure.exit, Exit::Person);
        assert!(failure.heading.contains("in use by another run (pid 4711)"), "{failure:?}");
        assert!(failure.hint.is_some_and(|hint| hint.starts_with("wait for the other run")));
        let miscounted =
            checkpoint::Error::Miscounted { lane: 1, page: 2, documents: 3, settled: 4 };
        assert_eq!(Failure::from(miscounted).hint.as_deref(), Some(BUG));
    }

    #[test]
    fn a_thread_that_cannot_be_had_is_exit_1_with_cause_and_hint() {
        let source = io::Error::from(io::ErrorKind::WouldBlock);
        let error = pipeline::Error::Thread { name: "worker", source };
        let failure = Failure::from(error);
        assert_eq!((failure.exit, failure.causes.len()), (Exit::Person, 1));
        assert!(failure.hint.is_some_and(|hint| hint.contains("--workers")));
    }

    #[test]
    fn numbers_that_do_not_add_up_are_exit_1() {
        let error =
            summary::Error::Unbalanced { read: 3, created: 1, already_there: 0, set_aside: 0 };
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Person);
        assert!(failure.heading.starts_with("the numbers do not add up: 3 read"));
    }
}
