//! What is known about every path: may it hold an object or values, and is it a field of the index?
//!
//! In: the core template, the kind table, live mappings, what earlier runs decided, and the first sight of
//! unknown paths.
//! Out: one [`Verdict`] a path, and the numbered list of fields that indices must be told of.
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
const DEEPEST: u32 = 7;

/// Number of a path among all met so far.
pub(super) type Node = u32;

/// The record itself, whose members are the top-level fields.
pub(super) const ROOT: Node = 0;

/// What a path may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Objects, or lists of them. `open` if its keys are free (tags, headers): unknown ones stay unmapped.
    Object { open: bool },
    /// Strings, numbers, booleans, or lists of them.
    Value,
    /// The same, but beyond the budget: no field, so what is there goes to `trailload.unmapped`.
    Unmapped,
    /// `true`, `false`, or either as text.
    Boolean,
    /// Anything: the index does not look at it.
    Free,
    /// Nothing: the name is ours.
    Reserved,
}

/// One path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// What it may hold.
    pub(super) verdict: Verdict,
    /// How many learned fields an index must know before it sees this path: its own number plus one.
    pub(super) needs: u32,
}

/// A path as a view takes it over.
pub(super) struct KnownPath<'t> {
    pub(super) parent: Node,
    /// Hash of the key.
    pub(super) hash: u64,
    /// The key.
    pub(super) name: &'t str,
    /// All keys, joined by dots.
    pub(super) path: &'t str,
    pub(super) known: Known,
}

/// Which fields to map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
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

    fn from_verdict(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::Object { .. } => Some(Self::Object),
            Verdict::Value | Verdict::Unmapped | Verdict::Boolean => Some(Self::Value),
            Verdict::Free | Verdict::Reserved => None,
        }
    }
}

/// Who decided on a path that no table knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// The first value that a run met there.
    FirstMet,
    /// An index or a template, which had it otherwise.
    Engine,
}

/// A decision on a path that no table knows, for later runs to obey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The path, joined by dots.
    pub path: String,
    /// What it may hold.
    pub shape: FieldShape,
    /// Who said so.
    pub by: Decider,
}

/// The paths met so far and the fields to be mapped, shared by all workers.
pub struct Fields {
    rules: Arc<Rules>,
    profile: Profile,
    most: u32,
    table: Mutex<Table>,
    learned: AtomicU32,
    version: AtomicU64,
    full: AtomicBool,
}

#[derive(Default)]
struct Table {
    nodes: Vec<Entry>,
    /// By parent and hash of the key. Views trust 64 bits too: should two keys ever meet, the engine
    /// refuses at worst a document, which is then sent again rewritten.
    children: HashMap<(Node, u64), Node>,
    fields: Vec<(String, Value)>,
    used: u32,
    decisions: Vec<Decision>,
    /// What earlier runs decided on paths that were not met in this one.
    recalled: HashMap<String, FieldShape>,
}

struct Entry {
    parent: Node,
    hash: u64,
    name: String,
    path: String,
    depth: u32,
    known: Known,
    /// An index, or our core, said so; nothing may say otherwise any more.
    settled: bool,
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Fields {
    /// Starts with the core of the template, to learn at most `most` fields in all.
    pub fn new(rules: Arc<Rules>, profile: Profile, most: u32) -> Self {
        let fields = Self {
            profile,
            most,
            table: Mutex::default(),
            learned: AtomicU32::new(0),
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
    pub(super) fn of_index(&self, mappings: &Value) -> Self {
        let fields = Self::new(Arc::clone(&self.rules), self.profile, self.most);
        for entry in fields.lock().nodes.iter_mut().skip(1) {
            entry.settled = false;
            if matches!(entry.known.verdict, Verdict::Value | Verdict::Boolean) {
                entry.known.verdict = Verdict::Unmapped;
            }
        }
        fields.full.store(true, Ordering::Relaxed);
        fields.absorb(mappings, Origin::Index);
        fields
    }

    fn start(&self) {
        let mut table = self.lock();
        table.nodes.push(Entry {
            parent: ROOT,
            hash: 0,
            name: String::new(),
            path: String::new(),
            depth: 0,
            known: Known { verdict: Verdict::Object { open: false }, needs: 0 },
            settled: true,
        });
        if let Some(core) = self.rules.template().get("properties").and_then(Value::as_object) {
            for (key, mapping) in core {
                // What CloudTrail does not write itself is a name that we add.
                if self.rules.kind(key).is_some() {
                    self.adopt(&mut table, ROOT, key, mapping, Origin::Core);
                } else {
                    table.insert(ROOT, key.as_bytes(), Verdict::Reserved, true);
                }
                table.used += count(mapping);
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
        self.learned.load(Ordering::Acquire)
    }

    /// Returns whether no field beyond the core was met.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the budget of fields, or the room of an index, is spent.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Learns no more: the index with these live `mappings` has no room for further fields. Those learned that it
    /// lacks are found through `trailload.unmapped` from now on, in every index.
    pub fn close(&self, mappings: &Value) {
        let mut table = self.lock();
        self.full.store(true, Ordering::Relaxed);
        for entry in table.nodes.iter_mut().filter(|entry| entry.known.needs > 0) {
            if entry.known.verdict == Verdict::Value && !has(mappings, &entry.path) {
                entry.known = Known { verdict: Verdict::Unmapped, needs: 0 };
                // Another index may have it, but not that one.
                entry.settled = true;
            }
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Returns the content of `properties` (for a mapping) that describes the fields `from..to`.
    pub fn properties(&self, from: u32, to: u32) -> Value {
        let table = self.lock();
        let mut tree = Map::new();
        for (path, mapping) in table.fields.iter().take(to as usize).skip(from as usize) {
            insert_path(&mut tree, path, mapping);
        }
        Value::Object(tree)
    }

    /// Takes in the `mappings` of an index or a template: what it decided, we obey.
    ///
    /// The first index that has a path has the last word about it; a template says what an index will be,
    /// until one is otherwise. The core is not theirs to change, since every index of ours has it: documents
    /// that an index with another core refuses are rewritten for that index alone ([`Relearned`](super::Relearned)).
    pub fn absorb(&self, mappings: &Value, origin: Origin) {
        let Some(properties) = mappings.get("properties").and_then(Value::as_object) else {
            return;
        };
        let mut table = self.lock();
        let before = table.nodes.len();
        for (key, mapping) in properties {
            let reserved = table
                .child(ROOT, key.as_bytes())
                .map(|node| table.nodes[node as usize].known.verdict);
            if reserved != Some(Verdict::Reserved) {
                self.adopt(&mut table, ROOT, key, mapping, origin);
            }
        }
        if table.nodes.len() > before {
            // Views may have passed these paths as free ones, and would not ask again.
            self.version.fetch_add(1, Ordering::Release);
        }
        self.publish(&table);
    }

    /// Obeys what earlier runs decided on paths that no table knows, where no index and no template has its
    /// own word. Such a path becomes a field when it is met, not before.
    pub fn recall(&self, decisions: impl IntoIterator<Item = (String, FieldShape)>) {
        let mut table = self.lock();
        for (path, shape) in decisions {
            match table.find(&path).map(|node| table.nodes[node as usize].known.verdict) {
                Some(verdict) => self.correct(&mut table, path, shape, verdict),
                None => {
                    table.recalled.insert(path, shape);
                }
            }
        }
    }

    /// Notes that an engine has another shape for a path than was decided before.
    fn correct(&self, table: &mut Table, path: String, decided: FieldShape, verdict: Verdict) {
        if let Some(shape) = FieldShape::from_verdict(verdict)
            && shape != decided
            && self.rules.kind(&path).is_none()
        {
            table.decisions.push(Decision { path, shape, by: Decider::Engine });
        }
    }

    /// Takes the decisions made since the last call.
    pub fn take_decisions(&self) -> Vec<Decision> {
        std::mem::take(&mut self.lock().decisions)
    }

    fn adopt(&self, table: &mut Table, parent: Node, key: &str, mapping: &Value, origin: Origin) {
        let properties = mapping.get("properties").and_then(Value::as_object);
        let kind = mapping.get("type").and_then(Value::as_str);
        let verdict = match kind {
            None | Some("object" | "nested") => Verdict::Object { open: false },
            Some("boolean") => Verdict::Boolean,
            Some("alias") => Verdict::Reserved,
            Some("flattened" | "flat_object") => Verdict::Free,
            Some(_) => Verdict::Value,
        };
        let path = table.join(parent, key.as_bytes());
        let open = self.rules.kind(&path) == Some(FieldKind::Map) || self.leaves_out(&path);
        let verdict = if matches!(verdict, Verdict::Object { .. }) {
            Verdict::Object { open }
        } else {
            verdict
        };
        let settled = origin != Origin::Template;
        let node = if let Some(node) = table.child(parent, key.as_bytes()) {
            let Entry { known, settled: before, .. } = table.nodes[node as usize];
            if known.verdict != verdict && !before {
                self.overrule(table, node, verdict, mapping);
            }
            table.nodes[node as usize].settled |= settled;
            node
        } else {
            let node = table.insert(parent, key.as_bytes(), verdict, settled);
            if origin != Origin::Core && properties.is_none() {
                let completed = self.rules.completed(&path, mapping);
                let mapping = completed.unwrap_or_else(|| mapping.clone());
                table.used += count(&mapping);
                table.map(node, mapping);
            }
            if let Some(decided) = table.recalled.remove(&path) {
                self.correct(table, path, decided, verdict);
            }
            node
        };
        for (key, mapping) in properties.into_iter().flatten() {
            self.adopt(table, node, key, mapping, origin);
        }
    }

    /// Replaces the verdict on a path by what an engine has there.
    fn overrule(&self, table: &mut Table, node: Node, verdict: Verdict, mapping: &Value) {
        let entry = &mut table.nodes[node as usize];
        let (path, before) = (entry.path.clone(), entry.known.verdict);
        entry.known.verdict = verdict;
        let is_object = matches!(verdict, Verdict::Object { .. });
        // What is told to other indices from now on is the same.
        let told = if is_object { json!({ "type": "object" }) } else { mapping.clone() };
        match entry.known.needs.checked_sub(1) {
            Some(number) => table.fields[number as usize].1 = told,
            None if is_object && matches!(before, Verdict::Free) => {}
            None => {
                table.used += count(&told);
                table.map(node, told);
            }
        }
        if let Some(decided) = FieldShape::from_verdict(before) {
            self.correct(table, path, decided, verdict);
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Decides on a path that the caller's view does not know, for a value of the given kind.
    ///
    /// `None` if nothing is to be remembered: the path stays unmapped.
    pub(super) fn decide(&self, parent: Node, key: &[u8], object: bool) -> Option<Node> {
        let mut table = self.lock();
        if let Some(node) = table.child(parent, key) {
            return Some(node);
        }
        let above = &table.nodes[parent as usize];
        let (depth, open) =
            (above.depth + 1, above.known.verdict == Verdict::Object { open: true });
        let path = table.join(parent, key);
        let known = self.rules.kind(&path);
        let recalled = table.recalled.get(&path).copied();
        let object = recalled.map_or(object, |shape| shape == FieldShape::Object);
        if (open && known.is_none()) || self.leaves_out(&path) {
            // The four free parts are few and met with every event: remembered, so that views know them.
            return FREE_PARTS.contains(&path.as_str()).then(|| {
                let node = table.insert(parent, key, Verdict::Free, false);
                self.publish(&table);
                node
            });
        }
        let verdict = match known {
            // What is below would be too deep for fields, so nothing here can be refused.
            Some(FieldKind::Object | FieldKind::Map) if depth >= DEEPEST => Verdict::Free,
            None if object && depth >= DEEPEST => Verdict::Free,
            Some(FieldKind::Map) if self.rules.has_children(&path) => {
                Verdict::Object { open: true }
            }
            Some(FieldKind::Map | FieldKind::Document) => Verdict::Free,
            Some(FieldKind::Object) => Verdict::Object { open: false },
            None if object => Verdict::Object { open: false },
            Some(FieldKind::Scalar) | None => Verdict::Value,
        };
        if verdict == Verdict::Free {
            // Of what no table knows there is no end, and forgetting it changes nothing.
            known?;
            let node = table.insert(parent, key, verdict, false);
            self.publish(&table);
            return Some(node);
        }
        if table.used >= self.most || self.is_full() {
            self.full.store(true, Ordering::Relaxed);
            known?;
            let verdict = if verdict == Verdict::Value { Verdict::Unmapped } else { verdict };
            return Some(table.insert(parent, key, verdict, false));
        }
        let node = table.insert(parent, key, verdict, false);
        table.used += 1;
        let mapping = match verdict {
            Verdict::Value => Some(self.rules.declared(&path).cloned().unwrap_or_else(
                || json!({ "type": "keyword", "ignore_above": super::IGNORE_ABOVE }),
            )),
            // The table remembers the objects it knows; others must be remembered by the index.
            _ => known.is_none().then(|| json!({ "type": "object" })),
        };
        if let Some(mapping) = mapping {
            table.used += count(&mapping) - 1;
            table.map(node, mapping);
        }
        if known.is_none() && recalled.is_none() {
            let shape = if object { FieldShape::Object } else { FieldShape::Value };
            table.decisions.push(Decision { path, shape, by: Decider::FirstMet });
        }
        self.publish(&table);
        Some(node)
    }

    /// Returns whether the profile leaves this path unmapped.
    fn leaves_out(&self, path: &str) -> bool {
        let root = path.split('.').next().unwrap_or(path);
        self.profile == Profile::Lean && FREE_PARTS.contains(&root)
    }

    fn publish(&self, table: &Table) {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the field budget")]
        self.learned.store(table.fields.len() as u32, Ordering::Release);
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
    pub(super) fn each_from(&self, first: usize, mut take: impl FnMut(Node, KnownPath<'_>)) {
        let table = self.lock();
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the field budget")]
        for (node, entry) in (first as Node..).zip(table.nodes.iter().skip(first)) {
            let Entry { parent, hash, name, path, known, .. } = entry;
            take(node, KnownPath { parent: *parent, hash: *hash, name, path, known: *known });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // A panic under the lock leaves a table that is merely short of one path.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a mapping that is taken over stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In our own template: every index has it.
    Core,
    /// In the template of learned fields: the next index has it, others may have to be told.
    Template,
    /// In an index: other indices may have to be told.
    Index,
}

impl Table {
    fn child(&self, parent: Node, key: &[u8]) -> Option<Node> {
        self.children.get(&(parent, text::hash(key))).copied()
    }

    /// Returns the node of a whole path.
    fn find(&self, path: &str) -> Option<Node> {
        path.split('.').try_fold(ROOT, |node, key| self.child(node, key.as_bytes()))
    }

    fn join(&self, parent: Node, key: &[u8]) -> String {
        let key = String::from_utf8_lossy(key);
        match self.nodes[parent as usize].path.as_str() {
            "" => key.into_owned(),
            above => format!("{above}.{key}"),
        }
    }

    fn insert(&mut self, parent: Node, key: &[u8], verdict: Verdict, settled: bool) -> Node {
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the field budget")]
        let node = self.nodes.len() as Node;
        let hash = text::hash(key);
        let entry = Entry {
            parent,
            hash,
            name: String::from_utf8_lossy(key).into_owned(),
            path: self.join(parent, key),
            depth: self.nodes[parent as usize].depth + 1,
            known: Known { verdict, needs: 0 },
            settled,
        };
        self.nodes.push(entry);
        self.children.insert((parent, hash), node);
        node
    }

    fn map(&mut self, node: Node, mapping: Value) {
        let entry = &mut self.nodes[node as usize];
        self.fields.push((entry.path.clone(), mapping));
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the field budget")]
        let needs = self.fields.len() as u32;
        entry.known.needs = needs;
    }
}

/// Returns how many of an index's fields a mapping uses up: itself, what is below it, and its variants.
fn count(mapping: &Value) -> u32 {
    let below = |name| mapping.get(name).and_then(Value::as_object).into_iter().flatten();
    1 + below("properties").map(|(_, below)| count(below)).sum::<u32>()
        + below("fields").map(|(_, below)| count(below)).sum::<u32>()
}

/// Returns whether `mappings` have a path.
fn has(mappings: &Value, path: &str) -> bool {
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
