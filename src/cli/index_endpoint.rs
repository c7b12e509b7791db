//! The engine whose indices are read: `--in index`.
//!
//! Input: options. Output: an [`IndexEndpoint`], and the connection to it.
//! Invariant: options of the engine are rejected if no index is read.

use std::{path::PathBuf, time::Duration};

use super::{
    args::engine::{ConnectionArgs, DEFAULT_INDEX, IndexPrefix},
    environment::Environment,
    failure::Failure,
    plan::{aws::EngineAuth, engine::EngineEndpoint, sources::SourceList},
    sources::signing,
};
use crate::{
    aws::Session,
    report::{Log, Metrics},
    shutdown::ShutdownSignal,
    sink::{EngineReader, Target},
};

/// How long requests are repeated without progress: long enough for the restart of a node, and short for a person who waits for
/// an answer.
const RETRY_DEADLINE: Duration = Duration::from_mins(1);

impl ConnectionArgs {
    /// Returns the first option that is given and names an engine or how it is reached.
    pub(in crate::cli) fn given_option(&self) -> Option<&'static str> {
        let given = [
            ("--into", self.into.is_some()),
            ("--ca-file", self.ca_file.is_some()),
            ("--password-file", self.secret_files.password_file.is_some()),
            ("--api-key-file", self.secret_files.api_key_file.is_some()),
            ("--aws-auth", self.aws_auth),
            ("--index", self.index.as_str() != DEFAULT_INDEX),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(option, _)| option)
    }
}

/// The engine whose indices are read.
#[derive(Clone, Debug)]
pub(in crate::cli) struct IndexEndpoint {
    /// The engine, and the credentials for it.
    pub(in crate::cli) endpoint: EngineEndpoint,
    /// How requests to the engine are authenticated.
    pub(in crate::cli) auth: EngineAuth,
    /// File with CA certificates to trust for the engine.
    pub(in crate::cli) ca_file: Option<PathBuf>,
    /// Prefix of the index names.
    pub(in crate::cli) prefix: IndexPrefix,
}

impl IndexEndpoint {
    /// Returns the engine that options name.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if it is not given completely.
    pub(in crate::cli) fn new(
        engine: &ConnectionArgs,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        Ok(Self {
            endpoint: engine.endpoint(environment)?,
            auth: engine.auth(),
            ca_file: engine.ca_file.clone(),
            prefix: engine.index.clone(),
        })
    }

    /// Returns the engine of `--in index`, or `None` if that is not among the sources. The error for an engine without use says
    /// why it has none.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if the engine is not given completely, or if it is given and not read.
    pub(in crate::cli) fn of_sources(
        sources: &SourceList,
        engine: &ConnectionArgs,
        environment: &Environment,
        why_unused: &str,
    ) -> Result<Option<Self>, Failure> {
        if sources.index.is_some() {
            return Self::new(engine, environment).map(Some);
        }
        match engine.given_option() {
            None => Ok(None),
            Some(option) => Err(Failure::usage(format!("'{option}' has no effect: {why_unused}"))
                .hint("add --in index, or remove the option")),
        }
    }

    /// Returns the options that name the engine. They contain no secret.
    pub(in crate::cli) fn options(&self) -> Vec<String> {
        let url = self.endpoint.url.as_str().trim_end_matches('/');
        let mut options = vec!["--into", url, "--index", self.prefix.as_str()];
        if self.auth == EngineAuth::SigV4 {
            options.push("--aws-auth");
        }
        options.into_iter().map(str::to_owned).collect()
    }

    /// Returns the target of requests. They are signed if they have to be and there is a session.
    pub(in crate::cli) fn target(&self, session: Option<&Session>) -> Target {
        let mut target = Target::new(self.endpoint.url.clone(), self.prefix.as_str());
        target.credentials = self.endpoint.credentials.clone();
        target.ca_file.clone_from(&self.ca_file);
        if let Some(session) = session.filter(|_| self.auth == EngineAuth::SigV4) {
            target.signing = Some(signing(&self.endpoint.url, session));
        }
        target
    }

    /// Connects to the engine.
    ///
    /// # Errors
    ///
    /// Returns a [`Failure`] if there is no response, or if the server is not an engine.
    pub(in crate::cli) async fn connect(
        &self,
        session: Option<&Session>,
        metrics: &Metrics,
        log: &Log,
        shutdown: &ShutdownSignal,
    ) -> Result<EngineReader, Failure> {
        let mut target = self.target(session);
        target.retry_deadline = RETRY_DEADLINE;
        let waits = metrics.waits.clone();
        Ok(EngineReader::connect(target, log.clone(), waits, shutdown.clone()).await?)
    }
}
