//! Roles for loading and searching, from the files in `policy/`.
//!
//! Input: the security API of the engine. Output: [`Change`]s for `PREFIX-loader` and `PREFIX-reader`.
//! Invariant: a role is changed only if its mark names trailload. Where security is disabled, or this user may not manage
//! roles, there is nothing to do: loads and searches do not require roles of these names.
//! Deliberately absent: users, and which of them have a role.

use serde_json::{Value, json};

use super::EngineSetup;
use crate::sink::{
    engine::identify::Distribution,
    error::Error,
    provision::{Action, Change, ObjectKind, Verb},
};

/// The version of the roles. Increased with every change of the files.
const VERSION: u64 = 1;

/// How the description of a role of OpenSearch begins, which has no other place for a mark.
const MARK: &str = "Managed by trailload, version ";

/// The prefix in the files.
const FILE_PREFIX: &str = "cloudtrail";

/// Name suffix, and file for OpenSearch and Elasticsearch.
const ROLES: [(&str, &str, &str); 2] = [
    (
        "loader",
        include_str!("../../../../policy/opensearch.json"),
        include_str!("../../../../policy/elasticsearch.json"),
    ),
    (
        "reader",
        include_str!("../../../../policy/opensearch-search.json"),
        include_str!("../../../../policy/elasticsearch-search.json"),
    ),
];

/// A role that is wanted, and what the engine has under its name.
struct Role {
    name: String,
    path: String,
    body: Value,
    found: Found,
}

enum Found {
    Missing,
    Existing(Value),
    /// This user may not manage roles, for this reason.
    Unreadable(String),
    /// The engine has no roles.
    Unavailable,
}

impl EngineSetup {
    /// Returns the changes that create or update the roles.
    pub(super) async fn role_changes(&self) -> Result<Vec<Change>, Error> {
        let roles = self.roles().await?;
        Ok(roles.into_iter().map(Role::change).collect())
    }

    /// Returns the changes that delete the roles.
    pub(super) async fn role_removals(&self) -> Result<Vec<Change>, Error> {
        let roles = self.roles().await?;
        Ok(roles.into_iter().filter_map(Role::removal).collect())
    }

    async fn roles(&self) -> Result<Vec<Role>, Error> {
        let prefix = self.reader.prefix();
        let (api, is_elasticsearch) = match self.reader.info().distribution {
            Distribution::OpenSearch => ("_plugins/_security/api/roles", false),
            Distribution::Elasticsearch => ("_security/role", true),
            Distribution::Unknown => return Ok(Vec::new()),
        };
        let mut roles = Vec::new();
        for (suffix, opensearch, elasticsearch) in ROLES {
            let name = format!("{prefix}-{suffix}");
            let path = format!("{api}/{name}");
            let file = if is_elasticsearch { elasticsearch } else { opensearch };
            let body = body(&file.replace(FILE_PREFIX, prefix), is_elasticsearch);
            let found = self.find_role(&path, &name).await?;
            let is_unavailable = matches!(found, Found::Unreadable(_) | Found::Unavailable);
            roles.push(Role { name, path, body, found });
            if is_unavailable {
                // The same reason holds for the other one.
                break;
            }
        }
        Ok(roles)
    }

    async fn find_role(&self, path: &str, name: &str) -> Result<Found, Error> {
        let response = match self.read(path, "reading a role").await? {
            Ok(response) => response,
            Err(reason) => {
                return Ok(Found::Unreadable(format!("this user may not manage roles: {reason}")));
            }
        };
        let role = response.json.get(name);
        Ok(match (response.status, role) {
            (200..=299, Some(role)) => Found::Existing(role.clone()),
            (404, _) => Found::Missing,
            _ => Found::Unavailable,
        })
    }
}

impl Role {
    fn change(self) -> Change {
        let action = match &self.found {
            Found::Unreadable(reason) => Action::Unavailable(reason.clone()),
            Found::Unavailable => {
                Action::Unavailable("security is disabled in this engine".to_owned())
            }
            Found::Missing => Action::Create,
            Found::Existing(role) => match version(role) {
                None => {
                    Action::Blocked("another program created it, so it is not changed".to_owned())
                }
                Some(theirs) if theirs > VERSION => {
                    Action::Blocked(format!("a newer trailload created it (version {theirs})"))
                }
                Some(VERSION) => Action::Keep(format!("version {VERSION}")),
                Some(theirs) => Action::Update(format!("version {theirs} becomes {VERSION}")),
            },
        };
        let is_written = matches!(action, Action::Create | Action::Update(_));
        let change = Change::new(ObjectKind::Role, self.name, action);
        if is_written { change.send(Verb::Put, self.path, Some(self.body)) } else { change }
    }

    fn removal(self) -> Option<Change> {
        match &self.found {
            Found::Existing(role) if version(role).is_some() => {
                Some(Change::new(ObjectKind::Role, self.name, Action::Delete).send(
                    Verb::Delete,
                    self.path,
                    None,
                ))
            }
            Found::Existing(_) => {
                let reason = "trailload did not create it".to_owned();
                Some(Change::new(ObjectKind::Role, self.name, Action::Keep(reason)))
            }
            // There may be one.
            Found::Unreadable(reason) => {
                let skipped = Action::Unavailable(reason.clone());
                Some(Change::new(ObjectKind::Role, self.name, skipped))
            }
            Found::Missing | Found::Unavailable => None,
        }
    }
}

/// Returns the role in a file, with a mark.
fn body(file: &str, is_elasticsearch: bool) -> Value {
    let mut role: Value = serde_json::from_str(file).expect("a test parses every file");
    if is_elasticsearch {
        role["metadata"] = json!({ "managed_by": "trailload", "version": VERSION });
    } else {
        let purpose = role["description"].as_str().unwrap_or_default();
        role["description"] = format!("{MARK}{VERSION}. {purpose}").into();
    }
    role
}

/// Returns the version in the mark of a role, if there is a mark.
fn version(role: &Value) -> Option<u64> {
    if role["metadata"]["managed_by"] == "trailload" {
        return role["metadata"]["version"].as_u64();
    }
    let (version, _) = role["description"].as_str()?.strip_prefix(MARK)?.split_once('.')?;
    version.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_a_mark_and_the_names_of_the_prefix() {
        for (_, opensearch, elasticsearch) in ROLES {
            for (file, is_elasticsearch) in [(opensearch, false), (elasticsearch, true)] {
                let role = body(&file.replace(FILE_PREFIX, "audit"), is_elasticsearch);
                assert_eq!(version(&role), Some(VERSION), "{role}");
                let text = role.to_string();
                assert!(text.contains("\"audit-*\"") && !text.contains("cloudtrail"), "{text}");
            }
        }
        assert_eq!(version(&json!({ "description": "Ours." })), None);
        assert_eq!(version(&json!({ "metadata": { "version": 1 } })), None);
    }
}
