//! The condition of a Sigma rule: `selection and not 1 of filter_*`.
//!
//! Input: text, and the search identifiers by name. Output: a [`Search`], or what is not valid or not supported.
//! Invariant: aggregations and counts are refused, not ignored.

use super::Search;

/// The deepest nesting of parentheses and negations.
const MAX_DEPTH: usize = 32;

/// The search identifiers of a rule, in the order of the file.
pub(super) type Identifiers = Vec<(String, Search)>;

/// Parses a condition.
pub(super) fn parse_condition(text: &str, identifiers: &Identifiers) -> Result<Search, String> {
    if text.contains('|') {
        return Err("aggregations behind `|` are not supported".to_owned());
    }
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = ConditionParser { words, next: 0, identifiers };
    let search = parser.any_of(0)?;
    match parser.peek() {
        None => Ok(search),
        Some(word) => Err(format!("`and`, `or` or the end is expected, not `{word}`")),
    }
}

struct ConditionParser<'a> {
    words: Vec<&'a str>,
    next: usize,
    identifiers: &'a Identifiers,
}

impl<'a> ConditionParser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).copied()
    }

    fn take(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.eq_ignore_ascii_case(keyword));
        self.next += usize::from(found);
        found
    }

    fn any_of(&mut self, depth: usize) -> Result<Search, String> {
        let mut parts = vec![self.all_of(depth)?];
        while self.take("or") {
            parts.push(self.all_of(depth)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Search::Any(parts) })
    }

    fn all_of(&mut self, depth: usize) -> Result<Search, String> {
        let mut parts = vec![self.negation(depth)?];
        while self.take("and") {
            parts.push(self.negation(depth)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Search::All(parts) })
    }

    fn negation(&mut self, depth: usize) -> Result<Search, String> {
        if depth > MAX_DEPTH {
            return Err(format!("the condition is nested deeper than {MAX_DEPTH} levels"));
        }
        if self.take("not") {
            return Ok(Search::Not(Box::new(self.negation(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.any_of(depth + 1)?;
            return if self.take(")") {
                Ok(inner)
            } else {
                Err("a closing parenthesis is missing".to_owned())
            };
        }
        self.operand()
    }

    fn operand(&mut self) -> Result<Search, String> {
        let word = self.peek().ok_or("a search identifier is missing at the end")?;
        self.next += 1;
        if self.take("of") {
            let parts = self.named()?;
            return match word.to_ascii_lowercase().as_str() {
                "1" | "any" => Ok(Search::Any(parts)),
                "all" => Ok(Search::All(parts)),
                _ => Err(format!("`{word} of` is not supported; `1 of` and `all of` are")),
            };
        }
        match self.identifiers.iter().find(|(name, _)| name == word) {
            Some((_, search)) => Ok(search.clone()),
            None => Err(format!("there is no search identifier `{word}`")),
        }
    }

    /// Reads `them` or a name with `*`, and returns the search identifiers that it means.
    fn named(&mut self) -> Result<Vec<Search>, String> {
        let pattern = self.peek().ok_or("a name is missing behind `of`")?;
        self.next += 1;
        let is_meant = |name: &str| {
            if pattern.eq_ignore_ascii_case("them") {
                !name.starts_with('_')
            } else {
                matches_name(pattern, name)
            }
        };
        let parts: Vec<Search> = self
            .identifiers
            .iter()
            .filter(|(name, _)| is_meant(name))
            .map(|(_, search)| search.clone())
            .collect();
        if parts.is_empty() {
            Err(format!("no search identifier matches `{pattern}`"))
        } else {
            Ok(parts)
        }
    }
}

/// Returns whether a pattern with `*` matches the name of a search identifier.
fn matches_name(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match name.find(part) {
            Some(at) => name = name.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    name.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asterisks_stand_for_any_characters() {
        for (pattern, name, expected) in [
            ("sel*", "selection", true),
            ("*", "x", true),
            ("*_b", "sel_b", true),
            ("sel*_b", "sel_b", true),
            ("sel*_b", "selb", false),
            ("s*l*_*b", "sel_a_b", true),
            ("a*a", "a", false),
            ("sel", "sel", true),
            ("sel", "sele", false),
            ("*x*", "ab", false),
        ] {
            assert_eq!(matches_name(pattern, name), expected, "{pattern} {name}");
        }
    }
}
