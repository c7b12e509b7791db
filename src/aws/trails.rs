//! Trails: where CloudTrail delivers an account's events to.

use super::{Access, Error, Refusal};

/// A trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trail {
    /// Its name.
    pub name: String,
    /// Its ARN, which is unique.
    pub arn: String,
    /// Where it was made; only there it can be changed.
    pub home: String,
    /// The bucket it delivers to.
    pub bucket: String,
    /// What stands before `AWSLogs/` in the keys, without a slash at the end; `None` if nothing.
    pub prefix: Option<String>,
    /// It covers all accounts of an organization.
    pub organization: bool,
    /// It covers all Regions.
    pub all_regions: bool,
}

const ACTION: &str = "DescribeTrails";

/// Asks one Region; trails of other Regions that cover this one are told too.
pub(super) async fn trails(
    access: &Access,
    region: &str,
    name: Option<&str>,
) -> Result<Vec<Trail>, Error> {
    let request = access.patient_cloudtrail(region).describe_trails().include_shadow_trails(true);
    let answer = request.set_trail_name_list(name.map(|name| vec![name.to_owned()])).send().await;
    let answer = answer.map_err(|error| Error::Call {
        account: access.account(),
        service: "cloudtrail",
        action: ACTION,
        region: region.to_owned(),
        source: Box::new(Refusal::of(&error)),
    })?;
    Ok(answer.trail_list.unwrap_or_default().into_iter().filter_map(trail).collect())
}

/// A trail without a bucket delivers nowhere, so nothing can be read.
fn trail(told: aws_sdk_cloudtrail::types::Trail) -> Option<Trail> {
    let prefix = told.s3_key_prefix.map(|prefix| prefix.trim_end_matches('/').to_owned());
    Some(Trail {
        name: told.name.unwrap_or_default(),
        arn: told.trail_arn.unwrap_or_default(),
        home: told.home_region.unwrap_or_default(),
        bucket: told.s3_bucket_name?,
        prefix: prefix.filter(|prefix| !prefix.is_empty()),
        organization: told.is_organization_trail.unwrap_or_default(),
        all_regions: told.is_multi_region_trail.unwrap_or_default(),
    })
}
