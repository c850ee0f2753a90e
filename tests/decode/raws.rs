//! Camera RAW files: the preview, turned, with what the camera says; hostile ones cost a refusal.

use super::{difference, fixture, shown};
use crate::common::Dice;
use eyeshot::engine::decode::{Limits, decode};

const ALL: [&str; 7] = ["raw.dng", "raw.cr2", "raw.nef", "raw.arw", "raw.orf", "raw.rw2", "raw.raf"];

#[test]
fn previews_are_shown_upright_with_what_the_camera_says() {
    let upright = shown(&fixture("raw.dng.png")).image;
    for (name, camera) in ALL.iter().zip([
        "Leica Q2",
        "Canon EOS 5D",
        "NIKON D850",
        "SONY ILCE-7M3",
        "OLYMPUS IMAGING CORP. E-M1",
        "Panasonic DC-GH5",
        "Canon EOS R5",
    ]) {
        let decoded = shown(&fixture(name));
        assert_eq!(decoded.format, &name[4..], "{name}");
        assert_eq!((decoded.width, decoded.height), (24, 40), "{name} is turned");
        assert_eq!(decoded.taken, Some(1_563_677_775), "{name}: 2019-07-21T02:56:15");
        assert_eq!((&decoded.exif["camera"], &decoded.exif["iso"]), (&camera.into(), &400.into()), "{name}");
        assert_eq!(decoded.exif["gps"]["lat"], -33.8587500, "{name}");
        // RAF's is exif.jpg, of another quality.
        let off = difference(&decoded.image, &upright);
        assert!(off <= if *name == "raw.raf" { 24 } else { 4 }, "{name}: off by {off}");
    }
}

#[test]
fn a_raw_file_without_a_preview_says_so() {
    let check = |name: &str, from: &[u8], to: &[u8], part: &str| {
        let mut bytes = fixture(name);
        let at = bytes.windows(from.len()).rposition(|window| window == from).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        let error = decode(&bytes, &Limits::default()).unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
    };
    let start = b"\xff\xd8\xff\xe0";
    check("raw.dng", start, b"\0\0", "this dng holds no preview");
    check("raw.nef", start, b"\0\0", "this nef holds no preview");
    check("raw.orf", start, b"\0\0", "this orf holds no preview");
    check("raw.rw2", start, b"\0\0", "this rw2 holds no preview");
    check("raw.raf", start, b"\0\0", "this raf holds no preview");
    // What the sensor saw is larger than the preview, and never taken for one.
    assert_eq!(shown(&fixture("raw.cr2")).height, 40);
}

/// Bits flipped all over, and numbers in directories set to what they are worst at.
#[test]
fn hostile_raw_files_are_refused_or_shown() {
    let mut dice = Dice(7);
    let limits = Limits { pixels: 1_000_000, ..Limits::default() };
    let files = ALL.map(fixture);
    for round in 0..3000 {
        let mut bytes = files[round % files.len()].clone();
        for _ in 0..=dice.roll(8) {
            let at = dice.roll(bytes.len() as u64 - 4) as usize;
            match dice.roll(3) {
                0 => bytes[at] ^= 1 << dice.roll(8),
                1 => bytes[at..at + 4].fill([0, 0xff, 0x7f][dice.roll(3) as usize]),
                _ => bytes[at..at + 4].copy_from_slice(&(dice.roll(4000) as u32).to_le_bytes()),
            }
        }
        let began = std::time::Instant::now();
        if let Err(error) = decode(&bytes, &limits) {
            assert!(matches!(error, eyeshot::Error::Image { .. }), "round {round}: {error:?}");
        }
        assert!(began.elapsed().as_secs() < 5, "round {round}");
    }
}

#[test]
fn raw_files_cut_anywhere_are_refused_or_shown() {
    for name in ALL {
        let whole = fixture(name);
        for length in 0..whole.len() {
            _ = decode(&whole[..length], &Limits::default());
        }
    }
}

/// A TIFF whose values ask their reader for many times the file: what it costs is bounded.
#[test]
fn long_texts_in_exif_cost_nothing() {
    let picture = super::encoded(super::gradient(8, 8), image::ImageFormat::Tiff);
    let first = u32::from_le_bytes(picture[4..8].try_into().unwrap()) as usize;
    let count = u16::from_le_bytes(picture[first..first + 2].try_into().unwrap());
    let entries = &picture[first + 2..first + 2 + 12 * usize::from(count)];
    let zeros = 16u32 << 20;
    let mut bytes = picture.clone();
    let at = bytes.len() as u32;
    bytes.resize(bytes.len() + zeros as usize, 0);
    let moved = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&moved.to_le_bytes());
    bytes.extend((count + 1).to_le_bytes());
    // The maker's name, as so many empty ones.
    let entry = [&[0x0f, 1, 2, 0][..], &zeros.to_le_bytes(), &at.to_le_bytes()].concat();
    let split =
        entries.chunks(12).take_while(|entry| u16::from_le_bytes([entry[0], entry[1]]) < 0x10f).count() * 12;
    bytes.extend([&entries[..split], &entry, &entries[split..], &[0; 4]].concat());
    let before = peak();
    assert!(shown(&bytes).exif.is_empty());
    let grown = peak() - before;
    assert!(grown < 200 << 20, "{grown} bytes");
}

/// The most memory that this process ever had, in bytes; 0 where the system does not tell.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
}
