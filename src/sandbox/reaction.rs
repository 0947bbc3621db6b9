//! What becomes of a call that is admitted: whether it is executed, and what the client gets.

use super::answer::Answer;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reaction {
    /// The call is executed, and its own answer given.
    Execute,
    /// The same, with the answer `stall_for` later.
    Stall,
    /// The call's own answer is not given, but this one; without one the connection is closed.
    Replace { execution: Execution, answer: Option<Answer> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Execution {
    Never,
    /// Before the answer.
    Now,
    /// `late_for` after the answer.
    Late,
}
