//! Files that came as bytes and have no other home: `uploads/C/HASH` in the data directory, `C` being the collection's
//! number. A record is committed after its file is durable, and a file goes after the last record that needs it, so that a
//! kill leaves at most a file that nothing names; the same bytes find it again. Backups leave them out.

use super::Store;
use super::layout::sync_dir;
use crate::error::{Error, Result};
use crate::types::ContentHash;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

const FOLDER: &str = "uploads";

impl Store {
    /// Keeps the file of that hash, durably. Whoever writes records of the collection calls it before they are committed.
    pub fn put_upload(&self, collection: u32, hash: &ContentHash, bytes: &[u8]) -> Result<()> {
        let folder = self.uploads(collection);
        let (name, new) = (folder.join(hash.to_string()), folder.join(format!("{hash}.new")));
        if name.is_file() {
            return Ok(());
        }
        self.gate.pass()?;
        let write = || {
            fs::create_dir_all(&folder)?;
            let mut file = File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &name)?;
            sync_dir(&folder)?;
            folder.parent().map_or(Ok(()), sync_dir)
        };
        write().map_err(|e| Error::io(&name, e))
    }

    /// The file of that hash, where it is kept.
    pub fn upload(&self, collection: u32, hash: &ContentHash) -> Result<Option<Vec<u8>>> {
        let name = self.uploads(collection).join(hash.to_string());
        match fs::read(&name) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(name, e)),
        }
    }

    /// Removes the files of those hashes that no record of the collection has any more. Whoever writes its records calls it, after
    /// they are committed. What can't be removed wastes space and no more.
    pub fn drop_uploads(&self, collection: u32, hashes: &[ContentHash]) -> Result<()> {
        for hash in hashes {
            if self.item_of_hash(collection, hash)?.is_none() {
                _ = fs::remove_file(self.uploads(collection).join(hash.to_string()));
            }
        }
        Ok(())
    }

    /// Removes the files of collections that are not there.
    pub(super) fn sweep_uploads(&self, known: &HashSet<u32>) {
        let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
        let folders = fs::read_dir(self.path().join(FOLDER)).into_iter().flatten().flatten();
        for folder in folders.map(|entry| entry.path()) {
            if number(&folder).is_some_and(|number| !known.contains(&number)) {
                _ = fs::remove_dir_all(folder);
            }
        }
    }

    fn uploads(&self, collection: u32) -> PathBuf {
        self.path().join(FOLDER).join(collection.to_string())
    }
}
