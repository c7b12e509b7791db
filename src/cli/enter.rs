//! Enters AWS: who we are, which accounts and Regions there are, which buckets trails deliver to.
//!
//! In: a [`Cloud`]. Out: an [`Access`], accounts with their Regions, and what the sources take.
//! Holds: an account that cannot be entered never stops the others.
//! Absent on purpose: reading events; that is what the sources do with what is made here.

use std::{fs, sync::Arc};

use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    cloud::{Accounts, Cloud, role_of_each},
    environment,
    failure::Failure,
    words::Words,
};
use crate::{
    aws::{self, Access, Clock, Identity, Options, Partition, Trouble, regions},
    report::{Log, figures},
    source::{lookup::Place, s3::Address},
    waits::Waits,
};

/// Accounts that are entered at the same time: STS and EC2 take some ten requests a second from one caller.
const ENTERED_AT_ONCE: usize = 8;

/// An account that was entered.
#[derive(Debug)]
pub(super) struct Account {
    /// Acts there.
    pub(super) access: Access,
    /// As whom.
    pub(super) identity: Identity,
    /// What is looked at there.
    pub(super) regions: Vec<String>,
    /// What a person should know about the list of Regions; then nobody said that they are enabled.
    pub(super) warning: Option<String>,
}

/// All accounts that are asked for.
#[derive(Debug, Default)]
pub(super) struct Entered {
    /// Those that can be looked into, by number.
    pub(super) accounts: Vec<Account>,
    /// Those that cannot, and why.
    pub(super) refused: Vec<(String, aws::Error)>,
}

impl Entered {
    /// Returns what to look up: each account, Region and category.
    pub(super) fn places(&self, cloud: &Cloud) -> Vec<Place> {
        let mut places = Vec::new();
        for Account { access, identity, regions, warning } in &self.accounts {
            for region in regions {
                let client = access.cloudtrail(region);
                places.extend(cloud.history.wishes().into_iter().map(|(category, filter)| Place {
                    account: identity.account.clone(),
                    region: region.clone(),
                    client: client.clone(),
                    category,
                    filter,
                    guessed: warning.is_some(),
                }));
            }
        }
        places
    }

    /// Says what a person should know about the lists of Regions.
    pub(super) fn warn(&self, log: &Log) {
        for Account { identity, warning, .. } in &self.accounts {
            if let Some(warning) = warning {
                log.warn(&format!("account {}", identity.account), warning);
            }
        }
    }
}

/// Prepares an identity; nobody is asked yet.
///
/// # Errors
///
/// Returns a [`Failure`] if the certificates cannot be used.
pub(super) async fn access(cloud: &Cloud, waits: &Waits) -> Result<Access, Failure> {
    let mut options = Options::new(Clock::new(environment::now));
    options.waits = waits.clone();
    options.profile.clone_from(&cloud.profile);
    options.partition = cloud.partition;
    if let Some(path) = &cloud.ca_bundle {
        let certificates = fs::read(path).map_err(|error| {
            Failure::person(format!("could not read {}, named by AWS_CA_BUNDLE", path.display()))
                .caused_by(&error)
        })?;
        options.certificates = Some(certificates);
    }
    Ok(Access::load(&options).await?)
}

/// Enters all accounts whose event history is asked for.
///
/// # Errors
///
/// Returns a [`Failure`] if it cannot be found out which they are, or if none of them can be entered.
pub(super) async fn accounts(cloud: &Cloud, caller: &Access) -> Result<Entered, Failure> {
    let mut entered = all_accounts(cloud, caller).await?;
    if entered.accounts.is_empty()
        && let Some((_, error)) = entered.refused.pop()
    {
        let failure = Failure::from(error);
        return Err(match entered.refused.len() {
            0 => failure,
            others => Failure {
                heading: format!(
                    "{} (and {} failed)",
                    failure.heading,
                    figures::counted(others as u64, "other account")
                ),
                ..failure
            },
        });
    }
    Ok(entered)
}

/// Like [`accounts`], but none need be entered.
pub(super) async fn all_accounts(cloud: &Cloud, caller: &Access) -> Result<Entered, Failure> {
    let own = caller.identity().await?;
    let mut tasks = JoinSet::new();
    let slots = Arc::new(Semaphore::new(ENTERED_AT_ONCE));
    for (account, ways) in wanted(cloud, caller, &own).await? {
        let (slots, regions) = (Arc::clone(&slots), cloud.regions.clone());
        tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            (account, enter_by_any(ways, regions).await)
        });
    }
    let mut entered = Entered::default();
    for (account, (ready, refused)) in tasks.join_all().await {
        entered.accounts.extend(ready);
        entered.refused.extend(refused.into_iter().map(|error| (account.clone(), error)));
    }
    entered.accounts.sort_by(|a, b| a.identity.account.cmp(&b.identity.account));
    entered.refused.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entered)
}

/// Returns the accounts that are asked for, each once, with the identities that may act there, the first one first.
async fn wanted(
    cloud: &Cloud,
    caller: &Access,
    own: &Identity,
) -> Result<Vec<(String, Vec<Access>)>, Failure> {
    let ids = ids(cloud, caller).await?;
    let mut wanted: Vec<(String, Vec<Access>)> = Vec::new();
    let mut add = |account: String, access: Access| match wanted
        .iter_mut()
        .find(|(known, _)| *known == account)
    {
        Some((_, ways)) if ways.iter().any(|way| way.role() == access.role()) => {}
        Some((_, ways)) => ways.push(access),
        None => wanted.push((account, vec![access])),
    };
    for template in &cloud.roles {
        let targets = match &ids {
            Some(ids) if template.needs_account() => ids.clone(),
            _ => vec![String::new()],
        };
        for id in targets {
            // The caller needs no role at home; in an organization's first account there mostly is none.
            if id == own.account {
                add(id, caller.clone());
                continue;
            }
            let role = template.role(&id, cloud.external_id.clone())?;
            let asked_for =
                ids.as_ref().is_none_or(|ids| ids.iter().any(|id| id == role.account()));
            if asked_for {
                add(role.account().to_owned(), caller.assume(&role));
            }
        }
    }
    if cloud.roles.is_empty() {
        add(own.account.clone(), caller.clone());
    }
    if let Some(ids) = &ids {
        let missing = ids.iter().find(|id| !wanted.iter().any(|(account, _)| account == *id));
        if let Some(id) = missing {
            return Err(Failure::usage(format!(
                "'--accounts' names {id}, and the credentials are for {}",
                own.account
            ))
            .hint(format!(
                "add --assume-role '{}', or the role's own ARN",
                role_of_each(Some(own.partition))
            )));
        }
    }
    Ok(wanted)
}

/// Returns the numbers of the accounts that are asked for; `None` if no option names any.
async fn ids(cloud: &Cloud, caller: &Access) -> Result<Option<Vec<String>>, Failure> {
    Ok(match &cloud.accounts {
        None => None,
        Some(Accounts::Listed(ids)) => Some(ids.clone()),
        Some(Accounts::Organization) => {
            let members = caller.organization_accounts().await?;
            Some(members.into_iter().map(|member| member.id).collect())
        }
    })
}

/// Enters an account by the first of several identities that gets in. Returns why those before it did not.
async fn enter_by_any(
    ways: Vec<Access>,
    named: Option<Vec<String>>,
) -> (Option<Account>, Vec<aws::Error>) {
    let several = ways.len() > 1;
    let mut refused = Vec::new();
    for access in ways {
        let mut entered = enter(access, named.clone()).await;
        if several && let Ok(account) = &entered {
            // Another one may do where this one gets in and may not read.
            if let Err(error) = may_look_up(account).await {
                entered = Err(error);
            }
        }
        match entered {
            Ok(account) => return (Some(account), refused),
            Err(error) => refused.push(error),
        }
    }
    (None, refused)
}

/// Asks the first Region of an account for one event. Fails only if that is denied.
async fn may_look_up(account: &Account) -> Result<(), aws::Error> {
    let Some(region) = account.regions.first() else { return Ok(()) };
    let asked = account.access.cloudtrail(region).lookup_events().max_results(1).send().await;
    let refusal = asked.err().map(|error| Box::new(aws::Refusal::of(&error)));
    match refusal.filter(|refusal| matches!(refusal.trouble, Trouble::Denied { .. })) {
        None => Ok(()),
        Some(source) => Err(aws::Error::Call {
            account: Some(account.identity.account.clone()),
            service: "cloudtrail",
            action: "LookupEvents",
            region: region.clone(),
            source,
        }),
    }
}

async fn enter(access: Access, named: Option<Vec<String>>) -> Result<Account, aws::Error> {
    let identity = access.identity().await?;
    let (regions, warning) = if let Some(names) = named {
        regions::check(&names, identity.partition)?;
        (names, None)
    } else {
        let found = access.regions().await?;
        (found.names, found.warning)
    };
    Ok(Account { access, identity, regions, warning })
}

/// What buckets are to be read, and as whom.
#[derive(Debug)]
pub(super) struct Shelves {
    /// Reads them.
    pub(super) access: Access,
    /// The buckets, each with the number of its SOURCE word.
    pub(super) targets: Vec<(usize, Address)>,
    /// Accounts to list; all if empty.
    pub(super) accounts: Vec<String>,
}

/// Finds out which buckets are to be read.
///
/// # Errors
///
/// Returns a [`Failure`] if credentials cannot be had, or CloudTrail does not know a trail.
pub(super) async fn shelves(
    cloud: &Cloud,
    words: &Words,
    caller: &Access,
) -> Result<Shelves, Failure> {
    let access = match cloud.roles.as_slice() {
        [role] => caller.assume(&role.role("", cloud.external_id.clone())?),
        _ => caller.clone(),
    };
    // Nobody has to know whose they are: services that speak S3 have no STS.
    access.access_key().await?;
    let mut targets = words.buckets.clone();
    for (word, name) in &words.trails {
        targets.push((*word, bucket_of(&access, name).await?));
    }
    check_points(&targets, &access)?;
    let accounts = ids(cloud, caller).await?.unwrap_or_default();
    Ok(Shelves { access, targets, accounts })
}

/// Refuses access points at an endpoint that has no names: theirs becomes a part of it.
///
/// # Errors
///
/// Returns a usage [`Failure`] that says what to name instead.
pub(super) fn check_points(targets: &[(usize, Address)], access: &Access) -> Result<(), Failure> {
    let endpoint = access.endpoint("s3");
    let url = endpoint.and_then(|endpoint| endpoint.parse::<url::Url>().ok());
    let domain = url.as_ref().and_then(url::Url::domain);
    let named = targets.iter().find(|(_, address)| address.bucket.starts_with("arn:"));
    match (url.as_ref(), named) {
        (Some(url), Some((_, address))) if domain.is_none_or(|name| name == "localhost") => {
            Err(Failure::usage(format!("{address} is an access point, and cannot be reached at {url}")).hint(
                "leave out AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_S3, or name the bucket, or the alias of the access point \
                 (NAME-…-s3alias)",
            ))
        }
        _ => Ok(()),
    }
}

/// Says whose credentials an identity has: the account's if that is known, and otherwise by its access key.
pub(super) async fn whose(access: &Access) -> Result<String, aws::Error> {
    Ok(match access.account() {
        Some(account) => format!("account {account}"),
        None => format!("access key {}", access.access_key().await?),
    })
}

/// Asks CloudTrail where a trail delivers to.
async fn bucket_of(access: &Access, name: &str) -> Result<Address, Failure> {
    // A trail of one Region is told only there, and its ARN says where that is.
    let region = match name.split(':').nth(3).filter(|part| Partition::of_region(part).is_some()) {
        Some(region) => region.to_owned(),
        None => access.region(),
    };
    let trails = access.trails(&region, Some(name)).await?;
    let Some(trail) = trails.into_iter().next() else {
        return Err(Failure::person(format!(
            "CloudTrail knows no trail '{name}' in {region} that delivers to a bucket"
        ))
        .hint("set AWS_REGION to the trail's Region, or give its ARN"));
    };
    let prefix = match trail.prefix {
        Some(prefix) => format!("{prefix}/AWSLogs/"),
        None => "AWSLogs/".to_owned(),
    };
    Ok(Address { bucket: trail.bucket, prefix, partition: None })
}
