//! How busy each step of a run was and how much lay before it, so that whoever waits sees what it waits for.

use super::errors::Stage;
use crossbeam_channel::Receiver;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// How full the line before it was when it looked for more, 0 to 1; 0 for the first step, which has none.
    pub line: f64,
}

/// The busiest step, if one was busy for most of the time: more of it would make the run faster.
pub fn limiting(all: &[Occupancy]) -> Option<&Occupancy> {
    all.iter().filter(|one| one.busy >= 0.5).max_by(|a, b| a.busy.total_cmp(&b.busy))
}

/// On how much one step works at once, and how much may lie before it.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub threads: usize,
    pub line: usize,
}

/// What one step has done so far.
struct Step {
    stage: Stage,
    size: Size,
    nanos: AtomicU64,
    /// How many came into the line before it, and how many were taken from there.
    came: AtomicU64,
    taken: AtomicU64,
    /// How often it looked for more, and how full the line was then, in thousandths, summed.
    looks: AtomicU64,
    filled: AtomicU64,
}

impl Step {
    fn spent(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    fn waiting(&self) -> u64 {
        // Read one after the other, more may seem taken than came.
        let taken = self.taken.load(Ordering::Relaxed);
        self.came.load(Ordering::Relaxed).saturating_sub(taken)
    }
}

/// Adds up the time of all threads, and what lies between them.
pub(super) struct Clock {
    began: Instant,
    steps: [Step; Stage::ALL.len()],
}

impl Clock {
    /// One that starts now.
    pub fn new(size: impl Fn(Stage) -> Size) -> Self {
        let step = |stage| {
            let [nanos, came, taken, looks, filled] = Default::default();
            Step { stage, size: size(stage), nanos, came, taken, looks, filled }
        };
        Clock { began: Instant::now(), steps: Stage::ALL.map(step) }
    }

    fn step(&self, stage: Stage) -> Option<&Step> {
        self.steps.iter().find(|step| step.stage == stage)
    }

    /// Does `work`, and counts its time.
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let made = work();
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if let Some(step) = self.step(stage) {
            step.nanos.fetch_add(nanos, Ordering::Relaxed);
        }
        made
    }

    /// One more is there for a step to take.
    pub fn came(&self, stage: Stage) {
        if let Some(step) = self.step(stage) {
            step.came.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A step took one.
    pub fn took(&self, stage: Stage) {
        if let Some(step) = self.step(stage) {
            step.taken.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A step looks for more.
    pub fn looks(&self, stage: Stage) {
        if let Some(step) = self.step(stage) {
            let room = step.size.line.max(1) as u64;
            step.looks.fetch_add(1, Ordering::Relaxed);
            step.filled.fetch_add(1000 * step.waiting().min(room) / room, Ordering::Relaxed);
        }
    }

    /// The next of a step's line, once there is one; None when no more will come.
    pub fn take<T>(&self, stage: Stage, line: &Receiver<T>) -> Option<T> {
        self.looks(stage);
        let next = line.recv().ok()?;
        self.took(stage);
        Some(next)
    }

    /// What became of the time until now.
    pub fn occupancy(&self) -> Vec<Occupancy> {
        let whole = self.began.elapsed().as_secs_f64().max(1e-9);
        let round = |share: f64| (share.min(1.0) * 1000.0).round() / 1000.0;
        let one = |step: &Step| {
            let threads = step.size.threads.max(1);
            let looks = step.looks.load(Ordering::Relaxed).max(1);
            Occupancy {
                stage: step.stage,
                threads,
                busy: round(step.spent().as_secs_f64() / (whole * threads as f64)),
                line: round(step.filled.load(Ordering::Relaxed) as f64 / (1000 * looks) as f64),
            }
        };
        self.steps.iter().map(one).collect()
    }
}

/// What the runs of a process do together: whoever starts them may ask at any time.
#[derive(Default)]
pub struct Meter(Mutex<Runs>);

#[derive(Default)]
struct Runs {
    ended: [Duration; Stage::ALL.len()],
    running: Vec<Arc<Clock>>,
}

/// What a [`Meter`] tells of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metered {
    /// The step.
    pub stage: Stage,
    /// How long its threads have worked, since the meter was made.
    pub busy: Duration,
    /// How many threads it has now.
    pub threads: usize,
    /// How much waits for it now: images, for the last step batches of them.
    pub waiting: u64,
}

impl Meter {
    /// How it stands now.
    pub fn read(&self) -> [Metered; Stage::ALL.len()] {
        let runs = self.lock();
        let mut ended = runs.ended.into_iter();
        Stage::ALL.map(|stage| {
            let steps = || runs.running.iter().filter_map(|clock| clock.step(stage));
            Metered {
                stage,
                busy: ended.next().unwrap_or_default() + steps().map(Step::spent).sum::<Duration>(),
                threads: steps().map(|step| step.size.threads).sum(),
                waiting: steps().map(Step::waiting).sum(),
            }
        })
    }

    /// Counts a run in until what it returns is dropped.
    pub(super) fn hear(&self, clock: &Arc<Clock>) -> impl Drop + use<'_> {
        self.lock().running.push(clock.clone());
        Heard { meter: self, clock: clock.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.read()).finish()
    }
}

/// A run that a meter hears.
struct Heard<'a> {
    meter: &'a Meter,
    clock: Arc<Clock>,
}

impl Drop for Heard<'_> {
    fn drop(&mut self) {
        let mut runs = self.meter.lock();
        runs.running.retain(|clock| !Arc::ptr_eq(clock, &self.clock));
        let spent = self.clock.steps.iter().map(Step::spent);
        runs.ended.iter_mut().zip(spent).for_each(|(sum, spent)| *sum += spent);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        Clock::new(|stage| Size { threads: if stage == Stage::Fetch { 4 } else { 1 }, line: 4 })
    }

    #[test]
    fn the_busiest_step_limits() {
        let clock = clock();
        let pause = || std::thread::sleep(Duration::from_millis(30));
        clock.time(Stage::Decode, pause);
        std::thread::scope(|scope| {
            (0..4).for_each(|_| _ = scope.spawn(|| clock.time(Stage::Fetch, pause)));
        });
        let all = clock.occupancy();
        assert!(all.iter().all(|one| one.busy <= 1.0));
        let busy: Vec<bool> = all.iter().map(|one| one.busy > 0.1).collect();
        assert_eq!(busy, [false, true, true, false, false], "{all:?}");
        let of = |busy| Occupancy { stage: Stage::List, threads: 1, busy, line: 0.0 };
        assert_eq!(limiting(&[of(0.2), of(0.9), of(0.6)]), Some(&of(0.9)));
        assert_eq!(limiting(&[of(0.2), of(0.1)]), None, "a run that did little waits for nothing");
    }

    #[test]
    fn a_line_is_as_full_as_it_was_found() {
        let (clock, (line, taken)) = (clock(), crossbeam_channel::unbounded());
        let fill = |n: usize| {
            (0..n).for_each(|_| {
                clock.came(Stage::Write);
                line.send(()).unwrap();
            });
        };
        fill(3);
        clock.take(Stage::Write, &taken).unwrap();
        fill(9);
        clock.take(Stage::Write, &taken).unwrap();
        let found: Vec<f64> = clock.occupancy().iter().map(|one| one.line).collect();
        assert_eq!(found, [0.0, 0.0, 0.0, 0.0, 0.875], "three of four, then more than four");
    }

    #[test]
    fn a_meter_keeps_what_ended_runs_did() {
        let meter = Meter::default();
        let of = |stage| meter.read().into_iter().find(|one| one.stage == stage).unwrap();
        let (first, second) = (Arc::new(clock()), Arc::new(clock()));
        let (heard, _other) = (meter.hear(&first), meter.hear(&second));
        let pause = || std::thread::sleep(Duration::from_millis(5));
        [&first, &second].into_iter().for_each(|clock| clock.time(Stage::Encode, pause));
        first.came(Stage::Fetch);
        assert_eq!((of(Stage::Fetch).threads, of(Stage::Fetch).waiting), (8, 1));
        let before = of(Stage::Encode).busy;
        assert!(before >= Duration::from_millis(10));
        drop(heard);
        assert_eq!(of(Stage::Encode).busy, before);
        assert_eq!((of(Stage::Fetch).threads, of(Stage::Fetch).waiting), (4, 0));
    }
}
