//! The roles in `policy/`: as an engine reads them, and no wider than they say.

use serde_json::Value;

fn role(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

fn check(cluster: &Value, indices: &Value, names: &str, rights: &str) {
    let indices = indices.as_array().unwrap();
    assert_eq!(indices.len(), 1);
    assert_eq!(words(&indices[0][names]), ["cloudtrail", "cloudtrail-*"]);
    let all = words(cluster).into_iter().chain(words(&indices[0][rights]));
    for right in all {
        for wide in ["delete", "search", "manage", "all", "read"] {
            assert!(!right.split([':', '/', '_', '*']).any(|part| part == wide), "{right}");
        }
        assert!(!right.ends_with('*') || right == "indices:data/write/bulk*", "{right}");
    }
}

#[test]
fn the_role_for_opensearch_is_narrow() {
    let role = role(include_str!("../policy/opensearch.json"));
    check(
        &role["cluster_permissions"],
        &role["index_permissions"],
        "index_patterns",
        "allowed_actions",
    );
}

#[test]
fn the_role_for_elasticsearch_is_narrow() {
    let role = role(include_str!("../policy/elasticsearch.json"));
    check(&role["cluster"], &role["indices"], "names", "privileges");
}

/// Fails unless a role allows reading documents by their ids, and nothing else.
fn check_reading(cluster: &[&str], indices: &Value, names: &str, rights: &str) {
    let indices = indices.as_array().unwrap();
    assert_eq!(indices.len(), 1);
    assert_eq!(words(&indices[0][names]), ["cloudtrail", "cloudtrail-*"]);
    assert_eq!(words(&indices[0][rights]), ["indices:data/read/mget*"]);
    assert!(cluster.iter().all(|right| *right == "indices:data/read/mget"), "{cluster:?}");
}

#[test]
fn the_roles_for_checking_duplicates_allow_only_to_get_documents() {
    let role = role(include_str!("../policy/opensearch-check-duplicates.json"));
    let cluster = words(&role["cluster_permissions"]);
    check_reading(&cluster, &role["index_permissions"], "index_patterns", "allowed_actions");
    let role = self::role(include_str!("../policy/elasticsearch-check-duplicates.json"));
    check_reading(&words(&role["cluster"]), &role["indices"], "names", "privileges");
}
