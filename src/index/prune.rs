//! Which of many candidates a node links to: near ones, in different directions.
//!
//! The rule of relative neighbourhoods: a candidate is taken unless one that was taken before lies nearer to it than
//! the node itself does, for then there is a way already (Toussaint, 1980; HNSW's heuristic).

use super::beam::Found;
use super::nodes::Nodes;

/// Chooses links; keeps its buffers.
#[derive(Default)]
pub struct Pruner {
    scores: Vec<i32>,
}

impl Pruner {
    /// At most `room` of `candidates`: (score to the node, node), none of them the node itself. Where few are diverse,
    /// the nearest of the others take what room is left (measured: narrow walks find more, and cost a little more).
    pub fn choose(&mut self, nodes: &Nodes, candidates: &mut Vec<(i32, u32)>, room: usize) -> Vec<u32> {
        candidates.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        candidates.dedup_by_key(|c| c.1);
        let mut chosen: Vec<u32> = Vec::with_capacity(room);
        let mut rows: Vec<&[u8]> = Vec::with_capacity(room);
        let mut passed = Vec::new();
        for &(score, candidate) in candidates.iter() {
            if chosen.len() == room {
                break;
            }
            let query = nodes.query(candidate);
            self.scores.resize(rows.len().max(self.scores.len()), 0);
            query.score(&rows, &mut self.scores);
            if self.scores.iter().take(rows.len()).any(|&between| between > score) {
                passed.push(candidate);
            } else {
                chosen.push(candidate);
                rows.push(nodes.rough(candidate));
            }
        }
        let room = room - chosen.len();
        chosen.extend(passed.into_iter().take(room));
        chosen
    }
}

/// `found`, as candidates for `node`'s links.
pub fn candidates<'a>(found: &'a [Found], node: u32) -> impl Iterator<Item = (i32, u32)> + 'a {
    found.iter().map(|f| (f.score, f.node())).filter(move |c| c.1 != node)
}
