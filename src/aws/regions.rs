//! Which Regions an account uses.
//!
//! Absent on purpose: Regions that were asked for by name; they are checked here and not looked up.

use serde_json::{Value, json};

use super::{Access, Error, Partition, Refusal, answer, call::Question};

/// Who named the Regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// EC2 `DescribeRegions`: the enabled ones.
    Described,
    /// Account `ListRegions`: the enabled ones.
    Listed,
    /// The list of this build: some may not be enabled, and newer ones are missing. A Region that answers
    /// [`Trouble::RegionNotEnabled`](super::Trouble::RegionNotEnabled) is to be passed over quietly.
    BuiltIn,
}

/// Regions to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regions {
    /// Their names, sorted, the partition's global Region first.
    pub names: Vec<String>,
    /// Who named them.
    pub from: Origin,
    /// What a person should know about it.
    pub warning: Option<String>,
}

/// Checks Regions that were asked for by name.
///
/// # Errors
///
/// Returns [`Error`] for a text that is no Region, and for Regions of another partition than `ours`.
pub fn check(names: &[String], ours: Partition) -> Result<(), Error> {
    for name in names {
        let Some(theirs) = Partition::of_region(name) else {
            return Err(Error::NoRegion(name.clone()));
        };
        if theirs != ours {
            return Err(Error::ForeignRegion { region: name.clone(), theirs, ours });
        }
    }
    Ok(())
}

/// Asks who may know, one after the other.
pub(super) async fn regions(access: &Access) -> Result<Regions, Error> {
    let described = match described(access).await {
        Ok(names) => return Ok(complete(access, names, Origin::Described)),
        Err(error) => survivable(error)?,
    };
    let listed = match listed(access).await {
        Ok(names) => return Ok(complete(access, names, Origin::Listed)),
        Err(error) => survivable(error)?,
    };
    let names = access.partition().regions().iter().map(|&name| name.to_owned()).collect();
    let warning = format!(
        "which Regions are enabled is not known, so all that this version knows are tried, and newer ones are \
         missing: allow ec2:DescribeRegions or account:ListRegions, or name them with --regions ({described}; \
         {listed})"
    );
    Ok(Regions { warning: Some(warning), ..complete(access, names, Origin::BuiltIn) })
}

/// Goes on after a refusal, with its text; what would meet every further request is an error.
fn survivable(error: Error) -> Result<String, Error> {
    match error {
        Error::Call { service, action, source, .. } if !source.trouble.is_everywhere() => {
            Ok(format!("{service}:{action}: {source}"))
        }
        Error::Answer { .. } => Ok(error.to_string()),
        other => Err(other),
    }
}

/// Sorts; the Region of the global services is always part, and first: most events are there.
fn complete(access: &Access, mut names: Vec<String>, from: Origin) -> Regions {
    let global = access.partition().global_region();
    names.retain(|name| name != global);
    names.sort();
    names.dedup();
    names.insert(0, global.to_owned());
    Regions { names, from, warning: None }
}

async fn described(access: &Access) -> Result<Vec<String>, Error> {
    const ACTION: &str = "DescribeRegions";
    let question = Question {
        service: "ec2",
        region: access.region(),
        path: "/",
        headers: vec![("content-type", "application/x-www-form-urlencoded; charset=utf-8")],
        body: format!("Action={ACTION}&Version=2016-11-15"),
    };
    let body = access.ask(&question).await;
    let body = body.map_err(|refusal| access.failed(ACTION, &question, refusal))?;
    let text = String::from_utf8_lossy(&body);
    let names: Vec<String> = answer::elements(&text, "item").filter_map(enabled).collect();
    if names.is_empty() {
        return Err(access.lacks("ec2", ACTION, "Regions"));
    }
    Ok(names)
}

/// Returns the Region of an item, unless it is not opted in.
fn enabled(item: &str) -> Option<String> {
    let status = answer::elements(item, "optInStatus").next();
    let name = answer::elements(item, "regionName").next().map(answer::unescape);
    name.filter(|name| status != Some("not-opted-in") && Partition::of_region(name).is_some())
}

async fn listed(access: &Access) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let page = listed_page(access, token.as_deref()).await?;
        let Some(regions) = page.get("Regions").and_then(Value::as_array) else {
            return Err(access.lacks("account", "ListRegions", "Regions"));
        };
        let name = |region: &Value| Some(region.get("RegionName")?.as_str()?.to_owned());
        names.extend(regions.iter().filter(|region| is_enabled(region)).filter_map(name));
        let next = page.get("NextToken").and_then(Value::as_str).map(str::to_owned);
        // A token that does not change would be asked for ever.
        if next.is_none() || next == token {
            return Ok(names);
        }
        token = next;
    }
}

/// A Region that is on its way out still holds its events.
fn is_enabled(region: &Value) -> bool {
    let status = region.get("RegionOptStatus").and_then(Value::as_str);
    matches!(status, Some("ENABLED" | "ENABLED_BY_DEFAULT" | "DISABLING"))
}

async fn listed_page(access: &Access, token: Option<&str>) -> Result<Value, Error> {
    const ACTION: &str = "ListRegions";
    let mut body = json!({
        "MaxResults": 50,
        "RegionOptStatusContains": ["ENABLED", "ENABLED_BY_DEFAULT", "DISABLING"],
    });
    if let Some(token) = token {
        body["NextToken"] = token.into();
    }
    let question = Question {
        service: "account",
        region: access.partition().control_region().to_owned(),
        path: "/listRegions",
        headers: vec![("content-type", "application/json")],
        body: body.to_string(),
    };
    let body = access.ask(&question).await;
    let body = body.map_err(|refusal: Refusal| access.failed(ACTION, &question, refusal))?;
    serde_json::from_slice(&body).map_err(|_| access.lacks("account", ACTION, "JSON"))
}
