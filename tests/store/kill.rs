//! Killing the program at random moments loses nothing that it acknowledged, and a rerun completes the work.

use crate::common::{self, Dice, eyeshot, picture, run, tiny_clip};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const PICTURES: u32 = 300;
const KILLS: usize = 12;

#[test]
fn killed_at_random_moments_it_reopens_and_completes() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("pictures");
    std::fs::create_dir(&folder).unwrap();
    (0..PICTURES).for_each(|n| picture(&folder.join(format!("{n:04}.png")), n));

    // How long an undisturbed run takes here tells when to kill.
    let started = Instant::now();
    index(home.path(), "whole").expect(0);
    let whole = started.elapsed();

    let mut survived = 0;
    for kill in 0..KILLS {
        let wait = Duration::from_micros(dice.roll(whole.as_micros() as u64));
        let mut child = eyeshot(home.path());
        let child = child.args(args("killed")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        std::thread::sleep(wait);
        child.kill().unwrap();
        child.wait().unwrap();
        let items = count(home.path(), "killed");
        assert!(items >= survived, "kill {kill}: {survived} items were there, now {items}");
        survived = items;
        if items == u64::from(PICTURES) {
            run(home.path(), ["collection", "drop", "killed"]).expect(0);
            survived = 0;
        }
    }
    index(home.path(), "killed").expect(0);
    let again = index(home.path(), "killed").expect(0).json().pop().unwrap();
    assert_eq!(again["unchanged"], PICTURES, "nothing is left to do: {again}");
    assert_eq!(count(home.path(), "killed"), u64::from(PICTURES), "every picture is there, once");

    for probe in 0..5 {
        let name = format!("pictures/{:04}.png", dice.roll(u64::from(PICTURES)));
        let (a, b) = (scores(home.path(), "killed", &name), scores(home.path(), "whole", &name));
        assert_eq!(a.len(), PICTURES as usize, "probe {probe}");
        for (key, score) in &a {
            assert!(
                (score - b[key]).abs() < 1e-5,
                "{name}, {key}: {score} after the kills, {} without",
                b[key]
            );
        }
    }
}

fn args(collection: &str) -> [String; 7] {
    let model = tiny_clip().to_str().unwrap().to_owned();
    ["index", "pictures", "--json", "-c", collection, "--model", &model].map(str::to_owned)
}

fn index(home: &Path, collection: &str) -> common::Ran {
    run(home, args(collection))
}

/// How many items the collection has; none where it was not made yet.
fn count(home: &Path, collection: &str) -> u64 {
    let all = run(home, ["collection", "list", "--json"]).expect(0).json();
    all.iter().find(|c| c["name"] == collection).map_or(0, |c| c["items"].as_u64().unwrap())
}

fn scores(home: &Path, collection: &str, image: &str) -> BTreeMap<String, f64> {
    let hits =
        run(home, ["search", "--json", "-c", collection, "--image", image, "-t", "1000"]).expect(0).json();
    hits.iter().map(|h| (h["key"].as_str().unwrap().to_owned(), h["score"].as_f64().unwrap())).collect()
}
