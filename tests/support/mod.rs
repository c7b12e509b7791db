//! What the tests share: a fake engine, events, and the loader's own program as a black box.

pub(crate) mod alert_services;
pub(crate) mod aws;
pub(crate) mod engine;
pub(crate) mod events;
pub(crate) mod hostile;
pub(crate) mod json;
pub(crate) mod load;
pub(crate) mod mapping;
pub(crate) mod proxy;
pub(crate) mod real;
pub(crate) mod relay;
pub(crate) mod samples;
pub(crate) mod saved_objects;
pub(crate) mod signature;
pub(crate) mod sources;
pub(crate) mod stranger;
pub(crate) mod trap;
pub(crate) mod wire;
