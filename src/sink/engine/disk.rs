//! How full the disks of the nodes are, by the engine's own watermarks.
//!
//! Input: node statistics and cluster settings. Output: the fullest [`Disk`].

use serde_json::Value;

/// The disk of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Name of the node.
    pub node: String,
    /// Total size in bytes.
    pub bytes: u64,
    /// Available bytes.
    pub free: u64,
    /// How full it is.
    pub usage: DiskUsage,
}

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskUsage {
    /// Below all watermarks that matter to a load.
    Normal,
    /// Above the high watermark: no new index is allocated to it.
    AboveHighWatermark,
    /// Above the flood-stage watermark: the engine blocks writes.
    AboveFloodStage,
}

/// The two watermarks that matter to a load.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Watermarks {
    high: Watermark,
    flood_stage: Watermark,
}

/// A limit for one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Watermark {
    /// Thousandths that may be used, and optionally the free bytes that are sufficient for a disk of any size.
    Used(u64, Option<u64>),
    /// Bytes that have to be free.
    Free(u64),
    /// Disabled.
    Off,
}

impl Watermarks {
    /// Parses cluster settings. Transient settings precede persistent ones, and these the defaults.
    fn from_settings(settings: &Value) -> Self {
        let setting = |name: &str| {
            let path = format!("/cluster/routing/allocation/disk/{name}");
            let mut layers = ["transient", "persistent", "defaults"].into_iter();
            layers.find_map(|layer| settings[layer].pointer(&path)?.as_str())
        };
        if setting("threshold_enabled") == Some("false") {
            return Self { high: Watermark::Off, flood_stage: Watermark::Off };
        }
        let watermark = |name: &str, default: &str| {
            let headroom = setting(&format!("watermark/{name}.max_headroom")).and_then(parse_bytes);
            let text = setting(&format!("watermark/{name}"));
            text.and_then(|text| Watermark::parse(text, headroom))
                .or_else(|| Watermark::parse(default, headroom))
                .unwrap_or(Watermark::Off)
        };
        Self { high: watermark("high", "90%"), flood_stage: watermark("flood_stage", "95%") }
    }

    fn usage(&self, total: u64, free: u64) -> DiskUsage {
        if self.flood_stage.is_exceeded(total, free) {
            DiskUsage::AboveFloodStage
        } else if self.high.is_exceeded(total, free) {
            DiskUsage::AboveHighWatermark
        } else {
            DiskUsage::Normal
        }
    }
}

impl Watermark {
    /// Parses `95%`, `0.95` or `10gb`.
    fn parse(text: &str, headroom: Option<u64>) -> Option<Self> {
        let thousandths = |text: &str, factor: f64| {
            let number = text.trim().parse::<f64>().ok().filter(|number| *number >= 0.0)?;
            Some(to_thousandths(number * factor))
        };
        match text.strip_suffix('%') {
            Some(percent) => Some(Self::Used(thousandths(percent, 10.0)?, headroom)),
            None => match parse_bytes(text) {
                Some(bytes) => Some(Self::Free(bytes)),
                None => Some(Self::Used(thousandths(text, 1000.0)?, headroom)),
            },
        }
    }

    fn is_exceeded(&self, total: u64, free: u64) -> bool {
        match *self {
            Self::Off => false,
            Self::Free(bytes) => free < bytes,
            Self::Used(thousandths, headroom) => {
                let required = total / 1000 * 1000_u64.saturating_sub(thousandths);
                free < headroom.map_or(required, |headroom| required.min(headroom))
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "kept within 0 and 1000"
)]
fn to_thousandths(number: f64) -> u64 {
    number.clamp(0.0, 1000.0).round() as u64
}

/// Parses a size as engines write it: `10gb`, `512.5mb`; `None` for text without a unit, and for `-1`.
fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let units = [("pb", 50), ("tb", 40), ("gb", 30), ("mb", 20), ("kb", 10), ("b", 0)];
    let (number, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))?;
    // Fractions of a unit are ignored: this is only compared with free space.
    let whole = number.split('.').next()?;
    whole.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Returns the disk with the highest usage, and of those the one with the least free space.
pub(super) fn fullest(nodes: &Value, settings: &Value) -> Option<Disk> {
    let watermarks = Watermarks::from_settings(settings);
    let disks = nodes["nodes"].as_object()?.values().filter_map(|node| {
        let total = &node["fs"]["total"];
        let bytes = total["total_in_bytes"].as_u64().filter(|bytes| *bytes > 0)?;
        let free = total["available_in_bytes"].as_u64()?;
        let node = node["name"].as_str().unwrap_or_default().to_owned();
        Some(Disk { node, bytes, free, usage: watermarks.usage(bytes, free) })
    });
    disks.max_by(|a, b| a.usage.cmp(&b.usage).then(b.free.cmp(&a.free)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn watermarks(disk: &Value) -> Watermarks {
        Watermarks::from_settings(
            &json!({ "defaults": { "cluster": { "routing": { "allocation": { "disk": disk } } } } }),
        )
    }

    #[test]
    fn watermarks_are_parsed_in_all_their_forms() {
        let gib = 1 << 30;
        let elasticsearch = json!({ "threshold_enabled": "true", "watermark": {
            "flood_stage": "95%", "flood_stage.max_headroom": "100GB", "high": "0.9", "low": "85%" } });
        let watermarks = watermarks(&elasticsearch);
        assert_eq!(watermarks.flood_stage, Watermark::Used(950, Some(100 * gib)));
        assert_eq!(watermarks.high, Watermark::Used(900, None));
        assert_eq!(Watermark::parse("10gb", None), Some(Watermark::Free(10 * gib)));
        assert_eq!(Watermark::parse("97.5%", None), Some(Watermark::Used(975, None)));
        assert_eq!(Watermark::parse("-1", None), None);
        let defaults = Watermarks::from_settings(&Value::Null);
        assert_eq!(defaults.flood_stage, Watermark::Used(950, None), "the engines' default");
    }

    #[test]
    fn usage_is_measured_by_the_engines_watermarks() {
        let of = |watermark: Value| watermarks(&json!({ "watermark": watermark }));
        let percent = of(json!({}));
        assert_eq!(percent.usage(1000, 300), DiskUsage::Normal);
        assert_eq!(percent.usage(1000, 90), DiskUsage::AboveHighWatermark);
        assert_eq!(percent.usage(1000, 40), DiskUsage::AboveFloodStage);
        let free = of(json!({ "high": "2gb", "flood_stage": "1gb" }));
        assert_eq!(free.usage(100 << 30, 3 << 30), DiskUsage::Normal);
        assert_eq!(free.usage(100 << 30, 1 << 29), DiskUsage::AboveFloodStage);
        let large = of(json!({ "flood_stage": "95%", "flood_stage.max_headroom": "100gb" }));
        assert_eq!(
            large.usage(10 << 40, 200 << 30),
            DiskUsage::AboveHighWatermark,
            "2 % of it, and still 200 GiB"
        );
        let off = watermarks(&json!({ "threshold_enabled": "false" }));
        assert_eq!(off.usage(1000, 1), DiskUsage::Normal);
    }

    #[test]
    fn the_fullest_disk_is_returned() {
        let node = |name: &str, free: u64| {
            json!({ "name": name, "fs": { "total": { "total_in_bytes": 1000, "free_in_bytes": free,
                "available_in_bytes": free } } })
        };
        let nodes =
            json!({ "nodes": { "1": node("a", 500), "2": node("b", 20), "3": node("c", 60) } });
        let disk = fullest(&nodes, &Value::Null).unwrap();
        assert_eq!((disk.node.as_str(), disk.usage), ("b", DiskUsage::AboveFloodStage));
        assert_eq!(fullest(&json!({}), &Value::Null), None);
    }
}
