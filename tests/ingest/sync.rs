//! Runs of ingestion, one after another, over a folder that changes: what each says it did, and what the collection then holds.

#![cfg(unix)]

use crate::support::{Home, picture};
use eyeshot::Error;
use eyeshot::engine::decode::Limits;
use eyeshot::ingest::{
    self, Cancel, Captions, Event, IndexOptions, Meter, Refusal, Reporter, Silent, Summary,
};
use eyeshot::types::{Query, Term, TermKind};
use std::sync::{Arc, Mutex};

fn options() -> IndexOptions {
    IndexOptions { batch: 4, workers: 2, ..IndexOptions::default() }
}

/// Indexed, unchanged, removed, duplicates, refused.
type Counts = (u64, u64, u64, u64, usize);

fn counts(summary: &Summary) -> Counts {
    (summary.indexed, summary.unchanged, summary.removed, summary.duplicates, summary.refused.len())
}

#[test]
fn a_folder_that_changes() {
    let home = Home::new();
    let prune = IndexOptions { prune: true, ..options() };
    let step = |what: &str, change: &dyn Fn(), options: &IndexOptions, expected: Counts, names: &[&str]| {
        change();
        assert_eq!(counts(&home.index(options)), expected, "{what}");
        home.check_vectors(names);
        let again = home.index(options);
        assert_eq!(
            counts(&again),
            (0, names.len() as u64, 0, 0, 0),
            "{what}: a second run has nothing to do"
        );
    };
    let first = || {
        for (seed, name) in ["a.png", "b.png", "sub/c.png", "sub/d.png", "sub/e.png"].iter().enumerate() {
            home.write(name, picture(seed as u8));
        }
    };
    step(
        "the first run",
        &first,
        &options(),
        (5, 0, 0, 0, 0),
        &["a.png", "b.png", "sub/c.png", "sub/d.png", "sub/e.png"],
    );
    let ids =
        |names: &[&str]| names.iter().map(|name| home.items()[&home.key(name)].id.0).collect::<Vec<_>>();
    let before = ids(&["a.png", "b.png", "sub/c.png", "sub/d.png", "sub/e.png"]);
    assert!(before.is_sorted(), "numbered in listing order: {before:?}");

    let change = || home.write("b.png", picture(20));
    step(
        "a changed file",
        &change,
        &options(),
        (1, 4, 0, 0, 0),
        &["a.png", "b.png", "sub/c.png", "sub/d.png", "sub/e.png"],
    );
    assert_eq!(ids(&["a.png", "b.png"]), before[..2], "an item keeps its id");

    let change = || home.rename("a.png", "moved/z.png");
    step(
        "a moved file",
        &change,
        &prune,
        (1, 4, 1, 1, 0),
        &["moved/z.png", "b.png", "sub/c.png", "sub/d.png", "sub/e.png"],
    );

    let change = || home.write("copy.png", picture(20));
    step(
        "a copy",
        &change,
        &prune,
        (1, 5, 0, 1, 0),
        &["b.png", "copy.png", "moved/z.png", "sub/c.png", "sub/d.png", "sub/e.png"],
    );

    let change = || {
        home.write("sub/c.png", picture(3));
        home.write("sub/d.png", picture(2));
        home.remove("sub/e.png");
        home.remove("copy.png");
    };
    step(
        "two swapped, two gone",
        &change,
        &prune,
        (2, 2, 2, 2, 0),
        &["b.png", "moved/z.png", "sub/c.png", "sub/d.png"],
    );

    let change = || std::fs::remove_dir_all(home.path("sub")).unwrap();
    step("a folder gone", &change, &prune, (0, 2, 2, 0, 0), &["b.png", "moved/z.png"]);
}

#[test]
fn copies_within_one_run_are_encoded_once() {
    let home = Home::new();
    (0..12).for_each(|at| home.write(format!("{at:02}.png"), picture(at % 3)));
    let summary = home.index(&options());
    assert_eq!(counts(&summary), (12, 0, 0, 9, 0));
    let items = home.items();
    assert_eq!(items.len(), 12);
    assert!(items.values().all(|item| (item.width, item.height, item.format.as_str()) == (40, 32, "png")));
}

#[test]
fn captions_and_payload_follow_the_sidecars() {
    let home = Home::new();
    home.write("a.png", picture(1));
    home.write("b.png", picture(2));
    let none = IndexOptions { captions: Captions::None, ..options() };
    let check = |options: &IndexOptions, expected: Counts, captions: &[&str], payload: serde_json::Value| {
        assert_eq!(counts(&home.index(options)), expected);
        let item = home.items()[&home.key("a.png")].clone();
        assert_eq!(item.captions, captions);
        assert_eq!(serde_json::Value::Object(item.payload), payload);
        let spaces = home.collection.info().unwrap().spaces;
        assert_eq!((spaces[0].vectors, spaces[1].vectors), (2, captions.len()));
    };
    let nothing = || serde_json::json!({});
    check(&options(), (2, 0, 0, 0, 0), &[], nothing());
    home.write("a.txt", "a red square\na square\n");
    check(&options(), (1, 1, 0, 1, 0), &["a red square", "a square"], nothing());
    home.write("a.json", r#"{"caption":"a blue square","year":1999}"#);
    check(
        &options(),
        (1, 1, 0, 1, 0),
        &["a red square", "a square", "a blue square"],
        serde_json::json!({"year": 1999}),
    );
    check(&none, (2, 0, 0, 2, 0), &[], serde_json::json!({"year": 1999}));
    check(&none, (0, 2, 0, 0, 0), &[], serde_json::json!({"year": 1999}));
    home.remove("a.json");
    check(&options(), (2, 0, 0, 2, 0), &["a red square", "a square"], nothing());
    // A sidecar that cannot be read refuses its image, whose item stays as it was.
    home.write("a.json", "{broken");
    check(&options(), (0, 1, 0, 0, 1), &["a red square", "a square"], nothing());
}

#[test]
fn exif_is_kept_and_copied_with_the_bytes() {
    let home = Home::new();
    let bytes = std::fs::read("tests/fixtures/images/exif.jpg").unwrap();
    home.write("a.jpg", &bytes);
    home.index(&options());
    home.write("b.jpg", &bytes);
    home.index(&options());
    for item in home.items().into_values() {
        assert_eq!((item.width, item.height, item.taken), (24, 40, Some(1_563_677_775)));
        assert_eq!(item.exif["camera"], "Canon EOS R5");
        assert_eq!((item.format.as_str(), item.size), ("jpeg", bytes.len() as u64));
    }
}

/// Keeps what it hears, and asks to stop after so many images.
#[derive(Default)]
struct Ear {
    cancel: Cancel,
    stop_after: Option<u64>,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    listed: (u64, bool),
    indexed: u64,
    unchanged: Vec<String>,
    refused: Vec<Refusal>,
    removed: u64,
}

impl Reporter for Ear {
    fn event(&self, event: Event<'_>) {
        let mut heard = self.heard.lock().unwrap();
        match event {
            Event::Listed { images, complete } => heard.listed = (images, complete),
            Event::Indexed(images) => heard.indexed += images,
            Event::Unchanged(key) => heard.unchanged.push(key.to_owned()),
            Event::Refused(refusal) => heard.refused.push(refusal.clone()),
            Event::Removed(items) => heard.removed += items,
            Event::Due(_) | Event::Gone(_) => unreachable!("no run here only looks"),
        }
        if self.stop_after.is_some_and(|stop| heard.indexed >= stop) {
            self.cancel.set();
        }
    }
}

#[test]
fn a_stopped_run_keeps_what_it_said_and_the_next_goes_on() {
    let home = Home::new();
    (0..40).for_each(|at| home.write(format!("{at:02}.png"), picture(at)));
    let mut done = 0;
    for stop_after in [1, 9, 12] {
        home.remove(format!("{:02}.png", 39 - stop_after));
        let ear = Ear { stop_after: Some(stop_after), ..Ear::default() };
        let prune = IndexOptions { prune: true, ..options() };
        let summary = ingest::index(&home.collection, &[home.photos()], &prune, &ear, &ear.cancel).unwrap();
        assert!((stop_after..stop_after + 4).contains(&summary.indexed), "{stop_after}: {summary:?}");
        assert_eq!((summary.removed, summary.refused.len()), (0, 0), "a stopped run does not prune");
        done += summary.indexed;
        assert_eq!(home.items().len() as u64, done);
    }
    assert_eq!(counts(&home.index(&options())), (37 - done, done, 0, 0, 0));
    let names: Vec<String> =
        (0..40).filter(|at| ![38, 30, 27].contains(at)).map(|at| format!("{at:02}.png")).collect();
    home.check_vectors(&names.iter().map(String::as_str).collect::<Vec<_>>());

    let ear = Ear::default();
    ear.cancel.set();
    let summary = ingest::index(&home.collection, &[home.photos()], &options(), &ear, &ear.cancel).unwrap();
    assert_eq!(counts(&summary), (0, 0, 0, 0, 0), "stopped before it began");
}

#[test]
fn the_reporter_and_the_summary_tell_one_story() {
    let home = Home::new();
    (0..6).for_each(|at| home.write(format!("{at}.png"), picture(at)));
    home.index(&options());
    (4..9).for_each(|at| home.write(format!("{at}.png"), picture(at + 50)));
    home.write("bad.jpg", "");
    home.remove("0.png");
    let ear = Ear::default();
    let prune = IndexOptions { prune: true, ..options() };
    let summary = ingest::index(&home.collection, &[home.photos()], &prune, &ear, &ear.cancel).unwrap();
    assert_eq!(counts(&summary), (5, 3, 1, 0, 1));
    let heard = ear.heard.into_inner().unwrap();
    assert_eq!(heard.listed, (9, true));
    assert_eq!((heard.indexed, heard.removed, heard.refused), (5, 1, summary.refused.clone()));
    assert_eq!(heard.unchanged, ["1.png", "2.png", "3.png"].map(|name| home.key(name)));
    let line = serde_json::to_value(&summary).unwrap();
    let names: Vec<&String> = line.as_object().unwrap().keys().collect();
    assert_eq!(names, ["indexed", "unchanged", "removed", "duplicates", "refused", "stages", "seconds"]);
    assert_eq!(
        line["refused"][0],
        serde_json::json!({"key": home.key("bad.jpg"), "reason": "not an image: the file is empty"})
    );
}

#[test]
fn numbers_do_not_depend_on_the_threads() {
    let numbered = |workers, batch| {
        let home = Home::new();
        (0..30).for_each(|at| home.write(format!("{:02}.png", at * 7 % 30), picture(at)));
        home.index(&IndexOptions { workers, batch, ..IndexOptions::default() });
        let items = home.items().into_values();
        items.map(|item| (item.key.rsplit('/').next().unwrap().to_owned(), item.id.0)).collect::<Vec<_>>()
    };
    let expected = numbered(1, 1);
    assert_eq!(expected.len(), 30);
    assert_eq!(numbered(4, 8), expected);
    assert_eq!(numbered(8, 64), expected);
}

/// Batches that are under way together share what they know, so that the count of known bytes is no matter of chance.
#[test]
fn bytes_are_embedded_once_however_batches_overlap() {
    for batch in [1, 2, 3, 7] {
        let home = Home::new();
        (0..24).for_each(|at| home.write(format!("{at:02}.png"), picture(at % 4)));
        let summary = home.index(&IndexOptions { workers: 4, batch, ..IndexOptions::default() });
        assert_eq!(counts(&summary), (24, 0, 0, 20, 0), "batches of {batch}");
        for seed in 0..4 {
            let mut query = Query::new(vec![Term { kind: TermKind::Image(picture(seed)), weight: 1.0 }]);
            query.limit = 6;
            let mut found: Vec<String> =
                home.collection.query(&query).unwrap().into_iter().map(|hit| hit.key.clone()).collect();
            found.sort();
            let copies: Vec<String> =
                (0..6).map(|copy| home.key(format!("{:02}.png", 4 * copy + seed))).collect();
            assert_eq!(found, copies, "each copy has its picture's vector, in batches of {batch}");
        }
    }
}

#[test]
fn a_run_tells_how_busy_each_step_was() {
    let home = Home::new();
    (0..40).for_each(|at| home.write(format!("{at:02}.png"), picture(at)));
    let meter = Arc::new(Meter::default());
    let summary = home.index(&IndexOptions { meter: Some(meter.clone()), workers: 2, ..options() });
    let names: Vec<&str> = summary.stages.iter().map(|one| one.stage.name()).collect();
    assert_eq!(names, ["list", "fetch", "decode", "encode", "write"]);
    for (one, metered) in summary.stages.iter().zip(meter.read()) {
        assert!(one.busy > 0.0 && one.busy <= 1.0 && (0.0..=1.0).contains(&one.line), "{one:?}");
        let spent = one.busy * one.threads as f64 * summary.seconds;
        let told = metered.busy.as_secs_f64();
        assert!((told - spent).abs() < 0.2 * spent + 0.01, "{told} s, and {spent} of {one:?}");
        assert_eq!((metered.stage, metered.threads, metered.waiting), (one.stage, 0, 0), "the run is over");
    }
}

#[test]
fn shards_share_the_work_and_prune_only_their_own() {
    let home = Home::new();
    (0..20).for_each(|at| home.write(format!("{at}.png"), picture(at)));
    let part = |index: usize| IndexOptions {
        shard: Some(format!("{index}/3").parse().unwrap()),
        prune: true,
        ..options()
    };
    let sizes: Vec<u64> = (0..3).map(|index| home.index(&part(index)).indexed).collect();
    assert_eq!((sizes.iter().sum::<u64>(), home.items().len()), (20, 20), "{sizes:?}");
    (0..20).for_each(|at| home.remove(format!("{at}.png")));
    let removed: Vec<u64> = (0..3).map(|index| home.index(&part(index)).removed).collect();
    assert_eq!(removed, sizes);
}

#[test]
fn pruning_knows_what_belongs_to_a_source() {
    let home = Home::new();
    ["a/1.png", "a/2.png", "ab/3.png", "a/.h/4.png", "a/5.dat"].iter().zip(0..).for_each(|(name, seed)| {
        home.write(name, picture(seed));
    });
    let run = |names: &[&str], prune| {
        let sources: Vec<_> = names.iter().map(|name| home.path(name)).collect();
        let options = IndexOptions { prune, ..options() };
        counts(&ingest::index(&home.collection, &sources, &options, &Silent, &Cancel::default()).unwrap())
    };
    assert_eq!(run(&["a/1.png", "a", "ab", "a/.h", "a/5.dat"], false), (5, 0, 0, 0, 0));
    // What a walk of `a` would not list is not its to remove, nor what a folder with a longer name holds.
    assert_eq!(run(&["a"], true), (0, 2, 0, 0, 0));
    ["a/1.png", "ab/3.png", "a/.h/4.png", "a/5.dat"].iter().for_each(|name| home.remove(name));
    assert_eq!(run(&["a/2.png"], true), (0, 1, 0, 0, 0));
    assert_eq!(run(&["a"], true), (0, 1, 1, 0, 0));
    assert_eq!(run(&["ab"], true), (0, 0, 1, 0, 0));
    assert_eq!(run(&["."], true), (0, 1, 0, 0, 0));
    assert_eq!(run(&["a/.h"], true), (0, 0, 1, 0, 0));
    assert_eq!(home.items().len(), 2);
}

#[test]
fn bad_settings_are_refused_before_anything_is_done() {
    let home = Home::new();
    let check = |options: IndexOptions, source: &str| {
        let result =
            ingest::index(&home.collection, &[home.path(source)], &options, &Silent, &Cancel::default());
        assert!(matches!(result, Err(Error::Invalid { .. } | Error::NotFound { .. })), "{result:?}");
    };
    check(IndexOptions { batch: 0, ..options() }, ".");
    check(IndexOptions { workers: 0, ..options() }, ".");
    check(options(), "missing");
}

#[test]
fn limits_reach_the_decoder_and_the_reader() {
    let home = Home::new();
    home.write("a.png", picture(1));
    let check = |limits: Limits, part: &str| {
        let summary = home.index(&IndexOptions { limits, ..options() });
        assert!(summary.refused.len() == 1 && summary.refused[0].reason.contains(part), "{summary:?}");
    };
    check(Limits { bytes: 100, ..Limits::default() }, "bytes, and the limit is 100");
    check(Limits { pixels: 100, ..Limits::default() }, "1280 pixels, and the limit is 100");
    check(Limits { memory: 3000, ..Limits::default() }, "memory to decode, and the limit is 3000");
}

#[test]
fn known_bytes_get_the_vector_that_the_store_keeps() {
    let home = Home::new();
    // A picture a batch, so that later ones find the first in the store and not beside them.
    let one = IndexOptions { batch: 1, workers: 1, ..options() };
    for copy in 0..6 {
        (0..4).for_each(|seed| home.write(format!("{copy}/{seed}.png"), picture(seed)));
        assert_eq!(home.index(&one).indexed, 4);
    }
    home.check_copies(24);
}
