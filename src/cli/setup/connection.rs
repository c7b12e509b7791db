//! The engine, and Kibana or OpenSearch Dashboards: from options to connections.
//!
//! Input: options, environment. Output: connected clients.
//! Invariant: credentials of the dashboards are those in their URL, or else those of the engine, which both products check
//! with the engine.

use std::path::PathBuf;

use super::SetupArgs;
use crate::{
    aws::Session,
    cli::{
        args::load::LoadArgs,
        dashboards_endpoint::{dashboards_failure, dashboards_target},
        environment::{self, Environment},
        failure::Failure,
        index_endpoint::IndexEndpoint,
        plan::aws::{AwsOptions, EngineAuth},
        sources::{accounts, signing},
    },
    pending::PendingRequests,
    report::Log,
    shutdown::shutdown_channel,
    sink::{
        EngineSetup,
        dashboards::{DashboardsClient, DashboardsTarget},
    },
};

/// What `setup` connects to.
pub(super) struct Connections {
    engine: IndexEndpoint,
    dashboards: Option<DashboardsTarget>,
    aws: AwsOptions,
}

impl Connections {
    /// Checks the options; sends nothing.
    pub(super) fn new(args: &SetupArgs, environment: &Environment) -> Result<Self, Failure> {
        let engine = IndexEndpoint::new(&args.connection, environment)?;
        let dashboards = match &args.dashboards {
            Some(url) => {
                Some(dashboards_target(url, &engine.endpoint.credentials, engine.ca_file.clone())?)
            }
            None => None,
        };
        let mut load = LoadArgs::defaults()?;
        load.engine.connection = args.connection.clone();
        // Setup has no checkpoint, so no folder for one is needed.
        load.engine.checkpoint = Some(PathBuf::new());
        load.aws.access.profile.clone_from(&args.profile);
        let aws = load.plan(environment, environment::now())?.aws;
        Ok(Self { engine, dashboards, aws })
    }

    /// Connects to the engine.
    pub(super) async fn engine(
        &self,
        log: &Log,
        pending: &PendingRequests,
    ) -> Result<EngineSetup, Failure> {
        let session = self.session(pending).await?;
        let target = self.engine.target(session.as_ref());
        Ok(EngineSetup::connect(target, log.clone(), pending.clone(), no_shutdown()).await?)
    }

    /// Connects to Kibana or OpenSearch Dashboards, if their URL is given.
    pub(super) async fn dashboards(
        &self,
        log: &Log,
        pending: &PendingRequests,
    ) -> Result<Option<DashboardsClient>, Failure> {
        let Some(target) = &self.dashboards else { return Ok(None) };
        let mut target = target.clone();
        if let Some(session) = self.session(pending).await? {
            target.signing = Some(signing(&target.url, &session));
        }
        let connecting =
            DashboardsClient::connect(&target, log.clone(), pending.clone(), no_shutdown());
        connecting.await.map(Some).map_err(dashboards_failure)
    }

    async fn session(&self, pending: &PendingRequests) -> Result<Option<Session>, Failure> {
        if self.engine.auth == EngineAuth::Credentials {
            return Ok(None);
        }
        accounts::new_session(&self.aws, pending).await.map(Some)
    }
}

/// Returns a shutdown signal that never comes: an interrupt ends the process at once, and the same command continues.
fn no_shutdown() -> crate::shutdown::ShutdownSignal {
    shutdown_channel().1
}
