//! Lists of images that lie anywhere: a table's rows are URLs, URIs or paths, with captions and payload beside them.
//!
//! A row's stamp is what it says: an image behind a URL is fetched again when its row changes. Paths are taken from the list's own
//! folder.

use super::bucket::sidecars;
use super::table::{self, Format, Row};
use super::{Beside, Entry, Fetched, Listed, Place, Places, SidecarKind, Source, folder, spool};
use crate::engine::fetch;
use crate::error::{Error, Result};
use crate::ingest::report::{Refusal, reason};
use crate::types::ContentHash;
use crate::types::uri::{self, ObjectUri};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many images are fetched at once.
const LANES: usize = 32;

/// A list's images.
pub struct List {
    /// Its URI.
    name: String,
    from: From,
    /// Where relative paths begin.
    folder: Option<PathBuf>,
    places: Arc<Places>,
}

enum From {
    File(PathBuf, Format),
    Remote(Format),
    Stdin,
    /// The name is the one image's URL.
    Itself,
}

impl List {
    pub(super) fn local(path: &Path, format: Format, places: &Arc<Places>) -> Result<List> {
        let whole = std::fs::canonicalize(path).map_err(|e| Error::io(path, e))?;
        let folder = whole.parent().map(Path::to_path_buf);
        Ok(List {
            name: uri::path_to_uri(&whole)?,
            from: From::File(whole, format),
            folder,
            places: places.clone(),
        })
    }

    pub(super) fn remote(name: &str, format: Format, places: &Arc<Places>) -> List {
        List { name: name.to_owned(), from: From::Remote(format), folder: None, places: places.clone() }
    }

    pub(super) fn of_one(url: &str, places: &Arc<Places>) -> List {
        List { name: url.to_owned(), from: From::Itself, folder: None, places: places.clone() }
    }

    pub(super) fn of_stdin(places: &Arc<Places>) -> List {
        List {
            name: "-".into(),
            from: From::Stdin,
            folder: std::env::current_dir().ok(),
            places: places.clone(),
        }
    }

    fn rows(&self) -> Result<Box<dyn Iterator<Item = Result<Row>> + Send>> {
        match &self.from {
            From::File(path, format) => {
                table::of_file(File::open(path).map_err(|e| Error::io(path, e))?, *format)
            }
            From::Remote(format) => {
                let file = spool::bring(&self.name, &self.places)?;
                table::of_file(file.try_clone().map_err(|e| Error::io(std::env::temp_dir(), e))?, *format)
            }
            // Plain names, or JSON lines, told by the first sign of each line.
            From::Stdin => {
                let lines = table::of_stream(Box::new(std::io::stdin()), Format::Lines)?;
                Ok(Box::new(lines.map(|line| match line {
                    Ok(row) if row.name.starts_with('{') => table::of_json(&row.name),
                    other => other,
                })))
            }
            From::Itself => {
                Ok(Box::new(std::iter::once(Ok(Row { name: self.name.clone(), ..Row::default() }))))
            }
        }
    }

    fn listed(&self, at: usize, row: Result<Row>) -> Listed {
        let refused = |error: Error| {
            Listed::Refused(Refusal { key: format!("{}#{}", self.name, at + 1), reason: reason(&error) })
        };
        match row.and_then(|row| self.entry(row)) {
            Ok(entry) => Listed::Image(entry),
            Err(error) => refused(error),
        }
    }

    fn entry(&self, row: Row) -> Result<Entry> {
        let key = self.key(&row.name)?;
        let said = serde_json::to_vec(&row.said).map_err(|e| Error::image(e.to_string()))?;
        let stamp = match key.starts_with("file://") {
            true => format!("{} {}", folder::stamp_of(&uri::uri_to_path(&key)?), ContentHash::of(&said)),
            false => ContentHash::of(&said).to_string(),
        };
        let beside = match row.said.is_empty() {
            true => Vec::new(),
            false => {
                vec![Beside { name: "its row".into(), kind: SidecarKind::Json, place: Place::Inline(said) }]
            }
        };
        Ok(Entry { key, stamp, size: 0, part: None, beside })
    }

    /// The key of what a row names.
    fn key(&self, name: &str) -> Result<String> {
        if fetch::is_url(name) {
            return Ok(name.to_owned());
        }
        if let Ok(object) = name.parse::<ObjectUri>() {
            return Ok(uri::object(object.scheme, &object.bucket, &object.key));
        }
        if name.starts_with("file://") {
            return uri::path_to_uri(&uri::uri_to_path(name)?);
        }
        match &self.folder {
            Some(folder) if !name.contains("://") => uri::path_to_uri(&folder.join(name)),
            _ => Err(Error::image(format!("{name:?} is no URL that can be fetched"))),
        }
    }
}

impl Source for List {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(&self) -> Box<dyn Iterator<Item = Listed> + Send + '_> {
        match self.rows() {
            Ok(rows) => Box::new(rows.enumerate().map(|(at, row)| self.listed(at, row))),
            Err(error) => {
                let refusal = Refusal { key: self.name.clone(), reason: reason(&error) };
                Box::new(std::iter::once(Listed::Unlisted(refusal)))
            }
        }
    }

    fn fetch(&self, entry: &Entry, limit: u64) -> Result<Fetched> {
        let key = &entry.key;
        let bytes = match key.parse::<ObjectUri>() {
            Ok(object) => self.places.buckets.of(&object)?.read(&object.key, limit)?,
            Err(_) if key.starts_with("file://") => folder::read(&uri::uri_to_path(key)?, limit)?,
            Err(_) => self.places.web.get(key)?,
        };
        Ok(Fetched {
            bytes,
            sidecars: sidecars(entry, |name| Err(Error::image(format!("no {name}"))))?,
            hash: None,
        })
    }

    fn watched(&self) -> Option<&Path> {
        if let From::File(path, _) = &self.from { Some(path) } else { None }
    }

    fn lanes(&self) -> usize {
        LANES
    }
}
