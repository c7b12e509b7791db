//! What may be chosen from a list, in the words of the command line.
//!
//! The choices are the normalizer's; only their names on the command line are decided here.

use clap::{ValueEnum, builder::PossibleValue};

use crate::normalize::{IndexBy, Profile};

impl ValueEnum for IndexBy {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Month, Self::Day, Self::Year, Self::None]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Month => PossibleValue::new("month").help("PREFIX-YYYY.MM"),
            Self::Day => PossibleValue::new("day").help("PREFIX-YYYY.MM.DD"),
            Self::Year => PossibleValue::new("year").help("PREFIX-YYYY"),
            Self::None => PossibleValue::new("none").help("PREFIX"),
        })
    }
}

impl ValueEnum for Profile {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Lean, Self::Standard]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Lean => PossibleValue::new("lean").help("No request and response details"),
            Self::Standard => PossibleValue::new("standard").help("Every field that fits"),
        })
    }
}
