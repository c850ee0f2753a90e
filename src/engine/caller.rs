//! Who waits for an answer, and whether they still do.

use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Someone who asked. One who has left, or whose time is over, costs nothing more: whoever works for them looks here first.
///
/// The default never leaves and waits for ever.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    gone: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Caller {
    /// One who waits until `deadline`.
    pub fn until(deadline: Option<Instant>) -> Self {
        Caller { gone: Arc::default(), deadline }
    }

    /// The same one, who does not wait beyond `end` where there is one.
    pub(super) fn within(&self, end: Option<Instant>) -> Self {
        Caller { gone: self.gone.clone(), deadline: self.deadline.into_iter().chain(end).min() }
    }

    /// Says that nobody waits any more.
    pub fn leave(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// [`Error::Cancelled`] where the caller has left, [`Error::Late`] where the time is over.
    pub fn check(&self) -> Result<()> {
        if self.gone.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Error::Late),
            _ => Ok(()),
        }
    }
}
