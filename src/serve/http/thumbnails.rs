//! Small pictures, made once and remembered up to a bound on memory.

use crate::engine::Memory;
use crate::error::{Error, Result};
use crate::types::ContentHash;
use axum::body::Bytes;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize, thumbnail};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// JPEG's quality: at this, small pictures look as the large ones do.
const QUALITY: u8 = 82;
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
    let decoded = memory.decode(bytes)?;
    let image = fitted(&decoded.image, size);
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, QUALITY);
    image.write_with_encoder(encoder).map_err(|e| Error::Compute { reason: format!("a thumbnail: {e}") })?;
    Ok(jpeg)
}

/// The whole picture within a square of `size`; never larger than it is.
fn fitted(image: &RgbImage, size: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let longer = width.max(height);
    if longer <= size {
        return image.clone();
    }
    let scaled =
        |side: u32| u32::try_from(u64::from(side) * u64::from(size) / u64::from(longer)).unwrap_or(1).max(1);
    let (w, h) = (scaled(width), scaled(height));
    // Box averaging brings a large picture near, quickly, and a careful filter does the rest.
    match longer / size >= 4 {
        true => resize(&thumbnail(image, 2 * w, 2 * h), w, h, FilterType::CatmullRom),
        false => resize(image, w, h, FilterType::CatmullRom),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn they_fit_and_keep_their_shape() {
        let check = |from: (u32, u32), size: u32, wanted: (u32, u32)| {
            assert_eq!(
                fitted(&RgbImage::new(from.0, from.1), size).dimensions(),
                wanted,
                "{from:?} in {size}"
            );
        };
        check((640, 480), 320, (320, 240));
        check((4000, 3000), 320, (320, 240));
        check((100, 50), 320, (100, 50));
        check((3000, 10), 100, (100, 1));
        check((10, 3000), 100, (1, 100));
    }

    #[test]
    fn they_are_made_once_and_bounded() {
        let mut png = Vec::new();
        let picture = RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, 9]));
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
