//! Which IAM actions there are, and which resources each of them takes: `mappings/permissions.zst`.
//!
//! Input: the embedded table, which `scripts/derive-permissions` writes. Output: actions with the spelling of AWS, and the
//! ARN formats of their resources.
//! Invariant: the table is decompressed when the first question is asked, which a search for all actions never does.
//! Not here: which events an action leads to (see `table`).

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

/// The embedded table.
const FILE: &[u8] = include_bytes!("../../../mappings/permissions.zst");

/// Uncompressed length at most; it has 0.9 MB.
const FILE_LIMIT: usize = 16 << 20;

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let text = zstd::bulk::decompress(FILE, FILE_LIMIT).ok();
    text.and_then(|text| String::from_utf8(text).ok()).expect("the embedded table is valid")
});

static PERMISSIONS: LazyLock<HashMap<&'static str, ServicePermissions>> =
    LazyLock::new(|| parse(&TEXT));

/// The actions of an IAM prefix.
#[derive(Debug, Default)]
struct ServicePermissions {
    resources: HashMap<&'static str, &'static str>,
    /// Actions by their name in lower case.
    actions: HashMap<String, (&'static str, &'static str)>,
}

/// An IAM action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Service part, such as `s3`.
    pub prefix: &'static str,
    /// Name as AWS spells it, such as `GetObject`.
    pub name: &'static str,
    /// The types of resources that the action takes; empty if it takes none, so that a policy has to name `*`.
    pub resources: Vec<ResourceType>,
}

/// A type of resource that an IAM action takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceType {
    /// Name, such as `bucket`.
    pub name: &'static str,
    /// ARN with variables, such as `arn:${Partition}:s3:::${BucketName}`.
    pub arn: &'static str,
    /// Whether a policy has to allow a resource of this type.
    pub is_required: bool,
}

/// Returns the IAM action with this prefix and name; case does not matter.
pub fn permission(prefix: &str, name: &str) -> Option<Permission> {
    let (prefix, service) = PERMISSIONS.get_key_value(&*lower(prefix))?;
    let (name, types) = service.actions.get(&*lower(name))?;
    let resources = types.split_whitespace().filter_map(|word| {
        let name = word.trim_end_matches('*');
        let arn = service.resources.get(name)?;
        Some(ResourceType { name, arn, is_required: name.len() < word.len() })
    });
    Some(Permission { prefix, name, resources: resources.collect() })
}

/// Returns whether there is an IAM prefix with this name.
pub(super) fn has_prefix(prefix: &str) -> bool {
    PERMISSIONS.contains_key(&*lower(prefix))
}

/// Returns all IAM prefixes.
pub(super) fn prefixes() -> impl Iterator<Item = &'static str> {
    PERMISSIONS.keys().copied()
}

/// Returns the names of all actions of an IAM prefix.
pub(super) fn actions(prefix: &str) -> impl Iterator<Item = &'static str> {
    let service = PERMISSIONS.get(&*lower(prefix));
    service.into_iter().flat_map(|service| service.actions.values().map(|(name, _)| *name))
}

fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    }
}

fn parse(text: &'static str) -> HashMap<&'static str, ServicePermissions> {
    let mut services: HashMap<&str, ServicePermissions> = HashMap::new();
    let mut prefix = "";
    for line in text.lines() {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if first == "#" {
        } else if let Some(name) = first.strip_prefix('@') {
            prefix = name;
        } else if let Some(kind) = first.strip_prefix('=') {
            services.entry(prefix).or_default().resources.insert(kind, rest);
        } else {
            let actions = &mut services.entry(prefix).or_default().actions;
            actions.insert(first.to_ascii_lowercase(), (first, rest));
        }
    }
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_names_its_resources() {
        let action = permission("S3", "getobject").unwrap();
        assert_eq!((action.prefix, action.name), ("s3", "GetObject"));
        let object = action.resources.iter().find(|kind| kind.name == "object").unwrap();
        assert_eq!(object.arn, "arn:${Partition}:s3:::${BucketName}/${ObjectName}");
        assert!(!object.is_required);
        let action = permission("iam", "CreateUser").unwrap();
        assert_eq!(action.resources.len(), 1);
        assert!(action.resources[0].is_required);
    }

    #[test]
    fn an_action_without_resources_has_none() {
        assert!(permission("s3", "ListAllMyBuckets").unwrap().resources.is_empty());
    }

    #[test]
    fn unknown_actions_are_unknown() {
        assert_eq!(permission("s3", "GetObjekt"), None);
        assert_eq!(permission("s4", "GetObject"), None);
        assert!(!has_prefix("s4"));
    }

    #[test]
    fn every_line_of_the_table_is_understood() {
        assert!(PERMISSIONS.len() > 400, "{}", PERMISSIONS.len());
        for (prefix, service) in &*PERMISSIONS {
            for (name, types) in service.actions.values() {
                let resources = permission(prefix, name).unwrap().resources;
                assert_eq!(resources.len(), types.split_whitespace().count(), "{prefix}:{name}");
                assert!(
                    resources.iter().all(|kind| kind.arn.starts_with("arn:")),
                    "{prefix}:{name}"
                );
            }
        }
    }
}
