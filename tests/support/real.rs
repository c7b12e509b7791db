//! Real engines, started by somebody else and named in the environment.
//!
//! Holds: a missing engine fails the test, it never skips it. Every test has an index prefix of its
//! own and takes everything of that prefix away at its end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::mapping::flatten;
use super::wire;

/// The engines that the loader promises to work with: a name, and where its address is found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine {
    OpenSearch3,
    OpenSearch2,
    Elasticsearch9,
    Elasticsearch8,
}

impl Engine {
    /// All of them.
    pub(crate) const ALL: [Engine; 4] =
        [Engine::OpenSearch3, Engine::OpenSearch2, Engine::Elasticsearch9, Engine::Elasticsearch8];

    fn variable(self) -> &'static str {
        match self {
            Engine::OpenSearch3 => "TRAILLOAD_TEST_OPENSEARCH3",
            Engine::OpenSearch2 => "TRAILLOAD_TEST_OPENSEARCH2",
            Engine::Elasticsearch9 => "TRAILLOAD_TEST_ELASTICSEARCH9",
            Engine::Elasticsearch8 => "TRAILLOAD_TEST_ELASTICSEARCH8",
        }
    }
}

/// Returns a variable that `scripts/test` sets.
pub(crate) fn given(variable: &str) -> String {
    let value = std::env::var_os(variable).and_then(|value| value.into_string().ok());
    value.unwrap_or_else(|| panic!("{variable} is not set: start the engines with scripts/test"))
}

/// A corner of a real engine that belongs to one test.
pub(crate) struct Corner {
    url: String,
    prefix: String,
}

impl Corner {
    /// Takes a corner of that engine.
    pub(crate) fn of(engine: Engine) -> Corner {
        let url = given(engine.variable()).trim_end_matches('/').to_owned();
        Corner { url, prefix: format!("t{:016x}", fastrand::u64(..)) }
    }

    /// Returns the engine's address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the prefix of this test's indices.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the options that send a load here.
    pub(crate) fn index(&self) -> [&str; 2] {
        ["--index", &self.prefix]
    }

    /// Asks the engine one thing that must succeed.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let bytes = body.to_string();
        let body = if body.is_null() { None } else { Some(bytes.as_bytes()) };
        let (status, answer) = wire::ask(&self.url, method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Makes what was written so far visible to searches.
    pub(crate) fn refresh(&self) {
        self.ask("POST", &format!("/{}*/_refresh", self.prefix), &Value::Null);
    }

    /// Returns how many documents there are.
    pub(crate) fn count(&self) -> u64 {
        self.refresh();
        self.ask("GET", &format!("/{}*/_count", self.prefix), &Value::Null)["count"]
            .as_u64()
            .unwrap()
    }

    /// Returns how many documents were written so far, to be seen by searches or not; `None` before the first index.
    pub(crate) fn indexed(&self) -> Option<u64> {
        let (_, answer) =
            wire::ask(&self.url, "GET", &format!("/{}*/_stats/indexing", self.prefix), None);
        answer["_all"]["primaries"]["indexing"]["index_total"].as_u64()
    }

    /// Returns how many documents a query finds.
    pub(crate) fn found(&self, query: &Value) -> u64 {
        let body = json!({ "query": query });
        self.ask("POST", &format!("/{}*/_count", self.prefix), &body)["count"].as_u64().unwrap()
    }

    /// Returns the ids of all documents.
    pub(crate) fn ids(&self) -> BTreeSet<String> {
        self.refresh();
        let page = json!({ "size": 5_000, "_source": false, "sort": ["_doc"] });
        let first = self.ask("POST", &format!("/{}*/_search?scroll=1m", self.prefix), &page);
        let mut ids = BTreeSet::new();
        let mut answer = first;
        loop {
            let hits = answer["hits"]["hits"].as_array().unwrap();
            if hits.is_empty() {
                return ids;
            }
            for hit in hits {
                let id = hit["_id"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "{id} is there twice");
            }
            let next = json!({ "scroll": "1m", "scroll_id": answer["_scroll_id"] });
            answer = self.ask("POST", "/_search/scroll", &next);
        }
    }

    /// Returns the type of every field by its path, over all indices.
    pub(crate) fn kinds(&self) -> BTreeMap<String, String> {
        let mappings = self.ask("GET", &format!("/{}*/_mapping", self.prefix), &Value::Null);
        let mut kinds: BTreeMap<String, String> = BTreeMap::new();
        for (index, mapping) in mappings.as_object().unwrap() {
            for (path, kind) in flatten(&mapping["mappings"]) {
                let before = kinds.insert(path.clone(), kind.clone());
                assert!(
                    before.is_none_or(|before| before == kind),
                    "{path} is of two kinds; see {index}"
                );
            }
        }
        kinds
    }

    /// Takes away what the test left, and goes on with an empty engine.
    pub(crate) fn clear(&self) {
        // A test may end while one of them is blocked.
        let none = json!({ "index.blocks.read_only": null, "index.blocks.metadata": null });
        let settings = format!("/{}*/_settings?expand_wildcards=all", self.prefix);
        wire::ask(&self.url, "PUT", &settings, Some(none.to_string().as_bytes()));
        // One change of the cluster for many indices; the names of 64 fit into the first line of a request.
        for names in self.indices().chunks(64) {
            wire::ask(&self.url, "DELETE", &format!("/{}", names.join(",")), None);
        }
        for kind in ["_index_template", "_component_template"] {
            wire::ask(&self.url, "DELETE", &format!("/{kind}/{}*", self.prefix), None);
        }
    }

    fn indices(&self) -> Vec<String> {
        let (_, answer) = wire::ask(
            &self.url,
            "GET",
            &format!("/{}*/_settings?expand_wildcards=all", self.prefix),
            None,
        );
        answer.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    }
}

impl Drop for Corner {
    fn drop(&mut self) {
        // A second panic while one unwinds would hide the first.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.clear()));
    }
}
