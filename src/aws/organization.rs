//! The accounts of an organization.

/// An account of an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// 12 digits.
    pub id: String,
    /// The name its owner gave it.
    pub name: String,
}
