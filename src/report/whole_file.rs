//! Writes a file as a whole: readers see the old content or the new one, and never a part of it.
//!
//! Invariant: a file that cannot be written completely is left as it was. A device or pipe such as `/dev/stdout` is written to
//! directly, because renaming would replace it.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

/// Replaces the content of a file, which need not exist.
///
/// # Errors
///
/// Returns an error if it cannot be written.
pub(crate) fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let Some((target, part)) = target_and_part(path) else {
        return fs::OpenOptions::new().write(true).open(path)?.write_all(text);
    };
    let permissions = fs::metadata(&target).ok().map(|found| found.permissions());
    let written = write_part(&part, text, permissions).and_then(|()| fs::rename(&part, &target));
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
    let Some((_, part)) = target_and_part(path) else { return Ok(()) };
    fs::File::create(&part)?;
    fs::remove_file(&part)
}

/// Returns the file to replace and the temporary file beside it; `None` for what cannot be replaced, such as a device.
fn target_and_part(path: &Path) -> Option<(PathBuf, PathBuf)> {
    // A symbolic link is resolved, so that the rename replaces its target and not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|found| !found.is_file()) {
        return None;
    }
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = target.with_file_name(name);
    Some((target, part))
}

fn write_part(part: &Path, text: &[u8], permissions: Option<fs::Permissions>) -> io::Result<()> {
    let mut file = fs::File::create(part)?;
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
    fn a_folder_that_does_not_exist_is_found_before_writing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone/file");
        assert_eq!(check_writable(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(write_whole(&path, b"").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
