//! The demo model on the images that ship: the main job as a newcomer first sees it.

use crate::common::run;
use serde_json::Value;

#[test]
fn the_demo_finds_what_it_asks_for_from_any_folder() {
    let home = tempfile::tempdir().unwrap();
    let lines = run(home.path(), ["demo", "--once", "--json"]).expect(0).json();
    assert_eq!(lines[0]["indexed"], 300, "{}", lines[0]);

    let asked: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].get("query").is_some()).collect();
    assert!(asked.len() >= 4, "{} queries", asked.len());
    let objects = |hit: &Value| hit["payload"]["objects"].to_string();
    let first = |query: &str| {
        let at = asked
            .iter()
            .find(|at| lines[**at]["query"] == query)
            .unwrap_or_else(|| panic!("{query} was not asked"));
        lines[at + 1].clone()
    };
    for (query, object) in [("two koalas", "koala"), ("rockets at night", "rocket"), ("pizza", "pizza")] {
        let hit = first(query);
        assert!(objects(&hit).contains(object), "{query}: {hit}");
    }
    let both = objects(&first("a unicorn next to a kangaroo"));
    assert!(both.contains("unicorn") && both.contains("kangaroo"), "{both}");
    assert_eq!(first("rockets at night")["payload"]["background"], "night");

    // To the encoder both orders are one; the matcher knows which of them the picture shows.
    let ordered = |text: &str, rerank: bool| {
        let at =
            asked.iter().find(|at| lines[**at]["query"] == text && lines[**at]["rerank"] == rerank).unwrap();
        lines[at + 1].clone()
    };
    let (wrong, right) = ("a penguin left of a fire extinguisher", "a fire extinguisher left of a penguin");
    assert_eq!(ordered(wrong, false)["key"], ordered(right, false)["key"]);
    assert_eq!(ordered(right, true)["key"], ordered(right, false)["key"]);
    assert!(ordered(right, true)["match"].as_f64().unwrap() > 0.9, "{}", ordered(right, true));
    let instead = ordered(wrong, true);
    assert!(
        instead["key"] != ordered(right, true)["key"] || instead["match"].as_f64().unwrap() < 0.1,
        "{instead}"
    );

    let again = run(home.path(), ["demo", "--once", "--json"]).expect(0).json();
    assert_eq!(again[0]["unchanged"], 300, "a second demo embeds nothing: {}", again[0]);
}

#[test]
fn the_demo_model_retrieves_scenes_it_never_saw() {
    let home = tempfile::tempdir().unwrap();
    let report = run(home.path(), ["eval", "retrieval", "--json"]).expect(0).json().pop().unwrap();
    let share = |name: &str| report[name].as_f64().unwrap();
    assert!(report["queries"].as_u64().unwrap() >= 300, "{report}");
    assert!(share("r1") >= 0.85 && share("r10") >= 0.98 && share("i2i_r10") >= 0.95, "{report}");
}
