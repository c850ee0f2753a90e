//! Captions from pictures: `match`, `caption`, what ingestion does with both, and `eval compositional`. The models learned
//! nothing: what counts here is what is done with what they say.

use crate::common::{picture, run, tiny_clip};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/blip").join(name).display().to_string()
}

fn photos(home: &Path) -> PathBuf {
    let folder = home.join("photos");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, seed) in [("silent.png", 1), ("spoken.png", 2), ("twin.png", 1)] {
        picture(&folder.join(name), seed);
    }
    std::fs::write(folder.join("spoken.txt"), "a cat\na red car\n").unwrap();
    folder
}

fn fields(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn match_and_caption_print_what_scripts_read() {
    let home = tempfile::tempdir().unwrap();
    photos(home.path());
    let (matcher, captioner) = (fixture("matcher"), fixture("captioner"));
    let pair = [
        "match",
        "--matcher",
        &matcher,
        "--text",
        "a cat",
        "--text",
        "a dog",
        "--image",
        "photos/silent.png",
    ];
    let lines =
        run(home.path(), [&pair[..], &["--image", "photos/spoken.png", "--json"]].concat()).expect(0).json();
    assert_eq!(lines.len(), 4);
    for line in &lines {
        assert_eq!(fields(line), ["text", "image", "match", "cosine"]);
        assert!((0.0..=1.0).contains(&line["match"].as_f64().unwrap()), "{line}");
        assert!((-1.0..=1.0).contains(&line["cosine"].as_f64().unwrap()), "{line}");
    }
    assert_ne!(lines[0]["match"], lines[1]["match"], "another text, another probability");
    assert_ne!(lines[0]["match"], lines[2]["match"], "another picture, another probability");

    let names = ["photos/silent.png", "photos/twin.png", "photos/spoken.png"];
    let write = |more: &[&str]| {
        run(home.path(), [&["caption", "--captioner", &captioner, "--json"], &names[..], more].concat())
            .expect(0)
            .json()
    };
    let lines = write(&[]);
    assert_eq!(lines.iter().map(|line| line["image"].as_str().unwrap()).collect::<Vec<_>>(), names);
    assert!(lines.iter().all(|line| fields(line) == ["image", "caption", "token_ids"]));
    assert_eq!(lines[0]["token_ids"], lines[1]["token_ids"], "equal pictures, equal captions");
    for line in write(&["--prompt", "a picture of", "--beams", "1"]) {
        assert!(line["caption"].as_str().unwrap().starts_with("a picture of"), "{line}");
    }

    // One broken picture among several costs no other; alone it is the whole answer.
    std::fs::write(home.path().join("photos/broken.png"), b"no picture").unwrap();
    let args = ["caption", "--captioner", &captioner, "photos/broken.png", "photos/silent.png", "--json"];
    let ran = run(home.path(), args).expect(3);
    assert_eq!(ran.json().len(), 1);
    assert!(ran.err.contains("photos/broken.png"), "{}", ran.err);

    let check = |args: &[&str], wanted: &str| {
        let ran = run(home.path(), args);
        assert!(ran.code != 0 && ran.err.contains(wanted), "{args:?}: {} {}", ran.code, ran.err);
    };
    check(&["match", "--matcher", &matcher, "--text", " ", "--image", names[0]], "empty");
    check(&["match", "--matcher", &captioner, "--text", "x", "--image", names[0]], "can");
    check(&["caption", "--captioner", &matcher, names[0]], "can");
    check(&["match", "--matcher", tiny_clip().to_str().unwrap(), "--text", "x", "--image", names[0]], "clip");
    check(&["match", "--matcher", &matcher, "--text", "x", "--image", "photos/none.png"], "none.png");
}

#[test]
fn ingestion_writes_what_is_missing_and_judges_what_is_there() {
    let home = tempfile::tempdir().unwrap();
    photos(home.path());
    let (clip, matcher, captioner) =
        (tiny_clip().display().to_string(), fixture("matcher"), fixture("captioner"));
    let index = |more: &[&str]| {
        let models = ["--model", &clip, "--matcher", &matcher, "--captioner", &captioner];
        run(home.path(), [&["index", "photos", "--json"], &models[..], more].concat())
            .expect(0)
            .json()
            .pop()
            .unwrap()
    };
    let items = || -> Vec<(String, Vec<String>, Value)> {
        let hits = run(home.path(), ["search", "a cat", "--json"]).expect(0).json();
        let mut items: Vec<_> = hits
            .into_iter()
            .map(|hit| {
                let captions =
                    hit["captions"].as_array().unwrap().iter().map(|c| c.as_str().unwrap().to_owned());
                (
                    hit["key"].as_str().unwrap().rsplit('/').next().unwrap().to_owned(),
                    captions.collect(),
                    hit["payload"].clone(),
                )
            })
            .collect();
        items.sort_by(|a, b| a.0.cmp(&b.0));
        items
    };
    let summary = index(&["--captions", "blip"]);
    assert_eq!(
        summary["captions"],
        json!({"written": 2, "kept": 0, "replaced": 0, "dropped": 0}),
        "{summary}"
    );
    let written = run(home.path(), ["caption", "--captioner", &captioner, "photos/silent.png", "--json"])
        .expect(0)
        .json();
    let written = written[0]["caption"].as_str().unwrap().trim().to_owned();
    let found = items();
    assert_eq!(found[0].1, std::slice::from_ref(&written), "silent.png says what `caption` says");
    assert_eq!(found[1].1, ["a cat", "a red car"], "who has captions keeps them");
    assert_eq!(found[2].1, [written], "known bytes are described too");
    assert_eq!((&found[0].2["caption_model"], &found[1].2), (&json!(captioner), &json!({})));
    assert_eq!(index(&["--captions", "blip"])["unchanged"], 3, "a second run writes nothing");

    // The least probability decides: with 0 all is kept, with 1 nothing is.
    let summary = index(&["--captions", "capfilt", "--keep-match", "0"]);
    assert_eq!(
        (&summary["captions"]["kept"], &summary["captions"]["written"]),
        (&json!(2), &json!(2)),
        "{summary}"
    );
    let summary = index(&["--captions", "capfilt", "--keep-match", "1"]);
    assert_eq!(
        summary["captions"],
        json!({"written": 0, "kept": 0, "replaced": 0, "dropped": 4}),
        "{summary}"
    );
    let found = items();
    assert!(found.iter().all(|(_, captions, _)| captions.is_empty()), "{found:?}");
    let verdicts = found[1].2["capfilt"].as_array().unwrap();
    assert_eq!(fields(&verdicts[0]), ["caption", "match", "verdict", "reason"]);
    assert_eq!((&verdicts[0]["caption"], &verdicts[1]["caption"]), (&json!("a cat"), &json!("a red car")));
    let dropped = [
        "search",
        "a cat",
        "--filter",
        "capfilt.verdict = dropped and capfilt.caption = \"a cat\"",
        "--json",
    ];
    assert_eq!(run(home.path(), dropped).expect(0).json().len(), 1);

    // Between the two: what is kept matches at least so well, and the rest does not.
    let p = |verdict: &Value| verdict["match"].as_f64().unwrap();
    let (high, low) = (p(&verdicts[0]).max(p(&verdicts[1])), p(&verdicts[0]).min(p(&verdicts[1])));
    index(&["--captions", "capfilt", "--keep-match", &((high + low) / 2.0).to_string()]);
    let verdicts = items()[1].2["capfilt"].as_array().unwrap().clone();
    let kept: Vec<bool> = verdicts.iter().map(|verdict| verdict["verdict"] == "kept").collect();
    assert_eq!(kept, [p(&verdicts[0]) == high, p(&verdicts[1]) == high], "{verdicts:?}");

    let none =
        ["index", "photos", "--captions", "none,capfilt", "--matcher", &matcher, "--captioner", &captioner];
    assert!(run(home.path(), none).expect(2).err.contains("none,blip"));
    assert!(
        run(home.path(), ["index", "photos", "--captions", "blip"]).expect(2).err.contains("--captioner")
    );
}

#[test]
fn compositional_reports_every_stage_and_its_controls() {
    let home = tempfile::tempdir().unwrap();
    let sets = home.path().join("sets");
    std::fs::create_dir(&sets).unwrap();
    for at in 0..16u32 {
        let (set, answer) = (at / 4, at % 4);
        picture(&sets.join(format!("{at:02}.png")), at + 1);
        let contrast = if set < 2 { "relation" } else { "count" };
        let choices: Vec<String> = (0..4).map(|n| format!("choice {n} of set {set}")).collect();
        let card = json!({"set": set, "contrast": contrast, "choices": choices, "answer": answer});
        std::fs::write(sets.join(format!("{at:02}.json")), card.to_string()).unwrap();
    }
    let (clip, matcher) = (tiny_clip().display().to_string(), fixture("matcher"));
    let args = ["eval", "compositional", "sets", "--model", &clip, "--matcher", &matcher, "--json"];
    let rows = run(home.path(), args).expect(0).json();
    assert_eq!(rows.len(), 4 * 3 * 3, "stages, controls, and two contrasts with their sum");
    for row in &rows {
        let share = |name: &str| row[name].as_f64().unwrap();
        assert!(share("set") <= share("both") && share("both") <= share("individual"), "{row}");
        assert_eq!(row["n"], if row["contrast"] == "all" { 16 } else { 8 });
        assert_eq!(row.get("ece").is_some(), row["stage"] == "blip-itm" && row["images"] == "own");
        if row["images"] == "blank" {
            // Shown the same for each, a model says the same for each: right for one picture of a set, exactly.
            assert_eq!((share("individual"), share("pair")), (0.25, 0.5), "{row}");
        }
    }
    let stages: Vec<&str> =
        rows.iter().step_by(3).take(4).map(|row| row["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["clip", "blip-itc", "blip-itm", "fused"]);
}
