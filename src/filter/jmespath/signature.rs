//! The functions of JMESPath, their arguments and results.
//!
//! Input: a name. Output: the function, how many arguments it takes, and of which kinds.
//! Invariant: the table is complete: the functions of the JMESPath specification, and `split`, `parse_json` and `to_json`
//! of GorillaStack's dialect.
//! Not here: what the functions do (see [`functions`](super::functions)).

use super::node::{Kind, Node};

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    Avg,
    Ceil,
    Contains,
    EndsWith,
    Floor,
    Join,
    Keys,
    Length,
    Map,
    Max,
    MaxBy,
    Merge,
    Min,
    MinBy,
    NotNull,
    ParseJson,
    Reverse,
    Sort,
    SortBy,
    Split,
    StartsWith,
    Sum,
    ToArray,
    ToJson,
    ToNumber,
    ToString,
    Type,
    Values,
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NULL: Self = Self::of(Kind::Null);
    pub(super) const BOOLEAN: Self = Self::of(Kind::Boolean);
    pub(super) const NUMBER: Self = Self::of(Kind::Number);
    pub(super) const STRING: Self = Self::of(Kind::String);
    pub(super) const ARRAY: Self = Self::of(Kind::Array);
    pub(super) const OBJECT: Self = Self::of(Kind::Object);
    pub(super) const ANY: Self = Self(0b11_1111);

    pub(super) const fn of(kind: Kind) -> Self {
        Self(1 << kind as u8)
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether the sets have a kind in common.
    pub(super) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the names of the kinds, such as `string or array`.
    pub(super) fn names(self) -> String {
        let names: Vec<&str> =
            [Kind::Null, Kind::Boolean, Kind::Number, Kind::String, Kind::Array, Kind::Object]
                .into_iter()
                .filter(|kind| self.intersects(Self::of(*kind)))
                .map(Kind::name)
                .collect();
        names.join(" or ")
    }
}

/// What a function takes as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    /// A value of one of these kinds.
    Value(Kinds),
    /// An array whose elements are all of one of these kinds.
    ArrayOf(Kinds),
    /// A reference to an expression: `&name`.
    Reference,
}

impl Parameter {
    /// Returns whether a value can be passed.
    pub(super) fn accepts(self, node: &Node<'_>) -> bool {
        match self {
            Self::Value(kinds) => kinds.intersects(Kinds::of(node.kind())),
            Self::ArrayOf(kinds) => {
                let Some(elements) = node.as_elements() else { return false };
                let Some(first) = elements.get(0) else { return true };
                let kind = first.kind();
                kinds.intersects(Kinds::of(kind))
                    && elements.iter().all(|element| element.kind() == kind)
            }
            Self::Reference => false,
        }
    }

    /// Returns the kinds of values that can be passed.
    pub(super) fn kinds(self) -> Kinds {
        match self {
            Self::Value(kinds) => kinds,
            Self::ArrayOf(_) => Kinds::ARRAY,
            Self::Reference => Kinds(0),
        }
    }

    /// Returns a description of what can be passed.
    pub(super) fn description(self) -> String {
        match self {
            Self::Value(kinds) => kinds.names(),
            Self::ArrayOf(kinds) => format!("array of {}", kinds.names()),
            Self::Reference => "reference such as &name".to_owned(),
        }
    }
}

/// How a function is called.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) function: Function,
    pub(super) required: &'static [Parameter],
    pub(super) more: More,
    /// The kinds of its results.
    pub(super) returns: Kinds,
}

/// Arguments behind those that are required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    None,
    /// One more is optional.
    Optional(Parameter),
    /// Any number.
    Any(Parameter),
}

impl Signature {
    /// Returns the function with a name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        SIGNATURES.iter().find(|signature| signature.name == name)
    }

    /// Returns the signature of a function.
    pub(super) fn of(function: Function) -> &'static Self {
        // The table has every function; a test checks it.
        SIGNATURES.iter().find(|signature| signature.function == function).unwrap_or(&SIGNATURES[0])
    }

    /// Returns the parameter at a position, from 0.
    pub(super) fn parameter(&self, position: usize) -> Option<Parameter> {
        self.required.get(position).copied().or(match self.more {
            More::Optional(parameter) if position == self.required.len() => Some(parameter),
            More::Any(parameter) => Some(parameter),
            _ => None,
        })
    }

    /// Returns whether the function can be called with this number of arguments.
    pub(super) fn accepts_count(&self, count: usize) -> bool {
        count >= self.required.len() && (count == 0 || self.parameter(count - 1).is_some())
    }

    /// Returns how many arguments the function takes, such as `1 argument`.
    pub(super) fn count_description(&self) -> String {
        let required = self.required.len();
        match self.more {
            More::None if required == 1 => "1 argument".to_owned(),
            More::None => format!("{required} arguments"),
            More::Optional(_) => format!("{required} or {} arguments", required + 1),
            More::Any(_) => {
                format!("at least {required} argument{}", if required == 1 { "" } else { "s" })
            }
        }
    }
}

const ANY: Parameter = Parameter::Value(Kinds::ANY);
const ARRAY: Parameter = Parameter::Value(Kinds::ARRAY);
const NUMBER: Parameter = Parameter::Value(Kinds::NUMBER);
const OBJECT: Parameter = Parameter::Value(Kinds::OBJECT);
const STRING: Parameter = Parameter::Value(Kinds::STRING);
const NUMBERS: Parameter = Parameter::ArrayOf(Kinds::NUMBER);
const STRINGS: Parameter = Parameter::ArrayOf(Kinds::STRING);
const COMPARABLE: Parameter = Parameter::ArrayOf(Kinds::NUMBER.or(Kinds::STRING));
const TEXT_OR_ARRAY: Parameter = Parameter::Value(Kinds::STRING.or(Kinds::ARRAY));
const SIZED: Parameter = Parameter::Value(Kinds::STRING.or(Kinds::ARRAY).or(Kinds::OBJECT));
const REFERENCE: Parameter = Parameter::Reference;

/// A function with a fixed number of arguments.
const fn fixed(
    name: &'static str,
    function: Function,
    required: &'static [Parameter],
    returns: Kinds,
) -> Signature {
    Signature { name, function, required, more: More::None, returns }
}

impl Signature {
    const fn with_more(self, more: More) -> Self {
        Self { more, ..self }
    }
}

/// All functions, by name.
pub(super) static SIGNATURES: [Signature; 29] = [
    fixed("abs", Function::Abs, &[NUMBER], Kinds::NUMBER),
    fixed("avg", Function::Avg, &[NUMBERS], Kinds::NUMBER.or(Kinds::NULL)),
    fixed("ceil", Function::Ceil, &[NUMBER], Kinds::NUMBER),
    fixed("contains", Function::Contains, &[TEXT_OR_ARRAY, ANY], Kinds::BOOLEAN),
    fixed("ends_with", Function::EndsWith, &[STRING, STRING], Kinds::BOOLEAN),
    fixed("floor", Function::Floor, &[NUMBER], Kinds::NUMBER),
    fixed("join", Function::Join, &[STRING, STRINGS], Kinds::STRING),
    fixed("keys", Function::Keys, &[OBJECT], Kinds::ARRAY),
    fixed("length", Function::Length, &[SIZED], Kinds::NUMBER),
    fixed("map", Function::Map, &[REFERENCE, ARRAY], Kinds::ARRAY),
    fixed("max", Function::Max, &[COMPARABLE], Kinds::NUMBER.or(Kinds::STRING).or(Kinds::NULL)),
    fixed("max_by", Function::MaxBy, &[ARRAY, REFERENCE], Kinds::ANY),
    fixed("merge", Function::Merge, &[OBJECT], Kinds::OBJECT).with_more(More::Any(OBJECT)),
    fixed("min", Function::Min, &[COMPARABLE], Kinds::NUMBER.or(Kinds::STRING).or(Kinds::NULL)),
    fixed("min_by", Function::MinBy, &[ARRAY, REFERENCE], Kinds::ANY),
    fixed("not_null", Function::NotNull, &[ANY], Kinds::ANY).with_more(More::Any(ANY)),
    fixed("parse_json", Function::ParseJson, &[STRING], Kinds::ANY),
    fixed("reverse", Function::Reverse, &[TEXT_OR_ARRAY], Kinds::STRING.or(Kinds::ARRAY)),
    fixed("sort", Function::Sort, &[COMPARABLE], Kinds::ARRAY),
    fixed("sort_by", Function::SortBy, &[ARRAY, REFERENCE], Kinds::ARRAY),
    fixed("split", Function::Split, &[STRING, STRING], Kinds::ARRAY)
        .with_more(More::Optional(NUMBER)),
    fixed("starts_with", Function::StartsWith, &[STRING, STRING], Kinds::BOOLEAN),
    fixed("sum", Function::Sum, &[NUMBERS], Kinds::NUMBER),
    fixed("to_array", Function::ToArray, &[ANY], Kinds::ARRAY),
    fixed("to_json", Function::ToJson, &[ANY], Kinds::STRING),
    fixed("to_number", Function::ToNumber, &[ANY], Kinds::NUMBER.or(Kinds::NULL)),
    fixed("to_string", Function::ToString, &[ANY], Kinds::STRING),
    fixed("type", Function::Type, &[ANY], Kinds::STRING),
    fixed("values", Function::Values, &[OBJECT], Kinds::ARRAY),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_one_signature() {
        for signature in &SIGNATURES {
            assert!(
                std::ptr::eq(Signature::of(signature.function), signature),
                "{}",
                signature.name
            );
        }
        assert!(SIGNATURES.is_sorted_by_key(|signature| signature.name));
        assert_eq!(
            SIGNATURES.len(),
            Function::Values as usize + 1,
            "the last function of the enum"
        );
    }

    #[test]
    fn optional_arguments_may_be_left_out() {
        let split = Signature::of(Function::Split);
        assert!(
            !split.accepts_count(1)
                && split.accepts_count(2)
                && split.accepts_count(3)
                && !split.accepts_count(4)
        );
        assert_eq!(split.count_description(), "2 or 3 arguments");
        let merge = Signature::of(Function::Merge);
        assert!(!merge.accepts_count(0) && merge.accepts_count(1) && merge.accepts_count(9));
    }
}
