//! Runs the real program as a user would, and keeps what it said.
//!
//! Holds: every run that ends by itself has its numbers checked; nothing waits for ever; the
//! caller's own environment and state folder are never touched.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long a run may take before the test says that it hangs. Far above what any needs, as a
/// busy machine must not fail a test.
const LONGEST_RUN: Duration = Duration::from_mins(5);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_trailload");

/// A folder that belongs to one test: inputs, checkpoint, summary, state.
pub(crate) struct Desk {
    folder: TempDir,
}

impl Desk {
    /// Makes an empty one.
    pub(crate) fn new() -> Desk {
        Desk { folder: tempfile::Builder::new().prefix("trailload-test-").tempdir().unwrap() }
    }

    /// Returns a path inside.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file inside, with its folders.
    pub(crate) fn file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Returns a path inside for one kind of file of a run.
    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.path("checkpoint.sqlite")
    }

    /// Returns what `trailload status --json` says of this desk's checkpoint.
    pub(crate) fn status(&self) -> Value {
        let mut command = Command::new(PROGRAM);
        command.args(["status", "--json", "--checkpoint"]).arg(self.checkpoint());
        let output = command.env_clear().output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Prepares `trailload load SOURCE --into URL` with this desk's checkpoint.
    pub(crate) fn load(&self, source: impl AsRef<OsStr>, url: &str) -> Load {
        self.load_all([source], url)
    }

    /// Prepares `trailload load SOURCE… --into URL` with this desk's checkpoint.
    pub(crate) fn load_all<S: AsRef<OsStr>>(
        &self,
        sources: impl IntoIterator<Item = S>,
        url: &str,
    ) -> Load {
        let summary = self.path(format!("summary-{}.json", fastrand::u64(..)));
        let mut load = Load {
            arguments: Vec::new(),
            environment: Vec::new(),
            home: self.path("home"),
            summary,
            input: None,
        };
        load.arguments.push("load".into());
        load.arguments.extend(sources.into_iter().map(|source| source.as_ref().to_owned()));
        load.with(["--into", url]).with("--checkpoint".chain(self.checkpoint()))
    }
}

/// Joins an option and its value, which may be of another type.
pub(crate) trait Chain {
    /// Returns both as arguments.
    fn chain(self, value: impl Into<OsString>) -> [OsString; 2];
}

impl Chain for &str {
    fn chain(self, value: impl Into<OsString>) -> [OsString; 2] {
        [self.into(), value.into()]
    }
}

/// A run that is not started yet.
#[derive(Clone)]
pub(crate) struct Load {
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    home: PathBuf,
    summary: PathBuf,
    input: Option<Vec<u8>>,
}

impl Load {
    /// Adds arguments.
    pub(crate) fn with<T: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = T>,
    ) -> Load {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Returns whether this argument is among those of the run.
    pub(crate) fn asks_for(&self, argument: &str) -> bool {
        self.arguments.iter().any(|given| given == argument)
    }

    /// Asks another command with the same options: `doctor`, `policy`.
    pub(crate) fn instead(mut self, command: &str) -> Load {
        self.arguments[0] = command.into();
        self
    }

    /// Uses another checkpoint than the desk's.
    pub(crate) fn checkpoint(mut self, path: &Path) -> Load {
        let at = self.arguments.iter().position(|argument| argument == "--checkpoint").unwrap();
        self.arguments[at + 1] = path.into();
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Load {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Gives the program something to read from standard input.
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Load {
        self.input = Some(bytes.into());
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(&self.arguments).arg("--summary").arg(&self.summary);
        self.dress(&mut command);
        command
    }

    /// Wraps the run into a shell, itself run by `wrapper`, that does `before` first.
    fn command_in_shell(&self, wrapper: &[&str], before: &str) -> Command {
        let mut words = wrapper.iter().copied().chain(["sh", "-c"]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(format!("{before} && exec \"$0\" \"$@\"")).arg(PROGRAM);
        command.args(&self.arguments).arg("--summary").arg(&self.summary);
        self.dress(&mut command);
        command
    }

    fn dress(&self, command: &mut Command) {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.home).env("XDG_STATE_HOME", self.home.join("state"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Running {
        self.launch(self.command())
    }

    /// Starts it in a shell, itself run by `wrapper`, that does `before` first.
    pub(crate) fn start_in_shell(&self, wrapper: &[&str], before: &str) -> Running {
        self.launch(self.command_in_shell(wrapper, before))
    }

    fn launch(&self, mut command: Command) -> Running {
        // What an earlier run wrote must not pass for this one's.
        let _ = std::fs::remove_file(&self.summary);
        let mut child = command.spawn().unwrap();
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), self.input.clone()) {
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let stdout = reader(child.stdout.take().unwrap());
        let stderr = reader(child.stderr.take().unwrap());
        let checkpoint = self.checkpoint_file();
        let before = checkpoint.as_deref().and_then(last_run).map_or(0, |(run, _)| run);
        Running { child, stdout, stderr, summary: self.summary.clone(), checkpoint, before }
    }

    fn checkpoint_file(&self) -> Option<PathBuf> {
        let at = self.arguments.iter().position(|argument| argument == "--checkpoint")?;
        Some(PathBuf::from(&self.arguments[at + 1]))
    }

    /// Runs it to its end.
    pub(crate) fn run(&self) -> Outcome {
        self.start().end()
    }
}

/// Collects a pipe until it closes; the channel gives the whole text at once.
fn reader(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// A run that goes on.
pub(crate) struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    summary: PathBuf,
    checkpoint: Option<PathBuf>,
    /// The number of the last run in the checkpoint when this one was started.
    before: i64,
}

impl Running {
    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.unwrap().success(), "could not send {name}");
    }

    /// Kills it at once, if it still runs, and waits for its end; returns whether it ran.
    pub(crate) fn kill(mut self) -> bool {
        let ran = self.child.try_wait().unwrap().is_none();
        let _ = self.child.kill();
        let _ = self.child.wait();
        ran
    }

    /// Waits so long for the end; returns whether it came.
    pub(crate) fn ends_within(&mut self, time: Duration) -> bool {
        match self.stderr.recv_timeout(time) {
            Ok(text) => {
                let (sender, receiver) = channel();
                let _ = sender.send(text);
                self.stderr = receiver;
                true
            }
            Err(_) => false,
        }
    }

    /// Returns the most memory it ever held, in MiB; `None` once it has ended.
    pub(crate) fn peak_memory_mib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib >> 10)
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Outcome {
        let Ok(stderr) = self.stderr.recv_timeout(LONGEST_RUN) else {
            let _ = self.child.kill();
            panic!("the loader did not end within {LONGEST_RUN:?}: {:?}", self.stderr.recv());
        };
        let stdout = self.stdout.recv().unwrap_or_default();
        let status = self.child.wait().unwrap();
        let text = std::fs::read(&self.summary).ok();
        let summary = text.map(|text| serde_json::from_slice(&text).unwrap());
        let outcome = Outcome { code: status.code(), stdout, stderr, summary };
        outcome.assert_adds_up();
        if let Some((run, exit)) = self.checkpoint.as_deref().and_then(last_run)
            && run > self.before
        {
            outcome.assert_stored(exit);
        }
        outcome
    }
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) summary: Option<Value>,
}

impl Outcome {
    /// Returns a number of the summary.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let summary =
            self.summary.as_ref().unwrap_or_else(|| panic!("no summary was written: {self:?}"));
        summary[name]
            .as_u64()
            .unwrap_or_else(|| panic!("the summary has no number `{name}`: {summary}"))
    }

    /// Returns a number summed over the `sources` of the summary.
    pub(crate) fn of_sources(&self, name: &str) -> u64 {
        let sources = self.summary.as_ref().unwrap()["sources"].as_array().unwrap();
        sources.iter().map(|source| source[name].as_u64().unwrap()).sum()
    }

    /// Returns read, created, duplicates and dead letters.
    pub(crate) fn counts(&self) -> [u64; 4] {
        ["read", "created", "duplicates", "dead_letters"].map(|name| self.number(name))
    }

    /// Fails unless the exit code is `code`.
    pub(crate) fn exits(self, code: i32) -> Outcome {
        assert_eq!(self.code, Some(code), "stderr:\n{}\nsummary: {:?}", self.stderr, self.summary);
        self
    }

    /// Fails unless read, created, duplicates and dead letters are these.
    pub(crate) fn counted(self, counts: [u64; 4]) -> Outcome {
        assert_eq!(self.counts(), counts, "stderr:\n{}", self.stderr);
        self
    }

    /// Fails unless standard error holds each of these, whatever the case.
    pub(crate) fn says<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Outcome {
        let said = self.stderr.to_lowercase();
        for word in words {
            assert!(said.contains(&word.to_lowercase()), "`{word}` is not in:\n{}", self.stderr);
        }
        self
    }

    /// The promise of every run that ends by itself: its checkpoint stores the exit code that the process returns.
    /// Only a run that leaves at once, or whose checkpoint takes nothing more, stores none.
    fn assert_stored(&self, exit: Option<i32>) {
        let may_be_open = !matches!(self.code, Some(0 | 3));
        assert!(
            exit == self.code || (exit.is_none() && may_be_open),
            "the process returned {:?}, and the checkpoint stores {exit:?}:\n{}",
            self.code,
            self.stderr
        );
    }

    /// The promise of every run: read = created + duplicates + dead letters.
    fn assert_adds_up(&self) {
        let Some(summary) = self.summary.as_ref().filter(|summary| summary["dry_run"].is_null())
        else {
            return;
        };
        let [read, created, duplicates, dead_letters] = self.counts();
        assert_eq!(read, created + duplicates + dead_letters, "{summary}");
        assert_eq!(read, self.of_sources("records"), "{summary}");
        assert_eq!(self.number("bytes_read"), self.of_sources("bytes_read"), "{summary}");
        assert_eq!(read == 0, self.number("bytes_read") == 0, "{summary}");
        if let Some(code) = self.code {
            assert_eq!(summary["exit"].as_i64(), Some(i64::from(code)), "{summary}");
        }
    }
}

/// Returns the number of the last run in a checkpoint, and the exit code that is stored for it.
fn last_run(checkpoint: &Path) -> Option<(i64, Option<i32>)> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(checkpoint, flags).ok()?;
    let query = "SELECT id, exit_code FROM runs ORDER BY id DESC LIMIT 1";
    database.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).ok()
}

/// Waits for a fact, which must come within a minute.
pub(crate) fn wait_for<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_mins(1), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the keys of the partitions that a checkpoint records as loaded.
pub(crate) fn loaded_partitions(checkpoint: &Path) -> std::collections::BTreeSet<String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let Ok(database) = rusqlite::Connection::open_with_flags(checkpoint, flags) else {
        return std::collections::BTreeSet::new();
    };
    let query = "SELECT folders.path || '/' || partitions.name FROM partitions \
                 JOIN folders ON folders.id = partitions.folder";
    let Ok(mut statement) = database.prepare(query) else {
        return std::collections::BTreeSet::new();
    };
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Returns the kinds that a checkpoint says were decided, by path.
pub(crate) fn decisions(checkpoint: &Path) -> std::collections::BTreeMap<String, String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(checkpoint, flags).unwrap();
    let mut statement = database.prepare("SELECT path, kind FROM discovered_fields").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}
