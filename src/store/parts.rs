//! A collection in parts, on its way out of one place and into another: what compaction, backup and restore share.

use super::block::Block;
use super::generation::Generation;
use super::graph::{self, GraphRecord};
use super::key::Key;
use super::record::{self, CollectionRecord, Place};
use super::rows::Change;
use crate::error::{Error, Result};
use crate::types::ItemId;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// One piece of a collection.
pub(super) enum Part {
    /// A row as it stands.
    Row(Vec<u8>, Vec<u8>),
    /// A block of a space, without what was taken away.
    Block(u32, Block),
    /// The graph of a space.
    Graph(u32, GraphRecord),
    /// The small picture of a collection's item.
    Thumbnail(u32, ItemId, Vec<u8>),
}

/// Hands all parts of a collection to `take`, but for its name.
pub(super) fn of_collection(
    live: &Arc<Generation>,
    record: &CollectionRecord,
    take: &mut dyn FnMut(Part) -> Result<()>,
) -> Result<()> {
    let own = Key::WHOLE.map(|kind| Key::owned(kind, record.id));
    let spaces = record.all_spaces().flat_map(|s| [Key::next_slot(s.id), Key::vectors(s.id)]);
    for prefix in own.into_iter().chain(spaces) {
        for row in live.rows.scan(prefix) {
            let (key, value) = row?;
            take(Part::Row(key.to_vec(), value.to_vec()))?;
        }
    }
    for row in live.rows.scan(Key::thumbnails(record.id)) {
        let item = record::item_in_key(&row?.0, Key::OWNER)?;
        match live.thumbnail(record.id, item) {
            Ok(Some(bytes)) => take(Part::Thumbnail(record.id, item, bytes))?,
            // It can be made again.
            Ok(None) | Err(Error::Corrupt { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    for space in record.all_spaces().map(|s| s.id) {
        for block in live.blocks(space) {
            take(Part::Block(space, block?))?;
        }
        match graph::read(live, space) {
            Ok(Some(graph)) => take(Part::Graph(space, graph))?,
            // It will be built again.
            Ok(None) | Err(Error::Corrupt { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Puts parts into a generation. Durable, and meant to be named, once finished.
pub(super) struct Intake<'a> {
    live: &'a Generation,
    changes: Vec<Change>,
    bytes: usize,
    ends: HashMap<u32, u64>,
    /// Whose small pictures were put.
    shown: BTreeSet<u32>,
}

/// What is gathered before it is written.
const BYTES_AT_ONCE: usize = 1 << 20;

impl<'a> Intake<'a> {
    pub fn into(live: &'a Generation) -> Self {
        Intake { live, changes: Vec::new(), bytes: 0, ends: HashMap::new(), shown: BTreeSet::new() }
    }

    pub fn take(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Row(key, value) => self.put(key, value),
            Part::Block(_, block) if block.rows.is_empty() => Ok(()),
            Part::Block(space, block) => {
                let end = self.ends.entry(space).or_default();
                let place = self.live.append(space, *end, &block.to_bytes()?)?;
                *end = place.offset + place.len;
                self.put_place(space, block.number, &place)
            }
            Part::Graph(space, graph) => {
                // Numbers are given from 1 on, so that 0 is free.
                let write = |out: &mut dyn std::io::Write| out.write_all(&graph.bytes);
                let pointer = graph::write_file(self.live, space, 0, graph.last_slot, write)?;
                self.put(Key::graph(space), record::json(&pointer)?)
            }
            Part::Thumbnail(collection, item, bytes) => {
                self.shown.insert(collection);
                let rows = self.live.append_thumbnails(collection, &[(item, bytes)])?;
                rows.into_iter().try_for_each(|(key, value)| self.put(key, value.unwrap_or_default()))
            }
        }
    }

    /// Makes all that was taken durable.
    pub fn finish(mut self) -> Result<()> {
        self.write()?;
        self.ends.keys().try_for_each(|space| self.live.sync_blocks(*space))?;
        self.shown.iter().try_for_each(|collection| self.live.sync_thumbnails(*collection))?;
        self.live.rows.flush()
    }

    fn put_place(&mut self, space: u32, number: u32, place: &Place) -> Result<()> {
        self.put(Key::block(space, number), place.bytes())
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        self.bytes += key.len() + value.len();
        self.changes.push((key, Some(value)));
        if self.bytes < BYTES_AT_ONCE {
            return Ok(());
        }
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        self.bytes = 0;
        match std::mem::take(&mut self.changes) {
            none if none.is_empty() => Ok(()),
            changes => self.live.rows.apply(changes),
        }
    }
}
