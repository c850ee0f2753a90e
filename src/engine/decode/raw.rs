//! Camera RAW files: the JPEG that the camera put in beside what its sensor saw. Nothing is developed here.
//!
//! Nearly all are TIFF structures in which each maker hides previews elsewhere: in the first directory's strip (CR2), as the
//! "thumbnail" of a directory (ARW, PEF), in directories below it (NEF, DNG, SRW), in a tag of their own (RW2), or in the maker's
//! notes (ORF). All these places are looked at, and the largest picture is taken that is a JPEG of the usual kind: what the
//! sensor saw is often a lossless one. RAF is a header of its own.
//!
//! The RAW's own directories say when, where and how it was taken, and how it is to be turned.

use super::jpeg;
use super::tiff::{Directory, Tiff};
use crate::error::{Error, Result};

const COMPRESSION: u16 = 0x0103;
const PHOTOMETRIC: u16 = 0x0106;
const MAKE: u16 = 0x010f;
const STRIP_OFFSETS: u16 = 0x0111;
const STRIP_LENGTHS: u16 = 0x0117;
const THUMBNAIL_OFFSET: u16 = 0x0201;
const THUMBNAIL_LENGTH: u16 = 0x0202;
const DNG_VERSION: u16 = 0xc612;
/// Panasonic's own tag: a JPEG, as it is.
const JPEG_OF_RAW: u16 = 0x002e;
const MAKER_NOTE: u16 = 0x927c;
/// Olympus's own directory of settings within its notes, and its preview's place.
const CAMERA_SETTINGS: u16 = 0x2020;
const PREVIEW_START: u16 = 0x0101;
const PREVIEW_LENGTH: u16 = 0x0102;

/// A RAW file's preview.
pub(super) struct Raw<'a> {
    /// What people call the format.
    pub name: &'static str,
    /// The JPEG.
    pub preview: &'a [u8],
    /// The TIFF structure with what the camera says of the picture; empty where only the JPEG says it.
    pub exif: Vec<u8>,
}

/// The largest preview of a RAW file; None where `bytes` are no RAW file.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Raw<'_>>> {
    if bytes.starts_with(b"FUJIFILMCCD-RAW ") {
        return raf(bytes).map(Some);
    }
    let magic = bytes.get(..4).unwrap_or_default();
    let by_magic = match magic {
        b"IIRO" | b"IIRS" | b"MMOR" => Some("orf"),
        b"IIU\0" => Some("rw2"),
        b"II\x2a\0" | b"MM\0\x2a" => None,
        _ => return Ok(None),
    };
    let Some(tiff) = Tiff::new(bytes) else { return Ok(None) };
    let directories = tiff.directories();
    let Some(name) = by_magic.or_else(|| name(bytes, &tiff, &directories)) else { return Ok(None) };
    let found = directories.iter().flat_map(|directory| previews(&tiff, directory));
    let preview = largest(found.collect()).ok_or_else(|| none(name))?;
    let mut exif = bytes.to_vec();
    // Readers of EXIF know TIFF's own number only.
    let number: [u8; 2] = if exif.starts_with(b"MM") { [0, 0x2a] } else { [0x2a, 0] };
    exif.splice(2..4, number);
    Ok(Some(Raw { name, preview, exif }))
}

fn none(name: &str) -> Error {
    Error::image(format!(
        "this {name} holds no preview, and sensor data is not developed here: save it as JPEG or TIFF"
    ))
}

/// Fujifilm's: the place and length of a JPEG with EXIF of its own.
fn raf(bytes: &[u8]) -> Result<Raw<'_>> {
    let number = |at: usize| {
        let four = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(four)).ok()
    };
    let preview = || {
        let (at, length) = (number(84)?, number(88)?);
        bytes.get(at..at.checked_add(length)?)
    };
    let preview = preview().filter(|bytes| jpeg::pixels(bytes).is_some()).ok_or_else(|| none("raf"))?;
    Ok(Raw { name: "raf", preview, exif: Vec::new() })
}

/// What a TIFF structure is called, if it holds what a sensor saw.
fn name(bytes: &[u8], tiff: &Tiff, directories: &[Directory]) -> Option<&'static str> {
    let first = directories.first()?;
    if first.count(DNG_VERSION) > 0 {
        return Some("dng");
    }
    if bytes.get(8..10) == Some(b"CR") {
        return Some("cr2");
    }
    let sensor = |directory: &Directory| {
        // A mosaic of colours, or what was made of one; or one of the makers' own ways to pack it.
        let pixels = tiff.value(directory, PHOTOMETRIC).is_some_and(|kind| matches!(kind, 32803 | 34892));
        let packed = tiff.value(directory, COMPRESSION);
        pixels || packed.is_some_and(|kind| matches!(kind, 32767 | 32769 | 32770 | 34713 | 65535))
    };
    if !directories.iter().any(sensor) {
        return None;
    }
    let make = tiff.bytes(first, MAKE).unwrap_or_default().to_ascii_uppercase();
    let names = [
        ("NIKON", "nef"),
        ("SONY", "arw"),
        ("PENTAX", "pef"),
        ("RICOH", "pef"),
        ("SAMSUNG", "srw"),
        ("HASSELBLAD", "3fr"),
        ("CANON", "cr2"),
        ("OLYMPUS", "orf"),
        ("PANASONIC", "rw2"),
    ];
    Some(names.iter().find(|(maker, _)| make.starts_with(maker.as_bytes())).map_or("raw", |(_, name)| name))
}

/// The JPEGs that a directory may hold.
fn previews<'a>(tiff: &Tiff<'a>, directory: &Directory) -> Vec<&'a [u8]> {
    let pair = |at: u16, length: u16| {
        tiff.slice(tiff.value(directory, at)? as usize, tiff.value(directory, length)? as usize)
    };
    if !directory.pictures {
        return olympus(tiff, directory).into_iter().collect();
    }
    let mut found: Vec<&[u8]> = pair(THUMBNAIL_OFFSET, THUMBNAIL_LENGTH).into_iter().collect();
    found.extend(tiff.bytes(directory, JPEG_OF_RAW));
    // One strip is one JPEG; several are parts of a picture.
    let packed = tiff.value(directory, COMPRESSION).is_some_and(|kind| matches!(kind, 6 | 7 | 99));
    if packed && directory.count(STRIP_OFFSETS) == 1 {
        found.extend(pair(STRIP_OFFSETS, STRIP_LENGTHS));
    }
    found
}

/// Olympus's preview, whose place its notes tell from their own beginning on.
fn olympus<'a>(tiff: &Tiff<'a>, exif: &Directory) -> Option<&'a [u8]> {
    let notes = tiff.bytes(exif, MAKER_NOTE)?;
    let start = match notes {
        [b'O', b'L', b'Y', b'M', b'P', b'U', b'S', 0, ..] => 12,
        [b'O', b'M', b' ', b'S', b'Y', b'S', b'T', b'E', b'M', ..] => 16,
        _ => return None,
    };
    // Offsets within the notes count from their beginning: they are a structure of their own.
    let within = tiff.within(tiff.offset(exif, MAKER_NOTE)?, notes.get(start - 4)? == &b'M')?;
    let (notes, _) = within.directory(start, false)?;
    let (settings, _) = within.directory(within.pointer(&notes, CAMERA_SETTINGS)?, false)?;
    let at = within.value(&settings, PREVIEW_START)?;
    within.slice(at as usize, within.value(&settings, PREVIEW_LENGTH)? as usize)
}

/// The JPEG of most pixels, and of these the longest.
fn largest(found: Vec<&[u8]>) -> Option<&[u8]> {
    let sized = found.into_iter().filter_map(|bytes| Some((jpeg::pixels(bytes)?, bytes.len(), bytes)));
    sized.max_by_key(|(pixels, length, _)| (*pixels, *length)).map(|(_, _, bytes)| bytes)
}
