//! Predicates on one event: which events a search finds, and on which a rule fires.
//!
//! Input: an event as parsed JSON, or the few values of it that a scan of the record finds. Output: whether it matches.
//! Invariant: pure; no file, network or clock. Every expression is checked before anything is read, and its evaluation
//! is bounded.
//! Not here: where events come from (see `source`), and what is done with those that match (see `pipeline`).
//!
//! | module | responsible for |
//! |---|---|
//! | [`query`] | the conditions of a search, and in which order they are evaluated |
//! | [`required_paths`], [`event_part`] | which parts of an event a query looks at |
//! | [`event_header`], [`time_bounds`] | what a query needs of an event that is not parsed; its time range |
//! | [`observations`] | what the evaluation of a query has met |
//! | [`glob`] | patterns such as `*-prod` |
//! | [`action`] | IAM action patterns such as `s3:Get*`, and which events an action leads to |
//! | [`match_expression`], [`literal`] | `--match 'JSONPATH OP VALUE'` |
//! | [`jmespath`], [`truth`] | JMESPath, and when its result counts as true |
//! | [`flat`], [`eventbridge`] | the views of an event that expressions see |
//! | [`principal`], [`resource`] | who made a call, and what it was about |
//! | [`selectors`] | the conditions of a search with options of their own |
//! | [`field_test`], [`required_text`] | tests of single fields that a condition requires; texts that a regular expression requires |
//! | [`rule`], [`sigma`] | on which events an alert is due: rules of our own, and those of Sigma |
//! | [`yaml`], [`scalar_position`] | YAML with the line and column of every value |
//! | [`syntax`] | errors in expressions, and limits on their size |

pub mod action;
pub mod event_header;
pub mod event_part;
pub mod eventbridge;
pub mod field_test;
pub mod flat;
pub mod glob;
pub mod jmespath;
pub mod literal;
pub mod match_expression;
pub mod observations;
pub mod principal;
pub mod query;
pub mod required_paths;
pub mod required_text;
pub mod resource;
pub mod rule;
pub mod scalar_position;
pub mod selectors;
pub mod sigma;
pub mod syntax;
pub mod time_bounds;
pub mod truth;
pub mod yaml;
