//! Resolves accounts, Regions and trail buckets in AWS.
//!
//! Input: [`AwsOptions`]. Output: an AWS session, the accounts with their Regions, the buckets of trails.
//! Invariant: an account that cannot be accessed does not prevent the others from being read.
//! Not here: reading events, which the sources do.

use std::{fs, sync::Arc};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    aws::{self, AwsPartition, Clock, ErrorKind, Identity, Session, SessionOptions, discovery},
    cli::{
        args::aws::Accounts,
        environment,
        failure::Failure,
        plan::{
            aws::{AwsOptions, role_arn_template},
            sources::SourceList,
        },
    },
    pending::PendingRequests,
    report::{Log, format},
    source::{
        self,
        lookup::{FoundTargets, LookupTarget, TargetDiscovery},
        s3::{AccountDiscovery, Address},
    },
};

/// Number of accounts resolved at the same time: STS and EC2 accept about ten requests per second from one caller.
const MAX_CONCURRENT_ACCOUNTS: usize = 8;

/// An account that can be accessed.
#[derive(Debug)]
pub(in crate::cli) struct ResolvedAccount {
    /// The session in this account.
    pub(in crate::cli) session: Session,
    /// The identity of the session.
    pub(in crate::cli) identity: Identity,
    /// The Regions to read.
    pub(in crate::cli) regions: Vec<String>,
    /// A warning if the list of Regions is a guess, so that some of them may be disabled.
    pub(in crate::cli) warning: Option<String>,
}

/// All requested accounts.
#[derive(Debug, Default)]
pub(in crate::cli) struct ResolvedAccounts {
    /// The accounts that can be accessed, by account ID.
    pub(in crate::cli) accounts: Vec<ResolvedAccount>,
    /// The accounts that cannot be accessed, and why.
    pub(in crate::cli) failed: Vec<(String, aws::Error)>,
}

impl ResolvedAccounts {
    /// Returns the targets of the event history: each account, Region and event category.
    pub(in crate::cli) fn lookup_targets(&self, options: &AwsOptions) -> Vec<LookupTarget> {
        let mut targets = Vec::new();
        for ResolvedAccount { session, identity, regions, warning } in &self.accounts {
            for region in regions {
                let client = session.cloudtrail(region);
                targets.extend(options.history.queries().into_iter().map(|(category, filter)| {
                    LookupTarget {
                        account: identity.account.clone(),
                        region: region.clone(),
                        client: client.clone(),
                        category,
                        filter,
                        may_be_disabled: warning.is_some(),
                    }
                }));
            }
        }
        targets
    }

    /// Logs the warnings about lists of Regions.
    pub(in crate::cli) fn warn(&self, log: &Log) {
        for ResolvedAccount { identity, warning, .. } in &self.accounts {
            if let Some(warning) = warning {
                log.warn(&format!("account {}", identity.account), warning);
            }
        }
    }
}

/// Opens an AWS session. No request is sent yet.
///
/// # Errors
///
/// Returns a [`Failure`] if the certificates cannot be used.
pub(in crate::cli) async fn new_session(
    aws: &AwsOptions,
    pending: &PendingRequests,
) -> Result<Session, Failure> {
    let mut options = SessionOptions::new(Clock::new(environment::now));
    options.pending = pending.clone();
    options.profile.clone_from(&aws.profile);
    options.partition = aws.partition;
    if let Some(path) = &aws.ca_bundle {
        let certificates = fs::read(path).map_err(|error| {
            Failure::action_required(format!(
                "cannot read {}, named by AWS_CA_BUNDLE",
                path.display()
            ))
            .caused_by(&error)
        })?;
        options.certificates = Some(certificates);
    }
    Ok(Session::load(&options).await?)
}

/// Resolves all accounts whose event history is requested.
///
/// # Errors
///
/// Returns a [`Failure`] if the accounts cannot be listed, or if none of them can be accessed.
pub(in crate::cli) async fn resolve_accounts(
    options: &AwsOptions,
    caller: &Session,
) -> Result<ResolvedAccounts, Failure> {
    let mut resolved = try_resolve_accounts(options, caller).await?;
    if resolved.accounts.is_empty()
        && let Some((_, error)) = resolved.failed.pop()
    {
        let failure = Failure::from(error);
        return Err(match resolved.failed.len() {
            0 => failure,
            others => Failure {
                heading: format!(
                    "{} (and {} failed)",
                    failure.heading,
                    format::plural(others as u64, "other account")
                ),
                ..failure
            },
        });
    }
    Ok(resolved)
}

/// Returns what finds the targets of the event history again, unless the options name all of them.
pub(in crate::cli) fn discovery(options: &AwsOptions, caller: &Session) -> Option<TargetDiscovery> {
    let is_fixed = options.regions.is_some() && options.accounts != Some(Accounts::Organization);
    let (options, caller) = (options.clone(), caller.clone());
    let discovery: TargetDiscovery = Box::new(move || {
        let (options, caller) = (options.clone(), caller.clone());
        Box::pin(async move {
            let resolved =
                try_resolve_accounts(&options, &caller).await.map_err(|why| one_line(&why))?;
            let targets = resolved.lookup_targets(&options);
            let failed = resolved.failed.into_iter();
            let failed = failed.map(|(account, error)| source::Error::Account {
                account,
                source: Box::new(error),
            });
            Ok(FoundTargets { targets, failed: failed.collect() })
        })
    });
    (!is_fixed).then_some(discovery)
}

/// Returns what finds the accounts of the organization again, whose logs are read from a bucket; `None` if they do not change.
pub(in crate::cli) fn account_discovery(
    options: &AwsOptions,
    caller: &Session,
) -> Option<AccountDiscovery> {
    let is_organization = options.accounts == Some(Accounts::Organization);
    let (options, caller) = (options.clone(), caller.clone());
    let discovery: AccountDiscovery = Box::new(move || {
        let (options, caller) = (options.clone(), caller.clone());
        Box::pin(async move {
            let ids = requested_account_ids(&options, &caller).await;
            ids.map(Option::unwrap_or_default).map_err(|why| one_line(&why))
        })
    });
    is_organization.then_some(discovery)
}

fn one_line(failure: &Failure) -> String {
    let parts: Vec<&str> =
        std::iter::once(&failure.heading).chain(&failure.causes).map(String::as_str).collect();
    parts.join(": ")
}

/// Like [`resolve_accounts`], but succeeds even if no account can be accessed.
pub(in crate::cli) async fn try_resolve_accounts(
    options: &AwsOptions,
    caller: &Session,
) -> Result<ResolvedAccounts, Failure> {
    let own = caller.identity().await?;
    let mut tasks = JoinSet::new();
    let slots = Arc::new(Semaphore::new(MAX_CONCURRENT_ACCOUNTS));
    for (account, sessions) in requested_accounts(options, caller, &own).await? {
        let (slots, regions) = (Arc::clone(&slots), options.regions.clone());
        tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            (account, resolve_with_any(sessions, regions).await)
        });
    }
    let mut resolved = ResolvedAccounts::default();
    for (account, (ready, errors)) in tasks.join_all().await {
        resolved.accounts.extend(ready);
        resolved.failed.extend(errors.into_iter().map(|error| (account.clone(), error)));
    }
    resolved.accounts.sort_by(|a, b| a.identity.account.cmp(&b.identity.account));
    resolved.failed.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(resolved)
}

/// Returns the requested accounts, each with the sessions to try, in order of preference.
async fn requested_accounts(
    options: &AwsOptions,
    caller: &Session,
    own: &Identity,
) -> Result<Vec<(String, Vec<Session>)>, Failure> {
    let ids = requested_account_ids(options, caller).await?;
    let mut requested: Vec<(String, Vec<Session>)> = Vec::new();
    let mut add = |account: String, session: Session| match requested
        .iter_mut()
        .find(|(known, _)| *known == account)
    {
        Some((_, sessions))
            if sessions.iter().any(|known| known.role_arn() == session.role_arn()) => {}
        Some((_, sessions)) => sessions.push(session),
        None => requested.push((account, vec![session])),
    };
    for template in &options.roles {
        let targets = match &ids {
            Some(ids) if template.has_placeholder() => ids.clone(),
            _ => vec![String::new()],
        };
        for id in targets {
            // The caller needs no role in its own account; a management account usually has none.
            if id == own.account {
                add(id, caller.clone());
                continue;
            }
            let role = template.for_account(&id, options.external_id.clone())?;
            let is_requested =
                ids.as_ref().is_none_or(|ids| ids.iter().any(|id| id == role.account()));
            if is_requested {
                add(role.account().to_owned(), caller.assume_role(&role));
            }
        }
    }
    if options.roles.is_empty() {
        add(own.account.clone(), caller.clone());
    }
    if let Some(ids) = &ids {
        let missing = ids.iter().find(|id| !requested.iter().any(|(account, _)| account == *id));
        if let Some(id) = missing {
            return Err(Failure::usage(format!(
                "'--accounts' includes {id}, but the credentials are for account {}",
                own.account
            ))
            .hint(format!(
                "add --assume-role '{}', or the ARN of a role in that account",
                role_arn_template(Some(own.partition))
            )));
        }
    }
    Ok(requested)
}

/// Returns the IDs of the requested accounts; `None` if no option names any.
async fn requested_account_ids(
    options: &AwsOptions,
    caller: &Session,
) -> Result<Option<Vec<String>>, Failure> {
    Ok(match &options.accounts {
        None => None,
        Some(Accounts::Listed(ids)) => Some(ids.clone()),
        Some(Accounts::Organization) => {
            let members = discovery::organization_accounts(caller).await?;
            Some(members.into_iter().map(|member| member.id).collect())
        }
    })
}

/// Resolves an account with the first session that can access it. Returns the errors of the sessions tried before.
async fn resolve_with_any(
    sessions: Vec<Session>,
    named: Option<Vec<String>>,
) -> (Option<ResolvedAccount>, Vec<aws::Error>) {
    let several = sessions.len() > 1;
    let mut errors = Vec::new();
    for session in sessions {
        let mut resolved = resolve(session, named.clone()).await;
        if several && let Ok(account) = &resolved {
            // This session may lack the permission to read events that another one has.
            if let Err(error) = check_lookup_allowed(account).await {
                resolved = Err(error);
            }
        }
        match resolved {
            Ok(account) => return (Some(account), errors),
            Err(error) => errors.push(error),
        }
    }
    (None, errors)
}

/// Requests one event from the first Region of an account. Fails only if access is denied.
async fn check_lookup_allowed(account: &ResolvedAccount) -> Result<(), aws::Error> {
    let Some(region) = account.regions.first() else { return Ok(()) };
    let response = account.session.cloudtrail(region).lookup_events().max_results(1).send().await;
    let error = response.err().map(|error| Box::new(aws::ServiceError::from_sdk(&error)));
    match error.filter(|error| matches!(error.kind, ErrorKind::AccessDenied { .. })) {
        None => Ok(()),
        Some(source) => Err(aws::Error::Request {
            account: Some(account.identity.account.clone()),
            service: "cloudtrail",
            action: "LookupEvents",
            region: region.clone(),
            source,
        }),
    }
}

async fn resolve(
    session: Session,
    named: Option<Vec<String>>,
) -> Result<ResolvedAccount, aws::Error> {
    let identity = session.identity().await?;
    let (regions, warning) = if let Some(names) = named {
        discovery::validate_regions(&names, identity.partition)?;
        (names, None)
    } else {
        let found = discovery::enabled_regions(&session).await?;
        (found.names, found.warning)
    };
    Ok(ResolvedAccount { session, identity, regions, warning })
}

/// The buckets to read, and the session to read them with.
#[derive(Debug)]
pub(in crate::cli) struct BucketTargets {
    /// The session that reads the buckets.
    pub(in crate::cli) session: Session,
    /// The buckets, each with the number of its SOURCE argument.
    pub(in crate::cli) targets: Vec<(usize, Address)>,
    /// IDs of the accounts to read; all if empty.
    pub(in crate::cli) accounts: Vec<String>,
}

/// Resolves the buckets to read: those named, and those that trails deliver to.
///
/// # Errors
///
/// Returns a [`Failure`] if no credentials are available, or if CloudTrail does not know a trail.
pub(in crate::cli) async fn bucket_targets(
    options: &AwsOptions,
    sources: &SourceList,
    caller: &Session,
) -> Result<BucketTargets, Failure> {
    let session = match options.roles.as_slice() {
        [role] => caller.assume_role(&role.for_account("", options.external_id.clone())?),
        _ => caller.clone(),
    };
    // The identity is not requested, because S3-compatible services have no STS.
    session.access_key_id().await?;
    let mut targets = sources.buckets.clone();
    for (number, name) in &sources.trails {
        targets.push((*number, trail_bucket(&session, name).await?));
    }
    check_access_points(&targets, &session)?;
    let accounts = requested_account_ids(options, caller).await?.unwrap_or_default();
    Ok(BucketTargets { session, targets, accounts })
}

/// Rejects access points if the S3 endpoint is an IP address or localhost: an access point is addressed by host name.
///
/// # Errors
///
/// Returns a usage [`Failure`] with the alternatives.
pub(in crate::cli) fn check_access_points(
    targets: &[(usize, Address)],
    session: &Session,
) -> Result<(), Failure> {
    let endpoint = session.endpoint("s3");
    let url = endpoint.and_then(|endpoint| endpoint.parse::<url::Url>().ok());
    let domain = url.as_ref().and_then(url::Url::domain);
    let named = targets.iter().find(|(_, address)| address.bucket.starts_with("arn:"));
    match (url.as_ref(), named) {
        (Some(url), Some((_, address))) if domain.is_none_or(|name| name == "localhost") => {
            Err(Failure::usage(format!("{address} is an access point, which cannot be reached at {url}")).hint(
                "unset AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_S3, or use the bucket or the access point alias \
                 (NAME-…-s3alias)",
            ))
        }
        _ => Ok(()),
    }
}

/// Describes the credentials of a session: by account if it is known, otherwise by access key.
pub(in crate::cli) async fn caller_name(session: &Session) -> Result<String, aws::Error> {
    Ok(match session.account() {
        Some(account) => format!("account {account}"),
        None => format!("access key {}", session.access_key_id().await?),
    })
}

/// Requests the bucket of a trail from CloudTrail.
async fn trail_bucket(session: &Session, name: &str) -> Result<Address, Failure> {
    // A single-Region trail is listed only in its Region, which its ARN contains.
    let region =
        match name.split(':').nth(3).filter(|part| AwsPartition::from_region(part).is_some()) {
            Some(region) => region.to_owned(),
            None => session.region(),
        };
    let trails = discovery::trails(session, &region, Some(name)).await?;
    let Some(trail) = trails.into_iter().next() else {
        return Err(Failure::action_required(format!(
            "CloudTrail has no trail '{name}' in {region} that delivers to a bucket"
        ))
        .hint("set AWS_REGION to the Region of the trail, or use its ARN"));
    };
    let prefix = match trail.key_prefix {
        Some(prefix) => format!("{prefix}/AWSLogs/"),
        None => "AWSLogs/".to_owned(),
    };
    Ok(Address { bucket: trail.bucket, prefix, partition: None })
}
