//! What a writer costs those who search meanwhile.
//!
//! `cargo bench --bench writer [-- --vectors 200000 --dim 512 --rate 1000 --seconds 30]`: an index of so many vectors, one
//! client that searches without pause (a breath of 1 ms after each, as a network would give), first alone, then beside a writer
//! that adds `--rate` vectors a second, removes a tenth as many, and has the graph mended when that is due. Now and then a
//! search is repeated exactly, untimed, for the recall.

use eyeshot::index::{Index, Params, SearchOptions};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

type Failed = Box<dyn std::error::Error>;

/// One search in this many is checked.
const CHECKED: usize = 50;
/// A writer's batch.
const BATCH: usize = 50;
const K: usize = 10;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().collect();
    let of = |name: &str, usual: usize| {
        let given = arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
        given.map_or(Ok(usual), |value| value.parse())
    };
    let (count, dim) = (of("--vectors", 200_000)?, of("--dim", 512)?);
    let (rate, seconds) = (of("--rate", 1_000)?, of("--seconds", 30)?);
    let world = World::new(dim);
    let index = Index::new(dim, Params::default())?;
    let add = |from: usize, many: usize| -> Result<(), Failed> {
        let made: Vec<Vec<f32>> = (from..from + many).map(|id| world.vector(id as u64)).collect();
        let items: Vec<(u32, &[f32])> = (from as u32..).zip(made.iter().map(Vec::as_slice)).collect();
        Ok(index.insert_many(&items)?)
    };
    for from in (0..count).step_by(4096) {
        add(from, 4096.min(count - from))?;
    }
    index.rebuild()?;
    println!("{count} vectors of {dim}; breadth {}", index.health().ef);
    let time = Duration::from_secs(seconds as u64);
    watch("alone", &index, &world, time)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<f64, String> {
            let begun = Instant::now();
            let mut written = 0;
            while !done.load(Ordering::Relaxed) {
                add(count + written, BATCH).map_err(|e| e.to_string())?;
                written += BATCH;
                for n in 0..BATCH / 10 {
                    index.remove(((written + n) * 7919 % count) as u32);
                }
                let due = Duration::from_secs_f64(written as f64 / rate as f64);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            }
            Ok(written as f64 / begun.elapsed().as_secs_f64())
        });
        let builder = scope.spawn(|| {
            let mut built = 0;
            while !done.load(Ordering::Relaxed) {
                if index.needs_rebuild() && index.rebuild().is_ok() {
                    built += 1;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            built
        });
        let watched = watch("beside a writer", &index, &world, time);
        done.store(true, Ordering::Relaxed);
        let (written, built) = (writer.join(), builder.join());
        println!("written a second: {:.0}; graphs mended: {}", written.unwrap()?, built.unwrap());
        watched
    })
}

/// Searches for so long, and says how it went.
fn watch(what: &str, index: &Index, world: &World, time: Duration) -> Result<(), Failed> {
    let (begun, mut times, mut hits, mut checked) = (Instant::now(), Vec::new(), 0, 0);
    while begun.elapsed() < time {
        let query = world.vector(u64::MAX / 2 + times.len() as u64);
        let start = Instant::now();
        let found = index.search(&query, K, &SearchOptions::default())?;
        times.push(start.elapsed());
        if times.len() % CHECKED == 0 {
            // What was added in between may push one out: that is counted as a miss.
            let right =
                index.search(&query, K, &SearchOptions { exact: true, ..SearchOptions::default() })?;
            hits += right.iter().filter(|r| found.iter().any(|f| f.id == r.id)).count();
            checked += K;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    times.sort();
    let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e6;
    let recall = hits as f64 / checked.max(1) as f64;
    let count = times.len();
    println!(
        "{what}: {count} searches, p50 {:.0} us, p99 {:.0} us, worst {:.0} us, recall {recall:.3}",
        at(0.5),
        at(0.99),
        at(0.99999)
    );
    Ok(())
}

/// Clustered vectors, each the same whenever it is asked for.
struct World {
    centres: Vec<Vec<f32>>,
    dim: usize,
}

impl World {
    fn new(dim: usize) -> Self {
        let centres = (0..2_000).map(|c| noise(1 << 40 | c, dim).collect()).collect();
        World { centres, dim }
    }

    fn vector(&self, id: u64) -> Vec<f32> {
        let centre =
            &self.centres[(noise(id, 1).next().unwrap_or(0.0).abs() * 1e6) as usize % self.centres.len()];
        centre.iter().zip(noise(id ^ 1 << 41, self.dim)).map(|(c, n)| c + 0.7 * n).collect()
    }
}

/// About normal numbers: sums of three uniform ones (splitmix64).
fn noise(seed: u64, count: usize) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut uniform = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(move |_| uniform() + uniform() + uniform())
}
