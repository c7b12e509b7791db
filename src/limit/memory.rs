//! Divides the memory limit of a run (`--memory`) between its stages.
//!
//! Input: the limit, the size of a batch, the number of remote sources and of workers. Output: what each stage may hold.
//! Invariant: the shares add up to the limit, as long as it is enough for the workers: see
//! [`MemoryBudget::required_bytes`].
//! Deliberately absent: reserving and releasing memory. Each stage bounds what it holds by its own queue or semaphore,
//! whose size is its share.
//!
//! | stage | share |
//! |---|---|
//! | fetched | an eighth: log files and event history pages that wait for a worker; nothing without remote sources |
//! | workers | each one a decoder ([`DecoderLimits::retained_bytes`]) and two batches: one is filled, one waits |
//! | outputs | [`OUTPUTS_AHEAD`] batches between the workers and the sink |
//! | requests | the remainder, a batch for each request in flight; at least one |

use super::decoder::DecoderLimits;

/// Batches that wait between the workers and the sink: one that is taken out, and one behind it.
pub const OUTPUTS_AHEAD: usize = 2;

/// Batches that a worker holds: it fills one while the previous one waits for the sink.
const BATCHES_PER_WORKER: u64 = 2;

/// Divisor of the share for fetched bytes. With the default limit and default sizes it is half a mebibyte for each object
/// in flight, twice the usual size of a log file.
const FETCHED_DIVISOR: u64 = 8;

/// Batches that must fit into the limit: one being built, one waiting, one being sent, and room for decompression.
const MIN_BATCHES: u64 = 4;

/// Divisor of the pipeline's share for the longest record: it is held as text and as a document, while the document of
/// another one is still being sent.
const RECORD_DIVISOR: u64 = 4;

/// Divisor of the pipeline's share for all files that are read as a whole, if the limit is too low for the defaults.
const WHOLE_FILES_DIVISOR: u64 = 4;

/// Divisor of the pipeline's share for decompressors and archive members of one input, beyond what each decoder holds;
/// one worker at a time takes it. With the default limit that is enough for `xz -9` (65 MiB), also with remote sources.
const EXTRA_DIVISOR: u64 = 3;

/// Maximum number of bulk requests in flight; more do not make an engine faster.
const MAX_REQUESTS: usize = 8;

/// The memory limit of a run, and how the stages share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    total_bytes: u64,
    batch_bytes: u64,
    remote_sources: u64,
    /// What the decoders of all workers may hold of whole files, as stored and decompressed.
    whole_files_bytes: u64,
}

impl MemoryBudget {
    /// The lowest limit: less would not hold a batch in each stage and a long record.
    pub const MIN_TOTAL_BYTES: u64 = 32 << 20;

    /// Returns the budget of a run with a limit of `total_bytes`, bulk requests of `batch_bytes`, and so many sources
    /// that fetch from a service ahead of the workers.
    pub const fn new(total_bytes: u64, batch_bytes: u64, remote_sources: usize) -> Self {
        let remote_sources = remote_sources as u64;
        Self { total_bytes, batch_bytes, remote_sources, whole_files_bytes: u64::MAX }
    }

    /// Lowers what the decoders of all workers may hold of whole files. Larger files are read in pieces, which takes
    /// more time and less memory.
    #[must_use]
    pub const fn with_whole_files(self, bytes: u64) -> Self {
        Self { whole_files_bytes: bytes, ..self }
    }

    /// Returns the largest batch for a limit of `total_bytes`.
    pub const fn max_batch_bytes(total_bytes: u64) -> u64 {
        total_bytes / MIN_BATCHES
    }

    /// Returns the limit.
    pub const fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Returns the size of a bulk request.
    pub const fn batch_bytes(&self) -> u64 {
        self.batch_bytes
    }

    /// Returns the share of each remote source for what it fetches ahead of the workers; 0 without such a source.
    pub const fn fetched_bytes_per_source(&self) -> u64 {
        match self.remote_sources {
            0 => 0,
            sources => self.fetched_bytes() / sources,
        }
    }

    /// Returns the share of decompression, batches and requests.
    pub const fn pipeline_bytes(&self) -> u64 {
        self.total_bytes - self.fetched_bytes()
    }

    const fn fetched_bytes(&self) -> u64 {
        if self.remote_sources == 0 { 0 } else { self.total_bytes / FETCHED_DIVISOR }
    }

    /// Returns the number of workers that fit into two thirds of the pipeline's share; the last third is left for
    /// outputs and requests. May be 0.
    pub fn affordable_workers(&self) -> usize {
        let workers = self.pipeline_bytes() / 3 * 2 / self.worker_bytes();
        usize::try_from(workers).unwrap_or(usize::MAX)
    }

    /// Returns the bytes that the pipeline holds with so many workers, the usual [`DecoderLimits`], and one request in
    /// flight.
    pub fn required_bytes(&self, workers: usize) -> u64 {
        self.bytes_without_requests(workers).saturating_add(self.batch_bytes)
    }

    /// Returns the decoder limits for each of so many workers: the usual ones if the pipeline's share allows it.
    pub fn decoder_limits(&self, workers: usize) -> DecoderLimits {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let usual = DecoderLimits::DEFAULT;
        let pipeline = self.pipeline_bytes();
        let workers = workers.max(1);
        let max_extra_bytes = usual.max_extra_bytes.min(bytes(pipeline / EXTRA_DIVISOR));
        let max_record_bytes = bytes(pipeline / RECORD_DIVISOR);
        let limits = DecoderLimits {
            max_record_bytes: usual.max_record_bytes.min(max_record_bytes).max(usual.window_bytes),
            max_extra_bytes,
            ..usual
        };
        // A file as stored takes half as much as its text.
        let texts = self.whole_files_bytes / 3 * 2;
        let texts = if self.required_bytes(workers) <= pipeline {
            texts
        } else {
            texts.min(pipeline / WHOLE_FILES_DIVISOR)
        };
        let text_bytes = bytes(texts) / workers;
        let at_most =
            |usual_bytes: usize, bytes: usize| usual_bytes.min(bytes.max(usual.window_bytes));
        DecoderLimits {
            max_unpacked_bytes: at_most(usual.max_unpacked_bytes, text_bytes),
            max_stored_bytes: at_most(usual.max_stored_bytes, text_bytes / 2),
            ..limits
        }
    }

    /// Returns the number of bulk requests in flight that the other stages leave memory for, from 1 to 8.
    pub fn max_requests(&self, workers: usize) -> usize {
        let free = self.pipeline_bytes().saturating_sub(self.bytes_without_requests(workers));
        let requests = free / self.batch_bytes.max(1);
        usize::try_from(requests).unwrap_or(usize::MAX).clamp(1, MAX_REQUESTS)
    }

    const fn worker_bytes(&self) -> u64 {
        DecoderLimits::DEFAULT.retained_bytes() as u64 + BATCHES_PER_WORKER * self.batch_bytes
    }

    fn bytes_without_requests(&self, workers: usize) -> u64 {
        let workers = (workers as u64).saturating_mul(self.worker_bytes());
        workers.saturating_add(OUTPUTS_AHEAD as u64 * self.batch_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// The defaults of `--memory` and `--batch`.
    const LOCAL: MemoryBudget = MemoryBudget::new(256 * MIB, 5 * MIB, 0);

    #[test]
    fn remote_sources_share_an_eighth() {
        assert_eq!(LOCAL.pipeline_bytes(), 256 * MIB);
        assert_eq!(LOCAL.fetched_bytes_per_source(), 0);
        for (sources, share) in [(1, 32 * MIB), (2, 16 * MIB)] {
            let budget = MemoryBudget::new(256 * MIB, 5 * MIB, sources);
            assert_eq!(budget.fetched_bytes_per_source(), share);
            assert_eq!(budget.pipeline_bytes(), 224 * MIB);
        }
    }

    #[test]
    fn workers_leave_a_third_for_requests() {
        // 34 MiB each: 24 for the decoder and 10 for two batches.
        assert_eq!(LOCAL.affordable_workers(), 5);
        assert_eq!(MemoryBudget::new(1 << 30, 5 * MIB, 1).affordable_workers(), 17);
        assert_eq!(MemoryBudget::new(32 * MIB, 5 * MIB, 0).affordable_workers(), 0);
        assert_eq!(LOCAL.required_bytes(8), 287 * MIB);
        let requests = [1, 5, 6, 7, 8, 100].map(|workers| LOCAL.max_requests(workers));
        assert_eq!(requests, [8, 8, 8, 1, 1, 1]);
    }

    #[test]
    fn a_low_limit_lowers_the_decoder_limits() {
        assert_eq!(LOCAL.decoder_limits(5), DecoderLimits::DEFAULT);
        let low = MemoryBudget::new(32 * MIB, 5 * MIB, 0);
        let mib = |bytes: usize| bytes >> 20;
        let sizes = |limits: DecoderLimits| {
            let DecoderLimits { max_record_bytes, max_unpacked_bytes, .. } = limits;
            (mib(max_record_bytes), mib(max_unpacked_bytes), mib(limits.max_stored_bytes))
        };
        assert_eq!(sizes(low.decoder_limits(1)), (8, 8, 4));
        assert_eq!(sizes(low.decoder_limits(4)), (8, 2, 1));
        assert_eq!(sizes(low.decoder_limits(1_000)), (8, 1, 1), "never below the window");
        assert_eq!(mib(low.decoder_limits(1).max_extra_bytes), 10);
        let remote = MemoryBudget::new(256 * MIB, 5 * MIB, 2);
        assert_eq!(mib(remote.decoder_limits(1).max_extra_bytes), 74, "xz -9 takes 65");
    }

    #[test]
    fn whole_files_of_all_workers_are_bounded() {
        let budget = LOCAL.with_whole_files(48 * MIB);
        for workers in [1, 2, 3, 5, 16] {
            let limits = budget.decoder_limits(workers);
            assert!(limits.retained_bytes() * workers <= 48 << 20, "{workers}");
            assert_eq!(limits.max_record_bytes, LOCAL.decoder_limits(workers).max_record_bytes);
        }
        assert_eq!(budget.decoder_limits(2), DecoderLimits::DEFAULT);
    }

    proptest! {
        #[test]
        fn the_shares_never_exceed_the_limit(
            total in MemoryBudget::MIN_TOTAL_BYTES..1 << 42,
            batch_divisor in MIN_BATCHES..10_000,
            sources in 0_usize..3,
        ) {
            let budget = MemoryBudget::new(total, total / batch_divisor, sources);
            let workers = budget.affordable_workers();
            let fetched = budget.fetched_bytes_per_source() * sources as u64;
            prop_assert!(fetched + budget.pipeline_bytes() <= total);
            // Two thirds for the workers leave room for the outputs and a request, unless a batch is very large.
            if workers > 0 && budget.required_bytes(workers) <= budget.pipeline_bytes() {
                let requests = budget.max_requests(workers) as u64 * budget.batch_bytes();
                let without = budget.required_bytes(workers) - budget.batch_bytes();
                prop_assert!(fetched + without + requests <= total);
            }
        }
    }
}
