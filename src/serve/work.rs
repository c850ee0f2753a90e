//! Where requests meet the engine, whose work blocks: a bounded number of places, deadlines, and callers who leave.
//!
//! What may sleep gets a thread that may. What only computes gets one of as many threads as there are processors: of a hundred that were
//! woken together, each would take its turn from the others.

use super::convert::{overloaded, status};
use crate::engine::Caller;
use crate::error::{Error, Result};
use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::metadata::MetadataMap;

/// The places for requests.
#[derive(Clone)]
pub struct Work {
    places: Arc<Semaphore>,
    computing: Arc<Computing>,
}

/// The threads for what only computes.
struct Computing {
    threads: Handle,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl Computing {
    fn new(threads: usize) -> std::io::Result<Self> {
        let runtime =
            Builder::new_current_thread().max_blocking_threads(threads).thread_name("search").build()?;
        Ok(Computing { threads: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for Computing {
    fn drop(&mut self) {
        // Dropped as it is, a runtime would wait for its threads, which may not be done where this happens.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// A request that has a place, until it is done with, or its client has gone.
pub struct Visit {
    work: Work,
    place: OwnedSemaphorePermit,
    deadline: Option<Instant>,
    leaving: Leaving,
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
    pub fn new(places: usize) -> Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let computing = Computing::new(threads).map_err(|e| Error::io("new threads", e))?;
        Ok(Work { places: Arc::new(Semaphore::new(places)), computing: Arc::new(computing) })
    }

    /// How many places are free.
    pub fn free(&self) -> usize {
        self.places.available_permits()
    }

    /// Takes a place for a request that has to be answered until `deadline`.
    pub fn admit(&self, deadline: Option<Instant>) -> Result<Visit, Status> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| overloaded("too many requests at once", Duration::from_millis(100)))?;
        Ok(Visit { work: self.clone(), place, deadline, leaving: Leaving(Caller::until(deadline)) })
    }

    /// Runs `work` on a thread that may block: all there is to do for a request.
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Option<Instant>,
        work: impl FnOnce(&Caller) -> Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        self.admit(deadline)?.run(work).await
    }
}

impl Visit {
    /// Whom the engine works for.
    pub fn caller(&self) -> &Caller {
        &self.leaving.0
    }

    /// Waits for something that needs no thread meanwhile.
    pub async fn wait<T>(&self, coming: impl Future<Output = Result<T>>) -> Result<T, Status> {
        until(self.deadline, coming).await?.map_err(status)
    }

    /// Runs `work`, the last there is to do, on a thread that may block.
    ///
    /// Dropping the future, as happens when a client goes away, tells the work's [`Caller`] so; the place is free when the work
    /// has noticed and ended.
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&Caller) -> Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        self.run_on(&Handle::current(), work).await
    }

    /// The same for work that waits for nothing and nobody.
    pub async fn compute<T: Send + 'static>(
        self,
        work: impl FnOnce(&Caller) -> Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let computing = self.work.computing.clone();
        self.run_on(&computing.threads, work).await
    }

    async fn run_on<T: Send + 'static>(
        self,
        threads: &Handle,
        work: impl FnOnce(&Caller) -> Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let Visit { place, deadline, leaving, .. } = self;
        let (caller, span) = (leaving.0.clone(), tracing::Span::current());
        let task = threads.spawn_blocking(move || {
            let (_place, _span) = (place, span.entered());
            caller.check()?;
            work(&caller)
        });
        match until(deadline, task).await? {
            Ok(result) => result.map_err(status),
            Err(_) => Err(Status::internal("this request broke the program: please report it")),
        }
    }
}

async fn until<T>(deadline: Option<Instant>, coming: impl Future<Output = T>) -> Result<T, Status> {
    match deadline {
        Some(deadline) => {
            tokio::time::timeout_at(deadline.into(), coming).await.map_err(|_| status(Error::Late))
        }
        None => Ok(coming.await),
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
