//! Random upserts, removals, queries, filters, compactions, backups and reopens, held against a plain map with exact search.
//!
//! `EYESHOT_TEST_STEPS` makes a longer run (100000 take some minutes), `EYESHOT_TEST_SEED` repeats one.

use crate::common::{Dice, tiny_clip};
use eyeshot::engine::{Collection, Engine, EngineOptions, ModelOptions, NewItem, Pixels};
use eyeshot::models::Silent;
use eyeshot::types::{ContentHash, Filter, Hit, ItemId, Payload, Query, Side, Term, TermKind};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const KEYS: u64 = 120;
const PICTURES: u64 = 24;
const WORDS: [&str; 8] = ["cat", "dog", "red", "two", "left of", "sea", "tree", "at night"];
/// Scores come from f16 vectors, searched by coarser codes.
const TOLERANCE: f32 = 2e-3;

/// An item as it should be.
struct Kept {
    id: ItemId,
    picture: u64,
    captions: Vec<String>,
    n: u64,
    thumbnail: Option<Vec<u8>>,
}

/// What the encoder makes of every picture and caption there is.
struct World {
    pixels: Vec<Pixels>,
    images: Vec<Vec<f32>>,
    texts: BTreeMap<String, Vec<f32>>,
}

struct Run {
    home: tempfile::TempDir,
    dice: Dice,
    world: World,
    model: BTreeMap<String, Kept>,
    given: u64,
}

fn engine(home: &Path) -> Engine {
    let models = ModelOptions { offline: true, ..ModelOptions::default() };
    Engine::open(EngineOptions { data: home.join("data"), models, progress: Arc::new(Silent) }).unwrap()
}

fn open(engine: &Engine) -> Arc<Collection> {
    engine.collection_or_new("c", Some(tiny_clip().to_str().unwrap())).unwrap()
}

impl World {
    fn new(collection: &Collection) -> Self {
        let encoder = collection.encoder().unwrap();
        let draw = |n: u64| {
            let shade = |x: u32, y: u32| {
                let at = u64::from(x / 6) * 31 + u64::from(y / 6) * 17;
                let drawn = Dice(n * 1000 + at).roll(1 << 24);
                image::Rgb([drawn as u8, (drawn >> 8) as u8, (drawn >> 16) as u8])
            };
            collection.prepare(&image::RgbImage::from_fn(32, 32, shade)).unwrap()
        };
        let pixels: Vec<Pixels> = (0..PICTURES).map(draw).collect();
        let images = encoder.embed_pixels(&pixels).unwrap();
        let texts = encoder.embed_texts(&WORDS).unwrap();
        let texts = WORDS.iter().map(|w| (*w).to_owned()).zip(texts).collect();
        World { pixels, images, texts }
    }
}

impl Run {
    fn upsert(&mut self, collection: &Collection) {
        let count = 1 + self.dice.roll(4);
        let mut batch = Vec::new();
        let mut kept = Vec::new();
        for _ in 0..count {
            let key = format!("file:///{}", self.dice.roll(KEYS));
            let (picture, n) = (self.dice.roll(PICTURES), self.dice.roll(10));
            let captions: Vec<String> =
                (0..self.dice.roll(3)).map(|_| WORDS[self.dice.roll(8) as usize].to_owned()).collect();
            let hash = ContentHash::of(&picture.to_le_bytes());
            let reuse = self.dice.roll(2) == 0 && self.model.values().any(|k| k.picture == picture);
            let pixels = (!reuse).then(|| self.world.pixels[picture as usize].clone());
            let mut payload = Payload::new();
            payload.insert("n".into(), n.into());
            let (key_again, captions_again) = (key.clone(), captions.clone());
            let thumbnail = (self.dice.roll(3) == 0).then(|| vec![n as u8; self.dice.roll(5000) as usize]);
            kept.push((key_again, picture, captions_again, n, thumbnail.clone()));
            batch.push(NewItem {
                key,
                hash,
                size: 1,
                width: 32,
                height: 32,
                format: "png".into(),
                taken: None,
                exif: Payload::new(),
                captions,
                payload,
                pixels,
                bytes: None,
                thumbnail,
                source: "s".into(),
                stamp: "t".into(),
            });
        }
        let ids = collection.upsert(batch).unwrap();
        let first = self.given;
        // Of a picture that stayed, so does what was kept before; of two with one key in a batch, the first never was.
        for (key, picture, .., thumbnail) in &mut kept {
            let same = self.model.get(key).filter(|old| old.picture == *picture);
            *thumbnail = thumbnail.take().or_else(|| same.and_then(|old| old.thumbnail.clone()));
        }
        for ((key, picture, captions, n, thumbnail), id) in kept.into_iter().zip(ids) {
            match self.model.get(&key) {
                Some(old) => assert_eq!(old.id, id, "{key} keeps its id"),
                None => {
                    assert!(id.0 >= first, "{key} got id {id} again");
                    self.given += 1;
                }
            }
            self.model.insert(key, Kept { id, picture, captions, n, thumbnail });
        }
        assert!(self.model.values().all(|kept| kept.id.0 < self.given), "ids are given without gaps");
    }

    fn remove(&mut self, collection: &Collection) {
        let count = 1 + self.dice.roll(3);
        let mut keys: Vec<String> =
            (0..count).map(|_| format!("file:///{}", self.dice.roll(KEYS + 10))).collect();
        keys.sort();
        keys.dedup();
        let there = keys.iter().filter(|key| self.model.remove(*key).is_some()).count();
        assert_eq!(collection.remove_keys(&keys).unwrap(), there);
    }

    fn query(&mut self, collection: &Collection) {
        let item = self.model.values().nth(self.dice.roll(KEYS) as usize);
        let word = WORDS[self.dice.roll(8) as usize];
        let (term, vector) = match (self.dice.roll(2), item) {
            (0, Some(item)) => (TermKind::Item(item.id), self.world.images[item.picture as usize].clone()),
            _ => (TermKind::Text(word.into()), self.world.texts[word].clone()),
        };
        let below = self.dice.roll(14);
        let mut query = Query::new(vec![Term { kind: term, weight: 1.0 }]);
        query.limit = 1 + self.dice.roll(KEYS + 20) as usize;
        query.side = if self.dice.roll(3) == 0 { Side::Caption } else { Side::Image };
        query.exact = self.dice.roll(2) == 0;
        query.filter = (below < 10).then(|| Filter::parse(&format!("n < {below}")).unwrap());
        let hits = match collection.query(&query) {
            Ok(hits) => hits,
            // No item has the field where there is no item.
            Err(e) => {
                assert!(self.model.is_empty(), "{e}");
                return;
            }
        };
        self.compare(&hits, &query, &vector, if below < 10 { below } else { u64::MAX });
    }

    /// The hits are the best of what passes, each with its score; which of several that are as good is left open.
    fn compare(&self, hits: &[Hit], query: &Query, vector: &[f32], below: u64) {
        let score = |kept: &Kept| match query.side {
            Side::Caption => {
                let scores = kept.captions.iter().map(|c| cosine(vector, &self.world.texts[c]));
                scores.reduce(f32::max)
            }
            _ => Some(cosine(vector, &self.world.images[kept.picture as usize])),
        };
        let passing = self.model.values().filter(|kept| kept.n < below);
        let mut wanted: Vec<f32> = passing.filter_map(score).collect();
        wanted.sort_unstable_by(|a, b| b.total_cmp(a));
        wanted.truncate(query.limit);
        assert_eq!(hits.len(), wanted.len(), "{query:?}");
        let mut seen = std::collections::BTreeSet::new();
        for (hit, best) in hits.iter().zip(wanted) {
            let kept = self.model.get(&hit.key).unwrap_or_else(|| panic!("{} was removed", hit.key));
            assert!(seen.insert(&hit.key), "{} twice", hit.key);
            assert!(kept.n < below && kept.id == hit.id && kept.captions == hit.captions);
            assert!((hit.score - best).abs() < TOLERANCE, "{query:?}: {} where {best} was due", hit.score);
            assert!((hit.score - score(kept).unwrap()).abs() < TOLERANCE, "{}: {}", hit.key, hit.score);
        }
    }

    fn check(&self, engine: &Engine, collection: &Collection) {
        assert_eq!(engine.check(None).unwrap(), []);
        let info = collection.info().unwrap();
        let captions: usize = self.model.values().map(|kept| kept.captions.len()).sum();
        assert_eq!((info.items, info.spaces[1].vectors), (self.model.len(), captions));
        for kept in self.model.values() {
            assert_eq!(collection.thumbnail(kept.id).unwrap(), kept.thumbnail);
        }
        let items: BTreeMap<String, ItemId> =
            collection.items().map(Result::unwrap).map(|item| (item.key, item.id)).collect();
        assert!(
            items.iter().eq(self.model.iter().map(|(key, kept)| (key, &kept.id)).collect::<BTreeMap<_, _>>())
        );
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn a_collection_does_as_a_plain_map_does() {
    let drawn =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("EYESHOT_TEST_SEED").unwrap_or_else(drawn);
    println!("seed {seed}");
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut engine = self::engine(home.path());
    let mut collection = open(&engine);
    let world = World::new(&collection);
    let mut run = Run { home, dice: Dice(seed), world, model: BTreeMap::new(), given: 0 };
    for step in 0..number("EYESHOT_TEST_STEPS").unwrap_or(3000) {
        match run.dice.roll(1000) {
            0..400 => run.upsert(&collection),
            400..550 => run.remove(&collection),
            550..980 => run.query(&collection),
            980..990 => {
                drop((collection, engine));
                engine = self::engine(run.home.path());
                collection = open(&engine);
                run.check(&engine, &collection);
            }
            990..995 => {
                engine.compact().unwrap();
                run.check(&engine, &collection);
            }
            _ => {
                let file = run.home.path().join(format!("{step}.eyeshot"));
                engine.backup(Some("c"), &file).unwrap();
                engine.drop_collection("c").unwrap();
                engine.restore(&file, None, None).unwrap();
                std::fs::remove_file(&file).unwrap();
                collection = open(&engine);
                run.check(&engine, &collection);
            }
        }
    }
    run.check(&engine, &collection);
}
