//! Templates, indices and their mappings.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::mapping::Mapping;
use super::super::wire::Request;
use super::filter::glob;
use super::state::{Answer, State, acknowledged, refused};
use super::{Flavour, Index, Shut};

impl State {
    pub(super) fn index_template(&mut self, method: &str, name: &str, body: &Value) -> Answer {
        match method {
            "PUT" | "POST" => {
                if self.flavour == Flavour::OpenSearch
                    && body.get("ignore_missing_component_templates").is_some()
                {
                    return refused(
                        400,
                        "x_content_parse_exception",
                        "[1:1] [index_template] unknown field [ignore_missing_component_templates]",
                    );
                }
                if let Err(reason) = self.composed(body) {
                    let text = format!("index template [{name}] invalid, cause [{reason}]");
                    return refused(400, "invalid_index_template_exception", &text);
                }
                let mut template = body.clone();
                if !template["template"]["settings"].is_null() {
                    template["template"]["settings"] =
                        shown_settings(&body["template"]["settings"]);
                }
                self.index_templates.insert(name.to_owned(), template);
                acknowledged()
            }
            "DELETE" => {
                self.index_templates.remove(name);
                acknowledged()
            }
            _ => match self.index_templates.get(name) {
                None => refused(
                    404,
                    "resource_not_found_exception",
                    &format!("index template matching [{name}] not found"),
                ),
                Some(template) => (
                    200,
                    json!({ "index_templates": [{ "name": name, "index_template": template }] }),
                ),
            },
        }
    }

    pub(super) fn component_template(&mut self, method: &str, name: &str, body: &Value) -> Answer {
        match method {
            "PUT" | "POST" => {
                let before = self.component_templates.insert(name.to_owned(), body.clone());
                let users: Vec<_> = self.index_templates.values().cloned().collect();
                let wrong = users
                    .iter()
                    .filter(|user| components(user).contains(&name))
                    .find_map(|user| self.composed(user).err());
                // A component is checked by itself, under its own limit.
                let limit = field_limit(&body["template"]["settings"]).unwrap_or(1_000);
                let alone = Mapping::default()
                    .merged(&body["template"]["mappings"], limit)
                    .err()
                    .filter(|reason| !reason.contains("alias"));
                let Some(reason) = wrong.or(alone) else { return acknowledged() };
                match before {
                    Some(before) => self.component_templates.insert(name.to_owned(), before),
                    None => self.component_templates.remove(name),
                };
                refused(
                    400,
                    "illegal_argument_exception",
                    &format!(
                        "updating component template [{name}] results in invalid composable template after templates are merged: {reason}"
                    ),
                )
            }
            "DELETE" => {
                self.component_templates.remove(name);
                acknowledged()
            }
            _ => match self.component_templates.get(name) {
                None => refused(
                    404,
                    "resource_not_found_exception",
                    &format!("component template matching [{name}] not found"),
                ),
                Some(template) => (
                    200,
                    json!({ "component_templates": [{ "name": name, "component_template": template }] }),
                ),
            },
        }
    }

    /// Returns the mapping and field limit that a template gives, all its components merged.
    pub(super) fn composed(&self, template: &Value) -> Result<(Mapping, usize), String> {
        let mut parts = Vec::new();
        for name in components(template) {
            let component = self.component_templates.get(name);
            let ignored = template["ignore_missing_component_templates"].as_array();
            match component {
                Some(component) => parts.push(&component["template"]),
                None if ignored.is_some_and(|names| names.contains(&json!(name))) => {}
                None => return Err(format!("component templates [{name}] that do not exist")),
            }
        }
        parts.push(&template["template"]);
        let limit = parts
            .iter()
            .filter_map(|part| field_limit(&part["settings"]))
            .next_back()
            .unwrap_or(1_000);
        // Aliases may point into another component: all properties first, then one merge.
        let mut mapping = Mapping::default();
        let mut aliases = Vec::new();
        for part in parts {
            match mapping.merged(&part["mappings"], limit) {
                Ok(merged) => mapping = merged,
                Err(reason) if reason.contains("alias must refer") => {
                    aliases.push(&part["mappings"]);
                }
                Err(reason) => return Err(reason),
            }
        }
        for late in aliases {
            mapping = mapping.merged(late, limit)?;
        }
        Ok((mapping, limit))
    }

    pub(super) fn matching(&self, pattern: &str) -> Vec<String> {
        let fits = |name: &&String| {
            pattern.split(',').any(|pattern| pattern == "_all" || glob(pattern, name))
        };
        self.indices.keys().filter(fits).cloned().collect()
    }

    pub(super) fn mappings(&self, pattern: &str) -> Answer {
        let names = self.matching(pattern);
        if names.is_empty() && !pattern.contains('*') {
            return refused(
                404,
                "index_not_found_exception",
                &format!("no such index [{pattern}]"),
            );
        }
        let shown = names.into_iter().map(|name| {
            let mapping = self.indices[&name].mapping.shown();
            (name, json!({ "mappings": mapping }))
        });
        (200, shown.collect::<Map<_, _>>().into())
    }

    pub(super) fn put_mapping(&mut self, pattern: &str, body: &Value) -> Answer {
        let names = self.matching(pattern);
        if names.is_empty() {
            return refused(
                404,
                "index_not_found_exception",
                &format!("no such index [{pattern}]"),
            );
        }
        for other in std::mem::take(&mut self.other_loader) {
            for name in &names {
                let index = self.indices.get_mut(name).unwrap();
                index.mapping =
                    index.mapping.merged(&other, index.limit).expect("what the other loader puts");
            }
            if names.iter().any(|name| self.indices[name].mapping.merged(body, usize::MAX).is_err())
            {
                let index = &self.indices[&names[0]];
                let reason = index.mapping.merged(body, index.limit).unwrap_err();
                return refused(400, "illegal_argument_exception", &reason);
            }
        }
        for name in &names {
            let index = self.indices.get_mut(name).unwrap();
            match index.mapping.merged(body, index.limit) {
                Ok(merged) => index.mapping = merged,
                Err(reason) => return refused(400, "illegal_argument_exception", &reason),
            }
        }
        acknowledged()
    }

    pub(super) fn settings(&mut self, method: &str, pattern: &str) -> Answer {
        if method == "PUT" {
            return acknowledged();
        }
        let shown = self.matching(pattern).into_iter().map(|name| {
            let Index { limit, number, .. } = &self.indices[&name];
            let (uuid, made) = (format!("{}-{number}", self.cluster), number.to_string());
            let mut settings = json!({ "index": { "mapping": { "total_fields": { "limit": limit.to_string() } },
                "number_of_shards": "1", "uuid": uuid, "creation_date": made, "provided_name": name } });
            if let Some((pipeline, _)) = self.pipelines.get(&name) {
                settings["index"]["default_pipeline"] = json!(pipeline);
            }
            match self.shut.get(&name) {
                Some(Shut::Closed) => settings["index"]["verified_before_close"] = json!("true"),
                Some(Shut::WriteBlock) => settings["index"]["blocks"] = json!({ "write": "true" }),
                None => {}
            }
            (name, json!({ "settings": settings }))
        });
        (200, shown.collect::<Map<_, _>>().into())
    }

    pub(super) fn index(&self, name: &str, request: &Request) -> Answer {
        let names = self.matching(name);
        if names.is_empty() && !request.path.contains('*') {
            return refused(404, "index_not_found_exception", &format!("no such index [{name}]"));
        }
        let shown = names.into_iter().map(|name| {
            let mapping = self.indices[&name].mapping.shown();
            (name, json!({ "aliases": {}, "mappings": mapping, "settings": {} }))
        });
        (200, shown.collect::<Map<_, _>>().into())
    }

    pub(super) fn create(&mut self, name: &str, body: &Value) -> Answer {
        self.let_the_other_create(name);
        if self.indices.contains_key(name) {
            return refused(
                400,
                "resource_already_exists_exception",
                &format!("index [{name}/x] already exists"),
            );
        }
        match self.new_index(name, body) {
            Ok(()) => {
                (200, json!({ "acknowledged": true, "shards_acknowledged": true, "index": name }))
            }
            Err(reason) => refused(400, "mapper_parsing_exception", &reason),
        }
    }

    /// Creates the index as the other loader would have, before it could know what we learned.
    fn let_the_other_create(&mut self, name: &str) {
        for other in std::mem::take(&mut self.other_loader) {
            let core = self.template_for(name).map(|template| template["template"].clone());
            let core = core.unwrap_or_default();
            let limit = field_limit(&core["settings"]).unwrap_or(1_000);
            let mapping = Mapping::default().merged(&core["mappings"], limit);
            let mapping = mapping.and_then(|mapping| mapping.merged(&other, limit));
            let mapping = mapping.expect("what the other loader puts");
            self.hold(name, mapping, limit);
        }
    }

    fn hold(&mut self, name: &str, mapping: Mapping, limit: usize) {
        self.made += 1;
        let index = Index { mapping, limit, documents: BTreeMap::new(), number: self.made };
        self.indices.insert(name.to_owned(), index);
    }

    fn template_for(&self, name: &str) -> Option<&Value> {
        let fits = |template: &&Value| {
            let patterns = template["index_patterns"].as_array().into_iter().flatten();
            patterns.filter_map(Value::as_str).any(|pattern| glob(pattern, name))
        };
        let fitting = self.index_templates.values().filter(fits);
        fitting.max_by_key(|template| template["priority"].as_u64())
    }

    pub(super) fn new_index(&mut self, name: &str, body: &Value) -> Result<(), String> {
        let wrong = name.is_empty()
            || name.starts_with(['_', '-', '+'])
            || name.len() > 255
            || name.contains(|c: char| c.is_uppercase() || "\\/*?\"<>| ,#:".contains(c));
        if wrong {
            return Err(format!("Invalid index name [{name}]"));
        }
        let template = self.template_for(name);
        let (mapping, limit) = match template {
            Some(template) => self.composed(template)?,
            None => (Mapping::default(), 1_000),
        };
        let limit = field_limit(&body["settings"]).unwrap_or(limit);
        let mapping = mapping.merged(&body["mappings"], limit)?;
        if !matches!(mapping.head.get("dynamic"), Some(Value::Bool(false)))
            && mapping.head.get("dynamic") != Some(&json!("false"))
        {
            self.complaints.push(format!("index {name} would map dynamically"));
        }
        self.hold(name, mapping, limit);
        Ok(())
    }
}

fn components(template: &Value) -> Vec<&str> {
    template["composed_of"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn field_limit(settings: &Value) -> Option<usize> {
    let shown = shown_settings(settings);
    let limit = shown.pointer("/index/mapping/total_fields/limit")?;
    limit.as_str()?.parse().ok()
}

/// Returns settings as the engines show them, however they were put: nested under `index`, as texts.
fn shown_settings(settings: &Value) -> Value {
    let mut flat = Vec::new();
    flatten_settings(settings, "", &mut flat);
    let mut shown = json!({});
    for (path, value) in flat {
        let path = path.strip_prefix("index.").unwrap_or(&path);
        let parent = path.split('.').fold(&mut shown["index"], |level, name| &mut level[name]);
        *parent = value;
    }
    shown
}

fn flatten_settings(level: &Value, prefix: &str, flat: &mut Vec<(String, Value)>) {
    for (name, value) in level.as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        match value {
            Value::Object(_) => flatten_settings(value, &format!("{path}."), flat),
            Value::Number(_) | Value::Bool(_) => flat.push((path, json!(value.to_string()))),
            other => flat.push((path, other.clone())),
        }
    }
}
