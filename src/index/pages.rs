//! Bytes on huge pages.
//!
//! A walk touches codes all over memory; on 4 KiB pages nearly every touch would also miss the processor's table of
//! pages.

use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};

/// As many bytes as they were made of.
pub enum Pages {
    /// Anonymous memory, on huge pages where the system grants them.
    Mapped(MmapMut),
    /// What is too small to gain, or could not be mapped.
    Heap(Vec<u8>),
}

/// The usual size of a huge page.
const HUGE: usize = 2 << 20;

impl Pages {
    /// A copy of `bytes` in place of them.
    pub fn new(bytes: Vec<u8>) -> Self {
        match mapped(bytes.len()) {
            Some(mut map) => {
                map.copy_from_slice(&bytes);
                Pages::Mapped(map)
            }
            None => Pages::Heap(bytes),
        }
    }

    /// So many zeros, which take no memory before they are written to.
    pub fn zeros(len: usize) -> Self {
        mapped(len).map_or_else(|| Pages::Heap(vec![0; len]), Pages::Mapped)
    }
}

/// Zeros on huge pages, where they pay and can be had.
fn mapped(len: usize) -> Option<MmapMut> {
    let map = (len >= HUGE / 2).then(|| MmapMut::map_anon(len).ok()).flatten()?;
    // Without huge pages it is slower, not wrong.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    Some(map)
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Pages::Mapped(map) => map,
            Pages::Heap(bytes) => bytes,
        }
    }
}

impl Deref for Pages {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        match self {
            Pages::Mapped(map) => map,
            Pages::Heap(bytes) => bytes,
        }
    }
}
