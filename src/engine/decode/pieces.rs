//! The JPEGs that a TIFF file may be made of. Its decoder takes each one's own word for its size and its scans, whatever the
//! directory says, so they are looked at before.

use super::jpeg;
use super::tiff::{Directory, Tiff};
use crate::error::{Error, Result};

const WIDTH: u16 = 0x0100;
const HEIGHT: u16 = 0x0101;
const COMPRESSION: u16 = 0x0103;
const JPEG: u32 = 7;
const STRIPS: [u16; 2] = [0x0111, 0x0117];
const STRIP_ROWS: u16 = 0x0116;
const TILES: [u16; 2] = [0x0144, 0x0145];
const TILE_SIZE: [u16; 2] = [0x0142, 0x0143];
const TABLES: u16 = 0x015b;

/// The most pieces that one file may have.
const MOST: usize = 1 << 16;
/// What a JPEG may be larger than its piece on each side: encoders fill up its last blocks.
const MARGIN: u64 = 64;

/// What decoding the pieces takes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces {
    /// Pixels, each as many times as it is gone over.
    pub scanned: u64,
    /// Bytes that the decoder needs for the largest of them.
    pub memory: u64,
}

/// Looks at the JPEGs of the first picture; there are none where it is stored in another way.
pub(super) fn survey(bytes: &[u8]) -> Result<Pieces> {
    let mut all = Pieces::default();
    let Some(tiff) = Tiff::new(bytes) else { return Ok(all) };
    let Some((first, _)) = tiff.long(4).and_then(|at| tiff.directory(at as usize, true)) else {
        return Ok(all);
    };
    if tiff.value(&first, COMPRESSION) != Some(JPEG) {
        return Ok(all);
    }
    let [offsets, lengths] = if first.count(TILES[0]) > 0 { TILES } else { STRIPS };
    if first.count(offsets) > MOST {
        return Err(Error::image(format!("too many parts: this tiff has {}", first.count(offsets))));
    }
    let room = room(&tiff, &first);
    let tables = tiff.bytes(&first, TABLES).unwrap_or_default();
    let tables = &tables[..tables.len().saturating_sub(2)];
    // Pieces may share bytes, but a file in which many do is made to keep readers busy.
    let mut budget = 2 * bytes.len() as u64 + MOST as u64;
    let lengths = tiff.values(&first, lengths, MOST);
    for (at, length) in tiff.values(&first, offsets, MOST).zip(lengths) {
        let piece = tiff.slice(at as usize, (length as usize).saturating_add(2)).unwrap_or_default();
        let joined = match tables {
            [] => piece.to_vec(),
            tables => [tables, piece.get(2..).unwrap_or_default()].concat(),
        };
        budget = budget.checked_sub(joined.len() as u64).ok_or_else(|| {
            Error::image("broken tiff: its parts share their bytes, and are longer together than the file")
        })?;
        let found = jpeg::survey(&joined)?;
        if found.pixels > room {
            let (found, room) = (found.pixels, room);
            return Err(Error::image(format!(
                "broken tiff: a part of {room} pixels holds a jpeg of {found} pixels"
            )));
        }
        all.scanned = all.scanned.saturating_add(found.pixels.saturating_mul(found.scans));
        // Four samples a pixel at most, as they come out, and its bytes once more.
        all.memory = all.memory.max(4 * found.pixels + found.coefficients + joined.len() as u64);
    }
    Ok(all)
}

/// The pixels that one piece may have.
fn room(tiff: &Tiff, directory: &Directory) -> u64 {
    let number = |tag: u16| tiff.value(directory, tag).map(u64::from);
    let (width, height) = match TILE_SIZE.map(number) {
        [Some(width), Some(height)] if directory.count(TILES[0]) > 0 => (width, height),
        _ => {
            let height = number(HEIGHT).unwrap_or(0);
            (number(WIDTH).unwrap_or(0), number(STRIP_ROWS).unwrap_or(height).min(height))
        }
    };
    width.saturating_add(MARGIN).saturating_mul(height.saturating_add(MARGIN))
}
