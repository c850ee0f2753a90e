//! Which items show the same picture: the same bytes, or bytes that differ and look alike. Tells; removes nothing.
//!
//! 1. Items with one content hash are the same.
//! 2. Of each hash one item asks the index for its neighbours: pairs that the model takes for the same.
//! 3. Of those, pairs whose perceptual hashes are far apart show the same things in different pictures, and are let go.
//! 4. What is left is joined to groups.

use super::caller::Caller;
use super::collection::Collection;
use crate::error::{Error, Result};
use crate::index::{QueryKind, SearchOptions};
use crate::types::{ContentHash, Item, ItemId};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How alike two pictures have to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// The most that 1 - cosine of their embeddings may be.
    pub distance: f32,
    /// The most bits of 64 in which their perceptual hashes may differ; where a picture cannot be read any more, its embedding
    /// decides alone.
    pub hamming: u32,
}

impl Default for Likeness {
    /// What resizing and saving again does to a picture, and hardly more.
    fn default() -> Self {
        Likeness { distance: 0.05, hamming: 8 }
    }
}

/// How the items of a group are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sameness {
    /// Byte by byte.
    Same,
    /// They look alike.
    Near,
}

/// Items that show the same picture, by id.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// How they are the same.
    pub kind: Sameness,
    /// At least two.
    pub items: Vec<Twin>,
}

/// An item of a group, and how far it is from the group's first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Twin {
    /// The item.
    pub id: ItemId,
    /// Its URI.
    pub key: String,
    /// 1 - cosine of the embeddings.
    pub distance: f32,
    /// Bits in which the perceptual hashes differ; None where one of the two cannot be read.
    pub hamming: Option<u32>,
}

/// How many neighbours of a picture are looked at: a larger group is found through its members.
const NEIGHBOURS: usize = 16;
/// How many pictures are read at once.
const LOOKERS: usize = 8;

/// The perceptual hash of an item's picture, where it can be read.
pub type Looks<'a> = &'a (dyn Fn(&Item) -> Option<u64> + Sync);

impl Collection {
    /// The groups of items that show the same picture: those of the same bytes first, each kind by its first item.
    pub fn duplicates(&self, likeness: Likeness, looks: Looks<'_>, caller: &Caller) -> Result<Vec<Group>> {
        let sound = (0.0..=1.0).contains(&likeness.distance) && likeness.hamming <= 64;
        if !sound {
            let what = format!("distance {} and hamming {}", likeness.distance, likeness.hamming);
            return Err(Error::invalid(what, "the distance is from 0 to 1, and the bits from 0 to 64"));
        }
        let mut by_hash: HashMap<ContentHash, Vec<ItemId>> = HashMap::new();
        for item in self.items() {
            caller.check()?;
            let item = item?;
            by_hash.entry(item.hash).or_default().push(item.id);
        }
        let mut first: Vec<ItemId> = by_hash.values().filter_map(|ids| ids.first().copied()).collect();
        first.sort_unstable();
        let mut groups: Vec<Vec<ItemId>> = by_hash.into_values().filter(|ids| ids.len() > 1).collect();
        groups.sort_unstable();
        let same = groups.iter().map(|ids| self.group(Sameness::Same, ids, &HashMap::new()));
        let mut all: Vec<Group> = same.collect::<Result<_>>()?;
        let pairs = self.near_pairs(&first, likeness, caller)?;
        let seen = self.looks_of(&pairs, looks, caller)?;
        let alike =
            |(a, b): &&(ItemId, ItemId)| bits(&seen, *a, *b).is_none_or(|bits| bits <= likeness.hamming);
        let joined = joined(pairs.iter().filter(alike));
        let near = joined.iter().map(|ids| self.group(Sameness::Near, ids, &seen));
        all.extend(near.collect::<Result<Vec<_>>>()?);
        // One that was removed meanwhile leaves no group of itself.
        all.retain(|group| group.items.len() > 1);
        Ok(all)
    }

    /// Pairs of different bytes whose embeddings are near, the lower id first.
    fn near_pairs(
        &self,
        first: &[ItemId],
        likeness: Likeness,
        caller: &Caller,
    ) -> Result<Vec<(ItemId, ItemId)>> {
        let (kind, threshold) = (QueryKind::Own, Some(1.0 - likeness.distance));
        let options = SearchOptions { kind, threshold, ..SearchOptions::default() };
        let of_one = |id: &ItemId| -> Result<Vec<(ItemId, ItemId)>> {
            caller.check()?;
            let Some(vector) = self.images.vector_of(*id) else { return Ok(vec![]) };
            let near = self.images.search(&vector, NEIGHBOURS, &options)?;
            // Copies stand for the first of their bytes, and are told of by themselves.
            let others =
                near.into_iter().map(|(other, _)| other).filter(|other| first.binary_search(other).is_ok());
            Ok(others.filter(|other| other != id).map(|other| (*id.min(&other), *id.max(&other))).collect())
        };
        let mut pairs: Vec<(ItemId, ItemId)> =
            first.par_iter().map(of_one).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        pairs.sort_unstable();
        pairs.dedup();
        Ok(pairs)
    }

    fn looks_of(
        &self,
        pairs: &[(ItemId, ItemId)],
        looks: Looks<'_>,
        caller: &Caller,
    ) -> Result<HashMap<ItemId, u64>> {
        let mut ids: Vec<ItemId> = pairs.iter().flat_map(|(a, b)| [*a, *b]).collect();
        ids.sort_unstable();
        ids.dedup();
        let next = AtomicUsize::new(0);
        let some = || -> Result<Vec<(ItemId, u64)>> {
            let mut seen = vec![];
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                caller.check()?;
                seen.extend(self.item(*id)?.and_then(|item| looks(&item)).map(|hash| (*id, hash)));
            }
            Ok(seen)
        };
        let broke = |_| Err(Error::Compute { reason: "looking at a picture broke: please report it".into() });
        // By threads of their own: reading may wait for a network, and those that compute are everybody's.
        let seen: Vec<Result<Vec<(ItemId, u64)>>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..LOOKERS.min(ids.len())).map(|_| scope.spawn(some)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(broke)).collect()
        });
        Ok(seen.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn group(&self, kind: Sameness, ids: &[ItemId], seen: &HashMap<ItemId, u64>) -> Result<Group> {
        let head = ids.first().copied().unwrap_or(ItemId(0));
        let vector = self.images.vector_of(head).unwrap_or_default();
        let mut items = vec![];
        for id in ids {
            let Some(item) = self.item(*id)? else { continue };
            let (distance, hamming) = match kind {
                Sameness::Same => (0.0, Some(0)),
                Sameness::Near => {
                    let other = self.images.vector_of(*id).unwrap_or_default();
                    let cosine: f32 = vector.iter().zip(&other).map(|(a, b)| a * b).sum();
                    (if *id == head { 0.0 } else { (1.0 - cosine).max(0.0) }, bits(seen, head, *id))
                }
            };
            items.push(Twin { id: *id, key: item.key, distance, hamming });
        }
        Ok(Group { kind, items })
    }
}

fn bits(seen: &HashMap<ItemId, u64>, a: ItemId, b: ItemId) -> Option<u32> {
    Some((seen.get(&a)? ^ seen.get(&b)?).count_ones())
}

/// The sets that pairs join, each by id.
fn joined<'a>(pairs: impl Iterator<Item = &'a (ItemId, ItemId)>) -> Vec<Vec<ItemId>> {
    let mut parent: HashMap<ItemId, ItemId> = HashMap::new();
    fn root(parent: &HashMap<ItemId, ItemId>, mut id: ItemId) -> ItemId {
        while let Some(up) = parent.get(&id).filter(|up| **up != id) {
            id = *up;
        }
        id
    }
    for (a, b) in pairs {
        parent.entry(*a).or_insert(*a);
        parent.entry(*b).or_insert(*b);
        let (a, b) = (root(&parent, *a), root(&parent, *b));
        // The lower id leads, so that a set's name does not depend on the order of its pairs.
        parent.insert(a.max(b), a.min(b));
    }
    let mut sets: BTreeMap<ItemId, Vec<ItemId>> = BTreeMap::new();
    for id in parent.keys() {
        sets.entry(root(&parent, *id)).or_default().push(*id);
    }
    sets.values_mut().for_each(|ids| ids.sort_unstable());
    sets.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_join_to_sets() {
        let check = |pairs: &[(u64, u64)], wanted: &[&[u64]]| {
            let pairs: Vec<_> = pairs.iter().map(|(a, b)| (ItemId(*a), ItemId(*b))).collect();
            let got: Vec<Vec<u64>> =
                joined(pairs.iter()).iter().map(|s| s.iter().map(|id| id.0).collect()).collect();
            assert_eq!(got, wanted);
        };
        check(&[], &[]);
        check(&[(1, 2), (5, 9)], &[&[1, 2], &[5, 9]]);
        check(&[(4, 5), (1, 2), (2, 5), (7, 8)], &[&[1, 2, 4, 5], &[7, 8]]);
        check(&[(3, 4), (2, 4), (1, 4)], &[&[1, 2, 3, 4]]);
    }
}
