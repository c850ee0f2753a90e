//! One image from its entry in a listing to what the engine takes. Runs on many threads at once.

use super::errors::Stage;
use super::occupancy::Clock;
use super::options::IndexOptions;
use super::report::{Refusal, reason, tries};
use super::sidecar;
use super::sources::{Entry, Fetched, Source};
use super::target::{CHANGED, Target};
use crate::engine::{Collection, Describer, Gate, Held, NewItem, Sketch, decode, thumbnail_covering};
use crate::error::{Error, Result};
use crate::types::ContentHash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// One entry to do, and where it can be fetched.
pub(super) struct Task<'a> {
    pub source: &'a dyn Source,
    pub entry: Entry,
}

/// An image ready to be written.
pub(super) struct Prepared {
    pub item: NewItem,
    /// The picture for whatever writes and judges captions.
    pub sketch: Option<Sketch>,
}

/// What became of a task.
pub(super) enum Outcome {
    /// It can be written, after its captions have been seen to where there is a sketch of it.
    Ready(Box<Prepared>),
    /// Something is wrong with this image, and with no other.
    Refused(Refusal, Stage, u32),
    /// Something is wrong with everything: the run must end.
    Failed(Error),
}

/// What a fetch brought, and the room that it takes.
pub(super) struct Haul<'a> {
    fetched: Result<Fetched, Fault>,
    held: Held<'a>,
}

/// How many bytes an image of untold length is taken to have.
const UNTOLD: u64 = 4 << 20;

/// What the threads share: the collection, the settings, and two bounds on memory. A thread takes from `bytes` first and
/// then from `pixels`, always in that order, so that no two can wait for one another.
pub(super) struct Workshop<'a> {
    pub target: Target<'a>,
    options: &'a IndexOptions,
    bytes: Gate,
    pixels: Gate,
    pub clock: Arc<Clock>,
}

impl<'a> Workshop<'a> {
    pub fn new(collection: &'a Collection, options: &'a IndexOptions, clock: Arc<Clock>) -> Self {
        let (bytes, pixels) = (Gate::new(options.limits.bytes), Gate::new(options.limits.memory));
        let target = Target::of(collection, options);
        Workshop { target, options, bytes, pixels, clock }
    }

    /// Fetches what a task names.
    pub fn fetch(&self, task: &Task) -> Haul<'_> {
        let held = self.bytes.hold(if task.entry.size == 0 { UNTOLD } else { task.entry.size });
        let fetch = || match task.source.fetch(&task.entry, self.options.limits.bytes) {
            // A store that takes our credentials no longer will not take them for the next image.
            Err(error @ Error::Forbidden { .. }) => Err(Fault::OfAll(error)),
            fetched => fetched.map_err(Fault::OfImage),
        };
        let fetched = self.clock.time(Stage::Fetch, || self.guarded(fetch));
        Haul { fetched, held }
    }

    /// Hashes what was fetched, and, unless the bytes are known, decodes it.
    pub fn prepare(&self, task: &Task, haul: Haul) -> Outcome {
        let Haul { fetched, held } = haul;
        let (made, stage) = match fetched {
            Ok(fetched) => {
                let item = || self.guarded(|| self.item(task, &fetched));
                (self.clock.time(Stage::Decode, item), Stage::Decode)
            }
            Err(fault) => (Err(fault), Stage::Fetch),
        };
        drop(held);
        match made {
            Ok(prepared) => Outcome::Ready(Box::new(prepared)),
            Err(Fault::OfImage(error)) => {
                let refusal = Refusal { key: task.entry.key.clone(), reason: reason(&error) };
                Outcome::Refused(refusal, stage, tries(&error))
            }
            Err(Fault::OfAll(error)) => Outcome::Failed(error),
        }
    }

    /// What `work` makes; where it panics, that is this image's fault.
    fn guarded<T>(&self, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        let broke = |_| Err(Fault::OfImage(Error::image("it broke the program: please report it")));
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(broke)
    }

    /// How many pixels a side all that look at an image make of it; None for as many as there are.
    fn enough(&self, describer: Option<&Arc<Describer>>) -> Result<Option<u32>, Fault> {
        let described = describer.map_or(Some(0), |describer| describer.enough());
        let kept = self.options.thumbnails.unwrap_or(0);
        Ok(self.target.enough()?.zip(described).map(|(encoder, describer)| encoder.max(describer).max(kept)))
    }

    fn item(&self, task: &Task, fetched: &Fetched) -> Result<Prepared, Fault> {
        let Task { source, entry } = task;
        let limits = &self.options.limits;
        let said = sidecar::read(&fetched.sidecars, self.options.captions).map_err(Fault::OfImage)?;
        let hash = fetched.hash.unwrap_or_else(|| ContentHash::of(&fetched.bytes));
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
            thumbnail: None,
            source: source.name().to_owned(),
            stamp: entry.stamp.clone(),
        };
        if !self.target.takes(&entry.key, &hash)? {
            return Err(Fault::OfImage(Error::image(CHANGED)));
        }
        let known = self.target.known(&hash)?;
        if let Some(known) = &known {
            (item.width, item.height, item.format) = (known.width, known.height, known.format.clone());
            (item.taken, item.exif) = (known.taken, known.exif.clone());
            item.thumbnail = self.target.thumbnail(known)?;
        }
        let describer = self.options.describer.as_ref().filter(|describer| describer.wants(&item.captions));
        let shown = self.options.thumbnails.filter(|_| item.thumbnail.is_none());
        if known.is_some() && describer.is_none() && shown.is_none() {
            return Ok(Prepared { item, sketch: None });
        }
        let opened = decode::open(&fetched.bytes, limits).map_err(Fault::OfImage)?;
        let facts = opened.facts.clone();
        let _pixels = self.pixels.hold(opened.memory);
        let image = opened.decode_for(self.enough(describer)?).map_err(Fault::OfImage)?;
        let sketch = describer.map(|describer| describer.prepare(&image)).transpose()?;
        item.thumbnail = match shown {
            Some(side) => Some(thumbnail_covering(&image, side)?),
            None => item.thumbnail,
        };
        if known.is_none() {
            item.pixels = Some(self.target.prepare(&image)?);
            (item.width, item.height, item.format) = (facts.width, facts.height, facts.format.to_owned());
            (item.taken, item.exif) = (facts.taken, facts.exif);
        }
        decode::give_back(image);
        Ok(Prepared { item, sketch })
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
