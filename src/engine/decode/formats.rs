//! The format that a file's first bytes tell, never its name; the reason where they tell none, or one that is not read.

use crate::error::{Error, Result};
use image::ImageFormat;

/// What reads a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A decoder of `image`'s, or ours for JPEG.
    Image(ImageFormat),
    /// libheif.
    Heif,
}

/// The format, and its name.
pub(super) fn tell(bytes: &[u8]) -> Result<(Format, &'static str)> {
    let found = |format: ImageFormat, name| Ok((Format::Image(format), name));
    let refused = |reason: &str| Err(Error::image(format!("not an image: {reason}")));
    if bytes.get(4..8) == Some(b"ftyp") {
        return tell_box(bytes);
    }
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => found(ImageFormat::Jpeg, "jpeg"),
        Ok(ImageFormat::Png) => found(ImageFormat::Png, "png"),
        Ok(ImageFormat::WebP) => found(ImageFormat::WebP, "webp"),
        Ok(ImageFormat::Gif) => found(ImageFormat::Gif, "gif"),
        Ok(ImageFormat::Bmp) => found(ImageFormat::Bmp, "bmp"),
        Ok(ImageFormat::Tiff) => found(ImageFormat::Tiff, "tiff"),
        Ok(other) => unsupported(&format!("{other:?}").to_uppercase()),
        Err(_) if bytes.is_empty() => refused("the file is empty"),
        Err(_) if bytes.starts_with(b"\xff\x0a") || bytes.get(4..8) == Some(b"JXL ") => {
            unsupported("JPEG XL")
        }
        Err(_) if is_text(bytes) => refused("the file holds text"),
        Err(_) => refused("no known format begins like this file"),
    }
}

/// A file of boxes says in its first one what it can be read as: its own brand, then others.
fn tell_box(bytes: &[u8]) -> Result<(Format, &'static str)> {
    let length = bytes.get(..4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes);
    let end = (length as usize).clamp(16, 256).min(bytes.len());
    let brands = || bytes.get(8..end).unwrap_or_default().chunks_exact(4);
    let any = |known: &[&[u8]]| brands().any(|brand| known.contains(&brand));
    if any(&[b"avif", b"avis"]) {
        heif(cfg!(feature = "avif"), "AVIF", "avif")
    } else if any(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"]) {
        heif(cfg!(feature = "heic"), "HEIC", "heic")
    } else if any(&[b"mif1", b"msf1", b"mif2"]) {
        heif(cfg!(feature = "heic"), "HEIF", "heic")
    } else if any(&[b"crx "]) {
        unsupported("Canon's CR3")
    } else {
        Err(Error::image("not an image: the file is a film, or another kind of MP4"))
    }
}

fn heif(built: bool, title: &str, feature: &'static str) -> Result<(Format, &'static str)> {
    if built {
        return Ok((Format::Heif, feature));
    }
    Err(Error::image(format!(
        "{title} is not supported by this build: build Eyeshot with --features {feature} (needs libheif's codecs, see the \
         README), or save it as JPEG, PNG, WebP, GIF, BMP or TIFF"
    )))
}

fn unsupported<T>(format: &str) -> Result<T> {
    Err(Error::image(format!("{format} is not supported: save it as JPEG, PNG, WebP, GIF, BMP or TIFF")))
}

fn is_text(bytes: &[u8]) -> bool {
    let start = bytes.get(..512).unwrap_or(bytes);
    let valid = match std::str::from_utf8(start) {
        Ok(_) => true,
        // A character may be cut by the end of what was looked at.
        Err(e) => bytes.len() > start.len() && e.error_len().is_none(),
    };
    valid && !start.contains(&0)
}
