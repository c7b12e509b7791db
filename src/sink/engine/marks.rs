//! The marks of templates, mappings and policies that trailload manages.

use serde_json::Value;

/// The program that manages a template, as recorded in its `_meta`.
pub(super) const MANAGED_BY: &str = "trailload";

/// Returns whether the `_meta` of a template or mapping names trailload.
pub(super) fn is_managed(template: &Value) -> bool {
    template["_meta"]["managed_by"] == MANAGED_BY
}
