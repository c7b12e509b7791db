//! Chromium without a window, as a program that reads a page and prints what became of it.
//!
//! Holds: a missing browser fails the test, it never skips it. Every call has a profile of its own.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

/// Names another browser.
const VARIABLE: &str = "TRAILLOAD_TEST_CHROMIUM";

/// Chromium reads and draws; it does nothing on its own, and its sandbox, which root and containers lack, guards nothing here.
const OPTIONS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--enable-logging=stderr",
];

/// A page in a folder of its own.
pub(super) struct Browser {
    folder: tempfile::TempDir,
    program: PathBuf,
    version: String,
}

/// What a browser wrote.
pub(super) struct Written {
    pub(super) document: String,
    /// Messages of the page: errors of scripts, and what the policy of the page refused.
    pub(super) console: Vec<String>,
}

impl Browser {
    /// Writes a page for the browser to read.
    pub(super) fn with(page: &str) -> Browser {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("page.html"), page).unwrap();
        let program = program();
        let version = Command::new(&program).arg("--version").output().unwrap();
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        // A test that fails prints it.
        println!("{version}");
        Browser { folder, program, version }
    }

    /// Opens the page in a window of a width, and returns the document.
    pub(super) fn open(&self, width: u32) -> Written {
        let output = self.run(&[&format!("--window-size={width},900"), "--dump-dom"]);
        let messages = String::from_utf8_lossy(&output.stderr);
        let console = messages.lines().filter(|line| line.contains(":CONSOLE"));
        let console = console.map(str::to_owned).collect();
        Written { document: String::from_utf8_lossy(&output.stdout).into_owned(), console }
    }

    /// Prints the page to a file.
    pub(super) fn print(&self) -> Vec<u8> {
        let file = self.folder.path().join("page.pdf");
        self.run(&[&format!("--print-to-pdf={}", file.display()), "--no-pdf-header-footer"]);
        std::fs::read(&file).unwrap_or_else(|error| panic!("{}: no PDF: {error}", self.version))
    }

    fn run(&self, options: &[&str]) -> Output {
        let folder = self.folder.path();
        let mut profile = OsString::from("--user-data-dir=");
        profile.push(folder.join("profile"));
        let mut command = Command::new(&self.program);
        command.args(OPTIONS).arg(profile).args(options).arg(folder.join("page.html"));
        let output = command.output().unwrap();
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}\n{messages}", self.version, output.status);
        output
    }
}

fn program() -> PathBuf {
    if let Some(program) = std::env::var_os(VARIABLE) {
        return program.into();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut programs = std::env::split_paths(&folders)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .chain([PathBuf::from("/Applications/Chromium.app/Contents/MacOS/Chromium")]);
    programs.find(|program| program.is_file()).unwrap_or_else(|| {
        panic!(
            "Chromium is needed and was not found\n  Debian, Ubuntu:  sudo apt-get install chromium\n  \
             macOS:           brew install chromium\n  or set {VARIABLE} to the path of one"
        )
    })
}

/// How a measured copy is shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Look {
    Light,
    Dark,
    /// As on paper.
    Paper,
}

impl Look {
    /// Returns a copy of a page that looks so everywhere.
    fn of(self, page: &str) -> String {
        let [never, always] = ["(max-width: 0)", "(min-width: 0)"];
        let (is_dark, is_paper) = match self {
            Look::Light => (never, never),
            Look::Dark => (always, never),
            Look::Paper => (never, always),
        };
        let rules = [("(prefers-color-scheme: dark)", is_dark), ("@media print", is_paper)];
        rules.into_iter().fold(page.to_owned(), |page, (rule, condition)| {
            assert_eq!(page.matches(rule).count(), 1, "{rule}");
            let condition = match rule.strip_suffix("print") {
                Some(media) => format!("{media}{condition}"),
                None => condition.to_owned(),
            };
            page.replacen(rule, &condition, 1)
        })
    }
}

/// Opens copies of a page that have a script, and returns what the script found at each width. Without its policy, nothing but
/// escaping protects the copies. Each is in a frame of that width, because Chromium has no window as narrow as a telephone.
pub(super) fn measure<const N: usize>(page: &str, widths: [u32; N], look: Look) -> [Value; N] {
    let begin = page.find("<meta http-equiv=\"Content-Security-Policy\"").unwrap();
    let end = begin + page[begin..].find('>').unwrap() + 1;
    let copy = look.of(&format!("{}{}", &page[..begin], &page[end..]));
    let (before, after) = copy.rsplit_once("</body>").unwrap();
    let script = include_str!("measure.js");
    let copy = format!("{before}<script id=\"measure\">{script}</script></body>{after}");
    let copy = copy.replace('&', "&amp;").replace('"', "&quot;");
    let frame = |width| {
        format!(
            "<iframe style=\"border: 0; width: {width}px; height: 900px\" srcdoc=\"{copy}\"></iframe>"
        )
    };
    let frames = widths.map(frame).concat();
    let page = format!("<!doctype html><meta charset=\"utf-8\"><body>{frames}</body>");
    let written = Browser::with(&page).open(2_000);
    assert!(written.console.is_empty(), "{:#?}", written.console);
    widths.map(|width| {
        let start = format!("<pre id=\"measured-{width}\">");
        let measured = written.document.split_once(&start).map(|(_, measured)| measured);
        let measured = measured.unwrap_or_else(|| panic!("nothing was measured at {width}"));
        let (measured, _) = measured.split_once("</pre>").unwrap();
        serde_json::from_slice(&from_hex(measured)).unwrap()
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Returns the number of pages of a PDF file.
pub(super) fn pages(pdf: &[u8]) -> usize {
    let text = String::from_utf8_lossy(pdf);
    text.matches("/Type /Page").count() - text.matches("/Type /Pages").count()
}
