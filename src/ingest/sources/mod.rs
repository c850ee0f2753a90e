//! The seam to places that images come from, and the table of them.
//!
//! A source lists what it has, a piece at a time, and fetches one entry's bytes when asked.
//!
//! - `folder`   folders and single files of this machine
//! - `bucket`   objects of `s3://`, `gs://`, `az://` below a prefix
//! - `tar`      webdataset shards: members of a tar, wherever it lies (`spool` brings it here)
//! - `list`     tables of URLs with captions: CSV, TSV, JSON lines, Parquet, plain lines, standard input (`table` reads them)
//! - `items`    what a collection holds, from where it lies
//!
//! `names` says what looks like an image, `siblings` joins images with the files that describe them, `braces` writes out
//! `{000..150}`.

mod braces;
mod bucket;
mod folder;
mod items;
mod list;
mod names;
mod siblings;
mod spool;
mod table;
mod tar;

pub use folder::Folder;
pub use items::Items;

use super::report::Refusal;
use crate::engine::Patience;
use crate::engine::bucket::Buckets;
use crate::engine::web::Web;
use crate::error::{Error, Result};
use crate::types::ContentHash;
use crate::types::uri::{self, ObjectUri};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place that images come from.
pub trait Source: Send + Sync {
    /// Its URI, under which the manifest keeps what came from it.
    fn name(&self) -> &str;

    /// What is there, in the same order each time, without holding all of it.
    fn list(&self) -> Box<dyn Iterator<Item = Listed> + Send + '_>;

    /// The bytes of one entry, at most `limit` of them, and of its sidecars. Called from many threads.
    fn fetch(&self, entry: &Entry, limit: u64) -> Result<Fetched>;

    /// How many fetches at once pay: few for a disk, many for a network.
    fn lanes(&self) -> usize {
        2
    }

    /// The file or folder of this machine whose changes are this source's.
    fn watched(&self) -> Option<&Path> {
        None
    }

    /// Whether a run that does a part of the images only does all of this source's or none: it has to be brought whole anyway.
    fn is_one_piece(&self) -> bool {
        false
    }

    /// Whether an item that was indexed under `key` from the source `from` would be listed here, if it were still there.
    fn owns(&self, key: &str, from: &str) -> bool {
        let _ = key;
        from == self.name()
    }
}

/// One thing that a listing says.
#[derive(Clone, Debug)]
pub enum Listed {
    /// An image, or what its name says is one.
    Image(Entry),
    /// Something with an image's name that cannot be one.
    Refused(Refusal),
    /// A part that could not be listed, so that nobody knows what it holds, and nothing may be pruned.
    Unlisted(Refusal),
}

/// An image, before it is fetched.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Its URI.
    pub key: String,
    /// Changes when the image or one of its sidecars does.
    pub stamp: String,
    /// How many bytes it said it has; 0 where nobody said.
    pub size: u64,
    /// Where its bytes lie, for a source that cannot tell by the key alone.
    pub part: Option<Part>,
    /// Its sidecars, for a source that knows them from the listing.
    pub beside: Vec<Beside>,
}

/// A piece of a file. The file stays open, and a temporary one stays on the disk, until the last of its pieces is dropped.
#[derive(Clone, Debug)]
pub struct Part {
    /// The file.
    pub file: Arc<File>,
    /// Where the piece begins, in bytes.
    pub offset: u64,
}

/// A sidecar, before it is fetched.
#[derive(Clone, Debug)]
pub struct Beside {
    /// Its name, for messages.
    pub name: String,
    /// How to read it.
    pub kind: SidecarKind,
    /// Where it is.
    pub place: Place,
}

/// Where a sidecar is.
#[derive(Clone, Debug)]
pub enum Place {
    /// Under this name of the source.
    Named(String),
    /// In this piece of a file, this long.
    Part(Part, u64),
    /// Here.
    Inline(Vec<u8>),
}

/// An image's bytes and what lies beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fetched {
    /// The image file.
    pub bytes: Vec<u8>,
    /// Same-stem files that describe it, `.txt` first.
    pub sidecars: Vec<Sidecar>,
    /// The hash of the file that the bytes are a small picture of; None where they are the file.
    pub hash: Option<ContentHash>,
}

/// A file that describes an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Sidecar {
    /// Its file name, for messages.
    pub name: String,
    /// How to read it.
    pub kind: SidecarKind,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// How a sidecar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SidecarKind {
    /// `.txt`: a caption a line.
    Text,
    /// `.json`: captions and other fields.
    Json,
}

/// The longest sidecar that is read, in bytes.
const SIDECAR_BYTES: u64 = 1 << 20;

/// What the user can name, for help and messages.
pub const FORMS: &str = "a folder or image file; s3://, gs:// or az://BUCKET/PREFIX; a webdataset .tar or a .csv, .tsv, .jsonl, .parquet or \
                         .txt list of URLs, on this machine, in a bucket or at an http(s) URL ({000..150} stands for many); or - for \
                         a list on standard input";

/// What the sources of one run ask elsewhere.
struct Places {
    buckets: Buckets,
    web: Web,
}

/// The sources that `arguments` name ([`FORMS`]). A folder or file that lies within another is left to it, so that nothing is
/// listed twice. A missing one is an error that names it.
pub fn open<S: AsRef<OsStr>>(arguments: &[S], patience: Patience) -> Result<Vec<Box<dyn Source>>> {
    let places = Arc::new(Places { buckets: Buckets::new(patience), web: Web::new(patience) });
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut others: Vec<Box<dyn Source>> = Vec::new();
    for argument in arguments {
        match argument.as_ref().to_str() {
            // What is there under its own name is meant by it, braces and all.
            Some(text) if !Path::new(text).exists() => {
                for name in braces::expand(text)? {
                    match one(&name, &places)? {
                        Named::Path(path) => paths.push(path),
                        Named::Other(source) => others.push(source),
                    }
                }
            }
            _ => match of_path(argument.as_ref().into(), &places)? {
                Named::Path(path) => paths.push(path),
                Named::Other(source) => others.push(source),
            },
        }
    }
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    for folder in folder::open(&paths)? {
        sources.push(Box::new(folder));
    }
    sources.append(&mut others);
    Ok(sources)
}

/// Folders and single images, whatever their names end in: what may be opened for somebody who must not reach further by way
/// of a list.
pub fn open_folders(paths: &[PathBuf]) -> Result<Vec<Box<dyn Source>>> {
    let boxed = |folder: Folder| -> Box<dyn Source> { Box::new(folder) };
    Ok(folder::open(paths)?.into_iter().map(boxed).collect())
}

/// Whether a text lies beside an image of its name: it is that one's captions then, and no list.
fn describes(path: &Path) -> bool {
    let is_text = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("txt"));
    let beside = |folder: std::fs::ReadDir| {
        folder.flatten().map(|entry| entry.path()).any(|other| {
            let ending = other.extension().and_then(OsStr::to_str);
            other.file_stem() == path.file_stem() && ending.is_some_and(names::is_image)
        })
    };
    is_text && path.parent().and_then(|folder| std::fs::read_dir(folder).ok()).is_some_and(beside)
}

/// Whether a change of this file may change what a source lists: it is an image, describes one, lists some, or may be a folder.
pub(super) fn looks_relevant(path: &Path) -> bool {
    let shown = path.to_string_lossy();
    match path.extension().and_then(OsStr::to_str) {
        Some(end) => {
            names::is_image(end)
                || names::sidecar(end).is_some()
                || table::Format::of(&shown).is_some()
                || tar::is_tar(&shown)
        }
        None => true,
    }
}

enum Named {
    /// A folder or an image.
    Path(PathBuf),
    Other(Box<dyn Source>),
}

fn one(name: &str, places: &Arc<Places>) -> Result<Named> {
    if name == "-" {
        return Ok(Named::Other(Box::new(list::List::of_stdin(places))));
    }
    if name.starts_with("file://") {
        return of_path(uri::uri_to_path(name)?, places);
    }
    if !name.contains("://") {
        return of_path(PathBuf::from(name), places);
    }
    let web = name.starts_with("http://") || name.starts_with("https://");
    if !web && name.parse::<ObjectUri>().is_err() {
        return Err(Error::invalid(format!("source {name:?}"), format!("expected {FORMS}")));
    }
    let path = name.split(['?', '#']).next().unwrap_or(name);
    Ok(Named::Other(match (tar::is_tar(path), table::Format::of(path)) {
        (true, _) => Box::new(tar::Tar::remote(name, places)),
        (_, Some(format)) => Box::new(list::List::remote(name, format, places)),
        _ if web => Box::new(list::List::of_one(name, places)),
        _ => Box::new(bucket::Objects::open(name, places)?),
    }))
}

fn of_path(path: PathBuf, places: &Arc<Places>) -> Result<Named> {
    let shown = path.to_string_lossy().into_owned();
    if path.is_file() && tar::is_tar(&shown) {
        return Ok(Named::Other(Box::new(tar::Tar::local(&path, places)?)));
    }
    match table::Format::of(&shown) {
        Some(format) if path.is_file() && !describes(&path) => {
            Ok(Named::Other(Box::new(list::List::local(&path, format, places)?)))
        }
        _ => Ok(Named::Path(path)),
    }
}
