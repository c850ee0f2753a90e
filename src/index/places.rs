//! Which node holds an id's vector. Ids may have holes, so the map is in pages.

/// Ids a page.
const PAGE: usize = 4096;
const NONE: u32 = u32::MAX;

/// From ids to nodes.
#[derive(Default)]
pub struct Places {
    pages: Vec<Option<Box<[u32]>>>,
    len: usize,
}

impl Places {
    /// How many ids have a place.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The node of `id`.
    pub fn get(&self, id: u32) -> Option<u32> {
        let page = self.pages.get(id as usize / PAGE)?.as_ref()?;
        page.get(id as usize % PAGE).copied().filter(|&node| node != NONE)
    }

    /// Gives `id` a place; the one it had.
    pub fn insert(&mut self, id: u32, node: u32) -> Option<u32> {
        let at = id as usize / PAGE;
        if self.pages.len() <= at {
            self.pages.resize_with(at + 1, || None);
        }
        let page = self.pages.get_mut(at)?.get_or_insert_with(|| vec![NONE; PAGE].into());
        let slot = page.get_mut(id as usize % PAGE)?;
        let old = Some(std::mem::replace(slot, node)).filter(|&node| node != NONE);
        self.len += usize::from(old.is_none());
        old
    }

    /// Takes `id`'s place away; the one it had.
    pub fn remove(&mut self, id: u32) -> Option<u32> {
        let page = self.pages.get_mut(id as usize / PAGE)?.as_mut()?;
        let slot = page.get_mut(id as usize % PAGE)?;
        let old = Some(std::mem::replace(slot, NONE)).filter(|&node| node != NONE);
        self.len -= usize::from(old.is_some());
        old
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.pages.len() * size_of::<Option<Box<[u32]>>>() + 4 * PAGE * self.pages.iter().flatten().count()
    }
}
