//! What a run tells while it goes on, and what it says at its end; and how it is told to stop.

use super::errors::{ErrorReport, Stage};
use super::occupancy::Occupancy;
use crate::engine::{Described, Fate};
use crate::error::Error;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Something that was brought and could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Refusal {
    /// Its URI.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What an error says of a file whose name is known anyway.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Io { source, .. } => format!("cannot be read: {source}"),
        Error::Fetch { reason, .. } => format!("cannot be fetched: {reason}"),
        Error::GaveUp { reason, tries, .. } => format!("cannot be fetched: {reason} ({tries} tries)"),
        error => error.to_string(),
    }
}

/// How often an image was tried that failed so.
pub(super) fn tries(error: &Error) -> u32 {
    if let Error::GaveUp { tries, .. } = error { *tries } else { 1 }
}

/// What a run did: the last line of `eyeshot index --json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Images written: new, changed, or with changed captions.
    pub indexed: u64,
    /// Images left as they were, because nothing about them changed.
    pub unchanged: u64,
    /// Items taken away, because their image is gone.
    pub removed: u64,
    /// How many of the indexed had bytes that were known, so that their vectors were reused.
    pub duplicates: u64,
    /// What was refused, by key.
    pub refused: Vec<Refusal>,
    /// What became of captions, where a model wrote or judged some. With each item's payload stands which, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub captions: Option<Captioned>,
    /// Whether nothing was done: then `indexed` and `removed` count what would have been.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// How busy each step was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Occupancy>,
    /// How long it took.
    pub seconds: f64,
}

/// How many captions met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Captioned {
    /// Written by the model, those that replace others among them.
    pub written: u64,
    /// Brought, judged and kept.
    pub kept: u64,
    /// Brought, judged wrong, and replaced by a written one.
    pub replaced: u64,
    /// Judged wrong, and dropped.
    pub dropped: u64,
}

/// What happens while a run goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// So many images have been found so far, those that need no work among them.
    Listed {
        /// How many.
        images: u64,
        /// Whether no more will be found.
        complete: bool,
    },
    /// So many more were written, and can be found from now on.
    Indexed(u64),
    /// One more, of this key, needed no work.
    Unchanged(&'a str),
    /// One more could not be taken.
    Refused(&'a Refusal),
    /// So many items were taken away.
    Removed(u64),
    /// The image of this key would be indexed, in a run that only looks.
    Due(&'a str),
    /// The item of this key would be taken away, in a run that only looks.
    Gone(&'a str),
}

/// Hears what happens, from several threads.
pub trait Reporter: Sync {
    /// Something happened. Must not wait for anything.
    fn event(&self, event: Event<'_>);
}

/// Hears nothing.
pub struct Silent;

impl Reporter for Silent {
    fn event(&self, _event: Event<'_>) {}
}

/// A flag that stops a run between two images. What was written stays; the next run goes on.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether someone asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts what is reported, so that the summary and the reporter cannot tell two stories.
pub(super) struct Tally<'a> {
    reporter: &'a dyn Reporter,
    errors: Option<&'a ErrorReport>,
    started: Instant,
    summary: Mutex<Summary>,
}

impl<'a> Tally<'a> {
    pub fn new(reporter: &'a dyn Reporter, errors: Option<&'a ErrorReport>) -> Self {
        Tally { reporter, errors, started: Instant::now(), summary: Mutex::default() }
    }

    pub fn listed(&self, images: u64, complete: bool) {
        self.reporter.event(Event::Listed { images, complete });
    }

    pub fn indexed(&self, images: u64, duplicates: u64) {
        self.count(|summary| {
            summary.indexed += images;
            summary.duplicates += duplicates;
        });
        self.reporter.event(Event::Indexed(images));
    }

    /// What became of the captions of some images.
    pub fn described(&self, all: &[Described]) {
        if all.is_empty() {
            return;
        }
        self.count(|summary| {
            let sum = summary.captions.get_or_insert_default();
            sum.written += all.iter().filter(|one| one.written).count() as u64;
            for verdict in all.iter().flat_map(|one| &one.verdicts) {
                match verdict.verdict {
                    Fate::Kept => sum.kept += 1,
                    Fate::Replaced => sum.replaced += 1,
                    Fate::Dropped => sum.dropped += 1,
                }
            }
        });
    }

    pub fn unchanged(&self, key: &str) {
        self.count(|summary| summary.unchanged += 1);
        self.reporter.event(Event::Unchanged(key));
    }

    /// Something could not be taken, at that step and after so many tries.
    pub fn refused(&self, refusal: Refusal, stage: Stage, tries: u32) {
        self.reporter.event(Event::Refused(&refusal));
        if let Some(errors) = self.errors {
            errors.add(&refusal, stage, tries);
        }
        self.count(|summary| summary.refused.push(refusal));
    }

    pub fn removed(&self, images: u64) {
        self.count(|summary| summary.removed += images);
        self.reporter.event(Event::Removed(images));
    }

    /// An image that a run would index which only looks.
    pub fn due(&self, key: &str) {
        self.count(|summary| summary.indexed += 1);
        self.reporter.event(Event::Due(key));
    }

    /// An item that such a run would remove.
    pub fn gone(&self, key: &str) {
        self.count(|summary| summary.removed += 1);
        self.reporter.event(Event::Gone(key));
    }

    /// The end: refusals in the order of their keys, whichever thread met them first.
    pub fn finish(self) -> Summary {
        let mut summary = self.summary.into_inner().unwrap_or_else(PoisonError::into_inner);
        summary.refused.sort();
        summary.seconds = (self.started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        summary
    }

    fn count(&self, change: impl FnOnce(&mut Summary)) {
        change(&mut self.summary.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
