//! Trail logs in buckets: finds them, skips those that are done, fetches the rest.
//!
//! ```text
//!  explorer ──Shelf──▶ sieve ──Job──▶ fetcher ──Found──▶ the caller's thread
//!  (tasks)             (thread)       (tasks)
//! ```
//!
//! In: addresses, and what earlier runs finished. Out: one [`Found`] for each object.
//! Holds: one way, and bounded: a slow engine holds the fetcher up by the memory that its bodies take, and the
//! fetcher the explorer. A lane is one object: key and ETag; there is no "last key", because late files sort
//! anywhere. What fails for one object, folder or bucket never stops the others.
//! Absent on purpose: gzip and JSON (see `decode`), and credentials (see `aws`).
//!
//! | file | decides |
//! |---|---|
//! | [`address`] | what `s3://bucket/prefix` says |
//! | `layout` | what the parts of a key say: account, kind, Region, day |
//! | `explore`, `shelf` | which folders are listed, and what was closed before |
//! | `sieve` | what is done |
//! | `fetch` | how a body gets here whole |
//! | `bucket`, `pace` | which Region answers, how often is asked again, how many at once |
//! | `refusal` | what an answer means |

pub mod address;
mod layout;
mod refusal;

use jiff::Timestamp;

pub use self::{
    address::{Address, Wrong},
    layout::LogKind,
    refusal::Refusal,
};
use super::{Error, Found, Source, files::Done};

/// Looks up how many inputs were done below a prefix when it was closed by an earlier run.
pub type Closed = Box<dyn FnMut(&str) -> Option<u64> + Send>;

/// Makes a client for a Region.
pub type ClientFor = Box<dyn Fn(&str) -> aws_sdk_s3::Client + Send + Sync>;

/// What is asked of the buckets.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Region that is asked first, whatever the bucket: the caller's own.
    pub region: String,
    /// Accounts to list; all if empty.
    pub accounts: Vec<String>,
    /// Regions to list; all if empty.
    pub regions: Vec<String>,
    /// Kinds of logs to list; all if empty.
    pub kinds: Vec<LogKind>,
    /// First moment of the events that are wanted.
    pub from: Option<Timestamp>,
    /// First moment that is no longer wanted.
    pub to: Option<Timestamp>,
    /// Days, counted back from now, that are listed again by each run; older ones may be closed.
    pub late_days: u32,
    /// Whether the caller pays for what the bucket's owner usually pays.
    pub requester_pays: bool,
    /// Bytes of bodies that may be held, and that workers have not dropped.
    pub memory_bytes: u64,
    /// Whether everything is fetched, done or not.
    pub again: bool,
}

/// The buckets named on the command line.
pub struct Buckets {
    targets: Vec<(usize, Address)>,
    options: Options,
    client: ClientFor,
    done: Done,
    closed: Closed,
    now: Timestamp,
}

impl Buckets {
    /// Takes the addresses, each with the number of its SOURCE word; nothing is asked yet.
    ///
    /// `done` and `closed` know what earlier runs finished; `now` decides which days are late.
    pub fn new(
        targets: Vec<(usize, Address)>,
        options: Options,
        client: ClientFor,
        done: Done,
        closed: Closed,
        now: Timestamp,
    ) -> Self {
        Self { targets, options, client, done, closed, now }
    }
}

impl Source for Buckets {
    fn list(&mut self, _found: &mut dyn FnMut(usize, Found) -> bool) -> Result<(), Error> {
        Ok(())
    }
}
