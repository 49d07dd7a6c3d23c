//! What one evaluation may cost. An expression is short, but a request is not: lists of claims, headers of 64 KiB and
//! comprehensions within one another multiply.

use std::cell::Cell;

use super::EvalError;

/// Steps of one evaluation: nodes run by comprehensions, members looked at, 64 bytes of text read or made. A step takes
/// ten to forty nanoseconds, so that the worst evaluation holds its worker for a few milliseconds.
pub(super) const STEPS: usize = 100_000;

const BYTES_OF_A_STEP: usize = 64;

/// What asking for memory costs.
const STEPS_OF_A_TEXT: usize = 4;

pub(super) struct Budget {
    left: Cell<usize>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: Cell::new(STEPS) }
    }

    /// Once it is spent, it stays so: `||` cannot absorb the error and go on.
    pub(super) fn spend(&self, steps: usize) -> Result<(), EvalError> {
        match self.left.get().checked_sub(steps) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.left.set(0);
                Err(EvalError::Budget)
            }
        }
    }

    /// For a text or the like that is made, rather than read.
    pub(super) fn spend_made(&self, bytes: usize) -> Result<(), EvalError> {
        self.spend(STEPS_OF_A_TEXT + bytes / BYTES_OF_A_STEP)
    }

    pub(super) fn spend_bytes(&self, bytes: usize) -> Result<(), EvalError> {
        self.spend(bytes / BYTES_OF_A_STEP)
    }
}
