//! AWS on this machine, for those without an account: an organization with event history and a trail in a bucket.
//!
//! In: how much there is, how fast it answers. Out, on stdout: the lines to `export`, so that the loader (or any AWS
//! tool) comes here; `GET /_fake` at the first address returns what was asked, in numbers.
//! Holds: the services are the strict fakes of the tests (`tests/support/aws`), none is written twice: two requests
//! a second for each account and Region, page tokens that fit one query, buckets that answer in their Region only.
//! Absent on purpose: writing, and checking signatures. It runs until Ctrl-C.

mod made;

#[path = "../../../tests/support"]
#[expect(clippy::unwrap_used, reason = "a fake that cannot go on should say where")]
#[expect(dead_code, reason = "the tests need more of it")]
mod support {
    pub(crate) mod aws;
    pub(crate) mod wire;
}

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Parser;
use jiff::Timestamp;
use serde_json::{Value, json};
use trailload::aws::AwsPartition;

use made::{Folder, Trail};
use support::aws::cloudtrail::{CloudTrail, Model};
use support::aws::s3::Fake;
use support::aws::server::{Request, Response, Server};
use support::aws::sts::Sts;
use support::aws::{ACCOUNT, KEY, SECRET, Service, desk, ec2, organizations};

/// The account of the user whose credentials are printed, and the other ones of the organization.
const ACCOUNTS: [&str; 3] = [ACCOUNT, "444455556666", "777788889999"];

const BUCKET: &str = "trail-logs";
const TRAIL: &str = "organization-trail";
const HOME: &str = "us-east-1";

/// The role that exists in every account.
const ROLE: &str = "trailload";

/// Events of the history are spread over so many seconds: the ninety days that AWS keeps, but for a minute, because
/// the oldest ones are gone before they are asked for.
const HISTORY: i64 = 90 * 86_400 - 60;

/// How long requests are remembered, one by one, before only their numbers are.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Pretend to be AWS: event history, an organization, and its trail in the bucket trail-logs. Runs until Ctrl-C
#[derive(Parser)]
struct Options {
    /// Regions of each account
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=28))]
    regions: u8,
    /// Events in the history of each account and Region
    #[arg(long, default_value_t = 1_000)]
    events: u32,
    /// Requests a second for each account and Region; 0 refuses none
    #[arg(long, value_name = "REQUESTS", default_value_t = 2.0)]
    quota: f64,
    /// Requests a second that others take of it
    #[arg(long, value_name = "REQUESTS", default_value_t = 0.0)]
    others: f64,
    /// Milliseconds until an answer
    #[arg(long, value_name = "MS", default_value_t = 50)]
    latency: u64,

    /// Days that the trail has delivered
    #[arg(long, default_value_t = 30)]
    days: usize,
    /// Objects of a day, in each account and Region
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1440))]
    objects: u16,
    /// Events of an object
    #[arg(long, default_value_t = 20)]
    records: usize,
    /// Put the logs of this folder into the bucket instead (what lies below it, such as `AWSLogs`)
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Put them there so many times, each below a prefix of its own
    #[arg(long, requires = "folder", default_value_t = 1)]
    copies: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let regions = regions(&options);
    let bucket = Arc::new(Store::open(&options, &regions)?);
    let server = cloud(&options, &regions, &bucket);
    announce(&server, &bucket)?;
    loop {
        thread::sleep(REMEMBERED);
        server.forget();
        bucket.count();
    }
}

/// Prints what a shell needs to come here.
fn announce(server: &Server, bucket: &Store) -> Result<(), Box<dyn Error>> {
    let lines = [
        ("AWS_ENDPOINT_URL", server.url()),
        ("AWS_ENDPOINT_URL_S3", bucket.fake.url.clone()),
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ("AWS_REGION", HOME.to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    let mut out = std::io::stdout();
    for (name, value) in lines {
        writeln!(out, "export {name}={value}")?;
    }
    Ok(out.flush()?)
}

/// Returns the caller's own Region and so many others that there are as many as wanted.
fn regions(options: &Options) -> Vec<&'static str> {
    let others = AwsPartition::Aws.regions().iter().copied().filter(|region| *region != HOME);
    std::iter::once(HOME).chain(others).take(usize::from(options.regions)).collect()
}

/// Starts everything but S3, behind one address.
fn cloud(options: &Options, regions: &[&'static str], bucket: &Arc<Store>) -> Server {
    let sts = Arc::new(Sts::new());
    for account in ACCOUNTS {
        sts.role(&format!("arn:aws:iam::{account}:role/{ROLE}"), None);
    }
    let trail = history(options, regions);
    let enabled: Vec<_> = regions.iter().map(|region| (*region, "opt-in-not-required")).collect();
    let members = ACCOUNTS.map(|id| organizations::account(id, "example", "ACTIVE"));
    let services: Vec<(&str, Service)> = vec![
        ("cloudtrail", with_trails(trail.service(&sts))),
        ("ec2", Box::new(move |request| ec2::regions(request, &enabled))),
        ("organizations", Box::new(move |request| organizations::accounts(request, &members))),
    ];
    let (desk, bucket) = (desk(&sts, services), Arc::clone(bucket));
    Server::start(move |request| match request.path.as_str() {
        "/_fake" => Response::json(200, &figures(&trail, &bucket)),
        _ => desk(request),
    })
}

/// Opens the event history of all accounts, evenly filled.
fn history(options: &Options, regions: &[&str]) -> Arc<CloudTrail> {
    let now = Timestamp::now().as_second();
    let mut model = Model::new(now);
    (model.quota, model.others) = (options.quota, options.others);
    for account in ACCOUNTS {
        for region in regions {
            model.put(account, region, now - HISTORY, now, options.events);
        }
    }
    CloudTrail::new(model, Duration::from_millis(options.latency))
}

/// Adds the call that tells where the trail delivers to.
fn with_trails(lookup: Service) -> Service {
    let told = json!({"trailList": [{
        "Name": TRAIL, "TrailARN": format!("arn:aws:cloudtrail:{HOME}:{ACCOUNT}:trail/{TRAIL}"),
        "HomeRegion": HOME, "S3BucketName": BUCKET,
        "IsOrganizationTrail": true, "IsMultiRegionTrail": true,
    }]});
    Box::new(move |request: &Request| match request.action().as_str() {
        "DescribeTrails" => Response::json(200, &told),
        _ => lookup(request),
    })
}

/// Returns what was asked until now.
fn figures(trail: &CloudTrail, bucket: &Store) -> Value {
    let model = trail.model();
    let places = model.asked().iter().map(|((account, region), asked)| {
        json!({
            "account": account, "region": region, "granted": asked.granted,
            "throttled": asked.throttled, "first": asked.first, "last": asked.last,
        })
    });
    let places: Vec<Value> = places.collect();
    json!({"seconds": trail.seconds(), "quota": model.quota, "lookup": places, "s3": bucket.count()})
}

/// The bucket, and how often each of S3's calls was made.
struct Store {
    fake: Fake,
    calls: Mutex<BTreeMap<&'static str, u64>>,
}

impl Store {
    /// Fills the bucket with what the options say.
    fn open(options: &Options, regions: &[&'static str]) -> Result<Self, Box<dyn Error>> {
        let mut bucket = match &options.folder {
            Some(folder) => Folder::read(folder, options.copies)?.into_bucket(),
            None => Trail {
                accounts: &ACCOUNTS,
                regions: sorted(regions),
                today: Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date(),
                days: options.days,
                objects: usize::from(options.objects),
                records: options.records,
            }
            .into_bucket(),
        };
        bucket.region = HOME;
        bucket.latency = Duration::from_millis(options.latency);
        Ok(Self { fake: Fake::start([(BUCKET, bucket)]), calls: Mutex::default() })
    }

    /// Counts what was called since the last time, and returns all numbers. Says what no client of S3 should send.
    fn count(&self) -> BTreeMap<&'static str, u64> {
        let (calls, complaints) = self.fake.take_all();
        for complaint in complaints {
            // Nobody can be told if stderr is gone.
            let _ = writeln!(std::io::stderr(), "s3: {complaint}");
        }
        let mut counted = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        for call in calls {
            *counted.entry(call.action).or_default() += 1;
        }
        counted.clone()
    }
}

fn sorted(regions: &[&'static str]) -> Vec<&'static str> {
    let mut regions = regions.to_vec();
    regions.sort_unstable();
    regions
}
