//! Outcomes in listing order become batches, each embedded while the one before it is written.

use super::errors::Stage;
use super::pipeline::{Due, Run};
use super::prepare::{Fault, Outcome, Prepared, Task, Workshop};
use super::target::Embedded;
use crate::engine::{Described, Fresh, NewItem, Sketch};
use crate::error::{Error, Result};
use crossbeam_channel::{Receiver, Sender};
use std::collections::{HashSet, VecDeque};

/// How many batches may be embedded and not yet written when another is: one that waits, and one that is being written.
const AHEAD: usize = 2;

/// A batch that is ready to be written, or the reason why it can't be embedded as a whole.
pub(super) struct Parcel<'a> {
    pub tasks: Vec<Task<'a>>,
    pub made: Result<Made, Error>,
}

/// What was made of a batch.
pub(super) struct Made {
    pub embedded: Embedded,
    /// What became of captions.
    pub described: Vec<Described>,
    pub items: u64,
    /// How many have bytes that were known.
    pub reused: u64,
}

/// Collects and embeds a batch at a time.
pub(super) struct Encoder<'a> {
    run: Run<'a>,
    workshop: &'a Workshop<'a>,
    parcels: Sender<Parcel<'a>>,
    tasks: Vec<Task<'a>>,
    items: Vec<Prepared>,
    /// Of the batches that may not be written yet, latest last: nobody else knows their vectors.
    ahead: VecDeque<Fresh>,
}

impl<'a> Encoder<'a> {
    pub fn new(run: Run<'a>, workshop: &'a Workshop<'a>, parcels: Sender<Parcel<'a>>) -> Self {
        let (tasks, items, ahead) = Default::default();
        Encoder { run, workshop, parcels, tasks, items, ahead }
    }

    /// Embeds what comes due until nothing more comes, someone asks to stop, or something fails. What is not yet embedded
    /// then is left for the next run.
    pub fn encode(mut self, due: &Receiver<Due<'a>>) -> Result<()> {
        self.workshop.clock.looks(Stage::Encode);
        for (task, outcome) in due {
            let outcome = outcome.recv();
            self.workshop.clock.took(Stage::Encode);
            match outcome {
                Ok(Outcome::Ready(item)) => {
                    self.tasks.push(task);
                    self.items.push(*item);
                }
                Ok(Outcome::Refused(refusal, stage, tries)) => self.run.tally.refused(refusal, stage, tries),
                Ok(Outcome::Failed(error)) => {
                    // What was brought before it failed need not be brought again.
                    _ = self.flush();
                    return Err(error);
                }
                // The worker has stopped on request.
                Err(_) => return Ok(()),
            }
            if self.run.cancel.is_set() {
                return Ok(());
            }
            if self.items.len() >= self.run.options.batch {
                if !self.flush()? {
                    return Ok(());
                }
                self.workshop.clock.looks(Stage::Encode);
            }
        }
        if !self.run.cancel.is_set() {
            self.flush()?;
        }
        Ok(())
    }

    /// Embeds what was collected and hands it on; whether anybody takes it.
    fn flush(&mut self) -> Result<bool> {
        let (tasks, items) = (std::mem::take(&mut self.tasks), std::mem::take(&mut self.items));
        if items.is_empty() {
            return Ok(true);
        }
        let made = match embed(self.run, self.workshop, items, &self.ahead) {
            Ok(made) => {
                self.ahead.push_back(made.embedded.fresh());
                Ok(made)
            }
            Err(Fault::OfImage(error)) => {
                self.ahead.push_back(Fresh::default());
                Err(error)
            }
            Err(Fault::OfAll(error)) => return Err(error),
        };
        while self.ahead.len() > AHEAD {
            self.ahead.pop_front();
        }
        self.workshop.clock.came(Stage::Write);
        Ok(self.parcels.send(Parcel { tasks, made }).is_ok())
    }
}

/// Sees to the captions of a batch, and embeds it. Bytes that are known, here or among what is `ahead`, are not embedded again.
pub(super) fn embed(
    run: Run,
    workshop: &Workshop,
    batch: Vec<Prepared>,
    ahead: &VecDeque<Fresh>,
) -> Result<Made, Fault> {
    workshop.clock.time(Stage::Encode, || {
        let (mut items, sketches): (Vec<NewItem>, Vec<Option<Sketch>>) =
            batch.into_iter().map(|prepared| (prepared.item, prepared.sketch)).unzip();
        let fresh = reuse(workshop, &mut items, ahead)?;
        let described = describe(run, &mut items, sketches)?;
        let count = items.len() as u64;
        let reused = items.iter().filter(|item| item.pixels.is_none()).count() as u64;
        let embedded = workshop.target.embed(items, &fresh)?;
        Ok(Made { embedded, described, items: count, reused })
    })
}

/// Drops the pixels of bytes that have become known since they were decoded, in this batch or an earlier one; returns the vectors
/// that are known only from `ahead`.
fn reuse(workshop: &Workshop, items: &mut [NewItem], ahead: &VecDeque<Fresh>) -> Result<Fresh> {
    let (mut here, mut fresh) = (HashSet::new(), Fresh::default());
    for item in items {
        if let Some(vector) = ahead.iter().find_map(|batch| batch.get(&item.hash)) {
            fresh.insert(item.hash, vector.clone());
            item.pixels = None;
        } else if !here.insert(item.hash) || workshop.target.known(&item.hash)?.is_some() {
            item.pixels = None;
        }
    }
    Ok(fresh)
}

/// Gives the items that have a sketch the captions that come of it.
fn describe(run: Run, items: &mut [NewItem], sketches: Vec<Option<Sketch>>) -> Result<Vec<Described>> {
    let Some(describer) = &run.options.describer else { return Ok(vec![]) };
    let mut wanting: Vec<(&mut NewItem, Sketch)> =
        items.iter_mut().zip(sketches).filter_map(|(item, sketch)| Some((item, sketch?))).collect();
    let (described, sketches): (Vec<&mut NewItem>, Vec<Sketch>) = wanting.drain(..).unzip();
    let asked = described.iter().zip(sketches).map(|(item, sketch)| (sketch, item.captions.clone()));
    let all = describer.describe(asked.collect())?;
    for (item, new) in described.into_iter().zip(&all) {
        item.captions = new.captions.clone();
        new.record(describer, &mut item.payload);
    }
    Ok(all)
}
