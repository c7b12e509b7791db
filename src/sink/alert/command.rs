//! A program that is run for each alert.
//!
//! Input: an [`AlertMessage`]. Output: the alert and its event as JSON on the standard input of the program; its exit code decides
//! about the delivery.
//! Invariant: no shell is involved, and nothing of an event is an argument or a variable. A program that exceeds its time is
//! ended with all its children.

use std::{io, path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::timeout,
};

use super::{
    AlertMessage, DeliveryError, Rendered, RetryAdvice,
    settings::{Read, Settings},
};
use crate::{
    filter::yaml::{DefinitionError, YamlNode},
    report::terminal::escape_unprintable,
};

/// The keys of this kind.
pub(super) const KEYS: [&str; 2] = ["command", "timeout"];

/// Time limit of a program.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of standard error that are kept: its end, where the cause is.
const MAX_STDERR_BYTES: usize = 4 << 10;

/// How long the end of standard error is waited for, after the program has ended. A child may hold it open.
const STDERR_GRACE: Duration = Duration::from_millis(500);

/// Exit codes that no other attempt changes: those for a wrong use, wrong data, missing permissions and settings (`sysexits.h`),
/// and a shell's for a program that cannot be run.
const PERMANENT_CODES: [i32; 6] = [64, 65, 77, 78, 126, 127];

/// The settings of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSettings {
    program: String,
    arguments: Vec<String>,
    pub(super) timeout: Duration,
}

impl CommandSettings {
    pub(super) fn read(node: &YamlNode) -> Read<Self> {
        let settings = Settings::new(node, "command", &[&KEYS])?;
        let missing = || settings.missing("command", "command: [/usr/local/bin/handle-alert]");
        let value = settings.get("command").ok_or_else(missing)?;
        if value.as_list().is_none()
            && value.as_text().is_some_and(|text| text.trim().contains(' '))
        {
            return Err(DefinitionError::new(
                value.position,
                "a command is a list: no shell splits it",
            )
            .suggest("write `command: [PROGRAM, ARGUMENT, …]`"));
        }
        let mut words = settings.texts("command")?.into_iter();
        let program = words.next().ok_or_else(missing)?;
        Ok(Self {
            program,
            arguments: words.collect(),
            timeout: settings.timeout(DEFAULT_TIMEOUT)?,
        })
    }

    /// Returns why the program cannot be run on this machine, as far as that is seen without running it.
    pub(super) fn warning(&self) -> Option<String> {
        let is_found = if Path::new(&self.program).components().count() > 1 {
            Path::new(&self.program).is_file()
        } else {
            let folders = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&folders).any(|folder| folder.join(&self.program).is_file())
        };
        let program = escape_unprintable(&self.program);
        (!is_found).then(|| format!("there is no program {program} on this machine"))
    }

    pub(super) fn render(&self, message: &AlertMessage) -> Rendered {
        let words: Vec<String> = std::iter::once(&self.program)
            .chain(&self.arguments)
            .map(|word| format!("{word:?}"))
            .collect();
        Rendered::local("run", words.join(" "), message.to_value())
    }

    /// Runs the program for an alert.
    pub(super) async fn deliver(&self, message: &AlertMessage) -> Result<(), DeliveryError> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .stdin(Stdio::piped())
            // Standard output is for data of this program.
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let child = command.spawn().map_err(|error| self.not_started(&error))?;
        let mut running = Running::new(child);
        let input = message.document().to_json() + "\n";
        match timeout(self.timeout, running.finish(input)).await {
            Ok(result) => result.map_err(|error| error.prefixed(&self.program)),
            // Dropping it ends the program.
            Err(_) => Err(DeliveryError::transient(format!(
                "{}: not finished after {} s, so it was ended",
                self.program,
                self.timeout.as_secs_f64()
            ))),
        }
    }

    fn not_started(&self, error: &io::Error) -> DeliveryError {
        let cause = format!("{} cannot be run: {error}", self.program);
        match error.kind() {
            io::ErrorKind::NotFound => DeliveryError::permanent(cause)
                .hint("give the full path of the program in `command`"),
            io::ErrorKind::PermissionDenied => {
                DeliveryError::permanent(cause).hint("make the file executable")
            }
            _ => DeliveryError::transient(cause),
        }
    }
}

/// A program that runs. Dropping it ends the program and its children.
struct Running {
    child: Child,
    /// The id of the process group, until the program has ended.
    group: Option<u32>,
}

impl Running {
    fn new(child: Child) -> Self {
        let group = child.id();
        Self { child, group }
    }

    /// Writes the input, waits for the end of the program and judges its exit code.
    async fn finish(&mut self, input: String) -> Result<(), DeliveryError> {
        let stdin = self.child.stdin.take();
        let stderr = self.child.stderr.take();
        let write = async {
            if let Some(mut stdin) = stdin {
                // A program may end without reading its input; its exit code decides.
                let _ = stdin.write_all(input.as_bytes()).await;
                let _ = stdin.shutdown().await;
            }
        };
        let mut tail = Tail::default();
        let run = async {
            let ((), status) = tokio::join!(write, self.child.wait());
            status
        };
        let status = {
            let read = tail.read(stderr);
            tokio::pin!(run, read);
            let mut is_read = false;
            let status = loop {
                tokio::select! {
                    status = &mut run => break status,
                    () = &mut read, if !is_read => is_read = true,
                }
            };
            if !is_read {
                // A child that holds the pipe open must not delay the outcome.
                let _ = timeout(STDERR_GRACE, &mut read).await;
            }
            status
        };
        let status = status.map_err(|error| DeliveryError::transient(error.to_string()))?;
        if status.success() {
            // Children that it leaves behind, such as daemons, are its own business.
            self.group = None;
            return Ok(());
        }
        let how = match status.code() {
            Some(code) => format!("exit code {code}"),
            None => status.to_string(),
        };
        let colon = if tail.text().is_empty() { "" } else { ": " };
        let retry = match status.code() {
            Some(code) if PERMANENT_CODES.contains(&code) => RetryAdvice::Never,
            _ => RetryAdvice::Backoff,
        };
        Err(DeliveryError::new(retry, format!("{how}{colon}{}", tail.text())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(group) = self.group
            && let Some(group) = i32::try_from(group).ok().and_then(rustix::process::Pid::from_raw)
        {
            // It fails if all processes of the group have ended.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// The end of an output.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    async fn read(&mut self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut buffer = [0; 1 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            self.0.extend_from_slice(&buffer[..count]);
            let excess = self.0.len().saturating_sub(MAX_STDERR_BYTES);
            self.0.drain(..excess);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).trim().to_owned()
    }
}

impl DeliveryError {
    fn prefixed(mut self, program: &str) -> Self {
        self.cause = format!("{program}: {}", self.cause);
        self
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{fs, path::Path, time::Instant};

    use serde_json::Value;

    use super::*;
    use crate::{
        filter::yaml::parse_yaml,
        sink::alert::{
            MessageContext,
            message::tests::{alert_on, event},
        },
    };

    fn settings(yaml: &str) -> CommandSettings {
        CommandSettings::read(&parse_yaml(yaml).unwrap()[0]).unwrap()
    }

    fn message() -> AlertMessage {
        AlertMessage::new(&alert_on(&event()), &MessageContext::default())
    }

    async fn run(script: &str, timeout: &str) -> Result<(), DeliveryError> {
        let yaml = format!("command: [sh, -c, {script:?}]\ntimeout: {timeout}\n");
        settings(&yaml).deliver(&message()).await
    }

    #[tokio::test]
    async fn the_program_reads_the_alert_and_its_event() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alert.json");
        run(&format!("cat > {}", file.display()), "10s").await.unwrap();
        let alert: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert_eq!(alert["event"], event());
        assert_eq!(alert["severity"], "high");
    }

    #[tokio::test]
    async fn the_exit_code_decides_and_the_cause_is_what_it_wrote() {
        let error = run("echo started >&2; echo 'no route' >&2; exit 3", "10s").await.unwrap_err();
        assert_eq!(error.retry, RetryAdvice::Backoff);
        assert!(error.cause.ends_with("exit code 3: started\\nno route"), "{error}");
        assert_eq!(run("exit 78", "10s").await.unwrap_err().retry, RetryAdvice::Never);
        let killed = run("kill -9 $$", "10s").await.unwrap_err();
        assert!(killed.cause.contains("signal: 9"), "{killed}");
        run("exec <&-; exit 0", "10s").await.unwrap();
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_is_named() {
        let error = settings("command: /no/such/program").deliver(&message()).await.unwrap_err();
        assert_eq!(error.retry, RetryAdvice::Never);
        assert!(error.cause.contains("/no/such/program cannot be run"), "{error}");
    }

    #[expect(clippy::disallowed_methods, reason = "waits for the system to end a process")]
    #[tokio::test]
    async fn a_program_that_exceeds_its_time_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let started = Instant::now();
        let script = format!("sleep 60 & echo $! > {}; wait", pid.display());
        let error = run(&script, "1s").await.unwrap_err();
        assert!(error.cause.contains("not finished after 1 s"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
        let child = fs::read_to_string(pid).unwrap();
        let path = Path::new("/proc").join(child.trim()).join("stat");
        for _ in 0..100 {
            // A zombie has ended.
            match fs::read_to_string(&path) {
                Ok(stat) if !stat.contains(") Z") => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                _ => return,
            }
        }
        panic!("the child still runs");
    }

    #[tokio::test]
    async fn a_child_that_keeps_the_pipe_open_does_not_delay_the_outcome() {
        let started = Instant::now();
        run("sleep 8 & exit 0", "20s").await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(6));
    }

    #[test]
    fn a_command_is_not_split_by_a_shell() {
        let error =
            CommandSettings::read(&parse_yaml("command: rm -rf x").unwrap()[0]).unwrap_err();
        assert!(error.message.contains("no shell"), "{error:?}");
    }
}
