//! What is in the bucket: the trail of an organization, made up object by object when it is asked for; or a folder.
//!
//! Holds: the same key has the same bytes, in this run and in the next one; keys come in the order of their bytes;
//! nothing is kept in memory but the names of a folder's files.

use std::io;
use std::path::{Path, PathBuf};

use jiff::ToSpan as _;
use jiff::civil::Date;
use libdeflater::{CompressionLvl, Compressor};
use serde_json::{Value, json};

use super::support::aws::s3::Bucket;

const ORGANIZATION: &str = "o-exampleorg1";
const MINUTES: usize = 1_440;

/// More Regions than there are, and more days since 1970: what the numbers of objects count in.
const PLACES: usize = 100;
const DAYS: usize = 100_000;

/// What people do: service, operation, whether it only reads, and what they ask for.
type Deed = (&'static str, &'static str, bool, fn(usize) -> Value);

const DEEDS: [Deed; 6] = [
    ("ec2", "DescribeInstances", true, |n| json!({"maxResults": n % 1000, "filterSet": {}})),
    ("s3", "PutBucketPolicy", false, |n| json!({"bucketName": format!("data-{}", n % 9)})),
    ("sts", "AssumeRole", true, |n| json!({"roleSessionName": format!("session-{n}")})),
    ("kms", "Decrypt", true, |_| json!({"encryptionAlgorithm": "SYMMETRIC_DEFAULT"})),
    ("iam", "CreateUser", false, |n| json!({"userName": format!("user-{n}")})),
    ("ec2", "RunInstances", false, |n| json!({"instancesSet": {"items": [{"minCount": n % 4}]}})),
];

/// The trail of an organization: so many objects a day, for each account and Region, until yesterday.
pub(crate) struct Trail {
    /// Sorted.
    pub(crate) accounts: &'static [&'static str],
    /// Sorted.
    pub(crate) regions: Vec<&'static str>,
    pub(crate) today: Date,
    pub(crate) days: usize,
    pub(crate) objects: usize,
    pub(crate) records: usize,
}

impl Trail {
    pub(crate) fn into_bucket(self) -> Bucket {
        let count = self.accounts.len() * self.regions.len() * self.days * self.objects;
        let records = self.records;
        Bucket::made(count, move |number| self.key(number), move |key| body(key, records))
    }

    /// Returns a key, by its number in their order.
    fn key(&self, number: usize) -> String {
        let (rest, object) = (number / self.objects, number % self.objects);
        let (rest, day) = (rest / self.days, rest % self.days);
        let (account, region) = (rest / self.regions.len(), rest % self.regions.len());
        let back = i64::try_from(self.days - day).unwrap_or(0);
        let day = self.today.saturating_sub(back.days());
        let (folder, date) = (day.strftime("%Y/%m/%d"), day.strftime("%Y%m%d"));
        let minute = object * MINUTES / self.objects;
        // Tells it from all others, and is the same tomorrow.
        let number = ((account * PLACES + region) * DAYS + since_1970(day)) * MINUTES + minute;
        let (account, region) = (self.accounts[account], self.regions[region]);
        let (hour, minute) = (minute / 60, minute % 60);
        format!(
            "AWSLogs/{ORGANIZATION}/{account}/CloudTrail/{region}/{folder}/\
             {account}_CloudTrail_{region}_{date}T{hour:02}{minute:02}Z_{number:016x}.json.gz"
        )
    }
}

fn since_1970(day: Date) -> usize {
    let past = day.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24;
    usize::try_from(past).unwrap_or(0)
}

/// Returns an object's bytes, whose events can be told from those of any other key.
fn body(key: &str, records: usize) -> Vec<u8> {
    let name = key.rsplit('/').next().unwrap_or(key).trim_end_matches(".json.gz");
    let mut parts = name.split('_');
    let mut part = || parts.next().unwrap_or_default();
    let (account, _, region, time, random) = (part(), part(), part(), part(), part());
    let minute = match (time.get(..8), time.get(9..13)) {
        (Some(date), Some(clock)) => {
            let (year, month, day) = (&date[..4], &date[4..6], &date[6..]);
            format!("{year}-{month}-{day}T{}:{}", &clock[..2], &clock[2..])
        }
        _ => "2024-01-01T00:00".to_owned(),
    };
    let start = usize::from_str_radix(random, 16).unwrap_or(0).wrapping_mul(records);
    let records: Vec<Value> =
        (start..start + records).map(|number| record(account, region, &minute, number)).collect();
    packed(json!({ "Records": records }).to_string().as_bytes())
}

fn record(account: &str, region: &str, minute: &str, number: usize) -> Value {
    let (service, name, reads, asked) = DEEDS[number % DEEDS.len()];
    json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser", "accountId": account, "userName": format!("user-{}", number % 7),
            "arn": format!("arn:aws:iam::{account}:user/user-{}", number % 7),
        },
        "eventTime": format!("{minute}:{:02}Z", number % 60),
        "eventSource": format!("{service}.amazonaws.com"),
        "eventName": name,
        "awsRegion": region,
        "sourceIPAddress": format!("192.0.2.{}", number % 250),
        "userAgent": "aws-cli/2.31.0",
        "requestParameters": asked(number),
        "eventID": format!("0a1b2c3d-4e5f-4a6b-8c7d-{number:012x}"),
        "readOnly": reads,
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": account,
        "eventCategory": "Management",
    })
}

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut packer = Compressor::new(CompressionLvl::fastest());
    let mut bytes = vec![0; packer.gzip_compress_bound(plain.len())];
    match packer.gzip_compress(plain, &mut bytes) {
        Ok(length) => bytes.truncate(length),
        // The bound makes room for any result; plain text is a body too.
        Err(_) => bytes = plain.to_vec(),
    }
    bytes
}

/// The files of a folder, as often as wanted.
pub(crate) struct Folder {
    place: PathBuf,
    /// Sorted, with `/` between their parts.
    names: Vec<String>,
    copies: usize,
}

impl Folder {
    /// Reads the names of all gzip files below a folder.
    pub(crate) fn read(place: &Path, copies: usize) -> io::Result<Self> {
        let (mut names, mut folders) = (Vec::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            for entry in place.join(&folder).read_dir()? {
                let entry = entry?;
                let name = format!("{folder}{}", entry.file_name().to_string_lossy());
                if entry.file_type()?.is_dir() {
                    folders.push(name + "/");
                } else if entry.path().extension().is_some_and(|end| end == "gz") {
                    names.push(name);
                }
            }
        }
        names.sort_unstable();
        Ok(Self { place: place.to_owned(), names, copies })
    }

    pub(crate) fn into_bucket(self) -> Bucket {
        let (names, place, copies) = (self.names, self.place, self.copies);
        let count = names.len() * copies;
        let key = move |number: usize| match copies {
            1 => names[number].clone(),
            _ => format!("copy-{:03}/{}", number / names.len(), names[number % names.len()]),
        };
        let body = move |key: &str| {
            let file = match copies {
                1 => key,
                _ => key.split_once('/').map_or(key, |(_, file)| file),
            };
            // A file that is gone is empty, and the loader says so.
            std::fs::read(place.join(file)).unwrap_or_default()
        };
        Bucket::made(count, key, body)
    }
}
