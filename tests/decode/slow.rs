//! A picture's time: whoever takes longer is refused, soon after, in every format.

use super::{encoded, fixture, gradient};
use eyeshot::engine::decode::{Limits, decode};
use image::ImageFormat;
use std::time::{Duration, Instant};

#[test]
fn no_time_is_too_little_in_every_format() {
    let check = |name: &str, bytes: &[u8]| {
        assert!(decode(bytes, &Limits::default()).is_ok(), "{name}");
        let none = Limits { time: Duration::ZERO, ..Limits::default() };
        let error = decode(bytes, &none).unwrap_err().to_string();
        assert!(error.contains("too slow to decode") && error.contains(name), "{name}: {error}");
    };
    for (format, name) in [
        (ImageFormat::Jpeg, "jpeg"),
        (ImageFormat::Png, "png"),
        (ImageFormat::WebP, "webp"),
        (ImageFormat::Gif, "gif"),
        (ImageFormat::Bmp, "bmp"),
        (ImageFormat::Tiff, "tiff"),
    ] {
        check(name, &encoded(gradient(64, 64), format));
    }
    check("jpeg", &fixture("progressive.jpg"));
    check("jpeg", &fixture("icc-cmyk.jpg"));
    check("nef", &fixture("raw.nef"));
}

/// A progressive JPEG of `side` pixels square, and `scans` scans that say next to nothing.
fn endless(side: u16, scans: usize) -> Vec<u8> {
    let mut out = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    out.extend([1; 64]);
    out.extend([0xff, 0xc2, 0, 11, 8]);
    out.extend([side.to_be_bytes(), side.to_be_bytes()].concat());
    out.extend([1, 1, 0x11, 0]);
    // One code of one bit each: no difference of DC; two coefficients, none of them zero.
    out.extend([0xff, 0xc4, 0, 20, 0x00, 1]);
    out.extend([0; 16]);
    out.extend([0xff, 0xc4, 0, 20, 0x10, 1]);
    out.extend([0; 15]);
    out.push(0x01);
    out.extend([0xff, 0xda, 0, 8, 1, 1, 0x00, 0, 0, 0, 0]);
    for _ in 1..scans {
        out.extend([0xff, 0xda, 0, 8, 1, 1, 0x00, 1, 63, 0, 0]);
    }
    out.extend([0xff, 0xd9]);
    out
}

#[test]
fn many_scans_end_when_the_time_is_over() {
    // Forty times over sixteen megapixels: seconds, where nobody stops it.
    let bytes = endless(4000, 40);
    let limits = Limits { time: Duration::from_millis(100), ..Limits::default() };
    let began = Instant::now();
    let error = decode(&bytes, &limits).unwrap_err().to_string();
    let took = began.elapsed();
    assert!(error.contains("too slow to decode: this jpeg takes more than 0.1 s"), "{error}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// A TIFF of 16 x 16 grey pixels, in one strip: that JPEG.
fn wrapped(jpeg: &[u8]) -> Vec<u8> {
    let tags = [
        (256u16, 16u32),
        (257, 16),
        (258, 8),
        (259, 7),
        (262, 1),
        (273, 0),
        (278, 16),
        (279, jpeg.len() as u32),
    ];
    let start = 8 + 2 + 12 * tags.len() + 4;
    let mut out = b"II\x2a\0\x08\0\0\0".to_vec();
    out.extend((tags.len() as u16).to_le_bytes());
    for (tag, value) in tags {
        let value = if tag == 273 { start as u32 } else { value };
        out.extend([&tag.to_le_bytes()[..], &[4, 0, 1, 0, 0, 0], &value.to_le_bytes()].concat());
    }
    out.extend([0; 4]);
    out.extend(jpeg);
    out
}

#[test]
fn a_jpeg_within_a_tiff_keeps_to_the_limits_too() {
    assert!(decode(&wrapped(&endless(16, 3)), &Limits::default()).is_ok());
    let check = |jpeg: &[u8], limits: Limits, part: &str| {
        let error = decode(&wrapped(jpeg), &limits).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let usual = Limits::default();
    check(&endless(9000, 1), usual.clone(), "a part of 6400 pixels holds a jpeg of 81000000 pixels");
    check(&endless(16, 101), usual.clone(), "101 scans, and the limit is 100");
    check(&endless(16, 17), Limits { pixels: 256, ..usual.clone() }, "pixels in all its scans");
    check(&endless(64, 1), Limits { memory: 8 << 10, ..usual }, "memory");
}

/// `EYESHOT_WORST=1 cargo test --test decode -- --nocapture worst`: how long the worst takes that the other limits accept.
#[test]
fn the_worst_progressive_jpeg() {
    if std::env::var_os("EYESHOT_WORST").is_none() {
        return;
    }
    for seconds in [3600, 20] {
        let limits = Limits { time: Duration::from_secs(seconds), ..Limits::default() };
        let began = Instant::now();
        let outcome = decode(&endless(14_142, 16), &limits).map(|decoded| decoded.image.dimensions());
        println!("16 scans of 200 megapixels, {seconds} s: {:?}, {outcome:?}", began.elapsed());
    }
}
