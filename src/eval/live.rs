//! `eyeshot eval ann --collection`: recall and speed of a collection's own index, on its captions as queries.
//!
//! 1. Take captions' vectors as queries: they are text, as most queries are. Those that the graph was built without, where there are enough: on
//!    captions that guided it, it does better than on what it has not seen.
//! 2. Scan everything for the right answers.
//! 3. Ask again with each breadth, and count what was found and how long it took.

use crate::engine::Collection;
use crate::error::{Error, Result};
use crate::types::ItemId;
use serde::Serialize;
use std::collections::HashSet;
use std::time::Instant;

/// The most captions that are asked.
const QUERIES: usize = 1000;
/// The fewest captions that tell something.
const ENOUGH: usize = 100;
/// The recall that a recommendation has to reach.
const WANTED: f64 = 0.99;

/// What one breadth gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Breadth of the graph search.
    pub ef: usize,
    /// Share of the right answers that were found.
    pub recall: f64,
    /// Queries a second on one thread.
    pub qps: f64,
    /// What half of the queries stay under, in microseconds.
    pub p50_us: f64,
    /// What 99 of 100 stay under.
    pub p99_us: f64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How many queries were asked.
    pub queries: usize,
    /// Whether they are captions that the graph was built without.
    pub unseen: bool,
    /// How many neighbours were looked for.
    pub k: usize,
    /// A row for each breadth.
    #[serde(skip)]
    pub rows: Vec<Row>,
    /// A scan's queries a second, for comparison.
    pub exact_qps: f64,
    /// The breadth that searches have by default; None where there are so few vectors that every search scans them.
    pub default_ef: Option<usize>,
    /// The least breadth tried that finds 99 of 100; None where none does.
    pub recommended_ef: Option<usize>,
}

/// Measures `collection` at each of `efs` (none: some around its default).
pub fn run(collection: &Collection, k: usize, efs: &[usize]) -> Result<Report> {
    let mut queries = collection.caption_vectors(QUERIES, true);
    let unseen = queries.len() >= ENOUGH;
    if !unseen {
        queries = collection.caption_vectors(QUERIES, false);
    }
    if queries.is_empty() {
        let what = format!("collection {:?} has no captions to ask with", collection.name());
        return Err(Error::invalid(what, "index images with captions beside them (cat.jpg, cat.txt)"));
    }
    let default_ef = collection.default_ef();
    let mut around: Vec<usize> = match default_ef {
        Some(ef) => [ef / 4, ef / 2, ef, 2 * ef, 4 * ef].map(|ef| ef.max(k)).to_vec(),
        None => vec![k],
    };
    around.dedup();
    let efs = if efs.is_empty() { &around } else { efs };
    let (right, exact) = ask(&queries, |query| collection.nearest(query, k, None, true))?;
    let right: Vec<HashSet<ItemId>> = right.into_iter().map(HashSet::from_iter).collect();
    let mut rows = Vec::new();
    for ef in efs.iter().copied() {
        let (found, micros) = ask(&queries, |query| collection.nearest(query, k, Some(ef), false))?;
        rows.push(row(ef, recall(&found, &right), &micros));
    }
    let recommended_ef = rows.iter().filter(|row| row.recall >= WANTED).map(|row| row.ef).min();
    Ok(Report { queries: queries.len(), unseen, k, rows, exact_qps: qps(&exact), default_ef, recommended_ef })
}

/// Each query's answers, and what each took in microseconds, sorted.
fn ask(
    queries: &[Vec<f32>],
    nearest: impl Fn(&[f32]) -> Result<Vec<(ItemId, f32)>>,
) -> Result<(Vec<Vec<ItemId>>, Vec<f64>)> {
    let mut micros = Vec::with_capacity(queries.len());
    let mut answers = Vec::with_capacity(queries.len());
    for query in queries {
        let started = Instant::now();
        let found = nearest(query)?;
        micros.push(started.elapsed().as_secs_f64() * 1e6);
        answers.push(found.into_iter().map(|(item, _)| item).collect());
    }
    micros.sort_unstable_by(f64::total_cmp);
    Ok((answers, micros))
}

fn recall(found: &[Vec<ItemId>], right: &[HashSet<ItemId>]) -> f64 {
    let hits: usize =
        found.iter().zip(right).map(|(f, r)| f.iter().filter(|id| r.contains(id)).count()).sum();
    hits as f64 / right.iter().map(HashSet::len).sum::<usize>().max(1) as f64
}

fn row(ef: usize, recall: f64, micros: &[f64]) -> Row {
    let at = |share: f64| micros.get((micros.len() as f64 * share) as usize).copied().unwrap_or_default();
    Row { ef, recall, qps: qps(micros), p50_us: at(0.5), p99_us: at(0.99) }
}

fn qps(micros: &[f64]) -> f64 {
    micros.len() as f64 * 1e6 / micros.iter().sum::<f64>().max(1e-3)
}
