//! The tree of rows: the only file that names sled.
//!
//! What sled 0.34 leaves undone is done here: its flush does not make the file's length durable, nor the files beside the
//! log into which it puts what is over 128 KiB; and after a failed write its memory and its file may differ, so that
//! nothing more is taken.

use super::gate::Gate;
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A key or a value.
pub(super) type Bytes = sled::IVec;

/// A key, and its new value; None takes it away.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

/// sled's page cache. Our reads are look-ups by key and scans at opening, so a small one serves.
const CACHE_BYTES: u64 = 64 << 20;

/// A database that was just dropped frees its lock when its last thread ends; how long that may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Rows {
    tree: sled::Db,
    log: File,
    blobs: PathBuf,
    synced_blobs: Mutex<HashSet<OsString>>,
    gate: Gate,
    failed: AtomicBool,
}

impl Rows {
    /// Opens the database in `dir`, making it where there is none. The caller holds the data directory's lock.
    pub fn open(dir: &Path, gate: Gate) -> Result<Self> {
        let tree = open_tree(dir)?;
        let log = dir.join("db");
        let log = File::options().write(true).open(&log).map_err(|e| Error::io(&log, e))?;
        let blobs = dir.join("blobs");
        let synced_blobs = Mutex::new(names(&blobs).collect());
        Ok(Rows { tree, log, blobs, synced_blobs, gate, failed: AtomicBool::new(false) })
    }

    /// Makes the changes all at once: in sight of readers, not durable yet.
    pub fn apply(&self, changes: Vec<Change>) -> Result<()> {
        self.check()?;
        self.gate.pass()?;
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.noting(self.tree.apply_batch(batch).map_err(failed))
    }

    /// Makes all that was applied durable.
    pub fn flush(&self) -> Result<()> {
        self.check()?;
        self.noting(self.gate.pass().and_then(|()| self.sync()))
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.tree.get(key).map_err(failed)
    }

    /// The rows whose keys begin with `prefix`, in order.
    pub fn scan(&self, prefix: Vec<u8>) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes)>> + use<> {
        self.tree.scan_prefix(prefix).map(|row| row.map_err(failed))
    }

    /// The rows from `key` on, whatever they are.
    pub fn from(&self, key: Vec<u8>) -> impl Iterator<Item = Result<(Bytes, Bytes)>> + use<> {
        self.tree.range(key..).map(|row| row.map_err(failed))
    }

    fn sync(&self) -> Result<()> {
        self.tree.flush().map_err(failed)?;
        let mut synced = self.synced_blobs.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names(&self.blobs) {
            if !synced.contains(&name) {
                sync_file(&self.blobs.join(&name))?;
                synced.insert(name);
            }
        }
        self.log.sync_data().map_err(|e| Error::io(&self.blobs, e))
    }

    /// Takes nothing more.
    pub fn refuse(&self) {
        self.failed.store(true, Ordering::SeqCst);
    }

    fn check(&self) -> Result<()> {
        let reason = "an earlier write failed, so nothing more is taken until eyeshot is started again";
        match self.failed.load(Ordering::SeqCst) {
            true => Err(Error::Storage { reason: reason.into() }),
            false => Ok(()),
        }
    }

    fn noting<T>(&self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            self.refuse();
        }
        outcome
    }
}

fn open_tree(dir: &Path) -> Result<sled::Db> {
    let started = Instant::now();
    loop {
        match sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).open() {
            Err(sled::Error::Io(e)) if is_lock(&e) && started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            tree => return tree.map_err(failed),
        }
    }
}

/// sled reports a held lock as an I/O error of the kind "other" or "would block", whose text names the lock.
fn is_lock(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("lock")
}

fn names(dir: &Path) -> impl Iterator<Item = OsString> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name())
}

/// A blob that went away meanwhile was replaced by a later one.
fn sync_file(path: &Path) -> Result<()> {
    match File::options().write(true).open(path).and_then(|file| file.sync_data()) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, e)),
        _ => Ok(()),
    }
}

fn failed(error: sled::Error) -> Error {
    match error {
        sled::Error::Corruption { .. } => Error::Corrupt { reason: error.to_string() },
        other => Error::Storage { reason: other.to_string() },
    }
}
