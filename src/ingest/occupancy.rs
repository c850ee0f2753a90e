//! How busy each step of a run was, so that whoever waits sees what it waits for.

use super::errors::Stage;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How busy one step was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Occupancy {
    /// The step.
    pub stage: Stage,
    /// On how many threads it ran.
    pub threads: usize,
    /// Which part of their time they worked, 0 to 1; the rest they waited for the steps before or behind.
    pub busy: f64,
}

/// Adds up the time of all threads.
pub(super) struct Clock {
    began: Instant,
    spent: [(Stage, AtomicU64); 4],
}

impl Default for Clock {
    fn default() -> Self {
        let spent = [Stage::List, Stage::Fetch, Stage::Decode, Stage::Encode];
        Clock { began: Instant::now(), spent: spent.map(|stage| (stage, AtomicU64::new(0))) }
    }
}

impl Clock {
    /// Does `work`, and counts its time.
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let made = work();
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if let Some((_, spent)) = self.spent.iter().find(|(known, _)| *known == stage) {
            spent.fetch_add(nanos, Ordering::Relaxed);
        }
        made
    }

    /// What became of the time until now, where each step had so many threads.
    pub fn occupancy(&self, threads: impl Fn(Stage) -> usize) -> Vec<Occupancy> {
        let whole = self.began.elapsed().as_secs_f64().max(1e-9);
        let one = |(stage, spent): &(Stage, AtomicU64)| {
            let threads = threads(*stage).max(1);
            let busy = Duration::from_nanos(spent.load(Ordering::Relaxed)).as_secs_f64();
            let busy = (busy / (whole * threads as f64)).min(1.0);
            Occupancy { stage: *stage, threads, busy: (busy * 1000.0).round() / 1000.0 }
        };
        self.spent.iter().map(one).collect()
    }
}

/// The busiest step: more of it would make the run faster.
pub fn limiting(all: &[Occupancy]) -> Option<&Occupancy> {
    all.iter().max_by(|a, b| a.busy.total_cmp(&b.busy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_step_limits() {
        let clock = Clock::default();
        let pause = || std::thread::sleep(Duration::from_millis(30));
        clock.time(Stage::Decode, pause);
        std::thread::scope(|scope| {
            (0..4).for_each(|_| _ = scope.spawn(|| clock.time(Stage::Fetch, pause)));
        });
        let all = clock.occupancy(|stage| if stage == Stage::Fetch { 4 } else { 1 });
        assert!(all.iter().all(|one| one.busy <= 1.0));
        let busy: Vec<bool> = all.iter().map(|one| one.busy > 0.1).collect();
        assert_eq!(busy, [false, true, true, false], "{all:?}");
        let of = |busy| Occupancy { stage: Stage::List, threads: 1, busy };
        assert_eq!(limiting(&[of(0.2), of(0.9), of(0.4)]), Some(&of(0.9)));
    }
}
