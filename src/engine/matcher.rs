//! A matcher as callers share it: it looks at pictures through `eyes`, and those who wait together share forward passes.
//!
//! 1. `see`     each picture as the matcher sees it.
//! 2. `matches` the probability of each pair of picture and text.

use super::caller::Caller;
use super::eyes::{Glance, Looks, Sight};
use super::queue::{Load, Queue, QueueOptions};
use crate::error::{Error, Result};
use crate::models::{Blip, Features};
use std::sync::Arc;

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

/// A matcher and its queues.
pub(super) struct Matcher {
    pub blip: Arc<Blip>,
    looks: Looks<Blip>,
    pairs: Queue<(Features, String), f32>,
}

impl Matcher {
    pub fn new(blip: Blip, options: QueueOptions, features: u64) -> Result<Self> {
        let blip = Arc::new(blip);
        let (looks, reader) = (Looks::new(blip.clone(), options, features)?, blip.clone());
        let pairs = Queue::new("match", options, move |pairs: &[(Features, String)]| {
            reader.matches(&pairs.iter().map(|(seen, text)| (seen, text.as_str())).collect::<Vec<_>>())
        })?;
        Ok(Matcher { blip, looks, pairs })
    }

    /// Each picture, in order, and how many of them were remembered.
    pub fn see(&self, sights: Vec<Sight>, caller: &Caller) -> Result<(Vec<Glance<Features>>, usize)> {
        self.looks.see(sights, caller)
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
