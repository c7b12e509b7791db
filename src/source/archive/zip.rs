//! Reads the members of a zip archive, in the order of its directory.

use std::{
    io::{self, Cursor, Read},
    rc::Rc,
};

use rawzip::{
    CompressionMethod, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ZipArchive, ZipFileHeaderRecord,
    ZipLocator,
};

use super::{MemberReader, RandomAccess, add_damage, is_system_file};
use crate::source::{
    decoded::Decoded,
    error::Error,
    unpack::{self, Compression, FileFormat, ReadCounter, counted},
};

/// Reads all members of the archive. `max_held_bytes` is the size up to which the members are held in memory.
///
/// # Errors
///
/// Returns [`Error`] if the archive cannot be read.
pub(in crate::source) fn read_zip(
    stored: &RandomAccess<'_>,
    max_held_bytes: u64,
    members: &mut dyn MemberReader,
) -> Result<Decoded, Error> {
    let mut decoded = Decoded::for_archive();
    let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
    let located = ZipLocator::new().locate_in_reader(stored, &mut buffer, stored.size());
    let archive = match located {
        Ok(archive) => archive,
        Err((_, error)) => {
            add_damage(members, &mut decoded, &error, "zip")?;
            return Ok(decoded);
        }
    };
    let mut entries = archive.entries(&mut buffer);
    let (mut listed, mut bytes_left) = (0, stored.size());
    loop {
        let entry = match entries.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(error) => {
                add_damage(members, &mut decoded, &error, "zip")?;
                return Ok(decoded);
            }
        };
        listed += 1;
        let Some(rest) = bytes_left.checked_sub(entry.compressed_size_hint()) else {
            decoded.add_defect(
                0,
                "its files overlap, which may be a decompression bomb; the rest was not read",
            );
            return Ok(decoded);
        };
        bytes_left = rest;
        read_entry(&mut decoded, &archive, &entry, max_held_bytes, members)?;
        if decoded.stopped {
            return Ok(decoded);
        }
    }
    let stated = archive.entries_hint();
    if listed != stated {
        decoded.add_defect(
            0,
            format!("the zip archive is damaged (it states {stated} files and lists {listed})"),
        );
    }
    let counter = members.counter();
    counter.bytes.set(counter.bytes.get().max(stored.size()));
    Ok(decoded)
}

/// Reads one member.
fn read_entry(
    decoded: &mut Decoded,
    archive: &ZipArchive<&RandomAccess<'_>>,
    entry: &ZipFileHeaderRecord<'_>,
    max_held_bytes: u64,
    members: &mut dyn MemberReader,
) -> Result<(), Error> {
    let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
    if entry.is_dir() || entry.mode().is_symlink() || is_system_file(&name) {
        return Ok(());
    }
    if let Some(reason) = unsupported_reason(entry) {
        let advice = "unpack the archive (unzip FILE) and load the files in it";
        decoded.add_defect(0, format!("in {name}: {reason}: {advice}"));
        return Ok(());
    }
    let member = match archive.get_entry(entry.wayfinder()) {
        Ok(member) => member,
        Err(error) => {
            let mut damaged = Decoded::default();
            add_damage(members, &mut damaged, &error, "zip")?;
            decoded.merge_member(&name, damaged);
            return Ok(());
        }
    };
    let open = |members: &mut dyn MemberReader, counter: &Rc<ReadCounter>| {
        let stored = counted(member.reader(), counter);
        let text = decompress(stored, entry.compression_method(), counter, members)?;
        Ok::<_, io::Error>(unpack::named(member.verifying_reader(text), "zip"))
    };
    let size = entry.uncompressed_size_hint();
    // The checksum of a member that is not held in memory is verified before it is read.
    if size > max_held_bytes
        && let Err(error) =
            open(members, &Rc::default()).and_then(|mut text| io::copy(&mut text, &mut io::sink()))
    {
        let mut damaged = Decoded::default();
        add_damage(members, &mut damaged, &error, "zip")?;
        decoded.merge_member(&name, damaged);
        return Ok(());
    }
    let counter = members.counter();
    match open(members, &counter) {
        Ok(text) => members.read_member(decoded, name, size, text),
        Err(error) if counter.failed.get() => Err(members.read_error(error)),
        Err(error) => {
            decoded.add_defect(0, format!("in {name}: {error}"));
            Ok(())
        }
    }
}

/// Decompresses a member.
fn decompress<'a>(
    mut stored: Box<dyn Read + 'a>,
    method: CompressionMethod,
    counter: &Rc<ReadCounter>,
    members: &mut dyn MemberReader,
) -> io::Result<Box<dyn Read + 'a>> {
    let format = match method {
        CompressionMethod::DEFLATE => {
            return members.decompress(stored, Compression::Deflate, counter);
        }
        CompressionMethod::BZIP2 => FileFormat::Bzip2,
        CompressionMethod::ZSTD => FileFormat::Zstd,
        CompressionMethod::XZ => FileFormat::Xz,
        _ => return members.decompress(stored, Compression::None, counter),
    };
    let head = unpack::read_head(&mut stored)?;
    let compression = Compression::new(format, &head);
    members.decompress(Box::new(Cursor::new(head).chain(stored)), compression, counter)
}

/// Returns why a member cannot be read, or `None` if it can.
fn unsupported_reason(entry: &ZipFileHeaderRecord<'_>) -> Option<String> {
    if entry.flags().is_encrypted() {
        return Some("it is encrypted".to_owned());
    }
    let method = entry.compression_method();
    let is_supported = matches!(
        method,
        CompressionMethod::STORE
            | CompressionMethod::DEFLATE
            | CompressionMethod::BZIP2
            | CompressionMethod::ZSTD
            | CompressionMethod::XZ
    );
    let name = || method.name().map_or_else(|| method.as_u16().to_string(), str::to_owned);
    (!is_supported).then(|| format!("its compression method is not supported ({})", name()))
}

/// Reads a zip archive that can only be read from front to back into memory, because its directory is at its end.
/// Returns the report with the defect if that fails.
///
/// # Errors
///
/// Returns [`Error`] if the archive cannot be read.
pub(in crate::source) fn hold_zip(
    stored: Box<dyn Read + '_>,
    max_held_bytes: u64,
    members: &dyn MemberReader,
) -> Result<Result<Vec<u8>, Decoded>, Error> {
    let mut decoded = Decoded::for_archive();
    let mut bytes = Vec::new();
    if let Err(error) = stored.take(max_held_bytes + 1).read_to_end(&mut bytes) {
        add_damage(members, &mut decoded, &error, "zip")?;
        return Ok(Err(decoded));
    }
    if bytes.len() as u64 > max_held_bytes {
        let mib = max_held_bytes >> 20;
        decoded.add_defect(0, format!("a zip archive of more than {mib} MiB can only be read from a file: save it and load the file, or unpack it (unzip FILE) and load the files in it"));
        return Ok(Err(decoded));
    }
    Ok(Ok(bytes))
}
