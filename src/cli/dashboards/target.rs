//! Where a page is written to.
//!
//! Invariant: a file is replaced as a whole. That it can be written is checked before anything is read, which may take long.

use std::path::{Path, PathBuf};

use url::Url;

use crate::{
    cli::{self, failure::Failure},
    report::whole_file::{check_writable, write_whole},
};

/// The value of `--html` for standard output. A file of that name can be given as `./-`.
const STANDARD_OUTPUT: &str = "-";

/// Where a page is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PageTarget {
    File(PathBuf),
    StandardOutput,
}

impl PageTarget {
    /// Returns the target that the value of `--html` names.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] if it is no file.
    pub(super) fn new(path: &Path) -> Result<Self, Failure> {
        if path == Path::new(STANDARD_OUTPUT) {
            return Ok(Self::StandardOutput);
        }
        if path.is_dir() {
            let (folder, example) = (path.display(), path.join("report.html"));
            return Err(Failure::usage(format!(
                "invalid value '{folder}' for '--html <FILE>': expected a file, not a folder"
            ))
            .hint(format!("add a name, such as {}", example.display())));
        }
        Ok(Self::File(path.to_owned()))
    }

    /// Checks that the file can be written.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] that names the reason.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self {
            Self::StandardOutput => Ok(()),
            Self::File(path) => check_writable(path).map_err(|error| unwritable(path, &error)),
        }
    }

    /// Writes the page.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if it cannot be written. An existing file is then unchanged.
    pub(super) fn write(&self, html: &str) -> Result<(), Failure> {
        match self {
            Self::StandardOutput => cli::print(html),
            Self::File(path) => {
                write_whole(path, html.as_bytes()).map_err(|error| unwritable(path, &error))
            }
        }
    }

    /// Returns the name of the target for messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::StandardOutput => "standard output".to_owned(),
        }
    }

    /// Returns the address under which a browser opens the page; `None` for standard output.
    pub(super) fn address(&self) -> Option<String> {
        let Self::File(path) = self else { return None };
        let absolute = std::path::absolute(path).ok()?;
        Url::from_file_path(absolute).ok().map(String::from)
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::action_required(format!("cannot write {}", path.display()));
    failure
        .caused_by(error)
        .hint("choose another file with --html, or check the folder that it is in")
}
