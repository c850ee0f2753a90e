//! Rotation into a fresh generation: compaction, which gives space back, and the way from format 1.
//!
//! 1. Everything that a collection owns is copied into the next generation, without what was taken away.
//! 2. The copy is made durable, files first.
//! 3. One rename makes it the live one, and the old one goes when its last reader is done.
//!
//! Stopped before the rename, the old generation is the one to be opened; after it, the new one.

use super::Store;
use super::generation::Generation;
use super::key::Key;
use super::layout::Layout;
use super::parts::{self, Intake, Part};
use super::record::{self, VectorRecord};
use super::rows::Rows;
use super::{Gate, layout};
use crate::error::{Error, Result};
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// What compaction did: bytes on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// Before.
    pub before: u64,
    /// After.
    pub after: u64,
}

impl Store {
    /// Gives back the space of what was replaced and removed. Writers wait; queries go on. Needs room for a second copy; on
    /// an error the store is as it was.
    pub fn compact(&self) -> Result<Compacted> {
        let _shape = self.shaping();
        let _writer = self.writing();
        let old = self.live();
        let before = old.bytes()?;
        let new = fresh(&self.layout, old.number + 1, self.gate.clone())?;
        if let Err(e) = copy(&old, &new) {
            new.forsake();
            return Err(e);
        }
        if let Err(e) = self.layout.publish(new.number) {
            // Whether the rename lasts is not known, so that nothing may be written to either before the next opening.
            old.rows.refuse();
            return Err(e);
        }
        let after = new.bytes()?;
        self.replace_live(new);
        old.forsake();
        Ok(Compacted { before, after })
    }
}

fn copy(old: &Arc<Generation>, new: &Generation) -> Result<()> {
    let mut intake = Intake::into(new);
    for row in old.rows.scan(Key::numbers()) {
        let (key, value) = row?;
        intake.take(Part::Row(key.to_vec(), value.to_vec()))?;
    }
    for row in old.rows.scan(Key::collections()) {
        let (key, value) = row?;
        parts::of_collection(old, &record::collection(&value)?, &mut |part| intake.take(part))?;
        intake.take(Part::Row(key.to_vec(), value.to_vec()))?;
    }
    intake.finish()
}

/// An empty generation, in place of what a stopped rotation may have left there.
fn fresh(layout: &Layout, number: u64, gate: Gate) -> Result<Arc<Generation>> {
    let dir = layout.generation(number);
    match fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(dir, e)),
        _ => Ok(Arc::new(Generation::open(layout, number, gate)?)),
    }
}

/// Brings rows of format 1 into the first generation and makes it the live one.
///
/// Format 1 kept every vector in a row of its own, as f32, and counted no slots.
pub(super) fn from_format_1(layout: &Layout, dir: &Path, gate: Gate) -> Result<u64> {
    let old = Rows::open(dir, gate.clone())?;
    if let Some(format) = old.get(&Key::format_1())? {
        let found = format.as_ref().try_into().map(u32::from_be_bytes).unwrap_or(u32::MAX);
        if found != 1 {
            let (path, known) = (layout.path().to_owned(), layout::FORMAT);
            return Err(Error::Format { path, found, known });
        }
    }
    let new = fresh(layout, 1, gate)?;
    let mut intake = Intake::into(&new);
    let mut take = |key: &[u8], value: Vec<u8>| intake.take(Part::Row(key.to_vec(), value));
    let own = |kind| old.scan(vec![kind]);
    for row in Key::OF_COLLECTIONS.into_iter().chain([b'N', b'C']).flat_map(own) {
        let (key, value) = row?;
        take(&key, value.to_vec())?;
    }
    for row in old.scan(Key::collections()) {
        for space in record::collection(&row?.1)?.spaces.iter().map(|s| s.id) {
            let mut next = 0u32;
            for row in old.scan(Key::vectors(space)) {
                let (key, value) = row?;
                let vector = record::vector_of_format_1(&value)?;
                next = record::slot_in_key(&key, Key::OWNER)?.saturating_add(1);
                take(&key, VectorRecord::bytes(vector.item, &vector.vector))?;
            }
            take(&Key::next_slot(space), next.to_be_bytes().to_vec())?;
        }
    }
    intake.finish()?;
    drop(new);
    layout.publish(1)?;
    Ok(1)
}
