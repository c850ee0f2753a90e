//! The directories of a TIFF structure, which EXIF chunks and most camera RAW files are too: where what stands, and no more.
//!
//! Offsets and counts are the file's own claims. Every one is looked up within its bytes, a directory is read once, and what
//! is read is bounded in number; what lies outside is left out. Source: TIFF 6.0, section 2.

/// The most directories that are read of one file; cameras write about ten.
const MOST_DIRECTORIES: usize = 64;
/// The most entries that are read of one directory; cameras write about a hundred.
const MOST_ENTRIES: usize = 1024;
/// The longest value that EXIF is read from, in bytes, but for the profile, which is one copy.
const LONGEST_VALUE: u64 = 64 << 10;
const LONGEST_PROFILE: u64 = 4 << 20;

const EXIF: u16 = 0x8769;
const SUB_DIRECTORIES: u16 = 0x014a;
const PLACE: u16 = 0x8825;
const INTEROPERABILITY: u16 = 0xa005;
const PROFILE: u16 = 0x8773;

/// A TIFF structure that can be read.
#[derive(Clone, Copy)]
pub(super) struct Tiff<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

/// One directory: the entries that it holds.
pub(super) struct Directory {
    /// Whether it is of the chain of pictures, or below one of them, and not EXIF's or the place's.
    pub pictures: bool,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    tag: u16,
    kind: u16,
    count: u32,
    /// Where the entry itself stands.
    at: usize,
    /// Where its first value stands.
    value: usize,
}

impl Entry {
    /// Bytes of one value; 0 where the kind is none of TIFF's.
    fn unit(&self) -> u64 {
        match self.kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 => 8,
            _ => 0,
        }
    }

    fn length(&self) -> u64 {
        self.unit() * u64::from(self.count)
    }
}

impl<'a> Tiff<'a> {
    /// A structure that begins like TIFF, whatever number stands for its kind: cameras use others than 42.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        match bytes.get(..8)? {
            [b'M', b'M', ..] => Some(Tiff { bytes, big_endian: true }),
            [b'I', b'I', ..] => Some(Tiff { bytes, big_endian: false }),
            _ => None,
        }
    }

    /// What stands from an offset on, as a structure whose offsets count from there.
    pub fn within(&self, at: usize, big_endian: bool) -> Option<Tiff<'a>> {
        Some(Tiff { bytes: self.bytes.get(at..)?, big_endian })
    }

    /// Two bytes at an offset.
    pub fn short(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    /// Four bytes at an offset.
    pub fn long(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// All directories that the first one leads to, each once, in the order in which they are met.
    pub fn directories(&self) -> Vec<Directory> {
        let (mut found, mut seen) = (Vec::new(), Vec::new());
        let mut next: std::collections::VecDeque<_> = self.long(4).map(|at| (at, true)).into_iter().collect();
        while let Some((at, pictures)) = next.pop_front() {
            if at == 0 || seen.contains(&at) || found.len() == MOST_DIRECTORIES {
                continue;
            }
            seen.push(at);
            let Some((directory, following)) = self.directory(at as usize, pictures) else { continue };
            next.extend(self.values(&directory, SUB_DIRECTORIES, MOST_DIRECTORIES).map(|at| (at, true)));
            for tag in [EXIF, PLACE, INTEROPERABILITY] {
                next.extend(self.value(&directory, tag).map(|at| (at, false)));
            }
            next.extend(following.map(|at| (at, pictures)));
            found.push(directory);
        }
        found
    }

    /// The directory at an offset, and where the one after it is.
    pub fn directory(&self, at: usize, pictures: bool) -> Option<(Directory, Option<u32>)> {
        let count = usize::from(self.short(at)?);
        let entries = (0..count.min(MOST_ENTRIES)).map_while(|n| self.entry(at + 2 + 12 * n)).collect();
        Some((Directory { pictures, entries }, self.long(at + 2 + 12 * count)))
    }

    fn entry(&self, at: usize) -> Option<Entry> {
        let (tag, kind, count) = (self.short(at)?, self.short(at + 2)?, self.long(at + 4)?);
        let mut entry = Entry { tag, kind, count, at, value: at + 8 };
        if entry.length() > 4 {
            entry.value = self.long(at + 8)? as usize;
        }
        Some(entry)
    }

    /// The first of a tag's whole numbers.
    pub fn value(&self, directory: &Directory, tag: u16) -> Option<u32> {
        self.values(directory, tag, 1).next()
    }

    /// A tag's whole numbers, at most so many.
    pub fn values(
        &self,
        directory: &Directory,
        tag: u16,
        most: usize,
    ) -> impl Iterator<Item = u32> + use<'a> {
        let (tiff, entry) = (*self, directory.get(tag));
        let count = entry.map_or(0, |entry| entry.count as usize).min(most);
        (0..count).map_while(move |n| {
            let entry = entry?;
            match entry.kind {
                1 | 7 => tiff.bytes.get(entry.value.checked_add(n)?).map(|byte| u32::from(*byte)),
                3 => tiff.short(entry.value.checked_add(2 * n)?).map(u32::from),
                4 | 13 => tiff.long(entry.value.checked_add(4 * n)?),
                _ => None,
            }
        })
    }

    /// A tag's bytes: those of a text, or of whatever has no kind.
    pub fn bytes(&self, directory: &Directory, tag: u16) -> Option<&'a [u8]> {
        let entry = directory.get(tag).filter(|entry| entry.unit() == 1)?;
        self.slice(entry.value, entry.count as usize)
    }

    /// Where the directory that a tag leads to stands; some makers put it in the value's own place.
    pub fn pointer(&self, directory: &Directory, tag: u16) -> Option<usize> {
        match directory.get(tag)?.kind {
            7 => self.offset(directory, tag),
            _ => Some(self.value(directory, tag)? as usize),
        }
    }

    /// Where a tag's bytes begin.
    pub fn offset(&self, directory: &Directory, tag: u16) -> Option<usize> {
        directory.get(tag).map(|entry| entry.value)
    }

    /// So many bytes from an offset; as many as there are where the file ends before.
    pub fn slice(&self, at: usize, length: usize) -> Option<&'a [u8]> {
        let rest = self.bytes.get(at..)?;
        Some(&rest[..rest.len().min(length)])
    }
}

impl Directory {
    /// How many values a tag has.
    pub fn count(&self, tag: u16) -> usize {
        self.get(tag).map_or(0, |entry| entry.count as usize)
    }

    fn get(&self, tag: u16) -> Option<Entry> {
        self.entries.iter().find(|entry| entry.tag == tag).copied()
    }
}

/// Makes a structure harmless to readers of EXIF, which take as much memory as its entries ask for: a text of zeros becomes a
/// list of as many empty texts. Values that are longer than any that EXIF is read from lose their content.
pub(super) fn tame(chunk: &mut [u8]) {
    let Some(tiff) = Tiff::new(chunk) else { return };
    let long = |entry: &&Entry| {
        let plain = matches!(entry.kind, 1 | 7) && entry.tag == PROFILE;
        entry.length() > if plain { LONGEST_PROFILE } else { LONGEST_VALUE }
    };
    let directories = tiff.directories();
    let entries = directories.iter().flat_map(|directory| &directory.entries);
    let counts: Vec<usize> = entries.filter(long).map(|entry| entry.at + 4).collect();
    for at in counts {
        chunk.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A directory at 8 of these entries (tag, kind, count, value), and where the next one is.
    fn tiff(entries: &[(u16, u16, u32, u32)], next: u32) -> Vec<u8> {
        let mut out = b"II\x2a\0\x08\0\0\0".to_vec();
        out.extend((entries.len() as u16).to_le_bytes());
        for (tag, kind, count, value) in entries {
            out.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
            out.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
        }
        out.extend(next.to_le_bytes());
        out
    }

    #[test]
    fn loops_and_lies_end() {
        let check = |entries: &[(u16, u16, u32, u32)], next: u32, directories: usize| {
            let bytes = tiff(entries, next);
            assert_eq!(Tiff::new(&bytes).unwrap().directories().len(), directories);
        };
        check(&[], 0, 1);
        check(&[], 8, 1);
        check(&[], u32::MAX, 1);
        check(&[(SUB_DIRECTORIES, 4, 1, 8), (EXIF, 4, 1, 8)], 8, 1);
        check(&[(SUB_DIRECTORIES, 4, u32::MAX, 8)], 0, 1);
        check(&[(SUB_DIRECTORIES, 4, u32::MAX, u32::MAX)], u32::MAX, 1);
        // Every offset of a page of ones is another directory.
        let mut bytes = tiff(&[(SUB_DIRECTORIES, 4, 4096, 26)], 0);
        bytes.extend((0..4096u32).flat_map(|n| (26 + n).to_le_bytes()));
        assert_eq!(Tiff::new(&bytes).unwrap().directories().len(), MOST_DIRECTORIES);
    }

    #[test]
    fn any_cut_is_read_as_far_as_it_goes() {
        let whole = tiff(&[(0x10f, 2, 3, 0x4141), (0x112, 3, 1, 6), (EXIF, 4, 1, 8)], 0);
        for length in 0..whole.len() {
            if let Some(tiff) = Tiff::new(&whole[..length]) {
                tiff.directories();
            }
        }
        let tiff = Tiff::new(&whole).unwrap();
        let all = tiff.directories();
        assert_eq!((tiff.value(&all[0], 0x112), tiff.bytes(&all[0], 0x10f)), (Some(6), Some(&b"AA\0"[..])));
    }

    #[test]
    fn long_values_are_emptied() {
        let mut bytes = tiff(&[(0x10f, 2, 70_000, 8), (PROFILE, 7, 70_000, 8), (0x110, 2, 2, 0x41)], 0);
        tame(&mut bytes);
        let tiff = Tiff::new(&bytes).unwrap();
        let all = tiff.directories();
        assert_eq!([0x10f, PROFILE, 0x110].map(|tag| all[0].count(tag)), [0, 70_000, 2]);
    }
}
