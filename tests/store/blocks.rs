//! Sealed blocks, graphs and formats: what is read back is what was kept, across seals, reopens and damage.

use crate::common::Dice;
use eyeshot::Error;
use eyeshot::store::{Batch, CollectionRecord, FORMAT, SpaceRecord, Store, kept};
use eyeshot::types::{Codes, ItemId, Modality};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SPACE: u32 = 7;
const DIM: usize = 24;

/// A vector that depends on its number alone, roughly of unit length.
fn vector(n: u32) -> Vec<f32> {
    let number =
        |i: usize| ((n.wrapping_mul(2_654_435_761) ^ (i as u32 * 40_503)) % 1999) as f32 / 1999.0 - 0.5;
    let vector: Vec<f32> = (0..DIM).map(number).collect();
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter().map(|x| x / norm).collect()
}

fn open(path: &Path) -> Store {
    let store = Store::open(path).unwrap();
    if store.collections().unwrap().is_empty() {
        let space = SpaceRecord {
            id: SPACE,
            modality: Modality::Image,
            model: "m".into(),
            fingerprint: "f".into(),
            dim: DIM,
            codes: Codes::Int8,
        };
        let mut batch = Batch::default();
        batch
            .put_collection(&CollectionRecord {
                id: 3,
                name: "c".into(),
                spaces: vec![space],
                shadow: vec![],
            })
            .unwrap();
        store.commit(batch).unwrap();
    }
    store
}

fn put(store: &Store, slots: std::ops::Range<u32>) {
    let mut batch = Batch::default();
    slots.for_each(|n| batch.put_vector(SPACE, n, ItemId(u64::from(n) + 100), &vector(n)));
    store.commit(batch).unwrap();
}

fn remove(store: &Store, slots: &[u32]) {
    let mut batch = Batch::default();
    slots.iter().for_each(|n| batch.remove_vector(SPACE, *n));
    store.commit(batch).unwrap();
}

/// That the store holds the vectors of these slots and no others.
fn check(store: &Store, slots: impl IntoIterator<Item = u32>) {
    let wanted: BTreeMap<u32, Vec<f32>> = slots.into_iter().map(|n| (n, kept(&vector(n)))).collect();
    let rows: Vec<_> = store.vectors(SPACE).map(Result::unwrap).collect();
    assert!(rows.is_sorted_by_key(|(slot, _)| *slot));
    assert!(rows.iter().all(|(slot, row)| row.item.0 == u64::from(*slot) + 100));
    let held: BTreeMap<u32, Vec<f32>> = rows.into_iter().map(|(slot, row)| (slot, row.vector)).collect();
    assert!(held == wanted, "held {:?}, wanted {:?}", held.keys(), wanted.keys());
    for slot in (0..store.next_slot(SPACE).unwrap() + 2).step_by(37) {
        let one = store.vector(SPACE, slot).unwrap().map(|row| row.vector);
        assert_eq!(one.as_ref(), wanted.get(&slot), "slot {slot}");
    }
}

fn file(home: &Path, part: &str) -> PathBuf {
    let generation =
        std::fs::read_dir(home).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_dir()).unwrap();
    let mut files = std::fs::read_dir(generation).unwrap().map(|e| e.unwrap().path());
    files.find(|p| p.file_name().unwrap().to_str().unwrap().starts_with(part)).unwrap()
}

#[test]
fn sealing_changes_nothing_that_is_read() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    put(&store, 0..255);
    remove(&store, &[3, 254]);
    assert_eq!(store.seal(SPACE).unwrap(), 0, "slot 255 was not given yet");
    put(&store, 255..600);
    let left = || (0..600).filter(|n| ![3, 254].contains(n));
    check(&store, left());
    assert_eq!(store.seal(SPACE).unwrap(), 2);
    check(&store, left());
    remove(&store, &[0, 255, 256, 599, 3]);
    let left = || left().filter(|n| ![0, 255, 256, 599].contains(n));
    check(&store, left());
    drop(store);
    let store = open(home.path());
    check(&store, left());
    assert_eq!(store.next_slot(SPACE).unwrap(), 600, "a slot that was removed is not given again");
    store.compact().unwrap();
    check(&store, left());
    remove(&store, &(256..512).collect::<Vec<_>>());
    store.compact().unwrap();
    drop(store);
    check(&open(home.path()), left().filter(|n| !(256..512).contains(n)));
}

#[test]
fn f16_keeps_cosines() {
    // The worst over many pairs of 512 numbers, so that the choice of f16 stays one that costs nothing.
    let unit = |seed: u64| {
        let mut dice = Dice(seed);
        let mut bell = || (0..12).map(|_| dice.roll(1 << 20) as f32 / (1 << 20) as f32).sum::<f32>() - 6.0;
        let vector: Vec<f32> = (0..512).map(|_| bell()).collect();
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter().map(|x| x / norm).collect::<Vec<f32>>()
    };
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let vectors: Vec<Vec<f32>> = (0..80).map(unit).collect();
    let pairs = vectors.iter().flat_map(|a| vectors.iter().map(move |b| (a, b)));
    let worst = pairs.map(|(a, b)| (dot(a, b) - dot(a, &kept(b))).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-4, "{worst}");
}

#[test]
fn graphs_are_replaced_and_damage_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    assert_eq!(store.graph(SPACE).unwrap(), None);
    let graph = |store: &Store| store.graph(SPACE).unwrap().map(|g| (g.bytes, g.last_slot));
    for last in [9, 10] {
        store.put_graph(SPACE, last, |out| out.write_all(&[last as u8; 70_000])).unwrap();
        assert_eq!(graph(&store), Some((vec![last as u8; 70_000], last)));
    }
    let failing = |out: &mut dyn std::io::Write| {
        out.write_all(b"half")?;
        Err(std::io::Error::other("no more"))
    };
    assert!(store.put_graph(SPACE, 11, failing).is_err());
    assert!(store.put_graph(99, 11, |_| Ok(())).is_err(), "a space that no collection lists");
    store.compact().unwrap();
    drop(store);
    let store = open(home.path());
    assert_eq!(graph(&store), Some((vec![10; 70_000], 10)));
    let path = file(home.path(), "graph-");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[33_333] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(graph(&store), None, "it is to be built again");
    assert!(store.check(None).unwrap()[0].problem.contains("checksum"), "and check says so");
}

#[test]
fn a_damaged_block_is_an_error_that_names_it() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    put(&store, 0..600);
    store.seal(SPACE).unwrap();
    let path = file(home.path(), "vectors-");
    let whole = std::fs::read(&path).unwrap();
    for at in [0, 5, 300, whole.len() / 2 - 3] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
        let error = store.vectors(SPACE).find_map(Result::err).unwrap().to_string();
        assert!(error.contains("block 0") && error.contains("backup"), "{error}");
    }
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(store.vectors(SPACE).any(|row| row.is_err()));
    assert!(store.compact().is_err(), "nothing is made of half a store");
    std::fs::write(&path, whole).unwrap();
    check(&store, 0..600);
}

#[test]
fn formats_are_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let current = home.path().join("current");
    let refused = |text: &str, known: &str| {
        std::fs::write(&current, text).unwrap();
        let error = Store::open(home.path()).err().unwrap();
        assert!(error.to_string().contains(known), "{text}: {error}");
        error
    };
    let newer = format!(r#"{{"format": {}, "elsewhere": true}}"#, FORMAT + 1);
    assert!(matches!(refused(&newer, "newer eyeshot"), Error::Format { .. }));
    refused("", "can't be read");
    refused(r#"{"format": 2, "generation": 5}"#, "missing");
    std::fs::remove_file(&current).unwrap();
    put(&open(home.path()), 0..3);
    std::fs::rename(&current, home.path().join("elsewhere")).unwrap();
    let error = Store::open(home.path()).err().unwrap().to_string();
    assert!(
        error.contains("current is missing"),
        "a store that lost its pointer is not taken for a new one: {error}"
    );
    std::fs::rename(home.path().join("elsewhere"), &current).unwrap();
    check(&open(home.path()), 0..3);
}

#[test]
fn format_1_is_brought_to_this_one() {
    let home = tempfile::tempdir().unwrap();
    // What format 1 wrote: one tree in `store`, every vector a row of u64 and f32.
    let tree = sled::open(home.path().join("store")).unwrap();
    let of = |kind: u8, owner: u32, rest: &[u8]| [&[kind], &owner.to_be_bytes()[..], rest].concat();
    let record = r#"{"id":3,"name":"c","spaces":[{"id":7,"modality":"image","model":"m","fingerprint":"f","dim":24}]}"#;
    tree.insert(b"F", &1u32.to_be_bytes()).unwrap();
    tree.insert(b"N", &7u32.to_be_bytes()).unwrap();
    tree.insert(b"Cc", record).unwrap();
    tree.insert(of(b'X', 3, &[]), &700u64.to_be_bytes()).unwrap();
    for n in 0..300u32 {
        let parts = vector(n).into_iter().flat_map(f32::to_le_bytes);
        let value: Vec<u8> = (u64::from(n) + 100).to_le_bytes().into_iter().chain(parts).collect();
        tree.insert(of(b'V', SPACE, &n.to_be_bytes()), value).unwrap();
    }
    tree.flush().unwrap();
    drop(tree);
    for _ in 0..2 {
        let store = open(home.path());
        assert_eq!((store.next_slot(SPACE).unwrap(), store.next_item(3).unwrap()), (300, 700));
        store.seal(SPACE).unwrap();
        check(&store, 0..300);
        assert!(!home.path().join("store").exists());
    }
    let store = open(home.path());
    assert_eq!(store.next_number().unwrap(), 8);
}
