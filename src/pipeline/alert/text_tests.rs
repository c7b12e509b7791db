//! Rules on the text of records, against the plain evaluation of the parsed events: with escape sequences, repeated and nested keys,
//! numbers in all spellings, envelopes, and what is not quite JSON.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::evaluator::{Evaluated, RuleEvaluator, Unevaluated};
use crate::{
    filter::{
        eventbridge::{Envelope, EventView},
        query::EventHeader,
        rule::{Rule, RuleMatch, RuleSet, Verdict, parse_rule_file, tests::with_numbers},
    },
    normalize::TimeRange,
    pipeline::search::{found_event::parse_record, record_scan::scan_record},
};

/// Fields that conditions look at. None is an element of an array: rules that look at these are found by parsed events alone.
const FIELDS: [&str; 16] = [
    "detail.eventName",
    "detail.errorCode",
    "detail.o",
    "detail.o.p",
    "detail.o.o",
    "detail.o.o.p",
    "detail.\"1\"",
    "detail.o.\"1\"",
    "detail.\"ä\"",
    "detail.o.\"ä\".p",
    "flat.\"o.p\"",
    "flat.\"o.o.p\"",
    "flat.\"ä\"",
    "source",
    "account",
    "region",
];

const SIGMA_FIELDS: [&str; 14] = [
    "eventName",
    "errorCode",
    "errorCode|contains",
    "errorCode|startswith",
    "o.p",
    "o.p|endswith",
    "o.p|cased",
    "o.o.p|contains|all",
    "o.p|exists",
    "o.1",
    "'1|gt'",
    "ä",
    "o.ä.p|re",
    "o",
];

const TEXTS: [&str; 8] = ["A", "a", "ab", "ä", "Ä", "1", "", "\u{fffd}"];

fn any_condition() -> impl Strategy<Value = String> {
    let field = || prop::sample::select(&FIELDS[..]);
    let text = || prop::sample::select(&TEXTS[..]);
    let function = || prop::sample::select(&["contains", "starts_with", "ends_with"][..]);
    let leaf = prop_oneof![
        4 => (field(), text()).prop_map(|(field, text)| format!("{field} == '{text}'")),
        1 => (field(), text()).prop_map(|(field, text)| format!("{field} != '{text}'")),
        1 => field().prop_map(str::to_owned),
        1 => field().prop_map(|field| format!("{field} == `1`")),
        1 => field().prop_map(|field| format!("{field} == `null`")),
        1 => field().prop_map(|field| format!("{field} > `0`")),
        1 => field().prop_map(|field| format!("type({field}) == 'object'")),
        1 => field().prop_map(|field| format!("length(not_null({field}, `[]`)) > `0`")),
        1 => field().prop_map(|field| format!("contains(to_string({field}), 'a')")),
        2 => (function(), field(), text())
            .prop_map(|(function, field, text)| format!("{function}({field}, '{text}')")),
        1 => (function(), field(), text())
            .prop_map(|(function, field, text)| format!("{function}(not_null({field}, ''), '{text}')")),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} && {right}")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} || {right})")),
            inner.prop_map(|inner| format!("!({inner})")),
        ]
    })
}

fn any_sigma_rule() -> impl Strategy<Value = String> {
    let value =
        prop::sample::select(&["a", "ab", "A*", "'*b'", "Ä", "1", "null", "''", "true"][..]);
    let item = (prop::sample::select(&SIGMA_FIELDS[..]), prop::collection::vec(value, 1..3))
        .prop_map(|(field, values)| format!("{field}: [{}]", values.join(", ")));
    let condition = prop::sample::select(&["s", "not s", "s and t", "s or t", "s and not t"][..]);
    (item.clone(), item, condition).prop_map(|(first, second, condition)| {
        format!(
            "title: x\nlogsource: {{product: aws, service: cloudtrail}}\ndetection:\n  s: {{{first}}}\n  t: {{{second}}}\n  condition: {condition}\n"
        )
    })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let selection = prop::sample::select(
        &["events: ['*']", "events: [A]", "events: [A, a]", "sources: [s.amazonaws.com]"][..],
    );
    let grouping =
        prop::sample::select(&["", "group_by: [detail.o.p, account, 'flat.\"ä\"']\n"][..]);
    let plain =
        (selection, any_condition(), prop::option::weighted(0.3, any_condition()), grouping)
            .prop_map(|(selection, condition, exception, grouping)| {
                let exceptions = exception.iter().collect::<Vec<_>>();
                let (condition, exceptions) = (json!(condition), json!(exceptions));
                format!(
                    "name: x\n{selection}\nmatch: {condition}\nexcept: {exceptions}\n{grouping}"
                )
            });
    prop_oneof![3 => plain, 1 => any_sigma_rule()]
        .prop_filter_map("refused", |yaml| parse_rule_file(&yaml).rules.pop())
}

/// Texts of values.
const VALUES: [&str; 24] = [
    r#""A""#,
    r#""a""#,
    r#""ab""#,
    r#""ä""#,
    r#""Ä""#,
    r#""""#,
    r#""1""#,
    r#""\u0061b""#,
    r#""\u00E4""#,
    r#""a\\b""#,
    r#""\ud83d\ude00a""#,
    "null",
    "true",
    "0",
    "1",
    "1.0",
    "1e0",
    "-0",
    "-1",
    "12345678901234567890123",
    "[]",
    "{}",
    r#"["a",{"p":"ab"}]"#,
    r#"{"p":"a","\u0070":"A"}"#,
];

/// Texts that are not quite JSON, or none at all.
const BROKEN_VALUES: [&[u8]; 17] = [
    br#""\ud800""#,
    br#""a\udc00\ud800""#,
    b"\"\xff\"",
    b"\"a\xc3\"",
    b"\"a\nb\"",
    b"\"\\x\"",
    b"01",
    b"-",
    b"1e999",
    b"tru",
    b"NaN",
    b"None",
    b"{a:1}",
    b"{\"p\":a}",
    b"{\"p\" \"a\"}",
    b"{\"p\":\"\xff\"}",
    b"[1 2,,]",
];

const KEYS: [&str; 15] = [
    "errorCode",
    "err\\u006frCode",
    "o",
    "o",
    "o",
    "\\u006f",
    "p",
    "p",
    "\\u0070",
    "1",
    "ä",
    "\\u00e4",
    "x",
    "recipientAccountId",
    "",
];

/// Whether a text may be broken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Health {
    Valid,
    Doubtful,
}

fn any_value(health: Health) -> BoxedStrategy<Vec<u8>> {
    let valid = prop::sample::select(&VALUES[..]).prop_map(|text| text.as_bytes().to_vec());
    let deep = prop::sample::select(&[3_usize, 64, 120, 127, 128, 129, 300][..])
        .prop_map(|depth| [vec![b'['; depth], vec![b']'; depth]].concat());
    let leaf = match health {
        Health::Valid => prop_oneof![30 => valid, 1 => deep].boxed(),
        Health::Doubtful => {
            let broken = prop::sample::select(&BROKEN_VALUES[..]).prop_map(<[u8]>::to_vec);
            prop_oneof![20 => valid, 4 => broken, 1 => deep].boxed()
        }
    };
    leaf.prop_recursive(3, 16, 4, move |inner| {
        let members = (prop::sample::select(&KEYS[..]), inner.clone());
        prop_oneof![
            4 => prop::collection::vec(members, 0..4).prop_flat_map(move |members| object(members, health)),
            1 => prop::collection::vec(inner, 0..3).prop_map(|items| [b"[", &*items.join(&b", "[..]), b"]"].concat()),
        ]
    })
    .boxed()
}

/// Writes members with these keys, with blanks and, in doubtful texts, without commas.
fn object(members: Vec<(&'static str, Vec<u8>)>, health: Health) -> impl Strategy<Value = Vec<u8>> {
    let separators: &[&str] = match health {
        Health::Valid => &[",", ",", ", ", " ,\n\t"],
        Health::Doubtful => &[",", ",", ",", " ", ",,", ", "],
    };
    let separators = prop::collection::vec(prop::sample::select(separators), members.len());
    let colons = prop::collection::vec(prop::sample::select(&[":", ":", " : "][..]), members.len());
    (separators, colons).prop_map(move |(separators, colons)| {
        let mut text = b"{".to_vec();
        for (position, (key, value)) in members.iter().enumerate() {
            if position > 0 {
                text.extend(separators[position].bytes());
            }
            text.extend(format!("\"{key}\"{}", colons[position]).bytes());
            text.extend(value);
        }
        text.push(b'}');
        text
    })
}

fn any_record() -> impl Strategy<Value = Vec<u8>> {
    let text =
        |values: &[&'static str]| prop::sample::select(values.to_vec()).prop_map(str::to_owned);
    let name = text(&[r#""A""#, r#""A""#, r#""A""#, r#""a""#, r#""\u0041""#, "null"]);
    let source = text(&[r#""s.amazonaws.com""#, r#""s.amazonaws.com""#, r#""t.amazonaws.com""#]);
    let time = text(&[
        r#""2024-06-30T00:00:00Z""#,
        r#""2024-06-30T00:00:00\u005a""#,
        r#""2024-06-29T23:59:59Z""#,
        r#""2024-06-29T23:59:59\u005a""#,
        "1",
    ]);
    let id = text(&[r#""b2c7f1a0-5d6e-4f3a-9b8c-7d6e5f4a3b2c""#, r#""i\u0064""#, r#""""#, "null"]);
    let health = prop_oneof![Just(Health::Valid), Just(Health::Doubtful)];
    (name, source, time, id, health).prop_flat_map(|(name, source, time, id, health)| {
        let fixed =
            [("eventName", name), ("eventSource", source), ("eventTime", time), ("eventID", id)];
        let fixed = fixed.map(|(key, value)| (key, value.into_bytes()));
        let keys = prop::sample::select([&KEYS[..], &["eventName"]].concat());
        prop::collection::vec((keys, any_value(health)), 0..6)
            .prop_map(move |more| [&fixed[..], &more].concat())
            .prop_shuffle()
            .prop_flat_map(move |members| object(members, health))
    })
}

/// What became of a record.
#[derive(Debug, PartialEq)]
struct Evaluation {
    evaluated: Evaluated,
    /// The numbers of the rules that fire, and their matches.
    fired: Vec<(usize, RuleMatch)>,
    /// The numbers of the rules that fail.
    failed: Vec<usize>,
    /// The id of the event and its content, if a rule fires.
    event: Option<(Option<String>, Value)>,
}

/// The start of the time range.
const FROM: &str = "2024-06-30T00:00:00Z";

/// Evaluates rules on the text. The error is the offset of what is not JSON.
fn on_text(
    evaluator: &mut RuleEvaluator,
    record: &[u8],
    has_id: bool,
) -> Result<Evaluation, Option<usize>> {
    let (mut fired, mut event) = (Vec::new(), None);
    let result = evaluator.evaluate(record, 0, |found| {
        fired = found.matches;
        // Without an id, it is a hash of the content.
        let id = has_id.then(|| found.event_id.into_owned());
        event = Some((id, parse_record(&found.json).unwrap().value));
    });
    let failed = evaluator.take_failures().into_keys().collect();
    match result {
        Ok((_, evaluated)) => Ok(Evaluation { evaluated, fired, failed, event }),
        Err(Unevaluated::Invalid { offset, .. }) => Err(Some(offset)),
        Err(Unevaluated::Incomplete) => Err(None),
    }
}

/// Evaluates rules on the parsed event.
fn on_value(rules: &RuleSet, event: &Value, envelope: Option<&Envelope>) -> Evaluation {
    let header = EventHeader::of_event(event);
    let time = header.event_time.and_then(|time| time.parse::<jiff::Timestamp>().ok());
    if time.is_some_and(|time| time < FROM.parse().unwrap()) {
        let (fired, failed) = (Vec::new(), Vec::new());
        return Evaluation { evaluated: Evaluated::OutOfRange, fired, failed, event: None };
    }
    let view = EventView::new(event).with_envelope(envelope);
    let (mut fired, mut failed) = (Vec::new(), Vec::new());
    rules.evaluate(view, |number, rule, verdict| match verdict {
        Verdict::Fires(_) => fired.push((number, rule.match_on(view))),
        Verdict::Failed(_) => failed.push(number),
        Verdict::Excepted(_) | Verdict::NoMatch => {}
    });
    fired.sort_unstable_by_key(|(number, _)| *number);
    failed.sort_unstable();
    let id = header.event_id.filter(|id| !id.is_empty()).map(str::to_owned);
    let found = (!fired.is_empty()).then(|| (id, event.clone()));
    Evaluation { evaluated: Evaluated::Examined, fired, failed, event: found }
}

/// Whether a parsed event has an id of its own.
fn has_id(event: &Value) -> bool {
    EventHeader::of_event(event).event_id.is_some_and(|id| !id.is_empty())
}

proptest! {
    #[test]
    fn rules_do_on_any_text_what_they_do_on_the_parsed_event(
        rules in prop::collection::vec(any_rule(), 1..10),
        records in prop::collection::vec((any_record(), any::<bool>()), 1..10),
    ) {
        // Results of rules that look at the same fields are remembered.
        let copies = std::iter::repeat_n(rules[0].clone(), 4);
        let rules = Arc::new(RuleSet::new(with_numbers(rules.iter().cloned().chain(copies).collect())));
        let range = TimeRange { from: Some(FROM.parse().unwrap()), to: None };
        let mut evaluator = RuleEvaluator::new(Arc::clone(&rules), range);
        let members: [(&str, &[u8]); 3] = [("account", b"\"a\""), ("region", b"\"\\u0061b\""), ("detail", b"{}")];
        let envelope = Envelope::from_json(members);
        for (text, is_delivered) in records.iter().chain(&records) {
            let shown = String::from_utf8_lossy(text);
            let Ok(scanned) = scan_record(text, 0, &mut Vec::new()) else {
                prop_assert!(on_text(&mut evaluator, text, false).is_err(), "{}", shown);
                continue;
            };
            evaluator.set_envelope(is_delivered.then_some(&members[..]));
            match parse_record(&text[..scanned.end]) {
                Ok(parsed) => {
                    let expected = on_value(&rules, &parsed.value, is_delivered.then_some(&envelope));
                    let found = on_text(&mut evaluator, text, has_id(&parsed.value));
                    prop_assert_eq!(found, Ok(expected), "{}", shown);
                }
                // It is reported in the same way, unless nothing that is wrong decides about a rule.
                Err(malformed) => match on_text(&mut evaluator, text, false) {
                    Err(offset) => prop_assert_eq!(offset, Some(malformed.offset), "{}", shown),
                    Ok(found) => prop_assert!(found.fired.is_empty(), "{} {:?}", shown, found),
                },
            }
        }
    }
}
