//! Goes through the files of an archive: tar and zip.
//!
//! In: an archive, as [`InputReader`] meets it. Out: what there was in its files, as one [`Decoded`], in which the file is named.
//! Holds: one file at a time is read, through the same buffers as any other; no list of files is kept. What is broken in
//! one file costs only that; what the archive says about sizes is compared with what it has. Files that lie over each
//! other, or that give far more than they take, are bombs and are left.
//! Absent on purpose: links and devices, folders, and what systems add for themselves (`__MACOSX`).

use std::{
    cell::Cell,
    fs::File,
    io::{self, BufReader, Cursor, ErrorKind, Read},
    mem,
    os::unix::fs::FileExt,
    rc::Rc,
};

use flate2::bufread::DeflateDecoder;
use rawzip::{
    CompressionMethod, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ReaderAt, ZipArchive,
    ZipFileHeaderRecord, ZipLocator,
};

use super::{
    Error,
    decode::{Damaged, Decoded, RecordHandler, InputReader},
    expectation::is_trail_file,
    unpack::{self, HEAD_BYTES, ReadCounter, FileFormat, counted},
};

/// Archives that are opened within another. More has no meaning.
const DEPTH: usize = 3;

/// What a header of tar may take, with the long name and the attributes before it.
const HEADER_MOST: u64 = 1 << 20;

/// Bytes that can be read at any place.
pub(super) enum Stored<'a> {
    Bytes(&'a [u8]),
    /// A file, the size that it had, and what learns that the system refuses to read it.
    File(&'a File, u64, Rc<ReadCounter>),
}

impl Stored<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, size, _) => *size,
        }
    }

    /// Returns the first bytes, which show how it is packed.
    pub(super) fn head(&self) -> io::Result<Vec<u8>> {
        let mut head = vec![0; HEAD_BYTES];
        let mut filled = 0;
        while filled < head.len() {
            match self.read_at(&mut head[filled..], filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        head.truncate(filled);
        Ok(head)
    }
}

impl ReaderAt for Stored<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => {
                let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
                rest.map_or(Ok(0), |mut rest| rest.read(buffer))
            }
            Self::File(file, _, meter) => {
                let read = file.read_at(buffer, offset);
                meter.failed.set(meter.failed.get() || read.is_err());
                read
            }
        }
    }
}

/// Reads from front to back what can be read at any place.
pub(super) struct Front<'s, 'a> {
    stored: &'s Stored<'a>,
    at: u64,
}

impl<'s, 'a> Front<'s, 'a> {
    pub(super) fn new(stored: &'s Stored<'a>) -> Self {
        Self { stored, at: 0 }
    }
}

impl Read for Front<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stored.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<R: RecordHandler + ?Sized> InputReader<'_, R> {
    /// Goes through an archive of tar.
    pub(super) fn tar(&mut self, stored: Box<dyn Read + '_>) -> Result<Decoded, Error> {
        let mut all = Decoded::for_archive();
        if self.inside.len() > DEPTH {
            return Ok(too_deep(all));
        }
        let lead = Rc::<Lead>::default();
        let mut archive =
            tar::Archive::new(Led { inner: BufReader::new(stored), lead: Rc::clone(&lead) });
        // Several may stand one behind the other.
        archive.set_ignore_zeros(true);
        let mut entries = archive.entries().map_err(|error| self.failed(error))?;
        loop {
            lead.left.set(Some(HEADER_MOST));
            let entry = entries.next();
            lead.left.set(None);
            let mut entry = match entry {
                None => break,
                Some(Ok(entry)) => entry,
                Some(Err(error)) => return self.damaged(all, &error, "tar"),
            };
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            let is_file = kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse();
            let mut whole = Whole { left: entry.size(), inner: &mut entry };
            if is_file && !is_junk(&name) {
                let stored = unpack::guard(Box::new(&mut whole), &self.meter);
                self.member(&mut all, name, stored)?;
            }
            if all.stopped {
                return Ok(all);
            }
            // What nobody wanted, so that the next header is all that is left to read.
            if let Err(error) = io::copy(&mut whole, &mut io::sink()) {
                return self.damaged(all, &error, "tar");
            }
        }
        if lead.zeros.get() < HEAD_BYTES as u64 {
            all.add_defect(
                self.meter.bytes.get(),
                "the tar archive has no end: it is cut off between two files",
            );
        }
        Ok(all)
    }

    /// Goes through an archive of zip.
    pub(super) fn zip(&mut self, stored: &Stored<'_>) -> Result<Decoded, Error> {
        let mut all = Decoded::for_archive();
        if self.inside.len() > DEPTH {
            return Ok(too_deep(all));
        }
        let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
        let located = ZipLocator::new().locate_in_reader(stored, &mut buffer, stored.size());
        let archive = match located {
            Ok(archive) => archive,
            Err((_, error)) => return self.damaged(all, &error, "zip"),
        };
        let mut entries = archive.entries(&mut buffer);
        let (mut listed, mut left) = (0, stored.size());
        loop {
            let entry = match entries.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(error) => return self.damaged(all, &error, "zip"),
            };
            listed += 1;
            let Some(rest) = left.checked_sub(entry.compressed_size_hint()) else {
                all.add_defect(
                    0,
                    "its files lie over each other, so it looks like a bomb; the rest was left",
                );
                return Ok(all);
            };
            left = rest;
            self.zipped(&mut all, &archive, &entry)?;
            if all.stopped {
                return Ok(all);
            }
        }
        let wanted = archive.entries_hint();
        if listed != wanted {
            all.add_defect(
                0,
                format!("the zip archive is damaged (it says {wanted} files, and lists {listed})"),
            );
        }
        self.meter.bytes.set(self.meter.bytes.get().max(stored.size()));
        Ok(all)
    }

    /// Reads one file of a zip archive.
    fn zipped(
        &mut self,
        all: &mut Decoded,
        archive: &ZipArchive<&Stored<'_>>,
        entry: &ZipFileHeaderRecord<'_>,
    ) -> Result<(), Error> {
        let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
        if entry.is_dir() || entry.mode().is_symlink() || is_junk(&name) {
            return Ok(());
        }
        let locked = if entry.flags().is_encrypted() {
            Some("it is encrypted".to_owned())
        } else {
            let method = entry.compression_method();
            let name = || method.name().map_or_else(|| method.as_u16().to_string(), str::to_owned);
            (!is_read(method)).then(|| format!("its packing is not read here ({})", name()))
        };
        if let Some(why) = locked {
            let advice = "unpack the archive (unzip FILE) and load what was in it";
            all.add_defect(0, format!("in {name}: {why}: {advice}"));
            return Ok(());
        }
        let member = match archive.get_entry(entry.wayfinder()) {
            Ok(member) => member,
            Err(error) => {
                all.merge_member(&name, self.damaged(Decoded::default(), &error, "zip")?);
                return Ok(());
            }
        };
        let text = |texts: &Self, meter: &Rc<ReadCounter>| {
            let stored = counted(member.reader(), meter);
            let text = texts.inflated(stored, entry.compression_method());
            let text = text.map_err(|error| texts.failed(error))?;
            let text = unpack::named(member.verifying_reader(text), "zip");
            Ok::<_, Error>(unpack::guard(text, meter))
        };
        if entry.uncompressed_size_hint() > self.limits.stored as u64 {
            // What is larger is not held, so its sum is looked at first.
            let mut whole = text(self, &Rc::default())?;
            if let Err(error) = io::copy(&mut whole, &mut io::sink()) {
                all.merge_member(&name, self.damaged(Decoded::default(), &error, "zip")?);
                return Ok(());
            }
        }
        let text = text(self, &self.meter)?;
        self.member(all, name, text)
    }

    /// Takes the compression of a zip archive off.
    fn inflated<'s>(
        &self,
        stored: Box<dyn Read + 's>,
        method: CompressionMethod,
    ) -> io::Result<Box<dyn Read + 's>> {
        let packing = match method {
            CompressionMethod::DEFLATE => {
                return Ok(Box::new(DeflateDecoder::new(BufReader::new(stored))));
            }
            CompressionMethod::BZIP2 => FileFormat::Bzip2,
            CompressionMethod::ZSTD => FileFormat::Zstd,
            CompressionMethod::XZ => FileFormat::Xz,
            _ => FileFormat::None,
        };
        unpack::decompress(stored, packing, &self.meter)
    }

    /// Goes through an archive of zip that comes from front to back: it is held as a whole, as its directory stands at its
    /// end.
    pub(super) fn streamed_zip(&mut self, stored: Box<dyn Read + '_>) -> Result<Decoded, Error> {
        let most = self.limits.stored as u64;
        let mut bytes = Vec::new();
        let mut all = Decoded::for_archive();
        if let Err(error) = stored.take(most + 1).read_to_end(&mut bytes) {
            return self.damaged(all, &error, "zip");
        }
        if bytes.len() as u64 > most {
            let mib = most >> 20;
            all.add_defect(0, format!("a zip archive of more than {mib} MiB is read from a file only: save it and load the file, or unpack it (unzip FILE) and load what was in it"));
            return Ok(all);
        }
        // What is read again from memory was counted.
        let meter = mem::replace(&mut self.meter, Rc::new(ReadCounter::unreported()));
        let read = self.zip(&Stored::Bytes(&bytes));
        self.meter = meter;
        read
    }

    /// Reads one file of an archive, and adds what there was to the rest.
    fn member(
        &mut self,
        all: &mut Decoded,
        name: String,
        stored: Box<dyn Read + '_>,
    ) -> Result<(), Error> {
        self.inside.push(name);
        let inside = self.inside.join("/");
        self.records.member(&inside);
        let read = self.file(stored);
        let path = format!("{}/{inside}", self.name);
        let name = self.inside.pop().unwrap_or_default();
        self.records.member(&self.inside.join("/"));
        let mut decoded = read?;
        if let Some(kinds) =
            decoded.foreign_summary().filter(|_| decoded.is_foreign() && is_trail_file(&path))
        {
            decoded.foreign.clear();
            decoded.add_defect(0, format!("there is no CloudTrail in it: {kinds}"));
        }
        all.merge_member(&name, decoded);
        Ok(())
    }

    /// Reads one file of an archive: held as a whole, if it is not large, so that it is looked at before it is handed over.
    fn file(&mut self, mut stored: Box<dyn Read + '_>) -> Result<Decoded, Error> {
        let most = self.limits.stored;
        let mut bytes = Vec::new();
        let read = stored.by_ref().take(most as u64 + 1).read_to_end(&mut bytes);
        match read {
            Ok(size) if size <= most => self.held(&mut bytes, size),
            Ok(_) => self.unpack(Box::new(Cursor::new(bytes).chain(stored))),
            Err(error) if self.meter.failed.get() => Err(self.failed(error)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                self.unpack(Box::new(Cursor::new(bytes).chain(Damaged(Some(error)))))
            }
            Err(error) => {
                let mut decoded = Decoded::default();
                decoded.add_defect(bytes.len() as u64, format!("{error}: nothing of it is loaded"));
                Ok(decoded)
            }
        }
    }

    /// Notes that an archive is damaged, if it is not the system that refuses to read it.
    fn damaged(
        &self,
        mut all: Decoded,
        error: &dyn std::error::Error,
        format: &str,
    ) -> Result<Decoded, Error> {
        if self.meter.failed.get() {
            return Err(self.failed(io::Error::other(error.to_string())));
        }
        let error = error.to_string();
        // Our own words, from further inside.
        let cause = if error.starts_with("the ") {
            error
        } else {
            format!("the {format} archive is damaged or cut off ({error})")
        };
        all.add_defect(self.meter.bytes.get(), cause);
        Ok(all)
    }
}

fn is_read(method: CompressionMethod) -> bool {
    [
        CompressionMethod::STORE,
        CompressionMethod::DEFLATE,
        CompressionMethod::BZIP2,
        CompressionMethod::ZSTD,
        CompressionMethod::XZ,
    ]
    .contains(&method)
}

fn too_deep(mut all: Decoded) -> Decoded {
    all.add_defect(
        0,
        format!(
            "archives within archives are opened {DEPTH} deep: unpack it and load what was in it"
        ),
    );
    all
}

/// Returns whether a file of an archive is one that a system adds for itself.
fn is_junk(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    name.split('/').any(|part| part == "__MACOSX")
        || last.starts_with("._")
        || matches!(last, ".DS_Store" | "Thumbs.db" | "desktop.ini")
}

/// What is known about reading a tar archive.
#[derive(Default)]
struct Lead {
    /// Bytes that may be read for a header; any number for a file.
    left: Cell<Option<u64>>,
    /// Zeros that were read last: an archive ends with at least a block of them.
    zeros: Cell<u64>,
}

/// Reads an archive as far as [`Lead`] allows.
struct Led<R> {
    inner: R,
    lead: Rc<Lead>,
}

impl<R: Read> Read for Led<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let Lead { left, zeros } = &*self.lead;
        if let Some(before) = left.get() {
            let Some(rest) = before.checked_sub(read as u64) else {
                let text = "a header that takes more than 1 MiB";
                return Err(io::Error::new(ErrorKind::InvalidData, text));
            };
            // Zeros between archives are no header.
            let is_header = buffer[..read].iter().any(|byte| *byte != 0);
            left.set(Some(if is_header { rest } else { before }));
        }
        let trailing = buffer[..read].iter().rev().take_while(|byte| **byte == 0).count();
        let before = if trailing == read { zeros.get() } else { 0 };
        zeros.set(before + trailing as u64);
        Ok(read)
    }
}

/// Reads a file that has to be as long as its archive says.
struct Whole<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.saturating_sub(read as u64);
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the tar archive is cut off inside a file",
            ));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use rawzip::ZipArchiveWriter;

    use super::*;
    use crate::source::{Content, Decoder, ForeignKind, Limits, InputFormat, RecordOutcome, OversizedRecord, skip_value};

    /// Collects records with the file that they came from.
    #[derive(Default)]
    struct Collected {
        records: Vec<(String, String)>,
        too_long: Vec<(String, u64)>,
        consumed: u64,
        inside: String,
        most: Option<usize>,
    }

    impl RecordHandler for Collected {
        fn record(&mut self, text: &[u8], start: usize) -> RecordOutcome {
            let Ok(end) = skip_value(text, start) else { return RecordOutcome::Incomplete };
            let record = String::from_utf8_lossy(&text[start..end]).into_owned();
            self.records.push((self.inside.clone(), record));
            RecordOutcome::EndsAt(end)
        }

        fn oversized(&mut self, record: OversizedRecord) {
            self.too_long.push((self.inside.clone(), record.offset));
        }

        fn member(&mut self, path: &str) {
            self.inside = path.to_owned();
        }

        fn go_on(&self) -> bool {
            self.most.is_none_or(|most| self.records.len() < most)
        }

        fn consumed(&mut self, bytes: u64) {
            self.consumed += bytes;
        }
    }

    const LIMITS: Limits =
        Limits { window: 1 << 12, record: 1 << 16, stored: 1 << 20, whole: 1 << 20 };

    fn file(bytes: &[u8], limits: Limits) -> (Collected, Decoded) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut collected = Collected::default();
        let content = Content::File(file.path().to_owned());
        let decoded = Decoder::new(limits).read("test", content, &mut collected).unwrap();
        assert_eq!(collected.consumed, bytes.len() as u64);
        (collected, decoded)
    }

    /// Reads an archive held as a whole, as a large file, and from front to back: all must give the same.
    fn read(bytes: &[u8]) -> (Collected, Decoded) {
        let (whole, decoded) = file(bytes, LIMITS);
        let (large, said) = file(bytes, Limits { stored: bytes.len() - 1, ..LIMITS });
        assert_eq!((&large.records, &large.too_long), (&whole.records, &whole.too_long));
        assert_eq!((said.format, &said.foreign), (decoded.format, &decoded.foreign));
        let mut piped = Collected::default();
        let content = Content::Stream(Box::new(Cursor::new(bytes.to_vec())));
        let said = Decoder::new(LIMITS).read("test", content, &mut piped).unwrap();
        assert_eq!(piped.consumed, said.bytes_consumed);
        assert_eq!((&piped.records, said.format), (&whole.records, decoded.format));
        assert_eq!(
            said.defect_count, decoded.defect_count,
            "{:?} {:?}",
            said.defects, decoded.defects
        );
        (whole, decoded)
    }

    fn record(id: &str) -> String {
        format!(r#"{{"eventVersion":"1.08","eventID":"{id}"}}"#)
    }

    /// The text of a log file.
    fn log(ids: &[&str]) -> Vec<u8> {
        let records: Vec<String> = ids.iter().map(|id| record(id)).collect();
        format!(r#"{{"Records":[{}]}}"#, records.join(",")).into_bytes()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            if name.ends_with('/') {
                header.set_entry_type(tar::EntryType::Directory);
            }
            builder.append_data(&mut header, name, &bytes[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn zip(files: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut archive = ZipArchiveWriter::new(&mut bytes);
        for (name, text) in files {
            if name.ends_with('/') {
                archive.new_dir(name).create().unwrap();
                continue;
            }
            let (mut entry, config) =
                archive.new_file(name).compression_method(method).start().unwrap();
            let packed = match method {
                CompressionMethod::DEFLATE => {
                    let mut to =
                        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
                    to.write_all(text).unwrap();
                    to.finish().unwrap()
                }
                CompressionMethod::BZIP2 => {
                    let mut to =
                        bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                    to.write_all(text).unwrap();
                    to.finish().unwrap()
                }
                CompressionMethod::ZSTD => zstd::encode_all(&text[..], 1).unwrap(),
                _ => text.clone(),
            };
            // The writer takes sum and size from the text, and we give it the packed bytes.
            let mut counter = config.wrap(io::sink());
            counter.write_all(text).unwrap();
            let (_, descriptor) = counter.finish().unwrap();
            entry.write_all(&packed).unwrap();
            entry.finish(descriptor).unwrap();
        }
        archive.finish().unwrap();
        bytes
    }

    /// Archives of the same files, in every form.
    fn archives(files: &[(&str, Vec<u8>)]) -> Vec<(&'static str, Vec<u8>)> {
        let tar = tar(files);
        let twice = [&tar[..], &tar[..0]].concat();
        vec![
            ("tar", twice),
            ("tar.gz", gzip(&tar)),
            ("tar.zst", zstd::encode_all(&tar[..], 1).unwrap()),
            ("stored", zip(files, CompressionMethod::STORE)),
            ("deflate", zip(files, CompressionMethod::DEFLATE)),
            ("bzip2", zip(files, CompressionMethod::BZIP2)),
            ("zstd", zip(files, CompressionMethod::ZSTD)),
        ]
    }

    const LOG: &str = "AWSLogs/1/CloudTrail/r/1.json.gz";

    #[test]
    fn every_file_of_an_archive_is_read_and_what_systems_add_is_not() {
        let long = format!("{}c.json", "deep/".repeat(60));
        let utf16: Vec<u8> = String::from_utf8(log(&["e"]))
            .unwrap()
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let files = [
            ("trail/", vec![]),
            ("trail/a.json.gz", gzip(&log(&["a", "b"]))),
            ("trail/README.md", b"# how to".to_vec()),
            (&long, log(&["c"])),
            ("__MACOSX/trail/._a.json.gz", vec![0, 5, 22, 7]),
            ("trail/._a.json.gz", vec![0, 5, 22, 7]),
            ("trail/.DS_Store", vec![0; 9]),
            ("utf-16.json", utf16),
            ("lines", [record("f"), record("g")].join("\n").into_bytes()),
            (LOG, log(&[])),
        ];
        for (form, bytes) in archives(&files) {
            let (collected, decoded) = read(&bytes);
            let ids: Vec<&str> =
                collected.records.iter().map(|(_, record)| &record[34..35]).collect();
            assert_eq!(ids, ["a", "b", "c", "e", "f", "g"], "{form}");
            assert_eq!(collected.records[2].0, long, "{form}");
            assert_eq!(decoded.defects, [], "{form}");
            assert_eq!((decoded.records, decoded.format), (6, InputFormat::Records), "{form}");
            assert_eq!(decoded.foreign.keys().collect::<Vec<_>>(), [&ForeignKind::Text], "{form}");
        }
    }

    #[test]
    fn what_is_broken_in_one_file_costs_only_that_and_is_named() {
        let files = [
            ("a.json", log(&["a"])),
            ("cut.json.gz", gzip(&log(&["b"]))[..20].to_vec()),
            ("b.json", [&log(&["b"])[..], b"\n{\"eventVersion\":\"1.0\",]"].concat()),
            (LOG, b"<html>503</html>".to_vec()),
            ("AWSLogs/1/CloudTrail/r/2.json.gz", vec![]),
            ("c.json", log(&["c"])),
        ];
        for (form, bytes) in archives(&files) {
            let (collected, decoded) = read(&bytes);
            assert_eq!(collected.records.len(), 3, "{form}: {:?}", decoded.defects);
            let causes: Vec<&str> = decoded.defects.iter().map(|broken| &*broken.cause).collect();
            assert_eq!(decoded.defect_count, 4, "{form}: {causes:?}");
            assert!(
                causes[0].starts_with("in cut.json.gz: the gzip file is cut off"),
                "{causes:?}"
            );
            assert!(causes[1].starts_with("in b.json: "), "{causes:?}");
            assert!(
                causes[2].contains("1.json.gz: there is no CloudTrail in it: an HTML"),
                "{causes:?}"
            );
            assert!(
                causes[3].contains("2.json.gz: there is no CloudTrail in it: it is empty"),
                "{causes:?}"
            );
        }
    }

    #[test]
    fn an_archive_that_is_cut_or_damaged_is_never_taken_for_whole() {
        let names: Vec<String> = (0..3).map(|number| format!("{number}.json")).collect();
        let ids = ["a", "b", "c"];
        let files: Vec<(&str, Vec<u8>)> =
            names.iter().zip(ids).map(|(name, id)| (&**name, log(&[id]))).collect();
        for (form, bytes) in archives(&files) {
            let is_tar = form == "tar";
            // Of the zeros at the end of a tar archive one block is enough.
            let end = if is_tar { bytes.len() - 512 } else { bytes.len() };
            for cut in (600..end).step_by(if is_tar { 64 } else { 7 }) {
                let (collected, decoded) = read(&bytes[..cut]);
                assert!(decoded.defect_count > 0, "{form} cut at {cut} of {end}");
                assert!(collected.records.len() <= 3);
            }
            for at in (0..bytes.len().min(3_000)).step_by(7) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x2a;
                let (_, decoded) = file(&damaged, LIMITS);
                assert!(decoded.records <= 3 + 3, "{form} damaged at {at}");
            }
        }
    }

    #[test]
    fn archives_within_archives_are_opened_to_a_depth() {
        let mut files = vec![("a.json".to_owned(), log(&["a"]))];
        for depth in 1..=5 {
            let named: Vec<(&str, Vec<u8>)> =
                files.iter().map(|(name, bytes)| (&**name, bytes.clone())).collect();
            for (form, bytes) in archives(&named) {
                let (collected, decoded) = file(&bytes, LIMITS);
                let is_open = depth <= DEPTH + 1;
                assert_eq!(collected.records.len(), usize::from(is_open), "{depth} {form}");
                assert_eq!(decoded.defect_count, u64::from(!is_open), "{depth} {form}");
            }
            let next = archives(&named).swap_remove(depth);
            files = vec![(format!("{depth}.{}", next.0), next.1)];
        }
    }

    #[test]
    fn bombs_are_left() {
        let spaces = vec![b' '; 300 << 20];
        let (_, decoded) = file(&zip(&[("a.json", spaces)], CompressionMethod::DEFLATE), LIMITS);
        assert!(decoded.defects[0].cause.contains("bomb"), "{:?}", decoded.defects);
        // Two entries of the directory that name the same bytes.
        let mut over =
            zip(&[("a", vec![b' '; 3_000]), ("b", log(&["b"]))], CompressionMethod::STORE);
        let entries = memchr::memmem::find_iter(&over, b"PK\x01\x02").collect::<Vec<_>>();
        let (first, second) = (entries[0], entries[1]);
        over.copy_within(first + 16..first + 28, second + 16);
        over.copy_within(first + 42..first + 46, second + 42);
        let (collected, decoded) = file(&over, LIMITS);
        assert_eq!(collected.records.len(), 0);
        assert!(decoded.defects[0].cause.contains("bomb"), "{:?}", decoded.defects);
        // A long name of the length of a bomb.
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_path("././@LongLink").unwrap();
        header.set_size(8 << 20);
        header.set_cksum();
        let name = [header.as_bytes(), &vec![b'x'; 8 << 20][..]].concat();
        let (_, decoded) = file(&gzip(&name), LIMITS);
        assert!(decoded.defects[0].cause.contains("1 MiB"), "{:?}", decoded.defects);
    }

    #[test]
    fn what_is_not_opened_says_what_to_do() {
        let (_, decoded) = read(b"7z\xbc\xaf\x27\x1c\0\x04 and more of it");
        assert!(decoded.defects[0].cause.contains("unpack it (7z x FILE)"), "{:?}", decoded.defects);
        let mut locked =
            zip(&[("a.json", log(&["a"])), ("b.json", log(&["b"]))], CompressionMethod::STORE);
        let entry = memchr::memmem::find(&locked, b"PK\x01\x02").unwrap();
        locked[entry + 8] |= 1;
        let (collected, decoded) = read(&locked);
        assert_eq!((collected.records.len(), decoded.defect_count), (1, 1));
        assert!(
            decoded.defects[0].cause.contains("in a.json: it is encrypted"),
            "{:?}",
            decoded.defects
        );
        let mut odd = zip(&[("a.json", log(&["a"]))], CompressionMethod::STORE);
        let entry = memchr::memmem::find(&odd, b"PK\x01\x02").unwrap();
        odd[entry + 10] = 9;
        let (_, decoded) = read(&odd);
        assert!(decoded.defects[0].cause.contains("unzip"), "{:?}", decoded.defects);
    }

    /// From a pipe the directory at the end comes too late, unless all of it can be held.
    #[test]
    fn a_large_zip_from_a_pipe_says_what_to_do() {
        let bytes = zip(&[("a.json", log(&["a"]))], CompressionMethod::STORE);
        let mut collected = Collected::default();
        let content = Content::Stream(Box::new(Cursor::new(bytes.clone())));
        let limits = Limits { stored: bytes.len() - 1, ..LIMITS };
        let decoded = Decoder::new(limits).read("-", content, &mut collected).unwrap();
        assert!(decoded.defects[0].cause.contains("from a file only"), "{:?}", decoded.defects);
    }

    #[test]
    fn an_archive_without_files_holds_nothing() {
        for (form, bytes) in archives(&[("a/", vec![])]) {
            let (_, decoded) = read(&bytes);
            assert!(
                decoded.is_foreign() && decoded.defects.is_empty(),
                "{form} {:?}",
                decoded.defects
            );
            assert!(decoded.foreign_summary().unwrap().contains("without files"), "{form}");
        }
    }

    #[test]
    fn a_record_that_is_too_long_is_told_with_its_file_and_reading_stops_when_told() {
        let long = format!(r#"{{"eventVersion":"1.08","x":"{}"}}"#, "x".repeat(1 << 21));
        let files =
            [("a.json", long.into_bytes()), ("b.json", log(&["b"])), ("c.json", log(&["c"]))];
        for (form, bytes) in archives(&files) {
            let (collected, decoded) = file(&bytes, LIMITS);
            assert_eq!(collected.too_long, [("a.json".to_owned(), 0)], "{form}");
            assert_eq!((decoded.records, decoded.oversized), (2, 1));
            let mut collected = Collected { most: Some(1), ..Collected::default() };
            let room = Limits { stored: 4 << 20, ..LIMITS };
            let content = Content::Stream(Box::new(Cursor::new(bytes)));
            let decoded = Decoder::new(room).read("-", content, &mut collected).unwrap();
            assert!(decoded.stopped && collected.records.len() == 1, "{form}");
        }
    }
}
