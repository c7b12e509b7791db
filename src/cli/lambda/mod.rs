//! AWS Lambda: the program as a function that handles events as they happen.
//!
//! ```text
//!  EventBridge, S3, SNS, SQS ──▶ Lambda ◀──HTTP── RuntimeApi ──Invocation──▶ Function ──Answer──▶ RuntimeApi
//! ```
//!
//! Input: invocations, variables, and the files beside the program. Output: alerts, documents, and the answer to each invocation.
//! Invariant: what was not processed completely is delivered again: by the queue, or by Lambda. One invocation is handled at a time.
//!
//! | file | responsible for |
//! |---|---|
//! | `settings` | variables and packed files |
//! | `runtime_api` | the requests to Lambda |
//! | `trigger`, `answer` | what invoked the function, and how it is answered |
//! | `context` | what all invocations share |
//! | `function`, `deadline` | the handling of one invocation, and its time |
//! | `messages` | the messages of an invocation as a source |
//! | `order` | which messages are processed together, and which one after the other |
//! | `task` | the run of an invocation: rules, or a load |
//! | `undelivered` | the messages whose alerts are not delivered |
//! | `invocation_report` | what is logged |

mod answer;
mod context;
mod deadline;
mod function;
mod invocation_report;
mod messages;
mod order;
mod runtime_api;
mod settings;
mod task;
mod trigger;
mod undelivered;

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use self::{
    context::FunctionContext,
    function::{Answer, Function},
    runtime_api::{InvocationErrorKind, ReportedError, RuntimeApi},
    settings::{FunctionEnvironment, PREFIX, name_variables},
};
use super::{
    environment::{self, Environment},
    exit::Exit,
    failure::Failure,
};
use crate::{
    report::{
        Log,
        log::{LogFormat, Verbosity},
    },
    shutdown::{ShutdownLevel, ShutdownSignal, shutdown_channel},
};

/// The address of the runtime API.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// The folder with the files of the function.
const TASK_ROOT: &str = "LAMBDA_TASK_ROOT";

/// The format of the log: `Text` or `JSON`.
const LOG_FORMAT: &str = "AWS_LAMBDA_LOG_FORMAT";

/// The level of the log, which Lambda sets if the format is JSON.
const LOG_LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";

/// The name of the program that Lambda starts.
const PROGRAM: &str = "bootstrap";

/// Bytes of the log that are part of the error if the function cannot be started.
const MAX_START_LOG_BYTES: usize = 8 << 10;

/// Returns whether Lambda has started the program.
pub(super) fn is_started_by_lambda(arguments: &[OsString]) -> bool {
    let program = arguments.first().and_then(|program| Path::new(program).file_name());
    program == Some(OsStr::new(PROGRAM))
        && environment::variable(RUNTIME_API).is_some_and(|address| !address.is_empty())
}

/// Handles invocations until Lambda ends the process.
pub(super) fn run(arguments: &[OsString]) -> Exit {
    let start_log = StartLog::new();
    let log = log(&start_log);
    serve(arguments, &log, &start_log).unwrap_or_else(|failure| failure.report(&log))
}

fn serve(arguments: &[OsString], log: &Log, start_log: &StartLog) -> Result<Exit, Failure> {
    let failed = |error: io::Error| Failure::from_error(Exit::ActionRequired, &error);
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let served = runtime.block_on(async {
        let stop = stop_signal().map_err(failed)?;
        let address = environment::variable(RUNTIME_API).unwrap_or_default();
        let api = RuntimeApi::new(&address.to_string_lossy())?;
        match start(arguments, log, &stop).await {
            Ok(function) => {
                start_log.close();
                handle_invocations(function, &api, &stop).await.map(|()| Exit::Success)
            }
            Err(failure) => {
                let failure = name_variables(failure);
                let exit = failure.report(log);
                api.fail_start(&start_error(&failure, start_log)).await?;
                Ok(exit)
            }
        }
    });
    runtime.shutdown_background();
    served
}

/// Returns the signal that Lambda asks the process to end, by SIGTERM.
#[expect(clippy::disallowed_methods, reason = "signals are received until the process ends")]
fn stop_signal() -> io::Result<ShutdownSignal> {
    let mut terminate = signal(SignalKind::terminate())?;
    let (trigger, stop) = shutdown_channel();
    tokio::spawn(async move {
        while terminate.recv().await.is_some() {
            trigger.raise(ShutdownLevel::Draining);
        }
    });
    Ok(stop)
}

/// Reads the settings, rules, actions and secrets.
async fn start(
    arguments: &[OsString],
    log: &Log,
    stop: &ShutdownSignal,
) -> Result<Function, Failure> {
    let mut environment = Environment::read();
    // Nothing else can be written.
    environment.state = Some(environment.temporary.clone());
    let variables = environment::variables_with_prefix(PREFIX);
    let folder = folder(arguments);
    let function = FunctionEnvironment { variables: &variables, folder: &folder };
    let context = FunctionContext::new(&environment, log, stop);
    Function::start(function.settings()?, &environment, context).await
}

async fn handle_invocations(
    mut function: Function,
    api: &RuntimeApi,
    stop: &ShutdownSignal,
) -> Result<(), Failure> {
    loop {
        let invocation = tokio::select! {
            biased;
            () = stop.reached(ShutdownLevel::Draining) => return Ok(()),
            invocation = api.next() => invocation?,
        };
        let id = &invocation.request_id;
        match Box::pin(function.handle(&invocation)).await {
            Some(Answer::Response(response)) => match api.respond(id, &response).await {
                Err(error) if error.is_too_large() => {
                    let error = ReportedError::new(InvocationErrorKind::Failed, error.to_string());
                    api.fail(id, &error).await?;
                }
                answered => answered?,
            },
            Some(Answer::Error(error)) => api.fail(id, &error).await?,
            None if stop.is_requested() => {
                let text = "the process was asked to end before the invocation was over";
                api.fail(id, &ReportedError::new(InvocationErrorKind::Failed, text)).await?;
                return Ok(());
            }
            None => {
                let text = "the invocation was not over before its deadline";
                api.fail(id, &ReportedError::new(InvocationErrorKind::Deadline, text)).await?;
                return Err(Failure::action_required(text).hint(
                    "raise the timeout of the function, or lower the batch size of the queue; the process starts again",
                ));
            }
        }
    }
}

/// Returns the folder with the files of the function: that of Lambda, or that of the program.
fn folder(arguments: &[OsString]) -> PathBuf {
    let root = environment::variable(TASK_ROOT).filter(|root| !root.is_empty());
    let program = arguments.first().map(Path::new).and_then(Path::parent);
    root.map(PathBuf::from).or_else(|| program.map(Path::to_owned)).unwrap_or_default()
}

fn log(start_log: &StartLog) -> Log {
    let is = |name: &str, values: &[&str]| {
        let value = environment::variable(name).unwrap_or_default();
        values.iter().any(|expected| value.eq_ignore_ascii_case(expected))
    };
    let format = if is(LOG_FORMAT, &["json"]) { LogFormat::Json } else { LogFormat::Text };
    let verbosity = if is(LOG_LEVEL, &["trace", "debug"]) {
        Verbosity::Verbose
    } else if is(LOG_LEVEL, &["warn", "error", "fatal"]) {
        Verbosity::Quiet
    } else {
        Verbosity::Normal
    };
    Log::writer(format, verbosity, environment::now, Box::new(start_log.clone()))
}

/// Returns the error for a function that cannot be started, with what was logged about it.
fn start_error(failure: &Failure, start_log: &StartLog) -> ReportedError {
    match start_log.text() {
        text if text.is_empty() => {
            ReportedError::from_failure(InvocationErrorKind::Configuration, failure)
        }
        text => ReportedError::new(InvocationErrorKind::Configuration, text),
    }
}

/// Standard error, whose text is kept until the function has started.
#[derive(Clone, Debug)]
struct StartLog(Arc<Mutex<Option<Vec<u8>>>>);

impl StartLog {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }

    /// Keeps nothing more.
    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns what was written.
    fn text(&self) -> String {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(text.as_deref().unwrap_or_default()).trim_end().to_owned()
    }
}

impl Write for StartLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = io::stderr().write(line)?;
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = text.as_mut() {
            let free = MAX_START_LOG_BYTES.saturating_sub(text.len());
            text.extend(line.iter().take(written.min(free)));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_the_start_has_what_was_logged() {
        let start_log = StartLog::new();
        let failure = Failure::usage("1 error in 1 rule file").hint("fix it");
        let message = |start_log: &StartLog| start_error(&failure, start_log).message;
        assert_eq!(message(&start_log), "1 error in 1 rule file; hint: fix it");
        start_log.clone().write_all(b"error: rules/a.yml:3:1: no\n").unwrap();
        assert_eq!(message(&start_log), "error: rules/a.yml:3:1: no");
        start_log.close();
        start_log.clone().write_all(b"more\n").unwrap();
        assert_eq!(start_log.text(), "");
    }

    #[test]
    fn the_files_are_beside_the_program_unless_lambda_names_a_folder() {
        let arguments = [OsString::from("/opt/function/bootstrap")];
        assert_eq!(folder(&arguments), Path::new("/opt/function"));
    }
}
