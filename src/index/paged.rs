//! From small numbers to values, in pages: numbers may have holes, and a page without values takes no memory.

/// A value that can be told from none.
pub trait Vacant: Copy + PartialEq {
    /// What stands where there is none.
    const VACANT: Self;
}

impl Vacant for u32 {
    const VACANT: Self = u32::MAX;
}

/// Numbers a page.
const PAGE: usize = 4096;

/// A map from small numbers.
pub struct Paged<T> {
    pages: Vec<Option<Page<T>>>,
    len: usize,
}

struct Page<T> {
    values: Box<[T]>,
    held: usize,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Paged { pages: Vec::new(), len: 0 }
    }
}

impl<T: Vacant> Paged<T> {
    /// How many numbers have a value.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The value of `number`.
    pub fn get(&self, number: u32) -> Option<T> {
        let page = self.pages.get(number as usize / PAGE)?.as_ref()?;
        page.values.get(number as usize % PAGE).copied().filter(|value| *value != T::VACANT)
    }

    /// Gives `number` a value, which is not the vacant one; the one it had.
    pub fn insert(&mut self, number: u32, value: T) -> Option<T> {
        let at = number as usize / PAGE;
        if self.pages.len() <= at {
            self.pages.resize_with(at + 1, || None);
        }
        let new = || Page { values: vec![T::VACANT; PAGE].into(), held: 0 };
        let page = self.pages.get_mut(at)?.get_or_insert_with(new);
        let place = page.values.get_mut(number as usize % PAGE)?;
        let old = Some(std::mem::replace(place, value)).filter(|value| *value != T::VACANT);
        page.held += usize::from(old.is_none());
        self.len += usize::from(old.is_none());
        old
    }

    /// Takes the value of `number` away; the one it had.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        let place = self.pages.get_mut(number as usize / PAGE)?;
        let page = place.as_mut()?;
        let slot = page.values.get_mut(number as usize % PAGE)?;
        let old = Some(std::mem::replace(slot, T::VACANT)).filter(|value| *value != T::VACANT)?;
        self.len -= 1;
        page.held -= 1;
        if page.held == 0 {
            *place = None;
        }
        Some(old)
    }

    /// Each number that has a value, in order, and the value.
    pub fn iter(&self) -> impl Iterator<Item = (u32, T)> {
        let pages = self.pages.iter().enumerate().filter_map(|(at, page)| Some((at, page.as_ref()?)));
        let values = pages.flat_map(|(at, page)| {
            page.values.iter().enumerate().map(move |(in_page, value)| ((at * PAGE + in_page) as u32, *value))
        });
        values.filter(|(_, value)| *value != T::VACANT)
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        let pages = self.pages.iter().flatten().count();
        self.pages.len() * size_of::<Option<Page<T>>>() + size_of::<T>() * PAGE * pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn it_is_a_map_and_gives_memory_back() {
        let (mut found, mut expected) = (Paged::<u32>::default(), BTreeMap::new());
        let mut dice = 1u64;
        for turn in 0..40_000u32 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Few numbers, far from one another.
            let number = (dice >> 60) as u32 * 300_000 + (dice >> 50) as u32 % 50;
            match dice >> 40 & 1 {
                0 => assert_eq!(found.insert(number, turn), expected.insert(number, turn)),
                _ => assert_eq!(found.remove(number), expected.remove(&number)),
            }
            assert_eq!(found.get(number), expected.get(&number).copied());
        }
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().eq(expected.iter().map(|(number, value)| (*number, *value))));
        let full = found.bytes();
        expected.keys().for_each(|number| _ = found.remove(*number));
        assert!(found.len() == 0 && found.bytes() < full / 4 && found.get(u32::MAX).is_none());
    }
}
