//! AWS access: sessions and credentials, accounts and Regions, and error classification.
//!
//! Input: [`SessionOptions`], and roles to assume. Output: a [`Session`] per identity, with its clients;
//! [`discovery`] of Regions, accounts and trails; and a [`ServiceError`] with its [`ErrorKind`] for each failed request.
//! Invariant: every request has a time limit. All clients of a session share one set of credentials, which is renewed
//! once when it expires. Every error names the account, if it is known.
//! Deliberately absent: request rates and what to do when a service throttles (the sources have limiters for that), and
//! the events themselves.
//!
//! | file | responsibility |
//! |---|---|
//! | [`session`] | settings, identity and clients of a session |
//! | [`options`] | the settings, and the time limits |
//! | `credential_cache` | when credentials are renewed, by one task at a time |
//! | `observer` | what every response to an SDK client is checked for: expired sessions, clock skew, throttling |
//! | [`discovery`] | enabled Regions, accounts of an organization, trails |
//! | `api_request` | signed requests to services without an SDK crate |
//! | [`error`] | errors with operation, account and Region |
//! | [`service_error`] | description of a failed request |
//! | [`error_kind`] | classification of failed requests, and hints |
//! | `error_body`, `xml` | code and message in an error response; elements of an XML document |
//! | [`role`] | role ARNs, and templates for many accounts |
//! | [`partition`] | partitions and their Regions |
//! | [`clock`] | the clock, and its skew |
//! | `http` | connections, proxies and certificates, in one pool for all clients |

mod api_request;
pub mod clock;
mod credential_cache;
pub mod discovery;
pub mod error;
mod error_body;
pub mod error_kind;
mod http;
mod observer;
pub mod options;
pub mod partition;
pub mod role;
pub mod service_error;
pub mod session;
pub(crate) mod xml;

pub use clock::Clock;
pub use discovery::{EnabledRegions, OrganizationAccount, RegionSource, Trail};
pub use error::Error;
pub use error_kind::ErrorKind;
pub use options::{SessionOptions, Timeouts};
pub use partition::AwsPartition;
pub use role::{Role, RoleTemplate};
pub use service_error::ServiceError;
pub use session::{Identity, Session};
