//! Discovers what an account has: enabled Regions, the accounts of its organization, and trails.
//!
//! Input: a [`Session`]. Output: [`EnabledRegions`], [`OrganizationAccount`]s and [`Trail`]s.
//! Invariant: pagination ends even if a service returns the same token again and again.
//! Deliberately absent: organizational units; a user who wants some accounts only lists them.

use serde_json::{Value, json};

use super::{
    api_request::ApiRequest, error::Error, partition::AwsPartition, service_error::ServiceError,
    session::Session, xml,
};

/// Where a list of Regions comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionSource {
    /// EC2 `DescribeRegions`: the enabled Regions.
    Described,
    /// Account Management `ListRegions`: the enabled Regions.
    Listed,
    /// The table of this build: some Regions may not be enabled, and newer ones are missing. A Region that fails with
    /// [`ErrorKind::RegionNotEnabled`](super::ErrorKind::RegionNotEnabled) is to be skipped.
    BuiltIn,
}

/// The Regions to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnabledRegions {
    /// Region names: first the partition's global Region, then the others, sorted.
    pub names: Vec<String>,
    /// Where the names come from.
    pub source: RegionSource,
    /// A warning for the user, if the list may be incomplete.
    pub warning: Option<String>,
}

/// An account of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationAccount {
    /// Account ID, 12 digits.
    pub id: String,
    /// Account name.
    pub name: String,
}

/// A trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trail {
    /// Name.
    pub name: String,
    /// ARN, which is unique.
    pub arn: String,
    /// Region in which the trail was created.
    pub home_region: String,
    /// Bucket that the trail delivers to.
    pub bucket: String,
    /// Key prefix before `AWSLogs/`, without a trailing slash; `None` if there is none.
    pub key_prefix: Option<String>,
    /// True if the trail covers all accounts of an organization.
    pub is_organization_trail: bool,
    /// True if the trail covers all Regions.
    pub is_multi_region: bool,
}

/// Checks Region names that the user gave, for a session in `partition`.
///
/// # Errors
///
/// Returns [`Error`] for an invalid Region name, and for a Region of another partition.
pub fn validate_regions(names: &[String], partition: AwsPartition) -> Result<(), Error> {
    for name in names {
        let Some(actual) = AwsPartition::from_region(name) else {
            return Err(Error::InvalidRegion(name.clone()));
        };
        if actual != partition {
            let region = name.clone();
            return Err(Error::WrongPartition { region, actual, expected: partition });
        }
    }
    Ok(())
}

/// Returns the Regions that are enabled for the account: from EC2 `DescribeRegions`, else from Account Management
/// `ListRegions`, else all that this build knows. The partition's global Region is always among them.
///
/// # Errors
///
/// Returns [`Error`] for a failure that would meet every request, such as invalid credentials. A denied action is not
/// an error.
pub async fn enabled_regions(session: &Session) -> Result<EnabledRegions, Error> {
    let describe_error = match describe_regions(session).await {
        Ok(names) => return Ok(normalized(session, names, RegionSource::Described)),
        Err(error) => continue_after(error)?,
    };
    let list_error = match list_regions(session).await {
        Ok(names) => return Ok(normalized(session, names, RegionSource::Listed)),
        Err(error) => continue_after(error)?,
    };
    let names = session.partition().regions().iter().map(|&name| name.to_owned()).collect();
    let warning = format!(
        "could not determine which Regions are enabled; all Regions that this version knows are tried, and newer \
         ones are missing: allow ec2:DescribeRegions or account:ListRegions, or set --regions ({describe_error}; \
         {list_error})"
    );
    let regions = normalized(session, names, RegionSource::BuiltIn);
    Ok(EnabledRegions { warning: Some(warning), ..regions })
}

/// Returns the text of an error after which another API can be tried.
///
/// # Errors
///
/// Returns the error itself if it would meet every further request.
fn continue_after(error: Error) -> Result<String, Error> {
    match error {
        Error::Request { service, action, source, .. } if !source.kind.affects_every_region() => {
            Ok(format!("{service}:{action}: {source}"))
        }
        Error::IncompleteResponse { .. } => Ok(error.to_string()),
        other => Err(other),
    }
}

/// Sorts and deduplicates Regions and puts the global Region first, because most events are recorded there.
fn normalized(session: &Session, mut names: Vec<String>, source: RegionSource) -> EnabledRegions {
    let global = session.partition().global_region();
    names.retain(|name| name != global);
    names.sort();
    names.dedup();
    names.insert(0, global.to_owned());
    EnabledRegions { names, source, warning: None }
}

async fn describe_regions(session: &Session) -> Result<Vec<String>, Error> {
    let request = ApiRequest {
        service: "ec2",
        action: "DescribeRegions",
        region: session.region(),
        path: "/",
        headers: vec![("content-type", "application/x-www-form-urlencoded; charset=utf-8")],
        body: "Action=DescribeRegions&Version=2016-11-15".to_owned(),
    };
    let body = session.send(&request).await?;
    let items = xml::items(&String::from_utf8_lossy(&body), "item", ["regionName", "optInStatus"]);
    let names: Vec<String> = items.into_iter().filter_map(enabled_region).collect();
    if names.is_empty() {
        return Err(session.incomplete_response(request.service, request.action, "Regions"));
    }
    Ok(names)
}

/// Returns the name of a Region, unless the account has not opted in.
fn enabled_region([name, opt_in_status]: [Option<String>; 2]) -> Option<String> {
    let is_region = |name: &String| AwsPartition::from_region(name).is_some();
    name.filter(is_region).filter(|_| opt_in_status.as_deref() != Some("not-opted-in"))
}

async fn list_regions(session: &Session) -> Result<Vec<String>, Error> {
    let request = |token: Option<&str>| {
        let mut body = json!({
            "MaxResults": 50,
            "RegionOptStatusContains": ["ENABLED", "ENABLED_BY_DEFAULT", "DISABLING"],
        });
        if let Some(token) = token {
            body["NextToken"] = token.into();
        }
        ApiRequest {
            service: "account",
            action: "ListRegions",
            region: session.partition().control_region().to_owned(),
            path: "/listRegions",
            headers: vec![("content-type", "application/json")],
            body: body.to_string(),
        }
    };
    let listed = all_pages(session, "Regions", request).await?;
    let name = |region: &Value| Some(region.get("RegionName")?.as_str()?.to_owned());
    Ok(listed.iter().filter(|region| is_enabled(region)).filter_map(name).collect())
}

/// A Region that is being disabled still holds its events.
fn is_enabled(region: &Value) -> bool {
    let status = region.get("RegionOptStatus").and_then(Value::as_str);
    matches!(status, Some("ENABLED" | "ENABLED_BY_DEFAULT" | "DISABLING"))
}

/// Returns the active accounts of the organization, sorted by ID.
///
/// # Errors
///
/// Returns [`Error`] if `ListAccounts` fails: only the management account and delegated administrators may call it.
pub async fn organization_accounts(session: &Session) -> Result<Vec<OrganizationAccount>, Error> {
    let request = |token: Option<&str>| ApiRequest {
        service: "organizations",
        action: "ListAccounts",
        region: session.partition().control_region().to_owned(),
        path: "/",
        headers: vec![
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "AWSOrganizationsV20161128.ListAccounts"),
        ],
        body: token.map_or_else(|| json!({}), |token| json!({"NextToken": token})).to_string(),
    };
    let listed = all_pages(session, "Accounts", request).await?;
    let active = listed.iter().filter(|account| is_active(account));
    let mut accounts: Vec<_> = active.filter_map(organization_account).collect();
    accounts.sort_by(|a, b| a.id.cmp(&b.id));
    accounts.dedup();
    Ok(accounts)
}

/// `State` replaces `Status` in newer versions of the API. A closed account would deny its role anyway.
fn is_active(account: &Value) -> bool {
    let state = account.get("State").or_else(|| account.get("Status"));
    state.and_then(Value::as_str) == Some("ACTIVE")
}

fn organization_account(account: &Value) -> Option<OrganizationAccount> {
    let text = |name: &str| account.get(name).and_then(Value::as_str);
    Some(OrganizationAccount {
        id: text("Id")?.to_owned(),
        name: text("Name").unwrap_or_default().to_owned(),
    })
}

/// Returns the elements of the array `field` of all pages; `request` builds the request for a page token.
async fn all_pages(
    session: &Session,
    field: &'static str,
    request: impl Fn(Option<&str>) -> ApiRequest,
) -> Result<Vec<Value>, Error> {
    let mut elements = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let request = request(token.as_deref());
        let missing = |what| session.incomplete_response(request.service, request.action, what);
        let body = session.send(&request).await?;
        let mut page: Value = serde_json::from_slice(&body).map_err(|_| missing("JSON"))?;
        let Some(listed) = page.get_mut(field).and_then(Value::as_array_mut) else {
            return Err(missing(field));
        };
        elements.append(listed);
        let next = page.get("NextToken").and_then(Value::as_str).map(str::to_owned);
        // The same token again would be requested forever.
        if next.is_none() || next == token {
            return Ok(elements);
        }
        token = next;
    }
}

/// Returns the trails that `DescribeTrails` shows in one Region, those of other Regions that cover it included; only
/// the trail `name` (a name or an ARN), if given.
///
/// # Errors
///
/// Returns [`Error`] if `DescribeTrails` fails.
pub async fn trails(
    session: &Session,
    region: &str,
    name: Option<&str>,
) -> Result<Vec<Trail>, Error> {
    let request = session.retrying_cloudtrail(region).describe_trails().include_shadow_trails(true);
    let response = request.set_trail_name_list(name.map(|name| vec![name.to_owned()])).send().await;
    let response = response.map_err(|error| Error::Request {
        account: session.account(),
        service: "cloudtrail",
        action: "DescribeTrails",
        region: region.to_owned(),
        source: Box::new(ServiceError::from_sdk(&error)),
    })?;
    Ok(response.trail_list.unwrap_or_default().into_iter().filter_map(trail).collect())
}

/// Returns `None` for a trail without a bucket: there is nothing to read.
fn trail(trail: aws_sdk_cloudtrail::types::Trail) -> Option<Trail> {
    let key_prefix = trail.s3_key_prefix.map(|prefix| prefix.trim_end_matches('/').to_owned());
    Some(Trail {
        name: trail.name.unwrap_or_default(),
        arn: trail.trail_arn.unwrap_or_default(),
        home_region: trail.home_region.unwrap_or_default(),
        bucket: trail.s3_bucket_name?,
        key_prefix: key_prefix.filter(|prefix| !prefix.is_empty()),
        is_organization_trail: trail.is_organization_trail.unwrap_or_default(),
        is_multi_region: trail.is_multi_region_trail.unwrap_or_default(),
    })
}
