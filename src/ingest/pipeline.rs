//! The threads between a listing and the collection, and the bounded channels that join them.
//!
//! ```text
//! lister --todo--> dispatcher --work--> lanes (fetch) --hauls--> workers (hash, decode, resize)
//!                      |                                            |
//!                      +--order--> writer (batches, encodes, writes) <+
//! ```
//!
//! The dispatcher gives the writer, in listing order, a place where each outcome will appear; so items are numbered in
//! the same order however many workers there are, and no more than `order` holds are under way or waiting. The lister
//! runs ahead further than that, so that a reporter knows soon how much there is to do.

use super::errors::Stage;
use super::listing::{Listing, list};
use super::occupancy::Occupancy;
use super::options::IndexOptions;
use super::prepare::{Haul, Outcome, Task, Workshop};
use super::report::{Cancel, Tally};
use super::sources::Source;
use super::writer::Writer;
use crate::engine::Collection;
use crate::error::{Error, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
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
    let workshop = &Workshop::new(run.collection, options);
    let listing = thread::scope(|scope| {
        let (todo, listed) = bounded(AHEAD);
        let (work, jobs) = bounded(lanes);
        let (hauls, hauled) = bounded(options.workers);
        let (order, due) = bounded(window);
        let lister = scope.spawn(move || list(run, &workshop.clock, &todo));
        scope.spawn(move || dispatch(run.cancel, &listed, &work, &order));
        for _ in 0..lanes {
            let (jobs, hauls) = (jobs.clone(), hauls.clone());
            scope.spawn(move || fetch(run.cancel, workshop, &jobs, &hauls));
        }
        for _ in 0..options.workers {
            let hauled = hauled.clone();
            scope.spawn(move || labour(run.cancel, workshop, &hauled));
        }
        drop((jobs, hauls, hauled));
        let written = Writer::new(run, workshop).write(due);
        let listing = lister.join().unwrap_or_else(|_| Err(broke("listing")));
        written.and(listing)
    })?;
    let threads = |stage| match stage {
        Stage::Fetch => lanes,
        Stage::Decode => options.workers,
        Stage::List | Stage::Encode => 1,
    };
    Ok((listing, workshop.clock.occupancy(threads)))
}

fn dispatch<'a>(
    cancel: &Cancel,
    listed: &Receiver<Task<'a>>,
    work: &Sender<Job<'a>>,
    order: &Sender<Due<'a>>,
) {
    for task in listed {
        let (done, outcome) = bounded(1);
        let copy = Task { source: task.source, entry: task.entry.clone() };
        if cancel.is_set() || order.send((copy, outcome)).is_err() || work.send((task, done)).is_err() {
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
    for job in jobs {
        if cancel.is_set() {
            return;
        }
        let haul = workshop.fetch(&job.0);
        if hauls.send((job, haul)).is_err() {
            return;
        }
    }
}

fn labour(cancel: &Cancel, workshop: &Workshop, hauled: &Receiver<Fetched>) {
    for ((task, done), haul) in hauled {
        if cancel.is_set() {
            return;
        }
        // Nobody waits for it where the writer has failed.
        let _ = done.send(workshop.prepare(&task, haul));
    }
}

fn broke(what: &str) -> Error {
    Error::Compute { reason: format!("{what} broke off: please report it") }
}
