//! libjpeg-turbo's way to a smaller picture: a block's low frequencies alone make a half, a quarter or an eighth of it, with
//! no pixel computed that would be thrown away.

use image::RgbImage;
use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat, ScalingFactor};

/// How many pixels a picture keeps for each that is asked for, along each axis: what is scaled from twice the size differs
/// from what is scaled from all of it by less than a level of 255.
const SPARE: usize = 2;
/// The scales for which its code is fast.
const SCALES: [ScalingFactor; 3] =
    [ScalingFactor::ONE_EIGHTH, ScalingFactor::ONE_QUARTER, ScalingFactor::ONE_HALF];

/// The picture, smaller, with sides of at least twice `enough` pixels. None where it would not be smaller, or where anything
/// is odd about it: the other decoder knows what to do, and what to say.
pub(in super::super) fn scaled(bytes: &[u8], enough: u32) -> Option<RgbImage> {
    let mut decoder = Decompressor::new().ok()?;
    let header = decoder.read_header(bytes).ok()?;
    // It makes inks of inks, and nothing else.
    if matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK) || header.is_lossless {
        return None;
    }
    let least = SPARE.checked_mul(enough as usize)?;
    let short = header.width.min(header.height);
    let scale = SCALES.into_iter().find(|scale| scale.scale(short) >= least)?;
    decoder.set_scaling_factor(scale).ok()?;
    let (width, height) = (scale.scale(header.width), scale.scale(header.height));
    let mut pixels = super::super::room::take(3 * width * height);
    let output =
        Image { pixels: pixels.as_mut_slice(), width, pitch: 3 * width, height, format: PixelFormat::RGB };
    decoder.decompress(bytes, output).ok()?;
    RgbImage::from_raw(u32::try_from(width).ok()?, u32::try_from(height).ok()?, pixels)
}
