//! `eyeshot collection backup`, `restore`, `compact` and `check`, as a user runs them.

use crate::common::{picture, run, tiny_clip};
use std::path::{Path, PathBuf};

/// Two collections: one of pictures with captions, one of a single picture.
fn indexed(home: &Path) {
    let model = tiny_clip();
    for (folder, count) in [("many", 5), ("few", 1)] {
        let path = home.join(folder);
        std::fs::create_dir(&path).unwrap();
        (0..count).for_each(|n| picture(&path.join(format!("{n}.png")), n + count));
        std::fs::write(path.join("0.txt"), "a cat\na small cat\n").unwrap();
        run(home, ["index", folder, "-c", folder, "--json", "--model", model.to_str().unwrap()]).expect(0);
    }
}

/// What a search finds: all that a collection holds.
fn found(home: &Path, collection: &str) -> String {
    let args = ["search", "--json", "-c", collection, "--image", "many/1.png", "-t", "100"];
    run(home, args).expect(0).out
}

fn file(home: &Path, part: &str) -> PathBuf {
    let data = std::fs::read_dir(home.join("eyeshot-data")).unwrap();
    let generation = data.map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
    let mut files = std::fs::read_dir(generation).unwrap().map(|e| e.unwrap().path());
    files.find(|p| p.file_name().unwrap().to_str().unwrap().starts_with(part)).unwrap()
}

#[test]
fn a_backup_restores_what_was_there() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    indexed(home);
    let before = ["many", "few"].map(|c| found(home, c));
    let all = run(home, ["collection", "backup", "all.eyeshot", "--json"]).expect(0).json().remove(0);
    assert_eq!(all["collections"], serde_json::json!(["few", "many"]));
    assert_eq!(all["bytes"], std::fs::metadata(home.join("all.eyeshot")).unwrap().len());

    // Into an empty data directory.
    run(home, ["collection", "restore", "all.eyeshot", "--data", "other"]).expect(0);
    for (name, hits) in ["many", "few"].iter().zip(&before) {
        let args = ["search", "--json", "-c", name, "--image", "many/1.png", "-t", "100", "--data", "other"];
        assert_eq!(&run(home, args).expect(0).out, hits);
    }
    run(home, ["collection", "check", "--data", "other"]).expect(0);

    // Beside the others, under another name; then it goes on like any collection.
    run(home, ["collection", "restore", "all.eyeshot", "many", "--as", "again"]).expect(0);
    assert_eq!(found(home, "again"), before[0]);
    let model = tiny_clip();
    let args = ["index", "many", "few", "-c", "again", "--json", "--model", model.to_str().unwrap()];
    let summary = run(home, args).expect(0).json().pop().unwrap();
    assert_eq!((summary["unchanged"].as_u64(), summary["indexed"].as_u64()), (Some(5), Some(1)), "{summary}");
    assert_eq!(found(home, "many"), before[0]);
    run(home, ["collection", "drop", "many"]).expect(0);
    run(home, ["collection", "restore", "all.eyeshot", "many"]).expect(0);
    assert_eq!(found(home, "many"), before[0]);
    assert_eq!(run(home, ["collection", "check"]).expect(0).out, "nothing is wrong\n");
}

#[test]
fn mistakes_change_nothing() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    indexed(home);
    let before = found(home, "many");
    run(home, ["collection", "backup", "all.eyeshot"]).expect(0);
    let whole = std::fs::read(home.join("all.eyeshot")).unwrap();
    std::fs::write(home.join("short.eyeshot"), &whole[..whole.len() - 9]).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    std::fs::write(home.join("flipped.eyeshot"), flipped).unwrap();
    std::fs::write(home.join("empty.eyeshot"), b"").unwrap();
    std::fs::write(home.join("text.eyeshot"), b"EYESHOT BACKUP 1 and then nothing").unwrap();
    let check = |args: &[&str], reason: &str| {
        let ran = run(home, [&["collection"], args].concat()).expect(2);
        assert!(ran.err.contains(reason), "{args:?}: {}", ran.err);
    };
    check(&["backup", "all.eyeshot"], "is there already");
    check(&["backup", "new.eyeshot", "none"], "there are: few, many");
    check(&["restore", "all.eyeshot"], "is there already");
    check(&["restore", "all.eyeshot", "many"], "--as NAME");
    check(&["restore", "all.eyeshot", "none"], "no collection named");
    check(&["restore", "all.eyeshot", "--as", "x"], "holds 2 collections");
    check(&["restore", "all.eyeshot", "many", "--as", "a/b"], "letters");
    check(&["check", "none"], "there are: few, many");
    for name in ["short", "flipped", "empty", "text"] {
        check(&["restore", &format!("{name}.eyeshot"), "many", "--as", "x"], "restore another backup");
    }
    assert_eq!(run(home, ["collection", "list", "--json"]).expect(0).json().len(), 2);
    assert_eq!(found(home, "many"), before);
    assert!(!home.join("new.eyeshot").exists() && !home.join("new.eyeshot.partial").exists());
}

#[test]
fn compaction_gives_space_back_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    indexed(home);
    let before = found(home, "many");
    for _ in 0..3 {
        run(home, ["collection", "drop", "few"]).expect(0);
        let model = tiny_clip();
        run(home, ["index", "few", "-c", "few", "--model", model.to_str().unwrap()]).expect(0);
    }
    let done = run(home, ["collection", "compact", "--json"]).expect(0).json().remove(0);
    assert!(done["after"].as_u64().unwrap() <= done["before"].as_u64().unwrap(), "{done}");
    assert_eq!(found(home, "many"), before);
    run(home, ["collection", "check"]).expect(0);
    let dirs =
        std::fs::read_dir(home.join("eyeshot-data")).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir());
    assert_eq!(dirs.count(), 1, "the old generation is gone");
}

#[test]
fn check_lists_what_is_wrong_and_ends_with_one() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    indexed(home);
    assert_eq!(run(home, ["collection", "check", "--json"]).expect(0).out, "");
    // A row taken away behind the program's back: the manifest of the one picture of `few`.
    let rows = file(home, "rows");
    let tree = sled::open(&rows).unwrap();
    let manifests: Vec<_> = tree.scan_prefix(b"M").keys().map(Result::unwrap).collect();
    let few = manifests.iter().find(|k| k.ends_with(b"few/0.png")).unwrap();
    tree.remove(few).unwrap();
    let vectors: Vec<_> = tree.scan_prefix(b"V").keys().map(Result::unwrap).collect();
    tree.remove(vectors.first().unwrap()).unwrap();
    tree.flush().unwrap();
    drop(tree);
    let ran = run(home, ["collection", "check", "--json"]).expect(1);
    let found = ran.json();
    let said = |collection: &str, problem: &str| {
        let is = |f: &&serde_json::Value| {
            f["collection"] == collection && f["problem"].as_str().unwrap().contains(problem)
        };
        assert_eq!(found.iter().filter(is).count(), 1, "{collection}, {problem}: {}", ran.out);
    };
    said("few", "has no manifest");
    said("many", "has 0 image vectors instead of 1");
    assert_eq!(found.len(), 2, "{}", ran.out);
    assert!(ran.err.contains("2 problems"), "{}", ran.err);
    run(home, ["collection", "check", "many"]).expect(1);
}
