//! Which parts of an event a query looks at, so that the others need not be parsed.
//!
//! Input: a [`Query`]. Output: [`EventParts`].
//! Invariant: [`Query::matches`] returns the same for an event and for a copy with nothing but these parts.

use super::{
    event_part::{EventPart, EventParts},
    match_expression::{MatchExpression, Operator, PathNeeds},
    query::Query,
};

impl Query {
    /// Returns the parts of an event that decide whether it matches, or `None` if every event is needed as a whole.
    pub fn required_parts(&self) -> Option<EventParts> {
        let mut needs = EventParts::default();
        for path in self.matches.iter().chain(&self.exceptions).filter_map(|each| each.path()) {
            match path.needs() {
                PathNeeds::Part(part) => needs.parts.push(part),
                PathNeeds::WholeWith(names) if names.is_empty() => return None,
                PathNeeds::WholeWith(names) => needs.whole_with.push(names),
            }
        }
        for condition in &self.conditions {
            needs.parts.extend(condition.required_parts()?);
        }
        needs
            .parts
            .extend(self.required_members().into_iter().map(|name| EventPart::value([name])));
        Some(needs)
    }

    /// Returns the members at the top level that the conditions other than expressions look at, and the id by which an
    /// event is named where an expression fails.
    fn required_members(&self) -> Vec<&'static str> {
        let selectors = &self.selectors;
        let may_give_up =
            |expression: &MatchExpression| expression.operator() == Some(Operator::Regex);
        let may_fail = !self.conditions.is_empty()
            || self.matches.iter().chain(&self.exceptions).any(may_give_up);
        let needs_action = !self.actions.matches_everything();
        let needs_resource = !selectors.resources.is_empty();
        let needs_identity = !selectors.principals.is_empty() || !selectors.access_keys.is_empty();
        [
            (may_fail, "eventID"),
            (needs_action || needs_resource, "eventSource"),
            (needs_action, "eventName"),
            (!self.range.is_unbounded(), "eventTime"),
            (selectors.errors_only, "errorCode"),
            (selectors.errors_only, "errorMessage"),
            (selectors.calls.is_some(), "readOnly"),
            (!selectors.addresses.is_empty(), "sourceIPAddress"),
            (needs_identity, "userIdentity"),
            (needs_resource, "resources"),
            (needs_resource, "requestParameters"),
            (needs_resource, "responseElements"),
        ]
        .into_iter()
        .filter_map(|(is_needed, name)| is_needed.then_some(name))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{
        event_part::Extent, jmespath::Expression, match_expression::MatchExpression,
    };

    fn matching(expression: &str) -> Option<EventParts> {
        let matches = vec![MatchExpression::parse(expression).unwrap()];
        Query { matches, ..Query::default() }.required_parts()
    }

    fn named(path: &[&str], name: &str) -> EventPart {
        let extent = Extent::MembersNamed(name.to_owned());
        EventPart { extent, ..EventPart::value(path.iter().copied()) }
    }

    #[test]
    fn a_path_requires_the_values_that_it_selects() {
        for (expression, part) in [
            ("$.a.b == 1", EventPart::value(["a", "b"])),
            ("c != None", EventPart::value(["c"])),
            ("$.a[0].b == 1", EventPart::value(["a"])),
            ("$.a[?@.b == 1].c == 1", EventPart::value(["a"])),
            ("$.a.*.b == 1", named(&["a"], "b")),
            ("$.a[*].b.c == 1", named(&["a"], "b")),
            ("$..a == 1", named(&[], "a")),
            ("$.a..b[0] == 1", named(&["a"], "b")),
            ("$.*.a == 1", named(&[], "a")),
        ] {
            let parts = matching(expression).unwrap();
            assert_eq!(parts.parts, [part], "{expression}");
            assert_eq!(parts.whole_with, Vec::<Vec<String>>::new(), "{expression}");
        }
        assert_eq!(matching("").unwrap(), EventParts::default());
        let parts = matching("$.a regex 'x'").unwrap().parts;
        assert_eq!(parts, [EventPart::value(["a"]), EventPart::value(["eventID"])]);
    }

    #[test]
    fn other_paths_require_the_event_if_it_has_their_names() {
        for (expression, names) in
            [("$[?@.a].b == 1", vec!["b"]), ("$..[?@.a == 'x'].b['c'] == 1", vec!["b", "c"])]
        {
            assert_eq!(matching(expression).unwrap().whole_with, [names], "{expression}");
        }
        for whole in ["$ == 1", "$..* == 1", "$[?@.a] == 1", "$..[0] == 1", "$[?@.a == $.b] == 1"] {
            assert_eq!(matching(whole), None, "{whole}");
        }
    }

    #[test]
    fn conditions_require_the_parts_that_they_look_at() {
        let condition = |text| {
            let conditions = vec![Expression::parse(text).unwrap()];
            Query { conditions, ..Query::default() }.required_parts()
        };
        let parts = condition("detail.a == 'x' && source == 'aws.s3'").unwrap().parts;
        let paths: Vec<_> = parts.iter().map(|part| part.path.join(".")).collect();
        assert_eq!(paths, ["a", "eventSource", "eventID"]);
        assert_eq!(condition("contains(to_string(@), 'x')"), None);
    }
}
