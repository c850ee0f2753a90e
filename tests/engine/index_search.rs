//! The index against a plain map that scores everything: same answers, whatever happened before.

use eyeshot::index::{Index, Neighbor, Params, QueryKind, SearchOptions};
use eyeshot::types::Codes;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

/// Scores may differ by what compact codes lose.
const TOLERANCE: f32 = 4e-4;
/// Of 8 bits that is more, and more again where a component is so large that it is cut.
const TOLERANCE_INT4: f32 = 3e-2;

/// SplitMix64: the same numbers everywhere.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn normal(&mut self) -> f32 {
        let uniform = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let (u, v) = (uniform(self.next()), uniform(self.next()));
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    fn vector(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| self.normal()).collect()
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()) as f32
}

/// What the index must answer, worked out the slow way.
fn oracle(
    map: &BTreeMap<u32, Vec<f32>>,
    query: &[f32],
    k: usize,
    options: &SearchOptions<'_>,
) -> Vec<Neighbor> {
    let mut all: Vec<Neighbor> = map
        .iter()
        .filter(|(id, _)| options.allowed.is_none_or(|set| set.contains(**id)))
        .map(|(&id, vector)| Neighbor { id, score: cosine(query, vector) })
        .filter(|n| options.threshold.is_none_or(|t| n.score >= t))
        .collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    all.truncate(k);
    all
}

/// Exact answers: as many, in order, each id once with its own score, each place with the right score.
fn check_exact(
    found: &[Neighbor],
    right: &[Neighbor],
    tolerance: f32,
    score_of: impl Fn(u32) -> Option<f32>,
    what: &str,
) {
    assert_eq!(found.len(), right.len(), "{what}: {found:?} instead of {right:?}");
    for (found, right) in found.iter().zip(right) {
        assert!((found.score - right.score).abs() <= tolerance, "{what}: {found:?} in place of {right:?}");
        let own = score_of(found.id).unwrap_or_else(|| panic!("{what}: {} is not there", found.id));
        assert!((found.score - own).abs() <= tolerance, "{what}: {found:?}, really {own}");
    }
    assert!(found.windows(2).all(|w| w[0].score >= w[1].score), "{what}: not in order");
    let ids: BTreeSet<u32> = found.iter().map(|n| n.id).collect();
    assert_eq!(ids.len(), found.len(), "{what}: an id twice");
}

fn recall(found: &[Neighbor], right: &[Neighbor]) -> f64 {
    let hits = right.iter().filter(|r| found.iter().any(|f| f.id == r.id)).count();
    hits as f64 / right.len().max(1) as f64
}

#[test]
fn vectors_that_cannot_be_compared_are_refused() {
    let index = Index::new(4, Params::default()).unwrap();
    let cases: [(&[f32], &str); 6] = [
        (&[1.0, 0.0, 0.0], "3 numbers"),
        (&[1.0, 0.0, 0.0, 0.0, 0.0], "5 numbers"),
        (&[], "0 numbers"),
        (&[1.0, f32::NAN, 0.0, 0.0], "number 1 is not finite"),
        (&[1.0, 0.0, 0.0, f32::INFINITY], "number 3 is not finite"),
        (&[0.0, -0.0, 0.0, 0.0], "zero"),
    ];
    for (vector, reason) in cases {
        for error in [
            index.insert(7, vector).unwrap_err(),
            index.insert_many(&[(1, &[1.0, 0.0, 0.0, 0.0]), (7, vector)]).unwrap_err(),
            index.search(vector, 3, &SearchOptions::default()).unwrap_err(),
        ] {
            assert!(error.to_string().contains(reason), "{vector:?}: {error}");
        }
    }
    assert!(index.is_empty(), "nothing goes in when one of many is refused");
    for vector in [[f32::MAX; 4], [1e-45; 4]] {
        index.insert(1, &vector).unwrap();
        let hit = index.search(&[0.1, 0.1, 0.1, 0.1], 1, &SearchOptions::default()).unwrap()[0];
        assert!((hit.score - 1.0).abs() <= TOLERANCE, "{vector:?}: {hit:?}");
    }
}

#[test]
fn senseless_settings_are_refused() {
    for dim in [0, 1 << 20] {
        assert!(Index::new(dim, Params::default()).is_err(), "dim {dim}");
    }
    for params in [Params { m: 0, ..Params::default() }, Params { ef_construction: 1, ..Params::default() }] {
        assert!(Index::new(8, params).is_err());
    }
}

#[test]
fn edges_have_answers() {
    let index = Index::new(2, Params { scan_below: 0, ..Params::default() }).unwrap();
    let all = SearchOptions::default();
    let found = |k, options: &SearchOptions<'_>| -> Vec<u32> {
        index.search(&[1.0, 0.0], k, options).unwrap().iter().map(|n| n.id).collect()
    };
    for linked in [false, true] {
        assert_eq!(found(10, &all), [0; 0], "empty, linked {linked}");
        index.rebuild().unwrap();
    }
    index.insert_many(&[(9, &[1.0, 1.0]), (4, &[3.0, 3.0]), (70_000, &[2.0, 0.0])]).unwrap();
    for linked in [false, true] {
        assert_eq!(found(0, &all), [0; 0], "k = 0, linked {linked}");
        assert_eq!(found(10, &all), [70_000, 4, 9], "k > n, and ties go by id, linked {linked}");
        assert_eq!(found(usize::MAX, &all), [70_000, 4, 9], "linked {linked}");
        assert_eq!(found(10, &SearchOptions { threshold: Some(0.9), ..all }), [70_000]);
        assert_eq!(found(10, &SearchOptions { allowed: Some(&RoaringBitmap::new()), ..all }), [0; 0]);
        assert_eq!(found(10, &SearchOptions { allowed: Some(&[9, 12].into_iter().collect()), ..all }), [9]);
        assert_eq!(found(1, &SearchOptions { ef: Some(0), ..all }), [70_000]);
        index.rebuild().unwrap();
    }
    index.insert(9, &[-1.0, 0.0]).unwrap();
    assert_eq!(found(10, &all), [70_000, 4, 9], "a replaced vector counts once");
    for id in [4, 9, 70_000] {
        assert!(index.remove(id));
        assert!(!index.remove(id), "twice");
    }
    assert_eq!(found(10, &all), [0; 0], "all removed");
    assert_eq!(index.vector(9), None);
    assert_eq!((index.len(), index.health().vectors), (0, 0));
    index.rebuild().unwrap();
    assert_eq!(found(10, &all), [0; 0], "all removed, rebuilt");
    assert_eq!(index.health().tombstones, 0);
}

/// Inserts, replacements, removals, searches and rebuilds in random order, against the map.
fn random_life(seed: u64, dim: usize, codes: Codes, steps: usize) {
    println!("seed {seed} dim {dim} {codes}");
    let mut rng = Rng(seed);
    let tolerance = if codes == Codes::Int4 { TOLERANCE_INT4 } else { TOLERANCE };
    let params = Params { scan_below: 200, tail_limit: 50, codes, ..Params::default() };
    let index = Index::new(dim, params).unwrap();
    let mut map = BTreeMap::new();
    for step in 0..steps {
        match rng.below(100) {
            0..60 => {
                let (id, vector) = (rng.below(600) as u32, rng.vector(dim));
                index.insert(id, &vector).unwrap();
                map.insert(id, vector);
            }
            60..75 => {
                let id = rng.below(600) as u32;
                assert_eq!(index.remove(id), map.remove(&id).is_some(), "seed {seed} step {step}");
            }
            75..97 => {
                let query = rng.vector(dim);
                let allowed: RoaringBitmap = (0..600).filter(|_| rng.below(4) == 0).collect();
                let (k, exact) = (rng.below(30), rng.below(2) == 0);
                let options = SearchOptions {
                    exact,
                    ef: Some(600),
                    allowed: (rng.below(2) == 0).then_some(&allowed),
                    threshold: (rng.below(3) == 0).then_some(0.1),
                    ..SearchOptions::default()
                };
                let found = index.search(&query, k, &options).unwrap();
                let right = oracle(&map, &query, k, &options);
                // A score this close to the threshold may fall on either side.
                if found.iter().chain(&right).any(|n| (n.score - 0.1).abs() < tolerance) {
                    continue;
                }
                let what = format!("seed {seed} step {step} {options:?}");
                check_exact(&found, &right, tolerance, |id| map.get(&id).map(|v| cosine(&query, v)), &what);
            }
            _ => index.rebuild().unwrap(),
        }
        assert_eq!(index.len(), map.len(), "seed {seed} step {step}");
    }
    for (id, vector) in &map {
        let held = index.vector(*id).unwrap();
        assert!((cosine(&held, vector) - 1.0).abs() < tolerance && held.len() == dim, "seed {seed} id {id}");
    }
}

#[test]
fn a_random_life_agrees_with_a_map() {
    for (seed, dim) in [(1, 1), (2, 2), (3, 17), (4, 64), (5, 100), (6, 192)] {
        random_life(seed, dim, Codes::Int8, 1500);
    }
    for (seed, dim) in [(7, 64), (8, 192)] {
        random_life(seed, dim, Codes::Int4, 1500);
    }
}

/// Random directions are the hardest case: nothing is near anything.
#[test]
fn random_directions_are_found() {
    let (n, dim, seed) = (20_000, 128, 11);
    println!("seed {seed}");
    let mut rng = Rng(seed);
    let base: BTreeMap<u32, Vec<f32>> = (0..n).map(|id| (id, rng.vector(dim))).collect();
    let queries: Vec<Vec<f32>> = (0..40).map(|_| rng.vector(dim)).collect();
    let items: Vec<(u32, &[f32])> = base.iter().map(|(&id, v)| (id, v.as_slice())).collect();
    let options = SearchOptions::default();
    let right: Vec<Vec<Neighbor>> = queries.iter().map(|q| oracle(&base, q, 10, &options)).collect();
    let measure = |codes| {
        let index = Index::new(dim, Params { codes, ..Params::default() }).unwrap();
        index.insert_many(&items).unwrap();
        if index.needs_rebuild() {
            index.rebuild().unwrap();
        }
        let found = queries.iter().map(|q| index.search(q, 10, &options).unwrap());
        let shares = found.zip(&right).map(|(found, right)| recall(&found, right));
        (shares.sum::<f64>() / queries.len() as f64, index.bytes())
    };
    let (found, bytes) = measure(Codes::Int8);
    // 396 of 400 are enough, whatever the order in which the shares are summed.
    assert!(found >= 0.99 - 1e-9, "seed {seed}: recall {found}");
    // The tenth nearest and the eleventh are often closer than 8 bits can tell.
    let (found, fewer) = measure(Codes::Int4);
    assert!(found >= 0.9 - 1e-9, "seed {seed}: recall {found} of int4");
    assert!(bytes - fewer >= dim / 2 * n as usize, "{fewer} bytes instead of {bytes}");
}

#[test]
fn searches_run_beside_writers_and_rebuilds() {
    let (dim, seed) = (32, 21);
    println!("seed {seed}");
    let mut rng = Rng(seed);
    let index = Index::new(dim, Params { scan_below: 100, tail_limit: 100, ..Params::default() }).unwrap();
    let keep: Vec<Vec<f32>> = (0..500).map(|_| rng.vector(dim)).collect();
    let kept: Vec<(u32, &[f32])> = keep.iter().zip(0..).map(|(v, id)| (id, v.as_slice())).collect();
    index.insert_many(&kept).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (index, keep, done) = (&index, &keep, &done);
            scope.spawn(move || {
                let mut at = reader;
                while !done.load(Ordering::Relaxed) {
                    at = (at + 7) % keep.len();
                    let hits = index.search(&keep[at], 3, &SearchOptions::default()).unwrap();
                    assert_eq!(
                        hits.first().map(|n| n.id),
                        Some(at as u32),
                        "a vector that stays is always found"
                    );
                    assert!(hits.windows(2).all(|w| w[0].id != w[1].id));
                }
            });
        }
        for round in 0..6u32 {
            for id in 0..200 {
                index.insert(10_000 + id, &rng.vector(dim)).unwrap();
                if id % 3 == round % 3 {
                    assert!(index.remove(10_000 + id));
                }
            }
            index.rebuild().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Vectors in a few dozen clusters, as images of few kinds.
fn clustered(rng: &mut Rng, centres: &[Vec<f32>], n: usize) -> Vec<Vec<f32>> {
    (0..n)
        .map(|_| {
            let centre = &centres[rng.below(centres.len())];
            centre.iter().map(|x| x + 0.5 * rng.normal()).collect()
        })
        .collect()
}

#[test]
fn a_graph_comes_back_from_its_bytes() {
    let (n, dim, seed) = (6_000, 48, 31);
    println!("seed {seed}");
    let mut rng = Rng(seed);
    let centres: Vec<Vec<f32>> = (0..40).map(|_| rng.vector(dim)).collect();
    let base = clustered(&mut rng, &centres, n);
    let params = Params { scan_below: 500, ..Params::default() };
    let index = Index::new(dim, params.clone()).unwrap();
    assert_eq!(index.graph_bytes(), None, "nothing is linked yet");
    let items: Vec<(u32, &[f32])> = base.iter().zip(0..).map(|(v, id)| (id, v.as_slice())).collect();
    index.insert_many(&items).unwrap();
    index.rebuild().unwrap();
    assert_eq!((index.health().unreachable, index.health().tail), (0, 0));
    for id in 100..200 {
        assert!(index.remove(id));
    }
    let graph = index.graph_bytes().unwrap();
    let living = || base.iter().zip(0..).filter(|(_, id)| !(100..200).contains(id));
    let stored = || living().map(|(v, id)| (id, v.clone()));
    let again = Index::from_parts(dim, params.clone(), &graph, stored()).unwrap();
    assert_eq!((again.len(), again.health().tail, again.health().unreachable), (n - 100, 0, 0));
    let breadths =
        |index: &Index| [QueryKind::Own, QueryKind::Sampled, QueryKind::Any].map(|kind| index.breadth(kind));
    let [own, sampled, any] = breadths(&index);
    assert!(
        0 < own && own < sampled && sampled == any,
        "nobody knows what texts need: {own}, {sampled}, {any}"
    );
    assert_eq!(breadths(&again), [own, sampled, any]);

    // As it was written when there was one breadth for all.
    let (magic, words, after) = (8, 4 * 8, 4 * 9);
    let mut former = [&graph[..magic + words], &graph[magic + after..graph.len() - 32]].concat();
    former[magic..magic + 4].copy_from_slice(&2u32.to_le_bytes());
    former.extend(*blake3::hash(&former).as_bytes());
    let again = Index::from_parts(dim, params.clone(), &former, stored()).unwrap();
    assert_eq!((again.health().tail, breadths(&again)), (0, [sampled; 3]));

    // The store may keep vectors in half precision.
    let halved =
        stored().map(|(id, v)| (id, v.iter().map(|x| (x * 1024.0).round() / 1024.0).collect::<Vec<f32>>()));
    assert_eq!(Index::from_parts(dim, params.clone(), &graph, halved).unwrap().health().tail, 0);

    // A vector that changed, one that is gone and one that is new since the graph was written.
    let changed = rng.vector(dim);
    let mut vectors: Vec<(u32, Vec<f32>)> = stored().filter(|(id, _)| *id != 7).collect();
    vectors.iter_mut().filter(|(id, _)| *id == 9).for_each(|(_, v)| *v = changed.clone());
    vectors.push((9_999_999, rng.vector(dim)));
    let map: BTreeMap<u32, Vec<f32>> = vectors.iter().cloned().collect();
    let later = Index::from_parts(dim, params.clone(), &graph, vectors).unwrap();
    assert_eq!((later.len(), later.health().tail), (map.len(), 2));
    let options = SearchOptions { ef: Some(200), ..SearchOptions::default() };
    let queries = clustered(&mut rng, &centres, 50);
    let found =
        |q: &Vec<f32>| recall(&later.search(q, 10, &options).unwrap(), &oracle(&map, q, 10, &options));
    let mean = queries.iter().map(found).sum::<f64>() / 50.0;
    assert!(mean >= 0.97, "seed {seed}: recall {mean}");
    let own = later.search(&changed, 1, &options).unwrap();
    assert_eq!(own.first().map(|n| n.id), Some(9));

    // Any damage is an error, and never more than that.
    let none: [(u32, Vec<f32>); 0] = [];
    assert!(Index::from_parts(dim + 1, params.clone(), &graph, none).is_err(), "other dimension");
    assert!(Index::from_parts(dim, params.clone(), &graph, stored().take(n / 2)).is_err(), "other vectors");
    for cut in [0, 1, 8, 40, graph.len() / 2, graph.len() - 1] {
        assert!(Index::from_parts(dim, params.clone(), &graph[..cut], stored()).is_err(), "cut at {cut}");
    }
    for _ in 0..50 {
        let mut bad = graph.clone();
        bad[rng.below(graph.len())] ^= 1 << rng.below(8);
        assert!(Index::from_parts(dim, params.clone(), &bad, stored()).is_err());
    }
}

/// Filters of every share, spread evenly or lying all in one corner far from the query.
#[test]
fn filters_keep_recall() {
    let (n, dim, seed) = (12_000, 64, 41);
    println!("seed {seed}");
    let mut rng = Rng(seed);
    let centres: Vec<Vec<f32>> = (0..60).map(|_| rng.vector(dim)).collect();
    let base: BTreeMap<u32, Vec<f32>> = (0..).zip(clustered(&mut rng, &centres, n)).collect();
    let index = Index::new(dim, Params { scan_below: 500, ..Params::default() }).unwrap();
    let items: Vec<(u32, &[f32])> = base.iter().map(|(&id, v)| (id, v.as_slice())).collect();
    index.insert_many(&items).unwrap();
    index.rebuild().unwrap();
    let mut along: Vec<u32> = base.keys().copied().collect();
    along.sort_by(|a, b| cosine(&base[a], &centres[0]).total_cmp(&cosine(&base[b], &centres[0])));
    for share in [0.001, 0.01, 0.1, 0.5, 0.9] {
        let count = (n as f64 * share) as usize;
        let even: RoaringBitmap =
            base.keys().copied().filter(|_| rng.below(1000) < (share * 1000.0) as usize).collect();
        let far: RoaringBitmap = along[..count].iter().copied().collect();
        for (kind, allowed) in [("even", &even), ("far", &far)] {
            let options = SearchOptions { allowed: Some(allowed), ..SearchOptions::default() };
            let queries: Vec<Vec<f32>> =
                (0..20).map(|_| centres[0].iter().map(|x| x + 0.5 * rng.normal()).collect()).collect();
            let found = |q: &Vec<f32>| {
                let found = index.search(q, 10, &options).unwrap();
                assert!(found.iter().all(|n| allowed.contains(n.id)));
                recall(&found, &oracle(&base, q, 10, &options))
            };
            let mean = queries.iter().map(found).sum::<f64>() / queries.len() as f64;
            assert!(mean >= 0.98, "seed {seed}, {kind}, share {share}: recall {mean}");
        }
    }
}

/// Queries of another kind than the vectors: samples of them must not harm, and what is gone must stay gone.
#[test]
fn samples_guide_and_removals_hold() {
    let (n, dim, seed) = (9_000, 64, 51);
    println!("seed {seed}");
    let mut rng = Rng(seed);
    let centres: Vec<Vec<f32>> = (0..50).map(|_| rng.vector(dim)).collect();
    let base: BTreeMap<u32, Vec<f32>> = (0..).zip(clustered(&mut rng, &centres, n)).collect();
    let gap = rng.vector(dim);
    let texts = |rng: &mut Rng, n: usize| -> Vec<Vec<f32>> {
        clustered(rng, &centres, n)
            .iter()
            .map(|v| v.iter().zip(&gap).map(|(x, g)| 0.6 * x + g).collect())
            .collect()
    };
    let index = Index::new(dim, Params { scan_below: 500, ..Params::default() }).unwrap();
    let items: Vec<(u32, &[f32])> = base.iter().map(|(&id, v)| (id, v.as_slice())).collect();
    index.insert_many(&items).unwrap();
    let samples = texts(&mut rng, 3_000);
    index.add_sample_queries(&samples.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    assert!(index.add_sample_queries(&[&[f32::NAN; 64]]).is_err());
    index.rebuild().unwrap();
    let mut map = base.clone();
    for id in (0..n as u32).filter(|id| id % 3 == 0) {
        map.remove(&id);
        index.remove(id);
    }
    for round in 0..2 {
        assert_eq!(index.health().unreachable, 0);
        let (own, others) = (clustered(&mut rng, &centres, 500), texts(&mut rng, 500));
        let asked = [(QueryKind::Own, &own), (QueryKind::Sampled, &others), (QueryKind::Any, &others)];
        for (kind, queries) in asked {
            let options = SearchOptions { kind, ..SearchOptions::default() };
            let mean = queries
                .iter()
                .map(|q| {
                    let found = index.search(q, 10, &options).unwrap();
                    assert!(
                        found.iter().all(|n| map.contains_key(&n.id)),
                        "seed {seed}: a removed one came back"
                    );
                    recall(&found, &oracle(&map, q, 10, &options))
                })
                .sum::<f64>()
                / 500.0;
            assert!(mean >= 0.98, "seed {seed} round {round}, {kind:?}: recall {mean}");
        }
        index.rebuild().unwrap();
        assert_eq!(index.health().tombstones, 0, "a third is gone: the graph is built afresh");
    }
}

/// A rebuild links what came since into the graph that answers, while searches go on.
#[test]
fn a_tail_is_linked_in_place() {
    let (dim, seed) = (48, 61);
    println!("seed {seed}");
    let mut rng = Rng(seed);
    let centres: Vec<Vec<f32>> = (0..40).map(|_| rng.vector(dim)).collect();
    let base = clustered(&mut rng, &centres, 9_000);
    let map: BTreeMap<u32, Vec<f32>> = (0..).zip(base.iter().cloned()).collect();
    let index = Index::new(dim, Params { scan_below: 500, tail_limit: 500, ..Params::default() }).unwrap();
    let items: Vec<(u32, &[f32])> = base.iter().zip(0..).map(|(v, id)| (id, v.as_slice())).collect();
    index.insert_many(&items[..6_000]).unwrap();
    index.rebuild().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (index, base, done) = (&index, &base, &done);
        scope.spawn(move || {
            for at in (0..6_000).cycle().step_by(7).take_while(|_| !done.load(Ordering::Relaxed)) {
                let hits = index.search(&base[at], 5, &SearchOptions::default()).unwrap();
                let ids: BTreeSet<u32> = hits.iter().map(|n| n.id).collect();
                assert_eq!(ids.len(), 5, "each once, beside a rebuild");
            }
        });
        for some in items[6_000..].chunks(1_000) {
            index.insert_many(some).unwrap();
            assert!(index.needs_rebuild());
            index.rebuild().unwrap();
            assert!(!index.needs_rebuild());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!((index.health().tail, index.health().unreachable), (0, 0));
    let options = SearchOptions { ef: Some(64), ..SearchOptions::default() };
    let queries = clustered(&mut rng, &centres, 50);
    let found =
        |q: &Vec<f32>| recall(&index.search(q, 10, &options).unwrap(), &oracle(&map, q, 10, &options));
    let mean = queries.iter().map(found).sum::<f64>() / 50.0;
    assert!(mean >= 0.97, "seed {seed}: recall {mean}");
}

#[test]
fn copies_do_not_ask_for_the_widest_walk() {
    // Which of three that are equal are among the ten nearest says nothing about a walk.
    let (dim, mut rng) = (16, Rng(31));
    let index = Index::new(dim, Params { scan_below: 100, ..Params::default() }).unwrap();
    for id in 0..1000 {
        let vector = rng.vector(dim);
        index.insert_many(&[0, 1, 2].map(|copy| (3 * id + copy, vector.as_slice()))).unwrap();
    }
    index.rebuild().unwrap();
    let health = index.health();
    assert!(health.ef < 2048, "breadth {}", health.ef);
    assert_eq!(health.unreachable, 0);
}
