//! JPEG files.
//!
//! 1. `survey`  walks the markers before anything is decoded: whether the file is whole, and what it will cost.
//! 2. `decoder` decodes it, for as long as there is time.
//! 3. `inks`    is its way for pictures of four inks, whose profile tells what they look like.
//! 4. `scaled`  decodes large ones to a fraction of their size, where the build has libjpeg-turbo.

mod decoder;
mod inks;
#[cfg(feature = "turbojpeg")]
mod scaled;
mod survey;

pub(super) use decoder::Decoder;
pub(super) use inks::inks;
#[cfg(feature = "turbojpeg")]
pub(super) use scaled::scaled;
pub(super) use survey::{pixels, survey};

use zune_jpeg::zune_core::options::DecoderOptions;

/// Whatever can be shown is shown, of any size: what is too large was refused before.
fn options() -> DecoderOptions {
    DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX)
}
