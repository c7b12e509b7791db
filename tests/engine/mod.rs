//! The promises on real engines, started by `scripts/test`. Without an engine these fail.

mod blocked;
mod calls;
mod corpus;
mod dead_letters;
mod exit;
mod fields;
mod foreign;
mod history;
mod model;
mod presence;
mod restart;
mod returned;
pub(crate) mod secure;
mod together;

/// Makes one test for each engine from a function that takes a [`Corner`](crate::support::real::Corner).
macro_rules! on_every_engine {
    ($($promise:ident),+ $(,)?) => {
        mod opensearch_3 { $(#[test] fn $promise() { super::$promise(&super::Corner::of(super::Engine::OpenSearch3)); })+ }
        mod opensearch_2 { $(#[test] fn $promise() { super::$promise(&super::Corner::of(super::Engine::OpenSearch2)); })+ }
        mod elasticsearch_9 { $(#[test] fn $promise() { super::$promise(&super::Corner::of(super::Engine::Elasticsearch9)); })+ }
        mod elasticsearch_8 { $(#[test] fn $promise() { super::$promise(&super::Corner::of(super::Engine::Elasticsearch8)); })+ }
    };
}
pub(crate) use on_every_engine;
