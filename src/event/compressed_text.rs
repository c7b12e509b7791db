//! Compression of documents and records that are stored in the checkpoint.
//!
//! Input: text, whole or in parts. Output: zstd frames of a tenth to a twentieth of its size.
//! Invariant: [`CompressedText::decompress`] returns the text byte for byte.

use std::io::{self, Write as _};

use zstd::stream::write::Encoder;

/// Compression level 1: JSON shrinks to a tenth of its size at several hundred megabytes per second.
const LEVEL: i32 = 1;

/// Magic number of a zstd frame (RFC 8878). No JSON text starts with these bytes.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A compressed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressedText(Vec<u8>);

impl CompressedText {
    /// Compresses `text`.
    pub fn new(text: &[u8]) -> Self {
        // Compression in memory does not fail; if it did, the uncompressed text would be a valid value too.
        Self(zstd::bulk::compress(text, LEVEL).unwrap_or_else(|_| text.to_vec()))
    }

    /// Creates the value from the bytes that [`as_bytes`](Self::as_bytes) returned.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the compressed bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the uncompressed text.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are damaged.
    pub fn decompress(&self) -> io::Result<Vec<u8>> {
        if self.0.starts_with(&MAGIC) { zstd::decode_all(&self.0[..]) } else { Ok(self.0.clone()) }
    }
}

/// Compresses a text that arrives in parts, unless the result exceeds a limit.
pub struct BoundedCompressor {
    /// `None` once the result exceeded the limit.
    encoder: Option<Encoder<'static, Vec<u8>>>,
    /// Bytes of the largest result.
    limit: usize,
}

impl BoundedCompressor {
    /// Creates a compressor whose result may have at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { encoder: Encoder::new(Vec::new(), LEVEL).ok(), limit }
    }

    /// Appends a part of the text.
    pub fn add(&mut self, part: &[u8]) {
        let Some(encoder) = &mut self.encoder else { return };
        if encoder.write_all(part).is_err() || encoder.get_ref().len() > self.limit {
            self.encoder = None;
        }
    }

    /// Returns the compressed text, or `None` if it exceeds the limit.
    pub fn finish(self) -> Option<CompressedText> {
        let bytes = self.encoder?.finish().ok()?;
        (bytes.len() <= self.limit).then_some(CompressedText(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(parts: &[Vec<u8>], most: usize) -> Option<CompressedText> {
        let mut packer = BoundedCompressor::new(most);
        for part in parts {
            packer.add(part);
        }
        packer.finish()
    }

    proptest! {
        #[test]
        fn a_text_comes_back_however_it_was_packed(parts: Vec<Vec<u8>>) {
            let text = parts.concat();
            prop_assume!(!text.starts_with(&MAGIC));
            prop_assert_eq!(&CompressedText::new(&text).decompress().unwrap(), &text);
            prop_assert_eq!(&packed(&parts, usize::MAX).unwrap().decompress().unwrap(), &text);
            prop_assert_eq!(&CompressedText::from_bytes(text.clone()).decompress().unwrap(), &text);
        }
    }

    #[test]
    fn json_becomes_small() {
        let text = br#"{"eventName":"RunInstances","awsRegion":"eu-west-1"},"#.repeat(1_000);
        assert!(CompressedText::new(&text).as_bytes().len() < text.len() / 10);
    }

    #[test]
    fn what_does_not_become_small_is_not_kept() {
        let noise: Vec<u8> = (0..100_000).map(|_| fastrand::u8(..)).collect();
        assert_eq!(packed(&[noise.clone(), noise.clone()], 50_000), None);
        assert_eq!(
            packed(&[vec![b'x'; 1 << 20]], 50_000).unwrap().decompress().unwrap().len(),
            1 << 20
        );
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let mut bytes = CompressedText::new(&[b'x'; 1_000]).0;
        bytes.truncate(bytes.len() - 1);
        assert!(CompressedText::from_bytes(bytes).decompress().is_err());
    }
}
