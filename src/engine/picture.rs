//! An item's picture once more: its bytes from where they lie, if they are still the same.

use crate::error::{Error, Result};
use crate::store::Store;
use crate::types::{ContentHash, uri};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::Arc;

/// Where the pictures of a collection are kept that came as bytes.
#[derive(Clone)]
pub(super) struct Shelf {
    pub store: Arc<Store>,
    pub collection: u32,
}

impl Shelf {
    /// The bytes of the item of `key`, which had `size` bytes with that hash when it was indexed.
    ///
    /// What was sent and kept is read from the store, else only files of this machine are: a URL is not fetched again on behalf
    /// of whoever searches.
    pub fn read(&self, key: &str, hash: &ContentHash, size: u64) -> Result<Vec<u8>> {
        if let Some(bytes) = self.store.upload(self.collection, hash)? {
            return Ok(bytes);
        }
        of_file(key, hash, size)
    }
}

fn of_file(key: &str, hash: &ContentHash, size: u64) -> Result<Vec<u8>> {
    if !key.starts_with("file://") {
        return Err(Error::image("its bytes were not kept, and it is no file of this machine"));
    }
    let path = uri::uri_to_path(key)?;
    let failed = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => Error::image("the file is gone"),
        _ => Error::image(format!("the file cannot be read: {e}")),
    };
    let changed = || Error::image("the file has changed since it was indexed");
    // The kind first, since opening a pipe waits; the length before the bytes, since it may be much longer now.
    let found = std::fs::metadata(&path).map_err(failed)?;
    if !found.is_file() || found.len() != size {
        return Err(changed());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    File::open(&path).and_then(|file| file.take(size).read_to_end(&mut bytes)).map_err(failed)?;
    if ContentHash::of(&bytes) == *hash { Ok(bytes) } else { Err(changed()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_are_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.png");
        let key = uri::path_to_uri(&path).unwrap();
        let check = |key: &str, bytes: &[u8], wanted: Result<&[u8], &str>| {
            let got = of_file(key, &ContentHash::of(bytes), bytes.len() as u64).map_err(|e| e.to_string());
            match wanted {
                Ok(wanted) => assert_eq!(got.unwrap(), wanted),
                Err(wanted) => assert!(got.unwrap_err().contains(wanted), "{key}"),
            }
        };
        std::fs::write(&path, b"abc").unwrap();
        check(&key, b"abc", Ok(b"abc"));
        check(&key, b"abd", Err("changed"));
        check(&key, b"abcd", Err("changed"));
        check(&uri::path_to_uri(home.path()).unwrap(), b"", Err("changed"));
        check(&format!("{key}.jpg"), b"abc", Err("gone"));
        check("blake3:00", b"abc", Err("not kept"));
        check("https://example.org/a.png", b"abc", Err("not kept"));
    }
}
