//! How a run is set: checked once, here.

use super::errors::{ErrorReport, Failed};
use super::occupancy::Meter;
use crate::engine::decode::Limits;
use crate::engine::{Describer, Patience, Shadow};
use crate::error::{Error, Result};
use crate::types::ContentHash;
use std::str::FromStr;
use std::sync::Arc;

/// How many pixels a side small pictures may have.
const THUMBNAILS: std::ops::RangeInclusive<u32> = 32..=2048;

/// The settings of one run.
#[derive(Clone, Debug)]
pub struct IndexOptions {
    /// Images encoded and written at once; at least 1.
    pub batch: usize,
    /// Threads that read and decode; at least 1.
    pub workers: usize,
    /// Where captions come from.
    pub captions: Captions,
    /// What writes captions where there are none, and may judge those that are brought.
    pub describer: Option<Arc<Describer>>,
    /// The collection's shadow, where the run fills that: items that are there get its model's vectors beside those that serve.
    pub shadow: Option<Arc<Shadow>>,
    /// How many pixels the shorter side of a small picture has that is kept of each image; None for no pictures.
    pub thumbnails: Option<u32>,
    /// Whether items of these sources are removed when their image is gone.
    pub prune: bool,
    /// Which part of the images this run does; None for all.
    pub shard: Option<Shard>,
    /// Whether the run only looks what there is to do.
    pub dry_run: bool,
    /// Where what fails is written down, as it fails.
    pub errors: Option<Arc<ErrorReport>>,
    /// What failed in an earlier run, where this one takes up nothing else.
    pub only: Option<Arc<Failed>>,
    /// What one image may ask for.
    pub limits: Limits,
    /// When a place that fails in passing is given up.
    pub patience: Patience,
    /// What hears how busy each step is, while the run goes on.
    pub meter: Option<Arc<Meter>>,
}

impl Default for IndexOptions {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        IndexOptions {
            batch: 32,
            workers,
            captions: Captions::Sidecar,
            describer: None,
            shadow: None,
            thumbnails: None,
            prune: false,
            shard: None,
            dry_run: false,
            errors: None,
            only: None,
            limits: Limits::default(),
            patience: Patience::default(),
            meter: None,
        }
    }
}

impl IndexOptions {
    /// What the stamp of an image gets behind it, so that asking for other captions changes every image.
    pub(super) fn stamp(&self) -> String {
        let none = if self.captions == Captions::None { " captions:none" } else { "" };
        let described = self.describer.as_ref().map(|d| format!(" {}", d.stamp())).unwrap_or_default();
        format!("{none}{described}")
    }

    /// Whether this run does the image of `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.has_piece(key) && self.only.as_ref().is_none_or(|failed| failed.has(key))
    }

    /// Whether this run does what lies within `name`, of which no part is another run's.
    pub(super) fn has_piece(&self, name: &str) -> bool {
        self.shard.is_none_or(|shard| shard.has(name))
    }

    /// The settings, if they can be met.
    pub(super) fn checked(&self) -> Result<&Self> {
        match self {
            IndexOptions { batch: 0, .. } => {
                Err(Error::invalid("a batch of 0 images", "expected at least 1"))
            }
            IndexOptions { only: Some(_), prune: true, .. } => {
                let what = "pruning while only what failed is looked at";
                Err(Error::invalid(what, "leave --prune to a run without --retry-failed"))
            }
            IndexOptions { shadow: Some(_), prune: true, .. } => {
                let what = "pruning while a shadow is filled";
                Err(Error::invalid(what, "leave --prune to a run without --shadow"))
            }
            IndexOptions { shadow: Some(_), describer: Some(_), .. }
            | IndexOptions { shadow: Some(_), captions: Captions::None, .. } => {
                let what = "captions for a shadow, which has those that the items have";
                Err(Error::invalid(what, "leave --captions to a run without --shadow"))
            }
            IndexOptions { shadow: Some(_), thumbnails: Some(_), .. } => {
                let what = "keeping small pictures while a shadow is filled";
                Err(Error::invalid(what, "leave --keep-thumbnails to a run without --shadow"))
            }
            IndexOptions { thumbnails: Some(side), .. } if !THUMBNAILS.contains(side) => {
                let fix = format!("expected {} to {}", THUMBNAILS.start(), THUMBNAILS.end());
                Err(Error::invalid(format!("small pictures of {side} pixels"), fix))
            }
            IndexOptions { workers: 0, .. } => {
                Err(Error::invalid("0 threads to decode", "expected at least 1"))
            }
            _ => Ok(self),
        }
    }
}

/// Where captions come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Captions {
    /// Same-stem `.txt` and `.json` files.
    Sidecar,
    /// Nowhere. The other fields of a `.json` are still kept.
    None,
}

impl FromStr for Captions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "sidecar" => Ok(Captions::Sidecar),
            "none" => Ok(Captions::None),
            _ => Err(Error::invalid(format!("captions from {text:?}"), "expected sidecar or none")),
        }
    }
}

/// Part `index` of `count`, told by a hash of the key, so that many machines can share one listing without talking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// Whether `key` is in this part. All members of a tar are in the same, so that it is fetched by one machine only.
    pub fn has(&self, key: &str) -> bool {
        let key = key.split('#').next().unwrap_or(key);
        let [a, b, c, d, e, f, g, h, ..] = ContentHash::of(key.as_bytes()).0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h]) % self.count == self.index
    }
}

impl FromStr for Shard {
    type Err = Error;

    /// `I/N`, where `I` counts from 0, as the index of a Kubernetes Job does.
    fn from_str(text: &str) -> Result<Self> {
        let parts =
            text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parts {
            Some((index, count)) if index < count => Ok(Shard { index, count }),
            _ => {
                Err(Error::invalid(format!("shard {text:?}"), "expected I/N with I from 0 to N-1, like 0/4"))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_one_shard() {
        let shards: Vec<Shard> = (0..4).map(|i| format!("{i}/4").parse().unwrap()).collect();
        let mut sizes = [0; 4];
        for key in (0..1000).map(|i| format!("file:///{i}.jpg")) {
            let holders: Vec<usize> = (0..4).filter(|&i| shards[i].has(&key)).collect();
            assert_eq!(holders.len(), 1, "{key}");
            sizes[holders[0]] += 1;
            assert!(IndexOptions::default().has(&key));
        }
        assert!(sizes.iter().all(|size| (200..300).contains(size)), "{sizes:?}");
    }

    #[test]
    fn other_shards_are_refused() {
        for text in ["", "1", "/", "4/4", "5/4", "0/0", "-1/4", "a/b", "1/2/3"] {
            assert!(matches!(text.parse::<Shard>(), Err(Error::Invalid { .. })), "{text}");
        }
    }
}
