//! Sweeping: what nothing names goes. A kill in the middle of dropping, restoring or publishing leaves such things.

use super::Store;
use super::generation::Generation;
use super::key::Key;
use super::record;
use super::rows::Change;
use crate::error::Result;
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

/// Rows removed at a time.
const AT_ONCE: usize = 1024;

impl Store {
    /// Removes rows and files of collections and spaces that are not there, and graphs that were replaced.
    pub(super) fn sweep(&self) -> Result<()> {
        let _shape = self.shaping();
        let _writer = self.writing();
        let live = self.live();
        let records = self.collections()?;
        let collections: HashSet<u32> = records.iter().map(|c| c.id).collect();
        let spaces = self.known_spaces(&live)?;
        let mut swept = false;
        for kind in Key::OF_COLLECTIONS {
            swept |= sweep_rows(&live, kind, &collections)?;
        }
        for kind in Key::OF_SPACES {
            swept |= sweep_rows(&live, kind, &spaces)?;
        }
        if swept {
            live.rows.flush()?;
        }
        self.sweep_uploads(&collections);
        sweep_files(&live, &collections, &spaces)
    }

    /// The spaces that collections list.
    pub(super) fn known_spaces(&self, live: &Generation) -> Result<HashSet<u32>> {
        let mut spaces = HashSet::new();
        for row in live.rows.scan(Key::collections()) {
            spaces.extend(record::collection(&row?.1)?.all_spaces().map(|s| s.id));
        }
        Ok(spaces)
    }
}

/// Removes the rows of one kind whose owner is not known. Reads one row of each owner that is.
fn sweep_rows(live: &Generation, kind: u8, known: &HashSet<u32>) -> Result<bool> {
    let mut swept = false;
    let mut owner = 0;
    while let Some(row) = live.rows.from(Key::owned(kind, owner)).next() {
        let key = row?.0;
        let (true, Some(found)) = (key.first() == Some(&kind), Key::owner(&key)) else { break };
        if !known.contains(&found) {
            remove_all(live, Key::owned(kind, found))?;
            swept = true;
        }
        let Some(next) = found.checked_add(1) else { break };
        owner = next;
    }
    Ok(swept)
}

fn remove_all(live: &Generation, prefix: Vec<u8>) -> Result<()> {
    loop {
        let rows = live.rows.scan(prefix.clone()).take(AT_ONCE);
        let gone = rows.map(|row| Ok((row?.0.to_vec(), None))).collect::<Result<Vec<Change>>>()?;
        if gone.is_empty() {
            return Ok(());
        }
        live.rows.apply(gone)?;
    }
}

fn sweep_files(live: &Generation, collections: &HashSet<u32>, spaces: &HashSet<u32>) -> Result<()> {
    let mut kept: HashSet<PathBuf> = collections.iter().map(|c| live.thumbnails_file(*c)).collect();
    for space in spaces {
        kept.insert(live.blocks_file(*space));
        if let Some(Ok(pointer)) = live.rows.get(&Key::graph(*space))?.map(|row| record::graph(&row)) {
            kept.insert(live.graph_file(*space, pointer.generation));
        }
    }
    for entry in fs::read_dir(&live.dir).into_iter().flatten().flatten() {
        if entry.path().is_file() && !kept.contains(&entry.path()) {
            // What can't be removed wastes space and no more.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}
