//! Looking at pictures once, for whoever asks: what a model makes of each is remembered, and those who wait together share
//! forward passes.
//!
//! 1. A [`Sight`] says which picture, and where its bytes are.
//! 2. Those that are not remembered and lie elsewhere are fetched by whoever asks for them, a few at a time, so that nobody waits
//!    for another's network.
//! 3. All are read, checked against their hash, decoded and prepared, side by side.
//! 4. They go through the vision tower together; what it makes of them is remembered.
//!
//! A picture that cannot be had says why, and costs no other anything.

use super::caller::Caller;
use super::decode;
use super::picture::{Shelf, is_far};
use super::queue::{Load, Queue, QueueOptions};
use super::recent::Recent;
use super::refetch::Afar;
use crate::error::{Error, Result};
use crate::models::{Blip, Features, Llava, Pixels, Seen, View};
use crate::types::{ContentHash, Item};
use image::RgbImage;
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The most pictures that share a pass through the vision tower: their states are large.
const LOOKS: usize = 16;

/// What one look gives: what the model made of the picture, or why there is nothing.
pub(super) type Glance<S> = Result<S, String>;

/// A model that looks at pictures.
pub(super) trait Eyes: Send + Sync + 'static {
    /// A picture as it wants to see it.
    type View: Send;
    /// What it makes of one; cheap to clone.
    type Seen: Clone + Send + 'static;

    fn prepare(&self, image: &RgbImage) -> Result<Self::View>;
    fn look(&self, views: &[Self::View]) -> Result<Vec<Self::Seen>>;
    /// What it takes in memory.
    fn bytes(seen: &Self::Seen) -> usize;
}

/// A picture to look at.
#[derive(Clone)]
pub(super) struct Sight {
    pub hash: ContentHash,
    place: Place,
}

/// Where its bytes are.
#[derive(Clone)]
enum Place {
    Item {
        key: String,
        size: u64,
        shelf: Shelf,
    },
    Here(Arc<[u8]>),
    /// Nowhere: it could not be fetched.
    Lost {
        key: String,
        why: String,
    },
}

impl Sight {
    /// The picture of an item.
    pub fn of(item: &Item, shelf: &Shelf) -> Self {
        let (key, size, shelf) = (item.key.clone(), item.size, shelf.clone());
        Sight { hash: item.hash, place: Place::Item { key, size, shelf } }
    }

    /// A picture whose bytes are at hand.
    pub fn here(bytes: Vec<u8>) -> Self {
        Sight { hash: ContentHash::of(&bytes), place: Place::Here(bytes.into()) }
    }

    fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match &self.place {
            Place::Item { key, size, shelf } => shelf.read(key, &self.hash, *size).map(Cow::Owned),
            Place::Here(bytes) => Ok(Cow::Borrowed(bytes)),
            Place::Lost { why, .. } => Err(Error::image(why)),
        }
    }

    /// What fetches it, and how many bytes, where it lies elsewhere.
    fn afar(&self) -> Option<(&Arc<Afar>, u64)> {
        match &self.place {
            Place::Item { key, size, shelf } if is_far(key) => Some((&shelf.afar, *size)),
            _ => None,
        }
    }

    /// The same picture with its bytes at hand, or why they are not.
    fn brought(self, caller: &Caller) -> Sight {
        let Place::Item { key, size, shelf } = self.place else { return self };
        let read = caller.check().and_then(|()| shelf.read(&key, &self.hash, size));
        let place = match read {
            Ok(bytes) => Place::Here(bytes.into()),
            Err(error) => Place::Lost { key, why: error.to_string() },
        };
        Sight { hash: self.hash, place }
    }

    /// Equal bytes may lie in several places, of which one may be gone: each place is tried.
    fn name(&self) -> &str {
        match &self.place {
            Place::Item { key, .. } | Place::Lost { key, .. } => key,
            Place::Here(_) => "",
        }
    }
}

/// The line before a model's eyes, and what is remembered.
pub(super) struct Looks<E: Eyes> {
    queue: Queue<Sight, Glance<E::Seen>>,
    memory: Arc<Memory<E>>,
}

struct Memory<E: Eyes>(Mutex<Recent<ContentHash, E::Seen>>);

impl<E: Eyes> Looks<E> {
    /// `bytes` is how much is remembered.
    pub fn new(eyes: Arc<E>, options: QueueOptions, bytes: u64) -> Result<Self> {
        let memory = Arc::new(Memory::<E>(Mutex::new(Recent::new(bytes))));
        let remembered = memory.clone();
        let few = QueueOptions { batch: options.batch.min(LOOKS), ..options };
        let queue = Queue::new("picture", few, move |sights: &[Sight]| look(&*eyes, &remembered, sights))?;
        Ok(Looks { queue, memory })
    }

    /// What the model makes of each of `sights`, in order, and how many of them were remembered.
    pub fn see(&self, sights: Vec<Sight>, caller: &Caller) -> Result<(Vec<Glance<E::Seen>>, usize)> {
        let mut seen: Vec<Option<Glance<E::Seen>>> =
            sights.iter().map(|sight| self.memory.recall(&sight.hash).map(Ok)).collect();
        let missing = sights.into_iter().enumerate();
        let missing: Vec<(usize, Sight)> =
            missing.filter(|(at, _)| seen.get(*at).is_some_and(Option::is_none)).collect();
        let remembered = seen.len() - missing.len();
        let (far, near): (Vec<_>, Vec<_>) = missing.into_iter().partition(|(_, one)| one.afar().is_some());
        let mut ask = |few: Vec<(usize, Sight)>| -> Result<()> {
            let (places, sights): (Vec<usize>, Vec<Sight>) = few.into_iter().unzip();
            for (at, made) in places.into_iter().zip(self.queue.ask(sights, caller)?) {
                seen.get_mut(at).into_iter().for_each(|place| *place = Some(made.clone()));
            }
            Ok(())
        };
        if !near.is_empty() {
            ask(near)?;
        }
        for few in portions(far) {
            let Some((afar, _)) = few.first().and_then(|(_, one)| one.afar()) else { continue };
            let (afar, all) = (afar.clone(), few.iter().filter_map(|(_, one)| Some(one.afar()?.1)).sum());
            // Their bytes take room until they have been looked at.
            let _room = afar.hold(all, caller)?;
            let few = afar.each(few, |(at, one)| (at, one.brought(caller)));
            caller.check()?;
            ask(few)?;
        }
        let seen = seen.into_iter().map(|seen| seen.unwrap_or_else(|| Err("nothing came back".into())));
        Ok((seen.collect(), remembered))
    }

    /// What its queue has done so far.
    pub fn load(&self) -> Load {
        self.queue.load()
    }
}

impl<E: Eyes> Memory<E> {
    fn recall(&self, hash: &ContentHash) -> Option<E::Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hash)
    }

    fn remember(&self, hash: ContentHash, seen: &E::Seen) {
        let cost = E::bytes(seen) as u64;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(hash, seen.clone(), cost);
    }
}

/// Pictures that are to be fetched, in portions that may be held together.
fn portions(far: Vec<(usize, Sight)>) -> Vec<Vec<(usize, Sight)>> {
    let (mut portions, mut held): (Vec<Vec<_>>, u64) = (vec![], 0);
    for one in far {
        let size = one.1.afar().map_or(0, |(_, size)| size);
        held = held.saturating_add(size);
        match portions.last_mut().filter(|_| held <= Afar::room()) {
            Some(portion) => portion.push(one),
            None => {
                portions.push(vec![one]);
                held = size;
            }
        }
    }
    portions
}

/// Looks at pictures that wait together: each once, however many callers ask for it.
fn look<E: Eyes>(eyes: &E, memory: &Memory<E>, sights: &[Sight]) -> Result<Vec<Glance<E::Seen>>> {
    let mut seen: HashMap<ContentHash, Glance<E::Seen>> = HashMap::new();
    for sight in sights {
        // Another batch may have seen it since this one was asked for.
        if let Some(known) = memory.recall(&sight.hash) {
            seen.insert(sight.hash, Ok(known));
        }
    }
    let mut fresh: Vec<&Sight> = sights.iter().filter(|sight| !seen.contains_key(&sight.hash)).collect();
    fresh.sort_by(|a, b| (a.hash, a.name()).cmp(&(b.hash, b.name())));
    fresh.dedup_by(|a, b| (a.hash, a.name()) == (b.hash, b.name()));
    let prepare = |sight: &&Sight| -> Result<_> {
        eyes.prepare(&decode::decode(&sight.bytes()?, &decode::Limits::default())?.image)
    };
    let prepared: Vec<_> = fresh.par_iter().map(prepare).collect();
    let (mut hashes, mut views) = (vec![], vec![]);
    for (sight, prepared) in fresh.iter().zip(prepared) {
        match prepared {
            Ok(_) if hashes.contains(&sight.hash) => {}
            Ok(view) => {
                hashes.push(sight.hash);
                views.push(view);
            }
            Err(error) => _ = seen.entry(sight.hash).or_insert_with(|| Err(error.to_string())),
        }
    }
    let looked = if views.is_empty() { vec![] } else { eyes.look(&views)? };
    for (hash, looked) in hashes.into_iter().zip(looked) {
        memory.remember(hash, &looked);
        seen.insert(hash, Ok(looked));
    }
    let of = |sight: &Sight| seen.get(&sight.hash).cloned();
    Ok(sights.iter().map(|sight| of(sight).unwrap_or_else(|| Err("it was not looked at".into()))).collect())
}

impl Eyes for Blip {
    type View = Pixels;
    type Seen = Features;

    fn prepare(&self, image: &RgbImage) -> Result<Pixels> {
        Blip::prepare(self, image)
    }

    /// In half the memory, so that the answer is the same whether it is remembered or fresh.
    fn look(&self, views: &[Pixels]) -> Result<Vec<Features>> {
        Ok(Blip::look(self, views)?.iter().map(Features::to_half).collect())
    }

    fn bytes(seen: &Features) -> usize {
        seen.bytes()
    }
}

/// A LLaVA, and whether it looks at pictures closely, where it can.
pub(super) struct LlavaEyes {
    pub llava: Arc<Llava>,
    pub tiles: bool,
}

impl Eyes for LlavaEyes {
    type View = View;
    type Seen = Seen;

    fn prepare(&self, image: &RgbImage) -> Result<View> {
        self.llava.prepare(image, self.tiles)
    }

    fn look(&self, views: &[View]) -> Result<Vec<Seen>> {
        self.llava.look(views)
    }

    fn bytes(seen: &Seen) -> usize {
        seen.bytes()
    }
}
