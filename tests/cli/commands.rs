//! The program as a user runs it: what it prints, and how it ends.

use crate::common::{Ran, eyeshot, picture, run, tiny_clip};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;

/// A folder with three pictures, two of them with captions, indexed with the tiny model.
fn indexed(home: &Path) -> Ran {
    let folder = home.join("pictures");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, seed) in [("one.png", 1), ("two.jpg", 2), ("three.webp", 3)] {
        picture(&folder.join(name), seed);
    }
    std::fs::write(folder.join("one.txt"), "a cat\na small cat\n").unwrap();
    let said = r#"{"captions": ["a dog"], "background": "blue", "count": 2}"#;
    std::fs::write(folder.join("two.json"), said).unwrap();
    index(home)
}

fn index(home: &Path) -> Ran {
    run(home, ["index", "pictures", "--json", "--model", tiny_clip().to_str().unwrap()])
}

fn fields(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn index_then_search_with_the_fields_that_scripts_read() {
    let home = tempfile::tempdir().unwrap();
    let summary = indexed(home.path()).expect(0).json().pop().unwrap();
    assert_eq!(fields(&summary), ["indexed", "unchanged", "removed", "duplicates", "refused", "seconds"]);
    assert_eq!((summary["indexed"].as_u64(), summary["duplicates"].as_u64()), (Some(3), Some(0)));

    let again = index(home.path()).expect(0).json().pop().unwrap();
    assert_eq!(again["unchanged"], 3, "a second run embeds nothing: {again}");

    let by_image = run(home.path(), ["search", "--image", "pictures/two.jpg", "--json"]).expect(0).json();
    assert_eq!(by_image.len(), 3);
    assert_eq!(fields(&by_image[0]), ["rank", "id", "key", "score", "match", "captions", "payload"]);
    assert!(by_image[0]["key"].as_str().unwrap().ends_with("/pictures/two.jpg"));
    // Scores come from 12-bit codes: with the tiny model's 24 components they are good to three digits.
    assert!((by_image[0]["score"].as_f64().unwrap() - 1.0).abs() < 5e-4, "{}", by_image[0]);
    assert_eq!(by_image[0]["payload"]["background"], "blue");
    let scores: Vec<f64> = by_image.iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");

    let id = by_image[0]["id"].to_string();
    let by_id = run(home.path(), ["search", "--image", &format!("id:{id}"), "--json"]).expect(0).json();
    assert_eq!(by_id[0]["key"], by_image[0]["key"]);

    let show = run(home.path(), ["collection", "show", "default", "--json"]).expect(0).json().pop().unwrap();
    assert_eq!(fields(&show), ["name", "items", "spaces", "bytes"]);
    assert_eq!(fields(&show["spaces"][0]), ["model", "modality", "dim", "vectors"]);
    let counts: Vec<u64> = [0, 1].iter().map(|i| show["spaces"][i]["vectors"].as_u64().unwrap()).collect();
    assert_eq!((show["items"].as_u64(), counts), (Some(3), vec![3, 3]));
}

#[test]
fn a_collection_keeps_the_codes_that_it_was_made_with() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path()).expect(0);
    let (made, model) =
        (["index", "pictures", "--collection", "small", "--codes", "int4", "--model"], tiny_clip());
    run(home.path(), made.into_iter().chain(model.to_str())).expect(0);
    let show = |name: &str| {
        let shown = run(home.path(), ["collection", "show", name, "--json"]).expect(0).json().pop().unwrap();
        shown["spaces"][0]["codes"].clone()
    };
    assert_eq!((show("default"), show("small")), (serde_json::Value::Null, "int4".into()));
    let best = |name: &str| {
        let found = ["search", "--image", "pictures/two.jpg", "--collection", name, "--json"];
        run(home.path(), found).expect(0).json().swap_remove(0)["key"].clone()
    };
    assert_eq!(best("default"), best("small"));
    // What is there already stays as it is.
    let other = run(home.path(), ["index", "pictures", "--collection", "small", "--codes", "int8"]).expect(2);
    assert!(other.err.contains("int4"), "{}", other.err);
    run(home.path(), ["index", "pictures", "--codes", "int5"]).expect(2);
    let shadow = ["index", "--shadow", "--model", "demo", "--collection", "small", "--codes"];
    run(home.path(), shadow.iter().copied().chain(["int8"])).expect(2);
    run(home.path(), shadow.iter().copied().chain(["int4"])).expect(0);
    let shown = run(home.path(), ["collection", "show", "small", "--json"]).expect(0).json().pop().unwrap();
    assert_eq!(shown["shadow"][0]["codes"], "int4", "{shown}");
}

#[test]
fn queries_compose_and_conditions_hold() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path()).expect(0);
    let keys = |args: &[&str]| -> Vec<String> {
        let hits = run(home.path(), [&["search", "--json"], args].concat()).expect(0).json();
        hits.iter().map(|h| h["key"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&["a", "cat", "+", "2:dog", "-", "grass", "-t", "2"]).len(), 2);
    assert_eq!(keys(&["--image", "pictures/one.png", "--filter", "background = blue"]), ["two.jpg"]);
    assert_eq!(keys(&["cat", "--filter", "format = webp or caption contains CAT"]).len(), 2);
    assert_eq!(keys(&["cat", "--filter", "width > 48"]), [""; 0]);
    assert_eq!(keys(&["--image", "pictures/one.png", "--min-score", "0.999"]), ["one.png"]);
    assert_eq!(keys(&["a cat", "--side", "caption", "-t", "1"]), ["one.png"]);
    assert_eq!(keys(&["a dog", "--side", "caption", "-t", "1"]), ["two.jpg"]);
    let weighed = keys(&["--image", "pictures/one.png", "--plus", "5:pictures/three.webp", "-t", "1"]);
    assert_eq!(weighed, ["three.webp"]);
    let pages = [keys(&["cat", "-t", "2"]), keys(&["cat", "-t", "2", "--offset", "2"])].concat();
    assert_eq!(pages, keys(&["cat"]));
    let files = run(home.path(), ["search", "cat", "-f"]).expect(0).out;
    assert!(files.lines().count() == 3 && files.lines().all(|path| Path::new(path).is_file()), "{files}");
}

#[test]
fn embeddings_are_unit_vectors_in_the_order_given() {
    let home = tempfile::tempdir().unwrap();
    picture(&home.path().join("a.png"), 1);
    let model = tiny_clip();
    let args = [
        "embed",
        "--json",
        "--model",
        model.to_str().unwrap(),
        "--text",
        "a",
        "--image",
        "a.png",
        "--text",
        "b",
    ];
    let lines = run(home.path(), args).expect(0).json();
    let inputs: Vec<_> =
        lines.iter().map(|l| (l["kind"].as_str().unwrap(), l["input"].as_str().unwrap())).collect();
    assert_eq!(inputs, [("text", "a"), ("image", "a.png"), ("text", "b")]);
    for line in &lines {
        assert_eq!(fields(line), ["model", "dim", "kind", "input", "embedding"]);
        let vector: Vec<f64> =
            line["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        assert_eq!(vector.len() as u64, line["dim"].as_u64().unwrap());
        assert!((vector.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5);
    }
}

#[test]
fn mistakes_are_named_and_end_with_two() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path()).expect(0);
    let check = |args: &[&str], reason: &str| {
        let ran = run(home.path(), args).expect(2);
        assert!(ran.err.contains(reason), "{args:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{args:?}");
    };
    check(&["search", "cat", "-c", "missing"], "there are: default");
    check(&["search"], "the query is empty");
    check(&["search", "  "], "the query is empty");
    check(&["search", "-", "cat"], "pushes away");
    check(&["search", "cat", "-t", "0"], "at least 1");
    check(&["search", "cat", "--filter", "width > tall"], "no number");
    check(&["search", "cat", "--filter", "backgroun = blue"], "background");
    check(&["search", "cat", "--filter", "count = many"], "type");
    check(&["search", "--image", "missing.png"], "missing.png");
    check(&["search", "--image", "id:99"], "no item named \"99\"");
    check(&["search", "--image", "id:x"], "id:7");
    check(&["index", "missing-folder"], "missing-folder");
    check(&["index", "pictures", "-c", "a/b"], "letters");
    let other = tiny_clip().with_file_name("sharded");
    let other = other.to_str().unwrap();
    check(&["index", "pictures", "--model", other], "fixtures/clip/gelu\", not of");
    check(&["index", "pictures", "--model", other], "fixtures/clip/sharded");
    check(&["embed"], "nothing to embed");
    check(&["nonsense"], "nonsense");
}

#[test]
fn what_is_refused_is_listed_and_ends_with_three() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path()).expect(0);
    std::fs::write(home.path().join("pictures/empty.jpg"), b"").unwrap();
    std::fs::write(home.path().join("pictures/text.jpg"), b"hello").unwrap();
    let ran = run(home.path(), ["index", "pictures", "--json"]).expect(3);
    let refused = ran.json().pop().unwrap()["refused"].clone();
    let keys: Vec<&str> = refused.as_array().unwrap().iter().map(|r| r["key"].as_str().unwrap()).collect();
    assert!(keys.len() == 2 && keys[0].ends_with("empty.jpg") && keys[1].ends_with("text.jpg"), "{refused}");
    assert!(ran.err.contains("refused") && ran.err.contains("text.jpg"), "{}", ran.err);
}

#[test]
fn the_index_is_measured_on_the_collections_own_captions() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path()).expect(0);
    let lines = run(home.path(), ["eval", "ann", "--json", "--ef", "16,32", "-k", "2"]).expect(0).json();
    assert_eq!(lines.len(), 3, "a line for each ef, then one for all: {lines:?}");
    for (line, ef) in lines.iter().zip([16, 32]) {
        assert_eq!(fields(line), ["ef", "recall", "qps", "p50_us", "p99_us"]);
        assert_eq!((line["ef"].as_u64(), line["recall"].as_f64()), (Some(ef), Some(1.0)), "{line}");
    }
    assert_eq!((lines[2]["queries"].as_u64(), lines[2]["recommended_ef"].as_u64()), (Some(3), Some(16)));
    run(home.path(), ["eval", "ann", "--ef", "0"]).expect(2);
    run(home.path(), ["eval", "ann", "-c", "missing"]).expect(2);
}

#[test]
fn flags_have_twins_in_the_environment() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path()).expect(0);
    let lines = |json: &str| {
        let set = [("EYESHOT_JSON", json), ("EYESHOT_TOP", "1"), ("EYESHOT_FILTER", "background = blue")];
        let output = eyeshot(home.path()).envs(set).args(["search", "cat"]).output().unwrap();
        assert!(output.status.success(), "{json:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for yes in ["1", "true"] {
        assert!(lines(yes).starts_with("{\"rank\":1"), "{yes}");
    }
    for no in ["0", "false", ""] {
        assert!(lines(no).starts_with("   1  "), "{no}");
    }
}

#[test]
fn collections_are_listed_and_dropped() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path()).expect(0);
    let list = run(home.path(), ["collection", "list", "--json"]).expect(0).json();
    assert_eq!(list.iter().map(|c| c["name"].as_str().unwrap()).collect::<Vec<_>>(), ["default"]);
    run(home.path(), ["collection", "drop", "default"]).expect(0);
    assert_eq!(run(home.path(), ["collection", "list", "--json"]).expect(0).out, "");
    run(home.path(), ["collection", "show", "default"]).expect(2);
    let summary = indexed(home.path()).expect(0).json().pop().unwrap();
    assert_eq!(summary["indexed"], 3, "nothing of the dropped one is left");
}

#[test]
fn a_second_process_is_told_that_the_data_is_in_use() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path()).expect(0);
    let store = eyeshot::store::Store::open(&home.path().join("eyeshot-data")).unwrap();
    let ran = run(home.path(), ["search", "cat"]).expect(1);
    assert!(ran.err.contains("in use by another eyeshot process"), "{}", ran.err);
    drop(store);
    run(home.path(), ["search", "cat"]).expect(0);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path()).expect(0);
    let mut child = eyeshot(home.path())
        .args(["search", "cat"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && !said.contains("panicked"), "{said}");
}

#[test]
fn retrieval_is_measured_on_any_folder() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path()).expect(0);
    let model = tiny_clip();
    let args = ["eval", "retrieval", "pictures", "--json", "--model", model.to_str().unwrap()];
    let report = run(home.path(), args).expect(0).json().pop().unwrap();
    assert_eq!(report["queries"], 3);
    assert_eq!(report["r10"], 1.0, "three pictures are all among the first ten: {report}");

    let queries = r#"{"image": "pictures/one.png", "relevant": ["pictures/two.jpg", "pictures/three.webp"]}"#;
    std::fs::write(home.path().join("queries.jsonl"), queries).unwrap();
    let args = ["eval", "retrieval", ".", "--json", "--model", model.to_str().unwrap()];
    let report = run(home.path(), args).expect(0).json().pop().unwrap();
    assert_eq!((report["i2i_queries"].as_u64(), report["i2i_r10"].as_f64()), (Some(1), Some(1.0)));
    assert_eq!(report["r1"], Value::Null);
}
