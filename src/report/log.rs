//! Log messages on standard error, as text or JSON, without interfering with progress bars.
//!
//! Input: a level, a subject and a message. Output: one line of text (several for a failure), or one JSON object per line
//! with `time`, `level`, `about` and `message`.
//! Invariant: lines are written whole, and control characters in names and messages are escaped. Write errors are ignored,
//! because there is no other place to report them.

use std::{
    fmt::{self, Display, Write as _},
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use indicatif::MultiProgress;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::terminal::{Accent, Terminal, escape_unprintable, escape_unprintable_json};

/// Returns the current time. A function, so that only `cli` reads the system clock.
pub type Clock = fn() -> Timestamp;

/// The format of log messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line, for programs.
    Json,
}

/// Which messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors only.
    Quiet,
    /// Also information and progress.
    #[default]
    Normal,
    /// Also debug messages.
    Verbose,
}

/// The severity of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// A detail for troubleshooting. Shown with `-v` only.
    Debug,
    /// Something that the user asked for has happened.
    Info,
    /// A problem that the program recovered from, or retries.
    Warning,
    /// Data is lost, or the user must act.
    Error,
}

impl LogLevel {
    /// Returns the name that lines begin with.
    fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// How progress is shown, depending on what standard error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressMode {
    /// Progress bars, on a terminal.
    Bars,
    /// A line at intervals, to a file or pipe, or as JSON.
    Lines,
    /// No progress.
    Off,
}

/// A handle for writing log messages. Cheap to clone. The default handle discards everything, for tests.
#[derive(Clone, Debug, Default)]
pub struct Log {
    printer: Option<Arc<Printer>>,
    /// Whether messages below [`LogLevel::Warning`] are omitted by this handle, unless all details are wanted.
    omits_info: bool,
}

/// The state shared by all clones of a [`Log`].
struct Printer {
    format: LogFormat,
    verbosity: Verbosity,
    clock: Clock,
    terminal: Terminal,
    /// Set if standard error is a terminal that supports progress bars.
    bars: Option<MultiProgress>,
    out: Mutex<Box<dyn Write + Send>>,
}

impl fmt::Debug for Printer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Printer")
            .field("format", &self.format)
            .field("verbosity", &self.verbosity)
            .finish_non_exhaustive()
    }
}

impl Log {
    /// Returns a log that writes to standard error, without progress bars.
    pub fn plain(format: LogFormat, verbosity: Verbosity, clock: Clock) -> Self {
        let out = Box::new(io::stderr());
        Self::build(Printer::new(format, verbosity, clock, out))
    }

    /// Returns a log that writes to standard error, above the progress bars drawn there.
    pub fn terminal(format: LogFormat, verbosity: Verbosity, clock: Clock) -> Self {
        let bars = Some(MultiProgress::new());
        let out = Box::new(io::stderr());
        Self::build(Printer { bars, ..Printer::new(format, verbosity, clock, out) })
    }

    /// Wraps lines to the width of a terminal and uses its colors. To be called before the log is cloned.
    #[must_use]
    pub fn shown_on(mut self, terminal: Terminal) -> Self {
        if let Some(printer) = self.printer.as_mut().and_then(Arc::get_mut) {
            printer.terminal = terminal;
        }
        self
    }

    /// Returns a handle whose informational messages are shown with `-v` only: for a stage whose details matter less than
    /// those of the rest of the run.
    #[must_use]
    pub fn warnings_only(&self) -> Self {
        Self { omits_info: true, ..self.clone() }
    }

    /// Returns a log that writes to `out`, without progress bars.
    pub fn writer(
        format: LogFormat,
        verbosity: Verbosity,
        clock: Clock,
        out: Box<dyn Write + Send>,
    ) -> Self {
        Self::build(Printer::new(format, verbosity, clock, out))
    }

    fn build(printer: Printer) -> Self {
        Self { printer: Some(Arc::new(printer)), omits_info: false }
    }

    /// Logs an error: data is lost, or the user must act. `about` names the file, index or address concerned.
    pub fn error(&self, about: &str, text: impl Display) {
        self.line(LogLevel::Error, about, &text, Map::new);
    }

    /// Logs a warning: the program recovered, or retries.
    pub fn warn(&self, about: &str, text: impl Display) {
        self.line(LogLevel::Warning, about, &text, Map::new);
    }

    /// Logs that something the user asked for has happened. Not shown with `--quiet`.
    pub fn info(&self, about: &str, text: impl Display) {
        self.line(LogLevel::Info, about, &text, Map::new);
    }

    /// Logs a detail for troubleshooting. Shown with `-v` only; must not be called for each event.
    pub fn debug(&self, about: &str, text: impl Display) {
        self.line(LogLevel::Debug, about, &text, Map::new);
    }

    /// Logs a message at [`LogLevel::Info`] that has additional fields in JSON.
    ///
    /// In text, `headline` is the whole line, without level and subject.
    pub fn event(&self, about: &str, headline: &str, fields: impl FnOnce() -> Map<String, Value>) {
        let Some(printer) = &self.printer else { return };
        match printer.format {
            LogFormat::Json => self.line(LogLevel::Info, about, &headline, fields),
            LogFormat::Text if printer.shows(LogLevel::Info) => {
                printer.write(&format!(
                    "{}\n",
                    printer.terminal.wrap(&escape_unprintable(headline), INDENT)
                ));
            }
            LogFormat::Text => {}
        }
    }

    /// Logs the error that ended the program, with an excerpt of what is invalid, its chain of causes and a hint. The
    /// excerpt is printable.
    pub fn failure(
        &self,
        heading: &str,
        excerpt: &[String],
        causes: &[String],
        hint: Option<&str>,
    ) {
        let Some(printer) = &self.printer else { return };
        match printer.format {
            LogFormat::Text => {
                printer.write(&failure_text(printer.terminal, heading, excerpt, causes, hint));
            }
            LogFormat::Json => self.line(LogLevel::Error, "trailload", &heading, || {
                let mut fields = Map::new();
                if !excerpt.is_empty() {
                    fields.insert("excerpt".into(), excerpt.into());
                }
                fields.insert("causes".into(), causes.into());
                fields.insert("hint".into(), hint.into());
                fields
            }),
        }
    }

    /// Hides the progress bars while `write` writes to another stream, which may be the same terminal.
    pub fn suspend_progress<T>(&self, write: impl FnOnce() -> T) -> T {
        match self.bars() {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Returns how progress is shown.
    pub fn progress(&self) -> ProgressMode {
        match &self.printer {
            None => ProgressMode::Off,
            Some(printer) if !printer.shows(LogLevel::Info) => ProgressMode::Off,
            Some(printer) if printer.format == LogFormat::Text && printer.bars.is_some() => {
                ProgressMode::Bars
            }
            Some(_) => ProgressMode::Lines,
        }
    }

    /// Returns the terminal that lines are written to.
    pub(crate) fn shown(&self) -> Terminal {
        self.printer.as_ref().map_or_else(Terminal::default, |printer| printer.terminal)
    }

    /// Returns the progress bars, if there are any.
    pub(crate) fn bars(&self) -> Option<&MultiProgress> {
        self.printer.as_ref()?.bars.as_ref()
    }

    fn line(
        &self,
        level: LogLevel,
        about: &str,
        text: &dyn Display,
        fields: impl FnOnce() -> Map<String, Value>,
    ) {
        let Some(printer) = &self.printer else { return };
        let is_omitted =
            self.omits_info && level < LogLevel::Warning && printer.verbosity != Verbosity::Verbose;
        if is_omitted || !printer.shows(level) {
            return;
        }
        match printer.format {
            LogFormat::Text => printer.write(&text_line(printer.terminal, level, about, text)),
            LogFormat::Json => {
                printer.write(&json_line((printer.clock)(), level, about, text, fields()));
            }
        }
    }
}

impl Printer {
    fn new(
        format: LogFormat,
        verbosity: Verbosity,
        clock: Clock,
        out: Box<dyn Write + Send>,
    ) -> Self {
        let (terminal, out) = (Terminal::default(), Mutex::new(out));
        Self { format, verbosity, clock, terminal, bars: None, out }
    }

    fn shows(&self, level: LogLevel) -> bool {
        let least = match self.verbosity {
            Verbosity::Quiet => LogLevel::Warning,
            Verbosity::Normal => LogLevel::Info,
            Verbosity::Verbose => LogLevel::Debug,
        };
        level >= least
    }

    /// Writes a whole line, and hides the progress bars meanwhile.
    fn write(&self, line: &str) {
        let write = || {
            // A poisoned lock is harmless: at worst, the panic left a truncated line behind.
            let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
            // Standard error may be closed, and there is no other place to report that.
            let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

/// Indentation of continuation lines, in columns.
const INDENT: usize = 2;

fn text_line(terminal: Terminal, level: LogLevel, about: &str, text: &dyn Display) -> String {
    let mut line = format!("{}:", level.word());
    if !about.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(line, " {}:", escape_unprintable(about));
    }
    let _ = write!(line, " {}", escape_unprintable(&text.to_string()));
    let accent = match level {
        LogLevel::Debug | LogLevel::Info => None,
        LogLevel::Warning => Some(Accent::Warning),
        LogLevel::Error => Some(Accent::Error),
    };
    painted(terminal, accent, &terminal.wrap(&line, INDENT))
}

/// Returns a line whose first word is colored.
fn painted(terminal: Terminal, accent: Option<Accent>, line: &str) -> String {
    match (accent, line.split_once(':')) {
        (Some(accent), Some((word, rest))) => {
            let word = terminal.paint(accent, &format!("{word}:"));
            format!("{word}{rest}\n")
        }
        _ => format!("{line}\n"),
    }
}

fn json_line(
    time: Timestamp,
    level: LogLevel,
    about: &str,
    text: &dyn Display,
    fields: Map<String, Value>,
) -> String {
    let mut line = Map::new();
    line.insert("time".into(), time.to_string().into());
    line.insert("level".into(), level.word().into());
    line.insert("about".into(), about.into());
    line.insert("message".into(), text.to_string().into());
    line.extend(fields);
    format!("{}\n", escape_unprintable_json(&Value::Object(line).to_string()))
}

fn failure_text(
    terminal: Terminal,
    heading: &str,
    excerpt: &[String],
    causes: &[String],
    hint: Option<&str>,
) -> String {
    let line = |head: &str, text: &str, indent: usize| {
        terminal.wrap(&format!("{head}: {}", escape_unprintable(text)), indent)
    };
    let mut text = painted(terminal, Some(Accent::Error), &line("error", heading, INDENT));
    for shown in excerpt {
        // Not wrapped, because a caret stands below a column. Writing to a String cannot fail.
        let _ = writeln!(text, "{:1$}{shown}", "", 2 * INDENT);
    }
    for cause in causes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line("  caused by", cause, 2 * INDENT));
    }
    if let Some(hint) = hint {
        text.push_str(&painted(terminal, Some(Accent::Hint), &line("  hint", hint, 2 * INDENT)));
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A writer whose content tests can read.
    #[derive(Clone, Default)]
    pub(crate) struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn noon() -> Timestamp {
        "2024-06-01T12:00:00Z".parse().unwrap()
    }

    pub(crate) fn page(format: LogFormat, verbosity: Verbosity) -> (Log, Page) {
        let page = Page::default();
        (Log::writer(format, verbosity, noon, Box::new(page.clone())), page)
    }

    fn say_all(log: &Log) {
        log.debug("a.json", "opened");
        log.info("cloudtrail-2024.06", "template installed");
        log.warn("b.json.gz", "cut off at byte 17");
        log.error("http://localhost:9200", "gone");
    }

    #[test]
    fn text_lines_name_level_and_subject() {
        let (log, page) = page(LogFormat::Text, Verbosity::Verbose);
        say_all(&log);
        assert_eq!(
            page.text(),
            "debug: a.json: opened\n\
             info: cloudtrail-2024.06: template installed\n\
             warning: b.json.gz: cut off at byte 17\n\
             error: http://localhost:9200: gone\n"
        );
    }

    #[test]
    fn quiet_keeps_warnings_and_errors_only() {
        let (log, page) = page(LogFormat::Text, Verbosity::Quiet);
        say_all(&log);
        log.event("summary", "done: 1 read", Map::new);
        assert_eq!(
            page.text(),
            "warning: b.json.gz: cut off at byte 17\nerror: http://localhost:9200: gone\n"
        );
    }

    #[test]
    fn debug_needs_verbose() {
        let (log, page) = page(LogFormat::Text, Verbosity::Normal);
        say_all(&log);
        assert!(!page.text().contains("debug"));
        assert!(page.text().contains("info"));
    }

    #[test]
    fn json_lines_are_objects_with_four_fields() {
        let (log, page) = page(LogFormat::Json, Verbosity::Normal);
        log.warn("b \"quoted\".json", "cut\noff");
        assert_eq!(
            page.text(),
            "{\"time\":\"2024-06-01T12:00:00Z\",\"level\":\"warning\",\
             \"about\":\"b \\\"quoted\\\".json\",\"message\":\"cut\\noff\"}\n"
        );
    }

    #[test]
    fn an_event_carries_numbers_in_json_and_words_in_text() {
        let fields = || Map::from_iter([("read".to_owned(), Value::from(3))]);
        let (log, json) = page(LogFormat::Json, Verbosity::Normal);
        log.event("progress", "3 read", fields);
        let line: Value = serde_json::from_str(&json.text()).unwrap();
        assert_eq!((&line["message"], &line["read"]), (&"3 read".into(), &3.into()));
        let (log, text) = page(LogFormat::Text, Verbosity::Normal);
        log.event("progress", "3 read", fields);
        assert_eq!(text.text(), "3 read\n");
    }

    #[test]
    fn a_failure_has_causes_and_a_hint() {
        let causes = vec!["403 Forbidden".to_owned()];
        let (log, text) = page(LogFormat::Text, Verbosity::Quiet);
        log.failure("refused", &[], &causes, Some("ask for the role"));
        assert_eq!(
            text.text(),
            "error: refused\n  caused by: 403 Forbidden\n  hint: ask for the role\n"
        );
        let (log, json) = page(LogFormat::Json, Verbosity::Quiet);
        log.failure("refused", &[], &causes, None);
        let line: Value = serde_json::from_str(&json.text()).unwrap();
        assert_eq!((&line["level"], &line["about"]), (&"error".into(), &"trailload".into()));
        assert_eq!(line["causes"][0], "403 Forbidden");
        assert!(line["hint"].is_null());
    }

    #[test]
    fn names_cannot_steer_the_terminal_or_forge_lines() {
        let (log, page) = page(LogFormat::Text, Verbosity::Normal);
        log.warn("a\u{1b}[2J.json", "x\nerror: forged");
        assert_eq!(page.text(), "warning: a\\u{1b}[2J.json: x\\nerror: forged\n");
        let (log, page) = super::tests::page(LogFormat::Json, Verbosity::Normal);
        log.warn("\u{202e}a.json", "C1: \u{9b}");
        assert!(
            page.text().contains(r#""about":"\u202ea.json","message":"C1: \u009b""#),
            "{}",
            page.text()
        );
    }

    #[test]
    fn details_of_a_stage_are_shown_with_verbose_only() {
        for (verbosity, expected) in [
            (Verbosity::Normal, "warning: a: 2\ninfo: a: 3\n"),
            (Verbosity::Verbose, "info: a: 1\nwarning: a: 2\ninfo: a: 3\n"),
        ] {
            let (log, page) = page(LogFormat::Text, verbosity);
            log.warnings_only().info("a", "1");
            log.warnings_only().warn("a", "2");
            log.info("a", "3");
            assert_eq!(page.text(), expected);
        }
    }

    #[test]
    fn on_a_terminal_lines_fit_and_the_first_word_has_its_color() {
        use crate::report::terminal::{Color, Terminal};
        let page = Page::default();
        let log = Log::writer(LogFormat::Text, Verbosity::Normal, noon, Box::new(page.clone()))
            .shown_on(Terminal { columns: Some(60), color: Color::Always });
        log.failure(
            "one thing after the other went wrong, as they do, and so on",
            &[],
            &[],
            Some("wait"),
        );
        log.info("a", "b");
        let styled = page.text();
        let plain = console::strip_ansi_codes(&styled);
        assert_eq!(
            plain,
            "error: one thing after the other went wrong, as they do, and\n  so on\n  hint: wait\ninfo: a: b\n"
        );
        assert!(styled.starts_with("\u{1b}["), "{styled:?}");
        assert!(styled.ends_with("info: a: b\n"), "{styled:?}");
    }

    #[test]
    fn progress_is_lines_without_a_terminal_and_nothing_when_quiet() {
        assert_eq!(page(LogFormat::Text, Verbosity::Normal).0.progress(), ProgressMode::Lines);
        assert_eq!(page(LogFormat::Json, Verbosity::Quiet).0.progress(), ProgressMode::Off);
        assert_eq!(Log::default().progress(), ProgressMode::Off);
        let json = Log::terminal(LogFormat::Json, Verbosity::Normal, noon);
        assert_eq!(json.progress(), ProgressMode::Lines);
        let text = Log::terminal(LogFormat::Text, Verbosity::Normal, noon);
        assert_eq!(text.progress(), ProgressMode::Bars);
    }
}
