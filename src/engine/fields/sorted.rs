//! The values of one type in order, each with its rows.

use super::rows::{Gathered, Rows};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Every value, with the rows that hold it.
#[derive(Debug)]
pub struct Sorted<K>(BTreeMap<K, Rows>);

impl<K: Ord> Default for Sorted<K> {
    fn default() -> Self {
        Sorted(BTreeMap::new())
    }
}

impl<K: Ord> Sorted<K> {
    /// Notes that a row holds the value. `own` makes the key of a value that was never seen.
    pub fn insert<Q: Ord + ?Sized>(&mut self, value: &Q, row: u32, own: impl FnOnce() -> K)
    where
        K: Borrow<Q>,
    {
        match self.0.get_mut(value) {
            Some(rows) => rows.insert(row),
            None => _ = self.0.insert(own(), Rows::One(row)),
        }
    }

    /// Notes that a row holds the value no more.
    pub fn remove<Q: Ord + ?Sized>(&mut self, value: &Q, row: u32)
    where
        K: Borrow<Q>,
    {
        if self.0.get_mut(value).is_some_and(|rows| rows.remove(row)) {
            self.0.remove(value);
        }
    }

    /// Adds the rows that hold `value`.
    pub fn equal<'a, Q: Ord + ?Sized>(&'a self, value: &Q, out: &mut Gathered<'a>)
    where
        K: Borrow<Q>,
    {
        self.0.get(value).into_iter().for_each(|rows| out.add(rows));
    }

    /// Adds the rows that hold a value from `low` to `high`.
    pub fn between<'a, Q: Ord + ?Sized>(&'a self, low: Bound<&Q>, high: Bound<&Q>, out: &mut Gathered<'a>)
    where
        K: Borrow<Q>,
    {
        self.range(low, high).for_each(|(_, rows)| out.add(rows));
    }

    /// The values from `low` to `high`, rising, with their rows; none where the two contradict each other.
    pub fn range<'a, Q: Ord + ?Sized>(
        &'a self,
        low: Bound<&Q>,
        high: Bound<&Q>,
    ) -> impl Iterator<Item = (&'a K, &'a Rows)>
    where
        K: Borrow<Q>,
    {
        use Bound::{Excluded, Included};
        // The map panics on a range that ends before it begins.
        let sound = match (low, high) {
            (Included(low), Included(high)) => low <= high,
            (Included(low) | Excluded(low), Included(high) | Excluded(high)) => low < high,
            _ => true,
        };
        sound.then(|| self.0.range::<Q, _>((low, high))).into_iter().flatten()
    }

    /// The values, rising.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.0.keys()
    }

    /// The values, rising, each with the number of its rows.
    pub fn counts(&self) -> impl Iterator<Item = (&K, u64)> {
        self.0.iter().map(|(value, rows)| (value, rows.len()))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
