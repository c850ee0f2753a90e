//! The demo matcher on scenes that it never saw: what reranking and CapFilt are worth.

use crate::common::Dice;
use eyeshot::engine::{
    Collection, Engine, EngineOptions, Features, ModelOptions, decode, load_captioner, load_matcher,
};
use eyeshot::ingest::{self, Cancel, IndexOptions, Silent};
use eyeshot::models;
use eyeshot::types::{Hit, Query, Rerank, Term, TermKind};
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

fn assets(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name)
}

fn options() -> ModelOptions {
    ModelOptions { offline: true, ..ModelOptions::default() }
}

fn indexed(home: &Path, folder: &Path) -> (Engine, Arc<Collection>) {
    let progress = Arc::new(models::Silent);
    let engine = Engine::open(EngineOptions { data: home.to_owned(), models: options(), progress }).unwrap();
    let collection = engine.collection_or_new("demo", None).unwrap();
    ingest::index(&collection, &[folder], &IndexOptions::default(), &Silent, &Cancel::default()).unwrap();
    (engine, collection)
}

fn ask(collection: &Collection, text: &str, rerank: Option<f32>) -> Vec<Hit> {
    let mut query = Query::new(vec![Term { kind: TermKind::Text(text.into()), weight: 1.0 }]);
    query.rerank = rerank.map(|least| Rerank {
        budget: Duration::from_secs(600),
        min_match: (least > 0.0).then_some(least),
        ..Rerank::default()
    });
    collection.query(&query).unwrap()
}

#[test]
fn reranking_tells_left_from_right() {
    let home = tempfile::tempdir().unwrap();
    let (_engine, collection) = indexed(home.path(), &assets("sets"));
    let (mut asked, mut before, mut after) = (0, 0, 0);
    for item in collection.items().map(|item| item.unwrap()) {
        if item.payload["contrast"] != "relation" {
            continue;
        }
        let answer = item.payload["answer"].as_u64().unwrap() as usize;
        let text = item.payload["choices"][answer].as_str().unwrap();
        asked += 1;
        before += u32::from(ask(&collection, text, None)[0].id == item.id);
        let hits = ask(&collection, text, Some(0.0));
        after += u32::from(hits[0].id == item.id);
        // The picture of the opposite shows the same things, and matches less.
        let opposite = hits
            .iter()
            .find(|hit| hit.payload["set"] == item.payload["set"] && hit.payload["answer"] == (answer ^ 1));
        let own = hits.iter().find(|hit| hit.id == item.id).unwrap();
        if let Some(opposite) = opposite {
            assert!(own.matched > opposite.matched, "{text}: {:?} {:?}", own.matched, opposite.matched);
        }
    }
    println!("{asked} relations: {before} first by cosine, {after} reranked");
    assert!(asked == 16 && after >= 14 && after > before, "{before} and {after} of {asked}");
}

#[test]
fn nonsense_has_no_good_match() {
    let home = tempfile::tempdir().unwrap();
    let (_engine, collection) = indexed(home.path(), &assets("sets"));
    for text in [
        "quarterly tax report",
        "the meaning of liberty",
        "xylophone quantum invoice",
        "seven purple submarines",
    ] {
        assert!(!ask(&collection, text, None).is_empty(), "cosines always give something");
        assert_eq!(ask(&collection, text, Some(0.5)), [], "{text}");
    }
    assert!(!ask(&collection, "a book to the left of a giraffe", Some(0.5)).is_empty());
}

/// Pictures of the shipped scenes as the matcher sees them, and what is said of each.
fn scenes(count: usize, look: impl Fn(&image::RgbImage) -> Features) -> Vec<(Features, Vec<String>, Value)> {
    let scene = |at: usize| {
        let file = assets("scenes").join(format!("{:04}.jpg", at + 1));
        let said: Value =
            serde_json::from_slice(&std::fs::read(file.with_extension("json")).unwrap()).unwrap();
        let image = decode::decode(&std::fs::read(&file).unwrap(), &decode::Limits::default()).unwrap().image;
        let captions = said["captions"].as_array().unwrap().iter().map(|c| c.as_str().unwrap().to_owned());
        (look(&image), captions.collect(), said)
    };
    (0..count).map(scene).collect()
}

#[test]
fn swapped_captions_are_told_from_true_ones() {
    let blip = load_matcher("demo", &options(), &models::Silent).unwrap();
    let scenes = scenes(120, |image| blip.look(&[blip.prepare(image).unwrap()]).unwrap().remove(0));
    let mut dice = Dice(7);
    let objects = |said: &Value| -> HashSet<String> {
        said["objects"].as_array().unwrap().iter().map(|o| o.as_str().unwrap().to_owned()).collect()
    };
    let (mut right, mut wrong) = (vec![], vec![]);
    for (features, captions, said) in &scenes {
        let swapped = dice.roll(10) < 3;
        let text = match swapped {
            false => &captions[0],
            // One that speaks of other things altogether, so that it is surely wrong.
            true => loop {
                let other = &scenes[dice.roll(scenes.len() as u64) as usize];
                if objects(&other.2).is_disjoint(&objects(said)) {
                    break &other.1[0];
                }
            },
        };
        let p = blip.matches(&[(features, text.as_str())]).unwrap()[0];
        if swapped { wrong.push(p) } else { right.push(p) }
    }
    let above = right.iter().flat_map(|r| {
        wrong.iter().map(move |w| {
            if r > w {
                1.0
            } else if r == w {
                0.5
            } else {
                0.0
            }
        })
    });
    let auc = above.sum::<f64>() / (right.len() * wrong.len()) as f64;
    println!("{} right, {} swapped: ROC AUC {auc:.4}", right.len(), wrong.len());
    assert!(wrong.len() >= 20 && auc >= 0.95, "{auc}");
}

#[test]
fn captions_name_what_is_shown() {
    let blip = load_captioner("demo", &options(), &models::Silent).unwrap();
    let scenes = scenes(60, |image| blip.look(&[blip.prepare(image).unwrap()]).unwrap().remove(0));
    let concepts: Value = serde_json::from_slice(&std::fs::read(assets("concepts.json")).unwrap()).unwrap();
    let forms = |name: &str| -> Vec<String> {
        let all = concepts.as_array().or_else(|| concepts["concepts"].as_array()).unwrap();
        let concept = all.iter().find(|concept| concept["name"] == name).unwrap();
        let forms = concept["forms"].as_object().unwrap();
        forms
            .iter()
            .flat_map(|(word, forms)| [word.clone(), forms[1].as_str().unwrap_or(word).to_owned()])
            .collect()
    };
    let (mut named, mut asked) = (0, 0);
    for (features, _, said) in &scenes {
        let caption = blip.caption(&[features], &models::Decoding::beam(3)).unwrap().remove(0).text;
        for object in said["objects"].as_array().unwrap() {
            asked += 1;
            named +=
                u32::from(forms(object.as_str().unwrap()).iter().any(|word| caption.contains(word.as_str())));
        }
    }
    println!("{named} of {asked} objects are named");
    assert!(f64::from(named) >= 0.8 * f64::from(asked), "{named} of {asked}");
}
