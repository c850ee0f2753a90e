//! What lasts: bytes, typed keys and atomic batches. The only folder that names sled.
//!
//! 1. `layout`     holds the data directory for this process, and names the live one of its generations.
//! 2. `generation` is a tree of rows (`rows`, where sled is) and the files of what is too large for rows.
//! 3. `key`, `record`, `block` say what keys and values look like, each in one place.
//! 4. `batch`      gathers puts and removes; [`Store::commit`] makes them durable together or not at all.
//! 5. `seal`       moves vectors from rows into blocks of 256; `graph` publishes what can be built again from them.
//! 6. `compact`    copies everything into a fresh generation and makes it the live one; `sweep` removes what nothing names.
//! 7. `backup` and `restore` carry collections as one file, and `check` reads all there is and lists what is wrong.
//! 8. `uploads`    keeps files that came as bytes and have no other home, `thumbnails` small pictures of items.
//! 9. `items`      remembers what was read lately.
//! 10. this file opens the store, commits batches, and answers look-ups and scans.
//!
//! Committed means flushed: when [`Store::commit`] returns, a killed process or a failed power supply loses nothing of the
//! batch. Rows stand in one tree, since sled's batches are atomic only within a tree. Vectors and graphs stand in files,
//! since sled keeps values of that size two to five times over and never makes them durable; a row names them only when
//! they are. Not here: what a neighbour or a model is.

mod backup;
mod batch;
mod block;
mod check;
mod compact;
mod gate;
mod generation;
mod graph;
mod items;
mod key;
mod layout;
mod parts;
mod record;
mod restore;
mod rows;
mod seal;
mod sweep;
mod thumbnails;
mod uploads;

pub use backup::BackedUp;
pub use batch::Batch;
pub use block::kept;
pub use check::Finding;
pub use compact::Compacted;
pub use gate::Gate;
pub use graph::GraphRecord;
pub use layout::FORMAT;
pub use record::{CollectionRecord, Manifest, SpaceRecord, VectorRecord};

use crate::error::{Error, Result};
use crate::types::{ContentHash, Item, ItemId};
use block::Block;
use generation::Generation;
use items::Items;
use key::Key;
use layout::{Found, Layout};
use rows::Bytes;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// A directory that keeps collections.
pub struct Store {
    live: RwLock<Arc<Generation>>,
    layout: Layout,
    gate: Gate,
    /// Held by whoever makes or removes files that rows name, or changes the live generation. Taken before `writing`.
    shaping: Mutex<()>,
    /// Held by whoever changes rows.
    writing: Mutex<()>,
    items: Items,
}

impl Store {
    /// Opens the store in `path`, making it where there is none; one of an older format is brought to this one.
    ///
    /// Fails with [`Error::Busy`] where another process holds it, and [`Error::Format`] where a newer program wrote it.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_gated(path, Gate::default())
    }

    /// [`Store::open`] with a gate before every write: for tests of what a failed one leaves behind.
    pub fn open_gated(path: &Path, gate: Gate) -> Result<Self> {
        let layout = Layout::hold(path, gate.clone())?;
        let number = match layout.find()? {
            Found::Live(number) => number,
            Found::Format1(dir) => compact::from_format_1(&layout, &dir, gate.clone())?,
        };
        layout.sweep(number)?;
        let live = RwLock::new(Arc::new(Generation::open(&layout, number, gate.clone())?));
        let (shaping, writing, items) = Default::default();
        let store = Store { live, layout, gate, shaping, writing, items };
        store.sweep()?;
        Ok(store)
    }

    /// Makes `batch` durable, all of it or nothing.
    pub fn commit(&self, batch: Batch) -> Result<()> {
        let _writer = self.writing();
        let live = self.live();
        let mut changes = batch.changes;
        for (space, slot) in batch.gone {
            let key = Key::vector(space, slot);
            if live.rows.get(&key)?.is_some() {
                changes.push((key, None));
            } else if live.rows.get(&Key::block(space, Block::of(slot)))?.is_some() {
                changes.push((Key::tombstone(space, slot), Some(Vec::new())));
            }
        }
        for (space, next) in batch.next_slots {
            let next = next.max(live.next_slot(space)?);
            changes.push((Key::next_slot(space), Some(next.to_be_bytes().to_vec())));
        }
        for (collection, new) in &batch.thumbnails {
            changes.extend(live.append_thumbnails(*collection, new)?);
            live.sync_thumbnails(*collection)?;
        }
        let applied = live.rows.apply(changes);
        self.items.forget(batch.items);
        applied?;
        live.rows.flush()
    }

    /// All collections, by name.
    pub fn collections(&self) -> Result<Vec<CollectionRecord>> {
        self.scan(Key::collections()).map(|row| record::collection(&row?.1)).collect()
    }

    /// The collection of that name.
    pub fn collection(&self, name: &str) -> Result<Option<CollectionRecord>> {
        self.get(&Key::collection(name))?.map(|v| record::collection(&v)).transpose()
    }

    /// A number never given before, for a collection, a space or a graph; durable at once.
    pub fn next_number(&self) -> Result<u32> {
        let _writer = self.writing();
        self.number(&self.live())
    }

    /// [`Store::next_number`] for whoever holds `writing`.
    fn number(&self, live: &Generation) -> Result<u32> {
        let last = live.rows.get(&Key::numbers())?.map_or(Ok(0), |v| record::number(&v))?;
        let used = || Error::Storage { reason: "all collection numbers are used".into() };
        let new = last.checked_add(1).ok_or_else(used)?;
        live.rows.apply(vec![(Key::numbers(), Some(new.to_be_bytes().to_vec()))])?;
        live.rows.flush()?;
        Ok(new)
    }

    /// The next item id of a collection (0 where none was given yet).
    pub fn next_item(&self, collection: u32) -> Result<u64> {
        self.get(&Key::next_item(collection))?.map_or(Ok(0), |v| record::counter(&v))
    }

    /// One item.
    pub fn item(&self, collection: u32, id: ItemId) -> Result<Option<Arc<Item>>> {
        self.items.get((collection, id), || self.get(&Key::item(collection, id)))
    }

    /// All items of a collection, by id.
    pub fn items(&self, collection: u32) -> impl Iterator<Item = Result<Item>> + use<> {
        self.scan(Key::items(collection)).map(|row| record::item(&row?.1))
    }

    /// Where the item of `uri` came from, and what it was when it was read.
    pub fn manifest(&self, collection: u32, uri: &str) -> Result<Option<Manifest>> {
        self.get(&Key::manifest(collection, uri))?.map(|v| record::manifest(&v)).transpose()
    }

    /// All (URI, manifest) of a collection, by URI.
    pub fn manifests(&self, collection: u32) -> impl Iterator<Item = Result<(String, Manifest)>> + use<> {
        self.scan(Key::manifests(collection)).map(|row| {
            let (k, v) = row?;
            Ok((record::uri_in_key(&k)?, record::manifest(&v)?))
        })
    }

    /// An item whose file has these bytes.
    pub fn item_of_hash(&self, collection: u32, hash: &ContentHash) -> Result<Option<ItemId>> {
        let prefix = Key::hashes(collection, hash);
        let skip = prefix.len();
        self.scan(prefix).next().map(|row| record::item_in_key(&row?.0, skip)).transpose()
    }

    /// The first slot of a space that was never used.
    pub fn next_slot(&self, space: u32) -> Result<u32> {
        self.live().next_slot(space)
    }

    /// One vector.
    pub fn vector(&self, space: u32, slot: u32) -> Result<Option<VectorRecord>> {
        let live = self.live();
        if let Some(row) = live.rows.get(&Key::vector(space, slot))? {
            return record::vector(&row).map(Some);
        }
        if live.rows.get(&Key::tombstone(space, slot))?.is_some() {
            return Ok(None);
        }
        let rows = live.block(space, Block::of(slot))?.map(|block| block.rows);
        Ok(rows.into_iter().flatten().find(|(s, _)| *s == slot).map(|(_, vector)| vector))
    }

    /// All (slot, vector) of a space, by slot. Not to be read beside a writer of the same space.
    pub fn vectors(&self, space: u32) -> impl Iterator<Item = Result<(u32, VectorRecord)>> + use<> {
        let sealed = self.live().blocks(space).flat_map(|block| match block {
            Ok(block) => block.rows.into_iter().map(Ok).collect(),
            Err(e) => vec![Err(e)],
        });
        let tail = self.scan(Key::vectors(space)).map(|row| {
            let (k, v) = row?;
            Ok((record::slot_in_key(&k, Key::OWNER)?, record::vector(&v)?))
        });
        sealed.chain(tail)
    }

    /// Removes everything of a collection. Its name goes first and durably, so that a kill half-way leaves only what nothing
    /// names, and the next opening sweeps.
    pub fn drop_collection(&self, record: &CollectionRecord) -> Result<()> {
        let mut first = Batch::default();
        first.remove_collection(&record.name);
        self.commit(first)?;
        self.sweep()
    }

    /// Writes a collection's record that lists fewer spaces than it did, and removes what is stored of those.
    pub fn drop_spaces(&self, record: &CollectionRecord) -> Result<()> {
        let mut first = Batch::default();
        first.put_collection(record)?;
        self.commit(first)?;
        self.sweep()
    }

    /// Bytes that the store takes on disk.
    pub fn bytes(&self) -> Result<u64> {
        self.live().bytes()
    }

    /// The directory given to [`Store::open`].
    pub fn path(&self) -> &Path {
        self.layout.path()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.live().rows.get(key)
    }

    /// The rows hold on to their generation, so that its files stay while they are read.
    fn scan(&self, prefix: Vec<u8>) -> impl Iterator<Item = Result<(Bytes, Bytes)>> + use<> {
        let live = self.live();
        live.rows.scan(prefix).inspect(move |_| _ = &live)
    }

    fn live(&self) -> Arc<Generation> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace_live(&self, new: Arc<Generation>) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    fn shaping(&self) -> MutexGuard<'_, ()> {
        self.shaping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
