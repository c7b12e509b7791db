//! Finds services and operations by the names that people have at hand.
//!
//! Input: a name such as `monitoring`, `email.amazonaws.com` or `CreateFunction20150331`. Output: entries of the index and
//! names of operations. Invariant: case does not matter, and an exact name of a service takes precedence over one that it
//! shares with others. Not here: globs, and what the parts of a question mean (see `cli::schema`).

use super::{
    event_source::ALIASES,
    model::{Operation, ServiceInfo},
    table::IndexEntry,
};

/// How well a name fits a service, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Id,
    EventSource,
    EndpointPrefix,
    SigningName,
    ServiceId,
}

/// Returns the services with this name, the best fit first. `.amazonaws.com` at the end is ignored.
pub fn services<'a>(index: &'a [IndexEntry], name: &str) -> Vec<&'a IndexEntry> {
    let name = service_name(name);
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, id)| *id);
    let mut found: Vec<(Fit, &IndexEntry)> =
        index.iter().filter_map(|entry| Some((fit(&entry.info, &name, alias)?, entry))).collect();
    found.sort_by(|(a, one), (b, other)| a.cmp(b).then_with(|| by_id(one, other)));
    found.into_iter().map(|(_, entry)| entry).collect()
}

/// Returns a name of a service in lower case and without the domain of an `eventSource`.
pub fn service_name(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    let name = name.strip_suffix(".cn").unwrap_or(&name);
    name.strip_suffix(".amazonaws.com")
        .or_else(|| name.strip_suffix(".amazon.com"))
        .unwrap_or(name)
        .to_owned()
}

fn fit(info: &ServiceInfo, name: &str, alias: Option<&str>) -> Option<Fit> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    if is(&info.id) || alias == Some(info.id.as_ref()) {
        Some(Fit::Id)
    } else if is(&info.event_source) {
        Some(Fit::EventSource)
    } else if is(&info.endpoint_prefix) || last_label(&info.endpoint_prefix).is_some_and(is) {
        Some(Fit::EndpointPrefix)
    } else if is(&info.signing_name) {
        Some(Fit::SigningName)
    } else if same_letters(&info.service_id, name) {
        Some(Fit::ServiceId)
    } else {
        None
    }
}

/// Returns the service's part of an endpoint such as `api.ecr`.
fn last_label(endpoint_prefix: &str) -> Option<&str> {
    endpoint_prefix.strip_prefix("api.")
}

/// Compares a name such as `Service Quotas` with one without spaces, or with other separators.
fn same_letters(service_id: &str, name: &str) -> bool {
    let letters = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|char| char.to_ascii_lowercase())
            .collect()
    };
    let wanted = letters(name);
    !wanted.is_empty() && letters(service_id) == wanted
}

/// Orders services of the same fit: the main one has the shortest id, as `ses` beside `sesv2`.
fn by_id(one: &IndexEntry, other: &IndexEntry) -> std::cmp::Ordering {
    let rank = |entry: &IndexEntry| (entry.info.id.len(), entry.info.id.clone());
    rank(one).cmp(&rank(other))
}

/// Returns the operation among `known` with this name or this `eventName`, or with this name of the AWS CLI or an SDK, such
/// as `run-instances` or `run_instances`.
pub fn operation<'a, N: AsRef<str>>(known: &'a [N], name: &str) -> Option<&'a N> {
    let name = name.trim();
    let exact = |name: &str| known.iter().find(|known| known.as_ref().eq_ignore_ascii_case(name));
    let without_separators =
        || exact(&name.contains(['-', '_']).then(|| name.replace(['-', '_'], ""))?);
    exact(name).or_else(|| exact(without_date(name)?)).or_else(without_separators)
}

/// Returns an `eventName` without the version of the API at its end, as in `CreateFunction20150331` or
/// `CreateDistribution2020_05_31`; `None` if it has none.
pub fn without_date(event_name: &str) -> Option<&str> {
    let name = match event_name.rfind('v') {
        Some(at) if event_name.len() > at + 1 && is_number(&event_name[at + 1..]) => {
            &event_name[..at]
        }
        _ => event_name,
    };
    let has_date = |length: usize| {
        let start = name.len().checked_sub(length).filter(|start| *start > 0)?;
        let date = name.get(start..)?;
        let digits: String = date.split('_').collect();
        let parts = date.split('_').count();
        let is_date = is_number(&digits) && digits.len() == 8 && digits.starts_with("20");
        (is_date && matches!(parts, 1 | 3)).then(|| &name[..start])
    };
    has_date(8).or_else(|| has_date(10))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Versions of Lambda's API at the start of a URI whose calls have them in their `eventName`: later ones have not.
const DATED_LAMBDA_VERSIONS: std::ops::RangeInclusive<&str> = "2014-11-11"..="2018-10-31";

/// Lambda's calls whose `eventName` also counts a second version.
const SECOND_LAMBDA_VERSIONS: [&str; 10] = [
    "AddPermission",
    "GetFunction",
    "GetFunctionConfiguration",
    "GetPolicy",
    "ListTags",
    "RemovePermission",
    "TagResource",
    "UntagResource",
    "UpdateFunctionCode",
    "UpdateFunctionConfiguration",
];

/// S3's calls that have another name in events.
const S3_EVENTS: [(&str, &str); 11] = [
    ("DeletePublicAccessBlock", "DeleteBucketPublicAccessBlock"),
    ("GetBucketAccelerateConfiguration", "GetAccelerateConfiguration"),
    ("GetBucketLifecycleConfiguration", "GetBucketLifecycle"),
    ("GetBucketNotificationConfiguration", "GetBucketNotification"),
    ("GetObjectLockConfiguration", "GetBucketObjectLockConfiguration"),
    ("GetPublicAccessBlock", "GetBucketPublicAccessBlock"),
    ("PutBucketAccelerateConfiguration", "PutAccelerateConfiguration"),
    ("PutBucketLifecycleConfiguration", "PutBucketLifecycle"),
    ("PutBucketNotificationConfiguration", "PutBucketNotification"),
    ("PutObjectLockConfiguration", "PutBucketObjectLockConfiguration"),
    ("PutPublicAccessBlock", "PutBucketPublicAccessBlock"),
];

/// Returns the values of `eventName` that the events of an operation have, the most common first.
pub fn event_names(info: &ServiceInfo, operation: &Operation) -> Vec<String> {
    let name = operation.name.as_ref();
    match info.id.as_ref() {
        "lambda" if !name.starts_with("Invoke") => {
            let version = operation.uri.get(1..11).unwrap_or_default();
            if !DATED_LAMBDA_VERSIONS.contains(&version) {
                return vec![name.to_owned()];
            }
            let dated = format!("{name}{}", version.replace('-', ""));
            if SECOND_LAMBDA_VERSIONS.contains(&name) {
                vec![format!("{dated}v2"), dated]
            } else {
                vec![dated]
            }
        }
        "cloudfront" => vec![format!("{name}{}", info.api_version.replace('-', "_"))],
        "s3" => {
            let known = S3_EVENTS.iter().find(|(api, _)| *api == name);
            vec![known.map_or(name, |(_, event)| event).to_owned()]
        }
        _ => vec![name.to_owned()],
    }
}

/// Returns the operation of S3 that an `eventName` or an IAM action means. Both often differ from the API by the words
/// `Bucket` and `Configuration`: the action `GetEncryptionConfiguration` is `GetBucketEncryption`.
pub fn s3_operation<'a, N: AsRef<str>>(known: &'a [N], name: &str) -> Option<&'a N> {
    let core =
        |name: &str| name.to_ascii_lowercase().replace("bucket", "").replace("configuration", "");
    let wanted = core(name);
    // The newer of two calls has the longer name.
    known
        .iter()
        .filter(|known| core(known.as_ref()) == wanted)
        .max_by_key(|known| known.as_ref().len())
}

/// Returns the names that are most like a wrong one, at most three, the most similar first.
pub fn similar<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    /// Similarity from which a name may be a misspelling, on the scale of Jaro and Winkler from 0 to 1.
    const SIMILAR: f64 = 0.8;
    let wrong = wrong.to_ascii_lowercase();
    let mut close: Vec<(f64, &str)> = known
        .map(|name| (strsim::jaro_winkler(&wrong, &name.to_ascii_lowercase()), name))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .collect();
    close.sort_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| one.cmp(other)));
    close.dedup_by_key(|(_, name)| *name);
    close.into_iter().take(3).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Table;

    #[test]
    fn versions_at_the_end_of_an_event_name_are_removed() {
        for (name, expected) in [
            ("CreateFunction20150331", Some("CreateFunction")),
            ("UpdateFunctionCode20150331v2", Some("UpdateFunctionCode")),
            ("CreateDistribution2020_05_31", Some("CreateDistribution")),
            ("CreatePolicy", None),
            ("20150331", None),
            ("Put2015033", None),
            ("Run19990101", None),
            ("ListObjectsV2", None),
            ("v2", None),
            ("", None),
        ] {
            assert_eq!(without_date(name), expected, "{name}");
        }
    }

    #[test]
    fn names_of_the_cli_and_of_sdks_lead_to_the_operation() {
        let known = ["RunInstances", "DescribeDBInstances", "CreateOpenIDConnectProvider"];
        for (name, expected) in [
            ("run-instances", Some("RunInstances")),
            ("run_instances", Some("RunInstances")),
            ("describe-db-instances", Some("DescribeDBInstances")),
            ("create-open-id-connect-provider", Some("CreateOpenIDConnectProvider")),
            ("run-instance", None),
            ("-", None),
        ] {
            assert_eq!(operation(&known, name).copied(), expected, "{name}");
        }
    }

    #[test]
    fn event_names_have_the_version_of_the_api_where_cloudtrail_adds_it() {
        let table = Table::embedded().unwrap();
        let of = |service: &str, name: &str| {
            let service = table.service(table.entry(service).unwrap()).unwrap();
            event_names(&service.info, service.operation(name).unwrap())
        };
        assert_eq!(of("lambda", "CreateFunction"), ["CreateFunction20150331"]);
        assert_eq!(
            of("lambda", "UpdateFunctionCode"),
            ["UpdateFunctionCode20150331v2", "UpdateFunctionCode20150331"]
        );
        assert_eq!(of("lambda", "CreateFunctionUrlConfig"), ["CreateFunctionUrlConfig"]);
        assert_eq!(of("lambda", "Invoke"), ["Invoke"]);
        assert_eq!(of("cloudfront", "CreateDistribution"), ["CreateDistribution2020_05_31"]);
        assert_eq!(of("s3", "PutPublicAccessBlock"), ["PutBucketPublicAccessBlock"]);
        assert_eq!(of("iam", "CreatePolicy"), ["CreatePolicy"]);
    }

    #[test]
    fn a_service_has_many_names_and_the_best_fit_is_first() {
        let table = Table::embedded().unwrap();
        let first =
            |name: &str| services(&table.services, name).first().map(|one| one.info.id.clone());
        for (name, id) in [
            ("iam", "iam"),
            ("IAM.amazonaws.com", "iam"),
            ("monitoring", "cloudwatch"),
            ("states.amazonaws.com", "stepfunctions"),
            ("email", "ses"),
            ("elasticfilesystem", "efs"),
            ("ecr", "ecr"),
            ("service quotas", "service-quotas"),
            ("agreement-marketplace", "marketplace-agreement"),
            ("streams.dynamodb", "dynamodbstreams"),
            ("s3.amazonaws.com.cn", "s3"),
        ] {
            assert_eq!(first(name).as_deref(), Some(id), "{name}");
        }
        assert_eq!(first("nosuch"), None);
        assert_eq!(first(""), None);
    }

    #[test]
    fn s3_actions_lead_to_its_calls() {
        let table = Table::embedded().unwrap();
        let known = &table.entry("s3").unwrap().operations;
        for (name, operation) in [
            ("GetEncryptionConfiguration", "GetBucketEncryption"),
            ("GetBucketObjectLockConfiguration", "GetObjectLockConfiguration"),
            ("GetAccelerateConfiguration", "GetBucketAccelerateConfiguration"),
        ] {
            assert_eq!(s3_operation(known, name), Some(&operation), "{name}");
        }
        assert_eq!(s3_operation(known, "NoSuch"), None);
    }

    #[test]
    fn similar_names_come_first_and_there_are_at_most_three() {
        let known = ["CreatePolicy", "CreatePolicyVersion", "CreateRole", "CreatePolicies", "Tag"];
        let found = similar("CretePolicy", known.into_iter());
        assert_eq!(found.first(), Some(&"CreatePolicy"));
        assert!(found.len() <= 3);
        assert!(similar("xyz", known.into_iter()).is_empty());
    }
}
