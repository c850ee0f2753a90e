//! zune-jpeg under the hood of `image`'s decoders. `image` has its own for this, which first copies the file and so can't be
//! stopped by a reader.

use super::super::clock::{Clock, Timed};
use image::error::{DecodingError, UnsupportedError, UnsupportedErrorKind};
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageResult};
use std::rc::Rc;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::colorspace::ColorSpace;

/// A JPEG whose header was read.
pub(in super::super) struct Decoder<'a> {
    bytes: &'a [u8],
    clock: Rc<Clock>,
    width: u32,
    height: u32,
    /// What it is decoded to.
    colours: ColorSpace,
    exif: Option<Vec<u8>>,
    profile: Option<Vec<u8>>,
}

impl<'a> Decoder<'a> {
    /// Reads the header.
    pub fn new(bytes: &'a [u8], clock: &Rc<Clock>) -> ImageResult<Self> {
        let mut decoder = JpegDecoder::new_with_options(Timed::new(bytes, clock), super::options());
        decoder.decode_headers().map_err(error)?;
        let (width, height) = decoder.dimensions().unwrap_or_default();
        let colours = match decoder.input_colorspace() {
            Some(ColorSpace::Luma) => ColorSpace::Luma,
            _ => ColorSpace::RGB,
        };
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        let (exif, profile) = (decoder.exif().cloned(), decoder.icc_profile());
        Ok(Decoder {
            bytes,
            clock: clock.clone(),
            width: side(width),
            height: side(height),
            colours,
            exif,
            profile,
        })
    }
}

impl ImageDecoder for Decoder<'_> {
    fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    fn color_type(&self) -> ColorType {
        if self.colours == ColorSpace::Luma { ColorType::L8 } else { ColorType::Rgb8 }
    }

    fn icc_profile(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.profile.clone())
    }

    fn exif_metadata(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.exif.clone())
    }

    fn read_image(self, into: &mut [u8]) -> ImageResult<()> {
        let options = super::options().jpeg_set_out_colorspace(self.colours);
        let mut decoder = JpegDecoder::new_with_options(Timed::new(self.bytes, &self.clock), options);
        decoder.decode_into(into).map_err(error)
    }

    fn read_image_boxed(self: Box<Self>, into: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(into)
    }
}

fn error(error: DecodeErrors) -> ImageError {
    match error {
        DecodeErrors::Unsupported(what) => {
            let kind = UnsupportedErrorKind::GenericFeature(format!("{what:?}"));
            let error = UnsupportedError::from_format_and_kind(ImageFormat::Jpeg.into(), kind);
            ImageError::Unsupported(error)
        }
        error => ImageError::Decoding(DecodingError::new(ImageFormat::Jpeg.into(), error)),
    }
}
