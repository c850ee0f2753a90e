//! An item's picture once more: its bytes from where they lie, if they are still the same.
//!
//! 1. What was sent and kept is read from the store.
//! 2. A file of this machine is read, or, of a tar, the piece that a member is.
//! 3. What lies elsewhere is fetched again (`refetch`), where that is allowed: what ingestion brought from there, and no other key,
//!    since whoever sends a picture may call it anything. URLs are another matter: where they are fetched at all, anybody may
//!    name one.

use super::caller::Caller;
use super::fetch;
use super::refetch::Afar;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::types::uri::ObjectUri;
use crate::types::{ContentHash, uri};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::sync::Arc;

/// Where the pictures of a collection lie.
#[derive(Clone)]
pub(super) struct Shelf {
    pub store: Arc<Store>,
    pub collection: u32,
    pub afar: Arc<Afar>,
}

impl Shelf {
    /// The bytes of the item of `key`, which had `size` bytes with that hash when it was indexed. May wait for a network where
    /// [`is_far`].
    ///
    /// # Errors
    /// [`Error::Gone`] where they are gone or changed, [`Error::NotFound`] where they lie nowhere; else as [`Afar::get`].
    pub fn read(&self, key: &str, hash: &ContentHash, size: u64) -> Result<Vec<u8>> {
        if let Some(bytes) = self.store.upload(self.collection, hash)? {
            return Ok(bytes);
        }
        let (place, at) = self.place(key, hash)?;
        if place.starts_with(FILE) {
            return of_file(place, at, hash, size);
        }
        self.afar.get(place, at, hash, size)
    }

    /// [`Shelf::read`] for a caller who may leave, once there is room for what has to be fetched.
    pub fn read_for(&self, key: &str, hash: &ContentHash, size: u64, caller: &Caller) -> Result<Vec<u8>> {
        if !is_far(key) {
            return self.read(key, hash, size);
        }
        let _room = self.afar.hold(size, caller)?;
        let read = |()| caller.check().and_then(|()| self.read(key, hash, size));
        self.afar.each(vec![()], read).pop().unwrap_or(Err(Error::Cancelled))
    }

    /// What holds the item of `key`, and where in it a tar's member begins.
    fn place<'a>(&self, key: &'a str, hash: &ContentHash) -> Result<(&'a str, Option<u64>)> {
        if key.starts_with(FILE) && !key.contains('#') {
            return Ok((key, None));
        }
        let not_kept = || Error::NotFound {
            kind: "picture",
            name: key.to_owned(),
            fix:
                "it came as bytes that were not kept (--forget-uploads, or a restored backup): send it again"
                    .into(),
        };
        let manifest = self.store.manifest(self.collection, key)?.filter(|manifest| manifest.hash == *hash);
        let manifest = manifest.ok_or_else(not_kept)?;
        let tar = manifest.source.as_str();
        if key.strip_prefix(tar).is_some_and(|name| name.starts_with('#')) {
            let unknown = || Error::gone("its place in its tar was not kept: index the tar again");
            return Ok((
                key.get(..tar.len()).unwrap_or(key),
                Some(offset(&manifest.stamp).ok_or_else(unknown)?),
            ));
        }
        // Sources have a URI, or are standard input; what was sent has neither.
        let listed = tar.contains("://") || tar == "-";
        match fetch::is_url(key) || (listed && key.parse::<ObjectUri>().is_ok()) {
            true => Ok((key, None)),
            false => Err(not_kept()),
        }
    }
}

const FILE: &str = "file://";

/// Whether the item of `key` lies on no disk of this machine, so that reading it waits for a network.
pub(super) fn is_far(key: &str) -> bool {
    !key.starts_with(FILE)
}

/// Where a member begins, as the stamp of a tar's members says it: `VERSION@OFFSET`, and what else a run adds behind a space.
fn offset(stamp: &str) -> Option<u64> {
    stamp.split(' ').next()?.rsplit_once('@')?.1.parse().ok()
}

/// The bytes, if they are the `size` bytes with that hash.
pub(super) fn same(bytes: Vec<u8>, hash: &ContentHash, size: u64) -> Result<Vec<u8>> {
    match bytes.len() as u64 == size && ContentHash::of(&bytes) == *hash {
        true => Ok(bytes),
        false => Err(Error::gone("it has changed since it was indexed")),
    }
}

fn of_file(place: &str, at: Option<u64>, hash: &ContentHash, size: u64) -> Result<Vec<u8>> {
    let path = uri::uri_to_path(place)?;
    let failed = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => Error::gone("the file is gone since it was indexed"),
        _ => Error::image(format!("the file cannot be read: {e}")),
    };
    let changed = || Error::gone("the file has changed since it was indexed");
    // The kind first, since opening a pipe waits; the length before the bytes, since it may be much longer now.
    let found = std::fs::metadata(&path).map_err(failed)?;
    let fits = match at {
        Some(at) => at.checked_add(size).is_some_and(|end| end <= found.len()),
        None => found.len() == size,
    };
    if !found.is_file() || !fits {
        return Err(changed());
    }
    let mut file = File::open(&path).map_err(failed)?;
    file.seek(SeekFrom::Start(at.unwrap_or(0))).map_err(failed)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(size).read_to_end(&mut bytes).map_err(failed)?;
    same(bytes, hash, size).map_err(|_| changed())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::refetch::Refetch;
    use crate::store::{Batch, Manifest};
    use crate::types::ItemId;

    #[test]
    fn only_the_same_bytes_are_read() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.png");
        let key = uri::path_to_uri(&path).unwrap();
        let check = |key: &str, at: Option<u64>, bytes: &[u8], wanted: Result<&[u8], &str>| {
            let got =
                of_file(key, at, &ContentHash::of(bytes), bytes.len() as u64).map_err(|e| e.to_string());
            match wanted {
                Ok(wanted) => assert_eq!(got.unwrap(), wanted),
                Err(wanted) => assert!(got.unwrap_err().contains(wanted), "{key}"),
            }
        };
        std::fs::write(&path, b"abc").unwrap();
        check(&key, None, b"abc", Ok(b"abc"));
        check(&key, None, b"abd", Err("changed"));
        check(&key, None, b"abcd", Err("changed"));
        check(&key, None, b"ab", Err("changed"));
        check(&key, Some(1), b"bc", Ok(b"bc"));
        check(&key, Some(1), b"bd", Err("changed"));
        check(&key, Some(2), b"bc", Err("changed"));
        check(&key, Some(u64::MAX), b"bc", Err("changed"));
        check(&uri::path_to_uri(home.path()).unwrap(), None, b"", Err("changed"));
        check(&format!("{key}.jpg"), None, b"abc", Err("gone"));
    }

    #[test]
    fn keys_lead_only_where_ingestion_has_been() {
        let home = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(home.path()).unwrap());
        let hash = ContentHash::of(b"abc");
        let put = |key: &str, source: &str, stamp: &str| {
            let (source, stamp) = (source.to_owned(), stamp.to_owned());
            let mut batch = Batch::default();
            batch.put_manifest(1, key, &Manifest { source, stamp, hash, item: ItemId(0) }).unwrap();
            store.commit(batch).unwrap();
        };
        let afar = Arc::new(Afar::new(Refetch::default()));
        let shelf = Shelf { store: store.clone(), collection: 1, afar };
        let check = |key: &str, source: &str, stamp: &str, wanted: Result<(&str, Option<u64>), &str>| {
            if !source.is_empty() {
                put(key, source, stamp);
            }
            match (shelf.place(key, &hash), wanted) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted, "{key}"),
                (Err(got), Err(wanted)) => assert!(got.to_string().contains(wanted), "{key}: {got}"),
                (got, _) => panic!("{key}: {got:?}"),
            }
        };
        check("file:///a.png", "", "", Ok(("file:///a.png", None)));
        check("file:///a.tar#b.png", "file:///a.tar", "9-8@512", Ok(("file:///a.tar", Some(512))));
        check("file:///a.tar#b.png", "upload:", "", Err("not kept"));
        check("s3://b/a.png", "", "", Err("not kept"));
        check("s3://b/a.png", "s3://b/", "tag", Ok(("s3://b/a.png", None)));
        check("s3://b/a.png", "-", "tag", Ok(("s3://b/a.png", None)));
        check("s3://b/a.png", "file:///list.csv", "tag", Ok(("s3://b/a.png", None)));
        check("s3://b/a.png", "upload:", "", Err("not kept"));
        let tar = Ok(("s3://b/a.tar", Some(1024)));
        check("s3://b/a.tar#c%20d.png", "s3://b/a.tar", "t@g@1024 captions:none x@1", tar);
        check("s3://b/a.tar#c.png", "s3://b/a.tar", "tag", Err("index the tar again"));
        check("http://h/a.png", "upload:", "", Ok(("http://h/a.png", None)));
        check("blake3:00", "upload:", "", Err("not kept"));
        // The item was replaced meanwhile.
        assert!(shelf.place("s3://b/a.tar#c.png", &ContentHash::of(b"abd")).is_err());
        // Where nothing may be fetched again, the error says how to allow it.
        let said = |key: &str| shelf.read(key, &hash, 3).unwrap_err().to_string();
        put("s3://b/a.png", "s3://b/", "tag");
        assert!(said("s3://b/a.png").contains("--refetch"));
        assert!(said("http://h/a.png").contains("--allow-urls"));
    }
}
