//! Reranking as a whole: what is looked at, what it does to the order, and what becomes of pictures that are gone.

use crate::common::{picture, tiny_clip};
use eyeshot::engine::{
    Caller, Collection, Engine, EngineOptions, MatchOptions, ModelOptions, Serving, decode, fused,
    load_matcher,
};
use eyeshot::ingest::{self, Cancel, IndexOptions, Silent};
use eyeshot::types::{Hit, Query, Rerank, Side, Term, TermKind, uri};
use eyeshot::{Error, models};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Enough pictures that looking goes on in several portions.
const PICTURES: u32 = 21;

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).display().to_string()
}

fn matcher() -> String {
    fixture("blip/matcher")
}

fn options() -> ModelOptions {
    ModelOptions { offline: true, ..ModelOptions::default() }
}

fn engine(data: &Path, matcher: &str, features: u64) -> Engine {
    let progress = Arc::new(models::Silent);
    let matching = MatchOptions { matcher: Some(matcher.to_owned()), features };
    let options = EngineOptions { data: data.to_owned(), models: options(), progress };
    Engine::open_serving(options, Serving { matching, ..Serving::default() }).unwrap()
}

/// Pictures that nobody can describe, indexed by a model and looked at by a matcher that learned nothing: what counts here is
/// what is done with the numbers.
struct World {
    home: tempfile::TempDir,
    engine: Engine,
    collection: Arc<Collection>,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let photos = home.path().join("photos");
        std::fs::create_dir(&photos).unwrap();
        (0..PICTURES).for_each(|seed| picture(&photos.join(format!("{seed:02}.png")), seed + 1));
        let engine = engine(&home.path().join("data"), &matcher(), 1 << 20);
        let collection = engine.collection_or_new("c", Some(tiny_clip().to_str().unwrap())).unwrap();
        ingest::index(&collection, &[&photos], &IndexOptions::default(), &Silent, &Cancel::default())
            .unwrap();
        World { home, engine, collection }
    }

    fn path(&self, seed: u32) -> PathBuf {
        self.home.path().canonicalize().unwrap().join(format!("photos/{seed:02}.png"))
    }

    fn ask(&self, text: &str, rerank: Option<Rerank>) -> Vec<Hit> {
        self.collection.query(&query(&[(text, 1.0)], rerank)).unwrap()
    }
}

fn query(texts: &[(&str, f32)], rerank: Option<Rerank>) -> Query {
    let term = |(text, weight): &(&str, f32)| Term { kind: TermKind::Text((*text).into()), weight: *weight };
    let mut query = Query::new(texts.iter().map(term).collect());
    query.limit = 100;
    query.rerank = rerank;
    query
}

fn all() -> Option<Rerank> {
    Some(Rerank { budget: Duration::from_secs(600), ..Rerank::default() })
}

fn keys(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.key.as_str()).collect()
}

#[test]
fn hits_are_ordered_by_what_the_matcher_says_of_each() {
    let world = World::new();
    let blip = load_matcher(&matcher(), &options(), &models::Silent).unwrap();
    let told = |key: &str, text: &str| -> f32 {
        let bytes = std::fs::read(uri::uri_to_path(key).unwrap()).unwrap();
        let image = decode::decode(&bytes, &decode::Limits::default()).unwrap().image;
        let features = blip.look(&[blip.prepare(&image).unwrap()]).unwrap().remove(0);
        blip.matches(&[(&features, text)]).unwrap()[0]
    };
    let (before, hits) = (world.ask("a red car", None), world.ask("a red car", all()));
    assert_eq!(hits.len(), PICTURES as usize);
    for hit in &hits {
        let (said, alone) = (hit.matched.unwrap(), told(&hit.key, "a red car"));
        assert!((said - alone).abs() < 2e-3, "{}: {said}, alone {alone}", hit.key);
        let same = before.iter().find(|other| other.id == hit.id).unwrap();
        assert_eq!(hit.score, same.score, "the score stays the cosine");
    }
    let ranks: Vec<f32> = hits.iter().map(|hit| fused(hit.matched.unwrap(), hit.score)).collect();
    assert!(ranks.is_sorted_by(|a, b| a >= b), "{ranks:?}");
    assert_ne!(keys(&before), keys(&hits), "the matcher has its own mind");
    assert_eq!(hits, world.ask("a red car", all()), "remembered pictures give the same");

    // A negative term counts against, and weights count as their share of the largest.
    let mut terms = query(&[("a red car", 2.0), ("snow", -1.0)], all());
    for hit in world.collection.query(&terms).unwrap() {
        let wanted = told(&hit.key, "a red car") * (1.0 - told(&hit.key, "snow")).sqrt();
        assert!((hit.matched.unwrap() - wanted).abs() < 2e-3, "{}", hit.key);
    }
    // Pictures among the terms shape the cosine and are not matched.
    let bytes = std::fs::read(world.path(3)).unwrap();
    terms.terms = vec![
        Term { kind: TermKind::Image(bytes), weight: 1.0 },
        Term { kind: TermKind::Text("a red car".into()), weight: 0.5 },
    ];
    let hits = world.collection.query(&terms).unwrap();
    assert!((hits[0].matched.unwrap() - told(&hits[0].key, "a red car")).abs() < 2e-3);
}

#[test]
fn what_is_not_looked_at_keeps_its_order_behind_the_rest() {
    let world = World::new();
    let before = world.ask("a cat", None);
    let check = |rerank: Rerank, looked: usize| {
        let hits = world.ask("a cat", Some(rerank));
        assert_eq!(hits.len(), before.len());
        assert!(hits[..looked].iter().all(|hit| hit.matched.is_some()));
        assert!(hits[looked..].iter().all(|hit| hit.matched.is_none() && hit.unmatched.is_none()));
        assert_eq!(keys(&hits[looked..]), keys(&before[looked..]));
        let mut first = [keys(&hits[..looked]), keys(&before[..looked])];
        first.iter_mut().for_each(|keys| keys.sort_unstable());
        assert_eq!(first[0], first[1]);
    };
    check(Rerank { top: 5, ..all().unwrap() }, 5);
    check(Rerank { top: 1, ..all().unwrap() }, 1);
    check(Rerank { top: 1000, ..all().unwrap() }, PICTURES as usize);
    check(Rerank { budget: Duration::MAX, ..Rerank::default() }, PICTURES as usize);
    // Pages are cut out of the same order, whichever is asked for.
    let whole = world.ask("a cat", all());
    let mut page = query(&[("a cat", 1.0)], all());
    (page.offset, page.limit) = (3, 4);
    assert_eq!(world.collection.query(&page).unwrap(), whole[3..7]);
}

#[test]
fn time_that_is_over_leaves_the_rest_unseen() {
    let world = World::new();
    world.ask("a dog", all());
    // With no time at all the first few are looked at, and no hit is lost.
    let hits = world.ask("a dog", Some(Rerank { budget: Duration::ZERO, ..Rerank::default() }));
    assert_eq!(hits.len(), PICTURES as usize);
    assert_eq!(hits.iter().filter(|hit| hit.matched.is_some()).count(), 8);
    // A caller who has left costs nothing and gets nothing.
    let caller = Caller::default();
    caller.leave();
    let left = world.collection.query_for(&query(&[("a dog", 1.0)], all()), &caller);
    assert!(matches!(left, Err(Error::Cancelled)));
}

#[test]
fn a_picture_that_is_gone_costs_no_other() {
    let world = World::new();
    let hits = world.ask("a boat", all());
    let (gone, changed) = (world.path(4), world.path(9));
    // What was seen is remembered, by its bytes, even when the file is gone: another engine has seen nothing.
    std::fs::remove_file(&gone).unwrap();
    assert_eq!(keys(&world.ask("a boat", all())), keys(&hits));
    picture(&changed, 99);
    let data = world.home.path().join("data");
    let World { home, engine: held, collection } = world;
    drop((held, collection));
    let collection = engine(&data, &matcher(), 0).collection("c").unwrap();
    let hits = collection.query(&query(&[("a boat", 1.0)], all())).unwrap();
    assert_eq!(hits.len(), PICTURES as usize);
    let (seen, unseen) = hits.split_at(hits.len() - 2);
    assert!(seen.iter().all(|hit| hit.matched.is_some() && hit.unmatched.is_none()));
    for hit in unseen {
        let why = hit.unmatched.as_deref().unwrap();
        let wanted = if hit.key.ends_with("/04.png") { "gone" } else { "changed" };
        assert!(hit.matched.is_none() && why.contains(wanted), "{}: {why}", hit.key);
    }
    // Who asks for a probability does not get hits that have none.
    let some = Rerank { min_match: Some(0.0), ..all().unwrap() };
    let hits = collection.query(&query(&[("a boat", 1.0)], Some(some))).unwrap();
    assert_eq!(hits.len(), PICTURES as usize - 2);
    drop(home);
}

#[test]
fn no_good_match_is_an_answer() {
    let world = World::new();
    let hits = world.ask("a tree", all());
    let middle = fused_median(&hits);
    let least = Rerank { min_match: Some(middle), ..all().unwrap() };
    let better = world.ask("a tree", Some(least));
    let wanted: Vec<&Hit> = hits.iter().filter(|hit| hit.matched.unwrap() >= middle).collect();
    assert!(!better.is_empty() && better.len() < hits.len());
    assert_eq!(better.iter().collect::<Vec<_>>(), wanted);
    let none = Rerank { min_match: Some(1.0), ..all().unwrap() };
    assert_eq!(world.ask("a tree", Some(none)), []);
}

fn fused_median(hits: &[Hit]) -> f32 {
    let mut all: Vec<f32> = hits.iter().map(|hit| hit.matched.unwrap()).collect();
    all.sort_by(f32::total_cmp);
    all[all.len() / 2]
}

#[test]
fn what_cannot_be_reranked_says_so() {
    let world = World::new();
    let check = |query: Query, wanted: &str| {
        let said = world.collection.query(&query).unwrap_err().to_string();
        assert!(said.contains(wanted), "{said}");
    };
    let bytes = std::fs::read(world.path(1)).unwrap();
    let picture =
        Query { rerank: all(), ..Query::new(vec![Term { kind: TermKind::Image(bytes), weight: 1.0 }]) };
    check(picture, "no");
    check(query(&[("x", 1.0)], Some(Rerank { top: 0, ..Rerank::default() })), "1 to");
    check(query(&[("x", 1.0)], Some(Rerank { top: 100_000, ..Rerank::default() })), "1 to");
    check(query(&[("x", 1.0)], Some(Rerank { min_match: Some(1.5), ..Rerank::default() })), "0 to 1");
    check(query(&[("x", 1.0)], Some(Rerank { min_match: Some(f32::NAN), ..Rerank::default() })), "0 to 1");

    // A caption longer than the matcher reads is cut, not refused.
    let long = vec!["a very long story about a cat"; 200].join(" and ");
    assert!(world.ask(&long, all()).iter().all(|hit| hit.matched.is_some()));

    // Checkpoints that are no matchers, and collections that nobody named one for.
    let data = world.home.path().join("data");
    let World { home, engine: held, collection } = world;
    drop((held, collection));
    for (name, wanted) in [("clip/gelu", "clip"), ("blip/captioner", "can"), ("nowhere", "no")] {
        let name = fixture(name);
        let engine = engine(&data, &name, 0);
        let said =
            engine.collection("c").unwrap().query(&query(&[("x", 1.0)], all())).unwrap_err().to_string();
        assert!(said.contains(&name) && said.contains(wanted), "{name}: {said}");
    }
    let progress = Arc::new(models::Silent);
    let engine = Engine::open(EngineOptions { data, models: options(), progress }).unwrap();
    let said = engine.collection("c").unwrap().query(&query(&[("x", 1.0)], all())).unwrap_err().to_string();
    assert!(said.contains("--matcher"), "{said}");
    drop(home);
}

#[test]
fn callers_at_once_get_what_each_alone_gets() {
    let world = World::new();
    let texts = ["a cat", "a dog", "a red car", "two trees", "snow", "night"];
    let alone: HashMap<&str, Vec<Hit>> = texts.iter().map(|text| (*text, world.ask(text, all()))).collect();
    // A matcher that has seen nothing yet, so that they share looks as well as readings.
    let World { home, engine: held, collection } = world;
    drop((held, collection));
    let engine = engine(&home.path().join("data"), &matcher(), 1 << 20);
    let collection = engine.collection("c").unwrap();
    std::thread::scope(|scope| {
        for text in texts.iter().cycle().take(18) {
            let (collection, alone) = (&collection, &alone);
            scope.spawn(move || {
                let hits = collection.query(&query(&[(text, 1.0)], all())).unwrap();
                assert_eq!(keys(&hits), keys(&alone[text]), "{text}");
                for (hit, other) in hits.iter().zip(&alone[text]) {
                    assert!((hit.matched.unwrap() - other.matched.unwrap()).abs() < 1e-4, "{text}");
                }
            });
        }
    });
    let loads: HashMap<&str, _> = engine.loads().into_iter().map(|(_, what, load)| (what, load)).collect();
    assert!(loads["picture"].inputs >= u64::from(PICTURES) && loads["match"].batches > 0, "{loads:?}");
    assert!(loads["match"].batches < loads["match"].inputs / 8, "they share forward passes: {loads:?}");
}

#[test]
fn reranking_goes_with_every_side() {
    let world = World::new();
    for side in [Side::Image, Side::Both, Side::All] {
        let hits = world.collection.query(&Query { side, ..query(&[("07", 1.0)], all()) }).unwrap();
        assert!(hits.len() == PICTURES as usize && hits.iter().all(|hit| hit.matched.is_some()), "{side:?}");
    }
    let words = Query { side: Side::Words, ..query(&[("07", 1.0)], all()) };
    let hits = world.collection.query(&words).unwrap();
    assert_eq!(hits.len(), 1);
    assert!(hits[0].key.ends_with("/07.png") && hits[0].matched.is_some());
    _ = &world.engine;
}
