//! Which members of an event a query looks at, so that the others need not be parsed.
//!
//! Input: a [`Query`]. Output: paths of names.
//! Invariant: [`Query::matches`] returns the same for an event and for a copy with nothing but the values at these paths.

use super::{match_expression::Path, query::Query};

/// Names of members, from the event down to a value.
pub type MemberPath = Vec<String>;

impl Query {
    /// Returns the paths of the values that decide whether an event matches, or `None` if any value may.
    pub fn required_paths(&self) -> Option<Vec<MemberPath>> {
        if !self.conditions.is_empty() {
            return None;
        }
        let mut paths: Vec<MemberPath> = Vec::new();
        for expression in self.matches.iter().chain(&self.exceptions) {
            match expression.path().map(Path::names) {
                Some(Some(names)) if !names.is_empty() => {
                    paths.push(names.into_iter().map(str::to_owned).collect());
                }
                None if expression.is_empty() => {}
                _ => return None,
            }
        }
        let members = self.required_members();
        paths.extend(members.into_iter().map(|name| vec![name.to_owned()]));
        Some(paths)
    }

    /// Returns the members at the top level that the conditions other than expressions look at.
    fn required_members(&self) -> Vec<&'static str> {
        let selectors = &self.selectors;
        let needs_action = !self.actions.matches_everything();
        let needs_resource = !selectors.resources.is_empty();
        let needs_identity = !selectors.principals.is_empty() || !selectors.access_keys.is_empty();
        [
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
    use crate::filter::match_expression::MatchExpression;

    fn query(matches: &[&str]) -> Query {
        let matches = matches.iter().map(|text| MatchExpression::parse(text).unwrap()).collect();
        Query { matches, ..Query::default() }
    }

    #[test]
    fn simple_paths_are_required_as_they_are() {
        let paths = |matches: &[&str]| query(matches).required_paths();
        assert_eq!(paths(&[]), Some(vec![]));
        assert_eq!(
            paths(&["$.a.b == 1", "", "c != None"]),
            Some(vec![vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]])
        );
        for any in ["$..a == 1", "$.a[0] == 1", "$.a[*].b == 1", "$[?@.a].b == 1", "$ == 1"] {
            assert_eq!(paths(&[any]), None, "{any}");
        }
    }
}
