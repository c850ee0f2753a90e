//! The last step: what was embedded is written, a batch at once; where one fails, image by image.

use super::encoder::{Made, Parcel, embed};
use super::errors::Stage;
use super::pipeline::Run;
use super::prepare::{Fault, Outcome, Task, Workshop};
use super::report::{Refusal, reason};
use super::target::CHANGED;
use crate::error::{Error, Result};
use crossbeam_channel::Receiver;
use std::collections::VecDeque;

/// Writes batch after batch.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    pub run: Run<'a>,
    pub workshop: &'a Workshop<'a>,
}

impl<'a> Writer<'a> {
    /// Writes what comes until nothing more comes, someone asks to stop, or something fails.
    pub fn write(self, parcels: &Receiver<Parcel<'a>>) -> Result<()> {
        while let Some(Parcel { tasks, made }) = self.workshop.clock.take(Stage::Write, parcels) {
            match made.map_err(Fault::OfImage).and_then(|made| self.put(made)) {
                Ok(()) => {}
                Err(Fault::OfImage(error)) => self.one_by_one(&tasks, error)?,
                Err(Fault::OfAll(error)) => return Err(error),
            }
            if self.run.cancel.is_set() {
                break;
            }
        }
        Ok(())
    }

    fn put(&self, made: Made) -> Result<(), Fault> {
        let write = || self.workshop.target.write(made.embedded);
        let changed = self.workshop.clock.time(Stage::Write, write)?;
        self.run.tally.described(&made.described);
        self.run.tally.indexed(made.items - changed.len() as u64, made.reused);
        for key in changed {
            self.run.tally.refused(Refusal { key, reason: CHANGED.to_owned() }, Stage::Write, 1);
        }
        Ok(())
    }

    /// Prepares, embeds and writes each image of a batch that failed by itself, so that a poisoned one costs only itself. If none
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
            let (made, stage) = match embed(self.run, self.workshop, vec![prepared], &VecDeque::new()) {
                Ok(made) => (self.put(made), Stage::Write),
                Err(fault) => (Err(fault), Stage::Encode),
            };
            match made {
                Ok(()) => {}
                Err(Fault::OfImage(error)) => {
                    let refusal = Refusal { key: task.entry.key.clone(), reason: reason(&error) };
                    faults.push((refusal, stage));
                }
                Err(Fault::OfAll(error)) => return Err(error),
            }
        }
        if tasks.len() > 1 && faults.len() == tasks.len() {
            return Err(error);
        }
        faults.into_iter().for_each(|(refusal, stage)| self.run.tally.refused(refusal, stage, 1));
        Ok(())
    }
}
