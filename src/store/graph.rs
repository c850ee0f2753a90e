//! The graph of a space: bytes that the engine gives and gets back, whose meaning nobody here knows.
//!
//! 1. The bytes go to a file of their own, and are made durable.
//! 2. One write to the space's `G` row names the file, its length and its checksum: from then on it is the graph.
//! 3. The file named before is removed; where a kill prevents that, the next opening sweeps it.
//!
//! A graph can be built again, so that a damaged one is as good as none.

use super::Store;
use super::generation::Generation;
use super::key::Key;
use super::layout::sync_dir;
use super::record::{self, GraphPointer};
use crate::error::{Error, Result};
use crate::types::ContentHash;
use std::fs::{self, File};
use std::io::{BufWriter, Write};

/// A space's graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphRecord {
    /// What [`Store::put_graph`] was given.
    pub bytes: Vec<u8>,
    /// The last slot that the graph knows; vectors behind it came later.
    pub last_slot: u32,
}

impl Store {
    /// Makes what `write` writes the graph of a space, durably, and returns its generation. Queries and writers go on
    /// meanwhile. On an error the graph stays the one it was.
    pub fn put_graph(
        &self,
        space: u32,
        last_slot: u32,
        write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<u32> {
        let _shape = self.shaping();
        let live = self.live();
        let generation = self.next_number()?;
        match write_file(&live, space, generation, last_slot, write) {
            // Where this fails, whether the row lasts is not known: the file stays, and the next opening may sweep it.
            Ok(pointer) => self.publish_graph(&live, space, &pointer).map(|()| generation),
            Err(e) => {
                let _ = fs::remove_file(live.graph_file(space, generation));
                Err(e)
            }
        }
    }

    fn publish_graph(&self, live: &Generation, space: u32, pointer: &GraphPointer) -> Result<()> {
        let _writer = self.writing();
        if !self.known_spaces(live)?.contains(&space) {
            let fix = "its collection was dropped meanwhile";
            return Err(Error::invalid(format!("a graph of space {space}"), fix));
        }
        let old = live.rows.get(&Key::graph(space))?;
        live.rows.apply(vec![(Key::graph(space), Some(record::json(pointer)?))])?;
        live.rows.flush()?;
        if let Some(Ok(old)) = old.map(|old| record::graph(&old)) {
            let _ = fs::remove_file(live.graph_file(space, old.generation));
        }
        Ok(())
    }

    /// The graph of a space; None where there is none, or a damaged one (which [`Store::check`] reports).
    pub fn graph(&self, space: u32) -> Result<Option<GraphRecord>> {
        let _shape = self.shaping();
        match read(&self.live(), space) {
            Err(Error::Corrupt { .. }) => Ok(None),
            graph => graph,
        }
    }
}

/// The graph as it is, damage and all.
pub(super) fn read(live: &Generation, space: u32) -> Result<Option<GraphRecord>> {
    let Some(pointer) = live.rows.get(&Key::graph(space))? else { return Ok(None) };
    let pointer = record::graph(&pointer)?;
    let path = live.graph_file(space, pointer.generation);
    let damaged = |why: String| Error::Corrupt { reason: format!("the graph of space {space}: {why}") };
    let bytes = fs::read(&path).map_err(|e| damaged(e.to_string()))?;
    if bytes.len() as u64 != pointer.bytes || ContentHash::of(&bytes) != pointer.checksum {
        return Err(damaged("its checksum does not match".into()));
    }
    Ok(Some(GraphRecord { bytes, last_slot: pointer.last_slot }))
}

/// Writes a graph's file and makes it durable; nothing names it yet.
pub(super) fn write_file(
    live: &Generation,
    space: u32,
    generation: u32,
    last_slot: u32,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<GraphPointer> {
    live.gate.pass()?;
    let path = live.graph_file(space, generation);
    let run = || {
        let mut out =
            Summed { file: BufWriter::new(File::create(&path)?), hash: blake3::Hasher::new(), bytes: 0 };
        write(&mut out)?;
        out.flush()?;
        out.file.get_ref().sync_all()?;
        sync_dir(&live.dir)?;
        Ok((out.bytes, ContentHash(*out.hash.finalize().as_bytes())))
    };
    let (bytes, checksum) = run().map_err(|e| Error::io(&path, e))?;
    Ok(GraphPointer { generation, bytes, checksum, last_slot })
}

/// A file that is summed up as it is written.
struct Summed {
    file: BufWriter<File>,
    hash: blake3::Hasher,
    bytes: u64,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
