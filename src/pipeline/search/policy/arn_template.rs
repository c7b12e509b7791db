//! ARN formats with variables, such as `arn:${Partition}:s3:::${BucketName}`.
//!
//! Input: a format; ARNs, or the values of variables. Output: whether an ARN has the format; the ARN with these values.
//! Invariant: a value is never read as a pattern: `*`, `?` and `$` in it are escaped as IAM requires.

/// A part of an ARN format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    Literal(&'a str),
    Variable(&'a str),
}

/// An ARN format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ArnTemplate<'a> {
    parts: Vec<Part<'a>>,
}

impl<'a> ArnTemplate<'a> {
    pub(super) fn new(mut text: &'a str) -> Self {
        let mut parts = Vec::new();
        while let Some((before, behind)) = text.split_once("${") {
            if !before.is_empty() {
                parts.push(Part::Literal(before));
            }
            let (name, rest) = behind.split_once('}').unwrap_or((behind, ""));
            parts.push(Part::Variable(name));
            text = rest;
        }
        if !text.is_empty() {
            parts.push(Part::Literal(text));
        }
        Self { parts }
    }

    /// Returns the names of the variables.
    pub(super) fn variables(&self) -> impl Iterator<Item = &'a str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(*name),
            Part::Literal(_) => None,
        })
    }

    /// Returns the ARN with the values of the variables; `None` stands for a value that is not known.
    pub(super) fn fill(&self, value: impl Fn(&str) -> Option<String>) -> String {
        let part = |part: &Part<'_>| match part {
            Part::Literal(text) => (*text).to_owned(),
            Part::Variable(name) => value(name).unwrap_or_else(|| "*".to_owned()),
        };
        self.parts.iter().map(part).collect()
    }

    /// Returns whether an ARN has this format.
    pub(super) fn matches(&self, arn: &str) -> bool {
        matches_parts(&self.parts, arn)
    }
}

/// Matches the first part, then the others. A variable takes one component of an ARN; the last one may take several, but
/// for the name of a bucket.
fn matches_parts(parts: &[Part<'_>], text: &str) -> bool {
    match parts {
        [] => text.is_empty(),
        [Part::Literal(literal), rest @ ..] => {
            text.strip_prefix(literal).is_some_and(|text| matches_parts(rest, text))
        }
        [Part::Variable(name)] => {
            !text.is_empty() && (*name != "BucketName" || !text.contains('/'))
        }
        [Part::Variable(name), rest @ ..] => {
            // Region and account are empty in the ARNs of global resources.
            let least = usize::from(!matches!(*name, "Region" | "Account"));
            let component = text.find(['/', ':']).unwrap_or(text.len());
            component >= least && matches_parts(rest, &text[component..])
        }
    }
}

/// Returns a text as IAM has to write it so that it stands for itself.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '*' | '?' | '$' => escaped.extend(["${", char.encode_utf8(&mut [0; 4]), "}"]),
            char => escaped.push(char),
        }
    }
    escaped
}
