//! Options that decide what is printed; they are the same for every command.

use crate::report::log::{LogFormat, Verbosity};

/// What is printed on standard error, and in which format.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Output options")]
pub struct LogArgs {
    /// Print only warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print debug messages
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Format of the messages on standard error: lines of text, or one JSON object per line
    #[arg(long, global = true, value_name = "text|json", value_enum, default_value_t = LogFormat::Text)]
    #[arg(hide_possible_values = true)]
    pub log_format: LogFormat,
}

impl LogArgs {
    /// Returns which messages are printed.
    pub fn verbosity(self) -> Verbosity {
        match self {
            Self { quiet: true, .. } => Verbosity::Quiet,
            Self { verbose: true, .. } => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }
}
