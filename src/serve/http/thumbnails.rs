//! Small pictures, made once and remembered up to a bound on memory.

use crate::engine::{Memory, thumbnail_within};
use crate::error::Result;
use crate::types::ContentHash;
use axum::body::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// What an entry costs beside its bytes.
const OVERHEAD: u64 = 128;

type Key = (ContentHash, u32);

/// The memory of small pictures.
pub struct Thumbnails(Cache<Key, Bytes, Weight>);

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Bytes> for Weight {
    fn weight(&self, _: &Key, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + OVERHEAD
    }
}

impl Thumbnails {
    /// Room for so many bytes.
    pub fn new(bytes: u64) -> Self {
        // A guess at how many there will be, which costs little where it is wrong.
        let guess = usize::try_from(bytes / (16 << 10)).unwrap_or(usize::MAX).clamp(16, 1 << 20);
        Thumbnails(Cache::with_weighter(guess, bytes, Weight))
    }

    /// The picture of `hash` with at most `size` pixels on a side, as JPEG. Of several who ask at once one makes it.
    pub fn get(
        &self,
        hash: ContentHash,
        size: u32,
        memory: &Memory,
        bytes: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Bytes> {
        self.0.get_or_insert_with(&(hash, size), || small(&bytes()?, size, memory).map(Bytes::from))
    }
}

fn small(bytes: &[u8], size: u32, memory: &Memory) -> Result<Vec<u8>> {
    thumbnail_within(&memory.decode(bytes)?.image, size)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn they_are_made_once_and_bounded() {
        let mut png = Vec::new();
        let picture = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, 9]));
        picture.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
        let (cache, memory) = (Thumbnails::new(64 << 10), Memory::default());
        let mut made = 0;
        for n in (0..500u32).flat_map(|n| [n, n]) {
            let hash = ContentHash::of(&n.to_le_bytes());
            cache
                .get(hash, 32, &memory, || {
                    made += 1;
                    Ok(png.clone())
                })
                .unwrap();
        }
        assert_eq!(made, 500);
        assert!(cache.0.weight() <= 64 << 10, "{}", cache.0.weight());
        assert!(cache.0.len() > 1);
    }
}
