//! Tests of single fields, of which a condition requires one to pass.
//!
//! Input: what a condition of a rule says about its fields. Output: plain data, which an index of rules is built from.
//! Invariant: a condition is not true on an event on which none of its tests passes and none is undecided.
//! Not here: which tests a condition requires (see [`jmespath`](super::jmespath) and [`sigma`](super::sigma)), and the index
//! (see [`rule`](super::rule)).

/// Names of members and positions in arrays, from the event down to a value.
pub type FieldPath = Vec<PathStep>;

/// A step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathStep {
    /// A member of an object.
    Member(String),
    /// An element of an array.
    Element(usize),
}

/// A test of the field at a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldTest {
    /// Where the field is.
    pub path: FieldPath,
    /// The test of a field that is text.
    pub test: TextTest,
    /// What a field that is null or missing means.
    pub on_null: OnNull,
    /// What a field that is neither null nor text means.
    pub on_other: OnOther,
}

/// A test of text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TextTest {
    /// Every text passes.
    Any,
    /// No text passes; the test is there for other values.
    Never,
    /// The text is this one.
    Equals(TextOperand),
    /// The text contains this one.
    Contains(TextOperand),
    /// The text starts with this one.
    StartsWith(TextOperand),
    /// The text ends with this one.
    EndsWith(TextOperand),
}

/// What a text is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TextOperand {
    /// The text; in small letters if case is ignored.
    pub text: String,
    /// How letters are compared.
    pub case: Case,
}

/// How letters are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// Capital and small letters are the same.
    Ignored,
    /// They differ.
    Respected,
}

/// What a field that is null or missing means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnNull {
    /// The test does not pass.
    Rejected,
    /// The evaluation of the whole condition fails, whatever other fields are.
    Fails,
    /// Only an evaluation tells.
    Undecided,
}

/// What a field that is neither null nor text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnOther {
    /// The test does not pass.
    Rejected,
    /// Only an evaluation tells.
    Undecided,
}

/// Tests of which one has to pass, or to be undecided, for a condition to be true.
pub type Requirement = Vec<FieldTest>;

impl FieldTest {
    /// Creates a test that every value passes but null.
    pub fn present(path: FieldPath) -> Self {
        Self { path, test: TextTest::Any, on_null: OnNull::Rejected, on_other: OnOther::Undecided }
    }
}

/// Returns text in small letters, one character after the other. `str::to_lowercase` depends on the neighbours of a `Σ`.
pub fn lowercase(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}
