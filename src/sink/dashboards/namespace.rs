//! Which ids objects have in a space of Kibana, or in a workspace of OpenSearch Dashboards.
//!
//! Ids are unique in all spaces together: an object with an id that another space has is imported under a random id, so that
//! nothing would find it again. In a space other than the default one, ids therefore end with the name of the space.
//! Tenants of OpenSearch Dashboards hold objects of their own, and need no other ids.
//! Input: objects with plain ids. Output: the same with the ids of this space, and what is stored under them.
//! Invariant: one space has one set of ids. Objects of trailload that are there already decide which one: a file that was
//! imported by hand has plain ids in any space.

use super::{DashboardsClient, DashboardsError, ObjectState, Product};
use crate::dashboard::SavedObject;

/// The space of Kibana whose URLs name no space.
const DEFAULT_SPACE: &str = "default";

/// What separates an id from the name of its space. Neither contains it.
const SEPARATOR: char = '~';

/// An object with the id that it has in a space, and what is stored under it.
#[derive(Clone, Debug, PartialEq)]
pub struct LocatedObject {
    /// The object.
    pub object: SavedObject,
    /// What is stored under its type and id.
    pub state: ObjectState,
}

impl DashboardsClient {
    /// Returns objects with the ids that they have in this space, or would get, and what is stored under them.
    ///
    /// # Errors
    ///
    /// Returns [`DashboardsError`] if the objects cannot be read.
    pub async fn locate(
        &self,
        objects: &[SavedObject],
    ) -> Result<Vec<LocatedObject>, DashboardsError> {
        let plain = self.with_states(objects.to_vec()).await?;
        let Some(namespace) = self.namespace().filter(|_| !has_ours(&plain)) else {
            return Ok(plain);
        };
        let own = self.with_states(with_namespace(objects, namespace)).await?;
        let has_plain_ids = namespace == DEFAULT_SPACE && !has_ours(&own);
        Ok(if has_plain_ids { plain } else { own })
    }

    /// Returns objects with ids that no other space has. `None` if objects have plain ids wherever this program stores them.
    pub fn with_own_ids(&self, objects: &[SavedObject]) -> Option<Vec<SavedObject>> {
        Some(with_namespace(objects, self.namespace()?))
    }

    /// Returns the name of the part of the objects that is read and written, if ids are unique in all parts together.
    fn namespace(&self) -> Option<&str> {
        match self.product {
            Product::Kibana => Some(self.space.as_deref().unwrap_or(DEFAULT_SPACE)),
            Product::OpenSearchDashboards => self.workspace.as_deref(),
        }
    }

    async fn with_states(
        &self,
        objects: Vec<SavedObject>,
    ) -> Result<Vec<LocatedObject>, DashboardsError> {
        let states = self.states(&objects).await?;
        let pairs = objects.into_iter().zip(states);
        Ok(pairs.map(|(object, state)| LocatedObject { object, state }).collect())
    }
}

fn with_namespace(objects: &[SavedObject], namespace: &str) -> Vec<SavedObject> {
    let suffix = format!("{SEPARATOR}{namespace}");
    objects.iter().map(|object| object.with_id_suffix(&suffix)).collect()
}

/// Returns whether trailload wrote one of these objects.
fn has_ours(objects: &[LocatedObject]) -> bool {
    let is_ours = |state: &ObjectState| {
        matches!(state, ObjectState::Current | ObjectState::Outdated | ObjectState::Newer(_))
    };
    objects.iter().any(|LocatedObject { state, .. }| is_ours(state))
}
