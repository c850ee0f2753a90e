//! Broken files against the decoders: no crash, no hang, no more memory than the limits, and a reason for each.
//!
//! `EYESHOT_FUZZ=1000000 cargo test --test decode_fuzz -- --nocapture` tries that many, and `EYESHOT_SEED=N` repeats a run.
//! `tests/fuzz` has targets for cargo-fuzz, which look for the ways through the code.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Dice, crc32};
use eyeshot::Error;
use eyeshot::engine::decode::{Limits, decode};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many are tried where nobody says.
const TRIES: u64 = 10_000;
/// The longest that one may take: a hang would take longer, and a slow machine in a debug build does not.
const LONGEST: Duration = Duration::from_secs(10);
/// Small enough that a file that lies about its size is soon refused, large enough for all fixtures.
const MEMORY: u64 = 256 << 20;
/// The most memory that all this may take above what it began with, in bytes.
const GROWTH: u64 = 1 << 30;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// What all the formats are called that this build reads.
fn formats() -> Vec<&'static str> {
    let mut formats = vec!["jpg", "png", "gif", "webp", "bmp", "tiff"];
    formats.extend(["dng", "cr2", "nef", "arw", "orf", "rw2", "raf"]);
    formats.extend(cfg!(feature = "avif").then_some("avif"));
    formats.extend(cfg!(feature = "heic").then_some("heic"));
    formats
}

/// Whole files of every format and kind: the fixtures, and some that are made on the spot.
fn whole() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir("tests/fixtures/images").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| formats().contains(&e.to_str().unwrap())) {
            files.push((
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                std::fs::read(&path).unwrap(),
            ));
        }
    }
    files.sort();
    let shade = |x: u32, y: u32| image::Rgb([(x * 7) as u8, (y * 11) as u8, (x * y) as u8]);
    let made = image::DynamicImage::ImageRgb8(image::RgbImage::from_fn(61, 47, shade));
    for format in ["bmp", "tiff", "png", "jpg", "webp", "gif"] {
        let mut out = std::io::Cursor::new(Vec::new());
        made.write_to(&mut out, image::ImageFormat::from_extension(format).unwrap()).unwrap();
        files.push((format!("made.{format}"), out.into_inner()));
    }
    files
}

/// One way to break a file, and its name.
fn mutate(dice: &mut Dice, whole: &[(String, Vec<u8>)]) -> (String, Vec<u8>) {
    // Of each format as many, however many files there are of it.
    let any = |dice: &mut Dice| {
        let formats = formats();
        let format = formats[dice.roll(formats.len() as u64) as usize];
        let of: Vec<_> = whole.iter().filter(|(name, _)| name.ends_with(&format!(".{format}"))).collect();
        of.get(dice.roll(of.len().max(1) as u64) as usize).copied().unwrap_or(&whole[0]).clone()
    };
    let (mut name, mut bytes) = any(dice);
    let at = |dice: &mut Dice, bytes: &[u8]| dice.roll(bytes.len().max(1) as u64) as usize;
    for _ in 0..=dice.roll(3) {
        // Half of the changes go to the header, where they tell most.
        let front = if dice.roll(2) == 0 { bytes.len().min(64) } else { bytes.len() };
        match dice.roll(6) {
            0 => {
                for _ in 0..=dice.roll(16) {
                    let here = at(dice, &bytes[..front]);
                    if let Some(byte) = bytes.get_mut(here) {
                        *byte ^= 1 << dice.roll(8);
                    }
                }
                name += " flipped";
            }
            1 => {
                bytes.truncate(at(dice, &bytes));
                name += " cut";
            }
            2 => {
                let (other, donor) = any(dice);
                let head = at(dice, &donor);
                let tail = bytes.split_off(at(dice, &bytes));
                bytes = [&donor[..head], &tail].concat();
                name += &format!(" behind {other}");
            }
            3 => {
                let value = [0u8, 0xff, 0x7f, 0x80][dice.roll(4) as usize];
                let (here, long) = (at(dice, &bytes[..front]), 1 + dice.roll(8) as usize);
                bytes.iter_mut().skip(here).take(long).for_each(|byte| *byte = value);
                name += " filled";
            }
            4 => {
                let (from, to) = (at(dice, &bytes), at(dice, &bytes));
                let piece = bytes.get(from.min(to)..from.max(to)).unwrap_or_default().to_vec();
                let here = at(dice, &bytes);
                bytes.splice(here..here, piece);
                name += " doubled";
            }
            _ => {
                let (from, long) = (at(dice, &bytes), dice.roll(32) as usize);
                bytes.drain(from.min(bytes.len())..(from + long).min(bytes.len()));
                name += " gapped";
            }
        }
    }
    // Whoever breaks a PNG in earnest makes its checksums right.
    if bytes.starts_with(b"\x89PNG") && dice.roll(4) > 0 {
        mend(&mut bytes);
        name += " mended";
    }
    (name, bytes)
}

/// Writes the checksum of each chunk of a PNG anew.
fn mend(png: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = png.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let Some(body) = png.get(at + 4..at.saturating_add(8).saturating_add(length)) else { return };
        let sum = crc32(body).to_be_bytes();
        at += 8 + length;
        png.iter_mut().skip(at).zip(sum).for_each(|(to, from)| *to = from);
        at += 4;
    }
}

#[test]
fn broken_files_cost_a_refusal_each() {
    let seed =
        setting("EYESHOT_SEED").unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
    let tries = setting("EYESHOT_FUZZ").unwrap_or(TRIES);
    println!("EYESHOT_SEED={seed}");
    let (whole, mut dice) = (whole(), Dice(seed));
    let limits = Limits { memory: MEMORY, ..Limits::default() };
    assert!(whole.len() > 12, "{}", whole.len());
    for (name, bytes) in &whole {
        assert!(decode(bytes, &limits).is_ok(), "{name} is whole");
    }
    let (mut reasons, mut slowest) = (BTreeMap::<String, u64>::new(), (Duration::ZERO, String::new()));
    let (mut decoded, mut seen) = (0, BTreeMap::<&str, u64>::new());
    let base = peak();
    for round in 0..tries {
        let (name, bytes) = mutate(&mut dice, &whole);
        let began = Instant::now();
        let outcome = decode(&bytes, &limits);
        let took = began.elapsed();
        assert!(took < LONGEST, "round {round}, {name}: {took:?}");
        if took > slowest.0 {
            slowest = (took, name.clone());
        }
        match outcome {
            Ok(found) => {
                decoded += 1;
                *seen.entry(found.format).or_default() += 1;
                assert_eq!((found.width, found.height), found.image.dimensions(), "round {round}, {name}");
            }
            Err(Error::Image { reason }) => {
                let kind = reason.split([':', '(']).next().unwrap_or_default().to_owned();
                *reasons.entry(kind).or_default() += 1;
            }
            Err(other) => panic!("round {round}, {name}: {other:?} is no refusal of an image"),
        }
    }
    assert!(decoded > 0 && !reasons.is_empty(), "some breaks are harmless, some are not");
    println!("{tries} files: {decoded} decoded, refused {reasons:?}; slowest {:?}: {}", slowest.0, slowest.1);
    let grown = peak() - base;
    println!("decoded as {seen:?}; {} MiB above the {} MiB before", grown >> 20, base >> 20);
    assert!(grown < GROWTH, "{grown} bytes");
}

/// The most memory that this process ever had, in bytes; 0 where the system does not tell.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
}
