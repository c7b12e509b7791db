//! Writes a file as a whole: readers see the old content or the new one, and never a part of it.
//!
//! Invariant: a file that cannot be written completely is left as it was. A device or pipe such as `/dev/stdout` is written to
//! directly, because renaming would replace it. The temporary file is always a new one: nothing that has its name already, such as
//! a symbolic link or what is left of a process that was killed, is written to or removed.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

/// Maximum number of names that are tried for the temporary file. Each one that exists is left over from another process with the
/// same number, such as in a container, where numbers are small.
const MAX_NAMES: u32 = 100;

/// Replaces the content of a file, which need not exist.
///
/// # Errors
///
/// Returns an error if it cannot be written.
pub(crate) fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let Some(target) = target(path) else {
        return fs::OpenOptions::new().write(true).open(path)?.write_all(text);
    };
    let permissions = fs::metadata(&target).ok().map(|found| found.permissions());
    let (file, part) = create_part(&target)?;
    let written = write_part(file, text, permissions).and_then(|()| fs::rename(&part, &target));
    if written.is_err() {
        // The write error is returned; a leftover temporary file only takes space.
        let _ = fs::remove_file(&part);
    }
    written
}

/// Checks whether [`write_whole`] can create a file in the folder of `path`. Leaves nothing behind.
///
/// # Errors
///
/// Returns an error if it cannot.
pub(crate) fn check_writable(path: &Path) -> io::Result<()> {
    let Some(target) = target(path) else { return Ok(()) };
    let (_, part) = create_part(&target)?;
    fs::remove_file(part)
}

/// Returns the file to replace; `None` for what cannot be replaced, such as a device.
fn target(path: &Path) -> Option<PathBuf> {
    // A symbolic link is resolved, so that the rename replaces its target and not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let is_device = fs::metadata(&target).is_ok_and(|found| !found.is_file());
    (!is_device).then_some(target)
}

/// Creates the temporary file, beside the target.
fn create_part(target: &Path) -> io::Result<(fs::File, PathBuf)> {
    let mut number = 0;
    loop {
        let part = part(target, number);
        number += 1;
        match fs::File::create_new(&part) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_NAMES => {}
            created => return created.map(|file| (file, part)),
        }
    }
}

fn part(target: &Path, number: u32) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(match number {
        0 => format!(".{}.part", std::process::id()),
        _ => format!(".{}.{number}.part", std::process::id()),
    });
    target.with_file_name(name)
}

fn write_part(
    mut file: fs::File,
    text: &[u8],
    permissions: Option<fs::Permissions>,
) -> io::Result<()> {
    // A file that only its owner may read stays one.
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_that_is_replaced_keeps_its_links_and_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&file, &link).unwrap();
        check_writable(&link).unwrap();
        write_whole(&link, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn a_temporary_file_that_exists_is_neither_written_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let [file, other] = ["file", "other"].map(|name| folder.path().join(name));
        fs::write(&other, "other").unwrap();
        symlink(&other, part(&file, 0)).unwrap();
        fs::write(part(&file, 1), "left over").unwrap();
        check_writable(&file).unwrap();
        write_whole(&file, b"new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_to_string(&other).unwrap(), "other");
        assert!(fs::symlink_metadata(part(&file, 0)).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(part(&file, 1)).unwrap(), "left over");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "nothing else is left");
    }

    #[test]
    fn a_folder_that_does_not_exist_is_found_before_writing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone/file");
        assert_eq!(check_writable(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(write_whole(&path, b"").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
