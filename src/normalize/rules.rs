//! The rules of the normalizer: the files of `mappings/`, embedded, or replaced one by one from a folder.
//!
//! Input: `kinds.zst` (the kind of every API path), `conflicts.json` (which kind keeps the key where services
//! disagree), `fields.json` (paths and name suffixes with a mapping other than keyword) and `template.json` (the core
//! fields). Output: [`Rules`].
//!
//! Invariant: an invalid file is an error that names the file; no file is applied in part. Not here: discovered
//! fields; see [`FieldRegistry`](super::FieldRegistry).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use super::kind_table::FieldKind;
use super::kind_table::{KindTable, PathHash};

/// The kind table, the declared conflicts and fields, and the core mapping.
#[derive(Debug)]
pub struct Rules {
    kinds: KindTable,
    conflicts: RuleText,
    declared: HashMap<String, Value>,
    /// Mappings by name suffix, in lower case; the longest suffix first.
    ends: Vec<(String, Value)>,
    template: Value,
    version: u64,
    digest: String,
}

/// A declared conflict: a field of which services send different kinds, and how to resolve it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conflict {
    /// The path, with keys as they are after the rewrite.
    pub field: String,
    /// The kind that keeps the plain key.
    pub kind: FieldKind,
    /// Which service sends which kind; documentation only.
    pub why: String,
    /// How values of the other kind are rewritten.
    pub rewrite: Rewrite,
    /// Values and the keys that they end up under; the tests check them.
    pub examples: Vec<Example>,
}

/// How to rewrite a value of another kind than its path. `mappings/README.md` describes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rewrite {
    /// The declared kind keeps the key; other values are renamed to `…_object` or `…_value`.
    KeyByType,
    /// As [`KeyByType`](Self::KeyByType), and the value stays a keyword even if it looks like a date or a number.
    KeepAsText,
    /// Every value stays unchanged and unmapped.
    KeepUnmapped,
}

/// A value at the plain key, and the key that it ends up under.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The value in the event, at the plain key of the field.
    pub given: Value,
    /// Its key in the document.
    pub under: String,
    /// Its value in the document, if that differs.
    pub becomes: Option<Value>,
}

/// Error from reading the rules.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path is not a folder or contains none of the files: most likely the wrong path.
    #[error("{} contains none of kinds.zst, conflicts.json, fields.json and template.json", .0.display())]
    Empty(PathBuf),
    /// A file exists but cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// A file is not JSON of the expected structure.
    #[error("{file} is invalid")]
    Json {
        /// Name of the file.
        file: String,
        /// The JSON error, with line and column.
        source: serde_json::Error,
    },
    /// The content of a file is inconsistent.
    #[error("{file} is invalid: it {problem}")]
    Invalid {
        /// Name of the file.
        file: String,
        /// What is wrong and in which entry; continues a sentence that starts with the file.
        problem: String,
    },
}

/// The members of a record whose content depends on the API. The core template does not map them: their fields are
/// discovered (see [`field_registry`](super::field_registry)).
pub(super) const FREE_PARTS: [&str; 4] =
    ["requestParameters", "responseElements", "additionalEventData", "serviceEventDetails"];

const KINDS: RuleFile =
    RuleFile { name: "kinds.zst", embedded: include_bytes!("../../mappings/kinds.zst") };
const CONFLICTS: RuleFile =
    RuleFile { name: "conflicts.json", embedded: include_bytes!("../../mappings/conflicts.json") };
const FIELDS: RuleFile =
    RuleFile { name: "fields.json", embedded: include_bytes!("../../mappings/fields.json") };
const TEMPLATE: RuleFile =
    RuleFile { name: "template.json", embedded: include_bytes!("../../mappings/template.json") };

/// The kind table of the embedded files. `build.rs` compiles it from [`KINDS`] and [`CONFLICTS`], as
/// [`RuleFiles::parse`] does with other files.
const TABLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kinds.table"));

impl Rules {
    /// Returns the embedded rules.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the embedded files are invalid, which unit tests rule out.
    pub fn embedded() -> Result<Self, Error> {
        let files = RuleFiles::embedded();
        let kinds = KindTable::from_static(TABLE)
            .ok_or_else(|| files.kinds.invalid("was compiled into an invalid table".to_owned()))?;
        files.parse_with(kinds)
    }

    /// Reads the rules from a folder. Embedded files replace those that the folder lacks.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the folder contains none of the files, or a file that cannot be read or is invalid.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        if ![KINDS, CONFLICTS, FIELDS, TEMPLATE].iter().any(|file| dir.join(file.name).exists()) {
            return Err(Error::Empty(dir.to_owned()));
        }
        RuleFiles {
            kinds: KINDS.from(dir)?,
            conflicts: CONFLICTS.from(dir)?,
            fields: FIELDS.from(dir)?,
            template: TEMPLATE.from(dir)?,
        }
        .parse()
    }

    /// Returns the kind of a path such as `requestParameters.policy`, or `None` if no API model and no declared
    /// conflict contains it.
    ///
    /// A list has the kind of its elements. A renamed field has a path of its own.
    pub fn kind(&self, path: &str) -> Option<FieldKind> {
        self.kinds.get(PathHash::from_path(path))
    }

    /// Returns whether the table contains paths below this one, or a declared conflict. Any other [`FieldKind::Map`]
    /// is never mapped and may therefore hold anything.
    pub fn has_children(&self, path: &str) -> bool {
        self.kinds.has_children(PathHash::from_path(path))
    }

    /// Returns the complete mapping of a path that is declared in `fields.json`, by its full path or by a suffix of
    /// its last key.
    pub fn declared_mapping(&self, path: &str) -> Option<&Value> {
        self.declared.get(path).or_else(|| {
            let name = path.rsplit('.').next()?.to_ascii_lowercase();
            // A value that was renamed because of its kind has the mapping of its original key.
            let name =
                ["_value", "_json"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
            self.ends.iter().find(|(end, _)| name.ends_with(end)).map(|(_, mapping)| mapping)
        })
    }

    /// Returns `mapping` completed by the subfields that are declared for the path, as [`with_missing_subfields`]
    /// does.
    pub(super) fn complete_mapping(&self, path: &str, mapping: &Value) -> Option<Value> {
        with_missing_subfields(mapping, self.declared_mapping(path)?)
    }

    /// Returns the core `mappings` object: `dynamic`, `_meta` and `properties`.
    pub fn template(&self) -> &Value {
        &self.template
    }

    /// Parses the declared conflicts, sorted by field. The normalizer needs only their kinds, which are in the kind
    /// table.
    ///
    /// # Errors
    ///
    /// Returns [`Error`] if the embedded file is invalid.
    pub fn conflicts(&self) -> Result<Vec<Conflict>, Error> {
        self.conflicts.conflicts()
    }

    /// Returns a digest of all files.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Returns the version of the core mapping (`_meta.version`), which increases with every change of the template.
    pub fn version(&self) -> u64 {
        self.version
    }
}

/// Returns `existing` with the subfields (`.text`, `.num`) that `wanted` has and it lacks. `None` if it lacks none or
/// has another type.
pub fn with_missing_subfields(existing: &Value, wanted: &Value) -> Option<Value> {
    let wanted_fields = wanted.get("fields")?.as_object()?;
    if wanted.get("type")? != existing.get("type")? {
        return None;
    }
    let mut completed = existing.clone();
    let fields = completed.as_object_mut()?.entry("fields").or_insert_with(|| json!({}));
    let fields = fields.as_object_mut()?;
    let before = fields.len();
    for (name, field) in wanted_fields {
        fields.entry(name).or_insert_with(|| field.clone());
    }
    (fields.len() > before).then_some(completed)
}

/// The four files, unparsed.
struct RuleFiles {
    kinds: RuleText,
    conflicts: RuleText,
    fields: RuleText,
    template: RuleText,
}

impl RuleFiles {
    fn embedded() -> Self {
        Self {
            kinds: KINDS.built_in(),
            conflicts: CONFLICTS.built_in(),
            fields: FIELDS.built_in(),
            template: TEMPLATE.built_in(),
        }
    }

    fn parse(self) -> Result<Rules, Error> {
        let conflicts = self.conflicts.conflicts()?;
        let mut kinds = KindTable::decompress(&self.kinds.bytes, conflicts.len())
            .map_err(|problem| self.kinds.invalid(problem))?;
        for entry in &conflicts {
            kinds.declare(PathHash::from_path(&entry.field), entry.kind);
        }
        self.parse_with(kinds)
    }

    /// Parses all files but the kind table.
    fn parse_with(self, kinds: KindTable) -> Result<Rules, Error> {
        let digest = self.digest();
        let mut declared: HashMap<String, Value> = self.fields.json()?;
        let ends = take_ends(&mut declared);
        check_fields(&declared, &ends, &kinds).map_err(|problem| self.fields.invalid(problem))?;
        let template: Value = self.template.json()?;
        let version =
            check_template(&template).map_err(|problem| self.template.invalid(problem))?;
        Ok(Rules { kinds, conflicts: self.conflicts, declared, ends, template, version, digest })
    }

    fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for file in [&self.kinds, &self.conflicts, &self.fields, &self.template] {
            digest.update((file.bytes.len() as u64).to_le_bytes());
            digest.update(&file.bytes);
        }
        let mut text = String::new();
        for byte in digest.finalize().iter().take(8) {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// Checks the order, the uniqueness, the examples, and that each rewrite fits its kind.
fn check_conflicts(entries: &[Conflict]) -> Result<(), String> {
    for pair in entries.windows(2) {
        if pair[0].field >= pair[1].field {
            return Err(format!("is not sorted by unique field at `{}`", pair[1].field));
        }
    }
    for entry in entries {
        let fits = match entry.rewrite {
            Rewrite::KeyByType => entry.kind != FieldKind::Document,
            Rewrite::KeepAsText => entry.kind == FieldKind::Scalar,
            Rewrite::KeepUnmapped => entry.kind == FieldKind::Document,
        };
        if !fits {
            return Err(format!("has a rewrite that does not fit the kind of `{}`", entry.field));
        }
        if entry.why.is_empty() || entry.examples.is_empty() {
            return Err(format!("has no reason or no example for `{}`", entry.field));
        }
    }
    Ok(())
}

/// Prefix of keys in `fields.json` that declare a name suffix.
const ANY: char = '*';

/// Removes and returns the mappings that are declared by name suffix.
fn take_ends(declared: &mut HashMap<String, Value>) -> Vec<(String, Value)> {
    let taken = declared.extract_if(|path, _| path.starts_with(ANY));
    let mut ends: Vec<(String, Value)> =
        taken.map(|(end, mapping)| (end[ANY.len_utf8()..].to_ascii_lowercase(), mapping)).collect();
    ends.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    ends
}

/// Checks that each declared mapping is complete, and that the kind of its path is scalar.
fn check_fields(
    declared: &HashMap<String, Value>,
    ends: &[(String, Value)],
    kinds: &KindTable,
) -> Result<(), String> {
    let is_typed = |mapping: &Value| mapping.get("type").is_some_and(Value::is_string);
    for (end, mapping) in ends {
        if end.is_empty() || end.contains(['.', ANY]) {
            return Err(format!("declares `{ANY}{end}`, which is not a name suffix"));
        }
        if !is_typed(mapping) {
            return Err(format!("has no type for `{ANY}{end}`"));
        }
    }
    for (path, mapping) in declared {
        if !is_typed(mapping) {
            return Err(format!("has no type for `{path}`"));
        }
        if kinds.get(PathHash::from_path(path)).is_some_and(|kind| kind != FieldKind::Scalar) {
            return Err(format!("maps `{path}` as a value, but its kind is not scalar"));
        }
    }
    Ok(())
}

/// Checks that the template leaves no mapping to the engine, and returns its version.
fn check_template(mappings: &Value) -> Result<u64, String> {
    if mappings["dynamic"] != Value::Bool(false) {
        return Err("must set `\"dynamic\": false`".to_owned());
    }
    mappings["properties"].as_object().ok_or("has no `properties`")?;
    mappings["_meta"]["version"]
        .as_u64()
        .ok_or_else(|| "has no integer as `_meta.version`".to_owned())
}

/// One of the four files, with its embedded content.
#[derive(Clone, Copy)]
struct RuleFile {
    name: &'static str,
    embedded: &'static [u8],
}

impl RuleFile {
    fn built_in(self) -> RuleText {
        RuleText { name: format!("the embedded {}", self.name), bytes: self.embedded.into() }
    }

    fn from(self, dir: &Path) -> Result<RuleText, Error> {
        let path = dir.join(self.name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(RuleText { name: path.display().to_string(), bytes: bytes.into() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(self.built_in()),
            Err(source) => Err(Error::Read { path, source }),
        }
    }
}

/// The content of a file, and its name for error messages.
#[derive(Debug)]
struct RuleText {
    name: String,
    bytes: std::borrow::Cow<'static, [u8]>,
}

impl RuleText {
    fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.bytes)
            .map_err(|source| Error::Json { file: self.name.clone(), source })
    }

    fn conflicts(&self) -> Result<Vec<Conflict>, Error> {
        let conflicts: Vec<Conflict> = self.json()?;
        check_conflicts(&conflicts).map_err(|problem| self.invalid(problem))?;
        Ok(conflicts)
    }

    fn invalid(&self, problem: String) -> Error {
        Error::Invalid { file: self.name.clone(), problem }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The nine fields that conflict first in nearly every trail.
    const FIRST_MET: [&str; 9] = [
        "additionalEventData",
        "apiVersion",
        "requestParameters.attribute",
        "requestParameters.domainName",
        "requestParameters.filter",
        "requestParameters.iamInstanceProfile",
        "requestParameters.policy",
        "requestParameters.rule",
        "responseElements.endpoint",
    ];

    fn rules() -> Rules {
        Rules::embedded().unwrap()
    }

    /// Returns the error message with its causes.
    fn refusal(file: &str, content: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(file), content).unwrap();
        let error = Rules::load(dir.path()).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let message = format!("{error}: {cause}");
        assert!(message.contains(dir.path().join(file).to_str().unwrap()), "{message}");
        message
    }

    #[test]
    fn known_paths_have_their_kinds() {
        let rules = rules();
        let expected = [
            ("eventName", FieldKind::Scalar),
            ("apiVersion", FieldKind::Scalar),
            ("userIdentity", FieldKind::Object),
            ("userIdentity.sessionContext.sessionIssuer.arn", FieldKind::Scalar),
            ("userIdentity.sessionContext.webIdFederationData.attributes", FieldKind::Map),
            ("resources", FieldKind::Object),
            ("resources.ARN", FieldKind::Scalar),
            ("serviceEventDetails", FieldKind::Document),
            ("requestParameters", FieldKind::Object),
            ("requestParameters_value", FieldKind::Scalar),
            ("requestParameters.bucketName", FieldKind::Scalar),
            ("requestParameters.policy", FieldKind::Scalar),
            ("requestParameters.policy_object", FieldKind::Object),
            ("requestParameters.policy_object.rules.strategy", FieldKind::Scalar),
            ("requestParameters.tags", FieldKind::Map),
            ("requestParameters.tags.key", FieldKind::Scalar),
            ("requestParameters.tags_value", FieldKind::Scalar),
            ("requestParameters.attribute", FieldKind::Object),
            ("requestParameters.encryptionContext", FieldKind::Map),
            ("requestParameters.bucketPolicy", FieldKind::Document),
            ("responseElements.role.roleName", FieldKind::Scalar),
            ("responseElements.instancesSet.items.instanceState.code", FieldKind::Scalar),
        ];
        for (path, kind) in expected {
            assert_eq!(rules.kind(path), Some(kind), "{path}");
        }
        for path in
            ["", "noSuchField", "requestParameters.noSuchField", "requestParameters.policy.rules"]
        {
            assert_eq!(rules.kind(path), None, "{path}");
        }
    }

    #[test]
    fn the_built_table_is_what_the_files_give() {
        assert_eq!(rules().kinds, RuleFiles::embedded().parse().unwrap().kinds);
    }

    #[test]
    fn every_declared_conflict_is_obeyed_and_complete() {
        let rules = rules();
        let conflicts = rules.conflicts().unwrap();
        assert!(conflicts.len() > 500);
        for entry in &conflicts {
            assert_eq!(rules.kind(&entry.field), Some(entry.kind), "{}", entry.field);
            let name = entry.field.rsplit('.').next().unwrap();
            for example in &entry.examples {
                check_example(entry, name, example);
            }
        }
        for field in FIRST_MET {
            let entry = conflicts.iter().find(|entry| entry.field == field).unwrap();
            assert!(entry.examples.len() >= 2, "{field} shows one side only");
        }
    }

    /// Checks an example against the rules of `mappings/README.md`.
    fn check_example(entry: &Conflict, name: &str, example: &Example) {
        let field = &entry.field;
        let first = example.given.as_array().map_or(&example.given, |list| &list[0]);
        let unwrapped =
            first.get("value").is_some_and(|inner| !inner.is_object() && !inner.is_array())
                && first.as_object().is_some_and(|object| object.len() == 1);
        let (key, becomes) = match (entry.kind, first.is_object()) {
            (FieldKind::Document, _)
            | (FieldKind::Object | FieldKind::Map, true)
            | (FieldKind::Scalar, false) => (name.to_owned(), None),
            (FieldKind::Scalar, true) if unwrapped => {
                (name.to_owned(), first.get("value").cloned())
            }
            (FieldKind::Scalar, true) => (format!("{name}_object"), None),
            (_, false) if first == "" => (name.to_owned(), Some(serde_json::json!({}))),
            (_, false) => (format!("{name}_value"), None),
        };
        assert_eq!(example.under, key, "{field}");
        assert_eq!(example.becomes, becomes, "{field}");
    }

    #[test]
    fn renamed_fields_have_kinds_too() {
        let rules = rules();
        for entry in rules.conflicts().unwrap() {
            let (suffix, expected): (_, &[FieldKind]) = match entry.kind {
                FieldKind::Document => continue,
                FieldKind::Scalar => {
                    ("_object", &[FieldKind::Object, FieldKind::Map, FieldKind::Document])
                }
                FieldKind::Object | FieldKind::Map => ("_value", &[FieldKind::Scalar]),
            };
            let kind = rules.kind(&format!("{}{suffix}", entry.field));
            assert!(kind.is_some_and(|kind| expected.contains(&kind)), "{}: {kind:?}", entry.field);
        }
    }

    #[test]
    fn the_core_and_the_kind_table_agree() {
        let rules = rules();
        let own =
            ["@timestamp", "source", "event", "user", "cloud", "user_agent", "error", "trailload"];
        let mut fields = 0;
        let mut open = vec![(String::new(), &rules.template()["properties"])];
        while let Some((above, properties)) = open.pop() {
            for (name, field) in properties.as_object().unwrap() {
                let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
                if own.contains(&path.as_str()) {
                    continue;
                }
                fields += 1;
                let expected = if field["properties"].is_object() {
                    FieldKind::Object
                } else {
                    FieldKind::Scalar
                };
                assert_eq!(rules.kind(&path), Some(expected), "{path}");
                if expected == FieldKind::Object {
                    open.push((path, &field["properties"]));
                }
            }
        }
        assert!(fields > 60, "only {fields} fields in the core");
        assert!(rules.version() >= 1);
    }

    #[test]
    fn aliases_lead_to_fields_of_the_core() {
        let rules = rules();
        let properties = &rules.template()["properties"];
        for (alias, path) in [
            ("/event/properties/action", "/eventName"),
            ("/user/properties/name", "/userIdentity/properties/userName"),
            ("/cloud/properties/account/properties/id", "/recipientAccountId"),
            ("/source/properties/address", "/sourceIPAddress"),
        ] {
            let target = properties.pointer(alias).unwrap()["path"].as_str().unwrap();
            assert_eq!(path.replace("/properties", "").replace('/', "."), format!(".{target}"));
            assert_eq!(properties.pointer(path).unwrap()["type"], "keyword");
        }
    }

    #[test]
    fn declared_fields_are_known_values_outside_the_core() {
        let rules = rules();
        let mapping = rules.declared_mapping("responseElements.credentials.expiration").unwrap();
        assert_eq!(mapping["fields"]["date"]["locale"], "en");
        assert!(rules.declared_mapping("eventName").is_none());
        for path in rules.declared.keys() {
            assert_eq!(rules.kind(path), Some(FieldKind::Scalar), "{path}");
            let part = path.split('.').next().unwrap();
            assert!(FREE_PARTS.contains(&part), "{path} belongs into the template");
        }
    }

    /// Policies, documents and messages, under names that the API models contain and under names that they do not
    /// contain yet.
    #[test]
    fn long_texts_are_searched_word_by_word() {
        let rules = rules();
        for path in [
            "requestParameters.policy",
            "requestParameters.policy_value",
            "requestParameters.policyDocument",
            "requestParameters.PolicyDocument",
            "requestParameters.assumeRolePolicyDocument",
            "responseElements.role.assumeRolePolicyDocument",
            "requestParameters.resourcePolicy",
            "requestParameters.sessionPolicy",
            "requestParameters.lifecyclePolicyText",
            "requestParameters.accessPolicies",
            "requestParameters.stackPolicyBody",
            "requestParameters.templateBody",
            "requestParameters.definition_value",
            "requestParameters.eventPattern",
            "requestParameters.queryString",
            "requestParameters.sqlStatements",
            "requestParameters.content",
            "requestParameters.inventedYesterday.trustPolicy",
            "responseElements.message",
            "responseElements.statusMessage",
            "responseElements.failureReason",
            "additionalEventData.errorMessage",
        ] {
            assert!(matches!(rules.kind(path), Some(FieldKind::Scalar) | None), "{path}");
            let mapping =
                rules.declared_mapping(path).unwrap_or_else(|| panic!("{path} is not declared"));
            assert_eq!(mapping["type"], "keyword", "{path}");
            assert_eq!(mapping["fields"]["text"]["type"], "text", "{path}");
        }
        for path in [
            "requestParameters.policyName",
            "requestParameters.policyArn",
            "requestParameters.messageId",
            "requestParameters.templateURL",
            "requestParameters.statusCode",
            "requestParameters.policy.name",
            "eventName",
        ] {
            assert_eq!(rules.declared_mapping(path), None, "{path}");
        }
        assert_eq!(
            rules.template()["properties"]["errorMessage"]["fields"]["text"]["type"],
            "text"
        );
    }

    #[test]
    fn the_longest_end_of_a_name_decides() {
        let dir = tempfile::tempdir().unwrap();
        let fields = r#"{"*Name": {"type": "text"}, "*ShortName": {"type": "wildcard"},
            "requestParameters.bucketName": {"type": "keyword"}}"#;
        fs::write(dir.path().join("fields.json"), fields).unwrap();
        let rules = Rules::load(dir.path()).unwrap();
        let kind = |path: &str| rules.declared_mapping(path).map(|mapping| mapping["type"].clone());
        assert_eq!(kind("requestParameters.shortname"), Some("wildcard".into()));
        assert_eq!(kind("requestParameters.name"), Some("text".into()));
        assert_eq!(kind("requestParameters.bucketName"), Some("keyword".into()));
        assert_eq!(kind("requestParameters.names"), None);
    }

    #[test]
    fn the_embedded_table_stays_small() {
        assert!(KINDS.embedded.len() <= 400 * 1024, "{} bytes", KINDS.embedded.len());
    }

    #[test]
    fn a_cut_or_altered_table_is_refused() {
        let whole = KINDS.embedded;
        refusal("kinds.zst", &whole[..whole.len() / 2]);
        let mut altered = whole.to_vec();
        altered[whole.len() / 2] ^= 0x10;
        refusal("kinds.zst", &altered);
    }

    #[test]
    fn a_folder_replaces_only_what_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let entry = r#"[{"field": "requestParameters.policy", "kind": "document", "why": "ours",
            "rewrite": "keep-unmapped", "examples": [{"given": 1, "under": "policy"}]}]"#;
        fs::write(dir.path().join("conflicts.json"), entry).unwrap();
        let rules = Rules::load(dir.path()).unwrap();
        assert_eq!(rules.kind("requestParameters.policy"), Some(FieldKind::Document));
        assert_eq!(rules.kind("requestParameters.tags"), Some(FieldKind::Map));
        assert_eq!(rules.conflicts().unwrap().len(), 1);
        assert_eq!(rules.template(), Rules::embedded().unwrap().template());
    }

    #[test]
    fn a_folder_without_rules_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let message = Rules::load(dir.path()).unwrap_err().to_string();
        assert!(message.contains("contains none of kinds.zst"), "{message}");
    }

    #[test]
    fn a_damaged_file_is_named_with_its_problem() {
        let entry = |field: &str, rest: &str| {
            format!(r#"{{"field": "{field}", "kind": "scalar", "why": "w", {rest}}}"#)
        };
        let good = r#""rewrite": "key-by-type", "examples": [{"given": 1, "under": "a"}]"#;
        let unmapped = r#""rewrite": "keep-unmapped", "examples": [{"given": 1, "under": "a"}]"#;
        let cases: [(&str, String, &str); 12] = [
            ("kinds.zst", "no table".into(), "cannot be unpacked"),
            ("conflicts.json", "[{]".into(), "line 1 column 3"),
            ("conflicts.json", r#"[{"field": "a"}]"#.into(), "missing field `kind`"),
            (
                "conflicts.json",
                format!("[{}, {}]", entry("b", good), entry("a", good)),
                "not sorted by unique field at `a`",
            ),
            (
                "conflicts.json",
                format!("[{}, {}]", entry("a", good), entry("a", good)),
                "not sorted by unique field at `a`",
            ),
            (
                "conflicts.json",
                format!("[{}]", entry("a", unmapped)),
                "does not fit the kind of `a`",
            ),
            (
                "fields.json",
                r#"{"requestParameters.x": {}}"#.into(),
                "has no type for `requestParameters.x`",
            ),
            ("fields.json", r#"{"*policy": {}}"#.into(), "has no type for `*policy`"),
            (
                "fields.json",
                r#"{"*a.b": {"type": "long"}}"#.into(),
                "declares `*a.b`, which is not a name suffix",
            ),
            (
                "fields.json",
                r#"{"requestParameters.tags": {"type": "long"}}"#.into(),
                "as a value, but its kind is not scalar",
            ),
            ("template.json", r#"{"dynamic": true, "properties": {}}"#.into(), "dynamic"),
            ("template.json", r#"{"dynamic": false, "properties": {}}"#.into(), "_meta.version"),
        ];
        for (file, content, problem) in cases {
            let message = refusal(file, content.as_bytes());
            assert!(message.contains(problem), "{message}");
        }
    }
}
