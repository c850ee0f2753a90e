//! The data directory: who holds it, and which generation of it is the live one.
//!
//! | path | what |
//! |---|---|
//! | `lock` | locked while a process has the store open |
//! | `current` | names the live generation and its format; replaced by one rename |
//! | `gen-N/rows/` | the rows of generation N |
//! | `gen-N/vectors-S`, `gen-N/graph-S-G` | the sealed blocks and the graph of space S |
//! | `gen-N/thumbnails-C` | small pictures of collection C's items |
//! | `uploads/C/HASH` | files that came as bytes into collection C |
//!
//! Compaction writes the next generation beside the live one and then renames `current`: whenever it is stopped, one of the
//! two is whole and named. Whatever is not named is swept at the next opening.

use super::gate::Gate;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The version of files, keys and values that this program writes.
pub const FORMAT: u32 = 2;

/// Where format 1 kept its rows.
const FORMAT_1: &str = "store";

/// A lock outlives its holder for a moment where another thread of that process was just starting a program.
const PATIENCE: Duration = Duration::from_millis(250);

/// The data directory, held.
pub(super) struct Layout {
    path: PathBuf,
    gate: Gate,
    lock: Arc<File>,
}

/// What the data directory has.
pub(super) enum Found {
    /// A generation, by its number.
    Live(u64),
    /// Rows of format 1, in this folder.
    Format1(PathBuf),
}

#[derive(Serialize, Deserialize)]
struct Current {
    format: u32,
    generation: u64,
}

impl Layout {
    /// Takes hold of `path`, made where it is not there. Fails with [`Error::Busy`] where another process holds it.
    pub fn hold(path: &Path, gate: Gate) -> Result<Self> {
        fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
        let name = path.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&name);
        let lock = lock.map_err(|e| Error::io(&name, e))?;
        let started = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Layout { path: path.to_owned(), gate, lock: Arc::new(lock) }),
                Err(TryLockError::Error(e)) => return Err(Error::io(name, e)),
                Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: path.to_owned() }),
            }
        }
    }

    /// What is there; the first generation, named though empty, where nothing is.
    pub fn find(&self) -> Result<Found> {
        let name = self.path.join("current");
        match fs::read(&name) {
            Ok(bytes) => self.named(&bytes),
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(name, e)),
            Err(_) if self.path.join(FORMAT_1).is_dir() => Ok(Found::Format1(self.path.join(FORMAT_1))),
            Err(_) if self.others(0).next().is_some() => {
                let reason = format!("{} is missing, which names the live generation", name.display());
                Err(Error::Corrupt { reason })
            }
            Err(_) => {
                self.publish(1)?;
                Ok(Found::Live(1))
            }
        }
    }

    fn named(&self, bytes: &[u8]) -> Result<Found> {
        let unreadable = |e| Error::Corrupt { reason: format!("`current` can't be read: {e}") };
        // A newer program may write other fields beside the version, so the version is read by itself first.
        let all: serde_json::Value = serde_json::from_slice(bytes).map_err(unreadable)?;
        self.check_format(all["format"].as_u64().unwrap_or_default())?;
        let current: Current = serde_json::from_value(all).map_err(unreadable)?;
        // The first generation may have been named and then not made; a later one is whole before it is named.
        if current.generation > 1 && !self.rows(current.generation).is_dir() {
            let reason = format!("{} is missing", self.rows(current.generation).display());
            return Err(Error::Corrupt { reason });
        }
        Ok(Found::Live(current.generation))
    }

    /// That a format is one that this program reads.
    pub fn check_format(&self, found: u64) -> Result<()> {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        match found {
            1..=FORMAT => Ok(()),
            _ => Err(Error::Format { path: self.path.clone(), found, known: FORMAT }),
        }
    }

    /// Makes a generation the live one, durably. It has to be whole by now.
    pub fn publish(&self, generation: u64) -> Result<()> {
        self.gate.pass()?;
        let (new, name) = (self.path.join("current.new"), self.path.join("current"));
        let text = serde_json::json!(Current { format: FORMAT, generation }).to_string();
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &name)?;
            sync_dir(&self.path)
        };
        write().map_err(|e| Error::io(&name, e))
    }

    /// Removes what other generations left. What can't be removed wastes space and no more, so that is no error.
    pub fn sweep(&self, live: u64) -> Result<()> {
        for dir in self.others(live) {
            self.gate.pass()?;
            let _ = fs::remove_dir_all(dir);
        }
        let _ = fs::remove_file(self.path.join("current.new"));
        Ok(())
    }

    /// The folder of a generation.
    pub fn generation(&self, number: u64) -> PathBuf {
        self.path.join(format!("gen-{number}"))
    }

    /// The folder of a generation's rows.
    pub fn rows(&self, number: u64) -> PathBuf {
        self.generation(number).join("rows")
    }

    /// What keeps other processes out as long as it lives.
    pub fn lock(&self) -> Arc<File> {
        self.lock.clone()
    }

    /// The directory given to [`Layout::hold`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn others(&self, live: u64) -> impl Iterator<Item = PathBuf> + use<> {
        let live = self.generation(live);
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(move |path| *path != live && is_ours(path))
    }
}

fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let number = name.strip_prefix("gen-").is_some_and(|n| n.parse::<u64>().is_ok());
    path.is_dir() && (number || name == FORMAT_1)
}

/// Makes the names in a folder durable, where the system lets folders be opened.
pub(super) fn sync_dir(path: &Path) -> std::io::Result<()> {
    match cfg!(unix) {
        true => File::open(path)?.sync_all(),
        false => Ok(()),
    }
}
