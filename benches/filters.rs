//! How long filtered queries take, over a collection of items that share a few pictures.
//!
//! `cargo bench --bench filters [-- ITEMS]` prints a table; benches/README.md keeps what it said.

use eyeshot::engine::{Collection, Engine, EngineOptions, ModelOptions, NewItem, decode};
use eyeshot::models::Silent;
use eyeshot::types::{ContentHash, Filter, Query, Side, Term, TermKind};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PICTURES: u32 = 1_024;
const COLOURS: [&str; 10] =
    ["red", "green", "blue", "white", "black", "pink", "grey", "brown", "cyan", "sky blue"];
const FILTERS: [&str; 11] = [
    "n = 77",
    "n < 100",
    "colour = red",
    "colour != red",
    "score >= 0.5",
    "shot >= \"2024-05-10\"",
    "caption contains \"scene 77 \"",
    "path starts with /photos/77",
    "colour = red and score > 0.9 and not tags = t3",
    "gps within 50 km of 48.8584, 2.2945",
    "gps within 5000 km of 48.8584, 2.2945",
];

fn main() {
    // Cargo hands `--bench` on.
    let items = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(100_000);
    let home = tempfile::tempdir().unwrap();
    let (models, progress) = (ModelOptions::default(), Arc::new(Silent));
    let engine = Engine::open(EngineOptions { data: home.path().to_owned(), models, progress }).unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clip/gelu");
    let collection = engine.collection_or_new("bench", model.to_str()).unwrap();
    let started = Instant::now();
    fill(&collection, items);
    eprintln!("{items} items written in {:.1} s", started.elapsed().as_secs_f64());

    println!("| filter | side | hits of 10 | first | quickest |\n|---|---|---|---|---|");
    let many: Vec<String> = (0..1_000).map(|n| (n * 97).to_string()).collect();
    let many = format!("n in ({})", many.join(", "));
    let cases = FILTERS.iter().copied().chain([many.as_str()]).map(|text| (text, Side::Image));
    for (text, side) in cases.chain([("colour = red", Side::Caption), ("score >= 0.5", Side::Both)]) {
        let shown = if text.len() < 60 { text } else { "n in (1,000 values)" };
        match time(&collection, text, side, 15) {
            Ok((hits, first, best)) => {
                println!("| `{shown}` | {side:?} | {hits} | {first:.2?} | {best:.2?} |");
            }
            Err(error) => println!("| `{shown}` | {side:?} | {error} | | |"),
        }
    }
    // Leave at once: what may still be linked into the graph in the background is of no use to anyone.
    std::process::exit(0);
}

/// How many hits came, how long the first query took, and the quickest of the next `turns`, which a busy machine
/// disturbs least.
fn time(
    collection: &Collection,
    text: &str,
    side: Side,
    turns: usize,
) -> eyeshot::Result<(usize, Duration, Duration)> {
    let mut query = Query::new(vec![Term { kind: TermKind::Image(picture(1)), weight: 1.0 }]);
    // The second half leaves a hundred items, so that the search among them takes next to nothing.
    (query.filter, query.side) = (Some(Filter::parse(&format!("({text}) and n < 100"))?), side);
    let once = || -> eyeshot::Result<(Duration, usize)> {
        let started = Instant::now();
        let hits = collection.query(&query)?.len();
        Ok((started.elapsed(), hits))
    };
    let (first, hits) = once()?;
    let times = (0..turns).map(|_| Ok(once()?.0)).collect::<eyeshot::Result<Vec<Duration>>>()?;
    Ok((hits, first, times.into_iter().min().unwrap_or(first)))
}

/// Only the pictures are embedded; every item reuses the vector of one.
fn fill(collection: &Collection, items: u64) {
    let hashes: Vec<ContentHash> = (0..PICTURES).map(|n| ContentHash::of(&picture(n))).collect();
    let limits = decode::Limits::default();
    let pixels = |n| collection.prepare(&decode::decode(&picture(n), &limits).unwrap().image).unwrap();
    let hash = |n: u64| hashes[n as usize % hashes.len()];
    let first = (0..PICTURES)
        .map(|n| NewItem { pixels: Some(pixels(n)), ..item(n.into(), hash(n.into())) })
        .collect();
    collection.upsert(first).unwrap();
    let rest: Vec<u64> = (PICTURES.into()..items).collect();
    for batch in rest.chunks(2_000) {
        collection.upsert(batch.iter().map(|n| item(*n, hash(*n))).collect()).unwrap();
    }
}

fn item(n: u64, hash: ContentHash) -> NewItem {
    // Scattered, and the same in each run.
    let dice = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let dice = (dice ^ (dice >> 31)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 16;
    let fraction = |shift: u32| ((dice >> shift) % 100_003) as f64 / 100_003.0;
    let (year, month, day) = (2010 + dice % 15, 1 + (dice >> 4) % 12, 1 + (dice >> 9) % 28);
    let colour = COLOURS[(dice % 10) as usize];
    let payload = json!({
        "n": n,
        "colour": colour,
        "score": fraction(8),
        "shot": format!("{year}-{month:02}-{day:02}T12:00:00Z"),
        "tags": [format!("t{}", dice % 7), format!("t{}", (dice >> 3) % 50)],
        "gps": {"lat": fraction(5) * 179.0 - 89.5, "lon": fraction(15) * 359.0 - 179.5},
    });
    NewItem {
        key: format!("file:///photos/{n}/{dice:x}.jpg"),
        hash,
        size: 100_000 + dice % 1_000_000,
        width: 640 + 64 * (dice % 20) as u32,
        height: 480,
        format: "png".into(),
        taken: Some(1_600_000_000 + (dice % 100_000_000) as i64),
        exif: Default::default(),
        // Not all distinct: each distinct one of a batch is embedded.
        captions: vec![format!("A {colour} thing in scene {} of many", dice % 100)],
        payload: payload.as_object().cloned().unwrap(),
        pixels: None,
        bytes: None,
        thumbnail: None,
        source: "file:///photos".into(),
        stamp: String::new(),
    }
}

/// A small picture, which differs with `n` alone.
fn picture(n: u32) -> Vec<u8> {
    let shade = |x: u32, y: u32| {
        let n = (x / 8 + 5 * (y / 8)).wrapping_mul(n.wrapping_mul(2_654_435_761) | 1).wrapping_add(n);
        image::Rgb([(n >> 3) as u8, (n >> 11) as u8, (n >> 19) as u8])
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(48, 40, shade).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}
