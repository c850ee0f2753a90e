//! A backup: one file with all of some collections, as they were at one moment.
//!
//! | bytes | what, all little-endian |
//! |---|---|
//! | 16 | `EYESHOT BACKUP 1` |
//! | 4, 8 | a frame: the lengths of its key and its value, |
//! | | then both; keys are as in `key`, and the collections' names come first |
//! | 4, 8 | the end: 0, and how many frames there were |
//! | 32 | BLAKE3 of all before |
//!
//! A block's value is the block itself, a graph's is its last slot and its bytes, and a small picture's is the picture: a backup stands
//! alone.

use super::Store;
use super::key::Key;
use super::layout::sync_dir;
use super::parts::{self, Part};
use super::record::{self, CollectionRecord};
use crate::error::{Error, Result};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

pub(super) const MAGIC: &[u8; 16] = b"EYESHOT BACKUP 1";

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackedUp {
    /// The collections' names.
    pub collections: Vec<String>,
    /// The file's length.
    pub bytes: u64,
}

impl Store {
    /// Writes the collection of that name, or all, to the file `to`, which must not be there. Writers wait; queries go on.
    /// The file gets its name when it is whole.
    pub fn backup(&self, name: Option<&str>, to: &Path) -> Result<BackedUp> {
        let taken =
            |what| Error::invalid(format!("{} {what}", to.display()), "name a file that is not there");
        let file_name = to.file_name().ok_or_else(|| taken("is no file name"))?;
        if to.exists() {
            return Err(taken("is there already"));
        }
        let records: Vec<CollectionRecord> =
            self.collections()?.into_iter().filter(|c| name.is_none_or(|name| c.name == name)).collect();
        let mut partial = file_name.to_owned();
        partial.push(".partial");
        let partial = to.with_file_name(partial);
        let written = self.write_backup(&records, &partial).and_then(|bytes| {
            self.gate.pass()?;
            let folder = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::rename(&partial, to).and_then(|()| sync_dir(folder)).map_err(|e| Error::io(to, e))?;
            Ok(bytes)
        });
        if written.is_err() {
            let _ = fs::remove_file(&partial);
        }
        let collections = records.into_iter().map(|c| c.name).collect();
        written.map(|bytes| BackedUp { collections, bytes })
    }

    fn write_backup(&self, records: &[CollectionRecord], to: &PathBuf) -> Result<u64> {
        let _shape = self.shaping();
        let _writer = self.writing();
        let live = self.live();
        self.gate.pass()?;
        let file = File::create(to).map_err(|e| Error::io(to, e))?;
        let mut frames =
            Frames { out: BufWriter::new(file), hash: blake3::Hasher::new(), count: 0, bytes: 0 };
        let failed = |e| Error::io(to, e);
        frames.put(MAGIC).map_err(failed)?;
        for record in records {
            frames.frame(&Key::collection(&record.name), &[&record::json(record)?]).map_err(failed)?;
        }
        for record in records {
            parts::of_collection(&live, record, &mut |part| match part {
                Part::Row(key, value) => frames.frame(&key, &[&value]).map_err(failed),
                Part::Block(_, block) if block.rows.is_empty() => Ok(()),
                Part::Block(space, block) => {
                    frames.frame(&Key::block(space, block.number), &[&block.to_bytes()?]).map_err(failed)
                }
                Part::Graph(space, graph) => {
                    let value: [&[u8]; 2] = [&graph.last_slot.to_le_bytes(), &graph.bytes];
                    frames.frame(&Key::graph(space), &value).map_err(failed)
                }
                Part::Thumbnail(collection, item, bytes) => {
                    frames.frame(&Key::thumbnail(collection, item), &[&bytes]).map_err(failed)
                }
            })?;
        }
        frames.end().map_err(failed)
    }
}

struct Frames {
    out: BufWriter<File>,
    hash: blake3::Hasher,
    count: u64,
    bytes: u64,
}

impl Frames {
    fn frame(&mut self, key: &[u8], value: &[&[u8]]) -> std::io::Result<()> {
        self.count += 1;
        let len: u64 = value.iter().map(|part| part.len() as u64).sum();
        self.put(&(key.len() as u32).to_le_bytes())?;
        self.put(&len.to_le_bytes())?;
        self.put(key)?;
        value.iter().try_for_each(|part| self.put(part))
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn end(mut self) -> std::io::Result<u64> {
        self.put(&0u32.to_le_bytes())?;
        self.put(&self.count.to_le_bytes())?;
        let sum = *self.hash.finalize().as_bytes();
        self.put(&sum)?;
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        Ok(self.bytes)
    }
}
