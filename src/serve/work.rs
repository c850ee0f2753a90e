//! Where requests meet blocking work: a bounded number of places, deadlines, and callers who leave.

use super::convert::{overloaded, status};
use crate::engine::Caller;
use crate::error::Result;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// The places for blocking work.
#[derive(Clone)]
pub struct Work {
    places: Arc<Semaphore>,
}

/// Tells the engine that nobody waits any more, when the future that waited is dropped.
struct Leaving(Caller);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Work {
    /// So many requests at once.
    pub fn new(places: usize) -> Self {
        Work { places: Arc::new(Semaphore::new(places)) }
    }

    /// How many places are free.
    pub fn free(&self) -> usize {
        self.places.available_permits()
    }

    /// Runs `work` on a thread that may block.
    ///
    /// Dropping the future, as happens when a client goes away, tells the work's [`Caller`] so; the place is free when the work
    /// has noticed and ended.
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Option<Instant>,
        work: impl FnOnce(&Caller) -> Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| overloaded("too many requests at once", Duration::from_millis(100)))?;
        let caller = Caller::until(deadline);
        let leaving = Leaving(caller.clone());
        let span = tracing::Span::current();
        let task = tokio::task::spawn_blocking(move || {
            let (_place, _span) = (place, span.entered());
            caller.check()?;
            work(&caller)
        });
        let joined = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), task).await,
            None => Ok(task.await),
        };
        drop(leaving);
        match joined {
            Ok(Ok(result)) => result.map_err(status),
            Ok(Err(_)) => Err(Status::internal("this request broke the program: please report it")),
            Err(_) => Err(status(crate::Error::Late)),
        }
    }
}

/// When the client stops waiting, from `grpc-timeout`: at most eight digits and a unit.
///
/// The transport keeps the same time and would answer CANCELLED; being a little early, we answer DEADLINE_EXCEEDED.
pub fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    let time = match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    };
    Instant::now().checked_add(time - (time / 10).min(Duration::from_millis(5)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read() {
        let left = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            deadline(&metadata).map(|d| d.saturating_duration_since(Instant::now()))
        };
        let near = |text: &str, seconds: f64| {
            let got = left(text).unwrap().as_secs_f64();
            assert!((got - seconds).abs() < 0.5, "{text}: {got}");
        };
        near("2H", 7200.0);
        near("3M", 180.0);
        near("10S", 10.0);
        near("1500m", 1.5);
        near("99999999u", 99.999_999);
        for text in ["", "S", "5", "5x", "123456789S", "-1S"] {
            assert!(left(text).is_none(), "{text}");
        }
    }
}
