//! Bars over time, stacked by series: a chart, its legend and its numbers.
//!
//! Input: a panel with a time axis and its answer. Output: HTML with SVG.
//! Invariant: horizontal positions are percentages and vertical ones pixels, so that a chart fits any width and its text stays
//! of one size. The numbers are also in a table, for those who cannot see the chart.

use super::super::{
    answer::PanelAnswer,
    definition::{Panel, PanelMetric},
};
use super::{
    PageData,
    axis::{TimeAxis, value_ticks},
    html::{Html, beginning},
    limits::Details,
    series::{MAX_SERIES, TimeSeries},
    value,
};

/// Height of the bars, in pixels.
const HEIGHT: f64 = 160.0;

/// Room above the bars for half a line of text.
const ABOVE: f64 = 8.0;

/// Room below them for the names of ticks.
const BELOW: f64 = 26.0;

/// Maximum number of characters of the names of ticks that a narrow chart has room for.
const SHORT_TICK: usize = 6;

/// Height of the smallest bar, so that one event among thousands is visible.
const MIN_BAR: f64 = 1.5;

/// Maximum width of a bar, as a part of the chart: a few intervals would be broad blocks otherwise.
const MAX_BAR_WIDTH: f64 = 0.08;

/// Maximum number of intervals that are drawn: that of a time axis of an engine over 100 years is smaller.
const MAX_INTERVALS: usize = 500;

/// The fills of series. Patterns make them different without colors.
pub(super) const FILLS: [&str; MAX_SERIES] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];

/// Writes the patterns that all charts share.
pub(super) fn write_patterns(html: &mut Html) {
    html.raw("<svg class=\"patterns\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>");
    let shapes = [
        "<path d=\"M0 8L8 0M-2 2L2 -2M6 10L10 6\"/>",
        "<path d=\"M0 2h8M0 6h8\"/>",
        "<circle cx=\"2\" cy=\"2\" r=\"1\"/><circle cx=\"6\" cy=\"6\" r=\"1\"/>",
        "<path d=\"M0 0L8 8M-2 6L2 10M6 -2L10 2\"/>",
        "<path d=\"M2 0v8M6 0v8\"/>",
        "<path d=\"M0 4h8M4 0v8\"/>",
    ];
    // The first and the last fill are plain.
    for (shape, fill) in shapes.into_iter().zip(&FILLS[1..]) {
        html.raw("<pattern");
        html.attribute("id", format_args!("pattern-{fill}"));
        html.raw(" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect width=\"8\" height=\"8\"/>");
        html.raw(shape);
        html.raw("</pattern>");
    }
    html.raw("</defs></svg>");
}

/// A chart in the making.
struct BarChart<'c> {
    panel: &'c Panel,
    series: TimeSeries,
    axis: TimeAxis,
    details: Details,
}

/// Writes the chart, its legend and its numbers.
pub(super) fn write(
    panel: &Panel,
    answer: &PanelAnswer,
    data: &PageData,
    details: Details,
    html: &mut Html,
) {
    let mut series = TimeSeries::new(panel, answer);
    while series.values.len() > MAX_INTERVALS {
        series.values.pop_first();
    }
    let starts = (series.values.first_key_value(), series.values.last_key_value());
    let (Some((first, _)), Some((last, _))) = starts else { return };
    let (from, to) = data.range.unwrap_or((*first, *last));
    let axis = TimeAxis::new(from.min(*first), to.max(*last), data.scale);
    let chart = BarChart { panel, series, axis, details };
    chart.write_figure(html);
    chart.write_numbers(html);
}

impl BarChart<'_> {
    fn metric(&self) -> &str {
        self.panel.metrics.first().map_or("", PanelMetric::label)
    }

    fn has_groups(&self) -> bool {
        self.panel.buckets.len() > 1
    }

    fn write_figure(&self, html: &mut Html) {
        html.raw("<figure class=\"bars\"><figcaption>");
        html.text(self.metric());
        html.raw(" per ");
        html.text(self.axis.unit());
        html.raw(", ");
        html.text(self.axis.range());
        html.raw("</figcaption>");
        if self.has_groups() {
            self.write_legend(html);
        }
        if self.series.largest_sum() > 0.0 {
            self.write_svg(html);
        } else {
            html.raw("<p class=\"note\">0 at all times.</p>");
        }
        html.raw("</figure>");
    }

    fn write_legend(&self, html: &mut Html) {
        html.raw("<ul class=\"legend\">");
        let totals = self.series.totals();
        for ((name, fill), total) in self.series.names.iter().zip(FILLS).zip(totals) {
            html.raw("<li><svg width=\"12\" height=\"12\" aria-hidden=\"true\"><rect width=\"12\" height=\"12\"");
            html.attribute("class", fill);
            html.raw("/></svg> ");
            html.long_text(name, self.details);
            html.element(" <b>", value::number(total), "</b></li>");
        }
        html.raw("</ul>");
    }

    fn write_svg(&self, html: &mut Html) {
        html.raw("<svg role=\"img\"");
        html.attribute("height", ABOVE + HEIGHT + BELOW);
        html.attribute("aria-label", self.summary());
        html.raw(">");
        let ticks = value_ticks(self.series.largest_sum());
        let top = ticks.last().copied().unwrap_or(1.0).max(f64::MIN_POSITIVE);
        write_value_axis(&ticks, top, html);
        self.write_time_axis(html);
        self.write_bars(top, html);
        self.write_tooltips(html);
        html.raw("</svg>");
    }

    /// Returns the chart in a sentence.
    fn summary(&self) -> String {
        let totals = self.series.totals();
        let names = self.series.names.iter().zip(totals);
        let names =
            names.map(|(name, total)| format!("{} {}", beginning(name, 60), value::number(total)));
        let names: Vec<String> = names.collect();
        format!(
            "Bar chart: {} per {}, {}. {}. The numbers are in the table below.",
            self.metric(),
            self.axis.unit(),
            self.axis.range(),
            names.join(", "),
        )
    }

    fn write_time_axis(&self, html: &mut Html) {
        html.raw("<g class=\"axis\">");
        for (number, (position, label)) in self.axis.ticks().into_iter().enumerate() {
            let x = Percent(position);
            html.raw("<line");
            html.attribute("x1", x);
            html.attribute("x2", x);
            html.attribute("y1", ABOVE + HEIGHT);
            html.attribute("y2", ABOVE + HEIGHT + 5.0);
            html.raw("/><text");
            html.attribute("x", x);
            html.attribute("y", ABOVE + HEIGHT + 20.0);
            // A chart that has no room for all names hides these.
            match (number % 2, label.len()) {
                (0, _) => {}
                (_, ..=SHORT_TICK) => html.attribute("class", "second"),
                _ => html.attribute("class", "second wide"),
            }
            html.element(">", label, "</text>");
        }
        html.raw("</g>");
    }

    /// Writes the bars of each series, so that its fill is named once.
    fn write_bars(&self, top: f64, html: &mut Html) {
        for (series, fill) in (0..self.series.names.len()).zip(FILLS) {
            html.raw("<g");
            html.attribute("class", fill);
            html.raw(">");
            for (start, values) in &self.series.values {
                if values[series] > 0.0 {
                    let below: f64 = values[..series].iter().map(|value| bar(*value, top)).sum();
                    let height = bar(values[series], top);
                    let (begin, width) = self.axis.interval(*start);
                    html.raw("<rect");
                    let bar_width = (width * 0.84).min(MAX_BAR_WIDTH);
                    html.attribute("x", Percent(begin + (width - bar_width) / 2.0));
                    html.attribute("y", Pixels(ABOVE + HEIGHT - below - height));
                    html.attribute("width", Percent(bar_width.max(0.002)));
                    html.attribute("height", Pixels(height));
                    html.raw("/>");
                }
            }
            html.raw("</g>");
        }
    }

    /// Writes what appears while the pointer is over an interval.
    fn write_tooltips(&self, html: &mut Html) {
        html.raw("<g class=\"tooltips\">");
        for (start, values) in &self.series.values {
            let (begin, width) = self.axis.interval(*start);
            html.raw("<rect");
            html.attribute("x", Percent(begin));
            html.attribute("width", Percent(width.max(0.002)));
            html.attribute("y", ABOVE);
            html.attribute("height", HEIGHT);
            html.element("><title>", self.axis.start(*start), ": ");
            html.text(value::number(values.iter().sum()));
            if self.has_groups() && self.details.series > 0 {
                for (name, value) in self.series.names.iter().zip(values) {
                    if *value > 0.0 {
                        html.raw("&#10;");
                        html.text(beginning(name, self.details.series));
                        html.raw(" ");
                        html.text(value::number(*value));
                    }
                }
            }
            html.raw("</title></rect>");
        }
        html.raw("</g>");
    }

    fn write_numbers(&self, html: &mut Html) {
        html.raw("<details><summary>Numbers</summary>");
        html.open_scrollable(&self.panel.id);
        html.raw("<table><thead><tr><th scope=\"col\">Time</th>");
        for name in &self.series.names {
            html.raw("<th scope=\"col\" class=\"n\">");
            html.long_text(name, self.details);
            html.raw("</th>");
        }
        html.raw("</tr></thead><tbody>");
        for (start, values) in self.series.values.iter().take(self.details.rows) {
            html.element("<tr><th scope=\"row\">", self.axis.start(*start), "</th>");
            for value in values {
                html.element("<td class=\"n\">", value::number(*value), "</td>");
            }
            html.raw("</tr>");
        }
        html.raw("</tbody></table></div>");
        let left_out = self.series.values.len().saturating_sub(self.details.rows);
        if left_out > 0 {
            html.element("<p>", left_out, " later intervals are not in this table.</p>");
        }
        html.raw("</details>");
    }
}

/// Returns the height of a bar.
fn bar(value: f64, top: f64) -> f64 {
    if value > 0.0 { (value / top * HEIGHT).max(MIN_BAR) } else { 0.0 }
}

fn write_value_axis(ticks: &[f64], top: f64, html: &mut Html) {
    html.raw("<g class=\"axis values\">");
    for tick in ticks {
        let y = Pixels(ABOVE + HEIGHT - tick / top * HEIGHT);
        html.raw("<line x1=\"0\" x2=\"100%\"");
        html.attribute("y1", y);
        html.attribute("y2", y);
        html.raw("/><text x=\"-8\" dy=\"4\"");
        html.attribute("y", y);
        html.element(">", value::short_number(*tick), "</text>");
    }
    html.raw("</g>");
}

/// A part of the width of a chart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Percent(pub(super) f64);

impl std::fmt::Display for Percent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}%", Pixels(self.0 * 100.0))
    }
}

/// A length, with two decimals at most.
#[derive(Clone, Copy, Debug)]
struct Pixels(f64);

impl std::fmt::Display for Pixels {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", (self.0 * 100.0).round() / 100.0)
    }
}
