//! Which Regions an account uses.
//!
//! Absent on purpose: Regions that were asked for by name; they are checked here and not looked up.

use super::{Error, Partition};

/// Who named the Regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// EC2 `DescribeRegions`: the enabled ones.
    Described,
    /// Account `ListRegions`: the enabled ones.
    Listed,
    /// The list of this build: some may not be enabled, and newer ones are missing. A Region that answers
    /// [`Trouble::RegionNotEnabled`](super::Trouble::RegionNotEnabled) is to be passed over quietly.
    BuiltIn,
}

/// Regions to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regions {
    /// Their names, sorted, the partition's global Region first.
    pub names: Vec<String>,
    /// Who named them.
    pub from: Origin,
    /// What a person should know about it.
    pub warning: Option<String>,
}

/// Checks Regions that were asked for by name.
///
/// # Errors
///
/// Returns [`Error`] for a text that is no Region, and for Regions of another partition than `ours`.
pub fn check(names: &[String], ours: Partition) -> Result<(), Error> {
    for name in names {
        let Some(theirs) = Partition::of_region(name) else {
            return Err(Error::NoRegion(name.clone()));
        };
        if theirs != ours {
            return Err(Error::ForeignRegion { region: name.clone(), theirs, ours });
        }
    }
    Ok(())
}
