//! What was made lately: a bounded map that forgets what was asked for longest ago.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// The last values by key, whose costs come to at most `capacity`.
pub(super) struct Recent<K, V> {
    capacity: u64,
    held: u64,
    clock: u64,
    values: HashMap<K, Kept<V>>,
    order: BTreeMap<u64, K>,
}

struct Kept<V> {
    stamp: u64,
    cost: u64,
    value: V,
}

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    /// An empty one; a `capacity` of 0 remembers nothing.
    pub fn new(capacity: u64) -> Self {
        Recent { capacity, held: 0, clock: 0, values: HashMap::new(), order: BTreeMap::new() }
    }

    /// What is remembered of `key`, which is fresh again.
    pub fn get<Q: ?Sized + Eq + Hash>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let kept = self.values.get_mut(key)?;
        if let Some(key) = self.order.remove(&kept.stamp) {
            self.clock += 1;
            kept.stamp = self.clock;
            self.order.insert(self.clock, key);
        }
        Some(kept.value.clone())
    }

    /// Remembers `value`, and forgets the stalest where the costs come to too much; one that costs more than all is not kept.
    pub fn put(&mut self, key: K, value: V, cost: u64) {
        if cost > self.capacity {
            return;
        }
        self.clock += 1;
        let kept = Kept { stamp: self.clock, cost, value };
        if let Some(old) = self.values.insert(key.clone(), kept) {
            self.order.remove(&old.stamp);
            self.held -= old.cost;
        }
        self.order.insert(self.clock, key);
        self.held += cost;
        while self.held > self.capacity {
            let Some((_, stalest)) = self.order.pop_first() else { return };
            let gone = self.values.remove(&stalest);
            self.held -= gone.map_or(0, |kept| kept.cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stalest_is_forgotten() {
        let mut recent: Recent<String, i32> = Recent::new(2);
        recent.put("a".into(), 1, 1);
        recent.put("b".into(), 2, 1);
        assert_eq!(recent.get("a"), Some(1));
        recent.put("c".into(), 3, 1);
        assert_eq!((recent.get("a"), recent.get("b"), recent.get("c")), (Some(1), None, Some(3)));
        recent.put("c".into(), 4, 1);
        assert_eq!((recent.get("a"), recent.get("c")), (Some(1), Some(4)));
        assert_eq!((recent.values.len(), recent.order.len(), recent.held), (2, 2, 2));
        let mut none: Recent<String, i32> = Recent::new(0);
        none.put("a".into(), 1, 1);
        assert_eq!(none.get("a"), None);
    }

    #[test]
    fn costs_are_bounded() {
        let mut recent: Recent<u32, u32> = Recent::new(100);
        recent.put(0, 0, 101);
        assert_eq!(recent.get(&0), None, "it alone is too much");
        for key in 0..1000u32 {
            recent.put(key % 37, key, u64::from(key % 41));
            assert!(recent.held <= 100);
            assert_eq!(recent.held, recent.values.values().map(|kept| kept.cost).sum::<u64>());
            assert_eq!(recent.values.len(), recent.order.len());
        }
        assert_eq!(recent.get(&(999 % 37)), Some(999));
    }
}
