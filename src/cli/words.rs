//! The SOURCE words: what each of them means.
//!
//! In: words as typed, and the trails named by option. Out: [`Words`], numbered in the order of the summary.
//! Holds: nothing is looked at; whether a file is there is the source's business.

use std::ffi::{OsStr, OsString};

use super::failure::Failure;
use crate::{
    aws::Partition,
    secret,
    source::{self, s3::Address},
};

/// The word for the event history of accounts. A file of that name is `./lookup`.
pub const LOOKUP: &str = "lookup";

/// What is to be read, each with the number under which it is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// Files, folders, `-`.
    pub files: Vec<(usize, OsString)>,
    /// The event history of accounts.
    pub lookup: Option<usize>,
    /// Buckets, or parts of them.
    pub buckets: Vec<(usize, Address)>,
    /// Trails whose buckets CloudTrail is asked for.
    pub trails: Vec<(usize, String)>,
    /// What each is called, by its number.
    pub names: Vec<String>,
}

impl Words {
    /// Sorts the words; none at all means the event history.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] for an address that makes no sense.
    pub fn new(sources: &[OsString], trails: &[String]) -> Result<Self, Failure> {
        let mut words = Self::default();
        for source in sources {
            words.take(source)?;
        }
        for trail in trails {
            if !words.trails.iter().any(|(_, known)| known == trail) {
                let number = words.number(format!("trail {trail}"));
                words.trails.push((number, trail.clone()));
            }
        }
        if words.names.is_empty() {
            words.take(OsStr::new(LOOKUP))?;
        }
        Ok(words)
    }

    fn take(&mut self, source: &OsStr) -> Result<(), Failure> {
        let name = source.to_string_lossy();
        if name == LOOKUP {
            if self.lookup.is_none() {
                self.lookup = Some(self.number(LOOKUP));
            }
        } else if is_trail(&name) {
            if !self.trails.iter().any(|(_, known)| *known == name) {
                let number = self.number(format!("trail {name}"));
                self.trails.push((number, name.into_owned()));
            }
        } else if Address::is_meant_by(&name) {
            let address = Address::parse(&name)
                .map_err(|source| source::Error::Address { word: visible(&name), source })?;
            let number = self.number(address.to_string());
            self.buckets.push((number, address));
        } else {
            let number = self.number(match &*name {
                "-" => "standard input".to_owned(),
                // No file: it is refused later, and may have been meant for --into.
                address if address.contains("://") => visible(address),
                path => path.to_owned(),
            });
            self.files.push((number, source.to_owned()));
        }
        Ok(())
    }

    fn number(&mut self, name: impl Into<String>) -> usize {
        self.names.push(name.into());
        self.names.len() - 1
    }

    /// Returns the ARNs and the partitions that they name, in the order of the words.
    pub fn partitions(&self) -> impl Iterator<Item = (String, Partition)> {
        let buckets = self.buckets.iter();
        let buckets =
            buckets.filter_map(|(_, address)| Some((address.to_string(), address.partition?)));
        let trails = self
            .trails
            .iter()
            .filter_map(|(_, name)| Some((name.clone(), Partition::of_arn(name)?)));
        buckets.chain(trails)
    }

    /// Returns whether anything is read from buckets.
    pub fn has_buckets(&self) -> bool {
        !self.buckets.is_empty() || !self.trails.is_empty()
    }

    /// Returns whether AWS is asked for anything to read.
    pub fn is_aws(&self) -> bool {
        self.lookup.is_some() || self.has_buckets()
    }

    /// Returns the files as the source takes them.
    pub fn paths(&self) -> Vec<OsString> {
        self.files.iter().map(|(_, path)| path.clone()).collect()
    }
}

/// Returns whether a word is the ARN of a trail.
fn is_trail(word: &str) -> bool {
    let mut parts = word.splitn(6, ':');
    parts.next() == Some("arn")
        && parts.nth(1) == Some("cloudtrail")
        && parts.nth(2).is_some_and(|resource| resource.starts_with("trail/"))
}

/// Returns a word without the login that an address may hold.
fn visible(word: &str) -> String {
    if word.contains('@') { secret::shown(word) } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    fn words(sources: &[&str], trails: &[&str]) -> Result<Words, Failure> {
        let sources: Vec<OsString> = sources.iter().map(OsString::from).collect();
        let trails: Vec<String> = trails.iter().map(|name| (*name).to_owned()).collect();
        Words::new(&sources, &trails)
    }

    #[test]
    fn each_word_is_sorted_and_numbered() {
        let words = words(&["a", "lookup", "s3://logs/org/", "-", "./lookup"], &["audit"]).unwrap();
        assert_eq!(words.files, [(0, "a".into()), (3, "-".into()), (4, "./lookup".into())]);
        assert_eq!(words.lookup, Some(1));
        assert_eq!(words.buckets[0].0, 2);
        assert_eq!(words.trails, [(5, "audit".to_owned())]);
        let names = ["a", "lookup", "s3://logs/org/", "standard input", "./lookup", "trail audit"];
        assert_eq!(words.names, names);
        assert!(words.is_aws() && words.has_buckets());
    }

    #[test]
    fn arns_name_buckets_and_trails() {
        let trail = "arn:aws-us-gov:cloudtrail:us-gov-west-1:111122223333:trail/audit";
        let words =
            words(&["arn:aws-us-gov:s3:::logs/org/*", trail, "s3://plain"], &[trail]).unwrap();
        assert_eq!(words.names, ["s3://logs/org/", &format!("trail {trail}"), "s3://plain"]);
        assert_eq!(words.trails, [(1, trail.to_owned())]);
        let named: Vec<_> = words.partitions().map(|(_, partition)| partition).collect();
        assert_eq!(named, [Partition::GovCloud; 2]);
    }

    #[test]
    fn nothing_means_the_event_history() {
        assert_eq!(words(&[], &[]).unwrap().lookup, Some(0));
        assert_eq!(words(&["a"], &[]).unwrap().lookup, None);
        assert_eq!(words(&[], &["audit"]).unwrap().lookup, None);
        assert_eq!(words(&["lookup", "lookup"], &["a", "a"]).unwrap().names.len(), 2);
    }

    #[test]
    fn the_password_of_an_address_is_in_no_name() {
        let words = words(&["http://me:hush@host", "a@b"], &[]).unwrap();
        assert_eq!(words.names, ["http://host", "a@b"]);
    }

    #[test]
    fn an_address_that_makes_no_sense_is_exit_2() {
        let failure = words(&["arn:aws:iam::111122223333:role/r"], &[]).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.causes[0].contains("accesspoint/NAME"), "{failure:?}");
        let failure = words(&["s3://"], &[]).unwrap_err();
        assert_eq!((failure.exit, failure.heading.as_str()), (Exit::Usage, "cannot read s3://"));
        assert!(failure.causes[0].contains("s3://bucket/prefix"), "{failure:?}");
    }
}
