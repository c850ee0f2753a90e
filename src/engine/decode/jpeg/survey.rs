//! What the JPEG decoder does not tell: whether the file is whole, how large a picture it makes and how much memory its kind
//! of coding takes, how many times it goes over the picture, and what inks it is made of.
//!
//! Decoders paint what a truncated file lacks in grey and say nothing, so the end marker is looked for here. Source: ITU-T
//! T.81, annex B.

use crate::error::{Error, Result};
use memchr::memmem;

/// What the markers tell.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Survey {
    /// Width times height.
    pub pixels: u64,
    /// Bytes that the decoder keeps as coefficients of the whole picture: 0 where it decodes line by line.
    pub coefficients: u64,
    /// How many times the decoder goes over the picture.
    pub scans: u64,
    /// Whether its samples are amounts of four inks.
    pub inks: bool,
}

/// The frame header: its size, and each component's sampling.
struct Frame {
    progressive: bool,
    pixels: u64,
    /// Horizontal and vertical sampling factors, a pair a component.
    sampling: Vec<(u64, u64)>,
}

const SOF0: u8 = 0xc0;
const SOF2: u8 = 0xc2;
const SOF15: u8 = 0xcf;
const DHT: u8 = 0xc4;
const JPG: u8 = 0xc8;
const DAC: u8 = 0xcc;
const SOI: u8 = 0xd8;
const EOI: [u8; 2] = [0xff, 0xd9];
const SOS: u8 = 0xda;

/// More scans than any encoder writes: libjpeg's own script for a progressive picture has 10.
const MOST_SCANS: u64 = 100;

/// Walks the markers up to the first scan, then looks for the end marker and further scans' markers, none of which can
/// occur within a scan.
pub(in super::super) fn survey(bytes: &[u8]) -> Result<Survey> {
    let cut = || Error::image("truncated jpeg: the file ends before its end marker");
    let mut frame = None;
    let mut at = 2;
    loop {
        // Between segments, anything up to the next marker is skipped, as decoders do.
        let rest = bytes.get(at..).ok_or_else(cut)?;
        at += rest.iter().position(|&byte| byte == 0xff).ok_or_else(cut)? + 1;
        let marker = *bytes.get(at).ok_or_else(cut)?;
        match marker {
            0xff => continue,
            0x00 | 0x01 | 0xd0..=SOI => at += 1,
            _ if marker == EOI[1] => return Err(Error::image("broken jpeg: it ends before any picture")),
            _ => {
                let length = bytes.get(at + 1..at + 3).ok_or_else(cut)?;
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                let body = bytes.get(at + 3..at + 1 + length.max(2)).ok_or_else(cut)?;
                at += 1 + length.max(2);
                match marker {
                    DHT | JPG | DAC => {}
                    SOF0..=SOF15 => frame = Frame::read(marker, body),
                    SOS => {
                        let rest = bytes.get(at..).unwrap_or_default();
                        memmem::rfind(rest, &EOI).ok_or_else(cut)?;
                        let scanned = body.first().map_or(0, |&count| usize::from(count));
                        let inks = frame.as_ref().is_some_and(|frame| frame.sampling.len() == 4);
                        let pixels = frame.as_ref().map_or(0, |frame| frame.pixels);
                        let coefficients = frame.map_or(0, |frame| frame.coefficients(scanned));
                        let scans = if coefficients == 0 { 1 } else { 1 + scans(rest) };
                        if scans > MOST_SCANS {
                            let found = format!("{scans} scans, and the limit is {MOST_SCANS}");
                            return Err(Error::image(format!("too slow to decode: this jpeg has {found}")));
                        }
                        return Ok(Survey { pixels, coefficients, scans, inks });
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Width times height of a JPEG of the usual kinds, by its header alone; None of whatever else, lossless ones among it.
pub(in super::super) fn pixels(bytes: &[u8]) -> Option<u64> {
    let mut at = if bytes.starts_with(&[0xff, SOI]) { 2 } else { return None };
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)? + 1;
        let marker = *bytes.get(at)?;
        match marker {
            0xff => continue,
            0x00 | 0x01 | 0xd0..=SOI => at += 1,
            _ => {
                let length = bytes.get(at + 1..at + 3)?;
                let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
                match marker {
                    SOF0..=SOF2 => {
                        return Frame::read(marker, bytes.get(at + 3..at + 1 + length)?).map(|f| f.pixels);
                    }
                    DHT | JPG | DAC => {}
                    SOS => return None,
                    _ if marker == EOI[1] || (SOF0..=SOF15).contains(&marker) => return None,
                    _ => {}
                }
                at += 1 + length;
            }
        }
    }
}

/// How many headers of scans there are in `bytes`. Those of a second picture that lies behind the first are counted too:
/// a decoder's way through broken segments is its own, so that only what it cannot jump over is a bound.
fn scans(bytes: &[u8]) -> u64 {
    let header = |&at: &usize| match bytes.get(at + 2..at + 5) {
        Some(&[high, low, count]) => high == 0 && (1..5).contains(&count) && low == 6 + 2 * count,
        _ => false,
    };
    memmem::find_iter(bytes, &[0xff, SOS]).filter(header).count() as u64
}

impl Frame {
    fn read(marker: u8, body: &[u8]) -> Option<Frame> {
        let [_, h1, h0, w1, w0, count, components @ ..] = body else { return None };
        let side = |high: u8, low: u8| u64::from(u16::from_be_bytes([high, low]));
        let sampling = components.chunks_exact(3).take(usize::from(*count));
        let sampling = sampling.map(|c| (u64::from(c[1] >> 4), u64::from(c[1] & 15))).collect();
        Some(Frame { progressive: marker == SOF2, pixels: side(*h1, *h0) * side(*w1, *w0), sampling })
    }

    /// Two bytes a coefficient, where the whole picture's must be kept: it is progressive, or its first scan has not
    /// all components.
    fn coefficients(&self, scanned: usize) -> u64 {
        if !self.progressive && scanned >= self.sampling.len() {
            return 0;
        }
        let widest = self.sampling.iter().map(|s| s.0).max().unwrap_or(1).max(1);
        let tallest = self.sampling.iter().map(|s| s.1).max().unwrap_or(1).max(1);
        let area: u64 = self.sampling.iter().map(|s| s.0 * s.1).sum();
        2 * self.pixels * area / (widest * tallest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a further scan, of one component.
    const FURTHER: [u8; 10] = [0xff, SOS, 0, 8, 1, 1, 0, 0, 63, 0];

    /// A frame of 1000 x 100 with 4:2:0 sampling, then a scan of `scanned` components.
    fn jpeg(sof: u8, scanned: u8, tail: &[u8]) -> Vec<u8> {
        let mut bytes =
            vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, 0xff, 0xd9, 0xff, sof, 0, 17, 8, 0, 100, 3, 232, 3];
        bytes.extend([1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0, 0xff, 0xda, 0, 3, scanned]);
        bytes.extend(tail);
        bytes
    }

    /// `expected` is coefficients and scans.
    fn check(bytes: &[u8], expected: Result<(u64, u64), &str>) {
        match (survey(bytes), expected) {
            (Ok(found), Ok((coefficients, scans))) => {
                assert_eq!(found, Survey { pixels: 100_000, coefficients, scans, inks: false });
            }
            (Err(found), Err(part)) => assert!(found.to_string().contains(part), "{found}"),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn whole_or_cut() {
        let end = [1, 2, 0xff, 0, 0xff, 0xd0, 3, 0xff, 0xd9];
        check(&jpeg(0xc0, 3, &end), Ok((0, 1)));
        check(&jpeg(0xc2, 3, &end), Ok((300_000, 1)));
        check(&jpeg(0xc0, 1, &end), Ok((300_000, 1)));
        let whole = jpeg(0xc0, 3, &end);
        for length in 2..whole.len() {
            check(&whole[..length], Err("truncated jpeg"));
        }
        check(&[0xff, 0xd8, 0xff, 0xd9], Err("ends before any picture"));
    }

    #[test]
    fn pixels_of_usual_kinds() {
        let check = |sof: u8, expected: Option<u64>| assert_eq!(pixels(&jpeg(sof, 3, &EOI)), expected);
        check(0xc0, Some(100_000));
        check(0xc1, Some(100_000));
        check(0xc2, Some(100_000));
        // Lossless, as sensors' data are packed.
        check(0xc3, None);
        check(0xc4, None);
        let whole = jpeg(0xc0, 3, &EOI);
        assert!((0..27).all(|length| pixels(&whole[..length]).is_none()));
    }

    #[test]
    fn many_scans() {
        let end = [0xff, 0xd9];
        let scans = |further: usize| [FURTHER.repeat(further), end.to_vec()].concat();
        check(&jpeg(0xc2, 3, &scans(9)), Ok((300_000, 10)));
        check(&jpeg(0xc2, 3, &scans(99)), Ok((300_000, 100)));
        check(&jpeg(0xc2, 3, &scans(100)), Err("101 scans"));
        check(&jpeg(0xc0, 1, &scans(100)), Err("101 scans"));
        // Read line by line, nothing behind the one scan is looked at.
        check(&jpeg(0xc0, 3, &scans(100)), Ok((0, 1)));
        // The pair of bytes alone is no scan.
        check(&jpeg(0xc2, 3, &[[0xff, SOS, 7, 7].repeat(200), end.to_vec()].concat()), Ok((300_000, 1)));
    }
}
