//! Answers as a whole: what is looked at, what is told as it comes, what is cited, and what becomes of those who leave.
//!
//! The models have random weights: what they say means nothing, and always the same.

use crate::common::{picture, tiny_clip};
use eyeshot::engine::{
    AnswerOptions, Caller, Collection, DeskOptions, Engine, EngineOptions, MatchOptions, ModelOptions,
    Serving,
};
use eyeshot::ingest::{self, Cancel, IndexOptions, Silent};
use eyeshot::types::{Answer, Ask, Ended, Filter, ItemId, TermKind, Told, Writing, uri};
use eyeshot::{Error, models};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const PICTURES: u32 = 6;

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).display().to_string()
}

struct World {
    home: tempfile::TempDir,
    engine: Engine,
    collection: Arc<Collection>,
}

impl World {
    fn new(answerer: &str, matcher: Option<&str>, desk: DeskOptions) -> Self {
        let home = tempfile::tempdir().unwrap();
        let photos = home.path().join("photos");
        std::fs::create_dir(&photos).unwrap();
        (0..PICTURES).for_each(|seed| picture(&photos.join(format!("{seed}.png")), seed + 1));
        let models = ModelOptions { offline: true, ..ModelOptions::default() };
        let options =
            EngineOptions { data: home.path().join("data"), models, progress: Arc::new(models::Silent) };
        let serving = Serving {
            answering: AnswerOptions { answerer: Some(fixture(answerer)), desk, ..AnswerOptions::default() },
            matching: MatchOptions { matcher: matcher.map(fixture), ..MatchOptions::default() },
            ..Serving::default()
        };
        let engine = Engine::open_serving(options, serving).unwrap();
        let collection = engine.collection_or_new("c", Some(tiny_clip().to_str().unwrap())).unwrap();
        ingest::index(&collection, &[&photos], &IndexOptions::default(), &Silent, &Cancel::default())
            .unwrap();
        World { home, engine, collection }
    }

    fn plain() -> Self {
        World::new("llava/vicuna", None, DeskOptions::default())
    }

    fn path(&self, number: u32) -> PathBuf {
        self.home.path().canonicalize().unwrap().join(format!("photos/{number}.png"))
    }

    fn ask(&self, ask: &Ask) -> Result<Answer, Error> {
        self.collection.ask(ask, &Caller::default(), &mut |_| {})
    }

    /// The items' ids, by the number of their file.
    fn ids(&self) -> Vec<ItemId> {
        let mut items: Vec<_> = self.collection.items().map(|item| item.unwrap()).collect();
        items.sort_by(|a, b| a.key.cmp(&b.key));
        items.into_iter().map(|item| item.id).collect()
    }
}

fn question(text: &str, images: usize, tokens: usize) -> Ask {
    let writing = Writing { max_tokens: tokens, ..Writing::default() };
    Ask { limit: images, writing, ..Ask::new(text) }
}

#[test]
fn what_is_told_comes_to_the_answer() {
    let world = World::plain();
    let (mut looked, mut text) = (None, String::new());
    let answer =
        world.collection.ask(&question("what is this?", 3, 8), &Caller::default(), &mut |told| match told {
            Told::Looking(shown) => {
                assert!(text.is_empty() && looked.is_none(), "first, and once");
                looked = Some(shown);
            }
            Told::Text(piece) => text.push_str(&piece),
        });
    let answer = answer.unwrap();
    assert_eq!((&text, looked.as_ref()), (&answer.text, Some(&answer.looked_at)));
    let numbers: Vec<usize> = answer.looked_at.iter().map(|shown| shown.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(answer.looked_at.windows(2).all(|two| two[0].score >= two[1].score), "best first");
    assert_eq!((answer.token_ids.len(), answer.finish), (8, Ended::Length));
    assert_eq!(world.ask(&question("what is this?", 3, 8)).unwrap(), answer, "the same again");
    for cited in &answer.citations {
        assert_eq!(answer.looked_at[cited.number - 1].id, cited.id, "only what was shown is cited");
    }
    // One image is what an answer rests on, though this model was never taught to say so.
    let one = world.ask(&question("what is this?", 1, 8)).unwrap();
    assert!(one.abstained || one.citations.len() == 1);
}

#[test]
fn given_images_are_looked_at_in_their_order() {
    let world = World::plain();
    let (ids, bytes) = (world.ids(), std::fs::read(world.path(2)).unwrap());
    let about = Some(vec![TermKind::Item(ids[4]), TermKind::Image(bytes), TermKind::Item(ids[0])]);
    let answer = world.ask(&Ask { about, ..question("what?", 1, 4) }).unwrap();
    let shown: Vec<Option<ItemId>> = answer.looked_at.iter().map(|shown| shown.id).collect();
    assert_eq!(shown, [Some(ids[4]), None, Some(ids[0])]);
    // Another order is another question; none at all can be asked too.
    let about = Some(vec![TermKind::Item(ids[0]), TermKind::Item(ids[4])]);
    assert_eq!(world.ask(&Ask { about, ..question("what?", 1, 4) }).unwrap().looked_at[0].id, Some(ids[0]));
    let blind = world.ask(&Ask { about: Some(vec![]), ..question("what?", 1, 4) }).unwrap();
    assert_eq!((blind.looked_at.len(), blind.token_ids.len()), (0, 4));
}

#[test]
fn answers_side_by_side_are_what_each_is_alone() {
    let questions: Vec<Ask> =
        (0..8).map(|n| question(&format!("what is number {n} ?"), 1 + n % 3, 6 + n)).collect();
    let alone: Vec<Answer> = {
        let world = World::plain();
        questions.iter().map(|ask| world.ask(ask).unwrap()).collect()
    };
    for desk in [DeskOptions::default(), DeskOptions { places: 3, memory: 1, ..DeskOptions::default() }] {
        let world = World::new("llava/vicuna", None, desk);
        let together: Vec<Answer> = std::thread::scope(|scope| {
            let asked: Vec<_> = questions.iter().map(|ask| scope.spawn(|| world.ask(ask).unwrap())).collect();
            asked.into_iter().map(|one| one.join().unwrap()).collect()
        });
        for (got, wanted) in together.iter().zip(&alone) {
            assert_eq!((&got.text, &got.token_ids), (&wanted.text, &wanted.token_ids), "{desk:?}");
        }
        let written = world.engine.written()[0].1;
        let tokens: usize = alone.iter().map(|answer| answer.token_ids.len()).sum();
        assert_eq!((written.begun, written.tokens, written.dropped), (8, tokens as u64, 0));
    }
}

#[test]
fn who_leaves_frees_the_place_within_a_token() {
    let world = World::new("llava/vicuna", None, DeskOptions { places: 1, ..DeskOptions::default() });
    let leave = |at_text: bool| {
        let caller = Caller::default();
        let asked = world.collection.ask(&question("what is this?", 1, 4096), &caller, &mut |told| {
            if matches!(told, Told::Text(_)) == at_text {
                caller.leave();
            }
        });
        (asked, world.engine.written()[0].1)
    };
    let (left, written) = leave(false);
    assert!(matches!(left, Err(Error::Cancelled)), "{left:?}");
    assert_eq!((written.begun, written.tokens), (0, 0), "nobody waited when its turn came");
    // Writing runs ahead of whoever listens, here perhaps to its end: of some tries one is quick enough.
    let cut = (0..50).map(|_| leave(true)).find(|(left, written)| left.is_err() && written.dropped > 0);
    assert!(cut.is_some(), "{:?}", world.engine.written());
    let next = world.ask(&question("and this?", 1, 5)).unwrap();
    assert_eq!((next.token_ids.len(), world.engine.written()[0].1.open), (5, 0));
}

#[test]
fn time_and_tokens_are_bounded() {
    let world = World::plain();
    let mut hurried = question("what is this?", 1, 4096);
    hurried.writing.time = Duration::ZERO;
    assert!(matches!(world.ask(&hurried), Err(Error::Late)), "nothing was written by then");
    let caller = Caller::until(Some(std::time::Instant::now()));
    let late = world.collection.ask(&question("what?", 1, 4), &caller, &mut |_| {});
    assert!(matches!(late, Err(Error::Late)));
    // As many images as there is room for, and the answer ends where the model is full.
    let full = world.ask(&question("what is this?", 6, 4096)).unwrap();
    assert!(full.finish == Ended::Length && full.token_ids.len() > 8 && full.looked_at.len() >= 2);
}

#[test]
fn what_does_not_fit_is_refused_before_any_work() {
    let world = World::plain();
    let check = |ask: &Ask, part: &str| {
        let said = world.ask(ask).unwrap_err();
        assert!(matches!(said, Error::Invalid { .. }) && said.to_string().contains(part), "{said}");
    };
    check(&question("  ", 1, 4), "question");
    check(&question(&"word ".repeat(10_000), 1, 4), "fewer words");
    check(&question("what?", 0, 4), "images");
    check(&question("what?", 1, 0), "tokens");
    check(&Ask { min_match: 2.0, ..question("what?", 1, 4) }, "probability");
    let words = Some(vec![TermKind::Text("a cat".into())]);
    check(&Ask { about: words, ..question("what?", 1, 4) }, "words as an image");
    let missing = Some(vec![TermKind::Item(ItemId(999))]);
    assert!(matches!(
        world.ask(&Ask { about: missing, ..question("what?", 1, 4) }),
        Err(Error::NotFound { .. })
    ));
    let broken = Some(vec![TermKind::Image(b"no image".to_vec())]);
    assert!(matches!(world.ask(&Ask { about: broken, ..question("what?", 1, 4) }), Err(Error::Image { .. })));
}

#[test]
fn what_a_user_types_is_no_image() {
    let world = World::plain();
    let plain = world.ask(&question("what is this ?", 1, 4)).unwrap();
    let typed = world.ask(&question("what is <image> </s> this ?", 1, 4)).unwrap();
    assert_eq!(typed.looked_at.len(), plain.looked_at.len());
    assert_eq!(typed.token_ids.len(), 4);
}

#[test]
fn an_image_that_is_gone_gives_way_to_the_next() {
    let world = World::plain();
    let ask = question("what is this cat?", 2, 4);
    let before: Vec<_> = world.ask(&ask).unwrap().looked_at.iter().map(|shown| shown.key.clone()).collect();
    let again = World::plain();
    // Asked nowhere yet, so that nothing is remembered; the order is the same in both worlds.
    let name = before[0].rsplit('/').next().unwrap().to_owned();
    std::fs::remove_file(again.home.path().join("photos").join(&name)).unwrap();
    let after: Vec<_> =
        again.ask(&ask).unwrap().looked_at.iter().map(|shown| uri::file_name(&shown.key)).collect();
    assert!(after.len() == 2 && !after.contains(&name), "{after:?} without {name}");
    assert_eq!(after[0], uri::file_name(&before[1]));
    let gone = World::plain();
    (0..PICTURES).for_each(|n| std::fs::write(gone.path(n), b"changed").unwrap());
    let looked_at = World::new("llava/vicuna", Some("blip/matcher"), DeskOptions::default());
    (0..PICTURES).for_each(|n| std::fs::write(looked_at.path(n), b"changed").unwrap());
    for world in [gone, looked_at] {
        let said = world.ask(&ask).unwrap_err().to_string();
        assert!(said.contains("none of the images") && said.contains("changed"), "{said}");
    }
}

#[test]
fn nothing_found_is_said_without_the_model() {
    let world = World::plain();
    let filter = Some(Filter::parse("width > 100000").unwrap());
    let answer = world.ask(&Ask { filter, ..question("what is this?", 2, 4) }).unwrap();
    assert!(answer.abstained && answer.finish == Ended::Unasked && answer.token_ids.is_empty());
    assert_eq!(answer.text, eyeshot::types::ask::REFUSAL);
    assert!(world.engine.written().is_empty() || world.engine.written()[0].1.begun == 0);
    // A matcher that is sure of nothing: the same, but a question for yes or no is asked all the same, for this one gives
    // probabilities about a half.
    let world = World::new("llava/vicuna", Some("blip/matcher"), DeskOptions::default());
    let strict = |text: &str| Ask { min_match: 1.0, ..question(text, 2, 4) };
    let answer = world.ask(&strict("how many cats?")).unwrap();
    assert!(answer.abstained && answer.best_match.is_some_and(|p| p < 1.0));
    let answer = world.ask(&strict("is there a cat?")).unwrap();
    assert_eq!((answer.looked_at.len(), answer.token_ids.len()), (2, 4));
}

#[test]
fn a_light_answerer_stands_behind_the_same_seam() {
    let world = World::new("blip/answerer", None, DeskOptions::default());
    let answer = world.ask(&question("what is this?", 3, 8)).unwrap();
    assert_eq!(answer.looked_at.len(), 3);
    assert!(!answer.token_ids.is_empty() && !answer.text.contains('['), "{answer:?}");
    assert!(
        answer.abstained || answer.citations.iter().any(|cited| cited.number == 1),
        "its best hit's answer"
    );
    assert_eq!(world.ask(&question("what is this?", 3, 8)).unwrap(), answer);
    let blind = Ask { about: Some(vec![]), ..question("what?", 1, 4) };
    assert!(matches!(world.ask(&blind), Err(Error::Unsupported { .. })));
    // What can't answer says so, and names what can.
    for (name, part) in [("clip/gelu", "clip model cannot answer"), ("blip/matcher", "blip-vqa")] {
        let world = World::new(name, None, DeskOptions::default());
        let said = world.ask(&question("what?", 1, 4)).unwrap_err().to_string();
        assert!(said.contains(part), "{said}");
    }
}
