//! Bytes, typed keys and atomic batches: the only folder that names sled.
//!
//! 1. `key`     every key is a prefix, the collection or space, and what is looked up, so that a prefix scan is a question.
//! 2. `record`  what the values hold, to bytes and back; a value that can't be read names itself.
//! 3. `batch`   puts and removes that become durable together or not at all.
//! 4. this file opens the database, commits batches, and answers look-ups and scans.
//!
//! Committed means flushed: when [`Store::commit`] returns, a killed process loses nothing of the batch. One tree holds
//! everything, since sled's batches are atomic only within a tree. Not here: what a neighbour or a model is.

mod batch;
mod key;
mod record;

pub use batch::Batch;
pub use record::{CollectionRecord, Manifest, SpaceRecord, VectorRecord};

use crate::error::{Error, Result};
use crate::types::{ContentHash, Item, ItemId};
use key::Key;
use std::path::{Path, PathBuf};

/// The version of keys and values that this program writes.
pub const FORMAT: u32 = 1;

/// sled's page cache. Our reads are look-ups by key and one scan at opening, so a small one serves.
const CACHE_BYTES: u64 = 64 << 20;

/// A directory that keeps collections.
pub struct Store {
    tree: sled::Db,
    path: PathBuf,
}

impl Store {
    /// Opens the store in `path`, making it where there is none.
    ///
    /// Fails with [`Error::Busy`] where another process holds it, and [`Error::Format`] where a newer program wrote it.
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
        let tree = sled::Config::new().path(path.join("store")).cache_capacity(CACHE_BYTES).open();
        let store = Store { tree: tree.map_err(|e| opening(path, e))?, path: path.to_owned() };
        store.check_format()?;
        Ok(store)
    }

    /// Makes `batch` durable, all of it or nothing.
    pub fn commit(&self, batch: Batch) -> Result<()> {
        self.tree.apply_batch(batch.into_inner()).map_err(failed)?;
        self.tree.flush().map_err(failed)?;
        Ok(())
    }

    /// All collections, by name.
    pub fn collections(&self) -> Result<Vec<CollectionRecord>> {
        self.scan(Key::collections()).map(|row| record::collection(&row?.1)).collect()
    }

    /// The collection of that name.
    pub fn collection(&self, name: &str) -> Result<Option<CollectionRecord>> {
        self.get(&Key::collection(name))?.map(|v| record::collection(&v)).transpose()
    }

    /// A number never given before, for a collection or a space; durable at once.
    pub fn next_number(&self) -> Result<u32> {
        let grow = |old: Option<&[u8]>| {
            let old = old.and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
            old.checked_add(1).map(|n| n.to_be_bytes().to_vec())
        };
        let new = self.tree.update_and_fetch(Key::numbers(), grow).map_err(failed)?;
        self.tree.flush().map_err(failed)?;
        let new = new.ok_or_else(|| Error::Storage { reason: "all collection numbers are used".into() })?;
        new.as_ref().try_into().map(u32::from_be_bytes).map_err(|_| record::unreadable("number counter"))
    }

    /// The next item id of a collection (0 where none was given yet).
    pub fn next_item(&self, collection: u32) -> Result<u64> {
        self.get(&Key::next_item(collection))?.map_or(Ok(0), |v| record::counter(&v))
    }

    /// One item.
    pub fn item(&self, collection: u32, id: ItemId) -> Result<Option<Item>> {
        self.get(&Key::item(collection, id))?.map(|v| record::item(&v)).transpose()
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
        let prefix = Key::manifests(collection);
        let skip = prefix.len();
        self.scan(prefix).map(move |row| {
            let (k, v) = row?;
            let uri = k.get(skip..).and_then(|b| std::str::from_utf8(b).ok());
            Ok((uri.ok_or_else(|| record::unreadable("manifest key"))?.to_owned(), record::manifest(&v)?))
        })
    }

    /// An item whose file has these bytes.
    pub fn item_of_hash(&self, collection: u32, hash: &ContentHash) -> Result<Option<ItemId>> {
        let prefix = Key::hashes(collection, hash);
        let skip = prefix.len();
        self.scan(prefix).next().map(|row| record::item_in_key(&row?.0, skip)).transpose()
    }

    /// One vector.
    pub fn vector(&self, space: u32, slot: u32) -> Result<Option<VectorRecord>> {
        self.get(&Key::vector(space, slot))?.map(|v| record::vector(&v)).transpose()
    }

    /// All (slot, vector) of a space, by slot.
    pub fn vectors(&self, space: u32) -> impl Iterator<Item = Result<(u32, VectorRecord)>> + use<> {
        let prefix = Key::vectors(space);
        let skip = prefix.len();
        self.scan(prefix).map(move |row| {
            let (k, v) = row?;
            Ok((record::slot_in_key(&k, skip)?, record::vector(&v)?))
        })
    }

    /// Removes everything of a collection. Its name goes first and durably, so that a kill half-way leaves only rows
    /// that nothing can reach.
    pub fn drop_collection(&self, record: &CollectionRecord) -> Result<()> {
        let mut first = Batch::default();
        first.remove_collection(&record.name);
        self.commit(first)?;
        let spaces = record.spaces.iter().map(|s| Key::vectors(s.id));
        for prefix in Key::all_of(record.id).into_iter().chain(spaces) {
            for row in self.scan(prefix) {
                self.tree.remove(row?.0).map_err(failed)?;
            }
        }
        self.tree.flush().map_err(failed)?;
        Ok(())
    }

    /// Bytes that the store takes on disk.
    pub fn bytes(&self) -> Result<u64> {
        self.tree.size_on_disk().map_err(failed)
    }

    /// The directory given to [`Store::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>> {
        self.tree.get(key).map_err(failed)
    }

    fn scan(&self, prefix: Vec<u8>) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec)>> + use<> {
        self.tree.scan_prefix(prefix).map(|row| row.map_err(failed))
    }

    fn check_format(&self) -> Result<()> {
        let Some(found) = self.get(&Key::format())? else {
            let mut batch = Batch::default();
            batch.put_format(FORMAT);
            return self.commit(batch);
        };
        let found = found.as_ref().try_into().map(u32::from_be_bytes);
        match found.map_err(|_| record::unreadable("format version"))? {
            FORMAT => Ok(()),
            found => Err(Error::Format { path: self.path.clone(), found, known: FORMAT }),
        }
    }
}

/// sled reports a held lock as an I/O error of the kind "other" or "would block", whose text names the lock.
fn opening(path: &Path, error: sled::Error) -> Error {
    match &error {
        sled::Error::Io(e)
            if e.kind() == std::io::ErrorKind::WouldBlock || e.to_string().contains("lock") =>
        {
            Error::Busy { path: path.to_owned() }
        }
        _ => failed(error),
    }
}

fn failed(error: sled::Error) -> Error {
    match error {
        sled::Error::Corruption { .. } => Error::Corrupt { reason: error.to_string() },
        other => Error::Storage { reason: other.to_string() },
    }
}
