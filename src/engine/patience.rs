//! How often something elsewhere is asked, and how long is waited between: longer each time, and as long as it asks for.

use crate::error::{Error, Result};
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The first wait; each later one is twice as long.
const FIRST: Duration = Duration::from_millis(200);
/// The longest wait that nobody asked for.
const LONGEST: Duration = Duration::from_secs(10);
/// The longest wait that is granted to whoever asks for one.
const GRANTED: Duration = Duration::from_secs(60);

/// When a place that fails in passing is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often it is asked; at least once.
    pub tries: u32,
    /// How long it may say nothing.
    pub silence: Duration,
    /// How long all tries may take together; None for as long as they need.
    pub whole: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { tries: 6, silence: Duration::from_secs(20), whole: None }
    }
}

/// What an attempt came to, where it failed.
pub(super) enum Failed {
    /// Another try may do better.
    InPassing(String),
    /// None will.
    ForGood(Error),
}

impl Patience {
    /// What `ask` gives in the end, which is told how long it may take.
    ///
    /// # Errors
    /// What it said for good; [`Error::GaveUp`] where all tries failed, or the time for them is over.
    pub(super) fn keep<T>(
        &self,
        place: &str,
        pause: &Pause,
        mut ask: impl FnMut(Option<Duration>) -> Result<T, Failed>,
    ) -> Result<T> {
        let end = self.whole.and_then(|whole| Instant::now().checked_add(whole));
        let left = || end.map(|end| end.saturating_duration_since(Instant::now()));
        let (mut tries, mut said) = (0, "it asks to be left alone for longer than this may take".to_owned());
        loop {
            // A place that asks to be left alone is asked later, or, where that is too late, not at all.
            let wait = if tries == 0 { Duration::ZERO } else { backoff(tries) };
            if left().is_none_or(|left| wait.max(pause.left()) < left) {
                std::thread::sleep(wait);
                std::thread::sleep(left().map_or(pause.left(), |left| left.min(pause.left())));
                tries += 1;
                match ask(left()) {
                    Ok(given) => return Ok(given),
                    Err(Failed::ForGood(error)) => return Err(error),
                    Err(Failed::InPassing(reason)) => said = reason,
                }
                if tries < self.tries {
                    continue;
                }
            }
            return Err(Error::GaveUp { url: place.to_owned(), reason: said, tries });
        }
    }
}

/// How long to wait after so many failures: up to a half more or less, so that many who failed together do not come back together.
fn backoff(failures: u32) -> Duration {
    let wait = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    let part = std::collections::hash_map::RandomState::new().hash_one(0) % 1000;
    wait.mul_f64(0.5 + part as f64 / 1000.0)
}

/// The moment before which a place does not want to be asked, for all who ask it.
#[derive(Default)]
pub(super) struct Pause(Mutex<Option<Instant>>);

impl Pause {
    /// Takes in what a `Retry-After` header says: so many seconds.
    pub fn heed(&self, header: &str) {
        let Ok(seconds) = header.trim().parse() else { return };
        let until = Instant::now() + Duration::from_secs(seconds).min(GRANTED);
        let mut pause = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *pause = (*pause).max(Some(until));
    }

    /// How long it still lasts.
    pub fn left(&self) -> Duration {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_in_passing_is_asked_again() {
        let patience = Patience { tries: 3, ..Patience::default() };
        let ask = |succeeds_at: u32, for_good: bool| {
            let mut asked = 0;
            let given = patience.keep("s3://b/a", &Pause::default(), |_| {
                asked += 1;
                match asked == succeeds_at {
                    true => Ok(asked),
                    false if for_good => Err(Failed::ForGood(Error::image("no"))),
                    false => Err(Failed::InPassing("busy".into())),
                }
            });
            (given.map_err(|e| e.to_string()), asked)
        };
        assert_eq!(ask(2, false), (Ok(2), 2));
        assert_eq!(ask(9, false), (Err("s3://b/a: busy (3 tries)".into()), 3));
        assert_eq!(ask(9, true), (Err("no".into()), 1));
    }

    #[test]
    fn all_tries_together_take_no_longer_than_they_may() {
        let whole = Duration::from_millis(400);
        let patience = Patience { tries: 1000, whole: Some(whole), ..Patience::default() };
        let began = Instant::now();
        let given: Result<()> = patience.keep("s3://b/a", &Pause::default(), |left| {
            assert!(left.unwrap() <= whole);
            Err(Failed::InPassing("busy".into()))
        });
        assert!(given.unwrap_err().to_string().starts_with("s3://b/a: busy ("));
        assert!(began.elapsed() < 2 * whole, "{:?}", began.elapsed());
        // One that wants to be left alone for longer is not asked at all.
        let pause = Pause::default();
        pause.heed("30");
        let given: Result<()> = patience.keep("s3://b/a", &pause, |_| panic!("it was asked"));
        assert!(given.unwrap_err().to_string().ends_with("(0 tries)"));
    }

    #[test]
    fn waits_grow_and_a_place_may_ask_for_more() {
        for failures in 1..40 {
            let whole = FIRST.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST);
            let wait = backoff(failures);
            assert!(wait >= whole / 2 && wait <= whole * 3 / 2, "{failures}: {wait:?}");
        }
        let pause = Pause::default();
        assert_eq!(pause.left(), Duration::ZERO);
        pause.heed("soon");
        assert_eq!(pause.left(), Duration::ZERO);
        pause.heed("30");
        pause.heed("1");
        assert!(pause.left() > Duration::from_secs(29));
        pause.heed("86400");
        assert!(pause.left() <= GRANTED);
    }
}
