//! What must not stop a run, and what must: hostile files, sources that fail, pictures that poison a batch.

#![cfg(unix)]

use crate::support::{Home, picture};
use eyeshot::ingest::{self, Cancel, Entry, Fetched, IndexOptions, Listed, Refusal, Silent, Source, Summary};
use eyeshot::{Error, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn options() -> IndexOptions {
    IndexOptions { batch: 4, workers: 2, ..IndexOptions::default() }
}

/// Everything that issue trackers say breaks indexers, in one folder.
#[test]
fn a_hostile_folder() {
    let home = Home::new();
    let fixture = |name: &str| std::fs::read(Path::new("tests/fixtures/images").join(name)).unwrap();
    let deep = image::DynamicImage::ImageRgb16(image::ImageBuffer::from_pixel(
        9,
        9,
        image::Rgb([9u16, 900, 60_000]),
    ));
    let mut sixteen = std::io::Cursor::new(Vec::new());
    deep.write_to(&mut sixteen, image::ImageFormat::Png).unwrap();
    let dot = image::DynamicImage::ImageRgb8(image::RgbImage::new(1, 1));
    let mut one = std::io::Cursor::new(Vec::new());
    dot.write_to(&mut one, image::ImageFormat::Png).unwrap();

    home.write("1x1.png", one.into_inner());
    home.write("16bit.png", sixteen.into_inner());
    ["cmyk.jpg", "palette.png", "animated.gif", "animated.webp"]
        .iter()
        .for_each(|name| home.write(name, fixture(name)));
    home.write("line\nbreak.png", picture(1));
    home.write(Path::new(OsStr::from_bytes(b"not-utf8-\xff\xfe.png")), picture(2));
    home.write("misnamed.gif", picture(3));
    home.write("folder.jpg/inside.png", picture(4));
    home.write("README.txt", "no image");
    home.write("movie.mp4", "no image");
    let good = home.items().len() + 10;

    home.write("zero.jpg", "");
    home.write("text.jpg", "I am a text file, and someone named me .jpg");
    let whole = fixture("progressive.jpg");
    home.write("truncated.jpg", &whole[..whole.len() / 2]);
    home.write("bomb.png", bomb());
    home.write("caption.png", picture(5));
    home.write("caption.json", "[]");
    std::os::unix::fs::symlink("nowhere", home.path("dangling.jpg")).unwrap();
    std::os::unix::fs::symlink(".", home.path("loop")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(home.path("pipe.jpg")).status().unwrap().success());
    let mut expected = vec![
        ("bomb.png", "too large: 60000 x 60000 is 3600000000 pixels, and the limit is 200000000"),
        ("caption.png", "caption.json: not a JSON object"),
        ("dangling.jpg", "a link to nothing"),
        ("pipe.jpg", "not a file but a named pipe"),
        ("text.jpg", "not an image: the file holds text"),
        ("truncated.jpg", "truncated jpeg: the file ends before its end marker"),
        ("zero.jpg", "not an image: the file is empty"),
    ];
    // A file that even root cannot read: the kernel refuses its first page.
    if cfg!(target_os = "linux") {
        std::os::unix::fs::symlink("/proc/self/mem", home.path("unreadable.jpg")).unwrap();
        expected.insert(6, ("unreadable.jpg", "cannot be read: Input/output error (os error 5)"));
    }

    for (run, unchanged) in [(1, 0), (2, good as u64)] {
        let summary = home.index(&options());
        let refused: Vec<Refusal> = expected
            .iter()
            .map(|(name, reason)| Refusal { key: home.key(name), reason: (*reason).to_owned() })
            .collect();
        assert_eq!(summary.refused, refused, "run {run}");
        assert_eq!((summary.indexed, summary.unchanged), (good as u64 - unchanged, unchanged), "run {run}");
        assert_eq!(home.items().len(), good);
    }
}

/// The header of a PNG of 60,000 x 60,000, with the checksum that belongs to it, and no pixels.
fn bomb() -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0".to_vec();
    out.extend(0x0fb0_e215u32.to_be_bytes());
    out.extend(b"\0\0\0\x08IDAT\x78\x9c\x03\0\0\0\0\x01");
    out.extend(0x4806_89d2u32.to_be_bytes());
    out
}

/// A source whose every step a test can bend; entries are `fake:0`, `fake:1`, ...
struct Fake<'a> {
    entries: u8,
    /// Whether the listing breaks off at the end.
    unlisted: bool,
    fetch: Box<dyn Fn(u8) -> Result<Vec<u8>> + Send + Sync + 'a>,
}

impl Source for Fake<'_> {
    fn name(&self) -> &str {
        "fake:"
    }

    fn list(&self) -> Box<dyn Iterator<Item = Listed> + Send + '_> {
        let entry = |at| {
            Listed::Image(Entry {
                key: format!("fake:{at}"),
                stamp: "1".into(),
                size: 100,
                ..Entry::default()
            })
        };
        let end = Listed::Unlisted(Refusal { key: "fake:rest".into(), reason: "not allowed".into() });
        Box::new((0..self.entries).map(entry).chain(self.unlisted.then_some(end)))
    }

    fn fetch(&self, entry: &Entry, _limit: u64) -> Result<Fetched> {
        let number = entry.key.trim_start_matches("fake:").parse().unwrap();
        Ok(Fetched { bytes: (self.fetch)(number)?, sidecars: vec![], hash: None })
    }
}

fn sync(home: &Home, options: &IndexOptions, source: Fake<'static>) -> Result<Summary> {
    ingest::sync(&home.collection, &[Box::new(source)], options, &Silent, &Cancel::default())
}

fn refused(summary: &Summary) -> Vec<(&str, &str)> {
    summary.refused.iter().map(|refusal| (refusal.key.as_str(), refusal.reason.as_str())).collect()
}

#[test]
fn a_source_that_fails_costs_only_what_failed() {
    let home = Home::new();
    let fetch = |at| match at {
        2 => Err(Error::Fetch { url: "fake:2".into(), reason: "gone since it was listed".into() }),
        5 => panic!("a bug in a source"),
        at => Ok(picture(at)),
    };
    let summary =
        sync(&home, &options(), Fake { entries: 9, unlisted: false, fetch: Box::new(fetch) }).unwrap();
    assert_eq!(summary.indexed, 7);
    let expected = [
        ("fake:2", "cannot be fetched: gone since it was listed"),
        ("fake:5", "it broke the program: please report it"),
    ];
    assert_eq!(refused(&summary), expected);
}

#[test]
fn what_could_not_be_listed_is_not_pruned() {
    let home = Home::new();
    let prune = IndexOptions { prune: true, ..options() };
    let run = |entries, unlisted| {
        let summary =
            sync(&home, &prune, Fake { entries, unlisted, fetch: Box::new(|at| Ok(picture(at))) }).unwrap();
        (summary.indexed, summary.unchanged, summary.removed, summary.refused.len())
    };
    assert_eq!(run(6, false), (6, 0, 0, 0));
    assert_eq!(run(2, true), (0, 2, 0, 1));
    assert_eq!(run(2, false), (0, 2, 4, 0));
}

#[test]
fn bytes_that_cease_to_be_known_are_encoded_after_all() {
    let home = Home::new();
    let first = Fake { entries: 1, unlisted: false, fetch: Box::new(|_| Ok(picture(1))) };
    sync(&home, &options(), first).unwrap();
    // Number 2 has known bytes; then someone removes the only item that has them, before the batch is written.
    let collection = home.collection.clone();
    let fetch = move |at| match at {
        2 => Ok(picture(1)),
        3 => {
            collection.remove_keys(&["fake:0".into()])?;
            Ok(picture(3))
        }
        at => Ok(picture(at)),
    };
    let one = IndexOptions { workers: 1, ..options() };
    let summary = sync(&home, &one, Fake { entries: 4, unlisted: false, fetch: Box::new(fetch) }).unwrap();
    assert_eq!((summary.indexed, summary.unchanged, summary.refused.len()), (3, 1, 0));
    assert_eq!(home.items().keys().collect::<Vec<_>>(), ["fake:1", "fake:2", "fake:3"]);
}
