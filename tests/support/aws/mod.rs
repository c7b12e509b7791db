//! Fakes of AWS services, in this process, for the real SDK clients.

pub(crate) mod s3;
