//! Reads the members of archives: tar and zip.
//!
//! Input: an archive. Output: each of its members, passed to a [`MemberReader`], and the sum of their reports as one
//! [`Decoded`], whose defects name the member.
//! Invariant: one member is read at a time, and no list of members is kept. A defect in a member affects only that. Sizes
//! that the archive states are compared with what it contains; overlapping members, and members that are far larger than
//! their stored data, are taken for decompression bombs.
//! Not here: what is in a member, and archives in archives (see `decode`); links, devices, folders, and the files that
//! operating systems add (`__MACOSX`) are skipped.

mod random_access;
mod tar;
#[cfg(test)]
mod tests;
mod zip;

use std::{
    io::{self, Read},
    rc::Rc,
};

pub(super) use random_access::{FromStart, RandomAccess};
pub(super) use tar::read_tar;
pub(super) use zip::{hold_zip, read_zip};

use super::{
    decoded::Decoded,
    error::Error,
    unpack::{Compression, ReadCounter},
};

/// Reads the members of an archive for it.
///
/// A trait although it has one implementation: a member may be an archive, and the module that reads members is above
/// this one.
pub(super) trait MemberReader {
    /// Reads one member to its end, and adds the report on it to `archive`. `size` is what the archive states.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the archive cannot be read.
    fn read_member(
        &mut self,
        archive: &mut Decoded,
        name: String,
        size: u64,
        stored: Box<dyn Read + '_>,
    ) -> Result<(), Error>;

    /// Returns a reader of the decompressed data, for which memory is reserved.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no memory for it.
    fn decompress<'a>(
        &mut self,
        stored: Box<dyn Read + 'a>,
        compression: Compression,
        counter: &Rc<ReadCounter>,
    ) -> io::Result<Box<dyn Read + 'a>>;

    /// Returns the counter of the archive's bytes.
    fn counter(&self) -> Rc<ReadCounter>;

    /// Returns the error that the input cannot be read.
    fn read_error(&self, source: io::Error) -> Error;
}

/// Adds the defect that an archive is damaged.
///
/// # Errors
///
/// Returns [`Error`] if it is the input that cannot be read.
fn add_damage(
    members: &dyn MemberReader,
    decoded: &mut Decoded,
    error: &dyn std::error::Error,
    format: &str,
) -> Result<(), Error> {
    let counter = members.counter();
    let error = error.to_string();
    if counter.failed.get() {
        return Err(members.read_error(io::Error::other(error)));
    }
    // A message of an inner layer.
    let cause = if error.starts_with("the ") {
        error
    } else {
        format!("the {format} archive is damaged or cut off ({error})")
    };
    decoded.add_defect(counter.bytes.get(), cause);
    Ok(())
}

/// Returns whether a member is a file that an operating system added.
fn is_system_file(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    name.split('/').any(|part| part == "__MACOSX")
        || last.starts_with("._")
        || matches!(last, ".DS_Store" | "Thumbs.db" | "desktop.ini")
}
