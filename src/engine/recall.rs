//! Live recall: for a small share of the searches that a graph answered, what a scan would have found.
//!
//! 1. A search that was drawn leaves a `Check` behind: its vector, its filter and what it found. Where several wait already, it
//!    leaves nothing: no query ever waits for this.
//! 2. One thread scans for them, one after another, and rests forty-nine times as long as each took.
//! 3. What it tells is kept with the space, for those who watch.

use super::space::Vectors;
use crate::error::Result;
use crate::index::SearchOptions;
use crate::types::ItemId;
use roaring::RoaringBitmap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};

/// Among how many of the best hits is counted what was found.
const BEST: usize = 10;
/// How many checks may wait.
const WAITING: usize = 4;
/// How many times as long as a check the thread rests after it.
const REST: u32 = 49;
/// Cosines that differ by less are a tie, which either order answers.
const TIE: f32 = 1e-6;

/// The upper bounds of the buckets that recalls are counted in.
pub const RECALLS: [f64; 6] = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// What checks have told of one space.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recalled {
    /// How many searches were checked.
    pub count: u64,
    /// Their recalls, summed: the share of the ten nearest that each had found.
    pub sum: f64,
    /// For each of [`RECALLS`], how many were higher than the one before it, and not higher than it.
    pub buckets: [u64; RECALLS.len()],
}

/// The same as many threads read and one writes it. The sum is in millionths.
#[derive(Default)]
pub(super) struct Tally {
    buckets: [AtomicU64; RECALLS.len()],
    millionths: AtomicU64,
}

impl Tally {
    fn note(&self, recall: f64) {
        let at = RECALLS.iter().position(|bound| recall <= *bound + 1e-9).unwrap_or(RECALLS.len() - 1);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.millionths.fetch_add((recall * 1e6).round() as u64, Ordering::Relaxed);
    }

    pub fn read(&self) -> Recalled {
        let buckets = std::array::from_fn(|at| self.buckets.get(at).map_or(0, |b| b.load(Ordering::Relaxed)));
        let sum = self.millionths.load(Ordering::Relaxed) as f64 / 1e6;
        Recalled { count: buckets.iter().sum(), sum, buckets }
    }
}

/// A search that a scan shall repeat.
pub(super) struct Check {
    pub vectors: Vectors,
    pub tally: Arc<Tally>,
    pub query: Vec<f32>,
    pub allowed: Option<RoaringBitmap>,
    /// What was found, best first.
    pub found: Vec<(ItemId, f32)>,
    /// How many were asked for.
    pub k: usize,
}

impl Check {
    /// The share of the best that was found; None where there is none to find.
    fn recall(&self) -> Result<Option<f64>> {
        let k = self.k.min(BEST);
        let options =
            SearchOptions { exact: true, allowed: self.allowed.as_ref(), ..SearchOptions::default() };
        let best = self.vectors.search(&self.query, k, &options)?;
        let found = self.found.get(..k).unwrap_or(&self.found);
        let last = found.last().filter(|_| found.len() == k).map_or(f32::NEG_INFINITY, |(_, score)| *score);
        let missed = |(item, score): &&(ItemId, f32)| {
            *score > last + TIE && !found.iter().any(|(other, _)| other == item)
        };
        let missed = best.iter().filter(missed).count();
        Ok((!best.is_empty()).then(|| 1.0 - missed as f64 / best.len() as f64))
    }
}

/// Draws searches, and has them checked.
#[derive(Default)]
pub(super) struct Watch {
    /// What share is drawn, of 2^64.
    share: AtomicU64,
    searches: AtomicU64,
    checks: OnceLock<Option<SyncSender<Check>>>,
}

impl Watch {
    /// Draws this share of searches from now on: 0 for none, 1 for all.
    pub fn set(&self, share: f64) {
        self.share.store((share.clamp(0.0, 1.0) * u64::MAX as f64) as u64, Ordering::Relaxed);
    }

    /// A search has ended that a graph may have answered.
    pub fn offer(&self, check: impl FnOnce() -> Check) {
        let share = self.share.load(Ordering::Relaxed);
        if share == 0 || mixed(self.searches.fetch_add(1, Ordering::Relaxed)) > share {
            return;
        }
        if let Some(checks) = self.checks.get_or_init(begin) {
            // A full line, too, is an answer: this one is not checked.
            _ = checks.try_send(check());
        }
    }
}

/// The thread that checks, until nobody can send it more.
fn begin() -> Option<SyncSender<Check>> {
    let (checks, due) = sync_channel(WAITING);
    std::thread::Builder::new().name("recall".to_owned()).spawn(move || work(&due)).ok().map(|_| checks)
}

fn work(due: &Receiver<Check>) {
    for check in due {
        let began = std::time::Instant::now();
        // What cannot be searched now was found a moment ago: there is nothing to compare.
        if let Ok(Some(recall)) = check.recall() {
            check.tally.note(recall);
        }
        drop(check);
        std::thread::sleep(began.elapsed() * REST);
    }
}

/// A number that looks drawn by lot (SplitMix64), so that what callers do in turns is not drawn in turns.
fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_drawn() {
        for share in [0.0, 0.01, 0.3, 1.0] {
            let watch = Watch::default();
            watch.set(share);
            let bound = watch.share.load(Ordering::Relaxed);
            let drawn = (0..100_000).filter(|n| bound > 0 && mixed(*n) <= bound).count() as f64 / 1e5;
            assert!((drawn - share).abs() < 0.003, "{share}: {drawn}");
        }
    }

    #[test]
    fn recalls_fall_into_their_buckets() {
        let tally = Tally::default();
        [1.0, 1.0, 0.9, 0.95, 0.2].into_iter().for_each(|recall| tally.note(recall));
        let told = tally.read();
        assert_eq!((told.count, told.buckets), (5, [1, 0, 0, 0, 1, 3]));
        assert!((told.sum - 4.05).abs() < 1e-9);
    }
}
