//! Who says whether the store is still ours to write.

use super::journal::JournalError;
use std::fmt;
use std::sync::Arc;

/// Asked before anything is written; an error, which says why, is final. A process that was stopped
/// for a while, and lost its lock meanwhile, must not write over what its successor has written.
#[derive(Clone, Default)]
pub struct Fence(Option<Arc<Ask>>);

type Ask = dyn Fn() -> Result<(), String> + Send + Sync;

impl Fence {
    /// `ask` is called by the threads of the store, often: it should be cheap.
    pub fn new(ask: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }

    pub(super) fn check(&self) -> Result<(), JournalError> {
        self.0.as_ref().map_or(Ok(()), |ask| ask().map_err(JournalError::Fenced))
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Fence" } else { "no fence" })
    }
}
