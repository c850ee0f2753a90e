//! One search, from a checked query to neighbours.
//!
//! 1. See which graph answers (a short lock).
//! 2. Gather candidates by rough score: walk, filtered walk or scan, whichever is cheapest.
//! 3. Under the lock again: look at what came since, and leave out what is gone. Whoever inserts or removes waits
//!    meanwhile, so that a vector which is replaced just now is found once: not twice, and not never.
//! 4. Order the best by their true cosine.

use super::beam::{Found, Scratch, Scratches};
use super::codes::Query;
use super::exact::{Best, by_rough, by_score, scan};
use super::filter::{filtered_cost, walk_cost};
use super::frozen::Frozen;
use super::kernels::prefetch;
use super::live::Live;
use super::nodes::ROWS;
use super::params::{Neighbor, SearchOptions};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// A search, ready to run.
pub struct Search<'a> {
    /// The coded query.
    pub query: Query,
    /// How many are wanted; at least one.
    pub k: usize,
    /// As the caller gave them.
    pub options: &'a SearchOptions<'a>,
    /// Up to this many vectors are scanned.
    pub scan_below: usize,
}

/// Candidates whose true cosine may be worked out. Few are, usually; but where a filter leaves only what lies far from
/// the query, very many are about as near as the best.
fn rescored(k: usize) -> usize {
    8 * k + 1000
}

/// How many candidates ahead their codes are asked for.
const AHEAD: usize = 6;

/// A scan reads codes in order; a walk waits for each: what one scored node of a walk is worth in scanned ones.
const WALK_PER_SCAN: f64 = 2.5;

/// A filter is even where at least this much of its share passes near the query; else the walk is so much wider.
const EVEN: f64 = 0.8;
const WIDER: usize = 8;

/// Where many may answer, a plain walk that is wide enough to meet as many of them is twice as fast a node as one that
/// asks of each whether it may; it keeps what it met in one sorted list, which is slow beyond this breadth.
const PLAIN: usize = 1024;
/// It is somewhat wider still: what may answer lies farther off than the nearest that the breadth was measured for.
const ROOMY: f64 = 1.25;

/// What the first look under the lock showed.
struct View {
    frozen: Arc<Frozen>,
    generation: u64,
    /// Where the allowed ids' vectors are, if those are to be scanned.
    places: Option<Vec<u32>>,
    living: usize,
}

impl Search<'_> {
    /// The answer, best first.
    pub fn run(&self, live: &RwLock<Live>, scratches: &Scratches) -> Vec<Neighbor> {
        loop {
            let mut view = self.look(&read(live), self.options.exact);
            let mut found = self.gather(&view, scratches);
            if found.is_none() {
                view = self.look(&read(live), true);
                found = self.gather(&view, scratches);
            }
            let found = found.unwrap_or_default();
            let live = read(live);
            if live.generation == view.generation {
                return self.finish(&view, found, &live);
            }
            // A fresh graph came in between, and its nodes have other numbers: once more.
        }
    }

    /// Notes what there is; and where the allowed ones are, if they are to be scanned.
    fn look(&self, live: &Live, scan: bool) -> View {
        let allowed = self.options.allowed.filter(|allowed| scan || self.scan_allowed(live, allowed.len()));
        let places = allowed.map(|allowed| {
            let bound = live.frozen.layer.nodes.bound() + live.tail.len();
            in_order(allowed.iter().filter_map(|id| live.places.get(id)), bound)
        });
        View { frozen: live.frozen.clone(), generation: live.generation, places, living: live.places.len() }
    }

    /// Whether scoring the allowed ones is cheaper than walking among them.
    fn scan_allowed(&self, live: &Live, allowed: u64) -> bool {
        let living = live.places.len();
        let share = allowed as f64 / living.max(1) as f64;
        let walk = WALK_PER_SCAN * filtered_cost(self.breadth(&live.frozen), share.min(1.0));
        living <= self.scan_below || live.frozen.linked == 0 || (allowed as f64) < walk
    }

    /// How wide a walk is.
    fn breadth(&self, frozen: &Frozen) -> usize {
        let fit = || frozen.breadths.of(self.options.kind).max(self.k + self.k / 2);
        self.options.ef.unwrap_or_else(fit).max(self.k)
    }

    /// Candidates among the settled nodes; None where a walk came by too few that may answer, so that those should be
    /// scanned.
    fn gather(&self, view: &View, scratches: &Scratches) -> Option<Vec<Found>> {
        let frozen = &view.frozen;
        let nodes = &frozen.layer.nodes;
        // Exactness asks for the true cosine of all.
        let mut best = Best::new(self.wanted(view.living), by_rough);
        if let Some(places) = &view.places {
            let settled = places.iter().copied().take_while(|&node| (node as usize) < nodes.bound());
            scan(&self.query, settled.map(|node| (node, nodes.rough(node))), &mut best);
            return Some(best.into_sorted());
        }
        let admit = |node: u32| {
            !nodes.is_dead(node) && self.options.allowed.is_none_or(|set| set.contains(nodes.id(node)))
        };
        let ef = self.breadth(frozen);
        let walk = !self.options.exact
            && view.living > self.scan_below
            && frozen.linked > 0
            && WALK_PER_SCAN * walk_cost(ef) < view.living as f64;
        let walked = if walk { scratches.with(|scratch| self.walk(view, ef, &admit, scratch)) } else { None };
        if walk && walked.is_none() && self.options.allowed.is_some() {
            return None;
        }
        let scanned = if walked.is_some() { frozen.linked } else { 0 };
        let rest = nodes.iter(scanned..nodes.blocks()).filter(|&node| admit(node));
        scan(&self.query, rest.map(|node| (node, nodes.rough(node))), &mut best);
        let mut found = best.into_sorted();
        // Blocks that are being linked just now were scanned.
        let linked = |found: &Found| (found.node() as usize) < frozen.linked * ROWS;
        found.extend(walked.unwrap_or_default().into_iter().filter(linked));
        Some(found)
    }

    /// What a walk finds that may answer; None where it is not worth its price.
    fn walk(
        &self,
        view: &View,
        ef: usize,
        admit: &impl Fn(u32) -> bool,
        scratch: &mut Scratch,
    ) -> Option<Vec<Found>> {
        let frozen = &view.frozen;
        if self.options.allowed.is_none() {
            frozen.walk(&self.query, ef, scratch);
            let met = scratch.pool.len();
            scratch.pool.retain(|found| admit(found.node()));
            // Some that are gone do no harm; many take the place of what should be found.
            if 8 * scratch.pool.len() >= 7 * met {
                return Some(scratch.pool.clone());
            }
        }
        let allowed = self.options.allowed.map_or(view.living as u64, |set| set.len()) as f64;
        let share = (allowed / view.living.max(1) as f64).min(1.0);
        let budget = (allowed / WALK_PER_SCAN) as usize + 2 * walk_cost(ef) as usize;
        let collect = |ef, scratch: &mut Scratch| {
            let entries = frozen.entries(&self.query, scratch);
            frozen.layer.walk_filtered(&self.query, &entries, ef, budget, admit, scratch)
        };
        let breadth = (ROOMY * ef as f64 / share.max(1e-9)) as usize;
        let (found, passed) = if breadth <= PLAIN {
            frozen.walk(&self.query, breadth, scratch);
            let met = scratch.pool.len();
            scratch.pool.retain(|found| admit(found.node()));
            (scratch.pool.clone(), scratch.pool.len() as f64 / met.max(1) as f64)
        } else {
            collect(ef, scratch)?
        };
        // Fewer pass near the query than elsewhere: those that may answer lie along an edge, and a walk that is content
        // with the first few sees one stretch of it.
        if passed >= EVEN * share {
            return Some(found);
        }
        let wide = WIDER * ef;
        let worth = WALK_PER_SCAN * filtered_cost(wide, passed) < allowed;
        if worth { collect(wide, scratch).map(|(found, _)| found) } else { None }
    }

    /// How many candidates get their true cosine.
    fn wanted(&self, living: usize) -> usize {
        if self.options.exact { living.max(1) } else { rescored(self.k).min(living.max(1)) }
    }

    /// Adds what came since, leaves out what went, and orders the best by true cosine.
    fn finish(&self, view: &View, mut found: Vec<Found>, live: &Live) -> Vec<Neighbor> {
        let nodes = &live.frozen.layer.nodes;
        let passes = |id: u32| self.options.allowed.is_none_or(|set| set.contains(id));
        let alive = |node: &u32| !nodes.is_dead(*node);
        found.retain(|f| alive(&f.node()));
        let mut best = Best::new(self.wanted(live.places.len()), by_rough);
        found.into_iter().for_each(|f| best.offer(f));
        let came = nodes.iter(view.frozen.layer.nodes.blocks()..nodes.blocks());
        let came = came.filter(|node| alive(node) && passes(nodes.id(*node)));
        scan(&self.query, came.map(|node| (node, nodes.rough(node))), &mut best);
        let bound = nodes.bound();
        let rows = live.tail.ids.iter().zip(&live.tail.dead).enumerate();
        let rows = rows.filter(|(_, (id, dead))| !**dead && passes(**id));
        let rows = rows.filter_map(|(row, _)| Some(((bound + row) as u32, live.tail_row(row)?.0)));
        scan(&self.query, rows, &mut best);

        let mut answer = Best::new(self.k.min(live.places.len()), by_score);
        let found = best.into_sorted();
        let least =
            found.get(self.k - 1).map_or(i32::MIN, |kth| kth.score.saturating_sub(self.query.margin()));
        let counts = |found: &&Found| self.options.exact || found.score >= least;
        let mut ahead = found.iter().take_while(counts).skip(AHEAD);
        let settled = |found: &Found| (found.node() as usize) < bound;
        let fetch = |found: &Found| prefetch(nodes.fine(found.node()));
        found.iter().take(AHEAD).filter(|f| settled(f)).for_each(fetch);
        for found in found.iter().take_while(counts) {
            ahead.next().filter(|f| settled(f)).into_iter().for_each(fetch);
            let node = found.node();
            let (id, codes) = match (node as usize).checked_sub(bound) {
                Some(row) => (live.tail.ids.get(row).copied(), live.tail_row(row)),
                None => (Some(nodes.id(node)), Some((nodes.rough(node), nodes.fine(node)))),
            };
            let (Some(id), Some((rough, fine))) = (id, codes) else { continue };
            let score = self.query.cosine(rough, fine);
            if self.options.threshold.is_none_or(|least| score >= least) {
                answer.offer(Neighbor { id, score });
            }
        }
        answer.into_sorted()
    }
}

/// `places`, all below `bound`, in order and so as they lie in memory: by a bit each, since sorting takes longer than
/// scoring what was sorted.
fn in_order(places: impl Iterator<Item = u32>, bound: usize) -> Vec<u32> {
    let mut bits = vec![0u64; bound.div_ceil(64)];
    let mut count = 0;
    for place in places {
        bits.get_mut(place as usize / 64).into_iter().for_each(|word| *word |= 1 << (place % 64));
        count += 1;
    }
    let mut ordered = Vec::with_capacity(count);
    for (mut word, start) in bits.into_iter().zip((0u32..).step_by(64)) {
        while word != 0 {
            ordered.push(start + word.trailing_zeros());
            word &= word - 1;
        }
    }
    ordered
}

/// Whole changes only are made under the lock, so a panic elsewhere leaves nothing half done.
fn read(live: &RwLock<Live>) -> RwLockReadGuard<'_, Live> {
    live.read().unwrap_or_else(PoisonError::into_inner)
}
