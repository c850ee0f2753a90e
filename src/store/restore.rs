//! Bringing collections back from a backup.
//!
//! 1. The whole file is held to its checksum before anything is written.
//! 2. Its collections and spaces get numbers of this store, and names that are free.
//! 3. Their parts are put in, and made durable; nothing names them yet.
//! 4. One atomic batch writes the collections' names: all are there, or none, and what a kill leaves is swept.

use super::Store;
use super::backup::{BackedUp, MAGIC};
use super::block::Block;
use super::graph::GraphRecord;
use super::key::Key;
use super::parts::{Intake, Part};
use super::record::{self, CollectionRecord};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// The longest key that is believed: far more than any URI.
const MAX_KEY: u32 = 1 << 20;

impl Store {
    /// Brings back what [`Store::backup`] wrote to `from`: all of its collections, or the one of that name; a single one may
    /// get another name. Fails with nothing changed where the file is damaged or a name is in use.
    pub fn restore(&self, from: &Path, name: Option<&str>, rename: Option<&str>) -> Result<BackedUp> {
        let _shape = self.shaping();
        let _writer = self.writing();
        let mut frames = Frames::open(from)?;
        let (records, first) = frames.records()?;
        let wanted: Vec<&CollectionRecord> =
            records.iter().filter(|c| name.is_none_or(|name| c.name == name)).collect();
        self.check_names(from, &wanted, name, rename)?;

        let live = self.live();
        let mut owners = Owners::default();
        let mut new = Vec::new();
        for old in wanted {
            let mut record = CollectionRecord { id: self.number(&live)?, ..old.clone() };
            owners.collections.insert(old.id, record.id);
            for space in record.spaces.iter_mut().chain(&mut record.shadow) {
                let id = self.number(&live)?;
                owners.spaces.insert(space.id, id);
                space.id = id;
            }
            record.name = rename.unwrap_or(&old.name).to_owned();
            new.push(record);
        }
        let mut intake = Intake::into(&live);
        let mut frame = first;
        while let Some((key, value)) = frame {
            if let Some(part) = owners.part(key, value)? {
                intake.take(part)?;
            }
            frame = frames.frame()?;
        }
        intake.finish()?;
        let names = new.iter().map(|r| Ok((Key::collection(&r.name), Some(record::json(r)?))));
        live.rows.apply(names.collect::<Result<_>>()?)?;
        live.rows.flush()?;
        Ok(BackedUp { collections: new.into_iter().map(|c| c.name).collect(), bytes: frames.bytes })
    }

    fn check_names(
        &self,
        from: &Path,
        wanted: &[&CollectionRecord],
        name: Option<&str>,
        rename: Option<&str>,
    ) -> Result<()> {
        if let (Some(name), []) = (name, wanted) {
            let fix = format!("leave the name out to restore all of {}", from.display());
            return Err(Error::NotFound { kind: "collection", name: name.to_owned(), fix });
        }
        if rename.is_some() && wanted.len() != 1 {
            let what = format!("{} holds {} collections", from.display(), wanted.len());
            return Err(Error::invalid(what, "name the one that is to get another name"));
        }
        for record in wanted {
            let name = rename.unwrap_or(&record.name);
            if self.collection(name)?.is_some() {
                let what = format!("a collection named {name:?} is there already");
                return Err(Error::invalid(
                    what,
                    "restore it under another name with --as NAME, or drop it first",
                ));
            }
        }
        Ok(())
    }
}

/// The numbers of this store for those in the file.
#[derive(Default)]
struct Owners {
    collections: HashMap<u32, u32>,
    spaces: HashMap<u32, u32>,
}

impl Owners {
    /// What a frame holds, under its new number; None where it was not asked for.
    fn part(&self, mut key: Vec<u8>, value: Vec<u8>) -> Result<Option<Part>> {
        let strange =
            || Error::Corrupt { reason: "the backup holds a row of a kind that is not known".into() };
        let (kind, old) = (*key.first().ok_or_else(strange)?, Key::owner(&key).ok_or_else(strange)?);
        let numbers = match kind {
            kind if Key::OF_COLLECTIONS.contains(&kind) => &self.collections,
            kind if Key::OF_SPACES.contains(&kind) => &self.spaces,
            _ => return Err(strange()),
        };
        let Some(new) = numbers.get(&old).copied() else { return Ok(None) };
        let part = match kind {
            b'B' => {
                let number = record::slot_in_key(&key, Key::OWNER)?;
                Part::Block(new, Block::from_bytes(number, &value)?)
            }
            b'G' => {
                let (last_slot, bytes) = value.split_first_chunk::<4>().ok_or_else(strange)?;
                let last_slot = u32::from_le_bytes(*last_slot);
                Part::Graph(new, GraphRecord { bytes: bytes.to_vec(), last_slot })
            }
            b'T' => Part::Thumbnail(new, record::item_in_key(&key, Key::OWNER)?, value),
            _ => {
                key.splice(1..Key::OWNER, new.to_be_bytes());
                Part::Row(key, value)
            }
        };
        Ok(Some(part))
    }
}

type Frame = (Vec<u8>, Vec<u8>);

/// The frames of a file that was held to its checksum.
struct Frames<'a> {
    from: &'a Path,
    file: BufReader<File>,
    bytes: u64,
}

impl<'a> Frames<'a> {
    fn open(from: &'a Path) -> Result<Self> {
        let file = File::open(from).map_err(|e| Error::io(from, e))?;
        let bytes = file.metadata().map_err(|e| Error::io(from, e))?.len();
        let mut frames = Frames { from, file: BufReader::with_capacity(1 << 18, file), bytes };
        frames.check()?;
        Ok(frames)
    }

    /// Reads the file once from end to end, and stands at its first frame then.
    fn check(&mut self) -> Result<()> {
        let magic = self.take(MAGIC.len() as u64)?;
        if magic != MAGIC {
            return Err(self.damaged("it is no backup, or one of a newer eyeshot"));
        }
        let body = self.bytes.checked_sub(32).ok_or_else(|| self.damaged("it is cut short"))?;
        let from = self.from;
        let failed = |e| Error::io(from, e);
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut hash = blake3::Hasher::new();
        std::io::copy(&mut (&mut self.file).take(body), &mut hash).map_err(failed)?;
        if self.take(32)? != hash.finalize().as_bytes() {
            return Err(self.damaged("its checksum does not match"));
        }
        self.file.seek(SeekFrom::Start(MAGIC.len() as u64)).map_err(failed)?;
        Ok(())
    }

    /// The collections, and the first frame behind them.
    fn records(&mut self) -> Result<(Vec<CollectionRecord>, Option<Frame>)> {
        let mut records = Vec::new();
        loop {
            match self.frame()? {
                Some((key, value)) if key.first() == Some(&b'C') => records.push(record::collection(&value)?),
                frame => return Ok((records, frame)),
            }
        }
    }

    fn frame(&mut self) -> Result<Option<Frame>> {
        let head = self.take(12)?;
        let (key, value) = head.split_at(4);
        let key = key.try_into().map_or(0, u32::from_le_bytes);
        let value = value.try_into().map_or(0, u64::from_le_bytes);
        if key == 0 {
            return Ok(None);
        }
        if key > MAX_KEY || value > self.bytes {
            return Err(self.damaged("a frame is longer than the file"));
        }
        Ok(Some((self.take(u64::from(key))?, self.take(value)?)))
    }

    fn take(&mut self, len: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self.file).take(len).read_to_end(&mut bytes).map_err(|e| Error::io(self.from, e))?;
        match bytes.len() as u64 == len {
            true => Ok(bytes),
            false => Err(self.damaged("it is cut short")),
        }
    }

    fn damaged(&self, why: &str) -> Error {
        Error::invalid(format!("{}: {why}", self.from.display()), "restore another backup")
    }
}
