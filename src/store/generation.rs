//! One generation of the store: its rows, and the files that hold what is too large for rows.
//!
//! Large values are written to files, made durable, and only then named by a row; a row therefore never names what is not
//! there, and what no row names is not there.

use super::block::Block;
use super::gate::Gate;
use super::key::Key;
use super::layout::{Layout, sync_dir};
use super::record::{self, Place};
use super::rows::{Bytes, Rows};
use crate::error::{Error, Result};
use roaring::RoaringBitmap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

pub(super) struct Generation {
    pub number: u64,
    pub rows: Rows,
    pub dir: PathBuf,
    pub gate: Gate,
    // After `rows`, so that the files go when the database is closed, and the lock last of all.
    litter: OnceLock<Litter>,
    _lock: Arc<File>,
}

/// A folder that goes when it is dropped.
struct Litter(PathBuf);

impl Drop for Litter {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Generation {
    pub fn open(layout: &Layout, number: u64, gate: Gate) -> Result<Self> {
        let dir = layout.generation(number);
        fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, e))?;
        let rows = Rows::open(&layout.rows(number), gate.clone())?;
        // The names of the folders, once they have files.
        sync_dir(&dir).and_then(|()| sync_dir(layout.path())).map_err(|e| Error::io(&dir, e))?;
        Ok(Generation { number, rows, dir, gate, litter: OnceLock::new(), _lock: layout.lock() })
    }

    /// Removes its files when its last reader is done.
    pub fn forsake(&self) {
        let _ = self.litter.set(Litter(self.dir.clone()));
    }

    /// The first slot never used in a space.
    pub fn next_slot(&self, space: u32) -> Result<u32> {
        self.rows.get(&Key::next_slot(space))?.map_or(Ok(0), |v| record::slot(&v))
    }

    /// The slots of sealed vectors that were taken away.
    pub fn tombstones(&self, space: u32) -> Result<RoaringBitmap> {
        let prefix = Key::tombstones(space);
        let skip = prefix.len();
        self.rows.scan(prefix).map(|row| record::slot_in_key(&row?.0, skip)).collect()
    }

    /// Adds a block's bytes to the space's file behind the last block that a row names; durable with [`Generation::sync_blocks`].
    pub fn append(&self, space: u32, offset: u64, bytes: &[u8]) -> Result<Place> {
        self.gate.pass()?;
        let path = self.blocks_file(space);
        let write = || {
            let mut file = File::options().create(true).truncate(false).write(true).open(&path)?;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(bytes)
        };
        write().map_err(|e| Error::io(&path, e))?;
        Ok(Place { offset, len: bytes.len() as u64 })
    }

    /// Where the next block of a space goes.
    pub fn end_of_blocks(&self, space: u32) -> Result<u64> {
        let last = self.rows.scan(Key::blocks(space)).next_back().transpose()?;
        last.map_or(Ok(0), |(_, place)| record::place(&place).map(|p| p.offset + p.len))
    }

    /// Makes a space's blocks durable.
    pub fn sync_blocks(&self, space: u32) -> Result<()> {
        self.sync(&self.blocks_file(space))
    }

    /// Makes one of its files durable, and its name.
    pub fn sync(&self, path: &Path) -> Result<()> {
        self.gate.pass()?;
        let sync = || {
            File::options().write(true).open(path)?.sync_all()?;
            sync_dir(&self.dir)
        };
        sync().map_err(|e| Error::io(path, e))
    }

    /// The blocks of a space in order, without the vectors that were taken away. Reads one at a time.
    pub fn blocks(self: &Arc<Self>, space: u32) -> impl Iterator<Item = Result<Block>> + use<> {
        let mut reader = BlockReader::new(self.blocks_file(space));
        let tombstones = self.tombstones(space);
        // The rows hold on to the generation, so that its files stay while they are read.
        let held = self.clone();
        self.rows.scan(Key::blocks(space)).map(move |row| {
            let _ = &held;
            let (number, place) = row_of_block(row?)?;
            let mut block = reader.read(number, &place)?;
            let gone = tombstones.as_ref().map_err(|e| Error::Corrupt { reason: e.to_string() })?;
            block.rows.retain(|(slot, _)| !gone.contains(*slot));
            Ok(block)
        })
    }

    /// One block, where there is one.
    pub fn block(&self, space: u32, number: u32) -> Result<Option<Block>> {
        let Some(place) = self.rows.get(&Key::block(space, number))? else { return Ok(None) };
        let mut reader = BlockReader::new(self.blocks_file(space));
        reader.read(number, &record::place(&place)?).map(Some)
    }

    pub fn graph_file(&self, space: u32, generation: u32) -> PathBuf {
        self.dir.join(format!("graph-{space}-{generation}"))
    }

    pub fn blocks_file(&self, space: u32) -> PathBuf {
        self.dir.join(format!("vectors-{space}"))
    }

    /// What its files take on disk.
    pub fn bytes(&self) -> Result<u64> {
        folder_bytes(&self.dir)
    }
}

fn row_of_block((key, place): (Bytes, Bytes)) -> Result<(u32, Place)> {
    Ok((record::slot_in_key(&key, Key::OWNER)?, record::place(&place)?))
}

struct BlockReader {
    path: PathBuf,
    file: Option<File>,
    /// Those of the block that was read last.
    bytes: Vec<u8>,
}

impl BlockReader {
    fn new(path: PathBuf) -> Self {
        BlockReader { path, file: None, bytes: Vec::new() }
    }

    fn read(&mut self, number: u32, place: &Place) -> Result<Block> {
        self.fetch(place).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof => {
                Error::Corrupt { reason: format!("block {number} of vectors: {}: {e}", self.path.display()) }
            }
            _ => Error::io(&self.path, e),
        })?;
        Block::from_bytes(number, &self.bytes)
    }

    fn fetch(&mut self, place: &Place) -> std::io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path)?,
        };
        file.seek(SeekFrom::Start(place.offset))?;
        self.bytes.clear();
        (&mut file).take(place.len).read_to_end(&mut self.bytes)?;
        self.file = Some(file);
        Ok(())
    }
}

fn folder_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).map_err(|e| Error::io(dir, e))?.flatten() {
        // A file may go while we look.
        let Ok(meta) = entry.metadata() else { continue };
        bytes += if meta.is_dir() { folder_bytes(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}
