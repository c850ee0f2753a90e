//! A matcher as callers share it: what pictures look like is remembered, and those who wait together share forward passes.
//!
//! 1. `see`     each item's picture as the matcher sees it: remembered, or read from where it lies, checked against its hash,
//!    decoded and run through the vision tower. One that cannot be had says why, and costs no other anything.
//! 2. `matches` the probability of each pair of picture and text.

use super::caller::Caller;
use super::decode;
use super::picture::Shelf;
use super::queue::{Load, Queue, QueueOptions};
use super::recent::Recent;
use crate::error::{Error, Result};
use crate::models::{Blip, Features};
use crate::types::{ContentHash, Item};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The most pictures that share a pass through the vision tower: their states are large.
const LOOKS: usize = 16;

/// What one look gives: the picture, or why there is none.
pub(super) type Seen = std::result::Result<Features, String>;

/// Which matcher, and how much it remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchOptions {
    /// Its name; None for the demo one where a collection's encoder is the demo one, and none elsewhere.
    pub matcher: Option<String>,
    /// How many bytes of pictures' features are remembered.
    pub features: u64,
}

impl Default for MatchOptions {
    fn default() -> Self {
        MatchOptions { matcher: None, features: 256 << 20 }
    }
}

/// A matcher, its queues and its memory.
pub(super) struct Matcher {
    pub blip: Arc<Blip>,
    looks: Queue<Sight, Seen>,
    pairs: Queue<(Features, String), f32>,
    memory: Arc<Memory>,
}

type Memory = Mutex<Recent<ContentHash, Features>>;

/// A picture to look at.
#[derive(Clone)]
struct Sight {
    key: String,
    hash: ContentHash,
    size: u64,
    shelf: Shelf,
}

impl Matcher {
    pub fn new(blip: Blip, options: QueueOptions, features: u64) -> Result<Self> {
        let blip = Arc::new(blip);
        let memory: Arc<Memory> = Arc::new(Mutex::new(Recent::new(features)));
        let (eyes, reader, remembered) = (blip.clone(), blip.clone(), memory.clone());
        let few = QueueOptions { batch: options.batch.min(LOOKS), ..options };
        let looks = Queue::new("picture", few, move |sights: &[Sight]| look(&eyes, &remembered, sights))?;
        let pairs = Queue::new("match", options, move |pairs: &[(Features, String)]| {
            reader.matches(&pairs.iter().map(|(seen, text)| (seen, text.as_str())).collect::<Vec<_>>())
        })?;
        Ok(Matcher { blip, looks, pairs, memory })
    }

    /// Each item's picture, in order, and how many of them were remembered.
    pub fn see(&self, shelf: &Shelf, items: &[Item], caller: &Caller) -> Result<(Vec<Seen>, usize)> {
        let mut seen: Vec<Option<Seen>> =
            items.iter().map(|item| recall(&self.memory, &item.hash).map(Ok)).collect();
        let missing = items.iter().zip(&seen).filter(|(_, seen)| seen.is_none());
        let sight = |item: &Item| Sight {
            key: item.key.clone(),
            hash: item.hash,
            size: item.size,
            shelf: shelf.clone(),
        };
        let missing: Vec<Sight> = missing.map(|(item, _)| sight(item)).collect();
        let remembered = items.len() - missing.len();
        if !missing.is_empty() {
            let made = self.looks.ask(missing, caller)?;
            seen.iter_mut()
                .filter(|seen| seen.is_none())
                .zip(made)
                .for_each(|(place, made)| *place = Some(made));
        }
        let seen = seen.into_iter().map(|seen| seen.unwrap_or_else(|| Err("nothing came back".into())));
        Ok((seen.collect(), remembered))
    }

    /// The probability that each picture and text match.
    pub fn matches(&self, pairs: Vec<(Features, &str)>, caller: &Caller) -> Result<Vec<f32>> {
        if pairs.is_empty() {
            return Ok(vec![]);
        }
        let owned = pairs.into_iter().map(|(features, text)| (features, text.to_owned())).collect();
        let told = self.pairs.ask(owned, caller)?;
        match told.iter().all(|p| (0.0..=1.0).contains(p)) {
            true => Ok(told),
            false => Err(Error::Compute { reason: format!("{} gave no probability", self.blip.name()) }),
        }
    }

    pub fn loads(&self) -> [(String, &'static str, Load); 2] {
        let name = || self.blip.name().to_owned();
        [(name(), "picture", self.looks.load()), (name(), "match", self.pairs.load())]
    }
}

/// Looks at pictures that wait together: each once, however many callers ask for it.
fn look(blip: &Blip, memory: &Memory, sights: &[Sight]) -> Result<Vec<Seen>> {
    let mut seen: HashMap<ContentHash, Seen> = HashMap::new();
    for sight in sights {
        // Another batch may have seen it since this one was asked for.
        if let Some(features) = recall(memory, &sight.hash) {
            seen.insert(sight.hash, Ok(features));
        }
    }
    let mut fresh: Vec<&Sight> = sights.iter().filter(|sight| !seen.contains_key(&sight.hash)).collect();
    // Equal bytes may lie in several places, of which one may be gone: each place is tried.
    fresh.sort_by(|a, b| (a.hash, &a.key).cmp(&(b.hash, &b.key)));
    fresh.dedup_by(|a, b| (a.hash, &a.key) == (b.hash, &b.key));
    let prepare = |sight: &&Sight| -> Result<_> {
        let bytes = sight.shelf.read(&sight.key, &sight.hash, sight.size)?;
        blip.prepare(&decode::decode(&bytes, &decode::Limits::default())?.image)
    };
    let prepared: Vec<_> = fresh.par_iter().map(prepare).collect();
    let (mut hashes, mut pixels) = (vec![], vec![]);
    for (sight, prepared) in fresh.iter().zip(prepared) {
        match prepared {
            Ok(_) if hashes.contains(&sight.hash) => {}
            Ok(prepared) => {
                hashes.push(sight.hash);
                pixels.push(prepared);
            }
            Err(error) => _ = seen.entry(sight.hash).or_insert_with(|| Err(error.to_string())),
        }
    }
    let looked = if pixels.is_empty() { vec![] } else { blip.look(&pixels)? };
    for (hash, features) in hashes.into_iter().zip(looked) {
        // Half the memory, and the same answer whether it is remembered or fresh.
        let features = features.to_half();
        remember(memory, hash, &features);
        seen.insert(hash, Ok(features));
    }
    let of = |sight: &Sight| seen.get(&sight.hash).cloned();
    Ok(sights.iter().map(|sight| of(sight).unwrap_or_else(|| Err("it was not looked at".into()))).collect())
}

fn recall(memory: &Memory, hash: &ContentHash) -> Option<Features> {
    memory.lock().unwrap_or_else(PoisonError::into_inner).get(hash)
}

fn remember(memory: &Memory, hash: ContentHash, features: &Features) {
    let cost = features.bytes() as u64;
    memory.lock().unwrap_or_else(PoisonError::into_inner).put(hash, features.clone(), cost);
}
