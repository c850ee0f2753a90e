//! `eyeshot eval ann --base`: recall and speed of the index on any data set.
//!
//! 1. Read the arrays; work out the right answers by scoring everything in full precision.
//! 2. Insert, build (guided by the sample queries, if given), write the graph down and open it again.
//! 3. For each `ef`: pass over the queries several times; recall, and what a query takes.

use super::npy::{self, Array};
use crate::error::{Error, Result};
use crate::index::{Index, Neighbor, Params, SearchOptions};
use crate::types::Codes;
use rayon::prelude::*;
use roaring::RoaringBitmap;
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The vectors: f32, n x d.
    pub base: PathBuf,
    /// The queries: f32, q x d.
    pub queries: PathBuf,
    /// Vectors like the queries, which guide the graph.
    pub sample_queries: Option<PathBuf>,
    /// Which vectors may answer: bool, one row of n for all queries or one for each.
    pub allow: Option<PathBuf>,
    /// How many neighbours are looked for.
    pub k: usize,
    /// Breadths to try. None: what the index found fit.
    pub ef: Vec<usize>,
    /// Threads that search at the same time.
    pub threads: usize,
    /// How vectors are kept in memory.
    pub codes: Codes,
}

/// One breadth.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Breadth of the search.
    pub ef: usize,
    /// Share of the right answers that were found.
    pub recall: f64,
    /// Queries a second, by the clock.
    pub qps: f64,
    /// Processor time a query, all threads, in microseconds: tells more than the clock on a busy machine.
    pub cpu_us: f64,
    /// What half of the queries stay under, in microseconds.
    pub p50_us: f64,
    /// What 99 of 100 stay under.
    pub p99_us: f64,
}

/// The index.
#[derive(Debug, Serialize)]
pub struct Built {
    /// Processor time of the build, all threads.
    pub build_cpu_s: f64,
    /// Memory that serving takes.
    pub ram_bytes: usize,
    /// What has to be kept: the graph as it is written, and the vectors in half precision.
    pub disk_bytes: usize,
    /// Clock time from stored graph and vectors to the first answer.
    pub open_s: f64,
    /// Processor time of the same, all threads.
    pub open_cpu_s: f64,
    /// Vectors that no path leads to.
    pub unreachable: usize,
    /// The breadth that the index recommends for itself.
    pub recommended_ef: usize,
}

/// A pass over the queries is repeated this often at least, and for this long.
const PASSES: usize = 3;
const AT_LEAST: Duration = Duration::from_millis(500);
/// A neighbour this close to the k-th best is as good: the order of near ties is rounding.
const TIE: f32 = 1e-6;

/// Measures, and writes a line for each breadth, then one for the index; as JSON or for people.
pub fn run(settings: &Settings, json: bool, out: &mut dyn Write) -> Result<()> {
    let data = Data::read(settings)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(settings.threads).build();
    let pool = pool.map_err(|e| Error::Compute { reason: e.to_string() })?;
    let right = data.right(settings.k);
    let (index, built) = data.build(settings.codes)?;
    let efs = if settings.ef.is_empty() { vec![index.health().ef] } else { settings.ef.clone() };
    for ef in efs {
        let row = pool.install(|| data.measure(&index, settings.k, ef, &right))?;
        let people = format!(
            "ef {:<5} recall@{} {:.4}   {:>8.0} queries/s   p50 {:.0} us   p99 {:.0} us",
            row.ef, settings.k, row.recall, row.qps, row.p50_us, row.p99_us
        );
        line(out, json, &row, &people)?;
    }
    let people = format!(
        "built in {:.1} s of processor time; {} MiB in memory, {} MiB to keep, open in {:.2} s; {} unreachable; ef {} \
         recommended",
        built.build_cpu_s,
        built.ram_bytes >> 20,
        built.disk_bytes >> 20,
        built.open_s,
        built.unreachable,
        built.recommended_ef
    );
    line(out, json, &built, &people)
}

fn line(out: &mut dyn Write, json: bool, record: &impl Serialize, people: &str) -> Result<()> {
    let text = if json { serde_json::to_string(record).unwrap_or_default() } else { people.to_owned() };
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|e| Error::io("standard output", e))
}

/// The arrays, checked against one another.
struct Data {
    base: Array<f32>,
    queries: Array<f32>,
    samples: Option<Array<f32>>,
    /// One for all queries, or one for each; none: all may answer.
    allowed: Vec<RoaringBitmap>,
}

impl Data {
    fn read(settings: &Settings) -> Result<Self> {
        for (name, value) in [("k", settings.k), ("threads", settings.threads)] {
            if value == 0 {
                return Err(Error::invalid(format!("--{name} 0"), "1 or more"));
            }
        }
        let base = npy::read_f32(&settings.base)?;
        let queries = npy::read_f32(&settings.queries)?;
        let samples = settings.sample_queries.as_deref().map(npy::read_f32).transpose()?;
        for (name, array) in [("queries", Some(&queries)), ("sample-queries", samples.as_ref())] {
            if let Some(array) = array.filter(|array| array.columns != base.columns || array.rows == 0) {
                let what = format!("--{name} of {} x {}", array.rows, array.columns);
                return Err(Error::invalid(what, format!("rows of {} numbers, as --base has", base.columns)));
            }
        }
        let allow = settings.allow.as_deref().map(npy::read_bool).transpose()?;
        if let Some(allow) = &allow
            && (allow.columns != base.rows || (allow.rows != 1 && allow.rows != queries.rows))
        {
            let what = format!("--allow of {} x {}", allow.rows, allow.columns);
            return Err(Error::invalid(what, format!("1 x {n} or {} x {n}", queries.rows, n = base.rows)));
        }
        let set = |row: &[bool]| row.iter().zip(0..).filter(|(pass, _)| **pass).map(|(_, id)| id).collect();
        let allowed = allow.map(|allow| allow.iter().map(set).collect()).unwrap_or_default();
        Ok(Data { base, queries, samples, allowed })
    }

    fn allowed(&self, query: usize) -> Option<&RoaringBitmap> {
        self.allowed.get(query).or(self.allowed.first())
    }

    /// For each query the cosine of its k-th best, and how many right answers there are.
    fn right(&self, k: usize) -> Vec<(f32, usize)> {
        let norm = |v: &[f32]| dot(v, v).sqrt().max(f32::MIN_POSITIVE);
        let norms: Vec<f32> = self.base.iter().map(norm).collect();
        // Several queries at a time, so that the base is fetched from memory less often.
        let numbers: Vec<usize> = (0..self.queries.rows).collect();
        let right: Vec<Vec<(f32, usize)>> = (numbers.par_chunks(16))
            .map(|some| {
                let mut scores = vec![Vec::with_capacity(self.base.rows); some.len()];
                for ((row, norm), id) in self.base.iter().zip(&norms).zip(0u32..) {
                    for (&query, scores) in some.iter().zip(&mut scores) {
                        if self.allowed(query).is_none_or(|set| set.contains(id)) {
                            scores.push(dot(row, self.queries.row(query)) / norm);
                        }
                    }
                }
                scores.into_iter().zip(some).map(|(s, &q)| kth(s, k, norm(self.queries.row(q)))).collect()
            })
            .collect();
        right.concat()
    }

    fn build(&self, codes: Codes) -> Result<(Index, Built)> {
        let params = Params { codes, ..Params::default() };
        let dim = self.base.columns;
        let start = cpu_time::ProcessTime::now();
        let index = Index::new(dim, params.clone())?;
        let items: Vec<(u32, &[f32])> = (0..).zip(self.base.iter()).collect();
        index.insert_many(&items)?;
        if let Some(samples) = &self.samples {
            index.add_sample_queries(&samples.iter().collect::<Vec<_>>())?;
        }
        if index.needs_rebuild() {
            index.rebuild()?;
        }
        let build_cpu_s = start.elapsed().as_secs_f64();
        let graph = index.graph_bytes();
        let (open, open_cpu) = (Instant::now(), cpu_time::ProcessTime::now());
        if let Some(graph) = &graph {
            let again = Index::from_parts(dim, params, graph, items.iter().copied())?;
            again.search(self.queries.row(0), 1, &SearchOptions::default())?;
        }
        let (open_s, open_cpu_s) = (open.elapsed().as_secs_f64(), open_cpu.elapsed().as_secs_f64());
        let disk_bytes = graph.map_or(0, |g| g.len()) + 2 * self.base.items.len();
        let health = index.health();
        let ram_bytes = index.bytes();
        let (unreachable, recommended_ef) = (health.unreachable, health.ef);
        let built =
            Built { build_cpu_s, ram_bytes, disk_bytes, open_s, open_cpu_s, unreachable, recommended_ef };
        Ok((index, built))
    }

    /// Searches with all queries on the current pool of threads, again and again.
    fn measure(&self, index: &Index, k: usize, ef: usize, right: &[(f32, usize)]) -> Result<Row> {
        let begin = Instant::now();
        let (mut passes, mut cpus, mut times) = (Vec::new(), Vec::new(), Vec::new());
        let mut found = Vec::new();
        while passes.len() < PASSES || begin.elapsed() < AT_LEAST {
            let (pass, cpu) = (Instant::now(), cpu_time::ProcessTime::now());
            let answers: Vec<(Vec<Neighbor>, Duration)> = (0..self.queries.rows)
                .into_par_iter()
                .map(|query| {
                    let options = SearchOptions {
                        ef: Some(ef),
                        allowed: self.allowed(query),
                        ..SearchOptions::default()
                    };
                    let start = Instant::now();
                    let found = index.search(self.queries.row(query), k, &options)?;
                    Ok((found, start.elapsed()))
                })
                .collect::<Result<_>>()?;
            passes.push(pass.elapsed().as_secs_f64());
            cpus.push(micros(&cpu.elapsed()) / self.queries.rows as f64);
            times.extend(answers.iter().map(|answer| answer.1));
            found = answers;
        }
        times.sort();
        let hits: usize =
            found.iter().enumerate().map(|(query, (found, _))| self.hits(query, found, right)).sum();
        let wanted: usize = right.iter().map(|r| r.1).sum();
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).map_or(0.0, micros);
        Ok(Row {
            ef,
            recall: if wanted == 0 { 1.0 } else { hits as f64 / wanted as f64 },
            qps: self.queries.rows as f64 / median(passes),
            cpu_us: median(cpus),
            p50_us: at(0.5),
            p99_us: at(0.99),
        })
    }

    /// How many of `found` belong to the answer, by their cosine in full precision.
    fn hits(&self, query: usize, found: &[Neighbor], right: &[(f32, usize)]) -> usize {
        let Some(&(least, wanted)) = right.get(query) else { return 0 };
        let q = self.queries.row(query);
        let cosine = |id: u32| {
            let row = self.base.row(id as usize);
            dot(row, q) / (dot(row, row) * dot(q, q)).sqrt().max(f32::MIN_POSITIVE)
        };
        found.iter().filter(|n| cosine(n.id) >= least - TIE).count().min(wanted)
    }
}

/// The k-th best of `scores` as a cosine, and how many right answers there are.
fn kth(mut scores: Vec<f32>, k: usize, norm: f32) -> (f32, usize) {
    let wanted = k.min(scores.len());
    if wanted == 0 {
        return (f32::INFINITY, 0);
    }
    let (_, kth, _) = scores.select_nth_unstable_by(wanted - 1, |a, b| b.total_cmp(a));
    (*kth / norm, wanted)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or_default()
}

fn micros(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Sixteen sums side by side, so that the compiler may use vector registers without changing the result.
    let mut lanes = [0.0f32; 16];
    let (a_blocks, b_blocks) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_blocks.zip(b_blocks) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f32>() + rest
}
