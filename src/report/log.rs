//! Lines on standard error: text or JSON, quiet or verbose, never in the way of a progress bar.
//!
//! In: a level, what the line is about, and its text. Out: one line (a failure: a few) as text, or
//! one JSON object a line with `time`, `level`, `about` and `message`.
//! Holds: a line is written whole; control characters of names and logs never reach a terminal; an
//! error of writing is ignored, because there is nowhere left to say it.

use std::{
    fmt::{self, Display, Write as _},
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use indicatif::MultiProgress;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::terminal::{Accent, Terminal, printable, printable_json};

/// Tells the time. A function, so that only `cli` reads the clock.
pub type Clock = fn() -> Timestamp;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a person.
    #[default]
    Text,
    /// For a program: one object a line.
    Json,
}

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Nothing but warnings and errors.
    Quiet,
    /// What the user asked for, and progress.
    #[default]
    Normal,
    /// Also what helps to find a fault.
    Verbose,
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Shown with `-v` only.
    Debug,
    /// Something the user asked for happened.
    Info,
    /// We recovered, or will try again.
    Warning,
    /// A person is needed, or data is lost.
    Error,
}

impl Level {
    /// Returns the word that lines begin with.
    fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// How progress is to be shown, by what standard error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bars that redraw themselves: a person watches a terminal.
    Bars,
    /// A line now and then: a file, a pipe, or JSON.
    Lines,
    /// Nothing.
    Nothing,
}

/// Where lines go. Cheap to clone. The default one says nothing, for tests of other rooms.
#[derive(Clone, Debug, Default)]
pub struct Log(Option<Arc<Printer>>);

/// What all clones of a log share.
struct Printer {
    format: Format,
    verbosity: Verbosity,
    clock: Clock,
    terminal: Terminal,
    /// Set if standard error is a terminal that can redraw lines.
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
    /// Returns a log to standard error, which is no terminal or one that cannot redraw lines.
    pub fn plain(format: Format, verbosity: Verbosity, clock: Clock) -> Self {
        let out = Box::new(io::stderr());
        Self::build(Printer::new(format, verbosity, clock, out))
    }

    /// Returns a log to standard error that keeps clear of the bars drawn there.
    pub fn terminal(format: Format, verbosity: Verbosity, clock: Clock) -> Self {
        let bars = Some(MultiProgress::new());
        let out = Box::new(io::stderr());
        Self::build(Printer { bars, ..Printer::new(format, verbosity, clock, out) })
    }

    /// Returns the log with lines that fit a terminal, and its colors. To be called before it is cloned.
    #[must_use]
    pub fn shown_on(mut self, terminal: Terminal) -> Self {
        if let Some(printer) = self.0.as_mut().and_then(Arc::get_mut) {
            printer.terminal = terminal;
        }
        self
    }

    /// Returns a log to anything else, without bars.
    pub fn writer(
        format: Format,
        verbosity: Verbosity,
        clock: Clock,
        out: Box<dyn Write + Send>,
    ) -> Self {
        Self::build(Printer::new(format, verbosity, clock, out))
    }

    fn build(printer: Printer) -> Self {
        Self(Some(Arc::new(printer)))
    }

    /// A person is needed, or data is lost. `about` names the file, index or address.
    pub fn error(&self, about: &str, text: impl Display) {
        self.line(Level::Error, about, &text, Map::new);
    }

    /// We recovered, or will try again.
    pub fn warn(&self, about: &str, text: impl Display) {
        self.line(Level::Warning, about, &text, Map::new);
    }

    /// Something the user asked for happened. Not shown with `--quiet`.
    pub fn info(&self, about: &str, text: impl Display) {
        self.line(Level::Info, about, &text, Map::new);
    }

    /// Shown with `-v` only; never once an event.
    pub fn debug(&self, about: &str, text: impl Display) {
        self.line(Level::Debug, about, &text, Map::new);
    }

    /// Tells an event that also carries numbers: in JSON as fields, in text as its words alone.
    ///
    /// `headline` is the whole text line; the level is [`Level::Info`].
    pub fn event(&self, about: &str, headline: &str, fields: impl FnOnce() -> Map<String, Value>) {
        let Some(printer) = &self.0 else { return };
        match printer.format {
            Format::Json => self.line(Level::Info, about, &headline, fields),
            Format::Text if printer.shows(Level::Info) => {
                printer
                    .write(&format!("{}\n", printer.terminal.wrap(&printable(headline), INDENT)));
            }
            Format::Text => {}
        }
    }

    /// Tells what ended the run: what we were doing, the causes below it, and the way out.
    pub fn failure(&self, heading: &str, causes: &[String], hint: Option<&str>) {
        let Some(printer) = &self.0 else { return };
        match printer.format {
            Format::Text => printer.write(&failure_text(printer.terminal, heading, causes, hint)),
            Format::Json => self.line(Level::Error, "trailload", &heading, || {
                let mut fields = Map::new();
                fields.insert("causes".into(), causes.into());
                fields.insert("hint".into(), hint.into());
                fields
            }),
        }
    }

    /// Returns how progress is to be shown.
    pub fn progress(&self) -> Progress {
        match &self.0 {
            None => Progress::Nothing,
            Some(printer) if !printer.shows(Level::Info) => Progress::Nothing,
            Some(printer) if printer.format == Format::Text && printer.bars.is_some() => {
                Progress::Bars
            }
            Some(_) => Progress::Lines,
        }
    }

    /// Returns what lines are written to.
    pub(crate) fn shown(&self) -> Terminal {
        self.0.as_ref().map_or_else(Terminal::default, |printer| printer.terminal)
    }

    /// Returns where bars are drawn, if they are.
    pub(crate) fn bars(&self) -> Option<&MultiProgress> {
        self.0.as_ref()?.bars.as_ref()
    }

    fn line(
        &self,
        level: Level,
        about: &str,
        text: &dyn Display,
        fields: impl FnOnce() -> Map<String, Value>,
    ) {
        let Some(printer) = &self.0 else { return };
        if !printer.shows(level) {
            return;
        }
        match printer.format {
            Format::Text => printer.write(&text_line(printer.terminal, level, about, text)),
            Format::Json => {
                printer.write(&json_line((printer.clock)(), level, about, text, fields()));
            }
        }
    }
}

impl Printer {
    fn new(format: Format, verbosity: Verbosity, clock: Clock, out: Box<dyn Write + Send>) -> Self {
        let (terminal, out) = (Terminal::default(), Mutex::new(out));
        Self { format, verbosity, clock, terminal, bars: None, out }
    }

    fn shows(&self, level: Level) -> bool {
        let least = match self.verbosity {
            Verbosity::Quiet => Level::Warning,
            Verbosity::Normal => Level::Info,
            Verbosity::Verbose => Level::Debug,
        };
        level >= least
    }

    /// Writes a whole line, with the bars out of the way.
    fn write(&self, line: &str) {
        let write = || {
            // A panic elsewhere while holding the lock leaves at worst a cut line behind.
            let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
            // Standard error may be closed; there is nowhere left to say so.
            let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

/// Columns that the further lines of one message stand to the right.
const INDENT: usize = 2;

fn text_line(terminal: Terminal, level: Level, about: &str, text: &dyn Display) -> String {
    let mut line = format!("{}:", level.word());
    if !about.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(line, " {}:", printable(about));
    }
    let _ = write!(line, " {}", printable(&text.to_string()));
    let accent = match level {
        Level::Debug | Level::Info => None,
        Level::Warning => Some(Accent::Warning),
        Level::Error => Some(Accent::Error),
    };
    painted(terminal, accent, &terminal.wrap(&line, INDENT))
}

/// Returns a line whose first word has its color.
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
    level: Level,
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
    format!("{}\n", printable_json(&Value::Object(line).to_string()))
}

fn failure_text(
    terminal: Terminal,
    heading: &str,
    causes: &[String],
    hint: Option<&str>,
) -> String {
    let line = |head: &str, text: &str, indent: usize| {
        terminal.wrap(&format!("{head}: {}", printable(text)), indent)
    };
    let mut text = painted(terminal, Some(Accent::Error), &line("error", heading, INDENT));
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

    /// A writer whose content a test can read.
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

    pub(crate) fn page(format: Format, verbosity: Verbosity) -> (Log, Page) {
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
        let (log, page) = page(Format::Text, Verbosity::Verbose);
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
        let (log, page) = page(Format::Text, Verbosity::Quiet);
        say_all(&log);
        log.event("summary", "done: 1 read", Map::new);
        assert_eq!(
            page.text(),
            "warning: b.json.gz: cut off at byte 17\nerror: http://localhost:9200: gone\n"
        );
    }

    #[test]
    fn debug_needs_verbose() {
        let (log, page) = page(Format::Text, Verbosity::Normal);
        say_all(&log);
        assert!(!page.text().contains("debug"));
        assert!(page.text().contains("info"));
    }

    #[test]
    fn json_lines_are_objects_with_four_fields() {
        let (log, page) = page(Format::Json, Verbosity::Normal);
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
        let (log, json) = page(Format::Json, Verbosity::Normal);
        log.event("progress", "3 read", fields);
        let line: Value = serde_json::from_str(&json.text()).unwrap();
        assert_eq!((&line["message"], &line["read"]), (&"3 read".into(), &3.into()));
        let (log, text) = page(Format::Text, Verbosity::Normal);
        log.event("progress", "3 read", fields);
        assert_eq!(text.text(), "3 read\n");
    }

    #[test]
    fn a_failure_has_causes_and_a_hint() {
        let causes = vec!["403 Forbidden".to_owned()];
        let (log, text) = page(Format::Text, Verbosity::Quiet);
        log.failure("refused", &causes, Some("ask for the role"));
        assert_eq!(
            text.text(),
            "error: refused\n  caused by: 403 Forbidden\n  hint: ask for the role\n"
        );
        let (log, json) = page(Format::Json, Verbosity::Quiet);
        log.failure("refused", &causes, None);
        let line: Value = serde_json::from_str(&json.text()).unwrap();
        assert_eq!((&line["level"], &line["about"]), (&"error".into(), &"trailload".into()));
        assert_eq!(line["causes"][0], "403 Forbidden");
        assert!(line["hint"].is_null());
    }

    #[test]
    fn names_cannot_steer_the_terminal_or_forge_lines() {
        let (log, page) = page(Format::Text, Verbosity::Normal);
        log.warn("a\u{1b}[2J.json", "x\nerror: forged");
        assert_eq!(page.text(), "warning: a\\u{1b}[2J.json: x\\nerror: forged\n");
        let (log, page) = super::tests::page(Format::Json, Verbosity::Normal);
        log.warn("\u{202e}a.json", "C1: \u{9b}");
        assert!(
            page.text().contains(r#""about":"\u202ea.json","message":"C1: \u009b""#),
            "{}",
            page.text()
        );
    }

    #[test]
    fn on_a_terminal_lines_fit_and_the_first_word_has_its_color() {
        use crate::report::terminal::{Color, Terminal};
        let page = Page::default();
        let log = Log::writer(Format::Text, Verbosity::Normal, noon, Box::new(page.clone()))
            .shown_on(Terminal { columns: Some(60), color: Color::Always });
        log.failure(
            "one thing after the other went wrong, as they do, and so on",
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
        assert_eq!(page(Format::Text, Verbosity::Normal).0.progress(), Progress::Lines);
        assert_eq!(page(Format::Json, Verbosity::Quiet).0.progress(), Progress::Nothing);
        assert_eq!(Log::default().progress(), Progress::Nothing);
        let json = Log::terminal(Format::Json, Verbosity::Normal, noon);
        assert_eq!(json.progress(), Progress::Lines);
        let text = Log::terminal(Format::Text, Verbosity::Normal, noon);
        assert_eq!(text.progress(), Progress::Bars);
    }
}
