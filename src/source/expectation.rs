//! Decides whether an input must be CloudTrail, by its path and by how the user named it.
//!
//! Input: a SOURCE argument, and the name of an input found under it. Output: an [`Expectation`].
//! Invariant: a file that the user named, or that is where a trail stores its log files, is never skipped as something
//! else. Any other file in a folder may be anything.
//! Not here: what the input contains (see `decode`).

use super::s3::LOGS_FOLDER;

/// Whether an input must be CloudTrail, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expectation {
    /// It may be anything: it was found in a folder.
    #[default]
    Nothing,
    /// It has the path or the name of a log file of a trail.
    TrailFile,
    /// The user named it.
    Named,
}

/// Folders and file names that start with `CloudTrail` and do not contain events.
const WITHOUT_EVENTS: [&str; 2] = ["CloudTrail-Digest", "CloudTrail-Lake"];

impl Expectation {
    /// Returns the expectation for the input `name`, found under a SOURCE argument.
    pub fn for_input(argument: &str, name: &str) -> Self {
        if argument == name {
            Self::Named
        } else if is_trail_file(name) {
            Self::TrailFile
        } else {
            Self::Nothing
        }
    }
}

/// Returns whether a path or key is that of a log file of a trail, by its folders or its name. Hidden files, and files
/// without an extension in such a folder, are left there by operating systems.
pub(super) fn is_trail_file(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name.starts_with('.') {
        return false;
    }
    has_log_file_name(name) || (name.contains('.') && is_in_trail(folders))
}

/// Returns whether folders are those in which a trail stores its log files: `AWSLogs/…/CloudTrail…/…`.
fn is_in_trail(folders: &str) -> bool {
    let mut below = folders.split('/').skip_while(|folder| *folder != LOGS_FOLDER).skip(1);
    below.any(|folder| folder.starts_with("CloudTrail") && !WITHOUT_EVENTS.contains(&folder))
}

/// Returns whether a file has the name of a log file: `ACCOUNT_CloudTrail_REGION_TIME_RANDOM.json.gz`.
fn has_log_file_name(name: &str) -> bool {
    let mut parts = name.split('_');
    let [account, kind, region, time] = [(); 4].map(|()| parts.next().unwrap_or_default());
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    account.len() == 12
        && is_digits(account)
        && kind.starts_with("CloudTrail")
        && !WITHOUT_EVENTS.contains(&kind)
        && !region.is_empty()
        && time.len() == "20240305T1000Z".len()
        && time.get(..8).is_some_and(is_digits)
        && parts.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "111122223333_CloudTrail_us-east-1_20240305T1000Z_abcdefghijklmnop.json.gz";

    #[test]
    fn a_file_in_a_trail_must_be_cloud_trail() {
        for path in [
            "AWSLogs/111122223333/CloudTrail/us-east-1/2024/03/05/x.json.gz",
            "/backup/org/AWSLogs/o-abc/111122223333/CloudTrail-Insight/us-east-1/2024/03/05/x.json",
            "s3://logs/AWSLogs/111122223333/CloudTrail-NetworkActivity/us-east-1/x.json.gz.1",
            "AWSLogs/CloudTrail/x.gz",
            &format!("some/folder/{LOG}"),
            LOG,
        ] {
            assert!(is_trail_file(path), "{path}");
        }
    }

    #[test]
    fn a_file_elsewhere_may_be_anything() {
        for path in [
            "AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2024/03/05/x.json.gz",
            "AWSLogs/111122223333/Config/us-east-1/2024/3/5/x.json.gz",
            "AWSLogs/111122223333/elasticloadbalancing/us-east-1/2024/03/05/x.log.gz",
            "CloudTrail/x.json.gz",
            "CloudTrail/AWSLogs/x.json.gz",
            "AWSLogs/README.md",
            "AWSLogs/111122223333/CloudTrail/us-east-1/.DS_Store",
            "AWSLogs/111122223333/CloudTrail/us-east-1/_SUCCESS",
            "111122223333_CloudTrail-Digest_us-east-1_trail_us-east-1_20240305T100000Z.json.gz",
            "111122223333_Config_us-east-1_ConfigSnapshot_20240305T1000Z_abc.json.gz",
            "a.json",
            "",
        ] {
            assert!(!is_trail_file(path), "{path}");
        }
    }

    #[test]
    fn a_named_file_must_be_cloud_trail() {
        for name in ["standard input", "README.md", "s3://logs/a"] {
            assert_eq!(Expectation::for_input(name, name), Expectation::Named);
        }
        assert_eq!(Expectation::for_input("logs", "logs/README.md"), Expectation::Nothing);
        assert_eq!(Expectation::for_input("logs", &format!("logs/{LOG}")), Expectation::TrailFile);
    }
}
