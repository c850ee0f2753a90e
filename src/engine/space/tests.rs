use super::super::recall::Watch;
use super::*;
use crate::store::{Batch, CollectionRecord};

const DIM: usize = 8;

fn vector(n: u32) -> Vec<f32> {
    let number = |i: u32| ((n * 97 + i * 31) * (n + 7 * i + 3) % 1009) as f32 - 504.0;
    crate::store::kept(&(0..DIM as u32).map(number).collect::<Vec<f32>>())
}

fn record() -> SpaceRecord {
    let (modality, codes) = (Modality::Image, Codes::default());
    SpaceRecord { id: 1, modality, model: "m".into(), fingerprint: "f".into(), dim: DIM, codes }
}

/// Those that guide and those that do not share no vector, and leave none out.
#[test]
fn some_never_guide() {
    let home = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(home.path()).unwrap());
    let record = SpaceRecord {
        id: store.next_number().unwrap(),
        modality: Modality::Caption,
        model: "m".into(),
        fingerprint: "f".into(),
        dim: DIM,
        codes: Codes::Int8,
    };
    let space = Space::open(&store, record).unwrap();
    let rows: Vec<_> = (0..500).map(|n| (n, ItemId(n.into()), vector(n))).collect();
    space.add(&rows).unwrap();
    let (some, others) = (space.sample(1000, guides), space.sample(1000, |slot| !guides(slot)));
    assert!(some.len() + others.len() == 500 && !others.is_empty());
    assert!(others.iter().all(|other| !some.contains(other)));
    assert_eq!(space.sample(10, guides).len(), 10);
}

/// Short codes decide nothing where exact answers are asked for.
#[test]
fn exact_answers_are_those_of_what_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(home.path()).unwrap());
    let space = Space::open(&store, SpaceRecord { codes: Codes::Int4, ..record() }).unwrap();
    let mut batch = Batch::default();
    let rows: Vec<_> = (0..400).map(|n| (n, ItemId(u64::from(n) / 2), vector(n))).collect();
    rows.iter().for_each(|(slot, item, v)| batch.put_vector(1, *slot, *item, v));
    store.commit(batch).unwrap();
    space.add(&rows).unwrap();
    for (query, threshold) in [(1000, None), (1001, Some(0.5)), (1002, None)] {
        let query = vector(query);
        let cosine = |v: &Vec<f32>| dot(&query, v) / (dot(&query, &query) * dot(v, v)).sqrt();
        let mut wanted = std::collections::BTreeMap::<ItemId, f32>::new();
        for (_, item, v) in &rows {
            let best = wanted.entry(*item).or_insert(-1.0);
            *best = best.max(cosine(v));
        }
        let mut wanted: Vec<(ItemId, f32)> = wanted.into_iter().collect();
        wanted.retain(|(_, score)| threshold.is_none_or(|least| *score >= least));
        wanted.sort_by(|a, b| b.1.total_cmp(&a.1));
        let options = SearchOptions { exact: true, threshold, ..SearchOptions::default() };
        let found = space.search(&query, 12, &options).unwrap();
        let items = |hits: &[(ItemId, f32)]| hits.iter().map(|hit| hit.0).collect::<Vec<_>>();
        assert_eq!(items(&found), items(&wanted[..12.min(wanted.len())]));
        assert!(found.iter().zip(&wanted).all(|(found, wanted)| (found.1 - wanted.1).abs() < 1e-5));
    }
}

/// A graph is stored when it is built, taken up at the next opening, and done without where it is damaged.
#[test]
fn graphs_outlive_the_process() {
    let home = tempfile::tempdir().unwrap();
    let record = record();
    let params = Params { scan_below: 100, tail_limit: 50, ..Params::default() };
    let open = || {
        let store = Arc::new(Store::open(home.path()).unwrap());
        let space = Space::open_with(&store, record.clone(), params.clone()).unwrap();
        (store, space)
    };
    let put = |store: &Store, space: &Space, slots: std::ops::Range<u32>| {
        let rows: Vec<_> = slots.map(|n| (n, ItemId(n.into()), vector(n))).collect();
        let mut batch = Batch::default();
        rows.iter().for_each(|(slot, item, v)| batch.put_vector(1, *slot, *item, v));
        store.commit(batch).unwrap();
        space.add(&rows).unwrap();
    };
    let check = |space: &Space, gone: &[u64]| {
        for n in (0..320).step_by(29) {
            let found = space.search(&vector(n), 1, &SearchOptions::default()).unwrap();
            let exact = SearchOptions { exact: true, ..SearchOptions::default() };
            assert_eq!(found, space.search(&vector(n), 1, &exact).unwrap());
            assert!(gone.contains(&n.into()) || found[0].1 > 0.999, "{n}: {found:?}");
            assert!(!gone.contains(&found[0].0.0), "{n} is gone");
        }
    };
    let (store, space) = open();
    let mut batch = Batch::default();
    let collection =
        CollectionRecord { id: 2, name: "c".into(), spaces: vec![record.clone()], shadow: vec![] };
    batch.put_collection(&collection).unwrap();
    store.commit(batch).unwrap();
    put(&store, &space, 0..300);
    space.settle().unwrap();
    assert!(store.graph(1).unwrap().is_some());
    // What changes after the graph was stored.
    let mut batch = Batch::default();
    batch.remove_vector(1, 29);
    store.commit(batch).unwrap();
    space.remove(&[29]);
    put(&store, &space, 300..320);
    check(&space, &[29]);
    drop((store, space));

    let (store, space) = open();
    let health = space.vectors.index.health();
    assert_eq!((health.vectors, health.tail, health.unreachable), (319, 20, 0), "linked as it was");
    check(&space, &[29]);
    store.put_graph(1, 0, |out| out.write_all(b"not a graph")).unwrap();
    drop((store, space));

    let (_store, space) = open();
    space.settle().unwrap();
    check(&space, &[29]);
    assert_eq!(space.len(), 319);
}

/// What a scan tells of a graph's answer: all of it right, a miss in ten, and no graph to speak of.
#[test]
fn answers_are_checked_behind_their_back() {
    let home = tempfile::tempdir().unwrap();
    let record = record();
    let params = Params { scan_below: 100, tail_limit: 50, ..Params::default() };
    let store = Arc::new(Store::open(home.path()).unwrap());
    let mut batch = Batch::default();
    let collection =
        CollectionRecord { id: 2, name: "c".into(), spaces: vec![record.clone()], shadow: vec![] };
    batch.put_collection(&collection).unwrap();
    store.commit(batch).unwrap();
    let space = Space::open_with(&store, record, params).unwrap();
    let (watch, options) = (Watch::default(), SearchOptions::default());
    watch.set(1.0);
    let checked = |k: usize, allowed: Option<&RoaringBitmap>, spoil: bool, wanted: u64| {
        let options = SearchOptions { allowed, ..SearchOptions::default() };
        let mut found = space.search(&vector(7), k, &options).unwrap();
        if spoil {
            found.remove(0);
            found.push(*space.search(&vector(7), k + 1, &options).unwrap().last().unwrap());
        }
        space.check(&vector(7), k, &options, &found).into_iter().for_each(|check| watch.offer(check));
        let began = std::time::Instant::now();
        while space.tally.read().count < wanted && began.elapsed().as_secs() < 20 {
            std::thread::yield_now();
        }
        space.tally.read()
    };
    let rows: Vec<_> = (0..300).map(|n| (n, ItemId(n.into()), vector(n))).collect();
    space.add(&rows[..20]).unwrap();
    assert!(space.check(&vector(7), 10, &options, &[]).is_none(), "scans are right");
    space.add(&rows[20..]).unwrap();
    space.settle().unwrap();
    assert_eq!(checked(10, None, false, 1).buckets, [0, 0, 0, 0, 0, 1]);
    assert_eq!(checked(25, None, false, 2).buckets, [0, 0, 0, 0, 0, 2], "the ten best of more");
    assert_eq!(checked(10, None, true, 3).buckets, [0, 0, 0, 0, 1, 2], "one of ten is missing");
    let few: RoaringBitmap = (100..104).collect();
    assert_eq!(checked(10, Some(&few), false, 4).buckets, [0, 0, 0, 0, 1, 3], "four are all that there are");
    assert!((space.state().recalled.sum - 3.9).abs() < 1e-6);
}
