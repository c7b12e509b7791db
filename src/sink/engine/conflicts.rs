//! Finds what in an engine keeps documents out of our indices, or changes them: templates of others, ingest
//! pipelines, closed and blocked indices, the limit of shards.
//!
//! In: a client and the prefix of our indices. Out: [`Conflict`]s, by name.
//! Holds: only GET is sent, each request once. What the engine does not tell, or not to us, is left out: a load needs
//! no right to look at what others made.
//! Absent on purpose: whether that is good or bad; that is for the load and the doctor to say.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::client::Method;
use super::paths;
use serde_json::Value;

use super::client::Client;
use super::install::Templates;
use super::reply;
use crate::sink::Cause;

/// Something in the engine that concerns our documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// An ingest pipeline sees our documents. It may drop or change them.
    Pipeline {
        /// Its name.
        name: String,
        /// What names it, such as `index 'cloudtrail-2024.03'`.
        named_by: Vec<String>,
        /// Whether the engine has it; nothing if it does not tell.
        exists: Option<bool>,
    },
    /// An index template that matches our indices has our template's priority: the engine refuses one of the two.
    SamePriority {
        /// Its name.
        template: String,
        /// The priority of both.
        priority: u64,
    },
    /// An index template that matches our indices has a higher priority: new indices come from it.
    HigherPriority {
        /// Its name.
        template: String,
    },
    /// A template for data streams matches our indices and wins: the engine makes no index of that name.
    DataStream {
        /// Its name.
        template: String,
    },
    /// A template of the old kind matches our indices. Engines pass over it where an index template matches.
    LegacyTemplate {
        /// Its name.
        template: String,
    },
    /// Indices that are closed.
    Closed {
        /// Their names.
        indices: Vec<String>,
    },
    /// Indices that somebody blocked.
    Blocked {
        /// The setting that blocks them, such as `index.blocks.write`.
        setting: String,
        /// Their names.
        indices: Vec<String>,
    },
    /// The cluster takes few further shards, or none.
    Shards {
        /// How many it has.
        open: u64,
        /// How many it takes.
        most: u64,
    },
}

/// Names that are listed; more are counted.
const LISTED: usize = 3;

/// Shards of a new index, with its replica.
const SHARDS_OF_AN_INDEX: u64 = 2;

/// Below this many free shards there is no room for the indices of a year.
const FEW_SHARDS: u64 = 12 * SHARDS_OF_AN_INDEX;

/// Blocks that keep writes out, by the last part of their setting.
const BLOCKS: [&str; 4] = ["read_only", "read_only_allow_delete", "write", "metadata"];

/// The settings that name an ingest pipeline.
const PIPELINES: [&str; 2] = ["default_pipeline", "final_pipeline"];

/// What an index names where it names no pipeline.
const NO_PIPELINE: &str = "_none";

impl Conflict {
    /// Returns the conflict in words.
    pub fn told(&self) -> String {
        match self {
            Self::Pipeline { name, named_by, exists: Some(false) } => format!(
                "ingest pipeline '{name}' does not exist, and {} names it: documents for it are set aside",
                listed(named_by)
            ),
            Self::Pipeline { name, named_by, .. } => format!(
                "ingest pipeline '{name}' of {} may drop or move documents: those are set aside",
                listed(named_by)
            ),
            Self::SamePriority { template, priority } => {
                format!(
                    "index template '{template}' matches the same indices with the same priority, {priority}"
                )
            }
            Self::HigherPriority { template } => format!(
                "index template '{template}' matches the same indices with a higher priority: new ones come from it"
            ),
            Self::DataStream { template } => {
                format!(
                    "index template '{template}' makes data streams of the same names, which keep no ids"
                )
            }
            Self::LegacyTemplate { template } => format!(
                "legacy template '{template}' matches the same indices; engines pass over it beside trailload's own"
            ),
            Self::Closed { indices } => {
                format!("closed: {}; documents for it are set aside", listed(indices))
            }
            Self::Blocked { setting, indices } if self.is_of_disk() => {
                format!("{setting} blocks writes to {}: a disk was full", listed(indices))
            }
            Self::Blocked { setting, indices } => {
                format!("{setting} keeps documents out of {}; they are set aside", listed(indices))
            }
            Self::Shards { open, most } => {
                format!(
                    "the cluster has {open} of at most {most} shards, and each new index takes some"
                )
            }
        }
    }

    /// Returns what to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Pipeline { exists: Some(false), .. } => {
                "make the pipeline, or take it out of the settings (index.default_pipeline, index.final_pipeline)"
            }
            Self::Pipeline { .. } => {
                "take it out of the settings (index.default_pipeline, index.final_pipeline), unless it only adds fields"
            }
            Self::SamePriority { .. } | Self::HigherPriority { .. } => {
                "give it a lower priority or other patterns, or choose another prefix with --index"
            }
            Self::DataStream { .. } => {
                "give it other patterns, or choose another prefix with --index"
            }
            Self::LegacyTemplate { .. } => {
                "nothing, or delete it if nobody needs it (DELETE /_template/NAME)"
            }
            Self::Closed { .. } => {
                "open it (POST /INDEX/_open), or leave its month out with --from and --to"
            }
            Self::Blocked { .. } if self.is_of_disk() => {
                "make room on the disk; the engine then goes on by itself"
            }
            Self::Blocked { .. } => {
                "set it to null (PUT /INDEX/_settings), or leave out its time with --from and --to"
            }
            Self::Shards { .. } => {
                "delete indices, raise cluster.max_shards_per_node, or make fewer indices with --index-by year"
            }
        }
    }

    /// Returns whether a full disk is behind it.
    pub fn is_of_disk(&self) -> bool {
        matches!(self, Self::Blocked { setting, .. } if setting.ends_with(".read_only_allow_delete"))
    }
}

/// Returns the first names of a list, and how many more there are.
fn listed(names: &[String]) -> String {
    let (shown, more) = names.split_at(names.len().min(LISTED));
    match more.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Returns the ingest pipelines that the settings of an index name; nothing if the engine does not tell.
pub(super) async fn pipelines_of(client: &Client, index: &str) -> Vec<String> {
    let path = format!(
        "{index}/_settings?filter_path=*.settings.index.default_pipeline,*.settings.index.final_pipeline"
    );
    let said = ask(client, &path).await.unwrap_or_default();
    let indices = said.as_object().into_iter().flatten();
    indices.flat_map(|(_, index)| pipelines(&index["settings"])).collect()
}

/// Finds everything.
pub(super) async fn find(client: &Client, templates: &Templates) -> Vec<Conflict> {
    let (mut found, shards) =
        tokio::join!(pipelines_and_templates(client, templates), shards(client));
    found.extend(shards);
    found
}

/// Finds templates of others, pipelines, closed and blocked indices.
pub(super) async fn pipelines_and_templates(
    client: &Client,
    templates: &Templates,
) -> Vec<Conflict> {
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
        ask(client, &settings),
        ask(client, composable),
        ask(client, components),
        ask(client, legacy),
    );
    let mut named = Named::default();
    let mut found = match &indices {
        Ok(settings) => in_indices(settings, prefix, &mut named),
        // A block of an index's metadata hides the settings of all.
        Err(cause) => blocked_metadata(cause).into_iter().collect(),
    };
    let (composable, components) = (composable.unwrap_or_default(), components.unwrap_or_default());
    found.extend(in_templates(&composable, &components, templates, &mut named));
    found.extend(in_legacy(&legacy.unwrap_or_default(), prefix, &mut named));
    for (name, named_by) in named {
        let exists = exists(client, &name).await;
        found.push(Conflict::Pipeline { name, named_by, exists });
    }
    found
}

/// Pipelines, and what names them.
type Named = BTreeMap<String, Vec<String>>;

/// Finds closed and blocked indices, and takes note of their pipelines.
fn in_indices(said: &Value, prefix: &str, named: &mut Named) -> Vec<Conflict> {
    let mut closed = Vec::new();
    let mut blocked: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, index) in said.as_object().into_iter().flatten() {
        if !is_ours(name, prefix) {
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
            named.entry(pipeline).or_default().push(format!("index '{name}'"));
        }
    }
    let blocked = blocked.into_iter().map(|(block, indices)| Conflict::Blocked {
        setting: format!("index.blocks.{block}"),
        indices,
    });
    let closed = (!closed.is_empty()).then_some(Conflict::Closed { indices: closed });
    closed.into_iter().chain(blocked).collect()
}

/// Reads the name of the index whose blocked metadata hides what was asked.
fn blocked_metadata(cause: &Cause) -> Option<Conflict> {
    cause.block()?;
    let (_, reason) = cause.words();
    let (_, name) = reason.split_once("index [")?;
    let (name, _) = name.split_once(']')?;
    let indices = vec![name.to_owned()];
    Some(Conflict::Blocked { setting: "index.blocks.metadata".to_owned(), indices })
}

/// Finds index templates that match our indices, and takes note of their pipelines and those of ours.
fn in_templates(
    said: &Value,
    components: &Value,
    ours: &Templates,
    named: &mut Named,
) -> Vec<Conflict> {
    let mut found = Vec::new();
    for entry in said["index_templates"].as_array().into_iter().flatten() {
        let (name, template) = (text(&entry["name"]), &entry["index_template"]);
        if !patterns(template).any(|pattern| matches_ours(pattern, ours.prefix())) {
            continue;
        }
        if name != ours.prefix() {
            found.extend(rival(&name, template, ours.priority() as u64));
        }
        for pipeline in pipelines(&template["template"]["settings"]) {
            named.entry(pipeline).or_default().push(format!("index template '{name}'"));
        }
        for part in template["composed_of"].as_array().into_iter().flatten().map(text) {
            for pipeline in pipelines_of_component(components, &part) {
                let by = format!("component template '{part}' of index template '{name}'");
                named.entry(pipeline).or_default().push(by);
            }
        }
    }
    found
}

/// Judges another index template that matches our indices; one of a lower priority does nothing.
fn rival(name: &str, content: &Value, ours: u64) -> Option<Conflict> {
    let (template, priority) = (name.to_owned(), content["priority"].as_u64().unwrap_or(0));
    match priority.cmp(&ours) {
        Ordering::Less => None,
        Ordering::Equal => Some(Conflict::SamePriority { template, priority }),
        Ordering::Greater if content["data_stream"].is_object() => {
            Some(Conflict::DataStream { template })
        }
        Ordering::Greater => Some(Conflict::HigherPriority { template }),
    }
}

fn pipelines_of_component(components: &Value, name: &str) -> Vec<String> {
    let all = components["component_templates"].as_array().into_iter().flatten();
    let ours = all.filter(|one| one["name"] == name);
    ours.flat_map(|one| pipelines(&one["component_template"]["template"]["settings"])).collect()
}

/// Finds templates of the old kind that match our indices, and takes note of their pipelines.
fn in_legacy(said: &Value, prefix: &str, named: &mut Named) -> Vec<Conflict> {
    let mut found = Vec::new();
    for (name, template) in said.as_object().into_iter().flatten() {
        if !patterns(template).any(|pattern| matches_ours(pattern, prefix)) {
            continue;
        }
        for pipeline in pipelines(&template["settings"]) {
            named.entry(pipeline).or_default().push(format!("legacy template '{name}'"));
        }
        found.push(Conflict::LegacyTemplate { template: name.clone() });
    }
    found
}

/// Finds out whether there is room for the shards of further indices.
async fn shards(client: &Client) -> Option<Conflict> {
    let health = format!(
        "{}?filter_path=active_shards,initializing_shards,unassigned_shards,number_of_data_nodes",
        paths::cluster_health()
    );
    let settings = format!(
        "{}?include_defaults=true&filter_path=*.cluster.max_shards_per_node",
        paths::cluster_settings()
    );
    let (health, settings) = tokio::join!(ask(client, &health), ask(client, &settings));
    few_shards(&health.ok()?, &settings.ok()?)
}

fn few_shards(health: &Value, settings: &Value) -> Option<Conflict> {
    let layers = ["transient", "persistent", "defaults"].into_iter();
    let mut limits = layers.map(|layer| &settings[layer]["cluster"]["max_shards_per_node"]);
    let a_node =
        limits.find_map(|limit| limit.as_u64().or_else(|| limit.as_str()?.parse().ok()))?;
    let most = a_node.checked_mul(health["number_of_data_nodes"].as_u64()?)?;
    let kinds = ["active_shards", "initializing_shards", "unassigned_shards"];
    let open = kinds.iter().filter_map(|kind| health[*kind].as_u64()).sum();
    (most < FEW_SHARDS.saturating_add(open)).then_some(Conflict::Shards { open, most })
}

async fn exists(client: &Client, pipeline: &str) -> Option<bool> {
    let path = format!("{}?filter_path=*.description", paths::pipeline(pipeline));
    match ask(client, &path).await {
        Ok(_) => Some(true),
        Err(cause) => (cause.status() == Some(404)).then_some(false),
    }
}

/// Returns the pipelines that settings name.
fn pipelines(settings: &Value) -> impl Iterator<Item = String> {
    let named = PIPELINES.iter().filter_map(|name| settings["index"][*name].as_str());
    named.filter(|name| *name != NO_PIPELINE && !name.is_empty()).map(str::to_owned)
}

fn patterns(template: &Value) -> impl Iterator<Item = &str> {
    template["index_patterns"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Engines give values of settings as text.
fn is_true(value: &Value) -> bool {
    *value == true || *value == "true"
}

/// Returns whether an index that our patterns find is ours, and not that of a longer prefix, such as `trail-eu` beside
/// `trail`. One behind an alias may have any name.
fn is_ours(name: &str, prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    rest.is_none_or(|rest| {
        rest.starts_with(|first: char| first.is_ascii_digit()) || rest == "undated"
    })
}

/// Returns whether a pattern matches the name of an index that is ours, now or later.
fn matches_ours(pattern: &str, prefix: &str) -> bool {
    meet(pattern, prefix) || meet(pattern, &format!("{prefix}-*"))
}

/// Returns whether there is a name that two patterns match, in which `*` stands for anything.
fn meet(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    // Whether the patterns meet from a place in `one` on, for each place in `other`; from the end to the front.
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

/// Asks once: what is only good to know is not worth waiting for.
pub(super) async fn ask(client: &Client, path: &str) -> Result<Value, Cause> {
    let answer = client.call(Method::Get, path, None).await?;
    match serde_json::from_slice(&answer.body) {
        Ok(json) if answer.status == 200 => Ok(json),
        _ => Err(reply::cause(answer.status, &answer.body)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::normalize::IndexBy;

    fn templates() -> Templates {
        let core = json!({ "_meta": { "version": 1 }, "properties": {} });
        Templates::new("trail", core, 100, IndexBy::Month)
    }

    #[test]
    fn patterns_meet_if_a_name_fits_both() {
        for pattern in ["*", "trail", "trail-*", "tr*", "trail-2024*", "*-2024.03", "t*l-*0*"] {
            assert!(matches_ours(pattern, "trail"), "{pattern}");
        }
        for pattern in ["trai", "trails-*", "trail.*", "logs-*", "trailer", "-trail-*", ""] {
            assert!(!matches_ours(pattern, "trail"), "{pattern}");
        }
    }

    #[test]
    fn templates_of_others_are_judged_by_their_priority() {
        let ours = templates().priority();
        let entry = |name: &str, pattern: &str, priority: usize, streams: bool| {
            let mut template = json!({ "index_patterns": [pattern], "priority": priority });
            if streams {
                template["data_stream"] = json!({ "hidden": false });
            }
            json!({ "name": name, "index_template": template })
        };
        let said = json!({ "index_templates": [
            entry("trail", "trail-*", ours, false),
            entry("same", "tr*", ours, false),
            entry("higher", "*", ours + 1, false),
            entry("streams", "trail-2*", ours + 1, true),
            entry("lower", "*", 0, true),
            entry("elsewhere", "logs-*", ours, false),
        ] });
        let found = in_templates(&said, &Value::Null, &templates(), &mut Named::default());
        let expected = [
            Conflict::SamePriority { template: "same".to_owned(), priority: ours as u64 },
            Conflict::HigherPriority { template: "higher".to_owned() },
            Conflict::DataStream { template: "streams".to_owned() },
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn pipelines_are_found_wherever_they_are_named() {
        let names = |settings: Value| json!({ "index": settings });
        let mut named = Named::default();
        let indices = json!({
            "trail-1": { "settings": names(json!({ "default_pipeline": "a", "final_pipeline": "_none" })) },
            "trail-2": { "settings": names(json!({ "final_pipeline": "a" })) },
        });
        assert!(in_indices(&indices, "trail", &mut named).is_empty());
        let composable = json!({ "index_templates": [{ "name": "trail", "index_template": {
            "index_patterns": ["trail-*"], "composed_of": ["part"],
            "template": { "settings": names(json!({ "default_pipeline": "b" })) } } }] });
        let components = json!({ "component_templates": [
            { "name": "part", "component_template": { "template": {
                "settings": names(json!({ "final_pipeline": "c" })) } } },
            { "name": "other", "component_template": { "template": {
                "settings": names(json!({ "final_pipeline": "z" })) } } } ] });
        in_templates(&composable, &components, &templates(), &mut named);
        let legacy = json!({
            "old": { "index_patterns": ["*"], "settings": names(json!({ "default_pipeline": "d" })) },
            "far": { "index_patterns": ["x*"], "settings": names(json!({ "default_pipeline": "y" })) },
        });
        let found = in_legacy(&legacy, "trail", &mut named);
        assert_eq!(found, [Conflict::LegacyTemplate { template: "old".to_owned() }]);
        let told: Vec<_> = named.iter().map(|(name, by)| (name.as_str(), by.join(", "))).collect();
        let expected = [
            ("a", "index 'trail-1', index 'trail-2'"),
            ("b", "index template 'trail'"),
            ("c", "component template 'part' of index template 'trail'"),
            ("d", "legacy template 'old'"),
        ];
        assert_eq!(told, expected.map(|(name, by)| (name, by.to_owned())));
    }

    #[test]
    fn closed_and_blocked_indices_are_named_by_setting() {
        let said = json!({
            "trail-1": { "settings": { "index": { "verified_before_close": "true" } } },
            "trail-2": { "settings": { "index": { "blocks": { "write": "true" } } } },
            "trail-3": { "settings": { "index": { "blocks": { "write": "true", "read_only": "false" } } } },
            "trail-4": { "settings": { "index": { "blocks": { "read_only_allow_delete": "true" } } } },
            "trail-5": { "settings": { "index": { "blocks": { "read": "true" } } } },
            "trail-eu-2024.01": { "settings": { "index": { "verified_before_close": "true" } } },
        });
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let blocked = |setting: &str, indices: &[&str]| Conflict::Blocked {
            setting: setting.to_owned(),
            indices: names(indices),
        };
        let expected = [
            Conflict::Closed { indices: names(&["trail-1"]) },
            blocked("index.blocks.read_only_allow_delete", &["trail-4"]),
            blocked("index.blocks.write", &["trail-2", "trail-3"]),
        ];
        assert_eq!(in_indices(&said, "trail", &mut Named::default()), expected);
        let cause = Cause::Answer {
            status: 403,
            code: "cluster_block_exception".to_owned(),
            reason: "index [trail-9] blocked by: [FORBIDDEN/9/index metadata (api)];".to_owned(),
        };
        let hidden = blocked("index.blocks.metadata", &["trail-9"]);
        assert_eq!(blocked_metadata(&cause), Some(hidden));
    }

    #[test]
    fn a_long_list_is_cut() {
        let named_by: Vec<_> = (1..=5).map(|number| format!("index 'a-{number}'")).collect();
        let conflict = Conflict::Pipeline { name: "p".to_owned(), named_by, exists: Some(true) };
        let told = conflict.told();
        assert!(told.contains("of index 'a-1', index 'a-2', index 'a-3' and 2 more may"), "{told}");
        let missing = Conflict::Pipeline {
            name: "p".to_owned(),
            named_by: vec!["index 'a'".to_owned()],
            exists: Some(false),
        };
        assert!(missing.told().contains("'p' does not exist, and index 'a' names it"));
    }

    #[test]
    fn a_cluster_without_room_for_a_year_is_named() {
        let health = |active: u64| {
            json!({ "active_shards": active, "unassigned_shards": 10,
            "initializing_shards": 0, "number_of_data_nodes": 2 })
        };
        let settings = json!({ "persistent": { "cluster": { "max_shards_per_node": "100" } },
            "defaults": { "cluster": { "max_shards_per_node": "1000" } } });
        assert_eq!(few_shards(&health(100), &settings), None);
        let few = Conflict::Shards { open: 189, most: 200 };
        assert_eq!(few_shards(&health(179), &settings), Some(few));
        assert_eq!(few_shards(&Value::Null, &settings), None, "the engine does not tell");
    }
}
