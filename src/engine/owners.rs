//! Whose each slot of a space is, and which slots each item has.

use crate::index::{Paged, Vacant};
use crate::types::ItemId;
use std::collections::HashMap;

/// A slot's item, and the slot that the item got before it.
#[derive(Clone, Copy, PartialEq)]
struct Owned {
    item: ItemId,
    before: u32,
}

impl Vacant for Owned {
    const VACANT: Self = Owned { item: ItemId(u64::MAX), before: u32::VACANT };
}

/// From slots to items, and back: some twenty bytes for each of either.
#[derive(Default)]
pub(super) struct Owners {
    slots: Paged<Owned>,
    /// The slot that each item got last.
    last: HashMap<ItemId, u32>,
}

impl Owners {
    /// Gives `item` a slot that was never used.
    pub fn add(&mut self, slot: u32, item: ItemId) {
        let before = self.last.insert(item, slot).unwrap_or(u32::VACANT);
        self.slots.insert(slot, Owned { item, before });
    }

    /// Takes a slot from its item.
    pub fn remove(&mut self, slot: u32) {
        let Some(Owned { item, before }) = self.slots.remove(slot) else { return };
        let Some(last) = self.last.get_mut(&item) else { return };
        match (*last == slot, before) {
            (true, u32::VACANT) => _ = self.last.remove(&item),
            (true, before) => *last = before,
            (false, before) => {
                let after = Self::back(&self.slots, *last).find(|(_, owned)| owned.before == slot);
                if let Some((after, owned)) = after {
                    self.slots.insert(after, Owned { before, ..owned });
                }
            }
        }
    }

    /// The item of a slot.
    pub fn of(&self, slot: u32) -> Option<ItemId> {
        self.slots.get(slot).map(|owned| owned.item)
    }

    /// The slots of an item, in the order in which it got them.
    pub fn slots_of(&self, item: ItemId) -> Vec<u32> {
        let last = self.last.get(&item).copied().unwrap_or(u32::VACANT);
        let mut slots: Vec<u32> = Self::back(&self.slots, last).map(|(slot, _)| slot).collect();
        slots.reverse();
        slots
    }

    /// All slots, in order, and their items.
    pub fn iter(&self) -> impl Iterator<Item = (u32, ItemId)> {
        self.slots.iter().map(|(slot, owned)| (slot, owned.item))
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.slots.bytes() + self.last.capacity() * (size_of::<(ItemId, u32)>() + 1)
    }

    /// An item's slots from `last` back to its first.
    fn back(slots: &Paged<Owned>, last: u32) -> impl Iterator<Item = (u32, Owned)> {
        let found = move |slot: u32| slots.get(slot).map(|owned| (slot, owned));
        std::iter::successors(found(last), move |(_, owned)| found(owned.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn slots_and_items_agree_whatever_goes() {
        let (mut owners, mut expected) = (Owners::default(), BTreeMap::<u32, ItemId>::new());
        let mut dice = 3u64;
        for slot in 0..5_000u32 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let item = ItemId(dice >> 58);
            owners.add(slot, item);
            expected.insert(slot, item);
            // As many go as come, the first, the last and those between.
            let gone = (dice >> 20) as u32 % (slot + 1);
            owners.remove(gone);
            expected.remove(&gone);
            if slot % 100 == 0 {
                for item in (0..64).map(ItemId) {
                    let own = expected.iter().filter(|(_, owner)| **owner == item).map(|(slot, _)| *slot);
                    assert_eq!(owners.slots_of(item), own.collect::<Vec<_>>());
                }
            }
        }
        assert!(owners.iter().eq(expected.iter().map(|(slot, item)| (*slot, *item))));
        expected.keys().for_each(|slot| owners.remove(*slot));
        assert!(owners.iter().next().is_none() && owners.last.is_empty() && owners.of(7).is_none());
    }
}
