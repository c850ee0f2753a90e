//! Linking the tail, or building afresh, beside searches and writers.
//!
//! The settled blocks don't move, so all the work is done without the lock; what changed meanwhile is noted and carried
//! over in the moment that the fresh graph takes its place. A rebuild takes memory for a second set of codes.

use super::beam::Scratches;
use super::codes::Query;
use super::frozen::{self, BATCH, Frozen};
use super::live::Live;
use super::nodes::ROWS;
use super::paged::Paged;
use super::params::Params;
use super::repair;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

/// Whether rows that are dead, or blocks that are cut short, or links that were added one by one, call for a graph
/// built afresh; samples do, so that they are heard.
pub fn wants_fresh(live: &Live, samples: usize) -> bool {
    let settled = live.frozen.layer.nodes.blocks();
    let dead = live.rows - live.places.len();
    live.frozen.linked == 0
        || 4 * dead > live.rows
        || settled * ROWS > 2 * (live.rows + ROWS)
        || live.rows > 2 * live.frozen.built + ROWS
        || 8 * samples > live.places.len()
}

/// Links what is not linked yet into the graph that answers.
pub fn extend(live: &RwLock<Live>, params: &Params, scratches: &Scratches) {
    let frozen = {
        let mut live = write(live);
        live.settle();
        live.frozen.clone()
    };
    let nodes = &frozen.layer.nodes;
    let new: Vec<u32> = nodes.iter(frozen.linked..nodes.blocks()).filter(|&n| !nodes.is_dead(n)).collect();
    for batch in new.chunks(BATCH / 4) {
        frozen.link(batch, params.ef_construction, scratches);
    }
    let all: Vec<u32> = nodes.iter(0..nodes.blocks()).filter(|&n| !nodes.is_dead(n)).collect();
    let unreachable = repair::reach(&frozen, &all, scratches);
    let mut live = write(live);
    // Blocks may have been added since; the graph is the same.
    live.frozen =
        std::sync::Arc::new(Frozen { linked: nodes.blocks(), unreachable, ..Frozen::clone(&live.frozen) });
}

/// Builds a fresh graph over the living and puts it in place.
pub fn afresh(live: &RwLock<Live>, samples: &[Query], params: &Params, scratches: &Scratches) {
    let frozen = {
        let mut live = write(live);
        live.settle();
        live.begin();
        live.frozen.clone()
    };
    let nodes = &frozen.layer.nodes;
    let alive: Vec<u32> = nodes.iter(0..nodes.blocks()).filter(|&n| !nodes.is_dead(n)).collect();
    let fresh = frozen::build(&frozen, &alive, samples, params, scratches);
    let mut places = Paged::default();
    let new = &fresh.layer.nodes;
    for node in new.iter(0..new.blocks()) {
        places.insert(new.id(node), node);
    }
    write(live).replace(fresh, places, nodes.blocks());
}

fn write(live: &RwLock<Live>) -> RwLockWriteGuard<'_, Live> {
    live.write().unwrap_or_else(PoisonError::into_inner)
}
