//! One identity at AWS, and the clients that act as it.
//!
//! In: [`Options`], and what the machine offers (variables, profiles, metadata services). Out: [`Access`].
//! Holds: every client of one [`Access`] shares its credentials, connections, time limits and clock.
//! Absent on purpose: the order of the credential chain, which is that of every AWS tool.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use aws_credential_types::provider::SharedCredentialsProvider;
use jiff::{SignedDuration, Timestamp};

use super::{Error, Member, Partition, Regions, Role, Trail};

/// The clock that signatures are made with; `cli` owns the real one.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// Wraps a clock.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Returns the time now.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Clock")
    }
}

/// How long anything at AWS may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// From the request to the first byte of the answer.
    pub read: Duration,
    /// One attempt as a whole. A streamed body comes after it and has the source's own limit.
    pub attempt: Duration,
    /// Getting credentials, with everything that the chain tries for it.
    pub credentials: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // The SDK's own default.
            connect: Duration::from_millis(3_100),
            // LookupEvents is known to take up to 35 seconds in a busy Region.
            read: Duration::from_secs(60),
            attempt: Duration::from_secs(60),
            // An external process may ask a person for a code.
            credentials: Duration::from_secs(120),
        }
    }
}

/// What an identity is made from. Everything may be left out but the clock.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--profile`; it beats keys in the environment, as with the AWS CLI.
    pub profile: Option<String>,
    /// The Region to start from; otherwise variable, profile or metadata service say it.
    pub region: Option<String>,
    /// The clock.
    pub clock: Clock,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Certificates to trust besides the machine's own, as PEM: the contents of `AWS_CA_BUNDLE`.
    pub certificates: Option<Vec<u8>>,
    /// Endpoints by service (`cloudtrail`, `s3`, `sts`, `ec2`, `account`, `organizations`); they beat
    /// `AWS_ENDPOINT_URL_…`, which need not be repeated here.
    pub endpoints: BTreeMap<String, String>,
    /// Credentials to use instead of the chain's.
    pub credentials: Option<SharedCredentialsProvider>,
}

impl Options {
    /// Returns options that leave everything to the machine.
    pub fn new(clock: Clock) -> Self {
        Self {
            profile: None,
            region: None,
            clock,
            timeouts: Timeouts::default(),
            certificates: None,
            endpoints: BTreeMap::new(),
            credentials: None,
        }
    }
}

/// Who AWS says we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account, 12 digits.
    pub account: String,
    /// The user or the role's session.
    pub arn: String,
    /// Where the account lives.
    pub partition: Partition,
}

/// One identity at AWS. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Access(());

impl Access {
    /// Reads settings and prepares; asks nobody at AWS yet. Credentials are had when they are needed first: call
    /// [`identity`](Self::identity) to fail early.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if `certificates` are none or `region` is no Region.
    pub async fn load(options: &Options) -> Result<Self, Error> {
        todo!("{options:?}")
    }

    /// Returns the access that a role gives, with this identity as the caller. Nothing is asked yet:
    /// [`identity`](Self::identity) shows whether the role can be had. Its credentials are renewed for as long as
    /// this access lives.
    pub fn assume(&self, role: &Role) -> Self {
        todo!("{role:?}")
    }

    /// Returns who we are (STS `GetCallerIdentity`, which needs no permission). Asked once; later calls are free.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if credentials cannot be had or are not accepted.
    pub async fn identity(&self) -> Result<Identity, Error> {
        todo!()
    }

    /// Returns the account, once [`identity`](Self::identity) has found it; for error texts.
    pub fn account(&self) -> Option<String> {
        todo!()
    }

    /// Returns the Region that settings name, or the one that stands for the partition.
    pub fn region(&self) -> String {
        todo!()
    }

    /// Returns the partition of the identity, or of the Region while nobody was asked.
    pub fn partition(&self) -> Partition {
        todo!()
    }

    /// Returns the client that reads the history of one Region. It tries transient failures again, up to 3 times
    /// in all, and asks for new credentials when the session has expired; it never repeats what was throttled.
    pub fn cloudtrail(&self, region: &str) -> aws_sdk_cloudtrail::Client {
        todo!("{region}")
    }

    /// Returns the client for buckets of one Region; the same manners as [`cloudtrail`](Self::cloudtrail).
    /// Path style for endpoints that are an address or `localhost`.
    pub fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        todo!("{region}")
    }

    /// Returns the credentials that all clients of this access share; for signing to an engine.
    pub fn credentials(&self) -> SharedCredentialsProvider {
        todo!()
    }

    /// Returns how far this machine's clock is ahead of AWS (negative: behind), by the last answer.
    pub fn clock_ahead(&self) -> Option<SignedDuration> {
        todo!()
    }

    /// Returns the address a service has been given by options, variables or the profile.
    pub fn endpoint(&self, service: &str) -> Option<String> {
        todo!("{service}")
    }

    /// Returns the Regions to load when all are wanted: `DescribeRegions`, else account `ListRegions`, else a list
    /// that is built in. The partition's global Region is always part.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the credentials, or the clock, would fail everywhere. A mere refusal is no error.
    pub async fn regions(&self) -> Result<Regions, Error> {
        todo!()
    }

    /// Returns the organization's accounts that are active.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if `ListAccounts` is refused: only the management account and delegated administrators may.
    pub async fn organization_accounts(&self) -> Result<Vec<Member>, Error> {
        todo!()
    }

    /// Returns the trails of the account that one Region shows, or only the one called `name` (or by ARN).
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if `DescribeTrails` is refused.
    pub async fn trails(&self, region: &str, name: Option<&str>) -> Result<Vec<Trail>, Error> {
        todo!("{region} {name:?}")
    }
}
