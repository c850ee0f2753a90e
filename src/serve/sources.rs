//! What a URI may reach: the bytes inside it, files within roots that were indexed or named, and, where the operator said so,
//! URLs.

use super::index;
use crate::engine::fetch::{self, Reach};
use crate::engine::{Caller, Collection, decode};
use crate::error::{Error, Result};
use crate::types::{Item, uri};
use base64::Engine as _;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What URIs of requests may reach.
#[derive(Debug)]
pub struct Sources {
    /// How far `http(s)` URLs may reach; None for not at all.
    pub urls: Option<Reach>,
    /// Folders that the operator opened, as the file system has them.
    roots: Vec<PathBuf>,
    /// Folders that were indexed, by collection; read from the manifests when first needed.
    indexed: Mutex<HashMap<String, Vec<PathBuf>>>,
}

impl Sources {
    /// The folders must be there.
    pub fn new(roots: &[PathBuf], urls: Option<Reach>) -> Result<Self> {
        let real = |root: &PathBuf| root.canonicalize().map_err(|e| Error::io(root, e));
        Ok(Sources { urls, roots: roots.iter().map(real).collect::<Result<_>>()?, indexed: Mutex::default() })
    }

    /// The bytes that `uri` names, for a caller of `collection`.
    pub fn bytes(&self, uri: &str, collection: &Collection) -> Result<Vec<u8>> {
        match uri.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
            Some("data") => data(uri),
            Some("file") => {
                let path = self.within(&uri::uri_to_path(uri)?, collection)?;
                read(&path)
            }
            Some("http" | "https") => match self.urls {
                Some(reach) => fetch::url_within(uri, reach),
                None => Err(Error::Forbidden {
                    what: "this server does not fetch URLs".to_owned(),
                    fix: "send the bytes, or have the operator start it with --allow-urls".to_owned(),
                }),
            },
            _ => Err(Error::invalid(
                format!("{:?} is no URI that can be fetched", shortened(uri)),
                "use data:image/...;base64,..., file:///path or http(s)://",
            )),
        }
    }

    /// The bytes of an item's picture: those that it came as, where they were kept, else those behind its key. An item's key is
    /// whatever brought it says, so that it is believed no more than a request's URI.
    pub fn picture(&self, item: &Item, collection: &Collection, caller: &Caller) -> Result<Vec<u8>> {
        if let Some(bytes) = collection.upload(item)? {
            return Ok(bytes);
        }
        let key = item.key.as_str();
        if !key.starts_with("file:") {
            return collection.picture(item, caller);
        }
        // Of a tar's member the tar must be one that may be read.
        let (file, member) = key.split_once('#').map_or((key, None), |(tar, name)| (tar, Some(name)));
        let path = uri::uri_to_path(file)?;
        // What is gone is told from what may not be read: the name is known to whoever sees the item.
        let gone = path.symlink_metadata().err().filter(|e| e.kind() == std::io::ErrorKind::NotFound);
        match gone.filter(|_| self.contains(&path, collection)) {
            Some(_) => Err(Error::gone("the file is gone since it was indexed")),
            None if member.is_none() => self.bytes(key, collection),
            None => {
                self.within(&path, collection)?;
                collection.picture(item, caller)
            }
        }
    }

    /// Bytes to make a picture of at most `size` pixels a side from: the small one that was kept, where it is large enough or nothing
    /// else is to be had.
    pub fn small(&self, item: &Item, collection: &Collection, size: u32, caller: &Caller) -> Result<Vec<u8>> {
        let Some(kept) = collection.thumbnail(item.id)? else {
            return self.picture(item, collection, caller);
        };
        let longest = |width: u32, height: u32| width.max(height);
        let facts = decode::open(&kept, &decode::Limits::default())?.facts;
        match longest(facts.width, facts.height) >= size.min(longest(item.width, item.height)) {
            true => Ok(kept),
            false => self.picture(item, collection, caller).or(Ok(kept)),
        }
    }

    /// Whether a path that is not there would lie within a root, by the names on it.
    fn contains(&self, path: &Path, collection: &Collection) -> bool {
        let plain = path.components().all(|part| !matches!(part, Component::ParentDir | Component::CurDir));
        let indexed = self.indexed(collection).unwrap_or_default();
        plain && self.roots.iter().chain(&indexed).any(|root| path.starts_with(root))
    }

    /// The real path of `path`, where it lies within a root.
    pub fn within(&self, path: &Path, collection: &Collection) -> Result<PathBuf> {
        self.inside(path, || self.indexed(collection))
    }

    /// That each of `sources` lies within a folder that the operator opened.
    pub fn check_opened(&self, sources: &[String]) -> Result<()> {
        sources.iter().try_for_each(|source| self.inside(&index::path(source)?, || Ok(vec![])).map(|_| ()))
    }

    fn inside(&self, path: &Path, more: impl FnOnce() -> Result<Vec<PathBuf>>) -> Result<PathBuf> {
        // What is not there and what is not allowed look alike, so that nobody can ask what files there are.
        let refused = || Error::Forbidden {
            what: format!("{} is not within a folder that this server may read", path.display()),
            fix: "have the operator index its folder, or start the server with --allow-root".to_owned(),
        };
        let real = path.canonicalize().map_err(|_| refused())?;
        let within = |roots: &[PathBuf]| roots.iter().any(|root| real.starts_with(root));
        if within(&self.roots) || within(&more()?) { Ok(real) } else { Err(refused()) }
    }

    /// Forgets which folders were indexed into a collection, after some more were, or all of them went.
    pub fn forget(&self, collection: &str) {
        self.indexed.lock().unwrap_or_else(PoisonError::into_inner).remove(collection);
    }

    fn indexed(&self, collection: &Collection) -> Result<Vec<PathBuf>> {
        let mut indexed = self.indexed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(roots) = indexed.get(collection.name()) {
            return Ok(roots.clone());
        }
        let mut named: Vec<String> = collection.sources()?;
        named.retain(|source| source.starts_with("file://"));
        let real = |source: &String| uri::uri_to_path(source).ok()?.canonicalize().ok();
        let roots: Vec<PathBuf> = named.iter().filter_map(real).collect();
        indexed.insert(collection.name().to_owned(), roots.clone());
        Ok(roots)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |e| Error::io(path, e);
    let limit = decode::Limits::default().bytes;
    let meta = path.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(Error::invalid(format!("{} is not a file", path.display()), "name an image file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|f| f.take(limit + 1).read_to_end(&mut bytes)).map_err(failed)?;
    match bytes.len() as u64 > limit {
        true => Err(Error::image(format!("{} has more than {limit} bytes", path.display()))),
        false => Ok(bytes),
    }
}

/// The bytes inside a `data:` URI (RFC 2397).
fn data(uri: &str) -> Result<Vec<u8>> {
    let broken = |why: &str| Error::invalid(format!("a data: URI {why}"), "write data:image/png;base64,...");
    let (head, body) = uri.split_once(',').ok_or_else(|| broken("without a comma"))?;
    let body = percent_encoding::percent_decode_str(body);
    if !head.to_ascii_lowercase().ends_with(";base64") {
        return Ok(body.collect());
    }
    let body: Vec<u8> = body.filter(|byte| !byte.is_ascii_whitespace()).collect();
    let lenient = base64::engine::GeneralPurposeConfig::new()
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent);
    let alphabet = match body.iter().any(|byte| matches!(byte, b'-' | b'_')) {
        true => &base64::alphabet::URL_SAFE,
        false => &base64::alphabet::STANDARD,
    };
    let decoder = base64::engine::GeneralPurpose::new(alphabet, lenient);
    decoder.decode(body).map_err(|e| broken(&format!("that is not base64 ({e})")))
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn data_uris_are_read() {
        let check = |uri: &str, wanted: Option<&[u8]>| assert_eq!(data(uri).ok().as_deref(), wanted, "{uri}");
        check("data:image/png;base64,aGk/Pg==", Some(b"hi?>"));
        check("data:image/png;base64,aGk_Pg", Some(b"hi?>"));
        check("data:image/png;base64,aGk%2FPg%3D%3D", Some(b"hi?>"));
        check("DATA:;BASE64,aGk\n/Pg==", Some(b"hi?>"));
        check("data:,hi%20there", Some(b"hi there"));
        check("data:image/png;base64", None);
        check("data:image/png;base64,a$b", None);
    }
}
