//! How much a device is given at once: half as much from the moment on when it says that its memory is full.
//!
//! It stays at what fitted, so that not every batch fails first; whoever frees memory beside it starts the program again.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What devices say that have no memory left: CUDA's driver, and its matrix products.
const FULL: [&str; 3] = ["OUT_OF_MEMORY", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED"];

/// The most inputs that go through one model at once.
pub(super) struct Portion(AtomicUsize);

impl Default for Portion {
    fn default() -> Self {
        Portion(AtomicUsize::new(usize::MAX))
    }
}

impl Portion {
    /// What `run` makes of all `inputs`, in order, so many at once as fit.
    ///
    /// # Errors
    /// What `run` says, where that is something else, or where a single input is too much.
    pub fn each<I, O>(&self, inputs: &[I], run: impl Fn(&[I]) -> Result<Vec<O>>) -> Result<Vec<O>> {
        let mut made = Vec::with_capacity(inputs.len());
        let mut rest = inputs;
        while !rest.is_empty() {
            let (some, after) = rest.split_at(self.0.load(Ordering::Relaxed).clamp(1, rest.len()));
            match run(some) {
                Ok(outputs) => {
                    made.extend(outputs);
                    rest = after;
                }
                Err(error) if some.len() > 1 && is_full(&error) => {
                    // Of two who fail at once each halves what it gave, not what the other found.
                    self.0.fetch_min(some.len() / 2, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }
}

fn is_full(error: &Error) -> bool {
    matches!(error, Error::Compute { reason } if FULL.iter().any(|words| reason.contains(words)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// As candle words what CUDA says.
    fn full() -> Error {
        Error::Compute { reason: r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#.into() }
    }

    #[test]
    fn a_full_device_is_given_half_and_goes_on() {
        let (portion, asked) = (Portion::default(), RefCell::new(vec![]));
        let run = |some: &[u32]| {
            asked.borrow_mut().push(some.len());
            if some.len() > 10 { Err(full()) } else { Ok(some.iter().map(|n| n * 2).collect()) }
        };
        let inputs: Vec<u32> = (0..32).collect();
        let wanted: Vec<u32> = (0..64).step_by(2).collect();
        assert_eq!(portion.each(&inputs, run).unwrap(), wanted, "all, once each and in order");
        assert_eq!(*asked.borrow(), [32, 16, 8, 8, 8, 8]);
        // The next batch does not fail first.
        asked.borrow_mut().clear();
        assert_eq!(portion.each(&inputs[..20], run).unwrap(), wanted[..20]);
        assert_eq!(*asked.borrow(), [8, 8, 4]);
    }

    #[test]
    fn what_no_halving_mends_is_an_error() {
        let tries = RefCell::new(0);
        let fail = |error: fn() -> Error| {
            *tries.borrow_mut() = 0;
            let run = |_: &[u32]| -> Result<Vec<u32>> {
                *tries.borrow_mut() += 1;
                Err(error())
            };
            let said = Portion::default().each(&[1, 2, 3, 4], run).unwrap_err().to_string();
            (said.contains("OUT_OF_MEMORY"), tries.take())
        };
        assert_eq!(fail(full), (true, 3), "of four, of two, of one");
        assert_eq!(fail(|| Error::Compute { reason: "a number is not finite".into() }), (false, 1));
        assert_eq!(fail(|| Error::invalid("out of memory", "no")), (false, 1), "only what a device says");
        let none = Portion::default().each(&[], |some: &[u32]| Ok(some.to_vec())).unwrap();
        assert_eq!(none, [0u32; 0]);
    }
}
