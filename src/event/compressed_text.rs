//! What is kept of a document that is set aside, so that it can be sent again.
//!
//! In: text. Out: zstd frames of a tenth to a twentieth of its size.
//! Holds: what [`Packed::unpack`] returns is the text that was packed, to the byte.

use std::io::{self, Write as _};

use zstd::stream::write::Encoder;

/// Compression level: JSON shrinks to a tenth at several hundred megabytes a second.
const LEVEL: i32 = 1;

/// First bytes of a zstd frame (RFC 8878). No JSON text begins like that.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What is kept of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterContent {
    /// The document, as it was sent first.
    Document(CompressedText),
    /// The record as it stands in its source. It did not become a document.
    Record {
        /// The record, unless it is larger than what is kept.
        content: Option<CompressedText>,
        /// Where it begins in the source, unpacked.
        offset: u64,
        /// How long it is.
        bytes: u64,
    },
}

impl DeadLetterContent {
    /// Returns how many bytes it takes.
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Document(content) | Self::Record { content: Some(content), .. } => {
                content.0.len()
            }
            Self::Record { content: None, .. } => 0,
        }
    }
}

/// A text that is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressedText(Vec<u8>);

impl CompressedText {
    /// Compresses a text.
    pub fn new(text: &[u8]) -> Self {
        // Compressing memory to memory does not fail; if it did, the text itself is as good.
        Self(zstd::bulk::compress(text, LEVEL).unwrap_or_else(|_| text.to_vec()))
    }

    /// Takes what [`as_bytes`](Self::as_bytes) returned.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the compressed bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the text.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are damaged.
    pub fn decompress(&self) -> io::Result<Vec<u8>> {
        if self.0.starts_with(&MAGIC) { zstd::decode_all(&self.0[..]) } else { Ok(self.0.clone()) }
    }
}

/// Compresses a text that comes in parts, as long as the result is small.
pub struct BoundedCompressor {
    /// Nothing once the result is too large.
    encoder: Option<Encoder<'static, Vec<u8>>>,
    most: usize,
}

impl BoundedCompressor {
    /// Starts with nothing; `most` is the size in bytes, compressed, beyond which nothing is kept.
    pub fn new(most: usize) -> Self {
        Self { encoder: Encoder::new(Vec::new(), LEVEL).ok(), most }
    }

    /// Adds a part.
    pub fn add(&mut self, part: &[u8]) {
        let Some(encoder) = &mut self.encoder else { return };
        if encoder.write_all(part).is_err() || encoder.get_ref().len() > self.most {
            self.encoder = None;
        }
    }

    /// Returns the text, or nothing if it is too large.
    pub fn finish(self) -> Option<CompressedText> {
        let bytes = self.encoder?.finish().ok()?;
        (bytes.len() <= self.most).then_some(CompressedText(bytes))
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
