//! Which of an item's sides a query is held against, and how several become one ranking.

use super::collection::Collection;
use super::filter::Allowed;
use super::space::Space;
use crate::error::Result;
use crate::index::{QueryKind, SearchOptions};
use crate::types::{ItemId, Modality, Query, Side, Term};
use roaring::{RoaringBitmap, RoaringTreemap};
use std::collections::HashMap;

/// Reciprocal rank fusion's constant (Cormack et al., SIGIR 2009).
const RRF_K: f32 = 60.0;

impl Collection {
    /// The `k` best items for a query whose terms came to `vector`, best first, with their scores.
    pub(super) fn search(
        &self,
        query: &Query,
        vector: &[f32],
        allowed: Option<&Allowed<'_>>,
        k: usize,
    ) -> Result<Vec<(ItemId, f32)>> {
        let within = |space: &Space, slots: Option<RoaringBitmap>, k| -> Result<_> {
            let allowed = slots.as_ref();
            let kind = kind(&query.terms, space.record.modality);
            let options = SearchOptions { ef: query.ef, kind, allowed, exact: query.exact, threshold: None };
            let found = space.search(vector, k, &options)?;
            space.check(vector, k, &options, &found).into_iter().for_each(|check| self.watch.offer(check));
            Ok(found)
        };
        let images = |k| within(&self.images, allowed.map(Allowed::images), k);
        let captions = |k| within(&self.captions, allowed.map(Allowed::captions), k);
        let words = |k| {
            let items = |allowed: &Allowed<'_>| -> RoaringTreemap {
                self.images.owners_of(&allowed.images()).map(|item| item.0).collect()
            };
            self.items_of_words(&query.terms, k, allowed.map(items))
        };
        // Fused ranks are decided among more than are asked for, since an item far down one list may stand high in another.
        let deep = (2 * k).max(100);
        let fused = match query.side {
            Side::Image => return images(k),
            Side::Caption => return captions(k),
            Side::Both => fuse(&[ids(images(deep)?), ids(captions(deep)?)]),
            Side::Words => words(k)?,
            Side::All => fuse(&[ids(images(deep)?), ids(captions(deep)?), words(deep)?]),
        };
        // An item may have gone meanwhile.
        let scored = |id: ItemId| Some((id, dot(vector, &self.images.vector_of(id)?)));
        Ok(fused.into_iter().filter_map(scored).take(k).collect())
    }
}

/// What the sum of such terms is like among vectors of a modality.
fn kind(terms: &[Term], modality: Modality) -> QueryKind {
    let texts = terms.iter().filter(|term| term.kind.text().is_some()).count();
    match (texts, modality) {
        (0, Modality::Image) => QueryKind::Own,
        (0, Modality::Caption) => QueryKind::Sampled,
        (all, Modality::Image) if all == terms.len() => QueryKind::Sampled,
        (all, Modality::Caption) if all == terms.len() => QueryKind::Own,
        _ => QueryKind::Any,
    }
}

fn ids(found: Vec<(ItemId, f32)>) -> Vec<ItemId> {
    found.into_iter().map(|(id, _)| id).collect()
}

/// Reciprocal rank fusion: the sum of 1 / (60 + rank) over the lists; ties go to the lower id.
fn fuse(lists: &[Vec<ItemId>]) -> Vec<ItemId> {
    let mut sums: HashMap<ItemId, f32> = HashMap::new();
    for (rank, id) in lists.iter().flat_map(|list| list.iter().enumerate()) {
        *sums.entry(*id).or_default() += 1.0 / (RRF_K + rank as f32 + 1.0);
    }
    let mut fused: Vec<(ItemId, f32)> = sums.into_iter().collect();
    fused.sort_unstable_by(|x, y| y.1.total_cmp(&x.1).then(x.0.cmp(&y.0)));
    fused.into_iter().map(|(id, _)| id).collect()
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
