//! Progress bars on a terminal: one per SOURCE argument, or one per account and Region, with rate and remaining time.
//!
//! Input: samples of the counters, a few times a second. Output: bars on the terminal.
//! Invariant: a line is never wider than the terminal.
//! Deliberately not here: colors, and a percentage before the total is known.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::LookupProgress;
use super::{
    Metrics, format,
    region_progress::{self, RegionGroup, RegionGroupStatus},
    terminal::{Terminal, escape_unprintable, truncate_middle},
    throughput::{Sample, Throughput, ThroughputMeter},
};

/// Time between two updates: smooth to look at, and negligible in CPU time.
pub(super) const INTERVAL: Duration = Duration::from_millis(200);

/// Maximum number of SOURCE arguments with a bar each. More share one bar, because a shell glob can expand to thousands.
const MAX_BARS: usize = 8;

/// Columns for the name of a bar on a wide terminal.
const NAME_COLUMNS: usize = 24;

/// Columns for the name and for the bar if the terminal has fewer than [`WIDE_TERMINAL_COLUMNS`].
const NARROW_NAME_COLUMNS: usize = 12;

/// Minimum width of a terminal on which wide names and bars leave enough space for the numbers after them.
const WIDE_TERMINAL_COLUMNS: usize = 110;

/// The layout of bars for a terminal width. Whatever does not fit at the end of a line is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BarLayout {
    columns: usize,
}

impl BarLayout {
    fn on(terminal: Terminal) -> Self {
        let wide = terminal.columns.is_none_or(|columns| columns >= WIDE_TERMINAL_COLUMNS);
        Self { columns: if wide { NAME_COLUMNS } else { NARROW_NAME_COLUMNS } }
    }

    /// Returns the style of a bar with a known total.
    fn measured(self) -> ProgressStyle {
        let Self { columns } = self;
        style(&format!("{{prefix:{columns}}} [{{bar:{columns}}}] {{percent:>3}} %  {{wide_msg}}"))
    }

    /// Returns the style of a bar with an unknown total: standard input, or while inputs are still being listed.
    fn unmeasured(self) -> ProgressStyle {
        style(&format!("{{prefix:{}}} {{spinner}}  {{wide_msg}}", self.columns))
    }

    fn name(self, name: &str) -> String {
        truncate_middle(&escape_unprintable(name), self.columns)
    }
}

/// The bars of a run.
#[derive(Debug)]
pub(super) struct ProgressBars {
    screen: MultiProgress,
    look: BarLayout,
    words: Vec<Bar>,
    /// Bars of the event history, empty until accounts and Regions are known.
    regions: Vec<RegionBar>,
}

#[derive(Debug)]
struct Bar {
    drawn: ProgressBar,
    rate: ThroughputMeter,
    /// Index of the SOURCE argument, or `None` for the whole run.
    source: Option<usize>,
    measured: bool,
}

#[derive(Debug)]
struct RegionBar {
    drawn: ProgressBar,
    row: RegionGroup,
    measured: bool,
}

impl ProgressBars {
    /// Creates one bar per SOURCE argument, or a single one if there are too many.
    pub(super) fn new(screen: &MultiProgress, terminal: Terminal, metrics: &Metrics) -> Self {
        let look = BarLayout::on(terminal);
        let words = metrics.sources.len();
        let bars = if (2..=MAX_BARS).contains(&words) {
            metrics
                .sources
                .iter()
                .enumerate()
                .map(|(at, source)| Bar::new(screen, look, &source.name, Some(at)))
                .collect()
        } else {
            vec![Bar::new(screen, look, &folded_name(metrics), None)]
        };
        Self { screen: screen.clone(), look, words: bars, regions: Vec::new() }
    }

    /// Draws the counters at the time `elapsed` since the start of the run.
    pub(super) fn draw(&mut self, metrics: &Metrics, elapsed: Duration) {
        if let Some((word, progress)) = metrics.lookup.get() {
            if self.regions.is_empty() {
                self.unfold(metrics, *word, progress, elapsed);
            }
            for bar in &mut self.regions {
                bar.draw(self.look, progress, elapsed);
            }
        }
        for bar in &mut self.words {
            let sample = match bar.source.and_then(|at| metrics.sources.get(at)) {
                Some(source) => Sample::from_source(source, metrics),
                None => metrics.into(),
            };
            bar.draw(self.look, sample, elapsed);
        }
    }

    /// Replaces the bar of the `lookup` argument by bars of its accounts and Regions.
    fn unfold(
        &mut self,
        metrics: &Metrics,
        word: usize,
        progress: &LookupProgress,
        since: Duration,
    ) {
        let stands_for_them = |bar: &Bar| {
            bar.source == Some(word) || bar.source.is_none() && metrics.sources.len() == 1
        };
        for bar in self.words.extract_if(.., |bar| stands_for_them(bar)) {
            bar.drawn.finish_and_clear();
        }
        let rows = region_progress::rows(progress, since).into_iter();
        self.regions = rows.map(|row| RegionBar::new(&self.screen, self.look, row)).collect();
    }

    /// Removes the bars. The summary follows.
    pub(super) fn clear(self) {
        for bar in self.regions {
            bar.drawn.finish_and_clear();
        }
        for bar in self.words {
            bar.drawn.finish_and_clear();
        }
    }
}

impl Bar {
    fn new(screen: &MultiProgress, look: BarLayout, name: &str, source: Option<usize>) -> Self {
        let bar = screen.add(ProgressBar::no_length());
        bar.set_style(look.unmeasured());
        bar.set_prefix(look.name(name));
        Self { drawn: bar, rate: ThroughputMeter::default(), source, measured: false }
    }

    fn draw(&mut self, look: BarLayout, sample: Sample, elapsed: Duration) {
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
    fn new(screen: &MultiProgress, look: BarLayout, row: RegionGroup) -> Self {
        let bar = screen.add(ProgressBar::no_length());
        bar.set_style(look.unmeasured());
        bar.set_prefix(look.name(&row.name));
        Self { drawn: bar, row, measured: false }
    }

    fn draw(&mut self, look: BarLayout, progress: &LookupProgress, elapsed: Duration) {
        let view: RegionGroupStatus = self.row.look(progress, elapsed);
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

fn folded_name(metrics: &Metrics) -> String {
    match metrics.sources.as_slice() {
        [only] => only.name.clone(),
        all => format::plural(all.len() as u64, "source"),
    }
}

fn message(sample: Sample, speed: Throughput) -> String {
    let mut text = format!(
        "{} read, {}/s, {}/s",
        format::count(sample.records),
        format::count(format::round(speed.records)),
        format::bytes(format::round(speed.bytes)),
    );
    if let Some(left) = speed.left {
        text.push_str(", ");
        text.push_str(&format::duration(left));
        text.push_str(" left");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use indicatif::ProgressDrawTarget;

    use super::{
        super::{metrics::RecordTotals, terminal::Color},
        *,
    };

    fn screen() -> MultiProgress {
        MultiProgress::with_draw_target(ProgressDrawTarget::hidden())
    }

    const WIDE: Terminal = Terminal { columns: None, color: Color::Never };

    fn words(count: usize) -> Metrics {
        Metrics::new((0..count).map(|at| format!("word{at}")))
    }

    #[test]
    fn a_bar_shows_share_rate_and_time_left() {
        let metrics = words(2);
        metrics.add_found(0, 1_000);
        metrics.add_consumed(0, 250);
        metrics.add_read(
            0,
            RecordTotals { records: 5_000, bytes: 4 << 20, ..RecordTotals::default() },
        );
        let mut bars = ProgressBars::new(&screen(), WIDE, &metrics);
        bars.draw(&metrics, Duration::from_secs(1));
        let first = &bars.words[0].drawn;
        assert_eq!(first.length(), None, "the total is unknown while inputs are being listed");
        assert_eq!(first.message(), "5,000 read, 5,000/s, 4.0 MiB/s");
        metrics.listed.store(true, Relaxed);
        let mut bars = ProgressBars::new(&screen(), WIDE, &metrics);
        bars.draw(&metrics, Duration::from_secs(2));
        let first = &bars.words[0].drawn;
        assert_eq!(first.prefix(), "word0");
        assert_eq!((first.position(), first.length()), (250, Some(1_000)));
        assert_eq!(first.message(), "5,000 read, 2,500/s, 2.0 MiB/s, 6.0 s left");
        let second = &bars.words[1].drawn;
        assert_eq!(second.length(), None, "no input was found for the second argument yet");
        assert_eq!(second.message(), "0 read, 0/s, 0 B/s");
        bars.clear();
    }

    #[test]
    fn accounts_and_regions_take_the_place_of_their_word() {
        let metrics = Metrics::new(["lookup".to_owned(), "trail/".to_owned()]);
        let mut bars = ProgressBars::new(&screen(), WIDE, &metrics);
        bars.draw(&metrics, Duration::from_secs(1));
        assert_eq!((bars.words.len(), bars.regions.len()), (2, 0));
        let progress = region_progress::tests::half_way(1, 2);
        metrics.lookup.set((0, progress.into())).unwrap();
        bars.draw(&metrics, Duration::from_secs(1));
        bars.draw(&metrics, Duration::from_secs(51));
        assert_eq!((bars.words.len(), bars.regions.len()), (1, 2));
        assert_eq!(bars.words[0].drawn.prefix(), "trail/");
        let first = &bars.regions[0].drawn;
        assert_eq!((first.prefix(), first.position()), ("eu-west-0".to_owned(), 50));
        assert_eq!(first.length(), Some(100));
        assert_eq!(
            first.message(),
            "2,500 events read, 0/s, quota 0 %",
            "no event has arrived since the bars appeared"
        );
        bars.clear();
    }

    /// Draws a bar with and one without a known total on a terminal of this width, and returns the screen contents.
    fn drawn(columns: u16) -> String {
        let seen = indicatif::InMemoryTerm::new(10, columns);
        let screen =
            MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(seen.clone())));
        let metrics = Metrics::new([
            "s3://a-bucket-with-a-long-name/AWSLogs/111122223333".to_owned(),
            "-".to_owned(),
        ]);
        metrics.add_found(0, 1_000_000_000);
        metrics.add_consumed(0, 250_000_000);
        metrics.add_read(
            0,
            RecordTotals { records: 5_000_000, bytes: 4 << 30, ..RecordTotals::default() },
        );
        metrics.listed.store(true, Relaxed);
        let terminal = Terminal { columns: Some(columns.into()), color: Color::Never };
        let mut bars = ProgressBars::new(&screen, terminal, &metrics);
        bars.draw(&metrics, Duration::from_secs(2));
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
        assert_eq!(ProgressBars::new(&screen, WIDE, &words(1)).words.len(), 1);
        assert_eq!(ProgressBars::new(&screen, WIDE, &words(MAX_BARS)).words.len(), MAX_BARS);
        let folded = ProgressBars::new(&screen, WIDE, &words(3_000));
        assert_eq!(folded.words.len(), 1);
        assert_eq!(folded.words[0].drawn.prefix(), "3,000 sources");
    }
}
