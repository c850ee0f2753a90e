//! Filters through the engine: the field index stays in step with what is written, replaced, removed and reopened.

use crate::common::{Dice, picture, tiny_clip};
use eyeshot::engine::{Collection, Engine, EngineOptions, ModelOptions, NewItem, decode};
use eyeshot::models::Silent;
use eyeshot::types::{ContentHash, Filter, Query, Side, Term, TermKind};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn open(data: &Path) -> Arc<Collection> {
    let (models, progress) = (ModelOptions::default(), Arc::new(Silent));
    let engine = Engine::open(EngineOptions { data: data.to_owned(), models, progress }).unwrap();
    engine.collection_or_new("filters", Some(tiny_clip().to_str().unwrap())).unwrap()
}

fn new(key: u64, hash: ContentHash) -> NewItem {
    NewItem {
        key: format!("file:///{key}.png"),
        hash,
        size: 100 + key,
        width: 48,
        height: 40,
        format: "png".into(),
        taken: None,
        exif: Default::default(),
        captions: vec![],
        payload: Default::default(),
        pixels: None,
        bytes: None,
        thumbnail: None,
        source: "file:///".into(),
        stamp: String::new(),
    }
}

fn thrown(dice: &mut Dice, key: u64, hash: ContentHash) -> NewItem {
    let mut item = new(key, hash);
    let colour = ["red", "green", "blue"][dice.roll(3) as usize];
    item.taken = (dice.roll(2) == 0).then(|| 1_717_000_000 + dice.roll(400_000) as i64);
    item.captions = (0..dice.roll(3)).map(|_| format!("a {colour} cat")).collect();
    let payload = json!({
        "colour": colour, "n": dice.roll(9), "tags": [dice.roll(3), "x"],
        "shot": format!("2024-05-{:02}T12:00:00Z", 1 + dice.roll(28)),
        "gps": {"lat": dice.roll(90), "lon": dice.roll(90)},
    });
    item.payload = payload.as_object().cloned().unwrap();
    item
}

/// Writes the first item, whose vector all others reuse; its hash and its bytes.
fn first(collection: &Collection, folder: &Path) -> (ContentHash, Vec<u8>) {
    let path = folder.join("a.png");
    picture(&path, 7);
    let bytes = std::fs::read(&path).unwrap();
    let mut first = new(0, ContentHash::of(&bytes));
    let image = decode::decode(&bytes, &decode::Limits::default()).unwrap().image;
    first.pixels = Some(collection.prepare(&image).unwrap());
    collection.upsert(vec![first]).unwrap();
    (ContentHash::of(&bytes), bytes)
}

fn ask(collection: &Collection, picture: &[u8], filter: &Filter, side: Side) -> BTreeSet<String> {
    let mut query = Query::new(vec![Term { kind: TermKind::Image(picture.to_vec()), weight: 1.0 }]);
    (query.limit, query.side, query.filter) = (1_000, side, Some(filter.clone()));
    let hits = collection.query(&query).unwrap();
    let keys: BTreeSet<String> = hits.iter().map(|hit| hit.key.clone()).collect();
    assert_eq!(keys.len(), hits.len(), "an item came twice");
    keys
}

#[test]
fn filtered_queries_follow_every_write() {
    let seed = 23;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let home = tempfile::tempdir().unwrap();
    let mut collection = open(home.path());
    let (hash, bytes) = first(&collection, home.path());
    for turn in 0..12 {
        let keys: Vec<u64> = (0..20).map(|_| 1 + dice.roll(80)).collect();
        collection.upsert(keys.iter().map(|key| thrown(&mut dice, *key, hash)).collect()).unwrap();
        let gone: Vec<String> = (0..6).map(|_| format!("file:///{}.png", 1 + dice.roll(80))).collect();
        collection.remove_keys(&gone).unwrap();
        if turn % 4 == 3 {
            drop(collection);
            collection = open(home.path());
        }
        for text in [
            "colour = red",
            "not (colour = red or n > 4)",
            "tags in (1, 2) and path exists",
            "shot >= 2024-05-10 and shot < 2024-05-20T12:00:00Z",
            "gps within 3000 km of 45, 45",
            "taken exists and caption contains CAT",
            "size > 0",
        ] {
            let filter = Filter::parse(text).unwrap();
            let items: Vec<_> = collection.items().map(Result::unwrap).filter(|i| filter.passes(i)).collect();
            let all: BTreeSet<String> = items.iter().map(|i| i.key.clone()).collect();
            let told = items.iter().filter(|i| !i.captions.is_empty()).map(|i| i.key.clone()).collect();
            for (side, wanted) in [(Side::Image, &all), (Side::Caption, &told), (Side::Both, &all)] {
                let found = ask(&collection, &bytes, &filter, side);
                assert_eq!(found, *wanted, "seed {seed}, turn {turn}, {side:?}: {text}");
            }
        }
    }
}

#[test]
fn an_item_that_is_replaced_is_never_missed() {
    let home = tempfile::tempdir().unwrap();
    let collection = open(home.path());
    let (hash, bytes) = first(&collection, home.path());
    let batch = || (1..9).map(|key| new(key, hash)).collect::<Vec<_>>();
    collection.upsert(batch()).unwrap();
    let (filter, done) = (Filter::parse("size > 100").unwrap(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..40).for_each(|_| _ = collection.upsert(batch()).unwrap());
            done.store(true, Ordering::Release);
        });
        // The first of these queries builds the index while the writer writes.
        while !done.load(Ordering::Acquire) {
            assert_eq!(ask(&collection, &bytes, &filter, Side::Image).len(), 8);
        }
    });
    assert_eq!(ask(&collection, &bytes, &filter, Side::Image).len(), 8);
}
