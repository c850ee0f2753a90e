//! Large JPEGs decoded to a fraction of their size, where the build has libjpeg-turbo: what a model sees stays the same.

use super::{difference, encoded, fixture, gradient, shown};
use eyeshot::engine::decode::{Limits, open};
use image::imageops::{FilterType, resize};
use image::{ImageFormat, RgbImage};

fn for_side(bytes: &[u8], enough: Option<u32>) -> RgbImage {
    open(bytes, &Limits::default()).unwrap().decode_for(enough).unwrap()
}

#[test]
fn enough_is_kept_and_no_more() {
    let bytes = encoded(gradient(3000, 2000), ImageFormat::Jpeg);
    let check = |enough: Option<u32>, size: (u32, u32)| {
        assert_eq!(for_side(&bytes, enough).dimensions(), size, "{enough:?}");
    };
    check(None, (3000, 2000));
    check(Some(1001), (3000, 2000));
    check(Some(500), (1500, 1000));
    check(Some(384), (1500, 1000));
    check(Some(224), (750, 500));
    check(Some(1), (375, 250));
    check(Some(u32::MAX), (3000, 2000));
    // The facts are the file's.
    let facts = open(&bytes, &Limits::default()).unwrap().facts;
    assert_eq!((facts.width, facts.height), (3000, 2000));
}

#[test]
fn a_model_sees_the_same() {
    let mut noise = crate::common::Dice(3);
    let mut picture = gradient(1600, 1200);
    picture.iter_mut().for_each(|value| *value = value.saturating_add(noise.roll(32) as u8));
    let bytes = encoded(picture, ImageFormat::Jpeg);
    let seen = |image: RgbImage| resize(&image, 224, 168, FilterType::CatmullRom);
    let (whole, part) = (seen(for_side(&bytes, None)), seen(for_side(&bytes, Some(224))));
    let sum: u64 = whole.iter().zip(part.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    let mean = sum as f64 / whole.len() as f64;
    assert!(mean < 1.0, "{mean} levels");
}

#[test]
fn everything_else_about_a_jpeg_is_kept() {
    for name in ["exif.jpg", "icc-adobe.jpg", "progressive.jpg", "gray.jpg"] {
        let whole = shown(&fixture(name)).image;
        let (width, height) = whole.dimensions();
        let part = for_side(&fixture(name), Some(6));
        assert!(part.width() < width && part.width() >= 12, "{name}: {:?}", part.dimensions());
        // Averages of blocks, turned and in the same colours.
        let small = resize(&whole, part.width(), part.height(), FilterType::Triangle);
        let off = difference(&part, &small);
        assert!(off <= 32, "{name}: off by {off} of {width} x {height}");
    }
    // Inks are another decoder's.
    for name in ["cmyk.jpg", "icc-cmyk.jpg"] {
        assert_eq!(for_side(&fixture(name), Some(1)), shown(&fixture(name)).image);
    }
    // A file that is cut is refused, as ever.
    let bytes = encoded(gradient(3000, 2000), ImageFormat::Jpeg);
    let cut = open(&bytes[..bytes.len() / 2], &Limits::default());
    assert!(cut.is_err());
}

/// `EYESHOT_MEASURE=1 cargo test --release --features turbojpeg --test decode -- --nocapture milliseconds`: what decoding takes
/// on one core, of all pixels and of enough for 224.
#[test]
fn milliseconds() {
    if std::env::var_os("EYESHOT_MEASURE").is_none() {
        return;
    }
    for (width, height) in [(1155, 866), (4000, 3000)] {
        // Fine and coarse noise over a gradient: about the entropy of a photograph.
        let mut dice = crate::common::Dice(1);
        let mut noise = |side: u32| {
            let small =
                RgbImage::from_fn(side, side, |_, _| image::Rgb([0; 3].map(|_: u8| dice.roll(64) as u8)));
            resize(&small, width, height, FilterType::CatmullRom)
        };
        let (fine, coarse) = (noise(width / 3), noise(40));
        let mut picture = gradient(width, height);
        for ((value, fine), coarse) in picture.iter_mut().zip(fine.iter()).zip(coarse.iter()) {
            *value = value.saturating_add(*fine / 4).saturating_sub(*coarse / 2);
        }
        let mut bytes = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&picture).unwrap();
        let time = |enough: Option<u32>| {
            let mut best = f64::MAX;
            for _ in 0..9 {
                let began = std::time::Instant::now();
                eyeshot::engine::decode::give_back(for_side(&bytes, enough));
                best = best.min(began.elapsed().as_secs_f64() * 1e3);
            }
            best
        };
        let size = for_side(&bytes, Some(224)).dimensions();
        println!(
            "{width} x {height}, {} bytes: all {:.1} ms, {size:?} for 224 {:.1} ms",
            bytes.len(),
            time(None),
            time(Some(224))
        );
    }
}
