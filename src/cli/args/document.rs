//! Options that decide what a document holds and which index it goes to.
//!
//! The choices are the normalizer's; this module gives them their names on the command line.

use std::path::PathBuf;

use clap::{ValueEnum, builder::PossibleValue};

use crate::normalize::{FieldProfile, IndexBy};

/// Fields of one index. Engines allow 1,000 by default; the index template raises the limit to this.
pub const DEFAULT_MAX_FIELDS: u32 = 5_000;

/// What a document holds.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Document options")]
pub struct DocumentArgs {
    /// Map all fields that fit (standard), or omit request and response details (lean)
    #[arg(
        long,
        value_name = "lean|standard",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub fields: FieldProfile,
    /// Map at most this many fields; further fields are searchable only through trailload.unmapped
    #[arg(long, value_name = "FIELDS", default_value_t = DEFAULT_MAX_FIELDS)]
    pub max_fields: u32,
    /// Keep the original record in each document, as text that is not indexed
    #[arg(long)]
    pub keep_original: bool,
    /// Read the field rules and field kinds from this folder instead of using the built-in ones
    #[arg(long, value_name = "DIR")]
    pub mappings: Option<PathBuf>,
}

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

impl ValueEnum for FieldProfile {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Lean, Self::Standard]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Lean => PossibleValue::new("lean").help("Without request and response details"),
            Self::Standard => PossibleValue::new("standard").help("All fields that fit"),
        })
    }
}
