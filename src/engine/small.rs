//! Small pictures, as JPEG: what the page shows, and what a collection may keep of each item.

use crate::error::{Error, Result};
use crate::models::{Filter, scale};
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;

/// JPEG's quality for the eye: at this, small pictures look as the large ones do.
const SHOWN: u8 = 82;
/// For an encoder, which is to see what it would have seen.
const KEPT: u8 = 90;
/// The most that the longer side of a kept picture may have for each pixel that is asked for of the shorter.
const STRIP: u32 = 4;

/// The whole picture with no side of more than `longest` pixels; never larger than it is.
///
/// # Errors
/// [`Error::Compute`] where it can't be written.
pub fn thumbnail_within(image: &RgbImage, longest: u32) -> Result<Vec<u8>> {
    let (width, height) = image.dimensions();
    jpeg(image, longest, width.max(height), SHOWN)
}

/// The whole picture with a shorter side of `shortest` pixels, for encoders that look at no more; a long strip has fewer.
///
/// # Errors
/// As [`thumbnail_within`].
pub fn thumbnail_covering(image: &RgbImage, shortest: u32) -> Result<Vec<u8>> {
    let (width, height) = image.dimensions();
    let longest = shortest.saturating_mul(STRIP);
    match u64::from(width.max(height)) > u64::from(STRIP) * u64::from(width.min(height)) {
        true => jpeg(image, longest, width.max(height), KEPT),
        false => jpeg(image, shortest, width.min(height), KEPT),
    }
}

/// `image` scaled so that `side` pixels of it become `wanted`, where those are fewer.
fn jpeg(image: &RgbImage, wanted: u32, side: u32, quality: u8) -> Result<Vec<u8>> {
    let smaller = (side > wanted).then(|| {
        let scaled = |length: u32| u64::from(length) * u64::from(wanted) / u64::from(side);
        let scaled = |length| u32::try_from(scaled(length)).unwrap_or(length).max(1);
        scale(image, (scaled(image.height()), scaled(image.width())), Filter::Bicubic)
    });
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    let written = smaller.as_ref().unwrap_or(image).write_with_encoder(encoder);
    written.map_err(|e| Error::Compute { reason: format!("a small picture: {e}") })?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn they_fit_and_keep_their_shape() {
        let check = |made: Result<Vec<u8>>, wanted: (u32, u32)| {
            let image = image::load_from_memory(&made.unwrap()).unwrap();
            assert_eq!((image.width(), image.height()), wanted);
        };
        let from = RgbImage::new;
        check(thumbnail_within(&from(640, 480), 320), (320, 240));
        check(thumbnail_within(&from(4000, 3000), 320), (320, 240));
        check(thumbnail_within(&from(100, 50), 320), (100, 50));
        check(thumbnail_within(&from(3000, 10), 100), (100, 1));
        check(thumbnail_within(&from(10, 3000), 100), (1, 100));
        check(thumbnail_covering(&from(4000, 3000), 300), (400, 300));
        check(thumbnail_covering(&from(300, 400), 300), (300, 400));
        check(thumbnail_covering(&from(200, 100), 300), (200, 100));
        check(thumbnail_covering(&from(4000, 1000), 300), (1200, 300));
        check(thumbnail_covering(&from(6000, 100), 300), (1200, 20));
    }
}
