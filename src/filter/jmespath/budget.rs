//! The work that the evaluation of an expression may do.
//!
//! Input: what the evaluation is about to do. Output: an error when it exceeds the budget.
//! Invariant: time and memory of an evaluation are bounded, whatever the expression and the event. Without a budget,
//! `[@,@][] | [@,@][] | …` doubles a list with every step.

use std::cell::Cell;

/// Steps of an evaluation: a node of the expression, an element of a list, or [`BYTES_PER_STEP`] bytes of text.
/// The largest event that CloudTrail delivers (256 KB) has less than 100,000 values, and a million steps take less than
/// 100 ms.
const MAX_STEPS: usize = 1_000_000;

/// Bytes of text that are one step, so that an evaluation never holds more than 16 MB of text of its own.
const BYTES_PER_STEP: usize = 16;

/// The evaluation exceeds its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BudgetExceeded;

/// What remains of the steps of one evaluation.
#[derive(Debug)]
pub(super) struct Budget {
    remaining: Cell<usize>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { remaining: Cell::new(MAX_STEPS) }
    }

    /// Takes steps from the budget.
    pub(super) fn take(&self, steps: usize) -> Result<(), BudgetExceeded> {
        self.remaining.set(self.remaining.get().checked_sub(steps).ok_or(BudgetExceeded)?);
        Ok(())
    }

    /// Takes the steps for text of a length in bytes.
    pub(super) fn take_text(&self, bytes: usize) -> Result<(), BudgetExceeded> {
        self.take(1 + bytes / BYTES_PER_STEP)
    }
}
