//! One image from its entry in a listing to what the engine takes. Runs on many threads at once.

use super::folder::reason;
use super::options::IndexOptions;
use super::report::Refusal;
use super::sidecar;
use super::source::{Entry, Source};
use crate::engine::{Collection, Gate, NewItem, decode};
use crate::error::{Error, Result};
use crate::types::ContentHash;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One entry to do, and where it can be fetched.
pub(super) struct Task<'a> {
    pub source: &'a dyn Source,
    pub entry: Entry,
}

/// What became of a task.
pub(super) enum Outcome {
    /// It can be written.
    Ready(Box<NewItem>),
    /// Something is wrong with this image, and with no other.
    Refused(Refusal),
    /// Something is wrong with everything: the run must end.
    Failed(Error),
}

/// What the threads share: the collection, the settings, and two bounds on memory. A thread takes from `bytes` first and
/// then from `pixels`, always in that order, so that no two can wait for one another.
pub(super) struct Workshop<'a> {
    collection: &'a Collection,
    options: &'a IndexOptions,
    bytes: Gate,
    pixels: Gate,
}

impl<'a> Workshop<'a> {
    pub fn new(collection: &'a Collection, options: &'a IndexOptions) -> Self {
        let (bytes, pixels) = (Gate::new(options.limits.bytes), Gate::new(options.limits.memory));
        Workshop { collection, options, bytes, pixels }
    }

    /// Fetches, hashes, and, unless the bytes are known, decodes.
    pub fn prepare(&self, task: &Task) -> Outcome {
        let made = catch_unwind(AssertUnwindSafe(|| self.item(task)));
        let broke = || Err(Fault::OfImage(Error::image("it broke the program: please report it")));
        match made.unwrap_or_else(|_| broke()) {
            Ok(item) => Outcome::Ready(Box::new(item)),
            Err(Fault::OfImage(error)) => {
                Outcome::Refused(Refusal { key: task.entry.key.clone(), reason: reason(&error) })
            }
            Err(Fault::OfAll(error)) => Outcome::Failed(error),
        }
    }

    fn item(&self, task: &Task) -> Result<NewItem, Fault> {
        let Task { source, entry } = task;
        let limits = &self.options.limits;
        let _bytes = self.bytes.hold(entry.size);
        let fetched = source.fetch(entry, limits.bytes).map_err(Fault::OfImage)?;
        let said = sidecar::read(&fetched.sidecars, self.options.captions).map_err(Fault::OfImage)?;
        let hash = ContentHash::of(&fetched.bytes);
        let mut item = NewItem {
            key: entry.key.clone(),
            hash,
            size: fetched.bytes.len() as u64,
            width: 0,
            height: 0,
            format: String::new(),
            taken: None,
            exif: Default::default(),
            captions: said.captions,
            payload: said.payload,
            pixels: None,
            bytes: None,
            source: source.name().to_owned(),
            stamp: entry.stamp.clone(),
        };
        if let Some(known) = self.collection.known(&hash)? {
            (item.width, item.height, item.format) = (known.width, known.height, known.format);
            (item.taken, item.exif) = (known.taken, known.exif);
            return Ok(item);
        }
        let opened = decode::open(&fetched.bytes, limits).map_err(Fault::OfImage)?;
        let facts = opened.facts.clone();
        let _pixels = self.pixels.hold(opened.memory);
        let image = opened.decode().map_err(Fault::OfImage)?;
        item.pixels = Some(self.collection.prepare(&image)?);
        (item.width, item.height, item.format) = (facts.width, facts.height, facts.format.to_owned());
        (item.taken, item.exif) = (facts.taken, facts.exif);
        Ok(item)
    }
}

/// Whose fault it is that an image cannot be taken.
pub(super) enum Fault {
    /// This one image's: it is refused, and the run goes on.
    OfImage(Error),
    /// The machine's, the model's or the store's: the next image would fare no better.
    OfAll(Error),
}

/// An error of the engine's.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Image { .. } | Error::Vector { .. } | Error::Invalid { .. } | Error::Compute { .. } => {
                Fault::OfImage(error)
            }
            _ => Fault::OfAll(error),
        }
    }
}
