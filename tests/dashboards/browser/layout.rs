//! Where everything stands: with few and many events, short and long ranges of time, short and long names.

use std::time::Duration;

use serde_json::{Map, Value, json};
use trailload::dashboard::{
    AnswerRow, Chart, Dashboards, Data, GroupKey, Page, PageData, Panel, PanelAnswer, PanelBucket,
    TimeScale,
};

use super::{Look, PAPER, WIDTHS, found, measure, sample};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// 2022-09-28, near the month whose name takes most room.
const START: i64 = 1_664_323_200_000;

/// Names as accounts have them, from short to long.
const NAMES: [&str; 8] = [
    "root",
    "123456789012",
    "203.0.113.213",
    "AuthorizeSecurityGroupIngress",
    "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
    "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_AdministratorAccess_0123456789abcdef",
    "role/AWSReservedSSO_AdministratorAccess_0123456789abcdef/firstname.lastname@subsidiary.example.com",
    "User: is not authorized to perform: ec2:DescribeInstances because no identity-based policy allows it",
];

/// What a page is made from.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Milliseconds from the first to the last event.
    length: i64,
    /// Number of groups of each bucket.
    groups: usize,
    /// The largest number.
    most: f64,
}

fn name(field: &str, number: usize) -> String {
    match field {
        "recipientAccountId" | "userIdentity.accountId" => {
            format!("{:012}", 987_654_321_000 + number)
        }
        "awsRegion" => format!("ap-southeast-{number}"),
        _ => format!("{}{number}", NAMES[number % NAMES.len()]),
    }
}

fn groups(bucket: &PanelBucket, shape: Shape) -> Vec<GroupKey> {
    match bucket {
        PanelBucket::Time => {
            let scale = TimeScale::for_range(START, START + shape.length);
            let first = Some(scale.start(START));
            let starts = std::iter::successors(first, |start| Some(scale.next(*start)));
            starts.take_while(|start| *start <= START + shape.length).map(GroupKey::Time).collect()
        }
        PanelBucket::Terms { field, size, .. } => {
            let groups = (0..shape.groups.min(*size)).map(|number| name(field, number));
            groups.map(GroupKey::Text).collect()
        }
        PanelBucket::Filters { filters, .. } => {
            filters.iter().map(|filter| GroupKey::Text(filter.label.clone())).collect()
        }
    }
}

fn answer(panel: &Panel, shape: Shape) -> PanelAnswer {
    let mut keys: Vec<Vec<GroupKey>> = vec![Vec::new()];
    for bucket in &panel.buckets {
        let groups = groups(bucket, shape);
        let inside = |key: &Vec<GroupKey>| -> Vec<_> {
            groups
                .iter()
                .map(|group| [key.as_slice(), std::slice::from_ref(group)].concat())
                .collect()
        };
        keys = keys.iter().flat_map(inside).collect();
    }
    let values: Vec<Option<f64>> = panel
        .metrics
        .iter()
        .map(|metric| Some(if metric.is_time() { 1.7e12 } else { shape.most }))
        .collect();
    let rows = keys.into_iter().map(|keys| AnswerRow { keys, values: values.clone() });
    PanelAnswer { documents: 1, rows: rows.collect(), is_incomplete: false }
}

fn document(columns: &[String], number: usize) -> Value {
    let mut document = json!({ "@timestamp": "2024-02-29T12:34:56Z" });
    for (column, field) in columns.iter().enumerate() {
        // Each of the names in each of the columns.
        let value = match field.as_str() {
            "sources" => json!([name(field, number), name(field, number + 1)]),
            "read" | "created" | "duplicates" | "dead_letters" | "rewritten" | "lag_seconds" => {
                json!(1_234_567)
            }
            "command" | "outcome" => json!("with exceptions"),
            _ => json!(name(field, column + number)),
        };
        let inside = |value, key: &str| Value::Object(Map::from_iter([(key.to_owned(), value)]));
        let value = field.rsplit('.').fold(value, inside);
        document.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    }
    document
}

fn page(shape: Shape) -> String {
    let dashboards = Dashboards::embedded().unwrap();
    let data = |data: Data| {
        let view = dashboards.views.iter().find(|view| view.data == data).unwrap();
        PageData {
            data,
            documents: 1,
            range: Some((START, START + shape.length)),
            scale: TimeScale::for_range(START, START + shape.length),
            latest: (0..shape.groups)
                .map(|number| document(&view.search.columns, number))
                .collect(),
        }
    };
    let page = Page {
        dashboards: &dashboards,
        source: NAMES[5].to_owned(),
        created: Duration::from_hours(500_000),
        data: vec![data(Data::Events), data(Data::Runs)],
        answers: dashboards.panels().map(|(_, panel)| (panel, answer(panel, shape))).collect(),
        notes: Vec::new(),
    };
    page.to_html()
}

/// Checks a page on screens. Those for which pages are made show all columns of all tables.
fn fits_screens(page: &str, what: &dyn std::fmt::Debug) {
    for (width, measured) in WIDTHS.into_iter().zip(measure(page, WIDTHS, Look::Light)) {
        let layout = found(&measured, "layout");
        assert!(layout.is_empty(), "{what:?} {width}: {layout:#?}");
        let wide = found(&measured, "wide");
        assert!(width < 1_280 || wide.is_empty(), "{what:?} {width}: {wide:#?}");
    }
}

/// Checks a page on paper, which cannot be scrolled.
fn fits_paper(page: &str) {
    let [measured] = measure(page, [PAPER], Look::Paper);
    for name in ["layout", "wide"] {
        assert!(found(&measured, name).is_empty(), "{name}: {:#?}", measured[name]);
    }
}

#[test]
fn a_page_of_samples_fits_everywhere() {
    fits_screens(&sample().html, &"samples");
    fits_paper(&sample().html);
}

#[test]
fn any_range_of_time_fits_every_screen() {
    for length in [0, 50 * MINUTE, 4 * DAY, 110 * DAY, 600 * DAY, 1_900 * DAY, 25_000 * DAY] {
        let shape = Shape { length, groups: 3, most: 12_345.0 };
        fits_screens(&page(shape), &shape);
    }
}

#[test]
fn many_and_long_names_and_large_numbers_fit_everywhere() {
    for (groups, most) in [(1, 1.0), (40, 9_876_543_210.0)] {
        let shape = Shape { length: 90 * DAY, groups, most };
        let page = page(shape);
        fits_screens(&page, &shape);
        fits_paper(&page);
    }
}

#[test]
fn the_shapes_of_these_tests_reach_every_chart() {
    let shape = Shape { length: DAY, groups: 40, most: 5.0 };
    let dashboards = Dashboards::embedded().unwrap();
    for (_, panel) in dashboards.panels() {
        let answer = answer(panel, shape);
        assert!(!answer.rows.is_empty(), "{}", panel.id);
        if panel.chart == Chart::Heatmap {
            assert!(answer.rows.len() > 200, "{}", panel.id);
        }
    }
}
