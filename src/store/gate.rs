//! What stands before every write to disk.

use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Open as it comes; a test's gate says no from some write on, or ends the process there, to show what survives.
#[derive(Clone, Default)]
pub struct Gate(Option<Arc<Guard>>);

struct Guard {
    passed: AtomicU64,
    open: Box<dyn Fn(u64) -> bool + Send + Sync>,
}

impl Gate {
    /// A gate that asks `open` before each write, giving how many came before it.
    pub fn new(open: impl Fn(u64) -> bool + Send + Sync + 'static) -> Self {
        Gate(Some(Arc::new(Guard { passed: AtomicU64::new(0), open: Box::new(open) })))
    }

    pub(super) fn pass(&self) -> Result<()> {
        let Some(guard) = &self.0 else { return Ok(()) };
        match (guard.open)(guard.passed.fetch_add(1, Ordering::SeqCst)) {
            true => Ok(()),
            false => Err(Error::Storage { reason: "this write was refused, as the test asked".into() }),
        }
    }
}
