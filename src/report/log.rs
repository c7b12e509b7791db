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
        Self::build(format, verbosity, clock, None, Box::new(io::stderr()))
    }

    /// Returns a log to standard error that keeps clear of the bars drawn there.
    pub fn terminal(format: Format, verbosity: Verbosity, clock: Clock) -> Self {
        let bars = Some(MultiProgress::new());
        Self::build(format, verbosity, clock, bars, Box::new(io::stderr()))
    }

    /// Returns a log to anything else, without bars.
    pub fn writer(
        format: Format,
        verbosity: Verbosity,
        clock: Clock,
        out: Box<dyn Write + Send>,
    ) -> Self {
        Self::build(format, verbosity, clock, None, out)
    }

    fn build(
        format: Format,
        verbosity: Verbosity,
        clock: Clock,
        bars: Option<MultiProgress>,
        out: Box<dyn Write + Send>,
    ) -> Self {
        Self(Some(Arc::new(Printer { format, verbosity, clock, bars, out: Mutex::new(out) })))
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
                printer.write(&format!("{}\n", printable(headline)));
            }
            Format::Text => {}
        }
    }

    /// Tells what ended the run: what we were doing, the causes below it, and the way out.
    pub fn failure(&self, heading: &str, causes: &[String], hint: Option<&str>) {
        let Some(printer) = &self.0 else { return };
        match printer.format {
            Format::Text => printer.write(&failure_text(heading, causes, hint)),
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
            Format::Text => printer.write(&text_line(level, about, text)),
            Format::Json => {
                printer.write(&json_line((printer.clock)(), level, about, text, fields()));
            }
        }
    }
}

impl Printer {
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

fn text_line(level: Level, about: &str, text: &dyn Display) -> String {
    let text = printable(&text.to_string());
    let level = level.word();
    if about.is_empty() {
        format!("{level}: {text}\n")
    } else {
        format!("{level}: {}: {text}\n", printable(about))
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
    format!("{}\n", Value::Object(line))
}

fn failure_text(heading: &str, causes: &[String], hint: Option<&str>) -> String {
    let mut text = format!("error: {}\n", printable(heading));
    for cause in causes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  caused by: {}", printable(cause));
    }
    if let Some(hint) = hint {
        let _ = writeln!(text, "  hint: {}", printable(hint));
    }
    text
}

/// Returns the text with control characters escaped.
///
/// File names and log content are other people's words: a line feed in them would forge a line, an
/// escape sequence would steer the terminal.
fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            safe.extend(letter.escape_default());
        } else {
            safe.push(letter);
        }
    }
    safe
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
