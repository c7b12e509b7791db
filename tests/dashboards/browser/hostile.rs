//! Content of events that tries to become more than text.

use std::time::Duration;

use serde_json::{Map, Value, json};
use trailload::dashboard::{
    AnswerRow, Chart, Dashboards, Data, GroupKey, MAX_BYTES, Page, PageData, Panel, PanelAnswer,
    PanelBucket, TimeScale,
};

use super::{Browser, Look, PAPER, WIDTHS, found, measure};

/// What runs if it is not text, or breaks out of the place where text stands.
const PAYLOADS: [&str; 31] = [
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "\"><img src=//example.com/x onerror=window.pwned=1>",
    "' onmouseover='window.pwned=1' x='",
    "\" autofocus onfocus=\"window.pwned=1\" tabindex=\"0",
    "javascript:window.pwned=1",
    "</style><script>window.pwned=1</script>",
    "</title><script>window.pwned=1</script>",
    "<style>*{display:none!important}</style>",
    "<svg onload=window.pwned=1>",
    "<svg><script>window.pwned=1</script></svg>",
    "<svg><animate onbegin=window.pwned=1 attributeName=x dur=1s>",
    "</svg><foreignObject><body onload=window.pwned=1>",
    "<svg><use href=\"data:image/svg+xml,<svg id='x' onload='window.pwned=1'/>#x\"/>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.pwned=1>",
    "<iframe srcdoc=\"<script>parent.pwned=1</script>\"></iframe>",
    "<base href=//example.com/><meta http-equiv=refresh content=\"0;url=//example.com\">",
    "<link rel=stylesheet href=//example.com/x.css><object data=//example.com/x>",
    "<form action=//example.com><input name=x autofocus><button>",
    "x:expression(window.pwned=1);background:url(javascript:window.pwned=1)",
    "{{constructor.constructor('window.pwned=1')()}}${window.pwned=1}<%= 1 %>#{1}",
    "<!--<script>window.pwned=1//-->--!><img src=x onerror=window.pwned=1>",
    "&lt;script&gt;window.pwned=1&lt;/script&gt;&#60;img src=x onerror=window.pwned=1&#62;",
    "+ADw-script+AD4-window.pwned=1+ADw-/script+AD4-",
    "\u{2028}<plaintext>\u{2029}<xmp>\u{0}<textarea><noscript>\u{b}",
    "\u{202e}gnihton\u{2066}\u{200f}\u{feff}\u{e0041}\u{1b}[31m",
    "مرحبا بالعالم שלום עולם",
    "👩‍👩‍👧‍👦🏳️‍🌈 日本語のとても長い名前のユーザーエージェント文字列",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞",
    "",
];

/// Long texts without a place to break.
fn long_texts() -> Vec<String> {
    vec!["Mozilla/5.0".repeat(1_000), "<".repeat(10_000), "\u{202e}".repeat(1_024)]
}

fn payloads() -> Vec<String> {
    PAYLOADS.map(str::to_owned).into_iter().chain(long_texts()).collect()
}

/// Returns an answer whose groups are the texts, starting with another one in each panel.
fn answer(panel: &Panel, texts: &[String], first: usize) -> PanelAnswer {
    let row = |(number, value): (usize, u32)| AnswerRow {
        keys: (0..panel.buckets.len())
            .map(|level| match &panel.buckets[level] {
                PanelBucket::Time => {
                    GroupKey::Time(1_700_000_000_000 + i64::from(value % 3) * 86_400_000)
                }
                // More columns than an answer has would fit nowhere.
                PanelBucket::Terms { size, .. } if panel.chart == Chart::Heatmap => {
                    GroupKey::Text(texts[(first + number % size) % texts.len()].clone())
                }
                _ => GroupKey::Text(texts[(first + number + 7 * level) % texts.len()].clone()),
            })
            .collect(),
        values: panel.metrics.iter().map(|_| Some(f64::from(value) + 1.0)).collect(),
    };
    let rows = if panel.buckets.is_empty() { 1 } else { texts.len() };
    PanelAnswer { documents: 1, rows: (0..rows).zip(0..).map(row).collect(), is_incomplete: true }
}

/// Returns a document with a text in a field.
fn document(field: &str, text: &str) -> Value {
    let inside = |value, key: &str| Value::Object(Map::from_iter([(key.to_owned(), value)]));
    field.rsplit('.').fold(json!(text), inside)
}

fn hostile_page() -> String {
    let dashboards = Dashboards::embedded().unwrap();
    let texts = payloads();
    let data = |data: Data| {
        let view = dashboards.views.iter().find(|view| view.data == data).unwrap();
        let columns = &view.search.columns;
        let latest = texts.iter().enumerate();
        let latest = latest.map(|(number, text)| document(&columns[number % columns.len()], text));
        PageData {
            data,
            documents: 1,
            range: Some((1_700_000_000_000, 1_700_300_000_000)),
            scale: TimeScale::Day,
            latest: latest.collect(),
        }
    };
    let page = Page {
        dashboards: &dashboards,
        source: texts.concat(),
        created: Duration::from_hours(500_000),
        data: vec![data(Data::Events), data(Data::Runs)],
        answers: dashboards
            .panels()
            .enumerate()
            .map(|(number, (_, panel))| (panel, answer(panel, &texts, 8 * number)))
            .collect(),
        notes: texts.clone(),
    };
    page.to_html()
}

#[test]
fn content_of_events_is_text_even_without_the_policy() {
    let page = hostile_page();
    assert!(page.len() <= MAX_BYTES);
    for (width, measured) in WIDTHS.into_iter().zip(measure(&page, WIDTHS, Look::Light)) {
        for name in ["foreign", "layout", "accessibility"] {
            assert!(found(&measured, name).is_empty(), "{width} {name}: {:#?}", measured[name]);
        }
    }
    let [measured] = measure(&page, [PAPER], Look::Paper);
    for name in ["layout", "wide"] {
        assert!(found(&measured, name).is_empty(), "{name} on paper: {:#?}", measured[name]);
    }
    // With its policy, there is nothing to refuse either.
    let written = Browser::with(&page).open(1_400);
    assert!(written.console.is_empty(), "{:#?}", written.console);
}
