//! Sets of rows: how one value's are kept, and how those of many values come together.

use roaring::{MultiOps, RoaringBitmap};

/// The rows that hold one value. Sizes, dates and paths are mostly a row's own, and a bitmap for each would cost more than
/// the value itself.
#[derive(Debug)]
pub enum Rows {
    /// One row.
    One(u32),
    /// Any number of them.
    Many(RoaringBitmap),
}

impl Rows {
    /// Puts a row in.
    pub fn insert(&mut self, row: u32) {
        match self {
            Rows::One(held) if *held == row => {}
            Rows::One(held) => *self = Rows::Many([*held, row].into_iter().collect()),
            Rows::Many(rows) => _ = rows.insert(row),
        }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        match self {
            Rows::One(_) => 1,
            Rows::Many(rows) => rows.len(),
        }
    }

    /// Takes a row out; whether none is left.
    pub fn remove(&mut self, row: u32) -> bool {
        match self {
            Rows::One(held) => *held == row,
            Rows::Many(rows) => {
                rows.remove(row);
                rows.is_empty()
            }
        }
    }
}

/// The rows of many values on their way into one set.
#[derive(Default)]
pub struct Gathered<'a> {
    ones: Vec<u32>,
    many: Vec<&'a RoaringBitmap>,
}

impl<'a> Gathered<'a> {
    /// Adds a value's rows.
    pub fn add(&mut self, rows: &'a Rows) {
        match rows {
            Rows::One(row) => self.ones.push(*row),
            Rows::Many(rows) => self.many.push(rows),
        }
    }

    /// All of them.
    pub fn into_set(self) -> RoaringBitmap {
        set_of(self.ones) | self.many.into_iter().union()
    }
}

/// The set of rows that come in any order.
pub fn set_of(mut rows: Vec<u32>) -> RoaringBitmap {
    let span = rows.iter().max().map_or(0, |last| *last as usize + 1);
    // A bit for each row there might be beats sorting, unless the rows are few and far between.
    if rows.len() > 256 && span / 64 <= rows.len() {
        let mut bits = vec![0u8; span.div_ceil(8)];
        for row in rows {
            if let Some(byte) = bits.get_mut(row as usize / 8) {
                *byte |= 1 << (row % 8);
            }
        }
        return RoaringBitmap::from_lsb0_bytes(0, &bits);
    }
    rows.sort_unstable();
    rows.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_the_same_either_way() {
        for (count, step) in
            [(0u32, 1u32), (1, 1), (300, 1), (300, 7), (300, 1_000), (5_000, 3), (100_000, 2)]
        {
            // 7,919 is a prime that divides none of the counts, so that each row comes once, out of order.
            let rows: Vec<u32> = (0..count).map(|at| (at * 7_919 % count.max(1)) * step).collect();
            let wanted: RoaringBitmap = rows.iter().copied().collect();
            assert_eq!(set_of(rows), wanted, "{count} rows, {step} apart");
        }
    }

    #[test]
    fn rows_come_and_go() {
        let mut rows = Rows::One(4);
        rows.insert(4);
        rows.insert(9);
        assert!(!rows.remove(4));
        assert!(!rows.remove(4));
        let mut gathered = Gathered::default();
        gathered.add(&rows);
        assert_eq!(gathered.into_set(), RoaringBitmap::from([9]));
        assert!(rows.remove(9));
        assert!(!Rows::One(4).remove(5));
        assert!(Rows::One(4).remove(4));
    }
}
