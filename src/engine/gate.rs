//! A bound on memory that threads share: each takes what it will need before it needs it, and waits until that is free.

use super::caller::Caller;
use super::decode::{self, Decoded, Limits};
use crate::error::Result;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often someone who waits looks whether their caller still does.
const LOOK: Duration = Duration::from_millis(50);

/// So many bytes, to be held by several threads at once.
pub struct Gate {
    free: Mutex<u64>,
    freed: Condvar,
    all: u64,
}

/// Bytes held; given back when dropped.
pub struct Held<'a> {
    gate: &'a Gate,
    bytes: u64,
}

impl Gate {
    /// All of it is free.
    pub fn new(all: u64) -> Self {
        Gate { free: Mutex::new(all), freed: Condvar::new(), all }
    }

    /// Waits until `bytes` are free. Who asks for more than there is gets all of it.
    pub fn hold(&self, bytes: u64) -> Held<'_> {
        let bytes = bytes.min(self.all);
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            self.freed.wait_while(free, |free| *free < bytes).unwrap_or_else(PoisonError::into_inner);
        *free -= bytes;
        Held { gate: self, bytes }
    }
}

impl Gate {
    /// The same, for as long as the caller waits too.
    pub(super) fn hold_for(&self, bytes: u64, caller: &Caller) -> Result<Held<'_>> {
        let bytes = bytes.min(self.all);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free < bytes {
            caller.check()?;
            free = self.freed.wait_timeout(free, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= bytes;
        Ok(Held { gate: self, bytes })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.gate.free.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.gate.freed.notify_all();
    }
}

/// The memory that decoding may take at once, for all who share it, and what one picture may ask for.
pub struct Memory {
    gate: Gate,
    limits: Limits,
}

impl Default for Memory {
    fn default() -> Self {
        Memory::new(Limits::default())
    }
}

impl Memory {
    /// As much as the largest picture may ask for.
    pub fn new(limits: Limits) -> Self {
        Memory { gate: Gate::new(limits.memory), limits }
    }

    /// What one picture may ask for.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// [`decode::decode`], once there is memory for it.
    pub fn decode(&self, bytes: &[u8]) -> Result<Decoded> {
        let opened = decode::open(bytes, &self.limits)?;
        let _held = self.gate.hold(opened.memory);
        opened.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn never_more_than_all_is_held() {
        let gate = Gate::new(100);
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (gate, now, most) = (&gate, &now, &most);
                scope.spawn(move || {
                    for round in 0..200 {
                        let bytes = (thread * 37 + round * 11) % 120;
                        let held = gate.hold(bytes);
                        most.fetch_max(
                            now.fetch_add(held.bytes, Ordering::SeqCst) + held.bytes,
                            Ordering::SeqCst,
                        );
                        now.fetch_sub(held.bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 100);
        assert_eq!(*gate.free.lock().unwrap_or_else(PoisonError::into_inner), 100);
    }
}
