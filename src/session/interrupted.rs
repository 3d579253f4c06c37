//! [`Interrupted`]: how an attempt in one session can end without a result.

use super::state::Lost;
use crate::error::Error;

/// Why an attempt in one session has no result.
#[derive(Debug)]
pub(crate) enum Interrupted<E = Error> {
    /// The session or the node ended; a new session can try again.
    Lost(Lost),
    /// Another attempt would not help.
    Failed(E),
}

impl<E> From<Lost> for Interrupted<E> {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The error of one recipe, which embeds the shared one.
pub(crate) trait RecipeError: From<Error> {}

impl<E: RecipeError> From<E> for Interrupted<E> {
    fn from(error: E) -> Self {
        Self::Failed(error)
    }
}

impl<E: RecipeError> From<Interrupted> for Interrupted<E> {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Lost(lost) => Self::Lost(lost),
            Interrupted::Failed(error) => Self::Failed(error.into()),
        }
    }
}
