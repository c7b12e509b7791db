//! What is known about every path: may it hold an object or values, and is it a field of the index?
//!
//! In: the core template, the kind table, live mappings, what earlier runs decided, and the first sight of
//! unknown paths.
//! Out: one [`PathRule`] a path, and the numbered list of fields that indices must be told of.
//! Holds: a verdict changes only when a live index decided otherwise before us ([`Fields::absorb`]);
//! everything else is decided once. Kinds come, in this order, from the core, a live mapping, the declared
//! conflicts and the kind table, the checkpoint of earlier runs, and what this run meets first. The budget
//! decides which values are mapped, never which key they stand under: known paths are remembered beyond it,
//! of which there are as many as the kind table has; others are not, since there is no end of them.
//!
//! [`Fields`] is shared and locked, and asked when a path is met for the first time. For everything
//! after that each worker has a copy, its [`PathCache`](super::view::View).

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

/// Segments of the deepest path that becomes a field. Deeper values are found through
/// `trailload.unmapped`; about 1 % of the paths seen in public logs are deeper.
const MAX_DEPTH: u32 = 7;

/// Number of a path among all met so far.
pub(super) type PathId = u32;

/// The record itself, whose members are the top-level fields.
pub(super) const ROOT: PathId = 0;

/// What a path may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathRule {
    /// Objects, or lists of them. `open` if its keys are free (tags, headers): unknown ones stay unmapped.
    Object { open: bool },
    /// Strings, numbers, booleans, or lists of them.
    Value,
    /// The same, but beyond the budget: no field, so what is there goes to `trailload.unmapped`.
    Unmapped,
    /// `true`, `false`, or either as text.
    Boolean,
    /// Anything: the index does not look at it.
    Anything,
    /// Nothing: the name is ours.
    Reserved,
}

/// One path.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathInfo {
    /// What it may hold.
    pub(super) rule: PathRule,
    /// How many learned fields an index must know before it sees this path: its own number plus one.
    pub(super) required_fields: u32,
}

/// A path as a view takes it over.
pub(super) struct KnownPath<'t> {
    pub(super) parent: PathId,
    /// Hash of the key.
    pub(super) hash: u64,
    /// The key.
    pub(super) name: &'t str,
    /// All keys, joined by dots.
    pub(super) path: &'t str,
    pub(super) known: PathInfo,
}

/// Which fields to map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldProfile {
    /// Every path, within the budget.
    #[default]
    Standard,
    /// Only paths outside the four free parts.
    Lean,
}

/// What a path that no table knows may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldShape {
    /// Objects, or lists of them.
    Object,
    /// Strings, numbers, booleans, or lists of them.
    Value,
}

impl FieldShape {
    /// Returns its name in checkpoints and lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Value => "value",
        }
    }

    /// Returns the shape of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Object, Self::Value].into_iter().find(|shape| shape.name() == name)
    }

    fn from_verdict(rule: PathRule) -> Option<Self> {
        match rule {
            PathRule::Object { .. } => Some(Self::Object),
            PathRule::Value | PathRule::Unmapped | PathRule::Boolean => Some(Self::Value),
            PathRule::Anything | PathRule::Reserved => None,
        }
    }
}

/// Who decided on a path that no table knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// The first value that a run met there.
    FirstValue,
    /// An index or a template, which had it otherwise.
    Engine,
}

/// A decision on a path that no table knows, for later runs to obey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDecision {
    /// The path, joined by dots.
    pub path: String,
    /// What it may hold.
    pub shape: FieldShape,
    /// Who said so.
    pub by: DecidedBy,
}

/// The paths met so far and the fields to be mapped, shared by all workers.
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
    /// By parent and hash of the key. Views trust 64 bits too: should two keys ever meet, the engine
    /// refuses at worst a document, which is then sent again rewritten.
    children: HashMap<(PathId, u64), PathId>,
    fields: Vec<(String, Value)>,
    used_fields: u32,
    decisions: Vec<FieldDecision>,
    /// What earlier runs decided on paths that were not met in this one.
    restored: HashMap<String, FieldShape>,
}

struct PathEntry {
    parent: PathId,
    hash: u64,
    name: String,
    path: String,
    depth: u32,
    known: PathInfo,
    /// An index, or our core, said so; nothing may say otherwise any more.
    is_final: bool,
}

impl fmt::Debug for FieldRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl FieldRegistry {
    /// Starts with the core of the template, to learn at most `limit` fields in all.
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

    /// Returns fields under the same rules for one index, by its live `mappings`.
    ///
    /// They have the last word there, also about the core, and what they lack is not mapped.
    pub(super) fn for_index(&self, mappings: &Value) -> Self {
        let fields = Self::new(Arc::clone(&self.rules), self.profile, self.limit);
        for entry in fields.lock().entries.iter_mut().skip(1) {
            entry.is_final = false;
            if matches!(entry.known.rule, PathRule::Value | PathRule::Boolean) {
                entry.known.rule = PathRule::Unmapped;
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
            known: PathInfo { rule: PathRule::Object { open: false }, required_fields: 0 },
            is_final: true,
        });
        if let Some(core) = self.rules.template().get("properties").and_then(Value::as_object) {
            for (key, mapping) in core {
                // What CloudTrail does not write itself is a name that we add.
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

    /// Returns what changes whenever the rules do.
    pub fn digest(&self) -> &str {
        self.rules.digest()
    }

    /// Returns how many fields beyond the core are to be mapped so far.
    pub fn len(&self) -> u32 {
        self.discovered.load(Ordering::Acquire)
    }

    /// Returns whether no field beyond the core was met.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the budget of fields, or the room of an index, is spent.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Learns no more: the index with these live `mappings` has no room for further fields. Those discovered that it
    /// lacks are found through `trailload.unmapped` from now on, in every index.
    pub fn freeze(&self, mappings: &Value) {
        let mut paths = self.lock();
        self.full.store(true, Ordering::Relaxed);
        for entry in paths.entries.iter_mut().filter(|entry| entry.known.required_fields > 0) {
            if entry.known.rule == PathRule::Value && !contains_path(mappings, &entry.path) {
                entry.known = PathInfo { rule: PathRule::Unmapped, required_fields: 0 };
                // Another index may have it, but not that one.
                entry.is_final = true;
            }
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Returns the content of `properties` (for a mapping) that describes the fields `from..to`.
    pub fn properties(&self, from: u32, to: u32) -> Value {
        let paths = self.lock();
        let mut tree = Map::new();
        for (path, mapping) in paths.fields.iter().take(to as usize).skip(from as usize) {
            insert_path(&mut tree, path, mapping);
        }
        Value::Object(tree)
    }

    /// Takes in the `mappings` of an index or a template: what it decided, we obey.
    ///
    /// The first index that has a path has the last word about it; a template says what an index will be,
    /// until one is otherwise. The core is not theirs to change, since every index of ours has it: documents
    /// that an index with another core refuses are rewritten for that index alone ([`Relearned`](super::Relearned)).
    pub fn merge_mappings(&self, mappings: &Value, origin: MappingOrigin) {
        let Some(properties) = mappings.get("properties").and_then(Value::as_object) else {
            return;
        };
        let mut paths = self.lock();
        let before = paths.entries.len();
        for (key, mapping) in properties {
            let reserved = paths
                .child(ROOT, key.as_bytes())
                .map(|node| paths.entries[node as usize].known.rule);
            if reserved != Some(PathRule::Reserved) {
                self.add_mapping(&mut paths, ROOT, key, mapping, origin);
            }
        }
        if paths.entries.len() > before {
            // Views may have passed these paths as free ones, and would not ask again.
            self.version.fetch_add(1, Ordering::Release);
        }
        self.publish(&paths);
    }

    /// Obeys what earlier runs decided on paths that no table knows, where no index and no template has its
    /// own word. Such a path becomes a field when it is met, not before.
    pub fn restore(&self, decisions: impl IntoIterator<Item = (String, FieldShape)>) {
        let mut paths = self.lock();
        for (path, shape) in decisions {
            match paths.find(&path).map(|node| paths.entries[node as usize].known.rule) {
                Some(rule) => self.record_correction(&mut paths, path, shape, rule),
                None => {
                    paths.restored.insert(path, shape);
                }
            }
        }
    }

    /// Notes that an engine has another shape for a path than was decided before.
    fn record_correction(&self, paths: &mut PathTable, path: String, decided: FieldShape, rule: PathRule) {
        if let Some(shape) = FieldShape::from_verdict(rule)
            && shape != decided
            && self.rules.kind(&path).is_none()
        {
            paths.decisions.push(FieldDecision { path, shape, by: DecidedBy::Engine });
        }
    }

    /// Takes the decisions made since the last call.
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
            None | Some("object" | "nested") => PathRule::Object { open: false },
            Some("boolean") => PathRule::Boolean,
            Some("alias") => PathRule::Reserved,
            Some("flattened" | "flat_object") => PathRule::Anything,
            Some(_) => PathRule::Value,
        };
        let path = paths.join(parent, key.as_bytes());
        let open = self.rules.kind(&path) == Some(FieldKind::Map) || self.is_excluded(&path);
        let rule = if matches!(rule, PathRule::Object { .. }) {
            PathRule::Object { open }
        } else {
            rule
        };
        let is_final = origin != MappingOrigin::Template;
        let node = if let Some(node) = paths.child(parent, key.as_bytes()) {
            let PathEntry { known, is_final: before, .. } = paths.entries[node as usize];
            if known.rule != rule && !before {
                self.override_rule(paths, node, rule, mapping);
            }
            paths.entries[node as usize].is_final |= is_final;
            node
        } else {
            let node = paths.insert(parent, key.as_bytes(), rule, is_final);
            if origin != MappingOrigin::Core && properties.is_none() {
                let completed = self.rules.completed(&path, mapping);
                let mapping = completed.unwrap_or_else(|| mapping.clone());
                paths.used_fields += count_fields(&mapping);
                paths.map(node, mapping);
            }
            if let Some(decided) = paths.restored.remove(&path) {
                self.record_correction(paths, path, decided, rule);
            }
            node
        };
        for (key, mapping) in properties.into_iter().flatten() {
            self.add_mapping(paths, node, key, mapping, origin);
        }
    }

    /// Replaces the verdict on a path by what an engine has there.
    fn override_rule(&self, paths: &mut PathTable, node: PathId, rule: PathRule, mapping: &Value) {
        let entry = &mut paths.entries[node as usize];
        let (path, before) = (entry.path.clone(), entry.known.rule);
        entry.known.rule = rule;
        let is_object = matches!(rule, PathRule::Object { .. });
        // What is told to other indices from now on is the same.
        let told = if is_object { json!({ "type": "object" }) } else { mapping.clone() };
        match entry.known.required_fields.checked_sub(1) {
            Some(number) => paths.fields[number as usize].1 = told,
            None if is_object && matches!(before, PathRule::Anything) => {}
            None => {
                paths.used_fields += count_fields(&told);
                paths.map(node, told);
            }
        }
        if let Some(decided) = FieldShape::from_verdict(before) {
            self.record_correction(paths, path, decided, rule);
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Decides on a path that the caller's view does not know, for a value of the given kind.
    ///
    /// `None` if nothing is to be remembered: the path stays unmapped.
    pub(super) fn resolve(&self, parent: PathId, key: &[u8], object: bool) -> Option<PathId> {
        let mut paths = self.lock();
        if let Some(node) = paths.child(parent, key) {
            return Some(node);
        }
        let above = &paths.entries[parent as usize];
        let (depth, open) =
            (above.depth + 1, above.known.rule == PathRule::Object { open: true });
        let path = paths.join(parent, key);
        let known = self.rules.kind(&path);
        let restored = paths.restored.get(&path).copied();
        let object = restored.map_or(object, |shape| shape == FieldShape::Object);
        if (open && known.is_none()) || self.is_excluded(&path) {
            // The four free parts are few and met with every event: remembered, so that views know them.
            return FREE_PARTS.contains(&path.as_str()).then(|| {
                let node = paths.insert(parent, key, PathRule::Anything, false);
                self.publish(&paths);
                node
            });
        }
        let rule = match known {
            // What is below would be too deep for fields, so nothing here can be refused.
            Some(FieldKind::Object | FieldKind::Map) if depth >= MAX_DEPTH => PathRule::Anything,
            None if object && depth >= MAX_DEPTH => PathRule::Anything,
            Some(FieldKind::Map) if self.rules.has_children(&path) => {
                PathRule::Object { open: true }
            }
            Some(FieldKind::Map | FieldKind::Document) => PathRule::Anything,
            Some(FieldKind::Object) => PathRule::Object { open: false },
            None if object => PathRule::Object { open: false },
            Some(FieldKind::Scalar) | None => PathRule::Value,
        };
        if rule == PathRule::Anything {
            // Of what no table knows there is no end, and forgetting it changes nothing.
            known?;
            let node = paths.insert(parent, key, rule, false);
            self.publish(&paths);
            return Some(node);
        }
        if paths.used_fields >= self.limit || self.is_full() {
            self.full.store(true, Ordering::Relaxed);
            known?;
            let rule = if rule == PathRule::Value { PathRule::Unmapped } else { rule };
            return Some(paths.insert(parent, key, rule, false));
        }
        let node = paths.insert(parent, key, rule, false);
        paths.used_fields += 1;
        let mapping = match rule {
            PathRule::Value => Some(self.rules.declared(&path).cloned().unwrap_or_else(
                || json!({ "type": "keyword", "ignore_above": super::IGNORE_ABOVE }),
            )),
            // The table remembers the objects it knows; others must be remembered by the index.
            _ => known.is_none().then(|| json!({ "type": "object" })),
        };
        if let Some(mapping) = mapping {
            paths.used_fields += count_fields(&mapping) - 1;
            paths.map(node, mapping);
        }
        if known.is_none() && restored.is_none() {
            let shape = if object { FieldShape::Object } else { FieldShape::Value };
            paths.decisions.push(FieldDecision { path, shape, by: DecidedBy::FirstValue });
        }
        self.publish(&paths);
        Some(node)
    }

    /// Returns whether the profile leaves this path unmapped.
    fn is_excluded(&self, path: &str) -> bool {
        let root = path.split('.').next().unwrap_or(path);
        self.profile == FieldProfile::Lean && FREE_PARTS.contains(&root)
    }

    fn publish(&self, paths: &PathTable) {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the field budget")]
        self.discovered.store(paths.fields.len() as u32, Ordering::Release);
    }

    /// Returns how often a decision was overruled.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Returns the rules asked.
    pub(super) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Goes through the paths numbered `first` and above, in order.
    pub(super) fn for_each_from(&self, first: usize, mut take: impl FnMut(PathId, KnownPath<'_>)) {
        let paths = self.lock();
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the field budget")]
        for (node, entry) in (first as PathId..).zip(paths.entries.iter().skip(first)) {
            let PathEntry { parent, hash, name, path, known, .. } = entry;
            take(node, KnownPath { parent: *parent, hash: *hash, name, path, known: *known });
        }
    }

    fn lock(&self) -> MutexGuard<'_, PathTable> {
        // A panic under the lock leaves a table that is merely short of one path.
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a mapping that is taken over stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingOrigin {
    /// In our own template: every index has it.
    Core,
    /// In the template of learned fields: the next index has it, others may have to be told.
    Template,
    /// In an index: other indices may have to be told.
    Index,
}

impl PathTable {
    fn child(&self, parent: PathId, key: &[u8]) -> Option<PathId> {
        self.children.get(&(parent, text::hash(key))).copied()
    }

    /// Returns the node of a whole path.
    fn find(&self, path: &str) -> Option<PathId> {
        path.split('.').try_fold(ROOT, |node, key| self.child(node, key.as_bytes()))
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
        let node = self.entries.len() as PathId;
        let hash = text::hash(key);
        let entry = PathEntry {
            parent,
            hash,
            name: String::from_utf8_lossy(key).into_owned(),
            path: self.join(parent, key),
            depth: self.entries[parent as usize].depth + 1,
            known: PathInfo { rule, required_fields: 0 },
            is_final,
        };
        self.entries.push(entry);
        self.children.insert((parent, hash), node);
        node
    }

    fn map(&mut self, node: PathId, mapping: Value) {
        let entry = &mut self.entries[node as usize];
        self.fields.push((entry.path.clone(), mapping));
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the field budget")]
        let required_fields = self.fields.len() as u32;
        entry.known.required_fields = required_fields;
    }
}

/// Returns how many of an index's fields a mapping uses up: itself, what is below it, and its variants.
fn count_fields(mapping: &Value) -> u32 {
    let below = |name| mapping.get(name).and_then(Value::as_object).into_iter().flatten();
    1 + below("properties").map(|(_, below)| count_fields(below)).sum::<u32>()
        + below("fields").map(|(_, below)| count_fields(below)).sum::<u32>()
}

/// Returns whether `mappings` have a path.
fn contains_path(mappings: &Value, path: &str) -> bool {
    path.split('.').try_fold(mappings, |at, key| at.get("properties")?.get(key)).is_some()
}

/// Puts a field's mapping into a tree of properties.
fn insert_path(tree: &mut Map<String, Value>, path: &str, mapping: &Value) {
    let Some((first, rest)) = path.split_once('.') else {
        // An object may stand there already, because a field below it came first. A value came later only
        // because an index overruled us.
        if !tree.contains_key(path) || mapping["type"] != "object" {
            tree.insert(path.to_owned(), mapping.clone());
        }
        return;
    };
    let object = tree.entry(first).or_insert_with(|| json!({}));
    if !matches!(object["type"].as_str(), None | Some("object" | "nested")) {
        // An index overruled us: what was below is no field any more.
        return;
    }
    if let Some(object) = object.as_object_mut() {
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            insert_path(properties, rest, mapping);
        }
    }
}
