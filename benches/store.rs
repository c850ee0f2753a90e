//! What the store takes on disk and how fast it opens, beside two ways to keep the same vectors in sled alone.
//!
//!     cargo bench --bench store -- --vectors 100000 --dim 512
//!
//! Prints a table in Markdown. Vectors are random directions, written in batches of 64 that are flushed one by one, as
//! ingestion writes them. Times are CPU seconds of this process where the system tells them, else seconds.

use eyeshot::store::{Batch, CollectionRecord, SpaceRecord, Store};
use eyeshot::types::{Codes, ItemId, Modality};
use std::path::Path;
use std::time::Instant;

const BATCH: u32 = 64;
const SPACE: u32 = 1;
/// A graph's size: 130 bytes a vector, about what the index writes.
const GRAPH: usize = 130;

fn main() {
    let number = |name: &str, default: u32| {
        let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
        args.next().map_or(default, |n| n.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
    };
    let (vectors, dim) = (number("--vectors", 100_000), number("--dim", 512) as usize);
    let f16 = u64::from(vectors) * dim as u64 * 2;
    println!("{vectors} vectors of {dim}: {} as f16\n", mb(f16));
    println!("| | write s | on disk | of f16 | open and read all: s | CPU s |");
    println!("|---|---|---|---|---|---|");
    in_rows(vectors, dim, f16);
    in_values(vectors, dim, f16);
    in_store(vectors, dim, f16);
}

/// As format 1 kept them: one row each, f32.
fn in_rows(vectors: u32, dim: usize, f16: u64) {
    let home = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let tree = sled::open(home.path()).unwrap();
    for first in (0..vectors).step_by(BATCH as usize) {
        let mut batch = sled::Batch::default();
        for n in first..(first + BATCH).min(vectors) {
            let bytes: Vec<u8> = vector(n, dim).into_iter().flat_map(f32::to_le_bytes).collect();
            batch.insert(&n.to_be_bytes(), bytes);
        }
        tree.apply_batch(batch).unwrap();
        tree.flush().unwrap();
    }
    drop(tree);
    row("sled, a row a vector, f32", started, home.path(), f16, || read_sled(home.path()));
}

/// 256 vectors a value, f16.
fn in_values(vectors: u32, dim: usize, f16: u64) {
    let home = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let tree = sled::open(home.path()).unwrap();
    for first in (0..vectors).step_by(256) {
        let all = (first..(first + 256).min(vectors)).flat_map(|n| vector(n, dim));
        let bytes: Vec<u8> = all.flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect();
        tree.insert(first.to_be_bytes(), bytes).unwrap();
        tree.flush().unwrap();
    }
    drop(tree);
    row("sled, 256 vectors a value, f16", started, home.path(), f16, || read_sled(home.path()));
}

/// As they are kept now.
fn in_store(vectors: u32, dim: usize, f16: u64) {
    let home = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let store = Store::open(home.path()).unwrap();
    let mut batch = Batch::default();
    let (model, fingerprint) = ("m".to_owned(), "f".to_owned());
    let spaces = vec![SpaceRecord {
        id: SPACE,
        modality: Modality::Image,
        model,
        fingerprint,
        dim,
        codes: Codes::Int8,
    }];
    batch.put_collection(&CollectionRecord { id: 2, name: "c".into(), spaces, shadow: vec![] }).unwrap();
    store.commit(batch).unwrap();
    for first in (0..vectors).step_by(BATCH as usize) {
        let mut batch = Batch::default();
        for n in first..(first + BATCH).min(vectors) {
            batch.put_vector(SPACE, n, ItemId(n.into()), &vector(n, dim));
        }
        store.commit(batch).unwrap();
        store.seal(SPACE).unwrap();
    }
    drop(store);
    let read = || read_store(home.path());
    row("blocks, f16", started, home.path(), f16, read);

    let started = Instant::now();
    Store::open(home.path()).unwrap().compact().unwrap();
    row("blocks, f16, compacted", started, home.path(), f16, read);

    let graph = vec![7u8; GRAPH * vectors as usize];
    let started = Instant::now();
    let store = Store::open(home.path()).unwrap();
    (0..3).for_each(|_| _ = store.put_graph(SPACE, vectors - 1, |out| out.write_all(&graph)).unwrap());
    drop(store);
    let whole = f16 + graph.len() as u64;
    row("the same with a graph, put three times", started, home.path(), whole, read);

    let started = Instant::now();
    let store = Store::open(home.path()).unwrap();
    let mut batch = Batch::default();
    (0..vectors).filter(|n| n % 10 < 3).for_each(|n| batch.remove_vector(SPACE, n));
    store.commit(batch).unwrap();
    drop(store);
    row("the same, three in ten removed", started, home.path(), whole * 7 / 10, read);

    let started = Instant::now();
    Store::open(home.path()).unwrap().compact().unwrap();
    row("the same, compacted", started, home.path(), f16 * 7 / 10 + graph.len() as u64, read);
}

fn read_sled(path: &Path) -> usize {
    let tree = sled::Config::new().path(path).cache_capacity(64 << 20).open().unwrap();
    tree.iter().values().map(|value| value.unwrap().len()).sum()
}

fn read_store(path: &Path) -> usize {
    let store = Store::open(path).unwrap();
    let vectors: usize = store.vectors(SPACE).map(|row| row.unwrap().1.vector.len()).sum();
    vectors + store.graph(SPACE).unwrap().map_or(0, |graph| graph.bytes.len())
}

fn row(name: &str, started: Instant, path: &Path, f16: u64, read: impl Fn() -> usize) {
    let written = started.elapsed().as_secs_f64();
    let bytes = disk(path);
    let (started, before) = (Instant::now(), cpu());
    assert!(read() > 0);
    let (open, cpu) = (started.elapsed().as_secs_f64(), cpu() - before);
    let of = bytes as f64 / f16 as f64;
    println!("| {name} | {written:.1} | {} | {of:.2}x | {open:.2} | {cpu:.2} |", mb(bytes));
}

fn vector(n: u32, dim: usize) -> Vec<f32> {
    let mut state = u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut number = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let vector: Vec<f32> = (0..dim).map(|_| number()).collect();
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter().map(|x| x / norm).collect()
}

fn disk(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).unwrap().map(Result::unwrap);
    entries.map(|e| if e.path().is_dir() { disk(&e.path()) } else { e.metadata().unwrap().len() }).sum()
}

/// CPU seconds so far, from `/proc` where there is one.
fn cpu() -> f64 {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return f64::NAN };
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}

fn mb(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}
