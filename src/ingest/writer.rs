//! The last step: outcomes in listing order become batches, each encoded and written at once.

use super::errors::Stage;
use super::pipeline::{Due, Run};
use super::prepare::{Fault, Outcome, Prepared, Task, Workshop};
use super::report::{Refusal, reason};
use super::target::CHANGED;
use crate::engine::{Described, NewItem, Sketch};
use crate::error::{Error, Result};
use crossbeam_channel::Receiver;
use std::collections::HashSet;

/// Collects a batch at a time.
pub(super) struct Writer<'a> {
    run: Run<'a>,
    workshop: &'a Workshop<'a>,
    tasks: Vec<Task<'a>>,
    items: Vec<Prepared>,
}

impl<'a> Writer<'a> {
    pub fn new(run: Run<'a>, workshop: &'a Workshop<'a>) -> Self {
        Writer { run, workshop, tasks: Vec::new(), items: Vec::new() }
    }

    /// Writes what comes due until nothing more comes, someone asks to stop, or something fails. What is not yet written
    /// then is left for the next run.
    pub fn write(mut self, due: Receiver<Due<'a>>) -> Result<()> {
        for (task, outcome) in due {
            match outcome.recv() {
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
                self.flush()?;
            }
        }
        if self.run.cancel.is_set() { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        let (tasks, items) = (std::mem::take(&mut self.tasks), std::mem::take(&mut self.items));
        if items.is_empty() {
            return Ok(());
        }
        match self.workshop.clock.time(Stage::Encode, || self.put(items)) {
            Ok(()) => {}
            Err(Fault::OfImage(error)) => self.one_by_one(&tasks, error)?,
            Err(Fault::OfAll(error)) => return Err(error),
        }
        Ok(())
    }

    /// Sees to the captions of a batch, and writes it.
    fn put(&self, batch: Vec<Prepared>) -> Result<(), Fault> {
        let (mut items, sketches): (Vec<NewItem>, Vec<Option<Sketch>>) =
            batch.into_iter().map(|prepared| (prepared.item, prepared.sketch)).unzip();
        self.reuse(&mut items)?;
        let described = self.describe(&mut items, sketches)?;
        let (written, reused) =
            (items.len() as u64, items.iter().filter(|item| item.pixels.is_none()).count() as u64);
        let changed = self.workshop.target.write(items)?;
        self.run.tally.described(&described);
        self.run.tally.indexed(written - changed.len() as u64, reused);
        for key in changed {
            self.run.tally.refused(Refusal { key, reason: CHANGED.to_owned() }, Stage::Encode, 1);
        }
        Ok(())
    }

    /// Gives the items that have a sketch the captions that come of it.
    fn describe(&self, items: &mut [NewItem], sketches: Vec<Option<Sketch>>) -> Result<Vec<Described>> {
        let Some(describer) = &self.run.options.describer else { return Ok(vec![]) };
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

    /// Drops the pixels of bytes that have become known since they were decoded, in this batch or an earlier one.
    fn reuse(&self, items: &mut [NewItem]) -> Result<()> {
        let mut here = HashSet::new();
        for item in items {
            if !here.insert(item.hash) || self.workshop.target.known(&item.hash)?.is_some() {
                item.pixels = None;
            }
        }
        Ok(())
    }

    /// Prepares and writes each image of a batch that failed by itself, so that a poisoned one costs only itself. If none
    /// of several can be written, it is not the images' fault, and the run fails with what the batch said.
    fn one_by_one(&self, tasks: &[Task<'a>], error: Error) -> Result<()> {
        let mut faults = Vec::new();
        for task in tasks {
            let prepared = match self.workshop.prepare(task, self.workshop.fetch(task)) {
                Outcome::Ready(prepared) => *prepared,
                Outcome::Refused(refusal, stage, tries) => {
                    self.run.tally.refused(refusal, stage, tries);
                    continue;
                }
                Outcome::Failed(error) => return Err(error),
            };
            match self.put(vec![prepared]) {
                Ok(()) => {}
                Err(Fault::OfImage(error)) => {
                    faults.push(Refusal { key: task.entry.key.clone(), reason: reason(&error) });
                }
                Err(Fault::OfAll(error)) => return Err(error),
            }
        }
        if tasks.len() > 1 && faults.len() == tasks.len() {
            return Err(error);
        }
        faults.into_iter().for_each(|refusal| self.run.tally.refused(refusal, Stage::Encode, 1));
        Ok(())
    }
}
