//! The best of many scores: every search ends here, and the exact scan is nothing else.

use super::params::Neighbor;
use std::cmp::Ordering;

/// Best first; equal scores by id, so that an answer does not depend on where a vector lies.
pub fn by_score(a: &Neighbor, b: &Neighbor) -> Ordering {
    b.score.total_cmp(&a.score).then(a.id.cmp(&b.id))
}

/// Keeps the best `k` of what it is shown.
pub struct Best {
    k: usize,
    kept: Vec<Neighbor>,
}

impl Best {
    /// Room for `k`.
    pub fn new(k: usize) -> Self {
        Best { k, kept: Vec::new() }
    }

    /// Shows one; it is kept while it is among the best `k`.
    pub fn offer(&mut self, neighbor: Neighbor) {
        self.kept.push(neighbor);
        // Cut only when twice the room is taken: one selection for k pushes.
        if self.kept.len() >= 2 * self.k.max(32) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.kept.len() > self.k {
            self.kept.select_nth_unstable_by(self.k, by_score);
            self.kept.truncate(self.k);
        }
    }

    /// The best `k`, best first.
    pub fn into_sorted(mut self) -> Vec<Neighbor> {
        self.cut();
        self.kept.sort_unstable_by(by_score);
        self.kept
    }
}
