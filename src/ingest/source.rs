//! The seam to places that images come from, and the table of them.
//!
//! A source lists what it has, a piece at a time, and fetches one entry's bytes when asked. A folder is the first; a bucket,
//! a tar and a list of URLs fit the same two verbs.

use super::folder::{self, Folder};
use super::report::Refusal;
use crate::error::{Error, Result};
use crate::types::uri;
use std::ffi::OsStr;
use std::path::PathBuf;

/// A place that images come from.
pub trait Source: Send + Sync {
    /// Its URI, under which the manifest keeps what came from it.
    fn name(&self) -> &str;

    /// What is there, in the same order each time, without holding all of it.
    fn list(&self) -> Box<dyn Iterator<Item = Listed> + Send + '_>;

    /// The bytes of one entry, at most `limit` of them, and of its sidecars. Called from many threads.
    fn fetch(&self, entry: &Entry, limit: u64) -> Result<Fetched>;

    /// Whether an item that was indexed under `key` from the source `from` would be listed here, if it were still there.
    fn owns(&self, key: &str, from: &str) -> bool {
        let _ = key;
        from == self.name()
    }
}

/// One thing that a listing says.
#[derive(Clone, Debug, PartialEq)]
pub enum Listed {
    /// An image, or what its name says is one.
    Image(Entry),
    /// Something with an image's name that cannot be one.
    Refused(Refusal),
    /// A part that could not be listed, so that nobody knows what it holds, and nothing may be pruned.
    Unlisted(Refusal),
}

/// An image, before it is fetched.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its URI.
    pub key: String,
    /// Changes when the image or one of its sidecars does.
    pub stamp: String,
    /// How many bytes it said it has.
    pub size: u64,
}

/// An image's bytes and what lies beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fetched {
    /// The image file.
    pub bytes: Vec<u8>,
    /// Same-stem files that describe it, `.txt` first.
    pub sidecars: Vec<Sidecar>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SidecarKind {
    /// `.txt`: a caption a line.
    Text,
    /// `.json`: captions and other fields.
    Json,
}

/// The sources that `arguments` name: paths or `file://` URIs of folders and single files. One that lies within another
/// is left to it, so that nothing is listed twice. A missing one is an error that names it.
pub fn open<S: AsRef<OsStr>>(arguments: &[S]) -> Result<Vec<Box<dyn Source>>> {
    let paths: Vec<PathBuf> =
        arguments.iter().map(|argument| path_of(argument.as_ref())).collect::<Result<_>>()?;
    let boxed = |folder: Folder| -> Box<dyn Source> { Box::new(folder) };
    Ok(folder::open(&paths)?.into_iter().map(boxed).collect())
}

fn path_of(argument: &OsStr) -> Result<PathBuf> {
    match argument.to_str() {
        Some(text) if text.starts_with("file://") => uri::uri_to_path(text),
        Some(text) if text.contains("://") && !PathBuf::from(text).exists() => {
            Err(Error::invalid(format!("source {text:?}"), "expected a folder, a file, or a file:// URI"))
        }
        _ => Ok(PathBuf::from(argument)),
    }
}
