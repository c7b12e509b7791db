//! The embedded shape table: `mappings/shapes.zst`, which `scripts/derive-shapes` writes.
//!
//! The file is a sequence of zstd frames: an index, then blocks that hold the text of several services each. An answer
//! decompresses the index and one block, which takes a few milliseconds.
//!
//! The index starts with the line `trailload-shapes 1 SOURCES`. A line per service follows: its names, the numbers of its
//! block and the length of its text there, and the names of its operations.
//!
//! Invariant: blocks are decompressed at most once, and texts borrow from them.

use std::sync::OnceLock;

use zstd::zstd_safe;

use super::{
    model::{Protocol, Service, ServiceInfo, Text},
    text::{self, FIELD, PART, Parts},
};

/// Start of the first line of the index; the sources of the table follow.
const FORMAT: &str = "trailload-shapes 1";

/// The file.
static FILE: &[u8] = include_bytes!("../../mappings/shapes.zst");

/// Bytes of text per block. A larger block compresses better and takes longer to decompress.
const BLOCK: usize = 400_000;

/// zstd level: the file is written once and read for every answer.
const LEVEL: i32 = 22;

/// Uncompressed length of a frame at most; the largest has 2 MB.
const FRAME_LIMIT: usize = 32 << 20;

/// A damaged table, which the tests of the project rule out for the embedded one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the embedded shape table is invalid: {0}")]
pub struct TableError(String);

/// A service in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Names and protocol.
    pub info: ServiceInfo,
    /// The names of its operations, in the order of the model.
    pub operations: Vec<&'static str>,
    place: Place,
}

/// Where the text of a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    block: usize,
    /// Offset in the block.
    start: usize,
    length: usize,
}

/// The index of the table: which services and operations there are.
#[derive(Debug)]
pub struct Table {
    /// The releases that the table was made from.
    pub sources: &'static str,
    /// The services, sorted by id.
    pub services: Vec<IndexEntry>,
    frames: Vec<&'static [u8]>,
}

/// The decompressed frames of [`FILE`].
static TEXTS: [OnceLock<Option<String>>; 64] = [const { OnceLock::new() }; 64];

impl Table {
    /// Returns the embedded table.
    ///
    /// # Errors
    ///
    /// Returns [`TableError`] if the embedded file is damaged.
    pub fn embedded() -> Result<&'static Self, TableError> {
        static TABLE: OnceLock<Result<Table, TableError>> = OnceLock::new();
        TABLE.get_or_init(Self::read).as_ref().map_err(TableError::clone)
    }

    fn read() -> Result<Self, TableError> {
        let frames = frames(FILE).ok_or_else(|| TableError("a frame is cut".to_owned()))?;
        if frames.len() > TEXTS.len() {
            return Err(TableError(format!("it has {} frames", frames.len())));
        }
        let index = frame_text(&frames, 0)?;
        let (head, lines) = index.split_once('\n').unwrap_or_default();
        let sources = head
            .strip_prefix(FORMAT)
            .filter(|sources| sources.starts_with(' '))
            .ok_or_else(|| TableError(format!("it does not start with `{FORMAT}`")))?;
        let services: Option<Vec<IndexEntry>> = lines.lines().map(index_entry).collect();
        let services = services.ok_or_else(|| TableError("a line of its index".to_owned()))?;
        Ok(Self { sources: sources.trim(), services, frames })
    }

    /// Returns the entry of the service with this id.
    pub fn entry(&self, id: &str) -> Option<&IndexEntry> {
        let found = self.services.binary_search_by(|entry| entry.info.id.as_ref().cmp(id));
        found.ok().map(|at| &self.services[at])
    }

    /// Returns a service with its shapes.
    ///
    /// # Errors
    ///
    /// Returns [`TableError`] if its block is damaged.
    pub fn service(&self, entry: &IndexEntry) -> Result<Service, TableError> {
        let text = self.text(entry)?;
        text::parse(entry.info.clone(), text)
            .map_err(|line| TableError(format!("line {line} of {}", entry.info.id)))
    }

    /// Returns the text of a service, in which a search may look for a word before the service is parsed.
    pub(super) fn text(&self, entry: &IndexEntry) -> Result<&'static str, TableError> {
        let Place { block, start, length } = entry.place;
        frame_text(&self.frames, block + 1)?
            .get(start..start + length)
            .ok_or_else(|| TableError(format!("the place of {}", entry.info.id)))
    }
}

fn frame_text(frames: &[&[u8]], number: usize) -> Result<&'static str, TableError> {
    let missing = || TableError(format!("frame {number}"));
    let frame = frames.get(number).ok_or_else(missing)?;
    let decompress = || {
        let length = zstd_safe::get_frame_content_size(frame).ok().flatten()?;
        let length = usize::try_from(length).ok().filter(|length| *length <= FRAME_LIMIT)?;
        String::from_utf8(zstd::bulk::decompress(frame, length).ok()?).ok()
    };
    TEXTS[number].get_or_init(decompress).as_deref().ok_or_else(missing)
}

/// Splits a file into its frames.
fn frames(mut file: &'static [u8]) -> Option<Vec<&'static [u8]>> {
    let mut frames = Vec::new();
    while !file.is_empty() {
        let (frame, rest) =
            file.split_at_checked(zstd_safe::find_frame_compressed_size(file).ok()?)?;
        frames.push(frame);
        file = rest;
    }
    Some(frames)
}

fn index_entry(line: &'static str) -> Option<IndexEntry> {
    let mut fields = Parts::new(line, FIELD);
    let mut field = || fields.next();
    let info = ServiceInfo {
        id: Text::Borrowed(field()?),
        event_source: Text::Borrowed(field()?),
        endpoint_prefix: Text::Borrowed(field()?),
        signing_name: Text::Borrowed(field()?),
        service_id: Text::Borrowed(field()?),
        protocol: Protocol::from_name(field()?),
        api_version: Text::Borrowed(field()?),
    };
    let mut number = || field()?.parse().ok();
    let place = Place { block: number()?, start: number()?, length: number()? };
    let operations = Parts::new(field()?, PART).filter(|name| !name.is_empty()).collect();
    Some(IndexEntry { info, operations, place })
}

/// Returns the uncompressed frames of a table of these services, which are sorted by id.
pub fn render(services: &[Service], sources: &str) -> Vec<String> {
    let mut index = format!("{FORMAT} {sources}\n");
    let mut blocks = vec![String::new()];
    for service in services {
        if blocks.last().is_some_and(|block| block.len() > BLOCK) {
            blocks.push(String::new());
        }
        let number = (blocks.len() - 1).to_string();
        let Some(block) = blocks.last_mut() else { continue };
        let start = block.len();
        block.push_str(&text::render(service));
        let info = &service.info;
        let names: Vec<&str> = service.operations.iter().map(|one| one.name.as_ref()).collect();
        let fields = [
            &info.id,
            &info.event_source,
            &info.endpoint_prefix,
            &info.signing_name,
            &info.service_id,
            info.protocol.name(),
            &info.api_version,
            &number,
            &start.to_string(),
            &(block.len() - start).to_string(),
            &names.join(&PART.to_string()),
        ];
        index.push_str(&fields.join(&FIELD.to_string()));
        index.push('\n');
    }
    blocks.insert(0, index);
    blocks
}

/// Compresses the frames of a table.
///
/// # Errors
///
/// Returns the error of zstd.
pub fn compress(frames: &[String]) -> std::io::Result<Vec<u8>> {
    let mut file = Vec::new();
    for frame in frames {
        file.extend(zstd::bulk::compress(frame.as_bytes(), LEVEL)?);
    }
    Ok(file)
}

/// Returns the uncompressed frames of the embedded table, for comparison: the compressed bytes depend on the release of
/// zstd.
///
/// # Errors
///
/// Returns [`TableError`] if the table is damaged.
pub fn embedded_frames() -> Result<Vec<&'static str>, TableError> {
    let frames = frames(FILE).ok_or_else(|| TableError("a frame is cut".to_owned()))?;
    (0..frames.len()).map(|number| frame_text(&frames, number)).collect()
}
