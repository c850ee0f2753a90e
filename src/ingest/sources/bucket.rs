//! Objects of a bucket below a prefix.
//!
//! `s3://photos/2024` is everything whose name begins with `2024/`, or the one object of that name. Names with a part that begins
//! with a dot are skipped, as in folders.

use super::siblings::{Family, Siblings};
use super::{Beside, Entry, Fetched, Listed, Place, Places, SIDECAR_BYTES, Sidecar, Source, names};
use crate::engine::bucket::{Bucket, Object};
use crate::error::{Error, Result};
use crate::ingest::report::{Refusal, reason};
use crate::types::uri::{self, ObjectUri};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many objects are fetched at once: enough to hide a store's latency, few enough not to be asked to slow down.
const LANES: usize = 32;

/// What lies below a prefix of a bucket.
pub struct Objects {
    name: String,
    place: ObjectUri,
    bucket: Arc<Bucket>,
}

impl Objects {
    /// Opens `s3://bucket/prefix`, and asks for its first page, so that a wrong name or key is an error at once.
    pub(super) fn open(name: &str, places: &Places) -> Result<Objects> {
        let mut place: ObjectUri = name.parse()?;
        if place.key.starts_with('/') {
            // The library that speaks to stores would ask for another name.
            let fix = "objects whose names begin with a slash can't be read: give them other names, or name what is above";
            return Err(Error::invalid(format!("source {name:?}"), fix));
        }
        let bucket = places.buckets.of(&place)?;
        // A prefix means a folder, unless it is an object's whole name.
        let mut found = bucket.list(&place.key);
        let folder = |key: &str| format!("{}/", key.trim_end_matches('/'));
        let below = if place.key.is_empty() { String::new() } else { folder(&place.key) };
        let whole = place.key.clone();
        let first = found.next().transpose()?;
        let is_object = first.is_some_and(|object| object.key == whole && !whole.ends_with('/'));
        if !is_object {
            place.key = below;
            if bucket.list(&place.key).next().transpose()?.is_none() {
                let fix = "check the name; nothing lies there".to_owned();
                return Err(Error::NotFound { kind: "bucket or prefix", name: name.to_owned(), fix });
            }
        }
        let name = uri::object(place.scheme, &place.bucket, &place.key);
        Ok(Objects { name, place, bucket })
    }

    fn key(&self, object: &str) -> String {
        uri::object(self.place.scheme, &self.place.bucket, object)
    }

    fn listed(&self, family: Family<Object>) -> Listed {
        let (name, object) = family.image;
        let mut stamp = object.version;
        for (kind, _, object) in &family.sidecars {
            stamp.push_str(&format!(" {kind:?}:{}", object.version));
        }
        let beside = family.sidecars.into_iter().map(|(kind, name, _)| {
            let place = Place::Named(name.clone());
            Beside { name: name.rsplit('/').next().unwrap_or(&name).to_owned(), kind, place }
        });
        Listed::Image(Entry {
            key: self.key(&name),
            stamp,
            size: object.size,
            part: None,
            beside: beside.collect(),
        })
    }
}

impl Source for Objects {
    fn name(&self) -> &str {
        &self.name
    }

    fn list(&self) -> Box<dyn Iterator<Item = Listed> + Send + '_> {
        let mut objects = self.bucket.list(&self.place.key);
        let mut siblings = Some(Siblings::default());
        let mut ready: VecDeque<Listed> = VecDeque::new();
        Box::new(std::iter::from_fn(move || {
            loop {
                if let Some(listed) = ready.pop_front() {
                    return Some(listed);
                }
                let together = siblings.as_mut()?;
                match objects.next() {
                    // A name that ends in a slash is a folder that some tool made for itself.
                    Some(Ok(object)) if object.key.ends_with('/') || names::is_hidden(&object.key) => {}
                    Some(Ok(object)) => {
                        let done = together.next(object.key.clone(), object);
                        ready.extend(done.into_iter().map(|family| self.listed(family)));
                    }
                    end => {
                        ready.extend(together.end().into_iter().map(|family| self.listed(family)));
                        if let Some(Err(error)) = end {
                            let why = format!("the rest of the listing is missing: {}", reason(&error));
                            ready
                                .push_back(Listed::Unlisted(Refusal { key: self.name.clone(), reason: why }));
                        }
                        siblings = None;
                        if ready.is_empty() {
                            return None;
                        }
                    }
                }
            }
        }))
    }

    fn fetch(&self, entry: &Entry, limit: u64) -> Result<Fetched> {
        if entry.size > limit {
            return Err(Error::image(format!("too large: {} bytes, and the limit is {limit}", entry.size)));
        }
        let object: ObjectUri = entry.key.parse()?;
        let bytes = self.bucket.read(&object.key, limit)?;
        Ok(Fetched {
            bytes,
            sidecars: sidecars(entry, |name| self.bucket.read(name, SIDECAR_BYTES))?,
            hash: None,
        })
    }

    fn lanes(&self) -> usize {
        LANES
    }

    fn owns(&self, key: &str, _from: &str) -> bool {
        // A tar's members, which have a `#` in their keys, are the tar's.
        let Some(object) = key.parse::<ObjectUri>().ok().filter(|_| !key.contains('#')) else { return false };
        let below = match self.place.key.is_empty() || self.place.key.ends_with('/') {
            true => object.key.starts_with(&self.place.key),
            false => object.key == self.place.key,
        };
        let is_image = names::split(&object.key).is_some_and(|(_, extension)| names::is_image(extension));
        let is_here = (object.scheme, &object.bucket) == (self.place.scheme, &self.place.bucket);
        is_here && below && is_image && !names::is_hidden(&object.key)
    }
}

/// An entry's sidecars, those with names by `read`.
pub(super) fn sidecars(entry: &Entry, read: impl Fn(&str) -> Result<Vec<u8>>) -> Result<Vec<Sidecar>> {
    let fetch = |beside: &Beside| {
        let bytes = match &beside.place {
            Place::Named(name) => read(name),
            Place::Part(part, long) => part.read(*long, SIDECAR_BYTES),
            Place::Inline(bytes) => Ok(bytes.clone()),
        };
        let bytes = bytes.map_err(|error| match error {
            Error::Forbidden { .. } => error,
            error => Error::image(format!("{}: {}", beside.name, reason(&error))),
        })?;
        Ok(Sidecar { name: beside.name.clone(), kind: beside.kind, bytes })
    };
    entry.beside.iter().map(fetch).collect()
}
