//! The fields this run knows: which paths are objects, which are values, and which are mapped.

use serde_json::Value;

/// What the loader knows about every path met so far, shared by all workers.
#[derive(Debug, Default)]
pub struct Fields {}

impl Fields {
    /// Returns how many fields are to be mapped so far.
    pub fn len(&self) -> u32 {
        todo!()
    }
    /// Returns whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Returns the `properties` tree (for `PUT _mapping`) of the fields `from..to`.
    pub fn properties(&self, _from: u32, _to: u32) -> Value {
        todo!()
    }
    /// Takes in the live `mappings` of an index or template: what it decided and we have not, we adopt.
    pub fn absorb(&self, _mappings: &Value) {
        todo!()
    }
}

/// Rewrites one already normalized document for an index that decided differently.
///
/// `mappings` is the live mapping of that index. Returns `None` if nothing would change.
pub fn again(_fields: &Fields, _document: &[u8], _mappings: &Value) -> Option<Vec<u8>> {
    todo!()
}

/// Returns the last resort for a document that the engine refuses: top-level values plus the original as text.
pub fn raw(_document: &[u8]) -> Vec<u8> {
    todo!()
}
