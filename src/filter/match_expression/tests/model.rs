//! Random expressions against a naive model, and random text.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};
use serde_json_path::JsonPath;

use super::super::*;

/// One step of a path, in a form that is easy to evaluate.
#[derive(Clone, Debug)]
enum Step {
    Name(&'static str),
    Position(i64),
    /// A number behind a point: a key or a position.
    Number(i64),
    All,
    Named(&'static str),
    AllBelow,
    Slice(Option<i64>, Option<i64>, i64),
    Having(&'static str),
}

impl Step {
    /// Writes the step in one of its spellings.
    fn write(&self, spelling: usize) -> String {
        let pick = |spellings: &[String]| spellings[spelling % spellings.len()].clone();
        match self {
            Self::Name(name) => {
                let mut spellings = vec![format!("['{name}']"), format!("[ \"{name}\" ]")];
                if name.starts_with(char::is_alphabetic) {
                    spellings.extend([format!(".{name}"), format!("[{name}]")]);
                }
                pick(&spellings)
            }
            Self::Position(position) if *position < 0 => {
                pick(&[format!("[{position}]"), format!("[(@.length{position})]")])
            }
            Self::Position(position) => format!("[{position}]"),
            Self::Number(number) => format!(".{number}"),
            Self::All => pick(&[".*".to_owned(), "[*]".to_owned()]),
            Self::Named(name) => pick(&[format!("..['{name}']"), format!("..{name}")]),
            Self::AllBelow => pick(&["..*".to_owned(), "..[*]".to_owned()]),
            Self::Slice(start, end, step) => {
                let bound =
                    |bound: &Option<i64>| bound.map(|bound| bound.to_string()).unwrap_or_default();
                format!("[{}:{}:{step}]", bound(start), bound(end))
            }
            Self::Having(name) => pick(&[format!("[?@.{name}]"), format!("[?(@['{name}'])]")]),
        }
    }

    /// Returns what the step selects from a value.
    fn select<'event>(&self, node: &'event Value) -> Vec<&'event Value> {
        match self {
            Self::Name(name) => {
                node.as_object().and_then(|members| members.get(*name)).into_iter().collect()
            }
            Self::Position(position) => at(node, *position).into_iter().collect(),
            Self::Number(number) if node.is_object() => {
                node.get(number.to_string()).into_iter().collect()
            }
            Self::Number(number) => at(node, *number).into_iter().collect(),
            Self::All => children(node),
            Self::Named(name) => {
                below(node).into_iter().filter_map(|node| node.as_object()?.get(*name)).collect()
            }
            Self::AllBelow => below(node).into_iter().flat_map(children).collect(),
            Self::Slice(start, end, step) => slice(node, *start, *end, *step),
            Self::Having(name) => {
                children(node).into_iter().filter(|child| child.get(name).is_some()).collect()
            }
        }
    }
}

fn children(node: &Value) -> Vec<&Value> {
    match node {
        Value::Object(members) => members.values().collect(),
        Value::Array(elements) => elements.iter().collect(),
        _ => Vec::new(),
    }
}

/// Returns a value and everything below it.
fn below(node: &Value) -> Vec<&Value> {
    std::iter::once(node).chain(children(node).into_iter().flat_map(below)).collect()
}

fn at(node: &Value, position: i64) -> Option<&Value> {
    let elements = node.as_array()?;
    let len = i64::try_from(elements.len()).unwrap();
    let position = if position < 0 { len + position } else { position };
    elements.get(usize::try_from(position).ok()?)
}

/// Selects one position after the other, with the bounds of Python's slices, which RFC 9535 shares.
fn slice(node: &Value, start: Option<i64>, end: Option<i64>, step: i64) -> Vec<&Value> {
    let Some(elements) = node.as_array() else { return Vec::new() };
    let len = i64::try_from(elements.len()).unwrap();
    let absolute = |bound: i64| if bound < 0 { len + bound } else { bound };
    let mut found = Vec::new();
    if step > 0 {
        let (mut position, end) =
            (start.map_or(0, absolute).max(0), end.map_or(len, absolute).min(len));
        while position < end {
            found.extend(at(node, position));
            position += step;
        }
    } else if step < 0 {
        let (mut position, end) =
            (start.map_or(len - 1, absolute).min(len - 1), end.map_or(-1, absolute).max(-1));
        while position > end {
            found.push(&elements[usize::try_from(position).unwrap()]);
            position += step;
        }
    }
    found
}

const NAMES: [&str; 7] = ["a", "b", "x-y", "a:b", "0", "1", "ö"];

fn names() -> impl Strategy<Value = &'static str> {
    prop::sample::select(NAMES.to_vec())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bound = || prop::option::of(-3_i64..4);
    let step = prop_oneof![
        4 => names().prop_map(Step::Name),
        2 => (-3_i64..3).prop_map(Step::Position),
        1 => (0_i64..3).prop_map(Step::Number),
        1 => Just(Step::All),
        1 => (bound(), bound(), -2_i64..3).prop_map(|(start, end, step)| Step::Slice(start, end, step)),
        1 => prop::sample::select(vec!["a", "b"]).prop_map(Step::Having),
    ];
    let descent = prop_oneof![
        prop::sample::select(vec!["a", "b", "ö"]).prop_map(Step::Named),
        Just(Step::AllBelow)
    ];
    (prop::collection::vec(step, 0..4), prop::option::weighted(0.3, (0_usize..4, descent)))
        .prop_map(|(mut steps, descent)| {
            if let Some((at, descent)) = descent {
                steps.insert(at.min(steps.len()), descent);
            }
            steps
        })
}

/// Returns scalars of which many are nearly equal.
fn scalars() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(1.0),
        json!(-1),
        json!("1"),
        json!("true"),
        json!(""),
        json!("ab"),
        json!("Ab"),
        json!("a\nb"),
        json!(9_007_199_254_740_993_u64),
    ])
}

fn events() -> impl Strategy<Value = Value> {
    scalars().prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names(), inner), 0..4).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ]
    })
}

fn write(steps: &[Step], spelling: usize, root: &str) -> String {
    let path: String =
        steps.iter().enumerate().map(|(at, step)| step.write(spelling + at)).collect();
    if root.is_empty() && path.is_empty() { "$".to_owned() } else { format!("{root}{path}") }
}

/// Returns the values that the steps select.
fn select<'event>(steps: &[Step], event: &'event Value) -> Vec<&'event Value> {
    steps.iter().fold(vec![event], |nodes, step| {
        nodes.into_iter().flat_map(|node| step.select(node)).collect()
    })
}

/// Equality as it is defined for expressions.
fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            // All numbers here are small or the same.
            one.to_string().trim_end_matches(".0") == other.to_string().trim_end_matches(".0")
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, one)| other.get(key).is_some_and(|other| is_equal(one, other)))
        }
        _ => one == other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn comparisons_follow_the_model(
        steps in steps(), event in events(), value in events(), spelling in 0_usize..12, root in prop::sample::select(vec!["$", "", " $"]),
    ) {
        let selected = select(&steps, &event);
        let path = write(&steps, spelling, root);
        // A random value, and one that the event holds.
        for value in [&value, selected.get(spelling).copied().unwrap_or(&value)] {
            let model = selected.iter().any(|found| is_equal(found, value)) || selected.is_empty() && value.is_null();
            let equal = MatchExpression::parse(&format!("{path} == {value}")).unwrap();
            let unequal = MatchExpression::parse(&format!("{path}!={value}")).unwrap();
            prop_assert_eq!(equal.matches(&event), MatchOutcome::from(model), "{} == {}", path, value);
            prop_assert_eq!(unequal.matches(&event), MatchOutcome::from(!model), "{} != {}", path, value);
        }
    }

    #[test]
    fn patterns_follow_the_model(
        steps in steps(), event in events(), pattern in prop::sample::select(vec!["a", "^a", "b$", "A", "1", "^$", ".", "^.*$", "e"]),
    ) {
        let texts = select(&steps, &event).into_iter().filter_map(Value::as_str);
        let model = texts.clone().any(|text| match pattern {
            "a" => text.contains('a'),
            "^a" => text.starts_with('a'),
            "b$" => text.ends_with('b'),
            "A" => text.contains('A'),
            "1" => text.contains('1'),
            "^$" => text.is_empty(),
            "." => !text.is_empty(),
            "^.*$" => !text.contains('\n'),
            _ => text.contains('e'),
        });
        let path = write(&steps, 0, "$");
        let parsed = MatchExpression::parse(&format!("{path} regex '{pattern}'")).unwrap();
        prop_assert_eq!(parsed.matches(&event), MatchOutcome::from(model), "{} {}", path, pattern);
    }

    #[test]
    fn paths_select_what_the_library_selects(steps in steps(), event in events(), spelling in 0_usize..12) {
        let text = write(&steps, spelling, "$");
        let path = path_reader::parse_path(&text, text.len()).unwrap();
        let mut found = Vec::new();
        let _ = path.visit(&event, |value| {
            found.push(value);
            ControlFlow::Continue(())
        });
        prop_assert_eq!(&found, &JsonPath::parse(path.as_str()).unwrap().query(&event).all());
        prop_assert_eq!(found, select(&steps, &event));
    }

    #[test]
    fn observing_changes_no_outcome(steps in steps(), events in prop::collection::vec(events(), 1..5), value in scalars()) {
        let path = write(&steps, 1, "$");
        for operator in ["==", "!=", "regex"] {
            if operator == "regex" && !value.is_string() {
                continue;
            }
            let parsed = MatchExpression::parse(&format!("{path} {operator} {value}")).unwrap();
            let mut observations = MatchObservations::default();
            for event in &events {
                prop_assert_eq!(parsed.evaluate(event, &mut observations), parsed.matches(event));
            }
            let _ = parsed.hints(&observations);
        }
    }

    #[test]
    fn no_text_panics(text in expressions(), event in events()) {
        check_any_text(&text, &event)?;
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), event in events()) {
        check_any_text(&String::from_utf8_lossy(&bytes), &event)?;
    }
}

/// Returns texts that resemble expressions.
fn expressions() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "$",
        ".",
        "..",
        "[",
        "]",
        "(",
        ")",
        "?",
        "@",
        "*",
        "'",
        "\"",
        "\\",
        ",",
        ":",
        "-",
        "0",
        "1",
        "a",
        "x-y",
        " ",
        "==",
        "!=",
        "regex",
        "=~",
        "&&",
        "||",
        "!",
        "<",
        "length",
        "(@.length-1)",
        "match(@.a,'b')",
        "{",
        "}",
        "null",
        "None",
        "r\"",
        "'''",
        "\\u00e9",
        "\\ud800",
        "^",
        "(?!",
        "(?<=",
        "{2,3}",
        "+",
        "|",
        "ö",
        "😀",
        "\n",
        "1e5",
        "0x1f",
        "true",
    ]);
    prop::collection::vec(token, 0..14).prop_map(|tokens| tokens.concat())
}

fn check_any_text(text: &str, event: &Value) -> Result<(), TestCaseError> {
    match MatchExpression::parse(text) {
        Ok(parsed) => {
            let mut observations = MatchObservations::default();
            parsed.evaluate(event, &mut observations);
            let _ = (parsed.hints(&observations), parsed.warnings());
        }
        Err(error) => {
            prop_assert!(text.is_char_boundary(error.offset), "{:?}", error);
            prop_assert_eq!(error.expression.as_str(), text);
            let _ = error.caret().to_string();
        }
    }
    Ok(())
}

#[test]
fn parser_bombs_end_in_an_error_quickly() {
    let repeat = |part: &str, times: usize| part.repeat(times);
    for bomb in [
        format!("$[?{}@.a{}] == 1", repeat("(", 10_000), repeat(")", 10_000)),
        format!("$[?{}@.a{}] == 1", repeat("(", 1_000), repeat(")", 1_000)),
        format!("${}{} == 1", repeat("[?@", 24), repeat("]", 24)),
        format!("${}{} == 1", repeat("[?@", 9), repeat("]", 9)),
        format!("$[?{}@.a] == 1", repeat("!", 4_000)),
        format!("$.a == {}{}", repeat("[", 2_000), repeat("]", 2_000)),
        format!("$.a == {}", repeat("{\"a\":", 800)),
        format!("$.a == {}", repeat("(", 4_000)),
        format!("${} == 1", repeat("..a", 1_000)),
        format!("$.a regex '{}a{}'", repeat("(", 2_000), repeat(")", 2_000)),
        format!("$.a regex '{}a{}'", repeat("(?=", 1_000), repeat(")", 1_000)),
        "$.a regex '(a{1000}){1000}'".to_owned(),
        r"$.a regex r'\w{1000}\w{1000}\w{1000}'".to_owned(),
        "$.a regex '((((a{99}){99}){99}){99}){99}'".to_owned(),
    ] {
        let start = Instant::now();
        let error = MatchExpression::parse(&bomb).expect_err(&bomb);
        // A parser without limits takes minutes or aborts; unoptimized, the slowest of these takes 0.2 s.
        assert!(start.elapsed() < Duration::from_secs(5), "{bomb:.40}");
        assert!(error.caret().to_string().len() < 1_000);
    }
}

#[test]
fn the_largest_expressions_within_the_limits_are_parsed_quickly() {
    let nested =
        (0..8).fold("@.a".to_owned(), |inner, _| format!("@[?{inner}]")).replacen('@', "$", 1);
    let filters = format!("${}", "[?@.a==1||@.b=='x']".repeat(200));
    for path in
        [nested, filters, format!("${}", ".a".repeat(2_000)), format!("${}", "[*]".repeat(1_300))]
    {
        let start = Instant::now();
        let parsed = MatchExpression::parse(&format!("{path} == 1")).unwrap();
        let deep = (0..120).fold(json!(1), |inner, _| json!([inner]));
        assert!(!parsed.matches(&deep).is_match());
        assert!(start.elapsed() < Duration::from_secs(5), "{path:.20}");
    }
}

#[test]
fn an_event_of_great_depth_and_width_takes_bounded_time() {
    let leaves: Value = (0..20_000).map(|_| json!("x")).collect();
    let event = (0..120).fold(leaves, |inner, _| json!({ "a": inner }));
    let start = Instant::now();
    assert!(!MatchExpression::parse("$..*..* == 'y'").unwrap().matches(&event).is_match());
    // 120 levels times 20,000 leaves; collecting the values would need 60 MB.
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_event_of_many_hard_texts_takes_bounded_time() {
    let hard: Vec<_> = (0..5_000).map(|_| json!("a".repeat(40))).collect();
    let parsed = MatchExpression::parse(r#"$.a[*] regex r"(a*)*\1c""#).unwrap();
    let start = Instant::now();
    assert_eq!(parsed.matches(&json!({ "a": hard })), MatchOutcome::GaveUp);
    // All of the texts would take half a minute.
    assert!(start.elapsed() < Duration::from_secs(10));
    let mut few: Vec<_> = hard.into_iter().take(3).collect();
    few.push(json!("c"));
    assert_eq!(parsed.matches(&json!({ "a": few })), MatchOutcome::Matched, "another text fits");
}
