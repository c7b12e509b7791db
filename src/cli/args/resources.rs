//! Options that limit memory, threads and the size of bulk requests.

use super::size::ByteCount;

/// Memory for all stages together: little for a server, and enough for the largest log file.
const DEFAULT_MEMORY: ByteCount = ByteCount::mebibytes(256);

/// Body of one bulk request. Engines gain nothing beyond a few MiB, and a rejected request is sent again.
const DEFAULT_BATCH: ByteCount = ByteCount::mebibytes(5);

/// No machine gains from more threads.
const MAX_WORKERS: i64 = 256;

/// What a load may use.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Performance options")]
pub struct ResourceArgs {
    /// Memory limit for all stages together
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MEMORY)]
    pub memory: ByteCount,
    /// Number of threads that decompress and normalize [default: one per processor, or half as many
    /// if the engine runs on this machine]
    #[arg(
        long,
        value_name = "THREADS",
        value_parser = clap::value_parser!(u16).range(1..=MAX_WORKERS)
    )]
    pub workers: Option<u16>,
    /// Target size of a bulk request, from 4KiB to 90MiB and at most a quarter of --memory
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_BATCH)]
    pub batch: ByteCount,
}
