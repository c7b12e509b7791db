//! The SOURCE arguments, sorted by what they name.
//!
//! Input: the arguments, and the trails named with `--trail`. Output: a [`SourceList`], numbered in the order of the
//! summary.
//! Not here: whether a file or bucket exists, which the sources check.

use std::ffi::{OsStr, OsString};

use crate::{
    aws::AwsPartition,
    cli::failure::Failure,
    redact,
    source::{self, queue::QueueAddress, s3::Address},
};

/// The argument for the event history of accounts. A file of that name can be given as `./lookup`.
pub const LOOKUP: &str = "lookup";

/// The argument of a search for the indices of an engine. A file of that name can be given as `./index`.
pub const INDEX: &str = "index";

/// The sources of a run, each with the number under which it is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceList {
    /// Files, folders, `-`.
    pub files: Vec<(usize, OsString)>,
    /// The event history of accounts.
    pub lookup: Option<usize>,
    /// Buckets, or prefixes in them.
    pub buckets: Vec<(usize, Address)>,
    /// Trails whose buckets are still to be resolved, by name or ARN.
    pub trails: Vec<(usize, String)>,
    /// Queues with messages about log files or events.
    pub queues: Vec<(usize, QueueAddress)>,
    /// The indices of an engine; only a search reads them.
    pub index: Option<usize>,
    /// The name of each source in the summary, by its number.
    pub names: Vec<String>,
}

impl SourceList {
    /// Sorts the arguments of a load. Without any, the event history is loaded.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] for an invalid S3 address.
    pub fn new(sources: &[OsString], trails: &[String]) -> Result<Self, Failure> {
        let mut list = Self::default();
        for source in sources {
            list.add(source)?;
        }
        list.with_trails(trails)
    }

    /// Sorts the arguments of a search, which can also be [`INDEX`]. Without any, the event history is searched.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] for an invalid S3 address.
    pub fn for_search(sources: &[OsString], trails: &[String]) -> Result<Self, Failure> {
        let mut list = Self::default();
        for source in sources {
            if source != INDEX {
                list.add(source)?;
            } else if list.index.is_none() {
                list.index = Some(list.next_number(INDEX));
            }
        }
        list.with_trails(trails)
    }

    fn with_trails(mut self, trails: &[String]) -> Result<Self, Failure> {
        for trail in trails {
            if !self.trails.iter().any(|(_, known)| known == trail) {
                let number = self.next_number(format!("trail {trail}"));
                self.trails.push((number, trail.clone()));
            }
        }
        if self.names.is_empty() {
            self.add(OsStr::new(LOOKUP))?;
        }
        Ok(self)
    }

    fn add(&mut self, source: &OsStr) -> Result<(), Failure> {
        let name = source.to_string_lossy();
        if name.trim().is_empty() {
            return Err(Failure::usage("the name of a source is empty")
                .hint("check the variable that it comes from"));
        }
        if name == LOOKUP {
            if self.lookup.is_none() {
                self.lookup = Some(self.next_number(LOOKUP));
            }
        } else if is_trail_arn(&name) {
            if !self.trails.iter().any(|(_, known)| *known == name) {
                let number = self.next_number(format!("trail {name}"));
                self.trails.push((number, name.into_owned()));
            }
        } else if QueueAddress::is_address(&name) {
            self.add_queue(&name)?;
        } else if Address::is_address(&name) {
            let address = Address::parse(&name).map_err(|source| source::Error::Address {
                word: without_credentials(&name),
                source,
            })?;
            let number = self.next_number(address.to_string());
            self.buckets.push((number, address));
        } else {
            let number = self.next_number(match &*name {
                "-" => "standard input".to_owned(),
                // A URL is not a file, so it is rejected later. It may have been meant for --into and hold a password.
                address if address.contains("://") => without_credentials(address),
                path => path.to_owned(),
            });
            self.files.push((number, source.to_owned()));
        }
        Ok(())
    }

    /// Adds a queue, unless it is there.
    fn add_queue(&mut self, name: &str) -> Result<(), Failure> {
        let address = QueueAddress::parse(name).map_err(|source| source::Error::QueueAddress {
            word: without_credentials(name),
            source,
        })?;
        if !self.queues.iter().any(|(_, known)| *known == address) {
            let number = self.next_number(address.to_string());
            self.queues.push((number, address));
        }
        Ok(())
    }

    fn next_number(&mut self, name: impl Into<String>) -> usize {
        self.names.push(name.into());
        self.names.len() - 1
    }

    /// Returns the ARNs and their partitions, in the order of the arguments.
    pub fn partitions(&self) -> impl Iterator<Item = (String, AwsPartition)> {
        let buckets = self.buckets.iter();
        let buckets =
            buckets.filter_map(|(_, address)| Some((address.to_string(), address.partition?)));
        let trails = self
            .trails
            .iter()
            .filter_map(|(_, name)| Some((name.clone(), AwsPartition::from_arn(name)?)));
        let queues = self.queues.iter();
        let queues =
            queues.filter_map(|(_, address)| Some((address.to_string(), address.partition?)));
        buckets.chain(trails).chain(queues)
    }

    /// Returns whether a bucket is read.
    pub fn has_buckets(&self) -> bool {
        !self.buckets.is_empty() || !self.trails.is_empty()
    }

    /// Returns whether a queue is read.
    pub fn has_queues(&self) -> bool {
        !self.queues.is_empty()
    }

    /// Returns whether anything is read from AWS.
    pub fn uses_aws(&self) -> bool {
        self.lookup.is_some() || self.has_buckets() || self.has_queues()
    }

    /// Returns the number of sources that fetch ahead of the workers, each with a share of the memory.
    pub fn remote_sources(&self) -> usize {
        usize::from(self.lookup.is_some()) + usize::from(self.has_buckets()) + self.queues.len()
    }

    /// Rejects `--follow` if a source cannot be followed.
    ///
    /// # Errors
    ///
    /// Returns a usage [`Failure`] that names the sources that can.
    pub fn check_follow(&self) -> Result<(), Failure> {
        if self.files.is_empty() && self.index.is_none() {
            return Ok(());
        }
        Err(Failure::usage(
            "'--follow' applies only to the event history, to buckets and to queues",
        )
        .hint("name 'lookup', s3://BUCKET or sqs://QUEUE; to follow a pipe, read '-' without --follow"))
    }

    /// Returns the paths of the files, as the file source expects them.
    pub fn paths(&self) -> Vec<OsString> {
        self.files.iter().map(|(_, path)| path.clone()).collect()
    }
}

/// Returns whether an argument is the ARN of a trail.
fn is_trail_arn(argument: &str) -> bool {
    let mut parts = argument.splitn(6, ':');
    parts.next() == Some("arn")
        && parts.nth(1) == Some("cloudtrail")
        && parts.nth(2).is_some_and(|resource| resource.starts_with("trail/"))
}

/// Returns an argument without the user name and password that a URL may hold.
fn without_credentials(argument: &str) -> String {
    if argument.contains('@') { redact::url(argument) } else { argument.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    fn list(sources: &[&str], trails: &[&str]) -> Result<SourceList, Failure> {
        let sources: Vec<OsString> = sources.iter().map(OsString::from).collect();
        let trails: Vec<String> = trails.iter().map(|name| (*name).to_owned()).collect();
        SourceList::new(&sources, &trails)
    }

    #[test]
    fn each_word_is_sorted_and_numbered() {
        let list = list(&["a", "lookup", "s3://logs/org/", "-", "./lookup"], &["audit"]).unwrap();
        assert_eq!(list.files, [(0, "a".into()), (3, "-".into()), (4, "./lookup".into())]);
        assert_eq!(list.lookup, Some(1));
        assert_eq!(list.buckets[0].0, 2);
        assert_eq!(list.trails, [(5, "audit".to_owned())]);
        let names = ["a", "lookup", "s3://logs/org/", "standard input", "./lookup", "trail audit"];
        assert_eq!(list.names, names);
        assert!(list.uses_aws() && list.has_buckets());
    }

    #[test]
    fn only_a_search_reads_an_index() {
        let words: Vec<OsString> = ["index", "a", "index", "./index"].map(OsString::from).to_vec();
        let list = SourceList::for_search(&words, &[]).unwrap();
        assert_eq!((list.index, list.lookup), (Some(0), None));
        assert_eq!(list.names, ["index", "a", "./index"]);
        let load = SourceList::new(&words[..1], &[]).unwrap();
        assert_eq!((load.index, load.files.len()), (None, 1));
    }

    #[test]
    fn arns_name_buckets_and_trails() {
        let trail = "arn:aws-us-gov:cloudtrail:us-gov-west-1:111122223333:trail/audit";
        let list =
            list(&["arn:aws-us-gov:s3:::logs/org/*", trail, "s3://plain"], &[trail]).unwrap();
        assert_eq!(list.names, ["s3://logs/org/", &format!("trail {trail}"), "s3://plain"]);
        assert_eq!(list.trails, [(1, trail.to_owned())]);
        let named: Vec<_> = list.partitions().map(|(_, partition)| partition).collect();
        assert_eq!(named, [AwsPartition::GovCloud; 2]);
    }

    #[test]
    fn queues_are_named_by_address_url_or_arn() {
        let arn = "arn:aws-cn:sqs:cn-north-1:111122223333:trail";
        let list =
            list(&["sqs://trail", "sqs://trail", arn, &format!("sqs://{arn}")], &[]).unwrap();
        assert_eq!(list.names, ["sqs://trail", arn]);
        assert!(list.uses_aws() && list.has_queues() && !list.has_buckets());
        assert_eq!(list.remote_sources(), 2);
        assert_eq!(list.partitions().collect::<Vec<_>>(), [(arn.to_owned(), AwsPartition::China)]);
    }

    #[test]
    fn nothing_means_the_event_history() {
        assert_eq!(list(&[], &[]).unwrap().lookup, Some(0));
        assert_eq!(list(&["a"], &[]).unwrap().lookup, None);
        assert_eq!(list(&[], &["audit"]).unwrap().lookup, None);
        assert_eq!(list(&["lookup", "lookup"], &["a", "a"]).unwrap().names.len(), 2);
    }

    #[test]
    fn the_password_of_an_address_is_in_no_name() {
        let list = list(&["http://me:hush@host", "a@b"], &[]).unwrap();
        assert_eq!(list.names, ["http://host", "a@b"]);
    }

    #[test]
    fn an_address_that_makes_no_sense_is_exit_2() {
        let failure = list(&["arn:aws:iam::111122223333:role/r"], &[]).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.causes[0].contains("accesspoint/NAME"), "{failure:?}");
        let failure = list(&["s3://"], &[]).unwrap_err();
        assert_eq!((failure.exit, failure.heading.as_str()), (Exit::Usage, "cannot read s3://"));
        assert!(failure.causes[0].contains("s3://BUCKET/PREFIX"), "{failure:?}");
    }
}
