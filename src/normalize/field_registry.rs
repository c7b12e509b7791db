//! The field registry: what each path may hold, and which paths are fields of the index.
//!
//! Input: the core template, the kind table, live mappings, decisions of earlier runs, and the first values of
//! unknown paths. Output: one [`PathRule`] per path, and the numbered list of discovered fields that index mappings
//! must have.
//!
//! Invariant: the rule of a path is decided once and changes only if a live index has a different mapping
//! ([`FieldRegistry::merge_mappings`]). The first of these that knows the path decides: the core template, a live
//! mapping, the declared conflicts and the kind table, the checkpoint of earlier runs, the first value of this run.
//! The field limit decides which values are mapped, never which key they have. Paths of the kind table are therefore
//! remembered beyond the limit; other paths are not, because their number is unbounded.
//!
//! [`FieldRegistry`] is shared by all workers and locked. It is queried only when a path occurs for the first time;
//! each worker keeps the answers in its [`PathCache`](super::path_cache::PathCache). Not here: rewriting, and I/O.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use serde_json::{Map, Value, json};

use super::{
    rules::{FREE_PARTS, FieldKind, Rules},
    text,
};

/// Number of keys in the longest path that becomes a field. Deeper values are found through `trailload.unmapped`;
/// about 1 % of the paths in public logs are deeper.
pub(super) const MAX_DEPTH: u32 = 7;

/// Number of a path, in the order in which paths became known.
pub(super) type PathId = u32;

/// The record itself; its members are the top-level fields.
pub(super) const ROOT: PathId = 0;

/// What a path may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathRule {
    /// An object, or a list of objects.
    Object { new_keys: NewKeys },
    /// A string, number or boolean, or a list of them.
    Value,
    /// As [`Self::Value`], but beyond the field limit: values go to `trailload.unmapped`.
    Unmapped,
    /// `true` or `false`, as a boolean or as a string.
    Boolean,
    /// Any value: the index does not parse it.
    Anything,
    /// Nothing: this program adds a member of that name.
    Reserved,
}

/// What becomes of keys of an object that have no path yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NewKeys {
    /// They get one.
    Mapped,
    /// They are user data (tags, headers): those of the kind table get one, all others stay unmapped.
    MappedIfKnown,
    /// They stay unmapped: the profile excludes them.
    Unmapped,
}

/// What is known about a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathInfo {
    /// What it may hold.
    pub(super) rule: PathRule,
    /// Number of discovered fields that an index must have before it receives this path: the number of its own field
    /// plus one.
    pub(super) required_fields: u32,
}

/// A path, as [`PathCache`](super::path_cache::PathCache) copies it.
pub(super) struct KnownPath<'t> {
    pub(super) parent: PathId,
    /// Hash of the last key.
    pub(super) hash: u64,
    /// The last key.
    pub(super) name: &'t str,
    /// All keys, joined by dots.
    pub(super) path: &'t str,
    pub(super) info: PathInfo,
}

/// Selection of the fields to map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldProfile {
    /// Every path, within the field limit.
    #[default]
    Standard,
    /// Only paths outside `requestParameters`, `responseElements`, `additionalEventData` and `serviceEventDetails`, and those
    /// of the core template.
    Lean,
}

/// What a path that is in no table may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldShape {
    /// An object, or a list of objects.
    Object,
    /// A string, number or boolean, or a list of them.
    Value,
}

impl FieldShape {
    /// Returns the name of the shape in checkpoints and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Value => "value",
        }
    }

    /// Returns the shape with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Object, Self::Value].into_iter().find(|shape| shape.name() == name)
    }

    fn from_rule(rule: PathRule) -> Option<Self> {
        match rule {
            PathRule::Object { .. } => Some(Self::Object),
            PathRule::Value | PathRule::Unmapped | PathRule::Boolean => Some(Self::Value),
            PathRule::Anything | PathRule::Reserved => None,
        }
    }
}

/// Origin of a decision about a path that is in no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// The first value at that path.
    FirstValue,
    /// The mapping of an index or a template.
    Engine,
}

/// A decision about a path that is in no table. Later runs apply it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDecision {
    /// All keys, joined by dots.
    pub path: String,
    /// What the path may hold.
    pub shape: FieldShape,
    /// Origin of the decision.
    pub by: DecidedBy,
}

/// All known paths and the fields to map, shared by all workers.
pub struct FieldRegistry {
    rules: Arc<Rules>,
    profile: FieldProfile,
    limit: u32,
    paths: Mutex<PathTable>,
    discovered: AtomicU32,
    version: AtomicU64,
    full: AtomicBool,
}

#[derive(Default)]
struct PathTable {
    entries: Vec<PathEntry>,
    /// Paths by parent and hash of the key. Path caches rely on 64 bits too: if two keys had the same hash, the
    /// engine would at worst reject a document, which is then rewritten.
    children: HashMap<(PathId, u64), PathId>,
    fields: Vec<(String, Value)>,
    used_fields: u32,
    decisions: Vec<FieldDecision>,
    /// Decisions of earlier runs about paths that this run has not seen yet.
    restored: HashMap<String, FieldShape>,
}

struct PathEntry {
    parent: PathId,
    hash: u64,
    name: String,
    path: String,
    depth: u32,
    info: PathInfo,
    /// True if an index or the core template decided; later mappings do not override it.
    is_final: bool,
}

impl fmt::Debug for FieldRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl FieldRegistry {
    /// Creates a registry with the core template and room for `limit` fields in total.
    pub fn new(rules: Arc<Rules>, profile: FieldProfile, limit: u32) -> Self {
        let fields = Self {
            profile,
            limit,
            paths: Mutex::default(),
            discovered: AtomicU32::new(0),
            version: AtomicU64::new(0),
            full: AtomicBool::new(false),
            rules,
        };
        fields.start();
        fields
    }

    /// Returns a registry with the same rules for one index, given its live `mappings`.
    ///
    /// The mappings override even the core template, and paths that they lack are not mapped.
    pub(super) fn for_index(&self, mappings: &Value) -> Self {
        let fields = Self::new(Arc::clone(&self.rules), self.profile, self.limit);
        for entry in fields.lock().entries.iter_mut().skip(1) {
            entry.is_final = false;
            if matches!(entry.info.rule, PathRule::Value | PathRule::Boolean) {
                entry.info.rule = PathRule::Unmapped;
            }
        }
        fields.full.store(true, Ordering::Relaxed);
        fields.merge_mappings(mappings, MappingOrigin::Index);
        fields
    }

    fn start(&self) {
        let mut paths = self.lock();
        paths.entries.push(PathEntry {
            parent: ROOT,
            hash: 0,
            name: String::new(),
            path: String::new(),
            depth: 0,
            info: PathInfo {
                rule: PathRule::Object { new_keys: NewKeys::Mapped },
                required_fields: 0,
            },
            is_final: true,
        });
        if let Some(core) = self.rules.template().get("properties").and_then(Value::as_object) {
            for (key, mapping) in core {
                // A core field that CloudTrail does not write is a member that this program adds.
                if self.rules.kind(key).is_some() {
                    self.add_mapping(&mut paths, ROOT, key, mapping, MappingOrigin::Core);
                } else {
                    paths.insert(ROOT, key.as_bytes(), PathRule::Reserved, true);
                }
                paths.used_fields += count_fields(mapping);
            }
        }
    }

    /// Returns the core `mappings` that the registry started with.
    pub fn template(&self) -> &Value {
        self.rules.template()
    }

    /// Returns a digest that changes whenever the rules change.
    pub fn digest(&self) -> &str {
        self.rules.digest()
    }

    /// Returns the number of discovered fields.
    pub fn len(&self) -> u32 {
        self.discovered.load(Ordering::Acquire)
    }

    /// Returns whether no field was discovered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the field limit, or the field limit of an index, is reached.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Stops adding fields: the index with these live `mappings` has reached its field limit. Values of discovered
    /// fields that it lacks go to `trailload.unmapped` from now on, in every index.
    pub fn freeze(&self, mappings: &Value) {
        self.full.store(true, Ordering::Relaxed);
        self.leave_unmapped(|path| !contains_path(mappings, path));
    }

    /// Leaves discovered fields unmapped that an index with these live `mappings` has refused. Their values go to
    /// `trailload.unmapped` from now on, in every index.
    pub fn refuse(&self, refused: &Value, mappings: &Value) {
        let refused = json!({ "properties": refused });
        self.leave_unmapped(|path| contains_path(&refused, path) && !contains_path(mappings, path));
    }

    fn leave_unmapped(&self, is_missing: impl Fn(&str) -> bool) {
        let mut paths = self.lock();
        for entry in paths.entries.iter_mut().filter(|entry| entry.info.required_fields > 0) {
            if entry.info.rule == PathRule::Value && is_missing(&entry.path) {
                entry.info = PathInfo { rule: PathRule::Unmapped, required_fields: 0 };
                // Other indices may have the field, but this one cannot.
                entry.is_final = true;
            }
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Returns the `properties` of a mapping for the discovered fields `from..to`.
    pub fn properties(&self, from: u32, to: u32) -> Value {
        let paths = self.lock();
        let mut tree = Map::new();
        for (path, mapping) in paths.fields.iter().take(to as usize).skip(from as usize) {
            insert_path(&mut tree, path, mapping);
        }
        Value::Object(tree)
    }

    /// Applies the `mappings` of an index or a template.
    ///
    /// The first index that maps a path decides about it; a template decides until an index differs. Mappings do not
    /// override the core template, which every index of this program has: documents that an index with another core
    /// rejects are rewritten for that index only ([`IndexRewriter`](super::IndexRewriter)).
    pub fn merge_mappings(&self, mappings: &Value, origin: MappingOrigin) {
        let Some(properties) = mappings.get("properties").and_then(Value::as_object) else {
            return;
        };
        let mut paths = self.lock();
        let before = paths.entries.len();
        for (key, mapping) in properties {
            let reserved = paths
                .child(ROOT, key.as_bytes())
                .map(|path_id| paths.entries[path_id as usize].info.rule);
            if reserved != Some(PathRule::Reserved) {
                self.add_mapping(&mut paths, ROOT, key, mapping, origin);
            }
        }
        if paths.entries.len() > before {
            // Path caches may have skipped these paths as unmapped, and would not query them again.
            self.version.fetch_add(1, Ordering::Release);
        }
        self.publish(&paths);
    }

    /// Applies decisions of earlier runs to paths that are in no table, unless an index or a template decided
    /// differently. Such a path becomes a field when it occurs, not before.
    pub fn restore(&self, decisions: impl IntoIterator<Item = (String, FieldShape)>) {
        let mut paths = self.lock();
        for (path, shape) in decisions {
            match paths.find(&path).map(|path_id| paths.entries[path_id as usize].info.rule) {
                Some(rule) => self.record_correction(&mut paths, path, shape, rule),
                None => {
                    paths.restored.insert(path, shape);
                }
            }
        }
    }

    /// Records that the mapping of an engine differs from an earlier decision.
    fn record_correction(
        &self,
        paths: &mut PathTable,
        path: String,
        decided: FieldShape,
        rule: PathRule,
    ) {
        if let Some(shape) = FieldShape::from_rule(rule)
            && shape != decided
            && self.rules.kind(&path).is_none()
        {
            paths.decisions.push(FieldDecision { path, shape, by: DecidedBy::Engine });
        }
    }

    /// Returns the decisions made since the last call.
    pub fn take_decisions(&self) -> Vec<FieldDecision> {
        std::mem::take(&mut self.lock().decisions)
    }

    fn add_mapping(
        &self,
        paths: &mut PathTable,
        parent: PathId,
        key: &str,
        mapping: &Value,
        origin: MappingOrigin,
    ) {
        let properties = mapping.get("properties").and_then(Value::as_object);
        let kind = mapping.get("type").and_then(Value::as_str);
        let rule = match kind {
            None | Some("object" | "nested") => PathRule::Object { new_keys: NewKeys::Mapped },
            Some("boolean") => PathRule::Boolean,
            Some("alias") => PathRule::Reserved,
            Some("flattened" | "flat_object") => PathRule::Anything,
            Some(_) => PathRule::Value,
        };
        let path = paths.join(parent, key.as_bytes());
        let rule = match rule {
            PathRule::Object { .. } if self.is_excluded(&path) => {
                PathRule::Object { new_keys: NewKeys::Unmapped }
            }
            PathRule::Object { .. } if self.rules.kind(&path) == Some(FieldKind::Map) => {
                PathRule::Object { new_keys: NewKeys::MappedIfKnown }
            }
            rule => rule,
        };
        let is_final = origin != MappingOrigin::Template;
        let path_id = if let Some(path_id) = paths.child(parent, key.as_bytes()) {
            let PathEntry { info, is_final: before, .. } = paths.entries[path_id as usize];
            if info.rule != rule && !before {
                self.override_rule(paths, path_id, rule, mapping);
            }
            paths.entries[path_id as usize].is_final |= is_final;
            path_id
        } else {
            let path_id = paths.insert(parent, key.as_bytes(), rule, is_final);
            if origin != MappingOrigin::Core && properties.is_none() {
                let completed = self.rules.complete_mapping(&path, mapping);
                let mapping = completed.unwrap_or_else(|| mapping.clone());
                paths.used_fields += count_fields(&mapping);
                paths.map(path_id, mapping);
            }
            if let Some(decided) = paths.restored.remove(&path) {
                self.record_correction(paths, path, decided, rule);
            }
            path_id
        };
        for (key, mapping) in properties.into_iter().flatten() {
            self.add_mapping(paths, path_id, key, mapping, origin);
        }
    }

    /// Replaces the rule of a path by that of an engine's mapping.
    fn override_rule(
        &self,
        paths: &mut PathTable,
        path_id: PathId,
        rule: PathRule,
        mapping: &Value,
    ) {
        let entry = &mut paths.entries[path_id as usize];
        let (path, before) = (entry.path.clone(), entry.info.rule);
        entry.info.rule = rule;
        let is_object = matches!(rule, PathRule::Object { .. });
        // Indices that are mapped later get the same mapping.
        let mapping_for_others =
            if is_object { json!({ "type": "object" }) } else { mapping.clone() };
        match entry.info.required_fields.checked_sub(1) {
            Some(number) => paths.fields[number as usize].1 = mapping_for_others,
            None if is_object && matches!(before, PathRule::Anything) => {}
            None => {
                paths.used_fields += count_fields(&mapping_for_others);
                paths.map(path_id, mapping_for_others);
            }
        }
        if let Some(decided) = FieldShape::from_rule(before) {
            self.record_correction(paths, path, decided, rule);
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Returns the path `key` below `parent`; if it is new, decides its rule for an object or for another value.
    ///
    /// Returns `None` if the path stays unmapped and need not be remembered.
    pub(super) fn resolve(&self, parent: PathId, key: &[u8], object: bool) -> Option<PathId> {
        let mut paths = self.lock();
        if let Some(path_id) = paths.child(parent, key) {
            return Some(path_id);
        }
        let above = &paths.entries[parent as usize];
        let depth = above.depth + 1;
        let is_open = above.info.rule == PathRule::Object { new_keys: NewKeys::MappedIfKnown };
        let path = paths.join(parent, key);
        let kind = self.rules.kind(&path);
        let restored = paths.restored.get(&path).copied();
        let object = restored.map_or(object, |shape| shape == FieldShape::Object);
        if (is_open && kind.is_none()) || self.is_excluded(&path) {
            // There are only four of these, and every event has some: path caches must know them.
            return FREE_PARTS.contains(&path.as_str()).then(|| {
                let path_id = paths.insert(parent, key, PathRule::Anything, false);
                self.publish(&paths);
                path_id
            });
        }
        let rule = match kind {
            // Everything below exceeds the maximum depth, so no value here can be rejected.
            Some(FieldKind::Object | FieldKind::Map) if depth >= MAX_DEPTH => PathRule::Anything,
            None if object && depth >= MAX_DEPTH => PathRule::Anything,
            Some(FieldKind::Map) if self.rules.has_children(&path) => {
                PathRule::Object { new_keys: NewKeys::MappedIfKnown }
            }
            Some(FieldKind::Map | FieldKind::Document) => PathRule::Anything,
            Some(FieldKind::Object) => PathRule::Object { new_keys: NewKeys::Mapped },
            None if object => PathRule::Object { new_keys: NewKeys::Mapped },
            Some(FieldKind::Scalar) | None => PathRule::Value,
        };
        if rule == PathRule::Anything {
            // The number of paths in no table is unbounded, and forgetting this one changes nothing.
            kind?;
            let path_id = paths.insert(parent, key, rule, false);
            self.publish(&paths);
            return Some(path_id);
        }
        if paths.used_fields >= self.limit || self.is_full() {
            self.full.store(true, Ordering::Relaxed);
            kind?;
            let rule = if rule == PathRule::Value { PathRule::Unmapped } else { rule };
            return Some(paths.insert(parent, key, rule, false));
        }
        let path_id = paths.insert(parent, key, rule, false);
        paths.used_fields += 1;
        let mapping = match rule {
            PathRule::Value => Some(self.rules.declared_mapping(&path).cloned().unwrap_or_else(
                || json!({ "type": "keyword", "ignore_above": super::IGNORE_ABOVE }),
            )),
            // Objects of the kind table need no mapping of their own; the index must remember others.
            _ => kind.is_none().then(|| json!({ "type": "object" })),
        };
        if let Some(mapping) = mapping {
            paths.used_fields += count_fields(&mapping) - 1;
            paths.map(path_id, mapping);
        }
        if kind.is_none() && restored.is_none() {
            let shape = if object { FieldShape::Object } else { FieldShape::Value };
            paths.decisions.push(FieldDecision { path, shape, by: DecidedBy::FirstValue });
        }
        self.publish(&paths);
        Some(path_id)
    }

    /// Returns whether the profile excludes this path.
    fn is_excluded(&self, path: &str) -> bool {
        let root = path.split('.').next().unwrap_or(path);
        self.profile == FieldProfile::Lean && FREE_PARTS.contains(&root)
    }

    fn publish(&self, paths: &PathTable) {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the field budget")]
        self.discovered.store(paths.fields.len() as u32, Ordering::Release);
    }

    /// Returns a number that changes whenever an existing rule changes.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Returns the rules of the registry.
    pub(super) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Calls `take` for the paths numbered `first` and above, in order.
    pub(super) fn for_each_from(&self, first: usize, mut take: impl FnMut(PathId, KnownPath<'_>)) {
        let paths = self.lock();
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the field budget")]
        for (path_id, entry) in (first as PathId..).zip(paths.entries.iter().skip(first)) {
            let PathEntry { parent, hash, name, path, info, .. } = entry;
            take(path_id, KnownPath { parent: *parent, hash: *hash, name, path, info: *info });
        }
    }

    fn lock(&self) -> MutexGuard<'_, PathTable> {
        // After a panic under the lock, the table lacks at most one path.
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a mapping comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingOrigin {
    /// The core template, which every index has.
    Core,
    /// The template of discovered fields: new indices have it, existing ones may not.
    Template,
    /// An index: other indices may not have it.
    Index,
}

impl PathTable {
    fn child(&self, parent: PathId, key: &[u8]) -> Option<PathId> {
        self.children.get(&(parent, text::hash(key))).copied()
    }

    /// Returns the number of a path, given all its keys.
    fn find(&self, path: &str) -> Option<PathId> {
        path.split('.').try_fold(ROOT, |path_id, key| self.child(path_id, key.as_bytes()))
    }

    fn join(&self, parent: PathId, key: &[u8]) -> String {
        let key = String::from_utf8_lossy(key);
        match self.entries[parent as usize].path.as_str() {
            "" => key.into_owned(),
            above => format!("{above}.{key}"),
        }
    }

    fn insert(&mut self, parent: PathId, key: &[u8], rule: PathRule, is_final: bool) -> PathId {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the field budget")]
        let path_id = self.entries.len() as PathId;
        let hash = text::hash(key);
        let entry = PathEntry {
            parent,
            hash,
            name: String::from_utf8_lossy(key).into_owned(),
            path: self.join(parent, key),
            depth: self.entries[parent as usize].depth + 1,
            info: PathInfo { rule, required_fields: 0 },
            is_final,
        };
        self.entries.push(entry);
        self.children.insert((parent, hash), path_id);
        path_id
    }

    fn map(&mut self, path_id: PathId, mapping: Value) {
        let entry = &mut self.entries[path_id as usize];
        self.fields.push((entry.path.clone(), mapping));
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the field budget")]
        let required_fields = self.fields.len() as u32;
        entry.info.required_fields = required_fields;
    }
}

/// Returns how many fields of an index's field limit a mapping uses: itself, its properties and its subfields.
fn count_fields(mapping: &Value) -> u32 {
    let below = |name| mapping.get(name).and_then(Value::as_object).into_iter().flatten();
    1 + below("properties").map(|(_, below)| count_fields(below)).sum::<u32>()
        + below("fields").map(|(_, below)| count_fields(below)).sum::<u32>()
}

/// Returns whether `mappings` contain a path.
fn contains_path(mappings: &Value, path: &str) -> bool {
    path.split('.').try_fold(mappings, |at, key| at.get("properties")?.get(key)).is_some()
}

/// Inserts the mapping of a path into a tree of `properties`.
fn insert_path(tree: &mut Map<String, Value>, path: &str, mapping: &Value) {
    let Some((first, rest)) = path.split_once('.') else {
        // A field below may have created the object before. A value follows an object only if an index overrode the
        // rule.
        if !tree.contains_key(path) || mapping["type"] != "object" {
            tree.insert(path.to_owned(), mapping.clone());
        }
        return;
    };
    let object = tree.entry(first).or_insert_with(|| json!({}));
    if !matches!(object["type"].as_str(), None | Some("object" | "nested")) {
        // An index overrode the rule: the path below is not a field any more.
        return;
    }
    if let Some(object) = object.as_object_mut() {
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            insert_path(properties, rest, mapping);
        }
    }
}
