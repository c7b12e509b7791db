//! The function as Lambda runs it: a package, a process, and its runtime API.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::Value;

use super::runtime::{Answered, RuntimeApi};
use crate::{support::aws, watch::hook::signal};

/// The time of an invocation, unless a test is about it.
pub(super) const TIMEOUT: Duration = Duration::from_mins(1);

/// A folder with the program, called `bootstrap`, and what is packed beside it.
pub(super) struct Package {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Package {
    /// Creates a package without rules.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        symlink(env!("CARGO_BIN_EXE_trailload"), folder.path().join("bootstrap")).unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { folder, variables: Vec::new() }
    }

    /// Creates a package with a rule that alerts on every `CreateUser`, and an action file.
    pub(super) fn with_rule(actions: &str) -> Self {
        let package = Self::new();
        package.write(
            "rules/users.yml",
            "name: user created\nevents: [CreateUser]\nactions: [hook]\n",
        );
        package.write("actions.yml", actions);
        package
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Sets a variable of the function.
    pub(super) fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the function.
    pub(super) fn start(self) -> Function {
        let api = RuntimeApi::start();
        let process = Process::start(&self, api.address());
        Function { package: self, api, process }
    }

    /// Starts the function with a runtime API that has a fault, and returns its exit code and its standard error at its end.
    pub(super) fn end_at(&self, address: &str) -> (Option<i32>, String) {
        let (status, [_, log]) = Process::start(self, address).end();
        (status.code(), log)
    }

    fn command(&self, address: &str) -> Command {
        let mut command = Command::new(self.path().join("bootstrap"));
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("LAMBDA_TASK_ROOT", self.path())
            .env("AWS_LAMBDA_FUNCTION_NAME", "trailload")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("_HANDLER", "bootstrap")
            .env("TMPDIR", self.path().join("tmp"))
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", aws::KEY)
            .env("AWS_SECRET_ACCESS_KEY", aws::SECRET)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// A process of the function.
struct Process {
    child: Child,
    output: Vec<JoinHandle<String>>,
}

impl Process {
    fn start(package: &Package, address: &str) -> Self {
        let mut child = package.command(address).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let read = |mut from: Box<dyn std::io::Read + Send>| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let _ = from.read_to_end(&mut text);
                String::from_utf8(text).unwrap()
            })
        };
        let output = vec![read(Box::new(stdout)), read(Box::new(stderr))];
        Self { child, output }
    }

    /// Waits for the end of the process, and returns how it ended, and its standard output and standard error.
    fn end(mut self) -> (ExitStatus, [String; 2]) {
        let status = self.child.wait().unwrap();
        let mut output = self.output.into_iter().map(|thread| thread.join().unwrap());
        (status, [(); 2].map(|()| output.next().unwrap()))
    }
}

/// A function that was started.
pub(super) struct Function {
    pub(super) package: Package,
    pub(super) api: RuntimeApi,
    process: Process,
}

impl Function {
    /// Invokes the function, and returns its answer.
    pub(super) fn invoke(&self, payload: &Value) -> Answered {
        self.invoke_for(payload, TIMEOUT)
    }

    pub(super) fn invoke_for(&self, payload: &Value, timeout: Duration) -> Answered {
        let id = self.api.invoke(payload, timeout);
        self.api.answer(&id).expect("the function answers")
    }

    /// Returns the folder for temporary files, which a sandbox keeps.
    pub(super) fn temporary(&self) -> PathBuf {
        self.package.path().join("tmp")
    }

    /// Ends the process by SIGKILL, as Lambda does at a timeout, and starts another one in the same sandbox.
    pub(super) fn restart(self) -> Self {
        let Self { package, api, mut process } = self;
        process.child.kill().unwrap();
        process.end();
        api.reset();
        let process = Process::start(&package, api.address());
        Self { package, api, process }
    }

    /// Asks the process to end by SIGTERM.
    pub(super) fn terminate(&self) {
        signal(&self.process.child, "TERM");
    }

    /// Ends the process by SIGTERM, as Lambda does with extensions, and returns its standard output and standard error.
    pub(super) fn stop(self) -> [String; 2] {
        self.terminate();
        let (status, output) = self.process.end();
        assert!(status.success(), "{status}: {output:?}");
        output
    }

    /// Waits until the process ends by itself, and returns its exit code with its standard error.
    pub(super) fn ended(self) -> (Option<i32>, String) {
        let (status, [_, log]) = self.process.end();
        (status.code(), log)
    }
}
