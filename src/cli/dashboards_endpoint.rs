//! Kibana or OpenSearch Dashboards: `--dashboards`.
//!
//! Input: the URL of the option. Output: a [`DashboardsTarget`]; refreshed lists of fields; failures with hints that name the
//! option.
//! Invariant: credentials are those in the URL, or else those of the engine, which both products check with the engine.

use std::path::PathBuf;

use url::Url;

use super::{args::engine::EngineUrl, exit::Exit, failure::Failure};
use crate::{
    dashboard::{Dashboards, SavedObject, saved_objects},
    report::{Log, Metrics, format},
    shutdown::shutdown_channel,
    sink::{
        self, Credentials, Service, Signing,
        dashboards::{
            DashboardsClient, DashboardsError, DashboardsTarget, FieldListUpdate, LocatedObject,
        },
    },
};

/// The kind of object that lists fields.
pub(in crate::cli) const INDEX_PATTERN: &str = "index-pattern";

/// Returns the target of `--dashboards`.
///
/// # Errors
///
/// Returns a usage [`Failure`] if the URL is invalid.
pub(in crate::cli) fn dashboards_target(
    url: &EngineUrl,
    credentials: &Credentials,
    ca_file: Option<PathBuf>,
) -> Result<DashboardsTarget, Failure> {
    let invalid = |problem: &str| {
        Failure::usage(format!("invalid value '{url}' for '--dashboards <URL>': {problem}"))
            .hint("use the URL of Kibana or OpenSearch Dashboards, such as http://localhost:5601")
    };
    let parsed: Url = url.expose().parse().map_err(|error: url::ParseError| match error {
        url::ParseError::RelativeUrlWithoutBase => {
            invalid("expected a URL that starts with http:// or https://")
        }
        other => invalid(&other.to_string()),
    })?;
    let mut target = DashboardsTarget::new(parsed).map_err(|error| invalid(&error.to_string()))?;
    if target.credentials == Credentials::None {
        target.credentials = credentials.clone();
    }
    target.ca_file = ca_file;
    Ok(target)
}

/// Returns the failure for an error of Kibana or OpenSearch Dashboards.
pub(in crate::cli) fn dashboards_failure(error: DashboardsError) -> Failure {
    match error {
        DashboardsError::Request(error) => request_failure(error),
        error => Failure::from_error(Exit::ActionRequired, &error)
            .hint("check host, port and base path of --dashboards"),
    }
}

/// The hints for engines name `--into`.
fn request_failure(error: sink::Error) -> Failure {
    let hint = match &error {
        sink::Error::Connect { kind: sink::ConnectError::ConnectionRefused, .. } => {
            Some("check that it is running, and check host and port of --dashboards")
        }
        sink::Error::Connect { kind: sink::ConnectError::HostNotFound, .. } => {
            Some("check the host name of --dashboards")
        }
        sink::Error::Redirected { .. } => Some(
            "use the address after the redirect; a login page means that credentials are missing",
        ),
        sink::Error::InvalidUrl { .. } => Some("check the URL of --dashboards"),
        sink::Error::Denied { status: 403, .. } => {
            Some("grant this user the rights to saved objects in this space or tenant")
        }
        sink::Error::Refused { status: 413, .. } => Some(
            "raise savedObjects.maxImportPayloadBytes, or the limit of the proxy before it, to 1 MiB or more",
        ),
        sink::Error::Refused { status: 422, .. } => Some(
            "it is too old for these objects: update it to Kibana 8 or OpenSearch Dashboards 2",
        ),
        sink::Error::Refused { .. } => Some("see the log of Kibana or OpenSearch Dashboards"),
        _ => None,
    };
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Returns the saved objects for the indices of a prefix.
///
/// # Errors
///
/// Returns a [`Failure`] if the embedded definitions are invalid, which tests rule out.
pub(in crate::cli) fn objects_of(prefix: &str) -> Result<Vec<SavedObject>, Failure> {
    let dashboards = Dashboards::embedded()
        .map_err(|error| Failure::from_error(Exit::ActionRequired, &error))?;
    Ok(saved_objects(&dashboards, prefix))
}

/// Refreshes the list of fields of each index pattern, where one is stored. Returns why that failed.
///
/// # Errors
///
/// Returns a [`Failure`] if the embedded definitions are invalid, which tests rule out.
pub(in crate::cli) async fn refresh_field_lists(
    prefix: &str,
    client: &DashboardsClient,
    log: &Log,
) -> Result<Vec<Failure>, Failure> {
    let patterns: Vec<_> =
        objects_of(prefix)?.into_iter().filter(|object| object.kind == INDEX_PATTERN).collect();
    let located = match client.locate(&patterns).await {
        Ok(located) => located,
        Err(error) => return Ok(vec![dashboards_failure(error)]),
    };
    let mut failures = Vec::new();
    for LocatedObject { object, .. } in located {
        match client.refresh_fields(&object.id).await {
            Ok(FieldListUpdate::Refreshed(fields)) => {
                let fields = format::plural(fields as u64, "field");
                log.info(&object.title, format_args!("the index pattern lists {fields}"));
            }
            Ok(_) => {}
            Err(error) => failures.push(dashboards_failure(error)),
        }
    }
    Ok(failures)
}

/// Refreshes the lists of fields after a load that discovered fields. A failure is a warning: the events are loaded.
pub(in crate::cli) async fn refresh_after_load(
    url: &EngineUrl,
    engine: &sink::Target,
    metrics: &Metrics,
    log: &Log,
) -> Result<(), Failure> {
    let mut target = dashboards_target(url, &engine.credentials, engine.ca_file.clone())?;
    target.signing = engine.signing.clone().map(|signing| match Service::from_host(&target.url) {
        Some((service, region)) => Signing { service, region, ..signing },
        None => signing,
    });
    let (_trigger, shutdown) = shutdown_channel();
    let connecting =
        DashboardsClient::connect(&target, log.clone(), metrics.waits.clone(), shutdown);
    let failures = match connecting.await {
        Ok(client) => refresh_field_lists(&engine.prefix, &client, log).await?,
        Err(error) => vec![dashboards_failure(error)],
    };
    for Failure { heading, causes, .. } in failures {
        let causes: Vec<_> = std::iter::once(heading).chain(causes).collect();
        let message = format_args!("fields are not refreshed: {}", causes.join(": "));
        log.warn(&url.to_string(), message);
    }
    Ok(())
}
