//! Parses only those values of a record that a query looks at.
//!
//! Input: the members of a record, as a scan found them. Output: an object with nothing but the required parts.
//! Invariant: a query decides the same on it as on the whole event. What this cannot do exactly, such as a key with an
//! escape sequence, is left to the parser of the whole record.
//!
//! Parsing a whole record takes 73,000 instructions, nine times as many as decompressing it and eleven times as many as
//! scanning it; a value or two take 2,000.

use std::ops::Range;

use memchr::memmem::{self, Finder};
use serde_json::{Map, Value};

use super::{found_event::is_too_large, record_scan::MemberRange};
use crate::{
    filter::event_part::{EventPart, EventParts, Extent},
    source::{find_string_end, skip_value},
};

/// How deep members are looked for by their name alone. Deeper records are parsed as a whole, as far as the parser goes.
const MAX_DEPTH: u32 = 64;

/// The most members that memory is reserved for. Rules can require more than an event has.
const MAX_RESERVED: usize = 16;

/// The parts of a record that are parsed.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Projection {
    tree: PartTree,
    /// For each expression that may look at any part of the event: the members without which it finds nothing.
    whole_with: Vec<Vec<MemberName>>,
}

/// The required parts of a value.
#[derive(Debug, Default)]
struct PartTree {
    members: Vec<RequiredMember>,
    /// Members at any depth below the value.
    anywhere: Vec<MemberName>,
}

#[derive(Debug)]
struct RequiredMember {
    name: String,
    /// `None` if the whole value is required.
    inner: Option<PartTree>,
}

/// The name of a member, and how to find out that a text has no such member.
#[derive(Debug)]
struct MemberName {
    name: String,
    /// Finds the name as a key; `None` if JSON may spell it in several ways.
    key: Option<Finder<'static>>,
}

impl MemberName {
    fn new(name: &str) -> Self {
        let is_plain = |byte: u8| byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'/');
        let key = name.bytes().all(is_plain).then(|| {
            let quoted = format!("\"{name}\"");
            Finder::new(quoted.as_bytes()).into_owned()
        });
        Self { name: name.to_owned(), key }
    }

    /// Returns whether a text may have a member with this name.
    fn may_be_in(&self, text: &[u8]) -> bool {
        match &self.key {
            // Every other spelling of such a name has an escaped code point.
            Some(key) => key.find(text).is_some() || memmem::find(text, b"\\u").is_some(),
            None => true,
        }
    }
}

impl Projection {
    /// Returns the projection to these parts.
    pub(in crate::pipeline) fn new(required: &EventParts) -> Self {
        let mut tree = PartTree::default();
        for EventPart { path, extent } in &required.parts {
            tree.add(path, extent);
        }
        tree.inherit(&[]);
        let names = |names: &Vec<String>| names.iter().map(|name| MemberName::new(name)).collect();
        Self { tree, whole_with: required.whole_with.iter().map(names).collect() }
    }

    /// Parses the required parts of the record that is `record` in `text` and has these members. `None` if the whole
    /// record has to be parsed.
    pub(in crate::pipeline) fn parse(
        &self,
        text: &[u8],
        record: Range<usize>,
        members: &[MemberRange],
    ) -> Option<Value> {
        let bytes = &text[record];
        let is_required = |names: &Vec<MemberName>| names.iter().all(|name| name.may_be_in(bytes));
        let has_names = !self.tree.anywhere.is_empty();
        if self.whole_with.iter().any(is_required) || (has_names && is_too_large(bytes)) {
            return None;
        }
        let mut parsed = self.tree.new_map();
        for MemberRange { key, value } in members {
            let reader = Reader { text, depth: 0 };
            reader.member(&self.tree, &text[key.clone()], value.clone(), &mut parsed)?;
        }
        Some(Value::Object(parsed))
    }
}

impl PartTree {
    fn add(&mut self, path: &[String], extent: &Extent) {
        let Some((name, rest)) = path.split_first() else {
            if let Extent::MembersNamed(name) = extent {
                self.anywhere.push(MemberName::new(name));
            }
            return;
        };
        let known = self.members.iter().position(|member| member.name == *name);
        let number = known.unwrap_or_else(|| {
            let inner = Some(Self::default());
            self.members.push(RequiredMember { name: name.clone(), inner });
            self.members.len() - 1
        });
        let member = &mut self.members[number];
        match (&mut member.inner, rest, extent) {
            (inner, [], Extent::Value) => *inner = None,
            (Some(inner), rest, extent) => inner.add(rest, extent),
            // The whole value is required already.
            (None, ..) => {}
        }
    }

    /// Adds the names that are required anywhere in a value that contains this one.
    fn inherit(&mut self, names: &[String]) {
        self.anywhere.extend(names.iter().map(|name| MemberName::new(name)));
        let names: Vec<String> = self.anywhere.iter().map(|name| name.name.clone()).collect();
        for inner in self.members.iter_mut().filter_map(|member| member.inner.as_mut()) {
            inner.inherit(&names);
        }
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.anywhere.is_empty()
    }

    /// Returns a map for the required members, which is not to grow step by step.
    fn new_map(&self) -> Map<String, Value> {
        Map::with_capacity(self.members.len().min(MAX_RESERVED))
    }
}

/// The members that a search by name finds in a value.
enum Members {
    /// The value has none of them.
    None,
    /// The value with nothing but them and what contains them.
    Within(Value),
}

/// Reads values of a text. Each method returns `None` if the whole record has to be parsed.
#[derive(Clone, Copy)]
struct Reader<'t> {
    text: &'t [u8],
    depth: u32,
}

impl Reader<'_> {
    /// Adds what is required of a member to the members that were parsed before.
    fn member(
        self,
        tree: &PartTree,
        key: &[u8],
        value: Range<usize>,
        parsed: &mut Map<String, Value>,
    ) -> Option<()> {
        if tree.anywhere.iter().any(|name| name.name.as_bytes() == key) {
            return insert(parsed, key, self.value(value)?);
        }
        if let Some(member) = tree.members.iter().find(|member| member.name.as_bytes() == key) {
            let value = match &member.inner {
                Some(inner) if self.text.get(value.start) == Some(&b'{') => {
                    self.object(inner, value)?
                }
                _ => self.value(value)?,
            };
            parsed.insert(member.name.clone(), value);
            return Some(());
        }
        if tree.anywhere.is_empty() {
            return Some(());
        }
        match self.search(&tree.anywhere, value)? {
            Members::Within(found) => insert(parsed, key, found),
            // Of a key that repeats, the last value counts.
            Members::None => str::from_utf8(key).ok().map(|key| drop(parsed.shift_remove(key))),
        }
    }

    /// Parses a value as a whole.
    fn value(self, value: Range<usize>) -> Option<Value> {
        let value = &self.text[value];
        match value {
            b"null" => Some(Value::Null),
            b"true" => Some(Value::Bool(true)),
            b"false" => Some(Value::Bool(false)),
            _ => match plain_text(value) {
                Some(text) => Some(Value::String(text.to_owned())),
                None if is_too_large(value) => None,
                None => serde_json::from_slice(value).ok(),
            },
        }
    }

    /// Parses what is required of the object in a range of the text.
    fn object(self, tree: &PartTree, object: Range<usize>) -> Option<Value> {
        let mut parsed = tree.new_map();
        if !tree.is_empty() {
            let reader = self.deeper()?;
            each_member(self.text, object, |key, value| {
                reader.member(tree, key, value, &mut parsed)
            })?;
        }
        Some(Value::Object(parsed))
    }

    /// Returns the members with these names in a value of which nothing else is required, and what contains them.
    fn search(self, names: &[MemberName], value: Range<usize>) -> Option<Members> {
        let bytes = &self.text[value.clone()];
        let is_searched = matches!(bytes.first(), Some(b'{' | b'['))
            && names.iter().any(|name| name.may_be_in(bytes));
        if !is_searched {
            return Some(Members::None);
        }
        let reader = self.deeper()?;
        if bytes.first() == Some(&b'[') {
            let mut found = Vec::new();
            reader.each_element(value, |element| {
                if let Members::Within(element) = reader.search(names, element)? {
                    found.push(element);
                }
                Some(())
            })?;
            return Some(if found.is_empty() {
                Members::None
            } else {
                Members::Within(Value::Array(found))
            });
        }
        let mut found = Map::new();
        each_member(self.text, value, |key, value| {
            if names.iter().any(|name| name.name.as_bytes() == key) {
                return insert(&mut found, key, reader.value(value)?);
            }
            match reader.search(names, value)? {
                Members::Within(value) => insert(&mut found, key, value),
                Members::None => str::from_utf8(key).ok().map(|key| drop(found.shift_remove(key))),
            }
        })?;
        Some(if found.is_empty() { Members::None } else { Members::Within(Value::Object(found)) })
    }

    fn deeper(self) -> Option<Self> {
        (self.depth < MAX_DEPTH).then_some(Self { depth: self.depth + 1, ..self })
    }

    /// Calls `read` with each element of a list.
    fn each_element(
        self,
        list: Range<usize>,
        mut read: impl FnMut(Range<usize>) -> Option<()>,
    ) -> Option<()> {
        let mut at = list.start + 1;
        loop {
            at = skip_blanks(self.text, at);
            match self.text.get(at)? {
                b']' if at + 1 == list.end => return Some(()),
                b',' => at += 1,
                b']' | b'}' | b':' => return None,
                _ => {
                    let end = skip_value(self.text, at).ok()?;
                    read(at..end)?;
                    at = end;
                }
            }
        }
    }
}

/// Calls `read` with the key, without its quotes, and the value of each member of an object. `None` if a key has an escape sequence, if
/// the text is not JSON, or if `read` returns it.
pub(in crate::pipeline) fn each_member(
    text: &[u8],
    object: Range<usize>,
    mut read: impl FnMut(&[u8], Range<usize>) -> Option<()>,
) -> Option<()> {
    let mut at = object.start + 1;
    loop {
        at = skip_blanks(text, at);
        match text.get(at)? {
            b'"' => {}
            b'}' if at + 1 == object.end => return Some(()),
            b',' => {
                at += 1;
                continue;
            }
            _ => return None,
        }
        let key = find_string_end(text, at).filter(|key| key.is_plain)?;
        let colon = skip_blanks(text, key.end);
        if text.get(colon) != Some(&b':') {
            return None;
        }
        let start = skip_blanks(text, colon + 1);
        let end = skip_value(text, start).ok()?;
        read(&text[at + 1..key.end - 1], start..end)?;
        at = end;
    }
}

/// Adds a member. Of a key that repeats, the last value counts.
fn insert(members: &mut Map<String, Value>, key: &[u8], value: Value) -> Option<()> {
    members.insert(str::from_utf8(key).ok()?.to_owned(), value);
    Some(())
}

/// Returns the content of a string without escape sequences, which is most of what is parsed.
pub(in crate::pipeline) fn plain_text(value: &[u8]) -> Option<&str> {
    let text = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    // Every byte is looked at, so that the compiler takes many in one step.
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    let all = text.iter().fold(true, |all, byte| all & is_plain(*byte));
    if all { str::from_utf8(text).ok() } else { None }
}

fn skip_blanks(text: &[u8], start: usize) -> usize {
    let mut at = start;
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

#[cfg(test)]
pub(in crate::pipeline) mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        filter::{
            event_part::tests::pruned,
            jmespath::Expression,
            match_expression::MatchExpression,
            query::{Observations, Query},
        },
        pipeline::search::record_scan::scan_record,
    };

    fn parse(text: &str, required: &EventParts) -> Option<Value> {
        let mut members = Vec::new();
        let scanned = scan_record(text.as_bytes(), 0, &mut members).unwrap();
        if scanned.has_escaped_key {
            return None;
        }
        Projection::new(required).parse(text.as_bytes(), 0..scanned.end, &members)
    }

    fn projected(text: &str, paths: &[&str]) -> Option<Value> {
        let parts = paths.iter().map(|path| EventPart::value(path.split('.'))).collect();
        parse(text, &EventParts { parts, ..EventParts::default() })
    }

    fn named(path: &[&str], name: &str) -> EventPart {
        let extent = Extent::MembersNamed(name.to_owned());
        EventPart { extent, ..EventPart::value(path.iter().copied()) }
    }

    #[test]
    fn only_required_values_are_parsed() {
        let text =
            r#"{"a":{"b":{"c":1,"d":[2]},"e":"x"},"b":[{"c":1}], "c" : null,"d":{"b":{invalid}}}"#;
        for (required, expected) in [
            (&["a.b.c"][..], json!({"a": {"b": {"c": 1}}})),
            (&["a.b.c", "a.b"], json!({"a": {"b": {"c": 1, "d": [2]}}})),
            (&["a.b", "a.b.c"], json!({"a": {"b": {"c": 1, "d": [2]}}})),
            (&["b.c", "c"], json!({"b": [{"c": 1}], "c": null})),
            (&["a.x", "x"], json!({"a": {}})),
            (&[], json!({})),
        ] {
            assert_eq!(projected(text, required), Some(expected), "{required:?}");
        }
        assert_eq!(projected(text, &["d.b"]), None);
        assert_eq!(projected(r#"{"a":{"\u0062":1}}"#, &["a.b"]), None);
        assert_eq!(
            projected(r#"{"a":{"b":1},"a":{"b":2}}"#, &["a.b"]),
            Some(json!({"a": {"b": 2}}))
        );
    }

    #[test]
    fn named_members_are_found_at_any_depth_in_any_spelling() {
        let find = |text: &str, parts: Vec<EventPart>| {
            parse(text, &EventParts { parts, ..EventParts::default() })
        };
        let text = r#"{"a":{"b":[1,{"x":{"y":1}},{"z":"\"x\""}]},"x":"é","c":{"x":1},"c":{"z":1}}"#;
        let expected = json!({"a": {"b": [{"x": {"y": 1}}]}, "x": "é"});
        assert_eq!(find(text, vec![named(&[], "x")]), Some(expected));
        let expected = json!({"a": {"b": [{"x": {"y": 1}}]}});
        assert_eq!(find(text, vec![named(&["a"], "x")]), Some(expected));
        assert_eq!(find(text, vec![named(&[], "w")]), Some(json!({})));
        // The key of a member may be escaped, and then the whole record is parsed.
        assert_eq!(find(r#"{"a":{"\u0078":1}}"#, vec![named(&[], "x")]), None);
        assert_eq!(find(r#"{"a":{"b":"\u0078"}}"#, vec![named(&[], "x")]), Some(json!({})));
        assert_eq!(find(r#"{"a":{"a\/b":1}}"#, vec![named(&[], "a/b")]), None);
        assert_eq!(
            find(r#"{"a":{"a/b":1}}"#, vec![named(&[], "a/b")]),
            Some(json!({"a": {"a/b": 1}}))
        );
        let deep = format!("{{\"a\":{}{{\"x\":1}}{}}}", "[".repeat(100), "]".repeat(100));
        assert_eq!(find(&deep, vec![named(&[], "x")]), None);
    }

    #[test]
    fn a_whole_record_is_required_only_if_it_has_the_names() {
        let whole_with = vec![vec!["a".to_owned(), "b".to_owned()]];
        let required = EventParts { parts: Vec::new(), whole_with };
        assert_eq!(parse(r#"{"a":1,"c":["\n"]}"#, &required), Some(json!({})));
        assert_eq!(parse(r#"{"a":1,"c":["b"]}"#, &required), None);
        assert_eq!(parse(r#"{"a":1,"c":["\u0062"]}"#, &required), None);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            Just(json!(1)),
            Just(json!("a")),
            Just(json!("\"b\"")),
            Just(json!("é\"{")),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                2 => prop::collection::vec(("[abc]", inner.clone()), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
                1 => prop::collection::vec(inner, 0..3).prop_map(Value::Array),
            ]
        })
    }

    fn any_event() -> impl Strategy<Value = Value> {
        prop::collection::vec(("[abc]", any_value()), 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    /// Writes a value with members that are overwritten by later ones of the same name, blanks, and letters as escape
    /// sequences, as `dice` says.
    pub(in crate::pipeline) fn write(
        value: &Value,
        dice: &mut dyn Iterator<Item = u8>,
        text: &mut String,
    ) {
        match value {
            Value::Object(members) => {
                text.push('{');
                let mut separator = "";
                for (name, value) in members {
                    if is_rolled(dice, 8) {
                        text.push_str(separator);
                        separator = ",";
                        write_text(name, is_rolled(dice, 16), text);
                        text.push_str(r#":{"a":[{"b":1}]}"#);
                    }
                    text.push_str(separator);
                    separator = if is_rolled(dice, 3) { " ,\n" } else { "," };
                    write_text(name, is_rolled(dice, 16), text);
                    text.push_str(if is_rolled(dice, 3) { " : " } else { ":" });
                    write(value, dice, text);
                }
                text.push('}');
            }
            Value::Array(elements) => {
                text.push('[');
                for (position, element) in elements.iter().enumerate() {
                    text.push_str(if position > 0 { ", " } else { "" });
                    write(element, dice, text);
                }
                text.push(']');
            }
            Value::String(content) => write_text(content, is_rolled(dice, 3), text),
            other => text.push_str(&other.to_string()),
        }
    }

    fn is_rolled(dice: &mut dyn Iterator<Item = u8>, sides: u8) -> bool {
        dice.next().is_some_and(|rolled| rolled % sides == 0)
    }

    fn write_text(content: &str, is_escaped: bool, text: &mut String) {
        if is_escaped && content.is_ascii() {
            let code = |byte: u8| format!("\\u{byte:04x}");
            text.push('"');
            text.extend(content.bytes().map(code));
            text.push('"');
        } else {
            text.push_str(&Value::from(content).to_string());
        }
    }

    fn any_part() -> impl Strategy<Value = EventPart> {
        (prop::collection::vec("[abc]", 0..3), 0..4, "[abc]").prop_map(|(path, extent, name)| {
            let extent = match extent {
                0 => Extent::MembersNamed(name),
                1 => Extent::Kind,
                _ => Extent::Value,
            };
            EventPart { path, extent }
        })
    }

    const MATCHES: [&str; 12] = [
        "$..a == 1",
        "$..a != 1",
        "$..b == None",
        "$.a..b regex '^a'",
        "$.*.a == 'a'",
        "$..*.b == 1",
        "$.a[*].b != 'a'",
        "$.a[0].b == 1",
        "$[?@.a].b == 1",
        "$..[?@.a == 'a'].b.c == 1",
        "$.b[?@ == 'a'] != None",
        "$.a.b == {}",
    ];

    const CONDITIONS: [&str; 8] = [
        "detail.a.b == 'a'",
        "detail.a && detail.b.c",
        "!detail.c",
        "contains(detail.a, 'a')",
        "detail.a[?b == `1`].c | [0]",
        "detail.a == detail.b",
        "length(detail.a.b) > `0`",
        "detail.a != `null` || detail.b.*",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

        #[test]
        fn it_is_the_pruned_event(
            event in any_event(), dice in prop::collection::vec(any::<u8>(), 0..80),
            parts in prop::collection::vec(any_part(), 0..4),
        ) {
            let parts: Vec<EventPart> = parts
                .into_iter()
                .filter(|part| !part.path.is_empty() || matches!(part.extent, Extent::MembersNamed(_)))
                .collect();
            let mut text = String::new();
            write(&event, &mut dice.into_iter(), &mut text);
            prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &event);
            let expected = pruned(&event, &parts);
            let required = EventParts { parts, ..EventParts::default() };
            if let Some(projected) = parse(&text, &required) {
                prop_assert_eq!(projected, expected, "{}", text);
            } else {
                prop_assert!(text.contains("\\u"), "{}", text);
            }
        }

        #[test]
        fn a_query_decides_the_same_on_it(
            event in any_event(), dice in prop::collection::vec(any::<u8>(), 0..80),
            matches in prop::sample::subsequence(&MATCHES[..], 0..3),
            conditions in prop::sample::subsequence(&CONDITIONS[..], 0..2),
        ) {
            let mut text = String::new();
            write(&event, &mut dice.into_iter(), &mut text);
            let query = Query {
                matches: matches.iter().map(|text| MatchExpression::parse(text).unwrap()).collect(),
                conditions: conditions.iter().map(|text| Expression::parse(text).unwrap()).collect(),
                ..Query::default()
            };
            let projected = query.required_parts().and_then(|parts| parse(&text, &parts));
            if let Some(projected) = projected {
                let mut observations = [Observations::default(), Observations::default()];
                prop_assert_eq!(
                    query.matches(&projected, &mut observations[0]),
                    query.matches(&event, &mut observations[1]),
                    "{:?} {:?} {} {}", matches, conditions, text, projected
                );
            }
        }
    }
}
