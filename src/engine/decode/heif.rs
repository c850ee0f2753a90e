//! AVIF and HEIC through libheif, in the manner of `image`'s decoders.
//!
//! It is C++ and so are its codecs, which is why a build has them only where asked for: it keeps to the limits that it is
//! given, and works on the thread that calls it, but a fault of its own is not caught here.

use super::Limits;
use crate::error::{Error, Result};
use image::error::{DecodingError, ImageFormatHint, ParameterError, ParameterErrorKind};
use image::{ColorType, ImageDecoder, ImageError, ImageResult};
use libheif_rs::{
    ColorPrimaries, ColorSpace, DecodingOptions, HeifContext, HeifError, HeifErrorCode, HeifErrorSubCode,
    ImageHandle, ItemId, LibHeif, RgbChroma, SecurityLimits, TransferCharacteristics,
};
use moxcms::ColorProfile;

/// The main picture of a file.
pub(super) struct Decoder<'a> {
    library: LibHeif,
    handle: ImageHandle,
    /// What the handle reads from; dropped after it.
    _context: HeifContext<'a>,
}

impl<'a> Decoder<'a> {
    /// Reads the boxes, and decodes nothing.
    pub fn new(bytes: &'a [u8], limits: &Limits, name: &str) -> Result<Self> {
        let library = LibHeif::new();
        let open = || {
            let mut context = HeifContext::new()?;
            let mut bounds = SecurityLimits::new();
            bounds.set_max_image_size_pixels(limits.pixels);
            bounds.set_max_memory_block_size(limits.memory);
            bounds.set_max_total_memory(limits.memory);
            context.set_security_limits(&bounds)?;
            // Pictures are decoded beside one another already.
            context.set_max_decoding_threads(0);
            context.read_bytes(bytes)?;
            Ok((context.primary_image_handle()?, context))
        };
        let (handle, context) = open().map_err(|error| refused(name, &error))?;
        Ok(Decoder { library, handle, _context: context })
    }

    /// What the boxes say where there is no profile: only what another profile says as well.
    fn wide(&self) -> Option<Vec<u8>> {
        let said = self.handle.color_profile_nclx()?;
        let wide = said.color_primaries() == ColorPrimaries::SMPTE_EG_432_1
            && said.transfer_characteristics() == TransferCharacteristics::IEC_61966_2_1;
        wide.then(|| ColorProfile::new_display_p3().encode().ok()).flatten()
    }
}

impl ImageDecoder for Decoder<'_> {
    /// As it is shown: turned and cut as its boxes say.
    fn dimensions(&self) -> (u32, u32) {
        (self.handle.width(), self.handle.height())
    }

    fn color_type(&self) -> ColorType {
        if self.handle.has_alpha_channel() { ColorType::Rgba8 } else { ColorType::Rgb8 }
    }

    fn icc_profile(&mut self) -> ImageResult<Option<Vec<u8>>> {
        Ok(self.handle.color_profile_raw().map(|profile| profile.data).or_else(|| self.wide()))
    }

    fn exif_metadata(&mut self) -> ImageResult<Option<Vec<u8>>> {
        let mut ids: [ItemId; 1] = [0];
        if self.handle.metadata_block_ids(&mut ids, b"Exif") == 0 {
            return Ok(None);
        }
        let block = self.handle.metadata(ids[0]).map_err(failed)?;
        // Four bytes say how far behind them the structure begins.
        let start = block.get(..4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes);
        let start = (start as usize).saturating_add(4);
        Ok(block.get(start..).map(<[u8]>::to_vec))
    }

    fn read_image(self, into: &mut [u8]) -> ImageResult<()> {
        let (width, height) = self.dimensions();
        let chroma = match self.color_type() {
            ColorType::Rgba8 => RgbChroma::Rgba,
            _ => RgbChroma::Rgb,
        };
        let mut options = DecodingOptions::new();
        if let Some(options) = &mut options {
            options.set_convert_hdr_to_8bit(true);
            options.set_num_codec_threads(1);
        }
        let image = self.library.decode(&self.handle, ColorSpace::Rgb(chroma), options).map_err(failed)?;
        let other =
            || ImageError::Parameter(ParameterError::from_kind(ParameterErrorKind::DimensionMismatch));
        let plane = image.planes().interleaved.ok_or_else(other)?;
        if (plane.width, plane.height) != (width, height) || plane.stride == 0 {
            return Err(other());
        }
        let row = into.len() / (height as usize).max(1);
        for (to, from) in into.chunks_exact_mut(row.max(1)).zip(plane.data.chunks(plane.stride)) {
            to.copy_from_slice(from.get(..row).ok_or_else(other)?);
        }
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, into: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(into)
    }
}

fn failed(error: HeifError) -> ImageError {
    ImageError::Decoding(DecodingError::new(ImageFormatHint::Name("HEIF".into()), said(&error)))
}

fn refused(name: &str, error: &HeifError) -> Error {
    match (error.code, error.sub_code) {
        (_, HeifErrorSubCode::EndOfData) => {
            Error::image(format!("truncated {name}: the file ends too early"))
        }
        (HeifErrorCode::MemoryAllocationError, _) => {
            Error::image(format!("too large: this {name} needs more memory than the limit"))
        }
        _ => Error::image(format!("broken {name}: {}", said(error))),
    }
}

/// In a person's words, where the library has any.
fn said(error: &HeifError) -> String {
    match error.code {
        HeifErrorCode::UnsupportedFeature | HeifErrorCode::UnsupportedFileType => {
            format!("libheif can't read it, perhaps for want of a codec at build time ({})", error.message)
        }
        _ => error.message.clone(),
    }
}
