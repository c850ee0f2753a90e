//! Folders of this machine, and single files, as sources.
//!
//! Names are walked in byte order, files before sub-folders. Hidden names (a leading dot) are skipped. A linked folder is
//! walked after the real ones, once, under the link's name, and not at all if its target is listed under its own name; so
//! loops end, and no picture is listed twice by way of a link to its folder. A linked file is a file.

use super::names::{self, SIDECARS};
use super::{Entry, Fetched, Listed, SIDECAR_BYTES, Sidecar, Source};
use crate::error::{Error, Result};
use crate::ingest::report::{Refusal, reason};
use crate::types::uri;
use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// A folder and all below it, or one file.
pub struct Folder {
    name: String,
    root: PathBuf,
    is_file: bool,
    /// The roots of all folders that are listed in the same run, this one's too.
    roots: Arc<Vec<PathBuf>>,
}

/// Opens `paths` as sources, leaving out those that another of them lists.
pub(super) fn open(paths: &[PathBuf]) -> Result<Vec<Folder>> {
    let mut found: Vec<(PathBuf, bool)> = paths.iter().map(|path| resolve(path)).collect::<Result<_>>()?;
    let mut seen = HashSet::new();
    found.retain(|(root, _)| seen.insert(root.clone()));
    let folders: Vec<PathBuf> =
        found.iter().filter(|(_, is_file)| !is_file).map(|(root, _)| root.clone()).collect();
    let inner = |root: &Path, is_file: bool| {
        let others = folders.iter().filter(|other| *other != root);
        others.into_iter().any(|other| shows(other, root)) && (!is_file || named_like_an_image(root))
    };
    found.retain(|(root, is_file)| !inner(root, *is_file));
    let roots = Arc::new(folders);
    let folder = |(root, is_file): (PathBuf, bool)| {
        Ok(Folder { name: uri::path_to_uri(&root)?, root, is_file, roots: Arc::clone(&roots) })
    };
    found.into_iter().map(folder).collect()
}

impl Source for Folder {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(&self) -> Box<dyn Iterator<Item = Listed> + Send + '_> {
        let mut walk = Walk { roots: &self.roots, ..Walk::default() };
        match self.is_file {
            true => walk.files.push_back(self.root.clone()),
            false => walk.pending.push(Dir { path: self.root.clone(), real: self.root.clone() }),
        }
        Box::new(walk)
    }

    fn fetch(&self, entry: &Entry, limit: u64) -> Result<Fetched> {
        let path = uri::uri_to_path(&entry.key)?;
        let bytes = read(&path, limit)?;
        let mut sidecars = Vec::new();
        for (extension, kind) in SIDECARS {
            let beside = path.with_extension(extension);
            if beside.is_file() {
                let name = beside.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let bytes = read(&beside, SIDECAR_BYTES)
                    .map_err(|e| Error::image(format!("{name}: {}", reason(&e))))?;
                sidecars.push(Sidecar { name, kind, bytes });
            }
        }
        Ok(Fetched { bytes, sidecars, hash: None })
    }

    fn watched(&self) -> Option<&Path> {
        Some(&self.root)
    }

    fn owns(&self, key: &str, _from: &str) -> bool {
        // By the path, whichever source brought it: a folder inside this one may have been indexed by itself before.
        match uri::uri_to_path(key) {
            Ok(path) if self.is_file => path == self.root,
            Ok(path) => shows(&self.root, &path) && named_like_an_image(&path),
            Err(_) => false,
        }
    }
}

/// A folder on the way: under which name, and which it really is.
struct Dir {
    path: PathBuf,
    real: PathBuf,
}

/// The state of a listing: what is known of and not yet told.
#[derive(Default)]
struct Walk<'a> {
    roots: &'a [PathBuf],
    told: VecDeque<Listed>,
    files: VecDeque<PathBuf>,
    /// Folders to read, the next one last.
    pending: Vec<Dir>,
    /// Links to folders, read when no real folder is left.
    linked: VecDeque<PathBuf>,
    /// The real names of folders that were read by way of a link.
    visited: HashSet<PathBuf>,
}

impl Iterator for Walk<'_> {
    type Item = Listed;

    fn next(&mut self) -> Option<Listed> {
        loop {
            if let Some(listed) = self.told.pop_front() {
                return Some(listed);
            } else if let Some(path) = self.files.pop_front() {
                return Some(look(&path));
            } else if let Some(dir) = self.pending.pop() {
                self.enter(dir);
            } else {
                let path = self.linked.pop_front()?;
                match fs::canonicalize(&path) {
                    Ok(real) => self.pending.push(Dir { path, real }),
                    Err(e) => self.told.push_back(unlisted(&path, &e)),
                }
            }
        }
    }
}

impl Walk<'_> {
    fn enter(&mut self, dir: Dir) {
        let linked = dir.path != dir.real;
        if linked
            && (self.roots.iter().any(|root| shows(root, &dir.real))
                || !self.visited.insert(dir.real.clone()))
        {
            return;
        }
        let mut entries = Vec::new();
        match fs::read_dir(&dir.path) {
            Ok(all) => {
                for entry in all {
                    match entry {
                        Ok(entry) => entries.push((entry.file_name(), entry.file_type())),
                        Err(e) => self.told.push_back(unlisted(&dir.path, &e)),
                    }
                }
            }
            Err(e) => self.told.push_back(unlisted(&dir.path, &e)),
        }
        entries.retain(|(name, _)| !is_hidden(name));
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        let below = self.pending.len();
        for (name, kind) in entries {
            let path = dir.path.join(&name);
            match kind {
                Ok(kind) if kind.is_dir() => self.pending.push(Dir { path, real: dir.real.join(&name) }),
                Ok(kind) if kind.is_symlink() && path.is_dir() => self.linked.push_back(path),
                _ if named_like_an_image(&path) => self.files.push_back(path),
                _ => {}
            }
        }
        // The last is read next, so the first has to lie last.
        if let Some(found) = self.pending.get_mut(below..) {
            found.reverse();
        }
    }
}

/// The real, absolute name of a source, and whether it is a file. A linked file keeps the link's name.
fn resolve(path: &Path) -> Result<(PathBuf, bool)> {
    let missing = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Error::NotFound {
            kind: "file or folder",
            name: path.display().to_string(),
            fix: "check the path, and that its disk is there".into(),
        },
        _ => Error::io(path, e),
    };
    let kind = fs::metadata(path).map_err(missing)?;
    if kind.is_dir() {
        return Ok((fs::canonicalize(path).map_err(missing)?, false));
    }
    let whole = std::path::absolute(path).map_err(missing)?;
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => Ok((fs::canonicalize(parent).map_err(missing)?.join(name), true)),
        _ => Err(Error::invalid(format!("source {path:?}"), "expected a folder or a file")),
    }
}

/// Whether a walk from `root` comes to `path` by its own name: it lies below, and no name on the way is hidden.
fn shows(root: &Path, path: &Path) -> bool {
    path.strip_prefix(root).is_ok_and(|rest| !rest.iter().any(is_hidden))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn named_like_an_image(path: &Path) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(names::is_image)
}

/// One file as a listing tells it.
fn look(path: &Path) -> Listed {
    let refused = |reason: String| Listed::Refused(Refusal { key: key_of(path), reason });
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {
            let (stamp, size) = (stamp(path, &found), found.len());
            Listed::Image(Entry { key: key_of(path), stamp, size, ..Entry::default() })
        }
        Ok(found) => refused(format!("not a file but {}", kind_of(found.file_type()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
            refused("a link to nothing".into())
        }
        Err(e) => refused(format!("cannot be read: {e}")),
    }
}

fn unlisted(path: &Path, error: &io::Error) -> Listed {
    Listed::Unlisted(Refusal { key: key_of(path), reason: format!("the folder cannot be read: {error}") })
}

/// The walk starts at an absolute path, so only a name that is no Unicode where names must be can fail.
fn key_of(path: &Path) -> String {
    uri::path_to_uri(path).unwrap_or_else(|_| path.to_string_lossy().into_owned())
}

/// Size and time of last change, to the nanosecond, of the file and of each sidecar.
fn stamp(path: &Path, found: &Metadata) -> String {
    let one = |found: &Metadata| {
        let changed = found.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        format!("{}-{}", found.len(), changed.map_or(0, |since| since.as_nanos()))
    };
    let beside = SIDECARS.iter().filter_map(|(extension, _)| {
        let found = fs::metadata(path.with_extension(extension)).ok().filter(Metadata::is_file)?;
        Some(format!(" {extension}:{}", one(&found)))
    });
    [one(found)].into_iter().chain(beside).collect()
}

/// The stamp of a file that a list names; empty where it is not there, which fetching it will tell.
pub(super) fn stamp_of(path: &Path) -> String {
    fs::metadata(path).map(|found| stamp(path, &found)).unwrap_or_default()
}

fn kind_of(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a named pipe";
        } else if kind.is_socket() {
            return "a socket";
        } else if kind.is_block_device() || kind.is_char_device() {
            return "a device";
        }
    }
    if kind.is_dir() { "a folder" } else { "something else" }
}

/// At most `limit` bytes of a regular file. The kind is looked at first, since opening a pipe waits for a writer.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let io = |e| Error::io(path, e);
    let found = fs::metadata(path).map_err(io)?;
    if !found.is_file() {
        return Err(Error::image(format!("not a file but {}", kind_of(found.file_type()))));
    }
    let mut bytes = Vec::new();
    if found.len() <= limit {
        let file = File::open(path).map_err(io)?;
        bytes.reserve_exact(usize::try_from(found.len()).unwrap_or(0));
        // It may grow while it is read.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    }
    if found.len() > limit || bytes.len() as u64 > limit {
        let size = found.len().max(bytes.len() as u64);
        return Err(Error::image(format!("too large: {size} bytes, and the limit is {limit}")));
    }
    Ok(bytes)
}
