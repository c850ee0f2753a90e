//! Sealing: the vectors of 256 slots move from rows into one block.
//!
//! 1. A block is due when all its slots were given.
//! 2. It is added to the space's file, behind the last block that a row names, and made durable.
//! 3. One atomic batch names it and takes away the rows: a vector is in one place or the other, never in both or none.

use super::Store;
use super::block::Block;
use super::generation::Generation;
use super::key::Key;
use super::record;
use super::rows::Bytes;
use crate::error::Result;

impl Store {
    /// Seals what is due in a space and returns how many blocks that were. Where it fails, what was not sealed is as safe
    /// as before.
    pub fn seal(&self, space: u32) -> Result<usize> {
        let mut sealed = 0;
        loop {
            // Block by block, so that writers of other collections get their turn.
            let _writer = self.writing();
            let live = self.live();
            let Some(number) = due(&live, space)? else { return Ok(sealed) };
            seal_one(&live, space, number)?;
            sealed += 1;
        }
    }
}

/// The first block that has all its slots and is not sealed.
fn due(live: &Generation, space: u32) -> Result<Option<u32>> {
    let Some(row) = live.rows.scan(Key::vectors(space)).next() else { return Ok(None) };
    let number = Block::of(record::slot_in_key(&row?.0, Key::OWNER)?);
    let full = Block::slots(number).end <= u64::from(live.next_slot(space)?);
    Ok(full.then_some(number))
}

fn seal_one(live: &Generation, space: u32, number: u32) -> Result<()> {
    let end = Block::slots(number).end;
    let mut block = Block { number, rows: Vec::new() };
    for row in live.rows.scan(Key::vectors(space)) {
        let (slot, vector) = slot_and_value(row?)?;
        if u64::from(slot) >= end {
            break;
        }
        block.rows.push((slot, record::vector(&vector)?));
    }
    let place = live.append(space, live.end_of_blocks(space)?, &block.to_bytes()?)?;
    live.sync_blocks(space)?;
    let mut changes = vec![(Key::block(space, number), Some(place.bytes()))];
    changes.extend(block.rows.iter().map(|(slot, _)| (Key::vector(space, *slot), None)));
    live.rows.apply(changes)?;
    live.rows.flush()
}

fn slot_and_value((key, value): (Bytes, Bytes)) -> Result<(u32, Bytes)> {
    Ok((record::slot_in_key(&key, Key::OWNER)?, value))
}
