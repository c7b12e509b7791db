//! How much of the answers a page shows.
//!
//! Invariant: with the last of [`DETAILS`], every page is smaller than its maximum, whatever the answers are.

/// How much of the answers a page shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Details {
    /// Maximum number of rows of a table.
    pub(super) rows: usize,
    /// Maximum number of characters of a text that are shown.
    pub(super) shown: usize,
    /// Maximum number of characters of a text that appear while the pointer is over it.
    pub(super) whole: usize,
    /// Maximum number of characters of the name of a series beside each of its values.
    pub(super) series: usize,
}

/// From the most to the least. An index has texts of up to 1,024 characters, and a character may take 9 bytes here.
///
/// The last one: 50 tables of 15 rows with 3 texts take less than 0.9 MB, and 11 charts of 120 intervals with 8 series less than
/// 0.9 MB.
pub(super) const DETAILS: [Details; 3] = [
    Details { rows: 120, shown: 120, whole: 1_024, series: 60 },
    Details { rows: 50, shown: 100, whole: 0, series: 30 },
    Details { rows: 15, shown: 40, whole: 0, series: 0 },
];
