//! Read-only bytes on huge pages.
//!
//! A walk touches codes all over memory; on 4 KiB pages nearly every touch would also miss the processor's table of
//! pages.

use memmap2::MmapMut;
use std::ops::Deref;

/// Bytes that don't change any more.
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
        if bytes.len() < HUGE / 2 {
            return Pages::Heap(bytes);
        }
        let Ok(mut map) = MmapMut::map_anon(bytes.len()) else { return Pages::Heap(bytes) };
        // Without huge pages it is slower, not wrong.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        map.copy_from_slice(&bytes);
        Pages::Mapped(map)
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
