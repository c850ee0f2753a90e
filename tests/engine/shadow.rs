//! Another model's vectors beside those that serve: filled, kept in step, and switched.

use crate::support::{self, Home, picture};
use eyeshot::Error;
use eyeshot::engine::{Collection, Shadow};
use eyeshot::ingest::{self, Cancel, Entry, Fetched, IndexOptions, Items, Listed, Silent, Source, Summary};
use eyeshot::types::{Filter, Query, Side, Term, TermKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Vectors as long as those of the model that the tests begin with, of other weights and another size of pictures.
fn sharded() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clip/sharded").display().to_string()
}

/// Eight times as long.
const DEMO: &str = "demo";

/// Vectors are kept as f16. The models differ by a hundred times that.
const TOLERANCE: f32 = 5e-4;

fn options() -> IndexOptions {
    IndexOptions { batch: 4, workers: 2, ..IndexOptions::default() }
}

/// What a search of each side finds, and one within a filter: scores by key.
type Answers = Vec<BTreeMap<String, f32>>;

fn answers(collection: &Collection) -> Answers {
    let text = |text: &str| Term { kind: TermKind::Text(text.into()), weight: 1.0 };
    let image = Term { kind: TermKind::Image(picture(200)), weight: 1.0 };
    let ask = |term: Term, side, filter: Option<&str>| {
        let filter = filter.map(|filter| Filter::parse(filter).unwrap());
        let query = Query { limit: 100, side, filter, ..Query::new(vec![term]) };
        let hits = collection.query(&query).unwrap();
        hits.into_iter().map(|hit| (hit.key.clone(), hit.score)).collect()
    };
    vec![
        ask(text("a cat"), Side::Image, None),
        ask(text("a cat"), Side::Caption, None),
        ask(text("a dog"), Side::Both, None),
        ask(text("dog"), Side::Words, None),
        ask(image.clone(), Side::Image, None),
        ask(image, Side::Caption, Some("n >= 1")),
    ]
}

fn near(a: &Answers, b: &Answers) -> bool {
    let pairs = a.iter().zip(b).all(|(a, b)| {
        a.len() == b.len() && a.iter().all(|(key, x)| b.get(key).is_some_and(|y| (x - y).abs() < TOLERANCE))
    });
    pairs && a.len() == b.len()
}

fn same(a: &Answers, b: &Answers) {
    assert!(near(a, b), "{a:?}\n{b:?}");
}

/// Six pictures, two of the same bytes, four captions.
fn six() -> Home {
    let home = Home::new();
    for n in 0..5 {
        home.write(format!("{n}.png"), picture(n));
    }
    home.write("again.png", picture(2));
    home.write("0.txt", "a cat\na small cat\n");
    home.write("2.txt", "a cow\n");
    home.write("3.json", r#"{"caption": "a dog", "n": 1}"#);
    assert_eq!(home.index(&options()).indexed, 6);
    home
}

fn fill_from(home: &Home, shadow: &Arc<Shadow>, sources: &[Box<dyn Source>]) -> Summary {
    let options = IndexOptions { shadow: Some(shadow.clone()), ..options() };
    let collection = home.engine.collection("test").unwrap();
    ingest::sync(&collection, sources, &options, &Silent, &Cancel::default()).unwrap()
}

fn fill(home: &Home, model: &str) -> Summary {
    let shadow = home.engine.shadow("test", Some(model)).unwrap();
    fill_from(home, &shadow, &ingest::open(&[home.photos()], options().patience).unwrap())
}

/// The collection, switched.
fn flip(home: &Home) -> Arc<Collection> {
    home.engine.flip("test", false).unwrap()
}

/// A collection of that model alone.
fn fresh(home: &Home, model: &str) -> Answers {
    let name = "fresh";
    let collection = home.engine.create_collection(name, Some(model)).unwrap();
    ingest::index(&collection, &[home.photos()], &options(), &Silent, &Cancel::default()).unwrap();
    let found = answers(&collection);
    home.engine.drop_collection(name).unwrap();
    found
}

fn sound(home: &Home) {
    assert_eq!(home.engine.check(None).unwrap(), vec![]);
}

#[test]
fn a_flip_answers_as_a_fresh_collection_and_flipping_again_goes_back() {
    for (model, dim) in [(sharded(), 24), (DEMO.to_owned(), 192)] {
        let home = six();
        let before = answers(&home.collection);
        let summary = fill(&home, &model);
        assert_eq!((summary.indexed, summary.duplicates, summary.unchanged), (6, 1, 0), "{summary:?}");
        assert_eq!(answers(&home.collection), before, "the old model serves");
        assert_eq!(home.collection.model(), support::model());
        let again = fill(&home, &model);
        assert_eq!((again.indexed, again.unchanged), (0, 6), "{again:?}");
        sound(&home);

        let wanted = fresh(&home, &model);
        assert!(!near(&wanted, &before), "the models differ");
        let flipped = flip(&home);
        same(&answers(&flipped), &wanted);
        let info = flipped.info().unwrap();
        let spaces = |all: &[eyeshot::engine::SpaceInfo]| -> Vec<(String, usize, usize)> {
            all.iter().map(|space| (space.model.clone(), space.dim, space.vectors)).collect()
        };
        assert_eq!(spaces(&info.spaces), [(model.clone(), dim, 6), (model.clone(), dim, 4)]);
        assert_eq!(spaces(&info.shadow), [(support::model(), 24, 6), (support::model(), 24, 4)]);
        sound(&home);
        assert_eq!(answers(&flip(&home)), before, "and back");
        same(&answers(&flip(&home)), &wanted);
    }
}

#[test]
fn it_outlives_the_process() {
    let mut home = six();
    fill(&home, DEMO);
    let before = answers(&home.collection);
    let reopened = home.reopen();
    assert_eq!(answers(&reopened.collection), before);
    assert_eq!(fill(&reopened, DEMO).unchanged, 6);
    let wanted = answers(&flip(&reopened));
    home = reopened.reopen();
    assert_eq!(home.collection.model(), DEMO);
    same(&answers(&home.collection), &wanted);
}

#[test]
fn a_flip_waits_for_the_last_item() {
    let home = six();
    let before = answers(&home.collection);
    let refused = |missing: usize, items: usize| match home.engine.flip("test", false) {
        Err(error @ Error::Incomplete { .. }) => {
            let said = error.to_string();
            assert!(said.contains(&format!("{missing} of the {items} items")), "{said}");
            assert!(said.contains("--shadow") && said.contains("--remove-missing"), "{said}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{missing} are missing"),
    };
    assert!(matches!(home.engine.flip("test", false), Err(Error::NotFound { .. })), "there is no shadow");
    let shadow = home.engine.shadow("test", Some(DEMO)).unwrap();
    refused(6, 6);
    let some = ingest::open(&["0.png", "1.png"].map(|name| home.path(name)), options().patience).unwrap();
    assert_eq!(fill_from(&home, &shadow, &some).indexed, 2);
    refused(4, 6);
    assert_eq!(answers(&home.collection), before, "nothing happened");

    // The rest from where it lies, with no source named.
    let items: [Box<dyn Source>; 1] = [Box::new(Items::of(home.collection.clone()))];
    let rest = fill_from(&home, &shadow, &items);
    assert_eq!((rest.indexed, rest.unchanged), (4, 2));
    same(&answers(&flip(&home)), &fresh(&home, DEMO));
}

#[test]
fn what_comes_changes_and_goes_meanwhile_ends_up_right() {
    let home = six();
    fill(&home, DEMO);
    home.write("new.png", picture(60));
    home.write("1.png", picture(61));
    home.write("0.txt", "a dog\n");
    home.write("3.json", r#"{"caption": "a dog", "n": 2}"#);
    home.remove("4.png");
    // The collection does not know yet: what differs from it is refused, what it has is kept.
    let early = fill(&home, DEMO);
    assert_eq!((early.indexed, early.unchanged), (0, 5), "{early:?}");
    assert!(
        early.refused[0].key.ends_with("new.png") && early.refused[0].reason.contains("without --shadow")
    );
    assert_eq!(early.refused.len(), 1, "{early:?}");

    let summary = home.index(&IndexOptions { prune: true, ..options() });
    assert_eq!((summary.indexed, summary.removed), (4, 1), "{summary:?}");
    sound(&home);
    let missing = |missing: usize| match home.engine.flip("test", false) {
        Err(Error::Incomplete { missing: n, items: 6, .. }) => assert_eq!(n, missing),
        other => panic!("{:?}", other.err()),
    };
    missing(3);
    // Its bytes changed once more, and the collection does not know.
    home.write("1.png", picture(62));
    let late = fill(&home, DEMO);
    assert_eq!((late.indexed, late.unchanged), (2, 3), "another payload alone is no reason: {late:?}");
    assert!(late.refused[0].key.ends_with("1.png") && late.refused[0].reason.contains("changed"));
    missing(1);
    home.index(&options());
    assert_eq!(fill(&home, DEMO).indexed, 1);
    sound(&home);
    same(&answers(&flip(&home)), &fresh(&home, DEMO));
    sound(&home);
    // The model before now lags behind in its turn.
    home.write("later.png", picture(63));
    let flipped = home.engine.collection("test").unwrap();
    ingest::index(&flipped, &[home.photos()], &options(), &Silent, &Cancel::default()).unwrap();
    assert!(matches!(home.engine.flip("test", false), Err(Error::Incomplete { missing: 1, items: 7, .. })));
    assert_eq!(fill(&home, &support::model()).indexed, 1);
    same(&answers(&flip(&home)), &fresh(&home, &support::model()));
}

/// Small pictures are kept of what is there and of what comes, stand in for the files when those are gone, and go with their items.
#[test]
fn small_pictures_stand_in_for_files() {
    let home = six();
    let keeping = || IndexOptions { thumbnails: Some(96), ..options() };
    let again = home.index(&keeping());
    assert_eq!((again.indexed, again.duplicates, again.unchanged), (6, 6, 0), "{again:?}");
    assert_eq!(home.index(&keeping()).unchanged, 6);
    home.write("new.png", picture(60));
    assert_eq!(home.index(&options()).indexed, 1, "one without");
    let held = |name: &str| {
        let item = home.collection.item_of(&home.key(name)).unwrap().unwrap();
        home.collection.thumbnail(item.id).unwrap()
    };
    assert_eq!(held("2.png"), held("again.png"), "of the same bytes");
    let small = image::load_from_memory(&held("0.png").unwrap()).unwrap();
    let whole = image::load_from_memory(&picture(0)).unwrap();
    assert!(small.width().min(small.height()) <= 96 && small.width() <= whole.width());
    sound(&home);

    let wanted = fresh(&home, DEMO);
    for name in ["0.png", "1.png", "2.png", "3.png", "4.png", "again.png", "new.png"] {
        home.remove(name);
    }
    let shadow = home.engine.shadow("test", Some(DEMO)).unwrap();
    let small: [Box<dyn Source>; 1] = [Box::new(Items::small(home.collection.clone()))];
    let summary = fill_from(&home, &shadow, &small);
    assert_eq!((summary.indexed, summary.refused.len()), (6, 1), "{summary:?}");
    assert!(summary.refused[0].reason.contains("--keep-thumbnails"), "{summary:?}");
    home.collection.remove_keys(&[home.key("new.png")]).unwrap();
    let flipped = answers(&flip(&home));
    for (found, wanted) in flipped.iter().zip(&wanted) {
        for (key, score) in found {
            assert!((score - wanted[key]).abs() < 0.02, "{key}: {score} for {}", wanted[key]);
        }
    }
    // A picture that changes takes the small one of the other with it; so does compaction what nothing names.
    home.write("0.png", picture(99));
    let flipped = home.engine.collection("test").unwrap();
    let run = |options: &IndexOptions| {
        ingest::index(&flipped, &[home.photos()], options, &Silent, &Cancel::default()).unwrap()
    };
    run(&options());
    let id = flipped.item_of(&home.key("0.png")).unwrap().unwrap().id;
    assert_eq!(flipped.thumbnail(id).unwrap(), None);
    run(&keeping());
    let kept = flipped.thumbnail(id).unwrap();
    assert!(kept.is_some());
    sound(&home);
    home.engine.compact().unwrap();
    assert_eq!(home.engine.collection("test").unwrap().thumbnail(id).unwrap(), kept);
    sound(&home);
    // A file that is lost costs small pictures, and they are made again.
    let lost =
        std::fs::read_dir(home.dir.path().join("data/gen-2")).unwrap().flatten().map(|entry| entry.path());
    let lost = lost.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("thumbnails-"));
    lost.for_each(|path| std::fs::remove_file(path).unwrap());
    assert_eq!(flipped.thumbnail(id).unwrap(), None);
    run(&keeping());
    assert_eq!(flipped.thumbnail(id).unwrap(), kept);
}

/// Does something to the collection between the listing and the writing of an image.
struct Meddling<F> {
    inner: Box<dyn Source>,
    meddle: F,
}

impl<F: Fn(&Entry) + Send + Sync> Source for Meddling<F> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn list(&self) -> Box<dyn Iterator<Item = Listed> + Send + '_> {
        self.inner.list()
    }

    fn fetch(&self, entry: &Entry, limit: u64) -> eyeshot::Result<Fetched> {
        let fetched = self.inner.fetch(entry, limit);
        (self.meddle)(entry);
        fetched
    }
}

#[test]
fn an_item_that_goes_or_changes_between_fetch_and_write_leaves_nothing() {
    let home = Arc::new(six());
    let shadow = home.engine.shadow("test", Some(DEMO)).unwrap();
    let meddled = home.clone();
    let meddle = move |entry: &Entry| {
        let home = &meddled;
        if entry.key.ends_with("1.png") {
            home.collection.remove_keys(std::slice::from_ref(&entry.key)).unwrap();
        }
        if entry.key.ends_with("3.png") {
            home.write("3.png", picture(70));
            home.index(&options());
        }
    };
    let inner = ingest::open(&[home.photos()], options().patience).unwrap().remove(0);
    let summary = fill_from(&home, &shadow, &[Box::new(Meddling { inner, meddle })]);
    assert_eq!(summary.refused.len(), 1, "{summary:?}");
    assert!(summary.refused[0].key.ends_with("3.png"));
    sound(&home);
    // What went came back, since its file is still there.
    home.index(&options());
    assert!(home.engine.flip("test", false).is_err());
    fill(&home, DEMO);
    sound(&home);
    same(&answers(&flip(&home)), &fresh(&home, DEMO));
}

#[test]
fn writers_beside_a_run_and_a_run_beside_writers() {
    let home = six();
    let done = AtomicBool::new(false);
    let runs = std::thread::scope(|scope| {
        let filler = scope.spawn(|| {
            let mut runs = 0;
            while !done.load(Ordering::Relaxed) || runs == 0 {
                fill(&home, DEMO);
                runs += 1;
            }
            runs
        });
        for round in 0..40u8 {
            home.write(format!("{}.png", round % 5), picture(100 + round));
            home.write(format!("{}.txt", (round + 1) % 3), format!("a cat of {round}\na dog\n"));
            home.write(format!("more-{round}.png"), picture(130 + round % 4));
            if round > 2 {
                home.remove(format!("more-{}.png", round - 3));
            }
            home.index(&IndexOptions { prune: true, ..options() });
        }
        done.store(true, Ordering::Relaxed);
        filler.join().unwrap()
    });
    println!("{runs} runs beside 40 rounds of writing");
    sound(&home);
    fill(&home, DEMO);
    same(&answers(&flip(&home)), &fresh(&home, DEMO));
    sound(&home);
}

#[test]
fn every_answer_is_wholly_of_one_model() {
    const FLIPS: usize = 40;
    let home = six();
    fill(&home, DEMO);
    let old = answers(&home.collection);
    let new = answers(&flip(&home));
    let done = AtomicBool::new(false);
    let counts = std::thread::scope(|scope| {
        let searchers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut counts = [0usize; 2];
                    while !done.load(Ordering::Relaxed) {
                        let found = answers(&home.engine.collection("test").unwrap());
                        let of = [&old, &new].map(|known| near(&found, known));
                        assert!(of[0] != of[1], "{found:?}\nis neither\n{old:?}\nnor\n{new:?}");
                        counts[usize::from(of[1])] += 1;
                    }
                    counts
                })
            })
            .collect();
        for _ in 0..FLIPS {
            flip(&home);
            answers(&home.engine.collection("test").unwrap());
        }
        done.store(true, Ordering::Relaxed);
        searchers.into_iter().map(|one| one.join().unwrap()).fold([0; 2], |a, b| [a[0] + b[0], a[1] + b[1]])
    });
    println!("{FLIPS} flips, {} answers of the one and {} of the other", counts[0], counts[1]);
    assert!(counts.iter().all(|count| *count > 0));
}

#[test]
fn who_writes_to_the_one_before_is_told() {
    let home = six();
    fill(&home, DEMO);
    let (old, shadow) = (home.collection.clone(), home.engine.shadow("test", None).unwrap());
    flip(&home);
    home.write("new.png", picture(80));
    let run =
        |options: &IndexOptions| ingest::index(&old, &[home.photos()], options, &Silent, &Cancel::default());
    assert!(matches!(run(&options()), Err(Error::Switched { .. })));
    assert!(matches!(old.remove_keys(&[home.key("0.png")]), Err(Error::Switched { .. })));
    // A shadow that serves by now, or is dropped, takes nothing more.
    let collection = home.engine.collection("test").unwrap();
    assert!(matches!(collection.fill(&shadow, vec![]), Err(Error::Switched { .. })));
    let shadow = home.engine.shadow("test", None).unwrap();
    home.engine.drop_shadow("test").unwrap();
    assert!(matches!(collection.fill(&shadow, vec![]), Err(Error::Switched { .. })));
    assert!(matches!(home.engine.drop_shadow("test"), Err(Error::NotFound { .. })));
    ingest::index(&collection, &[home.photos()], &options(), &Silent, &Cancel::default()).unwrap();
    same(&answers(&collection), &fresh(&home, DEMO));
    sound(&home);
}

#[test]
fn mistakes_are_told() {
    let home = six();
    let said = |asked: Result<Arc<Shadow>, Error>, wanted: &str| match asked {
        Err(error @ Error::Invalid { .. }) => assert!(error.to_string().contains(wanted), "{error}"),
        other => panic!("{other:?} instead of {wanted}"),
    };
    said(home.engine.shadow("test", None), "--model");
    said(home.engine.shadow("test", Some(&support::model())), "already");
    assert!(matches!(home.engine.shadow("none", Some(DEMO)), Err(Error::NotFound { .. })));
    let shadow = home.engine.shadow("test", Some(DEMO)).unwrap();
    said(home.engine.shadow("test", Some(&sharded())), "drop-shadow test");
    for options in [
        IndexOptions { prune: true, ..options() },
        IndexOptions { captions: ingest::Captions::None, ..options() },
    ] {
        let options = IndexOptions { shadow: Some(shadow.clone()), ..options };
        let run = ingest::index(&home.collection, &[home.photos()], &options, &Silent, &Cancel::default());
        assert!(matches!(run, Err(Error::Invalid { .. })));
    }
    // Another model has to be asked for in words, and how is said.
    let error = home.engine.collection_or_new("test", Some(DEMO)).err().unwrap();
    assert!(matches!(error, Error::OtherModel { .. }) && error.to_string().contains("--shadow"), "{error}");
}

#[test]
fn items_that_cannot_be_embedded_may_be_removed_instead() {
    let home = six();
    home.remove("0.png");
    home.remove("2.png");
    fill(&home, DEMO);
    assert!(matches!(home.engine.flip("test", false), Err(Error::Incomplete { missing: 2, .. })));
    let flipped = home.engine.flip("test", true).unwrap();
    let keys: Vec<String> = flipped.items().map(|item| item.unwrap().key).collect();
    assert_eq!(keys.len(), 4);
    assert!(!keys.contains(&home.key("0.png")) && !keys.contains(&home.key("2.png")));
    same(&answers(&flipped), &fresh(&home, DEMO));
    sound(&home);
}

#[test]
fn a_backup_brings_the_shadow_back() {
    let home = six();
    let shadow = home.engine.shadow("test", Some(DEMO)).unwrap();
    let some = ingest::open(&["0.png", "1.png"].map(|name| home.path(name)), options().patience).unwrap();
    fill_from(&home, &shadow, &some);
    let file = home.dir.path().join("backup.eyeshot");
    home.engine.backup(None, &file).unwrap();
    home.engine.restore(&file, Some("test"), Some("again")).unwrap();
    sound(&home);
    let again = home.engine.collection("again").unwrap();
    assert_eq!(again.info().unwrap().shadow, home.collection.info().unwrap().shadow);
    assert!(matches!(home.engine.flip("again", false), Err(Error::Incomplete { missing: 4, items: 6, .. })));
    let options = IndexOptions { shadow: home.engine.shadow("again", None).ok(), ..options() };
    let run = ingest::index(&again, &[home.photos()], &options, &Silent, &Cancel::default()).unwrap();
    assert_eq!((run.indexed, run.unchanged), (4, 2));
    // Compacted, too, it is still there.
    home.engine.compact().unwrap();
    same(&answers(&home.engine.flip("again", false).unwrap()), &fresh(&home, DEMO));
    sound(&home);
}

#[test]
fn known_bytes_get_the_vector_that_the_shadow_keeps() {
    let home = Home::new();
    for copy in 0..6 {
        (0..4).for_each(|seed| home.write(format!("{copy}/{seed}.png"), picture(seed)));
    }
    assert_eq!(home.index(&options()).indexed, 24);
    // A picture a batch, so that later ones find the first in the shadow and not beside them.
    let shadow = home.engine.shadow("test", Some(&sharded())).unwrap();
    let one = IndexOptions { batch: 1, workers: 1, shadow: Some(shadow), ..options() };
    assert_eq!(home.index(&one).indexed, 24);
    // Whoever holds the shadow holds the store.
    drop(one);
    flip(&home);
    home.reopen().check_copies(24);
}
