//! Progress where a person watches: one bar a SOURCE word, or one an account and Region, with rate and time left.
//!
//! In: samples of the counters, a few times a second. Out: bars on the terminal.
//! Invariant: a line is never wider than the terminal. Absent on purpose: colors, and a percentage before everything
//! was found.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::LookupProgress;
use super::{
    Tally, figures,
    rate::{Rate, Sample, Speed},
    regions::{self, Row, View},
    terminal::{Terminal, printable, shortened},
};

/// Time between two drawings: smooth for the eye, nothing for the processor.
pub const INTERVAL: Duration = Duration::from_millis(200);

/// More SOURCE words than this share one bar: a shell glob can name thousands of files.
const BARS_AT_MOST: usize = 8;

/// Columns for the name of a bar on a wide terminal; on a narrow one, [`NARROW`].
const NAME_COLUMNS: usize = 24;

/// Columns for name and bar where the terminal has fewer than [`ENOUGH`].
const NARROW: usize = 12;

/// Columns that a line with a wide name and bar needs so that the numbers behind them are seen whole.
const ENOUGH: usize = 110;

/// How bars look on a terminal of some width. What does not fit at the end of a line is cut, never broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    columns: usize,
}

impl Look {
    fn on(terminal: Terminal) -> Self {
        let wide = terminal.columns.is_none_or(|columns| columns >= ENOUGH);
        Self { columns: if wide { NAME_COLUMNS } else { NARROW } }
    }

    /// Returns the style of a bar with a known length.
    fn measured(self) -> ProgressStyle {
        let Self { columns } = self;
        style(&format!("{{prefix:{columns}}} [{{bar:{columns}}}] {{percent:>3}} %  {{wide_msg}}"))
    }

    /// Returns the style of a bar without one: standard input, or while inputs are being found.
    fn unmeasured(self) -> ProgressStyle {
        style(&format!("{{prefix:{}}} {{spinner}}  {{wide_msg}}", self.columns))
    }

    fn name(self, name: &str) -> String {
        shortened(&printable(name), self.columns)
    }
}

/// The bars of a run.
#[derive(Debug)]
pub struct Bars {
    screen: MultiProgress,
    look: Look,
    words: Vec<Bar>,
    /// Of the event history; none until it is known which accounts and Regions there are.
    regions: Vec<RegionBar>,
}

#[derive(Debug)]
struct Bar {
    drawn: ProgressBar,
    rate: Rate,
    /// Which SOURCE word it shows; `None` for the whole run.
    source: Option<usize>,
    measured: bool,
}

#[derive(Debug)]
struct RegionBar {
    drawn: ProgressBar,
    row: Row,
    measured: bool,
}

impl Bars {
    /// Puts up one bar a SOURCE word, or a single one for all if there are many.
    pub fn new(screen: &MultiProgress, terminal: Terminal, tally: &Tally) -> Self {
        let look = Look::on(terminal);
        let words = tally.sources.len();
        let bars = if (2..=BARS_AT_MOST).contains(&words) {
            tally
                .sources
                .iter()
                .enumerate()
                .map(|(at, source)| Bar::new(screen, look, &source.name, Some(at)))
                .collect()
        } else {
            vec![Bar::new(screen, look, &folded_name(tally), None)]
        };
        Self { screen: screen.clone(), look, words: bars, regions: Vec::new() }
    }

    /// Draws the counters as they are `elapsed` after the start of the run.
    pub fn draw(&mut self, tally: &Tally, elapsed: Duration) {
        if let Some((word, progress)) = tally.lookup.get() {
            if self.regions.is_empty() {
                self.unfold(tally, *word, progress, elapsed);
            }
            for bar in &mut self.regions {
                bar.draw(self.look, progress, elapsed);
            }
        }
        for bar in &mut self.words {
            let sample = match bar.source.and_then(|at| tally.sources.get(at)) {
                Some(source) => Sample::of_source(source, tally),
                None => tally.into(),
            };
            bar.draw(self.look, sample, elapsed);
        }
    }

    /// Puts accounts and Regions in the place of the word that stands for them.
    fn unfold(&mut self, tally: &Tally, word: usize, progress: &LookupProgress, since: Duration) {
        let stands_for_them = |bar: &Bar| {
            bar.source == Some(word) || bar.source.is_none() && tally.sources.len() == 1
        };
        for bar in self.words.extract_if(.., |bar| stands_for_them(bar)) {
            bar.drawn.finish_and_clear();
        }
        let rows = regions::rows(progress, since).into_iter();
        self.regions = rows.map(|row| RegionBar::new(&self.screen, self.look, row)).collect();
    }

    /// Takes the bars down; the summary says it all.
    pub fn clear(self) {
        for bar in self.regions {
            bar.drawn.finish_and_clear();
        }
        for bar in self.words {
            bar.drawn.finish_and_clear();
        }
    }
}

impl Bar {
    fn new(screen: &MultiProgress, look: Look, name: &str, source: Option<usize>) -> Self {
        let bar = screen.add(ProgressBar::no_length());
        bar.set_style(look.unmeasured());
        bar.set_prefix(look.name(name));
        Self { drawn: bar, rate: Rate::default(), source, measured: false }
    }

    fn draw(&mut self, look: Look, sample: Sample, elapsed: Duration) {
        let speed = self.rate.sample(elapsed, sample);
        if sample.listed && sample.bytes_found > 0 {
            self.drawn.set_length(sample.bytes_found);
            self.drawn.set_position(sample.bytes_consumed.min(sample.bytes_found));
            if !self.measured {
                self.measured = true;
                self.drawn.set_style(look.measured());
            }
        }
        self.drawn.set_message(message(sample, speed));
        self.drawn.tick();
    }
}

impl RegionBar {
    fn new(screen: &MultiProgress, look: Look, row: Row) -> Self {
        let bar = screen.add(ProgressBar::no_length());
        bar.set_style(look.unmeasured());
        bar.set_prefix(look.name(&row.name));
        Self { drawn: bar, row, measured: false }
    }

    fn draw(&mut self, look: Look, progress: &LookupProgress, elapsed: Duration) {
        let view: View = self.row.look(progress, elapsed);
        if view.expected > 0 {
            self.drawn.set_length(view.expected);
            self.drawn.set_position(view.requests.min(view.expected));
            if !self.measured {
                self.measured = true;
                self.drawn.set_style(look.measured());
            }
        }
        self.drawn.set_message(view.message());
        self.drawn.tick();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .tick_chars("-\\|/ ")
}

fn folded_name(tally: &Tally) -> String {
    match tally.sources.as_slice() {
        [only] => only.name.clone(),
        all => figures::counted(all.len() as u64, "source"),
    }
}

fn message(sample: Sample, speed: Speed) -> String {
    let mut text = format!(
        "{} read, {}/s, {}/s",
        figures::count(sample.records),
        figures::count(figures::whole(speed.records)),
        figures::bytes(figures::whole(speed.bytes)),
    );
    if let Some(left) = speed.left {
        text.push_str(", ");
        text.push_str(&figures::duration(left));
        text.push_str(" left");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use indicatif::ProgressDrawTarget;

    use super::{
        super::{tally::Amount, terminal::Color},
        *,
    };

    fn screen() -> MultiProgress {
        MultiProgress::with_draw_target(ProgressDrawTarget::hidden())
    }

    const WIDE: Terminal = Terminal { columns: None, color: Color::Never };

    fn words(count: usize) -> Tally {
        Tally::new((0..count).map(|at| format!("word{at}")))
    }

    #[test]
    fn a_bar_shows_share_rate_and_time_left() {
        let tally = words(2);
        tally.found(0, 1_000);
        tally.consumed(0, 250);
        tally.taken(0, Amount { records: 5_000, bytes: 4 << 20, ..Amount::default() });
        let mut bars = Bars::new(&screen(), WIDE, &tally);
        bars.draw(&tally, Duration::from_secs(1));
        let first = &bars.words[0].drawn;
        assert_eq!(
            first.length(),
            None,
            "while files are being found, nobody knows how many there are"
        );
        assert_eq!(first.message(), "5,000 read, 5,000/s, 4.0 MiB/s");
        tally.listed.store(true, Relaxed);
        let mut bars = Bars::new(&screen(), WIDE, &tally);
        bars.draw(&tally, Duration::from_secs(2));
        let first = &bars.words[0].drawn;
        assert_eq!(first.prefix(), "word0");
        assert_eq!((first.position(), first.length()), (250, Some(1_000)));
        assert_eq!(first.message(), "5,000 read, 2,500/s, 2.0 MiB/s, 6.0 s left");
        let second = &bars.words[1].drawn;
        assert_eq!(second.length(), None, "nothing was found under the second word yet");
        assert_eq!(second.message(), "0 read, 0/s, 0 B/s");
        bars.clear();
    }

    #[test]
    fn accounts_and_regions_take_the_place_of_their_word() {
        let tally = Tally::new(["lookup".to_owned(), "trail/".to_owned()]);
        let mut bars = Bars::new(&screen(), WIDE, &tally);
        bars.draw(&tally, Duration::from_secs(1));
        assert_eq!((bars.words.len(), bars.regions.len()), (2, 0));
        let progress = regions::tests::half_way(1, 2);
        tally.lookup.set((0, progress.into())).unwrap();
        bars.draw(&tally, Duration::from_secs(1));
        bars.draw(&tally, Duration::from_secs(51));
        assert_eq!((bars.words.len(), bars.regions.len()), (1, 2));
        assert_eq!(bars.words[0].drawn.prefix(), "trail/");
        let first = &bars.regions[0].drawn;
        assert_eq!((first.prefix(), first.position()), ("eu-west-0".to_owned(), 50));
        assert_eq!(first.length(), Some(100));
        assert_eq!(
            first.message(),
            "2,500 events read, 0/s, quota 0 %",
            "nothing came since they are shown"
        );
        bars.clear();
    }

    /// Draws one measured and one unmeasured bar on a terminal of this width, and returns what is seen.
    fn drawn(columns: u16) -> String {
        let seen = indicatif::InMemoryTerm::new(10, columns);
        let screen =
            MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(seen.clone())));
        let tally = Tally::new([
            "s3://a-bucket-with-a-long-name/AWSLogs/111122223333".to_owned(),
            "-".to_owned(),
        ]);
        tally.found(0, 1_000_000_000);
        tally.consumed(0, 250_000_000);
        tally.taken(0, Amount { records: 5_000_000, bytes: 4 << 30, ..Amount::default() });
        tally.listed.store(true, Relaxed);
        let terminal = Terminal { columns: Some(columns.into()), color: Color::Never };
        let mut bars = Bars::new(&screen, terminal, &tally);
        bars.draw(&tally, Duration::from_secs(2));
        seen.contents()
    }

    #[test]
    fn bars_fit_terminals_of_60_to_200_columns() {
        for columns in [60, 80, 109, 110, 140, 200] {
            let seen = drawn(columns);
            assert_eq!(seen.lines().count(), 2, "{columns}:\n{seen}");
            assert!(seen.contains(" 25 %  5,000,000 read"), "{columns}:\n{seen}");
            assert!(seen.contains("111122223333") || columns < 110, "{columns}:\n{seen}");
        }
        assert!(drawn(200).contains("left"));
    }

    #[test]
    fn many_words_share_one_bar() {
        let screen = screen();
        assert_eq!(Bars::new(&screen, WIDE, &words(1)).words.len(), 1);
        assert_eq!(Bars::new(&screen, WIDE, &words(BARS_AT_MOST)).words.len(), BARS_AT_MOST);
        let folded = Bars::new(&screen, WIDE, &words(3_000));
        assert_eq!(folded.words.len(), 1);
        assert_eq!(folded.words[0].drawn.prefix(), "3,000 sources");
    }
}
