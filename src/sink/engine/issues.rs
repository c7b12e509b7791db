//! Finds what in an engine rejects or changes documents: ingest pipelines, templates of other programs, closed and blocked
//! indices, the shard limit.
//!
//! Input: a client and the templates of a prefix. Output: [`EngineIssue`]s.
//! Invariant: only GET requests are sent, each once. What the engine does not return, or not to this user, is left out: a
//! load requires no privilege to read what others created.
//! Deliberately absent: how severe an issue is (see `cli::doctor`).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;

use super::client::{Client, Method};
use super::error_response;
use super::paths;
use super::templates::Templates;
use crate::normalize::IndexBy;
use crate::sink::cause::Cause;

/// Something in the engine that rejects or changes documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineIssue {
    /// An ingest pipeline processes the documents. It may drop or change them.
    Pipeline {
        /// Its name.
        name: String,
        /// Where it is configured, such as `index 'cloudtrail-2024.03'`.
        named_by: Vec<String>,
        /// Whether it exists, if known.
        exists: Option<bool>,
    },
    /// An index template of the same priority matches the same indices: the engine refuses one of the two.
    SamePriority {
        /// Its name.
        template: String,
        /// The priority of both.
        priority: u64,
    },
    /// An index template of a higher priority matches the same indices: new indices are created from it.
    HigherPriority {
        /// Its name.
        template: String,
    },
    /// A data stream template of a higher priority matches the same indices: the engine creates no index of these names.
    DataStream {
        /// Its name.
        template: String,
    },
    /// A legacy template matches the same indices. Engines ignore it where an index template matches.
    LegacyTemplate {
        /// Its name.
        template: String,
    },
    /// Closed indices.
    Closed {
        /// Their names.
        indices: Vec<String>,
    },
    /// Blocked indices.
    Blocked {
        /// The setting that blocks them, such as `index.blocks.write`.
        setting: String,
        /// Their names.
        indices: Vec<String>,
    },
    /// The cluster is at its shard limit, or close to it.
    Shards {
        /// Current number of shards.
        open: u64,
        /// The limit.
        most: u64,
    },
}

/// Names in a list; the others are counted.
const MAX_NAMES: usize = 3;

/// Shards of a new index, including its replica.
const SHARDS_PER_INDEX: u64 = 2;

/// With fewer free shards the indices of a year cannot be created.
const MIN_FREE_SHARDS: u64 = 12 * SHARDS_PER_INDEX;

/// Blocks that reject writes, by the last part of their setting.
const BLOCKS: [&str; 4] = ["read_only", "read_only_allow_delete", "write", "metadata"];

/// The settings that name an ingest pipeline.
const PIPELINE_SETTINGS: [&str; 2] = ["default_pipeline", "final_pipeline"];

/// The value of a pipeline setting without a pipeline.
const NO_PIPELINE: &str = "_none";

impl EngineIssue {
    /// Returns a description of the issue.
    pub fn describe(&self) -> String {
        match self {
            Self::Pipeline { name, named_by, exists: Some(false) } => format!(
                "ingest pipeline '{name}' does not exist, but {} uses it: documents for it become dead letters",
                join(named_by)
            ),
            Self::Pipeline { name, named_by, .. } => format!(
                "ingest pipeline '{name}' of {} may drop or redirect documents: those become dead letters",
                join(named_by)
            ),
            Self::SamePriority { template, priority } => {
                format!(
                    "index template '{template}' matches the same indices with the same priority, {priority}"
                )
            }
            Self::HigherPriority { template } => format!(
                "index template '{template}' matches the same indices with a higher priority: new indices are created from it"
            ),
            Self::DataStream { template } => {
                format!(
                    "index template '{template}' creates data streams of the same names, which do not keep document ids"
                )
            }
            Self::LegacyTemplate { template } => format!(
                "legacy template '{template}' matches the same indices; engines ignore it in favor of trailload's template"
            ),
            Self::Closed { indices } => {
                format!("closed indices: {}; documents for them become dead letters", join(indices))
            }
            Self::Blocked { setting, indices } if self.is_disk_full() => {
                format!("{setting} blocks writes to {}: a disk was full", join(indices))
            }
            Self::Blocked { setting, indices } => {
                format!(
                    "{setting} blocks writes to {}: documents for it become dead letters",
                    join(indices)
                )
            }
            Self::Shards { open, most } => {
                format!(
                    "the cluster has {open} of at most {most} shards, and each new index adds some"
                )
            }
        }
    }

    /// Returns a hint for the user.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Pipeline { exists: Some(false), .. } => {
                "create the pipeline, or remove it from the settings (index.default_pipeline, index.final_pipeline)"
            }
            Self::Pipeline { .. } => {
                "remove it from the settings (index.default_pipeline, index.final_pipeline), unless it only adds fields"
            }
            Self::SamePriority { .. } | Self::HigherPriority { .. } => {
                "give it a lower priority or other patterns, or choose another prefix with --index"
            }
            Self::DataStream { .. } => {
                "give it other patterns, or choose another prefix with --index"
            }
            Self::LegacyTemplate { .. } => {
                "nothing to do; delete it if it is unused (DELETE /_template/NAME)"
            }
            Self::Closed { .. } => {
                "open it (POST /INDEX/_open), or exclude its period with --from and --to"
            }
            Self::Blocked { .. } if self.is_disk_full() => {
                "free disk space; the engine then removes the block"
            }
            Self::Blocked { .. } => {
                "set it to null (PUT /INDEX/_settings), or exclude the period of the index with --from and --to"
            }
            Self::Shards { .. } => {
                "delete indices, raise cluster.max_shards_per_node, or create fewer indices with --index-by year"
            }
        }
    }

    /// Returns whether a full disk is the reason.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Blocked { setting, .. } if setting.ends_with(".read_only_allow_delete"))
    }
}

/// Joins the first names of a list, and counts the others.
fn join(names: &[String]) -> String {
    let (shown, others) = names.split_at(names.len().min(MAX_NAMES));
    match others.len() {
        0 => shown.join(", "),
        others => format!("{} and {others} more", shown.join(", ")),
    }
}

/// Returns the ingest pipelines in the settings of an index; none if the engine does not return them.
pub(super) async fn pipelines_of_index(client: &Client, index: &str) -> Vec<String> {
    let path = format!(
        "{index}/_settings?filter_path=*.settings.index.default_pipeline,*.settings.index.final_pipeline"
    );
    let response = get_once(client, &path).await.unwrap_or_default();
    let indices = response.as_object().into_iter().flatten();
    indices.flat_map(|(_, index)| pipelines(&index["settings"])).collect()
}

/// Finds all issues.
pub(super) async fn find(client: &Client, templates: &Templates) -> Vec<EngineIssue> {
    let (mut issues, shards) =
        tokio::join!(find_in_indices_and_templates(client, templates), shard_limit(client));
    issues.extend(shards);
    issues
}

/// Finds templates of other programs, pipelines, closed and blocked indices.
pub(super) async fn find_in_indices_and_templates(
    client: &Client,
    templates: &Templates,
) -> Vec<EngineIssue> {
    let prefix = templates.prefix();
    let settings = format!(
        "{prefix},{prefix}-*/_settings?ignore_unavailable=true&allow_no_indices=true\
         &expand_wildcards=open,closed&filter_path=*.settings.index.blocks,\
         *.settings.index.verified_before_close,*.settings.index.default_pipeline,\
         *.settings.index.final_pipeline"
    );
    let composable = "_index_template?filter_path=index_templates.name,\
         index_templates.index_template.index_patterns,index_templates.index_template.priority,\
         index_templates.index_template.composed_of,index_templates.index_template.data_stream,\
         index_templates.index_template.template.settings.index.default_pipeline,\
         index_templates.index_template.template.settings.index.final_pipeline";
    let components = "_component_template?filter_path=component_templates.name,\
         component_templates.component_template.template.settings.index.default_pipeline,\
         component_templates.component_template.template.settings.index.final_pipeline";
    let legacy = "_template?filter_path=*.index_patterns,*.settings.index.default_pipeline,\
         *.settings.index.final_pipeline";
    let (indices, composable, components, legacy) = tokio::join!(
        get_once(client, &settings),
        get_once(client, composable),
        get_once(client, components),
        get_once(client, legacy),
    );
    let mut uses = PipelineUses::default();
    let mut issues = match &indices {
        Ok(settings) => in_indices(settings, prefix, &mut uses),
        // A metadata block of one index hides the settings of all.
        Err(cause) => metadata_block(cause).into_iter().collect(),
    };
    let (composable, components) = (composable.unwrap_or_default(), components.unwrap_or_default());
    issues.extend(in_index_templates(&composable, &components, templates, &mut uses));
    issues.extend(in_legacy_templates(&legacy.unwrap_or_default(), prefix, &mut uses));
    for (name, named_by) in uses {
        let exists = pipeline_exists(client, &name).await;
        issues.push(EngineIssue::Pipeline { name, named_by, exists });
    }
    issues
}

/// Ingest pipelines, and where each is configured.
type PipelineUses = BTreeMap<String, Vec<String>>;

/// Finds closed and blocked indices, and collects their pipelines.
fn in_indices(response: &Value, prefix: &str, uses: &mut PipelineUses) -> Vec<EngineIssue> {
    let mut closed = Vec::new();
    let mut blocked: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, index) in response.as_object().into_iter().flatten() {
        if !has_prefix(name, prefix) {
            continue;
        }
        let settings = &index["settings"];
        if is_true(&settings["index"]["verified_before_close"]) {
            closed.push(name.clone());
        }
        for block in BLOCKS {
            if is_true(&settings["index"]["blocks"][block]) {
                blocked.entry(block).or_default().push(name.clone());
            }
        }
        for pipeline in pipelines(settings) {
            uses.entry(pipeline).or_default().push(format!("index '{name}'"));
        }
    }
    let blocked = blocked.into_iter().map(|(block, indices)| EngineIssue::Blocked {
        setting: format!("index.blocks.{block}"),
        indices,
    });
    let closed = (!closed.is_empty()).then_some(EngineIssue::Closed { indices: closed });
    closed.into_iter().chain(blocked).collect()
}

/// Returns the index whose metadata block hides the settings of all.
fn metadata_block(cause: &Cause) -> Option<EngineIssue> {
    cause.cluster_block()?;
    let (_, reason) = cause.code_and_reason();
    let (_, name) = reason.split_once("index [")?;
    let (name, _) = name.split_once(']')?;
    let indices = vec![name.to_owned()];
    Some(EngineIssue::Blocked { setting: "index.blocks.metadata".to_owned(), indices })
}

/// Returns whether a pattern is the name of one index that no event is written to, such as that of alerts or runs.
fn names_another_index(pattern: &str, prefix: &str) -> bool {
    let rest = pattern.strip_prefix(prefix).unwrap_or(pattern);
    !pattern.contains('*')
        && !matches!(rest, "" | "-undated")
        && IndexBy::from_index_name(prefix, pattern).is_none()
}

/// Finds index templates of other programs that match the same indices, and collects the pipelines of all that match.
fn in_index_templates(
    response: &Value,
    components: &Value,
    ours: &Templates,
    uses: &mut PipelineUses,
) -> Vec<EngineIssue> {
    let mut issues = Vec::new();
    for entry in response["index_templates"].as_array().into_iter().flatten() {
        let (name, template) = (text(&entry["name"]), &entry["index_template"]);
        let is_about_events = |pattern: &str| {
            matches_prefix(pattern, ours.prefix()) && !names_another_index(pattern, ours.prefix())
        };
        if !patterns(template).any(is_about_events) {
            continue;
        }
        if name != ours.prefix() {
            issues.extend(competing_template(&name, template, ours.priority() as u64));
        }
        for pipeline in pipelines(&template["template"]["settings"]) {
            uses.entry(pipeline).or_default().push(format!("index template '{name}'"));
        }
        for part in template["composed_of"].as_array().into_iter().flatten().map(text) {
            for pipeline in pipelines_of_component(components, &part) {
                let user = format!("component template '{part}' of index template '{name}'");
                uses.entry(pipeline).or_default().push(user);
            }
        }
    }
    issues
}

/// Classifies another index template that matches the same indices; one of a lower priority has no effect.
fn competing_template(name: &str, content: &Value, ours: u64) -> Option<EngineIssue> {
    let (template, priority) = (name.to_owned(), content["priority"].as_u64().unwrap_or(0));
    match priority.cmp(&ours) {
        Ordering::Less => None,
        Ordering::Equal => Some(EngineIssue::SamePriority { template, priority }),
        Ordering::Greater if content["data_stream"].is_object() => {
            Some(EngineIssue::DataStream { template })
        }
        Ordering::Greater => Some(EngineIssue::HigherPriority { template }),
    }
}

fn pipelines_of_component(components: &Value, name: &str) -> Vec<String> {
    let all = components["component_templates"].as_array().into_iter().flatten();
    let named = all.filter(|one| one["name"] == name);
    named.flat_map(|one| pipelines(&one["component_template"]["template"]["settings"])).collect()
}

/// Finds legacy templates that match the same indices, and collects their pipelines.
fn in_legacy_templates(
    response: &Value,
    prefix: &str,
    uses: &mut PipelineUses,
) -> Vec<EngineIssue> {
    let mut issues = Vec::new();
    for (name, template) in response.as_object().into_iter().flatten() {
        if !patterns(template).any(|pattern| matches_prefix(pattern, prefix)) {
            continue;
        }
        for pipeline in pipelines(&template["settings"]) {
            uses.entry(pipeline).or_default().push(format!("legacy template '{name}'"));
        }
        issues.push(EngineIssue::LegacyTemplate { template: name.clone() });
    }
    issues
}

/// Checks that the shard limit leaves room for further indices.
async fn shard_limit(client: &Client) -> Option<EngineIssue> {
    let health = format!(
        "{}?filter_path=active_shards,initializing_shards,unassigned_shards,number_of_data_nodes",
        paths::cluster_health()
    );
    let settings = format!(
        "{}?include_defaults=true&filter_path=*.cluster.max_shards_per_node",
        paths::cluster_settings()
    );
    let (health, settings) = tokio::join!(get_once(client, &health), get_once(client, &settings));
    few_free_shards(&health.ok()?, &settings.ok()?)
}

fn few_free_shards(health: &Value, settings: &Value) -> Option<EngineIssue> {
    let layers = ["transient", "persistent", "defaults"].into_iter();
    let mut limits = layers.map(|layer| &settings[layer]["cluster"]["max_shards_per_node"]);
    let per_node =
        limits.find_map(|limit| limit.as_u64().or_else(|| limit.as_str()?.parse().ok()))?;
    let most = per_node.checked_mul(health["number_of_data_nodes"].as_u64()?)?;
    let states = ["active_shards", "initializing_shards", "unassigned_shards"];
    let open = states.iter().filter_map(|state| health[*state].as_u64()).sum();
    (most < MIN_FREE_SHARDS.saturating_add(open)).then_some(EngineIssue::Shards { open, most })
}

async fn pipeline_exists(client: &Client, pipeline: &str) -> Option<bool> {
    let path = format!("{}?filter_path=*.description", paths::pipeline(pipeline));
    match get_once(client, &path).await {
        Ok(_) => Some(true),
        Err(cause) => (cause.status() == Some(404)).then_some(false),
    }
}

/// Returns the pipelines in the settings of an index or template.
fn pipelines(settings: &Value) -> impl Iterator<Item = String> {
    let names = PIPELINE_SETTINGS.iter().filter_map(|name| settings["index"][*name].as_str());
    names.filter(|name| *name != NO_PIPELINE && !name.is_empty()).map(str::to_owned)
}

fn patterns(template: &Value) -> impl Iterator<Item = &str> {
    template["index_patterns"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns whether a setting is on. Engines return values of settings as text.
fn is_true(value: &Value) -> bool {
    *value == true || *value == "true"
}

/// Returns whether an index belongs to this prefix, and not to a longer one, such as `trail-eu` to `trail`. An index behind
/// an alias may have any name.
fn has_prefix(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    rest.is_none_or(|rest| {
        rest.starts_with(|first: char| first.is_ascii_digit()) || rest == "undated"
    })
}

/// Returns whether a pattern matches an index name of this prefix.
fn matches_prefix(pattern: &str, prefix: &str) -> bool {
    overlap(pattern, prefix) || overlap(pattern, &format!("{prefix}-*"))
}

/// Returns whether a name exists that two patterns match, in which `*` matches any text.
fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    // Dynamic programming from the end to the front: `here[j]` is whether the rest of `one` overlaps `other[j..]`.
    let mut behind = vec![false; other.len() + 1];
    for (number, letter) in one.iter().map(Some).chain([None]).rev().enumerate() {
        let mut here = vec![false; other.len() + 1];
        for place in (0..=other.len()).rev() {
            let end = number == 0 && place == other.len();
            let next = |row: &[bool]| row.get(place + 1).copied().unwrap_or(false);
            here[place] = match (letter, other.get(place)) {
                (None, None) => end,
                (Some(b'*'), _) => behind[place] || next(&here),
                (letter, Some(b'*')) => next(&here) || (letter.is_some() && behind[place]),
                (Some(a), Some(b)) if a == b => next(&behind),
                _ => false,
            };
        }
        behind = here;
    }
    behind[0]
}

/// Sends a GET request without retries, for information that a load can do without.
pub(super) async fn get_once(client: &Client, path: &str) -> Result<Value, Cause> {
    let response = client.send_json(Method::Get, path, None).await?;
    match serde_json::from_slice(&response.body) {
        Ok(json) if response.status == 200 => Ok(json),
        _ => Err(error_response::parse(response.status, &response.body)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn templates() -> Templates {
        let core = json!({ "_meta": { "version": 1 }, "properties": {} });
        Templates::new("trail", core, 100, IndexBy::Month)
    }

    #[test]
    fn patterns_overlap_if_both_match_a_name() {
        for pattern in ["*", "trail", "trail-*", "tr*", "trail-2024*", "*-2024.03", "t*l-*0*"] {
            assert!(matches_prefix(pattern, "trail"), "{pattern}");
        }
        for pattern in ["trai", "trails-*", "trail.*", "logs-*", "trailer", "-trail-*", ""] {
            assert!(!matches_prefix(pattern, "trail"), "{pattern}");
        }
    }

    #[test]
    fn templates_of_others_are_classified_by_priority() {
        let ours = templates().priority();
        let entry = |name: &str, pattern: &str, priority: usize, streams: bool| {
            let mut template = json!({ "index_patterns": [pattern], "priority": priority });
            if streams {
                template["data_stream"] = json!({ "hidden": false });
            }
            json!({ "name": name, "index_template": template })
        };
        let response = json!({ "index_templates": [
            entry("trail", "trail-*", ours, false),
            entry("same", "tr*", ours, false),
            entry("higher", "*", ours + 1, false),
            entry("streams", "trail-2*", ours + 1, true),
            entry("lower", "*", 0, true),
            entry("elsewhere", "logs-*", ours, false),
            entry("trail-runs", "trail-runs", 1_000, false),
            entry("one month", "trail-2024.06", ours + 1, false),
        ] });
        let found =
            in_index_templates(&response, &Value::Null, &templates(), &mut PipelineUses::default());
        let expected = [
            EngineIssue::SamePriority { template: "same".to_owned(), priority: ours as u64 },
            EngineIssue::HigherPriority { template: "higher".to_owned() },
            EngineIssue::DataStream { template: "streams".to_owned() },
            EngineIssue::HigherPriority { template: "one month".to_owned() },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn pipelines_are_found_wherever_they_are_configured() {
        let names = |settings: Value| json!({ "index": settings });
        let mut uses = PipelineUses::default();
        let indices = json!({
            "trail-1": { "settings": names(json!({ "default_pipeline": "a", "final_pipeline": "_none" })) },
            "trail-2": { "settings": names(json!({ "final_pipeline": "a" })) },
        });
        assert!(in_indices(&indices, "trail", &mut uses).is_empty());
        let composable = json!({ "index_templates": [{ "name": "trail", "index_template": {
            "index_patterns": ["trail-*"], "composed_of": ["part"],
            "template": { "settings": names(json!({ "default_pipeline": "b" })) } } }] });
        let components = json!({ "component_templates": [
            { "name": "part", "component_template": { "template": {
                "settings": names(json!({ "final_pipeline": "c" })) } } },
            { "name": "other", "component_template": { "template": {
                "settings": names(json!({ "final_pipeline": "z" })) } } } ] });
        in_index_templates(&composable, &components, &templates(), &mut uses);
        let legacy = json!({
            "old": { "index_patterns": ["*"], "settings": names(json!({ "default_pipeline": "d" })) },
            "far": { "index_patterns": ["x*"], "settings": names(json!({ "default_pipeline": "y" })) },
        });
        let found = in_legacy_templates(&legacy, "trail", &mut uses);
        assert_eq!(found, [EngineIssue::LegacyTemplate { template: "old".to_owned() }]);
        let shown: Vec<_> = uses.iter().map(|(name, by)| (name.as_str(), by.join(", "))).collect();
        let expected = [
            ("a", "index 'trail-1', index 'trail-2'"),
            ("b", "index template 'trail'"),
            ("c", "component template 'part' of index template 'trail'"),
            ("d", "legacy template 'old'"),
        ];
        assert_eq!(shown, expected.map(|(name, by)| (name, by.to_owned())));
    }

    #[test]
    fn closed_and_blocked_indices_are_grouped_by_setting() {
        let response = json!({
            "trail-1": { "settings": { "index": { "verified_before_close": "true" } } },
            "trail-2": { "settings": { "index": { "blocks": { "write": "true" } } } },
            "trail-3": { "settings": { "index": { "blocks": { "write": "true", "read_only": "false" } } } },
            "trail-4": { "settings": { "index": { "blocks": { "read_only_allow_delete": "true" } } } },
            "trail-5": { "settings": { "index": { "blocks": { "read": "true" } } } },
            "trail-eu-2024.01": { "settings": { "index": { "verified_before_close": "true" } } },
        });
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let blocked = |setting: &str, indices: &[&str]| EngineIssue::Blocked {
            setting: setting.to_owned(),
            indices: names(indices),
        };
        let expected = [
            EngineIssue::Closed { indices: names(&["trail-1"]) },
            blocked("index.blocks.read_only_allow_delete", &["trail-4"]),
            blocked("index.blocks.write", &["trail-2", "trail-3"]),
        ];
        assert_eq!(in_indices(&response, "trail", &mut PipelineUses::default()), expected);
        let cause = Cause::ErrorResponse {
            status: 403,
            code: "cluster_block_exception".to_owned(),
            reason: "index [trail-9] blocked by: [FORBIDDEN/9/index metadata (api)];".to_owned(),
        };
        let hidden = blocked("index.blocks.metadata", &["trail-9"]);
        assert_eq!(metadata_block(&cause), Some(hidden));
    }

    #[test]
    fn a_long_list_is_cut() {
        let named_by: Vec<_> = (1..=5).map(|number| format!("index 'a-{number}'")).collect();
        let issue = EngineIssue::Pipeline { name: "p".to_owned(), named_by, exists: Some(true) };
        let shown = issue.describe();
        assert!(
            shown.contains("of index 'a-1', index 'a-2', index 'a-3' and 2 more may"),
            "{shown}"
        );
        let missing = EngineIssue::Pipeline {
            name: "p".to_owned(),
            named_by: vec!["index 'a'".to_owned()],
            exists: Some(false),
        };
        assert!(missing.describe().contains("'p' does not exist, but index 'a' uses it"));
    }

    #[test]
    fn a_cluster_close_to_its_shard_limit_is_an_issue() {
        let health = |active: u64| {
            json!({ "active_shards": active, "unassigned_shards": 10,
            "initializing_shards": 0, "number_of_data_nodes": 2 })
        };
        let settings = json!({ "persistent": { "cluster": { "max_shards_per_node": "100" } },
            "defaults": { "cluster": { "max_shards_per_node": "1000" } } });
        assert_eq!(few_free_shards(&health(100), &settings), None);
        let few = EngineIssue::Shards { open: 189, most: 200 };
        assert_eq!(few_free_shards(&health(179), &settings), Some(few));
        assert_eq!(few_free_shards(&Value::Null, &settings), None, "unknown");
    }
}
