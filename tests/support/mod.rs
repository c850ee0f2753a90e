//! A folder of pictures and a collection that it is indexed into, for the tests of ingestion.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use eyeshot::engine::{Collection, Engine, EngineOptions, ModelOptions};
use eyeshot::ingest::{self, Cancel, IndexOptions, Silent, Summary};
use eyeshot::models;
use eyeshot::store::Store;
use eyeshot::types::uri::path_to_uri;
use eyeshot::types::{Item, Query, Term, TermKind};
use image::{ImageFormat, Rgb, RgbImage};
use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A tiny CLIP with random weights: fast, and different pictures get different vectors.
pub fn model() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clip/gelu").display().to_string()
}

pub struct Home {
    pub dir: TempDir,
    pub collection: Arc<Collection>,
    pub engine: Engine,
    clock: AtomicU64,
}

fn open(dir: &Path) -> Engine {
    let options = EngineOptions {
        data: dir.join("data"),
        models: ModelOptions { offline: true, ..ModelOptions::default() },
        progress: Arc::new(models::Silent),
    };
    Engine::open(options).unwrap()
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("photos")).unwrap();
        let engine = open(dir.path());
        let collection = engine.collection_or_new("test", Some(model().as_str())).unwrap();
        Home { dir, collection, engine, clock: AtomicU64::new(0) }
    }

    /// The same after its process ended.
    pub fn reopen(self) -> Self {
        let Home { dir, collection, engine, clock } = self;
        drop((collection, engine));
        let engine = open(dir.path());
        let collection = engine.collection("test").unwrap();
        Home { dir, collection, engine, clock }
    }

    /// The folder that is indexed.
    pub fn photos(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("photos")
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.photos().join(name)
    }

    /// The key of the file `name`.
    pub fn key(&self, name: impl AsRef<Path>) -> String {
        path_to_uri(&self.path(name)).unwrap()
    }

    /// Writes a file, with a time of change that no other write has, however coarse the clock.
    pub fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let tick = self.clock.fetch_add(1, Ordering::Relaxed);
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000 + tick);
        fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
    }

    pub fn remove(&self, name: impl AsRef<Path>) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::create_dir_all(self.path(to).parent().unwrap()).unwrap();
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub fn index(&self, options: &IndexOptions) -> Summary {
        ingest::index(&self.collection, &[self.photos()], options, &Silent, &Cancel::default()).unwrap()
    }

    /// All items by key.
    pub fn items(&self) -> BTreeMap<String, Item> {
        self.collection.items().map(|item| item.unwrap()).map(|item| (item.key.clone(), item)).collect()
    }

    /// All `count` items have a vector in the store, those of the same bytes the very same. Takes the store from the engine.
    pub fn check_copies(self, count: usize) {
        let items = self.items();
        let Home { dir, collection, engine, .. } = self;
        drop((collection, engine));
        let store = Store::open(&dir.path().join("data")).unwrap();
        let space = store.collection("test").unwrap().unwrap().spaces[0].id;
        let rows = store.vectors(space).map(|row| row.unwrap().1);
        let vectors: BTreeMap<_, _> = rows.map(|row| (row.item, row.vector)).collect();
        assert_eq!(vectors.len(), count);
        for item in items.values() {
            let first = items.values().find(|other| other.hash == item.hash).unwrap();
            assert_eq!(vectors[&item.id], vectors[&first.id], "{}", item.key);
        }
    }

    /// Each file's item is found by its picture, with the vector that the file gives: nothing is stale, lost or twice.
    pub fn check_vectors(&self, names: &[&str]) {
        let mut keys: Vec<String> = names.iter().map(|name| self.key(name)).collect();
        keys.sort();
        assert_eq!(self.items().into_keys().collect::<Vec<_>>(), keys);
        let space = &self.collection.info().unwrap().spaces[0];
        assert_eq!(space.vectors, names.len(), "a vector an item");
        for key in keys {
            let bytes = fs::read(eyeshot::types::uri::uri_to_path(&key).unwrap()).unwrap();
            let mut query = Query::new(vec![Term { kind: TermKind::Image(bytes), weight: 1.0 }]);
            query.limit = names.len();
            let hits = self.collection.query(&query).unwrap();
            let hit = hits.iter().find(|hit| hit.key == key).unwrap();
            assert!(
                (hit.score - 1.0).abs() < 1e-3 && hit.score > hits[0].score - 1e-5,
                "{key}: {}",
                hit.score
            );
        }
    }
}

/// A PNG that no other seed gives.
pub fn picture(seed: u8) -> Vec<u8> {
    let wave = |at: u32, by: u32| (at * (3 + by * u32::from(seed)) % 256) as u8;
    let image = RgbImage::from_fn(40, 32, |x, y| {
        Rgb([wave(x, 1), wave(y, 2), (u32::from(seed) * 37 + x * y % 64) as u8])
    });
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, ImageFormat::Png).unwrap();
    out.into_inner()
}
