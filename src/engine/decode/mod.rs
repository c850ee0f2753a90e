//! From a file's bytes to RGB pixels and what EXIF says, whatever the bytes are.
//!
//! 1. The format is told from the first bytes, never from a name ([`open`]): `formats`. Of camera `raw` files, the JPEG that
//!    the camera put in is shown.
//! 2. The header gives width, height and what decoding will cost; [`Limits`] are checked before any pixel has memory.
//! 3. `jpeg`  says whether the file is whole and how much memory its kind of coding takes; `pieces` says that of the JPEGs
//!    within a TIFF.
//! 4. `exif`  reads orientation, date, camera, lens and place; `tiff` is the structure that they stand in.
//! 5. The pixels are decoded, for as long as the `clock` lets them, laid on white where they are transparent, brought to sRGB
//!    where a profile says that they are of other colours (`icc`), and turned upright ([`Opened::decode`]).
//!
//! `heif` reads AVIF and HEIC where the build has libheif. `looks` is a picture's perceptual hash; `room` keeps a picture's
//! memory for the next one.
//!
//! A refusal is always [`Error::Image`] with a reason that a person can act on. A decoder that panics is a refusal too.
//! Nothing here knows of files, collections or models.

mod clock;
mod exif;
mod formats;
#[cfg(any(feature = "avif", feature = "heic"))]
mod heif;
mod icc;
mod jpeg;
mod looks;
mod pieces;
mod raw;
mod room;
mod tiff;

pub use looks::looks;
pub use room::give_back;

use crate::error::{Error, Result};
use crate::types::Payload;
use clock::{Clock, Stream, Timed};
use formats::Format;
use icc::{Colours, Samples};
use image::error::{ParameterError, ParameterErrorKind};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

/// How much one image may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest file, in bytes.
    pub bytes: u64,
    /// The most pixels, width times height.
    pub pixels: u64,
    /// The most memory that decoding may take at once, in bytes, the file's own bytes aside.
    pub memory: u64,
    /// The most that one side may be longer than the other, in times.
    pub ratio: u32,
    /// The longest that decoding may take. It ends at the next bytes that the decoder asks for, so a little later; what is
    /// decoded in one go, as most of WebP and HEIC, is bounded by its pixels.
    pub time: Duration,
}

impl Default for Limits {
    /// Room for the largest phone cameras (200 megapixels, turned by EXIF).
    fn default() -> Self {
        Limits {
            bytes: 256 << 20,
            pixels: 200_000_000,
            memory: 1280 << 20,
            ratio: 1000,
            time: Duration::from_secs(20),
        }
    }
}

/// How many times the pixels of the largest picture a decoder may go over them: half as often again as the usual
/// progressive JPEG asks, and more for smaller pictures.
const SCANS: u64 = 16;

/// A decoded image.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The pixels: sRGB, upright, on white.
    pub image: RgbImage,
    /// Pixels across, after orientation.
    pub width: u32,
    /// Pixels down, after orientation.
    pub height: u32,
    /// `jpeg`, `png`, `webp`, `gif`, `bmp`, `tiff`, `avif`, `heic`, or a RAW file's: `dng`, `cr2`, `nef`, `arw`, `orf`, `rw2`,
    /// `raf`, `pef`, `srw`, `3fr`, else `raw`.
    pub format: &'static str,
    /// When the picture was taken, local time: seconds since 1970-01-01T00:00:00 with no time zone.
    pub taken: Option<i64>,
    /// What EXIF says, typed; see [`Facts::exif`].
    pub exif: Payload,
}

/// What a file says of its picture before any pixel is decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Pixels across, after orientation.
    pub width: u32,
    /// Pixels down, after orientation.
    pub height: u32,
    /// `jpeg`, `png`, `webp`, `gif`, `bmp`, `tiff`, `avif`, `heic`, or a RAW file's: `dng`, `cr2`, `nef`, `arw`, `orf`, `rw2`,
    /// `raf`, `pef`, `srw`, `3fr`, else `raw`.
    pub format: &'static str,
    /// When the picture was taken, local time: seconds since 1970-01-01T00:00:00 with no time zone.
    pub taken: Option<i64>,
    /// Those of `camera` and `lens` (text), `gps` (`lat` and `lon` in degrees, `alt` in metres), `iso`, `aperture`
    /// (f-number), `exposure` (seconds) and `focal_length` (millimetres) that EXIF gives.
    pub exif: Payload,
}

/// A file whose header passed the limits, and whose pixels can be had.
pub struct Opened<'a> {
    /// What the header says.
    pub facts: Facts,
    /// The memory that [`Opened::decode`] will take at its peak, in bytes: so that a caller with many threads can
    /// keep the sum of them bounded.
    pub memory: u64,
    bytes: &'a [u8],
    decoder: Box<dyn ImageDecoder + 'a>,
    orientation: Orientation,
    colours: Option<Colours>,
    clock: Rc<Clock>,
    /// Whether a smaller picture may be made of it in one go.
    #[cfg_attr(not(feature = "turbojpeg"), expect(dead_code))]
    quick: bool,
}

/// Decodes `bytes`; see [`open`] and [`Opened::decode`].
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    open(bytes, limits)?.finish()
}

/// Reads the header of `bytes` and checks it against `limits`; takes no memory for pixels.
pub fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Opened<'a>> {
    if bytes.len() as u64 > limits.bytes {
        return Err(over("bytes", bytes.len() as u64, limits.bytes));
    }
    if let Some(raw) = guarded("raw", || raw::read(bytes))? {
        let file = File { bytes: raw.preview, format: Format::Image(ImageFormat::Jpeg), name: raw.name };
        return opened(file, Some(raw.exif), limits);
    }
    let (format, name) = formats::tell(bytes)?;
    opened(File { bytes, format, name }, None, limits)
}

/// What is to be decoded, and what people call it.
#[derive(Clone, Copy)]
struct File<'a> {
    bytes: &'a [u8],
    format: Format,
    name: &'static str,
}

fn opened<'a>(file: File<'a>, exif: Option<Vec<u8>>, limits: &Limits) -> Result<Opened<'a>> {
    let clock = Clock::start(limits.time);
    clock.judge(file.name, guarded(file.name, || open_as(file, exif, limits, &clock)))
}

impl Opened<'_> {
    /// The pixels and the facts.
    pub fn finish(self) -> Result<Decoded> {
        let facts = self.facts.clone();
        let image = self.decode()?;
        let Facts { width, height, format, taken, exif } = facts;
        Ok(Decoded { image, width, height, format, taken, exif })
    }

    /// The pixels: sRGB, upright; what is transparent is laid on white.
    pub fn decode(self) -> Result<RgbImage> {
        self.decode_for(None)
    }

    /// The same, perhaps smaller: large enough for whoever scales it down to `enough` pixels a side. None for all there are.
    pub fn decode_for(self, enough: Option<u32>) -> Result<RgbImage> {
        let (name, orientation, clock) = (self.facts.format, self.orientation, self.clock.clone());
        clock.restart();
        let made = guarded(name, || {
            let image = match self.printed() {
                Some(image) => image,
                None => self.shown(name, enough)?,
            };
            let mut image = DynamicImage::ImageRgb8(image);
            image.apply_orientation(orientation);
            Ok(image.into_rgb8())
        });
        clock.judge(name, made)
    }

    /// What the decoder makes of it, in sRGB.
    fn shown(self, name: &str, enough: Option<u32>) -> Result<RgbImage> {
        let mut image = match enough.and_then(|enough| self.scaled(enough)) {
            Some(image) => image,
            None => {
                let image = pixels(self.decoder).map_err(|e| broken(name, &e))?;
                if image.color().has_alpha() { on_white(image) } else { image.into_rgb8() }
            }
        };
        if let Some(colours) = self.colours {
            colours.show(&mut image).map_err(|e| Error::image(format!("broken {name}: its profile: {e}")))?;
        }
        Ok(image)
    }

    /// What its inks look like on paper, where it has inks and a profile that says so.
    fn printed(&self) -> Option<RgbImage> {
        let colours = self.colours.as_ref().filter(|colours| matches!(colours, Colours::Cmyk(_)))?;
        let (width, height) = self.decoder.dimensions();
        RgbImage::from_raw(width, height, colours.print(&jpeg::inks(self.bytes, &self.clock)?)?)
    }

    /// A smaller picture of it, where it is a large JPEG and the build has what makes one.
    #[cfg(feature = "turbojpeg")]
    fn scaled(&self, enough: u32) -> Option<RgbImage> {
        self.quick.then(|| jpeg::scaled(self.bytes, enough)).flatten()
    }

    #[cfg(not(feature = "turbojpeg"))]
    fn scaled(&self, _enough: u32) -> Option<RgbImage> {
        None
    }
}

/// What `decoder` makes, in room that was used before where it is plain RGB, as most pictures are.
fn pixels(decoder: Box<dyn ImageDecoder + '_>) -> Result<DynamicImage, ImageError> {
    let ((width, height), bytes) = (decoder.dimensions(), decoder.total_bytes());
    let Some(len) = usize::try_from(bytes).ok().filter(|_| decoder.color_type() == ColorType::Rgb8) else {
        return DynamicImage::from_decoder(decoder);
    };
    let mut room = room::take(len);
    decoder.read_image_boxed(&mut room)?;
    let other_size = || ParameterError::from_kind(ParameterErrorKind::DimensionMismatch);
    let image = RgbImage::from_raw(width, height, room).ok_or_else(|| ImageError::Parameter(other_size()))?;
    Ok(DynamicImage::ImageRgb8(image))
}

fn open_as<'a>(
    file: File<'a>,
    exif: Option<Vec<u8>>,
    limits: &Limits,
    clock: &Rc<Clock>,
) -> Result<Opened<'a>> {
    let File { bytes, format, name } = file;
    let jpeg = if format == Format::Image(ImageFormat::Jpeg) { Some(jpeg::survey(bytes)?) } else { None };
    let is_tiff = format == Format::Image(ImageFormat::Tiff);
    let pieces = if is_tiff { pieces::survey(bytes)? } else { pieces::Pieces::default() };
    let mut decoder = decoder(file, limits, clock)?;

    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    // A TIFF file is itself the structure that EXIF is; EXIF that cannot be read is no reason to refuse the picture.
    let within = |decoder: &mut Box<dyn ImageDecoder + 'a>| decoder.exif_metadata().ok().flatten();
    let chunk = exif.filter(|chunk| !chunk.is_empty());
    let chunk = chunk.or_else(|| if is_tiff { Some(bytes.to_vec()) } else { within(&mut decoder) });
    let exif = exif::read(chunk.unwrap_or_default());
    let samples = match decoder.color_type() {
        _ if jpeg.as_ref().is_some_and(|jpeg| jpeg.inks) => Samples::Cmyk,
        color if color.has_color() => Samples::Rgb,
        _ => Samples::Grey,
    };
    // A profile that cannot be had is no reason to refuse the picture either.
    let profile = exif.profile.filter(|_| is_tiff).or_else(|| decoder.icc_profile().ok().flatten());
    let colours = profile.and_then(|profile| icc::read(&profile, samples));
    // libheif turns pictures itself, as their own boxes say; what EXIF says there is for those who don't.
    let orientation = if format == Format::Heif { Orientation::NoTransforms } else { exif.orientation };
    let turned = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );

    // Every scan goes over the whole picture, however little it says.
    let pixels = u64::from(width) * u64::from(height);
    let scanned = pixels.saturating_mul(jpeg.as_ref().map_or(1, |jpeg| jpeg.scans)).max(pieces.scanned);
    if scanned > limits.pixels.saturating_mul(SCANS) {
        return Err(over("pixels in all its scans", scanned, limits.pixels.saturating_mul(SCANS)));
    }

    // The decoder's output, what it works in, and one more RGB picture where colours are converted or it is turned.
    let output = decoder.total_bytes();
    let working = match (format, &jpeg) {
        (_, Some(jpeg)) => jpeg.coefficients,
        // Planes of 16 bits, and what they are converted through.
        (Format::Heif, _) => 12 * pixels,
        // Its planes or its ARGB pixels.
        (Format::Image(ImageFormat::WebP), _) => 4 * pixels,
        // The samples as they are stored, CMYK in four bytes where the output has three.
        (Format::Image(ImageFormat::Tiff), _) => (output / 3 * 4).saturating_add(pieces.memory),
        _ => 0,
    };
    let copies = if turned || decoder.color_type() != ColorType::Rgb8 { 3 * pixels } else { 0 };
    let inks = if matches!(colours, Some(Colours::Cmyk(_))) { 4 * pixels } else { 0 };
    let memory = output.saturating_add(working).saturating_add(copies).saturating_add(inks);
    if memory > limits.memory {
        return Err(over("bytes of memory to decode", memory, limits.memory));
    }

    let (width, height) = if turned { (height, width) } else { (width, height) };
    let facts = Facts { width, height, format: name, taken: exif.taken, exif: exif.fields };
    // What can't be stopped half-way must be quick by itself.
    let quick = samples != Samples::Cmyk && scanned <= limits.pixels && jpeg.is_some();
    Ok(Opened { facts, memory, bytes, decoder, orientation, colours, clock: clock.clone(), quick })
}

/// What decodes a file: its header is read.
fn decoder<'a>(file: File<'a>, limits: &Limits, clock: &Rc<Clock>) -> Result<Box<dyn ImageDecoder + 'a>> {
    let File { bytes, format, name } = file;
    let decoder: Box<dyn ImageDecoder + 'a> = match format {
        Format::Image(ImageFormat::Jpeg) => {
            Box::new(jpeg::Decoder::new(bytes, clock).map_err(|e| broken(name, &e))?)
        }
        Format::Image(format) => {
            let mut library = image::Limits::no_limits();
            library.max_alloc = Some(limits.memory);
            let mut reader = ImageReader::with_format(Stream(Timed::new(bytes, clock)), format);
            reader.limits(library);
            Box::new(reader.into_decoder().map_err(|e| broken(name, &e))?)
        }
        #[cfg(any(feature = "avif", feature = "heic"))]
        Format::Heif => Box::new(heif::Decoder::new(bytes, limits, name)?),
        #[cfg(not(any(feature = "avif", feature = "heic")))]
        Format::Heif => return Err(Error::image(format!("{name} is not supported by this build"))),
    };
    Ok(decoder)
}

fn check_size(width: u32, height: u32, limits: &Limits) -> Result<()> {
    let (short, long) = (width.min(height), width.max(height));
    if short == 0 {
        return Err(Error::image(format!("empty: {width} x {height} pixels")));
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.pixels {
        return Err(Error::image(format!(
            "too large: {width} x {height} is {pixels} pixels, and the limit is {}",
            limits.pixels
        )));
    }
    if u64::from(long) > u64::from(short) * u64::from(limits.ratio) {
        return Err(Error::image(format!(
            "too narrow: {width} x {height}, and one side may be at most {} times the other",
            limits.ratio
        )));
    }
    Ok(())
}

/// Lays a picture with transparency on white, in the file's own (gamma) values, as browsers do.
fn on_white(image: DynamicImage) -> RgbImage {
    let image = image.into_rgba8();
    let (width, height) = image.dimensions();
    let blend = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let mut out = RgbImage::new(width, height);
    for (to, from) in out.pixels_mut().zip(image.pixels()) {
        let [red, green, blue, alpha] = from.0;
        to.0 = [blend(red, alpha), blend(green, alpha), blend(blue, alpha)];
    }
    out
}

/// Runs a decoder that may panic on hostile bytes.
fn guarded<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // What the closure holds is dropped on a panic, so no one sees it half changed.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(Error::image(format!("broken {name}: the decoder gave up on it ({said})")))
    })
}

fn over(what: &str, found: u64, limit: u64) -> Error {
    Error::image(format!("too large: {found} {what}, and the limit is {limit}"))
}

fn broken(name: &str, error: &ImageError) -> Error {
    match error {
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::image(format!("truncated {name}: the file ends too early"))
        }
        ImageError::Limits(_) => {
            Error::image(format!("too large: this {name} needs more memory than the limit"))
        }
        ImageError::Unsupported(e) => Error::image(format!("unsupported {name}: {e}")),
        e => Error::image(format!("broken {name}: {e}")),
    }
}
