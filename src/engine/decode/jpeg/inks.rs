//! The inks that a JPEG for print is made of. The decoder's own way to red, green and blue knows nothing of inks.

use super::super::clock::{Clock, Timed};
use std::rc::Rc;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;

/// The amounts of ink, four bytes a pixel, 255 for all of an ink. None where they cannot be had.
pub(in super::super) fn inks(bytes: &[u8], clock: &Rc<Clock>) -> Option<Vec<u8>> {
    let mut decoder = JpegDecoder::new_with_options(Timed::new(bytes, clock), super::options());
    decoder.decode_headers().ok()?;
    let stored = decoder.input_colorspace()?;
    decoder.set_options(super::options().jpeg_set_out_colorspace(stored));
    let mut samples = decoder.decode().ok()?;
    for pixel in samples.chunks_exact_mut(4) {
        if stored == ColorSpace::YCCK {
            let [y, cb, cr] = [0, 1, 2].map(|at| f32::from(pixel[at]));
            let (cb, cr) = (cb - 128.0, cr - 128.0);
            let rgb = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
            for (to, value) in pixel.iter_mut().zip(rgb) {
                *to = value.round() as u8;
            }
        } else {
            pixel.iter_mut().take(3).for_each(|ink| *ink = 255 - *ink);
        }
        pixel[3] = 255 - pixel[3];
    }
    matches!(stored, ColorSpace::CMYK | ColorSpace::YCCK).then_some(samples)
}
