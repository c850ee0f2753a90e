//! What was embedded lately: a bounded map that forgets what was asked for longest ago.

use std::collections::{BTreeMap, HashMap};

/// The last `capacity` values by key.
pub(super) struct Recent<V> {
    capacity: usize,
    clock: u64,
    values: HashMap<String, (u64, V)>,
    order: BTreeMap<u64, String>,
}

impl<V: Clone> Recent<V> {
    /// An empty one; a `capacity` of 0 remembers nothing.
    pub fn new(capacity: usize) -> Self {
        Recent { capacity, clock: 0, values: HashMap::new(), order: BTreeMap::new() }
    }

    /// What is remembered of `key`, which is fresh again.
    pub fn get(&mut self, key: &str) -> Option<V> {
        let (stamp, value) = self.values.get_mut(key)?;
        if let Some(key) = self.order.remove(stamp) {
            self.clock += 1;
            *stamp = self.clock;
            self.order.insert(self.clock, key);
        }
        Some(value.clone())
    }

    /// Remembers `value`, and forgets the stalest where there are too many.
    pub fn put(&mut self, key: String, value: V) {
        if self.capacity == 0 {
            return;
        }
        self.clock += 1;
        if let Some((stamp, _)) = self.values.insert(key.clone(), (self.clock, value)) {
            self.order.remove(&stamp);
        }
        self.order.insert(self.clock, key);
        while self.values.len() > self.capacity {
            let Some((_, stalest)) = self.order.pop_first() else { return };
            self.values.remove(&stalest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stalest_is_forgotten() {
        let mut recent = Recent::new(2);
        recent.put("a".into(), 1);
        recent.put("b".into(), 2);
        assert_eq!(recent.get("a"), Some(1));
        recent.put("c".into(), 3);
        assert_eq!((recent.get("a"), recent.get("b"), recent.get("c")), (Some(1), None, Some(3)));
        recent.put("c".into(), 4);
        assert_eq!((recent.get("a"), recent.get("c")), (Some(1), Some(4)));
        assert_eq!((recent.values.len(), recent.order.len()), (2, 2));
        let mut none = Recent::new(0);
        none.put("a".into(), 1);
        assert_eq!(none.get("a"), None);
    }
}
