//! Whatever write fails, and whenever the process dies: what was acknowledged is there, and nothing is half done.
//!
//! A sequence of steps is drawn from a seed: puts, removals, seals, graphs, compactions, backups, restores, drops. A plain
//! model takes the same steps. After a fault, the store must be the model after the acknowledged steps, or after one more.
//! `EYESHOT_TEST_SEED` repeats a run, `EYESHOT_TEST_KILLS` makes a longer one.

use crate::common::Dice;
use eyeshot::store::{Batch, CollectionRecord, Gate, Manifest, SpaceRecord, Store, kept};
use eyeshot::types::{Codes, ContentHash, Item, ItemId, Modality};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const DIM: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Create,
    Put(u32),
    Remove(u32),
    Seal,
    Graph(usize),
    Compact,
    Copy,
    DropCopy,
}

/// What a collection should hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Held {
    next: u32,
    slots: BTreeMap<u32, Vec<f32>>,
    graph: Option<(usize, u32)>,
}

/// Collections by name.
type Model = BTreeMap<String, Held>;

fn vector(n: u32) -> Vec<f32> {
    (0..DIM).map(|i| (n.wrapping_mul(7 + i as u32) % 251) as f32 + 1.0).collect()
}

/// The step after `model`, the `n`th.
fn step(seed: u64, n: u64, model: &Model) -> Step {
    let mut dice = Dice(seed ^ n.wrapping_mul(0x1234_5678_9ABC_DEF1));
    if model.is_empty() {
        return Step::Create;
    }
    match dice.roll(20) {
        0..8 => Step::Put(1 + dice.roll(130) as u32),
        8..11 => Step::Remove(dice.roll(1000) as u32),
        11..14 => Step::Seal,
        14..16 => Step::Graph(dice.roll(100_000) as usize),
        16..18 => Step::Compact,
        _ if model.contains_key("copy") => Step::DropCopy,
        _ => Step::Copy,
    }
}

/// The slots that a removal takes: every seventh from some place on.
fn victims(held: &Held, from: u32) -> Vec<u32> {
    held.slots.keys().copied().filter(|slot| slot % 7 == from % 7).take(20).collect()
}

fn apply(model: &mut Model, step: &Step) {
    let main = model.entry("main".into()).or_default();
    match step {
        Step::Create | Step::Seal | Step::Compact => {}
        Step::Put(count) => {
            (main.next..main.next + count).for_each(|n| _ = main.slots.insert(n, kept(&vector(n))));
            main.next += count;
        }
        Step::Remove(from) => victims(main, *from).iter().for_each(|slot| _ = main.slots.remove(slot)),
        Step::Graph(len) => main.graph = Some((*len, main.next)),
        Step::Copy => {
            let copy = main.clone();
            model.insert("copy".into(), copy);
        }
        Step::DropCopy => _ = model.remove("copy"),
    }
}

fn perform(store: &Store, home: &Path, model: &Model, step: &Step) -> eyeshot::Result<()> {
    if matches!(step, Step::Create) {
        return create(store);
    }
    let record = store.collection("main")?.unwrap();
    let (main, space) = (&model["main"], record.spaces[0].id);
    match step {
        Step::Create => Ok(()),
        Step::Put(count) => store.commit(puts(&record, main.next..main.next + count)),
        Step::Remove(from) => {
            let mut batch = Batch::default();
            for slot in victims(main, *from) {
                batch.remove_item(record.id, &item(slot));
                batch.remove_vector(space, slot);
            }
            store.commit(batch)
        }
        Step::Seal => store.seal(space).map(drop),
        Step::Graph(len) => {
            let write = |out: &mut dyn Write| out.write_all(&vec![*len as u8; *len]);
            store.put_graph(space, main.next, write).map(drop)
        }
        Step::Compact => store.compact().map(drop),
        Step::Copy => {
            let file = home.join("main.eyeshot");
            let _ = std::fs::remove_file(&file);
            store.backup(Some("main"), &file)?;
            store.restore(&file, None, Some("copy")).map(drop)
        }
        Step::DropCopy => store.drop_collection(&store.collection("copy")?.unwrap()),
    }
}

fn create(store: &Store) -> eyeshot::Result<()> {
    let (model, fingerprint) = ("m".to_owned(), "f".to_owned());
    let id = store.next_number()?;
    let space =
        SpaceRecord { id, modality: Modality::Image, model, fingerprint, dim: DIM, codes: Codes::Int8 };
    let mut batch = Batch::default();
    let name = "main".to_owned();
    batch.put_collection(&CollectionRecord {
        id: store.next_number()?,
        name,
        spaces: vec![space],
        shadow: vec![],
    })?;
    store.commit(batch)
}

fn item(n: u32) -> Item {
    let fields = serde_json::json!({
        "id": n, "key": format!("file:///{n}"), "hash": ContentHash::of(&n.to_le_bytes()),
        "size": 1, "width": 1, "height": 1, "format": "png",
    });
    serde_json::from_value(fields).unwrap()
}

/// Every third item has a small picture.
fn thumbnail(n: u32) -> Option<Vec<u8>> {
    n.is_multiple_of(3).then(|| vec![n as u8; n as usize % 50])
}

fn puts(record: &CollectionRecord, slots: std::ops::Range<u32>) -> Batch {
    let mut batch = Batch::default();
    batch.put_next_item(record.id, slots.end.into());
    for n in slots {
        let item = item(n);
        let (source, stamp) = ("s".to_owned(), "t".to_owned());
        let manifest = Manifest { source, stamp, hash: item.hash, item: item.id };
        batch.put_manifest(record.id, &item.key, &manifest).unwrap();
        batch.put_item(record.id, &item).unwrap();
        batch.put_vector(record.spaces[0].id, n, ItemId(n.into()), &vector(n));
        if let Some(bytes) = thumbnail(n) {
            batch.put_thumbnail(record.id, item.id, bytes);
        }
    }
    batch
}

/// What the store holds, after checking that it agrees with itself.
fn held(store: &Store) -> Model {
    assert_eq!(store.check(None).unwrap(), []);
    let mut model = Model::new();
    for record in store.collections().unwrap() {
        let space = record.spaces[0].id;
        let slots: BTreeMap<u32, Vec<f32>> =
            store.vectors(space).map(|row| row.map(|(slot, v)| (slot, v.vector)).unwrap()).collect();
        let items: Vec<u32> = store.items(record.id).map(|i| i.unwrap().id.0 as u32).collect();
        assert!(slots.keys().eq(&items), "every item has its vector");
        for n in items {
            assert_eq!(store.thumbnail(record.id, ItemId(n.into())).unwrap(), thumbnail(n), "of item {n}");
        }
        let graph = store.graph(space).unwrap().map(|g| {
            assert!(g.bytes.iter().all(|b| *b == g.bytes.len() as u8));
            (g.bytes.len(), g.last_slot)
        });
        model.insert(record.name, Held { next: store.next_slot(space).unwrap(), slots, graph });
    }
    model
}

/// The model after so many steps.
fn after(seed: u64, steps: u64) -> Model {
    let mut model = Model::new();
    for n in 0..steps {
        let step = step(seed, n, &model);
        apply(&mut model, &step);
    }
    model
}

/// Opens what a fault left, and tells how many steps it holds: those acknowledged, or one more.
fn survived(seed: u64, acknowledged: u64, home: &Path, what: &str) -> u64 {
    let store = Store::open(&home.join("data")).unwrap_or_else(|e| panic!("{what}: {e}"));
    let found = held(&store);
    let is = |steps: &u64| after(seed, *steps) == found;
    let steps = [acknowledged, acknowledged + 1].into_iter().find(is);
    let model = after(seed, acknowledged);
    let next = step(seed, acknowledged, &model);
    steps.unwrap_or_else(|| panic!("{what}: seed {seed}, step {acknowledged}, {next:?}: found {found:?}"))
}

/// Takes steps from number `from` on, until one fails or `limit` is reached; returns how many are done then.
fn go(store: &Store, seed: u64, from: u64, limit: u64, home: &Path, acknowledge: &mut dyn FnMut(u64)) -> u64 {
    let mut model = after(seed, from);
    for n in from..limit {
        let step = step(seed, n, &model);
        if perform(store, home, &model, &step).is_err() {
            return n;
        }
        acknowledge(n + 1);
        apply(&mut model, &step);
    }
    limit
}

/// A folder in memory where there is such a thing: a process that dies loses nothing of it, and it is quick.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn seed() -> u64 {
    let drawn =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("EYESHOT_TEST_SEED").unwrap_or_else(drawn);
    println!("seed {seed}");
    seed
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// How many writes the steps of the fault tests take, and that without a fault they end as the model does.
fn writes(seed: u64, steps: u64) -> u64 {
    let home = scratch();
    let passed = Arc::new(AtomicU64::new(0));
    let counter = passed.clone();
    let gate = Gate::new(move |n| {
        counter.store(n + 1, Ordering::SeqCst);
        true
    });
    let store = Store::open_gated(&home.path().join("data"), gate).unwrap();
    assert_eq!(go(&store, seed, 0, steps, home.path(), &mut |_| ()), steps);
    assert_eq!(held(&store), after(seed, steps), "seed {seed}");
    passed.load(Ordering::SeqCst)
}

const STEPS: u64 = 16;

#[test]
fn every_write_may_be_refused() {
    let seed = seed();
    let all = writes(seed, STEPS);
    for n in 0..all {
        let home = scratch();
        let gate = Gate::new(move |passed| passed < n);
        let store = Store::open_gated(&home.path().join("data"), gate);
        let mut done = 0;
        if let Ok(store) = &store {
            done = go(store, seed, 0, STEPS, home.path(), &mut |_| ());
            assert!(store.next_number().is_err(), "write {n}: a store whose write failed takes more");
        }
        drop(store);
        let done = survived(seed, done, home.path(), &format!("write {n} of {all} refused"));
        // It goes on from there as if nothing had been.
        let store = Store::open(&home.path().join("data")).unwrap();
        assert_eq!(go(&store, seed, done, STEPS, home.path(), &mut |_| ()), STEPS, "seed {seed}, write {n}");
        assert_eq!(held(&store), after(seed, STEPS), "seed {seed}, write {n}");
    }
}

#[test]
fn the_process_may_die_at_every_write() {
    let seed = seed();
    let all = writes(seed, STEPS);
    for n in 0..all {
        let home = scratch();
        child(home.path(), seed, 0, Some(n)).wait().unwrap();
        survived(seed, acknowledged(home.path()), home.path(), &format!("died at write {n} of {all}"));
    }
}

#[test]
fn the_process_may_be_killed_at_any_moment() {
    let seed = seed();
    let mut dice = Dice(seed);
    let home = scratch();
    let mut done = 0;
    for kill in 0..number("EYESHOT_TEST_KILLS").unwrap_or(25) {
        let mut child = child(home.path(), seed, done, None);
        // Three in four die at work, the others while they open what the last one left.
        if dice.roll(4) > 0 {
            let said = BufReader::new(child.stdout.take().unwrap());
            said.lines().map_while(Result::ok).find(|line| line.contains("ready"));
        }
        std::thread::sleep(Duration::from_micros(dice.roll(50_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = acknowledged(home.path()).max(done);
        done = survived(seed, acknowledged, home.path(), &format!("kill {kill}"));
    }
    println!("{done} steps");
}

fn child(home: &Path, seed: u64, from: u64, die_at: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "takes_steps_until_it_dies", "--ignored", "--nocapture"]);
    command.env("EYESHOT_TEST_HOME", home).env("EYESHOT_TEST_SEED", seed.to_string());
    command.env("EYESHOT_TEST_FROM", from.to_string());
    if let Some(n) = die_at {
        command.env("EYESHOT_TEST_DIE_AT", n.to_string());
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// How many steps the child said were done.
fn acknowledged(home: &Path) -> u64 {
    let said = std::fs::read_to_string(home.join("done")).unwrap_or_default();
    said.split_inclusive('\n')
        .rfind(|line| line.ends_with('\n'))
        .map_or(0, |line| line.trim().parse().unwrap())
}

/// The process that is killed; run by the tests above.
#[test]
#[ignore = "run by other tests"]
fn takes_steps_until_it_dies() {
    let Some(home) = std::env::var_os("EYESHOT_TEST_HOME").map(PathBuf::from) else { return };
    let die_at = number("EYESHOT_TEST_DIE_AT");
    let gate = Gate::new(move |n| {
        if Some(n) == die_at {
            std::process::abort();
        }
        true
    });
    let store = Store::open_gated(&home.join("data"), gate).unwrap();
    println!("ready");
    let mut done = File::options().create(true).append(true).open(home.join("done")).unwrap();
    let limit = if die_at.is_some() { STEPS } else { u64::MAX };
    let from = number("EYESHOT_TEST_FROM").unwrap_or_default();
    go(&store, number("EYESHOT_TEST_SEED").unwrap(), from, limit, &home, &mut |n| {
        done.write_all(format!("{n}\n").as_bytes()).unwrap();
    });
}
