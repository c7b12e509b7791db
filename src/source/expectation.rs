//! Decides whether an input has to hold CloudTrail, by where it lies and by how it was named.
//!
//! In: the SOURCE word, and the name of an input found under it. Out: an [`Expectation`].
//! Holds: what lies where a trail puts its log files, or was named by the user itself, is never passed over as something
//! else; what only happens to lie in a folder may be.
//! Absent on purpose: what the input holds (see `decode`).

use super::s3::LOGS_FOLDER;

/// Why an input has to hold CloudTrail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expectation {
    /// It need not: it was found in a folder among others.
    #[default]
    Nothing,
    /// It has the place or the name of a trail's log file.
    TrailFile,
    /// The user named it.
    Named,
}

/// Kinds of logs whose folders and files begin with `CloudTrail` and hold no events.
const NO_EVENTS: [&str; 2] = ["CloudTrail-Digest", "CloudTrail-Lake"];

impl Expectation {
    /// Returns what the input of this name, found under a SOURCE word, has to be.
    pub fn for_input(word: &str, name: &str) -> Self {
        if word == name {
            Self::Named
        } else if is_trail_file(name) {
            Self::TrailFile
        } else {
            Self::Nothing
        }
    }
}

/// Returns whether a path or key has the place or the name of a trail's log file. Files without any ending, and hidden
/// ones, are what systems leave behind in folders.
pub(super) fn is_trail_file(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name.starts_with('.') {
        return false;
    }
    has_name_of_log(name) || (name.contains('.') && lies_in_trail(folders))
}

/// Returns whether folders lead to where a trail puts its log files: `AWSLogs/…/CloudTrail…/…`.
fn lies_in_trail(folders: &str) -> bool {
    let mut below = folders.split('/').skip_while(|folder| *folder != LOGS_FOLDER).skip(1);
    below.any(|folder| folder.starts_with("CloudTrail") && !NO_EVENTS.contains(&folder))
}

/// Returns whether a file is called as CloudTrail calls its log files: `ACCOUNT_CloudTrail_REGION_TIME_RANDOM.json.gz`.
fn has_name_of_log(name: &str) -> bool {
    let mut parts = name.split('_');
    let [account, kind, region, time] = [(); 4].map(|()| parts.next().unwrap_or_default());
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    account.len() == 12
        && is_digits(account)
        && kind.starts_with("CloudTrail")
        && !NO_EVENTS.contains(&kind)
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
    fn what_lies_in_a_trail_has_to_be_cloud_trail() {
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
    fn what_lies_elsewhere_may_be_anything() {
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
    fn what_was_named_has_to_be_cloud_trail() {
        for name in ["standard input", "README.md", "s3://logs/a"] {
            assert_eq!(Expectation::for_input(name, name), Expectation::Named);
        }
        assert_eq!(Expectation::for_input("logs", "logs/README.md"), Expectation::Nothing);
        assert_eq!(Expectation::for_input("logs", &format!("logs/{LOG}")), Expectation::TrailFile);
    }
}
