//! The best of many scores: every search ends here, and a scan is nothing else.

use super::beam::Found;
use super::codes::Query;
use super::params::Neighbor;
use std::cmp::Ordering;

/// Best first; equal scores by id, so that an answer does not depend on where a vector lies.
pub fn by_score(a: &Neighbor, b: &Neighbor) -> Ordering {
    b.score.total_cmp(&a.score).then(a.id.cmp(&b.id))
}

/// Keeps the best `k` of what it is shown.
pub struct Best<T> {
    k: usize,
    order: fn(&T, &T) -> Ordering,
    kept: Vec<T>,
    /// The worst that may still count, once k are kept.
    bar: Option<T>,
}

impl<T: Copy> Best<T> {
    /// Room for `k`, the least by `order` being the best.
    pub fn new(k: usize, order: fn(&T, &T) -> Ordering) -> Self {
        Best { k, order, kept: Vec::new(), bar: None }
    }

    /// Shows one; it is kept while it is among the best `k`.
    #[inline]
    pub fn offer(&mut self, item: T) {
        if self.k == 0 || self.bar.is_some_and(|bar| (self.order)(&item, &bar).is_gt()) {
            return;
        }
        self.kept.push(item);
        // Cut only when twice the room is taken: one selection for k pushes.
        if self.kept.len() >= 2 * self.k.max(32) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.kept.len() > self.k && self.k > 0 {
            let (_, worst, _) = self.kept.select_nth_unstable_by(self.k - 1, self.order);
            self.bar = Some(*worst);
            self.kept.truncate(self.k);
        }
    }

    /// The best `k`, best first.
    pub fn into_sorted(mut self) -> Vec<T> {
        self.cut();
        self.kept.sort_unstable_by(self.order);
        self.kept
    }
}

/// By rough score, best first.
pub fn by_rough(a: &Found, b: &Found) -> Ordering {
    b.score.cmp(&a.score).then(a.node().cmp(&b.node()))
}

/// Rows scored at a time: their addresses stay in the cache.
const AT_ONCE: usize = 64;

/// Shows `best` the rough scores of `rows`, numbered as given.
pub fn scan<'a>(query: &Query, rows: impl Iterator<Item = (u32, &'a [u8])>, best: &mut Best<Found>) {
    let mut numbers = Vec::with_capacity(AT_ONCE);
    let mut batch = Vec::with_capacity(AT_ONCE);
    let mut scores = [0; AT_ONCE];
    let mut score = |numbers: &mut Vec<u32>, batch: &mut Vec<&'a [u8]>| {
        query.score(batch, &mut scores);
        numbers.iter().zip(&scores).for_each(|(&node, &score)| best.offer(Found::new(score, node)));
        numbers.clear();
        batch.clear();
    };
    for (number, row) in rows {
        numbers.push(number);
        batch.push(row);
        if batch.len() == AT_ONCE {
            score(&mut numbers, &mut batch);
        }
    }
    score(&mut numbers, &mut batch);
}
