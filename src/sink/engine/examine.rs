//! Looks at an engine and changes nothing: templates, disks, rights, and what is in the way.
//!
//! In: a connected engine. Out: an [`Examination`].
//! Holds: only GET is sent. What the engine does not tell, or not to us, is told as unknown: a load needs no right
//! to look at disks, nor at rights.
//! Absent on purpose: whether that is good or bad; that is the doctor's to say.

use bytes::Bytes;
use serde_json::{Value, json};

use super::client::Method;
use super::conflicts::{self, Conflict};
use super::paths;
use super::{Engine, Flavour, Mappings};

/// What a load needs of Elasticsearch, as a role.
const ROLE: &str = include_str!("../../../policy/elasticsearch.json");

/// The prefix that the role is written for.
const ROLE_PREFIX: &str = "cloudtrail";

/// The rights that a load can do without: they only tell the version, and whether what was loaded is still there.
const NOT_NEEDED: [&str; 3] =
    ["cluster:monitor/main", "indices:admin/refresh", "indices:monitor/stats"];

/// What an engine looks like before a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examination {
    /// How the templates are.
    pub templates: TemplateState,
    /// The fullest disk; `None` if that is not told.
    pub disk: Option<Disk>,
    /// What we may do.
    pub rights: Rights,
    /// What is in the way of our documents.
    pub conflicts: Vec<Conflict>,
}

/// How the templates of an engine are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateState {
    /// As this program wants them.
    Current,
    /// Absent, or older: a load puts them.
    ToBePut,
    /// The endpoint knows no templates.
    Unknown,
}

/// The disk of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The node's name.
    pub node: String,
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes that are free.
    pub free: u64,
    /// How full it is, by the engine's own marks.
    pub fill: Fill,
}

/// How full a disk is, by the engine's marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fill {
    /// Below all marks that matter.
    Fine,
    /// Above the high mark: new indices find no place there.
    High,
    /// Above the last mark: the engine blocks writes.
    Flooded,
}

/// What we may do, as far as the engine tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rights {
    /// The engine does not say.
    Unknown,
    /// OpenSearch says who we are, and not what we may write.
    Named {
        /// Our name.
        user: String,
        /// Our roles.
        roles: Vec<String>,
    },
    /// Elasticsearch says that we may do all that a load does.
    Enough {
        /// Our name.
        user: String,
    },
    /// Elasticsearch says what is missing.
    Missing {
        /// Our name.
        user: String,
        /// The privileges that a load needs too.
        privileges: Vec<String>,
    },
}

impl Engine {
    /// Looks at templates, disks, rights and conflicts. What cannot be found out is told as such.
    pub async fn examine(&self, prefix: &str) -> Examination {
        let templates = match &self.mappings {
            None => TemplateState::Unknown,
            Some(mappings) if mappings.is_current() => TemplateState::Current,
            Some(_) => TemplateState::ToBePut,
        };
        let known = self.description.flavour != Flavour::Unknown && !self.is_serverless();
        let disk = if known { self.disk().await } else { None };
        let rights = match self.description.flavour {
            Flavour::OpenSearch if known => self.named().await,
            Flavour::Elasticsearch => self.privileges(prefix).await,
            _ => None,
        };
        let conflicts = match &self.mappings {
            Some(mappings) if !self.is_serverless() => {
                conflicts::find(&self.client, mappings.templates()).await
            }
            _ => Vec::new(),
        };
        Examination { templates, disk, rights: rights.unwrap_or(Rights::Unknown), conflicts }
    }

    fn is_serverless(&self) -> bool {
        self.description.version.as_deref() == Some(super::SERVERLESS)
    }

    /// Asks once: what is only good to know is not worth waiting for.
    async fn ask(&self, path: &str, body: Option<&Value>) -> Option<Value> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let answer = self.client.call(Method::Get, path, body).await.ok()?;
        let json = serde_json::from_slice(&answer.body).ok()?;
        (answer.status == 200).then_some(json)
    }

    async fn disk(&self) -> Option<Disk> {
        let nodes = format!("{}?filter_path=nodes.*.name,nodes.*.fs.total", paths::disks());
        let settings = format!(
            "{}?include_defaults=true&filter_path=*.cluster.routing.allocation.disk",
            paths::cluster_settings()
        );
        let nodes = self.ask(&nodes, None).await?;
        let settings = self.ask(&settings, None).await.unwrap_or_default();
        fullest(&nodes, &Marks::of(&settings))
    }

    async fn named(&self) -> Option<Rights> {
        let said = self.ask("_plugins/_security/authinfo", None).await?;
        let roles = said["roles"].as_array()?.iter().filter_map(Value::as_str);
        let user = said["user_name"].as_str()?.to_owned();
        Some(Rights::Named { user, roles: roles.map(str::to_owned).collect() })
    }

    async fn privileges(&self, prefix: &str) -> Option<Rights> {
        let path = "_security/user/_has_privileges";
        let said = self.ask(path, Some(&question(prefix))).await?;
        let user = said["username"].as_str()?.to_owned();
        let mut privileges = Vec::new();
        let indices = said["index"].as_object()?.values();
        for (name, has) in indices.chain([&said["cluster"]]).filter_map(Value::as_object).flatten()
        {
            if has == false && !NOT_NEEDED.contains(&name.as_str()) && !privileges.contains(name) {
                privileges.push(name.clone());
            }
        }
        privileges.sort();
        Some(if privileges.is_empty() {
            Rights::Enough { user }
        } else {
            Rights::Missing { user, privileges }
        })
    }
}

/// Asks whether we have what the role gives, for indices of this prefix.
fn question(prefix: &str) -> Value {
    let role: Value = serde_json::from_str(ROLE).expect("a test reads it");
    let mut indices = role["indices"].clone();
    for names in indices.as_array_mut().into_iter().flatten().map(|entry| &mut entry["names"]) {
        for name in names.as_array_mut().into_iter().flatten() {
            *name = name.as_str().unwrap_or_default().replacen(ROLE_PREFIX, prefix, 1).into();
        }
    }
    json!({ "cluster": role["cluster"], "index": indices })
}

/// How full a disk may be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Marks {
    high: Mark,
    flood: Mark,
}

/// A limit for one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    /// Thousandths that may be used; no more than this has to be free, whatever the size.
    Used(u64, Option<u64>),
    /// Bytes that have to be free.
    Free(u64),
    /// None: the engine does not look.
    Off,
}

impl Marks {
    /// Reads the engine's settings; what is set for now wins over what is set for good, and over the defaults.
    fn of(settings: &Value) -> Self {
        let setting = |name: &str| {
            let path = format!("/cluster/routing/allocation/disk/{name}");
            let mut layers = ["transient", "persistent", "defaults"].into_iter();
            layers.find_map(|layer| settings[layer].pointer(&path)?.as_str())
        };
        if setting("threshold_enabled") == Some("false") {
            return Self { high: Mark::Off, flood: Mark::Off };
        }
        let mark = |name: &str, default: &str| {
            let room = setting(&format!("watermark/{name}.max_headroom")).and_then(bytes);
            let text = setting(&format!("watermark/{name}"));
            text.and_then(|text| Mark::read(text, room))
                .or_else(|| Mark::read(default, room))
                .unwrap_or(Mark::Off)
        };
        Self { high: mark("high", "90%"), flood: mark("flood_stage", "95%") }
    }

    fn fill(&self, total: u64, free: u64) -> Fill {
        if self.flood.is_passed(total, free) {
            Fill::Flooded
        } else if self.high.is_passed(total, free) {
            Fill::High
        } else {
            Fill::Fine
        }
    }
}

impl Mark {
    /// Reads `95%`, `0.95` or `10gb`.
    fn read(text: &str, room: Option<u64>) -> Option<Self> {
        let thousandths = |text: &str, by: f64| {
            let number = text.trim().parse::<f64>().ok().filter(|number| *number >= 0.0)?;
            Some(thousandths(number * by))
        };
        match text.strip_suffix('%') {
            Some(percent) => Some(Self::Used(thousandths(percent, 10.0)?, room)),
            None => match bytes(text) {
                Some(bytes) => Some(Self::Free(bytes)),
                None => Some(Self::Used(thousandths(text, 1000.0)?, room)),
            },
        }
    }

    fn is_passed(&self, total: u64, free: u64) -> bool {
        match *self {
            Self::Off => false,
            Self::Free(bytes) => free < bytes,
            Self::Used(thousandths, room) => {
                let spare = total / 1000 * 1000_u64.saturating_sub(thousandths);
                free < room.map_or(spare, |room| spare.min(room))
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "kept within 0 and 1000"
)]
fn thousandths(number: f64) -> u64 {
    number.clamp(0.0, 1000.0).round() as u64
}

/// Reads a size as engines write it: `10gb`, `512.5mb`; nothing for text without a unit, and for `-1`.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let units = [("pb", 50), ("tb", 40), ("gb", 30), ("mb", 20), ("kb", 10), ("b", 0)];
    let (number, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))?;
    // A part of a unit does not matter here.
    let whole = number.split('.').next()?;
    whole.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Returns the disk that is worst by the marks, and of those the one with the least room.
fn fullest(nodes: &Value, marks: &Marks) -> Option<Disk> {
    let disks = nodes["nodes"].as_object()?.values().filter_map(|node| {
        let total = &node["fs"]["total"];
        let bytes = total["total_in_bytes"].as_u64().filter(|bytes| *bytes > 0)?;
        let free = total["available_in_bytes"].as_u64()?;
        let node = node["name"].as_str().unwrap_or_default().to_owned();
        Some(Disk { node, bytes, free, fill: marks.fill(bytes, free) })
    });
    disks.max_by(|a, b| a.fill.cmp(&b.fill).then(b.free.cmp(&a.free)))
}

impl Mappings {
    /// Returns whether the templates are as they should be.
    fn is_current(&self) -> bool {
        self.missing().is_nothing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(disk: &Value) -> Marks {
        Marks::of(
            &json!({ "defaults": { "cluster": { "routing": { "allocation": { "disk": disk } } } } }),
        )
    }

    #[test]
    fn marks_are_read_in_all_their_forms() {
        let gib = 1 << 30;
        let elasticsearch = json!({ "threshold_enabled": "true", "watermark": {
            "flood_stage": "95%", "flood_stage.max_headroom": "100GB", "high": "0.9", "low": "85%" } });
        let marks = marks(&elasticsearch);
        assert_eq!(marks.flood, Mark::Used(950, Some(100 * gib)));
        assert_eq!(marks.high, Mark::Used(900, None));
        assert_eq!(Mark::read("10gb", None), Some(Mark::Free(10 * gib)));
        assert_eq!(Mark::read("97.5%", None), Some(Mark::Used(975, None)));
        assert_eq!(Mark::read("-1", None), None);
        assert_eq!(Marks::of(&Value::Null).flood, Mark::Used(950, None), "the engines' default");
    }

    #[test]
    fn a_disk_is_judged_by_the_engines_own_marks() {
        let of = |watermark: Value| marks(&json!({ "watermark": watermark }));
        let percent = of(json!({}));
        assert_eq!(percent.fill(1000, 300), Fill::Fine);
        assert_eq!(percent.fill(1000, 90), Fill::High);
        assert_eq!(percent.fill(1000, 40), Fill::Flooded);
        let free = of(json!({ "high": "2gb", "flood_stage": "1gb" }));
        assert_eq!(free.fill(100 << 30, 3 << 30), Fill::Fine);
        assert_eq!(free.fill(100 << 30, 1 << 29), Fill::Flooded);
        let large = of(json!({ "flood_stage": "95%", "flood_stage.max_headroom": "100gb" }));
        assert_eq!(large.fill(10 << 40, 200 << 30), Fill::High, "2 % of it, and still 200 GiB");
        assert_eq!(marks(&json!({ "threshold_enabled": "false" })).fill(1000, 1), Fill::Fine);
    }

    #[test]
    fn the_worst_disk_counts() {
        let node = |name: &str, free: u64| {
            json!({ "name": name, "fs": { "total": { "total_in_bytes": 1000, "free_in_bytes": free,
                "available_in_bytes": free } } })
        };
        let nodes =
            json!({ "nodes": { "1": node("a", 500), "2": node("b", 20), "3": node("c", 60) } });
        let disk = fullest(&nodes, &Marks::of(&Value::Null)).unwrap();
        assert_eq!((disk.node.as_str(), disk.fill), ("b", Fill::Flooded));
        assert_eq!(fullest(&json!({}), &Marks::of(&Value::Null)), None);
    }

    #[test]
    fn the_question_is_the_role_for_this_prefix() {
        let asked = question("audit");
        assert_eq!(asked["index"][0]["names"], json!(["audit", "audit-*"]));
        assert!(asked["cluster"].as_array().unwrap().len() > 3);
    }
}
