//! Webdataset shards: the members of a tar. A sample is what shares a name up to its ending: `000.jpg`, `000.txt`, `000.json`.
//!
//! A tar in a bucket or behind a URL is brought here first, and its copy goes away when the last of its images is done. A member's
//! key is the tar's URI, `#`, and its name.

use super::siblings::{Family, Siblings};
use super::{Beside, Entry, Fetched, Listed, Part, Place, Places, Source, bucket, names, spool};
use crate::error::{Error, Result};
use crate::ingest::report::{Refusal, reason};
use crate::types::uri::{self, ObjectUri};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Whether a name says tar. Compressed ones cannot be read at any place but their beginning, and are told so when opened.
pub(super) fn is_tar(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz"].iter().any(|ending| name.ends_with(ending))
}

/// A tar's members.
pub struct Tar {
    /// Its URI.
    name: String,
    path: Option<PathBuf>,
    places: Arc<Places>,
}

/// A member: where its bytes begin, how many they are.
#[derive(Clone)]
struct Member {
    offset: u64,
    size: u64,
}

impl Tar {
    pub(super) fn local(path: &Path, places: &Arc<Places>) -> Result<Tar> {
        let whole = std::fs::canonicalize(path).map_err(|e| Error::io(path, e))?;
        Ok(Tar { name: uri::path_to_uri(&whole)?, path: Some(whole), places: places.clone() })
    }

    pub(super) fn remote(name: &str, places: &Arc<Places>) -> Tar {
        Tar { name: name.to_owned(), path: None, places: places.clone() }
    }

    fn open(&self) -> Result<(Arc<File>, String)> {
        if !self.name.to_ascii_lowercase().split(['?', '#']).next().unwrap_or_default().ends_with(".tar") {
            return Err(Error::image("a compressed tar can't be read in pieces: unpack it to a plain .tar"));
        }
        match &self.path {
            Some(path) => {
                let file = File::open(path).map_err(|e| Error::io(path, e))?;
                let found = file.metadata().map_err(|e| Error::io(path, e))?;
                let changed = found.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                let version = format!("{}-{}", found.len(), changed.map_or(0, |since| since.as_nanos()));
                Ok((Arc::new(file), version))
            }
            None => {
                let version = match self.name.parse::<ObjectUri>() {
                    Ok(object) => self.places.buckets.of(&object)?.version(&object.key)?,
                    Err(_) => String::new(),
                };
                Ok((spool::bring(&self.name, &self.places)?, version))
            }
        }
    }

    fn listed(&self, family: Family<Member>, file: &Arc<File>, version: &str) -> Listed {
        let part = |member: &Member| Part { file: file.clone(), offset: member.offset };
        let (name, member) = family.image;
        let beside = family.sidecars.into_iter().map(|(kind, name, member)| {
            let place = Place::Part(part(&member), member.size);
            Beside { name: name.rsplit('/').next().unwrap_or(&name).to_owned(), kind, place }
        });
        Listed::Image(Entry {
            key: format!("{}#{}", self.name, uri::encode(&name)),
            stamp: format!("{version}@{}", member.offset),
            size: member.size,
            part: Some(part(&member)),
            beside: beside.collect(),
        })
    }

    /// Walks the headers, and tells what stands between them.
    fn walk(&self, tell: &mut dyn FnMut(Listed) -> bool) -> Result<()> {
        let (file, version) = self.open()?;
        let broken = |e: std::io::Error| Error::image(format!("the tar breaks off or is damaged: {e}"));
        let mut reader = file.try_clone().map_err(broken)?;
        reader.seek(SeekFrom::Start(0)).map_err(broken)?;
        let mut archive = ::tar::Archive::new(reader);
        let long = file.metadata().map_err(broken)?.len();
        let (mut siblings, mut end) = (Siblings::default(), Ok(()));
        for entry in archive.entries_with_seek().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
            if !entry.header().entry_type().is_file() || names::is_hidden(&name) {
                continue;
            }
            let member = Member { offset: entry.raw_file_position(), size: entry.size() };
            // Skipping a member that is cut short looks like the end, and pruning would take the rest for gone.
            if member.offset.saturating_add(member.size) > long {
                end = Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
                break;
            }
            for family in siblings.next(name, member) {
                if !tell(self.listed(family, &file, &version)) {
                    return Ok(());
                }
            }
        }
        for family in siblings.end() {
            if !tell(self.listed(family, &file, &version)) {
                return Ok(());
            }
        }
        end
    }
}

impl Source for Tar {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(&self) -> Box<dyn Iterator<Item = Listed> + Send + '_> {
        // The archive's reader borrows from itself, so the walk is gathered: some hundred bytes for each member of one shard.
        let mut found = Vec::new();
        let walked = self.walk(&mut |listed| {
            found.push(listed);
            true
        });
        if let Err(error) = walked {
            found.push(Listed::Unlisted(Refusal { key: self.name.clone(), reason: reason(&error) }));
        }
        Box::new(found.into_iter())
    }

    fn watched(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    fn is_one_piece(&self) -> bool {
        true
    }

    fn fetch(&self, entry: &Entry, limit: u64) -> Result<Fetched> {
        let part = entry.part.as_ref().ok_or_else(|| Error::image("it is no member of this tar"))?;
        let bytes = part.read(entry.size, limit)?;
        Ok(Fetched {
            bytes,
            sidecars: bucket::sidecars(entry, |name| Err(Error::image(format!("no {name}"))))?,
            hash: None,
        })
    }
}
