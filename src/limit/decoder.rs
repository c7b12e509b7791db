//! The limits that bound the memory of a decoder.
//!
//! Input: the memory limit of the run, which [`MemoryBudget`](super::MemoryBudget) divides. Output: [`DecoderLimits`].
//! Deliberately absent: the decoder that keeps them (see `source`).

/// Limits on the memory of one [`Decoder`](crate::source::Decoder). Each worker has a decoder.
///
/// Between inputs, and for usual files, a decoder holds at most [`Self::retained_bytes`]. Two things take more: a record longer than the
/// window, and an archive or compressed file that needs large buffers. Before either, the decoder asks its
/// [`RecordHandler`](crate::source::RecordHandler), which makes workers take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderLimits {
    /// Initial size of the window that larger texts are read through.
    pub window_bytes: usize,
    /// The longest record that is read. The window grows up to this size for one.
    pub max_record_bytes: usize,
    /// Files up to this size, as stored, are read into memory as a whole; also the members of archives.
    pub max_stored_bytes: usize,
    /// Such files are decompressed as a whole up to this size.
    pub max_unpacked_bytes: usize,
    /// Memory beyond that for decompressors and members of archives of one input, in total. An input that needs more
    /// fails.
    pub max_extra_bytes: usize,
}

impl DecoderLimits {
    /// The limits with the default `--memory`. Log files of a trail are far smaller, stored and decompressed; `xz -9`
    /// takes 65 MiB.
    pub const DEFAULT: Self = Self {
        window_bytes: 1 << 20,
        max_record_bytes: 32 << 20,
        max_stored_bytes: 8 << 20,
        max_unpacked_bytes: 16 << 20,
        max_extra_bytes: 80 << 20,
    };

    /// Returns the number of bytes that a decoder holds at most between inputs, and while it reads usual files.
    pub const fn retained_bytes(&self) -> usize {
        self.max_stored_bytes + self.text_buffer_bytes()
    }

    /// Returns how much of the buffer for text is not used when a text is read through a window.
    pub const fn unused_text_buffer_bytes(&self) -> u64 {
        (self.text_buffer_bytes() - self.window_bytes) as u64
    }

    /// Returns the size of the buffer for text: a whole file, or the window.
    pub const fn text_buffer_bytes(&self) -> usize {
        if self.max_unpacked_bytes > self.window_bytes {
            self.max_unpacked_bytes
        } else {
            self.window_bytes
        }
    }
}

impl Default for DecoderLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
