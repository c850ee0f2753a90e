//! `eyeshot index --shadow`, `collection flip` and `drop-shadow`, as a user runs them, and as a kill meets them.

use crate::common::{self, Dice, eyeshot, picture, run, tiny_clip};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// More than a sealed block of vectors, of which there are 256 in each.
const PICTURES: u32 = 300;
const KILLS: usize = 12;

/// Another tiny CLIP.
fn other() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clip/sharded")
}

fn folder(home: &Path, count: u32) {
    let folder = home.join("pictures");
    std::fs::create_dir(&folder).unwrap();
    (0..count).for_each(|n| picture(&folder.join(format!("{n:04}.png")), n));
    std::fs::write(folder.join("0000.txt"), "a cat\na small cat\n").unwrap();
}

fn index(home: &Path, collection: &str, model: &Path, more: &[&str]) -> common::Ran {
    let model = model.to_str().unwrap();
    run(home, [&["index", "pictures", "--json", "-c", collection, "--model", model][..], more].concat())
}

fn show(home: &Path, collection: &str) -> Value {
    run(home, ["collection", "show", collection, "--json"]).expect(0).json().remove(0)
}

fn shadowed(shown: &Value) -> u64 {
    shown["shadow"][0]["vectors"].as_u64().unwrap_or(0)
}

fn scores(home: &Path, collection: &str) -> BTreeMap<String, f64> {
    let args = ["search", "--json", "-c", collection, "--image", "pictures/0001.png", "-t", "1000"];
    let hits = run(home, args).expect(0).json();
    hits.iter().map(|h| (h["key"].as_str().unwrap().to_owned(), h["score"].as_f64().unwrap())).collect()
}

fn same(a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>) {
    assert_eq!(a.len(), b.len());
    a.iter().for_each(|(key, x)| assert!((x - b[key]).abs() < 5e-4, "{key}: {x}, not {}", b[key]));
}

/// Runs the program with these arguments and kills it after `wait`.
fn killed(home: &Path, args: &[&str], wait: Duration) {
    let mut child = eyeshot(home);
    let mut child = child.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(wait);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn killed_at_random_moments_it_loses_nothing() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    folder(home, PICTURES);
    index(home, "c", &tiny_clip(), &[]).expect(0);
    let before = scores(home, "c");
    let started = Instant::now();
    index(home, "fresh", &other(), &[]).expect(0);
    let whole = started.elapsed();
    let after = scores(home, "fresh");

    let model = other();
    let args = ["index", "pictures", "-c", "c", "--model", model.to_str().unwrap(), "--shadow"];
    let (mut survived, mut steps) = (0, vec![]);
    for kill in 0..KILLS {
        // Short runs, so that many of them meet a shadow that is half full.
        killed(home, &args, Duration::from_micros(dice.roll(whole.as_micros() as u64 * 2 / 3)));
        let there = shadowed(&show(home, "c"));
        assert!(there >= survived, "kill {kill}: {survived} were there, now {there}");
        survived = there;
        steps.push(there);
        if there == u64::from(PICTURES) && kill + 1 < KILLS {
            run(home, ["collection", "drop-shadow", "c"]).expect(0);
            survived = 0;
        }
    }
    println!("in the shadow after each kill: {steps:?}");
    run(home, ["collection", "check"]).expect(0);
    assert_eq!(scores(home, "c"), before, "the old model serves");
    if show(home, "c").get("shadow").is_none() {
        // The last one died before it had begun any.
        run(home, ["collection", "flip", "c"]).expect(2);
    } else if survived < u64::from(PICTURES) {
        let refused = run(home, ["collection", "flip", "c"]).expect(1);
        let missing = format!("{} of the {PICTURES} items", u64::from(PICTURES) - survived);
        assert!(refused.err.contains(&missing), "{}", refused.err);
    }
    let rest = index(home, "c", &other(), &["--shadow"]).expect(0);
    assert!(rest.err.contains("collection flip c"), "{}", rest.err);
    let rest = rest.json().pop().unwrap();
    assert_eq!(
        (&rest["unchanged"], &rest["indexed"]),
        (&json!(survived), &json!(u64::from(PICTURES) - survived))
    );

    // A flip that is killed has happened, or it has not.
    let started = Instant::now();
    run(home, ["collection", "flip", "c"]).expect(0);
    let whole = started.elapsed();
    let mut served = [0; 2];
    for _ in 0..KILLS {
        killed(
            home,
            &["collection", "flip", "c"],
            Duration::from_micros(dice.roll(whole.as_micros() as u64 * 2)),
        );
        let shown = show(home, "c");
        let new = shown["spaces"][0]["model"].as_str() == model.to_str();
        assert_ne!(shown["spaces"][0]["model"], shown["shadow"][0]["model"], "{shown}");
        served[usize::from(new)] += 1;
        same(&scores(home, "c"), if new { &after } else { &before });
    }
    println!("after killed flips the models served {served:?} times");
    run(home, ["collection", "check"]).expect(0);
}

#[test]
fn a_dropped_shadow_gives_its_space_back() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    folder(home, PICTURES);
    index(home, "c", &tiny_clip(), &[]).expect(0);
    let compact = || {
        run(home, ["collection", "compact"]).expect(0);
        show(home, "c")["bytes"].as_u64().unwrap()
    };
    let alone = compact();
    assert!(run(home, ["collection", "drop-shadow", "c"]).expect(2).err.contains("--shadow"));
    index(home, "c", Path::new("demo"), &["--shadow"]).expect(0);
    let both = compact();
    let vectors = 2 * 192 * u64::from(PICTURES);
    assert!(both >= alone + vectors / 2, "{alone}, and {both} with {vectors} bytes of vectors");
    run(home, ["collection", "flip", "c"]).expect(0);
    let shown = show(home, "c");
    assert_eq!(
        (&shown["spaces"][0]["model"], &shown["spaces"][0]["vectors"]),
        (&json!("demo"), &json!(PICTURES))
    );
    run(home, ["collection", "drop-shadow", "c"]).expect(0);
    let new = compact();
    assert!(show(home, "c").get("shadow").is_none());
    run(home, ["collection", "flip", "c"]).expect(2);
    // Back to the small model, and its predecessor dropped: what it was.
    index(home, "c", &tiny_clip(), &["--shadow"]).expect(0);
    run(home, ["collection", "flip", "c"]).expect(0);
    run(home, ["collection", "drop-shadow", "c"]).expect(0);
    let again = compact();
    println!(
        "{alone} bytes, {both} with a shadow, {new} with the new model alone, {again} with the old one again"
    );
    assert!(again < alone + vectors / 4 && new < both, "{alone} {both} {new} {again}");
    run(home, ["collection", "check"]).expect(0);
}

#[test]
fn check_looks_into_the_shadow() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    folder(home, 3);
    index(home, "c", &tiny_clip(), &[]).expect(0);
    index(home, "c", &other(), &["--shadow"]).expect(0);
    run(home, ["collection", "check"]).expect(0);
    let generation = std::fs::read_dir(home.join("eyeshot-data")).unwrap();
    let generation = generation.map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
    let tree = sled::open(generation.join("rows")).unwrap();
    // The spaces have rising numbers: the last vector is a caption's in the shadow.
    let vectors: Vec<_> = tree.scan_prefix(b"V").keys().map(Result::unwrap).collect();
    assert_eq!(vectors.len(), 10);
    tree.remove(vectors.last().unwrap()).unwrap();
    tree.flush().unwrap();
    drop(tree);
    let found = run(home, ["collection", "check", "--json"]).expect(1).json();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["problem"], "shadow: item 0 has 1 caption vectors instead of 2");
}

#[test]
fn the_words_of_the_command_line() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    folder(home, 4);
    index(home, "c", &tiny_clip(), &[]).expect(0);
    let before = scores(home, "c");
    // A source is needed but for a shadow, and a shadow needs a collection and a model.
    run(home, ["index", "-c", "c"]).expect(2);
    let refused = run(home, ["index", "-c", "c", "--shadow"]).expect(2);
    assert!(refused.err.contains("--model"), "{}", refused.err);
    run(home, ["index", "pictures", "-c", "none", "--shadow", "--model", "demo"]).expect(2);
    for flag in ["--prune", "--dry-run"] {
        run(home, ["index", "pictures", "-c", "c", "--shadow", "--model", "demo", flag]).expect(2);
    }
    assert!(show(home, "c").get("shadow").is_none(), "nothing was begun");

    let part = run(home, ["index", "pictures/0001.png", "-c", "c", "--shadow", "--model", "demo"]).expect(0);
    assert!(part.err.contains("1 of 4 items") && part.err.contains("3 are missing"), "{}", part.err);
    let refused = run(home, ["collection", "flip", "c"]).expect(1);
    assert!(refused.err.contains("3 of the 4 items"), "{}", refused.err);
    let text = run(home, ["collection", "show", "c"]).expect(0).out;
    assert!(text.contains("from demo, in the shadow"), "{text}");
    // What came is refused with its reason until the model that serves has it.
    picture(&home.join("pictures/new.png"), 99);
    let early =
        run(home, ["index", "pictures", "-c", "c", "--shadow", "--json"]).expect(3).json().pop().unwrap();
    assert_eq!((&early["indexed"], &early["unchanged"]), (&json!(3), &json!(1)), "{early}");
    assert!(early["refused"][0]["reason"].as_str().unwrap().contains("without --shadow"));
    index(home, "c", &tiny_clip(), &[]).expect(0);
    // With no source: from where the items lie.
    let rest = run(home, ["index", "-c", "c", "--shadow", "--json"]).expect(0).json().pop().unwrap();
    assert_eq!((&rest["indexed"], &rest["unchanged"]), (&json!(1), &json!(4)), "{rest}");
    let flipped = run(home, ["collection", "flip", "c", "--json"]).expect(0).json().remove(0);
    assert_eq!(flipped["spaces"][0]["model"], "demo");
    index(home, "fresh", Path::new("demo"), &[]).expect(0);
    same(&scores(home, "c"), &scores(home, "fresh"));
    run(home, ["collection", "flip", "c"]).expect(0);
    let mut back = scores(home, "c");
    back.retain(|key, _| before.contains_key(key));
    assert_eq!(back, before);
}
