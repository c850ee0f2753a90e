//! Small pictures of items: `thumbnails-C` in a generation's folder, `C` being the collection's number, one behind another.
//!
//! 1. What a batch brings is added to the file and made durable; then the batch's rows name it.
//! 2. A row says where it stands, and its checksum. One that is damaged is as good as none: it can be made again.
//! 3. What was replaced or removed stays in the file until the store is compacted.

use super::Store;
use super::block::{SUM, sum};
use super::generation::Generation;
use super::key::Key;
use super::record::{self, Place};
use super::rows::Change;
use crate::error::{Error, Result};
use crate::types::ItemId;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

impl Store {
    /// The small picture of an item, as it was put; None where there is none, or a damaged one (which [`Store::check`] reports).
    pub fn thumbnail(&self, collection: u32, item: ItemId) -> Result<Option<Vec<u8>>> {
        match self.live().thumbnail(collection, item) {
            Err(Error::Corrupt { .. }) => Ok(None),
            found => found,
        }
    }

    /// Whether there is one, as far as can be told without reading it: what is gone can be made again.
    pub fn has_thumbnail(&self, collection: u32, item: ItemId) -> Result<bool> {
        self.live().has_thumbnail(collection, item)
    }
}

impl Generation {
    /// Adds small pictures to a collection's file; durable with [`Generation::sync_thumbnails`]. Returns the rows that name them.
    pub fn append_thumbnails(&self, collection: u32, new: &[(ItemId, Vec<u8>)]) -> Result<Vec<Change>> {
        self.gate.pass()?;
        let path = self.thumbnails_file(collection);
        let append = || {
            let mut file = File::options().create(true).append(true).open(&path)?;
            // Behind whatever a write left that failed.
            let offset = file.seek(SeekFrom::End(0))?;
            new.iter().try_for_each(|(_, bytes)| file.write_all(bytes)).map(|()| offset)
        };
        let mut offset = append().map_err(|e| Error::io(&path, e))?;
        let named = |(item, bytes): &(ItemId, Vec<u8>)| {
            let place = Place { offset, len: bytes.len() as u64 };
            offset += place.len;
            let value = [&place.bytes()[..], &sum(bytes)].concat();
            (Key::thumbnail(collection, *item), Some(value))
        };
        Ok(new.iter().map(named).collect())
    }

    /// Makes what was appended durable.
    pub fn sync_thumbnails(&self, collection: u32) -> Result<()> {
        self.sync(&self.thumbnails_file(collection))
    }

    /// Whether a row names a small picture of an item, and the file is as long as it says. What is damaged within is found when it is
    /// read, and left out by compaction.
    fn has_thumbnail(&self, collection: u32, item: ItemId) -> Result<bool> {
        let Some(row) = self.rows.get(&Key::thumbnail(collection, item))? else { return Ok(false) };
        let place = row.split_last_chunk::<SUM>().and_then(|(place, _)| record::place(place).ok());
        let len = self.thumbnails_file(collection).metadata().map_or(0, |file| file.len());
        Ok(place.is_some_and(|place| place.offset.saturating_add(place.len) <= len))
    }

    /// The small picture of an item; [`Error::Corrupt`] for a damaged one.
    pub fn thumbnail(&self, collection: u32, item: ItemId) -> Result<Option<Vec<u8>>> {
        let Some(row) = self.rows.get(&Key::thumbnail(collection, item))? else { return Ok(None) };
        let damaged =
            |why: &str| Error::Corrupt { reason: format!("the small picture of item {item}: {why}") };
        let (place, wanted) = row.split_last_chunk::<SUM>().ok_or_else(|| damaged("its row is cut short"))?;
        let place = record::place(place)?;
        let path = self.thumbnails_file(collection);
        let read = || {
            let (mut file, mut bytes) = (File::open(&path)?, Vec::new());
            file.seek(SeekFrom::Start(place.offset))?;
            file.take(place.len).read_to_end(&mut bytes).map(|_| bytes)
        };
        match read() {
            Ok(bytes) if sum(&bytes) == *wanted => Ok(Some(bytes)),
            Ok(_) => Err(damaged("its checksum does not match")),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(damaged("its file is gone")),
            Err(e) => Err(Error::io(path, e)),
        }
    }

    pub fn thumbnails_file(&self, collection: u32) -> PathBuf {
        self.dir.join(format!("thumbnails-{collection}"))
    }
}
