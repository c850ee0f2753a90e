//! From rows to the slots of their captions.

use super::rows::set_of;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;

/// Looking a row up costs about as much as walking past this many.
const LOOK_UP: u64 = 16;

/// The runs of caption slots of each row: a row's captions are written together, so that one run is the rule.
#[derive(Debug, Default)]
pub struct Captions(BTreeMap<(u32, u32), u32>);

impl Captions {
    /// Notes a row's slots, which rise.
    pub fn insert(&mut self, row: u32, slots: &[u32]) {
        for run in slots.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
            if let [first, ..] = run {
                self.0.insert((row, *first), run.len() as u32);
            }
        }
    }

    /// Forgets a row's slots.
    pub fn remove(&mut self, row: u32) {
        while let Some((&run, _)) = self.0.range((row, 0)..=(row, u32::MAX)).next() {
            self.0.remove(&run);
        }
    }

    /// The slots of all of `rows`.
    pub fn of(&self, rows: &RoaringBitmap) -> RoaringBitmap {
        let mut slots = Vec::new();
        let mut add = |first: u32, length: u32| slots.extend(first..first.saturating_add(length));
        if rows.len() * LOOK_UP < self.0.len() as u64 {
            for row in rows {
                self.0.range((row, 0)..=(row, u32::MAX)).for_each(|(run, length)| add(run.1, *length));
            }
            return set_of(slots);
        }
        let mut wanted = rows.iter().peekable();
        for (&(row, first), &length) in &self.0 {
            while wanted.next_if(|next| *next < row).is_some() {}
            if wanted.peek() == Some(&row) {
                add(first, length);
            }
        }
        set_of(slots)
    }
}
