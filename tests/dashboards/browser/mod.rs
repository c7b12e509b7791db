//! The page of all dashboards in a real browser: what is drawn, what it shows, and that content of events stays text.

mod chromium;
mod hostile;
mod layout;

use std::{sync::OnceLock, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;
use trailload::dashboard::{
    AnswerRow, Chart, Dashboards, Data, GroupKey, Page, PageData, Panel, PanelAnswer, PanelCounter,
    PanelMetric,
};

use self::chromium::{Browser, Look, measure, pages};
use super::{model, panels::documents};

/// A small telephone, a tablet, a small screen, and a large one.
const WIDTHS: [u32; 4] = [360, 768, 1_280, 1_920];

/// The width of a sheet of paper without its margins, in pixels.
const PAPER: u32 = 688;

/// The dashboards, and the answers over the sample events.
struct Sample {
    dashboards: &'static Dashboards,
    answers: Vec<(&'static Panel, PanelAnswer)>,
    html: String,
}

fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let dashboards: &'static Dashboards = Box::leak(Box::new(Dashboards::embedded().unwrap()));
        let documents = documents(&model::sample_events());
        let counter = PanelCounter::new(dashboards);
        let documents: Vec<&[u8]> = documents.iter().map(Vec::as_slice).collect();
        assert_eq!(counter.add(&documents), 0);
        let answers = counter.answers();
        let events = PageData {
            data: Data::Events,
            documents: counter.seen().documents,
            range: counter.seen().range,
            scale: counter.seen().scale(),
            latest: counter.take_latest(),
        };
        let page = Page {
            dashboards,
            source: "tests/data/events".to_owned(),
            created: Duration::from_hours(500_000),
            data: vec![events],
            answers: answers.clone(),
            notes: vec!["a.json.gz could not be read: it ends early".to_owned()],
        };
        let html = page.to_html();
        Sample { dashboards, answers, html }
    })
}

/// Returns what the measuring script found under a name.
fn found<'v>(measured: &'v Value, name: &str) -> &'v Vec<Value> {
    measured[name].as_array().unwrap()
}

#[test]
fn every_panel_is_drawn_on_every_screen() {
    let sample = sample();
    for (width, measured) in WIDTHS.into_iter().zip(measure(&sample.html, WIDTHS, Look::Light)) {
        assert!(found(&measured, "layout").is_empty(), "{width}: {:#?}", measured["layout"]);
        for (_, panel) in sample.dashboards.panels() {
            let text = measured["panels"][&panel.id]["text"].as_str();
            let text = text.unwrap_or_else(|| panic!("{} is not on the page", panel.id));
            assert!(text.contains(&panel.title), "{text}");
        }
    }
}

#[test]
fn the_page_shows_the_numbers_of_the_answers() {
    let sample = sample();
    let [measured] = measure(&sample.html, [1_280], Look::Light);
    for (panel, answer) in &sample.answers {
        let shown = &measured["panels"][&panel.id];
        let rows: Vec<Vec<&str>> = found(shown, "rows")
            .iter()
            .map(|row| row.as_array().unwrap().iter().map(|cell| cell.as_str().unwrap()).collect())
            .collect();
        let expected = expected_rows(panel, answer);
        assert!(!expected.is_empty(), "{}", panel.id);
        for row in &expected {
            let is_shown = rows.iter().any(|cells| row.iter().eq(cells));
            assert!(is_shown, "{} does not show {row:?}: {rows:#?}", panel.id);
        }
        let header = usize::from(panel.chart != Chart::Numbers);
        assert_eq!(rows.len(), expected.len() + header, "{}", panel.id);
    }
    for (dashboard, panel) in sample.dashboards.panels() {
        let is_empty = measured["panels"][&panel.id]["text"].as_str().unwrap().contains("No such");
        assert_eq!(is_empty, dashboard.data == Data::Runs, "{}", panel.id);
    }
}

/// Returns the cells of each row that a panel has to show, in any order of the rows.
fn expected_rows(panel: &Panel, answer: &PanelAnswer) -> Vec<Vec<String>> {
    match panel.chart {
        Chart::Numbers => {
            let values = panel.metrics.iter().zip(&answer.rows[0].values);
            values.map(|(metric, value)| vec![metric.label().to_owned(), number(*value)]).collect()
        }
        Chart::Bars => expected_bars(answer),
        Chart::Heatmap => expected_heatmap(answer),
        Chart::Pie => {
            let sum: f64 = answer.rows.iter().filter_map(|row| row.values[0]).sum();
            let share = |row: &AnswerRow| format!("{:.1} %", row.values[0].unwrap() / sum * 100.0);
            let row = |row: &AnswerRow| vec![key(&row.keys[0]), number(row.values[0]), share(row)];
            answer.rows.iter().map(row).collect()
        }
        Chart::Ranking => {
            // The second cell has the bar.
            let row =
                |row: &AnswerRow| vec![key(&row.keys[0]), String::new(), number(row.values[0])];
            answer.rows.iter().map(row).collect()
        }
        Chart::Table => answer.rows.iter().take(120).map(|row| expected_row(panel, row)).collect(),
    }
}

fn expected_row(panel: &Panel, row: &AnswerRow) -> Vec<String> {
    let value = |(metric, value): (&PanelMetric, &Option<f64>)| match value {
        #[expect(clippy::cast_possible_truncation, reason = "a time")]
        Some(value) if metric.is_time() => time(*value as i64),
        value => number(*value),
    };
    let values = panel.metrics.iter().zip(&row.values).map(value);
    row.keys.iter().map(key).chain(values).collect()
}

/// Returns a row for each year: its name, and a value for each of the first series and for the rest.
fn expected_bars(answer: &PanelAnswer) -> Vec<Vec<String>> {
    let mut names = Vec::new();
    let mut starts = Vec::new();
    for row in &answer.rows {
        let (start, name) = (row.keys[0].clone(), row.keys.get(1));
        if !names.contains(&name) {
            names.push(name);
        }
        if !starts.contains(&start) {
            starts.push(start);
        }
    }
    let value = |start: &GroupKey, name: Option<&GroupKey>| {
        let mut rows = answer.rows.iter();
        let row = rows.find(|row| row.keys[0] == *start && row.keys.get(1) == name);
        row.and_then(|row| row.values[0]).unwrap_or(0.0)
    };
    let cells = |start: &GroupKey| {
        let mut values: Vec<f64> = names.iter().map(|name| value(start, *name)).collect();
        if values.len() > 8 {
            let rest = values.drain(7..).sum();
            values.push(rest);
        }
        let year = key(start)[..4].to_owned();
        std::iter::once(year).chain(values.into_iter().map(|value| number(Some(value)))).collect()
    };
    starts.iter().map(cells).collect()
}

/// Returns a row for each Region: its name, and a cell for each account.
fn expected_heatmap(answer: &PanelAnswer) -> Vec<Vec<String>> {
    let mut accounts = Vec::new();
    let mut regions = Vec::new();
    for row in &answer.rows {
        if !accounts.contains(&&row.keys[0]) {
            accounts.push(&row.keys[0]);
        }
        if !regions.contains(&&row.keys[1]) {
            regions.push(&row.keys[1]);
        }
    }
    assert!(regions.len() >= accounts.len(), "the dimension with more groups has the rows");
    let cell = |account: &GroupKey, region: &GroupKey| {
        let mut rows = answer.rows.iter();
        let row = rows.find(|row| row.keys[0] == *account && row.keys[1] == *region);
        row.map_or_else(String::new, |row| number(row.values[0]))
    };
    let row = |region: &&GroupKey| {
        let cells = accounts.iter().map(|account| cell(account, region));
        std::iter::once(key(region)).chain(cells).collect()
    };
    regions.iter().map(row).collect()
}

fn key(key: &GroupKey) -> String {
    match key {
        GroupKey::Time(start) => time(*start),
        GroupKey::Text(text) if text.is_empty() => "empty".to_owned(),
        GroupKey::Text(text) => {
            let shown: String = text.chars().take(120).collect();
            let more = if shown.len() < text.len() { "…" } else { "" };
            let escape = |letter: char| match letter {
                letter if letter.is_control() => letter.escape_default().to_string(),
                letter => letter.to_string(),
            };
            let shown: String = shown.chars().map(escape).collect();
            format!("{}{more}", shown.trim())
        }
    }
}

fn time(milliseconds: i64) -> String {
    let time = Timestamp::from_millisecond(milliseconds).unwrap().to_zoned(TimeZone::UTC);
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

/// Writes a number of the samples, which are all whole.
fn number(value: Option<f64>) -> String {
    let Some(value) = value else { return "–".to_owned() };
    let digits = format!("{value:.0}");
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

#[test]
fn text_is_readable_in_both_themes_and_on_paper() {
    for look in [Look::Light, Look::Dark, Look::Paper] {
        let [measured] = measure(&sample().html, [1_280], look);
        assert!(found(&measured, "contrast").is_empty(), "{look:?} {:#?}", measured["contrast"]);
    }
}

#[test]
fn assistive_technology_gets_names_and_numbers() {
    for measured in measure(&sample().html, WIDTHS, Look::Light) {
        assert!(found(&measured, "accessibility").is_empty(), "{:#?}", measured["accessibility"]);
    }
}

#[test]
fn the_page_asks_for_nothing_and_its_policy_refuses_nothing_of_it() {
    let written = Browser::with(&sample().html).open(1_400);
    assert!(written.console.is_empty(), "{:#?}", written.console);
    assert!(written.document.contains("Which services are called?"));
    let [measured] = measure(&sample().html, [1_280], Look::Light);
    assert!(found(&measured, "foreign").is_empty(), "{:#?}", measured["foreign"]);
}

#[test]
fn every_dashboard_is_printed_from_a_new_page_on() {
    let pages = pages(&Browser::with(&sample().html).print());
    assert!(pages >= sample().dashboards.dashboards.len(), "{pages} pages");
}
