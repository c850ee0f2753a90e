//! The last step: outcomes in listing order become batches, each encoded and written at once.

use super::pipeline::{Due, Run};
use super::prepare::{Fault, Outcome, Task, Workshop};
use super::report::{Refusal, reason};
use crate::engine::NewItem;
use crate::error::{Error, Result};
use crossbeam_channel::Receiver;
use std::collections::HashSet;

/// Collects a batch at a time.
pub(super) struct Writer<'a> {
    run: Run<'a>,
    workshop: &'a Workshop<'a>,
    tasks: Vec<Task<'a>>,
    items: Vec<NewItem>,
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
                Ok(Outcome::Refused(refusal)) => self.run.tally.refused(refusal),
                Ok(Outcome::Failed(error)) => return Err(error),
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
        let (tasks, mut items) = (std::mem::take(&mut self.tasks), std::mem::take(&mut self.items));
        if items.is_empty() {
            return Ok(());
        }
        self.reuse(&mut items)?;
        let (written, reused) =
            (items.len() as u64, items.iter().filter(|item| item.pixels.is_none()).count() as u64);
        match self.run.collection.upsert(items).map_err(Fault::from) {
            Ok(_) => self.run.tally.indexed(written, reused),
            Err(Fault::OfImage(error)) => self.one_by_one(&tasks, error)?,
            Err(Fault::OfAll(error)) => return Err(error),
        }
        Ok(())
    }

    /// Drops the pixels of bytes that have become known since they were decoded, in this batch or an earlier one.
    fn reuse(&self, items: &mut [NewItem]) -> Result<()> {
        let mut here = HashSet::new();
        for item in items {
            if !here.insert(item.hash) || self.run.collection.known(&item.hash)?.is_some() {
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
            let item = match self.workshop.prepare(task, self.workshop.fetch(task)) {
                Outcome::Ready(item) => *item,
                Outcome::Refused(refusal) => {
                    self.run.tally.refused(refusal);
                    continue;
                }
                Outcome::Failed(error) => return Err(error),
            };
            let reused = u64::from(item.pixels.is_none());
            match self.run.collection.upsert(vec![item]).map_err(Fault::from) {
                Ok(_) => self.run.tally.indexed(1, reused),
                Err(Fault::OfImage(error)) => {
                    faults.push(Refusal { key: task.entry.key.clone(), reason: reason(&error) });
                }
                Err(Fault::OfAll(error)) => return Err(error),
            }
        }
        if tasks.len() > 1 && faults.len() == tasks.len() {
            return Err(error);
        }
        faults.into_iter().for_each(|refusal| self.run.tally.refused(refusal));
        Ok(())
    }
}
