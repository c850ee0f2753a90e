//! Decoding: every format and kind of pixel to the RGB that Pillow shows, and a reason for whatever cannot be shown.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;
#[cfg(any(feature = "avif", feature = "heic"))]
mod heifs;
mod raws;
#[cfg(feature = "turbojpeg")]
mod scaled;
mod slow;

use common::{Dice, crc32};
use eyeshot::engine::decode::{Decoded, Limits, decode, open};
use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
use image::{DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage};
use std::io::Cursor;
use std::path::Path;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new("tests/fixtures/images").join(name)).unwrap()
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.into().write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A picture in which every pixel differs from its neighbours in every channel, smoothly.
fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let part = |at: u32, of: u32| (at * 255 / of.max(1)) as u8;
        Rgb([part(x, width), part(y, height), 255 - part(x + y, width + height)])
    })
}

/// The largest difference of any channel of any pixel.
fn difference(a: &RgbImage, b: &RgbImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions());
    a.iter().zip(b.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}

fn shown(bytes: &[u8]) -> Decoded {
    decode(bytes, &Limits::default()).unwrap()
}

#[test]
fn formats_are_told_from_content() {
    let picture = gradient(40, 30);
    let check = |format, name, tolerance| {
        let decoded = shown(&encoded(picture.clone(), format));
        assert_eq!((decoded.format, decoded.width, decoded.height), (name, 40, 30));
        let off = difference(&decoded.image, &picture);
        assert!(off <= tolerance, "{name}: off by {off}");
        assert!(decoded.taken.is_none() && decoded.exif.is_empty());
    };
    check(ImageFormat::Jpeg, "jpeg", 24);
    check(ImageFormat::Png, "png", 0);
    check(ImageFormat::WebP, "webp", 0);
    check(ImageFormat::Gif, "gif", 32);
    check(ImageFormat::Bmp, "bmp", 0);
    check(ImageFormat::Tiff, "tiff", 0);
}

#[test]
fn pixels_agree_with_pillow() {
    let check = |name: &str, tolerance| {
        let reference = image::load_from_memory(&fixture(&format!("{name}.png"))).unwrap().into_rgb8();
        let off = difference(&shown(&fixture(name)).image, &reference);
        assert!(off <= tolerance, "{name}: off by {off}");
    };
    // JPEG decoders may round and upsample differently; the colours of CMYK are products, so errors add up.
    check("cmyk.jpg", 4);
    check("ycck.jpg", 4);
    check("progressive.jpg", 4);
    check("subsampled.jpg", 6);
    check("gray.jpg", 2);
    check("jpeg.tiff", 2);
    check("palette.png", 0);
    check("palette-alpha.png", 1);
    check("bilevel.png", 0);
}

#[test]
fn profiles_are_shown_as_littlecms_shows_them() {
    let check = |name: &str, tolerance| {
        let reference = image::load_from_memory(&fixture(&format!("{name}.png"))).unwrap().into_rgb8();
        let found = shown(&fixture(name)).image;
        let off = difference(&found, &reference);
        assert!(off <= tolerance, "{name}: off by {off}");
    };
    check("icc-adobe.jpg", 4);
    check("icc-adobe.tiff", 2);
    check("icc-wide.png", 2);
    check("icc-wide.webp", 2);
    check("icc-gray.png", 2);
    check("icc-cmyk.jpg", 6);
    check("icc-ycck.jpg", 6);
}

/// The same file with no profile in it, where it is a PNG.
fn without_profile(png: &[u8]) -> Vec<u8> {
    let pixels = image::load_from_memory(png).unwrap();
    encoded(pixels, ImageFormat::Png)
}

#[test]
fn a_profile_changes_what_is_shown_unless_it_is_srgb_or_broken() {
    let check = |bytes: &[u8], changes: bool| {
        let off = difference(&shown(bytes).image, &shown(&without_profile(bytes)).image);
        assert_eq!(off > 10, changes, "off by {off}");
        assert!(changes || off == 0, "off by {off}");
    };
    check(&fixture("icc-wide.png"), true);
    check(&fixture("icc-gray.png"), true);
    check(&fixture("icc-srgb.png"), false);
    // Profiles cut anywhere, of another kind of colour, and of nonsense: the picture is shown as it is.
    let (rgb, grey) = (profile_of("icc-wide.png"), profile_of("icc-gray.png"));
    let with = |profile: &[u8]| {
        let picture = gradient(8, 8);
        let mut out = Vec::new();
        let mut encoder = PngEncoder::new(&mut out);
        encoder.set_icc_profile(profile.to_vec()).unwrap();
        encoder.write_image(&picture, 8, 8, image::ExtendedColorType::Rgb8).unwrap();
        out
    };
    check(&with(&grey), false);
    check(&with(&vec![b'x'; 5 << 20]), false);
    for length in 1..300 {
        check(&with(&rgb[..length]), false);
    }
}

fn profile_of(name: &str) -> Vec<u8> {
    use image::ImageDecoder;
    let mut decoder = image::codecs::png::PngDecoder::new(Cursor::new(fixture(name))).unwrap();
    decoder.icc_profile().unwrap().unwrap()
}

/// Profiles with bits flipped: a picture that is whole is shown, whatever its profile says.
#[test]
fn a_hostile_profile_never_fails_a_picture() {
    let mut dice = Dice(1);
    let mut next = |below: usize| dice.roll(below as u64) as usize;
    let picture = gradient(16, 16);
    for (name, rounds) in [("icc-wide.png", 2000), ("icc-gray.png", 500)] {
        let whole = profile_of(name);
        for round in 0..rounds {
            let mut profile = whole.clone();
            for _ in 0..=next(4) {
                let at = next(profile.len());
                profile[at] ^= 1 << next(8);
            }
            let mut out = Vec::new();
            let mut encoder = PngEncoder::new(&mut out);
            encoder.set_icc_profile(profile).unwrap();
            encoder.write_image(&picture, 16, 16, image::ExtendedColorType::Rgb8).unwrap();
            let began = std::time::Instant::now();
            let decoded = decode(&out, &Limits::default());
            assert!(decoded.is_ok(), "{name} round {round}: {decoded:?}");
            assert!(began.elapsed().as_secs() < 10, "{name} round {round}");
        }
    }
}

#[test]
fn deep_and_transparent_pixels() {
    let check = |image: DynamicImage, expected: [u8; 3]| {
        for format in [ImageFormat::Png, ImageFormat::Tiff] {
            let decoded = shown(&encoded(image.clone(), format));
            assert!(
                decoded.image.pixels().all(|pixel| pixel.0 == expected),
                "{format:?} {:?}",
                image.color()
            );
        }
    };
    use image::{ImageBuffer, Luma, LumaA, Rgba};
    check(ImageBuffer::from_pixel(3, 2, Luma([0x80ffu16])).into(), [0x80; 3]);
    check(ImageBuffer::from_pixel(3, 2, Rgb([0xffffu16, 0x8000, 0])).into(), [0xff, 0x80, 0]);
    check(ImageBuffer::from_pixel(3, 2, Rgba([0u16, 0, 0, 0])).into(), [0xff; 3]);
    check(ImageBuffer::from_pixel(3, 2, Luma([7u8])).into(), [7; 3]);
    check(ImageBuffer::from_pixel(3, 2, Rgba([200u8, 100, 0, 255])).into(), [200, 100, 0]);
    check(ImageBuffer::from_pixel(3, 2, Rgba([200u8, 100, 0, 51])).into(), [244, 224, 204]);
    let gray = shown(&encoded(ImageBuffer::from_pixel(3, 2, LumaA([0u8, 128])), ImageFormat::Png));
    assert!(gray.image.pixels().all(|pixel| pixel.0 == [127; 3]));
}

#[test]
fn an_animation_shows_its_first_frame() {
    for name in ["animated.gif", "animated.webp"] {
        let decoded = shown(&fixture(name));
        assert_eq!((decoded.width, decoded.height), (12, 8));
        assert!(decoded.image.pixels().all(|pixel| pixel.0 == [255, 0, 0]), "{name}");
    }
}

/// A TIFF structure that holds an orientation and nothing else.
fn orientation_chunk(orientation: u8) -> Vec<u8> {
    let mut chunk = b"MM\0\x2a\0\0\0\x08\0\x01".to_vec();
    chunk.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0]);
    chunk
}

#[test]
fn all_orientations_come_upright() {
    let upright = gradient(32, 16);
    let (right, bottom) = (31, 15);
    for orientation in 1..=8 {
        // Where the upright picture's (x, y) is stored: EXIF names the visual sides of the 0th row and 0th column.
        let stored = |x: u32, y: u32| match orientation {
            1 => (x, y),
            2 => (right - x, y),
            3 => (right - x, bottom - y),
            4 => (x, bottom - y),
            5 => (y, x),
            6 => (y, right - x),
            7 => (bottom - y, right - x),
            _ => (bottom - y, x),
        };
        let mut file = if orientation < 5 { RgbImage::new(32, 16) } else { RgbImage::new(16, 32) };
        for (x, y, pixel) in upright.enumerate_pixels() {
            let (x, y) = stored(x, y);
            file.put_pixel(x, y, *pixel);
        }
        let check = |name: &str, bytes: &[u8], tolerance| {
            let decoded = shown(bytes);
            assert_eq!((decoded.width, decoded.height), (32, 16), "{name} {orientation}");
            assert!(difference(&decoded.image, &upright) <= tolerance, "{name} {orientation}");
            let facts = open(bytes, &Limits::default()).unwrap().facts;
            assert_eq!((facts.width, facts.height), (32, 16));
        };
        let (width, height) = file.dimensions();
        let write = |mut encoder: Box<dyn Encoder>| {
            encoder.write(orientation_chunk(orientation), &file, width, height)
        };
        check("jpeg", &write(Box::new(Jpeg)), 40);
        check("png", &write(Box::new(Png)), 0);
        check("webp", &write(Box::new(WebP)), 0);
    }
}

/// The three encoders that write EXIF, under one verb.
trait Encoder {
    fn write(&mut self, exif: Vec<u8>, pixels: &[u8], width: u32, height: u32) -> Vec<u8>;
}

macro_rules! encoder {
    ($name:ident, $out:ident => $new:expr) => {
        struct $name;
        impl Encoder for $name {
            fn write(&mut self, exif: Vec<u8>, pixels: &[u8], width: u32, height: u32) -> Vec<u8> {
                let mut $out = Vec::new();
                let mut encoder = $new;
                encoder.set_exif_metadata(exif).unwrap();
                encoder.write_image(pixels, width, height, image::ExtendedColorType::Rgb8).unwrap();
                $out
            }
        }
    };
}
encoder!(Jpeg, out => JpegEncoder::new_with_quality(&mut out, 95));
encoder!(Png, out => PngEncoder::new(&mut out));
encoder!(WebP, out => WebPEncoder::new_lossless(&mut out));

#[test]
fn exif_becomes_typed_fields() {
    for name in ["exif.jpg", "exif.png", "exif.webp", "exif.tiff"] {
        let decoded = shown(&fixture(name));
        assert_eq!((decoded.width, decoded.height), (24, 40), "{name} is turned");
        assert_eq!(decoded.taken, Some(1_563_677_775), "{name}: 2019-07-21T02:56:15");
        let expected = serde_json::json!({
            "camera": "Canon EOS R5", "lens": "RF50mm F1.8 STM", "iso": 400, "aperture": 2.8, "exposure": 0.004,
            "focal_length": 50.0, "gps": { "lat": -33.8587500, "lon": 151.2142194, "alt": 12.5 },
        });
        assert_eq!(serde_json::Value::Object(decoded.exif), expected, "{name}");
    }
}

#[test]
fn broken_exif_costs_nothing() {
    let picture = gradient(8, 8);
    let whole = orientation_chunk(6);
    for length in 1..whole.len() {
        let decoded = shown(&Png.write(whole[..length].to_vec(), &picture, 8, 8));
        assert_eq!((decoded.width, decoded.height), (8, 8));
    }
    for orientation in [0, 9, 255] {
        let decoded = shown(&Png.write(orientation_chunk(orientation), &picture, 8, 8));
        assert_eq!(difference(&decoded.image, &picture), 0);
    }
}

/// A PNG that says it is `width` x `height` and holds next to nothing.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in
        [(b"IHDR", header), (b"IDAT", vec![0x78, 0x9c, 0x03, 0, 0, 0, 0, 1]), (b"IEND", Vec::new())]
    {
        let body = [&kind[..], &data].concat();
        out.extend((data.len() as u32).to_be_bytes());
        out.extend(&body);
        out.extend(crc32(&body).to_be_bytes());
    }
    out
}

#[test]
fn refusals_say_why() {
    let check = |bytes: &[u8], parts: &[&str]| {
        let error = decode(bytes, &Limits::default()).unwrap_err();
        assert!(matches!(error, eyeshot::Error::Image { .. }));
        assert!(
            parts.iter().all(|part| error.to_string().contains(part)),
            "{error:?} lacks one of {parts:?}"
        );
    };
    check(b"", &["not an image", "empty"]);
    check(b"a text file that someone named .jpg\n", &["not an image", "text"]);
    check(&[0, 1, 2, 3, 250, 251, 252], &["not an image"]);
    check(b"\0\0\0\x14ftypcrx \0\0\0\x01crx ", &["CR3 is not supported"]);
    check(b"\0\0\0\x14ftypisom\0\0\0\x01mp41", &["not an image", "film"]);
    if cfg!(not(feature = "heic")) {
        check(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", &["HEIC is not supported", "--features heic"]);
        check(b"\0\0\0\x14ftypmif1\0\0\0\0mif1", &["HEIF is not supported", "--features heic"]);
    }
    if cfg!(not(feature = "avif")) {
        check(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", &["AVIF is not supported", "--features avif"]);
    }
    check(b"\xff\x0a\x00\x10\xb0\x13\x08\x08\x02\x01", &["JPEG XL is not supported"]);
    check(&bomb(60_000, 60_000), &["too large", "60000 x 60000", "3600000000"]);
    check(&bomb(5000, 1), &["too narrow", "5000 x 1"]);
    check(&bomb(0, 5), &["png"]);
    check(&bomb(100, 100), &["png"]);
}

#[test]
fn truncated_files_are_refused_at_any_length() {
    let picture = gradient(64, 64);
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp]
    {
        let whole = encoded(picture.clone(), format);
        // A few formats end in bytes that add no pixels: the terminators of a GIF, the last chunk of a PNG.
        let needed = whole.len() - if format == ImageFormat::Png { 12 } else { 3 };
        for length in (0..needed).step_by(1 + needed / 200).chain([needed - 1]) {
            let result = decode(&whole[..length], &Limits::default());
            assert!(result.is_err(), "{format:?} cut to {length} of {}", whole.len());
        }
    }
    for name in ["progressive.jpg", "cmyk.jpg"] {
        let whole = fixture(name);
        for length in 2..whole.len() {
            let error = decode(&whole[..length], &Limits::default()).unwrap_err().to_string();
            assert!(length < 16 || error.contains("truncated"), "{name} cut to {length}: {error}");
        }
    }
}

#[test]
fn one_pixel_is_an_image() {
    let dot = RgbImage::from_pixel(1, 1, Rgb([1, 2, 3]));
    assert_eq!(shown(&encoded(dot.clone(), ImageFormat::Png)).image, dot);
}

#[test]
fn limits_are_exact() {
    let bytes = encoded(gradient(40, 20), ImageFormat::Png);
    let check = |limits: Limits, part: Option<&str>| match (decode(&bytes, &limits), part) {
        (Ok(_), None) => {}
        (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
        (result, part) => panic!("{limits:?}: {result:?} is not {part:?}"),
    };
    let usual = Limits::default();
    let length = bytes.len() as u64;
    check(Limits { bytes: length, pixels: 800, ratio: 2, ..usual.clone() }, None);
    check(Limits { bytes: length - 1, ..usual.clone() }, Some("bytes"));
    check(Limits { pixels: 799, ..usual.clone() }, Some("800 pixels"));
    check(Limits { ratio: 1, ..usual.clone() }, Some("too narrow"));
    check(Limits { memory: 2399, ..usual }, Some("memory"));
}

#[test]
fn a_jpeg_of_endless_scans_is_refused() {
    let whole = fixture("progressive.jpg");
    let marker = |pair: [u8; 2]| whole.windows(2).rposition(|at| at == pair).unwrap();
    let (last, end) = (marker([0xff, 0xda]), marker([0xff, 0xd9]));
    let written = whole.windows(4).filter(|at| at[..3] == [0xff, 0xda, 0] && at[3] < 13).count();
    let of = |scans: usize| {
        let repeated = whole[last..end].repeat(scans - written);
        [&whole[..end], &repeated, &whole[end..]].concat()
    };
    let usual = Limits::default();
    assert_eq!(decode(&of(written), &usual).unwrap().image, shown(&whole).image);
    assert!(decode(&of(100), &usual).is_ok());
    let refused = |bytes: &[u8], limits| decode(bytes, limits).unwrap_err().to_string();
    let said = refused(&of(101), &usual);
    assert!(said.contains("101 scans, and the limit is 100"), "{said}");
    // A large picture may have fewer.
    let pixels = u64::from(shown(&whole).width) * u64::from(shown(&whole).height);
    let tight = Limits { pixels, ..usual };
    assert!(decode(&of(16), &tight).is_ok());
    let said = refused(&of(17), &tight);
    assert!(said.contains(&format!("{} pixels in all its scans", 17 * pixels)), "{said}");
}

#[test]
fn trailing_bytes_do_no_harm() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png] {
        let whole = encoded(gradient(16, 16), format);
        let longer = [whole.clone(), vec![0; 1000]].concat();
        assert_eq!(shown(&longer).image, shown(&whole).image);
    }
}

/// Flips bits all over small files of every format. The seed is printed by the failing assertion, as `round`.
#[test]
fn mutated_files_never_panic_or_hang() {
    let names =
        ["cmyk.jpg", "progressive.jpg", "palette-alpha.png", "animated.gif", "animated.webp", "exif.tiff"];
    let files: Vec<_> = names.iter().map(|name| fixture(name)).collect();
    let limits = Limits { pixels: 1_000_000, ..Limits::default() };
    let mut dice = Dice(1);
    let mut next = |below: usize| dice.roll(below as u64) as usize;
    for round in 0..600 {
        let mut bytes = files[round % files.len()].clone();
        for _ in 0..=next(6) {
            let at = next(bytes.len());
            bytes[at] ^= 1 << next(8);
        }
        if let Err(error) = decode(&bytes, &limits) {
            assert!(matches!(error, eyeshot::Error::Image { .. }), "round {round}: {error:?}");
        }
    }
}
