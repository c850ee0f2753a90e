//! The threads between a listing and the collection, and the bounded channels that join them.
//!
//! ```text
//! lister --todo--> dispatcher --work--> lanes (fetch) --hauls--> workers (hash, decode, resize)
//!                      |                                            |
//!                      +--order--> encoder (batches, embeds) <--------+
//!                                         +--parcels--> writer
//! ```
//!
//! The dispatcher gives the encoder, in listing order, a place where each outcome will appear; so items are numbered in
//! the same order however many workers there are, and no more than `order` holds are under way or waiting. The lister
//! runs ahead further than that, so that a reporter knows soon how much there is to do.

use super::encoder::Encoder;
use super::errors::Stage;
use super::listing::{Listing, list};
use super::occupancy::{Clock, Occupancy, Size};
use super::options::IndexOptions;
use super::prepare::{Haul, Outcome, Task, Workshop};
use super::report::{Cancel, Tally};
use super::sources::Source;
use super::writer::Writer;
use crate::engine::Collection;
use crate::error::{Error, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::thread;

/// How far the listing runs ahead of the work, in entries of a few hundred bytes.
const AHEAD: usize = 1 << 16;

/// What all threads of a run share.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub collection: &'a Collection,
    pub sources: &'a [Box<dyn Source>],
    pub options: &'a IndexOptions,
    pub tally: &'a Tally<'a>,
    pub cancel: &'a Cancel,
}

/// A task, and where its outcome goes.
type Job<'a> = (Task<'a>, Sender<Outcome>);

/// A job that was fetched.
type Fetched<'a> = (Job<'a>, Haul<'a>);

/// A task, and where its outcome appears.
pub(super) type Due<'a> = (Task<'a>, Receiver<Outcome>);

/// Indexes everything that is listed, and returns what the listing saw and how busy each step was. When one part fails, its ends of the channels
/// close, and the others stop at their next image.
pub(super) fn run(run: Run) -> Result<(Listing, Vec<Occupancy>)> {
    let options = run.options;
    let lanes = run.sources.iter().map(|source| source.lanes()).max().unwrap_or(1).max(options.workers);
    let window = 2 * options.batch + options.workers + lanes;
    let clock = Arc::new(Clock::new(|stage| match stage {
        Stage::Fetch => Size { threads: lanes, line: lanes },
        Stage::Decode => Size { threads: options.workers, line: options.workers },
        // The encoder looks for a batch.
        Stage::Encode => Size { threads: 1, line: options.batch },
        Stage::List | Stage::Write => Size { threads: 1, line: 1 },
    }));
    let _heard = options.meter.as_ref().map(|meter| meter.hear(&clock));
    let workshop = &Workshop::new(run.collection, options, clock.clone());
    let listing = thread::scope(|scope| {
        let (todo, listed) = bounded(AHEAD);
        let (work, jobs) = bounded(lanes);
        let (hauls, hauled) = bounded(options.workers);
        let (order, due) = bounded(window);
        let lister = scope.spawn(move || list(run, &workshop.clock, &todo));
        scope.spawn(move || dispatch(run.cancel, &workshop.clock, &listed, &work, &order));
        for _ in 0..lanes {
            let (jobs, hauls) = (jobs.clone(), hauls.clone());
            scope.spawn(move || fetch(run.cancel, workshop, &jobs, &hauls));
        }
        for _ in 0..options.workers {
            let hauled = hauled.clone();
            scope.spawn(move || labour(run.cancel, workshop, &hauled));
        }
        drop((jobs, hauls, hauled));
        let (parcels, ready) = bounded(1);
        let writer = scope.spawn(move || Writer { run, workshop }.write(&ready));
        let encoded = Encoder::new(run, workshop, parcels).encode(&due);
        // Whoever still works on what nobody waits for stops at its next image.
        drop(due);
        let written = writer.join().unwrap_or_else(|_| Err(broke("writing")));
        let listing = lister.join().unwrap_or_else(|_| Err(broke("listing")));
        written.and(encoded).and(listing)
    })?;
    Ok((listing, clock.occupancy()))
}

fn dispatch<'a>(
    cancel: &Cancel,
    clock: &Clock,
    listed: &Receiver<Task<'a>>,
    work: &Sender<Job<'a>>,
    order: &Sender<Due<'a>>,
) {
    for task in listed {
        let (done, outcome) = bounded(1);
        let copy = Task { source: task.source, entry: task.entry.clone() };
        if cancel.is_set() || order.send((copy, outcome)).is_err() {
            return;
        }
        clock.came(Stage::Fetch);
        if work.send((task, done)).is_err() {
            return;
        }
    }
}

/// A job that is dropped undone closes its place, which tells the writer to stop.
fn fetch<'a>(
    cancel: &Cancel,
    workshop: &'a Workshop<'a>,
    jobs: &Receiver<Job<'a>>,
    hauls: &Sender<Fetched<'a>>,
) {
    while let Some(job) = workshop.clock.take(Stage::Fetch, jobs) {
        if cancel.is_set() {
            return;
        }
        let haul = workshop.fetch(&job.0);
        workshop.clock.came(Stage::Decode);
        if hauls.send((job, haul)).is_err() {
            return;
        }
    }
}

fn labour(cancel: &Cancel, workshop: &Workshop, hauled: &Receiver<Fetched>) {
    while let Some(((task, done), haul)) = workshop.clock.take(Stage::Decode, hauled) {
        if cancel.is_set() {
            return;
        }
        let outcome = workshop.prepare(&task, haul);
        workshop.clock.came(Stage::Encode);
        // Nobody waits for it where the encoder has stopped.
        let _ = done.send(outcome);
    }
}

fn broke(what: &str) -> Error {
    Error::Compute { reason: format!("{what} broke off: please report it") }
}
